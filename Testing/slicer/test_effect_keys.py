"""Keys: none clashes with Slicer's, and Esc belongs to prompts only while there are open ones."""

from __future__ import annotations

import pytest
from editor_fixture import INSIDE, EditorFixture
from host import keys


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model)
    fixture.editor.installKeyboardShortcuts()
    yield fixture
    fixture.editor.setActiveEffect(None)
    fixture.editor.uninstallKeyboardShortcuts()


def test_no_key_clashes_before_while_and_after_a_prompt_is_open(fixture):
    assert keys.ambiguous() == []
    fixture.click()
    assert keys.ambiguous() == []
    fixture.accept()
    assert keys.ambiguous() == []
    fixture.editor.setActiveEffect(None)
    assert keys.ambiguous() == []


def test_no_key_of_a_slice_view_is_taken_away(fixture):
    of_slice_views = {"B", "F", "G", "R", "T", "V", "S", "Left", "Right", "Up", "Down", "Del", "Backspace", "[", "]"}
    assert not of_slice_views & set(keys.shortcuts())


@pytest.mark.parametrize("key", ["Return", "Enter"])
def test_enter_accepts(fixture, key):
    fixture.click()
    keys.press(key)
    fixture.wait()
    assert fixture.segment().any()


def test_escape_clears_prompts_first_and_ends_the_effect_then(fixture):
    fixture.click()
    keys.press("Esc")
    fixture.pump()
    assert fixture.controller is not None and fixture.controller.groups == []
    keys.press("Esc")
    fixture.pump()
    assert fixture.editor.activeEffect() is None


def test_escape_after_accepting_ends_the_effect_and_keeps_the_prompts(fixture):
    from SAMMed2DSlicer.prompts.prompt_nodes import prompt_nodes

    fixture.click()
    fixture.accept()
    keys.press("Esc")
    fixture.pump()
    assert fixture.editor.activeEffect() is None and len(list(prompt_nodes())) == 1
    assert fixture.segment().any()


@pytest.mark.parametrize(("key", "tool"), [("N", "negative"), ("X", "box"), ("P", "positive")])
def test_letters_choose_the_tool(fixture, key, tool):
    keys.press(key)
    fixture.pump()
    assert fixture.editor.effectByName("SAM-Med2D").parameter("Tool") == tool
    assert fixture.panel._tools[tool].checked


@pytest.mark.parametrize("key", ["Ctrl+Z", "Z"])
def test_undo_keys_take_open_prompts_back_one_by_one_and_then_undo_what_was_accepted(fixture, key):
    fixture.click()
    fixture.accept()
    accepted = fixture.segment()
    fixture.click((30, 25, 10))
    fixture.click((20, 25, 10), control=True)
    assert keys.ambiguous() == []
    for left in (1, 0):
        keys.press(key)
        fixture.wait()
        assert sum(sum(group.counts()) for group in fixture.controller.groups) == 1 + left
        assert (fixture.segment() == accepted).all()
    keys.press(key)
    fixture.wait()
    assert not fixture.segment().any()


def test_undo_goes_on_through_slicers_own_steps_and_redo_brings_them_back(fixture):
    fixture.click()
    fixture.accept()
    one = fixture.segment()
    fixture.show(2, 12)
    fixture.click((25, 22, 12))
    fixture.accept()
    two = fixture.segment()
    for expected in (one, one & False):  # prompts that were undone are not in the way
        keys.press("Ctrl+Z")
        fixture.wait()
        assert (fixture.segment() == expected).all()
    for expected in (one, two):
        keys.press("Y")
        fixture.wait()
        assert (fixture.segment() == expected).all()


def test_with_accept_at_once_undo_is_slicers_own(fixture):
    fixture.set(AcceptAtOnce=1)
    fixture.click()
    assert fixture.segment().any()
    keys.press("Ctrl+Z")
    fixture.wait()
    assert not fixture.segment().any() and fixture.controller.groups[0].counts() == (1, 0, 0)


def test_undo_while_a_box_is_drawn_ends_only_that(fixture):
    fixture.click()
    fixture.accept()
    fixture.view.press(*fixture.xy((10, 10, 10)))
    fixture.view.move(fixture.xy((10, 10, 10)), fixture.xy((40, 35, 10)))
    keys.press("Ctrl+Z")
    fixture.view.release(*fixture.xy((40, 35, 10)))
    fixture.wait()
    assert fixture.segment().any() and len(fixture.controller.groups) == 1


def test_delete_over_a_point_removes_it(fixture):
    fixture.click()
    fixture.click((30, 25, 10))
    fixture.view.mouse("MouseMoveEvent", *fixture.xy((30, 25, 10)))
    keys.press("Del", fixture.view)
    fixture.wait()
    assert fixture.controller.groups[0].counts() == (1, 0, 0)


def test_of_two_editors_the_one_that_is_worked_with_has_the_keys(fixture, model):
    other = EditorFixture(model)
    assert keys.ambiguous() == []
    other.editor.setActiveEffect(None)
    fixture.show(2, INSIDE[2])
    fixture.click()
    keys.press("Return")
    fixture.wait()
    assert fixture.segment().any()


def test_keys_typed_into_a_text_field_are_text(fixture):
    import qt
    import slicer

    fixture.click()
    field = qt.QLineEdit()
    slicer.util.mainWindow().layout().addWidget(field)
    field.show()
    slicer.util.mainWindow().activateWindow()
    field.setFocus()
    fixture.pump(0.05)
    assert qt.QApplication.focusWidget() is field
    assert not {"P", "Return", "Esc"} & set(keys.shortcuts())
    field.clearFocus()
    fixture.pump(0.05)
    assert {"P", "Return", "Esc"} <= set(keys.shortcuts())
    field.setParent(None)


def test_escape_while_dragging_ends_the_drag_only(fixture, model):
    a, b = fixture.xy((10, 10, 10)), fixture.xy((40, 40, 10))
    fixture.view.mouse("MouseMoveEvent", *a)
    fixture.view.mouse("LeftButtonPressEvent", *a)
    fixture.view.mouse("MouseMoveEvent", *b)
    keys.press("Esc")
    fixture.view.mouse("LeftButtonReleaseEvent", *b)
    fixture.pump()
    assert fixture.controller is not None and fixture.controller.groups == [] and model.asked == []


def test_what_was_said_of_the_segment_holds_until_undo_changes_it(fixture):
    fixture.click()
    fixture.accept()
    fixture.show(2, 12)
    fixture.click((25, 22, 12))
    keys.press("Esc")
    fixture.pump()
    assert "as it was" in fixture.panel.status_line.text
    keys.press("Ctrl+Z")
    fixture.wait()
    assert not fixture.segment().any()
    assert "as it was" not in fixture.panel.status_line.text


def test_prompts_of_a_removed_segment_are_listed_as_hidden_and_are_not_to_be_cleared(fixture):
    other = fixture.add_segment("B")
    fixture.click()
    ui = fixture.panel.ui
    ui.promptsButton.collapsed = False
    assert ui.clearButton.enabled
    fixture.editor.setCurrentSegmentID(other)
    fixture.segmentation.GetSegmentation().RemoveSegment(fixture.segment_id)
    fixture.wait()
    assert [ui.promptsTable.item(0, column).text() for column in range(4)] == ["(removed)", "axial 11", "1+", "hidden"]
    assert not ui.acceptButton.enabled and not ui.clearButton.enabled
