"""qSlicerSegmentEditorScriptedEffect and qSlicerSegmentEditorScriptedLabelEffect."""

import importlib.util
import os
import sys

import slicer
from PySide6.QtGui import QCursor, QIcon

from .effect import qSlicerSegmentEditorAbstractEffect
from .effect_views import _slice_node


class EffectError(TypeError):
    """An effect's Python class breaks the rules of qSlicerSegmentEditorScriptedEffect; the desktop only warns."""


def load_class(path):
    """The class in an effect's file, as setPythonSource loads it: the FOLDER's name becomes the module's name.

    Raises:
        EffectError: the path or the file is not what setPythonSource takes.
    """
    if "\\" in path or not path.endswith((".py", ".pyc")) or not os.path.isfile(path):
        raise EffectError(f"setPythonSource takes the path of a .py file with forward slashes: {path}")
    module_name, class_name = os.path.basename(os.path.dirname(path)), os.path.basename(path).rsplit(".", 1)[0]
    class_name += "" if class_name.endswith("Effect") else "Effect"
    module = sys.modules.get(module_name)
    if not hasattr(module, class_name):
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    if not hasattr(module, class_name):
        raise EffectError(f"class {class_name} was not found in {path}")
    return module_name, getattr(module, class_name)


class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """Stands for qSlicerSegmentEditorScriptedEffect: calls the Python effect, or the default where it has no method.

    As on the desktop an exception in a method is reported (here: kept for the test) and the default is used.
    """

    def __init__(self, parent=None):
        super().__init__(parent)
        self._self, self._source, self._effect_name = None, "", "UnnamedScriptedEffect"

    def self(self):
        return self._self

    def pythonSource(self):
        return self._source

    def setPythonSource(self, path):
        module_name, cls = load_class(path)
        self._self, self._source = cls(self), path
        setattr(slicer, module_name, self._self)
        return True

    def _call(self, name, *arguments):
        """(True, result), or (False, None) where the effect has no such method or it raised."""
        method = getattr(self._self, name, None)
        if not callable(method):
            return False, None
        try:
            return True, method(*arguments)
        except Exception:
            sys.excepthook(*sys.exc_info())
            return False, None

    def _checked(self, name, kind, default, *arguments):
        done, result = self._call(name, *arguments)
        if done and not isinstance(result, kind):
            raise EffectError(f"{self._effect_name}.{name} must return {kind.__name__}, not {result!r}")
        return result if done else default

    def icon(self):
        return self._checked("icon", QIcon, QIcon())

    def helpText(self):
        return self._checked("helpText", str, "")

    def clone(self):
        """Raises: EffectError: the effect has no clone(), or it gives no effect."""
        clone = self._checked("clone", qSlicerSegmentEditorAbstractEffect, None)
        if clone is None or clone is self:
            raise EffectError(f"{self._effect_name}: clone() is mandatory and makes a new effect")
        return clone

    def createCursor(self, widget):
        return self._checked("createCursor", QCursor, None, widget) or super().createCursor(widget)

    def activate(self):
        super().activate()
        self._call("activate")

    def deactivate(self):
        super().deactivate()
        self._call("deactivate")

    def processInteractionEvents(self, interactor, event_id, widget):
        return self._checked("processInteractionEvents", bool, False, interactor, event_id, widget)

    def processViewNodeEvents(self, node, event_id, widget):
        self._call("processViewNodeEvents", node, event_id, widget)

    def interactionNodeModified(self, node):
        if not self._call("interactionNodeModified", node)[0]:
            super().interactionNodeModified(node)

    def updateGUIFromMRML(self):
        if self._active:
            self._call("updateGUIFromMRML")

    def updateMRMLFromGUI(self):
        self._call("updateMRMLFromGUI")

    def setupOptionsFrame(self):
        self._call("setupOptionsFrame")

    def setMRMLDefaults(self):
        self._call("setMRMLDefaults")

    def referenceGeometryChanged(self):
        self._call("referenceGeometryChanged")

    def sourceVolumeNodeChanged(self):
        self._call("sourceVolumeNodeChanged")

    def masterVolumeNodeChanged(self):
        self._call("masterVolumeNodeChanged")

    def layoutChanged(self):
        self._call("layoutChanged")

    def cleanup(self):
        self._call("cleanup")


class qSlicerSegmentEditorScriptedLabelEffect(qSlicerSegmentEditorScriptedEffect):
    """Stands for qSlicerSegmentEditorScriptedLabelEffect."""

    @staticmethod
    def appendPolyMask(labelmap, polygon, widget, node=None):
        slicer.vtkSlicerSegmentEditorLogic.AppendPolyMask(labelmap, polygon, _slice_node(widget), node)

    @staticmethod
    def appendImage(labelmap, image):
        slicer.vtkSlicerSegmentEditorLogic.AppendImage(labelmap, image)
