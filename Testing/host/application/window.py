"""qSlicerMainWindow: the module panel at the left, the views in the middle, the status bar."""

import slicer
from PySide6 import QtGui
from PySide6 import QtWidgets as W
from PySide6.QtCore import QObject, Qt, Signal

# The keys that the desktop's main window has, whatever module is shown (without cut, copy and paste, which are local).
WINDOW_KEYS = {
    "FileAddDataAction": ["Ctrl+O"],
    "FileSaveSceneAction": ["Ctrl+S"],
    "FileCloseSceneAction": ["Ctrl+W"],
    "HelpDocumentationAction": ["Ctrl+1"],
    "EditApplicationSettingsAction": ["Ctrl+2"],
    "PythonConsoleToggleViewAction": ["Ctrl+3", "Ctrl+`"],
    "ViewExtensionsManagerAction": ["Ctrl+4"],
    "PanelDockWidgetAction": ["Ctrl+5"],
    "WindowMaximizeViewAction": ["Ctrl+6"],
    "ErrorLogToggleViewAction": ["Ctrl+0"],
    "ModuleHomeAction": ["Ctrl+H"],
    "ViewFindModuleAction": ["Ctrl+F"],
    "PreviousModuleAction": ["Ctrl+Left"],
    "NextModuleAction": ["Ctrl+Right"],
}


class qSlicerModuleSelectorToolBar(QObject):
    """Stands for qSlicerModuleSelectorToolBar: which module is shown. Left out: menus, history."""

    moduleSelected = Signal(str)

    def __init__(self, window):
        super().__init__(window)
        self._window, self._selected = window, ""

    selectedModule = property(lambda self: self._selected)

    def selectModule(self, name):
        """Leave the module that is shown and enter this one.

        Raises:
            RuntimeError: there is no such module.
        """
        module = slicer.app.moduleManager().module(name) if name else None
        if name and module is None:
            raise RuntimeError(f"no module {name!r}")
        if name == self._selected:
            return
        self._selected = name
        self._window.show_module(module.widgetRepresentation() if module else None)
        self.moduleSelected.emit(name)


class qSlicerMainWindow(W.QMainWindow):
    """Stands for qSlicerMainWindow. Left out: menus, tool bars, drop, the Python console; of its
    actions, only the keys are there."""

    def __init__(self):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer")
        self.resize(1100, 700)
        self._selector, self._shown = qSlicerModuleSelectorToolBar(self), None
        self._make_panel()
        self.setCentralWidget(W.QFrame())
        self.statusBar()
        for name, keys in WINDOW_KEYS.items():
            action = QtGui.QAction(self)
            action.setObjectName(name)
            action.setShortcuts(keys)
            self.addAction(action)

    def _make_panel(self):
        dock = W.QDockWidget("Modules", self)
        dock.setObjectName("PanelDockWidget")
        self._scroll = W.QScrollArea()
        self._scroll.setObjectName("ModulePanel")
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self._scroll.setMinimumWidth(460)
        dock.setWidget(self._scroll)
        self.addDockWidget(Qt.LeftDockWidgetArea, dock)

    def moduleSelector(self):
        return self._selector

    def show_module(self, widget):
        """Put a module's widget into the panel, with exit() and enter() as qSlicerModulePanel calls them."""
        if self._shown is not None:
            self._shown.exit()
            self._scroll.takeWidget()
            self._shown.setParent(None)
        self._shown = widget
        if widget is not None:
            self._scroll.setWidget(widget)
            widget.show()
            widget.enter()
