"""Keyframes of a segment: the positions on an axis that the user has drawn, as opposed to those a propagation wrote.

A propagation keeps, in a tag of the segment, a digest of what it wrote at each position; the tag is saved with the
scene. A position whose voxels have another digest now was edited by the user: it is a keyframe. So is a position that
was emptied while others of the same run are still there: the object is not there. `PropagationAxis.clear` empties a
position without making it a keyframe. Slices with no more than lines of masks across them are filled; the lines stay.

Along slices the segment has one tag, which undo restores together with the voxels. Along time each frame has its own
segmentation, and its segment a tag of its own.
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
from SAMMed2DSlicer.scene.segmentations import FRAME_TAG, SLICES_TAG, segment_of
from SAMMed2DSlicer.scene.slice_stack import SegmentSlices, SliceStack, digest_of

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.propagation.axis import PropagationAxis

_VERSION = 1


@dataclass
class PropagationState:
    """What propagations have written of a segment along one axis.

    Attributes:
        stack: the slices, see `SliceStack.key`; empty along time.
        settings: text that changes with whatever else the results depend on.
        digests: `digest_of` the voxels, by position written; empty where there were none.
        confidence: of the same positions, 0 .. 1.
        keyframes: digests of the keyframes, by position.
        done: positions that the run came to, whether or not the object was found there.
    """

    stack: list[Any] = field(default_factory=list)
    settings: str = ""
    digests: dict[int, str] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    keyframes: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    @classmethod
    def load(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> PropagationState:
        """Read the tag of a segment; an empty state where it is missing or not readable."""
        try:
            kept = json.loads(read_tag(segmentation, segment_id) or "{}")
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
        """Forget a slice that was emptied, so that the next run fills it and does not take it for an empty keyframe."""
        self.digests.pop(number, None)
        self.done.discard(number)

    def save(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Write the tag."""
        kept = {
            "version": _VERSION,
            "stack": self.stack,
            "settings": self.settings,
            "slices": {
                str(n): [text, round(self.confidence.get(n, 0.0), 3)] for n, text in sorted(self.digests.items())
            },
            "keyframes": {str(n): text for n, text in sorted(self.keyframes.items())},
            "done": contiguous_ranges(self.done),
        }
        segment_of(segmentation, segment_id).SetTag(SLICES_TAG, json.dumps(kept, separators=(",", ":")))


@dataclass(frozen=True)
class FrameState:
    """What a propagation has written of a segment in one frame.

    Attributes:
        digest: `digest_of` its voxels; empty for none.
        confidence: 0 .. 1.
    """

    digest: str = ""
    confidence: float = 0.0

    @classmethod
    def load(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> FrameState:
        """Read the tag; an empty state where it is missing or not readable."""
        try:
            digest, confidence = json.loads(read_tag(segmentation, segment_id, FRAME_TAG) or "[]")
            return cls(str(digest), float(confidence)) if math.isfinite(float(confidence)) else cls()
        except (ValueError, TypeError):
            return cls()

    def save(self, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        """Write the tag; remove it where there are no voxels."""
        segment = segment_of(segmentation, segment_id)
        if self.digest:
            segment.SetTag(FRAME_TAG, json.dumps([self.digest, round(self.confidence, 3)]))
        else:
            segment.RemoveTag(FRAME_TAG)


class FrameSegment:
    """The voxels of a segment in one frame, as they are when `read` is called."""

    def __init__(self, stack: SliceStack, segmentation: slicer.vtkMRMLSegmentationNode | None, segment_id: str) -> None:
        """Hold references to the voxels, on the main thread; `read` reads them.

        Args:
            stack: the slices, and the grid of the segmentation.
            segmentation: of the frame; None where it has none.
            segment_id: one that the frame need not have.
        """
        self._slices = None if segmentation is None else SegmentSlices(stack, segmentation, segment_id)
        self.state = FrameState() if segmentation is None else FrameState.load(segmentation, segment_id)
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
        """Whether it is unchanged since a propagation wrote it."""
        return bool(self.digest) and self.digest == self.state.digest

    @property
    def is_drawn(self) -> bool:
        """Whether it has voxels that are not as a propagation wrote them."""
        return bool(self.digest) and not self.is_generated

    @property
    def is_emptied(self) -> bool:
        """Whether a propagation wrote voxels, and none are left."""
        return not self.digest and bool(self.state.digest)


class SegmentFrames:
    """The voxels of a segment frame by frame, as they are when `read` is called; see `SegmentSlices`."""

    def __init__(self, frames: list[FrameSegment], size_hw: tuple[int, int], only: int | None = None) -> None:
        """Prepare.

        Args:
            frames: the segment in each frame.
            size_hw: of a slice, px.
            only: number of the only slice to propagate; None for all.
        """
        self.frames = frames
        self._size_hw, self._only = size_hw, only
        self.numbers: list[int] = []
        self.crossed: set[int] = set()  # none

    def read(self) -> None:
        """Read all frames, in any thread; takes seconds for many frames."""
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
        """`digest_of` the voxels in a frame; empty for an empty frame."""
        return self.frames[number].digest

    def slices_per_position(self, nonempty: Collection[int]) -> int:
        """How many slices of each frame are filled, given the keyframes that have voxels."""
        return len(self._drawn_slices(nonempty))

    def masks(self, nonempty: Collection[int], empty: Collection[int]) -> dict[tuple[int, int], np.ndarray]:
        """Masks of keyframes, (H, W) bool, by (frame, slice), on all slices that any of them shows."""
        slices = self._drawn_slices(nonempty)
        masks = {(n, k): self.frames[n].mask_on(k) for n in sorted(nonempty) for k in slices}
        return masks | {(n, k): np.zeros(self._size_hw, bool) for n in sorted(empty) for k in slices}

    def _drawn_slices(self, nonempty: Collection[int]) -> list[int]:
        """The slices on which any of these keyframes has voxels."""
        slices = {number for n in nonempty for number in self.frames[n].numbers}
        return sorted(slices if self._only is None else slices & {self._only})


class SegmentVoxels(Protocol):
    """The voxels of a segment position by position, as they are when `read` is called."""

    numbers: list[int]  # positions with voxels, from low to high
    crossed: set[int]  # those that show only lines of masks that were drawn across them

    def read(self) -> None:
        """Read the segment, in any thread; takes seconds for large ones."""

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""

    def patch(self, number: int) -> VoxelPatch | None:
        """The voxels at a position, in the grid; None if there are none."""

    def digest(self, number: int) -> str:
        """`digest_of` the voxels at a position; empty for none."""

    def slices_per_position(self, nonempty: Collection[int]) -> int:
        """How many slices of each position are filled, given the keyframes that have voxels."""

    def masks(self, nonempty: Collection[int], empty: Collection[int]) -> Mapping[Any, np.ndarray]:
        """Masks, (H, W) bool, of keyframes that have voxels, and of those that are empty."""


class SegmentKeyframes:
    """A segment along an axis, as it is when `read` is called.

    Attributes:
        nonempty: keyframes that have voxels.
        empty: keyframes that have none: the object is not there.
        generated: positions that are unchanged since a propagation wrote them.
        emptied: positions where a propagation wrote voxels and none are left.
    """

    def __init__(
        self,
        axis: PropagationAxis,
        segment_id: str,
        voxels: SegmentVoxels,
        state: PropagationState,
        chosen: Collection[int] | None = None,
    ) -> None:
        """Prepare, on the main thread; `read` reads the voxels.

        Args:
            axis: the positions.
            segment_id: an existing segment.
            voxels: of the segment, not read yet.
            state: of the last propagation of the segment, along this axis or another one.
            chosen: the keyframes, if a script names them; None to find them.
        """
        self.axis, self.segment_id, self.voxels, self.state = axis, segment_id, voxels, state
        self.name = segment_of(axis.segmentation, segment_id).GetName()
        self._chosen = chosen
        self.generated: set[int] = set()
        self.nonempty: set[int] = set()
        self.empty: set[int] = set()
        self.emptied: set[int] = set()

    def read(self) -> None:
        """Find the keyframes, in any thread; takes seconds for large segments."""
        self.voxels.read()
        present, digests = set(self.voxels.numbers), self.state.digests
        written = {n for n, text in digests.items() if text}
        if self.axis.matches(self.state):
            self.generated = {n for n in written & present if self.voxels.digest(n) == digests[n]}
        if not self.generated:
            self.state = PropagationState()
        self.emptied = written - present
        if self._chosen is None:
            drawn = present - self.generated
            self.nonempty = drawn - self.voxels.crossed
            if drawn and len(drawn) <= max(drawn) - min(drawn):  # slices apart: a thin structure is drawn on them
                self.nonempty = self.nonempty or drawn
            self.empty = self.emptied if self.generated else set()
        else:
            self.nonempty, self.empty = present & set(self._chosen), set(self._chosen) - present
            self.generated = present - self.nonempty

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self.voxels.is_stale()

    @property
    def confidence(self) -> dict[int, float]:
        """Confidence of the positions that the last propagation wrote, 0 .. 1."""
        return self.state.confidence

    @property
    def numbers(self) -> list[int]:
        """The keyframes, from low to high."""
        return sorted(self.nonempty | self.empty)

    @property
    def slices_per_position(self) -> int:
        """How many slices of each position are filled; 0 without a keyframe that has voxels."""
        return self.voxels.slices_per_position(self.nonempty)

    def title(self, number: int) -> str:
        """The name of a position for the user, such as "Slice 3"."""
        return self.axis.texts.title.format(number=number + 1)

    def masks(self) -> Mapping[Any, np.ndarray]:
        """The keyframes, (H, W) bool, by slice, or by frame and slice."""
        return self.voxels.masks(self.nonempty, self.empty)

    def digests(self) -> dict[int, str]:
        """`digest_of` the voxels of each keyframe."""
        return {n: self.voxels.digest(n) for n in self.numbers}

    def range_of(self, direction: str, first: int, last: int) -> tuple[int, int]:
        """The lowest and the highest position to fill.

        Args:
            direction: one of the axis' `directions`; backward ends below the highest keyframe, forward begins above the
                lowest.
            first: lowest position that may be filled.
            last: highest position that may be filled.
        """
        backward, _both, forward = self.axis.directions
        low = max(first, min(self.nonempty) + 1) if direction == forward else first
        high = min(last, max(self.nonempty) - 1) if direction == backward else last
        return low, high

    def outdated(self, settings: str, first: int, last: int) -> set[int] | None:
        """The positions of a range that have to be computed again; None for all, as in a first run.

        After a correction these are the neighbours of changed keyframes, and what the last run did not come to.

        Args:
            settings: see `PropagationState.settings`; the last run counts only if it had the same.
            first: lowest position of the range.
            last: highest position of the range.
        """
        if not self.state.stack or self.state.settings != settings:
            return None
        before, after = self.state.keyframes, self.digests()
        changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
        gone = {n for n in changed if n not in after}
        beside = {n + step for n in changed for step in (-1, 1)} | gone
        new = set(range(first, last + 1)) - self.state.done - set(after)
        return {n for n in beside | new if first <= n <= last and n not in after}


def contiguous_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """The first and the last number of each run without a gap."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def read_tag(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, name: str = SLICES_TAG) -> str:
    """The text of a segment's tag; empty where there is none.

    Args:
        segmentation: the segmentation node.
        segment_id: the segment; it need not exist.
        name: of the tag.
    """
    from vtk import reference

    value = reference("")
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return str(value) if segment is not None and segment.GetTag(name, value) else ""
