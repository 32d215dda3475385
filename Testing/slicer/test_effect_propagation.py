"""Propagation through the effect: its section, undo as one step, masking, hidden segments, faults while it runs."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from desk import Desk, done
from test_propagation import dice, draw

BOTH, UP = "both", "up"


@pytest.fixture
def desk(model):
    desk = Desk(model)
    draw(desk, 6, 14)
    desk.section = desk.effect.propagation
    desk.section.ui.propagateButton.collapsed = False
    return desk


def run(desk, direction=BOTH):
    desk.section.propagate(direction)
    desk.wait(lambda: not desk.section.is_running)


def text(desk):
    return desk.section.status_line.text


def test_both_ways_fills_the_object_and_leaves_keyframes(desk):
    before = desk.segment()
    run(desk)
    after = desk.segment()
    assert dice(after, desk.structure) > 0.9
    np.testing.assert_array_equal(after[[6, 14]], before[[6, 14]])
    assert "undo takes it back" in text(desk)


def test_undo_takes_the_whole_run_back(desk):
    before = desk.segment()
    run(desk)
    assert (desk.segment() != before).any()
    desk.editor.undo()
    np.testing.assert_array_equal(desk.segment(), before)


def test_up_leaves_what_is_below(desk):
    run(desk, UP)
    assert not desk.segment()[:6].any() and desk.segment()[7].any()


def test_the_range_and_every_n_th_slice_are_those_of_the_panel(desk):
    desk.section.ui.firstSpinBox.value = 9
    desk.section.ui.lastSpinBox.value = 12
    desk.section.ui.everySpinBox.value = 2
    run(desk)
    filled = np.flatnonzero(desk.segment().any(axis=(1, 2)))
    assert filled.tolist() == [6, 8, 9, 10, 11, 14]


def test_a_hidden_segment_is_not_touched(desk):
    before = desk.segment()
    desk.segmentation.GetDisplayNode().SetSegmentVisibility(desk.segment_id, False)
    desk.section.propagate(BOTH)
    assert "hidden" in text(desk) and not desk.section.is_running
    np.testing.assert_array_equal(desk.segment(), before)


def test_without_keyframes_it_says_what_to_do(model):
    desk = Desk(model)
    panel = desk.effect.propagation
    panel.propagate(BOTH)
    desk.wait(lambda: not panel.is_running)
    assert "A has no keyframe: segment it on one slice" in panel.status_line.text


def test_cancel_keeps_what_was_found(desk):
    desk.model.delay_s = 0.1
    desk.section.propagate(BOTH)
    desk.wait(lambda: done(desk.section) > 0)
    desk.section.status_line.ui.cancelButton.click()
    desk.wait(lambda: not desk.section.is_running)
    assert "Cancelled" in text(desk)
    np.testing.assert_array_equal(desk.segment()[[6, 14]], desk.structure[[6, 14]])


def test_leaving_the_effect_while_it_runs_changes_nothing(desk):
    desk.model.delay_s = 0.1
    before = desk.segment()
    desk.section.propagate(BOTH)
    desk.editor.setActiveEffect(None)
    assert not desk.section.is_running
    np.testing.assert_array_equal(desk.segment(), before)


@pytest.mark.parametrize("what", ["volume", "segmentation", "scene"])
def test_what_goes_while_it_runs_ends_it(desk, what):
    desk.model.delay_s = 0.1
    desk.section.propagate(BOTH)
    if what == "scene":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(getattr(desk, what))
    desk.wait(lambda: not desk.section.is_running)


def test_a_segment_that_goes_while_it_runs_ends_it(desk):
    desk.model.delay_s = 0.1
    desk.section.propagate(BOTH)
    desk.segmentation.GetSegmentation().RemoveSegment(desk.segment_id)
    desk.wait(lambda: not desk.section.is_running)
    assert text(desk)


def shown(desk):
    """The slice in the view, as the panel knows it, when it has read the segment as it is now."""
    reading = desk.section._reader

    def is_read():
        is_quiet = not (desk.controller.is_waiting or desk.section._later.active or reading._job is not None)
        return is_quiet and reading.now is not None and reading.is_fresh

    desk.pump(0.1)
    desk.wait(is_read)
    return reading.position


def listed(desk):
    """The keyframes in the list."""
    box = desk.section.ui.keyframeComboBox
    return [int(box.itemData(n)) for n in range(1, box.count)]


def test_the_worst_slice_and_the_next_keyframe_are_jumped_to(desk):
    run(desk)
    desk.wait(lambda: desk.section.ui.worstButton.enabled)
    desk.section.ui.worstButton.click()
    worst, now = shown(desk), desk.section._reader.now
    assert now.confidence[worst] == min(now.confidence[n] for n in now.generated)
    desk.section.ui.keyframeButton.click()
    assert shown(desk) in (6, 14)


def test_a_click_on_the_strip_shows_the_slice_and_its_tool_tip_names_it(desk):
    run(desk)
    assert shown(desk) == 10
    label, strip = desk.section.ui.stripLabel, desk.section.strip
    label.resize(240, 40)
    strip.click(89)
    assert shown(desk) == 8
    assert strip.text_at(61) == "Slice 7: keyframe"
    assert strip.text_at(89).startswith("Slice 9: confidence ")
    assert strip.text_at(-5) == "Slice 1: nothing here" and strip.text_at(999) == "Slice 24: nothing here"


def test_keyframes_are_seen_in_the_strip_however_many_slices_there_are(desk):
    from types import SimpleNamespace

    from SAMMed2DSlicer.propagation.keyframe_view import strip_image

    now = SimpleNamespace(generated={5}, numbers=[0, 1501, 2999], empty={1501}, confidence={5: 1.0})
    white = (strip_image(now, 3000, 20) == 255).all(axis=2)[0]
    assert np.diff(white.astype(int)).tolist().count(1) + white[0] == 3
    assert white.sum() >= 20


def test_keyframes_are_listed_and_chosen_ones_are_shown(desk):
    shown(desk)
    assert listed(desk) == [6, 14]
    box = desk.section.ui.keyframeComboBox
    assert box.itemText(0) == "2 keyframes"
    box.setCurrentIndex(2)
    box.activated.emit(2)
    assert shown(desk) == 14 and box.itemText(2) == "Slice 15: keyframe"


def test_the_list_follows_edits_undo_and_propagation(desk):
    desk.click()
    desk.accept()
    shown(desk)
    assert listed(desk) == [6, 10, 14]
    desk.editor.undo()
    shown(desk)
    assert listed(desk) == [6, 14]
    run(desk)
    shown(desk)
    assert listed(desk) == [6, 14]
    draw(desk, 9, structure=np.roll(desk.structure, 2, axis=1))
    shown(desk)
    assert listed(desk) == [6, 9, 14]


def test_a_cleared_slice_is_no_keyframe_and_undo_brings_it_back(desk):
    run(desk)
    draw(desk, 10, structure=np.roll(desk.structure, 2, axis=1))
    shown(desk)
    assert listed(desk) == [6, 10, 14]
    before = desk.segment()
    desk.section.ui.clearSliceButton.click()
    shown(desk)
    expected = before.copy()
    expected[10] = False
    np.testing.assert_array_equal(desk.segment(), expected)
    assert listed(desk) == [6, 14]
    desk.editor.undo()
    shown(desk)
    np.testing.assert_array_equal(desk.segment(), before)
    assert listed(desk) == [6, 10, 14]
    desk.section.ui.clearSliceButton.click()
    run(desk)
    assert desk.segment()[10].any()  # found anew


def test_a_slice_that_was_erased_by_hand_is_an_empty_keyframe_until_it_is_cleared(desk):
    run(desk)
    draw(desk, 10, structure=np.zeros_like(desk.structure))
    shown(desk)
    assert listed(desk) == [6, 10, 14]
    assert desk.section.strip.text_at(10.5 * desk.section.ui.stripLabel.width / 24).endswith("the object is not here")
    desk.section.ui.clearSliceButton.click()
    shown(desk)
    assert listed(desk) == [6, 14]


def test_the_editable_intensity_range_holds_for_all_slices(desk):
    node = desk.editor.mrmlSegmentEditorNode()
    node.SourceVolumeIntensityMaskOn()
    node.SetSourceVolumeIntensityMaskRange(1000, 2000)
    before = desk.segment()
    run(desk)
    np.testing.assert_array_equal(desk.segment(), before)
    assert "masking" in text(desk)


def test_the_editable_area_holds_for_all_slices(desk):
    other = desk.add_segment("B")
    half = np.zeros_like(desk.structure)
    half[:, :, :25] = True
    draw(desk, *range(len(half)), segment_id=other, structure=half)
    node = desk.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    before = desk.segment()
    run(desk)
    added = desk.segment() & ~before
    assert added.any() and not (added & ~half).any()
