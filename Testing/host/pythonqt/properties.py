"""Q_PROPERTYs as Python attributes.

PySide6's own ``true_property`` is not used: it removes the setters, and works for one importing module at a time.
"""

from PySide6 import QtCore

# Virtual methods that are Q_PROPERTY readers too: PythonQt makes them properties, but a Python property under a virtual
# method's name is what Shiboken would find when Qt calls the virtual. These stay methods.
VIRTUAL_READERS = {"sizeHint", "minimumSizeHint"}


class QtProperty(property):
    """A Q_PROPERTY on instances; on the class, what PySide6 had under that name (``QTimer.singleShot(0, f)``)."""

    shadowed = None

    def __get__(self, instance, owner=None):
        if instance is None:
            return self if self.shadowed is None else self.shadowed.__get__(None, owner)
        return super().__get__(instance, owner)


def accessors(cls, name):
    """The methods of a class that read and write a Q_PROPERTY, or None for each that Qt does not name by the rule."""
    own, capital = cls.__dict__, name[0].upper() + name[1:]
    readers = [own.get(reader) for reader in (name, "is" + capital, "has" + capital)]
    setter = own.get("set" + capital)
    return next(filter(callable, readers), None), setter if callable(setter) else None


def _getter(read, name):
    def get(self):
        if read is None:
            value = QtCore.QObject.property(self, name)
        else:
            value = read.__get__(None, type(self))() if isinstance(read, staticmethod) else read(self)
        return tuple(value) if isinstance(value, list) else value  # PythonQt gives a QStringList as a tuple

    return get


def _setter(write, name):
    def set_(self, value):
        if write is not None:
            write(self, value)
        elif not QtCore.QObject.setProperty(self, name, value):
            raise TypeError(f"cannot set property {name} of {self.metaObject().className()} to {value!r}")

    return set_


def patch_properties(cls):
    """Give a QObject class the properties of its own meta-object."""
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        prop = meta.property(index)
        name, known = prop.name(), (property, QtCore.Property, QtCore.Signal)
        if name in VIRTUAL_READERS or isinstance(cls.__dict__.get(name), known):
            continue
        read, write = accessors(cls, name)
        descriptor = QtProperty(_getter(read, name), _setter(write, name) if prop.isWritable() else None)
        descriptor.shadowed = cls.__dict__.get(name)
        setattr(cls, name, descriptor)
