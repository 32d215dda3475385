"""What `sammed2d propagate` tells of slices or frames: a summary, a report, a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog, report_end, size_text, written
from SAMMed2DLib.cli.propagation.series import CarriedSegment, PropagationSeries
from SAMMed2DLib.imaging.affines import name_of_axis
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.formatting import counted

PICTURES = 9


def report_of(
    series: PropagationSeries[Any],
    log: CommandLog,
    head: dict[str, Any],
    voxels: Sequence[Sequence[int]],
    stopped: bool,
) -> dict[str, Any]:
    """Everything about one call, of plain types.

    Args:
        series: the slices or frames, with what was filled.
        log: what happened.
        head: how the masks were made, see `record_of`.
        voxels: of each segment in each file.
        stopped: whether the user stopped.
    """
    job = series.job
    return {
        **head,
        **series.files_entry(),
        "axis": "kji"[series.axis],
        "range": [series.first, series.last],
        "every": job.every,
        "ask_model": job.ask_model,
        **({"loop": job.loop} if series.noun == "frame" else {}),
        "stopped": stopped,
        "segments": [_entry(series, carried, counts) for carried, counts in zip(series.segments, voxels, strict=True)],
        **report_end(log),
    }


def _entry(series: PropagationSeries[Any], carried: CarriedSegment, voxels: Sequence[int]) -> dict[str, Any]:
    confidences = [*carried.confidences.values()]
    return {
        "name": carried.segment.name,
        "color": list(carried.segment.color or ()),
        "keyframes": sorted(carried.keyframes),
        **series.extent_entry(carried),
        "mean_confidence": round(float(np.mean(confidences)), 4) if confidences else None,
        "worst_confidence": round(min(confidences), 4) if confidences else None,
        f"worst_{series.noun}": carried.worst,
        **series.parts_entry(carried, voxels),
    }


def summary(report: dict[str, Any]) -> Iterable[str]:
    """A line for each segment, and what was written."""
    noun, preposition = ("frame", "in") if "outputs" in report else ("slice", "on")
    for entry in report["segments"]:
        keyframes, filled = counted(len(entry["keyframes"]), "keyframe"), counted(entry["filled"], noun)
        text = f"{entry['name']}: {keyframes}, {filled} filled"
        if entry.get("slice_range"):
            text += ", slices {} to {}".format(*entry["slice_range"])
        worst = entry[f"worst_{noun}"]
        if worst is not None:
            text += f", least sure {preposition} {noun} {worst} ({entry['worst_confidence']:.2f})"
        yield f"{text}; {_sizes(entry)}"
    if any(entry["worst_confidence"] is not None for entry in report["segments"]):
        yield f"numbers in brackets say which {noun} to look at first, not how good the result is"
    files = f"{counted(len(report['outputs']), noun)}: " if "outputs" in report else ""
    yield files + written(report)


def _sizes(entry: dict[str, Any]) -> str:
    """The size of a segment, in several frames from the smallest to the largest."""
    if "frames" not in entry:
        return size_text(entry)
    low, high = (choose(entry["frames"], key=lambda frame: frame["voxels"]) for choose in (min, max))
    return f"{size_text(low)} to {size_text(high)}"


def sheet_of(series: PropagationSeries[Any]) -> np.ndarray:
    """A sheet of slices or frames, keyframes and the least certain ones among them, (H, W, 3) uint8."""
    axis = name_of_axis(series.axis, series.volume.ijk_to_ras)
    pictures, captions = [], []
    for position in shown_positions(series):
        index = series.slice_at(position)
        known = [carried for carried in series.segments if carried.is_known(position)]
        layers = [
            MaskLayer(series.mask(carried, position, index), carried.segment.color or (1.0, 0.0, 0.0))
            for carried in known
        ]
        view = SliceView.of(series.plane(index), series.volume.ijk_to_ras, 640)
        pictures.append(draw_slice(series.image(position, index), view, layers))
        title = f"frame {position}, {axis} slice {index}" if series.noun == "frame" else f"{axis} slice {index}"
        captions.append("\n".join([title, *(_caption(carried, position) for carried in known)]))
    return contact_sheet(pictures, captions)


def _caption(carried: CarriedSegment, position: int) -> str:
    if position in carried.keyframes:
        return f"{carried.segment.name}: keyframe"
    worst = " (least sure)" if position == carried.worst else ""
    return f"{carried.segment.name}: {carried.confidences[position]:.2f}{worst}"


def shown_positions(series: PropagationSeries[Any], most: int = PICTURES) -> list[int]:
    """Those of a sheet: the least certain ones first, then keyframes (and the end slices), then an even choice."""
    everything = series.shown
    drawn = {position for carried in series.segments for position in carried.keyframes}
    keyframes = sorted(position for position in drawn if position in everything)
    wanted = [carried.worst for carried in series.segments if carried.worst is not None and carried.worst in everything]
    wanted += spread(keyframes, 3)
    if series.noun == "slice":
        wanted += [everything[0], everything[-1]]
    wanted = list(dict.fromkeys(wanted))[:most]
    others = [position for position in everything if position not in wanted]
    return sorted({*wanted, *spread(others, most - len(wanted))})


def spread(items: Sequence[int], count: int) -> list[int]:
    """At most `count` of the items, evenly."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]
