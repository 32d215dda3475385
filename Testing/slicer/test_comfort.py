"""What keeps the work comfortable: small marks of accepted prompts, hidden prompts, keys in sight."""

from __future__ import annotations

import numpy as np
import pytest
import qt
import slicer
from editor_fixture import INSIDE, EditorFixture
from host import keys

CORNERS = ((8, 10, 10), (45, 34, 10))


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model)


def prompt_pixels(fixture) -> int:
    """How many pixels of the view only prompts change."""
    fixture.controller.toggle_prompts()
    without = fixture.image()
    fixture.controller.toggle_prompts()
    return int((np.abs(fixture.image() - without).sum(axis=2) > 60).sum())


def hover(fixture, ijk):
    fixture.view.mouse("MouseMoveEvent", *fixture.xy(ijk))


# Accepted prompts


def test_accepted_prompts_shrink_to_small_marks(fixture):
    fixture.click()
    fixture.drag(*CORNERS)
    before = prompt_pixels(fixture)
    fixture.accept()
    assert 0 < prompt_pixels(fixture) < before / 4


def test_a_drag_that_begins_on_an_accepted_point_begins_a_box(fixture, model):
    fixture.click()
    fixture.accept()
    hover(fixture, INSIDE)
    fixture.drag(INSIDE, (40, 34, 10))
    first, second = fixture.controller.groups
    assert (first.counts(), second.counts()) == ((1, 0, 0), (0, 0, 1))
    assert first.is_accepted
    np.testing.assert_allclose(first.prompts().points_xy, [INSIDE[:2]], atol=0.6)


def test_a_click_on_an_accepted_point_begins_the_next_object(fixture):
    fixture.click()
    fixture.accept()
    hover(fixture, INSIDE)
    fixture.click()
    assert [group.counts() for group in fixture.controller.groups] == [(1, 0, 0), (1, 0, 0)]


def test_accepted_prompts_that_are_chosen_in_the_table_are_large_again_and_can_be_moved(fixture):
    fixture.click()
    fixture.accept()
    small = prompt_pixels(fixture)
    fixture.controller.jump_to(fixture.controller.groups[0])
    assert prompt_pixels(fixture) > 2 * small
    hover(fixture, INSIDE)
    fixture.drag(INSIDE, (30, 22, 10))
    (group,) = fixture.controller.groups
    np.testing.assert_allclose(group.prompts().points_xy, [(30, 22)], atol=0.8)


def test_a_correction_of_accepted_prompts_makes_them_large_again(fixture):
    fixture.click()
    fixture.accept()
    fixture.click((30, 25, 10), control=True)
    (group,) = fixture.controller.groups
    assert group.counts() == (1, 1, 0) and not group.points.GetLocked()


# Hidden prompts


def test_a_key_hides_all_prompts_and_shows_them_again(fixture):
    fixture.click()
    shown = fixture.image()
    keys.press("H")
    fixture.pump(0.05)
    assert fixture.panel.status_line.text == "Prompts are hidden; H shows them."
    assert [node.GetDisplayNode().GetVisibility() for node in fixture.controller.groups[0].nodes] == [0]
    assert len(fixture.shown) == 1  # its mask is still there, and can be accepted
    keys.press("H")
    fixture.pump(0.05)
    np.testing.assert_array_equal(fixture.image(), shown)


def test_hidden_prompts_stay_hidden_with_new_ones_and_on_other_slices(fixture):
    keys.press("H")
    fixture.click()
    fixture.click((30, 25, 10))
    fixture.show(2, 12)
    fixture.show(2, 10)
    (group,) = fixture.controller.groups
    assert group.counts() == (2, 0, 0) and not group.points.GetDisplayNode().GetVisibility()
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    fixture.wait()
    assert fixture.controller.groups[0].points.GetDisplayNode().GetVisibility()


# Keys


def sheet():
    labels = [label for label in slicer.util.mainWindow().findChildren(qt.QLabel) if label.objectName == "SAMMed2DKeys"]
    return next((label for label in labels if label.isVisible()), None)


@pytest.mark.parametrize("key", ["?", "F1"])
def test_a_key_shows_and_hides_a_sheet_of_all_keys(fixture, key):
    assert sheet() is None
    keys.press(key)
    fixture.pump(0.05)
    assert sheet() is not None
    for action in keys_of(fixture):
        assert (action.shown or action.keys[0]) in sheet().text and action.text in sheet().text
    keys.press("N")  # the keys work meanwhile
    assert fixture.effect.scriptedEffect.parameter("Tool") == "negative"
    keys.press(key)
    fixture.pump(0.05)
    assert sheet() is None


def test_the_sheet_of_keys_is_shown_whole_on_a_low_screen(fixture):
    keys.press("?")
    fixture.pump(0.05)
    label = sheet()
    assert label.height >= label.sizeHint().height() and label.width >= label.sizeHint().width()
    assert label.height < 600  # below it, and above it, are the bars of a window 768 px high


def test_the_sheet_of_keys_goes_with_the_effect(fixture):
    fixture.panel.ui.keysButton.click()
    assert sheet() is not None
    fixture.editor.setActiveEffect(None)
    fixture.pump(0.05)
    assert sheet() is None


def keys_of(fixture):
    from SAMMed2DSlicer.effect.panel.keys import key_actions

    return key_actions(fixture.effect)


def test_what_a_key_does_is_said_by_the_tool_tip_of_its_button(fixture):
    fixture.click()
    ui = fixture.panel.ui
    for button, key in (
        (ui.positiveButton, "(P)"),
        (ui.negativeButton, "(N)"),
        (ui.boxButton, "(X)"),
        (ui.acceptButton, "(Enter)"),
        (ui.clearButton, "(Esc)"),
        (ui.keysButton, "(?)"),
    ):
        assert key in button.toolTip, button.objectName


# Room on a small screen

# Of 768 px Slicer 5.13, maximised, leaves 604 to a module's panel; above the options 41 px more are taken than here.
ROOM_PX = 604 - 41


@pytest.fixture
def small_screen(model):
    """The Segment Editor module, whose panel has as much room as on 1366 x 768 px."""
    slicer.util.selectModule("SegmentEditor")
    window = slicer.util.mainWindow()
    area = window.findChild(qt.QScrollArea, "ModulePanel")
    was_visible = window.isVisible()
    window.show()
    slicer.app.processEvents()
    area.setFixedHeight(ROOM_PX + area.height - area.viewport().height)
    editor = slicer.modules.SegmentEditorWidget.editor
    fixture = EditorFixture(model)
    fixture.editor.setActiveEffect(None)
    for name in ("setSegmentationNode", "setSourceVolumeNode"):
        getattr(editor, name)(fixture.segmentation if "Segmentation" in name else fixture.volume)
    editor.setActiveEffectByName("SAM-Med2D")
    own, fixture.editor, fixture.area = fixture.editor, editor, area
    fixture.pump(0.1)
    assert area.viewport().height == ROOM_PX
    yield fixture
    editor.setActiveEffect(None)
    fixture.editor = own
    slicer.util.selectModule("")
    window.setVisible(was_visible)
    area.setMinimumHeight(0)
    area.setMaximumHeight(16777215)


def is_in_sight(fixture, widget) -> bool:
    """Whether a widget is wholly within the visible part of the module's panel."""
    viewport = fixture.area.viewport()
    top = widget.mapTo(viewport, qt.QPoint(0, 0)).y()
    return widget.isVisible() and top >= 0 and top + widget.height <= viewport.height


def test_the_common_work_needs_no_scrolling_on_a_small_screen(small_screen):
    small_screen.click()
    ui, section = small_screen.panel.ui, small_screen.effect.propagation
    small_screen.pump(0.2)
    for widget in (
        small_screen.panel.status_line.widget,
        *(ui.positiveButton, ui.negativeButton, ui.boxButton, ui.keysButton),
        *(ui.acceptButton, ui.clearButton),
        *(ui.wholeButton, section.widget.parentWidget().findChild(qt.QPushButton, "similarButton")),
        *(ui.acceptsAtOnceCheckBox, ui.newSegmentsCheckBox, ui.protectsOthersCheckBox),
        section.ui.propagateButton,
    ):
        assert is_in_sight(small_screen, widget), widget.objectName


def test_a_section_that_is_opened_comes_into_sight_and_a_run_does_not_move_the_panel(small_screen):
    small_screen.click()
    small_screen.accept()
    section = small_screen.effect.propagation
    section.ui.propagateButton.collapsed = False
    small_screen.pump(0.2)
    for name in ("bothButton", "stripLabel", "legendLabel", "worstButton", "keyframeComboBox", "firstSpinBox"):
        assert is_in_sight(small_screen, getattr(section.ui, name)), name
    scrolled = small_screen.area.verticalScrollBar().value
    section.propagate("both")
    small_screen.wait(lambda: not section.is_running)
    assert small_screen.area.verticalScrollBar().value == scrolled
    assert slicer.util.mainWindow().statusBar().currentMessage() == section.status_line.text != ""


def test_the_views_keep_their_place_whatever_the_panel_says(small_screen):
    middle = slicer.util.mainWindow().centralWidget()
    before = middle.geometry
    small_screen.panel.status_line.show_message("a_very_long_word_" * 20 + " and more " * 40, "error")
    for section in (small_screen.panel.ui.promptsButton, small_screen.panel.ui.modelButton):
        section.collapsed = False
    small_screen.pump(0.1)
    assert middle.geometry == before


def contrast(one, other) -> float:
    """How well one colour is read on another, by the WCAG: 1 .. 21."""
    lights = []
    for color in (one, other):
        parts = np.array([color.redF(), color.greenF(), color.blueF()])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ (0.2126, 0.7152, 0.0722))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("ground", ["#f0f0f0", "#323232"])
@pytest.mark.parametrize("level", ["good", "warning", "error"])
def test_what_the_status_line_says_can_be_read_in_the_light_style_and_in_the_dark_one(sammed2d, ground, level):
    from SAMMed2DSlicer.widgets import messages

    label, palette = qt.QLabel(), qt.QPalette(qt.QColor(ground))
    label.setPalette(palette)
    messages.show(label, "Something", level)
    color = label.styleSheet.removeprefix("color: ")
    assert contrast(qt.QColor(color), qt.QColor(ground)) > (4.5 if ground == "#323232" else 3.5)


# The tour


@pytest.fixture
def first_use(model):
    """The effect in a window that is shown, for a user who has never seen it."""
    settings, window = slicer.app.settings(), slicer.util.mainWindow()
    settings.setValue("SAMMed2D/TourSeen", 0)
    was_visible = window.isVisible()
    window.show()
    yield EditorFixture(model)
    settings.setValue("SAMMed2D/TourSeen", 1)
    window.setVisible(was_visible)


def test_the_first_use_brings_a_tour_of_four_pictures_once(first_use):
    tour = first_use.panel.tour
    first_use.wait(lambda: tour.is_shown)
    seen = []
    while tour.is_shown:
        picture = tour._picture.pixmap
        assert (picture.width(), picture.height()) == (360, 270)
        seen.append((tour._number.text, tour._text.text))
        tour._next.click()
    assert [number for number, _text in seen] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert len({text for _number, text in seen}) == 4
    first_use.editor.setActiveEffect(None)
    first_use.activate()
    first_use.pump(0.1)
    assert not first_use.panel.tour.is_shown


def test_the_tour_can_be_skipped_and_shown_again_and_the_effect_works_meanwhile(first_use):
    tour = first_use.panel.tour
    first_use.wait(lambda: tour.is_shown)
    first_use.click()
    keys.press("Return")
    first_use.wait()
    assert first_use.segment().any() and tour.is_shown
    tour._skip.click()
    assert not tour.is_shown
    first_use.panel.ui.tourButton.click()
    tour._next.click()
    tour._back.click()
    assert tour.is_shown and tour._number.text == "1 of 4" and not tour._back.enabled
    first_use.editor.setActiveEffect(None)
    assert not tour.is_shown


def test_the_tour_does_not_come_where_slicer_is_tested_or_has_no_window(model, monkeypatch):
    fixture = EditorFixture(model)
    slicer.app.settings().setValue("SAMMed2D/TourSeen", 0)
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda self: True)
    fixture.panel.tour.show_once()
    assert not fixture.panel.tour.is_shown
    monkeypatch.undo()
    # A window that was hidden once would take no more keys of later tests.
    monkeypatch.setattr(type(slicer.util.mainWindow()), "isVisible", lambda self: False)
    fixture.panel.tour.show_once()
    assert not fixture.panel.tour.is_shown
    slicer.app.settings().setValue("SAMMed2D/TourSeen", 1)
