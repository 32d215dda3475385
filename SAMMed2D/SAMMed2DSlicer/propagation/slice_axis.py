"""The parallel slices of a volume as the positions of a propagation, and the writer of its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.propagation.axis import (
    BOTH,
    SLICES,
    AxisTexts,
    OpenKeyframes,
    PropagationAxis,
    SliceMask,
    Steps,
    require_geometry,
)
from SAMMed2DSlicer.propagation.keyframes import PropagationState, SegmentKeyframes, read_tag
from SAMMed2DSlicer.propagation.results import (
    PositionResult,
    PropagationResult,
    PropagationSettings,
    SegmentPropagation,
    SegmentRun,
)
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext, TargetOpener, plane_shown_in
from SAMMed2DSlicer.scene import segment_reader, segment_writer
from SAMMed2DSlicer.scene.segment_targets import SegmentTarget, UndoStep
from SAMMed2DSlicer.scene.slice_stack import SegmentSlices, SliceStack
from SAMMed2DSlicer.scene.volumes import SceneError, VolumeImage

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session

UP, DOWN = "up", "down"
# Slices are written in blocks of at most so many slices and voxels: the time of a write grows with its voxels.
_BLOCK_SLICES, _BLOCK_VOXELS = 16, 2_000_000
Change = tuple["VoxelPatch | None", "VoxelPatch | None"]  # voxels to add and voxels to take away


class SliceAxis(PropagationAxis):
    """A stack of parallel slices of a volume."""

    kind = SLICES
    directions = (DOWN, BOTH, UP)

    @classmethod
    def of(
        cls,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: SlicePlane,
        segmentation: slicer.vtkMRMLSegmentationNode,
        labelmap: slicer.vtkOrientedImageData | None,
    ) -> SliceAxis:
        """Make the axis, on the main thread.

        Args:
            volume: the volume node.
            plane: one of the slices.
            segmentation: the segmentation node.
            labelmap: has the grid of the segmentation; None where it has none.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        return cls(volume, segmentation, SliceStack.of(volume, plane, segmentation, require_geometry(labelmap)))

    @classmethod
    def of_context(cls, context: SegmentationContext) -> SliceAxis:
        """Make the axis of the slices that the view of a context shows."""
        labelmap = context.default_labelmap()
        return cls.of(context.volume, plane_shown_in(context), context.segmentation, labelmap)

    @staticmethod
    def is_drawn(
        volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
    ) -> bool:
        """Whether a segment has voxels."""
        return segment_reader.has_voxels(segmentation, segment_id)

    @property
    def texts(self) -> AxisTexts:
        """Messages for the user."""
        return AxisTexts(
            title=_("Slice {number}"),
            cleared=_("Slice {number} was cleared."),
            unknown_direction=_("Unknown direction {direction}: choose up, down or both."),
            no_range=_("Slices {first} to {last} are no range: there are 1 to {count}, give the lowest one first."),
            no_keyframe=_(
                "{name} has no keyframe: segment it on one slice at least, best on its first, a middle and its last "
                "one."
            ),
            only_lines=_(
                "{name} shows only lines here: point at the view it was segmented in, or segment it on a slice here."
            ),
            nothing_left=_(
                "Nothing is left to do: all slices of this range are keyframes, or as the last run left them. "
                "Correct a slice, or choose another range."
            ),
            one_filled=_("1 slice"),
            many_filled=_("{count} slices"),
        )

    @property
    def count(self) -> int:
        """How many slices there are."""
        return len(self.stack.planes)

    @property
    def position(self) -> int:
        """The slice that the view shows, or the one of a script's `plane`."""
        return self.stack.position

    def range_to_fill(self, settings: PropagationSettings) -> tuple[int, int]:
        """The lowest and the highest slice to fill."""
        if self.count < 2:
            raise SceneError(_("There is one slice only in this direction: choose a view across it."))
        return super().range_to_fill(settings)

    def keyframes(self, segment_id: str, chosen: Sequence[int] | None = None) -> SegmentKeyframes:
        """Prepare to read a segment."""
        state = PropagationState.load(self.segmentation, segment_id)
        return SegmentKeyframes(self, segment_id, self.voxels(segment_id), state, chosen)

    def voxels(self, segment_id: str) -> SegmentSlices:
        """Hold references to the voxels of a segment; not read yet."""
        return SegmentSlices(self.stack, self.segmentation, segment_id)

    def matches(self, state: PropagationState) -> bool:
        """Whether the state is of the same slices."""
        return state.stack == self.stack.key()

    def targets(self, keyframes: SegmentKeyframes, outdated: set[int] | None, first: int, last: int) -> set[int]:
        """Whole spans between keyframes, and beyond the first and the last one."""
        from SAMMed2DLib.propagation.schedule import spans_of

        targets: set[int] = set()
        for span in spans_of(keyframes.numbers, first, last) if first <= last else ():
            inside = set(range(span.first, span.last + 1))
            has_object = span.below in keyframes.nonempty or span.above in keyframes.nonempty
            if has_object and (outdated is None or inside & outdated):
                targets |= inside
        return targets

    def cache_key(self, segment_id: str) -> Any:
        """The tag of the segment, and the slices."""
        return read_tag(self.segmentation, segment_id), self.stack.key()

    def images(self) -> VolumeImage:
        """The voxels of the volume."""
        return VolumeImage(self.volume)

    def voxels_at(self, images: VolumeImage, position: int) -> np.ndarray:
        """The whole volume, for all slices."""
        return images.voxels[0]

    def fixed_intensity_rule(self, rule: Any, images: VolumeImage) -> Any:
        """A rule from the voxels of the whole volume."""
        from SAMMed2DLib.imaging.intensity import for_all_slices

        return for_all_slices(rule, images.voxels[0])

    def check_memory(self, session: Session | None, runs: Sequence[SegmentRun]) -> None:
        """Check the memory for the slices to fill of each segment."""
        from SAMMed2DLib.propagation.stack import check_memory

        slices = -(-sum(len(run.targets) for run in runs) // len(runs))
        check_memory(session, self.stack.planes[0].size_hw, slices, len(runs))

    def propagate(
        self,
        session: Session | None,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill slices from both sides."""
        from SAMMed2DLib.propagation.stack import propagate_stack

        for found in propagate_stack(
            session,
            lambda number: image(number, number),
            [run.keyframe_masks for run in runs],
            runs[0].first, runs[0].last,
            zoom=settings.zoom, every=settings.every, asks_model=settings.asks_model,
            only=runs[0].outdated,
            slice_px=self.stack.slice_px,
            should_stop=should_stop,
        ):
            yield SliceMask(found.number, found.index, found.index, found.mask, found.confidence)

    def check(self, images: VolumeImage) -> None:
        """Check that nodes, voxels and transforms are the same."""
        if any(node.GetScene() is None for node in (self.volume, self.segmentation)):
            raise SceneError(_("The image or the segmentation was removed: the propagation was given up."))
        if not images.are_unchanged():
            raise SceneError(_("The image was changed: the propagation was given up."))
        self._check_place()

    def new_undo(self) -> None:
        """None: the target has it."""

    def writer(
        self, target: Any, open_keyframes: OpenKeyframes, check: Callable[[], None], state_key: str
    ) -> SliceWriter:
        """A writer through the target."""
        return SliceWriter(self, target, open_keyframes, check, state_key)

    def show(self, number: int, slice_node: Any) -> None:
        """Let the view show a slice."""
        if slice_node is not None:
            slice_node.JumpSliceByOffsetting(*self.stack.center_world(number))
            logic = slicer.app.applicationLogic().GetSliceLogic(slice_node)
            if logic is not None:  # the view is shown
                logic.SnapSliceOffsetToIJK()

    def clear(self, keyframes: SegmentKeyframes, number: int, open_target: TargetOpener) -> None:
        """Empty a segment on a slice."""
        with open_target() as target:
            patch = keyframes.voxels.patch(number)
            state = PropagationState.load(target.segmentation, keyframes.segment_id)
            target.save_state()
            if patch is not None:
                labelmap = segment_writer.labelmap_of(patch, self.stack.geometry)
                target.modify(labelmap, False, keyframes.segment_id)
            if self.matches(state):
                state.forget(number)
                state.save(target.segmentation, keyframes.segment_id)


@dataclass(eq=False)
class _Writing:
    """A segment while it is written."""

    run: SegmentRun
    before: SegmentKeyframes | None = None  # as the segment is when writing begins
    others: VoxelPatch | None = None  # voxels of the run's other segments that must not be overwritten
    written: set[int] = field(default_factory=set)  # positions
    state: PropagationState | None = None
    result: SegmentPropagation | None = None


class SliceWriter:
    """Writes slices in blocks, as one undo step of a target; the last steps save the state in the segment's tag."""

    def __init__(
        self,
        axis: SliceAxis,
        target: SegmentTarget,
        open_keyframes: OpenKeyframes,
        check: Callable[[], None],
        state_key: str,
    ) -> None:
        """Prepare.

        Args:
            axis: the slices.
            target: where to write.
            open_keyframes: segment ID to its keyframes as they are then, not read yet.
            check: raises a SceneError when the scene has changed.
            state_key: saved as `PropagationState.settings`.
        """
        self._axis, self._stack, self._segmentation = axis, axis.stack, axis.segmentation
        self._target, self._open_keyframes, self._check, self._state_key = target, open_keyframes, check, state_key

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write block by block; see `RunWriter`."""
        self._check()
        self._target.make_editable()
        undo_step = UndoStep(self._target)
        self._run_ids = [run.segment_id for run in runs]
        writings = [_Writing(run) for run in runs]
        for writing in writings:
            while self._exists(writing) and (writing.before is None or writing.before.is_stale()):
                writing.before = self._open_keyframes(writing.run.segment_id)
                others = [run for run in runs if run is not writing.run] if self._target.overwrites else []
                yield partial(self._reread, writing, writing.before, others, result.is_complete)
            if writing.before is not None and self._exists(writing):
                yield from self._write(writing, writing.before, undo_step, result)
        for writing in writings:
            segment_id = writing.run.segment_id
            if self._exists(writing):
                yield partial(self._summarize, writing, self._axis.voxels(segment_id))
            if writing.state is not None and writing.result is not None and self._exists(writing):
                writing.state.save(self._segmentation, segment_id)
                result.segments[segment_id] = writing.result

    def _exists(self, writing: _Writing) -> bool:
        """Whether the segment still exists."""
        return self._segmentation.GetSegmentation().GetSegment(writing.run.segment_id) is not None

    def _reread(
        self, writing: _Writing, before: SegmentKeyframes, others: Sequence[SegmentRun], is_complete: bool
    ) -> None:
        """Read the segment as it is when writing begins, and choose the slices to write; in the worker thread.

        Slices that are keyframes now, or were when the run began, are not written. Keyframes of the run's other
        segments must not be overwritten.
        """
        before.read()
        run = writing.run
        computed = run.targets if is_complete else set(run.results)
        writing.written = computed - set(before.numbers) - set(run.keyframes.numbers)
        drawn = [other.keyframes.voxels.patch(n) for other in others for n in other.keyframes.nonempty]
        writing.others = voxel_patches.union(drawn)

    def _write(
        self, writing: _Writing, before: SegmentKeyframes, undo_step: UndoStep, result: PropagationResult
    ) -> Iterator[None]:
        for adds, removes in self._changes(writing, before):
            self._check()
            if not self._exists(writing):
                return
            if adds is not None and writing.others is not None:
                adds.mask_kji[voxel_patches.in_extent(writing.others, adds.extent)] = 0
            if (adds is not None or removes is not None) and undo_step.begin():
                yield None  # Slicer copied the segmentation for its undo, which is slow for a large one
            for patch, is_added in ((removes, False), (adds, True)):
                if patch is not None:
                    self._modify(writing.run.segment_id, patch, is_added, result)
            yield None

    def _modify(self, segment_id: str, patch: VoxelPatch, adds: bool, result: PropagationResult) -> None:
        geometry = self._stack.geometry
        others = segment_writer.other_segments_of(self._target, self._run_ids, patch.extent, geometry)
        self._target.modify(segment_writer.labelmap_of(patch, geometry), adds, segment_id)
        result.lost.update(others.lost())

    def _changes(self, writing: _Writing, before: SegmentKeyframes) -> Iterator[Change]:
        """Voxels to add and voxels to take away, in blocks of slices."""
        protected = sorted({*before.numbers, *writing.run.keyframes.numbers})
        block: list[Change] = []
        for number in sorted(writing.written):
            old = before.voxels.patch(number) if number in before.generated else None
            change = (_result_on(writing.run, number)[0], old)
            if block and (len(block) >= _BLOCK_SLICES or _size([*block, change]) > _BLOCK_VOXELS):
                yield self._joined(block, protected)
                block = []
            block.append(change)
        if block:
            yield self._joined(block, protected)

    def _joined(self, block: Sequence[Change], protected: Sequence[int]) -> Change:
        adds, removes = (voxel_patches.union([change[n] for change in block]) for n in (0, 1))
        if adds is not None and protected:
            layers = self._stack.layers(adds.extent)
            adds.mask_kji[np.broadcast_to(np.isin(layers, protected), adds.mask_kji.shape)] = 0
        if adds is not None and removes is not None:
            removes.mask_kji[voxel_patches.in_extent(adds, removes.extent)] = 0
        return adds, removes if removes is None or removes.mask_kji.any() else None

    def _summarize(self, writing: _Writing, after: SegmentSlices) -> None:
        """Find the state to save, and the result of the segment; in the worker thread."""
        run, before, written = writing.run, writing.run.keyframes, writing.written
        old, voxels = before.state, before.voxels
        after.read()
        kept = {n: text for n, text in old.digests.items() if n not in written and n in before.generated}
        kept = {n: text for n, text in kept.items() if text == after.digest(n)}
        touched = self._axis.targets(before, run.outdated, 0, self._axis.count - 1)
        state = writing.state = PropagationState(
            self._stack.key(),
            self._state_key,
            kept | {n: after.digest(n) for n in written},
            {n: old.confidence.get(n, 0.0) for n in kept} | {n: _result_on(run, n)[1] for n in written},
            before.digests(),
            (set() if run.outdated is None else old.done - touched) | written,
        )
        confidence = state.confidence | dict.fromkeys(before.numbers, 1.0)
        positions = [
            PositionResult(n, confidence[n], n in before.numbers, voxel_patches.count(after.patch(n)))
            for n in sorted({*before.numbers, *(set(run.results) & written)})
        ]
        numbers = {*voxels.numbers, *after.numbers}
        changed = sum(voxel_patches.difference(voxels.patch(n), after.patch(n)) for n in numbers)
        writing.result = SegmentPropagation(run.segment_id, positions, changed, run.positions_found)


def _result_on(run: SegmentRun, number: int) -> tuple[VoxelPatch | None, float]:
    """The voxels found on a slice, and the confidence; None and 0 where the run did not come to the slice."""
    return run.results.get(number, {}).get(number, (None, 0.0))


def _size(block: Sequence[Change]) -> int:
    """Voxels of the smallest box around all changes."""
    patches = [patch for change in block for patch in change if patch is not None]
    if not patches:
        return 0
    i0, i1, j0, j1, k0, k1 = voxel_patches.joined([patch.extent for patch in patches])
    return (i1 - i0 + 1) * (j1 - j0 + 1) * (k1 - k0 + 1)
