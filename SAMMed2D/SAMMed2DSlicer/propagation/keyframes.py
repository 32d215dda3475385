"""Which slices of a segment are the user's own, and which an earlier propagation has left as they are.

A propagation remembers, in a tag of the segment, what it has left on each slice. The tag is saved with the scene, and
undo brings it back together with the voxels. A slice that is no longer as it was left is the user's: a keyframe. So is
one that was emptied while others of the same run are still there: it says that the object is not here. `clear_slice`
empties one without saying so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.slice_stack import SegmentSlices, Stack
from SAMMed2DSlicer.scene.segment_targets import SegmentTarget
from SAMMed2DSlicer.scene.segment_writer import labelmap_of
from SAMMed2DSlicer.scene.segmentations import segment_of

_TAG = "SAMMed2D.Propagation"
_VERSION = 1
UP, DOWN, BOTH = "up", "down", "both"
DIRECTIONS = (UP, DOWN, BOTH)


@dataclass
class Memory:
    """What propagations have done to a segment along one direction.

    Attributes:
        stack: of which slices; see `Stack.key`.
        settings: what else the results depend on.
        left: for each slice that was written, what was left there (see `SegmentSlices.digest`); empty: nothing.
        confidence: of the same slices, 0 .. 1.
        keyframes: what the keyframes were.
        done: slices that were propagated to, found or not.
    """

    stack: list[Any] = field(default_factory=list)
    settings: str = ""
    left: dict[int, str] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    keyframes: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Memory:
        """What is remembered of a segment; nothing where the tag is missing or not readable."""
        try:
            kept = json.loads(tag_of(segmentation, segment_id) or "{}")
            if kept.get("version") != _VERSION:
                return cls()
            slices = kept["slices"]
            return cls(
                kept["stack"],
                str(kept["settings"]),
                {int(n): str(one[0]) for n, one in slices.items()},
                {int(n): float(one[1]) for n, one in slices.items() if math.isfinite(float(one[1]))},
                {int(n): str(one) for n, one in kept["keyframes"].items()},
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
        segment_of(segmentation, segment_id).SetTag(_TAG, json.dumps(kept, separators=(",", ":")))


class SegmentKeyframes:
    """A segment along a stack of slices, as it is now."""

    def __init__(
        self,
        stack: Stack,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        chosen: Collection[int] | None = None,
    ) -> None:
        """Take hold of the segment, on the main thread; `read` looks at it.

        Args:
            stack: the slices, and the grid of the segmentation.
            segmentation: the segmentation node.
            segment_id: an existing segment.
            chosen: the keyframes, where a script says which.
        """
        self.segment_id = segment_id
        self.name = segment_of(segmentation, segment_id).GetName()
        self.slices = SegmentSlices(stack, segmentation, segment_id)
        self.memory = Memory.of(segmentation, segment_id)
        self._is_of_stack, self._chosen = self.memory.stack == stack.key(), chosen
        self.ours: set[int] = set()
        self.shown: set[int] = set()
        self.empty: set[int] = set()

    def read(self) -> None:
        """Tell the slices apart, in any thread; it takes a while."""
        self.slices.read()
        present = set(self.slices.numbers)
        written = {n for n, text in self.memory.left.items() if text}
        if self._is_of_stack:
            self.ours = {n for n in written & present if self.slices.digest(n) == self.memory.left[n]}
        if not self.ours:
            self.memory = Memory()
        if self._chosen is None:
            self.shown = present - self.ours
            self.empty = written - present if self.ours else set()
        else:
            self.shown, self.empty = present & set(self._chosen), set(self._chosen) - present
            self.ours = present - self.shown

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return self.slices.is_stale()

    @property
    def confidence(self) -> dict[int, float]:
        """How sure a propagation was of the slices that it has left as they are, 0 .. 1."""
        return self.memory.confidence

    def title(self, number: int) -> str:
        """What people call a slice."""
        return _("Slice {number}").format(number=number + 1)

    @property
    def numbers(self) -> list[int]:
        """The keyframes, from low to high."""
        return sorted(self.shown | self.empty)

    def masks(self) -> dict[int, np.ndarray]:
        """The keyframes, (H, W) bool, by the number of their slice."""
        masks = {n: self.slices.mask(n) for n in sorted(self.shown)}
        size_hw = self.slices.size_hw
        return masks | {n: np.zeros(size_hw, bool) for n in self.empty}

    def digests(self) -> dict[int, str]:
        """What the keyframes are now."""
        return {n: self.slices.digest(n) for n in self.numbers}

    def range_of(self, direction: str, first: int, last: int) -> tuple[int, int]:
        """The slices to fill: with `UP` those over the lowest keyframe, with `DOWN` those under the highest."""
        shown = sorted(self.shown)
        low = max(first, shown[0] + 1) if direction == UP else first
        high = min(last, shown[-1] - 1) if direction == DOWN else last
        return low, high

    def wanted(self, settings: str, first: int, last: int) -> set[int] | None:
        """The slices of a range that are to be found anew: None for all, as in a first run.

        After a correction these are the neighbours of keyframes that are new, and what was not propagated to before.
        """
        if not self.memory.stack or self.memory.settings != settings:
            return None
        before, now = self.memory.keyframes, self.digests()
        changed = {n for n in before.keys() | now.keys() if before.get(n) != now.get(n)}
        gone = {n for n in changed if n not in now}
        beside = {n + step for n in changed for step in (-1, 1)} | gone
        new = set(range(first, last + 1)) - self.memory.done - set(now)
        return {n for n in beside | new if first <= n <= last and n not in now}

    def targets(self, wanted: Collection[int] | None, first: int, last: int) -> set[int]:
        """All slices that a run with these wanted ones fills: whole spans between and beyond keyframes."""
        from SAMMed2DLib.propagation.schedule import spans_of

        found: set[int] = set()
        for span in spans_of(self.numbers, first, last):
            inside = set(range(span.first, span.last + 1))
            leads_on = span.below in self.shown or span.above in self.shown
            if leads_on and (wanted is None or inside & set(wanted)):
                found |= inside
        return found


def runs_of(numbers: Iterable[int]) -> list[list[int]]:
    """Numbers as first and last of each run without a gap."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def tag_of(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, name: str = _TAG) -> str:
    """What a segment remembers, as it is kept; empty for nothing."""
    from vtk import reference

    value = reference("")
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    return str(value) if segment is not None and segment.GetTag(name, value) else ""


def clear_slice(target: SegmentTarget, stack: Stack, now: SegmentKeyframes, number: int) -> None:
    """Take a segment off a slice, which then is no keyframe, as one undo step; on the main thread."""
    patch, memory = now.slices.patch(number), Memory.of(target.segmentation, now.segment_id)
    target.save_state()
    if patch is not None:
        target.modify(labelmap_of(patch, stack.geometry), False, now.segment_id)
    if memory.stack == stack.key():
        memory.forget(number)
        memory.keep(target.segmentation, now.segment_id)
