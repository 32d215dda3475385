"""Strokes: a scribble is painted along a line, a lasso around a region; both inside or outside the object.

Which pixels a stroke means is decided here, once for all: those that its line runs through, or those whose middle its
closed line goes around.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from SAMMed2DLib.imaging.components import innermost_point, squared_depth, squared_distance

# Half the width of what a scribble says of an object to begin with, of its length; and how far a lasso runs around one,
# of its longer side (docs/decisions/scribbles-and-lassos.md).
SCRIBBLE_SHARE, LASSO_SHARE = 0.06, 0.06
# Along a line, pixels are looked up at least so often: none is left out between two of them.
_STEP_PX = 0.5
# Neighbouring points of a scribble are not closer than this: they would say the same.
_LEAST_SPACING_PX = 2.0


@dataclass(frozen=True, eq=False)
class Stroke:
    """A freehand line of one object on one slice.

    Attributes:
        points_xy: (N, 2) float64, slice px, read-only; the corners of the line.
        label: 1 = inside the object, 0 = outside.
        is_closed: a lasso, which means what it goes around; else a scribble, which means what it runs over.
        after: how many points were given before it.
    """

    points_xy: np.ndarray
    label: int = 1
    is_closed: bool = False
    after: int = 0

    @property
    def is_lasso_around(self) -> bool:
        """Whether it goes around the object, as a box does, rather than being a part of it."""
        return self.is_closed and self.label == 1

    @property
    def word(self) -> str:
        """What it is called."""
        return "lasso" if self.is_closed else "scribble"

    @property
    def content(self) -> tuple[object, ...]:
        """What it is compared by."""
        return self.points_xy.tobytes(), self.label, self.is_closed, self.after

    def pixels(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The pixels that it means, (N, 2) int64, columns and rows, each once; along the line, or row by row."""
        find = _pixels_within if self.is_closed else _pixels_along
        return find(self.points_xy.tobytes(), (int(size_hw[0]), int(size_hw[1])))

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The pixels that it means, (H, W) bool."""
        painted = np.zeros(size_hw, bool)
        x, y = self.pixels(size_hw).T
        painted[y, x] = True
        return painted

    def object_mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Where the object is, about, if this says so first, (H, W) bool: along a scribble, or well inside a lasso."""
        painted, extent = self.mask(size_hw), self.extent(size_hw)
        longer_px = float((extent[2:] - extent[:2]).max())
        away_px = LASSO_SHARE * longer_px if self.is_closed else max(1.0, SCRIBBLE_SHARE * longer_px)
        reach = int(np.ceil(away_px))
        x0, y0 = np.maximum(extent[:2].astype(int) - reach - 1, 0)
        x1, y1 = extent[2:].astype(int) + reach + 1
        seen = painted[y0:y1, x0:x1]
        about = np.zeros_like(painted)
        if self.is_closed:
            about[y0:y1, x0:x1] = squared_distance(~seen, reach) > away_px**2
        else:
            about[y0:y1, x0:x1] = squared_distance(seen, reach) <= away_px**2
        return about if about.any() else painted

    def extent(self, size_hw: tuple[int, int]) -> np.ndarray:
        """The smallest half-open box around its pixels, of which there are some: (4,) float64, px."""
        pixels = self.pixels(size_hw)
        return np.concatenate([pixels.min(axis=0), pixels.max(axis=0) + 1]).astype(np.float64)

    def moved(self, offset_xy: np.ndarray) -> Stroke:
        """The same stroke in px that begin so much farther, (2,)."""
        return replace(self, points_xy=_frozen(self.points_xy + offset_xy))

    def interior_points(self, count: int, size_hw: tuple[int, int]) -> np.ndarray:
        """Pixels along its skeleton, as far as there are so many.

        Args:
            count: how many points at most.
            size_hw: of the slice, px.

        Returns:
            (N, 2) float64, px: of a scribble evenly spaced along its line; of a lasso each as far as can be from the
            border and from those before it.
        """
        if not count:
            return np.empty((0, 2))
        if self.is_closed:
            return _spread_points(self.mask(size_hw), count)
        return _spaced_points(self.pixels(size_hw).astype(np.float64), count)


def _frozen(points_xy: np.ndarray) -> np.ndarray:
    points_xy.flags.writeable = False
    return points_xy


@lru_cache(256)
def _pixels_along(line: bytes, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels of the slice that a line runs through, each once, in its order."""
    points_xy = np.frombuffer(line).reshape(-1, 2)
    parts = [points_xy[:1]]
    for start, end in pairwise(points_xy):
        count = max(int(np.ceil(np.abs(end - start).max() / _STEP_PX)), 1)
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[1:, None])
    pixels = np.floor(np.concatenate(parts) + 0.5)
    pixels = pixels[((pixels >= 0) & (pixels < size_hw[::-1])).all(axis=1)].astype(np.int64)
    firsts = np.unique(pixels @ np.array([1, size_hw[1]]), return_index=True)[1]
    return _frozen(pixels[np.sort(firsts)])


@lru_cache(64)
def _pixels_within(line: bytes, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels of the slice that a closed line goes around, however often and in which direction."""
    points_xy = np.frombuffer(line).reshape(-1, 2)
    turns = np.zeros((size_hw[0], size_hw[1] + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(points_xy, np.roll(points_xy, -1, axis=0), strict=True):
        low, high = min(y0, y1), max(y0, y1)
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), size_hw[0]))
        if len(rows):
            crossings = x0 + (rows - y0) / (y1 - y0) * (x1 - x0)
            columns = np.clip(np.ceil(crossings), 0, size_hw[1]).astype(np.int64)
            np.add.at(turns, (rows, columns), 1 if y1 > y0 else -1)
    return _frozen(np.argwhere(turns.cumsum(axis=1)[:, :-1] != 0)[:, ::-1])


def _spaced_points(pixels_xy: np.ndarray, count: int) -> np.ndarray:
    """Points along a line of pixels, each in the middle of as long a part of it."""
    steps_px = np.hypot(*np.diff(pixels_xy, axis=0).T) if len(pixels_xy) > 1 else np.zeros(0)
    along_px = np.concatenate([[0.0], np.minimum(steps_px, 2.0).cumsum()])  # a step over what is beyond is none
    count = max(min(count, 1 + int(along_px[-1] / _LEAST_SPACING_PX)), 1)
    middles_px = (np.arange(count) + 0.5) / count * along_px[-1]
    return pixels_xy[np.abs(along_px[:, None] - middles_px).argmin(axis=0)]


def _spread_points(mask_hw: np.ndarray, count: int) -> np.ndarray:
    """Points inside a mask, the first one farthest from its outline, each other one also from those before."""
    points: list[np.ndarray] = []
    room = squared_depth(mask_hw)
    rows, columns = np.ogrid[: mask_hw.shape[0], : mask_hw.shape[1]]
    while len(points) < count and room.max() >= (1 if not points else _LEAST_SPACING_PX**2):
        if points:
            y, x = np.unravel_index(room.argmax(), room.shape)
        else:
            x, y = innermost_point(mask_hw).astype(int)
        points.append(np.array([x, y], np.float64))
        room = np.minimum(room, (rows - y) ** 2 + (columns - x) ** 2)
    return np.array(points).reshape(-1, 2)
