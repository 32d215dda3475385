"""Propagation in the background: computed in pieces, written in blocks, with progress and a way to cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import messages, segments
from SAMMed2DSlicer.engine import Engine
from SAMMed2DSlicer.propagation_task import PropagationResult, PropagationTask
from SAMMed2DSlicer.timers import single_shot
from SAMMed2DSlicer.worker import TASK

# What is done is shown this often, and whether the scene is still the same is looked at.
_WATCH_MS = 200


class Propagating:
    """One run at a time, and what becomes of it."""

    def __init__(
        self, engine: Engine, tell: Callable[[str, str], None], on_progress: Callable[[int, int], None]
    ) -> None:
        """Prepare.

        Args:
            engine: answers.
            tell: gets a line for the user and its level (see `messages`), when something has begun or ended.
            on_progress: gets how many slices were found, of at most how many, a few times a second.
        """
        self._engine, self._tell, self._on_progress = engine, tell, on_progress
        self._task: PropagationTask | None = None
        self._target: Callable[[], segments.SegmentTarget] | None = None
        self._job: Any = None
        self._blocks: Iterator[None] | None = None
        self._was_cancelled = False
        self._began = 0.0
        self._closing: int | None = None
        self._watching = qt.QTimer()
        self._watching.setInterval(_WATCH_MS)
        self._watching.connect("timeout()", self._watch)
        self._writing = single_shot(0, self._write_block)

    @property
    def is_running(self) -> bool:
        """Whether a run is on its way."""
        return self._task is not None

    def start(self, task: PropagationTask, target: Callable[[], segments.SegmentTarget]) -> None:
        """Begin a run.

        Args:
            task: what to do.
            target: gives the place to write to, when all is found.
        """
        self._task, self._target = task, target
        self._was_cancelled, self._began = False, time.perf_counter()
        closing = slicer.mrmlScene.StartCloseEvent
        self._closing = slicer.mrmlScene.AddObserver(closing, lambda caller, event: self.give_up())
        self._watching.start()
        is_loading = not self._engine.state.is_ready
        self._tell(_("Loading the model...") if is_loading else _("Propagating..."), messages.INFO)
        self._on_progress(*task.progress)
        self._go_on()

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

    def _go_on(self) -> None:
        self._job = self._engine.submit(self._task.advance, self._advanced, self._failed, TASK)

    def _advanced(self, has_more: bool) -> None:
        if self._task is None:
            return
        if has_more:
            self._go_on()
            return
        self._job = None
        self._on_progress(*self._task.progress)
        try:
            self._blocks = self._task.blocks(self._target())
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        self._writing.start()

    def _write_block(self) -> None:
        """Write for a moment; in between the window goes on."""
        if self._task is None or self._blocks is None:
            return
        try:
            is_over = next(self._blocks, self) is self
        except Exception as error:  # the scene may have changed meanwhile
            self._failed(error)
            return
        if is_over:
            self._end(*self._outcome(self._task.result))
        else:
            self._writing.start()

    def _outcome(self, result: PropagationResult) -> tuple[str, str]:
        slices = [one for found in result.segments.values() for one in found.slices if not one.is_keyframe]
        if not result.segments:
            return _("The segment was removed; nothing was changed."), messages.WARNING
        if not slices:
            nothing = _("The object was found on no other slice.")
            return (_("Cancelled; nothing was changed.") if self._was_cancelled else nothing), messages.WARNING
        text = _("{count} slices, {voxels} voxels changed, {seconds}\N{NO-BREAK SPACE}s; undo takes it back.").format(
            count=len({one.index for one in slices}),
            voxels=f"{result.changed:,}",
            seconds=f"{time.perf_counter() - self._began:.1f}",
        )
        if result.is_complete:
            return text, messages.INFO
        return _("Cancelled; what was found is written:") + " " + text, messages.WARNING

    def _failed(self, error: BaseException) -> None:
        if self._task is not None:
            self._end(messages.text_of(error), messages.ERROR)

    def _end(self, text: str, level: str) -> None:
        self._task = self._target = self._job = self._blocks = None
        self._watching.stop()
        self._writing.stop()
        if self._closing is not None:
            slicer.mrmlScene.RemoveObserver(self._closing)
            self._closing = None
        self._tell(text, level)

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
            self._was_cancelled = True
            self._task.stop()
            self._advanced(False)
