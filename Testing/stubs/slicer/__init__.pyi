"""The part of Slicer's Python API that the extension uses, for type checkers only; a test compares it with Slicer.

What is missing here is added when it is first used: a class or a method with the types it has in Slicer. None is in
a type where Slicer gives it in the course of ordinary work: no node is chosen, there is no display node, no window.
"""

from typing import Any

from slicer import ScriptedLoadableModule as ScriptedLoadableModule
from slicer import i18n as i18n
from slicer import packaging as packaging
from slicer import util as util
from slicer._markups import *
from slicer._nodes import *
from slicer._segmentations import *
from slicer._widgets import *

app: qSlicerApplication
mrmlScene: vtkMRMLScene
modules: Any
