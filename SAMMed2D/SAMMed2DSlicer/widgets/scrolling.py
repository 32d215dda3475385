"""Scrolling the module panel, so that what matters is in sight."""

from __future__ import annotations

from typing import Any

import qt

_MARGIN_PX = 4


def scroll_into_view(widget: Any) -> None:
    """Scroll the area that a widget lies in, as far as is needed to see it."""
    parent = widget.parentWidget()
    while parent is not None and not parent.inherits("QScrollArea"):
        parent = parent.parentWidget()
    if parent is not None:
        parent.ensureWidgetVisible(widget, 0, _MARGIN_PX)


def follow_section(section: Any) -> None:
    """Scroll to a ctkCollapsibleButton whenever it is opened, once its widgets have their places."""

    def opened_or_closed(is_collapsed: bool) -> None:
        if not is_collapsed:
            qt.QTimer.singleShot(0, lambda: scroll_into_view(section))

    section.connect("contentsCollapsed(bool)", opened_or_closed)
