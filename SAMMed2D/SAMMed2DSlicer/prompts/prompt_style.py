"""What prompts look like: points with signs, boxes with handles, strokes as lines, small marks once accepted."""

from __future__ import annotations

from typing import Any

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR

_ACTIVE_COLOR = (1.00, 0.90, 0.20)  # under the mouse
_GLYPH_SCALE, _CORNER_SCALE, _MARK_SCALE, _MARK_OPACITY = 2.8, 1.6, 1.4, 0.7
_LINE_THICKNESS = 0.35  # of a corner's size


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
    text = display.GetTextProperty()
    text.SetBold(True)
    text.SetShadow(True)  # a segment may have the colour of a label; a plate behind it would hide the image
    text.SetBackgroundOpacity(0)


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


def style_stroke(display: Any) -> None:
    """A line in the colour of its side, with small corners, no names."""
    display.SetSelectedColor(*POSITIVE_COLOR)
    display.SetColor(*NEGATIVE_COLOR)
    display.SetActiveColor(*_ACTIVE_COLOR)
    display.SetGlyphTypeFromString("Circle2D")
    display.SetGlyphScale(_CORNER_SCALE)
    display.SetCurveLineSizeMode(display.UseLineThickness)
    display.SetLineThickness(_LINE_THICKNESS)
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)
    display.SetFillVisibility(False)
    display.SetVisibility3D(False)


def show_as_mark(node: Any, is_mark: bool) -> None:
    """Show the node of accepted prompts as small marks that the mouse passes over; False shows prompts as usual."""
    display = node.GetDisplayNode()
    if display is None or bool(node.GetLocked()) == is_mark:
        return
    states = [(changed, changed.StartModify()) for changed in (node, display)]
    node.SetLocked(is_mark)  # the mouse does not take what is locked
    display.SetOpacity(_MARK_OPACITY if is_mark else 1.0)
    usual_scale = _CORNER_SCALE if node.IsA("vtkMRMLMarkupsCurveNode") else _GLYPH_SCALE
    display.SetGlyphScale(_MARK_SCALE if is_mark else usual_scale)
    if node.IsA("vtkMRMLMarkupsROINode"):
        display.SetHandlesInteractive(not is_mark)
        display.SetOutlineVisibility(not is_mark)
        for n in range(node.GetNumberOfControlPoints()):
            node.SetNthControlPointVisibility(n, is_mark)
    elif node.IsA("vtkMRMLMarkupsFiducialNode"):
        display.SetPointLabelsVisibility(not is_mark)
    for changed, state in states:
        changed.EndModify(state)


def show_in_views(display: Any, view_ids: tuple[str, ...]) -> None:
    """Show in these views only; a display node that is right already is left alone."""
    present = tuple(display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs()))
    if bool(display.GetVisibility()) != bool(view_ids):
        display.SetVisibility(bool(view_ids))
    if view_ids and present != view_ids:
        state = display.StartModify()
        display.RemoveAllViewNodeIDs()
        for view_id in view_ids:
            display.AddViewNodeID(view_id)
        display.EndModify(state)
