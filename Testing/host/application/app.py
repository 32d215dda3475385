"""qSlicerApplication."""

import os
import sys
import tempfile

import slicer
from PySide6 import QtCore, QtGui
from PySide6 import QtWidgets as W
from PySide6.QtCore import Signal

from .. import loop
from . import dialogs, io, scene
from . import errors as collected
from .hierarchy import SubjectHierarchy
from .manager import qSlicerModuleManager
from .window import qSlicerMainWindow


class qSlicerApplication(W.QApplication):
    """Stands for qSlicerApplication. Left out: extensions, the Python console, DICOM, the error log, the launcher.

    Its own additions, for tests: ``errors`` (see errors.py) and ``answers`` (see dialogs.py).
    """

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    renderPaused = Signal(bool)
    applicationVersion, majorVersion, minorVersion = "5.13.0", 5, 13
    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"
    documentationVersion = "latest"
    mainApplicationName, mainApplicationDisplayName = "Slicer", "3D Slicer"
    revision, os, arch, platform = "host", "linux", "amd64", "linux-amd64"
    isInstalled = False

    def __init__(self):
        super().__init__(["SlicerHost"])
        self._errors, self._answers = [], dialogs.Answers()
        self._folder = tempfile.TemporaryDirectory(prefix="SlicerHost")
        self._temporary = self._folder.name
        self._cache = f"{self._temporary}/cache"
        os.mkdir(self._cache)
        open(f"{self._cache}/.slicer-cache", "w").close()  # marks the folder as a cache that may be emptied
        self._layout, self._paused = None, 0
        self._make_settings()
        self._make_python_runner()
        self._look()
        collected.collect(self._errors)
        self._manager, self._io = qSlicerModuleManager(), io.qSlicerIOManager()
        self._window = qSlicerMainWindow()

    errors = property(lambda self: self._errors)
    answers = property(lambda self: self._answers)
    guard = staticmethod(collected.guard)
    temporaryPath = property(lambda self: self._temporary, lambda self, path: setattr(self, "_temporary", path))
    slicerHome = extensionsInstallPath = property(lambda self: self._folder.name)
    cachePath = property(lambda self: self._cache)
    slicerSharePath = property(lambda self: "share/Slicer-5.13")

    def _make_settings(self):
        self.setOrganizationName("SlicerHost")
        self.setApplicationName("Slicer")
        settings = QtCore.QSettings
        settings.setDefaultFormat(settings.IniFormat)
        settings.setPath(settings.IniFormat, settings.UserScope, self._temporary)
        self._settings = settings()

    def _make_python_runner(self):
        """What slicer.packaging finds on the path to run pip with."""
        runner = f"{self._temporary}/PythonSlicer"
        with open(runner, "w") as script:
            script.write(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        os.chmod(runner, 0o755)
        os.environ["PATH"] = self._temporary + os.pathsep + os.environ["PATH"]

    def _look(self):
        """Readable pictures on the off-screen platform, the same on every machine that has the font."""
        self.setStyle("Fusion")
        self.setFont(QtGui.QFont("DejaVu Sans", 9))

    def start(self):
        """Make the scene and the logics; the main window shows from now on."""
        self._scene = slicer.mrmlScene = scene.make_scene()
        self._logic = scene.make_application_logic(self._scene)
        self._remote = scene.make_remote_io(self._scene, self._logic, self._cache)
        for name, logic in scene.make_module_logics(self._scene, self._logic).items():
            self._manager.add_loadable(name, logic)
        self._manager.add_loadable("Colors", self._logic.GetColorLogic())
        self._logic.SetModuleLogic("Colors", self._logic.GetColorLogic())
        self._hierarchy = SubjectHierarchy(self._scene)
        self._window.show()

    def processEvents(self, *arguments):
        """Run the events that wait; with the interpreter lock in hand while threads starve (see loop.py)."""
        if loop.is_starving():
            loop.process_events_holding_the_lock()
        else:
            super().processEvents(*arguments)

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def moduleLogic(self, name):
        return self._logic.GetModuleLogic(name)

    def layoutManager(self):
        if self._layout is None:
            from ..views.layout import qSlicerLayoutManager

            self._layout = qSlicerLayoutManager()
            self._layout.build(self._window.centralWidget())
        return self._layout

    def moduleManager(self):
        return self._manager

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def userSettings(self):
        return self._settings

    settings = revisionUserSettings = userSettings

    def testingEnabled(self):
        """False, so that dialogs come and have to be answered."""
        return False

    def translate(self, context, text):
        return text

    def moduleDocumentationUrl(self, name):
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def mainWindow(self):
        return self._window

    def isRenderPaused(self):
        return self._paused > 0

    def setRenderPaused(self, paused):
        """Counts pauses; a view renders when somebody looks, so there is nothing to hold back."""
        self._paused = max(0, self._paused + (1 if paused else -1))
        self.renderPaused.emit(self._paused > 0)

    def pauseRender(self):
        self.setRenderPaused(True)

    def resumeRender(self):
        self.setRenderPaused(False)
