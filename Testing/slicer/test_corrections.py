"""Clicks correct a mask that is there, of whatever origin: "outside" takes away, "inside" adds."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from editor_fixture import CORRECTED_PX, GEOMETRIES, INSIDE, EditorFixture, a_volume, affine, turned
from module_kit import a_case

K = INSIDE[2]


def painted(fixture: EditorFixture, kji=np.s_[K, 10:40, 10:40], segment_id=None) -> np.ndarray:
    """A mask that somebody else made: a square on the slice of the clicks, and one on the slice above."""
    mask = np.zeros(fixture.structure.shape, bool)
    mask[kji] = True
    mask[K + 1, 10:20, 10:20] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        mask.astype(np.uint8), fixture.segmentation, segment_id or fixture.segment_id, fixture.volume
    )
    fixture.pump(0.05)
    return mask


def around(*points_xy) -> np.ndarray:
    rows, columns = np.mgrid[:50, :60]
    return np.any([(columns - x) ** 2 + (rows - y) ** 2 < CORRECTED_PX**2 for x, y in points_xy], axis=0)


def prompts():
    from SAMMed2DSlicer.prompts.prompt_nodes import prompt_nodes

    return list(prompt_nodes())


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model)


def test_a_click_outside_takes_away_and_undo_brings_it_back(fixture, model):
    before = painted(fixture)
    fixture.set(Tool="negative")
    fixture.click((38, 38, K))
    np.testing.assert_array_equal(model.corrected[-1], before[K])
    assert model.asked[-1][0].labels.tolist() == [0]
    np.testing.assert_array_equal(fixture.segment(), before)
    fixture.accept()
    expected = before.copy()
    expected[K] &= ~around((38, 38))
    np.testing.assert_array_equal(fixture.segment(), expected)
    assert "voxels changed" in fixture.status.text
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), before)
    fixture.wait(lambda: fixture.shown)
    fixture.editor.redo()
    np.testing.assert_array_equal(fixture.segment(), expected)


@pytest.mark.parametrize("place", [(39, 25), (41, 25)], ids=["on its border", "just beside"])
def test_a_click_inside_adds_and_takes_nothing_away(fixture, place):
    before = painted(fixture)
    fixture.click((*place, K))
    fixture.accept()
    expected = before.copy()
    expected[K] |= around(place)
    np.testing.assert_array_equal(fixture.segment(), expected)


def test_further_clicks_refine_the_same_correction(fixture, model):
    before = painted(fixture)
    fixture.click((38, 38, K), control=True)
    fixture.click((11, 11, K), control=True)
    fixture.click((42, 12, K))
    assert len(prompts()) == 1 and model.asked[-1][0].labels.tolist() == [0, 0, 1]
    fixture.accept()
    expected = before.copy()
    expected[K] = (before[K] & ~around((38, 38), (11, 11))) | around((42, 12))
    np.testing.assert_array_equal(fixture.segment(), expected)


def test_a_moved_prompt_of_an_accepted_correction_gives_back_what_it_took(fixture):
    before = painted(fixture)
    fixture.click((38, 38, K), control=True)
    fixture.accept()
    (points,) = prompts()
    points.SetNthControlPointPositionWorld(0, *fixture.world((11, 11, K)))
    fixture.wait(lambda: fixture.shown)
    fixture.accept()
    expected = before.copy()
    expected[K] &= ~around((11, 11))
    np.testing.assert_array_equal(fixture.segment(), expected)


@pytest.mark.parametrize("is_active", [True, False], ids=["while the effect is active", "with another effect"])
def test_what_was_erased_before_a_correction_is_accepted_does_not_come_back(fixture, is_active):
    before = painted(fixture)
    fixture.click((38, 38, K), control=True)
    if not is_active:
        fixture.editor.setActiveEffect(None)
    erased = before.copy()
    erased[K, 10:15, 10:15] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        erased.astype(np.uint8), fixture.segmentation, fixture.segment_id, fixture.volume
    )
    if not is_active:
        fixture.activate()
    fixture.wait(lambda: "842 px: 0 added, 33 removed" in fixture.status.text)
    fixture.accept()
    erased[K] &= ~around((38, 38))
    np.testing.assert_array_equal(fixture.segment(), erased)


def test_a_correction_of_a_mask_that_is_gone_meanwhile_does_not_bring_it_back(fixture, model):
    before = painted(fixture)
    fixture.click((38, 38, K))
    before[K] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        before.astype(np.uint8), fixture.segmentation, fixture.segment_id, fixture.volume
    )
    fixture.wait(lambda: model.corrected[-1] is None)
    fixture.accept()
    before[K] = fixture.structure[K]  # what the model finds without a mask
    np.testing.assert_array_equal(fixture.segment(), before)


def test_undoing_corrections_that_were_accepted_at_once_shows_them_again(fixture):
    before = painted(fixture)
    fixture.set(AcceptAtOnce=1)
    fixture.click((38, 38, K), control=True)
    fixture.click((11, 11, K), control=True)
    fixture.editor.undo()
    fixture.wait(lambda: "0 added, 33 removed" in fixture.status.text)
    fixture.editor.undo()
    fixture.wait(lambda: "0 added, 66 removed" in fixture.status.text)
    np.testing.assert_array_equal(fixture.segment(), before)
    fixture.editor.redo()
    fixture.editor.redo()
    fixture.wait(lambda: not fixture.shown)
    before[K] &= ~around((38, 38), (11, 11))
    np.testing.assert_array_equal(fixture.segment(), before)


def test_a_correction_that_changes_nothing_says_so_and_is_no_step_of_undo(fixture):
    fixture.click()
    fixture.accept()
    written = fixture.segment()
    fixture.click((28, 24, K), control=True)  # the model answers with the same mask
    assert fixture.status.text.startswith("370 px: 0 added, 0 removed; nothing would change")
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(), written)
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    assert not fixture.segment().any() and "370 px" in fixture.status.text


def test_a_click_far_from_the_mask_begins_another_object(fixture, model):
    painted(fixture, np.s_[K, 0:6, 0:6])
    fixture.click()
    assert model.corrected[-1] is None
    fixture.accept()
    assert (fixture.segment()[K] & fixture.structure[K]).sum() == 370


def test_where_the_mask_of_another_slice_crosses_a_click_finds_the_structure_and_not_a_wider_line(fixture, model):
    fixture.click()
    fixture.accept()
    expected = fixture.segment()
    fixture.show(1, INSIDE[1])
    fixture.view.hover(*fixture.xy(INSIDE), control=True, shift=True)
    fixture.wait(lambda: len(model.asked) == 2)
    fixture.click()
    assert [known is None for known in model.corrected] == [True] * 3
    fixture.accept()
    expected[:, INSIDE[1]] |= fixture.structure[:, INSIDE[1]]
    np.testing.assert_array_equal(fixture.segment(), expected)


def test_a_click_outside_beside_the_mask_is_explained_and_makes_no_prompt(fixture, model):
    painted(fixture, np.s_[K, 0:6, 0:6])
    fixture.click((40, 40, K), control=True)
    assert "nothing to take away" in fixture.status.text and prompts() == [] and model.asked == []


def test_on_a_slice_without_a_mask_a_click_outside_says_what_is_missing(fixture, model):
    fixture.click((40, 40, 14), control=True)
    assert model.corrected[-1:] in ([], [None])


def test_what_was_accepted_is_corrected_with_its_own_prompts_and_the_rest_as_a_mask(fixture, model):
    before = painted(fixture, np.s_[K, 40:48, 40:58])
    fixture.click()
    fixture.accept()
    fixture.click((28, 24, K), control=True)  # on what was accepted
    assert model.corrected[-1] is None and model.asked[-1][0].labels.tolist() == [1, 0]
    fixture.effect.clear()
    fixture.click((50, 44, K), control=True)  # on what somebody else made
    assert model.corrected[-1][44, 50] and model.asked[-1][0].labels.tolist() == [0]
    fixture.accept()
    assert (before & ~fixture.segment())[K].sum() == (before[K] & around((50, 44))).sum()


def test_all_of_a_mask_can_be_taken_away(fixture):
    before = painted(fixture, np.s_[K, 20:24, 20:24])
    fixture.click((22, 22, K), control=True)
    fixture.accept()
    assert not fixture.segment()[K].any() and fixture.segment()[K + 1].sum() == before[K + 1].sum()
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), before)


def test_a_correction_takes_nothing_from_others_but_where_it_adds(fixture):
    """Also where other segments give way: those that overlap the mask already are not what the click is about."""
    before = painted(fixture)
    fixture.add_segment("B")
    other = painted(fixture, np.s_[K, 5:30, 5:30], "B")
    fixture.editor.setCurrentSegmentID("A")
    slicer.util.updateSegmentBinaryLabelmapFromArray(before.astype(np.uint8), fixture.segmentation, "A", fixture.volume)
    other &= fixture.segment("B")
    fixture.set(ProtectOthers=0)
    fixture.click((38, 38, K), control=True)
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment("B"), other)
    assert "lost" not in fixture.status.text


def test_with_a_new_segment_for_each_object_a_click_outside_corrects_the_last_one(fixture, model):
    fixture.set(NewSegments=1)
    fixture.click()
    fixture.accept()
    fixture.click((28, 24, K), control=True)
    assert fixture.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert model.asked[-1][0].labels.tolist() == [1, 0]


def test_a_refused_click_outside_does_not_make_the_next_object_part_of_this_segment(fixture):
    fixture.set(NewSegments=1)
    fixture.drag((20, 18, K), (30, 26, K))
    fixture.accept()
    fixture.effect.controller.remove(fixture.controller.groups[0])
    fixture.click((50, 44, K), control=True)
    assert "nothing to take away" in fixture.status.text
    fixture.click()
    assert fixture.segmentation.GetSegmentation().GetNumberOfSegments() == 2


def test_a_click_outside_on_one_of_two_accepted_objects_is_about_that_one(fixture, model):
    for box in (((5, 10, K), (24, 35, K)), ((26, 10, K), (45, 35, K))):
        fixture.drag(*box)
        fixture.accept()
    fixture.click((23, 22, K), control=True)
    assert model.asked[-1][0].box_xyxy[0] < 10 and model.asked[-1][0].labels.tolist() == [0]


def test_a_bent_segmentation_is_explained(fixture):
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    fixture.segmentation.SetAndObserveTransformNodeID(grid.GetID())
    painted(fixture)
    fixture.click()
    assert "non-linear" in fixture.status.text and prompts() == []


def test_a_saved_correction_goes_on_where_it_was_left(fixture, model, tmp_path):
    from SAMMed2DSlicer.prompts import prompt_groups

    before = painted(fixture)
    fixture.click((38, 38, K), control=True)
    (found,) = prompt_groups.find_groups(fixture.segmentation)
    np.testing.assert_array_equal(found.initial_mask_hw, before[K])
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    fixture.wait(lambda: fixture.shown)
    np.testing.assert_array_equal(fixture.shown[0], before[K] & ~around((38, 38)))


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


# What was accepted is locked


def accepted_counts(fixture) -> tuple[int, ...]:
    return fixture.model.asked[-1][0].accepted


def test_a_click_outside_on_what_was_accepted_says_so_to_the_model(fixture):
    fixture.click()
    fixture.click((30, 25, K))
    assert accepted_counts(fixture) == ()
    fixture.accept()
    fixture.click((28, 24, K), control=True)
    assert accepted_counts(fixture) == (2,)
    fixture.accept()
    fixture.click((20, 24, K), control=True)
    assert accepted_counts(fixture) == (2, 3) and len(fixture.controller.groups) == 1


def test_undoing_an_acceptance_unlocks_and_redoing_locks_again(fixture):
    fixture.click()
    fixture.accept()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    fixture.editor.redo()
    fixture.wait(lambda: not fixture.shown)
    fixture.click((28, 24, K), control=True)
    assert accepted_counts(fixture) == (1,)
    fixture.effect.clear()
    fixture.click()
    fixture.accept()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    fixture.click((28, 24, K), control=True)
    assert accepted_counts(fixture) == ()


def test_a_lock_is_saved_with_the_prompts_and_goes_when_these_are_moved(fixture):
    from SAMMed2DSlicer.prompts.prompt_groups import find_groups

    fixture.click()
    fixture.accept()
    fixture.click((28, 24, K), control=True)
    fixture.editor.setActiveEffect(None)
    (group,) = find_groups(fixture.segmentation)
    assert group.prompts().accepted == (1,)
    fixture.activate()
    group.points.SetNthControlPointPositionWorld(0, *fixture.world((24, 24, K)))
    fixture.wait()
    assert accepted_counts(fixture) == () and group.prompts().accepted == ()


def test_what_is_accepted_at_once_is_locked_when_the_user_is_done_with_it(fixture):
    fixture.set(AcceptAtOnce=1)
    fixture.click()
    fixture.click((30, 25, K))
    assert accepted_counts(fixture) == ()
    fixture.accept()  # done with this object
    fixture.click((28, 24, K), control=True)
    assert accepted_counts(fixture) == (2,)
