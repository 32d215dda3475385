"""Keyboard shortcuts that one owner has at a time: Qt triggers neither of two enabled shortcuts with the same key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import qt
import slicer

# Of all Segment Editors, the one that was worked with last has the keys.
_owners: list[ExclusiveShortcuts] = []


class ExclusiveShortcuts:
    """Shortcuts for some actions, and keys of others while they are needed; they rest while the user types."""

    def __init__(
        self,
        parent: Callable[[], qt.QWidget],
        actions: Mapping[str, Callable[[], Any]],
        borrowed: Mapping[str, Callable[[], Any]],
    ) -> None:
        """Describe the keys; nothing is made before `install`.

        Args:
            parent: gives the widget that the shortcuts are for.
            actions: what each key does.
            borrowed: what keys do that are somebody else's, while they are needed, as Qt writes them.
        """
        self._parent_of, self._actions, self._borrowed = parent, actions, borrowed
        self._needed: frozenset[str] = frozenset()
        self._parent: Any = None
        self._shortcuts: list[qt.QShortcut] = []
        self._lent: dict[str, qt.QShortcut] = {}
        self._quieted: dict[str, list[qt.QShortcut]] = {}
        self._calls: list[tuple[qt.QShortcut, Callable[[], Any]]] = []

    def install(self) -> None:
        """Take the keys over from whoever has them."""
        for owner in list(_owners):
            owner.remove()
        _owners.append(self)
        self._parent = self._parent_of()
        self._shortcuts = [self._shortcut(key, call) for key, call in self._actions.items()]
        self._lent = {key: self._shortcut(key, call) for key, call in self._borrowed.items()}
        slicer.app.connect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        self._enable()

    def remove(self) -> None:
        """Give the keys back; nothing, if somebody else has them."""
        if self not in _owners:
            return
        _owners.remove(self)
        slicer.app.disconnect("focusChanged(QWidget*,QWidget*)", self._focus_changed)
        for key in self._borrowed:
            self._quiet_others(key, False)
        for shortcut, call in self._calls:
            shortcut.disconnect("activated()", call)  # or it would keep its owner alive
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts, self._lent, self._calls = [], {}, []

    def arrange(self, needed: Collection[str]) -> None:
        """Borrow keys while they are needed; all keys are for texts while the user types.

        The Segment Editor, which ends an effect with Esc, has to give it up meanwhile.

        Args:
            needed: keys of those that may be borrowed.
        """
        self._needed = frozenset(needed)
        if self in _owners:
            self._enable()
        elif self._needed:  # the keys are for the editor that was worked with last
            self.install()

    def _enable(self) -> None:
        is_typing = _is_text_field(qt.QApplication.focusWidget())
        for shortcut in self._shortcuts:
            shortcut.setEnabled(not is_typing)
        for key, shortcut in self._lent.items():
            self._quiet_others(key, key in self._needed)
            shortcut.setEnabled(key in self._needed and not is_typing)

    def _shortcut(self, key: str, call: Callable[[], Any]) -> qt.QShortcut:
        shortcut = qt.QShortcut(qt.QKeySequence(key), self._parent)
        shortcut.connect("activated()", call)
        self._calls.append((shortcut, call))
        return shortcut

    def _focus_changed(self, old: qt.QWidget, new: qt.QWidget) -> None:
        self._enable()

    def _quiet_others(self, key: str, quiet: bool) -> None:
        """Switch the other shortcuts with a key in the window off, or on again."""
        quieted = self._quieted.setdefault(key, [])
        if quiet and not quieted:
            children = [child for child in self._parent.children() if child.className() == "QShortcut"]
            same = [child for child in children if child.key.toString() == key and child.enabled]
            own = self._lent.get(key)
            quieted += [child for child in same if child is not own and child != own]
        for shortcut in quieted:
            shortcut.setEnabled(not quiet)
        if not quiet:
            quieted.clear()


def _is_text_field(widget: qt.QWidget | None) -> bool:
    """Whether keys that are pressed are meant as text."""
    kinds = ("QLineEdit", "QAbstractSpinBox", "QTextEdit", "QPlainTextEdit")
    return widget is not None and any(widget.inherits(kind) for kind in kinds)
