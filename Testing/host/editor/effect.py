"""qSlicerSegmentEditorAbstractEffect."""

import slicer
from PySide6 import QtWidgets as W
from PySide6.QtCore import Property, QObject, Qt
from PySide6.QtGui import QCursor

from ..ctk_widgets.messages import ctkMessageBox
from ..declared import stored
from .effect_views import Views
from .labelmaps import Labelmaps
from .parameters import Parameters

SETTINGS_KEY = "Segmentations/ConfirmEditHiddenSegment"


class qSlicerSegmentEditorAbstractEffect(Parameters, Labelmaps, Views, QObject):
    """Stands for qSlicerSegmentEditorAbstractEffect. Left out: the drawn default cursor (a plain arrow is given)."""

    NotConfirmed, ConfirmedWithoutDialog, ConfirmedWithDialog = range(3)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._effect_name, self._effect_title = "", ""
        self._node = self._logic = self._editor = self._confirmed_segment = None
        self._active, self._saved_cursor = False, QCursor(Qt.ArrowCursor)
        self._frame = W.QFrame()
        self._frame.setSizePolicy(W.QSizePolicy.Preferred, W.QSizePolicy.MinimumExpanding)
        layout = W.QFormLayout(self._frame)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)

    def _set_name(self, name):
        self._effect_name = name

    def _set_title(self, title):
        self._effect_title = title

    name = Property(str, lambda self: self._effect_name, _set_name)
    title = Property(str, lambda self: self._effect_title or self._effect_name, _set_title)
    perSegment = stored(bool, "perSegment", True)
    requireSegments = stored(bool, "requireSegments", True)
    showEffectCursorInSliceView = stored(bool, "showEffectCursorInSliceView", True)
    showEffectCursorInThreeDView = stored(bool, "showEffectCursorInThreeDView", False)

    # options
    def optionsFrame(self):
        return self._frame

    def optionsLayout(self):
        return self._frame.layout()

    def _adopt(self, widget):
        if isinstance(widget, W.QWidget):
            widget.setParent(self._frame)
            widget.setSizePolicy(W.QSizePolicy.Preferred, W.QSizePolicy.MinimumExpanding)

    def addOptionsWidget(self, widget):
        self._adopt(widget)
        self._frame.layout().addRow(widget)

    def addLabeledOptionsWidget(self, label, widget):
        made = W.QLabel(label)
        if isinstance(widget, W.QLayout) and not isinstance(widget, W.QHBoxLayout):
            made.setAlignment(Qt.AlignLeft | Qt.AlignTop)
        self._adopt(widget)
        self._frame.layout().addRow(made, widget)
        return made

    # activation
    def selectEffect(self, name):
        self._editor.setActiveEffectByName(name)

    def active(self):
        return self._active

    def activate(self):
        self._frame.setVisible(True)
        self._active = True
        self.updateGUIFromMRML()

    def deactivate(self):
        self._frame.setVisible(False)
        self._active = False

    def helpText(self):
        return ""

    def createCursor(self, widget):
        return QCursor(Qt.ArrowCursor)

    def cleanup(self):
        pass

    def interactionNodeModified(self, node):
        """Give way to the placing of markups."""
        if node and node.GetCurrentInteractionMode() != node.ViewTransform:
            self.selectEffect("")

    # the user's consent to editing what is hidden
    def confirmCurrentSegmentVisible(self):
        """ConfirmedWithoutDialog, ConfirmedWithDialog or NotConfirmed; a dialog comes where the segment is hidden."""
        segmentation = self._node.GetSegmentationNode() if self._node else None
        segment_id = self._node.GetSelectedSegmentID() if segmentation else ""
        if not segment_id or self._is_visible(segmentation, segment_id):
            return self.ConfirmedWithoutDialog
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        if self._confirmed_segment is segment:
            return self.ConfirmedWithoutDialog
        return self._ask_about_hidden(segmentation, segment_id, segment)

    @staticmethod
    def _is_visible(segmentation, segment_id):
        displays = [segmentation.GetNthDisplayNode(i) for i in range(segmentation.GetNumberOfDisplayNodes())]
        return any(d and d.GetVisibility() and d.GetSegmentVisibility(segment_id) for d in displays)

    def _ask_about_hidden(self, segmentation, segment_id, segment):
        box = ctkMessageBox(slicer.app.mainWindow())
        box.setWindowTitle("Edit an invisible segment?")
        box.setText("The selected segment is hidden. Show it?")
        for button in (box.Yes, box.No, box.Cancel):
            box.addButton(button)
        box.dontShowAgainSettingsKey = SETTINGS_KEY
        for role in (box.YesRole, box.NoRole):
            box.addDontShowAgainButtonRole(role)
        was_saved = int(slicer.app.settings().value(SETTINGS_KEY, -1)) != -1
        answer = box.exec_()
        if answer == box.Cancel:
            return self.NotConfirmed
        if answer == box.Yes:
            segmentation.GetDisplayNode().SetVisibility(True)
            segmentation.GetDisplayNode().SetSegmentVisibility(segment_id, True)
        else:
            self._confirmed_segment = segment
        return self.ConfirmedWithoutDialog if was_saved else self.ConfirmedWithDialog
