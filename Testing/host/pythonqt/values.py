"""Values as PythonQt converts them: enumerators are integers, a QImage copies the bytes that it is made of."""

import enum

from PySide6 import QtCore, QtGui


def _is_plain_enum(value):
    return isinstance(value, type) and issubclass(value, enum.Enum) and not issubclass(value, int)


def make_integers(holder):
    """Let ``int(qt.Qt.LeftButton)`` work: PythonQt's enumerators are ints, only some of PySide6's are."""
    for name in dir(holder):
        found = getattr(holder, name, None)
        if _is_plain_enum(found) and not hasattr(found, "__index__"):
            found.__int__ = found.__index__ = lambda self: self.value


def _check_image_bytes(data, width, height, form):
    """PythonQt copies as many bytes as the image has, whatever it was given: rows are padded to four bytes."""
    if not isinstance(data, bytes):
        raise TypeError(f"QImage takes bytes, not {type(data).__name__}")
    needed = QtGui.QImage(width, height, form).sizeInBytes()
    if len(data) != needed:
        raise ValueError(f"QImage of {width} x {height} needs {needed} bytes (rows padded to 4), not {len(data)}")


def restrict_images():
    """QImage(bytes, width, height, format) is the only form that PythonQt has for raw pixels; it makes a copy."""
    original = QtGui.QImage.__init__

    def init(self, *arguments, **named):
        raw = bool(arguments) and not isinstance(arguments[0], str | int | QtGui.QImage | QtCore.QSize)
        if not raw:
            return original(self, *arguments, **named)
        if len(arguments) != 4 or named:
            raise TypeError("PythonQt has QImage(bytes, width, height, format) only: no bytesPerLine")
        _check_image_bytes(*arguments)
        return original(self, QtGui.QImage.copy(_view(original, *arguments)))

    QtGui.QImage.__init__ = init


def _view(original, *arguments):
    image = QtGui.QImage.__new__(QtGui.QImage)
    original(image, *arguments)
    return image


def install(module):
    """Apply to the whole ``qt`` module."""
    restrict_images()
    make_integers(QtCore.Qt)
    for value in list(vars(module).values()):
        if isinstance(value, type):
            make_integers(value)
