"""Messages for the user in labels, and the texts of errors."""

from __future__ import annotations

import logging
import re

import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError
from SAMMed2DSlicer.setup import pytorch

INFO, GOOD, WARNING, ERROR = "info", "good", "warning", "error"
ZERO_WIDTH_SPACE = "\N{ZERO WIDTH SPACE}"
_LONG_WORD = re.compile(r"\S{20}(?=\S)")
_DARK_BELOW = 128  # lightness of 255
# On a light ground, and on the dark one of Slicer's dark style.
_COLORS = {INFO: ("", ""), GOOD: ("#2e8b57", "#66cc8f"), WARNING: ("#b35c00", "#ffb454"), ERROR: ("#c02020", "#ff8a80")}
# Errors whose message tells the user what to do; others are bugs, and are logged too.
_USER_ERRORS = (ValueError, OSError, ImportError, pytorch.InstallError)


def show(label: qt.QLabel, text: str, level: str = INFO) -> None:
    """Show a text in a label; an empty text hides it.

    Args:
        label: the QLabel.
        text: for the user, one line.
        level: INFO, WARNING or ERROR, which gives the colour.
    """
    color = color_on(label, level)
    label.styleSheet = f"color: {color}" if color else ""
    label.text = breaking_anywhere(text)
    label.visible = bool(text)


def color_on(widget: qt.QWidget, level: str) -> str:
    """The colour of a text of this level that can be read on a widget: light or dark; empty for the usual one."""
    light_ground, dark_ground = _COLORS[level]
    return dark_ground if widget.palette.window().color().lightness() < _DARK_BELOW else light_ground


def breaking_anywhere(text: str) -> str:
    """The text with zero-width spaces in long words, such as paths; labels break lines only at spaces."""
    return _LONG_WORD.sub(lambda found: found.group() + ZERO_WIDTH_SPACE, text)


def _slice_view_messages() -> dict[str, str]:
    """Messages in terms of a slice view, by the name of the library's exception, which speaks of pixels."""
    return {
        "OutsideSliceError": _("A click, box or stroke lies outside the image: move it into the image, or delete it."),
        "NoAreaError": _("The box or lasso has no area: draw it larger, or delete it."),
        "ContradictionError": _("A click inside and a click outside are at the same place: delete one of them."),
    }


def elided(text: str, longest: int) -> str:
    """The text, with an ellipsis for its middle if it is longer than `longest` characters."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return text[:half] + "\N{HORIZONTAL ELLIPSIS}" + text[-half:]


def capitalized(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def show_error(label: qt.QLabel, error: BaseException) -> None:
    """Show the message of an error in a label."""
    show(label, error_text(error), ERROR)


def error_text(error: BaseException) -> str:
    """The message of an error for the user; logs the error if it is a bug."""
    if not isinstance(error, _USER_ERRORS):
        logging.error("SAMMed2D: %s", error, exc_info=error)
    text = _slice_view_messages().get(type(error).__name__) or pytorch.explain_error(error)
    return text if isinstance(error, SceneError) else capitalized(text)  # else it may begin with the name of a node
