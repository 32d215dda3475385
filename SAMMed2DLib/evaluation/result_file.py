"""The file of results: one line per mask, written as they come, so that a run that was stopped can go on."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from SAMMed2DLib.data.sa_med2d import MaskEntry
from SAMMed2DLib.evaluation.evaluation_options import EvaluationError, EvaluationOptions
from SAMMed2DLib.evaluation.scores import METRICS, ObjectResult

_TEXTS = ("dataset", "modality", "anatomy", "case", "image", "mask", "axis")
_NUMBERS = ("slice", "instance")
_OWN = ("label", "area_px", "area_share")
_AFTER = "dice after"


def columns_of(options: EvaluationOptions, peers: Sequence[str] = (), compared: Sequence[str] = ()) -> list[str]:
    """The columns of a file of such results.

    Args:
        options: how objects are prompted and scored.
        peers: names of other models that are given the boxes.
        compared: names of other models that are given boxes and clicks.
    """
    metrics = METRICS if options.tolerance_px else METRICS[:2]
    scores = [f"{metric} {kind}" for metric in metrics for kind in options.kinds(peers, compared)]
    return [*_TEXTS, *_NUMBERS, *_OWN, *scores, *(f"{_AFTER} {n}" for n in range(1, options.most_clicks + 1))]


class ResultFile:
    """Results on disk; each is there as soon as it is added.

    Use as a context manager.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Open a file to be added to, and read what is in it.

        Raises:
            EvaluationError: it has other columns, or cannot be understood.
        """
        self.path, self.columns = path, list(columns)
        self.results: list[ObjectResult] = []
        if path.is_file():
            _drop_torn_line(path)
            self.results = read_results(path, columns)
        self._file = path.open("a", encoding="utf-8", newline="")
        if not path.stat().st_size:
            self._write([self.columns])

    def __enter__(self) -> ResultFile:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()

    def add(self, result: ObjectResult) -> None:
        """Write one more result, and keep what a later run would read: its averages are the same to the last digit."""
        row = row_of(result, self.columns)
        self._write([row])
        self.results.append(_result_of(dict(zip(self.columns, row, strict=True))))

    def _write(self, rows: Iterable[Sequence[str]]) -> None:
        csv.writer(self._file).writerows(rows)
        self._file.flush()


def row_of(result: ObjectResult, columns: Sequence[str]) -> list[str]:
    """The line of one result."""
    values: dict[str, object] = {name: getattr(result.entry, name) for name in _TEXTS + _NUMBERS}
    values |= {"label": result.label, "area_px": result.area_px, "area_share": f"{result.area_share:.6f}"}
    for metric in METRICS:
        values |= {f"{metric} {kind}": f"{score:.6f}" for kind, score in getattr(result, metric).items()}
    values |= {f"{_AFTER} {number}": f"{score:.6f}" for number, score in enumerate(result.curve, 1)}
    return [str(values[column]) for column in columns]


def read_results(path: Path, columns: Sequence[str]) -> list[ObjectResult]:
    """Read a file of results.

    Raises:
        EvaluationError: it has other columns, or cannot be understood.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        found = list(reader.fieldnames or ())
        if found and found != list(columns):
            raise EvaluationError(f"{path} is of an evaluation with other settings; give another folder, or --restart")
        try:
            return [_result_of(row) for row in reader]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise EvaluationError(
                f"{path}, line {reader.line_num}: holds no result; remove the line, or discard all with --restart"
            ) from error


def _result_of(row: dict[str, str]) -> ObjectResult:
    texts = {name: row[name] for name in _TEXTS}
    area = int(row["area_px"])
    entry = MaskEntry(split="", area_px=area, **texts, **{name: int(row[name]) for name in _NUMBERS})  # type: ignore[arg-type]
    scores: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
    curve = []
    for column, value in row.items():
        metric, _, kind = column.partition(" ")
        if re.fullmatch(rf"{_AFTER} \d+", column):
            curve.append(float(value))
        elif metric in scores:
            scores[metric][kind] = float(value)
    share = float(row["area_share"])
    return ObjectResult(
        entry.dataset, entry.image, int(row["label"]), area, **scores, curve=tuple(curve), area_share=share, entry=entry
    )


def _drop_torn_line(path: Path) -> None:
    """A killed process may have left half a line."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
