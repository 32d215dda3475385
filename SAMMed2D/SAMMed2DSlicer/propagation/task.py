"""A propagation of segments from their keyframes along an axis, slices or frames.

MRML may be accessed on the main thread only, and computing must not block it. So a `PropagationTask` is made on the
main thread, read and computed in the worker thread (`read`, `advance`), in short pieces so that clicks are predicted in
between, and written in `steps` that alternate between both threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.axis import SLICES, PropagationAxis, SliceMask, Steps
from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.propagation.results import (
    PropagationResult,
    PropagationSettings,
    SegmentRun,
    UnwrittenResults,
)
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session

# `advance` returns after about this long.
STEP_S = 0.25


class PropagationTask:
    """One run; `steps` on the main thread, `read` and `advance` in the worker thread.

    Attributes:
        axis: the positions.
        result: complete after the last of `steps`.
        is_stopped: whether the run is not to be continued.
        is_finished: whether all positions are computed.
    """

    def __init__(
        self,
        axis: PropagationAxis,
        segment_ids: Sequence[str],
        settings: PropagationSettings,
        model: str = "",
        chosen: Sequence[int] | None = None,
    ) -> None:
        """Prepare a run, on the main thread.

        Args:
            axis: the positions.
            segment_ids: of existing segments.
            settings: of the run.
            model: name of the model; along slices, another name makes all earlier results outdated.
            chosen: keyframes, if a script names them; None to find them.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        axis.range_to_fill(settings)
        self.axis, self.is_stopped, self.is_finished = axis, False, False
        self.result = PropagationResult(axis.stack.planes, {}, False, undo=axis.new_undo())
        self._settings, self._chosen = settings, chosen
        self._images = axis.images()
        self._rule = volumes.intensity_rule(axis.volume, settings.intensity)
        self._state_key = repr((self._rule, settings.zoom, settings.every, model if settings.asks_model else ""))
        ids = list(dict.fromkeys(segment_ids))
        self._runs = [SegmentRun(self._keyframes(segment_id)) for segment_id in ids]
        self._unsaved_pairs = axis.unsaved_pairs(ids)
        self._outside_px = 0  # of all masks so far
        self._masks: Iterator[tuple[SegmentRun, SliceMask]] | None = None
        self._session: Session | None = None

    def _keyframes(self, segment_id: str) -> SegmentKeyframes:
        return self.axis.keyframes(segment_id, self._chosen)

    # Reading

    def read(self) -> None:
        """Find the keyframes, in the worker thread.

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
            run.keyframe_masks = run.keyframes.masks()

    def _refuse_unsaved(self) -> None:
        """Refuse to run where the sequence does not store what the user has drawn: it would be lost."""
        for shown, stored in self._unsaved_pairs:
            shown.read()
            stored.read()
            if shown.digest != stored.digest:
                message = _(
                    "What {name} shows now is not kept in its sequence: let the sequence browser save its changes "
                    "(the button Segment each frame does so, and from Python makeSequence=True)."
                )
                raise SceneError(message.format(name=self.axis.segmentation.GetName()))

    def _find_targets(self, run: SegmentRun) -> None:
        keyframes = run.keyframes
        if not keyframes.slices_per_position:
            texts = self.axis.texts
            text = texts.only_lines if keyframes.voxels.crossed else texts.no_keyframe
            raise SceneError(text.format(name=keyframes.name))
        first, last = self.axis.range_to_fill(self._settings)
        run.first, run.last = keyframes.range_of(self._settings.direction, first, last)
        run.outdated = keyframes.outdated(self._state_key, run.first, run.last)
        run.targets = self.axis.targets(keyframes, run.outdated, run.first, run.last)

    # Computing

    @property
    def progress(self) -> tuple[int, int]:
        """How many slices are computed, of at most how many."""
        both = [run.progress for run in self._runs]
        return sum(done for done, _total in both), sum(total for _done, total in both)

    def unwritten(self) -> UnwrittenResults | None:
        """What was found so far, by segment, for whoever keeps it in case of a crash; None along time, or for nothing.

        Along time results belong to frames that the scene does not show.
        """
        if self.axis.kind != SLICES:
            return None
        found = {run.segment_id: run.found_patches for run in self._runs}
        stack = self.axis.stack
        return UnwrittenResults(stack.grid_extent, stack.geometry, found) if any(found.values()) else None

    def stop(self) -> None:
        """Compute no more positions; results so far are written."""
        self.is_stopped = True

    @property
    def asks_model(self) -> bool:
        """Whether `advance` needs a session."""
        return self._settings.asks_model

    def advance(self, session: Session | None, should_stop: Callable[[], bool]) -> bool:
        """Compute for about STEP_S, in the worker thread.

        Args:
            session: the model; None where it is not asked.
            should_stop: called between predictions.

        Returns:
            Whether positions are left to compute.

        Raises:
            PropagationError: nothing can be propagated from the keyframes.
        """
        from SAMMed2DLib.inference.session import Stopped

        if self._masks is None:
            self._session, self._masks = session, self._propagate(session)
        if session is not self._session:
            self.stop()  # another model: its masks would not go with these
        ends = time.perf_counter() + STEP_S
        try:
            while not (self.is_stopped or should_stop()):
                found = next(self._masks, None)
                if found is None:
                    self.is_finished = True
                    return False
                self._store(*found)
                if time.perf_counter() > ends:
                    return True
        except Stopped:
            pass
        return False

    def _propagate(self, session: Session | None) -> Iterator[tuple[SegmentRun, SliceMask]]:
        self.axis.check_memory(session, self._runs)
        groups: dict[Any, list[SegmentRun]] = {}
        for run in self._runs:  # segments with the same positions to fill share the encodings of one view
            outdated = None if run.outdated is None else frozenset(run.outdated)
            groups.setdefault((run.first, run.last, outdated), []).append(run)
        for group in groups.values():
            for found in self.axis.propagate(session, self._image, group, self._settings, lambda: self.is_stopped):
                if found.position in group[found.run_index].targets:
                    yield group[found.run_index], found

    def _store(self, run: SegmentRun, found: SliceMask) -> None:
        patch = self.axis.stack.patch(found.slice_index, found.mask_hw)
        self._outside_px += self.axis.stack.pixels_outside(found.slice_index, found.mask_hw)
        run.results.setdefault(found.position, {})[found.slice_index] = (patch, found.confidence)

    def _image(self, position: int, number: int) -> np.ndarray:
        """The input of the model for a slice at a position, (H, W, 3) uint8."""
        from SAMMed2DLib.imaging.intensity import rgb_from_slice
        from SAMMed2DLib.imaging.planes import slice_image_of

        voxels = self.axis.voxels_at(self._images, position)
        return rgb_from_slice(slice_image_of(self.axis.stack.planes[number], voxels), self._fixed_intensity_rule)

    @cached_property
    def _fixed_intensity_rule(self) -> Any:
        """Made in the worker thread: it may read all voxels."""
        return self.axis.fixed_intensity_rule(self._rule, self._images)

    # Writing

    def check(self) -> None:
        """Check that the scene is still as it was when the run began.

        Raises:
            SceneError: the images or the segmentation were removed or replaced.
        """
        self.axis.check(self._images)

    def steps(self, target: Any) -> Steps:
        """Write the results to the `SegmentTarget` of the run, on the main thread; completes `result`.

        Yields:
            A function to call in the worker thread before the next step; None if there is none.

        Raises:
            SceneError: see `check`.
        """
        undo = self.result.undo
        self.result = PropagationResult(
            self.axis.stack.planes, {}, self.is_finished, outside_px=self._outside_px, undo=undo
        )
        writer = self.axis.writer(target, self._keyframes, self.check, self._state_key)
        yield from writer.steps(self._runs, self.result)
