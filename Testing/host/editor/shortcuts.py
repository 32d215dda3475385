"""The Segment Editor's keyboard shortcuts: real QShortcuts, so that tests can find ambiguous keys."""

import slicer
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut

PREVIOUS_NEXT = [
    (Qt.Key_Q, Qt.Key_W),
    (Qt.Key_Slash, Qt.Key_Asterisk),
    (Qt.Key_Comma, Qt.Key_Period),
    (Qt.Key_Greater, Qt.Key_Less),
]
LAST_EFFECT = -1


class Shortcuts:
    """The part of qMRMLSegmentEditorWidget with keys."""

    def installKeyboardShortcuts(self, parent=None):
        self.uninstallKeyboardShortcuts()
        parent = slicer.app.mainWindow() if parent is None else parent
        for index in range(1, 11):
            self._add_key(parent, str(index % 10), self._select_effect_by_key, index)
            self._add_key(parent, f"Shift+{index % 10}", self._select_effect_by_key, index + 10)
        self._add_key(parent, Qt.Key_Escape, self._select_effect_by_key, 0)
        self._add_key(parent, Qt.Key_Space, self._select_effect_by_key, LAST_EFFECT)
        for key in (Qt.Key_Z, QKeySequence.Undo):
            self._add_key(parent, key, self.undo)
        for key in (Qt.Key_Y, QKeySequence.Redo):
            self._add_key(parent, key, self.redo)
        for previous, following in PREVIOUS_NEXT:
            self._add_key(parent, previous, self.selectSegmentAtOffset, -1)
            self._add_key(parent, following, self.selectSegmentAtOffset, 1)
        self._add_key(parent, Qt.Key_I, self.toggleSourceVolumeIntensityMaskEnabled)

    def _add_key(self, parent, key, method, *arguments):
        shortcut = QShortcut(QKeySequence(key), parent)
        shortcut.setObjectName("SegmentEditor " + method.__name__)
        shortcut.activated.connect(lambda: method(*arguments))
        self._keys.append(shortcut)

    def uninstallKeyboardShortcuts(self):
        for shortcut in self._keys:
            shortcut.setParent(None)
            shortcut.delete()
        self._keys = []

    def _select_effect_by_key(self, index):
        if self.readOnly:
            return
        if index == LAST_EFFECT:
            self.setActiveEffect(self._last_effect)
            return
        effect = self.effectByIndex(index)
        self.setActiveEffect(None if effect is self._active_effect else effect)

    # the keys for the previous and the next segment
    def selectPreviousSegment(self):
        self.selectSegmentAtOffset(-1)

    def selectNextSegment(self):
        self.selectSegmentAtOffset(1)

    def selectSegmentAtOffset(self, offset):
        """Select the previous or next visible segment."""
        display = self._segmentation.GetDisplayNode() if self._segmentation else None
        selected = self._table.selectedSegmentIDs()
        if display is None or not selected:
            return
        ids = self._table.displayedSegmentIDs()
        row = ids.index(selected[0])
        for _ in ids:
            row = max(0, (row + offset) % len(ids) if row + offset >= 0 else row + offset)
            if display.GetSegmentVisibility(ids[row]):
                self.setCurrentSegmentID(ids[row])
                return
