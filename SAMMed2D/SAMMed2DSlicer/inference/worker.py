"""One long-lived thread for all that torch does; results are taken over on the main thread.

While Slicer's event loop runs, other Python threads get no turn: its main thread keeps the interpreter lock. So as
long as something is pending, and only then, a timer without interval puts the main thread to sleep for a moment
at each turn of the loop. The thread is one for life, because torch keeps its plans and memory for each thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from SAMMed2DSlicer.widgets.timers import repeating

# Long enough for the worker to take the lock, short enough that the window stays smooth: as long as the turn of the
# loop itself took, within these limits. While a window repaints all the time, a fixed millisecond would leave the
# worker next to nothing: loading a model took 9.6 s instead of 2.1 s (measured with software rendering and a busy bar).
_SHORTEST_YIELD_S, _LONGEST_YIELD_S = 0.001, 0.02

LATEST, TASK, AHEAD = "latest", "task", "ahead"


@dataclass(eq=False)
class Job:
    """Something to compute.

    Attributes:
        work: runs in the thread; gets a function that tells whether it should stop, and touches neither MRML nor Qt.
        on_done: runs on the main thread with the result, unless the job was cancelled.
        on_error: runs on the main thread with the exception, unless the job was cancelled.
        kind: LATEST comes first, and replaces a waiting or running one of the same owner; TASK waits its turn and is
            never dropped; AHEAD runs when nothing else is to be done, and gives way at once.
        owner: whose job it is; a newer job of another owner replaces nothing.
        is_awaited: somebody waits for it instead of taking it over.
        is_cancelled: it is to stop, and nothing is taken over from it.
        is_replaced: it is to stop for a newer one. Where it had its result before it looked, that is taken over:
            its owner knows whether it is still of use, and would have to submit it again otherwise.
        has_stopped: it was told to stop when it looked.
    """

    work: Callable[[Callable[[], bool]], Any]
    on_done: Callable[[Any], None] = lambda result: None
    on_error: Callable[[BaseException], None] = lambda error: None
    kind: str = LATEST
    owner: object = None
    is_awaited: bool = False
    is_cancelled: bool = False
    is_replaced: bool = False
    has_stopped: bool = False
    result: Any = None
    error: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Let it stop, and take nothing over from it."""
        self.is_cancelled = True

    def should_stop(self) -> bool:
        """Whether its work should stop; called by the work, in the thread."""
        self.has_stopped = self.has_stopped or self.is_cancelled or self.is_replaced
        return self.has_stopped


class Worker:
    """The thread, its waiting jobs, and the timer that lets it run."""

    def __init__(self) -> None:
        """Prepare; the thread starts with the first job."""
        self._condition = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._finished: deque[Job] = deque()
        self._told: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._timer = repeating(0, self._give_way)
        self._gave_way_at = 0.0

    @property
    def is_pending(self) -> bool:
        """Whether anything is waiting, running, or not taken over yet."""
        with self._condition:
            return bool(self._waiting or self._running or self._finished)

    @property
    def is_yielding(self) -> bool:
        """Whether the main thread gives way to the worker at each turn of its loop."""
        return bool(self._timer.isActive())

    def submit(self, job: Job) -> Job:
        """Hand a job over; called on the main thread."""
        self._enqueue(job)
        self._timer.start()
        return job

    def call(self, work: Callable[[Callable[[], bool]], Any]) -> Any:
        """Compute in the thread and wait for it, for callers that want the result now.

        Raises:
            whatever `work` raises.
        """
        job = Job(work, kind=TASK, is_awaited=True)
        self._enqueue(job)
        try:
            while not job.finished.wait(0.05):  # in pieces, so that Ctrl+C is noticed
                pass
        except BaseException:
            job.cancel()
            raise
        if job.error is not None:
            raise job.error
        return job.result

    def tell(self, call: Callable[[], None]) -> None:
        """Have something called on the main thread, before the result of the work that tells it, in the thread."""
        self._told.append(call)

    def cancel_all(self) -> None:
        """Drop the waiting jobs and let the running one stop; no result is taken over."""
        with self._condition:
            for job in (*self._waiting, *self._finished, *([self._running] if self._running else [])):
                job.cancel()
            for job in self._waiting:
                job.error = InterruptedError("cancelled")
                job.finished.set()
            self._waiting.clear()

    def stop(self) -> None:
        """End the thread; for the end of the application."""
        self.cancel_all()
        self._timer.stop()
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(10)
        self._thread, self._is_stopping = None, False

    def _enqueue(self, job: Job) -> None:
        with self._condition:
            for other in [waiting for waiting in self._waiting if _replaces(job, waiting)]:
                other.cancel()
                self._waiting.remove(other)
            if self._running is not None and self._running.kind == AHEAD:
                self._running.cancel()
            elif self._running is not None and _replaces(job, self._running):
                self._running.is_replaced = True
            self._waiting.append(job)
            self._condition.notify()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="SAMMed2D worker", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._is_stopping:
                    self._condition.wait()
                if self._is_stopping:
                    return
                job = self._running = min(self._waiting, key=lambda waiting: (LATEST, TASK, AHEAD).index(waiting.kind))
                self._waiting.remove(job)
            result, error = None, None
            try:
                result = job.work(partial(self._should_stop, job))
            except BaseException as raised:  # whatever it is, it is handed to the owner
                error = raised
            with self._condition:
                self._running = None
                job.result, job.error = result, error
                if not job.is_awaited:
                    self._finished.append(job)
            job.finished.set()
            del job, result, error  # or this thread would hold them, and the owner, until the next job

    def _should_stop(self, job: Job) -> bool:
        return job.should_stop() or self._is_stopping

    def _give_way(self) -> None:
        """Let the worker have the lock for a moment, then take over what it has finished."""
        turn_s = time.perf_counter() - self._gave_way_at
        time.sleep(min(max(turn_s, _SHORTEST_YIELD_S), _LONGEST_YIELD_S))
        while self._told or self._finished:
            if self._told:
                self._told.popleft()()
            else:
                _take_over(self._finished.popleft())
        if not self.is_pending:
            self._timer.stop()
        self._gave_way_at = time.perf_counter()


def _replaces(job: Job, other: Job) -> bool:
    return job.kind == other.kind and job.kind != TASK and job.owner is other.owner


def _take_over(job: Job) -> None:
    if job.is_cancelled or job.has_stopped:
        return
    try:
        if job.error is not None:
            job.on_error(job.error)
        else:
            job.on_done(job.result)
    except Exception:
        logging.exception("SAMMed2D: a result could not be taken over")
        raise
