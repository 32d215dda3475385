"""The strip of slices in the section for propagation: a picture that tells what it shows, and that can be clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.widgets.icons import pixmap_of

if TYPE_CHECKING:
    from SAMMed2DSlicer.propagation.keyframe_reader import Keyframes

# The picture is stretched to its label; of a thousand slices each still has its column or nearly so.
_SIZE_PX = (600, 40)
_BAND = slice(10, 32)  # rows of the confidences: keyframes stick out above, the mark of the slice shown below
_HALF_PX = 4
# Told apart by colour-blind readers, too.
_UNSURE, _SURE, _NOTHING = (40, 60, 160), (250, 220, 60), (70, 70, 70)
_KEYFRAME, _EDGE, _BACKGROUND, _SHOWN = (255, 255, 255), (0, 0, 0), (30, 30, 30), (255, 80, 80)


class Strip:
    """A label that shows the slices from left to right."""

    def __init__(self, label: qt.QLabel, on_clicked: Callable[[int], None]) -> None:
        """Draw into a QLabel; a click on it gives the number of a slice."""
        self._label, self._on_clicked = label, on_clicked
        self._count = 0
        self._now: Keyframes | None = None
        label.setScaledContents(True)
        self._mouse = _Mouse()
        self._mouse.strip = self
        label.installEventFilter(self._mouse)

    def show(self, now: Keyframes, count: int, position: int) -> None:
        """Show a segment on `count` slices (or in frames), one of which is shown."""
        self._count, self._now = count, now
        self._label.setPixmap(pixmap_of(picture(now, count, position), _SIZE_PX[0]))

    def clear(self, text: str) -> None:
        """Show a text instead."""
        self._count, self._now = 0, None
        self._label.setText(text)

    def number_at(self, x: float) -> int | None:
        """The slice at a place, px from the label's left."""
        if not self._count:
            return None
        return min(max(int(x * self._count / max(self._label.width, 1)), 0), self._count - 1)

    def text_at(self, x: float) -> str:
        """What there is to know about the slice at a place; empty without slices."""
        number = self.number_at(x)
        return "" if number is None or self._now is None else text_of(self._now, number)

    def click(self, x: float) -> None:
        """Go to the slice at a place."""
        number = self.number_at(x)
        if number is not None:
            self._on_clicked(number)


def text_of(now: Keyframes, number: int) -> str:
    """A slice, counted from 1, and what it is."""
    if number in now.empty:
        kind = _("keyframe, empty: the object is not here")
    elif number in now.shown:
        kind = _("keyframe")
    elif number in now.ours:
        kind = _("confidence {share} %").format(share=round(100 * now.confidence.get(number, 0.0)))
    else:
        kind = _("nothing here")
    return _("{slice}: {kind}").format(slice=now.title(number), kind=kind)


def picture(now: Keyframes, count: int, position: int) -> np.ndarray:
    """Slices from left to right, (H, W, 3) uint8."""
    colors = np.array([_NOTHING] * count, np.float64)
    for n in now.ours:
        share = now.confidence.get(n, 0.0)
        colors[n] = (1 - share) * np.array(_UNSURE) + share * np.array(_SURE)
    width, height = _SIZE_PX
    found = np.full((height, width, 3), _BACKGROUND, np.uint8)
    found[_BAND] = colors[np.arange(width) * count // width]
    for n in now.numbers:
        left, right = _columns(n, count)
        found[: _BAND.stop, max(left - 2, 0) : right + 2] = _EDGE
        found[: _BAND.stop, left:right] = _KEYFRAME
        if n in now.empty:  # hollow
            found[4 : _BAND.stop - 4, left + 2 : right - 2] = _EDGE
    left, right = _columns(position, count)
    found[_BAND.stop + 1 :, left:right] = _SHOWN
    return found


def _columns(number: int, count: int) -> tuple[int, int]:
    """The columns of a slice that must be seen, however many slices there are."""
    width = _SIZE_PX[0]
    left, right = number * width // count, (number + 1) * width // count
    middle = min(max((left + right) // 2, _HALF_PX), width - _HALF_PX)
    return min(left, middle - _HALF_PX), max(right, middle + _HALF_PX)


class _Mouse(qt.QObject):
    """Clicks and tool tips of a label, for a strip."""

    strip: Strip

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
        """Take what is meant for the strip."""
        if event.type() == qt.QEvent.MouseButtonPress:
            self.strip.click(event.pos().x())
            return True
        text = self.strip.text_at(event.pos().x()) if event.type() == qt.QEvent.ToolTip else ""
        if text:
            qt.QToolTip.showText(event.globalPos(), text)
        return bool(text)
