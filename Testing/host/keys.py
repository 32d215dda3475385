"""Keys pressed in the main window, as the keyboard sends them: shortcuts come first, then a view."""

import slicer
from PySide6 import QtGui
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

SYMBOLS = {
    Qt.Key_Escape: "Escape",
    Qt.Key_Space: "space",
    Qt.Key_Return: "Return",
    Qt.Key_Delete: "Delete",
    Qt.Key_Backspace: "BackSpace",
    Qt.Key_Tab: "Tab",
    Qt.Key_Left: "Left",
    Qt.Key_Right: "Right",
    Qt.Key_Up: "Up",
    Qt.Key_Down: "Down",
}


class AmbiguousShortcutError(RuntimeError):
    """Several shortcuts have the same key: in the desktop none of them works, and only the console says so."""


def shortcuts():
    """All enabled shortcuts of the main window: QShortcuts, and QActions with keys, by their key's text."""
    window, found = slicer.app.mainWindow(), {}
    for shortcut in window.findChildren(QtGui.QShortcut):
        if shortcut.isEnabled():
            found.setdefault(QtGui.QKeySequence(shortcut.key).toString(), []).append(shortcut)
    for action in window.findChildren(QtGui.QAction):
        for key in action.shortcuts() if action.isEnabled() else ():
            found.setdefault(key.toString(), []).append(action)
    return {key: owners for key, owners in found.items() if key}


def ambiguous():
    """The keys that more than one shortcut has."""
    return sorted(key for key, owners in shortcuts().items() if len(owners) > 1)


def press(keys, view=None):
    """Press and release keys, e.g. "Ctrl+Z".

    True where a shortcut took them. Where none did, they go to the view, if one is given: an effect sees KeyPressEvent.

    Raises:
        AmbiguousShortcutError: more than one shortcut has these keys.
    """
    sequence = QtGui.QKeySequence(keys)
    if sequence.isEmpty() or sequence.toString() == "":
        raise ValueError(f"no keys: {keys!r}")
    owners = shortcuts().get(sequence.toString(), [])
    if len(owners) > 1:
        names = [f"{owner.objectName or type(owner).__name__}" for owner in owners]
        raise AmbiguousShortcutError(f"{sequence.toString()} belongs to {names}: in the desktop none of them works")
    if owners:
        _send(sequence)
    elif view is not None:
        _to_view(view, sequence)
    return bool(owners)


def _send(sequence):
    window = slicer.app.mainWindow()
    window.activateWindow()
    slicer.app.processEvents()
    QTest.keySequence(window, sequence)


def _to_view(view, sequence):
    combination = sequence[0]
    key, modifiers = combination.key(), combination.keyboardModifiers()
    symbol = SYMBOLS.get(key) or (chr(key).lower() if key < 0x110000 else "")
    held = {"shift": Qt.ShiftModifier, "control": Qt.ControlModifier, "alt": Qt.AltModifier}
    view.key(symbol, **{name: bool(modifiers & flag) for name, flag in held.items()})
