"""Timers on the main thread.

A connection keeps its slot alive, and a slot that is a method keeps its object, which keeps the timer: through Qt this
cycle is seen by no garbage collector. So a timer knows the object of its method weakly only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any

import qt


def single_shot(interval_ms: int, slot: Callable[[], None]) -> Any:
    """A QTimer that calls once, `interval_ms` after its last start; it does not keep the method's object alive."""
    timer = repeating(interval_ms, slot)
    timer.setSingleShot(True)
    return timer


def repeating(interval_ms: int, slot: Callable[[], None]) -> Any:
    """A QTimer that calls every `interval_ms` while it runs; it does not keep the method's object alive."""
    timer = qt.QTimer()
    timer.setInterval(interval_ms)
    timer.connect("timeout()", _weak(slot) if isinstance(slot, MethodType) else slot)
    return timer


def _weak(method: MethodType) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        present = reference()
        if present is not None:
            present()

    return call
