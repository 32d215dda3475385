"""The strip of a segment's slices or frames: keyframes, how sure the others are, which one is shown; and its legend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.keyframes import SegmentKeyframes
from SAMMed2DSlicer.widgets.icons import pixmap_from_image

# Of the strip's image, which is stretched to its label: about a column for each of some hundred slices.
_SIZE_PX = (600, 40)
_BAND = slice(10, 32)  # rows of the confidences: keyframes stick out above, the mark of the slice shown below
_HALF_PX = 4
# Colours that colour-blind users can distinguish.
_LOW_CONFIDENCE, _HIGH_CONFIDENCE, _EMPTY = (40, 60, 160), (250, 220, 60), (70, 70, 70)
_KEYFRAME, _EDGE, _BACKGROUND, _SHOWN = (255, 255, 255), (0, 0, 0), (30, 30, 30), (255, 80, 80)


class ConfidenceStrip:
    """A label that shows the positions from left to right: keyframes, and the confidence of the others."""

    def __init__(self, label: qt.QLabel, on_clicked: Callable[[int], None]) -> None:
        """Draw into a QLabel; `on_clicked` gets the position of a click, from 0."""
        self._label, self._on_clicked = label, on_clicked
        self._count = 0
        self._keyframes: SegmentKeyframes | None = None
        label.setScaledContents(True)
        self._mouse = _MouseEvents()
        self._mouse.strip = self
        label.installEventFilter(self._mouse)

    def show(self, keyframes: SegmentKeyframes, count: int, position: int) -> None:
        """Draw the strip.

        Args:
            keyframes: of the segment.
            count: how many positions there are.
            position: that is shown, from 0; it gets a mark.
        """
        self._count, self._keyframes = count, keyframes
        self._label.setPixmap(pixmap_from_image(strip_image(keyframes, count, position), _SIZE_PX[0]))

    def clear(self, text: str) -> None:
        """Show a text instead of positions."""
        self._count, self._keyframes = 0, None
        self._label.setText(text)

    def number_at(self, x: float) -> int | None:
        """The position at `x` px from the left of the label; None without positions."""
        if not self._count:
            return None
        return min(max(int(x * self._count / max(self._label.width, 1)), 0), self._count - 1)

    def text_at(self, x: float) -> str:
        """The tool tip at `x` px from the left of the label; empty without positions."""
        number = self.number_at(x)
        return "" if number is None or self._keyframes is None else position_text(self._keyframes, number)

    def click(self, x: float) -> None:
        """Handle a click at `x` px from the left of the label."""
        number = self.number_at(x)
        if number is not None:
            self._on_clicked(number)


def legend_html() -> str:
    """What the colours of a strip mean, for a label of one line."""
    entries = (
        (_KEYFRAME, _("keyframe")),
        (_HIGH_CONFIDENCE, _("sure")),
        (_LOW_CONFIDENCE, _("unsure")),
        (_EMPTY, _("empty")),
        (_SHOWN, _("shown")),
    )
    return "<small>" + " ".join(f"{_swatch(color)}&nbsp;{text}" for color, text in entries) + "</small>"


def _swatch(color: tuple[int, int, int]) -> str:
    """A small square of a colour; white ones are seen on white panels by their grey ground."""
    red, green, blue = color
    ground = "#808080" if color == _KEYFRAME else "transparent"
    return f'<span style="color: rgb({red}, {green}, {blue}); background-color: {ground};">&#9632;</span>'


def position_text(keyframes: SegmentKeyframes, number: int) -> str:
    """A position and its state, for the user: "Slice 3: keyframe"."""
    if number in keyframes.empty:
        kind = _("keyframe, empty: the object is not here")
    elif number in keyframes.nonempty:
        kind = _("keyframe")
    elif number in keyframes.generated:
        kind = _("confidence {share} %").format(share=round(100 * keyframes.confidence.get(number, 0.0)))
    else:
        kind = _("nothing here")
    return _("{slice}: {kind}").format(slice=keyframes.title(number), kind=kind)


def strip_image(keyframes: SegmentKeyframes, count: int, position: int) -> np.ndarray:
    """Draw positions from left to right, (H, W, 3) uint8.

    Args:
        keyframes: of the segment.
        count: how many positions there are.
        position: that is shown, from 0; it gets a mark.
    """
    colors = np.array([_EMPTY] * count, np.float64)
    for n in keyframes.generated:
        share = keyframes.confidence.get(n, 0.0)
        colors[n] = (1 - share) * np.array(_LOW_CONFIDENCE) + share * np.array(_HIGH_CONFIDENCE)
    width, height = _SIZE_PX
    found = np.full((height, width, 3), _BACKGROUND, np.uint8)
    found[_BAND] = colors[np.arange(width) * count // width]
    for n in keyframes.numbers:
        left, right = _columns(n, count)
        found[: _BAND.stop, max(left - 2, 0) : right + 2] = _EDGE
        found[: _BAND.stop, left:right] = _KEYFRAME
        if n in keyframes.empty:  # hollow
            found[4 : _BAND.stop - 4, left + 2 : right - 2] = _EDGE
    left, right = _columns(position, count)
    found[_BAND.stop + 1 :, left:right] = _SHOWN
    return found


def _columns(number: int, count: int) -> tuple[int, int]:
    """First and last column of a mark at a position; wide enough to see, however many positions there are."""
    width = _SIZE_PX[0]
    left, right = number * width // count, (number + 1) * width // count
    middle = min(max((left + right) // 2, _HALF_PX), width - _HALF_PX)
    return min(left, middle - _HALF_PX), max(right, middle + _HALF_PX)


class _MouseEvents(qt.QObject):
    """An event filter that passes clicks and tool tips of a label to its strip."""

    strip: ConfidenceStrip

    def eventFilter(self, watched: Any, event: Any) -> bool:  # noqa: N802
        """Handle clicks and tool tips."""
        if event.type() == qt.QEvent.MouseButtonPress:
            self.strip.click(event.pos().x())
            return True
        text = self.strip.text_at(event.pos().x()) if event.type() == qt.QEvent.ToolTip else ""
        if text:
            qt.QToolTip.showText(event.globalPos(), text)
        return bool(text)
