"""Propagation through the effect: its section, undo as one step, masking, hidden segments, faults while it runs."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from desk import Desk
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
    return desk.section.ui.propagationLabel.text


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
    assert panel.ui.propagationLabel.text and not panel.is_running


def test_cancel_keeps_what_was_found(desk):
    desk.model.delay_s = 0.1
    desk.section.propagate(BOTH)
    desk.wait(lambda: desk.section.ui.progressBar.value > 0)
    desk.section.ui.cancelButton.click()
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


def test_the_strip_shows_and_the_worst_slice_is_jumped_to(desk):
    run(desk)
    desk.wait(lambda: desk.section.ui.worstButton.enabled)
    assert desk.section.ui.stripLabel.pixmap is not None
    desk.section.ui.worstButton.click()
    worst = desk.section._looked_at()[0].position
    assert worst in desk.section._looked_at()[1].ours
    desk.section.ui.keyframeButton.click()
    assert desk.section._looked_at()[0].position in (6, 14)


def test_the_editable_intensity_range_holds_for_all_slices(desk):
    node = desk.editor.mrmlSegmentEditorNode()
    node.SourceVolumeIntensityMaskOn()
    node.SetSourceVolumeIntensityMaskRange(1000, 2000)
    before = desk.segment()
    run(desk)
    np.testing.assert_array_equal(desk.segment(), before)


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
