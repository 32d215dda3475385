"""Frames of a sequence as the positions of a propagation: how they are read, written, and taken back.

No Segment Editor and no undo of Slicer's reaches the frames that are not shown, so that a run keeps what it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.prompts.slice_prompts import plane_of
from SAMMed2DSlicer.propagation.axis import (
    BOTH,
    TIME,
    AxisTexts,
    Look,
    PropagationAxis,
    SliceMask,
    Steps,
    with_geometry,
)
from SAMMed2DSlicer.propagation.keyframes import (
    FRAME_TAG,
    FrameState,
    PropagationState,
    SegmentFrames,
    SegmentInFrame,
    SegmentKeyframes,
    tag_of,
)
from SAMMed2DSlicer.propagation.results import (
    PositionResult,
    PropagationResult,
    PropagationSettings,
    SegmentPropagation,
    SegmentRun,
)
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext, Writer
from SAMMed2DSlicer.propagation.slice_stack import SliceStack
from SAMMed2DSlicer.scene import segment_reader, segment_writer, segmentations, sequences
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session

EARLIER, LATER = "earlier", "later"


class FrameAxis(PropagationAxis):
    """The frames of a sequence that a browser plays; each has all slices, or one of them, and its own segmentation."""

    kind = TIME
    directions = (EARLIER, BOTH, LATER)

    def __init__(self, frames: sequences.FrameSeries, stack: SliceStack, only: int | None = None) -> None:
        """Use `of` or `of_context`; `only` is the one slice to look at, None for all."""
        super().__init__(frames.volume, frames.segmentation, stack)
        self.frames, self.only = frames, only

    @classmethod
    def of(
        cls, frames: sequences.FrameSeries, labelmap: slicer.vtkOrientedImageData | None, plane: Any = None
    ) -> FrameAxis:
        """Take frames and their slices, on the main thread.

        Args:
            frames: what is played.
            labelmap: has the grid of the segmentation; None where it has none.
            plane: the only slice to look at, see `slice_prompts.plane_of`; None for all, as they are stored.

        Raises:
            SceneError, GeometryError: there is no such slice, or something in the scene does not allow it.
        """
        labelmap = with_geometry(labelmap)
        chosen = plane_of(frames.volume, ("k", 0) if plane is None else plane)
        stack = SliceStack.of(frames.volume, chosen, frames.segmentation, labelmap)
        return cls(frames, stack, None if plane is None else stack.position)

    @classmethod
    def of_context(cls, context: SegmentationContext) -> FrameAxis:
        """Take the frames of the sequence that the volume shows."""
        return cls.of(sequences.FrameSeries.of(context.volume, context.segmentation), context.default_labelmap())

    @staticmethod
    def is_drawn(
        volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
    ) -> bool:
        """Whether a segment is in any frame."""
        if not sequences.is_played_with(volume, segmentation):
            return False
        frames = sequences.FrameSeries.of(volume, segmentation)
        drawings = [frames.drawing(number) for number in range(len(frames.values))]
        return any(
            drawing is not None and segment_reader.voxels_of(drawing, segment_id) is not None for drawing in drawings
        )

    @property
    def texts(self) -> AxisTexts:
        """What people are told of frames."""
        return AxisTexts(
            title=_("Frame {number}"),
            cleared=_("Frame {number} was cleared."),
            unknown_direction=_("Unknown direction {direction}: choose earlier, later or both."),
            no_range=_("Frames {first} to {last} are no range: there are 1 to {count}, give the earliest one first."),
            no_keyframe=_("{name} is drawn in no frame: segment it in one frame at least, best in two that differ."),
            nothing_left=_("Nothing is left to do: all frames of this range are keyframes."),
            one_filled=_("1 frame"),
            many_filled=_("{count} frames"),
        )

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self.frames.values)

    @property
    def position(self) -> int:
        """The frame that is shown."""
        return self.frames.position

    def keyframes(self, segment_id: str, chosen: Sequence[int] | None = None) -> SegmentKeyframes:
        """Take hold of a segment in all frames."""
        frames = [self.segment_in(number, segment_id) for number in range(self.count)]
        state = PropagationState(
            left={number: frame.state.left for number, frame in enumerate(frames)},
            confidence={number: frame.state.confidence for number, frame in enumerate(frames)},
        )
        voxels = SegmentFrames(frames, self.stack.planes[0].size_hw, self.only)
        return SegmentKeyframes(self, segment_id, voxels, state, chosen)

    def segment_in(self, number: int, segment_id: str) -> SegmentInFrame:
        """Take hold of a segment in one frame."""
        return SegmentInFrame(self.stack, self.frames.drawing(number), segment_id)

    def is_of(self, state: PropagationState) -> bool:
        """All frames are of one browser."""
        return True

    def targets(self, keyframes: SegmentKeyframes, wanted: set[int] | None, first: int, last: int) -> set[int]:
        """All frames that are no keyframes."""
        return set(range(first, last + 1)) - set(keyframes.numbers)

    def identity(self, segment_id: str) -> Any:
        """The browser, its frames and slices, and what is remembered in each."""
        drawings = [self.frames.drawing(number) for number in range(self.count)]
        tags = [drawing and tag_of(drawing, segment_id, FRAME_TAG) for drawing in drawings]
        return self.frames.browser.GetID(), self.frames.values, tags, self.stack.key()

    def unsaved_checks(self, segment_ids: Iterable[str]) -> list[tuple[SegmentInFrame, SegmentInFrame]]:
        """Segments as they are shown, and as the sequence has them."""
        if self.frames.saves_changes:
            return []
        shown = [SegmentInFrame(self.stack, self.segmentation, segment_id) for segment_id in segment_ids]
        kept = [self.segment_in(self.position, segment_id) for segment_id in segment_ids]
        return list(zip(shown, kept, strict=True))

    def images(self) -> sequences.FrameImages:
        """The voxels of all frames."""
        return sequences.FrameImages(self.frames)

    def voxels_at(self, images: sequences.FrameImages, position: int) -> np.ndarray:
        """Those of the frame."""
        return images.voxels[position]

    def fixed_rule(self, rule: Any, images: sequences.FrameImages) -> Any:
        """The same in all frames."""
        from SAMMed2DLib.imaging.intensity import Percentiles, Window, for_all_slices

        voxels = images.voxels
        if isinstance(rule, Window):
            return rule
        if isinstance(rule, Percentiles):  # as many voxels as one frame has are enough
            some = [frame[n % len(frame) :: len(voxels)] for n, frame in enumerate(voxels)]
            return for_all_slices(rule, np.concatenate(some))
        limits = np.array([rule.limits(frame) for frame in voxels])
        low, high = float(limits[:, 0].min()), float(limits[:, 1].max())
        return Window.of_range(low, high) if low < high else rule

    def check_memory(self, session: Session, runs: Sequence[SegmentRun]) -> None:
        """By the frames to fill, and the slices of each."""
        from SAMMed2DLib.propagation.time_series import check_memory

        frames = max(len(run.targets) for run in runs)
        slices = max(run.keyframes.slices_at_once for run in runs)
        check_memory(session, self.stack.planes[0].size_hw, frames, slices, len(runs))

    def propagated(
        self,
        session: Session,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill frames, each slice by itself."""
        from SAMMed2DLib.propagation.time_series import propagate_in_time

        for found in propagate_in_time(
            session,
            lambda frame, numbers: [image(frame, number) for number in numbers],
            [run.masks for run in runs],
            runs[0].first,
            runs[0].last,
            period=self.count if settings.loop else None,
            zoom=settings.zoom,
            every=settings.every,
            should_stop=should_stop,
        ):
            yield SliceMask(found.number, found.frame, found.index, found.mask, found.confidence)

    def check(self, images: sequences.FrameImages) -> None:
        """See that nodes, frames, voxels and places are the same."""
        if not self.frames.are_there:
            raise SceneError(_("The sequence, or frames of it, were removed: the propagation was given up."))
        if not images.are_unchanged():
            raise SceneError(_("The images were changed: the propagation was given up."))
        self._check_place()

    def new_undo(self) -> FrameUndo:
        """One of its own: Slicer's undo does not reach the frames that are not shown."""
        return FrameUndo(self)

    def writer(self, target: Any, look: Look, check: Callable[[], None], state_key: str) -> FrameWriter:
        """Writes into each frame, whatever the target."""
        return FrameWriter(self, check)

    def show(self, number: int, slice_node: Any) -> None:
        """Let the browser show a frame."""
        self.frames.show(number)

    def clear(self, now: SegmentKeyframes, number: int, writer: Writer) -> FrameUndo:
        """Take a segment out of a frame, all its slices."""
        node, undo = self.frames.drawing(number), self.new_undo()
        before = self.segment_in(number, now.segment_id)
        before.read()
        undo.add(number, now.segment_id, before, "")
        segment_writer.replace_segment(node, now.segment_id, None, self.stack.geometry)
        FrameState().keep(node, now.segment_id)
        self.frames.refresh()
        return undo


class FrameWriter:
    """Writes frame by frame, each at once; the undo of the result takes it back."""

    def __init__(self, axis: FrameAxis, check: Callable[[], None]) -> None:
        """Prepare; see `PropagationAxis.writer`."""
        self._axis, self._frames, self._check = axis, axis.frames, check
        self._filled: dict[str, list[PositionResult]] = {}
        self._changed: dict[str, int] = {}

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write frame by frame; see `RunWriter`."""
        try:
            for number in range(self._axis.count):
                for run in runs:
                    if number in (run.targets if result.is_complete else run.found):
                        yield from self._fill(run, number, result)
        finally:
            if self._frames.are_there:
                self._frames.refresh()
        result.segments.update({run.segment_id: self._summary(run) for run in runs})

    def _fill(self, run: SegmentRun, number: int, result: PropagationResult) -> Steps:
        segment_id = run.segment_id
        before = self._axis.segment_in(number, segment_id)
        yield before.read
        while before.is_stale():
            before = self._axis.segment_in(number, segment_id)
            yield before.read
        self._check()
        patch = self._wanted(run, number, before, result.is_complete)
        if _became_keyframe(run, number, before) or (patch is None and not before.is_generated):
            return
        node = self._write(segment_id, number, patch)
        after = self._axis.segment_in(number, segment_id)
        yield after.read
        if not after.is_stale():  # else it is the user's already
            state = FrameState(after.digest, _confidence(run, number))
            state.keep(node, segment_id)
            if result.undo is not None:
                result.undo.add(number, segment_id, before, state.left)
            filled = PositionResult(number, state.confidence, False, voxel_patches.count(after.patch()))
            self._filled.setdefault(segment_id, []).append(filled)
        changed = voxel_patches.difference(before.patch(), after.patch())
        self._changed[segment_id] = self._changed.get(segment_id, 0) + changed

    def _wanted(self, run: SegmentRun, number: int, before: SegmentInFrame, is_complete: bool) -> VoxelPatch | None:
        """What the frame is to have: what was found, and on slices that were not looked at what an earlier run left."""
        found, only = run.found.get(number, {}), self._axis.only
        is_whole = is_complete and only is None
        kept = [] if is_whole or not before.is_generated else [n for n in before.numbers if n not in found]
        if is_complete and only in kept:
            kept.remove(only)
        patches = [patch for patch, _confidence in found.values()]
        return voxel_patches.union([*patches, *(before.patch_on(n) for n in kept)])

    def _write(self, segment_id: str, number: int, patch: VoxelPatch | None) -> Any:
        node = self._frames.drawing(number) or self._frames.new_drawing(number)
        if node.GetSegmentation().GetSegment(segment_id) is None:
            segmentations.add_like(node, self._frames.segmentation, segment_id)
        segment_writer.replace_segment(node, segment_id, patch, self._axis.stack.geometry)
        return node

    def _summary(self, run: SegmentRun) -> SegmentPropagation:
        voxels = run.keyframes.voxels
        drawn = [PositionResult(n, 1.0, True, voxel_patches.count(voxels.patch(n))) for n in run.keyframes.numbers]
        positions = sorted([*drawn, *self._filled.get(run.segment_id, [])], key=lambda position: position.index)
        changed = self._changed.get(run.segment_id, 0)
        return SegmentPropagation(run.segment_id, positions, changed, run.positions_found)


def _became_keyframe(run: SegmentRun, number: int, now: SegmentInFrame) -> bool:
    """Whether a frame became a keyframe while the run went on."""
    return now.is_drawn or (now.is_emptied and number not in run.keyframes.emptied)


def _confidence(run: SegmentRun, number: int) -> float:
    from SAMMed2DLib.propagation.time_series import confidence_of_frame

    found = run.found.get(number, {}).values()
    return confidence_of_frame((voxel_patches.count(patch), confidence) for patch, confidence in found)


@dataclass(frozen=True, eq=False)
class _Replaced:
    """What a segment was in one frame, and how it was left."""

    frame: int
    segment_id: str
    patch: VoxelPatch | None
    state: FrameState
    left: str


class FrameUndo:
    """What a run has replaced; called, it takes the run back."""

    def __init__(self, axis: FrameAxis) -> None:
        """Begin with nothing."""
        self._axis, self._frames = axis, axis.frames
        self._replaced: list[_Replaced] = []

    def add(self, frame: int, segment_id: str, before: SegmentInFrame, left: str) -> None:
        """Remember that a segment was replaced in a frame.

        Args:
            frame: the frame.
            segment_id: the segment.
            before: what it was.
            left: what tells its voxels now from others; empty for none.
        """
        self._replaced.append(_Replaced(frame, segment_id, before.patch(), before.state, left))

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
            replaced = self._replaced.pop()
            now = self._axis.segment_in(replaced.frame, replaced.segment_id)
            now.read()
            if now.digest != replaced.left or not self._put_back(replaced):
                touched.append(replaced)
            yield
        self._replaced = touched
        if self._frames.are_there:
            self._frames.refresh()

    def _put_back(self, replaced: _Replaced) -> bool:
        node = self._frames.drawing(replaced.frame)
        if node is None or node.GetSegmentation().GetSegment(replaced.segment_id) is None:
            return False
        segment_writer.replace_segment(node, replaced.segment_id, replaced.patch, self._axis.stack.geometry)
        replaced.state.keep(node, replaced.segment_id)
        return True
