"""All keys and mouse gestures of the effect on one sheet over the slice views, while the user works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.panel.keys import KeyAction, KeyTarget, key_actions, mouse_gestures, shortcuts
from SAMMed2DSlicer.widgets.shortcuts import ExclusiveShortcuts

_STYLE = "QLabel { background-color: #202428; color: #f0f0f0; border: 1px solid #808890; padding: 8px; }"
_MARGIN_PX = 12  # to the corner of the views


class KeyOverlay:
    """A sheet that a key shows and hides; it takes no focus and no clicks, so that the keys can be tried."""

    def __init__(self, actions: Sequence[KeyAction]) -> None:
        """Prepare; widgets are made when the sheet is shown first."""
        self._actions = actions
        self._frame: Any = None

    @property
    def is_shown(self) -> bool:
        """Whether the sheet is seen."""
        return self._frame is not None and bool(self._frame.isVisible())

    def toggle(self) -> None:
        """Show the sheet, or hide it."""
        if self.is_shown:
            self.hide()
        else:
            self._show()

    def hide(self) -> None:
        """Show the sheet no more."""
        if self._frame is not None:
            self._frame.hide()
            self._frame.deleteLater()
            self._frame = None

    def _show(self) -> None:
        window: Any = slicer.util.mainWindow()
        label = qt.QLabel()
        label.setText(sheet_html(self._actions))
        label.objectName = "SAMMed2DKeys"
        label.styleSheet = _STYLE
        self._frame = qt.QWidget(window)
        self._frame.setWindowFlags(qt.Qt.ToolTip | qt.Qt.FramelessWindowHint)
        self._frame.setAttribute(qt.Qt.WA_TransparentForMouseEvents)
        self._frame.setAttribute(qt.Qt.WA_ShowWithoutActivating)
        layout = qt.QVBoxLayout(self._frame)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(label)
        # The size by the layout: adjustSize would cut off what is higher than two thirds of the screen.
        layout.setSizeConstraint(qt.QLayout.SetFixedSize)
        corner = window.centralWidget().mapToGlobal(qt.QPoint(_MARGIN_PX, 2 * _MARGIN_PX)) if window else None
        if corner is not None:
            self._frame.move(corner)
        self._frame.show()


def sheet_html(actions: Sequence[KeyAction]) -> str:
    """The sheet: gestures of the mouse, then the keys.

    Args:
        actions: of the keys.
    """
    keys = [(action.shown or action.keys[0], action.text) for action in actions]
    keys.insert(1, (_("Esc"), _("clear the prompts that are open")))
    slicers = [
        (_("Ctrl+Z"), _("take the last open prompt back; else undo")),
        ("B, F", _("slice back, forth")),
        (_("Del"), _("delete what the mouse is on")),
    ]
    return (
        f"<b>{_('SAM-Med2D: mouse and keys')}</b>"
        f"<table cellspacing='0' cellpadding='0'>{_rows(mouse_gestures())}{_rows(keys)}{_rows(slicers)}</table>"
    )


def _rows(entries: Sequence[tuple[str, str]]) -> str:
    rows = (f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td><td>{text}</td></tr>" for name, text in entries)
    return "".join(rows) + "<tr><td></td><td></td></tr>"


def new_shortcuts(
    target: KeyTarget, parent: qt.QWidget, borrowed: Mapping[str, Callable[[], object]]
) -> tuple[ExclusiveShortcuts, KeyOverlay]:
    """The shortcuts of the effect, not installed yet, and the sheet that shows them.

    Args:
        target: what the keys act on.
        parent: the widget that the shortcuts are for.
        borrowed: what keys of Slicer do while they are needed.
    """
    actions = key_actions(target)
    return ExclusiveShortcuts(lambda: parent, shortcuts(actions), borrowed), KeyOverlay(actions)
