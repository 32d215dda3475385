"""qMRMLSegmentsTableView."""

from PySide6 import QtWidgets as W
from PySide6.QtCore import QItemSelection, QItemSelectionModel, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPixmap

from ..declared import stored
from .base import Observers, WithScene

Flag = QItemSelectionModel


class qMRMLSegmentsTableView(WithScene, W.QWidget):
    """Stands for qMRMLSegmentsTableView: one row a segment, its colour and name; the eye shows what is visible.

    As on the desktop, nothing is selected after the selected segment is removed by a script (only the editor's Remove
    button selects a neighbour first). Left out: editing in the table, filters, status, drag and drop, the menu.
    """

    mrmlSceneChanged = Signal(object)
    selectionChanged = Signal(QItemSelection, QItemSelection)
    segmentAboutToBeModified = Signal(str)
    headerVisible = stored(bool, "headerVisible", True)
    visibilityColumnVisible = stored(bool, "visibilityColumnVisible", True)
    colorColumnVisible = stored(bool, "colorColumnVisible", True)
    opacityColumnVisible = stored(bool, "opacityColumnVisible", False)
    statusColumnVisible = stored(bool, "statusColumnVisible", False)
    layerColumnVisible = stored(bool, "layerColumnVisible", False)
    filterBarVisible = stored(bool, "filterBarVisible", False)
    jumpToSelectedSegmentEnabled = stored(bool, "jumpToSelectedSegmentEnabled", False)
    textFilter = stored(str, "textFilter", "")
    selectionMode = stored(int, "selectionMode", 3, lambda self: self._set_mode())
    readOnly = stored(bool, "readOnly", False, lambda self: self._table.setEnabled(not self.readOnly))

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._hidden, self._observers = None, (), Observers()
        self._table = W.QTableWidget(0, 2, self)
        self._table.setHorizontalHeaderLabels(["", "Name"])
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setColumnWidth(0, 30)
        self._table.setSelectionBehavior(W.QAbstractItemView.SelectRows)
        self._table.setEditTriggers(W.QAbstractItemView.NoEditTriggers)
        layout = W.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.itemSelectionChanged.connect(lambda: self._selected())

    def _set_mode(self):
        self._table.setSelectionMode(W.QAbstractItemView.SelectionMode(int(self.selectionMode)))

    def _selected(self):
        """The selections are left empty: PySide6 crashes on Qt's own when rows are removed."""
        self.selectionChanged.emit(QItemSelection(), QItemSelection())

    def setSelectionMode(self, mode):
        self.selectionMode = int(mode)

    def setReadOnly(self, read_only):
        self.readOnly = read_only

    def setSegmentationNode(self, node):
        self._observers.clear()
        self._node = node
        if node:
            events = ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SegmentsOrderModified")
            for event in events:
                self._observers.add(node, getattr(node.GetSegmentation(), event), self._update)
            self._observers.add(node, node.DisplayModifiedEvent, self._update)
        self._table.setRowCount(0)
        self._update()

    def segmentationNode(self):
        return self._node

    def tableWidget(self):
        return self._table

    def _ids(self):
        ids = self._node.GetSegmentation().GetSegmentIDs() if self._node else ()
        return [segment_id for segment_id in ids if segment_id not in self._hidden]

    def _update(self):
        ids = self._ids()
        for row in reversed(range(self._table.rowCount)):
            if self.segmentIDForRow(row) not in ids:
                self._table.removeRow(row)
        shown = [self.segmentIDForRow(row) for row in range(self._table.rowCount)]
        if shown != [i for i in ids if i in shown]:
            self._table.setRowCount(0)
            shown = []
        for row, segment_id in enumerate(ids):
            if segment_id not in shown:
                self._table.insertRow(row)
                for column in (0, 1):
                    self._table.setItem(row, column, W.QTableWidgetItem())
                self._table.item(row, 1).setData(Qt.UserRole, segment_id)
            self._show(row, segment_id)

    def _show(self, row, segment_id):
        segment, display = self._node.GetSegmentation().GetSegment(segment_id), self._node.GetDisplayNode()
        visible = display is not None and display.GetVisibility() and display.GetSegmentVisibility(segment_id)
        swatch = QPixmap(14, 14)
        swatch.fill(QColor.fromRgbF(*segment.GetColor()))
        self._table.item(row, 0).setText("\N{BLACK CIRCLE}" if visible else "\N{WHITE CIRCLE}")
        self._table.item(row, 1).setIcon(QIcon(swatch))
        self._table.item(row, 1).setText(segment.GetName() or segment_id)

    def segmentIDForRow(self, row):
        return self._table.item(row, 1).data(Qt.UserRole)

    def rowForSegmentID(self, segment_id):
        rows = range(self._table.rowCount)
        return next((row for row in rows if self.segmentIDForRow(row) == segment_id), -1)

    def displayedSegmentIDs(self):
        return tuple(self.segmentIDForRow(row) for row in range(self._table.rowCount))

    def selectedSegmentIDs(self):
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return tuple(self.segmentIDForRow(row) for row in rows)

    def setSelectedSegmentIDs(self, ids):
        if tuple(ids) == self.selectedSegmentIDs():
            return
        if self._node is None and ids:
            raise ValueError("setSelectedSegmentIDs: segmentation node is not set")
        rows, flag = [row for row in map(self.rowForSegmentID, ids) if row >= 0], Flag.ClearAndSelect
        for row in rows:
            self._table.selectionModel().select(self._table.model().index(row, 1), flag | Flag.Rows)
            flag = Flag.Select
        if not rows:
            self._table.selectionModel().clearSelection()

    def clearSelection(self):
        self._table.clearSelection()

    def setHideSegments(self, ids):
        self._hidden = tuple(ids)
        self._update()

    def hideSegments(self):
        return self._hidden
