"""Prompts from 3D Slicer's markups files (.mrk.json): point lists, ROI boxes and curves, in RAS.

A point is positive unless it is marked as negative. Marks, the first that is there counts:

1. its description, 2. its label: beginning with "-" or "+", or with "negative", "neg", "positive" or "pos" as
   the last word. Slicer labels points "<list>-<number>", so a list named "liver negative" is all negative;
3. the file's name, by its last word.

A curve is marked by its first point, likewise.

Positions are those of the list itself: harden a parent transform in Slicer before saving.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.system.files import read_json, stem_of
from SAMMed2DLib.system.formatting import shown

NEGATIVE_WORDS = ("negative", "neg")
POSITIVE_WORDS = ("positive", "pos")
CURVES = ("Curve", "ClosedCurve")
_TO_RAS = {
    "RAS": np.ones(3),
    "LPS": np.array([-1.0, -1.0, 1.0]),
    0: np.ones(3),
    1: np.array([-1.0, -1.0, 1.0]),
}
CORNER_SIGNS = np.array(list(product((-0.5, 0.5), repeat=3)))
# Corners of a flat ROI lie in its slice up to the rounding of a few matrices, and then not beside it.
_ON_PLANE = 1e-6
_QUOTES = "'\""
_EDGES = np.array([(a, b) for a in range(8) for b in range(8) if (a ^ b) in (1, 2, 4) and a < b])


class MarkupsError(ValueError):
    """A markups file cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class Fiducials:
    """Points of one file.

    Attributes:
        points_ras: (N, 3) float64, mm.
        labels: (N,) int64, 1 = positive, 0 = negative.
    """

    points_ras: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class RoiBox:
    """A box in space.

    Attributes:
        corners_ras: (8, 3) float64, mm; corners that differ in one bit of their number share an edge.
    """

    corners_ras: np.ndarray


@dataclass(frozen=True, eq=False)
class FreehandCurve:
    """A curve, as straight lines between its points.

    Attributes:
        points_ras: (N, 3) float64, mm.
        label: 1 = positive, 0 = negative.
        is_closed: whether the last point is joined with the first.
    """

    points_ras: np.ndarray
    label: int
    is_closed: bool


def kind_of(path: str | Path) -> str:
    """The type of the first markup of a file; empty for what is no markups file, which its reader refuses."""
    try:
        return str(read_json(path)["markups"][0]["type"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def read_curves(path: str | Path, *, negative: bool = False) -> list[FreehandCurve]:
    """Read the curves of a markups file; points that were not placed yet are left out.

    Args:
        path: .mrk.json with curves, open or closed.
        negative: take all of them as negative, whatever their marks say.

    Raises:
        MarkupsError: the file is missing, no markups file, of another type, or a curve has no point.
    """
    curves = []
    for markup in _markups(path, CURVES, "a curve"):
        to_ras = _to_ras(path, markup)
        placed = [p for p in _control_points(path, markup) if p.get("positionStatus", "defined") == "defined"]
        if not placed:
            raise MarkupsError(f"{path}: has a curve without a placed point; draw it in Slicer and save it again")
        points = [_numbers(path, point.get("position"), 3, "position") * to_ras for point in placed]
        label = 0 if negative else _label(placed[0], stem_of(path))
        curves.append(FreehandCurve(np.array(points), label, markup.get("type") == "ClosedCurve"))
    return curves


def read_fiducials(path: str | Path, *, negative: bool = False) -> Fiducials:
    """Read the points of a markups file; points that were not placed yet are left out.

    Args:
        path: .mrk.json with point lists.
        negative: take all of them as negative, whatever their marks say.

    Raises:
        MarkupsError: the file is missing, no markups file, of another type, or without a point.
    """
    points, labels = [], []
    for markup in _markups(path, ("Fiducial",), "a point list"):
        to_ras = _to_ras(path, markup)
        for point in _control_points(path, markup):
            if point.get("positionStatus", "defined") == "defined":
                points.append(_numbers(path, point.get("position"), 3, "position") * to_ras)
                labels.append(0 if negative else _label(point, stem_of(path)))
    if not points:
        raise MarkupsError(f"{path}: has no placed point; place one in Slicer and save the list again")
    return Fiducials(np.array(points), np.array(labels, np.int64))


def read_rois(path: str | Path) -> list[RoiBox]:
    """Read the ROI boxes of a markups file.

    Raises:
        MarkupsError: the file is missing, no markups file, of another type, or its ROI is no box.
    """
    return [_roi(path, markup) for markup in _markups(path, ("ROI",), "an ROI")]


def box_on_slice(corners_xy: np.ndarray, distances: np.ndarray) -> np.ndarray | None:
    """The box that an ROI has on a slice: the bounds of its cut by the slice's middle plane.

    An ROI thinner than the distance of two slices may lie between their middles; it then belongs to the slice
    that its own middle is nearest to, so that a flat ROI drawn in a slice view is never lost.

    Args:
        corners_xy: (8, 2) float, slice px, corners of a RoiBox projected onto the slice.
        distances: (8,) float, their signed distances from the slice, in slices.

    Returns:
        (4,) float64, slice px, half-open (x0, y0, x1, y1), not clipped; None if the ROI is not on this slice.
    """
    distances = np.where(np.abs(distances) < _ON_PLANE, 0.0, distances)
    low, high = float(distances.min()), float(distances.max())
    if low <= 0 <= high:
        cut = _cut(corners_xy, distances)
    elif np.floor(high) < np.ceil(low) and np.floor((low + high) / 2 + 0.5) == 0:
        cut = corners_xy
    else:
        return None
    return np.concatenate([cut.min(axis=0), cut.max(axis=0)]) + 0.5  # pixel 0 begins at -0.5, and at 0 in a box


def _cut(corners_xy: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Where the edges of the box meet distance 0, (N, 2)."""
    start, end = corners_xy[_EDGES[:, 0]], corners_xy[_EDGES[:, 1]]
    before, after = distances[_EDGES[:, 0]], distances[_EDGES[:, 1]]
    crossing = (before * after <= 0) & (before != after)
    share = (before / np.where(crossing, before - after, 1.0))[:, None]
    lying = corners_xy[distances == 0]
    return np.concatenate([(start + share * (end - start))[crossing], lying])


def _markups(path: str | Path, kinds: tuple[str, ...], words: str) -> list[dict[str, Any]]:
    """The markups of a file, all of them of one of these kinds."""
    try:
        content = read_json(path)
    except OSError as error:
        raise MarkupsError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise MarkupsError(f"{path}: is no .mrk.json file (not JSON: {error}); save it again in Slicer") from error
    markups = content.get("markups") if isinstance(content, dict) else None
    if not isinstance(markups, list) or not markups or not all(isinstance(m, dict) for m in markups):
        raise MarkupsError(f"{path}: is JSON, but not of Slicer's markups; save the list as .mrk.json")
    for markup in markups:
        if markup.get("type") not in kinds:
            found = shown(markup.get("type")).strip(_QUOTES)
            raise MarkupsError(f"{path}: holds a {found}, where {words} (type {' or '.join(kinds)}) is needed")
    return markups


def _control_points(path: str | Path, markup: dict[str, Any]) -> list[dict[str, Any]]:
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise MarkupsError(f"{path}: its controlPoints are no list of points; save it again in Slicer")
    return points


def _to_ras(path: str | Path, markup: dict[str, Any]) -> np.ndarray:
    system = markup.get("coordinateSystem", "LPS")
    if not isinstance(system, (str, int)) or system not in _TO_RAS:
        raise MarkupsError(f"{path}: unknown coordinate system {shown(system)}; LPS and RAS are known")
    unit = markup.get("coordinateUnits", "mm")
    if unit != "mm" and not (isinstance(unit, list) and unit[:1] == ["mm"]):
        raise MarkupsError(f"{path}: its unit is {shown(unit)}; save it in mm")
    return _TO_RAS[system]


def _numbers(path: str | Path, values: Any, count: int, what: str) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        found = shown(values)
        raise MarkupsError(f"{path}: {what} must be {count} finite numbers, not {found}; save it again in Slicer")
    return array


def _label(point: dict[str, Any], file_name: str) -> int:
    for text in (point.get("description"), point.get("label"), file_name):
        marked = _mark(str(text or ""))
        if marked is not None:
            return marked
    return 1


def _mark(text: str) -> int | None:
    """1 or 0 if a text marks its point, else None."""
    text = text.strip().lower()
    if text[:1] in ("-", "+"):
        return int(text[0] == "+")
    word = re.findall(r"[a-z]+", text)[-1:]
    if word and word[0] in NEGATIVE_WORDS:
        return 0
    return 1 if word and word[0] in POSITIVE_WORDS else None


def _roi(path: str | Path, markup: dict[str, Any]) -> RoiBox:
    shape = markup.get("roiType", "Box")
    if shape not in ("Box", "BoundingBox"):
        raise MarkupsError(f"{path}: its ROI is a {shown(shape).strip(_QUOTES)}; use a box")
    to_ras = _to_ras(path, markup)
    center = _numbers(path, markup.get("center"), 3, "center")
    size = _numbers(path, markup.get("size"), 3, "size")
    axes = _numbers(path, markup.get("orientation", np.eye(3).ravel()), 9, "orientation").reshape(3, 3)
    corners = center + (CORNER_SIGNS * np.abs(size)) @ axes.T  # columns of the orientation are the ROI's axes
    return RoiBox(corners * to_ras)
