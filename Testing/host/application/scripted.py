"""Scripted modules: qSlicerScriptedLoadableModule and its widget."""

import importlib.util
import os
import sys

import slicer
from PySide6 import QtGui
from PySide6 import QtWidgets as W
from PySide6.QtCore import QObject, Signal

from ..declared import stored
from .errors import guard


class qSlicerScriptedLoadableModuleWidget(W.QWidget):
    """Stands for qSlicerScriptedLoadableModuleWidget: the ``parent`` of a scripted module's widget class.

    Left out: editing nodes (setEditedNode, nodeEditable).
    """

    mrmlSceneChanged = Signal(object)

    def __init__(self, module):
        super().__init__()
        self._module, self._entered, self._self = module, False, None
        W.QVBoxLayout(self)
        self.setObjectName(module.name + "ModuleWidget")

    moduleName = property(lambda self: self._module.name)
    isEntered = property(lambda self: self._entered)

    def make_self(self):
        """Make the Python half and set it up."""
        name = self._module.name
        self._self = getattr(sys.modules[name], name + "Widget")(self)
        setattr(slicer.modules, name + "Widget", self._self)
        self._self.setup()

    reload = make_self

    def self(self):
        return self._self

    def mrmlScene(self):
        return slicer.mrmlScene

    def _call(self, method):
        with guard():
            getattr(self._self, method, lambda: None)()

    def enter(self):
        self._entered = True
        self._call("enter")

    def exit(self):
        self._entered = False
        self._call("exit")


class qSlicerScriptedLoadableModule(QObject):
    """Stands for qSlicerScriptedLoadableModule: the ``parent`` of a module's class, and slicer.modules.<name>.

    Loading raises what the desktop would only print. Left out: logos, actions, remapping of titles.
    """

    title = stored(str, "title", "")
    categories = stored("QStringList", "categories", ())
    dependencies = stored("QStringList", "dependencies", ())
    contributors = stored("QStringList", "contributors", ())
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", ())
    helpText = stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    hidden = stored(bool, "hidden", False)
    index = stored(int, "index", -1)
    icon = stored(QtGui.QIcon, "icon", None)
    widgetRepresentationCreationEnabled = stored(bool, "widgetRepresentationCreationEnabled", True)

    def __init__(self, path):
        super().__init__()
        self._path, self._module_name = os.path.abspath(path), os.path.basename(path)[:-3]
        self.setObjectName(self._module_name)
        self._widget = self._instance = None

    name = property(lambda self: self._module_name)
    path = property(lambda self: self._path)
    defaultDocumentationLink = property(
        lambda self: f'<p><a href="{slicer.app.moduleDocumentationUrl(self._module_name)}">documentation</a></p>'
    )

    def load(self):
        """Run the module's file, make its class, register it, call its setup()."""
        folder = os.path.dirname(self._path)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location(self._module_name, self._path)
        module = sys.modules[self._module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._instance = getattr(module, self._module_name)(self)
        slicer.app.moduleManager().add(self._module_name, self)
        setattr(slicer.modules, self._module_name + "Instance", self._instance)
        getattr(self._instance, "setup", lambda: None)()
        return self

    def self(self):
        return self._instance

    def logic(self):
        return None

    def mrmlScene(self):
        return slicer.mrmlScene

    def widgetRepresentation(self):
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
            self._widget.make_self()
        return self._widget

    def createNewWidgetRepresentation(self):
        widget = qSlicerScriptedLoadableModuleWidget(self)
        widget.make_self()
        return widget

    def restore_widget(self):
        """Let slicer.modules.<name>Widget be the module's own widget again."""
        if self._widget is not None:
            setattr(slicer.modules, self._module_name + "Widget", self._widget.self())

    def unload(self):
        """What happens to a module when Slicer quits: moduleAboutToBeUnloaded, so cleanup()."""
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self._module_name)
        self._widget = None


class qSlicerSubjectHierarchyScriptedPlugin(QObject):
    """Stands for qSlicerSubjectHierarchyScriptedPlugin: it does nothing, but Slicer's own SegmentEditor.py loads."""

    def setPythonSource(self, path):
        return os.path.isfile(path)
