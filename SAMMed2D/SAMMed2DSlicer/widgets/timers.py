"""QTimers on the main thread that hold a weak reference to the object of their slot.

A connection keeps its slot alive, a slot that is a method keeps its object, and the object keeps the timer: Python's
garbage collector cannot see this cycle, since it goes through Qt.
"""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import qt

_BETWEEN_IMPORTS_MS = 50


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


def import_when_idle(names: Sequence[str]) -> None:
    """Import modules one after the other while Slicer rests, so that what needs them first does not wait for them."""

    def import_next() -> None:
        importlib.import_module(names[0])
        import_when_idle(names[1:])

    if names:
        qt.QTimer.singleShot(_BETWEEN_IMPORTS_MS, import_next)


def _weak(method: MethodType) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        present = reference()
        if present is not None:
            present()

    return call
