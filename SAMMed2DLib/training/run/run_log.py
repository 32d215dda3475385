"""What a run leaves to look at: log.csv, validation.csv, curves.png, and TensorBoard's files if they are wanted."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from SAMMed2DLib.plots.charts import line_chart
from SAMMed2DLib.plots.figure import missing
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.training.config import TrainingError

TABLES_AND_CURVES = LOG, VALIDATION, CURVES = "log.csv", "validation.csv", "curves.png"


class RunLog:
    """The tables and curves of one run; columns are those of the first row of each table."""

    def __init__(self, folder: Path, *, tensorboard: bool = False) -> None:
        """Write into a folder that exists.

        Raises:
            TrainingError: TensorBoard is wanted and is not installed.
        """
        self._folder = folder
        self._writer = _tensorboard(folder) if tensorboard else None

    def rewind(self, step: int) -> None:
        """Drop the rows after a step, all for 0: a run that was killed had written more than it goes on from."""
        for path in (self._folder / LOG, self._folder / VALIDATION):
            kept = [row for row in read_rows(path) if 0 < step >= int(row["step"])]
            if kept:
                with StagedFiles() as staged:
                    _write(staged.place(path), "w", kept)
            else:
                path.unlink(missing_ok=True)

    def training(self, row: Mapping[str, float]) -> None:
        """Add a row of the training's progress."""
        self._add(LOG, "training", row)

    def validation(self, row: Mapping[str, float]) -> None:
        """Add the scores of a validation."""
        self._add(VALIDATION, "validation", row)

    def draw(self) -> None:
        """Draw the curves anew; without matplotlib, which a long run should not fail for, there are none."""
        if missing():
            return
        rows, scores = read_rows(self._folder / LOG), read_rows(self._folder / VALIDATION)
        charts = []
        if rows:
            charts.append(line_chart({"loss": _curve(rows, "loss")}, "training", "step", "loss"))
        if scores:
            kinds = [kind for kind in scores[0] if kind not in ("step", "objects", "score")]
            curves = {kind: _curve(scores, kind) for kind in kinds}
            charts.append(line_chart(curves, "validation", "step", "Dice"))
        if charts:
            write_png(self._folder / CURVES, np.concatenate(charts))

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._writer:
            self._writer.close()

    def _add(self, name: str, group: str, row: Mapping[str, float]) -> None:
        _write(self._folder / name, "a", [{key: f"{value:.6g}" for key, value in row.items()}])
        if self._writer:
            for key in row.keys() - {"step"}:
                self._writer.add_scalar(f"{group}/{key}", row[key], int(row["step"]))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none if it is not there. A line that a killed process left half written is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        whole, _, _ = file.read().rpartition("\n")
    rows = csv.DictReader(whole.splitlines())
    return [row for row in rows if (row.get("step") or "").isdecimal() and None not in row.values()]


def _write(path: Path, mode: Literal["a", "w"], rows: Sequence[Mapping[str, str]]) -> None:
    """Add rows to a table, or write it anew."""
    has_head = mode == "a" and path.exists()
    with path.open(mode, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if not has_head:
            writer.writeheader()
        writer.writerows(rows)


def _curve(rows: list[dict[str, str]], kind: str) -> tuple[list[float], list[float]]:
    return [float(row["step"]) for row in rows], [float(row[kind]) for row in rows]


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TrainingError(
            "TensorBoard is not installed: pip install 'sammed2d[tensorboard]', or leave out --tensorboard"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
