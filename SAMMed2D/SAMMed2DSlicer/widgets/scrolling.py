"""Scrolling the module panel, so that what matters is in sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

_MARGIN_PX = 4
_SETTLED_MS = 100  # widgets that have just been shown have their places then


def scroll_into_view(widget: Any) -> None:
    """Scroll the area that a widget lies in, as far as is needed to see it."""
    parent = widget.parentWidget()
    while parent is not None and not parent.inherits("QScrollArea"):
        parent = parent.parentWidget()
    if parent is not None:
        parent.ensureWidgetVisible(widget, 0, _MARGIN_PX)


def scroll_to_all_soon(first: Any, last: Any, is_wanted: Callable[[], bool]) -> None:
    """Scroll, as far as is needed, down to the last of some widgets that have just been shown, never past the first.

    Args:
        first: the uppermost widget.
        last: the lowest.
        is_wanted: whether they are still shown when it is time.
    """

    def scroll() -> None:
        if is_wanted():
            scroll_into_view(last)
            scroll_into_view(first)

    qt.QTimer.singleShot(_SETTLED_MS, scroll)


def follow_section(section: Any) -> None:
    """Scroll to a ctkCollapsibleButton whenever it is opened, once its widgets have their places."""

    def opened_or_closed(is_collapsed: bool) -> None:
        if not is_collapsed:
            qt.QTimer.singleShot(0, lambda: scroll_into_view(section))

    section.connect("contentsCollapsed(bool)", opened_or_closed)
