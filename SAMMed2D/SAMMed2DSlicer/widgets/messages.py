"""One line for the user in a label: what is going on, or what is wrong."""

from __future__ import annotations

import logging
import re

import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError
from SAMMed2DSlicer.setup import pytorch

INFO, WARNING, ERROR = "info", "warning", "error"
BREAK = "\N{ZERO WIDTH SPACE}"
_LONG_WORD = re.compile(r"\S{20}(?=\S)")
_COLORS = {INFO: "", WARNING: "#b35c00", ERROR: "#c02020"}
# Errors that tell the user what to do; others are faults of the program, and are told in the log too.
_TOLD = (ValueError, OSError, ImportError, pytorch.InstallError)


def show(label: qt.QLabel, text: str, level: str = INFO) -> None:
    """Show a text; without one the label takes no space.

    Args:
        label: the QLabel.
        text: for the user, one line.
        level: INFO, WARNING or ERROR, which gives the colour.
    """
    color = _COLORS[level]
    label.styleSheet = f"color: {color}" if color else ""
    label.text = breakable(text)
    label.visible = bool(text)


def breakable(text: str) -> str:
    """The text with places in its longest words, such as paths, where a line may end: labels break at words only."""
    return _LONG_WORD.sub(lambda found: found.group() + BREAK, text)


def _slice_words() -> dict[str, str]:
    """What the library says of pixels, by the name of its exception, in words for a slice view."""
    return {
        "OutsideSliceError": _("A click or a box lies outside the image: move it into the image, or delete it."),
        "NoAreaError": _("The box has no area: drag its corners apart, or delete it."),
        "ContradictionError": _("A click inside and a click outside are at the same place: delete one of them."),
    }


def shortened(text: str, longest: int) -> str:
    """The text, without its middle if it is too long."""
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return text[:half] + "\N{HORIZONTAL ELLIPSIS}" + text[-half:]


def sentence(text: str) -> str:
    """The text with a capital letter in front, as messages to people begin."""
    return text[:1].upper() + text[1:]


def show_error(label: qt.QLabel, error: BaseException) -> None:
    """Show what went wrong."""
    show(label, text_of(error), ERROR)


def text_of(error: BaseException) -> str:
    """What went wrong, for the user; what is not the user's to mend is logged, too."""
    if not isinstance(error, _TOLD):
        logging.error("SAMMed2D: %s", error, exc_info=error)
    text = _slice_words().get(type(error).__name__) or pytorch.explain(error)
    return text if isinstance(error, SceneError) else sentence(text)  # that may begin with a name that the user gave
