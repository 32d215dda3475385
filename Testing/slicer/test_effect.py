"""The effect as an annotator uses it: prompts, previews, accepting, undo, and Slicer's rules for writing."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from desk import GEOMETRIES, INSIDE, Desk, put_under


@pytest.fixture
def desk(model) -> Desk:
    return Desk(model, GEOMETRIES["anisotropic and offset"])


def prompt_nodes():
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    return list(prompt_nodes())


def slice_of(structure: np.ndarray, k: int) -> np.ndarray:
    expected = np.zeros_like(structure)
    expected[k] = structure[k]
    return expected


def mouse_to(desk: Desk, xy):
    desk.view.mouse("MouseMoveEvent", *xy)


# Prompts


def test_a_click_makes_a_positive_point_and_shows_a_mask(desk, model):
    desk.click()
    (points,) = prompt_nodes()
    assert points.IsA("vtkMRMLMarkupsFiducialNode") and points.GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), desk.world(INSIDE), atol=0.5)
    (shown,) = desk.shown
    np.testing.assert_array_equal(shown, desk.structure[INSIDE[2]])
    assert not desk.segment().any()


@pytest.mark.parametrize(
    ("tool", "control", "label"),
    [("positive", False, 1), ("positive", True, 0), ("negative", False, 0), ("negative", True, 1)],
)
def test_tool_and_ctrl_decide_about_the_sign(desk, model, tool, control, label):
    desk.click()
    desk.set(Tool=tool)
    desk.click((40, 40, 10), control=control)
    assert model.asked[-1][0].labels.tolist() == [1, label]


def test_signs_are_seen_as_labels_and_kept_in_descriptions(desk):
    desk.click()
    desk.click((40, 40, 10), control=True)
    (points,) = prompt_nodes()
    assert [points.GetNthControlPointLabel(n) for n in (0, 1)] == ["+", "\N{MINUS SIGN}"]
    assert [points.GetNthControlPointDescription(n) for n in (0, 1)] == ["positive", "negative"]


def test_a_drag_makes_a_box(desk, model):
    desk.drag((10, 12, 10), (41, 33, 10))
    (box,) = prompt_nodes()
    assert box.IsA("vtkMRMLMarkupsROINode")
    prompts = model.asked[-1][0]
    np.testing.assert_allclose(prompts.box_xyxy, (10.5, 12.5, 41.5, 33.5), atol=0.6)
    assert len(prompts.labels) == 0


def test_a_second_drag_replaces_the_box(desk, model):
    desk.drag((10, 12, 10), (41, 33, 10))
    desk.drag((20, 20, 10), (30, 25, 10))
    assert len(prompt_nodes()) == 1
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (20.5, 20.5, 30.5, 25.5), atol=0.6)


@pytest.mark.parametrize(("to", "size"), [((41, 12, 10), (31, 1)), ((10, 33, 10), (1, 21))])
def test_a_thin_drag_makes_a_box_of_one_row_of_pixels(desk, model, to, size):
    desk.drag((10, 12, 10), to)
    x0, y0, x1, y1 = model.asked[-1][0].box_xyxy
    np.testing.assert_allclose((x1 - x0, y1 - y0), size, atol=1.0)
    assert x1 - x0 > 0.99 and y1 - y0 > 0.99 and len(model.asked[-1][0].labels) == 0


def test_the_box_may_reach_over_the_border_of_the_image(desk, model):
    desk.drag((-8, -6, 10), (41, 33, 10))
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (0, 0, 41.5, 33.5), atol=0.6)


def test_with_the_box_tool_a_click_does_nothing(desk, model):
    desk.set(Tool="box")
    desk.click()
    assert prompt_nodes() == [] and model.asked == []


def test_the_rubber_band_is_seen_while_dragging_only(desk):
    before = desk.image()
    a, b = desk.xy((5, 5, 10)), desk.xy((45, 45, 10))
    mouse_to(desk, a)
    desk.view.mouse("LeftButtonPressEvent", *a)
    mouse_to(desk, b)
    band = desk.image()
    height = band.shape[0]
    assert np.abs(band - before)[height - 1 - a[1], (a[0] + b[0]) // 2].sum() > 60
    desk.set(Tool="box")
    desk.view.mouse("LeftButtonReleaseEvent", *a)  # back to where it began: no drag
    np.testing.assert_array_equal(desk.image(), before)


def test_each_slice_and_each_segment_has_a_set_of_its_own(desk, model):
    desk.click()
    desk.show(2, 12)
    desk.click((26, 22, 12))
    desk.editor.setCurrentSegmentID(desk.add_segment("B"))
    desk.pump()
    desk.click((27, 22, 12))
    assert [len(prompts.labels) for prompts, _, _ in model.asked] == [1, 1, 1]
    assert sorted((s.segment_id, s.slice_text()) for s in desk.controller.groups) == [
        ("A", "axial 11"),
        ("A", "axial 13"),
        ("B", "axial 13"),
    ]


def test_prompts_are_seen_on_their_own_slice_only(desk):
    desk.click()
    (points,) = prompt_nodes()

    def views():
        display = points.GetDisplayNode()
        ids = [display.GetNthViewNodeID(n) for n in range(display.GetNumberOfViewNodeIDs())]
        return ids if display.GetVisibility() else []

    assert views() == [desk.slice_node.GetID()]
    desk.show(2, 13)
    assert views() == []
    desk.show(2, INSIDE[2])
    assert views() == [desk.slice_node.GetID()]
    desk.editor.setCurrentSegmentID(desk.add_segment("B"))
    desk.pump()
    assert views() == []


def test_points_are_dragged_with_the_mouse_and_asked_for_again(desk, model):
    desk.click()
    start, end = desk.xy(INSIDE), desk.xy((32, 25, 10))
    mouse_to(desk, start)
    desk.view.drag(start, end)
    desk.wait()
    (points,) = prompt_nodes()
    assert points.GetNumberOfControlPoints() == 1
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), desk.world((32, 25, 10)), atol=0.6)
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [(32, 25)], atol=0.8)


def test_a_box_is_resized_at_its_corner(desk, model):
    desk.drag((10, 12, 10), (41, 33, 10))
    corner, to = desk.xy((41, 33, 10)), desk.xy((48, 39, 10))
    mouse_to(desk, corner)
    desk.view.drag(corner, to)
    desk.wait()
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (10.5, 12.5, 48.5, 39.5), atol=1.0)


def test_within_a_box_a_click_gives_a_point(desk, model):
    desk.drag((10, 12, 10), (41, 33, 10))
    mouse_to(desk, desk.xy((22, 20, 10)))
    desk.click((22, 20, 10))
    assert len(model.asked[-1][0].labels) == 1 and model.asked[-1][0].box_xyxy is not None


def test_a_deleted_point_is_forgotten_and_with_the_last_one_the_set_goes(desk, model):
    desk.click()
    desk.click((28, 24, 10))
    (points,) = prompt_nodes()
    points.RemoveNthControlPoint(0)
    desk.wait()
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [(28, 24)], atol=0.8)
    points.RemoveNthControlPoint(0)
    desk.wait()
    assert prompt_nodes() == [] and desk.controller.groups == [] and desk.shown == []


def test_a_point_that_is_deselected_in_the_markups_module_becomes_negative(desk, model):
    desk.click()
    desk.click((40, 40, 10))
    (points,) = prompt_nodes()
    points.SetNthControlPointSelected(1, False)
    desk.wait()
    assert model.asked[-1][0].labels.tolist() == [1, 0]
    assert points.GetNthControlPointLabel(1) == "\N{MINUS SIGN}"


def test_a_point_moved_off_its_slice_does_not_count_and_is_told(desk, model):
    desk.click()
    desk.click((28, 24, 10))
    (points,) = prompt_nodes()
    points.SetNthControlPointPositionWorld(1, *desk.world((28, 24, 14)))
    desk.wait()
    assert len(model.asked[-1][0].labels) == 1
    assert "moved off" in desk.status.text


def test_contradicting_points_are_explained(desk):
    desk.click()
    desk.controller.add_point(desk.widget, desk.xy(INSIDE), False)
    desk.wait()
    assert "A click inside and a click outside are at the same place" in desk.status.text
    assert desk.status.level == "warning"


def test_a_click_moves_with_the_transform_of_the_volume(desk, model):
    transform = put_under(desk.volume, np.eye(4))
    desk.segmentation.SetAndObserveTransformNodeID(transform.GetID())
    desk.pump()
    desk.click()
    moved = np.eye(4)
    moved[:3, 3] = (13, -4, 0)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    desk.world_from_ras = moved
    desk.show(2, INSIDE[2])
    desk.wait()
    (points,) = prompt_nodes()
    np.testing.assert_allclose(points.GetNthControlPointPositionWorld(0), desk.world(INSIDE), atol=0.6)
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [INSIDE[:2]], atol=0.6)


# Accepting


def test_accepting_writes_what_is_shown_and_hides_the_preview(desk):
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, INSIDE[2]))
    assert desk.shown == [] and "370 voxels changed" in desk.status.text


def test_accepting_an_answer_that_is_on_its_way_waits_for_it(desk, model):
    model.delay_s = 0.1
    desk.view.click(*desk.xy(INSIDE))
    desk.effect.accept()
    assert not desk.segment().any()
    desk.wait()
    assert desk.segment().any()


def test_accepting_at_once_needs_no_enter(desk):
    desk.set(AcceptAtOnce=1)
    desk.click()
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, INSIDE[2]))


def test_each_acceptance_is_one_step_of_undo(desk):
    states = [desk.segment()]
    for k in (9, 10, 11):
        desk.show(2, k)
        desk.click((25, 22, k))
        desk.accept()
        states.append(desk.segment())
    for state in reversed(states[:-1]):
        desk.editor.undo()
        np.testing.assert_array_equal(desk.segment(), state)
    for state in states[1:]:
        desk.editor.redo()
        np.testing.assert_array_equal(desk.segment(), state)


def test_one_acceptance_of_several_objects_is_one_step_of_undo(desk):
    own_voxels(desk, np.s_[9, 30:34, 2:50])
    before = desk.segment()
    for k in (10, 12):
        desk.show(2, k)
        desk.click((25, 22, k))
    desk.accept()
    after = desk.segment()
    assert after[10].any() and after[12].any()
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(), before)
    desk.editor.redo()
    np.testing.assert_array_equal(desk.segment(), after)


def drag_corner(desk, corner, to):
    """Drag a corner of a box, which gets its handles back first, if it was accepted."""
    for one in [one for one in desk.controller.groups if one.is_accepted]:
        desk.controller.jump_to(one)
    mouse_to(desk, desk.xy(corner))
    desk.view.drag(desk.xy(corner), desk.xy(to))
    desk.wait()


def own_voxels(desk, place) -> np.ndarray:
    """Voxels of the user's own in the segment, beside what the effect wrote."""
    voxels = desk.segment()
    voxels[place] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        voxels.astype(np.uint8), desk.segmentation, desk.segment_id, desk.volume
    )
    return voxels


def test_corrected_prompts_take_back_what_they_had_added_and_nothing_else(desk):
    other = own_voxels(desk, np.s_[10, 30:34, 2:50])
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    whole = other | slice_of(desk.structure, 10)
    np.testing.assert_array_equal(desk.segment(), whole)
    drag_corner(desk, (45, 35, 10), (28, 24, 10))
    desk.accept()
    found = desk.segment()
    assert (found & other).sum() == other.sum() and found.sum() < whole.sum() - 100
    assert not (found & ~whole).any()
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(), whole)


def test_a_second_object_on_the_slice_leaves_the_first_alone(desk):
    boxes = [((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))]
    desk.drag(*boxes[0])
    desk.accept()
    first = desk.segment()
    desk.drag(*boxes[1])
    desk.accept()
    assert first.any() and (desk.segment() & first).sum() == first.sum() and desk.segment().sum() > first.sum()
    assert len(desk.controller.groups) == 2


def test_a_negative_point_corrects_the_nearest_accepted_object(desk, model):
    for box in (((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))):
        desk.drag(*box)
        desk.accept()
    desk.click((40, 36, 10), control=True)
    assert sorted(one.counts() for one in desk.controller.groups) == [(0, 0, 1), (0, 1, 1)]
    assert model.asked[-1][0].box_xyxy[0] > 20


def test_what_the_user_did_meanwhile_is_not_taken_back(desk):
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    desk.editor.undo()
    own = own_voxels(desk, np.s_[10, 15:28, 15:35])
    drag_corner(desk, (45, 35, 10), (28, 24, 10))
    desk.accept()
    assert (desk.segment() & own).sum() == own.sum()
    assert "nothing was taken back" in desk.status.text


def test_undo_and_redo_in_between_do_no_harm(desk):
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    desk.editor.undo()
    desk.editor.redo()
    whole = desk.segment()
    drag_corner(desk, (45, 35, 10), (28, 24, 10))
    desk.accept()
    assert desk.segment().sum() < whole.sum() - 100


def test_accepting_at_once_refines_until_enter_closes_the_object(desk, model):
    desk.set(AcceptAtOnce=1)
    desk.click()
    desk.click((40, 40, 10), control=True)
    desk.click((28, 24, 10))
    assert [one.counts() for one in desk.controller.groups] == [(2, 1, 0)]
    assert desk.controller.groups[0].state == "written"
    desk.accept()
    desk.click((22, 20, 10))
    assert [one.counts() for one in desk.controller.groups] == [(2, 1, 0), (1, 0, 0)]


def test_undo_of_an_acceptance_opens_the_prompts_again_and_redo_closes_them(desk):
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    whole = desk.segment()
    desk.editor.undo()
    desk.wait(lambda: desk.shown)
    assert [one.state for one in desk.controller.groups] == ["open"] and desk.panel.ui.acceptButton.enabled
    desk.editor.redo()
    desk.wait(lambda: not desk.shown)
    assert [one.state for one in desk.controller.groups] == ["accepted"] and "Enter accepts" not in desk.status.text
    desk.editor.undo()
    desk.wait(lambda: desk.shown)
    desk.accept()
    np.testing.assert_array_equal(desk.segment(), whole)
    assert "voxels changed" in desk.status.text and "taken back" not in desk.status.text


def test_undo_of_a_correction_opens_the_prompts_too(desk):
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    whole = desk.segment()
    drag_corner(desk, (45, 35, 10), (28, 24, 10))
    desk.accept()
    desk.editor.undo()
    desk.wait(lambda: desk.shown)
    np.testing.assert_array_equal(desk.segment(), whole)
    assert [one.state for one in desk.controller.groups] == ["open"]


def test_what_was_undone_is_not_written_at_once_again(desk):
    desk.set(AcceptAtOnce=1)
    desk.click()
    desk.editor.undo()
    desk.wait(lambda: desk.shown)
    assert not desk.segment().any()
    desk.click((28, 24, 10))
    assert desk.segment().any() and desk.shown == []


def test_clearing_removes_the_prompts_and_leaves_the_segment(desk):
    desk.click()
    desk.accept()
    desk.show(2, 12)
    desk.click((26, 22, 12))
    desk.effect.clear()
    desk.pump()
    assert [s.slice_text() for s in desk.controller.groups] == ["axial 11"] and desk.shown == []
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, INSIDE[2]))


def test_an_empty_answer_changes_nothing_and_says_so(desk, model):
    desk.set(AcceptAtOnce=1)
    model.finds_nothing = True
    desk.click()
    assert "finds nothing" in desk.status.text and not desk.segment().any() and desk.shown == []


def test_nothing_to_accept_is_said(desk):
    desk.accept()
    assert "nothing to accept" in desk.status.text


# Slicer's rules for writing


def neighbour(desk: Desk) -> str:
    """A second segment over the left half of the structure."""
    half = desk.structure.copy()
    half[:, :, 25:] = False
    name = desk.add_segment("B")
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), desk.segmentation, name, desk.volume)
    desk.editor.setCurrentSegmentID(desk.segment_id)
    desk.pump()
    return name


def test_other_segments_are_protected_unless_the_user_says_otherwise(desk):
    other = neighbour(desk)
    before = desk.segment(other)
    assert desk.editor_node.GetOverwriteMode() == desk.editor_node.OverwriteAllSegments  # Slicer's default
    assert desk.panel.ui.protectsOthersCheckBox.checked
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(other), before)
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, 10))
    assert desk.editor_node.GetOverwriteMode() == desk.editor_node.OverwriteAllSegments
    assert desk.status.text == "Accepted: 370 voxels changed."


def test_what_is_chosen_last_holds_protecting_or_masking(desk):
    node, check = desk.editor_node, desk.panel.ui.protectsOthersCheckBox
    node.SetOverwriteMode(node.OverwriteVisibleSegments)
    assert not check.checked
    check.click()
    assert check.checked and node.GetOverwriteMode() == node.OverwriteVisibleSegments
    desk.editor.setActiveEffect(None)
    desk.activate()
    assert check.checked
    node.SetOverwriteMode(node.OverwriteNone)
    assert check.checked
    desk.editor.setActiveEffect(None)
    node.SetOverwriteMode(node.OverwriteAllSegments)
    desk.activate()
    assert not check.checked


def test_what_an_acceptance_took_from_whom_is_said_and_undo_takes_it_back(desk):
    other = neighbour(desk)
    desk.segmentation.GetSegmentation().GetSegment(other).SetName("Liver & co")
    before = desk.segment(other)
    desk.panel.ui.protectsOthersCheckBox.click()
    desk.click()
    desk.accept()
    lost = int((before & ~desk.segment(other)).sum())
    assert lost == 200 and desk.status.level == "warning"
    assert desk.status.text == "Accepted: 370 voxels changed. Liver & co lost 200 voxels; Undo takes it back."
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(other), before)


def test_overlap_is_allowed_where_the_user_allows_it(desk):
    other = neighbour(desk)
    before = desk.segment(other)
    desk.set(ProtectOthers=0)
    desk.editor_node.SetOverwriteMode(desk.editor_node.OverwriteNone)
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(other), before)
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, 10))


def test_other_segments_give_way_where_the_user_says_so(desk):
    other = neighbour(desk)
    before = desk.segment(other)
    desk.set(ProtectOthers=0)
    desk.editor_node.SetOverwriteMode(desk.editor_node.OverwriteAllSegments)
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(other), before & ~slice_of(desk.structure, 10))


def test_a_hidden_neighbour_is_kept_when_visible_segments_give_way(desk):
    other = neighbour(desk)
    before = desk.segment(other)
    desk.segmentation.GetDisplayNode().SetSegmentVisibility(other, False)
    desk.editor_node.SetOverwriteMode(desk.editor_node.OverwriteVisibleSegments)
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(other), before)


def test_the_editable_area_holds(desk):
    other = neighbour(desk)
    before = desk.segment(other)
    desk.editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    desk.click()
    desk.accept()
    np.testing.assert_array_equal(desk.segment(other), before)
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, 10) & ~before)


def test_the_intensity_range_holds(desk):
    values = slicer.util.arrayFromVolume(desk.volume)
    values[10, :20] += 20  # 180 where bright: out of the range
    slicer.util.arrayFromVolumeModified(desk.volume)
    desk.editor_node.SetSourceVolumeIntensityMask(True)
    desk.editor_node.SetSourceVolumeIntensityMaskRange(150, 170)
    desk.click()
    desk.accept()
    expected = slice_of(desk.structure, 10)
    expected[:, :20] = False
    np.testing.assert_array_equal(desk.segment(), expected)


def test_when_masking_leaves_nothing_to_write_it_is_said(desk):
    desk.editor_node.SetSourceVolumeIntensityMask(True)
    desk.editor_node.SetSourceVolumeIntensityMaskRange(1000, 2000)
    desk.click()
    desk.accept()
    words = "370 px found, 0 inside the intensity range: nothing would be written. Change the masking"
    assert desk.status.text.startswith(words) and not desk.segment().any()
    desk.editor_node.SetSourceVolumeIntensityMaskRange(100, 200)
    desk.wait(lambda: "Enter accepts" in desk.status.text)
    desk.accept()
    np.testing.assert_array_equal(desk.segment(), slice_of(desk.structure, 10))


# Many objects


def test_every_accepted_object_becomes_a_new_segment(desk):
    desk.set(NewSegments=1)
    for k in (8, 10, 12):
        desk.show(2, k)
        desk.click((25, 22, k))
        desk.accept()
    segmentation = desk.segmentation.GetSegmentation()
    names = [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]
    assert names == ["A", "A #2", "A #3"]
    for n, k in enumerate((8, 10, 12)):
        found = desk.segment(segmentation.GetNthSegmentID(n))
        np.testing.assert_array_equal(found, slice_of(desk.structure, k))


@pytest.mark.parametrize("tool", ["negative", "box"])
def test_a_new_segment_begins_with_the_tool_inside(desk, tool):
    desk.set(NewSegments=1, Tool=tool)
    desk.drag((10, 12, 10), (41, 33, 10))
    desk.accept()
    assert desk.effect.scriptedEffect.parameter("Tool") == ("box" if tool == "box" else "positive")


def test_with_an_empty_segment_that_is_chosen_too_the_tool_is_inside(desk):
    desk.click()
    desk.accept()
    desk.set(Tool="negative")
    desk.editor.setCurrentSegmentID(desk.add_segment("B"))
    assert desk.effect.scriptedEffect.parameter("Tool") == "positive"
    desk.set(Tool="negative")
    desk.editor.setCurrentSegmentID("A")
    assert desk.effect.scriptedEffect.parameter("Tool") == "negative"  # there is something to take away


def test_on_one_slice_too_a_new_object_has_new_prompts(desk, model):
    desk.set(NewSegments=1)
    for box in (((5, 10, 10), (24, 35, 10)), ((26, 10, 10), (45, 35, 10))):
        desk.drag(*box)
        desk.accept()
    assert desk.segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert len(prompt_nodes()) == 2


# What the model sees


def test_the_model_sees_the_window_of_the_volume(desk, model):
    desk.click()
    assert model.asked[-1][1].max() == round((160 - 0) / 200 * 255)
    desk.volume.GetDisplayNode().SetWindowLevel(160, 80)
    desk.wait(lambda: len(model.asked) == 2)
    assert model.asked[-1][1].max() == 255


@pytest.mark.parametrize("rule", ["percentiles", "full"])
def test_intensities_can_be_chosen(desk, model, rule):
    desk.click()
    desk.set(Intensity=rule)
    desk.wait(lambda: len(model.asked) == 2)
    assert model.asked[-1][1].min() == 0 and model.asked[-1][1].max() == 255


def test_a_colour_of_the_window_that_does_not_change_the_picture_asks_nothing(desk, model):
    desk.click()
    desk.volume.GetDisplayNode().SetInterpolate(False)
    desk.pump(0.05)
    assert len(model.asked) == 1


@pytest.mark.parametrize(("choice", "zoom"), [("auto", None), ("on", True), ("off", False)])
def test_local_zoom_can_be_chosen(desk, model, choice, zoom):
    desk.set(Zoom=choice)
    desk.click()
    assert model.asked[-1][2] is zoom


def test_voxels_that_are_changed_in_place_are_asked_for_anew(desk, model):
    desk.click()
    values = slicer.util.arrayFromVolume(desk.volume)
    values[:] = np.roll(values, 5, axis=2)
    slicer.util.arrayFromVolumeModified(desk.volume)
    desk.wait(lambda: len(model.asked) == 2)
    desk.wait()
    np.testing.assert_array_equal(desk.shown[0], np.roll(desk.structure, 5, axis=2)[INSIDE[2]])


def test_other_news_of_the_volume_costs_nothing(desk, monkeypatch):
    desk.click()
    looks = []
    monkeypatch.setattr(desk.controller.updater, "image_changed", lambda: looks.append(1))
    desk.volume.SetAttribute("note", "seen")
    desk.volume.Modified()
    desk.pump(0.05)
    assert looks == []


def test_the_thumbnail_shows_what_the_model_saw(desk):
    desk.click()
    pixmap = desk.panel.ui.thumbnailLabel.pixmap
    assert max(pixmap.width(), pixmap.height()) == 72
    picture = pixmap.toImage()
    assert qt_gray(picture.pixelColor(int(25 / 60 * pixmap.width()), int(22 / 50 * pixmap.height()))) == 204
    assert qt_gray(picture.pixelColor(2, 2)) == 51


def test_the_thumbnail_goes_with_the_answer(desk):
    before = desk.panel.ui.thumbnailLabel.text
    desk.click()
    assert desk.panel.ui.thumbnailLabel.text != before
    desk.effect.clear()
    desk.pump()
    assert desk.panel.ui.thumbnailLabel.text == before


def qt_gray(color):
    return round((color.red() + color.green() + color.blue()) / 3)


# Looking ahead


def test_neighbouring_slices_are_prepared_while_idle(desk, model):
    desk.click()
    desk.wait(lambda: len(model.encoded_ahead) >= 17)
    seen = [int((image[..., 0] > 127).sum()) for image in model.encoded_ahead]
    expected = [int(desk.structure[k].sum()) for k in (10, 11, 9, 12, 8, 13, 7)]
    assert seen[:7] == expected


def test_looking_ahead_can_be_switched_off(desk, model):
    desk.set(LookAhead=0)
    desk.click()
    desk.pump(0.4)
    assert model.encoded_ahead == []


# The table and saved scenes


def test_the_table_lists_the_sets_and_jumps_and_deletes(desk):
    desk.click()
    desk.accept()
    desk.show(2, 12)
    desk.click((26, 22, 12))
    desk.click((40, 40, 12), control=True)
    desk.panel.ui.promptsButton.collapsed = False
    table = desk.panel.ui.promptsTable
    rows = [[table.item(row, c).text() for c in range(4)] for row in range(table.rowCount)]
    assert rows == [["A", "axial 11", "1+", "accepted"], ["A", "axial 13", "1+ 1\N{MINUS SIGN}", "shown"]]
    assert not desk.panel.ui.jumpButton.enabled and "Choose a row" in desk.panel.ui.jumpButton.toolTip
    table.selectRow(0)
    desk.panel.ui.jumpButton.click()
    desk.pump()
    offset = desk.slice_node.GetSliceToRAS().GetElement(2, 3)
    assert offset == pytest.approx(desk.world(INSIDE)[2])
    desk.panel.ui.deleteButton.click()
    desk.pump()
    assert table.rowCount == 1 and len(prompt_nodes()) == 1


def test_the_table_is_filled_while_it_is_open_only(desk):
    desk.click()
    ui = desk.panel.ui
    assert ui.promptsButton.collapsed and ui.promptsTable.rowCount == 0
    assert ui.promptsButton.text == "Prompts (1)"
    ui.promptsButton.collapsed = False
    assert ui.promptsTable.rowCount == 1 and ui.promptsTable.item(0, 3).text() == "shown"
    desk.accept()
    assert ui.promptsTable.item(0, 3).text() == "accepted"


def test_scrolling_among_many_sets_translates_and_searches_nothing_for_each(desk, monkeypatch):
    from SAMMed2DLib.imaging import planes
    from SAMMed2DSlicer.effect import effect_panel
    from SAMMed2DSlicer.prompts import prompt_groups
    from SAMMed2DSlicer.scene import volumes

    def many(count: int):
        plane = volumes.plane_shown(desk.slice_node, desk.volume)
        for number in range(2, count + 2):
            one = prompt_groups.PromptGroup(desk.segmentation, desk.segment_id, desk.volume, plane, number=number)
            one.add_point(desk.world(INSIDE), True)
            one.set_state(prompt_groups.ACCEPTED)

    def counted(module, name):
        calls, real = [], getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: (calls.append(args), real(*args))[1])
        return calls

    many(30)
    desk.wait(lambda: len(desk.controller.groups) == 30)
    desk.panel.ui.promptsButton.collapsed = False
    desk.pump(0.05)
    counted_names = ((effect_panel, "_"), (planes, "are_same_plane"), (prompt_groups, "find_groups"))
    calls = [counted(*what) for what in counted_names]
    desk.show(2, 12)
    desk.pump(0.05)
    assert [len(made) < 15 for made in calls] == [True] * 3 and calls[0]


def test_a_loaded_scene_shows_no_prompts_before_the_effect_is_active(desk, tmp_path):
    desk.click()
    for widget in map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()):
        widget.mrmlSliceNode().SetOrientation("Axial")
    path = str(tmp_path / "scene.mrb")
    assert prompt_nodes()[0].GetDisplayNode().GetVisibility() and slicer.util.saveScene(path)
    Desk.close_all()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    assert [node.GetDisplayNode().GetVisibility() for node in prompt_nodes()] == [0]


def test_a_saved_scene_goes_on_where_it_was_left(desk, model, tmp_path):
    desk.click()
    desk.accept()
    desk.show(2, 12)
    desk.click((26, 22, 12))
    desk.drag((10, 12, 12), (41, 33, 12))
    asked = model.asked[-1][0]
    for widget in map(slicer.app.layoutManager().sliceWidget, slicer.app.layoutManager().sliceViewNames()):
        widget.mrmlSliceNode().SetOrientation("Axial")  # views turned freely are restored with an error by Slicer
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    Desk.close_all()
    slicer.mrmlScene.Clear(0)
    assert prompt_nodes() == []
    slicer.util.loadScene(path)
    again = Desk.__new__(Desk)
    reopen(again, model, desk)
    again.show(2, 12)
    again.wait(lambda: again.controller.pending)
    prompts = model.asked[-1][0]
    np.testing.assert_allclose(prompts.points_xy, asked.points_xy, atol=1e-6)
    np.testing.assert_allclose(prompts.box_xyxy, asked.box_xyxy, atol=1e-6)
    assert [s.is_accepted for s in sorted(again.controller.groups, key=lambda s: s.slice_text())] == [True, False]
    again.accept()
    assert again.segment()[10].any() and again.segment()[12].any()


def reopen(desk: Desk, model, before: Desk):
    desk.__dict__.update(before.__dict__)
    Desk.opened.append(desk)
    desk.volume = slicer.util.getNode("Volume")
    desk.segmentation = slicer.util.getNode("Segmentation")
    desk.open_editor()
    desk.activate()


def test_what_was_added_is_known_after_the_effect_was_left_too(desk):
    desk.drag((5, 5, 10), (45, 35, 10))
    desk.accept()
    whole = desk.segment()
    desk.editor.setActiveEffect(None)
    desk.activate()
    drag_corner(desk, (45, 35, 10), (28, 24, 10))
    desk.accept()
    assert 0 < desk.segment().sum() < whole.sum() - 100


def test_slices_beside_the_view_under_the_mouse_are_prepared_before_any_click(desk, model):
    desk.wait(lambda: desk.effect._service.state.is_ready)
    desk.view.mouse("EnterEvent", *desk.xy(INSIDE))
    desk.wait(lambda: len(model.encoded_ahead) >= 5)


def test_with_a_segmentation_go_its_prompts(desk):
    desk.click()
    slicer.mrmlScene.RemoveNode(desk.segmentation)
    desk.pump(0.05)
    assert prompt_nodes() == []


def test_with_a_volume_go_its_prompts_of_any_segmentation(desk):
    from SAMMed2DSlicer.prompts import prompt_groups
    from SAMMed2DSlicer.scene import volumes

    desk.click()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    name = other.GetSegmentation().AddEmptySegment("C", "C")
    plane = volumes.plane_shown(desk.slice_node, desk.volume)
    prompt_groups.PromptGroup(other, name, desk.volume, plane).add_point(desk.world(INSIDE), True)
    assert len(prompt_nodes()) == 2
    slicer.mrmlScene.RemoveNode(desk.volume)
    desk.pump(0.05)
    assert prompt_nodes() == []


def test_every_prompt_has_one_display_and_leaves_none(desk):
    def displays():
        nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
        return [node.GetDisplayableNode() for node in nodes]

    desk.click()
    desk.drag((10, 12, 10), (41, 33, 10))
    assert len(displays()) == 2 and None not in displays()
    desk.effect.clear()
    desk.pump()
    assert displays() == []
