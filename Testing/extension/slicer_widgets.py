"""What the widgets of Slicer and CTK are called, and what of them a .ui file can set.

Facts from the headers of Slicer and CTK of August 2026: base class, the Q_PROPERTYs of the class itself that can be
written and are not deprecated, and some signals and slots. What is missing here is refused: look into the header, then
add it. The classes cannot be asked as Qt's can, because no package holds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# The parameter node wrapper of Slicer finds widgets by this property, which no class declares.
DYNAMIC_PROPERTIES = {"SlicerParameterName"}


@dataclass(frozen=True)
class CustomWidget:
    """A widget class that Qt does not know.

    Attributes:
        base: the class that it derives from, of Qt or of this table.
        properties: separated by spaces.
    """

    base: str
    properties: str = ""


CUSTOM_WIDGETS = {
    "ctkCheckableComboBox": CustomWidget("QComboBox"),
    "ctkCheckBox": CustomWidget("QCheckBox", "indicatorIcon indicatorIconSize"),
    "ctkCollapsibleButton": CustomWidget(
        "QAbstractButton",
        "buttonTextAlignment collapsed collapsedHeight contentsFrameShadow contentsFrameShape contentsLineWidth "
        "contentsMidLineWidth flat indicatorAlignment",
    ),
    "ctkCollapsibleGroupBox": CustomWidget("QGroupBox", "collapsed collapsedHeight"),
    "ctkColorPickerButton": CustomWidget("QPushButton", "color colorName dialogOptions displayColorName"),
    "ctkComboBox": CustomWidget(
        "QComboBox",
        "currentUserDataAsString defaultIcon defaultText elideMode forceDefault scrollWheelEffect",
    ),
    "ctkDirectoryButton": CustomWidget("QWidget", "acceptMode caption directory elideMode icon options text"),
    "ctkDoubleSpinBox": CustomWidget(
        "QWidget",
        "alignment decimals decimalsOption frame invertedControls maximum minimum prefix readOnly setMode "
        "singleStep sizeHintPolicy suffix value",
    ),
    "ctkExpandableWidget": CustomWidget("QFrame", "orientations sizeGripInside sizeGripMargins"),
    "ctkExpandButton": CustomWidget("QToolButton", "mirrorOnExpand orientation"),
    "ctkFittedTextBrowser": CustomWidget(
        "QTextBrowser",
        "collapsed disableMouseScroll hideDetailsText showDetailsText",
    ),
    "ctkMenuButton": CustomWidget("QPushButton"),
    "ctkPathLineEdit": CustomWidget(
        "QWidget",
        "currentPath filters label minimumContentsLength nameFilters options settingKey showBrowseButton "
        "showHistoryButton sizeAdjustPolicy",
    ),
    "ctkPushButton": CustomWidget("QPushButton", "buttonTextAlignment elideMode iconAlignment"),
    "ctkRangeWidget": CustomWidget(
        "QWidget",
        "autoSpinBoxWidth decimals maximum maximumValue minimum minimumValue prefix singleStep spinBoxAlignment "
        "spinBoxTextAlignment suffix symmetricMoves tickInterval tracking",
    ),
    "ctkSliderWidget": CustomWidget(
        "QWidget",
        "decimals invertedAppearance invertedControls maximum minimum pageStep popupSlider prefix singleStep "
        "spinBoxAlignment spinBoxVisible suffix synchronizeSiblings tickInterval tickPosition tracking value",
    ),
    "qMRMLCheckableNodeComboBox": CustomWidget("qMRMLNodeComboBox"),
    "qMRMLNodeComboBox": CustomWidget(
        "QWidget",
        "addEnabled baseName currentNodeID editEnabled hideChildNodeTypes interactionNodeSingletonTag nodeTypes "
        "noneDisplay noneEnabled removeEnabled renameEnabled selectNodeUponCreation showChildNodeTypes showHidden "
        "sizeAdjustPolicy",
    ),
    "qMRMLRangeWidget": CustomWidget("ctkRangeWidget", "maximumHandlePalette minimumHandlePalette quantity"),
    "qMRMLSegmentEditorWidget": CustomWidget(
        "qMRMLWidget",
        "addRemoveSegmentButtonsVisible autoShowSourceVolumeNode defaultTerminologyEntry "
        "defaultTerminologyEntrySettingsKey effectButtonStyle effectColumnCount jumpToSelectedSegmentEnabled "
        "maskingSectionVisible maximumNumberOfUndoStates readOnly segmentationNodeSelectorVisible "
        "show3DButtonVisible sourceVolumeNodeSelectorVisible specifyGeometryButtonVisible "
        "switchToSegmentationsButtonVisible undoEnabled unorderedEffectsVisible",
    ),
    "qMRMLSegmentSelectorWidget": CustomWidget(
        "qMRMLWidget",
        "editEnabled horizontalLayout multiSelection noneEnabled segmentationNodeSelectorVisible "
        "selectNodeUponCreation",
    ),
    "qMRMLSegmentsTableView": CustomWidget(
        "qMRMLWidget",
        "colorColumnVisible filterBarVisible headerVisible jumpToSelectedSegmentEnabled layerColumnVisible "
        "opacityColumnVisible readOnly selectionMode statusColumnVisible terminologySelectorAutoDisable "
        "terminologySelectorOptionVisible textFilter useTerminologySelector useTerminologySelectorSettingsKey "
        "visibilityColumnVisible",
    ),
    "qMRMLSliderWidget": CustomWidget("ctkSliderWidget", "orientation quantity unitAwareProperties"),
    "qMRMLSpinBox": CustomWidget("ctkDoubleSpinBox", "quantity unitAwareProperties"),
    "qMRMLSubjectHierarchyComboBox": CustomWidget(
        "ctkComboBox",
        "alignPopupVertically attributeNameFilter attributeValueFilter excludeItemAttributeNamesFilter "
        "excludeNodeAttributeNamesFilter highlightReferencedItems includeItemAttributeNamesFilter "
        "includeNodeAttributeNamesFilter maximumNumberOfShownItems nodeTypes noneDisplay noneEnabled "
        "showCurrentItemParents showEmptyHierarchyItems showRootItem",
    ),
    "qMRMLSubjectHierarchyTreeView": CustomWidget(
        "QTreeView",
        "addNodeMenuActionVisible attributeNameFilter attributeValueFilter colorColumnVisible contextMenuEnabled "
        "descriptionColumnVisible editMenuActionVisible excludeItemAttributeNamesFilter "
        "excludeNodeAttributeNamesFilter hideChildNodeTypes highlightReferencedItems idColumnVisible "
        "includeItemAttributeNamesFilter includeNodeAttributeNamesFilter levelFilter multiSelection nameFilter "
        "nodeTypes noneDisplay noneEnabled pluginAllowList pluginBlockList selectRoleSubMenuVisible showRootItem "
        "transformColumnVisible useTerminologySelector visibilityColumnVisible",
    ),
    "qMRMLVolumeWidget": CustomWidget("QWidget"),
    "qMRMLWidget": CustomWidget("QWidget"),
    "qMRMLWindowLevelWidget": CustomWidget(
        "qMRMLVolumeWidget",
        "autoWindowLevel level maximumBound maximumValue minimumBound minimumValue window",
    ),
    "qSlicerMarkupsPlaceWidget": CustomWidget(
        "qSlicerWidget",
        "buttonsVisible currentNodeActive defaultNodeColor deleteAllControlPointsOptionVisible "
        "deleteAllMarkupsOptionVisible nodeColor placeModeEnabled placeModePersistency placeMultipleMarkups "
        "unsetAllControlPointsOptionVisible unsetLastControlPointOptionVisible",
    ),
    "qSlicerSimpleMarkupsWidget": CustomWidget(
        "qSlicerWidget",
        "defaultNodeColor enterPlaceModeOnNodeChange jumpToSliceEnabled nodeColor nodeSelectorVisible "
        "optionsVisible positionStatusColumnVisible viewGroup",
    ),
    "qSlicerWidget": CustomWidget("QWidget"),
}

_SCENE = ("mrmlSceneChanged(vtkMRMLScene*)", "setMRMLScene(vtkMRMLScene*)")
SIGNALS_AND_SLOTS = {
    "ctkCollapsibleButton": ("contentsCollapsed(bool)",),
    "ctkDoubleSpinBox": ("valueChanged(double)", "setValue(double)"),
    "ctkPathLineEdit": ("currentPathChanged(QString)",),
    "ctkSliderWidget": ("valueChanged(double)", "setValue(double)"),
    "qMRMLNodeComboBox": (
        "setMRMLScene(vtkMRMLScene*)",
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
    ),
    "qMRMLSubjectHierarchyComboBox": ("setMRMLScene(vtkMRMLScene*)",),
    "qMRMLSubjectHierarchyTreeView": ("setMRMLScene(vtkMRMLScene*)",),
    "qMRMLVolumeWidget": ("setMRMLVolumeNode(vtkMRMLNode*)",),
    "qMRMLWidget": _SCENE,
    "qSlicerWidget": _SCENE,
}


def lineage(name: str) -> Iterator[str]:
    """A class of the table, its bases in the table, and last its base in Qt; only the name itself for others."""
    yield name
    while name in CUSTOM_WIDGETS:
        name = CUSTOM_WIDGETS[name].base
        yield name
