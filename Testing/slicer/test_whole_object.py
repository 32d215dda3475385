"""A whole object in the effect: one key, a preview with its strip, Enter, Esc, clicks that correct, one undo step."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from editor_fixture import INSIDE, EditorFixture, turned
from host import keys
from module_kit import a_case
from sequence_kit import a_cine
from test_propagation import dice, draw


@pytest.fixture
def fixture(model):
    fixture = EditorFixture(model)
    fixture.effect.propagation.ui.propagateButton.collapsed = False
    return fixture


def found(fixture):
    """Press W, and wait for the preview."""
    keys.press("E")
    fixture.wait(lambda: preview_of(fixture) is not None, 120)


def preview_of(fixture):
    return fixture.effect.whole.whole.preview


def previewed(fixture):
    """The voxels of the preview, on the slices along k."""
    from SAMMed2DLib.imaging.geometry import SlicePlane

    size = fixture.structure.shape[::-1]
    return np.stack([preview_of(fixture).mask_on(SlicePlane.of_axis(size, 0, k)) for k in range(size[2])])


def written(fixture):
    fixture.wait(lambda: not fixture.effect.whole.is_open, 120)
    return fixture.segment()


def strip(fixture):
    return fixture.effect.propagation.strip


def test_a_mask_drawn_across_the_slices_gives_no_keyframes_on_them_and_stays(fixture):
    fixture.click()
    fixture.accept()
    fixture.show(1, INSIDE[1])
    fixture.click()
    fixture.accept()
    drawn = fixture.segment()
    assert len(np.flatnonzero(drawn.any(axis=(1, 2)))) > 8
    fixture.show(2, INSIDE[2])
    found(fixture)
    assert preview_of(fixture).numbers == [INSIDE[2]]
    fixture.accept()
    result = written(fixture)
    assert (result & drawn).sum() == drawn.sum() and dice(result, fixture.structure) > 0.9


def test_what_was_drawn_across_the_slices_only_is_explained_and_nothing_begins(fixture):
    fixture.show(1, INSIDE[1])
    fixture.click()
    fixture.accept()
    drawn = fixture.segment()
    fixture.show(2, INSIDE[2])
    fixture.view.hover(*fixture.xy((3, 3, INSIDE[2])))
    section = fixture.effect.propagation
    keys.press("E")
    fixture.wait(lambda: "shows only lines here" in section.status_line.text, 60)
    section.ui.bothButton.click()
    fixture.wait(lambda: not section.is_running, 60)
    assert "shows only lines here" in section.status_line.text
    np.testing.assert_array_equal(fixture.segment(), drawn)
    fixture.click()
    found(fixture)
    assert preview_of(fixture).numbers == [INSIDE[2]]
    keys.press("Esc")


def test_lines_in_an_oblique_view_are_no_keyframes(fixture):
    fixture.show(1, INSIDE[1])
    fixture.click()
    fixture.accept()
    view = turned(20, 15)
    view[:3, 3] = fixture.world(INSIDE)
    fixture.show_plane(view)
    fixture.view.click(*fixture.xy_of_world(fixture.world(INSIDE)))
    found(fixture)
    assert len(preview_of(fixture).numbers) == 1
    keys.press("Return")
    assert dice(written(fixture), fixture.structure) > 0.85


def test_another_frame_ends_it_and_says_so_while_frames_play(model):
    cine = a_cine(frames=4, size_kji=(6, 40, 48))
    fixture = EditorFixture(model)
    fixture.editor.setSegmentationNode(cine.segmentation)
    fixture.editor.setSourceVolumeNode(cine.volume)
    fixture.editor.setCurrentSegmentID("A")
    fixture.segmentation, fixture.volume = cine.segmentation, cine.volume
    fixture.activate()
    fixture.show(2, 1)
    fixture.click((14, 20, 1))
    found(fixture)
    fixture.pump(1.0)  # what was said is settled
    line = fixture.effect.propagation.status_line
    for frame in (1, 2, 3):
        cine.show(frame)
        fixture.pump(1.0)
        assert "Whole object finds it again in frame 1" in line.text
    assert preview_of(fixture) is None and not fixture.effect.whole.is_open
    fixture.click((20, 20, 1))
    assert "Enter accepts" in line.text


def test_one_click_and_two_keys_give_the_whole_object_and_undo_takes_it_back(fixture):
    fixture.click()
    fixture.accept()
    one_slice = fixture.segment()
    found(fixture)
    np.testing.assert_array_equal(fixture.segment(), one_slice)
    assert dice(previewed(fixture) | one_slice, fixture.structure) > 0.9
    assert "Enter writes them" in fixture.effect.propagation.status_line.text
    fixture.wait(lambda: strip(fixture)._keyframes is preview_of(fixture), 60)
    assert strip(fixture).text_at(fixture.effect.propagation.ui.stripLabel.width * 8.5 / 24).startswith("Slice 9: conf")
    assert not fixture.controller.preview_in(fixture.widget).is_empty or INSIDE[2] == 10
    fixture.show(2, 8)
    fixture.pump(0.3)
    assert not fixture.controller.preview_in(fixture.widget).is_empty
    keys.press("Return")
    after = written(fixture)
    assert dice(after, fixture.structure) > 0.9
    np.testing.assert_array_equal(after[INSIDE[2]], one_slice[INSIDE[2]])
    fixture.show(2, 7)
    fixture.pump(0.3)
    assert fixture.controller.preview_in(fixture.widget).is_empty
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), one_slice)


@pytest.mark.parametrize("key", ["Esc", "Ctrl+Z"])
def test_what_is_shown_on_the_slice_is_accepted_first_and_a_key_drops_the_rest(fixture, key):
    fixture.click()
    found(fixture)
    one_slice = fixture.segment()
    assert one_slice[INSIDE[2]].any()
    keys.press(key)
    assert preview_of(fixture) is None and not fixture.effect.whole.is_open
    np.testing.assert_array_equal(fixture.segment(), one_slice)
    fixture.wait(lambda: strip(fixture)._keyframes is not None and not hasattr(strip(fixture)._keyframes, "task"), 60)


def test_a_box_in_space_is_enough_and_ends_the_object(fixture):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    low, high = fixture.world((5, 5, 7)), fixture.world((45, 40, 13))
    roi.SetCenterWorld(*((low + high) / 2))
    roi.SetSizeWorld(*np.abs(high - low))
    fixture.panel.ui.wholeButton.click()
    fixture.wait(lambda: preview_of(fixture) is not None, 120)
    assert not fixture.segment().any()
    keys.press("Return")
    after = written(fixture)
    assert np.flatnonzero(after.any(axis=(1, 2))).tolist() == list(range(7, 14))
    within = np.zeros_like(after)
    within[7:14] = fixture.structure[7:14]
    assert dice(after, within) > 0.9


def test_a_click_corrects_a_slice_of_the_preview_and_all_is_one_step(fixture):
    fixture.click()
    fixture.accept()
    one_slice = fixture.segment()
    found(fixture)
    before = preview_of(fixture)
    inside = (20, 22, 7)
    assert before.mask_on(plane_at(fixture, 7))[inside[1], inside[0]]
    fixture.show(2, 7)
    fixture.click(inside, control=True)
    fixture.wait(lambda: preview_of(fixture) is not before and preview_of(fixture) is not None, 120)
    fixture.wait(lambda: fixture.effect.whole.whole._is_found, 120)
    assert preview_of(fixture).numbers == [7, INSIDE[2]]
    assert not preview_of(fixture).mask_on(plane_at(fixture, 7))[inside[1], inside[0]]
    keys.press("Return")
    after = written(fixture)
    assert after[7].any() and not after[7, inside[1], inside[0]]
    assert [group.counts() for group in fixture.controller.groups] == [(1, 0, 0)]
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), one_slice)


def plane_at(fixture, k):
    from SAMMed2DLib.imaging.geometry import SlicePlane

    return SlicePlane.of_axis(fixture.structure.shape[::-1], 0, k)


def test_without_a_slice_and_without_a_box_it_says_what_to_do(fixture):
    keys.press("E")
    fixture.wait(lambda: not fixture.effect.whole.is_open, 60)
    assert "A is on no slice yet" in fixture.effect.propagation.status_line.text


@pytest.mark.parametrize("what", ["scene", "volume", "effect"])
def test_what_goes_while_it_is_shown_ends_it(fixture, what):
    fixture.click()
    fixture.accept()
    found(fixture)
    if what == "scene":
        slicer.mrmlScene.Clear(0)
    elif what == "volume":
        slicer.mrmlScene.RemoveNode(fixture.volume)
    else:
        fixture.editor.setActiveEffect(None)
    whole = fixture.effect.whole
    fixture.wait(lambda: not whole.is_open and whole.whole.preview is None, 60)


def test_python_finds_it_from_a_slice_and_in_a_box(logic):
    case = a_case()
    draw(case, INSIDE[2])
    result = logic.segmentObject(case.volume, case.segmentation, "A", ("k", INSIDE[2]))
    assert dice(case.segment(), case.structure) > 0.9
    assert [one.index for one in result.segments["A"].slices if one.is_keyframe] == [INSIDE[2]]
    with pytest.raises(ValueError, match="B is on no slice yet"):
        logic.segmentObject(case.volume, case.segmentation, "B", ("k", INSIDE[2]))
    with pytest.raises(ValueError, match="is an ROI node, not 7"):
        logic.segmentObject(case.volume, case.segmentation, "B", ("k", INSIDE[2]), roi=7)
    roi = case.roi((5, 5, 7), (45, 40, 13))
    logic.segmentObject(case.volume, case.segmentation, "B", ("k", INSIDE[2]), roi=roi)
    assert np.flatnonzero(case.segment("B").any(axis=(1, 2))).tolist() == list(range(7, 14))
