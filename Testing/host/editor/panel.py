"""How the segment editor widget looks: the parts of qMRMLSegmentEditorWidget.ui under their own names."""

from PySide6 import QtWidgets as W

from ..ctk_widgets.buttons import ctkCheckBox, ctkCollapsibleGroupBox
from ..ctk_widgets.ranges import ctkRangeWidget
from ..ctk_widgets.texts import ctkFittedTextBrowser
from ..mrml.node_selector import qMRMLNodeComboBox
from ..mrml.segments_table import qMRMLSegmentsTableView


class Panel:
    """Makes the widgets; mixed into qMRMLSegmentEditorWidget. Left out: drop-down menus, the geometry dialog."""

    def _build(self):
        self._segmentation_box, self._source_box = self._make_selectors()
        self._effects_box, self._effect_group = W.QFrame(), W.QButtonGroup(self)
        self._effects_box.setObjectName("EffectsGroupBox")
        W.QGridLayout(self._effects_box).setContentsMargins(0, 0, 0, 0)
        self._effect_group.setExclusive(True)
        self._undo_button, self._redo_button = W.QToolButton(), W.QToolButton()
        self._options_box, self._help, self._options = self._make_options()
        self._masking_box = self._make_masking()
        self._table = qMRMLSegmentsTableView()
        self._table.setObjectName("SegmentsTableView")
        self._table.setMinimumHeight(110)
        self._table.setSelectionMode(W.QAbstractItemView.SingleSelection)
        self._arrange()

    def _make_selectors(self):
        segmentation, source = qMRMLNodeComboBox(), qMRMLNodeComboBox()
        segmentation.setObjectName("SegmentationNodeComboBox")
        segmentation.nodeTypes = ["vtkMRMLSegmentationNode"]
        source.setObjectName("SourceVolumeNodeComboBox")
        source.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        source.hideChildNodeTypes = ["vtkMRMLSegmentationNode"]
        source.noneEnabled, source.addEnabled = True, False
        source.noneDisplay = "None: choose one to edit"
        return segmentation, source

    def _make_options(self):
        box, browser, frame = W.QGroupBox(), ctkFittedTextBrowser(), W.QFrame()
        box.setObjectName("OptionsGroupBox")
        browser.setObjectName("EffectHelpBrowser")
        frame.setObjectName("EffectsOptionsFrame")
        frame_layout = W.QVBoxLayout(frame)
        frame_layout.setContentsMargins(0, 0, 0, 0)
        frame_layout.setSpacing(0)
        layout = W.QVBoxLayout(box)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(browser)
        layout.addWidget(frame)
        return box, browser, frame

    def _make_masking(self):
        box = ctkCollapsibleGroupBox("Masking")
        box.setObjectName("MaskingGroupBox")
        self._mask_mode, self._overwrite = W.QComboBox(), W.QComboBox()
        self._mask_mode.setObjectName("MaskModeComboBox")
        self._overwrite.setObjectName("OverwriteModeComboBox")
        for combo in (self._mask_mode, self._overwrite):
            combo.setSizeAdjustPolicy(W.QComboBox.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(6)
        self._intensity, self._intensity_range = ctkCheckBox(), ctkRangeWidget()
        self._intensity.setObjectName("SourceVolumeIntensityMaskCheckBox")
        row = W.QHBoxLayout()
        row.addWidget(self._intensity)
        row.addWidget(self._intensity_range, 1)
        form = W.QFormLayout(box)
        form.setRowWrapPolicy(W.QFormLayout.DontWrapRows)
        form.setContentsMargins(4, 4, 4, 4)
        form.addRow("Editable area:", self._mask_mode)
        form.addRow("Editable intensity range:", row)
        form.addRow("Modify other segments:", self._overwrite)
        return box

    def _make_actions(self):
        self._add_button, self._remove_button = W.QPushButton("Add"), W.QPushButton("Remove")
        self._show_3d_button = W.QPushButton("Show 3D")
        self._rotate_button = W.QToolButton()
        self._rotate_button.setText("Slice rotated")
        actions = W.QHBoxLayout()
        for name, button in (
            ("AddSegmentButton", self._add_button),
            ("RemoveSegmentButton", self._remove_button),
            ("Show3DButton", self._show_3d_button),
            ("SliceRotateWarningButton", self._rotate_button),
        ):
            button.setObjectName(name)
            actions.addWidget(button)
        actions.addStretch(1)
        self._show_3d_button.setCheckable(True)
        return actions

    def _make_tools(self):
        """The column of effects, with undo and redo below."""
        history = W.QHBoxLayout()
        for name, button in (("Undo", self._undo_button), ("Redo", self._redo_button)):
            button.setObjectName(name + "Button")
            button.setText(name)
            history.addWidget(button)
        tools = W.QVBoxLayout()
        tools.addWidget(self._effects_box)
        self._undo_box = W.QFrame()
        self._undo_box.setLayout(history)
        history.setContentsMargins(0, 0, 0, 0)
        tools.addWidget(self._undo_box)
        tools.addStretch(1)
        return tools

    def _arrange(self):
        selectors, body, right = W.QFormLayout(), W.QHBoxLayout(), W.QVBoxLayout()
        selectors.addRow("Segmentation:", self._segmentation_box)
        selectors.addRow("Source volume:", self._source_box)
        for widget in (self._table, self._options_box, self._masking_box):
            right.addWidget(widget)
        right.addStretch(1)
        body.addLayout(self._make_tools())
        body.addLayout(right, 1)
        whole = W.QVBoxLayout(self)
        whole.setContentsMargins(4, 4, 4, 4)
        whole.addLayout(selectors)
        whole.addLayout(self._make_actions())
        whole.addLayout(body)
