"""Q_PROPERTYs of stand-ins, declared in one line each."""

from PySide6.QtCore import Property


def stored(kind, name, default, changed=None):
    """A property that only remembers what it was given; ``changed(self)`` is called after each real change.

    Qt lists are given back as tuples, as PythonQt does.
    """
    key = "_" + name

    def read(self):
        value = getattr(self, key, default)
        return tuple(value) if isinstance(value, list | tuple) else value

    def write(self, value):
        if read(self) == (tuple(value) if isinstance(value, list | tuple) else value):
            return
        setattr(self, key, value)
        if changed is not None:
            changed(self)

    return Property(kind, read, write)


def forwarded(kind, child, name):
    """A property of a child widget, shown as one's own."""
    return Property(
        kind,
        lambda self: getattr(getattr(self, child), name),
        lambda self, value: setattr(getattr(self, child), name, value),
    )
