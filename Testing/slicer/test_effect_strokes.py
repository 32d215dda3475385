"""Scribbles and lassos: drawn by hand, kept as curves of the scene, moved, taken back, saved; in any view."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import slicer
import vtk
from editor_fixture import GEOMETRIES, INSIDE, EditorFixture, affine, turned
from host import keys
from module_kit import a_case

K = INSIDE[2]
ALONG = [(16, 22, K), (22, 24, K), (27, 22, K), (33, 23, K)]
AROUND = [(10, 12, K), (42, 12, K), (42, 33, K), (10, 33, K), (10, 13, K)]


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model)


def draw(fixture, path_ijk, release=True, **modifiers):
    """Drag the mouse along a path."""
    path = [fixture.xy(ijk) for ijk in path_ijk]
    fixture.view.press(*path[0], **modifiers)
    for start, end in pairwise(path):
        fixture.view.move(start, end, **modifiers)
    if release:
        fixture.view.release(*path[-1], **modifiers)
        fixture.wait()


def strokes_asked(model):
    prompts, _image, _zoom = model.asked[-1]
    return prompts.strokes


def only_curve():
    (curve,) = slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")
    return curve


@pytest.mark.parametrize(
    ("tool", "path", "control", "label"),
    [("scribble", ALONG, False, 1), ("scribble", ALONG, True, 0), ("lasso", AROUND, False, 1)],
)
def test_a_drag_with_a_tool_reaches_the_model_as_a_line_in_slice_pixels(fixture, model, tool, path, control, label):
    fixture.click()
    fixture.set(Tool=tool)
    draw(fixture, path, control=control)
    (stroke,) = strokes_asked(model)
    assert (stroke.word, stroke.label, stroke.after) == (tool, label, 1)
    corners = [min(np.abs(stroke.points_xy - ijk[:2]).max(axis=1)) for ijk in path[: -1 if tool == "lasso" else None]]
    assert max(corners) < 0.5 and len(stroke.points_xy) < 3 * len(path)
    curve = only_curve()
    assert curve.IsA("vtkMRMLMarkupsClosedCurveNode") == (tool == "lasso")
    assert bool(curve.GetNthControlPointSelected(0)) == bool(label)
    assert fixture.status.text and fixture.shown[0].any()


def test_a_lasso_outside_takes_away_from_a_mask_and_a_click_with_the_tool_is_a_point(fixture, model):
    fixture.set(Tool="lasso")
    fixture.click()
    draw(fixture, [(30, 18, K), (36, 18, K), (36, 26, K), (30, 26, K)], control=True)
    (stroke,) = strokes_asked(model)
    assert stroke.is_closed and stroke.label == 0
    fixture.click((20, 22, K), control=True)
    assert model.asked[-1][0].labels.tolist() == [1, 0]
    assert len(fixture.controller.groups) == 1


def test_the_line_is_seen_while_it_is_drawn_and_esc_takes_it_back(fixture, model):
    from SAMMed2DLib.inference.prompts import NEGATIVE_COLOR, POSITIVE_COLOR

    assert {"C", "O"} <= set(keys.shortcuts())
    fixture.effect.choose_tool("scribble")
    assert fixture.panel.ui.scribbleButton.checked
    before = fixture.image()
    for control, color in ((False, POSITIVE_COLOR), (True, NEGATIVE_COLOR)):
        draw(fixture, ALONG, release=False, control=control)
        fixture.pump()
        drawn = np.abs(fixture.image()[..., :3] - np.array(color) * 255).max(axis=2) < 30
        assert drawn.sum() > 20
        fixture.effect.clear()
        fixture.pump()
        np.testing.assert_array_equal(fixture.image(), before)
    assert fixture.controller.groups == [] and model.asked == []


def test_a_stroke_that_is_moved_is_predicted_anew_and_one_moved_off_the_slice_does_not_count(fixture, model):
    fixture.click()
    fixture.set(Tool="scribble")
    draw(fixture, ALONG)
    before = strokes_asked(model)[0].points_xy
    curve = only_curve()
    curve.SetNthControlPointPositionWorld(0, *fixture.world((14, 26, K)))
    fixture.wait()
    moved = strokes_asked(model)[0].points_xy
    np.testing.assert_allclose(moved[0], (14, 26), atol=1e-6)
    np.testing.assert_array_equal(moved[1:], before[1:])
    for n in range(curve.GetNumberOfControlPoints()):
        curve.SetNthControlPointPositionWorld(n, *fixture.world((14 + n, 26, K + 3)))
    fixture.wait()
    assert strokes_asked(model) == ()
    assert "off this slice" in fixture.status.text


def test_strokes_are_taken_back_one_by_one_with_the_points_between_them(fixture, model):
    fixture.set(Tool="scribble")
    draw(fixture, ALONG)
    fixture.click((20, 20, K))
    draw(fixture, [(18, 18, K), (26, 18, K)], control=True)
    (group,) = fixture.controller.groups
    counts = []
    for _ in range(3):
        counts.append((len(group.strokes), group.counts()[0]))
        fixture.view.hover(*fixture.xy((3, 3, K)))
        fixture.view.key("BackSpace")
        fixture.wait()
    assert counts == [(2, 1), (1, 1), (1, 0)]
    assert fixture.controller.groups == [] and not slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode")


def test_a_deleted_curve_is_gone_from_the_prompts(fixture, model):
    fixture.click()
    fixture.set(Tool="scribble")
    draw(fixture, ALONG)
    slicer.mrmlScene.RemoveNode(only_curve())
    fixture.wait()
    assert strokes_asked(model) == () and len(model.asked[-1][0].labels) == 1


def test_accepted_strokes_are_written_and_hidden_from_the_mouse_and_undo_opens_them(fixture):
    fixture.set(Tool="scribble")
    draw(fixture, ALONG)
    fixture.accept()
    assert fixture.segment()[K].any() and only_curve().GetLocked()
    fixture.editor.undo()
    fixture.wait()
    assert not fixture.segment().any() and not only_curve().GetLocked()


def test_in_an_oblique_view_of_a_turned_volume_under_a_transform(model):
    fixture = EditorFixture(
        model, GEOMETRIES["turned"], volume_matrix=turned(10, 20, 5) @ affine(origin=(3, 4, 5))
    )
    middle = np.eye(4)
    middle[:3, 3] = fixture.world(INSIDE)
    fixture.show_plane(middle @ turned(25, 30, 10))
    x, y = fixture.xy_of_world(middle[:3, 3])
    fixture.set(Tool="scribble")
    fixture.view.drag((x - 12, y), (x + 12, y + 5))
    fixture.wait()
    (stroke,) = strokes_asked(model)
    (group,) = fixture.controller.groups
    ends = group.plane.ijk_from_xy(stroke.points_xy[[0, -1]])
    world = [(fixture.ijk_to_world @ [*end, 1])[:3] for end in ends]
    np.testing.assert_array_equal([fixture.xy_of_world(end) for end in world], [(x - 12, y), (x + 12, y + 5)])
    assert stroke.mask(group.plane.size_hw).sum() > 3 and only_curve().GetDisplayNode().GetVisibility()
    fixture.show(2, K)
    assert not only_curve().GetDisplayNode().GetVisibility()


def test_strokes_are_in_a_saved_scene_and_give_the_same_prompts_again(fixture, model, tmp_path):
    fixture.set(Tool="lasso")
    draw(fixture, AROUND)
    fixture.click()
    fixture.set(Tool="scribble")
    draw(fixture, ALONG, control=True)
    asked = model.asked[-1][0]
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    EditorFixture.close_all()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    from SAMMed2DSlicer.prompts import prompt_groups

    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    (group,) = prompt_groups.find_groups(segmentation)
    found = group.prompts()
    assert [each if isinstance(each, int) else each.word for each in found.in_order] == ["lasso", 0, "scribble"]
    for stroke, before in zip(found.strokes, asked.strokes, strict=True):
        assert (stroke.label, stroke.after) == (before.label, before.after)
        np.testing.assert_allclose(stroke.points_xy, before.points_xy, atol=1e-3)


def test_a_scribble_outside_corrects_the_mask_that_a_segment_has(fixture, model):
    drawn = np.zeros_like(fixture.structure)
    drawn[K, 15:30, 15:40] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        drawn.astype(np.uint8), fixture.segmentation, fixture.segment_id, fixture.volume
    )
    fixture.set(Tool="scribble")
    draw(fixture, [(48, 20, K), (36, 20, K), (36, 28, K)], control=True)  # it begins beside the mask
    np.testing.assert_array_equal(model.corrected[-1], drawn[K])
    draw(fixture, [(50, 45, K), (55, 45, K)], control=True)
    assert len(fixture.controller.groups) == 1


def test_a_stroke_outside_the_image_is_refused_in_words(fixture, model):
    fixture.set(Tool="scribble")
    draw(fixture, [(-20, 22, K), (-10, 22, K)])
    assert "outside the image" in fixture.status.text and model.asked == []


def test_a_path_keeps_few_corners(sammed2d):
    from SAMMed2DSlicer.prompts.strokes import simplified

    path = np.array([(x, 0.1 * (x % 2)) for x in range(50)] + [(49, y) for y in range(1, 30)], float)
    kept = path[simplified(path)]
    np.testing.assert_array_equal(kept, [(0, 0), (49, 0.1), (49, 29)])
    assert simplified(path[:1]).tolist() == [0] and simplified(np.zeros((9, 2))).tolist() == [0, 8]


# Scripts and the module


def a_curve(case, class_name, points_ijk, name="C"):
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetCurveTypeToLinear()
    for point in case.world(*points_ijk):
        node.AddControlPointWorld(vtk.vtkVector3d(*point))
    return node


def test_scripts_give_scribbles_and_lassos_as_curves_or_numbers(logic):
    case = a_case()
    curve = a_curve(case, "vtkMRMLMarkupsCurveNode", ALONG)
    ring = a_curve(case, "vtkMRMLMarkupsClosedCurveNode", AROUND)
    for scribbles, lassos in (
        (curve, [ring]),
        (case.world(*ALONG), [(case.world(*AROUND), 1)]),
        ([curve], ring),
    ):
        given = {"positive": case.world(INSIDE), "scribbles": scribbles, "lassos": lassos}
        result = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", K), **given)
        prompts = logic.session.asked[-1][0]
        assert [each if isinstance(each, int) else each.word for each in prompts.in_order] == ["lasso", 0, "scribble"]
        for stroke, line in zip(prompts.strokes, (AROUND, ALONG), strict=True):
            np.testing.assert_allclose(stroke.points_xy, [ijk[:2] for ijk in line], atol=1e-3)
        assert result.mask.any()
    logic.predict(case.volume, ("k", K), box=case.world((10, 12, K), (42, 33, K)), scribbles=[(curve, 0)])
    assert logic.session.asked[-1][0].strokes[0].label == 0


def test_prompts_of_the_effect_are_taken_by_scripts_in_their_order(fixture, model):
    from SAMMed2DSlicer.prompts.slice_prompts import prompts_on

    fixture.set(Tool="scribble")
    draw(fixture, ALONG)
    fixture.click()
    draw(fixture, [(45, 20, K), (45, 30, K)], control=True)
    (group,) = fixture.controller.groups
    found = prompts_on(group.plane, fixture.volume, points=group.points, scribbles=group.strokes.nodes)
    assert found == model.asked[-1][0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scribbles": "here"}, r"is a markups curve, or \(N, 3\) numbers in RAS, mm, not 'here'"),
        ({"scribbles": [(30, 20, K + 4), (31, 20, K)]}, "reaches 4.0 voxels off the slice"),
        ({"lassos": [([(0, 0, K), (1, 0, K), (1, 1, K)], 0)]}, "do not say where it is"),
    ],
)
def test_strokes_that_cannot_be_used_are_refused_in_words(logic, given, words):
    case = a_case()
    with pytest.raises(ValueError, match=words):
        logic.predict(case.volume, ("k", K), **given)
    with pytest.raises(ValueError, match="is no markups curve"):
        logic.predict(case.volume, ("k", K), scribbles=case.fiducials(INSIDE))
    assert not logic.session.asked


def test_the_modules_curves_are_prompts(logic):
    from SAMMed2DSlicer.module.parameters import Parameters

    case = a_case()
    parameters = Parameters(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode"))
    parameters.inside_curve = a_curve(case, "vtkMRMLMarkupsClosedCurveNode", AROUND)
    parameters.outside_curve = a_curve(case, "vtkMRMLMarkupsCurveNode", [(50, 40, K), (52, 42, K)])
    assert len(parameters.prompt_nodes) == 2
    logic.predict(case.volume, ("k", K), **parameters.prompts)
    strokes = logic.session.asked[-1][0].strokes
    assert [(stroke.word, stroke.label) for stroke in strokes] == [("lasso", 1), ("scribble", 0)]


# Accepted at once: painting


def test_scribbles_that_are_accepted_at_once_leave_alone_what_was_painted_before(fixture, model):
    fixture.set(AcceptAtOnce=1, Tool="scribble")
    draw(fixture, ALONG[:2])
    assert fixture.segment().any() and fixture.shown == []
    draw(fixture, ALONG[2:])
    draw(fixture, [(20, 18, K), (26, 18, K)], control=True)
    assert [asked[0].accepted for asked in model.asked] == [(), (1,), (1, 2)]
    assert len(fixture.controller.groups) == 1
    fixture.click()  # clicks refine one mask, until the user is done with it
    fixture.click((30, 25, K))
    assert model.asked[-1][0].accepted == (1, 2, 3)


def test_undo_takes_a_painted_stroke_out_of_the_segment_and_unlocks_it(fixture, model):
    fixture.set(AcceptAtOnce=1, Tool="scribble")
    draw(fixture, ALONG[:2])
    fixture.editor.undo()
    fixture.pump(0.05)
    fixture.wait()
    assert not fixture.segment().any()
    assert fixture.controller.groups[0].prompts().accepted == ()
