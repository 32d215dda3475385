"""Segments carried from their keyframes through a stack of slices: taken from the scene, computed, written.

The three steps are apart because only the middle one runs in the worker thread, where MRML must not be touched. It runs
in pieces, so that clicks are answered in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SAMMed2DSlicer import scene, segments
from SAMMed2DSlicer.keyframes import BOTH, DIRECTIONS, Memory, SegmentKeyframes
from SAMMed2DSlicer.scene import SceneError
from SAMMed2DSlicer.slice_stack import SegmentSlices, Stack

if TYPE_CHECKING:
    import numpy as np

    from SAMMed2DLib.geometry import SlicePlane
    from SAMMed2DLib.planes import VoxelPatch
    from SAMMed2DLib.session import Session

# A piece of the work takes about this long.
_PIECE_S = 0.25
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
    intensity: str = scene.WINDOW
    zoom: bool | None = None

    def range_in(self, count: int) -> tuple[int, int]:
        """The slices to fill, of this many.

        Raises:
            SceneError: these are none.
        """
        first = 0 if self.first is None else self.first
        last = count - 1 if self.last is None else self.last
        if self.direction not in DIRECTIONS:
            message = _("Unknown direction {direction}: choose up, down or both.")
            raise SceneError(message.format(direction=repr(self.direction)))
        if self.every < 1 or not 0 <= first <= last < count:
            message = _("Slices {first} to {last} are no range: there are 1 to {count}, give the lowest one first.")
            raise SceneError(message.format(first=first + 1, last=last + 1, count=count))
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
    """

    segment_id: str
    slices: list[SliceFound]
    changed: int


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """What became of a propagation.

    Attributes:
        planes: all slices, by their numbers.
        segments: by their IDs.
        is_complete: whether it was not cancelled.
    """

    planes: tuple[SlicePlane, ...]
    segments: dict[str, SegmentPropagation]
    is_complete: bool

    @property
    def changed(self) -> int:
        """How many voxels changed, of all segments."""
        return sum(one.changed for one in self.segments.values())


@dataclass(eq=False)
class _Object:
    """A segment in the work."""

    now: SegmentKeyframes
    first: int
    last: int
    wanted: set[int] | None
    targets: set[int]
    patches: dict[int, VoxelPatch | None] = field(default_factory=dict)
    confidence: dict[int, float] = field(default_factory=dict)
    reached: set[int] = field(default_factory=set)  # what was written


class PropagationTask:
    """One run; `of_scene` and `blocks` on the main thread, `advance` in the worker thread."""

    def __init__(self, volume: Any, segmentation: Any, stack: Stack, objects: Sequence[_Object]) -> None:
        """Use `of_scene`."""
        self.volume, self.segmentation, self.stack = volume, segmentation, stack
        self.is_stopped = False
        self.is_finished = False
        self._objects = objects
        self._image = volume.GetImageData()  # kept as long as the worker looks at its voxels
        self._image_time = self._image.GetMTime()
        self._voxels = scene.volume_kji(volume)
        self._settings = ""
        self._choose = Settings()
        self._rule: Any = None
        self._masks: dict[str, dict[int, np.ndarray]] = {}
        self._chosen: Sequence[int] | None = None
        self._found: Iterator[tuple[_Object, Any]] | None = None
        self._session: Any = None

    @classmethod
    def of_scene(
        cls,
        volume: Any,
        plane: SlicePlane,
        segmentation: Any,
        segment_ids: Sequence[str],
        labelmap: Any,
        settings: Settings,
        model: str,
        cache_bytes: int,
        chosen: Sequence[int] | None = None,
    ) -> PropagationTask:
        """Look for keyframes; on the main thread.

        Args:
            volume: the volume node.
            plane: a slice of it; its neighbours are those to fill.
            segmentation: the segmentation node.
            segment_ids: of existing segments.
            labelmap: has the grid of the segmentation; None where it has none.
            settings: what the user has chosen.
            model: what to call the model; another one makes a run anew.
            cache_bytes: the most that kept embeddings take.
            chosen: keyframes, where a script says which.

        Raises:
            SceneError: something in the scene does not allow it, or there is nothing to do.
            PropagationError: the memory is not enough.
        """
        from SAMMed2DLib.stack import check_memory

        if labelmap is None:
            raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
        stack = Stack.of(volume, plane, segmentation, labelmap)
        if len(stack.planes) < 2:
            raise SceneError(_("There is one slice only in this direction: choose a view across it."))
        first, last = settings.range_in(len(stack.planes))
        rule = scene.intensity_of(volume, settings.intensity)
        text = repr((rule, settings.zoom, settings.every, model))
        objects = [
            _object(SegmentKeyframes(stack, segmentation, one, chosen), segmentation, settings, text, first, last)
            for one in dict.fromkeys(segment_ids)
        ]
        objects = [one for one in objects if one.targets]
        if not objects:
            raise SceneError(
                _(
                    "Nothing is left to do: all slices of this range are keyframes, or as the last run left them. "
                    "Correct a slice, or choose another range."
                )
            )
        count = sum(len(one.targets) for one in objects)
        check_memory(plane.size_hw, -(-count // len(objects)), len(objects), cache_bytes)
        task = cls(volume, segmentation, stack, objects)
        task._settings, task._choose, task._rule, task._chosen = text, settings, rule, chosen
        task._masks = {one.now.segment_id: one.now.masks() for one in objects}
        return task

    # Computing

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices were found, of at most how many."""
        return sum(len(one.patches) for one in self._objects), sum(len(one.targets) for one in self._objects)

    def stop(self) -> None:
        """Find no more; what was found stays."""
        self.is_stopped = True

    def advance(self, session: Session, should_stop: Callable[[], bool]) -> bool:
        """Work on for a moment; in the worker thread.

        Returns:
            Whether more is to be done.

        Raises:
            PropagationError: nothing can be propagated from the keyframes.
        """
        from SAMMed2DLib.session import Stopped

        if self._found is None:
            self._session, self._found = session, self._propagated(session)
        if session is not self._session:
            self.stop()  # another model: its masks would not go with these
        ends = time.perf_counter() + _PIECE_S
        try:
            while not (self.is_stopped or should_stop()):
                found = next(self._found, None)
                if found is None:
                    self.is_finished = True
                    return False
                one, answer = found
                one.patches[answer.index] = self.stack.patch(answer.index, answer.mask)
                one.confidence[answer.index] = answer.confidence
                if time.perf_counter() > ends:
                    return True
        except Stopped:
            pass
        return False

    def _propagated(self, session: Session) -> Iterator[tuple[_Object, Any]]:
        from SAMMed2DLib.stack import propagate_stack

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
        from SAMMed2DLib.image import rgb_from_slice
        from SAMMed2DLib.planes import picture_of

        return rgb_from_slice(picture_of(self.stack.planes[number], self._voxels), self._fixed_rule)

    @cached_property
    def _fixed_rule(self) -> Any:
        """Found in the worker thread: it looks at all voxels."""
        from SAMMed2DLib.image import for_all_slices

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
        if image is not self._image or image.GetMTime() != self._image_time:
            raise SceneError(_("The image was changed: the propagation was given up, and nothing was written."))

    def blocks(self, target: segments.SegmentTarget) -> Iterator[None]:
        """Write what was found, block by block, as one undo step; the last one also remembers it.

        Raises:
            SceneError: see `check`.
        """
        self.result = PropagationResult(self.stack.planes, {}, self.is_finished)
        self.check()
        state = segments.UndoStep(target)
        for one in self._objects:
            segment_id = one.now.segment_id
            if self.segmentation.GetSegmentation().GetSegment(segment_id) is None:
                continue  # it was removed meanwhile
            before = SegmentKeyframes(self.stack, self.segmentation, segment_id, self._chosen)
            one.reached = self._finished(one, before)
            others = self._keyframes_of_others(one) if target.overwrites else None
            for adds, removes in self._changes(one, before, sorted(one.reached)):
                self.check()
                if adds is not None and others is not None:
                    adds.mask_kji[segments.in_extent(others, adds.extent)] = 0
                if self.segmentation.GetSegmentation().GetSegment(segment_id) is None:
                    break
                for patch, is_added in ((removes, False), (adds, True)):
                    if patch is not None:
                        state.begin()
                        target.modify(segments.labelmap_of(patch, self.stack.geometry), is_added, segment_id)
                yield
        for one in self._objects:
            if self.segmentation.GetSegmentation().GetSegment(one.now.segment_id) is not None:
                self._remember(one)
                yield

    def _keyframes_of_others(self, one: _Object) -> VoxelPatch | None:
        """What the user has drawn of the run's other segments: it must not give way to what is found."""
        others = [other for other in self._objects if other is not one]
        return segments.union([other.now.slices.patch(n) for other in others for n in other.now.shown])

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
        import numpy as np

        adds, removes = (segments.union([part[n] for part in parts]) for n in (0, 1))
        if adds is not None and protected:
            adds.mask_kji[np.broadcast_to(np.isin(self.stack.layers(adds.extent), protected), adds.mask_kji.shape)] = 0
        if adds is not None and removes is not None:
            removes.mask_kji[segments.in_extent(adds, removes.extent)] = 0
        return adds, removes if removes is None or removes.mask_kji.any() else None

    def _remember(self, one: _Object) -> None:
        """Note what was left on each slice, and what became of the segment."""
        segment_id, was = one.now.segment_id, one.now
        after = SegmentSlices(self.stack, self.segmentation, segment_id)
        old, reached = was.memory, one.reached
        kept = {n: text for n, text in old.left.items() if n not in reached and n in was.ours}
        kept = {n: text for n, text in kept.items() if text == after.digest(n)}
        touched = was.targets(one.wanted, 0, len(self.stack.planes) - 1)
        memory = Memory(
            self.stack.key(),
            self._settings,
            kept | {n: after.digest(n) for n in reached},
            {n: old.confidence.get(n, 0.0) for n in kept} | {n: one.confidence.get(n, 0.0) for n in reached},
            was.digests(),
            (set() if one.wanted is None else old.done - touched) | reached,
        )
        memory.keep(self.segmentation, segment_id)
        slices = [
            SliceFound(n, 1.0 if n in was.numbers else memory.confidence[n], n in was.numbers, _count(after.patch(n)))
            for n in sorted({*was.numbers, *(set(one.patches) & reached)})
        ]
        numbers = {*was.slices.numbers, *after.numbers}
        changed = sum(_difference(was.slices.patch(n), after.patch(n)) for n in numbers)
        self.result.segments[segment_id] = SegmentPropagation(segment_id, slices, changed)


def _object(now: SegmentKeyframes, segmentation: Any, settings: Settings, text: str, first: int, last: int) -> _Object:
    """A segment, and which of its slices are to be filled.

    Raises:
        SceneError: no slice shows it.
    """
    if not now.shown:
        segment = segmentation.GetSegmentation().GetSegment(now.segment_id)
        message = _(
            "{name} has no keyframe: segment it on one slice at least, best on its first, a middle and its last one."
        )
        raise SceneError(message.format(name=segment.GetName()))
    low, high = now.range_of(settings.direction, first, last)
    wanted = now.wanted(text, low, high)
    targets = now.targets(wanted, low, high) if low <= high else set()
    return _Object(now, low, high, wanted, targets)


def _size(parts: Sequence[tuple[VoxelPatch | None, VoxelPatch | None]]) -> int:
    """Voxels of the smallest block with all parts."""
    patches = [patch for part in parts for patch in part if patch is not None]
    if not patches:
        return 0
    extent = patches[0].extent
    for patch in patches:
        extent = segments.around(extent, patch.extent)
    i0, i1, j0, j1, k0, k1 = extent
    return (i1 - i0 + 1) * (j1 - j0 + 1) * (k1 - k0 + 1)


def _count(patch: VoxelPatch | None) -> int:
    return 0 if patch is None else int(patch.mask_kji.sum())


def _difference(one: VoxelPatch | None, other: VoxelPatch | None) -> int:
    """How many voxels only one of the two has."""
    if one is None or other is None:
        return _count(one) + _count(other)
    shared = int((segments.in_extent(one, other.extent) & other.mask_kji).sum())
    return _count(one) + _count(other) - 2 * shared


def settings_of(options: Mapping[str, Any]) -> Settings:
    """Settings from words and numbers, as scripts give them."""
    from SAMMed2DSlicer.slice_task import zoom_of

    return Settings(**{**options, "zoom": zoom_of(options.get("zoom"))})
