"""What PythonQt adds to every object, and what it forbids: new attributes on C++ objects."""

import enum

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets


def is_cpp(cls):
    """True for classes that are C++ in the desktop: Qt's, and the stand-ins of CTK's and Slicer's."""
    return cls.__module__.startswith(("PySide6.", "host."))


def _refusal(self, name, descriptor):
    """What PythonQt answers to ``widget.name = value``, or None where it obeys."""
    cls = type(self)
    if descriptor is None and is_cpp(cls) and not name.startswith("_"):  # stand-ins keep private state under _names
        return f"{cls.__name__} has no attribute '{name}', and PythonQt makes none on C++ objects"
    if descriptor is None or not is_cpp(cls):
        return None
    if isinstance(descriptor, QtCore.Signal):
        return f"'{name}' is a signal of {cls.__name__}: PythonQt does not replace it"
    if callable(descriptor) and not isinstance(descriptor, property):
        return f"'{name}' is a method of {cls.__name__}: PythonQt does not replace it"
    return None


def _setattr(self, name, value):
    if isinstance(value, QtCore.SignalInstance):  # PySide6 itself keeps bound signals this way
        return shiboken6.Object.__setattr__(self, name, value)
    descriptor = next((c.__dict__[name] for c in type(self).__mro__ if name in c.__dict__), None)
    if isinstance(descriptor, QtCore.Property):
        if descriptor.fset is None:
            raise AttributeError(f"'{name}' of {type(self).__name__} is read-only")
        return descriptor.fset(self, value)
    if descriptor is None and name.encode() in [bytes(n) for n in QtCore.QObject.dynamicPropertyNames(self)]:
        return QtCore.QObject.setProperty(self, name, value)
    problem = _refusal(self, name, descriptor)
    if problem:
        raise AttributeError(problem)
    return shiboken6.Object.__setattr__(self, name, value)


def make_strict(cls):
    """Apply PythonQt's rule to one Qt class; every Shiboken class has its own setattro, so each is changed."""
    cls.__setattr__ = _setattr


def _enumerator(self, name):
    """PythonQt finds a class's enumerators on its objects too: ``box.Yes``."""
    cls = next((c for c in type(self).__mro__ if c.__module__.startswith("PySide6.")), None)
    found = getattr(cls, name, None) if not name.startswith("_") else None
    if isinstance(found, enum.Enum):
        return found
    raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


def install():
    """The attributes that PythonQt gives to all objects."""
    Q = QtCore.QObject
    Q.__getattr__ = _enumerator
    Q.name = property(lambda self: self.objectName, lambda self, value: setattr(self, "objectName", value))
    Q.className = lambda self: self.metaObject().className()
    Q.delete = lambda self: shiboken6.delete(self)
    for cls in (QtWidgets.QDialog, QtWidgets.QMenu, QtCore.QCoreApplication, QtCore.QEventLoop, QtGui.QDrag):
        if not hasattr(cls, "exec_"):
            cls.exec_ = cls.exec
