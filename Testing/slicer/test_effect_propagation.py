"""Propagation through the effect: its section, undo as one step, masking, hidden segments, faults while it runs."""

from __future__ import annotations

import re

import numpy as np
import pytest
import slicer
from editor_fixture import EditorFixture, done
from test_propagation import dice, draw

BOTH, UP = "both", "up"


@pytest.fixture
def fixture(model):
    fixture = EditorFixture(model)
    draw(fixture, 6, 14)
    fixture.section = fixture.effect.propagation
    fixture.section.ui.propagateButton.collapsed = False
    return fixture


def run(fixture, direction=BOTH):
    fixture.section.propagate(direction)
    fixture.wait(lambda: not fixture.section.is_running)


def text(fixture):
    return fixture.section.status_line.text


def test_both_ways_fills_the_object_and_leaves_keyframes(fixture):
    before = fixture.segment()
    run(fixture)
    after = fixture.segment()
    assert dice(after, fixture.structure) > 0.9
    np.testing.assert_array_equal(after[[6, 14]], before[[6, 14]])
    assert "undo takes it back" in text(fixture)


def test_a_run_that_asks_no_model_loads_none(fixture, monkeypatch):
    from SAMMed2DSlicer.inference import service

    monkeypatch.setattr(service.InferenceService, "_session", lambda self, choice: pytest.fail("nobody asks it"))
    run(fixture)
    assert dice(fixture.segment(), fixture.structure) > 0.9
    assert "undo takes it back" in text(fixture)


def test_a_run_that_asks_no_model_goes_on_when_another_is_chosen(fixture):
    from dataclasses import replace

    from SAMMed2DSlicer.inference import service

    fixture.section.propagate(BOTH)
    shared, before = service.shared(), service.shared().choice
    shared.choose(replace(before, device="cuda"))
    fixture.wait(lambda: not fixture.section.is_running)
    shared.choose(before)
    assert dice(fixture.segment(), fixture.structure) > 0.9 and "Cancelled" not in text(fixture)


def test_a_panel_that_slicer_destroys_at_its_end_is_left_alone(fixture, monkeypatch):
    fixture.click()
    fixture.accept()  # the keyframes are to be read in a moment
    section = fixture.section
    assert section._refresh_timer.isActive()
    fixture.editor.setActiveEffect(None)
    touched = []  # in the desktop its widgets are gone then
    monkeypatch.setattr(section, "update_axis", lambda: touched.append("widgets"))
    fixture.pump(2 * section._refresh_timer.interval / 1000 + 0.2)
    assert not section._refresh_timer.isActive() and not touched


def test_visible_segments_without_a_voxel_are_left_out(fixture):
    empty = fixture.add_segment("B")
    segments = fixture.segmentation.GetSegmentation()
    segments.CollapseBinaryLabelmaps(False)  # as Slicer does: the new segment shares the other one's labelmap
    segments.GetSegment(empty).AddRepresentation(
        "Binary labelmap", segments.GetSegment(fixture.segment_id).GetRepresentation("Binary labelmap")
    )
    segments.GetSegment(empty).SetLabelValue(7)
    fixture.section.ui.allCheckBox.checked = True
    run(fixture)
    assert dice(fixture.segment(), fixture.structure) > 0.9 and not fixture.segment(empty).any()


def test_undo_takes_the_whole_run_back(fixture):
    before = fixture.segment()
    run(fixture)
    assert (fixture.segment() != before).any()
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment(), before)


def test_up_leaves_what_is_below(fixture):
    run(fixture, UP)
    assert not fixture.segment()[:6].any() and fixture.segment()[7].any()


def test_the_range_and_every_n_th_slice_are_those_of_the_panel(fixture):
    fixture.section.ui.firstSpinBox.value = 9
    fixture.section.ui.lastSpinBox.value = 12
    fixture.section.ui.everySpinBox.value = 2
    run(fixture)
    filled = np.flatnonzero(fixture.segment().any(axis=(1, 2)))
    assert filled.tolist() == [6, 8, 9, 10, 11, 14]


def test_the_range_does_not_stay_for_another_volume(fixture):
    section, first = fixture.section, fixture.section.ui.firstSpinBox
    fixture.wait(lambda: section._reader.axis is not None)
    first.value = 9
    section.update_axis()
    assert first.value == 9
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    slicer.util.updateVolumeFromArray(other, slicer.util.arrayFromVolume(fixture.volume)[:5])
    fixture.editor.setSourceVolumeNode(other)
    section.propagate(BOTH)
    assert first.value == 0
    fixture.wait(lambda: not section.is_running)


def test_a_hidden_segment_is_not_touched(fixture):
    before = fixture.segment()
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility(fixture.segment_id, False)
    fixture.section.propagate(BOTH)
    assert "hidden" in text(fixture) and not fixture.section.is_running
    np.testing.assert_array_equal(fixture.segment(), before)


def test_without_keyframes_it_says_what_to_do(model):
    fixture = EditorFixture(model)
    panel = fixture.effect.propagation
    panel.propagate(BOTH)
    fixture.wait(lambda: not panel.is_running)
    assert "A has no keyframe: segment it on one slice" in panel.status_line.text


def slow(fixture):
    """Have the model asked, and slowly: else a run is over before anything happens to it."""
    fixture.section.ui.modelCheckBox.checked = True
    fixture.model.delay_s = 0.3


def test_cancel_keeps_what_was_found(fixture):
    slow(fixture)
    fixture.section.propagate(BOTH)
    fixture.wait(lambda: done(fixture.section) > 0)
    fixture.section.status_line.ui.cancelButton.click()
    fixture.wait(lambda: not fixture.section.is_running)
    assert "Cancelled" in text(fixture)
    np.testing.assert_array_equal(fixture.segment()[[6, 14]], fixture.structure[[6, 14]])


def test_leaving_the_effect_while_it_runs_changes_nothing(fixture):
    slow(fixture)
    before = fixture.segment()
    fixture.section.propagate(BOTH)
    fixture.editor.setActiveEffect(None)
    assert not fixture.section.is_running
    np.testing.assert_array_equal(fixture.segment(), before)


@pytest.mark.parametrize("what", ["volume", "segmentation", "scene"])
def test_what_goes_while_it_runs_ends_it(fixture, what):
    slow(fixture)
    fixture.section.propagate(BOTH)
    if what == "scene":
        slicer.mrmlScene.Clear(0)
    else:
        slicer.mrmlScene.RemoveNode(getattr(fixture, what))
    fixture.wait(lambda: not fixture.section.is_running)


def test_a_segment_that_goes_while_it_runs_ends_it(fixture):
    slow(fixture)
    fixture.section.propagate(BOTH)
    fixture.segmentation.GetSegmentation().RemoveSegment(fixture.segment_id)
    fixture.wait(lambda: not fixture.section.is_running)
    assert text(fixture)


def shown(fixture):
    """The slice in the view, as the panel knows it, when it has read the segment as it is now."""
    reading = fixture.section._reader

    def is_read():
        is_waiting = fixture.controller.is_waiting or fixture.section._refresh_timer.active
        return not is_waiting and reading._job is None and reading.keyframes is not None and reading.is_current

    fixture.pump(0.1)
    fixture.wait(is_read)
    return reading.position


def listed(fixture):
    """The keyframes in the list."""
    box = fixture.section.ui.keyframeComboBox
    return [int(box.itemData(n)) for n in range(1, box.count)]


def test_the_worst_slice_and_the_next_keyframe_are_jumped_to(fixture):
    run(fixture)
    fixture.wait(lambda: fixture.section.ui.worstButton.enabled)
    fixture.section.ui.worstButton.click()
    worst, now = shown(fixture), fixture.section._reader.keyframes
    assert now.confidence[worst] == min(now.confidence[n] for n in now.generated)
    fixture.section.ui.keyframeButton.click()
    assert shown(fixture) in (6, 14)


def test_a_click_on_the_strip_shows_the_slice_and_its_tool_tip_names_it(fixture):
    run(fixture)
    assert shown(fixture) == 10
    label, strip = fixture.section.ui.stripLabel, fixture.section.strip
    label.resize(240, 40)
    strip.click(89)
    assert shown(fixture) == 8
    assert strip.text_at(61) == "Slice 7: keyframe"
    assert strip.text_at(89).startswith("Slice 9: confidence ")
    assert strip.text_at(-5) == "Slice 1: nothing here" and strip.text_at(999) == "Slice 24: nothing here"


def test_keyframes_are_seen_in_the_strip_however_many_slices_there_are(fixture):
    from types import SimpleNamespace

    from SAMMed2DSlicer.propagation.panel.confidence_strip import strip_image

    now = SimpleNamespace(generated={5}, numbers=[0, 1501, 2999], empty={1501}, confidence={5: 1.0})
    white = (strip_image(now, 3000, 20) == 255).all(axis=2)[0]
    assert np.diff(white.astype(int)).tolist().count(1) + white[0] == 3
    assert white.sum() >= 20


def test_the_legend_of_the_strip_has_the_colours_that_it_is_drawn_in(fixture):
    from types import SimpleNamespace

    from SAMMed2DSlicer.propagation.panel.confidence_strip import legend_html, strip_image

    now = SimpleNamespace(generated={5, 6}, numbers=[2], empty=set(), confidence={5: 1.0, 6: 0.0})
    drawn = {tuple(map(int, color)) for color in np.unique(strip_image(now, 20, 9).reshape(-1, 3), axis=0)}
    swatches = re.findall(r"color: rgb\((\d+), (\d+), (\d+)\).*?&nbsp;([^<&]+?)(?= <|</small>)", legend_html())
    assert [name for *_rgb, name in swatches] == ["keyframe", "sure", "unsure", "empty", "shown"]
    assert {tuple(map(int, rgb)) for *rgb, _name in swatches} <= drawn
    assert fixture.section.ui.legendLabel.text == legend_html()


def test_keyframes_are_listed_and_chosen_ones_are_shown(fixture):
    shown(fixture)
    assert listed(fixture) == [6, 14]
    box = fixture.section.ui.keyframeComboBox
    assert box.itemText(0) == "2 keyframes"
    box.setCurrentIndex(2)
    box.activated.emit(2)
    assert shown(fixture) == 14 and box.itemText(2) == "Slice 15: keyframe"


def test_the_list_follows_edits_undo_and_propagation(fixture):
    fixture.click()
    fixture.accept()
    shown(fixture)
    assert listed(fixture) == [6, 10, 14]
    fixture.editor.undo()
    shown(fixture)
    assert listed(fixture) == [6, 14]
    run(fixture)
    shown(fixture)
    assert listed(fixture) == [6, 14]
    draw(fixture, 9, structure=np.roll(fixture.structure, 2, axis=1))
    shown(fixture)
    assert listed(fixture) == [6, 9, 14]


def test_a_cleared_slice_is_no_keyframe_and_undo_brings_it_back(fixture):
    run(fixture)
    draw(fixture, 10, structure=np.roll(fixture.structure, 2, axis=1))
    shown(fixture)
    assert listed(fixture) == [6, 10, 14]
    before = fixture.segment()
    fixture.section.ui.clearSliceButton.click()
    shown(fixture)
    expected = before.copy()
    expected[10] = False
    np.testing.assert_array_equal(fixture.segment(), expected)
    assert listed(fixture) == [6, 14]
    fixture.editor.undo()
    shown(fixture)
    np.testing.assert_array_equal(fixture.segment(), before)
    assert listed(fixture) == [6, 10, 14]
    fixture.section.ui.clearSliceButton.click()
    run(fixture)
    assert fixture.segment()[10].any()  # found anew


def test_a_slice_that_was_erased_by_hand_is_an_empty_keyframe_until_it_is_cleared(fixture):
    run(fixture)
    draw(fixture, 10, structure=np.zeros_like(fixture.structure))
    shown(fixture)
    assert listed(fixture) == [6, 10, 14]
    assert fixture.section.strip.text_at(10.5 * fixture.section.ui.stripLabel.width / 24).endswith(
        "the object is not here"
    )
    fixture.section.ui.clearSliceButton.click()
    shown(fixture)
    assert listed(fixture) == [6, 14]


def test_the_editable_intensity_range_holds_for_all_slices(fixture):
    node = fixture.editor.mrmlSegmentEditorNode()
    node.SourceVolumeIntensityMaskOn()
    node.SetSourceVolumeIntensityMaskRange(1000, 2000)
    before = fixture.segment()
    run(fixture)
    np.testing.assert_array_equal(fixture.segment(), before)
    assert "masking" in text(fixture)


def test_the_editable_area_holds_for_all_slices(fixture):
    other = fixture.add_segment("B")
    half = np.zeros_like(fixture.structure)
    half[:, :, :25] = True
    draw(fixture, *range(len(half)), segment_id=other, structure=half)
    node = fixture.editor.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteNone)
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    before = fixture.segment()
    run(fixture)
    added = fixture.segment() & ~before
    assert added.any() and not (added & ~half).any()
