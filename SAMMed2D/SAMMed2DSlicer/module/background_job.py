"""Long work beside the model's thread, such as downloads: one at a time, with progress, and to be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from SAMMed2DSlicer.inference.worker import TASK, Job, Worker
from SAMMed2DSlicer.widgets.timers import repeating

# What has been done is shown this often.
_PROGRESS_MS = 200

Report = Callable[[int, "int | None"], object]
Work = Callable[[Report, Callable[[], bool]], Any]


class BackgroundJob:
    """A thread for long work, so that a click does not wait for it; used from the main thread."""

    def __init__(self) -> None:
        """Prepare; the thread starts with the first work."""
        self._worker = Worker()
        self._cancelled = threading.Event()
        self._done: tuple[int, int | None] = (0, None)
        self._on_progress: Report = lambda done, total: None
        self._timer = repeating(_PROGRESS_MS, self._show)
        self.is_running = False

    def start(
        self,
        work: Work,
        on_done: Callable[[Any], None],
        on_error: Callable[[BaseException], None],
        on_progress: Report | None = None,
    ) -> None:
        """Begin some work.

        Args:
            work: runs in the thread; gets a function to report what is done of what (None: unknown), and one that says
                whether to stop.
            on_done: gets the result, on the main thread.
            on_error: gets the exception, on the main thread, also where it tells of a cancellation.
            on_progress: gets what was reported last, a few times a second, on the main thread.

        Raises:
            RuntimeError: other work is not done yet.
        """
        if self.is_running:
            raise RuntimeError("other work is not done yet")
        self._cancelled.clear()
        self._done, self._on_progress = (0, None), on_progress or (lambda done, total: None)
        self.is_running = True
        self._timer.start()

        def run(should_stop: Callable[[], bool]) -> Any:
            return work(self._report, lambda: should_stop() or self._cancelled.is_set())

        self._worker.submit(Job(run, self._ending(on_done), self._ending(on_error), TASK))

    def cancel(self) -> None:
        """Ask the work to stop; it says so itself by its error."""
        self._cancelled.set()

    def stop(self) -> None:
        """Drop the work and end the thread; nothing of it is taken over."""
        self.cancel()
        self._timer.stop()
        self._worker.stop()
        self.is_running = False

    def _report(self, done: int, total: int | None) -> None:
        self._done = done, total  # in the thread; shown by the timer

    def _show(self) -> None:
        self._on_progress(*self._done)

    def _ending(self, take_over: Callable[[Any], None]) -> Callable[[Any], None]:
        def end(result: Any) -> None:
            self._timer.stop()
            self.is_running = False
            take_over(result)

        return end
