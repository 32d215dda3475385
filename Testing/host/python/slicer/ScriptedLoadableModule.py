"""Stands for slicer.ScriptedLoadableModule: the four classes that a module written in Python derives from.

They do what the modules loaded in tests ask of them. Left out: reloading and the developer's section, screenshots,
panels without a parent, modules with several parameter nodes.
"""

import sys
import unittest
from pathlib import Path

import qt
import slicer

slicer.selfTests = getattr(slicer, "selfTests", {})
# The attribute of a parameter node that names its module.
_OWNER = "ModuleName"


def _resources(module_file):
    return Path(module_file).with_name("Resources")


class ScriptedLoadableModule:
    """What the application knows of a module before its panel is made; ``parent`` is the half that is C++."""

    def __init__(self, parent):
        self.parent = parent
        self.moduleName = parent.name
        slicer.selfTests[parent.name] = self.runTest
        icon = _resources(parent.path) / "Icons" / f"{parent.name}.png"
        if icon.exists():
            parent.icon = qt.QIcon(str(icon))

    def getDefaultModuleDocumentationLink(self):
        return self.parent.defaultDocumentationLink

    def runTest(self, msec=100):
        """Run the class MODULETest in the module's file; each of its messages stays for ``msec`` milliseconds."""
        file = sys.modules[self.moduleName]
        case = getattr(file, f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest()


class ScriptedLoadableModuleWidget:
    """A module's panel: the application calls setup() once, then enter() and exit(), and cleanup() when it quits."""

    def __init__(self, parent):
        self.parent, self.layout = parent, parent.layout()
        self.moduleName = parent.moduleName
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._quit)

    def setup(self):
        """Build the panel in ``layout``."""

    def cleanup(self):
        """End what the panel began."""

    def resourcePath(self, filename):
        """A file in the module's folder Resources."""
        module = getattr(slicer.modules, self.moduleName.lower())
        return str(_resources(module.path) / filename)

    def _quit(self, module_name):
        if self.moduleName == module_name:
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._quit)
            self.cleanup()


class ScriptedLoadableModuleLogic:
    """What a module computes, and the node in the scene that keeps its parameters."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        """The module's node: one in a scene, made where there is none."""
        scene, kind = slicer.mrmlScene, "vtkMRMLScriptedModuleNode"
        found = scene.GetSingletonNode(self.moduleName, kind)
        if found is None:
            made = slicer.vtkMRMLScriptedModuleNode()
            made.SetSingletonTag(self.moduleName)
            made.SetName(self.moduleName)
            found = scene.AddNode(made)
        found.SetAttribute(_OWNER, self.moduleName)  # closing a scene keeps the node, and empties it
        return found

    def getAllParameterNodes(self):
        """The module's nodes in the scene: none or one."""
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute(_OWNER) == self.moduleName]


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A module's self test: its methods test…(), each between setUp() and tearDown()."""

    messageDelay = 100

    def delayDisplay(self, message):
        """Show a message for a while."""
        slicer.util.delayDisplay(message, self.messageDelay)

    def runTest(self):
        """Run them all; the first error ends it."""
        for name in unittest.defaultTestLoader.getTestCaseNames(type(self)):
            one = type(self)(name)
            one.messageDelay = self.messageDelay
            one.debug()
