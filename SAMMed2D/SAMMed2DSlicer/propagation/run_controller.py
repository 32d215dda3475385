"""A propagation in the background: computed and written a moment at a time, cancelled, and taken back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.inference.worker import TASK, Job
from SAMMed2DSlicer.propagation.frame_axis import FrameUndo
from SAMMed2DSlicer.propagation.segmentation_context import SegmentationContext
from SAMMed2DSlicer.propagation.task import PropagationTask
from SAMMed2DSlicer.scene import segment_writer
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.timers import repeating, single_shot

# What is done is shown this often, and whether the scene is still the same is looked at.
_WATCH_MS = 200


class PropagationController:
    """One run at a time, and what becomes of it."""

    def __init__(
        self, service: InferenceService, notify: Callable[[str, str], None], on_progress: Callable[[int, int], None]
    ) -> None:
        """Prepare.

        Args:
            service: answers.
            notify: gets a line for the user and its level (see `messages`), when something has begun or ended.
            on_progress: gets how many slices were found, of at most how many, a few times a second.
        """
        self._service, self._notify, self._on_progress = service, notify, on_progress
        self._task: PropagationTask | None = None
        self._target: Callable[[], Any] | None = None
        self._opened = ExitStack()
        self._job: Any = None
        self._work: Callable[[], None] | None = None  # of the job, if it is one of reading
        self._steps: Iterator[Callable[[], None] | None] | None = None
        self._was_cancelled = False
        self._began = 0.0
        self._closing: int | None = None
        self._watching = repeating(_WATCH_MS, self._watch)
        self._writing = single_shot(0, self._step)

    @property
    def is_running(self) -> bool:
        """Whether a run is on its way."""
        return self._task is not None

    def start(self, task: PropagationTask, target: Callable[[], Any]) -> None:
        """Begin a run.

        Args:
            task: what to do.
            target: opens the `segments.SegmentTarget` to write to, when all is found.
        """
        self._task, self._target = task, target
        self._was_cancelled, self._began = False, time.perf_counter()
        closing = slicer.mrmlScene.StartCloseEvent
        self._closing = slicer.mrmlScene.AddObserver(closing, lambda caller, event: self.give_up())
        self._watching.start()
        self._notify(_("Looking for keyframes..."), messages.INFO)
        self._on_progress(*task.progress)
        self._read(task.read, self._compute)

    def cancel(self) -> None:
        """Find no more, and write what was found."""
        if self._task is not None:
            self._was_cancelled = True
            self._task.stop()

    def give_up(self) -> None:
        """End at once, and write nothing; for a scene that is closed."""
        if self._task is not None:
            self._task.stop()
            self._end(_("The propagation was given up; nothing was changed."), messages.WARNING)

    def _read(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        """Do something in the worker thread that needs no model, and go on."""

        def done(result: Any) -> None:
            if self._task is not None:
                self._job = self._work = None
                then()

        self._work = work
        self._job = self._service.worker.submit(Job(lambda should_stop: work(), done, self._failed, TASK))

    def _compute(self) -> None:
        """Begin with the model."""
        if self._task is None:
            return
        is_loading = not self._service.state.is_ready
        self._notify(_("Loading the model...") if is_loading else _("Propagating..."), messages.INFO)
        self._on_progress(*self._task.progress)
        self._advance(self._task)

    def _advance(self, task: PropagationTask) -> None:
        self._job = self._service.submit(task.advance, self._advanced, self._failed, TASK)

    def _advanced(self, has_more: bool) -> None:
        if self._task is None or self._target is None:
            return
        if has_more:
            self._advance(self._task)
            return
        self._job = None
        self._on_progress(*self._task.progress)
        try:
            self._steps = self._task.steps(self._opened.enter_context(self._target()))
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        self._writing.start()

    def _step(self) -> None:
        """Write for a moment; in between the window goes on."""
        if self._task is None or self._steps is None:
            return
        try:
            work = next(self._steps)
        except StopIteration:
            self._end(*self._outcome(self._task))
            return
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        if work is None:
            self._writing.start()
        else:
            self._read(work, self._writing.start)

    def _outcome(self, task: PropagationTask) -> tuple[str, str]:
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
            self._end(messages.text_of(error), messages.ERROR)

    def _end(self, text: str, level: str) -> None:
        self._task = self._target = self._job = self._work = self._steps = None
        self._opened.close()
        self._watching.stop()
        self._writing.stop()
        if self._closing is not None:
            slicer.mrmlScene.RemoveObserver(self._closing)
            self._closing = None
        self._notify(text, level)

    def _watch(self) -> None:
        """Show what is done; notice that the scene has changed, or that another model was chosen."""
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
        """Another model was chosen, and with it all jobs were dropped."""
        self._was_cancelled = True
        task.stop()
        if self._work is not None:
            self._read(self._work, self._writing.start if self._steps is not None else self._compute)
        else:
            self._advanced(False)


class LastStep:
    """What the section can take back: along slices what the context has written, along time a step of its own."""

    def __init__(self, context: SegmentationContext, on_taken_back: Callable[[], None]) -> None:
        """Begin with nothing; `on_taken_back` is called when a step was taken back."""
        self._context, self._on_taken_back = context, on_taken_back
        self.is_along_time = False
        self._frame_undo: Callable[[], FrameUndo | None] = lambda: None
        self._steps: Iterator[None] | None = None
        self._timer = single_shot(0, self._go_on)

    @property
    def is_offered(self) -> bool:
        """Whether the section has to offer undo."""
        return self.is_along_time or self._context.has_undo

    @property
    def is_possible(self) -> bool:
        """Whether there is a step to take back."""
        return self._can_undo_frames if self.is_along_time else self._context.can_undo

    @property
    def _can_undo_frames(self) -> bool:
        undo = self._frame_undo()
        return undo is not None and undo.is_possible

    @property
    def is_at_work(self) -> bool:
        """Whether a step is being taken back."""
        return self._steps is not None

    def remember(self, frame_undo: Callable[[], FrameUndo | None]) -> None:
        """Take this back next, along time; called when it is needed."""
        self._frame_undo = frame_undo

    def take_back(self) -> None:
        """Take the last step back, but for frames that were changed since."""
        if self.is_along_time:
            undo, self._frame_undo = self._frame_undo(), lambda: None
            self._steps = undo.steps() if undo is not None else iter(())
        else:
            self._context.undo()
            self._steps = iter(())
        self._go_on()

    def _go_on(self) -> None:
        """Take back for a moment; in between the window goes on."""
        if self._steps is not None and next(self._steps, self) is not self:
            self._timer.start()
            return
        self._steps = None
        self._on_taken_back()

    def stop(self) -> None:
        """Take nothing more back now."""
        self._timer.stop()
        self._steps = None

    def forget(self) -> None:
        """Keep nothing of frames that are gone."""
        if not self._can_undo_frames:
            self._frame_undo = lambda: None
