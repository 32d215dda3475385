"""In which frames a segment is the user's own, and which an earlier propagation along time has left as they are.

As along slices (see `keyframes`): what a propagation has left in a frame is remembered in a tag of that frame's
segment. A frame that is no longer as it was left is a keyframe. So is one that was emptied while others of the same
run are still there: it says that the object is not there at that time.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.propagation import keyframes
from SAMMed2DSlicer.propagation.slice_stack import SegmentSlices, Stack
from SAMMed2DSlicer.scene.segmentations import segment_of
from SAMMed2DSlicer.scene.sequences import FrameSeries

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch

TAG = "SAMMed2D.PropagationInTime"
EARLIER, LATER, BOTH = "earlier", "later", "both"
DIRECTIONS = (EARLIER, LATER, BOTH)


@dataclass(frozen=True)
class FrameMemory:
    """What a propagation has left of a segment in one frame.

    Attributes:
        left: what tells its voxels from others; empty for none.
        confidence: 0 .. 1.
    """

    left: str = ""
    confidence: float = 0.0

    @classmethod
    def of(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> FrameMemory:
        """What is remembered; nothing where the tag is missing or not readable."""
        try:
            left, confidence = json.loads(keyframes.tag_of(segmentation, segment_id, TAG) or "[]")
            return cls(str(left), float(confidence)) if math.isfinite(float(confidence)) else cls()
        except (ValueError, TypeError):
            return cls()

    def keep(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Write the tag."""
        segment = segment_of(segmentation, segment_id)
        if self.left:
            segment.SetTag(TAG, json.dumps([self.left, round(self.confidence, 3)]))
        else:
            segment.RemoveTag(TAG)


class SegmentInFrame:
    """A segment in one frame, as it is when `read` is called."""

    def __init__(self, stack: Stack, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Take hold of the voxels, on the main thread; nothing is read yet.

        Args:
            stack: the slices, and the grid of the segmentation.
            segmentation: of the frame; None where it has none.
            segment_id: one that the frame need not have.
        """
        self.slices = None if segmentation is None else SegmentSlices(stack, segmentation, segment_id)
        self.memory = FrameMemory() if segmentation is None else FrameMemory.of(segmentation, segment_id)
        self.digest = ""
        self._size_hw = stack.planes[0].size_hw

    def read(self) -> None:
        """Read the voxels, in any thread."""
        if self.slices is not None:
            self.slices.read()
            self.digest = _digest(self.patch())

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self.slices is not None and self.slices.is_stale()

    def patch(self) -> VoxelPatch | None:
        """All voxels, in the grid; None if there are none."""
        return voxel_patches.union([self.patch_on(number) for number in self.numbers])

    def patch_on(self, number: int) -> VoxelPatch | None:
        """The voxels on a slice, in the grid; None if there are none."""
        return None if self.slices is None else self.slices.patch(number)

    def mask_on(self, number: int) -> np.ndarray:
        """The segment on a slice, (H, W) bool."""
        return np.zeros(self._size_hw, bool) if self.slices is None else self.slices.mask(number)

    @property
    def numbers(self) -> list[int]:
        """The slices that show the segment."""
        return [] if self.slices is None else self.slices.numbers

    @property
    def is_ours(self) -> bool:
        """Whether a propagation has left it like this."""
        return bool(self.digest) and self.digest == self.memory.left

    @property
    def is_drawn(self) -> bool:
        """Whether it is there, and the user's own."""
        return bool(self.digest) and not self.is_ours

    @property
    def is_emptied(self) -> bool:
        """Whether a propagation has left something, and all of it was taken away."""
        return not self.digest and bool(self.memory.left)


class SegmentInTime:
    """A segment in all frames, as it is when `read` is called."""

    def __init__(self, stack: Stack, frames: FrameSeries, segment_id: str, only: int | None = None) -> None:
        """Take hold of it, on the main thread.

        Args:
            stack: the slices, and the grid of the segmentation.
            frames: the frames.
            segment_id: of what the scene shows.
            only: look at this slice only; None for all.
        """
        self.segment_id = segment_id
        self.name = segment_of(frames.segmentation, segment_id).GetName()
        self.frames = [SegmentInFrame(stack, frames.drawing(n), segment_id) for n in range(len(frames.values))]
        self._size_hw, self._only = stack.planes[0].size_hw, only
        self.ours: set[int] = set()
        self.shown: set[int] = set()
        self.empty: set[int] = set()
        self.confidence: dict[int, float] = {}

    def read(self) -> None:
        """Tell the frames apart, in any thread; it takes a while."""
        for one in self.frames:
            one.read()
        self.ours = {n for n, one in enumerate(self.frames) if one.is_ours}
        self.shown = {n for n, one in enumerate(self.frames) if one.is_drawn}
        self.empty = {n for n, one in enumerate(self.frames) if one.is_emptied} if self.ours else set()
        self.confidence = {n: self.frames[n].memory.confidence for n in self.ours}

    def is_stale(self) -> bool:
        """Whether the segment was changed since, in any frame; on the main thread."""
        return any(one.is_stale() for one in self.frames)

    def title(self, number: int) -> str:
        """What people call a frame."""
        return _("Frame {number}").format(number=number + 1)

    @property
    def numbers(self) -> list[int]:
        """The keyframes, from early to late."""
        return sorted(self.shown | self.empty)

    @property
    def slices(self) -> list[int]:
        """The slices on which a keyframe shows the segment."""
        found = {number for n in self.shown for number in self.frames[n].numbers}
        return sorted(found if self._only is None else found & {self._only})

    def masks(self) -> dict[tuple[int, int], np.ndarray]:
        """The keyframes, (H, W) bool, by frame and slice: a frame that shows the segment also says where it is not."""
        shown = {(n, k): self.frames[n].mask_on(k) for n in sorted(self.shown) for k in self.slices}
        return shown | {(n, k): np.zeros(self._size_hw, bool) for n in sorted(self.empty) for k in self.slices}

    def range_of(self, direction: str, first: int, last: int) -> tuple[int, int]:
        """The frames to fill: with `LATER` those after the first keyframe, with `EARLIER` those before the last."""
        low = max(first, min(self.shown) + 1) if direction == LATER else first
        high = min(last, max(self.shown) - 1) if direction == EARLIER else last
        return low, high


def _digest(patch: VoxelPatch | None) -> str:
    """What tells voxels from others, in whatever direction they were read; empty for none."""
    if patch is None:
        return ""
    text = repr((tuple(patch.start_ijk), patch.mask_kji.shape)).encode()
    return hashlib.blake2b(text + np.packbits(patch.mask_kji).tobytes(), digest_size=8).hexdigest()
