"""The status line of the effect: what is going on and what was done, always in sight and never of something else."""

from __future__ import annotations

import time

import numpy as np
import pytest
import qt
import slicer
from editor_fixture import INSIDE, EditorFixture, a_volume, done
from test_propagation import draw

HINT = "Click on the structure, or drag a box around it."
_kept = []  # PySide6 loses what it knows of a class with a widget that goes


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model)
    fixture.wait(lambda: fixture.effect._service.state.is_ready)
    return fixture


@pytest.fixture
def line(fixture):
    return fixture.panel.status_line


def accepted(fixture: EditorFixture) -> EditorFixture:
    fixture.click()
    fixture.accept()
    assert fixture.panel.status_line.text == f"Accepted: {fixture.structure[10].sum():,} voxels changed."
    return fixture


# What is said


def test_a_masks_size_is_said_and_then_what_was_accepted(fixture, line):
    assert line.text == HINT and not line.is_busy
    fixture.click()
    assert line.text.startswith("370 px; good. ") and line.text.endswith("Enter accepts, Esc clears.")
    accepted(fixture)


@pytest.mark.parametrize(("grade", "word"), [("good", "; good"), ("check", "; check this"), (None, "")])
def test_how_good_a_mask_probably_is_is_said_by_a_word_and_a_bar(fixture, line, model, grade, word):
    bar = line.ui.scoreBar
    assert bar.isHidden()
    model.grade = grade
    fixture.click()
    assert line.text == f"370 px{word}. Enter accepts, Esc clears."
    assert not bar.isHidden() and bar.value == 90 and "0.90" in bar.toolTip == line.ui.statusLabel.toolTip
    assert ("on average" in bar.toolTip) is (grade is not None)  # else the model's own word
    fixture.accept()
    assert bar.isHidden() and line.ui.statusLabel.toolTip == ""


def test_what_was_accepted_is_not_said_on_another_slice(fixture, line):
    accepted(fixture)
    fixture.show(2, 12)
    assert line.text == HINT
    fixture.show(2, 10)
    assert line.text == HINT


def test_what_was_accepted_is_not_said_of_another_segment(fixture, line):
    accepted(fixture)
    fixture.editor.setCurrentSegmentID(fixture.add_segment("B"))
    fixture.pump(0.05)
    assert line.text == HINT


def test_what_was_accepted_is_not_said_of_another_volume(fixture, line):
    accepted(fixture)
    fixture.editor.setSourceVolumeNode(a_volume(np.zeros((24, 50, 60), np.int16), np.eye(4)))
    fixture.pump(0.05)
    assert line.text == HINT


def test_pointing_at_another_view_leaves_what_was_said(fixture, line):
    accepted(fixture)
    said = line.text
    slicer.app.layoutManager().sliceWidget("Yellow").sliceView().mouse("EnterEvent", 20, 20)
    fixture.pump(0.05)
    assert line.text == said


def test_of_a_mask_on_another_slice_it_is_said_where_it_waits(fixture, line):
    fixture.click()
    fixture.show(2, 12)
    assert line.text == "The mask on axial 11 is not accepted yet: Enter accepts, Esc clears."
    fixture.click((26, 22, 12))
    assert line.text == "2 masks on axial 11 and axial 13. Enter accepts all of them, Esc clears."


def test_one_enter_for_two_objects_counts_both(fixture, line):
    fixture.click()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    fixture.accept()
    expected = int(fixture.structure[[10, 12]].sum())
    assert fixture.segment().sum() == expected
    assert line.text == f"Accepted 2 objects: {expected:,} voxels changed."


def test_of_two_objects_that_cannot_both_be_written_each_is_told(fixture, line, monkeypatch):
    from SAMMed2DSlicer.scene import edit_history, volumes

    fixture.click()
    fixture.show(2, 12)
    fixture.click((26, 22, 12))
    real, calls = edit_history.write_mask, []

    def write(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise volumes.SceneError("The segmentation has no geometry")
        return real(*arguments)

    monkeypatch.setattr(edit_history, "write_mask", write)
    fixture.accept()
    count = int(fixture.structure[10].sum())
    assert fixture.status.text == f"Accepted: {count} voxels changed. The segmentation has no geometry"
    assert fixture.status.level == "warning" and len(fixture.shown) == 1


def test_enter_while_one_of_two_is_on_its_way_writes_and_counts_both(fixture, line, model):
    fixture.click()
    fixture.show(2, 12)
    model.delay_s = 0.2
    fixture.view.click(*fixture.xy((26, 22, 12)))
    fixture.effect.accept()
    assert line.text == "Accepted as soon as the answer is there."
    fixture.wait()
    expected = int(fixture.structure[[10, 12]].sum())
    assert fixture.segment().sum() == expected
    assert line.text == f"Accepted 2 objects: {expected:,} voxels changed."


def test_a_prompt_after_enter_that_waits_is_seen_before_it_is_written(fixture, line, model):
    model.delay_s = 0.3
    fixture.view.click(*fixture.xy(INSIDE))
    fixture.effect.accept()
    fixture.show(2, 12)
    fixture.view.click(*fixture.xy((26, 22, 12)))
    assert line.text == "Not accepted, as another prompt came: look at the mask, and press Enter again."
    fixture.wait()
    assert not fixture.segment().any() and len(fixture.controller.pending) == 2
    fixture.accept()
    assert fixture.segment().sum() == int(fixture.structure[[10, 12]].sum())


# What is going on


def test_a_quick_answer_shows_no_bar_and_a_slow_one_does_and_can_be_cancelled(fixture, line, model):
    accepted(fixture)
    model.delay_s = 20
    fixture.show(2, 12)
    fixture.view.click(*fixture.xy((26, 22, 12)))
    fixture.pump(0.05)
    assert not line.is_busy and line.ui.cancelButton.isHidden()
    fixture.wait(lambda: line.is_busy)
    assert line.text == "Segmenting..." and not line.ui.cancelButton.isHidden() and not line.ui.progressBar.isHidden()
    line.ui.cancelButton.click()
    assert not fixture.controller.is_waiting and not line.is_busy and line.ui.cancelButton.isHidden()
    assert line.text.startswith("Cancelled. The prompts are still there")
    model.delay_s = 0
    fixture.show(2, 13)
    fixture.show(2, 12)
    assert not fixture.controller.is_waiting and fixture.shown == [] and len(fixture.controller.groups) == 2
    fixture.accept()  # asks again
    np.testing.assert_array_equal(fixture.shown[0], fixture.structure[12])
    fixture.click((28, 24, 12))
    np.testing.assert_array_equal(fixture.shown[0], fixture.structure[12])
    assert len(model.asked[-1][0].labels) == 2


def test_a_run_has_its_progress_and_cancel_in_the_line_and_no_older_sentence(fixture, line, model):
    draw(fixture, 6, 14)
    accepted(fixture)
    model.delay_s = 0.3
    fixture.effect.propagation.ui.modelCheckBox.checked = True  # or the run is over before it is looked at
    fixture.effect.propagation.propagate("both")
    seen, bar = [], line.ui.progressBar
    fixture.wait(lambda: done(fixture.effect.propagation) > 0 and seen.append(line.text) is None and len(seen) > 3)
    assert all(text.startswith("Propagating... ") and text.endswith(" slices") for text in seen)
    assert not line.ui.cancelButton.isHidden() and not bar.isHidden()
    line.ui.cancelButton.click()
    fixture.wait(lambda: not fixture.effect.propagation.is_running)
    assert "Cancelled" in line.text and not line.is_busy and bar.isHidden()
    fixture.pump(0.4)  # what is said belongs to the place that is shown a moment later
    fixture.show(2, 12)
    assert line.text == HINT


def test_what_a_run_did_is_not_said_after_its_undo(fixture, line, model):
    draw(fixture, 6, 14)
    fixture.effect.propagation.propagate("both")
    fixture.wait(lambda: not fixture.effect.propagation.is_running)
    fixture.pump(0.5)
    assert "voxels changed" in line.text
    fixture.editor.undo()
    fixture.pump(0.1)
    assert line.text == HINT


def test_what_was_accepted_is_not_said_after_its_undo(fixture, line):
    fixture.click()
    fixture.accept()
    (points,) = (one.points for one in fixture.controller.groups)
    points.RemoveNthControlPoint(0)
    fixture.pump(0.5)
    assert line.text == "Accepted: 370 voxels changed."
    fixture.editor.undo()
    fixture.pump(0.1)
    assert line.text == HINT and not fixture.segment().any()


def test_a_mask_that_comes_during_a_run_is_said_beside_its_progress(fixture, line, model):
    draw(fixture, 6, 14)
    model.delay_s = 0.3
    fixture.effect.propagation.ui.modelCheckBox.checked = True  # or the run is over before the mask comes
    fixture.effect.propagation.propagate("both")
    fixture.wait(lambda: "slices" in line.text)
    fixture.click()
    assert line.text.startswith("Propagating... ") and line.text.endswith("Enter accepts, Esc clears.")


def test_loading_the_model_is_shown_and_can_be_cancelled(model, monkeypatch):
    from SAMMed2DSlicer.inference import service

    def slow(self, choice):
        time.sleep(0.3)
        return model

    monkeypatch.setattr(service.InferenceService, "_session", slow)
    fixture = EditorFixture(model)
    line = fixture.panel.status_line
    assert line.text == "Loading the model..."
    assert not line.ui.cancelButton.isHidden() and not line.ui.progressBar.isHidden()
    fixture.view.click(*fixture.xy(INSIDE))
    line.ui.cancelButton.click()
    assert not fixture.controller.is_waiting and not line.is_busy and "Cancelled." in line.text
    fixture.pump(0.4)
    assert fixture.shown == [] and model.asked == []
    fixture.view.click(*fixture.xy((28, 24, 10)))
    fixture.wait(lambda: fixture.shown)
    assert "Enter accepts" in line.text and not line.is_busy


def test_a_model_that_fails_while_nobody_asks_it_is_told(model, monkeypatch):
    from SAMMed2DSlicer.inference import service

    def broken(self, choice):
        raise ValueError("the weights are damaged")

    monkeypatch.setattr(service.InferenceService, "_session", broken)
    fixture = EditorFixture(model)
    fixture.wait(lambda: not fixture.panel.status_line.is_busy)
    assert fixture.panel.status_line.text == "The weights are damaged"


# Always in sight


def test_a_line_that_is_scrolled_away_comes_back_when_work_begins(sammed2d):
    from SAMMed2DSlicer.widgets.status_line import PROPAGATION, StatusLine

    area, page, line = qt.QScrollArea(), qt.QWidget(), StatusLine()
    _kept.append(area)
    layout = qt.QVBoxLayout(page)
    layout.addWidget(line.widget)
    below = qt.QLabel("")
    below.setMinimumHeight(900)
    layout.addWidget(below)
    area.setWidget(page)
    area.setWidgetResizable(True)
    area.resize(300, 300)
    area.show()
    EditorFixture.pump(0.05)
    bar = area.verticalScrollBar()
    bar.setValue(5)
    line.ensure_visible()
    assert bar.value == 5  # all of it is seen: nothing jumps
    bar.setValue(30)
    line.ensure_visible()
    assert bar.value <= 9
    bar.setValue(bar.maximum)
    line.begin(PROPAGATION, "Propagating...")
    line.ensure_visible()
    assert not line.widget.visibleRegion().isEmpty()
    area.hide()
    line.close()


def test_the_line_is_above_everything_else_of_the_effect(fixture, line):
    layout = fixture.editor.effectByName("SAM-Med2D").optionsFrame().layout()
    widgets = [layout.itemAt(n).widget() for n in range(layout.count())]
    assert [widget.objectName for widget in widgets] == ["SAMMed2DStatusLine", "SAMMed2DEffect"]


# Slicer's own status bar


def bar():
    return slicer.util.mainWindow().statusBar()


def in_bar(kind, name):
    return next((w for w in bar().findChildren(kind) if w.objectName == name and not w.isHidden()), None)


def test_slicers_status_bar_says_the_same_wherever_the_panel_is_scrolled_to(fixture, line):
    fixture.click()
    assert bar().currentMessage() == line.text
    fixture.accept()
    assert bar().currentMessage() == line.text != ""
    fixture.show(2, 12)  # the hint is for the panel alone
    assert bar().currentMessage() == "" and line.text == HINT


def test_what_others_say_in_the_status_bar_is_left_to_them(fixture):
    fixture.click()
    bar().showMessage("Loaded 3 files")
    fixture.editor.setActiveEffect(None)
    assert bar().currentMessage() == "Loaded 3 files"
    bar().clearMessage()


def test_work_of_a_second_and_more_has_progress_and_cancel_in_the_status_bar(fixture, line):
    cancelled = []
    line.begin("run", "Propagating...", lambda: cancelled.append(1), "Stop it.")
    line.update("run", "Propagating... 3 of 20 slices", 3, 20)
    assert in_bar(qt.QProgressBar, "SAMMed2DProgress") is None
    fixture.wait(lambda: in_bar(qt.QProgressBar, "SAMMed2DProgress"))
    progress, button = in_bar(qt.QProgressBar, "SAMMed2DProgress"), in_bar(qt.QPushButton, "SAMMed2DCancel")
    assert (progress.value, progress.maximum, button.toolTip) == (3, 20, "Stop it.")
    line.update("run", "Propagating... 15 of 20 slices", 15, 20)
    assert progress.value == 15 and bar().currentMessage() == "Propagating... 15 of 20 slices"
    button.click()
    assert cancelled == [1]
    line.end("run")
    fixture.pump(0.05)
    assert in_bar(qt.QProgressBar, "SAMMed2DProgress") is None and in_bar(qt.QPushButton, "SAMMed2DCancel") is None


def test_short_work_shows_no_progress_in_the_status_bar(fixture, line):
    for _time in range(3):
        line.begin("run", "Propagating...")
        fixture.pump(0.4)
        assert in_bar(qt.QProgressBar, "SAMMed2DProgress") is None
        line.end("run")


# The panel's width


def paint_like():
    """The widest row of Slicer's Paint, from stock widgets: a label, a slider, a number with a unit, a button."""
    row = qt.QWidget()
    layout = qt.QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    spin, button = qt.QDoubleSpinBox(), qt.QToolButton()
    spin.setMaximum(1000)
    spin.setSuffix("mm")
    button.setText("%")
    for widget in (qt.QLabel("Diameter:"), qt.QSlider(qt.Qt.Horizontal), spin, button):
        layout.addWidget(widget)
    return row


def width(widget) -> int:
    """A property in the desktop, a method here."""
    size = widget.minimumSizeHint
    return (size() if callable(size) else size).width()


def test_the_panel_is_not_wider_than_that_of_paint_whatever_it_says(fixture, line, monkeypatch):
    frame = fixture.editor.effectByName("SAM-Med2D").optionsFrame()
    most = width(paint_like())
    long = "/data/" + "a_very_long_folder_name/" * 6 + "weights.pth cannot be opened: " + "no such file " * 5
    service = fixture.effect._service
    monkeypatch.setattr(service, "choice", type(service.choice)(model=long, device="cpu"))
    for collapsed in (True, False):
        for section in (fixture.panel.ui.promptsButton, fixture.panel.ui.modelButton):
            section.collapsed = collapsed
        fixture.effect.propagation.ui.propagateButton.collapsed = collapsed
        for text in ("", "short", long):
            line.show_message(text, "error" if text else "info")
            line.begin("run", text, lambda: None)
            fixture.panel.show_service()
            fixture.panel.ui.modelStateLabel.setText(text)
            fixture.pump(0.05)
            assert width(frame) <= most, (collapsed, text[:5])
            line.end("run")
