"""Predicts a slice in the background for the prompt panel, one at a time, and writes the mask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import slice_task
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.slice_task import SlicePrediction, SliceTask
from SAMMed2DSlicer.inference.worker import TASK
from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.scene.segment_writer import losses_text, outside_text
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.status_line import PREDICTION, MaskScore, StatusLine
from SAMMed2DSlicer.widgets.timers import repeating

_WATCH_MS = 200


class SegmentController:
    """Runs one prediction at a time, and reports to the user."""

    def __init__(self, service: InferenceService, status_line: StatusLine, on_changed: Callable[[], None]) -> None:
        """Prepare.

        Args:
            service: the inference service.
            status_line: shows progress and the result.
            on_changed: called when a prediction has begun or ended.
        """
        self._service, self._status_line, self._on_changed = service, status_line, on_changed
        self._job: Any = None
        self._began = 0.0
        self._watch_timer = repeating(_WATCH_MS, self._watch)

    @property
    def is_running(self) -> bool:
        """Whether a prediction is going on."""
        return self._job is not None

    def start(self, parameters: Parameters) -> None:
        """Predict the slice that the view shows; shows the error if it cannot be done."""
        try:
            slice_task.check_segment(parameters.segmentation, parameters.segment_id)
            task = _task_of(parameters)
        except ValueError as error:
            self._failed(error)
            return
        segment = (parameters.segmentation, parameters.segment_id)
        target = (parameters.volume, *segment, parameters.overwrite, task.initial_mask_hw)
        self._began = time.perf_counter()
        self._job = self._service.submit(task.predict, partial(self._write, target), self._failed, TASK)
        self._watch_timer.start()
        self._status_line.begin(
            PREDICTION, _("Segmenting..."), self.cancel, _("Wait for no answer; nothing is changed.")
        )
        self._status_line.ensure_visible()
        self._on_changed()

    def cancel(self) -> None:
        """Cancel the prediction; nothing is written."""
        self._job.cancel()
        self._end(_("Cancelled; nothing was changed."))

    def _write(self, target: Sequence[Any], predictions: Sequence[SlicePrediction]) -> None:
        try:
            result = slice_task.write(predictions[0], *target)
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        is_correction = target[-1] is not None
        if is_correction and not result.changed:
            self._end(_("The mask stays as it is: put points farther out, or farther in."), messages.WARNING)
            return
        if not result.voxels and not is_correction:
            nothing = _("The model found nothing there; the segment is as it was.")
            elsewhere = outside_text(result.outside_px, int(result.mask.sum()))
            self._end(elsewhere if result.mask.any() else nothing, messages.WARNING)
            return
        seconds = time.perf_counter() - self._began
        score = MaskScore(result.score, result.grade)
        text = _("{voxels} voxels, {changed} changed") if is_correction else _("{voxels} voxels, {changed} new")
        counts = text.format(voxels=f"{result.voxels:,}", changed=f"{result.changed:,}")
        took = _("{seconds}\N{NO-BREAK SPACE}s").format(seconds=f"{seconds:.1f}")
        which = _("mask {number} of {count}").format(number=result.candidate, count=result.candidates)
        parts = ["; ".join(filter(None, (counts, which if result.candidate else "", score.word, took)))]
        if result.lost:
            parts.append(losses_text(target[1], result.lost) + ".")
        if result.outside_px:
            parts.append(outside_text(result.outside_px, int(result.mask.sum())))
        self._end(" ".join(parts), messages.WARNING if len(parts) > 1 else messages.INFO, score)

    def _failed(self, error: BaseException) -> None:
        self._end(messages.error_text(error), messages.ERROR)

    def _end(self, text: str, level: str = messages.INFO, score: MaskScore | None = None) -> None:
        self._job = None
        self._watch_timer.stop()
        self._on_changed()
        self._status_line.end(PREDICTION)
        self._status_line.show_message(text, level, score=score)  # after `on_changed`, which may set a hint

    def _watch(self) -> None:
        """Notice that the request was dropped because another model was chosen."""
        if self._job is not None and self._job.is_cancelled:
            self._end(_("The request was dropped; ask again."), messages.WARNING)


def _task_of(parameters: Parameters) -> SliceTask:
    """What the model is to predict.

    Raises:
        ValueError: see `SliceTask`.
    """
    volume, view = parameters.volume, parameters.view
    seeing = (parameters.intensity, parameters.zoom)
    if parameters.is_correction:
        segment = (parameters.segmentation, parameters.segment_id)
        return SliceTask.of_correction(volume, view, *segment, parameters.prompts, *seeing)
    return SliceTask.of_scene(volume, view, [parameters.prompts], *seeing)
