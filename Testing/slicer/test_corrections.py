"""Clicks correct a mask that is there, of whatever origin: "outside" takes away, "inside" adds."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from desk import CORRECTED_PX, GEOMETRIES, INSIDE, Desk, a_volume, affine, turned
from module_kit import a_case

K = INSIDE[2]


def painted(desk: Desk, kji=np.s_[K, 10:40, 10:40], segment_id=None) -> np.ndarray:
    """A mask that somebody else made: a square on the slice of the clicks, and one on the slice above."""
    mask = np.zeros(desk.structure.shape, bool)
    mask[kji] = True
    mask[K + 1, 10:20, 10:20] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        mask.astype(np.uint8), desk.segmentation, segment_id or desk.segment_id, desk.volume
    )
    desk.pump(0.05)
    return mask


def around(*points_xy) -> np.ndarray:
    rows, columns = np.mgrid[:50, :60]
    return np.any([(columns - x) ** 2 + (rows - y) ** 2 < CORRECTED_PX**2 for x, y in points_xy], axis=0)


def prompts():
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    return list(prompt_nodes())


@pytest.fixture
def desk(model) -> Desk:
    return Desk(model)


def test_a_click_outside_takes_away_and_undo_brings_it_back(desk, model):
    before = painted(desk)
    desk.set(Tool="negative")
    desk.click((38, 38, K))
    np.testing.assert_array_equal(model.corrected[-1], before[K])
    assert model.asked[-1][0].labels.tolist() == [0]
    np.testing.assert_array_equal(desk.segment(), before)
    desk.accept()
    expected = before.copy()
    expected[K] &= ~around((38, 38))
    np.testing.assert_array_equal(desk.segment(), expected)
    assert "voxels changed" in desk.status.text
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(), before)
    desk.wait(lambda: desk.shown)
    desk.editor.redo()
    np.testing.assert_array_equal(desk.segment(), expected)


@pytest.mark.parametrize("place", [(39, 25), (41, 25)], ids=["on its border", "just beside"])
def test_a_click_inside_adds_and_takes_nothing_away(desk, place):
    before = painted(desk)
    desk.click((*place, K))
    desk.accept()
    expected = before.copy()
    expected[K] |= around(place)
    np.testing.assert_array_equal(desk.segment(), expected)


def test_further_clicks_refine_the_same_correction(desk, model):
    before = painted(desk)
    desk.click((38, 38, K), control=True)
    desk.click((11, 11, K), control=True)
    desk.click((42, 12, K))
    assert len(prompts()) == 1 and model.asked[-1][0].labels.tolist() == [0, 0, 1]
    desk.accept()
    expected = before.copy()
    expected[K] = (before[K] & ~around((38, 38), (11, 11))) | around((42, 12))
    np.testing.assert_array_equal(desk.segment(), expected)


def test_a_moved_prompt_of_an_accepted_correction_gives_back_what_it_took(desk):
    before = painted(desk)
    desk.click((38, 38, K), control=True)
    desk.accept()
    (points,) = prompts()
    points.SetNthControlPointPositionWorld(0, *desk.world((11, 11, K)))
    desk.wait(lambda: desk.shown)
    desk.accept()
    expected = before.copy()
    expected[K] &= ~around((11, 11))
    np.testing.assert_array_equal(desk.segment(), expected)


@pytest.mark.parametrize("is_active", [True, False], ids=["while the effect is active", "with another effect"])
def test_what_was_erased_before_a_correction_is_accepted_does_not_come_back(desk, is_active):
    before = painted(desk)
    desk.click((38, 38, K), control=True)
    if not is_active:
        desk.editor.setActiveEffect(None)
    erased = before.copy()
    erased[K, 10:15, 10:15] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        erased.astype(np.uint8), desk.segmentation, desk.segment_id, desk.volume
    )
    if not is_active:
        desk.activate()
    desk.wait(lambda: "842 px: 0 added, 33 removed" in desk.status.text)
    desk.accept()
    erased[K] &= ~around((38, 38))
    np.testing.assert_array_equal(desk.segment(), erased)


def test_a_correction_of_a_mask_that_is_gone_meanwhile_does_not_bring_it_back(desk, model):
    before = painted(desk)
    desk.click((38, 38, K))
    before[K] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        before.astype(np.uint8), desk.segmentation, desk.segment_id, desk.volume
    )
    desk.wait(lambda: model.corrected[-1] is None)
    desk.accept()
    before[K] = desk.structure[K]  # what the model finds without a mask
    np.testing.assert_array_equal(desk.segment(), before)


def test_undoing_corrections_that_were_accepted_at_once_shows_them_again(desk):
    before = painted(desk)
    desk.set(AcceptAtOnce=1)
    desk.click((38, 38, K), control=True)
    desk.click((11, 11, K), control=True)
    desk.editor.undo()
    desk.wait(lambda: "0 added, 33 removed" in desk.status.text)
    desk.editor.undo()
    desk.wait(lambda: "0 added, 66 removed" in desk.status.text)
    np.testing.assert_array_equal(desk.segment(), before)
    desk.editor.redo()
    desk.editor.redo()
    desk.wait(lambda: not desk.shown)
    before[K] &= ~around((38, 38), (11, 11))
    np.testing.assert_array_equal(desk.segment(), before)


def test_a_correction_that_changes_nothing_says_so_and_is_no_step_of_undo(desk):
    desk.click()
    desk.accept()
    written = desk.segment()
    desk.click((28, 24, K), control=True)  # the model answers with the same mask
    assert desk.status.text.startswith("370 px: 0 added, 0 removed; nothing would change")
    desk.accept()
    np.testing.assert_array_equal(desk.segment(), written)
    desk.editor.undo()
    desk.wait(lambda: desk.shown)
    assert not desk.segment().any() and "370 px" in desk.status.text


def test_a_click_far_from_the_mask_begins_another_object(desk, model):
    painted(desk, np.s_[K, 0:6, 0:6])
    desk.click()
    assert model.corrected[-1] is None
    desk.accept()
    assert (desk.segment()[K] & desk.structure[K]).sum() == 370


def test_a_click_outside_beside_the_mask_is_explained_and_makes_no_prompt(desk, model):
    painted(desk, np.s_[K, 0:6, 0:6])
    desk.click((40, 40, K), control=True)
    assert "nothing to take away" in desk.status.text and prompts() == [] and model.asked == []


def test_on_a_slice_without_a_mask_a_click_outside_says_what_is_missing(desk, model):
    desk.click((40, 40, 14), control=True)
    assert model.corrected[-1:] in ([], [None])


def test_what_was_accepted_is_corrected_with_its_own_prompts_and_the_rest_as_a_mask(desk, model):
    before = painted(desk, np.s_[K, 40:48, 40:58])
    desk.click()
    desk.accept()
    desk.click((28, 24, K), control=True)  # on what was accepted
    assert model.corrected[-1] is None and model.asked[-1][0].labels.tolist() == [1, 0]
    desk.effect.clear()
    desk.click((50, 44, K), control=True)  # on what somebody else made
    assert model.corrected[-1][44, 50] and model.asked[-1][0].labels.tolist() == [0]
    desk.accept()
    assert (before & ~desk.segment())[K].sum() == (before[K] & around((50, 44))).sum()


def test_all_of_a_mask_can_be_taken_away(desk):
    before = painted(desk, np.s_[K, 20:24, 20:24])
    desk.click((22, 22, K), control=True)
    desk.accept()
    assert not desk.segment()[K].any() and desk.segment()[K + 1].sum() == before[K + 1].sum()
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(), before)


def test_a_correction_takes_nothing_from_others_but_where_it_adds(desk):
    """Also where other segments give way: those that overlap the mask already are not what the click is about."""
    before = painted(desk)
    desk.add_segment("B")
    other = painted(desk, np.s_[K, 5:30, 5:30], "B")
    desk.editor.setCurrentSegmentID("A")
    slicer.util.updateSegmentBinaryLabelmapFromArray(before.astype(np.uint8), desk.segmentation, "A", desk.volume)
    other &= desk.segment("B")
    desk.set(ProtectOthers=0)
    desk.click((38, 38, K), control=True)
    desk.accept()
    np.testing.assert_array_equal(desk.segment("B"), other)
    assert "lost" not in desk.status.text


def test_with_a_new_segment_for_each_object_a_click_outside_corrects_the_last_one(desk, model):
    desk.set(NewSegments=1)
    desk.click()
    desk.accept()
    desk.click((28, 24, K), control=True)
    assert desk.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert model.asked[-1][0].labels.tolist() == [1, 0]


def test_a_refused_click_outside_does_not_make_the_next_object_part_of_this_segment(desk):
    desk.set(NewSegments=1)
    desk.drag((20, 18, K), (30, 26, K))
    desk.accept()
    desk.effect.controller.remove(desk.controller.groups[0])
    desk.click((50, 44, K), control=True)
    assert "nothing to take away" in desk.status.text
    desk.click()
    assert desk.segmentation.GetSegmentation().GetNumberOfSegments() == 2


def test_a_click_outside_on_one_of_two_accepted_objects_is_about_that_one(desk, model):
    for box in (((5, 10, K), (24, 35, K)), ((26, 10, K), (45, 35, K))):
        desk.drag(*box)
        desk.accept()
    desk.click((23, 22, K), control=True)
    assert model.asked[-1][0].box_xyxy[0] < 10 and model.asked[-1][0].labels.tolist() == [0]


def test_a_bent_segmentation_is_explained(desk):
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    desk.segmentation.SetAndObserveTransformNodeID(grid.GetID())
    painted(desk)
    desk.click()
    assert "non-linear" in desk.status.text and prompts() == []


def test_a_saved_correction_goes_on_where_it_was_left(desk, model, tmp_path):
    from SAMMed2DSlicer.prompts import prompt_groups

    before = painted(desk)
    desk.click((38, 38, K), control=True)
    (found,) = prompt_groups.find_groups(desk.segmentation)
    np.testing.assert_array_equal(found.known_hw, before[K])
    desk.editor.setActiveEffect(None)
    desk.activate()
    desk.wait(lambda: desk.shown)
    np.testing.assert_array_equal(desk.shown[0], before[K] & ~around((38, 38)))


# Reading a segment on a slice


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("axis", "ijk")
def test_the_mask_on_a_slice_is_what_was_written_there(logic, geometry, axis):
    from SAMMed2DSlicer.prompts.slice_prompts import plane_of
    from SAMMed2DSlicer.scene.segment_reader import mask_on_slice

    case = a_case(GEOMETRIES[geometry], turned(10, 20, 30), turned(10, 20, 30))
    number = INSIDE["ijk".index(axis)]
    found = logic.segmentSlice(case.volume, case.segmentation, "A", (axis, number), positive=case.world(INSIDE))
    read = [
        mask_on_slice(case.volume, plane_of(case.volume, (axis, at)), case.segmentation, "A")
        for at in (number, number + 1)
    ]
    np.testing.assert_array_equal(read[0], found.mask)
    assert not read[1].any() and not mask_on_slice(case.volume, found.plane, case.segmentation, "B").any()


def test_the_mask_on_a_slice_of_a_finer_segmentation(logic):
    from SAMMed2DSlicer.scene.segment_reader import mask_on_slice

    case = a_case()
    fine = a_volume(np.zeros((48, 100, 120), np.uint8), affine((0.5, 0.5, 0.5), (-0.25, -0.25, -0.25)))
    case.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(fine)
    found = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", K), positive=case.world(INSIDE))
    np.testing.assert_array_equal(mask_on_slice(case.volume, found.plane, case.segmentation, "A"), found.mask)


# Python


def test_python_corrects_a_mask(logic):
    case = a_case()
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", K), positive=case.world(INSIDE))
    before = case.segment()
    ask = (case.volume, case.segmentation, "A", ("k", K))
    result = logic.segmentSlice(*ask, negative=case.world((28, 24, K)), correct=True)
    expected = before[K] & ~around((28, 24))
    np.testing.assert_array_equal(case.segment()[K], expected)
    np.testing.assert_array_equal(result.mask, expected)
    assert result.changed == (before[K] & ~expected).sum() and result.voxels == expected.sum()


def test_python_corrects_a_surface(logic):
    case = a_case()
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Contours")
    segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(case.volume)
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*case.world(INSIDE)[0])
    sphere.SetRadius(9)
    sphere.Update()
    name = segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "S", [1, 0, 0])
    case.segmentation = segmentation
    result = logic.segmentSlice(
        case.volume, segmentation, name, ("k", K), negative=case.world((28, 22, K)), correct=True
    )
    assert result.changed == around((28, 22)).sum() == 69 and result.voxels > 69
    np.testing.assert_array_equal(case.segment(name)[K], result.mask)


def test_python_says_where_there_is_nothing_to_correct(logic):
    case = a_case()
    ask = (case.volume, case.segmentation, "A", ("k", K))
    with pytest.raises(ValueError, match="nothing on this slice"):
        logic.segmentSlice(*ask, negative=case.world(INSIDE), correct=True)
    logic.segmentSlice(*ask, positive=case.world(INSIDE))
    with pytest.raises(ValueError, match="Nothing says where"):
        logic.segmentSlice(*ask, correct=True)
    with pytest.raises(ValueError, match="do not say where"):
        logic.segmentSlice(*ask, negative=case.world(INSIDE))
