"""The table of cases for `sammed2d batch`: its lines as jobs, or everything that is wrong with it."""

from __future__ import annotations

import argparse
import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SAMMed2DLib.batch_run import one_line
from SAMMed2DLib.cli.common.image_job import ImageJob
from SAMMed2DLib.cli.common.options import AXES, pair, slice_number, slice_range
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.segment import FIRST_SEGMENT, SegmentJob
from SAMMed2DLib.io.segmentation_io import SegmentationError, check_output_suffix
from SAMMed2DLib.system.files import suffix_of

SEPARATORS = ("\t", ";", ",")
_LONGEST_NAME, _LONGEST_CELL = 40, 1000
_MOST_TOLD = 20
NOT_SKIPPED = ("", "0", "no", "false")
# What is written on a line, by column; empty cells are left out.
Cells = Mapping[str, str]
# Columns that mean something with one kind of case only: `_kind_of`.
_ONLY_WITH = {"slice": "prompts", "range": "mask alone", "every": "mask alone"}


class CaseFileError(ValueError):
    """The table of cases cannot be used.

    Attributes:
        problems: all that is wrong, one line each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class CaseLine:
    """One line of the table.

    Attributes:
        name: of the case.
        job: what to do.
        cells: what was written, by column, without name and reason to skip.
        skip: why it is left out; empty if it is not.
    """

    name: str
    job: ImageJob
    cells: Cells
    skip: str = ""


@dataclass(frozen=True)
class CaseFile:
    """A table of cases without a problem.

    Attributes:
        lines: the cases, in their order.
        unused: columns that mean nothing here.
    """

    lines: tuple[CaseLine, ...]
    unused: tuple[str, ...] = ()


def _axis(text: str) -> str:
    if text not in AXES:
        raise argparse.ArgumentTypeError(f"{text!r} is no axis; choose one of {', '.join(AXES)}")
    return text


def _count(lowest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of {lowest} or more")
        return int(text)

    return parse


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "axis": _axis,
    "slice": slice_number,
    "range": slice_range,
    "every": _count(1),
    "window": pair,
    "frame": _count(0),
    "series": str,
}
COLUMNS = ("case", "image", "output", "prompts", "mask", "segment", *_OPTIONS, "png", "json", "skip")


def read_cases(path: Path, shared: Mapping[str, Any], kept: Iterable[Path] = ()) -> CaseFile:
    """Read a table of cases.

    Args:
        path: CSV with a line of column names; separated by commas, tabs or semicolons.
        shared: what all jobs have in common, as arguments of `ImageJob`.
        kept: files that are no output of a case.

    Raises:
        CaseFileError: something is wrong with it; all of it is told.
    """
    names, rows = _table(path)
    known = [name if name in COLUMNS else "" for name in names]
    folder = path.absolute().parent
    problems: list[str] = []
    given: list[tuple[str, Cells]] = []
    lines: list[CaseLine] = []
    for number, cells in rows:
        where = f"{path}, line {number}"
        try:
            given.append((where, _by_name(known, cells)))
            lines.append(_line(given[-1][1], folder, shared))
        except CaseFileError as error:
            problems += [f"{where}: {problem}" for problem in error.problems]
    problems += _clashes(given, folder, [path, *kept])
    if problems:
        raise CaseFileError(problems)
    return CaseFile(tuple(lines), tuple(name for name in names if name and name not in COLUMNS))


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the cells of the lines that are not empty with the lines' numbers."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CaseFileError([f"{path}: cannot be opened: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise CaseFileError([f"{path}: is not UTF-8; save it as CSV in UTF-8"]) from error
    if "\0" in text:
        raise CaseFileError([f"{path}: is no text; save it as CSV in UTF-8"])
    head = text.partition("\n")[0]
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max(SEPARATORS, key=head.count))
    try:
        names = [one_line(name)[:_LONGEST_NAME] for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
        long = [number for number, cells in rows if any(len(cell) > _LONGEST_CELL for cell in cells)]
    except csv.Error as error:
        raise CaseFileError([f"{path}, line {reader.line_num}: {error}"]) from error
    problems = [f"{path}: {problem}" for problem in _column_problems(names)]
    problems += [f"{path}, line {number}: has a cell of over {_LONGEST_CELL} letters" for number in long]
    if not rows and not problems:
        problems.append(f"{path}: lists no case")
    if problems:
        raise CaseFileError(problems)
    return names, rows


def _by_name(names: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """The cells that are not empty and have a name."""
    if any(cell.strip() for cell in cells[len(names) :]):
        raise CaseFileError(
            ['has more cells than there are columns; put a text that holds the separator into quotes: "40,400"']
        )
    return {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name and cell.strip()}


def _column_problems(names: Sequence[str]) -> Iterator[str]:
    missing = [name for name in ("image", "output") if name not in names]
    if not {"prompts", "mask"} & set(names):
        missing.append("prompts or mask")
    if missing:
        yield (
            f"lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; its first line must name the "
            f"columns, there are: {', '.join([name for name in names if name][:_MOST_TOLD]) or 'none'}"
        )
    for name, count in Counter(name for name in names if name in COLUMNS).items():
        if count > 1:
            yield f"has {count} columns {name}"


def _line(given: Cells, folder: Path, shared: Mapping[str, Any]) -> CaseLine:
    """One line as a case; files are looked for from the table's folder."""
    problems = [f"{name} is empty" for name in ("image", "output") if name not in given]
    kind = _kind_of(given)
    if kind is None:
        problems.append("give prompts, a mask to carry, or both to correct the mask")
    for name, only in _ONLY_WITH.items():
        if name in given and kind not in (None, only):
            problems.append(f"{name} is for cases with {only}")
    options: dict[str, Any] = {}
    for name, parse in _OPTIONS.items():
        try:
            if name in given:
                options[name] = parse(given[name])
        except argparse.ArgumentTypeError as error:
            problems.append(f"{name}: {error}")
    problems += _suffix_problems(given)
    if problems:
        raise CaseFileError(problems)
    job = _job(given, options, folder, shared)
    skip = "" if given.get("skip", "").lower() in NOT_SKIPPED else given["skip"]
    cells = {name: text for name, text in given.items() if name not in ("case", "skip")}
    return CaseLine(_name(given), job, cells, skip)


def _kind_of(given: Cells) -> str | None:
    """What a case is done by; a mask with prompts is corrected by these, without them it is carried."""
    return "prompts" if "prompts" in given else "mask alone" if "mask" in given else None


def _suffix_problems(given: Cells) -> Iterator[str]:
    try:
        if "output" in given:
            check_output_suffix(given["output"])
    except SegmentationError as error:
        yield str(error)
    if "png" in given and suffix_of(given["png"]) != ".png":
        yield f"{given['png']}: end the name of the picture with .png"
    is_markups = suffix_of(given.get("prompts", "")) == ".mrk.json"
    if "segment" in given and "prompts" in given and not is_markups:
        yield "segment is for markups and masks; a JSON file of prompts names its segments itself"


def _job(given: Cells, options: dict[str, Any], folder: Path, shared: Mapping[str, Any]) -> ImageJob:
    files = {name: str(folder / given[name]) for name in ("image", "output", "png", "json") if name in given}
    chosen = dict(shared)
    if "window" in options:
        chosen |= {"percentiles": None, "full_range": False}
    chosen |= files | options
    if _kind_of(given) == "mask alone":
        names = (given["segment"],) if "segment" in given else None
        return PropagateJob(**chosen, masks=((0, str(folder / given["mask"])),), segment=names)
    prompts = str(folder / given["prompts"])
    if "mask" in given:
        chosen["mask"] = str(folder / given["mask"])
    if suffix_of(prompts) != ".mrk.json":
        return SegmentJob(**chosen, prompts=prompts)
    name = given.get("segment", None if "mask" in given else FIRST_SEGMENT)  # None: the only one of the mask
    named = () if name is None else (("segment", name),)
    return SegmentJob(**chosen, events=(*named, ("any markups", prompts)))


def _clashes(given: Sequence[tuple[str, Cells]], folder: Path, kept: Iterable[Path]) -> Iterator[str]:
    """Cases with one name, outputs with one name, and outputs that would replace what is read."""
    names: dict[str, tuple[str, str | None]] = {}
    taken: dict[str, str] = {}
    read = {_key(folder / cells[name]) for _, cells in given for name in ("image", "prompts", "mask") if name in cells}
    read |= {_key(path) for path in kept}
    for where, cells in given:
        line = where.rpartition(", ")[2]
        name = _name(cells)
        first, output = names.setdefault(name, (line, cells.get("output")))
        if name and first != line and not (output == cells.get("output") == name):
            yield f"{where}: the case {name} is also in {first}"
        for path in (cells[name] for name in ("output", "png", "json") if name in cells):
            key = _key(folder / path)
            if key in taken:
                yield f"{where}: writes {path}, as {taken[key]} does"
            elif key in read:
                yield f"{where}: writes {path}, which is read, or kept for something else"
            taken.setdefault(key, line)


def _name(cells: Cells) -> str:
    return one_line(cells.get("case", cells.get("output", "")))


def _key(path: str | Path) -> str:
    return os.path.normcase(os.path.realpath(path))
