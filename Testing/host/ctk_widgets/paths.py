"""CTK's file and folder field."""

from PySide6 import QtCore
from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Signal

from ..declared import stored


class ctkPathLineEdit(W.QWidget):
    """Stands for ctkPathLineEdit: a field, its history in the settings, a browse button. Left out: completion."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    Dirs, Files, Drives, NoSymLinks = 0x001, 0x002, 0x004, 0x008
    AllEntries = Dirs | Files | Drives
    Readable, Writable, Executable, Modified, Hidden, System = 0x010, 0x020, 0x040, 0x080, 0x100, 0x200

    def __init__(self, *args):
        super().__init__(next((a for a in args if isinstance(a, W.QWidget)), None))
        self._combo = W.QComboBox()
        self._combo.setEditable(True)
        self._combo.setSizePolicy(W.QSizePolicy.Expanding, W.QSizePolicy.Fixed)
        self._browse = W.QToolButton()
        self._browse.setText("...")
        self._browse.clicked.connect(lambda *_: self.browse())
        layout = W.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        layout.addWidget(self._browse)
        self._combo.currentTextChanged.connect(self.currentPathChanged.emit)

    def setCurrentPath(self, path):
        self._combo.setCurrentText(path)

    def _history_key(self):
        return self.settingKey or self.objectName

    def _set_key(self, key):
        self._key = key
        self.retrieveHistory()

    label = stored(str, "label", "")
    filters = stored(int, "filters", AllEntries)
    options = stored(int, "options", 0)
    nameFilters = stored("QStringList", "nameFilters", ())
    showHistoryButton = stored(bool, "showHistoryButton", True)
    sizeAdjustPolicy = stored(int, "sizeAdjustPolicy", 2)
    minimumContentsLength = stored(int, "minimumContentsLength", 0)
    settingKey = Property(str, lambda self: getattr(self, "_key", ""), _set_key)
    currentPath = Property(str, lambda self: self._combo.currentText, setCurrentPath)
    showBrowseButton = Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, value: self._browse.setVisible(value)
    )

    def comboBox(self):
        return self._combo

    def addCurrentPathToHistory(self):
        settings, key = QtCore.QSettings(), "PathLineEditHistory/" + self._history_key()
        paths = [self.currentPath, *(p for p in self._history() if p != self.currentPath)]
        settings.setValue(key, paths[:10])

    def _history(self):
        found = QtCore.QSettings().value("PathLineEditHistory/" + self._history_key())
        return [found] if isinstance(found, str) else list(found or ())

    def retrieveHistory(self):
        current = self.currentPath
        blocked = self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(self._history())
        self._combo.setCurrentText(current)
        self._combo.blockSignals(blocked)

    def browse(self):
        if self.filters & self.Files:
            path = W.QFileDialog.getOpenFileName(self, "Select a file", self.currentPath, ";;".join(self.nameFilters))
        else:
            path = W.QFileDialog.getExistingDirectory(self, "Select a folder", self.currentPath)
        if path:
            self.setCurrentPath(path)
