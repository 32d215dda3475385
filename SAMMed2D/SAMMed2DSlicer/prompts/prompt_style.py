"""What prompts look like: points with their signs, boxes with handles, and small marks once they are accepted."""

from __future__ import annotations

from typing import Any

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR

_ACTIVE_COLOR = (1.00, 0.90, 0.20)  # under the mouse
_GLYPH_SCALE, _MARK_SCALE, _MARK_OPACITY = 2.8, 1.4, 0.7


def style_points(display: Any) -> None:
    """Two colours, a sign at each point, no names."""
    display.SetSelectedColor(*POSITIVE_COLOR)
    display.SetColor(*NEGATIVE_COLOR)
    display.SetActiveColor(*_ACTIVE_COLOR)
    display.SetGlyphTypeFromString("Circle2D")
    display.SetGlyphScale(_GLYPH_SCALE)
    display.SetTextScale(4.0)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(True)
    display.SetVisibility3D(False)
    text = display.GetTextProperty()  # a dark plate: a segment may have the colour of a label
    text.SetBold(True)
    text.SetBackgroundColor(0, 0, 0)
    text.SetBackgroundOpacity(0.6)


def style_box(display: Any) -> None:
    """An outline with handles at its sides and corners."""
    for set_color in (display.SetSelectedColor, display.SetColor):
        set_color(*BOX_COLOR)
    display.SetActiveColor(*_ACTIVE_COLOR)
    display.SetFillVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)
    display.SetVisibility3D(False)
    display.SetHandlesInteractive(True)
    display.SetRotationHandleVisibility(False)
    display.SetTranslationHandleVisibility(False)
    display.SetScaleHandleVisibility(True)
    display.SetGlyphTypeFromString("Square2D")  # of the mark that an accepted box becomes


def show_as_mark(node: Any, is_mark: bool) -> None:
    """Show the node of accepted prompts as small marks that the mouse passes over; False shows prompts as usual."""
    display = node.GetDisplayNode()
    if display is None or bool(node.GetLocked()) == is_mark:
        return
    states = [(changed, changed.StartModify()) for changed in (node, display)]
    node.SetLocked(is_mark)  # the mouse does not take what is locked
    display.SetOpacity(_MARK_OPACITY if is_mark else 1.0)
    display.SetGlyphScale(_MARK_SCALE if is_mark else _GLYPH_SCALE)
    if node.IsA("vtkMRMLMarkupsROINode"):
        display.SetHandlesInteractive(not is_mark)
        display.SetOutlineVisibility(not is_mark)
        for n in range(node.GetNumberOfControlPoints()):
            node.SetNthControlPointVisibility(n, is_mark)
    else:
        display.SetPointLabelsVisibility(not is_mark)
    for changed, state in states:
        changed.EndModify(state)
