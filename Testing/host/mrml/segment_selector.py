"""qMRMLSegmentSelectorWidget."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, Signal

from ..declared import forwarded, stored
from .base import Observers, WithScene
from .node_selector import qMRMLNodeComboBox


class qMRMLSegmentSelectorWidget(WithScene, W.QWidget):
    """Stands for qMRMLSegmentSelectorWidget: a segmentation and one of its segments. Left out: several segments."""

    mrmlSceneChanged = Signal(object)
    currentNodeChanged = Signal((object,), (bool,))
    currentSegmentChanged = Signal(str)
    segmentSelectionChanged = Signal("QStringList")
    nodeAboutToBeEdited = Signal(object)
    noneEnabled = forwarded(bool, "_nodes", "noneEnabled")
    editEnabled = forwarded(bool, "_nodes", "editEnabled")
    selectNodeUponCreation = forwarded(bool, "_nodes", "selectNodeUponCreation")
    horizontalLayout = stored(bool, "horizontalLayout", False)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._nodes, self._segments, self._observers = qMRMLNodeComboBox(), W.QComboBox(), Observers()
        self._nodes.nodeTypes = ["vtkMRMLSegmentationNode"]
        layout = W.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._nodes)
        layout.addWidget(self._segments)
        self._nodes.currentNodeChanged[object].connect(self._changed)
        self._segments.currentIndexChanged.connect(lambda *_: self._emit_segment())

    segmentationNodeSelectorVisible = Property(
        bool, lambda self: not self._nodes.isHidden(), lambda self, value: self._nodes.setVisible(value)
    )

    def setMRMLScene(self, scene):
        super().setMRMLScene(scene)
        self._nodes.setMRMLScene(scene)

    def _changed(self, node):
        self._observers.clear()
        if node:
            for event in ("SegmentAdded", "SegmentRemoved", "SegmentModified"):
                self._observers.add(node, getattr(node.GetSegmentation(), event), self._populate)
        self._populate()
        self.currentNodeChanged[object].emit(node)
        self.currentNodeChanged[bool].emit(node is not None)

    def _populate(self):
        before = self.currentSegmentID()
        blocked = self._segments.blockSignals(True)
        self._segments.clear()
        if self.noneEnabled:
            self._segments.addItem("Select a segment…", "")
        for segment_id in self.segmentIDs():
            segment = self.currentNode().GetSegmentation().GetSegment(segment_id)
            self._segments.addItem(segment.GetName() or segment_id, segment_id)
        self._segments.setCurrentIndex(max(self._segments.findData(before), 0 if self._segments.count else -1))
        self._segments.blockSignals(blocked)
        if self.currentSegmentID() != before:
            self._emit_segment()

    def _emit_segment(self):
        self.currentSegmentChanged.emit(self.currentSegmentID())

    def currentNode(self):
        return self._nodes.currentNode()

    def currentNodeID(self):
        return self._nodes.currentNodeID

    def setCurrentNode(self, node):
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id):
        self._nodes.setCurrentNodeID(node_id)

    def currentSegmentID(self):
        return self._segments.itemData(self._segments.currentIndex) or ""

    def setCurrentSegmentID(self, segment_id):
        self._segments.setCurrentIndex(self._segments.findData(segment_id))

    def segmentIDs(self):
        node = self.currentNode()
        return tuple(node.GetSegmentation().GetSegmentIDs()) if node else ()
