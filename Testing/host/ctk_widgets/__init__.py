"""``ctk``: real Qt widgets with CTK's properties, signals and slots; only those that PythonQt shows.

A CTK setter that is neither a slot nor Q_INVOKABLE is no method here either: the desktop has only the property.
A class that is not here raises AttributeError, on purpose: add it from CTK's header.
"""

import sys
import types

from PySide6 import QtWidgets

from ..pythonqt import patch_properties
from . import buttons, messages, paths, ranges, sliders, texts


def classes():
    """Every stand-in by its CTK name."""
    sources = (buttons, messages, paths, ranges, sliders, texts)
    return {name: value for source in sources for name, value in vars(source).items() if name.startswith("ctk")}


def make_ctk():
    """Register the module ``ctk``."""
    module = types.ModuleType("ctk", "CTK's widgets, as far as the host has stand-ins")
    for name, cls in classes().items():
        if issubclass(cls, QtWidgets.QWidget):
            patch_properties(cls)
        setattr(module, name, cls)
    sys.modules["ctk"] = module
    return module
