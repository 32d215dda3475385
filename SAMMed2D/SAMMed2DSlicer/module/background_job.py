"""Long work in a thread of its own, such as a download: one at a time, with progress, and cancellable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from SAMMed2DSlicer.inference.worker import TASK, Job, Worker
from SAMMed2DSlicer.widgets.timers import repeating

# How often progress is shown.
_PROGRESS_MS = 200

ProgressReport = Callable[[int, "int | None"], object]
BackgroundWork = Callable[[ProgressReport, Callable[[], bool]], Any]


class BackgroundJob:
    """A worker thread beside that of the model, which stays free for clicks; used from the main thread."""

    def __init__(self) -> None:
        """Prepare; the thread starts with the first work."""
        self._worker = Worker()
        self._cancelled = threading.Event()
        self._done: tuple[int, int | None] = (0, None)
        self._on_progress: ProgressReport = lambda done, total: None
        self._timer = repeating(_PROGRESS_MS, self._show)
        self.is_running = False

    def start(
        self,
        work: BackgroundWork,
        on_done: Callable[[Any], None],
        on_error: Callable[[BaseException], None],
        on_progress: ProgressReport | None = None,
    ) -> None:
        """Start work.

        Args:
            work: called in the thread with `report(done, total)`, total None if unknown, and `should_stop()`.
            on_done: gets the result, on the main thread.
            on_error: gets the exception, on the main thread, also that of a cancellation.
            on_progress: gets the last report, a few times a second, on the main thread.

        Raises:
            RuntimeError: other work is running.
        """
        if self.is_running:
            raise RuntimeError("other work is not done yet")
        self._cancelled.clear()
        self._done, self._on_progress = (0, None), on_progress or (lambda done, total: None)
        self.is_running = True
        self._timer.start()

        def run(should_stop: Callable[[], bool]) -> Any:
            return work(self._report, lambda: should_stop() or self._cancelled.is_set())

        self._worker.submit(Job(run, self._finishing(on_done), self._finishing(on_error), TASK))

    def cancel(self) -> None:
        """Ask the work to stop; it then raises an error of its own."""
        self._cancelled.set()

    def stop(self) -> None:
        """Drop the work and its result, and end the thread."""
        self.cancel()
        self._timer.stop()
        self._worker.stop()
        self.is_running = False

    def _report(self, done: int, total: int | None) -> None:
        self._done = done, total  # in the thread; shown by the timer

    def _show(self) -> None:
        self._on_progress(*self._done)

    def _finishing(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        def end(result: Any) -> None:
            self._timer.stop()
            self.is_running = False
            handle(result)

        return end
