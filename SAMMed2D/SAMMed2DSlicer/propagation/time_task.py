"""Segments carried along time, from the frames in which they are drawn to the others: computed, written, taken back.

In the threads and pieces of `propagation_task`: `of_scene` and `steps` on the main thread, `read` and `advance` in the
worker thread. No Segment Editor and no undo of Slicer's reaches the frames that are not shown, so that a run keeps
what it replaces (see `time_undo`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DSlicer.prompts.slice_prompts import plane_of
from SAMMed2DSlicer.propagation.background import InPieces, Totals
from SAMMed2DSlicer.propagation.slice_stack import Stack
from SAMMed2DSlicer.propagation.task import Settings
from SAMMed2DSlicer.propagation.time_keyframes import DIRECTIONS, FrameMemory, SegmentInFrame, SegmentInTime
from SAMMed2DSlicer.propagation.time_undo import TimeUndo
from SAMMed2DSlicer.scene import segment_writer, segmentations, volumes
from SAMMed2DSlicer.scene.sequences import FrameImages, FrameSeries
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session


@dataclass(frozen=True)
class TimeSettings(Settings):
    """What the user has chosen; `first`, `last` and `every` are of frames.

    Attributes:
        loop: whether the last frame is followed by the first one.
    """

    loop: bool = False

    def range_in(self, count: int) -> tuple[int, int]:
        """The frames to fill, of this many.

        Raises:
            SceneError: these are none.
        """
        unknown = _("Unknown direction {direction}: choose earlier, later or both.")
        no_range = _("Frames {first} to {last} are no range: there are 1 to {count}, give the earliest one first.")
        return self._checked(count, DIRECTIONS, unknown, no_range)


@dataclass(frozen=True, eq=False)
class FrameFound:
    """A segment in one frame.

    Attributes:
        frame: from 0.
        confidence: 0 .. 1, to find the frames that need a look; 1 for keyframes.
        is_keyframe: whether it was given.
        voxels: of the segment in the frame.
    """

    frame: int
    confidence: float
    is_keyframe: bool
    voxels: int


@dataclass(frozen=True, eq=False)
class SegmentFound:
    """What became of one segment.

    Attributes:
        segment_id: the segment.
        frames: keyframes, and frames that were filled now, from early to late.
        changed: how many voxels changed, of all frames.
        found: in how many frames the object was found now.
    """

    segment_id: str
    frames: list[FrameFound]
    changed: int
    found: int


@dataclass(frozen=True, eq=False)
class TimeResult(Totals):
    """What became of a propagation along time.

    Attributes:
        segments: by their IDs.
        is_complete: whether it was not cancelled.
        undo: takes the run back, see `TimeUndo`.
        outside_px: how many pixels of what was found lie outside the segmentation's geometry.
    """

    segments: dict[str, SegmentFound]
    is_complete: bool
    undo: TimeUndo
    outside_px: int = 0

    @property
    def filled(self) -> str:
        """How many frames were filled, for people."""
        frames = {one.frame for found in self.segments.values() for one in found.frames if not one.is_keyframe}
        return _("1 frame") if len(frames) == 1 else _("{count} frames").format(count=len(frames))


@dataclass(eq=False)
class _Object:
    """A segment in the work."""

    now: SegmentInTime
    first: int = 0
    last: int = -1
    targets: set[int] = field(default_factory=set)
    slices: list[int] = field(default_factory=list)
    # by frame and slice
    found: dict[int, dict[int, tuple[VoxelPatch | None, float]]] = field(default_factory=dict)
    filled: list[FrameFound] = field(default_factory=list)
    changed: int = 0


class TimeTask(InPieces):
    """One run; `of_scene` and `steps` on the main thread, `read` and `advance` in the worker thread."""

    def __init__(self, frames: FrameSeries, stack: Stack, settings: TimeSettings) -> None:
        """Use `of_scene`."""
        super().__init__()
        self.frames, self.stack, self._settings = frames, stack, settings
        self._images = FrameImages(frames)
        self._rule = volumes.intensity_of(frames.volume, settings.intensity)
        self._only: int | None = None
        self._objects: list[_Object] = []
        self._shown: list[tuple[SegmentInFrame, SegmentInFrame]] = []
        self._masks: dict[str, dict[tuple[int, int], np.ndarray]] = {}
        self.result = TimeResult({}, False, TimeUndo(frames, stack))

    @classmethod
    def of_scene(
        cls,
        frames: FrameSeries,
        plane: Any,
        segment_ids: Sequence[str],
        labelmap: slicer.vtkOrientedImageData,
        settings: TimeSettings,
    ) -> TimeTask:
        """Take what a run needs; on the main thread.

        Args:
            frames: what is played.
            plane: the only slice to look at, see `slice_prompts.plane_of`; None for all, as they are stored.
            segment_ids: of existing segments.
            labelmap: has the grid of the segmentation; None where it has none.
            settings: what the user has chosen.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        if labelmap is None:
            raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
        settings.range_in(len(frames.values))
        stack = stack_of(frames, labelmap, plane)
        task = cls(frames, stack, settings)
        task._only = None if plane is None else stack.position
        task._objects = [_Object(SegmentInTime(stack, frames, one, task._only)) for one in dict.fromkeys(segment_ids)]
        if not frames.saves_changes:
            task._shown = [task._both(one) for one in dict.fromkeys(segment_ids)]
        return task

    def _both(self, segment_id: str) -> tuple[SegmentInFrame, SegmentInFrame]:
        """A segment as it is shown, and as the sequence has it."""
        shown = SegmentInFrame(self.stack, self.frames.segmentation, segment_id)
        return shown, SegmentInFrame(self.stack, self.frames.drawing(self.frames.position), segment_id)

    def read(self) -> None:
        """Look for keyframes; in the worker thread.

        Raises:
            SceneError: there are none, or there is nothing to do.
        """
        self._refuse_unsaved()
        for one in self._objects:
            one.now.read()
            self._find_targets(one)
        objects = self._objects = [one for one in self._objects if one.targets]
        if not objects:
            raise SceneError(_("Nothing is left to do: all frames of this range are keyframes."))
        self._masks = {one.now.segment_id: one.now.masks() for one in objects}

    def _refuse_unsaved(self) -> None:
        """What the user has just drawn must neither be overlooked nor lost."""
        for shown, kept in self._shown:
            shown.read()
            kept.read()
            if shown.digest != kept.digest:
                message = _(
                    "What {name} shows now is not kept in its sequence: let the sequence browser save its changes "
                    "(the button Segment each frame does so, and from Python makeSequence=True)."
                )
                raise SceneError(message.format(name=self.frames.segmentation.GetName()))

    def _find_targets(self, one: _Object) -> None:
        one.slices = one.now.slices
        if not one.slices:
            message = _("{name} is drawn in no frame: segment it in one frame at least, best in two that differ.")
            raise SceneError(message.format(name=one.now.name))
        first, last = self._settings.range_in(len(self.frames.values))
        one.first, one.last = one.now.range_of(self._settings.direction, first, last)
        one.targets = set(range(one.first, one.last + 1)) - set(one.now.numbers)

    # Computing

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices of frames were found, of at most how many."""
        done = sum(len(slices) for one in self._objects for slices in list(one.found.values()))
        return done, sum(len(one.targets) * len(one.slices) for one in self._objects)

    def _propagated(self, session: Session) -> Iterator[tuple[_Object, Any]]:
        from SAMMed2DLib.propagation.time_series import check_memory, propagate_in_time

        frames = max(len(one.targets) for one in self._objects)
        slices = max(len(one.slices) for one in self._objects)
        check_memory(session, self.stack.planes[0].size_hw, frames, slices, len(self._objects))
        groups: dict[tuple[int, int], list[_Object]] = {}
        for one in self._objects:  # those with the same frames to fill share what the model encodes
            groups.setdefault((one.first, one.last), []).append(one)
        for (first, last), members in groups.items():
            for found in propagate_in_time(
                session,
                self._pictures,
                [self._masks[one.now.segment_id] for one in members],
                first,
                last,
                period=len(self.frames.values) if self._settings.loop else None,
                zoom=self._settings.zoom,
                every=self._settings.every,
                should_stop=lambda: self.is_stopped,
            ):
                yield members[found.number], found

    def _take(self, found: tuple[_Object, Any]) -> None:
        one, answer = found
        if answer.frame in one.targets:
            patch = self.stack.patch(answer.index, answer.mask)
            self.outside_px += self.stack.pixels_outside(answer.index, answer.mask)
            one.found.setdefault(answer.frame, {})[answer.index] = (patch, answer.confidence)

    def _pictures(self, frame: int, numbers: Sequence[int]) -> list[np.ndarray]:
        from SAMMed2DLib.imaging.intensity import rgb_from_slice
        from SAMMed2DLib.imaging.planes import picture_of

        voxels = self._images.voxels[frame]
        return [rgb_from_slice(picture_of(self.stack.planes[n], voxels), self._fixed_rule) for n in numbers]

    @cached_property
    def _fixed_rule(self) -> Any:
        """The same in all frames; found in the worker thread, since it looks at all voxels."""
        from SAMMed2DLib.imaging.intensity import Percentiles, Window, for_all_slices

        voxels, rule = self._images.voxels, self._rule
        if isinstance(rule, Window):
            return rule
        if isinstance(rule, Percentiles):  # as many voxels as one frame has are enough
            some = [one[n % len(one) :: len(voxels)] for n, one in enumerate(voxels)]
            return for_all_slices(rule, np.concatenate(some))
        limits = np.array([rule.limits(one) for one in voxels])
        low, high = float(limits[:, 0].min()), float(limits[:, 1].max())
        return Window.of_range(low, high) if low < high else rule

    # Writing

    def check(self) -> None:
        """See that the scene is still as it was when the run began.

        Raises:
            SceneError: frames, images or segmentation are gone, or others.
        """
        if not self.frames.are_there:
            raise SceneError(_("The sequence, or frames of it, were removed: the propagation was given up."))
        if not self._images.are_unchanged():
            raise SceneError(_("The images were changed: the propagation was given up."))
        if not self.stack.is_in_place(self.frames.volume, self.frames.segmentation):
            raise SceneError(_("The image or the segmentation was moved: the propagation was given up."))

    def steps(self, target: Any = None) -> Iterator[Callable[[], None] | None]:
        """Write what was found, frame by frame; `result` then tells of it, and takes it back.

        Yields:
            What is to be done in the worker thread before the next step; None for nothing.

        Raises:
            SceneError: see `check`.
        """
        self.result = TimeResult({}, self.is_finished, self.result.undo, self.outside_px)
        try:
            for number in range(len(self.frames.values)):
                for one in self._objects:
                    if number in (one.targets if self.is_finished else one.found):
                        yield from self._filled(one, number)
        finally:
            if self.frames.are_there:
                self.frames.refresh()
        self.result.segments.update({one.now.segment_id: _summary(one) for one in self._objects})

    def _filled(self, one: _Object, number: int) -> Iterator[Callable[[], None] | None]:
        before = self._look(one, number)
        yield before.read
        while before.is_stale():
            before = self._look(one, number)
            yield before.read
        self.check()
        patch = self._wanted(one, number, before)
        if self._is_keyframe(one, number, before) or (patch is None and not before.is_ours):
            return
        node = self._written(one.now.segment_id, number, before, patch)
        after = self._look(one, number)
        yield after.read
        if not after.is_stale():  # else it is the user's already
            memory = FrameMemory(after.digest, _confidence(one.found.get(number, {})))
            memory.keep(node, one.now.segment_id)
            self.result.undo.add(number, one.now.segment_id, before, memory.left)
            one.filled.append(FrameFound(number, memory.confidence, False, voxel_patches.count(after.patch())))
        one.changed += voxel_patches.difference(before.patch(), after.patch())

    def _look(self, one: _Object, number: int) -> SegmentInFrame:
        return SegmentInFrame(self.stack, self.frames.drawing(number), one.now.segment_id)

    def _is_keyframe(self, one: _Object, number: int, now: SegmentInFrame) -> bool:
        """Whether it became one while the run went on."""
        return now.is_drawn or (now.is_emptied and not one.now.frames[number].is_emptied)

    def _wanted(self, one: _Object, number: int, before: SegmentInFrame) -> VoxelPatch | None:
        """What the frame is to have: what was found, and on slices that were not looked at what an earlier run left."""
        found = one.found.get(number, {})
        is_whole = self.is_finished and self._only is None
        kept = [] if is_whole or not before.is_ours else [n for n in before.numbers if n not in found]
        if self.is_finished and self._only in kept:
            kept.remove(self._only)
        patches = [patch for patch, _confidence in found.values()]
        return voxel_patches.union([*patches, *(before.patch_on(n) for n in kept)])

    def _written(self, segment_id: str, number: int, before: SegmentInFrame, patch: VoxelPatch | None) -> Any:
        node = self.frames.drawing(number) or self.frames.new_drawing(number)
        if node.GetSegmentation().GetSegment(segment_id) is None:
            segmentations.add_like(node, self.frames.segmentation, segment_id)
        segment_writer.replace_segment(node, segment_id, patch, self.stack.geometry)
        return node


def stack_of(frames: FrameSeries, labelmap: slicer.vtkOrientedImageData, plane: Any = None) -> Stack:
    """The slices of all frames: those parallel to one, by default as they are stored.

    Raises:
        SceneError, GeometryError: there is no such slice, or a transform is not linear.
    """
    chosen = plane_of(frames.volume, ("k", 0) if plane is None else plane)
    return Stack.of(frames.volume, chosen, frames.segmentation, labelmap)


def _confidence(found: dict[int, tuple[VoxelPatch | None, float]]) -> float:
    from SAMMed2DLib.propagation.time_series import confidence_of_frame

    return confidence_of_frame((voxel_patches.count(patch), confidence) for patch, confidence in found.values())


def _summary(one: _Object) -> SegmentFound:
    drawn = [FrameFound(n, 1.0, True, voxel_patches.count(one.now.frames[n].patch())) for n in one.now.numbers]
    frames = sorted([*drawn, *one.filled], key=lambda found: found.frame)
    found = sum(any(patch is not None for patch, _confidence in slices.values()) for slices in one.found.values())
    return SegmentFound(one.now.segment_id, frames, one.changed, found)
