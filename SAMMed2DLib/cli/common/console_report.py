"""What `sammed2d segment` and `sammed2d propagate` tell: progress, a summary for people, a JSON report for programs."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from SAMMed2DLib.cli.common.image_job import ImageJob
from SAMMed2DLib.cli.common.prompt_options import SegmentRequest, axis_and_index
from SAMMed2DLib.cli.common.provenance import View, segment_record
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import MaskPrediction

# slice -> (number of the segment, its mask and score)
Masks = dict[SlicePlane, list[tuple[int, "MaskPrediction"]]]
# called with how much is done, and how much there is
Progress = Callable[[int, int], None]


@dataclass
class CommandLog:
    """What happens during one call, for the report."""

    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, and keep the library's own warnings as notes."""
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        own_warnings = [str(w.message) for w in caught if w.category.__module__.startswith("SAMMed2DLib.")]
        self.notes += [note for note in dict.fromkeys(own_warnings) if note not in self.notes]


def note_overlap(this: CommandLog, lost: int) -> None:
    """Say that voxels of a label map went to a later segment."""
    if lost:
        this.notes.append(f"segments overlap: {counted(lost, 'voxel')} went to the later one; .seg.nrrd keeps both")


def report_end(this: CommandLog) -> dict[str, Any]:
    """How long the steps took, and what a user should know."""
    return {"seconds": {name: round(value, 4) for name, value in this.seconds.items()}, "notes": this.notes}


def segment_entries(
    volume: Volume,
    requests: Sequence[SegmentRequest],
    segments: Sequence[Segment],
    masks: Masks,
    voxels: Sequence[int],
    views: Mapping[SlicePlane, View],
    followed: Mapping[int, int],
) -> list[dict[str, Any]]:
    """The segments of a report, of plain types.

    Args:
        volume: the image.
        requests: the segments' prompts.
        segments: their names and colours.
        masks: the predictions.
        voxels: of each segment.
        views: what the model saw of each slice.
        followed: of segments that were followed through the slices, on how many they are.
    """
    return [
        {
            **segment_record(segment, requests[n], views),
            **sizes(volume, voxels[n]),
            **({"slices_followed": followed[n]} if n in followed else {}),
            "slices": list(_slices(n, requests[n], masks)),
        }
        for n, segment in enumerate(segments)
    ]


def sizes(volume: Volume, voxels: int) -> dict[str, Any]:
    """A number of voxels, also as a volume; None where millimetres are not known."""
    voxel_ml = abs(float(np.linalg.det(volume.ijk_to_ras[:3, :3]))) / 1000
    return {"voxels": voxels, "volume_ml": voxels * voxel_ml if volume.has_spacing else None}


def size_text(entry: Mapping[str, Any]) -> str:
    """A size of `sizes` in words; what has no millimetres has pixels only."""
    if entry["volume_ml"] is None:
        return counted(entry["voxels"], "pixel")
    return f"{counted(entry['voxels'], 'voxel')}, {rounded(entry['volume_ml'])} ml"


def write_report(staged: StagedFiles, job: ImageJob, report: dict[str, Any]) -> None:
    """Write the report, if it goes to a file.

    Args:
        staged: the files of this command, which appear together.
        job: says where the report goes; nothing is written for None and "-".
        report: of plain types, as JSON takes them.
    """
    if job.json and job.json != "-":
        staged.place(job.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _slices(number: int, request: SegmentRequest, masks: Masks) -> Iterator[dict[str, Any]]:
    for plane, predictions in masks.items():
        axis, index = axis_and_index(plane)
        for n, prediction in predictions:
            if n == number:
                yield {
                    "axis": "kji"[axis],
                    "slice": index,
                    "score": round(float(prediction.score), 4),
                    "predicted_iou": round(float(prediction.predicted_iou), 4),
                    "grade": prediction.grade,
                    "pixels": int(prediction.mask.sum()),
                    "points": len(request.prompts[plane].labels),
                    "box": request.prompts[plane].box_xyxy is not None,
                    **({"strokes": strokes} if (strokes := len(request.prompts[plane].strokes)) else {}),
                    **_candidate_entry(prediction),
                }


def _candidate_entry(prediction: MaskPrediction) -> dict[str, int]:
    """Which of how many candidates was taken; nothing where none was asked for."""
    there = {"candidate": prediction.candidate, "candidates": len(prediction.candidates)}
    return there if prediction.candidate else {}


def print_report(report: dict[str, Any], place: str | None, lines: Iterable[str] | None = None) -> None:
    """A few lines for people (None for those of `sammed2d segment`), or, if its place is "-", the whole report.

    Args:
        report: of plain types; its notes are printed to stderr.
        place: of the report: a file, "-" or None.
        lines: what people read; None for the summary of `sammed2d segment`.
    """
    print_notes(report["notes"])
    if place == "-":
        print(json.dumps(report, indent=2))
        return
    for line in _summary(report) if lines is None else lines:
        print(line)


def print_notes(notes: Iterable[str]) -> None:
    """What one should know besides, a line for each."""
    for note in notes:
        print(f"sammed2d: note: {note}", file=sys.stderr)


def _summary(report: dict[str, Any]) -> Iterable[str]:
    for entry in report["segments"]:
        count = len(entry["slices"])
        if not count:  # it was there already, and nothing was asked about it
            continue
        where = counted(count, "slice")
        if "slices_followed" in entry:
            where = f"{counted(entry['slices_followed'], 'slice')}, followed from {count}"
        yield (
            f"{' '.join(entry['name'].split())}: {size_text(entry)}, {where}, "
            f"{_score_text(entry['slices'])}"
        )
    yield written(report)


def _score_text(slices: Sequence[Mapping[str, Any]]) -> str:
    """How good the masks probably are; without grades what the network says."""
    scores = [f"{score:.2f}" for score in sorted({round(entry["score"], 2) for entry in slices})]
    span = " to ".join(dict.fromkeys([scores[0], scores[-1]]))
    grades = [entry["grade"] for entry in slices]
    if None in grades:
        return f"predicted IoU {span}"
    if len(grades) == 1:
        return f"expected IoU {span} ({'check this' if grades[0] == 'check' else grades[0]})"
    return f"expected IoU {span} ({grades.count('check')} to check)"


def written(report: dict[str, Any]) -> str:
    """What was written, and how long each step took."""
    seconds = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in report["seconds"].items())
    return f"{report['output']} written ({seconds})"


def rounded(value: float) -> str:
    """Three digits, but never "1.54e+03"."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


class ProgressLine:
    """A line on stderr that is written over: on a terminal or when asked for, never in a log by itself.

    Use as a context manager, which ends the line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        """Prepare, as `args.progress` says."""
        self.is_shown = args.progress or sys.stderr.isatty()
        self._length = 0

    def __enter__(self) -> Self:
        """Begin without a line."""
        return self

    def __exit__(self, *error: object) -> None:
        """Go on below the line, if there is one."""
        if self._length:
            print(file=sys.stderr)

    def show(self, text: str) -> None:
        """Write a text in place of the one before."""
        if self.is_shown:
            print(f"\r{text:<{self._length}}", end="", file=sys.stderr, flush=True)
            self._length = len(text)


@contextmanager
def progress_line(args: argparse.Namespace, words: str) -> Iterator[Progress]:
    """A `ProgressLine` of how many are done.

    Args:
        args: with `progress`.
        words: with {done} and {total}.
    """
    with ProgressLine(args) as line:
        yield lambda done, total: line.show(words.format(done=done, total=total))


def no_progress(done: int, total: int) -> None:
    """For callers who wait in silence."""
