"""An image as a stack of slices, and segments on their way through it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.propagation.tracks import PropagatedSlice


@dataclass(eq=False)
class Tracked:
    """A segment on its way through the slices.

    Attributes:
        segment: its name and colour.
        mask: (K, J, I) bool, its keyframes.
        keyframes: masks (H, W) bool by slice.
        found: what was filled, by slice.
    """

    segment: Segment
    mask: np.ndarray
    keyframes: dict[int, np.ndarray]
    found: dict[int, PropagatedSlice] = field(default_factory=dict)

    def on(self, index: int) -> np.ndarray | None:
        """(H, W) bool of a slice; None where there is nothing."""
        if index in self.keyframes:
            return self.keyframes[index]
        return self.found[index].mask if index in self.found else None

    @property
    def worst(self) -> int | None:
        """The slice of the lowest confidence; None if none was filled."""
        return min(self.found, key=lambda index: self.found[index].confidence, default=None)


@dataclass(frozen=True, eq=False)
class Stack:
    """An image as slices along one axis.

    Attributes:
        volume: the image.
        axis: array axis of the slices.
        intensity: the same rule for all slices.
        first: lowest slice to fill.
        last: highest slice to fill.
    """

    volume: Volume
    axis: int
    intensity: Intensity
    first: int
    last: int

    def plane(self, index: int) -> SlicePlane:
        """A slice by its number."""
        return SlicePlane.of_axis(self.volume.size_ijk, self.axis, index)

    def picture(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return rgb_from_slice(self.plane(index).extract(self.volume.array), self.intensity)
