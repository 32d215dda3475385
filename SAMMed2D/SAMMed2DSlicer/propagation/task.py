"""Segments carried from their keyframes through a stack of slices: taken from the scene, computed, written.

MRML must not be touched but on the main thread, and reading or computing must not hold that one up. So a run is taken
from the scene there (`of_scene`), read and computed in the worker thread (`read`, `advance`), in pieces, so that clicks
are answered in between, and written in `steps` of both threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.propagation.background import InPieces, Totals
from SAMMed2DSlicer.propagation.keyframes import BOTH, DIRECTIONS, Memory, SegmentKeyframes
from SAMMed2DSlicer.propagation.slice_stack import SegmentSlices, Stack
from SAMMed2DSlicer.scene import segment_writer, volumes
from SAMMed2DSlicer.scene.segment_targets import SegmentTarget, UndoStep
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session

# Slices are written in blocks of at most so many slices and voxels: Slicer's cost goes by the voxels.
_BLOCK_SLICES, _BLOCK_VOXELS = 16, 2_000_000


@dataclass(frozen=True)
class Settings:
    """What the user has chosen.

    Attributes:
        direction: one of `keyframes.DIRECTIONS`.
        first: lowest slice to fill; None for the lowest there is.
        last: highest slice to fill; None for the highest there is.
        every: the model is asked on every n-th slice.
        intensity: what the model sees, one of `scene.INTENSITIES`.
        zoom: whether the model looks at a crop; None does what the weights were trained for.
    """

    direction: str = BOTH
    first: int | None = None
    last: int | None = None
    every: int = 1
    intensity: str = volumes.WINDOW
    zoom: bool | None = None

    def range_in(self, count: int) -> tuple[int, int]:
        """The slices to fill, of this many.

        Raises:
            SceneError: these are none.
        """
        unknown = _("Unknown direction {direction}: choose up, down or both.")
        no_range = _("Slices {first} to {last} are no range: there are 1 to {count}, give the lowest one first.")
        return self._checked(count, DIRECTIONS, unknown, no_range)

    def _checked(self, count: int, directions: Sequence[str], unknown: str, no_range: str) -> tuple[int, int]:
        """The range, or what to say of a direction that there is not, and of a range that is none."""
        first = 0 if self.first is None else self.first
        last = count - 1 if self.last is None else self.last
        if self.direction not in directions:
            raise SceneError(unknown.format(direction=repr(self.direction)))
        if self.every < 1 or not 0 <= first <= last < count:
            raise SceneError(no_range.format(first=first + 1, last=last + 1, count=count))
        return first, last


@dataclass(frozen=True, eq=False)
class SliceFound:
    """A segment on one slice.

    Attributes:
        index: the slice, from 0.
        confidence: 0 .. 1, to find the slices that need a look; 1 for keyframes.
        is_keyframe: whether it was given.
        voxels: of the segment on the slice.
    """

    index: int
    confidence: float
    is_keyframe: bool
    voxels: int


@dataclass(frozen=True, eq=False)
class SegmentPropagation:
    """What became of one segment.

    Attributes:
        segment_id: the segment.
        slices: keyframes, and slices that were found now, from low to high.
        changed: how many voxels of the segment changed.
        found: on how many slices the object was found now, whether or not they could be written.
    """

    segment_id: str
    slices: list[SliceFound]
    changed: int
    found: int


@dataclass(frozen=True, eq=False)
class PropagationResult(Totals):
    """What became of a propagation.

    Attributes:
        planes: all slices, by their numbers.
        segments: by their IDs.
        is_complete: whether it was not cancelled.
        outside_px: how many pixels of what was found lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each segment beside those of the run has lost, where it had to give way, by its ID.
    """

    planes: tuple[SlicePlane, ...]
    segments: dict[str, SegmentPropagation]
    is_complete: bool
    outside_px: int = 0
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def filled(self) -> str:
        """How many slices were filled, for people."""
        slices = {one.index for found in self.segments.values() for one in found.slices if not one.is_keyframe}
        return _("1 slice") if len(slices) == 1 else _("{count} slices").format(count=len(slices))


@dataclass(eq=False)
class _Object:
    """A segment in the work."""

    now: SegmentKeyframes
    first: int = 0
    last: int = -1
    wanted: set[int] | None = None
    targets: set[int] = field(default_factory=set)
    patches: dict[int, VoxelPatch | None] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    before: SegmentKeyframes | None = None  # as it is when writing begins
    others: VoxelPatch | None = None  # what must not give way
    reached: set[int] = field(default_factory=set)  # what was written
    memory: Memory | None = None
    outcome: SegmentPropagation | None = None


class PropagationTask(InPieces):
    """One run; `of_scene` and `steps` on the main thread, `read` and `advance` in the worker thread."""

    def __init__(
        self, volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, stack: Stack
    ) -> None:
        """Use `of_scene`."""
        super().__init__()
        self.volume, self.segmentation, self.stack = volume, segmentation, stack
        self.is_read = False
        self._objects: list[_Object] = []
        self._voxels = volumes.volume_kji(volume)
        self._image = volume.GetImageData()  # kept as long as the worker looks at its voxels
        self._image_time = 0 if self._image is None else self._image.GetMTime()
        self._settings = ""
        self._choose = Settings()
        self._rule: Any = None
        self._masks: dict[str, dict[int, np.ndarray]] = {}
        self._chosen: Sequence[int] | None = None

    @classmethod
    def of_scene(
        cls,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: SlicePlane,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_ids: Sequence[str],
        labelmap: slicer.vtkOrientedImageData,
        settings: Settings,
        model: str,
        chosen: Sequence[int] | None = None,
    ) -> PropagationTask:
        """Take what a run needs; on the main thread.

        Args:
            volume: the volume node.
            plane: a slice of it; its neighbours are those to fill.
            segmentation: the segmentation node.
            segment_ids: of existing segments.
            labelmap: has the grid of the segmentation; None where it has none.
            settings: what the user has chosen.
            model: what to call the model; another one makes a run anew.
            chosen: keyframes, where a script says which.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        if labelmap is None:
            raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
        stack = Stack.of(volume, plane, segmentation, labelmap)
        if len(stack.planes) < 2:
            raise SceneError(_("There is one slice only in this direction: choose a view across it."))
        settings.range_in(len(stack.planes))
        task = cls(volume, segmentation, stack)
        task._choose, task._chosen = settings, chosen
        task._rule = volumes.intensity_of(volume, settings.intensity)
        task._settings = repr((task._rule, settings.zoom, settings.every, model))
        task._objects = [_Object(task._now(one)) for one in dict.fromkeys(segment_ids)]
        return task

    def _now(self, segment_id: str) -> SegmentKeyframes:
        return SegmentKeyframes(self.stack, self.segmentation, segment_id, self._chosen)

    def read(self) -> None:
        """Look for keyframes; in the worker thread.

        Raises:
            SceneError: there are none, or there is nothing to do.
        """
        for one in self._objects:
            one.now.read()
            self._find_targets(one)
        objects = [one for one in self._objects if one.targets]
        if not objects:
            raise SceneError(
                _(
                    "Nothing is left to do: all slices of this range are keyframes, or as the last run left them. "
                    "Correct a slice, or choose another range."
                )
            )
        self._masks = {one.now.segment_id: one.now.masks() for one in objects}
        self._objects, self.is_read = objects, True

    def _find_targets(self, one: _Object) -> None:
        if not one.now.shown:
            message = _(
                "{name} has no keyframe: segment it on one slice at least, best on its first, a middle and its last "
                "one."
            )
            raise SceneError(message.format(name=one.now.name))
        first, last = self._choose.range_in(len(self.stack.planes))
        one.first, one.last = one.now.range_of(self._choose.direction, first, last)
        one.wanted = one.now.wanted(self._settings, one.first, one.last)
        one.targets = one.now.targets(one.wanted, one.first, one.last) if one.first <= one.last else set()

    # Computing

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices were found, of at most how many."""
        return sum(len(one.patches) for one in self._objects), sum(len(one.targets) for one in self._objects)

    def _take(self, found: tuple[_Object, Any]) -> None:
        one, answer = found
        one.patches[answer.index] = self.stack.patch(answer.index, answer.mask)
        self.outside_px += self.stack.pixels_outside(answer.index, answer.mask)
        one.confidence[answer.index] = answer.confidence

    def _propagated(self, session: Session) -> Iterator[tuple[_Object, Any]]:
        from SAMMed2DLib.propagation.stack import check_memory, propagate_stack

        count = sum(len(one.targets) for one in self._objects)
        check_memory(session, self.stack.planes[0].size_hw, -(-count // len(self._objects)), len(self._objects))
        groups: dict[Any, list[_Object]] = {}
        for one in self._objects:  # objects with the same slices to fill share the encodings of one view
            wanted = None if one.wanted is None else frozenset(one.wanted)
            groups.setdefault((one.first, one.last, wanted), []).append(one)
        for (first, last, wanted), members in groups.items():
            found = propagate_stack(
                session,
                self._picture,
                [self._masks[one.now.segment_id] for one in members],
                first,
                last,
                zoom=self._choose.zoom,
                every=self._choose.every,
                only=wanted,
                should_stop=lambda: self.is_stopped,
            )
            for answer in found:
                if answer.index in members[answer.number].targets:
                    yield members[answer.number], answer

    def _picture(self, number: int) -> np.ndarray:
        from SAMMed2DLib.imaging.intensity import rgb_from_slice
        from SAMMed2DLib.imaging.planes import picture_of

        return rgb_from_slice(picture_of(self.stack.planes[number], self._voxels), self._fixed_rule)

    @cached_property
    def _fixed_rule(self) -> Any:
        """Found in the worker thread: it looks at all voxels."""
        from SAMMed2DLib.imaging.intensity import for_all_slices

        return for_all_slices(self._rule, self._voxels)

    # Writing

    def check(self) -> None:
        """See that the scene is still as it was when the run began.

        Raises:
            SceneError: the image or the segmentation is gone, or another one.
        """
        nodes = (self.volume, self.segmentation)
        if any(node.GetScene() is None for node in nodes):
            raise SceneError(_("The image or the segmentation was removed: the propagation was given up."))
        image = self.volume.GetImageData()
        if image is None or image is not self._image or image.GetMTime() != self._image_time:
            raise SceneError(_("The image was changed: the propagation was given up."))
        if not self.stack.is_in_place(self.volume, self.segmentation):
            raise SceneError(_("The image or the segmentation was moved: the propagation was given up."))

    def steps(self, target: SegmentTarget) -> Iterator[Callable[[], None] | None]:
        """Write what was found, block by block, as one undo step; the last steps also remember it.

        Yields:
            What is to be done in the worker thread before the next step; None for nothing.

        Raises:
            SceneError: see `check`.
        """
        self.result = PropagationResult(self.stack.planes, {}, self.is_finished, self.outside_px)
        self.check()
        target.make_editable()
        state = UndoStep(target)
        for one in self._objects:
            while self._has(one) and (one.before is None or one.before.slices.is_stale()):
                one.before = self._now(one.now.segment_id)
                yield partial(self._look_again, one, one.before, target.overwrites)
            if one.before is not None and self._has(one):
                yield from self._written(one, one.before, target, state)
        for one in self._objects:
            if self._has(one):
                yield partial(self._sum_up, one, SegmentSlices(self.stack, self.segmentation, one.now.segment_id))
            if one.memory is not None and one.outcome is not None and self._has(one):
                one.memory.keep(self.segmentation, one.now.segment_id)
                self.result.segments[one.now.segment_id] = one.outcome

    def _has(self, one: _Object) -> bool:
        """Whether the segment was not removed meanwhile."""
        return self.segmentation.GetSegmentation().GetSegment(one.now.segment_id) is not None

    def _look_again(self, one: _Object, before: SegmentKeyframes, overwrites: bool) -> None:
        """See what the segment is when writing begins; in the worker thread."""
        before.read()
        one.reached = self._finished(one, before)
        one.others = self._keyframes_of_others(one) if overwrites else None

    def _written(
        self, one: _Object, before: SegmentKeyframes, target: SegmentTarget, state: UndoStep
    ) -> Iterator[None]:
        for adds, removes in self._changes(one, before, sorted(one.reached)):
            self.check()
            if not self._has(one):
                return
            if adds is not None and one.others is not None:
                adds.mask_kji[voxel_patches.in_extent(one.others, adds.extent)] = 0
            if (adds is not None or removes is not None) and state.begin():
                yield None  # Slicer copies the segmentation for its undo, and that of a large one takes a moment
            for patch, is_added in ((removes, False), (adds, True)):
                if patch is not None:
                    self._modify(one, target, patch, is_added)
            yield None

    def _modify(self, one: _Object, target: SegmentTarget, patch: VoxelPatch, adds: bool) -> None:
        geometry, written_ids = self.stack.geometry, [other.now.segment_id for other in self._objects]
        others = segment_writer.other_segments_of(target, written_ids, patch.extent, geometry)
        target.modify(segment_writer.labelmap_of(patch, geometry), adds, one.now.segment_id)
        self.result.lost.update(others.lost())

    def _keyframes_of_others(self, one: _Object) -> VoxelPatch | None:
        """What the user has drawn of the run's other segments: it must not give way to what is found."""
        others = [other for other in self._objects if other is not one]
        return voxel_patches.union([other.now.slices.patch(n) for other in others for n in other.now.shown])

    def _finished(self, one: _Object, before: SegmentKeyframes) -> set[int]:
        """The slices to write: none that is a keyframe, or became one while the run went on."""
        reached = one.targets if self.is_finished else set(one.patches)
        return reached - set(before.numbers) - set(one.now.numbers)

    def _changes(
        self, one: _Object, before: SegmentKeyframes, numbers: Sequence[int]
    ) -> Iterator[tuple[VoxelPatch | None, VoxelPatch | None]]:
        """Voxels to add and voxels to take away, in blocks of slices."""
        protected = sorted({*before.numbers, *one.now.numbers})
        parts: list[tuple[VoxelPatch | None, VoxelPatch | None]] = []
        for number in numbers:
            old = before.slices.patch(number) if number in before.ours else None
            part = (one.patches.get(number), old)
            if parts and (len(parts) >= _BLOCK_SLICES or _size([*parts, part]) > _BLOCK_VOXELS):
                yield self._block(parts, protected)
                parts = []
            parts.append(part)
        if parts:
            yield self._block(parts, protected)

    def _block(
        self, parts: Sequence[tuple[VoxelPatch | None, VoxelPatch | None]], protected: Sequence[int]
    ) -> tuple[VoxelPatch | None, VoxelPatch | None]:
        adds, removes = (voxel_patches.union([part[n] for part in parts]) for n in (0, 1))
        if adds is not None and protected:
            adds.mask_kji[np.broadcast_to(np.isin(self.stack.layers(adds.extent), protected), adds.mask_kji.shape)] = 0
        if adds is not None and removes is not None:
            removes.mask_kji[voxel_patches.in_extent(adds, removes.extent)] = 0
        return adds, removes if removes is None or removes.mask_kji.any() else None

    def _sum_up(self, one: _Object, after: SegmentSlices) -> None:
        """Find out what was left on each slice, and what became of the segment; in the worker thread."""
        was, old, reached = one.now, one.now.memory, one.reached
        after.read()
        kept = {n: text for n, text in old.left.items() if n not in reached and n in was.ours}
        kept = {n: text for n, text in kept.items() if text == after.digest(n)}
        touched = was.targets(one.wanted, 0, len(self.stack.planes) - 1)
        memory = one.memory = Memory(
            self.stack.key(),
            self._settings,
            kept | {n: after.digest(n) for n in reached},
            {n: old.confidence.get(n, 0.0) for n in kept} | {n: one.confidence.get(n, 0.0) for n in reached},
            was.digests(),
            (set() if one.wanted is None else old.done - touched) | reached,
        )
        confidence = memory.confidence | dict.fromkeys(was.numbers, 1.0)
        slices = [
            SliceFound(n, confidence[n], n in was.numbers, voxel_patches.count(after.patch(n)))
            for n in sorted({*was.numbers, *(set(one.patches) & reached)})
        ]
        numbers = {*was.slices.numbers, *after.numbers}
        changed = sum(voxel_patches.difference(was.slices.patch(n), after.patch(n)) for n in numbers)
        one.outcome = SegmentPropagation(
            was.segment_id, slices, changed, sum(patch is not None for patch in one.patches.values())
        )


def _size(parts: Sequence[tuple[VoxelPatch | None, VoxelPatch | None]]) -> int:
    """Voxels of the smallest block with all parts."""
    patches = [patch for part in parts for patch in part if patch is not None]
    if not patches:
        return 0
    extent = patches[0].extent
    for patch in patches:
        extent = voxel_patches.joined([extent, patch.extent])
    i0, i1, j0, j1, k0, k1 = extent
    return (i1 - i0 + 1) * (j1 - j0 + 1) * (k1 - k0 + 1)


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settings from words and numbers, as scripts give them."""
    from SAMMed2DSlicer.inference.slice_task import zoom_of

    return Settings(**{**options, "zoom": zoom_of(options.get("zoom"))})
