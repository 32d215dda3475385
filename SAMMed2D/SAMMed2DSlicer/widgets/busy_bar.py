"""A progress bar for work of unknown length."""

from __future__ import annotations

from typing import Any

from SAMMed2DSlicer.widgets.timers import repeating

_STEP_MS, _STEP, _LENGTH = 250, 7, 100


class BusyBar:
    """Moves a progress bar a few times a second.

    Qt's own busy bar repaints the window continuously, for which the main thread holds Python's interpreter lock:
    loading a model in another thread took three times as long.
    """

    def __init__(self, bar: Any) -> None:
        """Hide the bar until `start`."""
        self._bar = bar
        bar.setRange(0, _LENGTH)
        bar.visible = False
        self._timer = repeating(_STEP_MS, self._move)

    @property
    def is_moving(self) -> bool:
        """Whether the bar is shown and moves."""
        return bool(self._timer.isActive())

    def start(self) -> None:
        """Show the bar and move it."""
        self._bar.setRange(0, _LENGTH)
        self._bar.value = _STEP
        self._bar.visible = True
        self._timer.start()

    def stop(self) -> None:
        """Hide the bar."""
        self._timer.stop()
        self._bar.visible = False

    def _move(self) -> None:
        self._bar.value = (self._bar.value + _STEP) % _LENGTH
