"""What the user chooses for a propagation, what it is at work on, and what came of it; the same along any axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.propagation.frame_axis import FrameUndo
    from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes


@dataclass(frozen=True)
class PropagationSettings:
    """What the user has chosen. A position is a slice or a frame, from 0.

    Attributes:
        direction: one of the `directions` of the axis.
        first: lowest position to fill; None for the lowest there is.
        last: highest position to fill; None for the highest there is.
        every: the model is asked at every n-th position.
        intensity: what the model sees, one of `scene.INTENSITIES`.
        zoom: whether the model looks at a crop; None does what the weights were trained for.
        loop: whether the last frame is followed by the first one; of no meaning for slices.
    """

    direction: str = "both"
    first: int | None = None
    last: int | None = None
    every: int = 1
    intensity: str = volumes.WINDOW
    zoom: bool | None = None
    loop: bool = False


@dataclass(frozen=True, eq=False)
class PositionResult:
    """A segment on one slice, or in one frame.

    Attributes:
        index: the slice or the frame, from 0.
        confidence: 0 .. 1, to find the positions that need a look; 1 for keyframes.
        is_keyframe: whether it was given.
        voxels: of the segment at the position.
    """

    index: int
    confidence: float
    is_keyframe: bool
    voxels: int

    @property
    def frame(self) -> int:
        """The index, by its name along time."""
        return self.index


@dataclass(frozen=True, eq=False)
class SegmentPropagation:
    """What became of one segment.

    Attributes:
        segment_id: the segment.
        positions: keyframes, and slices or frames that were filled now, from low to high.
        changed: how many voxels of the segment changed.
        found: at how many positions the object was found now, whether or not they could be written.
    """

    segment_id: str
    positions: list[PositionResult]
    changed: int
    found: int

    @property
    def slices(self) -> list[PositionResult]:
        """The positions of a propagation along slices."""
        return self.positions

    @property
    def frames(self) -> list[PositionResult]:
        """The positions of a propagation along time."""
        return self.positions


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """What became of a propagation.

    Attributes:
        planes: all slices, by their numbers.
        segments: by their IDs.
        is_complete: whether it was not cancelled.
        outside_px: how many pixels of what was found lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each segment beside those of the run has lost, where it had to give way, by its ID.
        undo: takes a run along time back; None along slices, where the one that wrote them has an undo.
    """

    planes: tuple[SlicePlane, ...]
    segments: dict[str, SegmentPropagation]
    is_complete: bool
    outside_px: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    undo: FrameUndo | None = None

    @property
    def changed(self) -> int:
        """How many voxels changed, of all segments."""
        return sum(segment.changed for segment in self.segments.values())

    @property
    def found(self) -> int:
        """At how many positions objects were found, of all segments."""
        return sum(segment.found for segment in self.segments.values())

    @property
    def filled(self) -> int:
        """How many positions were filled, each counted once."""
        positions = (position for segment in self.segments.values() for position in segment.positions)
        return len({position.index for position in positions if not position.is_keyframe})


@dataclass(eq=False)
class SegmentRun:
    """A segment in the work.

    Attributes:
        keyframes: of the segment, as they were when the run began.
        first: lowest position to fill.
        last: highest position to fill; below the lowest for none.
        wanted: positions that are to be found anew, see `SegmentKeyframes.wanted`; None for all.
        targets: all positions that are filled.
        masks: the keyframes, (H, W) bool, by slice, or by frame and slice.
        found: by position and slice the voxels, None for none, and the confidence.
    """

    keyframes: SegmentKeyframes
    first: int = 0
    last: int = -1
    wanted: set[int] | None = None
    targets: set[int] = field(default_factory=set)
    masks: Mapping[Any, np.ndarray] = field(default_factory=dict)
    found: dict[int, dict[int, tuple[VoxelPatch | None, float]]] = field(default_factory=dict)

    @property
    def segment_id(self) -> str:
        """The segment."""
        return self.keyframes.segment_id

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices of all positions were found, of at most how many; in any thread."""
        done = sum(len(slices) for slices in list(self.found.values()))
        return done, len(self.targets) * self.keyframes.slices_at_once

    @property
    def positions_found(self) -> int:
        """At how many positions the object is."""
        return sum(any(patch is not None for patch, _confidence in slices.values()) for slices in self.found.values())
