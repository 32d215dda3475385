"""qMRMLNodeComboBox and qMRMLCheckableNodeComboBox."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Qt, Signal

from ..declared import forwarded, stored
from .base import Observers, WithScene


def _refresh(self):
    self._refresh()


class qMRMLNodeComboBox(WithScene, W.QWidget):
    """Stands for qMRMLNodeComboBox. Left out: the menu (create, rename, delete by mouse), the proxy model, icons.

    As on the desktop, the first fitting node is selected when the scene is set and None is not offered; a node that is
    added later is not. When the current node is about to be removed, Qt's rule holds: below the first row, the next one
    is selected. (Where there is no next one, the desktop's list goes on with actions; here nothing is selected.)
    """

    mrmlSceneChanged = Signal(object)
    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)
    currentNodeRenamed = Signal(str)

    nodeTypes = stored("QStringList", "nodeTypes", (), _refresh)
    hideChildNodeTypes = stored("QStringList", "hideChildNodeTypes", (), _refresh)
    showHidden = stored(bool, "showHidden", False, _refresh)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True, _refresh)
    noneEnabled = stored(bool, "noneEnabled", False, _refresh)
    noneDisplay = stored(str, "noneDisplay", "None", _refresh)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    interactionNodeSingletonTag = stored(str, "interactionNodeSingletonTag", "Singleton")
    baseName = stored(str, "baseName", "")
    sizeAdjustPolicy = forwarded(int, "_box", "sizeAdjustPolicy")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box, self._current, self._filters = W.QComboBox(self), None, []
        self._observers = Observers()
        self._box.setSizeAdjustPolicy(W.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._box.setMinimumContentsLength(8)
        layout = W.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.activated.connect(self._activated)

    def _activated(self, index):
        self.setCurrentNodeID(self._box.itemData(index))
        self.nodeActivated.emit(self._current)

    def addAttribute(self, node_type, name, value=None):
        self._filters.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type, name):
        self._filters = [f for f in self._filters if f[:2] != (node_type, name)]
        self._refresh()

    def setMRMLScene(self, scene):
        self._observers.clear()
        if scene:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
                self._observers.add(scene, event, self._refresh)
            self._observers.add_with_node(scene, scene.NodeAboutToBeRemovedEvent, self._leave)
        super().setMRMLScene(scene)
        self._refresh(first=True)

    def _accepts(self, node):
        return self._filter()(node)

    def _filter(self):
        """A function that tells whether a node is offered; it reads no property: scenes have many nodes, and events."""
        types, hidden_types = self.nodeTypes, self.hideChildNodeTypes
        with_children, with_hidden, has_attributes = self.showChildNodeTypes, self.showHidden, self._has_attributes

        def accepts(node):
            if not with_hidden and node.GetHideFromEditors():
                return False
            for node_type in types:
                if node.IsA(node_type) if with_children else node.GetClassName() == node_type:
                    return not any(node.IsA(t) for t in hidden_types) and has_attributes(node, node_type)
            return False

        return accepts

    def _has_attributes(self, node, node_type):
        wanted = [(name, value) for kind, name, value in self._filters if kind == node_type]
        values = [(node.GetAttribute(name), value) for name, value in wanted]
        return all(has is not None if value is None else has == str(value) for has, value in values)

    def _nodes(self):
        if not self._scene:
            return []
        return list(filter(self._filter(), map(self._scene.GetNthNode, range(self._scene.GetNumberOfNodes()))))

    def _refresh(self, first=False):
        nodes = self._nodes()
        current = self._current if self._current in nodes else None
        if first and current is None and nodes and not self.noneEnabled:
            current = nodes[0]
        blocked = self._box.blockSignals(True)
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for node in nodes:
            self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(self._box.findData(current.GetID() if current else ""))
        self._box.blockSignals(blocked)
        self._select(current)

    def _leave(self, node):
        if node is not self._current or self._scene.IsClosing():
            return
        nodes = self._nodes()
        row, following = self._box.currentIndex, nodes.index(node) + 1
        self.nodeAboutToBeRemoved.emit(node)
        self._select(nodes[following] if row > 0 and following < len(nodes) else None)

    def _select(self, node):
        if node is self._current:
            return
        self._current = node
        self._box.setCurrentIndex(self._box.findData(node.GetID() if node else ""))
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)
        self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def currentNode(self):
        return self._current

    def setCurrentNode(self, node):
        node = self._scene.GetNodeByID(node) if isinstance(node, str) else node
        self._select(node if node is not None and self._accepts(node) else None)

    def setCurrentNodeID(self, node_id):
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if self._scene and node_id else None)

    def setCurrentNodeIndex(self, index):
        self._select(self.nodeFromIndex(index))

    currentNodeID = Property(str, lambda self: self._current.GetID() if self._current else "", setCurrentNodeID)

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addNode(self, node_type=""):
        node = self._scene.AddNewNodeByClass(node_type or self.nodeTypes[0], self.baseName)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def removeCurrentNode(self):
        if self._current is not None:
            self.nodeAboutToBeRemoved.emit(self._current)
            self._scene.RemoveNode(self._current)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Stands for qMRMLCheckableNodeComboBox. Left out: check boxes in the list."""

    checkedNodesChanged = Signal()

    def __init__(self, parent=None):
        super().__init__(parent)
        self._checked = []

    def checkedNodes(self):
        return [node for node in self._nodes() if node in self._checked]

    def uncheckedNodes(self):
        return [node for node in self._nodes() if node not in self._checked]

    def allChecked(self):
        return not self.uncheckedNodes()

    def noneChecked(self):
        return not self.checkedNodes()

    def checkState(self, node):
        return Qt.Checked if node in self._checked else Qt.Unchecked

    def setCheckState(self, node, state):
        if (state == Qt.Checked) != (node in self._checked):
            (self._checked.append if state == Qt.Checked else self._checked.remove)(node)
            self.checkedNodesChanged.emit()

    def check(self, node):
        self.setCheckState(node, Qt.Checked)

    def uncheck(self, node):
        self.setCheckState(node, Qt.Unchecked)
