"""The section for propagation along time: when it is offered, its strip and lists, correcting, undo, faults."""

from __future__ import annotations

import host
import numpy as np
import pytest
import slicer
from editor_fixture import EditorFixture, done, put_under, turned
from module_kit import a_case
from sequence_kit import FRAMES, a_cine, a_drawn_cine
from test_module_propagation import listed, settle
from test_propagation import dice


def select(widget, cine):
    parameters = widget.panels[0].parameters
    parameters.volume, parameters.segmentation, parameters.segment_id = cine.volume, cine.segmentation, "A"
    widget.panels[0].refresh()


def along(section, way="time"):
    box = section.ui.alongComboBox
    box.setCurrentIndex(box.findData(way))
    box.activated.emit(box.currentIndex)
    settle(section)


@pytest.fixture
def widget(logic):
    """The module's panel, shown."""
    slicer.util.selectModule("SAMMed2D")
    shown = slicer.util.getModuleWidget("SAMMed2D")
    yield shown
    for panel in shown.panels:
        panel.forget()


@pytest.fixture
def section(widget):
    """The section of the panel, as it is at first."""
    found = widget.panels[1]
    found.ui.propagateButton.collapsed = False
    found.ui.modelCheckBox.checked = True  # or a run is over before anything happens to it
    yield found
    found.ui.modelCheckBox.checked = False
    found.ui.firstSpinBox.value = found.ui.lastSpinBox.value = 0
    found.ui.loopCheckBox.checked = found.ui.allCheckBox.checked = False
    found.ui.alongComboBox.setCurrentIndex(0)


@pytest.fixture
def cine(widget, section):
    """A disc drawn in two frames, and the section along time."""
    made = a_drawn_cine(1, 6)
    select(widget, made)
    settle(section)
    along(section)
    return made


def run(section, button="bothButton"):
    getattr(section.ui, button).click()
    settle(section)


def test_time_is_offered_only_where_there_are_frames(widget, section):
    select(widget, a_case())
    settle(section)
    assert section.ui.alongComboBox.isHidden() and section.ui.upButton.text == "Up"
    select(widget, a_drawn_cine(1))
    settle(section)
    assert not section.ui.alongComboBox.isHidden() and section.ui.loopCheckBox.isHidden()
    along(section)
    assert (section.ui.downButton.text, section.ui.upButton.text) == ("Earlier", "Later")
    assert section.ui.firstLabel.text == "Frames:" and not section.ui.loopCheckBox.isHidden()
    assert section.ui.clearSliceButton.text == "Clear frame" and "frames" in section.ui.stripLabel.toolTip
    select(widget, a_case())
    settle(section)
    assert section.ui.alongComboBox.isHidden() and section.ui.upButton.text == "Up"
    assert section.ui.firstLabel.text == "Slices:" and section.ui.loopCheckBox.isHidden()


def test_both_ways_fills_all_frames_and_undo_takes_them_back(section, cine):
    before = cine.all()
    run(section)
    assert section.status_line.text.startswith("6 frames, ")
    assert all(dice(one, disc) > 0.85 for one, disc in zip(cine.all(), cine.discs, strict=True))
    assert listed(section) == [1, 6] and section.ui.undoButton.enabled
    section.ui.undoButton.click()
    settle(section)
    np.testing.assert_array_equal(cine.all(), before)
    assert not section.ui.undoButton.enabled and "taken back" in section.status_line.text


@pytest.mark.parametrize(("button", "filled"), [("downButton", range(7)), ("upButton", range(1, FRAMES))])
def test_earlier_and_later_keep_to_their_side(section, cine, button, filled):
    run(section, button)
    assert np.flatnonzero(cine.all().any((1, 2, 3))).tolist() == list(filled)


def test_range_and_cycle_are_those_of_the_panel(section, cine):
    section.ui.firstSpinBox.value, section.ui.lastSpinBox.value = 1, 4
    section.ui.loopCheckBox.checked = True
    run(section)
    assert np.flatnonzero(cine.all().any((1, 2, 3))).tolist() == [0, 1, 2, 3, 6]


def test_a_click_on_the_strip_lets_the_browser_show_the_frame(section, cine):
    run(section)
    label, strip = section.ui.stripLabel, section.strip
    strip.click(4.5 * label.width / FRAMES)
    settle(section)
    assert cine.browser.GetSelectedItemNumber() == 4 and section._reader.position == 4
    np.testing.assert_array_equal(cine.shown(), cine.segment(4))
    assert strip.text_at(1.5 * label.width / FRAMES) == "Frame 2: keyframe"
    assert strip.text_at(4.5 * label.width / FRAMES).startswith("Frame 5: confidence ")
    section.ui.keyframeButton.click()
    assert cine.browser.GetSelectedItemNumber() == 6
    section.ui.worstButton.click()
    assert cine.browser.GetSelectedItemNumber() not in (1, 6)


def test_the_strip_follows_the_browser_and_what_is_drawn(section, cine):
    cine.show(3)
    settle(section)
    assert section._reader.position == 3
    cine.draw(3)
    settle(section)
    assert listed(section) == [1, 3, 6]


def test_a_corrected_frame_is_a_keyframe_and_a_cleared_one_is_found_anew(section, cine):
    run(section)
    cine.draw(4, np.roll(cine.discs[4], 5, axis=2))
    settle(section)
    assert listed(section) == [1, 4, 6]
    section.ui.clearSliceButton.click()
    settle(section)
    assert not cine.segment(4).any() and listed(section) == [1, 6]
    section.ui.undoButton.click()
    settle(section)
    assert cine.segment(4).any() and listed(section) == [1, 4, 6]
    section.ui.clearSliceButton.click()
    settle(section)
    run(section)
    assert dice(cine.segment(4), cine.discs[4]) > 0.85


def test_a_segmentation_gets_its_frames_by_a_button(widget, section):
    cine = a_cine()
    voxels = cine.discs[0].astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, cine.segmentation, "A", cine.volume)
    select(widget, cine)
    settle(section)
    along(section)
    run(section)
    assert "is the same in all frames" in section.status_line.text
    section.ui.sequenceButton.click()
    settle(section)
    assert section.ui.sequenceButton.isHidden() and listed(section) == [0]
    np.testing.assert_array_equal(cine.segment(0), cine.discs[0])
    cine.draw(7)
    settle(section)
    run(section)
    assert cine.all().any((1, 2, 3)).all()


def test_all_visible_segments_are_those_that_are_drawn_somewhere(section, cine):
    section.ui.allCheckBox.checked = True
    run(section)
    assert section.status_line.text.startswith("6 frames, ") and not cine.all("B").any()
    cine.draw(0, segment_id="B")
    run(section)
    assert cine.all("B").any((1, 2, 3)).all()


def test_cancel_keeps_what_was_found(section, cine, monkeypatch):
    monkeypatch.setattr("SAMMed2DSlicer.propagation.task.STEP_S", 0.0)
    monkeypatch.setattr("SAMMed2DLib.propagation.schedule.TOGETHER", 1)
    before = cine.all()
    session = section._controller._service._session(None)
    session.delay_s = 0.1
    section.ui.bothButton.click()
    assert host.pump(60, lambda: done(section) > 1)
    section.status_line.ui.cancelButton.click()
    settle(section)
    assert section.status_line.text.startswith("Cancelled; what was found is written:")
    np.testing.assert_array_equal(cine.all()[[1, 6]], before[[1, 6]])
    assert (cine.all() != before).any()


@pytest.mark.parametrize(
    "happens",
    [
        lambda cine: slicer.mrmlScene.Clear(0),
        lambda cine: slicer.mrmlScene.RemoveNode(cine.browser),
        lambda cine: cine.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("50"),
        lambda cine: slicer.mrmlScene.RemoveNode(cine.drawings),
    ],
)
def test_a_run_ends_when_its_frames_go(section, cine, happens):
    section._controller._service._session(None).delay_s = 0.5
    section.ui.bothButton.click()
    host.pump(0.3)
    happens(cine)
    settle(section)
    assert "given up" in section.status_line.text
    assert not section.ui.undoButton.enabled or cine.all().any()


# In the effect


@pytest.fixture
def fixture(model):
    """An editor at work on a sequence that was drawn on in two frames."""
    cine = a_drawn_cine(1, 6)
    fixture = EditorFixture(model)
    fixture.cine, fixture.section = cine, fixture.effect.propagation
    fixture.editor.setSegmentationNode(cine.segmentation)
    fixture.editor.setSourceVolumeNode(cine.volume)
    fixture.editor.setCurrentSegmentID("A")
    fixture.activate()
    fixture.section.ui.propagateButton.collapsed = False
    settle(fixture.section)
    along(fixture.section)
    fixture.section.ui.modelCheckBox.checked = True  # or a run is over before anything happens to it
    return fixture


def test_the_effect_fills_frames_too_and_offers_undo(fixture):
    before = fixture.cine.all()
    run(fixture.section)
    assert fixture.cine.all().any((1, 2, 3)).all()
    fixture.section.strip.click(3.5 * fixture.section.ui.stripLabel.width / FRAMES)
    settle(fixture.section)
    assert fixture.section._reader.position == 3
    assert not fixture.section.ui.undoButton.isHidden()
    fixture.section.ui.undoButton.click()
    settle(fixture.section)
    np.testing.assert_array_equal(fixture.cine.all(), before)


def test_what_is_drawn_in_a_frame_is_listed_and_slices_have_the_undo_of_the_editor(fixture):
    fixture.section.show_position(3)
    settle(fixture.section)
    fixture.cine.draw(3)
    settle(fixture.section)
    assert listed(fixture.section) == [1, 3, 6]
    along(fixture.section, "slices")
    assert fixture.section.ui.undoButton.isHidden() and fixture.section.ui.upButton.text == "Up"


def test_leaving_the_effect_gives_a_run_up(fixture):
    fixture.model.delay_s = 0.5
    before = fixture.cine.all()
    fixture.section.ui.bothButton.click()
    host.pump(0.2)
    fixture.editor.setActiveEffectByName("")
    settle(fixture.section)
    np.testing.assert_array_equal(fixture.cine.all(), before)


def test_a_move_of_the_volume_alone_gives_a_run_up(fixture):
    fixture.model.delay_s = 0.5
    fixture.section.ui.bothButton.click()
    host.pump(0.2)
    put_under(fixture.cine.volume, turned(5))
    settle(fixture.section)
    assert "moved" in fixture.section.status_line.text
