"""Segments carried along time: keyframes, what is written, corrections, undo, and faults on the way."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, put_under, turned
from sequence_kit import FRAMES, a_cine, a_drawn_cine
from test_propagation import dice


def run(logic, cine, ids="A", plane=None, **options):
    return logic.propagateInTime(cine.volume, cine.segmentation, ids, plane, **options)


def kinds(result, segment_id="A"):
    """Frames of a result, and whether they are keyframes."""
    return {one.frame: one.is_keyframe for one in result.segments[segment_id].frames}


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_frames_between_and_beyond_keyframes_are_filled(logic, geometry):
    cine = a_drawn_cine(1, 6, ijk_to_ras=GEOMETRIES[geometry])
    cine.show(3)
    before = cine.all()
    result = run(logic, cine)
    after = cine.all()
    for frame, disc in enumerate(cine.discs):
        assert dice(after[frame], disc) > 0.85, frame
    np.testing.assert_array_equal(after[[1, 6]], before[[1, 6]])
    assert kinds(result) == {frame: frame in (1, 6) for frame in range(FRAMES)}
    assert result.is_complete and result.changed == (after ^ before).sum()
    assert all(0 < one.confidence <= 1 for one in result.segments["A"].frames)
    assert [one.voxels for one in result.segments["A"].frames] == after.sum((1, 2, 3)).tolist()


@pytest.mark.parametrize("shown", [0, 4])
def test_the_scene_shows_at_once_what_was_found(logic, shown):
    cine = a_drawn_cine(0, 7)
    cine.show(shown)
    run(logic, cine)
    np.testing.assert_array_equal(cine.shown(), cine.segment(shown))
    assert cine.browser.GetSelectedItemNumber() == shown
    cine.show(5)
    assert dice(cine.shown(), cine.discs[5]) > 0.85


def test_the_sequences_may_be_given_instead_of_what_shows_them(logic):
    cine = a_drawn_cine(0, 7)
    logic.propagateInTime(cine.browser.GetMasterSequenceNode(), cine.drawings, "A")
    assert cine.all().any((1, 2, 3)).all()


def test_a_segmentation_becomes_a_sequence_if_asked(logic):
    cine = a_cine()
    voxels = cine.discs[2].astype(np.uint8)
    cine.show(2)
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, cine.segmentation, "A", cine.volume)
    cine.segmentation.GetSegmentation().GetSegment("A").SetColor(0.1, 0.2, 0.3)
    terminology = cine.segmentation.GetSegmentation().GetSegment("A").GetTerminology()
    with pytest.raises(ValueError, match=r"add it to the sequence browser Browser.*makeSequence=True"):
        run(logic, cine)
    run(logic, cine, makeSequence=True)
    np.testing.assert_array_equal(cine.segment(2), cine.discs[2])
    assert cine.all().any((1, 2, 3)).all()
    assert cine.browser.GetSaveChanges(cine.drawings)
    segment = cine.drawings.GetNthDataNode(5).GetSegmentation().GetSegment("A")
    np.testing.assert_allclose(segment.GetColor(), (0.1, 0.2, 0.3))
    assert segment.GetTerminology() == terminology
    assert cine.drawings.GetNthIndexValue(5) == "50"
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1  # none is shown twice


def test_a_frame_without_segment_or_segmentation_gets_one(logic):
    cine = a_drawn_cine(0, 7)
    cine.drawings.RemoveDataNodeAtValue("30")
    cine.drawings.GetNthDataNode(2).GetSegmentation().RemoveSegment("A")
    cine.show(0)
    result = run(logic, cine)
    node = cine.drawings.GetDataNodeAtValue("30")
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["A", "B"]
    assert cine.all().any((1, 2, 3)).all() and len(result.segments["A"].frames) == FRAMES


def test_a_run_after_a_correction_keeps_it_and_replaces_what_the_run_before_left(logic):
    cine = a_drawn_cine(0, 7)
    run(logic, cine)
    wrong = np.roll(cine.discs[4], 6, axis=2)
    cine.draw(4, wrong)
    result = run(logic, cine)
    np.testing.assert_array_equal(cine.segment(4), wrong)
    assert [frame for frame, is_keyframe in kinds(result).items() if is_keyframe] == [0, 4, 7]


def test_a_frame_that_was_emptied_says_that_the_object_is_not_there(logic):
    cine = a_drawn_cine(0, 3)
    run(logic, cine)
    cine.draw(5, np.zeros_like(cine.discs[0]))
    result = run(logic, cine)
    assert not cine.segment(5).any() and kinds(result)[5]
    assert cine.segment(4).any() or cine.segment(2).any()


def test_earlier_and_later_keep_to_their_side_and_the_range_is_kept(logic):
    cine = a_drawn_cine(3, 4)
    run(logic, cine, direction="later", last=6)
    assert np.flatnonzero(cine.all().any((1, 2, 3))).tolist() == [3, 4, 5, 6]
    run(logic, cine, direction="earlier", first=1)
    assert np.flatnonzero(cine.all().any((1, 2, 3))).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_loop_joins_the_last_frame_to_the_first(logic):
    logic.session.finds_nothing = True
    cine = a_drawn_cine(2, 5)
    result = run(logic, cine, loop=True)
    assert sorted(kinds(result)) == list(range(FRAMES))


def test_one_slice_is_carried_alone_and_the_others_stay(logic):
    cine = a_drawn_cine(0, 7)
    run(logic, cine, plane=("k", 1))
    first = cine.all()
    assert first[3, 1].any() and not first[3, [0, 2]].any()
    run(logic, cine, plane=("k", 0))
    np.testing.assert_array_equal(cine.all()[3, 1], first[3, 1])
    assert cine.all()[3, 0].any() and not cine.all()[3, 2].any()


def test_two_segments_that_overlap_are_both_filled(logic):
    cine = a_drawn_cine(0, 7)
    for frame in (0, 7):
        cine.draw(frame, segment_id="B")
    result = run(logic, cine, ["A", "B"])
    assert set(result.segments) == {"A", "B"}
    for name in "AB":
        assert all(dice(one, disc) > 0.85 for one, disc in zip(cine.all(name), cine.discs, strict=True))


def test_other_segments_stay_as_they_are(logic):
    cine = a_drawn_cine(0, 7)
    cine.draw(4, segment_id="B")
    run(logic, cine)
    np.testing.assert_array_equal(cine.segment(4, "B"), cine.discs[4])
    assert dice(cine.segment(4), cine.discs[4]) > 0.85


def test_a_transform_of_both_is_followed(logic):
    cine = a_drawn_cine(0, 7)
    for node in (cine.volume, cine.segmentation):
        put_under(node, turned(12, 5, 20))
    run(logic, cine)
    assert dice(cine.segment(4), cine.discs[4]) > 0.85


@pytest.mark.parametrize("intensity", ["percentiles", "full"])
def test_the_model_sees_all_frames_alike(logic, intensity):
    cine = a_drawn_cine(0, 7)
    run(logic, cine, intensity=intensity, askModel=True)
    assert {tuple(np.unique(picture)) for picture in logic.session.pictures} == {(0, 255)}


def test_the_tag_of_a_scene_saved_before_still_tells_what_a_run_left_in_a_frame(logic):
    cine = a_drawn_cine(1, 4, 6)
    segment = cine.drawings.GetNthDataNode(4).GetSegmentation().GetSegment("A")
    segment.SetTag("SAMMed2D.PropagationInTime", '["6299abed4c3da030", 0.9]')  # of the disc that is drawn there
    assert [frame for frame, is_keyframe in kinds(run(logic, cine)).items() if is_keyframe] == [1, 6]


# Taking back


def test_undo_takes_the_whole_run_back_at_once(logic):
    cine = a_drawn_cine(1, 6)
    cine.show(3)
    before = cine.all()
    result = run(logic, cine)
    assert result.undo.is_possible and result.undo() == 6
    np.testing.assert_array_equal(cine.all(), before)
    assert not cine.shown().any() and not result.undo.is_possible and result.undo() == 0


def test_undo_of_a_second_run_brings_the_first_one_back(logic):
    cine = a_drawn_cine(1, 6)
    run(logic, cine)
    first = cine.all()
    cine.draw(4, np.roll(cine.discs[4], 6, axis=2))
    second = run(logic, cine)
    assert (cine.all() != first).any((1, 2, 3)).sum() > 1
    second.undo()
    np.testing.assert_array_equal(np.delete(cine.all(), 4, axis=0), np.delete(first, 4, axis=0))
    assert sorted(frame for frame, is_keyframe in kinds(run(logic, cine)).items() if is_keyframe) == [1, 4, 6]


def test_undo_leaves_what_was_corrected_since(logic):
    cine = a_drawn_cine(1, 6)
    result = run(logic, cine)
    cine.draw(4, np.roll(cine.discs[4], 5, axis=2))
    assert result.undo() == 5
    assert np.flatnonzero(cine.all().any((1, 2, 3))).tolist() == [1, 4, 6]


# Faults


def test_without_a_sequence_the_message_says_what_to_do(logic):
    cine = a_cine(is_played=False)
    with pytest.raises(ValueError, match="has no frames: choose"):
        run(logic, cine)
    with pytest.raises(ValueError, match="has no frames"):
        run(logic, cine, makeSequence=True)


def test_one_frame_only_is_refused(logic):
    cine = a_cine(frames=1)
    with pytest.raises(ValueError, match="one frame only"):
        run(logic, cine, makeSequence=True)


def test_without_a_keyframe_the_message_says_what_to_do(logic):
    cine = a_drawn_cine()
    with pytest.raises(ValueError, match="A is drawn in no frame: segment it in one frame at least"):
        run(logic, cine)


def test_with_keyframes_everywhere_nothing_is_left_to_do(logic):
    cine = a_drawn_cine(*range(FRAMES))
    with pytest.raises(ValueError, match="Nothing is left to do"):
        run(logic, cine)


@pytest.mark.parametrize(
    "options", [{"first": 5, "last": 2}, {"last": FRAMES}, {"direction": "up"}, {"every": 0}, {"intensity": "loud"}]
)
def test_what_makes_no_sense_is_refused(logic, options):
    cine = a_drawn_cine(1)
    before = cine.all()
    with pytest.raises(ValueError, match=r"range|direction|intensities"):
        run(logic, cine, **options)
    np.testing.assert_array_equal(cine.all(), before)


def test_what_is_drawn_and_not_kept_is_neither_overlooked_nor_lost(logic):
    cine = a_drawn_cine(1)
    cine.browser.SetSaveChanges(cine.drawings, False)
    cine.draw(6)
    with pytest.raises(ValueError, match="is not kept in its sequence"):
        run(logic, cine)
    run(logic, cine, makeSequence=True)
    np.testing.assert_array_equal(cine.segment(6), cine.discs[6])
    np.testing.assert_array_equal(cine.shown(), cine.discs[6])


def test_a_sequence_whose_changes_are_not_saved_is_filled_all_the_same(logic):
    cine = a_drawn_cine(1, 6)
    cine.browser.SetSaveChanges(cine.drawings, False)
    cine.show(3)
    run(logic, cine)
    np.testing.assert_array_equal(cine.shown(), cine.segment(3))
    assert cine.all().any((1, 2, 3)).all()


def test_a_segmentation_of_another_browser_is_refused(logic):
    one, other = a_drawn_cine(1), a_cine()
    with pytest.raises(ValueError, match="belongs to the sequence of another browser"):
        logic.propagateInTime(other.volume, one.segmentation, "A", makeSequence=True)


def test_frames_of_other_sizes_are_refused(logic):
    cine = a_drawn_cine(1)
    small = slicer.util.addVolumeFromArray(np.zeros((3, 20, 20), np.int16))
    cine.browser.GetMasterSequenceNode().SetDataNodeAtValue(small, "40")
    with pytest.raises(ValueError, match=r"Frame 5 of .* has another geometry"):
        run(logic, cine)


@pytest.mark.parametrize("pieces", [0, 9])
def test_a_cancelled_run_writes_what_it_has_found_and_the_rest_follows_later(logic, pieces, monkeypatch):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    cine = a_drawn_cine(0, 7)
    before = cine.all()
    calls = iter(range(1000))
    result = run(logic, cine, shouldCancel=lambda: next(calls) >= pieces)
    changed = (cine.all() ^ before).any((2, 3))
    assert not result.is_complete and changed.sum() == pieces + 1
    np.testing.assert_array_equal(cine.all()[[0, 7]], before[[0, 7]])
    assert run(logic, cine).is_complete
    assert all(dice(one, disc) > 0.85 for one, disc in zip(cine.all(), cine.discs, strict=True))


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        (lambda cine: slicer.mrmlScene.Clear(0), "were removed"),
        (lambda cine: slicer.mrmlScene.RemoveNode(cine.browser), "were removed"),
        (lambda cine: cine.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("50"), "were removed"),
        (lambda cine: slicer.mrmlScene.RemoveNode(cine.segmentation), "were removed"),
        (lambda cine: slicer.mrmlScene.RemoveNode(cine.drawings), "were removed"),
        (lambda cine: put_under(cine.volume, turned(5)), "was moved"),
        (
            lambda cine: (
                slicer.util.arrayFromVolumeModified(cine.browser.GetMasterSequenceNode().GetNthDataNode(4))
                or cine.browser.GetMasterSequenceNode().GetNthDataNode(4).GetImageData().Modified()
            ),
            "images were changed",
        ),
    ],
)
def test_a_run_is_given_up_when_its_scene_goes(logic, monkeypatch, happens, message):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    cine = a_drawn_cine(0, 7)
    once = iter([lambda: happens(cine)])
    with pytest.raises(ValueError, match=message):
        run(logic, cine, progress=lambda done, total: next(once, lambda: None)())


def test_a_frame_that_is_drawn_while_the_run_goes_on_is_kept(logic, monkeypatch):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    cine = a_drawn_cine(0, 7)
    mine = np.roll(cine.discs[4], 5, axis=2)
    once = iter([lambda: cine.draw(4, mine)])
    run(logic, cine, progress=lambda done, total: next(once, lambda: None)())
    np.testing.assert_array_equal(cine.segment(4), mine)


def test_a_segment_removed_from_a_frame_while_the_run_goes_on_comes_back_there(logic, monkeypatch):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    cine = a_drawn_cine(0, 7)
    once = iter([lambda: cine.drawings.RemoveDataNodeAtValue("30")])
    run(logic, cine, progress=lambda done, total: next(once, lambda: None)())
    assert cine.segment(4).any()


def test_without_enough_memory_nothing_changes(logic, monkeypatch):
    monkeypatch.setattr("SAMMed2DLib.propagation.stack.available_memory", lambda: 1000)
    cine = a_drawn_cine(0, 7)
    before = cine.all()
    with pytest.raises(ValueError, match="close other programs"):
        run(logic, cine)
    np.testing.assert_array_equal(cine.all(), before)
