"""Keys: none clashes with Slicer's, and Esc belongs to prompts only while there are open ones."""

from __future__ import annotations

import pytest
from desk import INSIDE, Desk
from host import keys


@pytest.fixture
def desk(model) -> Desk:
    desk = Desk(model)
    desk.editor.installKeyboardShortcuts()
    yield desk
    desk.editor.setActiveEffect(None)
    desk.editor.uninstallKeyboardShortcuts()


def test_no_key_clashes_before_while_and_after_a_prompt_is_open(desk):
    assert keys.ambiguous() == []
    desk.click()
    assert keys.ambiguous() == []
    desk.accept()
    assert keys.ambiguous() == []
    desk.editor.setActiveEffect(None)
    assert keys.ambiguous() == []


def test_no_key_of_a_slice_view_is_taken_away(desk):
    of_slice_views = {"B", "F", "G", "R", "T", "V", "S", "Left", "Right", "Up", "Down", "Del", "Backspace", "[", "]"}
    assert not of_slice_views & set(keys.shortcuts())


@pytest.mark.parametrize("key", ["Return", "Enter"])
def test_enter_accepts(desk, key):
    desk.click()
    keys.press(key)
    desk.wait()
    assert desk.segment().any()


def test_escape_clears_prompts_first_and_ends_the_effect_then(desk):
    desk.click()
    keys.press("Esc")
    desk.pump()
    assert desk.controller is not None and desk.controller.groups == []
    keys.press("Esc")
    desk.pump()
    assert desk.editor.activeEffect() is None


def test_escape_after_accepting_ends_the_effect_and_keeps_the_prompts(desk):
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    desk.click()
    desk.accept()
    keys.press("Esc")
    desk.pump()
    assert desk.editor.activeEffect() is None and len(list(prompt_nodes())) == 1
    assert desk.segment().any()


@pytest.mark.parametrize(("key", "tool"), [("N", "negative"), ("X", "box"), ("P", "positive")])
def test_letters_choose_the_tool(desk, key, tool):
    keys.press(key)
    desk.pump()
    assert desk.editor.effectByName("SAM-Med2D").parameter("Tool") == tool
    assert desk.panel._tools[tool].checked


def test_undo_keys_are_slicers_own(desk):
    desk.click()
    desk.accept()
    keys.press("Ctrl+Z")
    desk.pump()
    assert not desk.segment().any()


def test_delete_over_a_point_removes_it(desk):
    desk.click()
    desk.click((30, 25, 10))
    desk.view.mouse("MouseMoveEvent", *desk.xy((30, 25, 10)))
    keys.press("Del", desk.view)
    desk.wait()
    assert desk.controller.groups[0].counts() == (1, 0, 0)


def test_of_two_editors_the_one_that_is_worked_with_has_the_keys(desk, model):
    other = Desk(model)
    assert keys.ambiguous() == []
    other.editor.setActiveEffect(None)
    desk.show(2, INSIDE[2])
    desk.click()
    keys.press("Return")
    desk.wait()
    assert desk.segment().any()


def test_keys_typed_into_a_text_field_are_text(desk):
    import qt
    import slicer

    desk.click()
    field = qt.QLineEdit()
    slicer.util.mainWindow().layout().addWidget(field)
    field.show()
    slicer.util.mainWindow().activateWindow()
    field.setFocus()
    desk.pump(0.05)
    assert qt.QApplication.focusWidget() is field
    assert not {"P", "Return", "Esc"} & set(keys.shortcuts())
    field.clearFocus()
    desk.pump(0.05)
    assert {"P", "Return", "Esc"} <= set(keys.shortcuts())
    field.setParent(None)


def test_escape_while_dragging_ends_the_drag_only(desk, model):
    a, b = desk.xy((10, 10, 10)), desk.xy((40, 40, 10))
    desk.view.mouse("MouseMoveEvent", *a)
    desk.view.mouse("LeftButtonPressEvent", *a)
    desk.view.mouse("MouseMoveEvent", *b)
    keys.press("Esc")
    desk.view.mouse("LeftButtonReleaseEvent", *b)
    desk.pump()
    assert desk.controller is not None and desk.controller.groups == [] and model.asked == []
