"""The ``qt`` module: every Qt class flat, with PythonQt's rules."""

import re
import sys
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import attributes, connections, values
from .properties import patch_properties

# Classes that PySide6 has and PythonQt has no wrapper for: a script that reached for one would fail in the desktop.
ABSENT = re.compile(
    r"QRhi|QShader|QAccessible|QNative|QPlugin|QSemaphoreReleaser|QOverrideCursorGuard|QKeyCombination|QMetaObject"
    r"|QVersionNumber|QString(Converter|Decoder|Encoder)|QDirListing|QEventPoint|QInputDevice|QPoint(er|ing)"
    r"|QSinglePointEvent|QTreeWidgetItemIterator|QOpenGL(Extra)?Functions|QtMsgType|Q\w+Permission$|QMatrix\dx\d$"
    r"|Q(Int|Point|PointF|Vector\dD)List$"
)
SOURCES = (QtCore, QtGui, QtWidgets, QtUiTools)


def qobject_classes():
    """Qt's QObject classes, base classes first."""
    found = [getattr(source, name) for source in SOURCES for name in dir(source) if name.startswith("Q")]
    classes = {c for c in found if isinstance(c, type) and issubclass(c, QtCore.QObject)}
    return sorted(classes, key=lambda c: (len(c.__mro__), c.__name__))


def make_qt():
    """Change PySide6's classes to PythonQt's rules and register them as the module ``qt``."""
    module = types.ModuleType("qt", "Qt as PythonQt shows it: classes of QtCore, QtGui, QtWidgets and QtUiTools")
    for source in SOURCES:
        for name in dir(source):  # PySide6 makes classes on first access: vars() is incomplete and changes
            if name.startswith("Q") and not ABSENT.match(name):
                setattr(module, name, getattr(source, name))
    for cls in qobject_classes():
        patch_properties(cls)
        attributes.make_strict(cls)
    attributes.install()
    connections.install()
    values.install(module)
    module.QT_VERSION_STR = QtCore.qVersion()
    sys.modules["qt"] = module
    return module
