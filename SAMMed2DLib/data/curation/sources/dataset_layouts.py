"""Data sets that describe themselves: what nnU-Net and BIDS write about images, labels and classes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMMed2DLib.data.curation.sources.cases import Case, CurationError, named
from SAMMed2DLib.system.files import read_json, stem_of, suffix_of

_CHANNEL = re.compile(r"(.+)_(\d{4})$")


def without_channel(image: Path) -> str:
    """The name of a case from that of an image, NAME of NAME_0000."""
    channel = _CHANNEL.match(stem_of(image))
    return channel[1] if channel else stem_of(image)


def modality_of(image: Path, about: dict[str, Any]) -> str:
    """The modality of an image by its channel; empty if there is only the name of a way to normalise."""
    channels = about.get("channel_names") or about.get("modality") or {}
    number = _CHANNEL.match(stem_of(image))
    name = str(channels.get(str(int(number[2])) if number else "0", "")) if isinstance(channels, dict) else ""
    return "" if name.lower() in ("nonorm", "rescale_to_0_1", "zscore") else name


def classes_of(about: dict[str, Any]) -> dict[int, str]:
    """Names by value: {"1": "liver"} of old, {"liver": 1} of new; regions of several values have no one value."""
    classes: dict[int, str] = {}
    labels = about.get("labels")
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, int):
            classes[value] = str(key)
        elif str(key).isdigit():
            classes[int(key)] = str(value)
    return {value: name for value, name in classes.items() if value != 0}


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read dataset.json; empty if there is none.

    Raises:
        CurationError: it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise CurationError(f"{path} cannot be read ({error}); repair it, or remove it and use --labels") from error
    return about if isinstance(about, dict) else {}


_VOLUMES = (".nii", ".nii.gz")
_MODALITIES = {"ct": "CT", "pet": "PET", "T1w": "MR", "T2w": "MR", "FLAIR": "MR", "PDw": "MR", "T2starw": "MR",
               "inplaneT1": "MR", "inplaneT2": "MR", "UNIT1": "MR", "SWI": "MR", "swi": "MR", "angio": "MR",
               "T1map": "MR", "T2map": "MR", "MEGRE": "MR", "mag": "MR"}  # fmt: skip
_LABEL_SUFFIXES = ("mask", "dseg", "seg", "label", "lesion", "roi")
_LABEL_KEYS = ("label", "seg")
_MUST_AGREE = ("acq", "ce", "rec", "run", "echo", "part", "dir", "inv", "chunk")
_NOT_DATA = ("sourcedata", "code")


@dataclass(frozen=True)
class _Name:
    """The parts of a name: sub-01_ses-2_T1w_label-lesion_mask has entities, the words T1w and mask, of which the last
    is the suffix.
    """

    path: Path
    entities: dict[str, str]
    words: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> _Name:
        parts = stem_of(path).split("_")
        entities = dict(part.split("-", 1) for part in parts if "-" in part)
        return cls(path, entities, tuple(part for part in parts if "-" not in part))

    @property
    def suffix(self) -> str:
        return self.words[-1] if self.words else ""

    @property
    def is_label(self) -> bool:
        return self.suffix in _LABEL_SUFFIXES or any(key in self.entities for key in _LABEL_KEYS)

    def belongs_to(self, image: _Name) -> bool:
        """Whether it labels this image."""
        if any(self.entities.get(key) != image.entities.get(key) for key in ("sub", "ses")):
            return False
        if any(key in self.entities and self.entities[key] != image.entities.get(key) for key in _MUST_AGREE):
            return False
        kinds = {word for word in (*self.words, self.entities.get("space", "")) if word in _MODALITIES}
        return not kinds or image.suffix in kinds


def is_bids(folder: Path) -> bool:
    """Whether a folder is a data set in BIDS: it has folders of subjects."""
    return any(path.is_dir() for path in folder.glob("sub-*"))


def bids_cases(folder: Path) -> tuple[list[Case], list[str]]:
    """Images with labels of a data set, labels also in its derivatives; and what is left, with the reason.

    A case is a subject, so that no subject is in two splits.
    """
    names = [_Name.of(path) for path in _volumes(folder)]
    labels = [name for name in names if name.is_label]
    images = [
        name for name in names if not name.is_label and name.suffix in _MODALITIES and not _is_derived(name, folder)
    ]
    cases: list[Case] = []
    used: set[Path] = set()
    unpaired: list[str] = []
    for image in images:
        own = [label for label in labels if label.belongs_to(image)]
        if not own:
            unpaired.append(f"{image.path} (no labels)")
            continue
        used.update(label.path for label in own)
        name, case = named(image.path, f"sub-{image.entities['sub']}")
        modality = _MODALITIES[image.suffix]
        classes = _classes(own, folder)
        cases.append(
            Case(image.path, tuple(label.path for label in own), name, case, folder.name, modality, classes=classes)
        )
    unpaired += [f"{label.path} (no image)" for label in labels if label.path not in used]
    return cases, unpaired


def structure_of(path: Path) -> str:
    """What a file of one structure shows by its name, liver of sub-01_T1w_label-liver_mask; else its whole name."""
    return _Name.of(path).entities.get("label") or stem_of(path)


def _volumes(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("sub-*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and suffix_of(path) in _VOLUMES and parts[0] not in _NOT_DATA:
            yield path


def _is_derived(name: _Name, folder: Path) -> bool:
    return (
        name.path.relative_to(folder).parts[0] == "derivatives" or "desc" in name.entities or "space" in name.entities
    )


def _classes(labels: list[_Name], folder: Path) -> dict[int, str]:
    """Names of values: of the table beside a file or of the data set; or the structure that a mask is named after."""
    if len(labels) > 1:
        return {}
    path, suffix = labels[0].path, labels[0].suffix
    tables = [path.with_name(f"{stem_of(path)}.tsv"), *(parent / f"{suffix}.tsv" for parent in path.parents)]
    for table in tables:
        if table.is_file() and table.is_relative_to(folder):
            return _table(table)
    structure = labels[0].entities.get("label")
    return {1: structure, 255: structure} if structure else {}


def _table(path: Path) -> dict[int, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {
            int(row["index"]): row["name"].strip() for row in rows if int(row["index"]) != 0 and row["name"].strip()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
