"""Ctrl and Shift held: the mask that a click would give is seen at the mouse, and nothing is changed."""

from __future__ import annotations

import numpy as np
import pytest
from editor_fixture import INSIDE, EditorFixture

BOTH = {"control": True, "shift": True}


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model)
    fixture.rest()
    return fixture


def hover(fixture, ijk=INSIDE, **keys):
    fixture.view.hover(*fixture.xy(ijk), **(keys or BOTH))


def settle(fixture):
    fixture.wait(lambda: not fixture.controller.hover._is_waiting())


def test_the_mask_that_a_click_would_give_is_seen_and_goes_with_the_keys(fixture, model):
    before = fixture.image()
    hover(fixture)
    settle(fixture)
    seen = np.abs(fixture.image() - before).sum(axis=2) > 20
    assert fixture.controller.hover.is_shown
    assert seen.mean() > 0.5 * fixture.structure[INSIDE[2]].mean() and seen[:20].sum() == 0
    assert fixture.controller.groups == [] and fixture.status.text == "" and not fixture.segment().any()
    fixture.view.hover(*fixture.xy((26, 22, 10)))  # without the keys
    fixture.pump(0.05)
    np.testing.assert_array_equal(fixture.image(), before)


@pytest.mark.parametrize("keys", [{}, BOTH])
@pytest.mark.parametrize("tool", ["positive", "scribble"])
def test_the_click_then_asks_for_the_very_same_also_with_the_keys_held(fixture, model, tool, keys):
    fixture.set(Tool=tool)
    hover(fixture)
    settle(fixture)
    fixture.click(INSIDE, **keys)
    hovered, clicked = (asked[0] for asked in model.asked)
    assert hovered == clicked and len(fixture.shown) == 1 and clicked.labels.tolist() == [1]
    assert not fixture.controller.hover.is_shown


def test_with_the_tool_outside_the_keys_held_give_what_is_seen_too(fixture, model):
    fixture.click()
    fixture.set(Tool="negative")
    hover(fixture, (30, 25, 10))
    settle(fixture)
    fixture.click((30, 25, 10), **BOTH)
    assert model.asked[-1][0].labels.tolist() == model.asked[-2][0].labels.tolist() == [1, 0]
    assert fixture.controller.groups[0].counts() == (1, 1, 0)


@pytest.mark.parametrize(("tool", "label"), [("positive", 1), ("negative", 0)])
def test_it_is_a_click_of_the_chosen_tool_and_goes_on_from_open_prompts(fixture, model, tool, label):
    fixture.click()
    fixture.set(Tool=tool)
    hover(fixture, (30, 25, 10))
    settle(fixture)
    assert model.asked[-1][0].labels.tolist() == [1, label]
    assert fixture.controller.groups[0].counts() == (1, 0, 0) and len(fixture.shown) == 1


def test_never_more_than_one_request_is_under_way_and_only_the_last_place_is_asked_about(fixture, model):
    model.delay_s = 0.15
    for x in range(16, 32):
        hover(fixture, (x, 22, 10))
        fixture.pump(0.005)
    settle(fixture)
    assert len(model.asked) <= 4
    np.testing.assert_allclose(model.asked[-1][0].points_xy, [(31, 22)], atol=0.6)


def test_a_real_click_does_not_wait_for_it(fixture, model):
    model.delay_s = 0.3
    hover(fixture)
    fixture.pump(0.05)
    fixture.view.click(*fixture.xy((30, 25, 10)))
    fixture.wait()
    assert len(fixture.shown) == 1 and not fixture.controller.hover.is_shown
    assert [len(asked[0].points_xy) for asked in model.asked] in ([1], [1, 1])


@pytest.mark.parametrize("keys", [{"control": True}, {"shift": True}, {"alt": True}])
def test_other_keys_show_nothing(fixture, model, keys):
    hover(fixture, **keys)
    fixture.pump(0.05)
    assert model.asked == [] and not fixture.controller.hover.is_shown


def test_nothing_is_shown_where_no_click_would_give_a_mask(fixture, model):
    fixture.set(Tool="box")
    hover(fixture)
    fixture.set(Tool="positive")
    fixture.view.hover(1, 1, **BOTH)  # beside the image
    fixture.pump(0.05)
    assert model.asked == [] and not fixture.controller.hover.is_shown and fixture.status.text == ""


def test_it_goes_with_the_slice_and_with_the_effect(fixture):
    for leave in (lambda: fixture.show(2, 12), fixture.view.leave, lambda: fixture.editor.setActiveEffect(None)):
        fixture.show(2, INSIDE[2])
        hover(fixture)
        settle(fixture)
        hidden = fixture.controller.hover
        assert hidden.is_shown
        leave()
        fixture.pump(0.05)
        assert not hidden.is_shown
