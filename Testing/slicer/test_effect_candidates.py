"""Other masks that prompts may mean: keys and the wheel show them at once, and what is done next goes on from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from editor_fixture import INSIDE, BrightSession, EditorFixture, let_answer
from host import keys


class PartAndWhole(BrightSession):
    """A model that knows a part, the whole, which it takes for the best, and a larger whole."""

    def masks(self, whole: np.ndarray) -> list[np.ndarray]:
        larger = whole.copy()
        larger[1:] |= whole[:-1]
        larger[:-1] |= whole[1:]
        return [whole & (np.arange(whole.shape[1]) < INSIDE[0]), whole, larger]

    def answer(self, image, prompts, *, candidates=False, **options):
        answer = super().answer(image, prompts, candidates=candidates, **options)
        if candidates or prompts.candidate is None:
            return answer
        return replace(answer, mask=self.masks(answer.mask)[prompts.candidate - 1], candidate=prompts.candidate)

    def with_candidates(self, answer, prompts):
        self.drawn = getattr(self, "drawn", 0) + 1
        masks = self.masks(image_mask(answer, self))
        number = prompts.candidate or 2
        found = tuple(replace(answer, mask=mask, score=0.5 + n / 10) for n, mask in enumerate(masks))
        return replace(found[number - 1], candidates=found, candidate=number)


def image_mask(answer, session) -> np.ndarray:
    """What is bright on the slice that was asked about last."""
    return session.asked[-1][1][..., 0] > 127


@pytest.fixture
def model(model, monkeypatch) -> PartAndWhole:
    return let_answer(monkeypatch, PartAndWhole())


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model)
    fixture.click()
    settle(fixture)
    yield fixture
    fixture.editor.setActiveEffect(None)


def settle(fixture) -> None:
    fixture.wait(lambda: not fixture.effect._service.worker.is_pending)


def shown_areas(fixture) -> list[int]:
    return [int(mask.sum()) for mask in fixture.shown]


def areas(fixture) -> list[int]:
    whole = fixture.structure[INSIDE[2]]
    return [int(mask.sum()) for mask in fixture.model.masks(whole)]


def test_keys_go_to_the_next_larger_and_smaller_mask_and_say_which_it_is(fixture):
    part, whole, larger = areas(fixture)
    assert shown_areas(fixture) == [whole] and "2 of 3" in fixture.status.text
    before, asked = fixture.image(), len(fixture.model.asked)
    for key, area, words in (("L", larger, "3 of 3"), ("K", whole, "2 of 3"), ("K", part, "1 of 3")):
        keys.press(key)
        assert shown_areas(fixture) == [area] and words in fixture.status.text
        assert words in fixture.panel.status_line.text
    fixture.pump()
    assert (fixture.image() != before).any()
    settle(fixture)
    assert len(fixture.model.asked) == asked and fixture.model.drawn == 1 and shown_areas(fixture) == [part]


def test_at_the_last_mask_the_key_says_so(fixture):
    keys.press("L")
    keys.press("L")
    assert shown_areas(fixture) == areas(fixture)[2:] and "largest of 3" in fixture.status.text
    for _ in range(3):
        keys.press("K")
    assert shown_areas(fixture) == areas(fixture)[:1] and "smallest of 3" in fixture.status.text


def test_the_wheel_with_shift_does_the_same_and_without_it_moves_through_the_slices(fixture):
    offset = fixture.slice_node.GetSliceToRAS().GetElement(2, 3)
    fixture.view.wheel(*fixture.xy(INSIDE), 1, shift=True)
    assert shown_areas(fixture) == areas(fixture)[2:]
    fixture.view.wheel(*fixture.xy(INSIDE), -2, shift=True)
    assert shown_areas(fixture) == areas(fixture)[:1]
    assert fixture.slice_node.GetSliceToRAS().GetElement(2, 3) == offset
    assert "1 of 3" in fixture.status.text
    fixture.view.wheel(*fixture.xy(INSIDE), 1)
    assert fixture.slice_node.GetSliceToRAS().GetElement(2, 3) != offset


def test_accepting_writes_the_mask_that_is_shown_and_undo_takes_it_back(fixture):
    keys.press("K")
    fixture.accept()
    assert fixture.segment()[INSIDE[2]].sum() == fixture.segment().sum() == areas(fixture)[0]
    keys.press("L")  # nothing is open any more
    fixture.pump()
    assert fixture.segment().sum() == areas(fixture)[0]
    fixture.editor.undo()
    fixture.pump()
    assert not fixture.segment().any()


def test_a_further_click_goes_on_from_the_mask_that_was_taken(fixture):
    keys.press("K")
    fixture.click((30, 25, 10))
    prompts = fixture.model.asked[-1][0]
    assert len(prompts.labels) == 2 and prompts.choices == ((1, 1),)


def test_moving_a_point_ends_a_choice_that_was_made_after_it(fixture):
    keys.press("K")
    (group,) = fixture.controller.groups
    assert group.prompts().choices == ((1, 1),)
    group.points.SetNthControlPointPositionWorld(0, *fixture.world((24, 24, 10)))
    fixture.wait()
    assert group.prompts().choices == () and fixture.model.asked[-1][0].choices == ()


def test_a_choice_is_saved_with_the_prompts(fixture):
    from SAMMed2DSlicer.prompts.prompt_groups import find_groups

    keys.press("K")
    fixture.click((30, 25, 10))
    fixture.editor.setActiveEffect(None)
    (group,) = find_groups(fixture.segmentation)
    assert group.prompts().choices == ((1, 1),)
    for node in group.nodes:
        node.SetAttribute("SAMMed2D.Candidates", "[[[[1, 2, 3]], []], {}")
    assert group.prompts().choices == ()  # what was not written here says nothing


def test_a_key_that_is_pressed_before_the_masks_are_there_counts_when_they_are(model):
    fixture = EditorFixture(model)
    model.delay_s = 0.2
    fixture.view.click(*fixture.xy(INSIDE))
    keys.press("K")
    fixture.wait()
    settle(fixture)
    keys.press("K")
    settle(fixture)
    assert shown_areas(fixture) == areas(fixture)[:1]
    fixture.editor.setActiveEffect(None)


def test_where_masks_are_accepted_at_once_the_key_changes_what_was_written(fixture):
    fixture.set(AcceptAtOnce="1")
    fixture.click((30, 25, 10))
    settle(fixture)
    assert fixture.segment().sum() == areas(fixture)[1]
    keys.press("K")
    fixture.pump()
    assert fixture.segment().sum() == areas(fixture)[0]
    fixture.editor.undo()
    fixture.pump()
    assert fixture.segment().sum() == areas(fixture)[1]


def test_without_prompts_keys_and_wheel_do_nothing(model):
    fixture = EditorFixture(model)
    keys.press("L")
    fixture.view.wheel(*fixture.xy(INSIDE), 1, shift=True)
    fixture.pump()
    assert model.asked == [] and fixture.controller.groups == []
    fixture.editor.setActiveEffect(None)


def test_nothing_is_encoded_again_for_another_mask(model, monkeypatch):
    import torch

    from SAMMed2DLib.inference.predictor import Predictor
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.model.build import build_model
    from SAMMed2DLib.model.config.model_config import ModelConfig

    torch.manual_seed(3)
    sizes = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_blocks": (1,), "window_size": 3, "out_dim": 32}
    config = ModelConfig(image_size=64, decoder_heads=4, decoder_mlp_dim=64, iou_hidden_dim=32, **sizes)
    network = Predictor(build_model(config), device="cpu", prefers_zoom=True, click_scales=(1.0, 0.5))
    session = let_answer(monkeypatch, Session(network))
    fixture = EditorFixture(model)
    fixture.set(LookAhead="0")
    fixture.click()
    settle(fixture)
    encoded, (group,) = session.encoded, fixture.controller.pending
    candidates = fixture.controller.acceptance.predictions[group].result.candidates
    assert encoded > 0 and len(candidates) >= 2
    for _ in candidates:
        keys.press("K")
    np.testing.assert_array_equal(fixture.shown[0], candidates[0].mask)
    for candidate in candidates[1:]:
        keys.press("L")
        np.testing.assert_array_equal(fixture.shown[0], candidate.mask)
    settle(fixture)
    assert session.encoded == encoded
    fixture.controller.predict_again()  # as when a scene is opened: the choice was kept
    settle(fixture)
    np.testing.assert_array_equal(fixture.shown[0], candidates[-1].mask)
    assert session.encoded == encoded
    fixture.editor.setActiveEffect(None)


def test_the_wheel_with_shift_corrects_a_slice_of_a_whole_object_that_waits(fixture):
    keys.press("E")  # accepts what is shown, and looks for the rest
    whole, place = fixture.effect.whole.whole, (INSIDE[0], INSIDE[1], 7)
    fixture.wait(lambda: whole._is_found)
    fixture.show(2, 7)
    fixture.click(place, control=True)
    settle(fixture)
    fixture.wait(lambda: whole._is_found)
    fixture.view.wheel(*fixture.xy(place), -1, shift=True)
    fixture.wait(lambda: whole._is_found)
    keys.press("Return")
    fixture.wait(lambda: not whole.is_open)
    part = fixture.model.masks(fixture.structure[7])[0]
    assert (fixture.segment()[7] == part).all() and part.any()
    assert fixture.segment()[8].sum() > 0
    fixture.editor.undo()
    assert [int(fixture.segment()[k].any()) for k in (7, INSIDE[2])] == [0, 1]
