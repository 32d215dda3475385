"""Prompts from markups files of 3D Slicer: point lists, ROI boxes, and curves, which are scribbles and lassos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from SAMMed2DLib.cli.common.prompt_options import PromptFrame, RequestBuilder, RequestError, SegmentRequest, slice_text
from SAMMed2DLib.imaging.affines import ijk_from_ras
from SAMMed2DLib.imaging.geometry import SlicePlane, nearest_index
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.io.markups import CURVES, kind_of, read_curves

# Curves lie on their slice up to the rounding of files.
_SLACK_VOXELS = 1e-3


def add_markups(
    builder: RequestBuilder,
    segment: SegmentRequest,
    path: Path,
    place: PromptFrame,
    *,
    negative: bool = False,
    with_rois: bool = False,
) -> None:
    """Add what a markups file holds: points or curves, each on its slice.

    Args:
        builder: takes the prompts.
        segment: that they are of.
        path: of the markups file.
        place: axis, and the slice that they must lie on if it names one.
        negative: take all as outside the object.
        with_rois: also take ROI boxes.

    Raises:
        MarkupsError: the file cannot be used.
        RequestError, GeometryError: what it holds is not in the image, or a curve is not on one slice.
    """
    kind = kind_of(path)
    if kind in CURVES:
        for curve in read_curves(path, negative=negative):
            in_ras = PromptFrame("ras", place.axis, place.slice)
            stroke = Stroke(curve.points_ras, curve.label, curve.is_closed)
            add_stroke(builder, segment, stroke, in_ras, f"the curve of {path}")
    elif kind == "ROI" and with_rois:
        builder.add_rois(segment, path, place)
    else:
        builder.add_fiducials(segment, path, place, negative=negative)


def add_stroke(
    builder: RequestBuilder, segment: SegmentRequest, stroke: Stroke, place: PromptFrame, words: str = "the stroke"
) -> None:
    """Add a scribble or lasso to the prompts of its slice.

    Args:
        builder: takes it.
        segment: that it is of.
        stroke: its points in the frame of `place`, (N, 2) px or (N, 3); how many points come before it counts only
            where there are so many.
        place: frame of the coordinates, axis and slice.
        words: for the stroke, in messages.

    Raises:
        RequestError: it is not on one slice of the image.
    """
    count = 2 if place.coordinates == "xy" else 3
    if stroke.points_xy.ndim != 2 or stroke.points_xy.shape[1] != count:
        raise RequestError(f"{words} has points of {count} numbers in {place.coordinates} coordinates")
    if place.coordinates == "xy":
        plane, xy = builder.plane(place), stroke.points_xy
    else:
        is_ras = place.coordinates == "ras"
        points_ijk = ijk_from_ras(stroke.points_xy, builder.volume.ijk_to_ras) if is_ras else stroke.points_xy
        plane = _plane_of(builder, points_ijk, place, f"segment {segment.name!r}: {words}")
        xy = plane.project(points_ijk)[0]
    before = segment.prompts.get(plane, Prompts.of())
    added = replace(stroke, points_xy=xy, after=min(stroke.after, len(before.labels)))
    segment.prompts[plane] = replace(before, strokes=(*before.strokes, added))


def _plane_of(builder: RequestBuilder, points_ijk: np.ndarray, place: PromptFrame, words: str) -> SlicePlane:
    """The one slice that all points of a stroke are on."""
    axis = builder.array_axis(place.axis)
    along = points_ijk[:, 2 - axis]
    count = builder.volume.array.shape[axis]
    index = int(np.clip(nearest_index(along[0]), 0, count - 1))
    plane = builder.plane(PromptFrame("xy", place.axis, index if place.slice is None else place.slice))
    if (np.abs(plane.project(points_ijk)[1]) <= plane.half_thickness + _SLACK_VOXELS).all():
        return plane
    first, last = int(nearest_index(along.min())), int(nearest_index(along.max()))
    name = "kji"[axis]
    found = f"slice {first} ({name})" if first == last else f"slices {first} to {last} ({name})"
    where = f"{found}, not on {slice_text(plane)} alone"
    raise RequestError(f"{words} is on {where}; draw it on one slice, or check --axis and --slice")


def strokes_of(entries: Sequence[dict[str, object]], point_count: int) -> list[Stroke]:
    """Strokes from what files of prompts say of them, whose types were checked.

    Args:
        entries: "points", and as far as they are given "inside", "closed" and "after".
        point_count: how many points come with them.
    """
    found = []
    for entry in entries:
        after = entry.get("after", point_count)
        points = np.array(entry["points"], np.float64)
        is_closed = bool(entry.get("closed", False))
        found.append(Stroke(points, int(bool(entry.get("inside", True))), is_closed, int(after)))  # type: ignore[call-overload]
    return found
