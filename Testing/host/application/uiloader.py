"""qt.QUiLoader: knows the stand-ins, and is strict."""

import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

from PySide6 import QtCore, QtUiTools, QtWidgets


class UiFileError(ValueError):
    """The .ui file names a class, a widget or a property that does not exist; Qt would go on without it."""


class QUiLoader(QtUiTools.QUiLoader):
    """Makes stand-ins by name, refuses unknown classes and properties, and makes connections with VTK types itself."""

    stand_ins = {}  # noqa: RUF012  filled when the host starts

    def createWidget(self, class_name, parent=None, name=""):
        if class_name in self.stand_ins:
            widget = self.stand_ins[class_name](parent)
            widget.setObjectName(name)
            return widget
        widget = super().createWidget(class_name, parent, name) if class_name.startswith("Q") else None
        if widget is None:
            raise UiFileError(f"the .ui file names {class_name}, for which there is no stand-in")
        return widget

    def load(self, device, parent=None):
        data = bytes(device.readAll()) if hasattr(device, "readAll") else Path(device).read_bytes()
        root = ET.fromstring(data)
        self._check(root)
        ours = _take_vtk_connections(root)
        buffer = QtCore.QBuffer()
        buffer.setData(ET.tostring(root))
        buffer.open(QtCore.QIODevice.ReadOnly)
        widget = super().load(buffer, parent)
        if widget is None:
            raise UiFileError(self.errorString())
        _connect(widget, ours)
        return widget

    def _check(self, root):
        """Every class and every property must exist: Qt itself ignores a property that it does not know."""
        for element in root.iter("widget"):
            name = element.get("class")
            cls = self.stand_ins.get(name) or getattr(QtWidgets, name, None)
            if cls is None:
                raise UiFileError(f"the .ui file names {name}, for which there is no stand-in")
            known = _property_names(cls)
            for prop in element.findall("property"):
                if prop.get("name") not in known and prop.get("stdset") != "0":
                    raise UiFileError(f"{name} has no property {prop.get('name')} ({element.get('name')})")


@cache
def _property_names(cls):
    """The properties of a class of widgets; read once, since PySide may lose a class's meta object later."""
    meta = cls.staticMetaObject
    return {meta.property(i).name() for i in range(meta.propertyCount())}


def _take_vtk_connections(root):
    """Remove and return connections with VTK types, which PySide6's loader cannot make."""
    taken = []
    for connections in root.iter("connections"):
        for connection in list(connections):
            if "vtk" in connection.findtext("signal"):
                connections.remove(connection)
                taken.append([connection.findtext(tag) for tag in ("sender", "signal", "receiver", "slot")])
    return taken


def _connect(widget, connections):
    children = {w.objectName: w for w in [widget, *widget.findChildren(QtCore.QObject)]}
    for sender, signal, receiver, slot in connections:
        for name in (sender, receiver):
            if name not in children:
                raise UiFileError(f"a connection names {name}, which is not in the .ui file")
        children[sender].connect(signal, getattr(children[receiver], slot.split("(")[0]))
