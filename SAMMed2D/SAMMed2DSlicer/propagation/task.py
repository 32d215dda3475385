"""Segments carried from their keyframes along an axis, slices or frames: taken from the scene, computed, written.

MRML must not be touched but on the main thread, and reading or computing must not hold that one up. So a run is taken
from the scene there, read and computed in the worker thread (`read`, `advance`), a moment at a time, so that clicks are
answered in between, and written in `steps` of both threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.axis import PropagationAxis, SliceMask, Steps
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.results import PropagationResult, PropagationSettings, SegmentRun
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session

# The worker is busy for about this long at a time.
PIECE_S = 0.25


class PropagationTask:
    """One run; `steps` on the main thread, `read` and `advance` in the worker thread.

    Attributes:
        axis: along what.
        result: what became of it, complete after the last step.
        is_stopped: whether no more is to be found.
        is_finished: whether all was found.
    """

    def __init__(
        self,
        axis: PropagationAxis,
        segment_ids: Sequence[str],
        settings: PropagationSettings,
        model: str = "",
        chosen: Sequence[int] | None = None,
    ) -> None:
        """Take what a run needs; on the main thread.

        Args:
            axis: along what.
            segment_ids: of existing segments.
            settings: what the user has chosen.
            model: what to call the model; another one makes a run along slices anew.
            chosen: keyframes, where a script says which.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        axis.range_in(settings)
        self.axis, self.is_stopped, self.is_finished = axis, False, False
        self.result = PropagationResult(axis.stack.planes, {}, False, undo=axis.new_undo())
        self._settings, self._chosen = settings, chosen
        self._images = axis.images()
        self._rule = volumes.intensity_of(axis.volume, settings.intensity)
        self._state_key = repr((self._rule, settings.zoom, settings.every, model))
        ids = list(dict.fromkeys(segment_ids))
        self._runs = [SegmentRun(self._keyframes(segment_id)) for segment_id in ids]
        self._unsaved_checks = axis.unsaved_checks(ids)
        self._outside_px = 0  # of what was found
        self._found: Iterator[tuple[SegmentRun, SliceMask]] | None = None
        self._session: Session | None = None

    def _keyframes(self, segment_id: str) -> SegmentKeyframes:
        return self.axis.keyframes(segment_id, self._chosen)

    # Reading

    def read(self) -> None:
        """Look for keyframes; in the worker thread.

        Raises:
            SceneError: there are none, or there is nothing to do.
        """
        self._refuse_unsaved()
        for run in self._runs:
            run.keyframes.read()
            self._find_targets(run)
        self._runs = [run for run in self._runs if run.targets]
        if not self._runs:
            raise SceneError(self.axis.texts.nothing_left)
        for run in self._runs:
            run.masks = run.keyframes.masks()

    def _refuse_unsaved(self) -> None:
        """What the user has just drawn must neither be overlooked nor lost."""
        for shown, kept in self._unsaved_checks:
            shown.read()
            kept.read()
            if shown.digest != kept.digest:
                message = _(
                    "What {name} shows now is not kept in its sequence: let the sequence browser save its changes "
                    "(the button Segment each frame does so, and from Python makeSequence=True)."
                )
                raise SceneError(message.format(name=self.axis.segmentation.GetName()))

    def _find_targets(self, run: SegmentRun) -> None:
        keyframes = run.keyframes
        if not keyframes.slices_at_once:
            raise SceneError(self.axis.texts.no_keyframe.format(name=keyframes.name))
        first, last = self.axis.range_in(self._settings)
        run.first, run.last = keyframes.range_of(self._settings.direction, first, last)
        run.wanted = keyframes.wanted(self._state_key, run.first, run.last)
        run.targets = self.axis.targets(keyframes, run.wanted, run.first, run.last)

    # Computing

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices were found, of at most how many."""
        both = [run.progress for run in self._runs]
        return sum(done for done, _total in both), sum(total for _done, total in both)

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
        from SAMMed2DLib.inference.session import Stopped

        if self._found is None:
            self._session, self._found = session, self._propagated(session)
        if session is not self._session:
            self.stop()  # another model: its masks would not go with these
        ends = time.perf_counter() + PIECE_S
        try:
            while not (self.is_stopped or should_stop()):
                found = next(self._found, None)
                if found is None:
                    self.is_finished = True
                    return False
                self._keep(*found)
                if time.perf_counter() > ends:
                    return True
        except Stopped:
            pass
        return False

    def _propagated(self, session: Session) -> Iterator[tuple[SegmentRun, SliceMask]]:
        self.axis.check_memory(session, self._runs)
        groups: dict[Any, list[SegmentRun]] = {}
        for run in self._runs:  # segments with the same positions to fill share the encodings of one view
            wanted = None if run.wanted is None else frozenset(run.wanted)
            groups.setdefault((run.first, run.last, wanted), []).append(run)
        for group in groups.values():
            for found in self.axis.propagated(session, self._image, group, self._settings, lambda: self.is_stopped):
                if found.position in group[found.number].targets:
                    yield group[found.number], found

    def _keep(self, run: SegmentRun, found: SliceMask) -> None:
        patch = self.axis.stack.patch(found.index, found.mask_hw)
        self._outside_px += self.axis.stack.pixels_outside(found.index, found.mask_hw)
        run.found.setdefault(found.position, {})[found.index] = (patch, found.confidence)

    def _image(self, position: int, number: int) -> np.ndarray:
        """What the model sees of a slice at a position, (H, W, 3) uint8."""
        from SAMMed2DLib.imaging.intensity import rgb_from_slice
        from SAMMed2DLib.imaging.planes import slice_image_of

        voxels = self.axis.voxels_at(self._images, position)
        return rgb_from_slice(slice_image_of(self.axis.stack.planes[number], voxels), self._fixed_rule)

    @cached_property
    def _fixed_rule(self) -> Any:
        """Found in the worker thread: it may look at all voxels."""
        return self.axis.fixed_rule(self._rule, self._images)

    # Writing

    def check(self) -> None:
        """See that the scene is still as it was when the run began.

        Raises:
            SceneError: the images or the segmentation are gone, or others.
        """
        self.axis.check(self._images)

    def steps(self, target: Any) -> Steps:
        """Write what was found to the `SegmentTarget` of the run; `result` then tells of it.

        Yields:
            What is to be done in the worker thread before the next step; None for nothing.

        Raises:
            SceneError: see `check`.
        """
        undo = self.result.undo
        self.result = PropagationResult(
            self.axis.stack.planes, {}, self.is_finished, outside_px=self._outside_px, undo=undo
        )
        writer = self.axis.writer(target, self._keyframes, self.check, self._state_key)
        yield from writer.steps(self._runs, self.result)
