"""A propagation in the background: computed, written in short steps, and cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import TASK, Job
from SAMMed2DSlicer.propagation.results import UnwrittenResults
from SAMMed2DSlicer.propagation.task import PropagationTask
from SAMMed2DSlicer.scene import segment_writer
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.timers import repeating, single_shot

# How often progress is shown and the scene checked.
_WATCH_MS = 200


class PropagationController:
    """Runs one propagation at a time, and reports to the user."""

    def __init__(
        self,
        service: InferenceService,
        notify: Callable[[str, str], None],
        on_progress: Callable[[int, int], None],
        on_found: Callable[[Any], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            service: has the model and the worker thread.
            notify: gets a line for the user and its level (see `messages`), when a phase begins or the run ends.
            on_progress: gets how many slices are computed, of at most how many, a few times a second.
            on_found: gets the task when all is computed; nothing is written then before `write`.
        """
        self._on_found = on_found
        self._service, self._notify, self._on_progress = service, notify, on_progress
        self._task: PropagationTask | None = None
        self._target: Callable[[], Any] | None = None
        self._exit_stack = ExitStack()
        self._job: Any = None
        self._work: Callable[[], None] | None = None  # of the job, if it needs no model
        self._steps: Iterator[Callable[[], None] | None] | None = None
        self._was_cancelled = False
        self._began = 0.0
        self._scene_close_tag: int | None = None
        self._watch_timer = repeating(_WATCH_MS, self._watch)
        self._write_timer = single_shot(0, self._step)

    @property
    def is_running(self) -> bool:
        """Whether a run is going on."""
        return self._task is not None

    def unwritten(self) -> UnwrittenResults | None:
        """What the run has found and not written yet; None if there is none."""
        return None if self._task is None else self._task.unwritten()

    def start(self, task: PropagationTask, target: Callable[[], Any]) -> None:
        """Begin a run.

        Args:
            task: the propagation.
            target: opens the `SegmentTarget` to write to, when all is computed.
        """
        self._task, self._target = task, target
        self._was_cancelled, self._began = False, time.perf_counter()
        closing = slicer.mrmlScene.StartCloseEvent
        self._scene_close_tag = slicer.mrmlScene.AddObserver(closing, lambda caller, event: self.abort())
        self._watch_timer.start()
        self._notify(_("Looking for keyframes..."), messages.INFO)
        self._on_progress(*task.progress)
        self._read(task.read, self._compute)

    def cancel(self) -> None:
        """Compute no more positions, and write the results so far."""
        if self._task is not None:
            self._was_cancelled = True
            self._task.stop()

    def abort(self) -> None:
        """End at once, and write nothing; for a scene that is being closed."""
        if self._task is not None:
            self._task.stop()
            self._end(_("The propagation was given up; nothing was changed."), messages.WARNING)

    def forget(self) -> None:
        """End at once, write nothing and say nothing, since another run takes its place."""
        if self._task is not None:
            self._task.stop()
            self._clear()

    def end(self, text: str, level: str) -> None:
        """End without writing, and say why."""
        self._end(text, level)

    def _read(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Call `work`, which needs no model, in the worker thread, then `then` on the main thread."""

        def done(result: Any) -> None:
            if self._task is not None:
                self._job = self._work = None
                then()

        self._work = work
        self._job = self._service.worker.submit(Job(lambda should_stop: work(), done, self._failed, TASK))

    def _compute(self) -> None:
        """Begin to compute, with the model if it is asked."""
        if self._task is None:
            return
        is_loading = self._task.asks_model and not self._service.state.is_ready
        self._notify(_("Loading the model...") if is_loading else _("Propagating..."), messages.INFO)
        self._on_progress(*self._task.progress)
        self._advance(self._task)

    def _advance(self, task: PropagationTask) -> None:
        if task.asks_model:
            self._job = self._service.submit(task.advance, self._advanced, self._failed, TASK)
        else:
            work = partial(task.advance, None)
            self._job = self._service.worker.submit(Job(work, self._advanced, self._failed, TASK))

    def _advanced(self, has_more: bool) -> None:
        if self._task is None or self._target is None:
            return
        if has_more:
            self._advance(self._task)
            return
        self._job = None
        self._on_progress(*self._task.progress)
        if self._on_found is None:
            self.write()
        elif self._was_cancelled or not self._task.is_finished:
            self.abort()
        else:
            self._on_found(self._task)

    def write(self) -> None:
        """Write what was found."""
        if self._task is None or self._target is None:
            return
        try:
            self._steps = self._task.steps(self._exit_stack.enter_context(self._target()))
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        self._write_timer.start()

    def _step(self) -> None:
        """Write one step; events are handled before the next one."""
        if self._task is None or self._steps is None:
            return
        try:
            work = next(self._steps)
        except StopIteration:
            self._end(*self._outcome_message(self._task))
            return
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        if work is None:
            self._write_timer.start()
        else:
            self._read(work, self._write_timer.start)

    def _outcome_message(self, task: PropagationTask) -> tuple[str, str]:
        result = task.result
        if not result.segments:
            return _("The segment was removed; nothing was changed."), messages.WARNING
        if not result.changed and self._was_cancelled:
            return _("Cancelled; nothing was changed."), messages.WARNING
        if not result.found:
            return _("The object was found nowhere else."), messages.WARNING
        if not result.changed:
            return _(
                "No voxel was changed: masking (editable area, intensity range) excludes what was found, or the "
                "segment had it already."
            ), messages.WARNING
        text = _("{filled}, {voxels} voxels changed, {seconds}\N{NO-BREAK SPACE}s; undo takes it back.").format(
            filled=task.axis.filled_text(result.filled),
            voxels=f"{result.changed:,}",
            seconds=f"{time.perf_counter() - self._began:.1f}",
        )
        if result.lost:
            losses = segment_writer.losses_text(task.axis.segmentation, result.lost)
            text = _("{text} {losses}.").format(text=text, losses=losses)
        if result.outside_px:
            text += " " + _(
                "{count} px of what was found lie outside the segmentation's geometry and were not written."
            ).format(count=f"{result.outside_px:,}")
        if result.is_complete:
            return text, messages.WARNING if result.lost or result.outside_px else messages.INFO
        return _("Cancelled; what was found is written:") + " " + text, messages.WARNING

    def _failed(self, error: BaseException) -> None:
        if self._task is not None:
            self._end(messages.error_text(error), messages.ERROR)

    def _end(self, text: str, level: str) -> None:
        self._clear()
        self._notify(text, level)

    def _clear(self) -> None:
        self._task = self._target = self._job = self._work = self._steps = None
        self._exit_stack.close()
        self._watch_timer.stop()
        self._write_timer.stop()
        if self._scene_close_tag is not None:
            slicer.mrmlScene.RemoveObserver(self._scene_close_tag)
            self._scene_close_tag = None

    def _watch(self) -> None:
        """Show progress; notice that the scene has changed, or that another model was chosen."""
        if self._task is None:
            return
        try:
            self._task.check()
        except ValueError as error:
            self._task.stop()
            self._failed(error)
            return
        self._on_progress(*self._task.progress)
        if self._job is not None and self._job.is_cancelled and self._job.finished.is_set():
            self._dropped(self._task)

    def _dropped(self, task: PropagationTask) -> None:
        """Handle that another model was chosen, which dropped all jobs: go on without it, or write what it found."""
        if task.asks_model:
            self._was_cancelled = True
            task.stop()
        if self._work is not None:
            self._read(self._work, self._write_timer.start if self._steps is not None else self._compute)
        elif task.asks_model:
            self._advanced(False)
        else:
            self._advance(task)
