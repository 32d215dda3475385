"""Slices that are parallel to one, as the positions of a propagation, and how what was found on them is written."""

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
    Look,
    PropagationAxis,
    SliceMask,
    Steps,
    with_geometry,
)
from SAMMed2DSlicer.propagation.keyframes import PropagationState, SegmentKeyframes, tag_of
from SAMMed2DSlicer.propagation.results import (
    PositionResult,
    PropagationResult,
    PropagationSettings,
    SegmentPropagation,
    SegmentRun,
)
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext, Writer, plane_shown_in
from SAMMed2DSlicer.propagation.slice_stack import SegmentSlices, SliceStack
from SAMMed2DSlicer.scene import segment_reader, segment_writer, volumes
from SAMMed2DSlicer.scene.segment_targets import SegmentTarget, UndoStep
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session

UP, DOWN = "up", "down"
# Slices are written in blocks of at most so many slices and voxels: Slicer's cost goes by the voxels.
_BLOCK_SLICES, _BLOCK_VOXELS = 16, 2_000_000
# Voxels to add and voxels to take away.
Change = tuple["VoxelPatch | None", "VoxelPatch | None"]


class HeldImage:
    """The voxels of a volume, to be read in any thread; a copy of nothing."""

    def __init__(self, volume: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Take hold of them, on the main thread."""
        self._volume = volume
        self.voxels: list[np.ndarray] = [volumes.volume_kji(volume)]
        self._image = volume.GetImageData()  # kept as long as the worker looks at its voxels
        self._image_time = 0 if self._image is None else self._image.GetMTime()

    def are_unchanged(self) -> bool:
        """Whether the volume has still the same image; on the main thread."""
        image = self._volume.GetImageData()
        return image is not None and image is self._image and image.GetMTime() == self._image_time


class SliceAxis(PropagationAxis):
    """The slices of a volume that are parallel to one."""

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
        """Take the slices parallel to one, on the main thread; `labelmap` has the grid of the segmentation, or is None.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        return cls(volume, segmentation, SliceStack.of(volume, plane, segmentation, with_geometry(labelmap)))

    @classmethod
    def of_context(cls, context: SegmentationContext) -> SliceAxis:
        """Take the slices that the view shows."""
        labelmap = context.default_labelmap()
        return cls.of(context.volume, plane_shown_in(context), context.segmentation, labelmap)

    @staticmethod
    def is_drawn(
        volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
    ) -> bool:
        """Whether a segment is on any slice."""
        return segment_reader.voxels_of(segmentation, segment_id) is not None

    @property
    def texts(self) -> AxisTexts:
        """What people are told of slices."""
        return AxisTexts(
            title=_("Slice {number}"),
            cleared=_("Slice {number} was cleared."),
            unknown_direction=_("Unknown direction {direction}: choose up, down or both."),
            no_range=_("Slices {first} to {last} are no range: there are 1 to {count}, give the lowest one first."),
            no_keyframe=_(
                "{name} has no keyframe: segment it on one slice at least, best on its first, a middle and its last "
                "one."
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
        """The slice that was asked for, or that the view shows."""
        return self.stack.position

    def range_in(self, settings: PropagationSettings) -> tuple[int, int]:
        """The lowest and the highest slice to fill."""
        if self.count < 2:
            raise SceneError(_("There is one slice only in this direction: choose a view across it."))
        return super().range_in(settings)

    def keyframes(self, segment_id: str, chosen: Sequence[int] | None = None) -> SegmentKeyframes:
        """Take hold of a segment."""
        state = PropagationState.of(self.segmentation, segment_id)
        return SegmentKeyframes(self, segment_id, self.voxels(segment_id), state, chosen)

    def voxels(self, segment_id: str) -> SegmentSlices:
        """Take hold of the voxels of a segment."""
        return SegmentSlices(self.stack, self.segmentation, segment_id)

    def is_of(self, state: PropagationState) -> bool:
        """Whether these are its slices."""
        return state.stack == self.stack.key()

    def targets(self, keyframes: SegmentKeyframes, wanted: set[int] | None, first: int, last: int) -> set[int]:
        """Whole spans between and beyond keyframes."""
        from SAMMed2DLib.propagation.schedule import spans_of

        targets: set[int] = set()
        for span in spans_of(keyframes.numbers, first, last) if first <= last else ():
            inside = set(range(span.first, span.last + 1))
            leads_on = span.below in keyframes.shown or span.above in keyframes.shown
            if leads_on and (wanted is None or inside & wanted):
                targets |= inside
        return targets

    def identity(self, segment_id: str) -> Any:
        """The slices, and what is remembered."""
        return tag_of(self.segmentation, segment_id), self.stack.key()

    def images(self) -> HeldImage:
        """The volume's voxels."""
        return HeldImage(self.volume)

    def voxels_at(self, images: HeldImage, position: int) -> np.ndarray:
        """The same for all slices."""
        return images.voxels[0]

    def fixed_rule(self, rule: Any, images: HeldImage) -> Any:
        """That of the whole volume."""
        from SAMMed2DLib.imaging.intensity import for_all_slices

        return for_all_slices(rule, images.voxels[0])

    def check_memory(self, session: Session, runs: Sequence[SegmentRun]) -> None:
        """By the slices to fill, of each segment."""
        from SAMMed2DLib.propagation.stack import check_memory

        count = sum(len(run.targets) for run in runs)
        check_memory(session, self.stack.planes[0].size_hw, -(-count // len(runs)), len(runs))

    def propagated(
        self,
        session: Session,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill slices."""
        from SAMMed2DLib.propagation.stack import propagate_stack

        for found in propagate_stack(
            session,
            lambda number: image(number, number),
            [run.masks for run in runs],
            runs[0].first,
            runs[0].last,
            zoom=settings.zoom,
            every=settings.every,
            only=runs[0].wanted,
            should_stop=should_stop,
        ):
            yield SliceMask(found.number, found.index, found.index, found.mask, found.confidence)

    def check(self, images: HeldImage) -> None:
        """See that nodes, voxels and places are the same."""
        if any(node.GetScene() is None for node in (self.volume, self.segmentation)):
            raise SceneError(_("The image or the segmentation was removed: the propagation was given up."))
        if not images.are_unchanged():
            raise SceneError(_("The image was changed: the propagation was given up."))
        self._check_place()

    def new_undo(self) -> None:
        """The target has one."""
        return

    def writer(self, target: Any, look: Look, check: Callable[[], None], state_key: str) -> SliceWriter:
        """Writes through the target."""
        return SliceWriter(self, target, look, check, state_key)

    def show(self, number: int, slice_node: Any) -> None:
        """Let the view show a slice."""
        if slice_node is not None:
            slice_node.JumpSliceByOffsetting(*self.stack.middle_world(number))
            logic = slicer.app.applicationLogic().GetSliceLogic(slice_node)
            if logic is not None:  # the view is shown
                logic.SnapSliceOffsetToIJK()

    def clear(self, now: SegmentKeyframes, number: int, writer: Writer) -> None:
        """Take a segment off a slice."""
        with writer() as target:
            patch, state = now.voxels.patch(number), PropagationState.of(target.segmentation, now.segment_id)
            target.save_state()
            if patch is not None:
                labelmap = segment_writer.labelmap_of(patch, self.stack.geometry)
                target.modify(labelmap, False, now.segment_id)
            if self.is_of(state):
                state.forget(number)
                state.keep(target.segmentation, now.segment_id)


@dataclass(eq=False)
class _Writing:
    """A segment that is written."""

    run: SegmentRun
    before: SegmentKeyframes | None = None  # as it is when writing begins
    others: VoxelPatch | None = None  # what must not give way
    reached: set[int] = field(default_factory=set)  # what was written
    state: PropagationState | None = None
    outcome: SegmentPropagation | None = None


class SliceWriter:
    """Writes slices in blocks, as one undo step of a target; the last steps also remember them."""

    def __init__(
        self,
        axis: SliceAxis,
        target: SegmentTarget,
        look: Look,
        check: Callable[[], None],
        state_key: str,
    ) -> None:
        """Prepare; see `PropagationAxis.writer`."""
        self._axis, self._stack, self._segmentation = axis, axis.stack, axis.segmentation
        self._target, self._look, self._check, self._state_key = target, look, check, state_key

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write block by block; see `RunWriter`."""
        self._check()
        self._target.make_editable()
        undo_step = UndoStep(self._target)
        self._run_ids = [run.segment_id for run in runs]
        writings = [_Writing(run) for run in runs]
        for writing in writings:
            while self._has(writing) and (writing.before is None or writing.before.is_stale()):
                writing.before = self._look(writing.run.segment_id)
                others = [run for run in runs if run is not writing.run] if self._target.overwrites else []
                yield partial(self._look_again, writing, writing.before, others, result.is_complete)
            if writing.before is not None and self._has(writing):
                yield from self._written(writing, writing.before, undo_step, result)
        for writing in writings:
            segment_id = writing.run.segment_id
            if self._has(writing):
                yield partial(self._sum_up, writing, self._axis.voxels(segment_id))
            if writing.state is not None and writing.outcome is not None and self._has(writing):
                writing.state.keep(self._segmentation, segment_id)
                result.segments[segment_id] = writing.outcome

    def _has(self, writing: _Writing) -> bool:
        """Whether the segment was not removed meanwhile."""
        return self._segmentation.GetSegmentation().GetSegment(writing.run.segment_id) is not None

    def _look_again(
        self, writing: _Writing, before: SegmentKeyframes, others: Sequence[SegmentRun], is_complete: bool
    ) -> None:
        """See what the segment is when writing begins, and find what to write; in the worker thread.

        That is no slice that is a keyframe, or became one while the run went on. What the user has drawn of the run's
        other segments must not give way to it.
        """
        before.read()
        run = writing.run
        reached = run.targets if is_complete else set(run.found)
        writing.reached = reached - set(before.numbers) - set(run.keyframes.numbers)
        drawn = [other.keyframes.voxels.patch(n) for other in others for n in other.keyframes.shown]
        writing.others = voxel_patches.union(drawn)

    def _written(
        self, writing: _Writing, before: SegmentKeyframes, undo_step: UndoStep, result: PropagationResult
    ) -> Iterator[None]:
        for adds, removes in self._changes(writing, before):
            self._check()
            if not self._has(writing):
                return
            if adds is not None and writing.others is not None:
                adds.mask_kji[voxel_patches.in_extent(writing.others, adds.extent)] = 0
            if (adds is not None or removes is not None) and undo_step.begin():
                yield None  # Slicer copies the segmentation for its undo, and that of a large one takes a moment
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
        for number in sorted(writing.reached):
            old = before.voxels.patch(number) if number in before.generated else None
            change = (_found_on(writing.run, number)[0], old)
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

    def _sum_up(self, writing: _Writing, after: SegmentSlices) -> None:
        """Find out what was left on each slice, and what became of the segment; in the worker thread."""
        run, was, reached = writing.run, writing.run.keyframes, writing.reached
        old, voxels = was.state, was.voxels
        after.read()
        kept = {n: text for n, text in old.left.items() if n not in reached and n in was.generated}
        kept = {n: text for n, text in kept.items() if text == after.digest(n)}
        touched = self._axis.targets(was, run.wanted, 0, self._axis.count - 1)
        state = writing.state = PropagationState(
            self._stack.key(),
            self._state_key,
            kept | {n: after.digest(n) for n in reached},
            {n: old.confidence.get(n, 0.0) for n in kept} | {n: _found_on(run, n)[1] for n in reached},
            was.digests(),
            (set() if run.wanted is None else old.done - touched) | reached,
        )
        confidence = state.confidence | dict.fromkeys(was.numbers, 1.0)
        positions = [
            PositionResult(n, confidence[n], n in was.numbers, voxel_patches.count(after.patch(n)))
            for n in sorted({*was.numbers, *(set(run.found) & reached)})
        ]
        numbers = {*voxels.numbers, *after.numbers}
        changed = sum(voxel_patches.difference(voxels.patch(n), after.patch(n)) for n in numbers)
        writing.outcome = SegmentPropagation(run.segment_id, positions, changed, run.positions_found)


def _found_on(run: SegmentRun, number: int) -> tuple[VoxelPatch | None, float]:
    """What was found on a slice, and the confidence; nothing, and 0, where the model did not come to it."""
    return run.found.get(number, {}).get(number, (None, 0.0))


def _size(block: Sequence[Change]) -> int:
    """Voxels of the smallest box around all changes."""
    patches = [patch for change in block for patch in change if patch is not None]
    if not patches:
        return 0
    i0, i1, j0, j1, k0, k1 = voxel_patches.joined([patch.extent for patch in patches])
    return (i1 - i0 + 1) * (j1 - j0 + 1) * (k1 - k0 + 1)
