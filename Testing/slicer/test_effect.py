"""The effect as an annotator uses it: prompts, previews, accepting, undo, and Slicer's rules for writing."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, INSIDE, EditorFixture, put_under


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model, GEOMETRIES["anisotropic and offset"])


def prompt_nodes():
    from SAMMed2DSlicer.prompts.prompt_nodes import prompt_nodes

    return list(prompt_nodes())


def slice_of(structure: np.ndarray, k: int) -> np.ndarray:
    expected = np.zeros_like(structure)
    expected[k] = structure[k]
    return expected


def mouse_to(fixture: EditorFixture, xy):
    fixture.view.mouse("MouseMoveEvent", *xy)


# Prompts


def test_a_click_makes_a_positive_point_and_shows_a_mask(fixture, model):
    fixture.click()
    (points,) = prompt_nodes()
    assert points.IsA("vtkMRMLMarkupsFiducialNode") and points.GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), fixture.world(INSIDE), atol=0.5)
    (shown,) = fixture.shown
    np.testing.assert_array_equal(shown, fixture.structure[INSIDE[2]])
    assert not fixture.segment().any()


@pytest.mark.parametrize(
    ("tool", "control", "label"),
    [("positive", False, 1), ("positive", True, 0), ("negative", False, 0), ("negative", True, 1)],
)
def test_tool_and_ctrl_decide_about_the_sign(fixture, model, tool, control, label):
    fixture.click()
    fixture.set(Tool=tool)
    fixture.click((40, 40, 10), control=control)
    assert model.asked[-1][0].labels.tolist() == [1, label]


def test_signs_are_seen_as_labels_and_kept_in_descriptions(fixture):
    fixture.click()
    fixture.click((40, 40, 10), control=True)
    (points,) = prompt_nodes()
    assert [points.GetNthControlPointLabel(n) for n in (0, 1)] == ["+", "\N{MINUS SIGN}"]
    assert [points.GetNthControlPointDescription(n) for n in (0, 1)] == ["positive", "negative"]


def test_a_drag_makes_a_box(fixture, model):
    fixture.drag((10, 12, 10), (41, 33, 10))
    (box,) = prompt_nodes()
    assert box.IsA("vtkMRMLMarkupsROINode")
    prompts = model.asked[-1][0]
    np.testing.assert_allclose(prompts.box_xyxy, (10.5, 12.5, 41.5, 33.5), atol=0.6)
    assert len(prompts.labels) == 0


def test_a_second_drag_replaces_the_box(fixture, model):
    fixture.drag((10, 12, 10), (41, 33, 10))
    fixture.drag((20, 20, 10), (30, 25, 10))
    assert len(prompt_nodes()) == 1
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (20.5, 20.5, 30.5, 25.5), atol=0.6)


@pytest.mark.parametrize(("to", "size"), [((41, 12, 10), (31, 1)), ((10, 33, 10), (1, 21))])
def test_a_thin_drag_makes_a_box_of_one_row_of_pixels(fixture, model, to, size):
    fixture.drag((10, 12, 10), to)
    x0, y0, x1, y1 = model.asked[-1][0].box_xyxy
    np.testing.assert_allclose((x1 - x0, y1 - y0), size, atol=1.0)
    assert x1 - x0 > 0.99 and y1 - y0 > 0.99 and len(model.asked[-1][0].labels) == 0


def test_the_box_may_reach_over_the_border_of_the_image(fixture, model):
    fixture.drag((-8, -6, 10), (41, 33, 10))
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (0, 0, 41.5, 33.5), atol=0.6)


def test_with_the_box_tool_a_click_does_nothing(fixture, model):
    fixture.set(Tool="box")
    fixture.click()
    assert prompt_nodes() == [] and model.asked == []


def test_the_rubber_band_is_seen_while_dragging_only(fixture):
    fixture.set(Tool="box")
    before = fixture.image()
    a, b = fixture.xy((5, 5, 10)), fixture.xy((45, 45, 10))
    mouse_to(fixture, a)
    fixture.view.mouse("LeftButtonPressEvent", *a)
    mouse_to(fixture, b)
    band = fixture.image()
    height = band.shape[0]
    assert np.abs(band - before)[height - 1 - a[1], (a[0] + b[0]) // 2].sum() > 60
    fixture.view.mouse("LeftButtonReleaseEvent", *a)  # back to where it began: no drag
    np.testing.assert_array_equal(fixture.image(), before)


def test_each_slice_and_each_segment_has_a_set_of_its_own(fixture, model):
    fixture.click()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    fixture.editor.setCurrentSegmentID(fixture.add_segment("B"))
    fixture.pump()
    fixture.click((27, 22, 12))
    assert [len(prompts.labels) for prompts, _, _ in model.asked] == [1, 1, 1]
    assert sorted((s.segment_id, s.slice_text()) for s in fixture.controller.groups) == [
        ("A", "axial 11"),
        ("A", "axial 13"),
        ("B", "axial 13"),
    ]


def test_prompts_are_seen_on_their_own_slice_only(fixture):
    fixture.click()
    (points,) = prompt_nodes()

    def views():
        display = points.GetDisplayNode()
        ids = [display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs())]
        return ids if display.GetVisibility() else []

    assert views() == [fixture.slice_node.GetID()]
    fixture.show(2, 13)
    assert views() == []
    fixture.show(2, INSIDE[2])
    assert views() == [fixture.slice_node.GetID()]
    fixture.editor.setCurrentSegmentID(fixture.add_segment("B"))
    fixture.pump()
    assert views() == []


def test_points_are_dragged_with_the_mouse_and_asked_for_again(fixture, model):
    fixture.click()
    start, end = fixture.xy(INSIDE), fixture.xy((32, 25, 10))
    mouse_to(fixture, start)
    fixture.view.drag(start, end)
    fixture.wait()
    (points,) = prompt_nodes()
    assert points.GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), fixture.world((32, 25, 10)), atol=0.6)
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [(32, 25)], atol=0.8)


def test_a_box_is_resized_at_its_corner(fixture, model):
    fixture.drag((10, 12, 10), (41, 33, 10))
    corner, to = fixture.xy((41, 33, 10)), fixture.xy((48, 39, 10))
    mouse_to(fixture, corner)
    fixture.view.drag(corner, to)
    fixture.wait()
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (10.5, 12.5, 48.5, 39.5), atol=1.0)


def test_within_a_box_a_click_gives_a_point(fixture, model):
    fixture.drag((10, 12, 10), (41, 33, 10))
    mouse_to(fixture, fixture.xy((22, 20, 10)))
    fixture.click((22, 20, 10))
    assert len(model.asked[-1][0].labels) == 1 and model.asked[-1][0].box_xyxy is not None


def test_a_deleted_point_is_forgotten_and_with_the_last_one_the_set_goes(fixture, model):
    fixture.click()
    fixture.click((28, 24, 10))
    (points,) = prompt_nodes()
    points.RemoveNthControlPoint(0)
    fixture.wait()
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [(28, 24)], atol=0.8)
    points.RemoveNthControlPoint(0)
    fixture.wait()
    assert prompt_nodes() == [] and fixture.controller.groups == [] and fixture.shown == []


def test_a_point_that_is_deselected_in_the_markups_module_becomes_negative(fixture, model):
    fixture.click()
    fixture.click((40, 40, 10))
    (points,) = prompt_nodes()
    points.SetNthControlPointSelected(1, False)
    fixture.wait()
    assert model.asked[-1][0].labels.tolist() == [1, 0]
    assert points.GetNthControlPointLabel(1) == "\N{MINUS SIGN}"


def test_a_point_moved_off_its_slice_does_not_count_and_is_told(fixture, model):
    fixture.click()
    fixture.click((28, 24, 10))
    (points,) = prompt_nodes()
    points.SetNthControlPointPositionWorld(1, *fixture.world((28, 24, 14)))
    fixture.wait()
    assert len(model.asked[-1][0].labels) == 1
    assert "moved off" in fixture.status.text


def test_contradicting_points_are_explained(fixture):
    fixture.click()
    fixture.controller.add_point(fixture.widget, fixture.xy(INSIDE), False)
    fixture.wait()
    assert "A click inside and a click outside are at the same place" in fixture.status.text
    assert fixture.status.level == "warning"


def test_a_click_moves_with_the_transform_of_the_volume(fixture, model):
    transform = put_under(fixture.volume, np.eye(4))
    fixture.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    fixture.pump()
    fixture.click()
    moved = np.eye(4)
    moved[:3, 3] = (13, -4, 0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    fixture.world_from_ras = moved
    fixture.show(2, INSIDE[2])
    fixture.wait()
    (points,) = prompt_nodes()
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), fixture.world(INSIDE), atol=0.6)
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [INSIDE[:2]], atol=0.6)


# Accepting


def test_accepting_writes_what_is_shown_and_hides_the_preview(fixture):
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, INSIDE[2]))
    assert fixture.shown == [] and "370 voxels changed" in fixture.status.text


def test_accepting_an_answer_that_is_on_its_way_waits_for_it(fixture, model):
    model.delay_s = 0.1
    fixture.view.click(*fixture.xy(INSIDE))
    fixture.effect.accept()
    assert not fixture.segment().any()
    fixture.wait()
    assert fixture.segment().any()


def test_accepting_at_once_needs_no_enter(fixture):
    fixture.set(AcceptAtOnce=1)
    fixture.click()
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, INSIDE[2]))


def test_each_acceptance_is_one_step_of_undo(fixture):
    states = [fixture.segment()]
    for k in (9, 10, 11):
        fixture.show(2, k)
        fixture.click((25, 22, k))
        fixture.accept()
        states.append(fixture.segment())
    for state in reversed(states[:-1]):
        fixture.editor.undo()
        np.testing.assert_array_equal(fixture.segment(), state)
    for state in states[1:]:
        fixture.editor.redo()
        np.testing.assert_array_equal(fixture.segment(), state)


def test_one_acceptance_of_several_objects_is_one_step_of_undo(fixture):
    own_voxels(fixture, np.s_[9, 30:34, 2:50])
    before = fixture.segment()
    for k in (10, 12):
        fixture.show(2, k)
        fixture.click((25, 22, k))
    fixture.accept()
    after = fixture.segment()
    assert after[10].any() and after[12].any()
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), before)
    fixture.editor.redo()
    np.testing.assert_array_equal(fixture.segment(), after)


def drag_corner(fixture, corner, to):
    """Drag a corner of a box, which gets its handles back first, if it was accepted."""
    for one in [one for one in fixture.controller.groups if one.is_accepted]:
        fixture.controller.jump_to(one)
    mouse_to(fixture, fixture.xy(corner))
    fixture.view.drag(fixture.xy(corner), fixture.xy(to))
    fixture.wait()


def own_voxels(fixture, place) -> np.ndarray:
    """Voxels of the user's own in the segment, beside what the effect wrote."""
    voxels = fixture.segment()
    voxels[place] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        voxels.astype(np.uint8), fixture.segmentation, fixture.segment_id, fixture.volume
    )
    return voxels


def test_corrected_prompts_take_back_what_they_had_added_and_nothing_else(fixture):
    other = own_voxels(fixture, np.s_[10, 30:34, 2:50])
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    whole = other | slice_of(fixture.structure, 10)
    np.testing.assert_array_equal(fixture.segment(), whole)
    drag_corner(fixture, (45, 35, 10), (28, 24, 10))
    fixture.accept()
    found = fixture.segment()
    assert (found & other).sum() == other.sum() and found.sum() < whole.sum() - 100
    assert not (found & ~whole).any()
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), whole)


def test_a_second_object_on_the_slice_leaves_the_first_alone(fixture):
    boxes = [((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))]
    fixture.drag(*boxes[0])
    fixture.accept()
    first = fixture.segment()
    fixture.drag(*boxes[1])
    fixture.accept()
    assert first.any() and (fixture.segment() & first).sum() == first.sum() and fixture.segment().sum() > first.sum()
    assert len(fixture.controller.groups) == 2


def test_a_negative_point_corrects_the_nearest_accepted_object(fixture, model):
    for box in (((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))):
        fixture.drag(*box)
        fixture.accept()
    fixture.click((40, 36, 10), control=True)
    assert sorted(one.counts() for one in fixture.controller.groups) == [(0, 0, 1), (0, 1, 1)]
    assert model.asked[-1][0].box_xyxy[0] > 20


def test_what_the_user_did_meanwhile_is_not_taken_back(fixture):
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    fixture.editor.undo()
    own = own_voxels(fixture, np.s_[10, 15:28, 15:35])
    drag_corner(fixture, (45, 35, 10), (28, 24, 10))
    fixture.accept()
    assert (fixture.segment() & own).sum() == own.sum()
    assert "nothing was taken back" in fixture.status.text


def test_undo_and_redo_in_between_do_no_harm(fixture):
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    fixture.editor.undo()
    fixture.editor.redo()
    whole = fixture.segment()
    drag_corner(fixture, (45, 35, 10), (28, 24, 10))
    fixture.accept()
    assert fixture.segment().sum() < whole.sum() - 100


def test_accepting_at_once_refines_until_enter_closes_the_object(fixture, model):
    fixture.set(AcceptAtOnce=1)
    fixture.click()
    fixture.click((40, 40, 10), control=True)
    fixture.click((28, 24, 10))
    assert [one.counts() for one in fixture.controller.groups] == [(2, 1, 0)]
    assert fixture.controller.groups[0].state == "written"
    fixture.accept()
    fixture.click((22, 20, 10))
    assert [one.counts() for one in fixture.controller.groups] == [(2, 1, 0), (1, 0, 0)]


def test_undo_of_an_acceptance_opens_the_prompts_again_and_redo_closes_them(fixture):
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    whole = fixture.segment()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    assert [one.state for one in fixture.controller.groups] == ["open"] and fixture.panel.ui.acceptButton.enabled
    fixture.editor.redo()
    fixture.wait(lambda: not fixture.shown)
    assert [one.state for one in fixture.controller.groups] == [
        "accepted"
    ] and "Enter accepts" not in fixture.status.text
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(), whole)
    assert "voxels changed" in fixture.status.text and "taken back" not in fixture.status.text


def test_undo_of_a_correction_opens_the_prompts_too(fixture):
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    whole = fixture.segment()
    drag_corner(fixture, (45, 35, 10), (28, 24, 10))
    fixture.accept()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    np.testing.assert_array_equal(fixture.segment(), whole)
    assert [one.state for one in fixture.controller.groups] == ["open"]


def test_what_was_undone_is_not_written_at_once_again(fixture):
    fixture.set(AcceptAtOnce=1)
    fixture.click()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    assert not fixture.segment().any()
    fixture.click((28, 24, 10))
    assert fixture.segment().any() and fixture.shown == []


def test_clearing_removes_the_prompts_and_leaves_the_segment(fixture):
    fixture.click()
    fixture.accept()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    fixture.effect.clear()
    fixture.pump()
    assert [s.slice_text() for s in fixture.controller.groups] == ["axial 11"] and fixture.shown == []
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, INSIDE[2]))


def test_an_empty_answer_changes_nothing_and_says_so(fixture, model):
    fixture.set(AcceptAtOnce=1)
    model.finds_nothing = True
    fixture.click()
    assert "finds nothing" in fixture.status.text and not fixture.segment().any() and fixture.shown == []


def test_nothing_to_accept_is_said(fixture):
    fixture.accept()
    assert "nothing to accept" in fixture.status.text


# Slicer's rules for writing


def neighbour(fixture: EditorFixture) -> str:
    """A second segment over the left half of the structure."""
    half = fixture.structure.copy()
    half[:, :, 25:] = False
    name = fixture.add_segment("B")
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), fixture.segmentation, name, fixture.volume)
    fixture.editor.setCurrentSegmentID(fixture.segment_id)
    fixture.pump()
    return name


def test_other_segments_are_protected_unless_the_user_says_otherwise(fixture):
    other = neighbour(fixture)
    before = fixture.segment(other)
    assert fixture.editor_node.GetOverwriteMode() == fixture.editor_node.OverwriteAllSegments  # Slicer's default
    assert fixture.panel.ui.protectsOthersCheckBox.checked
    assert fixture.panel.ui.protectsOthersCheckBox.text == "Protect other segments (they may overlap)"
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), before)
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, 10))
    assert fixture.editor_node.GetOverwriteMode() == fixture.editor_node.OverwriteAllSegments
    assert fixture.status.text == "Accepted: 370 voxels changed."


def test_what_is_chosen_last_holds_protecting_or_masking(fixture):
    node, check = fixture.editor_node, fixture.panel.ui.protectsOthersCheckBox
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    assert not check.checked and check.text == "Protect other segments (off: visible ones give way)"
    node.SetOverwriteMode(node.OverwriteNone)
    assert not check.checked and check.text == "Protect other segments (off, but Masking lets them overlap)"
    node.SetOverwriteMode(node.OverwriteAllSegments)
    assert not check.checked and check.text == "Protect other segments (off: all give way)"
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    check.click()
    assert check.checked and node.GetOverwriteMode() == node.OverwriteVisibleSegments
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    assert check.checked
    node.SetOverwriteMode(node.OverwriteNone)
    assert check.checked
    fixture.editor.setActiveEffect(None)
    node.SetOverwriteMode(node.OverwriteAllSegments)
    fixture.activate()
    assert not check.checked


def test_what_an_acceptance_took_from_whom_is_said_and_undo_takes_it_back(fixture):
    other = neighbour(fixture)
    fixture.segmentation.GetSegmentation().GetSegment(other).SetName("Liver & co")
    before = fixture.segment(other)
    fixture.click()
    assert "It takes" not in fixture.status.text
    fixture.panel.ui.protectsOthersCheckBox.click()
    fixture.wait(lambda: "Esc clears. It takes 200 voxels from Liver & co." in fixture.status.text)
    assert fixture.status.level == "warning"
    fixture.panel.ui.protectsOthersCheckBox.click()
    fixture.wait(lambda: "It takes" not in fixture.status.text)
    fixture.panel.ui.protectsOthersCheckBox.click()
    fixture.wait(lambda: "It takes" in fixture.status.text)
    fixture.accept()
    lost = int((before & ~fixture.segment(other)).sum())
    assert lost == 200 and fixture.status.level == "warning"
    assert fixture.status.text == "Accepted: 370 voxels changed. Liver & co lost 200 voxels; Undo takes it back."
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(other), before)


def test_overlap_is_allowed_where_the_user_allows_it(fixture):
    other = neighbour(fixture)
    before = fixture.segment(other)
    fixture.set(ProtectOthers=0)
    fixture.editor_node.SetOverwriteMode(fixture.editor_node.OverwriteNone)
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), before)
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, 10))


def test_other_segments_give_way_where_the_user_says_so(fixture):
    other = neighbour(fixture)
    before = fixture.segment(other)
    fixture.set(ProtectOthers=0)
    fixture.editor_node.SetOverwriteMode(fixture.editor_node.OverwriteAllSegments)
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), before & ~slice_of(fixture.structure, 10))


def test_a_hidden_neighbour_is_kept_when_visible_segments_give_way(fixture):
    other = neighbour(fixture)
    before = fixture.segment(other)
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility(other, False)
    fixture.editor_node.SetOverwriteMode(fixture.editor_node.OverwriteVisibleSegments)
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), before)


def test_the_editable_area_holds(fixture):
    other = neighbour(fixture)
    before = fixture.segment(other)
    fixture.editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), before)
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, 10) & ~before)


def test_the_intensity_range_holds(fixture):
    values = slicer.util.arrayFromVolume(fixture.volume)
    values[10, :20] += 20  # 180 where bright: out of the range
    slicer.util.arrayFromVolumeModified(fixture.volume)
    fixture.editor_node.SetSourceVolumeIntensityMask(True)
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(150, 170)
    fixture.click()
    fixture.accept()
    expected = slice_of(fixture.structure, 10)
    expected[:, :20] = False
    np.testing.assert_array_equal(fixture.segment(), expected)


def test_when_masking_leaves_nothing_to_write_it_is_said(fixture):
    fixture.editor_node.SetSourceVolumeIntensityMask(True)
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(1000, 2000)
    fixture.click()
    fixture.accept()
    words = "370 px found, 0 inside the intensity range: nothing would be written. Change the masking"
    assert fixture.status.text.startswith(words) and not fixture.segment().any()
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(100, 200)
    fixture.wait(lambda: "Enter accepts" in fixture.status.text)
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(), slice_of(fixture.structure, 10))


# Many objects


def test_every_accepted_object_becomes_a_new_segment(fixture):
    fixture.set(NewSegments=1)
    for k in (8, 10, 12):
        fixture.show(2, k)
        fixture.click((25, 22, k))
        fixture.accept()
    segmentation = fixture.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["A", "A #2", "A #3"]
    for n, k in enumerate((8, 10, 12)):
        found = fixture.segment(segmentation.GetNthSegmentID(n))
        np.testing.assert_array_equal(found, slice_of(fixture.structure, k))


@pytest.mark.parametrize("tool", ["negative", "box"])
def test_a_new_segment_begins_with_the_tool_inside(fixture, tool):
    fixture.set(NewSegments=1, Tool=tool)
    fixture.drag((10, 12, 10), (41, 33, 10))
    fixture.accept()
    assert fixture.effect.scriptedEffect.parameter("Tool") == ("box" if tool == "box" else "positive")


def test_with_an_empty_segment_that_is_chosen_too_the_tool_is_inside(fixture):
    fixture.click()
    fixture.accept()
    fixture.set(Tool="negative")
    fixture.editor.setCurrentSegmentID(fixture.add_segment("B"))
    assert fixture.effect.scriptedEffect.parameter("Tool") == "positive"
    fixture.set(Tool="negative")
    fixture.editor.setCurrentSegmentID("A")
    assert fixture.effect.scriptedEffect.parameter("Tool") == "negative"  # there is something to take away


def test_on_one_slice_too_a_new_object_has_new_prompts(fixture, model):
    fixture.set(NewSegments=1)
    for box in (((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))):
        fixture.drag(*box)
        fixture.accept()
    assert fixture.segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert len(prompt_nodes()) == 2


# What the model sees


def test_the_model_sees_the_window_of_the_volume(fixture, model):
    fixture.click()
    assert model.asked[-1][1].max() == round((160 - 0) / 200 * 255)
    fixture.volume.GetDisplayNode().SetWindowLevel(160, 80)
    fixture.wait(lambda: len(model.asked) == 2)
    assert model.asked[-1][1].max() == 255


@pytest.mark.parametrize("rule", ["percentiles", "full"])
def test_intensities_can_be_chosen(fixture, model, rule):
    fixture.click()
    fixture.set(Intensity=rule)
    fixture.wait(lambda: len(model.asked) == 2)
    assert model.asked[-1][1].min() == 0 and model.asked[-1][1].max() == 255


def test_a_colour_of_the_window_that_does_not_change_the_picture_asks_nothing(fixture, model):
    fixture.click()
    fixture.volume.GetDisplayNode().SetInterpolate(False)
    fixture.pump(0.05)
    assert len(model.asked) == 1


@pytest.mark.parametrize(("choice", "zoom"), [("auto", None), ("on", True), ("off", False)])
def test_local_zoom_can_be_chosen(fixture, model, choice, zoom):
    fixture.set(Zoom=choice)
    fixture.click()
    assert model.asked[-1][2] is zoom


def test_voxels_that_are_changed_in_place_are_asked_for_anew(fixture, model):
    fixture.click()
    values = slicer.util.arrayFromVolume(fixture.volume)
    values[:] = np.roll(values, 5, axis=2)
    slicer.util.arrayFromVolumeModified(fixture.volume)
    fixture.wait(lambda: len(model.asked) == 2)
    fixture.wait()
    np.testing.assert_array_equal(fixture.shown[0], np.roll(fixture.structure, 5, axis=2)[INSIDE[2]])


def test_other_news_of_the_volume_costs_nothing(fixture, monkeypatch):
    fixture.click()
    looks = []
    monkeypatch.setattr(fixture.controller.updater, "image_changed", lambda: looks.append(1))
    fixture.volume.SetAttribute("note", "seen")
    fixture.volume.Modified()
    fixture.pump(0.05)
    assert looks == []


def test_the_thumbnail_shows_what_the_model_saw(fixture):
    fixture.click()
    fixture.panel.ui.modelButton.collapsed = False
    pixmap = fixture.panel.ui.thumbnailLabel.pixmap
    assert max(pixmap.width(), pixmap.height()) == 120
    picture = pixmap.toImage()
    assert qt_gray(picture.pixelColor(int(25 / 60 * pixmap.width()), int(22 / 50 * pixmap.height()))) == 204
    assert qt_gray(picture.pixelColor(2, 2)) == 51


def test_the_thumbnail_goes_with_the_answer(fixture):
    fixture.panel.ui.modelButton.collapsed = False
    before = fixture.panel.ui.thumbnailLabel.text
    fixture.click()
    assert fixture.panel.ui.thumbnailLabel.text != before
    fixture.effect.clear()
    fixture.pump()
    assert fixture.panel.ui.thumbnailLabel.text == before


def qt_gray(color):
    return round((color.red() + color.green() + color.blue()) / 3)


# Looking ahead


def test_neighbouring_slices_are_prepared_while_idle(fixture, model):
    fixture.click()
    fixture.wait(lambda: len(model.encoded_ahead) >= 17)
    seen = [int((image[..., 0] > 127).sum()) for image in model.encoded_ahead]
    expected = [int(fixture.structure[k].sum()) for k in (10, 11, 9, 12, 8, 13, 7)]
    assert seen[:7] == expected


@pytest.mark.parametrize(("choice", "coarse"), [("auto", True), ("on", True), ("off", False)])
def test_slices_are_prepared_as_the_zoom_that_is_chosen_needs_them(fixture, model, monkeypatch, choice, coarse):
    frames = []
    monkeypatch.setattr(model, "encode", lambda image, should_stop=None, *, coarse=True: frames.append(coarse))
    fixture.set(Zoom=choice)
    fixture.click()
    fixture.wait(lambda: frames)
    assert set(frames) == {coarse}


def test_looking_ahead_can_be_switched_off(fixture, model):
    fixture.set(LookAhead=0)
    fixture.click()
    fixture.pump(0.4)
    assert model.encoded_ahead == []


# The table and saved scenes


def test_the_table_lists_the_sets_and_jumps_and_deletes(fixture):
    fixture.click()
    fixture.accept()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    fixture.click((40, 40, 12), control=True)
    fixture.panel.ui.promptsButton.collapsed = False
    table = fixture.panel.ui.promptsTable
    rows = [[table.item(row, c).text() for c in range(4)] for row in range(table.rowCount)]
    assert rows == [["A", "axial 11", "1+", "accepted"], ["A", "axial 13", "1+ 1\N{MINUS SIGN}", "shown"]]
    assert not fixture.panel.ui.jumpButton.enabled and "Choose a row" in fixture.panel.ui.jumpButton.toolTip
    table.selectRow(0)
    fixture.panel.ui.jumpButton.click()
    fixture.pump()
    offset = fixture.slice_node.GetSliceToRAS().GetElement(2, 3)
    assert offset == pytest.approx(fixture.world(INSIDE)[2])
    fixture.panel.ui.deleteButton.click()
    fixture.pump()
    assert table.rowCount == 1 and len(prompt_nodes()) == 1


def test_the_table_is_filled_while_it_is_open_only(fixture):
    fixture.click()
    ui = fixture.panel.ui
    assert ui.promptsButton.collapsed and ui.promptsTable.rowCount == 0
    assert ui.promptsButton.text == "Prompts (1)"
    ui.promptsButton.collapsed = False
    assert ui.promptsTable.rowCount == 1 and ui.promptsTable.item(0, 3).text() == "shown"
    fixture.accept()
    assert ui.promptsTable.item(0, 3).text() == "accepted"


def test_scrolling_among_many_sets_translates_and_searches_nothing_for_each(fixture, monkeypatch):
    from SAMMed2DLib.imaging import planes
    from SAMMed2DSlicer.effect.panel import effect_panel
    from SAMMed2DSlicer.prompts import prompt_groups
    from SAMMed2DSlicer.prompts.prompt_nodes import ACCEPTED
    from SAMMed2DSlicer.scene import volumes

    def many(count: int):
        plane = volumes.plane_shown(fixture.slice_node, fixture.volume)
        for number in range(2, count + 2):
            one = prompt_groups.PromptGroup(
                fixture.segmentation, fixture.segment_id, fixture.volume, plane, number=number
            )
            one.add_point(fixture.world(INSIDE), True)
            one.set_state(ACCEPTED)

    def counted(module, name):
        calls, real = [], getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (calls.append(args), real(*args))[1])
        return calls

    many(30)
    fixture.wait(lambda: len(fixture.controller.groups) == 30)
    fixture.panel.ui.promptsButton.collapsed = False
    fixture.pump(0.05)
    counted_names = ((effect_panel, "_"), (planes, "are_same_plane"), (prompt_groups, "find_groups"))
    calls = [counted(*what) for what in counted_names]
    fixture.show(2, 12)
    fixture.pump(0.05)
    assert [len(made) < 15 for made in calls] == [True] * 3 and calls[0]


def test_a_loaded_scene_shows_no_prompts_before_the_effect_is_active(fixture, tmp_path):
    fixture.click()
    for widget in map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()):
        widget.mrmlSliceNode().SetOrientation("Axial")
    path = str(tmp_path / "scene.mrb")
    assert prompt_nodes()[0].GetDisplayNode().GetVisibility() and slicer.util.saveScene(path)
    EditorFixture.close_all()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert [node.GetDisplayNode().GetVisibility() for node in prompt_nodes()] == [0]


def test_a_saved_scene_goes_on_where_it_was_left(fixture, model, tmp_path):
    fixture.click()
    fixture.accept()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    fixture.drag((10, 12, 12), (41, 33, 12))
    asked = model.asked[-1][0]
    for widget in map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()):
        widget.mrmlSliceNode().SetOrientation("Axial")  # views turned freely are restored with an error by Slicer
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    EditorFixture.close_all()
    slicer.mrmlScene.Clear(0)
    assert prompt_nodes() == []
    slicer.util.loadScene(path)
    again = EditorFixture.__new__(EditorFixture)
    reopen(again, model, fixture)
    again.show(2, 12)
    again.wait(lambda: again.controller.pending)
    prompts = model.asked[-1][0]
    np.testing.assert_allclose(prompts.points_xy, asked.points_xy, atol=1e-6)
    np.testing.assert_allclose(prompts.box_xyxy, asked.box_xyxy, atol=1e-6)
    assert [s.is_accepted for s in sorted(again.controller.groups, key=lambda s: s.slice_text())] == [True, False]
    again.accept()
    assert again.segment()[10].any() and again.segment()[12].any()


def reopen(fixture: EditorFixture, model, before: EditorFixture):
    fixture.__dict__.update(before.__dict__)
    EditorFixture.opened.append(fixture)
    fixture.volume = slicer.util.getNode("Volume")
    fixture.segmentation = slicer.util.getNode("Segmentation")
    fixture.open_editor()
    fixture.activate()


def test_what_was_added_is_known_after_the_effect_was_left_too(fixture):
    fixture.drag((5, 5, 10), (45, 35, 10))
    fixture.accept()
    whole = fixture.segment()
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    drag_corner(fixture, (45, 35, 10), (28, 24, 10))
    fixture.accept()
    assert 0 < fixture.segment().sum() < whole.sum() - 100


def test_slices_beside_the_view_under_the_mouse_are_prepared_before_any_click(fixture, model):
    fixture.wait(lambda: fixture.effect._service.state.is_ready)
    fixture.view.mouse("EnterEvent", *fixture.xy(INSIDE))
    fixture.wait(lambda: len(model.encoded_ahead) >= 5)


def test_with_a_segmentation_go_its_prompts(fixture):
    fixture.click()
    slicer.mrmlScene.RemoveNode(fixture.segmentation)
    fixture.pump(0.05)
    assert prompt_nodes() == []


def test_with_a_volume_go_its_prompts_of_any_segmentation(fixture):
    from SAMMed2DSlicer.prompts import prompt_groups
    from SAMMed2DSlicer.scene import volumes

    fixture.click()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    name = other.GetSegmentation().AddEmptySegment("C", "C")
    plane = volumes.plane_shown(fixture.slice_node, fixture.volume)
    prompt_groups.PromptGroup(other, name, fixture.volume, plane).add_point(fixture.world(INSIDE), True)
    assert len(prompt_nodes()) == 2
    slicer.mrmlScene.RemoveNode(fixture.volume)
    fixture.pump(0.05)
    assert prompt_nodes() == []


def test_every_prompt_has_one_display_and_leaves_none(fixture):
    def displays():
        nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
        return [node.GetDisplayableNode() for node in nodes]

    fixture.click()
    fixture.drag((10, 12, 10), (41, 33, 10))
    assert len(displays()) == 2 and None not in displays()
    fixture.effect.clear()
    fixture.pump()
    assert displays() == []
