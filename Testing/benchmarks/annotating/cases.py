"""Reads the cases of a table: labelled volumes and labelled series of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from annotating.tasks import Task
from SAMMed2DLib.imaging.intensity import Intensity, Percentiles, Window, for_all_slices

COLUMNS = ("name", "image", "labels", "values", "window", "target", "note")


class CaseError(ValueError):
    """A case that cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class Case:
    """What is to be segmented.

    Attributes:
        name: of the case.
        frames: one task for a volume, one for each frame of a series.
        note: what a reader of the numbers should know.
    """

    name: str
    frames: Sequence[Task]
    note: str

    @property
    def is_series(self) -> bool:
        """Whether there are several frames."""
        return len(self.frames) > 1


def read_cases(table: Path, names: Sequence[str] = (), target: float | None = None) -> list[Case]:
    """Read the cases of a table, separated by tabs, with the columns `COLUMNS`.

    `values` are the labels that are objects, separated by commas, or `all`; `window` is level,width or empty, for
    percentiles of the volume.

    Args:
        table: the file; paths in it are from its folder.
        names: those wanted; none for all.
        target: Dice to be reached, instead of that of the table.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise CaseError(f"{table}: needs the columns {', '.join(COLUMNS)}, separated by tabs, and a line at least")
    unknown = set(names) - {row["name"] for row in rows}
    if unknown:
        raise CaseError(f"{table}: has no case {', '.join(sorted(unknown))}")
    wanted = (row for row in rows if not names or row["name"] in names)
    return [_case(row if target is None else {**row, "target": str(target)}, table.parent) for row in wanted]


def _case(row: dict[str, str], folder: Path) -> Case:
    image, labels = (SimpleITK.ReadImage(str(folder / row[key])) for key in ("image", "labels"))
    if image.GetSize() != labels.GetSize():
        raise CaseError(f"{row['name']}: image and labels differ in size")
    greys, values = SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(labels)
    if greys.ndim == 3:
        greys, values = greys[None], values[None]
    present = sorted(set(np.unique(values)) - {0})
    chosen = present if row["values"] == "all" else [int(value) for value in row["values"].split(",")]
    missing = [value for value in chosen if not (values == value).any(axis=(1, 2, 3)).all()]
    if missing or not chosen:
        raise CaseError(f"{row['name']}: no label {missing} in some frame")
    spacing = image.GetSpacing()
    intensity = for_all_slices(_rule(row["window"]), greys.reshape(-1, *greys.shape[2:]))
    frames = [
        Task(grey, [label == value for value in chosen], intensity, spacing[2] / spacing[0], float(row["target"]))
        for grey, label in zip(greys, values, strict=True)
    ]
    return Case(row["name"], frames, row["note"])


def _rule(window: str) -> Intensity:
    if not window:
        return Percentiles()
    level, width = (float(number) for number in window.split(","))
    return Window(level=level, width=width)
