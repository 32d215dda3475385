"""CTK's message box."""

from PySide6 import QtCore
from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Signal

from ..declared import stored


class ctkMessageBox(W.QMessageBox):
    """Stands for ctkMessageBox: a message box that may be told not to come again (remembered in the settings)."""

    dontShowAgainChanged = Signal(bool)

    def deleteLater(self):
        self._is_leaving = True
        super().deleteLater()

    def __init__(self, *args):
        super().__init__(*args)
        self._roles = [W.QMessageBox.AcceptRole]
        self._again = W.QCheckBox("Do not ask again", self)
        self._again.hide()
        self.finished.connect(self._remember)

    def _set_key(self, key):
        self._key = key
        stored_button = int(QtCore.QSettings().value(key, -1))
        self._again.setChecked(stored_button != -1)
        self._show_box(bool(key))

    def _show_box(self, visible):
        self._again.setVisible(visible)
        if visible:
            self.setCheckBox(self._again)

    def addDontShowAgainButtonRole(self, role):
        self._roles.append(role)

    def _remember(self, *_):
        button = self.clickedButton()
        if not self.dontShowAgainSettingsKey or button is None or self.buttonRole(button) not in self._roles:
            return
        value = int(self.standardButton(button)) if self._again.isChecked() else -1
        QtCore.QSettings().setValue(self.dontShowAgainSettingsKey, value)

    def _remembered(self):
        """The button that was chosen for good, or None."""
        if not self._again.isChecked() or not self.dontShowAgainSettingsKey:
            return None
        value = int(QtCore.QSettings().value(self.dontShowAgainSettingsKey, -1))
        return next((b for b in self.buttons() if int(self.standardButton(b)) == value), None)

    dontShowAgainSettingsKey = Property(str, lambda self: getattr(self, "_key", ""), _set_key)
    dontShowAgainVisible = Property(bool, lambda self: self._again.isVisibleTo(self), _show_box)
    dontShowAgain = Property(bool, lambda self: self._again.isChecked(), lambda self, v: self._again.setChecked(v))
    dontShowAgainButtonRoles = stored("QVariantList", "roles", ())
