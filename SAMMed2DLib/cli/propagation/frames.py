"""A 4D image as slices whose frames follow one another, and segments on their way through time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from SAMMed2DLib.cli.propagation.keyframes import slices_shown
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume, VolumeSequence
from SAMMed2DLib.propagation.time_series import FrameAndSlice, FrameResult, confidence_of_frame


@dataclass(frozen=True, eq=False)
class Cine:
    """A 4D image as slices along one axis.

    Attributes:
        frames: the image.
        axis: array axis of the slices.
        intensity: the same rule for all frames.
        first: lowest frame to fill.
        last: highest frame to fill.
    """

    frames: VolumeSequence
    axis: int
    intensity: Intensity
    first: int
    last: int

    @property
    def volume(self) -> Volume:
        """One frame, for what all have in common."""
        return self.frames.volume(0)

    def plane(self, index: int) -> SlicePlane:
        """A slice by its number."""
        return SlicePlane.of_axis(self.volume.size_ijk, self.axis, index)

    def picture(self, frame: int, index: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return rgb_from_slice(self.plane(index).extract(self.frames.array[frame]), self.intensity)


@dataclass(frozen=True, eq=False)
class Filled:
    """A slice that was filled in one frame; its mask in bits, because there are many.

    Attributes:
        bits: of the mask, (H, W), row by row.
        pixels: of the mask.
        confidence: 0 .. 1.
        score: IoU that the model predicts; NaN where it was not asked.
    """

    bits: np.ndarray
    pixels: int
    confidence: float
    score: float

    @classmethod
    def of(cls, found: FrameResult) -> Filled:
        """Take over what was found."""
        return cls(np.packbits(found.mask), int(found.mask.sum()), found.confidence, found.score)

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) bool."""
        height, width = size_hw
        return np.unpackbits(self.bits, count=height * width).reshape(size_hw).astype(bool)


@dataclass(eq=False)
class Moving:
    """A segment on its way through time.

    Attributes:
        segment: its name and colour.
        drawn: masks (K, J, I) bool by frame, none of them empty: these frames are not altered.
        found: what was filled, by frame and slice.
    """

    segment: Segment
    drawn: dict[int, np.ndarray] = field(default_factory=dict)
    found: dict[int, dict[int, Filled]] = field(default_factory=dict)

    def slices(self, axis: int) -> list[int]:
        """The slices on which it is drawn in some frame."""
        shown = [slices_shown(mask, axis) for mask in self.drawn.values()]
        return [int(index) for index in np.flatnonzero(np.logical_or.reduce(shown))] if shown else []

    def keyframes(self, cine: Cine) -> dict[FrameAndSlice, np.ndarray]:
        """Masks (H, W) bool by frame and slice: a frame in which it is drawn also says where it is not."""
        slices = self.slices(cine.axis)
        return {(frame, n): cine.plane(n).extract(mask) for frame, mask in self.drawn.items() for n in slices}

    def mask(self, cine: Cine, frame: int) -> np.ndarray:
        """(K, J, I) bool of a frame; empty where nothing is known."""
        if frame in self.drawn:
            return self.drawn[frame]
        whole = np.zeros(cine.frames.array.shape[1:], bool)
        for index, one in self.found.get(frame, {}).items():
            plane = cine.plane(index)
            plane.insert(whole, one.mask(plane.size_hw), True)
        return whole

    def confidence(self, frame: int) -> float | None:
        """How sure it is in a frame that was filled; None for others."""
        slices = self.found.get(frame)
        return confidence_of_frame((one.pixels, one.confidence) for one in slices.values()) if slices else None

    @property
    def confidences(self) -> dict[int, float]:
        """How sure it is in each frame that was filled, in their order."""
        return {frame: one for frame in sorted(self.found) if (one := self.confidence(frame)) is not None}

    @property
    def worst(self) -> int | None:
        """The frame of the lowest confidence; None if none was filled."""
        confidences = self.confidences
        return min(confidences, key=lambda frame: confidences[frame], default=None)
