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


def test_undo_keys_are_slicers_own(fixture):
    fixture.click()
    fixture.accept()
    keys.press("Ctrl+Z")
    fixture.pump()
    assert not fixture.segment().any()


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
