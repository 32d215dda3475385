"""Placing the panel's prompts: styles of new markups nodes, and the place mode for points and boxes."""

from __future__ import annotations

from functools import partial
from typing import Any

import qt
import slicer

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR
from SAMMed2DSlicer import resources
from SAMMed2DSlicer.module.parameter_widgets import ParameterWidgets

# Names of parameters.
_POSITIVE, _NEGATIVE, _BOX, _INSIDE, _OUTSIDE = "positive", "negative", "box", "inside_curve", "outside_curve"
_COLORS = {
    _POSITIVE: POSITIVE_COLOR,
    _NEGATIVE: NEGATIVE_COLOR,
    _BOX: BOX_COLOR,
    _INSIDE: POSITIVE_COLOR,
    _OUTSIDE: NEGATIVE_COLOR,
}


class PromptPlacement:
    """The buttons beside the selectors of prompts."""

    def __init__(self, ui: Any, inputs: ParameterWidgets) -> None:
        """Connect the widgets.

        Args:
            ui: the named widgets of SAMMed2D.ui.
            inputs: has the selectors, and the parameters that are shown.
        """
        self._inputs = inputs
        for role, button, icon in (
            (_POSITIVE, ui.placePositiveButton, "PositivePoint"),
            (_NEGATIVE, ui.placeNegativeButton, "NegativePoint"),
            (_BOX, ui.placeBoxButton, "Box"),
            (_INSIDE, ui.placeInsideCurveButton, "Scribble"),
            (_OUTSIDE, ui.placeOutsideCurveButton, "Scribble"),
        ):
            button.icon = qt.QIcon(resources.icon_path(icon))
            button.connect("clicked()", partial(self._place, role))
            inputs.node_selectors[role].connect("nodeAddedByUser(vtkMRMLNode*)", partial(_style, role=role))

    def _place(self, role: str) -> None:
        parameters = self._inputs.parameters
        if parameters is None:
            return
        if getattr(parameters, role) is None:
            selector = self._inputs.node_selectors[role]
            setattr(parameters, role, selector.addNode(selector.nodeTypes[0]))
        _start_placing(getattr(parameters, role), role)


def _style(node: Any, role: str) -> None:
    """Set colour and glyphs of a new markups node; no labels or fill that would hide the image."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*_COLORS[role])
    display.SetSelectedColor(*_COLORS[role])
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)  # names would lie on the structure
    if role == _BOX:
        display.SetFillVisibility(False)
        display.SetRotationHandleVisibility(False)
        display.SetTranslationHandleVisibility(False)
        display.SetScaleHandleVisibility(True)
    else:
        display.SetGlyphTypeFromString("Circle2D")


def _start_placing(node: Any, role: str) -> None:
    """Start the place mode: for points and curves until the user ends it, for a box once."""
    logic = slicer.app.applicationLogic()  # the markups logic's StartPlaceMode places nothing but points
    selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(role != _BOX)
    interaction.SetCurrentInteractionMode(interaction.Place)
