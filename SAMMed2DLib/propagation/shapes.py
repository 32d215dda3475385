"""Shapes of an object on slices: signed distances to its outline, shapes between two masks, parts of a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.components import squared_distance

# The shape's distances count up to here, px: farther away a pixel is not more surely inside or outside.
REACH_PX = 8


def signed_distance(mask_hw: np.ndarray, reach_px: int | None = None) -> np.ndarray:
    """Distance to the outline, positive inside.

    Args:
        mask_hw: (H, W) bool.
        reach_px: distances up to here are exact, others only known to be farther, px; None wants all exact.

    Returns:
        (H, W) float32, px; far outside everywhere for an empty mask.
    """
    inside = np.asarray(mask_hw) != 0
    squared = squared_distance(inside, reach_px) + squared_distance(~inside, reach_px)  # one of them is 0
    distance_px = np.sqrt(squared).astype(np.float32) - 0.5
    return np.where(inside, distance_px, -distance_px)


def interpolated(below_hw: np.ndarray, above_hw: np.ndarray, share: float) -> np.ndarray:
    """The shape between two masks by their signed distances.

    Args:
        below_hw: (H, W) bool.
        above_hw: (H, W) bool.
        share: from 0 (below) to 1 (above).

    Returns:
        (H, W) bool.
    """
    return (1 - share) * signed_distance(below_hw) + share * signed_distance(above_hw) > 0


@dataclass(frozen=True)
class Rectangle:
    """A part of a slice, to compute in; px, half-open: x0 <= x < x1, y0 <= y < y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @classmethod
    def around(cls, mask_hw: np.ndarray, margin_px: int = REACH_PX + 1) -> Rectangle:
        """All of a mask, (H, W) bool and not empty, and with the margin everything that its shape leaves possible."""
        rows, columns = np.flatnonzero(mask_hw.any(axis=1)), np.flatnonzero(mask_hw.any(axis=0))
        height, width = mask_hw.shape
        return cls(
            max(int(columns[0]) - margin_px, 0),
            max(int(rows[0]) - margin_px, 0),
            min(int(columns[-1]) + 1 + margin_px, width),
            min(int(rows[-1]) + 1 + margin_px, height),
        )

    @property
    def xyxy(self) -> np.ndarray:
        """As a box, (4,) float64, slice px."""
        return np.array([self.x0, self.y0, self.x1, self.y1], np.float64)

    def cut(self, slice_hw: np.ndarray) -> np.ndarray:
        """This part of a slice, a view of (H, W)."""
        return slice_hw[self.y0 : self.y1, self.x0 : self.x1]

    def whole(self, part: np.ndarray, size_hw: tuple[int, int], outside: float) -> np.ndarray:
        """Return a slice with a part in its place, (H, W) of the part's dtype.

        Args:
            part: (h, w), of this rectangle.
            size_hw: of the slice, px.
            outside: the value elsewhere.
        """
        whole = np.full(size_hw, outside, part.dtype)
        self.cut(whole)[...] = part
        return whole


def widened(box_xyxy: np.ndarray, margin: float, size_hw: tuple[int, int]) -> np.ndarray:
    """A box, wider on all sides by a share of its longer side, within the slice.

    Args:
        box_xyxy: (4,) float, slice px.
        margin: share of the longer side.
        size_hw: of the slice, px.
    """
    reach_px = margin * (box_xyxy[2:] - box_xyxy[:2]).max()
    height, width = size_hw
    return np.clip(box_xyxy + reach_px * np.array([-1, -1, 1, 1]), 0, [width, height, width, height])
