"""One line for the user in a label: what is going on, or what is wrong."""

from __future__ import annotations

import logging
from typing import Any

from SAMMed2DSlicer import install

INFO, WARNING, ERROR = "info", "warning", "error"
_COLORS = {INFO: "", WARNING: "#b35c00", ERROR: "#c02020"}
# Errors that tell the user what to do; others are faults of the program, and are told in the log too.
_TOLD = (ValueError, OSError, ImportError, install.InstallError)


def show(label: Any, text: str, level: str = INFO) -> None:
    """Show a text; without one the label takes no space."""
    color = _COLORS[level]
    label.styleSheet = f"color: {color}" if color else ""
    label.text = text
    label.visible = bool(text)


def show_error(label: Any, error: BaseException) -> None:
    """Show what went wrong."""
    show(label, text_of(error), ERROR)


def text_of(error: BaseException) -> str:
    """What went wrong, for the user; what is not the user's to mend is logged, too."""
    if not isinstance(error, _TOLD):
        logging.error("SAMMed2D: %s", error, exc_info=error)
    return install.explain(error)
