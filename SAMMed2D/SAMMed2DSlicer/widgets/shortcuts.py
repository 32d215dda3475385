"""Keyboard shortcuts that one owner has at a time: Qt triggers neither of two enabled shortcuts with the same key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
import slicer

# Of all Segment Editors, the one that was worked with last has the keys.
_owners: list[ExclusiveShortcuts] = []


class ExclusiveShortcuts:
    """Shortcuts for some actions, and Esc while it is needed; they rest while the user types."""

    def __init__(
        self,
        parent: Callable[[], qt.QWidget],
        actions: Mapping[str, Callable[[], Any]],
        on_escape: Callable[[], Any],
    ) -> None:
        """Describe the keys; nothing is made before `install`.

        Args:
            parent: gives the widget that the shortcuts are for.
            actions: what each key does.
            on_escape: what Esc does while it is needed.
        """
        self._parent_of, self._actions, self._on_escape = parent, actions, on_escape
        self._needs_escape = False
        self._parent: Any = None
        self._shortcuts: list[qt.QShortcut] = []
        self._escape: qt.QShortcut | None = None
        self._quieted: list[qt.QShortcut] = []
        self._calls: list[tuple[qt.QShortcut, Callable[[], Any]]] = []

    def install(self) -> None:
        """Take the keys over from whoever has them."""
        for owner in list(_owners):
            owner.remove()
        _owners.append(self)
        self._parent = self._parent_of()
        self._shortcuts = [self._shortcut(key, call) for key, call in self._actions.items()]
        self._escape = self._shortcut("Esc", self._on_escape)
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._enable()

    def remove(self) -> None:
        """Give the keys back; nothing, if somebody else has them."""
        if self not in _owners:
            return
        _owners.remove(self)
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._quiet_others(False)
        for shortcut, call in self._calls:
            shortcut.disconnect("activated()", call)  # or it would keep its owner alive
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts, self._escape, self._calls = [], None, []

    def arrange(self, needs_escape: bool) -> None:
        """Esc is for the owner while it is needed, and all keys are for texts while the user types.

        The Segment Editor, which ends an effect with Esc, has to give it up meanwhile.
        """
        self._needs_escape = needs_escape
        if self in _owners:
            self._enable()
        elif needs_escape:  # the keys are for the editor that was worked with last
            self.install()

    def _enable(self) -> None:
        is_typing = _is_text_field(qt.QApplication.focusWidget())
        for shortcut in self._shortcuts:
            shortcut.setEnabled(not is_typing)
        self._quiet_others(self._needs_escape)
        if self._escape is not None:
            self._escape.setEnabled(self._needs_escape and not is_typing)

    def _shortcut(self, key: str, call: Callable[[], Any]) -> qt.QShortcut:
        shortcut = qt.QShortcut(qt.QKeySequence(key), self._parent)
        shortcut.connect("activated()", call)
        self._calls.append((shortcut, call))
        return shortcut

    def _focus_changed(self, old: qt.QWidget, new: qt.QWidget) -> None:
        self._enable()

    def _quiet_others(self, quiet: bool) -> None:
        """Switch the other shortcuts with Esc in the window off, or on again."""
        if quiet and not self._quieted:
            children = [child for child in self._parent.children() if child.className() == "QShortcut"]
            escapes = [child for child in children if child.key.toString() == "Esc" and child.enabled]
            self._quieted = [child for child in escapes if child is not self._escape and child != self._escape]
        for shortcut in self._quieted:
            shortcut.setEnabled(not quiet)
        if not quiet:
            self._quieted = []


def _is_text_field(widget: qt.QWidget | None) -> bool:
    """Whether keys that are pressed are meant as text."""
    kinds = ("QLineEdit", "QAbstractSpinBox", "QTextEdit", "QPlainTextEdit")
    return widget is not None and any(widget.inherits(kind) for kind in kinds)
