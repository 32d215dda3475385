"""A first click shows a coarse mask until its answer is there; nothing but the picture knows of it."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from editor_fixture import INSIDE, BrightSession, EditorFixture, let_answer
from host import keys

K = INSIDE[2]
SIZE = (120, 100, 24)


class Looking(BrightSession):
    """A model that tells a coarse mask, the right half of its answer, and answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.looks, self.may_answer = 1, threading.Event()

    def answer(self, image, prompts, *, should_stop=None, on_coarse=None, candidates=False, **options):
        from SAMMed2DLib.inference.session import Stopped

        if not candidates and self.looks > 0:
            self.looks -= 1
            on_coarse(half(image[..., 0] > 127))
        while not candidates and not self.may_answer.wait(0.002):
            if should_stop():
                raise Stopped
        return super().answer(image, prompts, should_stop=should_stop, candidates=candidates, **options)


def half(mask_hw: np.ndarray) -> np.ndarray:
    """The right half of the structure."""
    return mask_hw & (np.arange(mask_hw.shape[1]) >= INSIDE[0])


@pytest.fixture
def looking(model, monkeypatch) -> Looking:
    return let_answer(monkeypatch, Looking())


@pytest.fixture
def fixture(looking) -> EditorFixture:
    fixture = EditorFixture(looking)
    fixture.rest()
    return fixture


def click(fixture, ijk=INSIDE, **modifiers):
    """Click, and go on while the answer is on its way."""
    fixture.view.click(*fixture.xy(ijk), **modifiers)


def look(fixture):
    """Click, and wait until the coarse mask is shown."""
    click(fixture)
    fixture.wait(lambda: fixture.panel._state.has_coarse)


def answer(fixture):
    fixture.model.may_answer.set()
    fixture.wait()


def is_drawn(fixture, before, ijk) -> bool:
    """Whether a mask is drawn over a voxel, other than in a picture before."""
    x, y = fixture.xy(ijk)
    row = before.shape[0] - 1 - y
    return bool((fixture.image() != before)[row - 1 : row + 2, x - 1 : x + 2].any())


def masks_drawn(monkeypatch, fixture) -> list[tuple[bool, np.ndarray]]:
    """What is drawn from now on: whether it waits to be accepted, and its pixels."""
    seen: list[tuple[bool, np.ndarray]] = []
    views = fixture.controller.display.views
    draw = views.draw

    def drawn(masks):
        seen.extend((hasattr(mask, "prediction"), mask.labels_hw != 0) for mask in masks)
        draw(masks)

    monkeypatch.setattr(views, "draw", drawn)
    return seen


LEFT, RIGHT = (18, 24, K), (34, 24, K)


def test_the_coarse_mask_is_seen_and_said_until_the_answer_takes_its_place(fixture, looking, monkeypatch):
    before, seen = fixture.image(), masks_drawn(monkeypatch, fixture)
    look(fixture)
    assert is_drawn(fixture, before, RIGHT) and not is_drawn(fixture, before, LEFT)
    assert fixture.shown == [] and fixture.controller.is_waiting and not fixture.segment().any()
    fixture.wait(lambda: fixture.panel.status_line.is_busy)
    assert fixture.panel.status_line.text == "A first look: the outline follows."
    answer(fixture)
    assert is_drawn(fixture, before, LEFT) and not fixture.panel._state.has_coarse
    (group,) = fixture.controller.pending
    assert fixture.controller.display.changes.of(group) is None  # it is no correction of the coarse one
    structure = fixture.structure[K]
    (was_pending, coarse), *_, (is_pending, final) = seen
    assert not was_pending and is_pending
    np.testing.assert_array_equal(coarse, half(structure))
    np.testing.assert_array_equal(final, structure)
    assert fixture.status.text.startswith("370 px") and len(looking.asked) == 1


@pytest.mark.parametrize("at_once", [0, 1])
def test_only_the_answer_is_written_also_by_enter_before_it(fixture, looking, at_once):
    fixture.set(AcceptAtOnce=at_once)
    look(fixture)
    keys.press("Return")
    fixture.pump(0.05)
    assert not fixture.segment().any()
    answer(fixture)
    expected = np.zeros_like(fixture.structure)
    expected[K] = fixture.structure[K]
    np.testing.assert_array_equal(fixture.segment(), expected)
    fixture.editor.undo()
    assert not fixture.segment().any()


def escape(fixture):
    keys.press("Escape")


def clear(fixture):
    fixture.controller.clear()


def cancel(fixture):
    fixture.controller.cancel()


def take_back(fixture):
    keys.press("Backspace", fixture.view)


def select_another_segment(fixture):
    fixture.editor.setCurrentSegmentID(fixture.add_segment("B"))


def close(fixture):
    fixture.editor.setActiveEffect(None)


def move_the_point(fixture):
    (group,) = fixture.controller.groups
    group.points.SetNthControlPointPositionWorld(0, *fixture.world((30, 24, K)))


def add_a_point(fixture):
    click(fixture, (22, 24, K))


@pytest.mark.parametrize(
    "act", [escape, cancel, take_back, select_another_segment, close, move_the_point, add_a_point]
)
def test_it_goes_at_once_when_its_answer_is_not_waited_for_any_more(fixture, looking, act):
    before = fixture.image()
    look(fixture)
    assert is_drawn(fixture, before, RIGHT)
    act(fixture)
    fixture.pump(0.05)
    assert not is_drawn(fixture, before, (38, 24, K))  # away from all points
    assert fixture.controller is None or not fixture.panel._state.has_coarse
    looking.may_answer.set()
    fixture.wait()
    assert not fixture.segment().any()


def test_it_is_not_seen_on_another_slice(fixture, looking):
    fixture.show(2, K + 2)
    fixture.pump(0.05)
    before = fixture.image()
    fixture.show(2, K)
    look(fixture)
    fixture.show(2, K + 2)
    fixture.pump(0.05)
    np.testing.assert_array_equal(fixture.image(), before)
    assert not fixture.panel._state.has_coarse


@pytest.mark.parametrize("act", [add_a_point, clear, close])
def test_one_that_comes_too_late_is_not_taken_over(fixture, looking, monkeypatch, act):
    """The thread tells it, and the main thread does something else before it looks."""
    display = fixture.controller.display
    click(fixture)
    ends = time.perf_counter() + 90
    while looking.looks and time.perf_counter() < ends:  # the main thread takes nothing over meanwhile
        time.sleep(0.002)
    seen, taken_over = masks_drawn(monkeypatch, fixture), []
    monkeypatch.setattr(display, "show_coarse", lambda: taken_over.append(1))
    act(fixture)
    answer(fixture)
    fixture.pump(0.05)
    assert looking.looks == 0 and taken_over == [] and all(is_pending for is_pending, _ in seen)


def test_a_mask_that_is_shown_stays_until_the_next_answer(fixture, looking, monkeypatch):
    looking.looks = 0
    looking.may_answer.set()
    fixture.click()
    looking.looks = 2  # a model that tells one where nobody needs it
    seen = masks_drawn(monkeypatch, fixture)
    fixture.click((40, 40, K), control=True)
    assert looking.looks == 1 and seen and all(is_pending for is_pending, _ in seen)


def test_the_built_in_models_coarse_mask_is_the_librarys_and_the_answer_too(sammed2d, monkeypatch):
    from SAMMed2DLib.inference.predictor import load_predictor
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DSlicer.inference import service
    from SAMMed2DSlicer.scene import volumes

    shared = service.shared()
    shared.choice = service.ModelChoice(device="cpu")
    shared.state = service.ServiceState("unloaded", "")
    k, j, i = np.mgrid[0 : SIZE[2], 0 : SIZE[1], 0 : SIZE[0]]
    disc = ((i - 50) ** 2 + (j - 45) ** 2 < 22**2) & (k > 4) & (k < 18)
    noise = np.random.default_rng(0).normal(0, 6, disc.shape)
    fixture = EditorFixture(shared, volume_kji=(np.where(disc, 150, 50) + noise).astype(np.int16), size_ijk=SIZE)
    try:
        seen = masks_drawn(monkeypatch, fixture)
        fixture.click((50, 45, K))
        (group,) = fixture.controller.groups
        image, told = volumes.model_image(fixture.volume, group.plane), []
        alone = Session(load_predictor(device="cpu"))
        found = alone.answer(image, group.prompts(), on_coarse=told.append)
        assert [is_pending for is_pending, _ in seen][:1] == [False] and seen[-1][0]
        np.testing.assert_array_equal(seen[0][1], told[0])
        np.testing.assert_array_equal(fixture.shown[0], found.mask)
        seen.clear()
        fixture.click((80, 45, K), control=True)
        assert seen and all(is_pending for is_pending, _ in seen)
        np.testing.assert_array_equal(fixture.shown[0], alone.answer(image, group.prompts()).mask)
    finally:
        EditorFixture.close_all()
        shared.worker.cancel_all()
