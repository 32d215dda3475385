"""Taking a propagation along time back: Slicer's undo does not reach the frames that are not shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from SAMMed2DSlicer.propagation.slice_stack import Stack
from SAMMed2DSlicer.propagation.time_keyframes import FrameMemory, SegmentInFrame
from SAMMed2DSlicer.scene import segment_writer
from SAMMed2DSlicer.scene.sequences import FrameSeries

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch


@dataclass(frozen=True, eq=False)
class _Replaced:
    """What a segment was in one frame, and how it was left."""

    frame: int
    segment_id: str
    patch: VoxelPatch | None
    memory: FrameMemory
    left: str


class TimeUndo:
    """What a run has replaced; called, it takes the run back."""

    def __init__(self, frames: FrameSeries, stack: Stack) -> None:
        """Begin with nothing."""
        self._frames, self._stack = frames, stack
        self._replaced: list[_Replaced] = []

    def add(self, frame: int, segment_id: str, before: SegmentInFrame, left: str) -> None:
        """A segment was replaced in a frame."""
        self._replaced.append(_Replaced(frame, segment_id, before.patch(), before.memory, left))

    @property
    def is_possible(self) -> bool:
        """Whether there is something to take back, and the frames are still there."""
        return bool(self._replaced) and self._frames.are_there

    def __call__(self) -> int:
        """Take the run back, in one step; what was changed by somebody else since stays as it is.

        Returns:
            In how many frames, of each segment, something was taken back.
        """
        count = len(self._replaced)
        for _step in self.steps():
            pass
        return count - len(self._replaced)

    def steps(self) -> Iterator[None]:
        """Take the run back frame by frame, so that the window goes on in between; on the main thread."""
        touched: list[_Replaced] = []
        while self._replaced and self._frames.are_there:
            one = self._replaced.pop()
            now = SegmentInFrame(self._stack, self._frames.drawing(one.frame), one.segment_id)
            now.read()
            if now.digest != one.left or not self._put_back(one):
                touched.append(one)
            yield
        self._replaced = touched
        if self._frames.are_there:
            self._frames.refresh()

    def _put_back(self, one: _Replaced) -> bool:
        node = self._frames.drawing(one.frame)
        if node is None or node.GetSegmentation().GetSegment(one.segment_id) is None:
            return False
        segment_writer.replace_segment(node, one.segment_id, one.patch, self._stack.geometry)
        one.memory.keep(node, one.segment_id)
        return True
