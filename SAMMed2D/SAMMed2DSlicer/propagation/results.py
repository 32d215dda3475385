"""Settings of a propagation, its state while it runs, and its result; the same along slices and along time."""

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
    from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
    from SAMMed2DSlicer.propagation.undo import FrameUndo


@dataclass(frozen=True)
class PropagationSettings:
    """What the user chooses for a propagation. A position is a slice or a frame, from 0.

    Attributes:
        direction: one of the `directions` of the axis.
        first: lowest position to fill; None for the lowest there is.
        last: highest position to fill; None for the highest there is.
        every: every n-th position is found; those between are interpolated.
        intensity: what the model sees, one of `volumes.INTENSITIES`.
        zoom: whether the model is given a crop; None: as its weights were trained.
        loop: whether the first frame follows the last one; not used for slices.
        asks_model: whether the model is heard too; else shape and grey values decide.
    """

    direction: str = "both"
    first: int | None = None
    last: int | None = None
    every: int = 1
    intensity: str = volumes.WINDOW
    zoom: bool | None = None
    loop: bool = False
    asks_model: bool = False


@dataclass(frozen=True, eq=False)
class PositionResult:
    """A segment on one slice, or in one frame.

    Attributes:
        index: the slice or the frame, from 0.
        confidence: 0 .. 1; 1 for keyframes.
        is_keyframe: whether it is a keyframe, not a result.
        voxels: of the segment at the position.
    """

    index: int
    confidence: float
    is_keyframe: bool
    voxels: int

    @property
    def frame(self) -> int:
        """`index`, for results along time."""
        return self.index


@dataclass(frozen=True, eq=False)
class SegmentPropagation:
    """The result of a propagation for one segment.

    Attributes:
        segment_id: the segment.
        positions: keyframes, and slices or frames that this run filled, from low to high.
        changed: how many voxels of the segment changed.
        found: at how many positions this run found the object, whether or not they could be written.
    """

    segment_id: str
    positions: list[PositionResult]
    changed: int
    found: int

    @property
    def slices(self) -> list[PositionResult]:
        """`positions`, for results along slices."""
        return self.positions

    @property
    def frames(self) -> list[PositionResult]:
        """`positions`, for results along time."""
        return self.positions


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """The result of a propagation.

    Attributes:
        planes: all slices, from the first to the last.
        segments: the result of each segment, by its ID.
        is_complete: whether it was not cancelled.
        outside_px: how many pixels of the masks lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each other segment has lost to those of the run, by its ID.
        undo: undoes a run along time; None along slices, where the `SegmentTarget` has the undo.
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


@dataclass(frozen=True, eq=False)
class UnwrittenResults:
    """What a run has found and not written yet.

    Attributes:
        grid_extent: first and last voxel of the grid along i, j and k.
        geometry: vtkMatrix4x4, its voxels to the segmentation's RAS.
        patches: the voxels, by segment.
    """

    grid_extent: tuple[int, ...]
    geometry: Any
    patches: Mapping[str, list[VoxelPatch]]


@dataclass(eq=False)
class SegmentRun:
    """A segment of a propagation that is running.

    Attributes:
        keyframes: of the segment, as they were when the run began.
        first: lowest position to fill.
        last: highest position to fill; below the lowest for none.
        outdated: positions to compute again, see `SegmentKeyframes.outdated`; None for all.
        targets: all positions to fill.
        keyframe_masks: (H, W) bool, by slice, or by (frame, slice).
        results: by position and slice the voxels, None for none, and the confidence.
    """

    keyframes: SegmentKeyframes
    first: int = 0
    last: int = -1
    outdated: set[int] | None = None
    targets: set[int] = field(default_factory=set)
    keyframe_masks: Mapping[Any, np.ndarray] = field(default_factory=dict)
    results: dict[int, dict[int, tuple[VoxelPatch | None, float]]] = field(default_factory=dict)

    @property
    def segment_id(self) -> str:
        """The segment."""
        return self.keyframes.segment_id

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices of all positions are computed, of at most how many; in any thread."""
        done = sum(len(slices) for slices in list(self.results.values()))
        return done, len(self.targets) * self.keyframes.slices_per_position

    @property
    def found_patches(self) -> list[VoxelPatch]:
        """The voxels found so far; in any thread."""
        slices = [found for position in list(self.results.values()) for found in list(position.values())]
        return [patch for patch, _confidence in slices if patch is not None]

    @property
    def positions_found(self) -> int:
        """At how many positions the object was found."""
        return sum(any(patch is not None for patch, _confidence in slices.values()) for slices in self.results.values())
