"""Segments carried through slices: keyframes, what is written, corrections, undo, and faults on the way."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, affine, turned
from module_kit import a_case

KEYFRAMES = (6, 10, 14)


def draw(case, *numbers, segment_id="A", axis=2, structure=None):
    """Let a segment have the structure on these slices, and on others what it has."""
    voxels = case.segment(segment_id)
    at = [slice(None)] * 3
    at[2 - axis] = list(numbers)
    voxels[tuple(at)] = (case.structure if structure is None else structure)[tuple(at)]
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        voxels.astype(np.uint8), case.segmentation, segment_id, case.volume
    )


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_between_and_beyond_keyframes_are_filled(logic, geometry, axis):
    case = a_case(GEOMETRIES[geometry])
    numbers = ((20, 26, 32), (18, 22, 26), KEYFRAMES)[axis]
    draw(case, *numbers, axis=axis)
    before = case.segment()
    result = logic.propagate(case.volume, case.segmentation, "A", ("ijk"[axis], 10))
    after = case.segment()
    assert dice(after, case.structure) > 0.9
    np.testing.assert_array_equal(
        np.moveaxis(after, 2 - axis, 0)[list(numbers)], np.moveaxis(before, 2 - axis, 0)[list(numbers)]
    )
    found = result.segments["A"]
    assert result.is_complete and found.changed == (after ^ before).sum()
    assert [one.index for one in found.slices if one.is_keyframe] == list(numbers)
    assert all(0 <= one.confidence <= 1 for one in found.slices)


def test_a_run_after_a_correction_asks_about_the_spans_beside_it_only(logic):
    case = a_case()
    draw(case, 4, 10, 16)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    first = case.segment()
    draw(case, 7, structure=np.roll(case.structure, 1, axis=1))
    logic.session.pictures.clear()
    result = logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    found = [one.index for one in result.segments["A"].slices]
    assert found == [4, 5, 6, 7, 8, 9, 10, 16]
    np.testing.assert_array_equal(case.segment()[10:], first[10:])
    with pytest.raises(ValueError, match="Nothing is left to do"):
        logic.propagate(case.volume, case.segmentation, "A", ("k", 10))


def test_a_slice_that_was_emptied_says_that_the_object_is_not_there(logic):
    case = a_case()
    draw(case, 8, 10)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    assert case.segment()[14].any()
    draw(case, 13, structure=np.zeros_like(case.structure))
    result = logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    after = case.segment()
    assert not after[13].any() and after[12].any()
    assert 13 in [one.index for one in result.segments["A"].slices if one.is_keyframe]


def test_up_and_down_keep_to_their_side(logic):
    case = a_case()
    draw(case, 9, 11)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10), direction="up")
    up = case.segment()
    assert not up[:9].any() and up[10].any() and up[13].any()
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10), direction="down", first=7)
    down = case.segment()
    assert down[7].any() and not down[:7].any()
    np.testing.assert_array_equal(down[9:], up[9:])


def test_keyframes_on_the_first_and_the_last_slice(logic):
    case = a_case(volume_kji=np.full((24, 50, 60), 40, np.int16))
    shape = np.zeros_like(case.structure)
    shape[:, 10:30, 10:40] = True
    draw(case, 0, 23, structure=shape)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 0))
    assert case.segment().any(axis=(1, 2)).sum() > 2


def test_two_segments_that_overlap_are_both_filled(logic):
    case = a_case()
    draw(case, *KEYFRAMES)
    draw(case, *KEYFRAMES, segment_id="B")
    result = logic.propagate(case.volume, case.segmentation, ["A", "B"], ("k", 10))
    assert set(result.segments) == {"A", "B"}
    for name in "AB":
        assert dice(case.segment(name), case.structure) > 0.9


def test_other_segments_give_way_if_asked(logic):
    case = a_case()
    draw(case, *KEYFRAMES)
    draw(case, 9, segment_id="B")
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10), overwrite="all")
    assert not (case.segment("B") & case.segment("A")).any()


def test_a_transform_of_both_is_followed(logic):
    move = affine(origin=(5, -3, 2)) @ turned(12, 5, 20)
    case = a_case(volume_under=move, segmentation_under=move)
    draw(case, *KEYFRAMES)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    assert dice(case.segment(), case.structure) > 0.9


def test_a_finer_segmentation_is_filled(logic):
    case = a_case()
    fine = slicer.util.addVolumeFromArray(np.zeros((48, 100, 120), np.uint8), affine((0.5,) * 3, (-0.25,) * 3))
    case.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(fine)
    whole = case.structure.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    keys = np.zeros_like(whole)
    for k in KEYFRAMES:
        keys[2 * k : 2 * k + 2] = whole[2 * k : 2 * k + 2]
    slicer.util.updateSegmentBinaryLabelmapFromArray(keys.astype(np.uint8), case.segmentation, "A", fine)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    after = slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, "A", fine) != 0
    assert dice(after, whole) > 0.9
    for k in KEYFRAMES:
        np.testing.assert_array_equal(after[2 * k : 2 * k + 2], keys[2 * k : 2 * k + 2])


def test_an_oblique_view_is_filled_and_its_keyframes_stay(logic):
    from SAMMed2DSlicer.prompts.slice_prompts import plane_of

    case = a_case()
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    view = turned(25, 20, 0)
    view[:3, 3] = case.world((25, 22, 10))[0]
    red.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(view))
    red.UpdateMatrices()
    plane = plane_of(case.volume, "Red")
    from SAMMed2DLib.imaging.planes import mask_on, planes_along, voxels_of_mask

    planes, position = planes_along(plane, np.eye(4))
    extent = (0, 59, 0, 49, 0, 23)
    keys = np.zeros_like(case.structure)
    for n in (position - 4, position, position + 4):
        patch = voxels_of_mask(mask_on(planes[n], case.structure), planes[n], np.eye(4), np.eye(4), extent)
        i0, i1, j0, j1, k0, k1 = patch.extent
        keys[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] |= patch.mask_kji
    slicer.util.updateSegmentBinaryLabelmapFromArray(keys.astype(np.uint8), case.segmentation, "A", case.volume)
    result = logic.propagate(case.volume, case.segmentation, "A", "Red")
    after = case.segment()
    assert [one.index - position for one in result.segments["A"].slices if one.is_keyframe] == [-4, 0, 4]
    assert (after | keys == after).all() and dice(after, case.structure) > 0.8


def test_what_a_run_left_is_known_after_saving_and_loading(logic, tmp_path):
    case = a_case()
    draw(case, *KEYFRAMES)
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    path = str(tmp_path / "s.seg.nrrd")
    assert slicer.util.saveNode(case.segmentation, path)
    slicer.mrmlScene.RemoveNode(case.segmentation)
    case.segmentation = slicer.util.loadSegmentation(path)
    with pytest.raises(ValueError, match="Nothing is left to do"):
        logic.propagate(case.volume, case.segmentation, "A", ("k", 10))


def test_the_tag_of_a_scene_saved_before_still_tells_what_a_run_left(logic):
    case = a_case()
    draw(case, 6, 8, 10)
    stack = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [60, 50, 24], 24]
    saved = {
        "version": 1,
        "stack": stack,
        "settings": "of another model",
        "slices": {"8": ["d18cb24283a084ea", 0.865]},  # of slice 8 as it is drawn
        "keyframes": {},
        "done": [[7, 9]],
    }
    case.segmentation.GetSegmentation().GetSegment("A").SetTag("SAMMed2D.Propagation", json.dumps(saved))
    result = logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    assert [found.index for found in result.segments["A"].slices if found.is_keyframe] == [6, 10]


# Faults


def test_without_a_keyframe_the_message_says_what_to_do(logic):
    case = a_case()
    with pytest.raises(ValueError, match="A has no keyframe: segment it on one slice"):
        logic.propagate(case.volume, case.segmentation, "A", ("k", 10))


def test_a_volume_of_one_slice_is_refused(logic):
    case = a_case(volume_kji=np.full((1, 50, 60), 40, np.int16))
    with pytest.raises(ValueError, match="one slice only"):
        logic.propagate(case.volume, case.segmentation, "A", ("k", 0))


def test_without_enough_memory_nothing_changes(logic, monkeypatch):
    monkeypatch.setattr("SAMMed2DLib.propagation.stack.available_memory", lambda: 1000)
    case = a_case()
    draw(case, *KEYFRAMES)
    before = case.segment()
    with pytest.raises(ValueError, match="close other programs"):
        logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    np.testing.assert_array_equal(case.segment(), before)


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_what_was_found_before_a_cancellation_is_written_and_the_rest_follows_later(logic, pieces, monkeypatch):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    case = a_case()
    draw(case, *KEYFRAMES)
    before = case.segment()
    calls = iter(range(100))
    result = logic.propagate(case.volume, case.segmentation, "A", ("k", 10), shouldCancel=lambda: next(calls) >= pieces)
    assert not result.is_complete
    changed = np.flatnonzero((case.segment() ^ before).any(axis=(1, 2))).tolist()
    assert changed == [one.index for one in result.segments["A"].slices if not one.is_keyframe]
    assert len(changed) == pieces + 1
    logic.propagate(case.volume, case.segmentation, "A", ("k", 10))
    assert dice(case.segment(), case.structure) > 0.9


@pytest.mark.parametrize("overwrite", ["none", "visible", "all"])
def test_keyframes_of_the_other_segments_of_a_run_stay(logic, overwrite):
    case = a_case()
    draw(case, 6, 14)
    case.segmentation.GetSegmentation().AddEmptySegment("B", "B")
    draw(case, 10, 12, segment_id="B")
    before = case.segment("B")
    logic.propagate(case.volume, case.segmentation, ["A", "B"], ("k", 10), overwrite=overwrite)
    np.testing.assert_array_equal(case.segment("B")[[10, 12]], before[[10, 12]])
