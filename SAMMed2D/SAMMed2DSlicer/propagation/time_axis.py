"""The frames of a sequence as the positions of a propagation: how they are read and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
    OpenKeyframes,
    PropagationAxis,
    SliceMask,
    Steps,
    require_geometry,
)
from SAMMed2DSlicer.propagation.keyframes import (
    FrameSegment,
    FrameState,
    PropagationState,
    SegmentFrames,
    SegmentKeyframes,
    read_tag,
)
from SAMMed2DSlicer.propagation.results import (
    PositionResult,
    PropagationResult,
    PropagationSettings,
    SegmentPropagation,
    SegmentRun,
)
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext, TargetOpener
from SAMMed2DSlicer.propagation.undo import FrameUndo
from SAMMed2DSlicer.scene import segment_reader, segment_writer, segmentations, sequences
from SAMMed2DSlicer.scene.segmentations import FRAME_TAG
from SAMMed2DSlicer.scene.slice_stack import SliceStack
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session

EARLIER, LATER = "earlier", "later"


class TimeAxis(PropagationAxis):
    """The frames of a sequence that a browser plays; each has its own segmentation.

    Attributes:
        frames: volume and segmentation nodes of each frame.
        only: number of the only slice to propagate; None for all.
    """

    kind = TIME
    directions = (EARLIER, BOTH, LATER)

    def __init__(self, frames: sequences.FrameSeries, stack: SliceStack, only: int | None = None) -> None:
        """Use `of` or `of_context`.

        Args:
            frames: volume and segmentation nodes of each frame.
            stack: the slices of each frame.
            only: number of the only slice to propagate; None for all.
        """
        super().__init__(frames.volume, frames.segmentation, stack)
        self.frames, self.only = frames, only

    @classmethod
    def of(
        cls, frames: sequences.FrameSeries, labelmap: slicer.vtkOrientedImageData | None, plane: Any = None
    ) -> TimeAxis:
        """Make the axis, on the main thread.

        Args:
            frames: volume and segmentation nodes of each frame.
            labelmap: has the grid of the segmentation; None where it has none.
            plane: the only slice to propagate, see `slice_prompts.plane_of`; None for all, as they are stored.

        Raises:
            SceneError, GeometryError: there is no such slice, or something in the scene does not allow it.
        """
        labelmap = require_geometry(labelmap)
        chosen = plane_of(frames.volume, ("k", 0) if plane is None else plane)
        stack = SliceStack.of(frames.volume, chosen, frames.segmentation, labelmap)
        return cls(frames, stack, None if plane is None else stack.position)

    @classmethod
    def of_context(cls, context: SegmentationContext) -> TimeAxis:
        """Make the axis of the sequence that the volume of a context shows."""
        return cls.of(sequences.FrameSeries.of(context.volume, context.segmentation), context.default_labelmap())

    @staticmethod
    def is_drawn(
        volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
    ) -> bool:
        """Whether a segment has voxels in any frame."""
        if not sequences.is_synchronized(volume, segmentation):
            return False
        frames = sequences.FrameSeries.of(volume, segmentation)
        nodes = [frames.segmentation_node(number) for number in range(len(frames.values))]
        return any(node is not None and segment_reader.binary_labelmap(node, segment_id) is not None for node in nodes)

    @property
    def texts(self) -> AxisTexts:
        """Messages for the user."""
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
        """Prepare to read a segment in all frames."""
        frames = [self.frame_segment(number, segment_id) for number in range(self.count)]
        state = PropagationState(
            digests={number: frame.state.digest for number, frame in enumerate(frames)},
            confidence={number: frame.state.confidence for number, frame in enumerate(frames)},
        )
        voxels = SegmentFrames(frames, self.stack.planes[0].size_hw, self.only)
        return SegmentKeyframes(self, segment_id, voxels, state, chosen)

    def frame_segment(self, number: int, segment_id: str) -> FrameSegment:
        """Prepare to read a segment in one frame."""
        return FrameSegment(self.stack, self.frames.segmentation_node(number), segment_id)

    def matches(self, state: PropagationState) -> bool:
        """True: each frame has its own state."""
        return True

    def targets(self, keyframes: SegmentKeyframes, outdated: set[int] | None, first: int, last: int) -> set[int]:
        """All frames of the range but keyframes."""
        return set(range(first, last + 1)) - set(keyframes.numbers)

    def cache_key(self, segment_id: str) -> Any:
        """The browser, its frames and slices, and the tags of each."""
        nodes = [self.frames.segmentation_node(number) for number in range(self.count)]
        tags = [node and read_tag(node, segment_id, FRAME_TAG) for node in nodes]
        return self.frames.browser.GetID(), self.frames.values, tags, self.stack.key()

    def unsaved_pairs(self, segment_ids: Iterable[str]) -> list[tuple[FrameSegment, FrameSegment]]:
        """Segments of the proxy node and of the data node of its frame, where the browser saves no changes."""
        if self.frames.saves_changes:
            return []
        proxies = [FrameSegment(self.stack, self.segmentation, segment_id) for segment_id in segment_ids]
        stored = [self.frame_segment(self.position, segment_id) for segment_id in segment_ids]
        return list(zip(proxies, stored, strict=True))

    def images(self) -> sequences.FrameImages:
        """The voxels of all frames."""
        return sequences.FrameImages(self.frames)

    def voxels_at(self, images: sequences.FrameImages, position: int) -> np.ndarray:
        """The voxels of the frame."""
        return images.voxels[position]

    def fixed_intensity_rule(self, rule: Any, images: sequences.FrameImages) -> Any:
        """A rule from the voxels of all frames."""
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

    def check_memory(self, session: Session | None, runs: Sequence[SegmentRun]) -> None:
        """Check the memory for the frames to fill and their slices."""
        from SAMMed2DLib.propagation.time_series import check_memory

        frames = max(len(run.targets) for run in runs)
        slices = max(run.keyframes.slices_per_position for run in runs)
        check_memory(session, self.stack.planes[0].size_hw, frames, slices, len(runs))

    def propagate(
        self,
        session: Session | None,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill frames; each slice is propagated along time independently of the others."""
        from SAMMed2DLib.propagation.time_series import propagate_in_time

        for found in propagate_in_time(
            session,
            lambda frame, numbers: [image(frame, number) for number in numbers],
            [run.keyframe_masks for run in runs],
            runs[0].first,
            runs[0].last,
            period=self.count if settings.loop else None,
            zoom=settings.zoom,
            every=settings.every,
            asks_model=settings.asks_model,
            should_stop=should_stop,
        ):
            yield SliceMask(found.number, found.frame, found.index, found.mask, found.confidence)

    def check(self, images: sequences.FrameImages) -> None:
        """Check that nodes, frames, voxels and transforms are the same."""
        if not self.frames.exist:
            raise SceneError(_("The sequence, or frames of it, were removed: the propagation was given up."))
        if not images.are_unchanged():
            raise SceneError(_("The images were changed: the propagation was given up."))
        self._check_place()

    def new_undo(self) -> FrameUndo:
        """A `FrameUndo`: Slicer's undo does not reach frames that are not shown."""
        return FrameUndo(self)

    def writer(
        self, target: Any, open_keyframes: OpenKeyframes, check: Callable[[], None], state_key: str
    ) -> FrameWriter:
        """A writer to the segmentation node of each frame; the target is not used."""
        return FrameWriter(self, check)

    def show(self, number: int, slice_node: Any) -> None:
        """Let the browser show a frame."""
        self.frames.show(number)

    def clear(self, keyframes: SegmentKeyframes, number: int, open_target: TargetOpener) -> FrameUndo:
        """Empty a segment on all slices of a frame."""
        node, undo = self.frames.segmentation_node(number), self.new_undo()
        before = self.frame_segment(number, keyframes.segment_id)
        before.read()
        undo.add(number, keyframes.segment_id, before, "")
        segment_writer.replace_segment(node, keyframes.segment_id, None, self.stack.geometry)
        FrameState().save(node, keyframes.segment_id)
        self.frames.update_proxy_nodes()
        return undo


class FrameWriter:
    """Writes frame by frame; the undo of the result undoes it."""

    def __init__(self, axis: TimeAxis, check: Callable[[], None]) -> None:
        """Prepare; see `PropagationAxis.writer`."""
        self._axis, self._frames, self._check = axis, axis.frames, check
        self._filled: dict[str, list[PositionResult]] = {}
        self._changed: dict[str, int] = {}

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write frame by frame; see `RunWriter`."""
        try:
            for number in range(self._axis.count):
                for run in runs:
                    if number in (run.targets if result.is_complete else run.results):
                        yield from self._fill(run, number, result)
        finally:
            if self._frames.exist:
                self._frames.update_proxy_nodes()
        result.segments.update({run.segment_id: self._summary(run) for run in runs})

    def _fill(self, run: SegmentRun, number: int, result: PropagationResult) -> Steps:
        segment_id = run.segment_id
        before = self._axis.frame_segment(number, segment_id)
        yield before.read
        while before.is_stale():
            before = self._axis.frame_segment(number, segment_id)
            yield before.read
        self._check()
        patch = self._patch_to_write(run, number, before, result.is_complete)
        if _became_keyframe(run, number, before) or (patch is None and not before.is_generated):
            return
        node = self._write(segment_id, number, patch)
        after = self._axis.frame_segment(number, segment_id)
        yield after.read
        if not after.is_stale():  # else the user has edited it meanwhile
            state = FrameState(after.digest, _confidence(run, number))
            state.save(node, segment_id)
            if result.undo is not None:
                result.undo.add(number, segment_id, before, state.digest)
            filled = PositionResult(number, state.confidence, False, voxel_patches.count(after.patch()))
            self._filled.setdefault(segment_id, []).append(filled)
        changed = voxel_patches.difference(before.patch(), after.patch())
        self._changed[segment_id] = self._changed.get(segment_id, 0) + changed

    def _patch_to_write(
        self, run: SegmentRun, number: int, before: FrameSegment, is_complete: bool
    ) -> VoxelPatch | None:
        """The new voxels of a frame: the results, and on slices without one what an earlier run wrote."""
        found, only = run.results.get(number, {}), self._axis.only
        is_whole = is_complete and only is None
        kept = [] if is_whole or not before.is_generated else [n for n in before.numbers if n not in found]
        if is_complete and only in kept:
            kept.remove(only)
        patches = [patch for patch, _confidence in found.values()]
        return voxel_patches.union([*patches, *(before.patch_on(n) for n in kept)])

    def _write(self, segment_id: str, number: int, patch: VoxelPatch | None) -> Any:
        node = self._frames.segmentation_node(number) or self._frames.add_segmentation_node(number)
        if node.GetSegmentation().GetSegment(segment_id) is None:
            segmentations.add_segment_like(node, self._frames.segmentation, segment_id)
        segment_writer.replace_segment(node, segment_id, patch, self._axis.stack.geometry)
        return node

    def _summary(self, run: SegmentRun) -> SegmentPropagation:
        voxels = run.keyframes.voxels
        drawn = [PositionResult(n, 1.0, True, voxel_patches.count(voxels.patch(n))) for n in run.keyframes.numbers]
        positions = sorted([*drawn, *self._filled.get(run.segment_id, [])], key=lambda position: position.index)
        changed = self._changed.get(run.segment_id, 0)
        return SegmentPropagation(run.segment_id, positions, changed, run.positions_found)


def _became_keyframe(run: SegmentRun, number: int, current: FrameSegment) -> bool:
    """Whether the user has made a frame a keyframe since the run began."""
    return current.is_drawn or (current.is_emptied and number not in run.keyframes.emptied)


def _confidence(run: SegmentRun, number: int) -> float:
    from SAMMed2DLib.propagation.time_series import confidence_of_frame

    found = run.results.get(number, {}).values()
    return confidence_of_frame((voxel_patches.count(patch), confidence) for patch, confidence in found)
