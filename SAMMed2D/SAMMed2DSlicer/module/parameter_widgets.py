"""The selectors of the prompt panel, connected to its parameter node."""

from __future__ import annotations

from functools import partial
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.scene import segmentations, volumes
from SAMMed2DSlicer.widgets import combo_boxes
from SAMMed2DSlicer.widgets.icons import color_icon


class ParameterWidgets:
    """Copies values between widgets and parameters.

    Attributes:
        parameters: that are shown; None while the module is not.
        node_selectors: the selector of each node, by the name of its parameter.
    """

    def __init__(self, ui: Any) -> None:
        """Connect the widgets.

        Args:
            ui: the named widgets of SAMMed2D.ui.
        """
        self.parameters: Parameters | None = None
        self._ui = ui
        self._is_showing = False
        self.node_selectors = {
            "volume": ui.volumeSelector,
            "segmentation": ui.segmentationSelector,
            "positive": ui.positiveSelector,
            "negative": ui.negativeSelector,
            "box": ui.boxSelector,
            "inside_curve": ui.insideCurveSelector,
            "outside_curve": ui.outsideCurveSelector,
        }
        self._lists = {
            "intensity": (ui.intensitySelector, combo_boxes.intensity_names()),
            "zoom": (ui.zoomSelector, combo_boxes.zoom_names()),
            "overwrite": (ui.overwriteSelector, combo_boxes.overwrite_names()),
            "candidate": (ui.candidateSelector, combo_boxes.candidate_names()),
        }
        ui.correctCheckBox.connect("clicked(bool)", self._correct_chosen)
        for name, selector in self.node_selectors.items():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", partial(self._node_chosen, name))
        boxes = {name: box for name, (box, _names) in self._lists.items()}
        for name, box in {**boxes, "view": ui.viewSelector, "segment_id": ui.segmentSelector}.items():
            box.connect("activated(int)", partial(self._item_chosen, name, box))

    def show(self, parameters: Parameters) -> None:
        """Show the parameters; selects the first segment or view if the chosen one does not exist."""
        self._is_showing = True
        try:
            for name, selector in self.node_selectors.items():
                if selector.currentNode() is not getattr(parameters, name):
                    selector.setCurrentNode(getattr(parameters, name))
            for name, (box, names) in self._lists.items():
                combo_boxes.fill(box, names, getattr(parameters, name))
            self._ui.correctCheckBox.checked = parameters.is_correction
            self._show_segments(parameters)
            self._show_views(parameters)
        finally:
            self._is_showing = False

    def _show_segments(self, parameters: Parameters) -> None:
        box = self._ui.segmentSelector
        names = segmentations.segment_names(parameters.segmentation)
        if parameters.segmentation is not None and parameters.segment_id not in names:
            parameters.segment_id = next(iter(names), "")
        combo_boxes.fill(box, names, parameters.segment_id)
        for number, segment_id in enumerate(names):
            box.setItemIcon(number, color_icon(segmentations.segment_color(parameters.segmentation, segment_id)))
        self._ui.addSegmentButton.enabled = parameters.segmentation is not None

    def _show_views(self, parameters: Parameters) -> None:
        nodes = slice_prompts.views_shown()
        names = {node.GetLayoutName(): node.GetLayoutName() for node in nodes}
        if nodes and parameters.view not in names:
            parameters.view = next(iter(names))
        box = self._ui.viewSelector
        combo_boxes.fill(box, names, parameters.view)
        for number, node in enumerate(nodes):
            box.setItemIcon(number, color_icon(node.GetLayoutColor()))
        try:
            volume = parameters.volume
            text = "" if volume is None else volumes.slice_name(parameters.plane(), volume)
        except ValueError:
            text = _("outside")
        self._ui.sliceLabel.text = text

    def _node_chosen(self, name: str, node: Any) -> None:
        if self.parameters is not None and not self._is_showing:
            setattr(self.parameters, name, node)

    def _correct_chosen(self, is_on: bool) -> None:
        if self.parameters is not None and not self._is_showing:
            self.parameters.correct = "yes" if is_on else "no"

    def _item_chosen(self, name: str, box: Any, index: int) -> None:
        if self.parameters is not None and not self._is_showing:
            setattr(self.parameters, name, combo_boxes.current_value(box))
