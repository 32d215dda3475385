"""What `sammed2d propagate` tells of the slices of a volume: a summary, a report, a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog, report_end, size_words, sizes, written
from SAMMed2DLib.cli.propagation.slices import Stack, Tracked
from SAMMed2DLib.imaging.affines import name_of_axis
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.cli.propagate import PropagateJob

PICTURES = 9


def report_of(
    job: PropagateJob,
    this: CommandLog,
    head: dict[str, Any],
    stack: Stack,
    tracked: Sequence[Tracked],
    voxels: Sequence[int],
    stopped: bool,
) -> dict[str, Any]:
    """Everything about one call, of plain types."""
    return {
        **head,
        "mask": str(job.mask),
        "axis": "kji"[stack.axis],
        "range": [stack.first, stack.last],
        "every": job.every,
        "stopped": stopped,
        "segments": [_entry(one) | sizes(stack.volume, count) for one, count in zip(tracked, voxels, strict=True)],
        **report_end(this),
    }


def _entry(one: Tracked) -> dict[str, Any]:
    filled = {index: found for index, found in sorted(one.found.items()) if found.mask.any()}
    shown = [*one.keyframes, *filled]
    confidences = [found.confidence for found in one.found.values()]
    return {
        "name": one.segment.name,
        "color": list(one.segment.color or ()),
        "keyframes": sorted(one.keyframes),
        "filled": len(filled),
        "slice_range": [min(shown), max(shown)] if shown else None,
        "mean_confidence": round(float(np.mean(confidences)), 4) if confidences else None,
        "worst_confidence": round(min(confidences), 4) if confidences else None,
        "worst_slice": one.worst,
        "slices": [
            {
                "slice": index,
                "confidence": round(found.confidence, 4),
                "score": None if np.isnan(found.score) else round(found.score, 4),
                "pixels": int(found.mask.sum()),
            }
            for index, found in filled.items()
        ],
    }


def summary(report: dict[str, Any]) -> Iterable[str]:
    """A line for each segment, and what was written."""
    for entry in report["segments"]:
        keyframes, filled = len(entry["keyframes"]), entry["filled"]
        text = f"{entry['name']}: {counted(keyframes, 'keyframe')}, {counted(filled, 'slice')} filled"
        if entry["slice_range"]:
            low, high = entry["slice_range"]
            text += f", slices {low} to {high}"
        if entry["worst_slice"] is not None:
            text += f", least sure on slice {entry['worst_slice']} ({entry['worst_confidence']:.2f})"
        yield f"{text}; {size_words(entry)}"
    yield from caution(report, "slice")
    yield written(report)


def caution(report: dict[str, Any], what: str) -> Iterable[str]:
    """What the confidences are for, if there are any."""
    if any(entry["worst_confidence"] is not None for entry in report["segments"]):
        yield f"numbers in brackets say which {what} to look at first, not how good the result is"


def sheet_of(stack: Stack, tracked: Sequence[Tracked]) -> np.ndarray:
    """A sheet of slices: keyframes, the least certain ones, the ends, and some between."""
    axis = name_of_axis(stack.axis, stack.volume.ijk_to_ras)
    pictures, captions = [], []
    for index in shown_slices(tracked):
        there = [(one, mask) for one in tracked if (mask := one.on(index)) is not None]
        layers = [MaskLayer(mask, one.segment.color or (1.0, 0.0, 0.0)) for one, mask in there]
        view = SliceView.of(stack.plane(index), stack.volume.ijk_to_ras, 640)
        pictures.append(draw_slice(stack.picture(index), view, layers))
        words = [_caption(one, index) for one, _ in there]
        captions.append("\n".join([f"{axis} slice {index}", *words]))
    return contact_sheet(pictures, captions)


def _caption(one: Tracked, index: int) -> str:
    if index in one.keyframes:
        return f"{one.segment.name}: keyframe"
    worst = " (least sure)" if index == one.worst else ""
    return f"{one.segment.name}: {one.found[index].confidence:.2f}{worst}"


def shown_slices(tracked: Sequence[Tracked], most: int = PICTURES) -> list[int]:
    """The slices of a sheet: the least certain ones first, then keyframes and ends, then an even choice."""
    everything = sorted({index for one in tracked for index in (*one.keyframes, *one.found)})
    wanted = [one.worst for one in tracked if one.worst is not None]
    wanted += [*spread(sorted({n for one in tracked for n in one.keyframes}), 3), everything[0], everything[-1]]
    wanted = list(dict.fromkeys(wanted))[:most]
    return sorted({*wanted, *spread([n for n in everything if n not in wanted], most - len(wanted))})


def spread(items: Sequence[int], count: int) -> list[int]:
    """At most `count` of the items, evenly."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]
