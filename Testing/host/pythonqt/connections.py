"""PythonQt's connect and disconnect: signals by C++ signature, callables with the arguments that they take."""

import re
import sys
import types

import shiboken6
from PySide6 import QtCore

CO_VARARGS = 0x04
# (address, class) of the sender -> [(signature, callable, adaptor)]; addresses are used again.
_connections = {}


def positional_parameters(callback):
    """How many arguments PythonQt passes: all (None) unless it is a function or a method with a fixed number."""
    function = callback.__func__ if isinstance(callback, types.MethodType) else callback
    if not isinstance(function, types.FunctionType) or function.__code__.co_flags & CO_VARARGS:
        return None
    return function.__code__.co_argcount - isinstance(callback, types.MethodType)


def signal_of(sender, signature):
    """The normalized signature and PySide6's bound signal.

    Raises:
        ValueError: the class has no such signal (the desktop only prints that).
    """
    if "(" not in signature:
        raise ValueError(f"a Qt signal's signature has brackets: {signature!r}")
    normalized = bytes(QtCore.QMetaObject.normalizedSignature(signature.strip())).decode()
    normalized = re.sub(r"(vtk|q)\w+\*", _carrier(sender), normalized)
    if sender.metaObject().indexOfSignal(normalized) < 0:
        raise ValueError(f"{sender.metaObject().className()} has no signal {normalized}")
    name, arguments = normalized.rstrip(")").split("(", 1)
    bound = getattr(sender, name)
    try:
        return normalized, bound[arguments]
    except (IndexError, KeyError, TypeError):
        return normalized, bound


def _carrier(sender):
    """Signals of the stand-ins carry VTK objects and widgets as Python objects; Qt's own keep their C++ types."""
    return (lambda match: "PyObject") if type(sender).__module__.startswith("host.") else (lambda match: match[0])


def _key(sender):
    return shiboken6.getCppPointer(sender)[0], type(sender)


def _of(sender):
    key = _key(sender)
    if key not in _connections:
        _connections[key] = []
        QtCore.QObject.destroyed.__get__(sender).connect(lambda *_: _connections.pop(key, None))
    return _connections[key]


def connect(sender, signature, receiver, slot=None):
    """``sender.connect("signal(type)", callable)`` or ``(…, receiver, "slot()")``."""
    normalized, bound = signal_of(sender, signature)
    callback = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    if not callable(callback):
        raise TypeError(f"cannot connect {normalized} to {callback!r}: not callable")
    limit = positional_parameters(callback)

    def adaptor(*arguments):
        try:
            return callback(*(arguments if limit is None else arguments[:limit]))
        except Exception:
            sys.excepthook(*sys.exc_info())

    bound.connect(adaptor)
    _of(sender).append((normalized, callback, adaptor))
    return True


def disconnect(sender, signature, receiver, slot=None):
    """Undo one connect; False where there was none."""
    normalized, bound = signal_of(sender, signature)
    callback = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    entries = _of(sender)
    for entry in entries:
        if entry[0] == normalized and entry[1] == callback:
            bound.disconnect(entry[2])
            entries.remove(entry)
            return True
    return False


def forget(widget):
    """Undo every connection of a widget and what is in it, as its destruction does.

    PySide6 6.8 cannot bear the destruction itself: with a widget go the wrappers of the meta objects that it was asked
    for, those of its class too.
    """
    for sender in (widget, *widget.findChildren(QtCore.QObject)):
        for normalized, _callback, adaptor in _connections.pop(_key(sender), ()):
            signal_of(sender, normalized)[1].disconnect(adaptor)


def install():
    """Put both on every QObject.

    Shiboken's own getattro answers "connect" before the type's dictionary is looked at, and SignalInstance.connect()
    comes through it too (with a sender or a "2signal()" as its first argument): hence __getattribute__.
    """
    Q, ours = QtCore.QObject, {"connect": connect, "disconnect": disconnect}
    original = Q.__getattribute__

    def getattribute(self, name):
        if name not in ours:
            return original(self, name)

        def call(*args, **kwargs):
            if args and isinstance(args[0], str) and not args[0].startswith("2"):
                return ours[name](self, *args)
            return original(self, name)(*args, **kwargs)

        return call

    Q.__getattribute__ = getattribute
