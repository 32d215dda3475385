"""Steps of a scenario as generators that Slicer's own event loop resumes, and what that loop went through meanwhile.

A step waits with ``yield 0.2`` (seconds) or ``yield Until(condition, "what is waited for")``, which gives the seconds
that it took. Between two of its parts Slicer runs as under a user's hands: nothing of the scenario is on the stack.
"""

import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import qt
import slicer

POLL_MS = 10
PATIENCE_S = 60


class StepFailed(Exception):
    """A step found something else than it should have; the message says what."""


@dataclass(frozen=True)
class Until:
    """What a step waits for."""

    is_met: callable
    text: str
    seconds: float = PATIENCE_S


def check(holds, text):
    """Fail the step with this text unless it holds."""
    if not holds:
        raise StepFailed(text)


class Gaps:
    """Notes how long the event loop does not come round, by what is done: on the wall, and computing.

    Attributes:
        own_s: what the scenario itself has taken of the present gap, as for pictures: on the wall, and computing.
    """

    own_s = (0.0, 0.0)

    def __init__(self):
        self.wall_ms, self.cpu_ms = {}, {}
        self._kind, self._last = "", self._now()
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._round)

    def start(self, kind):
        """Count for a kind of action from now on."""
        self._kind, self._last = kind, self._now()
        self._timer.start()

    def stop(self):
        """Count no more."""
        self._timer.stop()

    def longest_ms(self, kind):
        """The longest gaps of a kind of action: on the wall, and in the main thread's processor time."""
        return max(self.wall_ms.get(kind, [0])), max(self.cpu_ms.get(kind, [0]))

    @staticmethod
    def _now():
        return time.perf_counter(), time.thread_time()

    @classmethod
    @contextmanager
    def uncounted(cls):
        """What is done here is the scenario's own, and no gap of Slicer's."""
        before = cls._now()
        yield
        cls.own_s = tuple(own + now - then for own, now, then in zip(cls.own_s, cls._now(), before, strict=True))

    def _round(self):
        now = self._now()
        for ms, then, before, own in zip((self.wall_ms, self.cpu_ms), now, self._last, Gaps.own_s, strict=True):
            ms.setdefault(self._kind, []).append(1000 * (then - before - own))
        self._last, Gaps.own_s = now, (0.0, 0.0)


class Faults:
    """What Slicer would print and forget: errors in slots, observers and threads; dialogs that nobody expects."""

    def __init__(self):
        self.texts = []
        self._hook, self._thread_hook = sys.excepthook, threading.excepthook
        sys.excepthook, threading.excepthook = self._failed, self._thread_failed
        self._timer = qt.QTimer()
        self._timer.setInterval(300)
        self._timer.connect("timeout()", self._close_dialog)
        self._timer.start()

    def take(self):
        """What was noted since the last call."""
        texts, self.texts = self.texts, []
        return texts

    def stop(self):
        """Note no more."""
        sys.excepthook, threading.excepthook = self._hook, self._thread_hook
        self._timer.stop()

    def _failed(self, kind, error, trace):
        self.texts.append(f"{kind.__name__}: {error}")
        self._hook(kind, error, trace)

    def _thread_failed(self, arguments):
        self.texts.append(f"{arguments.exc_type.__name__} in a thread: {arguments.exc_value}")
        self._thread_hook(arguments)

    def _close_dialog(self):
        dialog = qt.QApplication.activeModalWidget()
        if dialog is not None:
            words = getattr(dialog, "text", "") or dialog.windowTitle
            if "unsaved work" not in dialog.windowTitle:  # of a Slicer that crashed before; it is kept
                self.texts.append(f"a dialog that nobody expects: {words}")
            dialog.close()


class Runner:
    """Runs steps one after the other and prints a line for each.

    Attributes:
        failed: the names of steps that failed.
        is_done: whether all were run.
    """

    def __init__(self, steps, write, longest_gap_ms, may_block=()):
        """Prepare.

        Args:
            steps: (name, generator function) each; what a step returns is printed with its line.
            write: gets each line.
            longest_gap_ms: a step with a longer gap of the event loop, in the main thread's processor time, fails.
            may_block: names of steps to which this does not apply.
        """
        self.failed, self.is_done = [], False
        self._steps, self._write, self._limit_ms = list(steps), write, longest_gap_ms
        self._gaps, self._faults = Gaps(), Faults()
        self._name, self._generator, self._wanted = "", None, None
        self._began = self._asked = 0.0
        self._count, self._may_block = 0, may_block

    def start(self):
        """Begin; `is_done` tells when it is over."""
        self._faults.take()
        self._begin_next()

    def _begin_next(self):
        if not self._steps:
            self._gaps.stop()
            self._faults.stop()
            self._write(f"{self._count - len(self.failed)} of {self._count} steps passed")
            self.is_done = True
            return
        self._name, make = self._steps.pop(0)
        self._count += 1
        self._generator, self._wanted = make(), None
        self._began = self._asked = time.perf_counter()
        self._gaps.start(self._name)
        qt.QTimer.singleShot(0, self._go_on)

    def _go_on(self):
        wanted, waited = self._wanted, time.perf_counter() - self._asked
        try:
            if not isinstance(wanted, Until):
                self._resume(None)
            elif wanted.is_met():
                self._resume(waited)
            elif waited > wanted.seconds:
                raise StepFailed(f"after {waited:.0f} s still not: {wanted.text}")
            else:
                qt.QTimer.singleShot(POLL_MS, self._go_on)
        except StopIteration as end:
            self._end("" if end.value is None else end.value)
        except StepFailed as error:
            self._end(str(error), has_failed=True)
        except Exception as error:
            sys.excepthook(*sys.exc_info())  # with its traceback, for whoever mends it
            self._faults.take()
            self._end(f"{type(error).__name__}: {error}", has_failed=True)

    def _resume(self, value):
        self._wanted = self._generator.send(value)
        self._asked = time.perf_counter()
        is_time = isinstance(self._wanted, int | float)
        qt.QTimer.singleShot(round(1000 * self._wanted) if is_time else POLL_MS, self._go_on)

    def _end(self, text, has_failed=False):
        seconds = time.perf_counter() - self._began
        self._generator.close()
        wall_ms, cpu_ms = self._gaps.longest_ms(self._name)
        problems = self._faults.take()
        if cpu_ms > self._limit_ms and self._name not in self._may_block:
            problems.append(f"the window stood still for {cpu_ms:.0f} ms of computing")
        if problems or has_failed:
            self.failed.append(self._name)
        text = "; ".join(filter(None, [text, *problems]))
        word = "FAIL" if self.failed[-1:] == [self._name] else "pass"
        gap = f"longest gap {wall_ms:4.0f} ms, computing {cpu_ms:4.0f} ms"
        self._write(f"{word}  {self._name:<26} {seconds:6.2f} s  {gap}  {text}")
        slicer.app.processEvents()
        qt.QTimer.singleShot(0, self._begin_next)
