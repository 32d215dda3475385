"""Timers that call once, on the main thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt


def single_shot(interval_ms: int, slot: Callable[[], None]) -> Any:
    """A QTimer that calls once, `interval_ms` after its last start."""
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.setInterval(interval_ms)
    timer.connect("timeout()", slot)
    return timer
