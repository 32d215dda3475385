"""What is curated: images with the files that label them, as a table lists them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from SAMMed2DLib.data.sa_med2d import SPLITS
from SAMMed2DLib.system.files import stem_of

COLUMNS = ("image", "labels", "case", "dataset", "modality", "window", "classes", "split")
_TOLD = 5
_SEPARATORS = ("\t", ";", ",")


class CurationError(ValueError):
    """Data that cannot be curated, or an option that makes no sense; the message says why and what to do."""


@dataclass(frozen=True)
class Case:
    """One image and the files that label it.

    Attributes:
        image: file, or folder of a DICOM series.
        labels: label maps, .seg.nrrd, files of one structure each, or a folder of such.
        name: of this image, unique within its data set.
        case: patient or volume, which is never in two splits; several images may share it.
        dataset: name of the data set.
        modality: for example "CT"; empty if unknown.
        window: centre and width of the intensities shown; None for the rule of all cases.
        split: one of `SPLITS`; empty if the shares decide.
        classes: names of the values in label maps.
        source: how the image is named in the manifest.
    """

    image: Path
    labels: tuple[Path, ...]
    name: str
    case: str
    dataset: str
    modality: str = ""
    window: tuple[float, float] | None = None
    split: str = ""
    classes: Mapping[int, str] = field(default_factory=dict)
    source: str = ""

    @property
    def place(self) -> str:
        """Where its slice images go, below a folder of a kind."""
        return f"{file_name(self.dataset)}/{file_name(self.name)}"


def file_name(text: str) -> str:
    """A text that every file system takes as the name of a file."""
    words = re.sub(r"[^\w.+-]+|_", "-", text.strip()).strip("-.")
    return words[:80] or "unnamed"


def read_cases(path: Path, *, dataset: str = "", modality: str = "") -> list[Case]:
    """Read a table of cases, a line for each image.

    Args:
        path: CSV with the columns image and labels, and if wanted case, dataset, modality, window, classes and split;
            separated by commas, tabs or semicolons. Its paths are relative to it.
        dataset: where a line says none; empty for the name of the table's folder.
        modality: where a line says none.
    Raises:
        CurationError: some lines cannot be used; the first of them are told.
    """
    folder = path.absolute().parent
    cases, problems = [], []
    for number, row in _rows(path):
        row = {"dataset": dataset or folder.name, "modality": modality} | {k: v for k, v in row.items() if v}
        try:
            cases.append(_case_of(row, folder))
        except CurationError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = f"; and {len(problems) - _TOLD} more lines" if len(problems) > _TOLD else ""
        raise CurationError(f"{path}: " + "; ".join(problems[:_TOLD]) + more)
    if not cases:
        raise CurationError(f"{path} lists no case; write a line for each image")
    return cases


def check_names(cases: Iterable[Case]) -> None:
    """Refuse images whose slice images would go to the same place.

    Raises:
        CurationError: there are two.
    """
    images: dict[str, Path] = {}
    for case in cases:
        first = images.setdefault(case.place.casefold(), case.image)
        if first != case.image:
            raise CurationError(
                f"{first} and {case.image} are both named {case.name} in {case.dataset}; "
                "list them in a table (--cases) and name them in its column case, or rename a file"
            )
    twice = [place for place, count in Counter(case.place.casefold() for case in cases).items() if count > 1]
    if twice:
        raise CurationError(f"{images[twice[0]]} is listed twice; put its labels on one line, with ; between them")


def named(image: Path, case: str) -> tuple[str, str]:
    """(name, case) of an image: the case's name goes before the file's, which may be "ct" for all of them."""
    stem = stem_of(image)
    if not case:
        return stem, stem
    return (stem if stem.startswith(case) else f"{case}-{stem}"), case


def _text_of_table(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CurationError(f"{path}: cannot be opened: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CurationError(f"{path}: is not UTF-8; save it as CSV in UTF-8") from error


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    text = _text_of_table(path)
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    reader = csv.DictReader(text.splitlines(), delimiter=separator)
    names = [name.strip() for name in reader.fieldnames or ()]
    for needed in ("image", "labels"):
        if needed not in names:
            raise CurationError(f"{path} has no column {needed}; its first line names the columns {', '.join(COLUMNS)}")
    reader.fieldnames = names
    return [(reader.line_num, {k: v.strip() for k, v in row.items() if k in COLUMNS and v}) for row in reader]


def _case_of(row: Mapping[str, str], folder: Path) -> Case:
    if not row.get("image") or not row.get("labels"):
        raise CurationError("image or labels is empty; fill both in")
    image, labels = (
        folder / row["image"],
        tuple(folder / name.strip() for name in row["labels"].split(";") if name.strip()),
    )
    for path in (image, *labels):
        if not path.exists():
            raise CurationError(f"{path} is not there; correct the path")
    split = row.get("split", "")
    if split not in ("", *SPLITS):
        raise CurationError(f"split {split!r} is none; use {', '.join(SPLITS)} or leave it empty")
    name, case = named(image, row.get("case", ""))
    window = _window(row["window"]) if row.get("window") else None
    classes = _classes(row.get("classes", ""))
    return Case(image, labels, name, case, row["dataset"], row["modality"], window, split, classes, row["image"])


def _classes(text: str) -> dict[int, str]:
    """Names of values, written as 1=liver;2=left kidney."""
    classes = {}
    for pair in filter(str.strip, text.split(";")):
        value, _, name = (word.strip() for word in pair.partition("="))
        if not value.isdecimal() or not name:
            raise CurationError(f'classes {pair.strip()!r} must be a value and its name, as in "1=liver;2=spleen"')
        classes[int(value)] = name
    return classes


def _window(text: str) -> tuple[float, float]:
    try:
        centre, width = (float(word) for word in text.split(","))
    except ValueError:
        raise CurationError(f'window {text!r} must be centre and width, as in "40,400"') from None
    if not width > 0:
        raise CurationError(f"window {text!r} has no width; the second number must be more than 0")
    return centre, width


def read_class_names(path: Path) -> dict[str, str]:
    """Read what classes are to be called: the columns label (a value, or a name as found) and name.

    An empty name leaves the class out; a name given twice makes one class of two.

    Raises:
        CurationError: it is no such table.
    """
    text = _text_of_table(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(text.splitlines(), delimiter=separator) if row and row[0].strip()]
    if rows and [cell.strip().lower() for cell in rows[0][:2]] == ["label", "name"]:
        rows = rows[1:]
    if not rows or any(len(row) < 2 for row in rows):
        raise CurationError(f"{path} needs two columns on each line: label and name, as in 3,liver")
    return {row[0].strip(): row[1].strip() for row in rows}
