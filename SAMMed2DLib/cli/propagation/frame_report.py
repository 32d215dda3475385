"""What `sammed2d propagate --along time` tells: a summary, a report, a sheet of frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog, report_end, size_words, sizes, written
from SAMMed2DLib.cli.propagation.frames import Cine, Filled, Moving
from SAMMed2DLib.cli.propagation.slice_report import PICTURES, caution, spread
from SAMMed2DLib.imaging.affines import name_of_axis
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.cli.propagation.time import TimeJob


def report_of(
    job: TimeJob,
    this: CommandLog,
    head: dict[str, Any],
    cine: Cine,
    moving: Sequence[Moving],
    voxels: Sequence[Sequence[int]],
    stopped: bool,
) -> dict[str, Any]:
    """Everything about one call, of plain types; `voxels` of each segment in each frame written."""
    return {
        **head,
        "along": "time",
        "masks": {str(frame): path for frame, path in job.masks},
        "outputs": {str(frame): job.file_of(frame) for frame in job.frames},
        "axis": "kji"[cine.axis],
        "range": [cine.first, cine.last],
        "every": job.every,
        "loop": job.loop,
        "stopped": stopped,
        "segments": [_entry(job, cine, one, counts) for one, counts in zip(moving, voxels, strict=True)],
        **report_end(this),
    }


def _entry(job: TimeJob, cine: Cine, one: Moving, voxels: Sequence[int]) -> dict[str, Any]:
    confidences = one.confidences
    return {
        "name": one.segment.name,
        "color": list(one.segment.color or ()),
        "keyframes": sorted(one.drawn),
        "filled": len(confidences),
        "mean_confidence": round(float(np.mean([*confidences.values()])), 4) if confidences else None,
        "worst_confidence": round(min(confidences.values()), 4) if confidences else None,
        "worst_frame": one.worst,
        "frames": [
            {"frame": frame, **sizes(cine.volume, count), **_frame(one, frame)}
            for frame, count in zip(job.frames, voxels, strict=True)
        ],
    }


def _frame(one: Moving, frame: int) -> dict[str, Any]:
    confidence = one.confidence(frame)
    slices = sorted(one.found.get(frame, {}).items())
    return {
        "is_keyframe": frame in one.drawn,
        "confidence": None if confidence is None else round(confidence, 4),
        "slices": [_slice(index, filled) for index, filled in slices],
    }


def _slice(index: int, filled: Filled) -> dict[str, Any]:
    return {
        "slice": index,
        "confidence": round(filled.confidence, 4),
        "score": None if np.isnan(filled.score) else round(filled.score, 4),
        "pixels": filled.pixels,
    }


def summary(report: dict[str, Any]) -> Iterable[str]:
    """A line for each segment, and what was written."""
    for entry in report["segments"]:
        keyframes, filled = counted(len(entry["keyframes"]), "keyframe"), counted(entry["filled"], "frame")
        text = f"{entry['name']}: {keyframes}, {filled} filled"
        if entry["worst_frame"] is not None:
            text += f", least sure in frame {entry['worst_frame']} ({entry['worst_confidence']:.2f})"
        low, high = (choose(entry["frames"], key=lambda one: one["voxels"]) for choose in (min, max))
        yield f"{text}; {size_words(low)} to {size_words(high)}"
    yield from caution(report, "frame")
    yield f"{counted(len(report['outputs']), 'frame')}: {written(report)}"


def sheet_of(cine: Cine, moving: Sequence[Moving], frames: Sequence[int]) -> np.ndarray:
    """A sheet of frames, keyframes and the least certain ones among them, on the slice that shows most."""
    index = _largest_slice(cine, moving)
    view = SliceView.of(cine.plane(index), cine.volume.ijk_to_ras, 640)
    axis = name_of_axis(cine.axis, cine.volume.ijk_to_ras)
    pictures, captions = [], []
    for frame in shown_frames(moving, frames):
        there = [one for one in moving if frame in one.drawn or frame in one.found]
        masks = [cine.plane(index).extract(one.mask(cine, frame)) for one in there]
        layers = [MaskLayer(mask, one.segment.color or (1.0, 0.0, 0.0)) for mask, one in zip(masks, there, strict=True)]
        pictures.append(draw_slice(cine.picture(frame, index), view, layers))
        words = [_caption(one, frame) for one in there]
        captions.append("\n".join([f"frame {frame}, {axis} slice {index}", *words]))
    return contact_sheet(pictures, captions)


def _largest_slice(cine: Cine, moving: Sequence[Moving]) -> int:
    """The slice on which most is drawn."""
    others = tuple(axis for axis in range(3) if axis != cine.axis)
    drawn = [mask.sum(axis=others) for one in moving for mask in one.drawn.values()]
    return int(np.argmax(np.sum(drawn, axis=0)))


def _caption(one: Moving, frame: int) -> str:
    confidence = one.confidence(frame)
    if confidence is None:
        return f"{one.segment.name}: keyframe"
    return f"{one.segment.name}: {confidence:.2f}{' (least sure)' if frame == one.worst else ''}"


def shown_frames(moving: Sequence[Moving], frames: Sequence[int], most: int = PICTURES) -> list[int]:
    """The frames of a sheet: the least certain ones first, then keyframes, then an even choice."""
    drawn = sorted({frame for one in moving for frame in one.drawn if frame in frames})
    worst = [one.worst for one in moving if one.worst in frames]
    wanted = [frame for frame in dict.fromkeys([*worst, *spread(drawn, 3)]) if frame is not None][:most]
    return sorted({*wanted, *spread([one for one in frames if one not in wanted], most - len(wanted))})
