"""Where a segment is the user's own along an axis, and where an earlier propagation has left it as it is.

A propagation remembers, in a tag of the segment, what it has left at each position. The tag is saved with the scene. A
position that is no longer as it was left is the user's: a keyframe. So is one that was emptied while others of the same
run are still there: it says that the object is not there. Clearing a position empties it without saying so.

Slices have one tag in their segmentation, and undo brings it back together with the voxels. Frames have a segmentation
each, and a tag in each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import slicer

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.propagation.slice_stack import SegmentSlices, SliceStack, digest_of
from SAMMed2DSlicer.scene.segmentations import segment_of

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.propagation.axis import PropagationAxis

SLICES_TAG, FRAME_TAG = "SAMMed2D.Propagation", "SAMMed2D.PropagationInTime"
_VERSION = 1


@dataclass
class PropagationState:
    """What propagations have done to a segment along one direction.

    Attributes:
        stack: of which slices, see `SliceStack.key`; empty along time.
        settings: what else the results depend on.
        left: for each position that was written, what was left there (see `digest_of`); empty: nothing.
        confidence: of the same positions, 0 .. 1.
        keyframes: what the keyframes were.
        done: positions that were propagated to, found or not.
    """

    stack: list[Any] = field(default_factory=list)
    settings: str = ""
    left: dict[int, str] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    keyframes: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> PropagationState:
        """What is remembered of a segment's slices; nothing where the tag is missing or not readable."""
        try:
            kept = json.loads(tag_of(segmentation, segment_id) or "{}")
            if kept.get("version") != _VERSION:
                return cls()
            slices = kept["slices"]
            return cls(
                kept["stack"],
                str(kept["settings"]),
                {int(n): str(entry[0]) for n, entry in slices.items()},
                {int(n): float(entry[1]) for n, entry in slices.items() if math.isfinite(float(entry[1]))},
                {int(n): str(digest) for n, digest in kept["keyframes"].items()},
                {n for first, last in kept["done"] for n in range(int(first), int(last) + 1)},
            )
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return cls()

    def forget(self, number: int) -> None:
        """Let a slice that was emptied be found anew, instead of saying that the object is not there."""
        self.left.pop(number, None)
        self.done.discard(number)

    def keep(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Write the tag."""
        kept = {
            "version": _VERSION,
            "stack": self.stack,
            "settings": self.settings,
            "slices": {str(n): [text, round(self.confidence.get(n, 0.0), 3)] for n, text in sorted(self.left.items())},
            "keyframes": {str(n): text for n, text in sorted(self.keyframes.items())},
            "done": runs_of(self.done),
        }
        segment = segment_of(segmentation, segment_id)
        segment.SetTag(SLICES_TAG, json.dumps(kept, separators=(",", ":")))


@dataclass(frozen=True)
class FrameState:
    """What a propagation has left of a segment in one frame.

    Attributes:
        left: what tells its voxels from others; empty for none.
        confidence: 0 .. 1.
    """

    left: str = ""
    confidence: float = 0.0

    @classmethod
    def of(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> FrameState:
        """What is remembered; nothing where the tag is missing or not readable."""
        try:
            left, confidence = json.loads(tag_of(segmentation, segment_id, FRAME_TAG) or "[]")
            return cls(str(left), float(confidence)) if math.isfinite(float(confidence)) else cls()
        except (ValueError, TypeError):
            return cls()

    def keep(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Write the tag."""
        segment = segment_of(segmentation, segment_id)
        if self.left:
            segment.SetTag(FRAME_TAG, json.dumps([self.left, round(self.confidence, 3)]))
        else:
            segment.RemoveTag(FRAME_TAG)


class SegmentInFrame:
    """A segment in one frame, as it is when `read` is called."""

    def __init__(self, stack: SliceStack, segmentation: slicer.vtkMRMLSegmentationNode | None, segment_id: str) -> None:
        """Take hold of the voxels, on the main thread; nothing is read yet.

        Args:
            stack: the slices, and the grid of the segmentation.
            segmentation: of the frame; None where it has none.
            segment_id: one that the frame need not have.
        """
        self._slices = None if segmentation is None else SegmentSlices(stack, segmentation, segment_id)
        self.state = FrameState() if segmentation is None else FrameState.of(segmentation, segment_id)
        self.digest = ""
        self._size_hw = stack.planes[0].size_hw

    def read(self) -> None:
        """Read the voxels, in any thread."""
        if self._slices is not None:
            self._slices.read()
            self.digest = digest_of(self.patch())

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self._slices is not None and self._slices.is_stale()

    def patch(self) -> VoxelPatch | None:
        """All voxels, in the grid; None if there are none."""
        return voxel_patches.union([self.patch_on(number) for number in self.numbers])

    def patch_on(self, number: int) -> VoxelPatch | None:
        """The voxels on a slice, in the grid; None if there are none."""
        return None if self._slices is None else self._slices.patch(number)

    def mask_on(self, number: int) -> np.ndarray:
        """The segment on a slice, (H, W) bool."""
        return np.zeros(self._size_hw, bool) if self._slices is None else self._slices.mask(number)

    @property
    def numbers(self) -> list[int]:
        """The slices that show the segment."""
        return [] if self._slices is None else self._slices.numbers

    @property
    def is_generated(self) -> bool:
        """Whether a propagation has left it like this."""
        return bool(self.digest) and self.digest == self.state.left

    @property
    def is_drawn(self) -> bool:
        """Whether it is there, and the user's own."""
        return bool(self.digest) and not self.is_generated

    @property
    def is_emptied(self) -> bool:
        """Whether a propagation has left something, and all of it was taken away."""
        return not self.digest and bool(self.state.left)


class SegmentFrames:
    """The voxels of a segment frame by frame, as they are when `read` is called; see `SegmentSlices`."""

    def __init__(self, frames: list[SegmentInFrame], size_hw: tuple[int, int], only: int | None = None) -> None:
        """Take hold of the segment in all frames; where `only` is given, keyframes are those of this slice."""
        self.frames = frames
        self._size_hw, self._only = size_hw, only
        self.numbers: list[int] = []

    def read(self) -> None:
        """Read all frames, in any thread; it takes a while."""
        for frame in self.frames:
            frame.read()
        self.numbers = [number for number, frame in enumerate(self.frames) if frame.digest]

    def is_stale(self) -> bool:
        """Whether the segment was changed since, in any frame; on the main thread."""
        return any(frame.is_stale() for frame in self.frames)

    def patch(self, number: int) -> VoxelPatch | None:
        """The voxels in a frame, in the grid; None if there are none."""
        return self.frames[number].patch()

    def digest(self, number: int) -> str:
        """What tells the voxels in a frame from others; empty for an empty frame."""
        return self.frames[number].digest

    def slices_at_once(self, shown: Collection[int]) -> int:
        """How many slices of a frame are filled, where these frames are keyframes that show the segment."""
        return len(self._shown_slices(shown))

    def masks(self, shown: Collection[int], empty: Collection[int]) -> dict[tuple[int, int], np.ndarray]:
        """Masks, (H, W) bool, by frame and slice: a frame that shows the segment also says where it is not."""
        slices = self._shown_slices(shown)
        masks = {(n, k): self.frames[n].mask_on(k) for n in sorted(shown) for k in slices}
        return masks | {(n, k): np.zeros(self._size_hw, bool) for n in sorted(empty) for k in slices}

    def _shown_slices(self, shown: Collection[int]) -> list[int]:
        """The slices on which a keyframe shows the segment."""
        slices = {number for n in shown for number in self.frames[n].numbers}
        return sorted(slices if self._only is None else slices & {self._only})


class SegmentVoxels(Protocol):
    """The voxels of a segment position by position, as they are when `read` is called."""

    numbers: list[int]  # the positions that show it

    def read(self) -> None:
        """Read the segment, in any thread; it takes a while."""

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""

    def patch(self, number: int) -> VoxelPatch | None:
        """The voxels at a position, in the grid; None if there are none."""

    def digest(self, number: int) -> str:
        """What tells the voxels at a position from others; empty for none."""

    def slices_at_once(self, shown: Collection[int]) -> int:
        """How many slices of a position are filled, where these positions are keyframes that show the segment."""

    def masks(self, shown: Collection[int], empty: Collection[int]) -> Mapping[Any, np.ndarray]:
        """Masks, (H, W) bool, of keyframes that show the segment, and of those that say that it is not there."""


class SegmentKeyframes:
    """A segment along an axis, as it is when `read` is called.

    Attributes:
        shown: keyframes that show the segment.
        empty: keyframes that say that it is not there.
        generated: positions that a propagation has left as they are.
        emptied: positions from which all that a propagation has left was taken away.
    """

    def __init__(
        self,
        axis: PropagationAxis,
        segment_id: str,
        voxels: SegmentVoxels,
        state: PropagationState,
        chosen: Collection[int] | None = None,
    ) -> None:
        """Take hold of the segment, on the main thread; `read` looks at it.

        Args:
            axis: along what.
            segment_id: an existing segment.
            voxels: of the segment, not read yet.
            state: what propagations along this axis, or another one, have done to the segment.
            chosen: the keyframes, where a script says which.
        """
        self.axis, self.segment_id, self.voxels, self.state = axis, segment_id, voxels, state
        self.name = segment_of(axis.segmentation, segment_id).GetName()
        self._chosen = chosen
        self.generated: set[int] = set()
        self.shown: set[int] = set()
        self.empty: set[int] = set()
        self.emptied: set[int] = set()

    def read(self) -> None:
        """Tell the positions apart, in any thread; it takes a while."""
        self.voxels.read()
        present, left = set(self.voxels.numbers), self.state.left
        written = {n for n, text in left.items() if text}
        if self.axis.is_of(self.state):
            self.generated = {n for n in written & present if self.voxels.digest(n) == left[n]}
        if not self.generated:
            self.state = PropagationState()
        self.emptied = written - present
        if self._chosen is None:
            self.shown = present - self.generated
            self.empty = self.emptied if self.generated else set()
        else:
            self.shown, self.empty = present & set(self._chosen), set(self._chosen) - present
            self.generated = present - self.shown

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self.voxels.is_stale()

    @property
    def confidence(self) -> dict[int, float]:
        """How sure a propagation was of the positions that it has left as they are, 0 .. 1."""
        return self.state.confidence

    @property
    def numbers(self) -> list[int]:
        """The keyframes, from low to high."""
        return sorted(self.shown | self.empty)

    @property
    def slices_at_once(self) -> int:
        """How many slices each position has that are filled; 0 without a keyframe that shows the segment."""
        return self.voxels.slices_at_once(self.shown)

    def title(self, number: int) -> str:
        """What people call a position."""
        return self.axis.texts.title.format(number=number + 1)

    def masks(self) -> Mapping[Any, np.ndarray]:
        """The keyframes, (H, W) bool, by slice, or by frame and slice."""
        return self.voxels.masks(self.shown, self.empty)

    def digests(self) -> dict[int, str]:
        """What the keyframes are now."""
        return {n: self.voxels.digest(n) for n in self.numbers}

    def range_of(self, direction: str, first: int, last: int) -> tuple[int, int]:
        """The positions to fill: backward those below the highest keyframe, forward those above the lowest."""
        backward, _both, forward = self.axis.directions
        low = max(first, min(self.shown) + 1) if direction == forward else first
        high = min(last, max(self.shown) - 1) if direction == backward else last
        return low, high

    def wanted(self, settings: str, first: int, last: int) -> set[int] | None:
        """The positions of a range that are to be found anew: None for all, as in a first run.

        After a correction these are the neighbours of keyframes that are new, and what was not propagated to before.
        """
        if not self.state.stack or self.state.settings != settings:
            return None
        before, now = self.state.keyframes, self.digests()
        changed = {n for n in before.keys() | now.keys() if before.get(n) != now.get(n)}
        gone = {n for n in changed if n not in now}
        beside = {n + step for n in changed for step in (-1, 1)} | gone
        new = set(range(first, last + 1)) - self.state.done - set(now)
        return {n for n in beside | new if first <= n <= last and n not in now}


def runs_of(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as first and last of each run without a gap."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def tag_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, name: str = SLICES_TAG) -> str:
    """What a segment remembers, as it is kept; empty for nothing."""
    from vtk import reference

    value = reference("")
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return str(value) if segment is not None and segment.GetTag(name, value) else ""
