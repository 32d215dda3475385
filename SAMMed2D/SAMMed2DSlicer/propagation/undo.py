"""Undo of a propagation.

Along slices it is the undo of the `SegmentTarget`. Slicer's undo does not reach frames of a sequence that are not
shown: along time, `FrameUndo` keeps what each frame had before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from SAMMed2DSlicer.propagation.keyframes import FrameSegment, FrameState
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.scene import segment_writer
from SAMMed2DSlicer.widgets.timers import single_shot

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DSlicer.propagation.time_axis import TimeAxis


@dataclass(frozen=True, eq=False)
class _Replaced:
    """The voxels and the tag that a segment had in one frame, and the digest of what replaced them."""

    frame: int
    segment_id: str
    patch: VoxelPatch | None
    state: FrameState
    digest: str


class FrameUndo:
    """Undoes a run along time, or a cleared frame: keeps what was replaced in each frame. Call it to undo all."""

    def __init__(self, axis: TimeAxis) -> None:
        """Begin with nothing."""
        self._axis, self._frames = axis, axis.frames
        self._replaced: list[_Replaced] = []

    def add(self, frame: int, segment_id: str, before: FrameSegment, digest: str) -> None:
        """Remember that a segment was replaced in a frame.

        Args:
            frame: number of the frame.
            segment_id: the segment.
            before: its voxels and tag before, already read.
            digest: `digest_of` its voxels now; empty for none.
        """
        self._replaced.append(_Replaced(frame, segment_id, before.patch(), before.state, digest))

    @property
    def is_possible(self) -> bool:
        """Whether there is something to undo, and the frames still exist."""
        return bool(self._replaced) and self._frames.exist

    def __call__(self) -> int:
        """Undo all at once; segments that were changed since are left as they are.

        Returns:
            How many segments of frames were restored.
        """
        count = len(self._replaced)
        for _step in self.steps():
            pass
        return count - len(self._replaced)

    def steps(self) -> Iterator[None]:
        """Undo frame by frame, so that the window stays responsive in between; on the main thread."""
        kept: list[_Replaced] = []
        while self._replaced and self._frames.exist:
            replaced = self._replaced.pop()
            current = self._axis.frame_segment(replaced.frame, replaced.segment_id)
            current.read()
            if current.digest != replaced.digest or not self._restore(replaced):
                kept.append(replaced)
            yield
        self._replaced = kept
        if self._frames.exist:
            self._frames.update_proxy_nodes()

    def _restore(self, replaced: _Replaced) -> bool:
        node = self._frames.segmentation_node(replaced.frame)
        if node is None or node.GetSegmentation().GetSegment(replaced.segment_id) is None:
            return False
        segment_writer.replace_segment(node, replaced.segment_id, replaced.patch, self._axis.stack.geometry)
        replaced.state.save(node, replaced.segment_id)
        return True


class PropagationUndo:
    """What the panel's Undo does: along slices that of the context, along time that of the last `FrameUndo`.

    Attributes:
        is_along_time: whether the panel works along time.
    """

    def __init__(self, context: SegmentationContext, on_undone: Callable[[], None]) -> None:
        """Begin with nothing to undo; `on_undone` is called when a step was undone."""
        self._context, self._on_undone = context, on_undone
        self.is_along_time = False
        self._frame_undo: Callable[[], FrameUndo | None] = lambda: None
        self._steps: Iterator[None] | None = None
        self._timer = single_shot(0, self._step)

    @property
    def is_offered(self) -> bool:
        """Whether the panel shows an undo button, because the context has none of its own."""
        return self.is_along_time or self._context.has_undo

    @property
    def is_possible(self) -> bool:
        """Whether there is a step to undo."""
        return self._can_undo_frames if self.is_along_time else self._context.can_undo

    @property
    def _can_undo_frames(self) -> bool:
        undo = self._frame_undo()
        return undo is not None and undo.is_possible

    @property
    def is_running(self) -> bool:
        """Whether a step is being undone."""
        return self._steps is not None

    def set_frame_undo(self, frame_undo: Callable[[], FrameUndo | None]) -> None:
        """Undo this next, along time; called when it is needed, since a run makes it late."""
        self._frame_undo = frame_undo

    def start(self) -> None:
        """Undo the last step, but not frames that were changed since."""
        if self.is_along_time:
            undo, self._frame_undo = self._frame_undo(), lambda: None
            self._steps = undo.steps() if undo is not None else iter(())
        else:
            self._context.undo()
            self._steps = iter(())
        self._step()

    def _step(self) -> None:
        """Undo one frame; events are handled before the next one."""
        if self._steps is not None and next(self._steps, self) is not self:
            self._timer.start()
            return
        self._steps = None
        self._on_undone()

    def stop(self) -> None:
        """Leave the remaining frames as they are."""
        self._timer.stop()
        self._steps = None

    def drop_if_impossible(self) -> None:
        """Free an undo whose frames no longer exist."""
        if not self._can_undo_frames:
            self._frame_undo = lambda: None
