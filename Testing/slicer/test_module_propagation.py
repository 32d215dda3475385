"""Propagation in the module's panel: the same section as in the effect, on what is selected in the module."""

from __future__ import annotations

import host
import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES
from module_kit import a_case
from test_logic import show
from test_propagation import dice, draw


@pytest.fixture
def widget(logic):
    """The module's panel, shown."""
    slicer.util.selectModule("SAMMed2D")
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    yield slicer.util.getModuleWidget("SAMMed2D")
    for panel in slicer.util.getModuleWidget("SAMMed2D").panels:
        panel.forget()


@pytest.fixture
def section(widget):
    widget.panels[1].ui.propagateButton.collapsed = False
    return widget.panels[1]


@pytest.fixture
def case(widget, section):
    """A segment with two keyframes along the view that shows slice 10."""
    made = a_case(GEOMETRIES["anisotropic and offset"])
    show(made)
    draw(made, 6, 14)
    parameters = widget.panels[0].parameters
    parameters.volume, parameters.segmentation, parameters.segment_id = made.volume, made.segmentation, "A"
    widget.panels[0].refresh()
    return made


def settle(section):
    """Wait until nothing runs, and the keyframes are read and listed after all that has happened."""

    def is_settled():
        is_reading = section._refresh_timer.active or section._reader._job is not None
        return not (section.is_running or section._undo.is_running or is_reading)

    for seconds in (0.2, 0.05):
        host.pump(seconds)
        assert host.pump(60, is_settled)


def listed(section):
    box = section.ui.keyframeComboBox
    return [int(box.itemData(n)) for n in range(1, box.count)]


def test_both_ways_fills_the_segment(section, case):
    before = case.segment()
    section.ui.bothButton.click()
    settle(section)
    after = case.segment()
    assert dice(after, case.structure) > 0.9
    np.testing.assert_array_equal(after[[6, 14]], before[[6, 14]])
    assert "voxels changed" in section.status_line.text


def test_the_list_follows_the_selected_segment_and_edits(widget, section, case):
    settle(section)
    assert listed(section) == [6, 14]
    draw(case, 9)
    settle(section)
    assert listed(section) == [6, 9, 14]
    draw(case, 12, segment_id="B")
    widget.panels[0].parameters.segment_id = "B"
    settle(section)
    assert listed(section) == [12]


def test_the_list_follows_the_selected_view(widget, section, case):
    green = slicer.app.layoutManager().sliceWidget("Green").mrmlSliceNode()
    green.JumpSliceByCentering(*case.world((25, 22, 10))[0])
    widget.panels[0].parameters.view = "Green"
    settle(section)
    assert listed(section) == []  # only lines of the masks across it
    draw(case, 22, axis=1)
    settle(section)
    assert listed(section) == [22]


def test_undo_takes_the_run_back_while_nothing_else_was_changed(section, case):
    before = case.segment()
    section.ui.bothButton.click()
    settle(section)
    assert section.ui.undoButton.enabled
    section.ui.undoButton.click()
    settle(section)
    np.testing.assert_array_equal(case.segment(), before)
    assert not section.ui.undoButton.enabled and listed(section) == [6, 14]
    section.ui.bothButton.click()
    settle(section)
    draw(case, 16)
    settle(section)
    assert not section.ui.undoButton.enabled


def test_a_cleared_slice_comes_back_with_undo(section, case):
    settle(section)
    section.show_position(14)
    settle(section)
    before = case.segment()
    section.ui.clearSliceButton.click()
    settle(section)
    assert not case.segment()[14].any() and listed(section) == [6]
    section.ui.undoButton.click()
    settle(section)
    np.testing.assert_array_equal(case.segment(), before)


def test_a_run_goes_on_when_the_module_is_left_and_ends_with_the_scene(section, case):
    section.ui.bothButton.click()
    slicer.util.selectModule("SegmentEditor")
    assert host.pump(60, lambda: not section.is_running)
    assert dice(case.segment(), case.structure) > 0.9
    slicer.util.selectModule("SAMMed2D")
    section.ui.upButton.click()
    slicer.mrmlScene.Clear(0)
    assert not section.is_running


def test_without_a_volume_it_says_what_to_do(widget, section):
    widget.panels[0].parameters.volume = None
    section.ui.bothButton.click()
    assert "select a source volume" in section.status_line.text


def test_no_helper_node_stays(section, case):
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode")
    section.ui.bothButton.click()
    settle(section)
    section.forget()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == count


# Whole object


def find_whole(widget, seconds=60):
    widget.panels[0].ui.wholeButton.click()
    assert host.pump(seconds, lambda: not widget.panels[1].is_running)


def test_whole_object_follows_the_segments_slice_and_one_undo_takes_it_back(widget, section, case):
    draw(case, 10, segment_id="B")
    widget.panels[0].parameters.segment_id = "B"
    before = case.segment("B")
    find_whole(widget)
    after = case.segment("B")
    assert dice(after, case.structure) > 0.9 and "voxels changed" in section.status_line.text
    np.testing.assert_array_equal(after[10], before[10])
    settle(section)
    section.ui.undoButton.click()
    settle(section)
    np.testing.assert_array_equal(case.segment("B"), before)


def test_whole_object_is_found_in_an_roi_where_the_segment_is_empty(widget, section, case):
    widget.panels[0].parameters.segment_id = "B"
    places = np.argwhere(case.structure)[:, ::-1]
    roi = case.roi(places.min(axis=0) - 1, places.max(axis=0) + 1)
    find_whole(widget)
    assert dice(case.segment("B"), case.structure) > 0.9
    roi.GetDisplayNode().SetVisibility(0)


def test_whole_object_says_what_is_missing_and_begins_nothing(widget, section, case):
    widget.panels[0].parameters.segment_id = "B"
    find_whole(widget)
    assert "accept it on one slice, or draw an ROI" in section.status_line.text
    widget.panels[0].parameters.segment_id = ""
    find_whole(widget)
    assert "add one first" in section.status_line.text
    widget.panels[0].parameters.volume = None
    find_whole(widget)
    assert "select a volume" in section.status_line.text
    assert not case.segment("B").any()


def test_no_propagation_begins_while_a_whole_object_is_looked_for_and_the_scene_ends_it(widget, section, case):
    widget.panels[0].ui.wholeButton.click()
    assert section.is_running
    section.ui.bothButton.click()
    assert "Propagating" not in section.status_line.text
    slicer.mrmlScene.Clear(0)
    assert not section.is_running and section.unwritten() is None
