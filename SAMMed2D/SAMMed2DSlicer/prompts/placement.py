"""Placing markups by hand: point lists and boxes for the panel."""

from __future__ import annotations

from typing import Any

import slicer

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR

POSITIVE, NEGATIVE, BOX = "positive", "negative", "box"
_COLORS = {POSITIVE: POSITIVE_COLOR, NEGATIVE: NEGATIVE_COLOR, BOX: BOX_COLOR}


def style(node: Any, role: str) -> None:
    """Make a new markups node show its kind, and hide nothing of the image."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*_COLORS[role])
    display.SetSelectedColor(*_COLORS[role])
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)  # names would lie on the structure
    if role == BOX:
        display.SetFillVisibility(False)
        display.SetRotationHandleVisibility(False)
        display.SetTranslationHandleVisibility(False)
        display.SetScaleHandleVisibility(True)
    else:
        display.SetGlyphTypeFromString("Circle2D")


def start(node: Any, role: str) -> None:
    """Let the next clicks in the views place points, until the user ends it; or the corners of one box."""
    logic = slicer.app.applicationLogic()  # the markups logic's StartPlaceMode places nothing but points
    selection, interaction = logic.GetSelectionNode(), logic.GetInteractionNode()
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction.SetPlaceModePersistence(role != BOX)
    interaction.SetCurrentInteractionMode(interaction.Place)
