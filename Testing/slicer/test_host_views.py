"""The host's views: real pixels, and hands that reach Slicer's own displayable managers."""

import host
import numpy as np
import pytest
import qt
import slicer
import vtk
from host.keys import AmbiguousShortcutError, ambiguous, shortcuts

POINT = slicer.vtkMRMLMarkupsDisplayNode.ComponentControlPoint
SCALE = slicer.vtkMRMLMarkupsDisplayNode.ComponentScaleHandle
NOTHING = slicer.vtkMRMLMarkupsDisplayNode.ComponentNone
MIDDLE = (25, 30, 10)


def markup(class_name, name="M"):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.CreateDefaultDisplayNodes()
    return node


def xy_of(view, point_world):
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.mrmlSliceNode().GetXYToRAS(), inverse)
    return np.array(inverse.MultiplyPoint((*point_world, 1))[:2])


def test_a_slice_view_shows_the_volume_and_the_mask_over_it(editing):
    view, (x, y) = editing.views["Red"], editing.xy(MIDDLE)
    before = view.image()
    assert before.shape == (300, 300, 3) and before[-1 - y, x].min() > 200 and before[0, 0].max() < 50
    editing.activate("Demo")
    view.drag(editing.xy((20, 25, 10)), editing.xy((30, 35, 10)))
    changed = np.abs(view.image().astype(int) - before).sum(2) > 30
    assert changed[-1 - y, x] and not changed[:20].any()


def test_an_actor_of_an_effect_is_drawn_and_taken_away(editing):
    effect, widget = editing.activate("Demo").scriptedEffect, editing.widgets["Red"]
    before, scheduled = editing.views["Red"].image(), editing.views["Red"].scheduled_renders()
    text = vtk.vtkTextActor()
    text.SetInput("SAM")
    text.SetPosition(100, 100)
    effect.addActor2D(widget, text)
    assert (editing.views["Red"].image() != before).any()
    assert editing.views["Red"].scheduled_renders() > scheduled
    effect.removeActor2D(widget, text)
    assert (editing.views["Red"].image() == before).all()
    with pytest.raises(TypeError):
        effect.addActor2D(widget, vtk.vtkActor())


def test_the_wheel_and_arrow_keys_change_the_slice(editing):
    view, logic = editing.views["Red"], editing.widgets["Red"].sliceLogic()
    offset = logic.GetSliceOffset()
    view.wheel(150, 150, 2)
    assert abs(logic.GetSliceOffset() - offset) == pytest.approx(2 * 3.0)
    moved = logic.GetSliceOffset()
    view.key("Down")
    assert logic.GetSliceOffset() != moved


def test_a_point_is_hovered_and_dragged(editing):
    view, node = editing.views["Red"], markup("vtkMRMLMarkupsFiducialNode")
    node.AddControlPoint(editing.world(MIDDLE))
    x, y = editing.xy(MIDDLE)
    view.image()
    view.hover(x + 60, y + 60)
    assert node.GetDisplayNode().GetActiveComponentType() == NOTHING
    view.hover(x, y)
    assert node.GetDisplayNode().GetActiveComponentType() == POINT
    assert node.GetDisplayNode().GetActiveComponentIndex() == 0
    view.drag((x, y), (x + 20, y - 8))
    moved = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(0, moved)
    assert xy_of(view, moved) == pytest.approx([x + 20, y - 8], abs=1)


def test_an_active_effect_sees_the_drag_of_a_point_and_may_let_it_through(editing):
    demo, view, node = editing.activate("Demo"), editing.views["Red"], markup("vtkMRMLMarkupsFiducialNode")
    node.AddControlPoint(editing.world(MIDDLE))
    x, y = editing.xy(MIDDLE)
    view.image()
    before, after = [0.0] * 3, [0.0] * 3
    node.GetNthControlPointPositionWorld(0, before)
    view.drag((x, y), (x + 20, y))  # the demo takes the press: the point stays
    node.GetNthControlPointPositionWorld(0, after)
    assert after == before
    demo.processInteractionEvents = lambda *_: False
    view.drag((x, y), (x + 20, y))
    node.GetNthControlPointPositionWorld(0, after)
    assert after != before


def test_a_handle_of_a_roi_is_hovered_and_dragged_in_a_slice(editing):
    view, roi = editing.views["Red"], markup("vtkMRMLMarkupsROINode")
    roi.SetXYZ(*editing.world(MIDDLE))
    roi.SetRadiusXYZ(8, 8, 8)
    display, centre = roi.GetDisplayNode(), np.array(editing.world(MIDDLE))
    display.SetHandlesInteractive(True)
    view.image()
    for handle in ((-8, 0, 0), (-8, 8, 0)):
        view.hover(*xy_of(view, centre + handle))
        assert display.GetActiveComponentType() == SCALE
    x, y = xy_of(view, centre - (8, 0, 0))
    view.drag((x, y), (x + 20, y))
    millimetres = 20 * editing.widgets["Red"].mrmlSliceNode().GetFieldOfView()[0] / 300
    assert roi.GetSize()[0] == pytest.approx(16 + millimetres, abs=0.5)
    assert roi.GetSize()[1:] == pytest.approx((16, 16))


def test_points_are_placed_by_clicks(editing):
    node, view = markup("vtkMRMLMarkupsFiducialNode"), editing.views["Red"]
    selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
    selection.SetActivePlaceNodeID(node.GetID())
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    interaction.SetCurrentInteractionMode(interaction.Place)
    view.image()
    view.click(*editing.xy(MIDDLE))
    assert node.GetNumberOfDefinedControlPoints() == 1
    point = slicer.util.arrayFromMarkupsControlPoints(node)[0]
    assert point == pytest.approx(np.array(editing.world(MIDDLE)), abs=1)


def test_the_cursor_of_the_effect_shows_in_slice_views_only(editing):
    demo = editing.activate("Demo")
    demo.createCursor = lambda widget: qt.QCursor(qt.Qt.CrossCursor)
    editing.editor.setActiveEffect(None)
    editing.activate("Demo")
    assert editing.views["Red"].cursor.shape() == qt.Qt.CrossCursor
    assert editing.views["3D"].cursor.shape() == qt.Qt.ArrowCursor
    demo.scriptedEffect.cursorOff(editing.widgets["Red"])
    assert editing.views["Red"].default_cursor().shape() == qt.Qt.BlankCursor
    editing.editor.setActiveEffect(None)
    assert editing.views["Red"].cursor.shape() == qt.Qt.ArrowCursor


def test_the_segment_editor_has_its_keys(demo, app):
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.SegmentEditorWidget.editor
    editor.segmentationNode().GetSegmentation().AddEmptySegment("A", "A")
    editor.setSourceVolumeNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
    assert {"1", "Shift+1", "Esc", "Space", "Z", "Ctrl+Z", "Y", "Q", "W", "I"} <= set(shortcuts())
    assert ambiguous() == []
    number = [effect.name if effect else "" for effect in map(editor.effectByIndex, range(9))].index("Demo")
    assert host.press(str(number)) and editor.activeEffect().name == "Demo"
    assert host.press("Esc") and editor.activeEffect() is None
    assert host.press("Space") and editor.activeEffect().name == "Demo"
    assert not host.press("B")
    slicer.util.selectModule("")
    assert "Esc" not in shortcuts() and "Ctrl+S" in shortcuts()


def test_two_shortcuts_with_one_key_raise(demo, app):
    slicer.util.selectModule("SegmentEditor")
    ours = qt.QShortcut(qt.QKeySequence("Z"), slicer.util.mainWindow())
    assert ambiguous() == ["Z"]
    with pytest.raises(AmbiguousShortcutError):
        host.press("Z")
    ours.setParent(None)


def test_a_key_that_no_shortcut_takes_reaches_the_effect(editing):
    demo = editing.activate("Demo")
    host.press("P", editing.views["Red"])
    assert ("qMRMLSliceWidget", "KeyPressEvent") in demo.events


def test_panels_and_the_whole_window_are_pictured(editing, tmp_path):
    demo = editing.activate("Demo")
    panel = host.grab(demo, tmp_path / "panel.png")
    assert panel.width() > 200 and qt.QImage(str(tmp_path / "panel.png")).width() == panel.width()
    slicer.util.selectModule("SegmentEditor")
    field = editing.widgets["Red"].mrmlSliceNode().GetFieldOfView()
    window = host.montage(tmp_path / "window.png", width=1000, height=600)
    assert (window.width(), window.height()) == (1000, 600)
    assert editing.views["Red"].image().shape == (300, 300, 3)
    assert editing.widgets["Red"].mrmlSliceNode().GetFieldOfView() == pytest.approx(field)


def test_the_3d_view_renders_a_model(editing):
    sphere, view = vtk.vtkSphereSource(), editing.views["3D"]
    sphere.SetRadius(50)
    before = view.image()
    slicer.modules.models.logic().AddModel(sphere.GetOutputPort())
    view.resetFocalPoint()
    assert (view.image() != before).any()
