"""*Find similar*: proposals are outlines, taken by a click or a key, refused by a key; nothing is written by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer
from editor_fixture import SIZE, EditorFixture, let_answer
from host import keys
from test_effect_many_objects import CENTRES, K, OneObject, disc, discs_kji, names, press_at, written

OFF = (31.0, 26.0)  # a place without a disc


class Encoder:
    """What a search asks of an embedding: a single number, how bright the image is."""

    def __init__(self, image):
        grey = image[..., :1].astype(np.float32)
        cells = grey[: len(grey) // 4 * 4, : grey.shape[1] // 4 * 4]
        cells = cells.reshape(len(cells) // 4, 4, -1, 4).mean(axis=(1, 3))
        self.array = cells[None, None]


@pytest.fixture
def model(model, monkeypatch):
    class Searchable(OneObject):
        def embed(self, images):
            return [Encoder(image) for image in images]

        def answer_pairs(self, pairs, *, ahead=(), should_stop=None):
            from types import SimpleNamespace

            return [
                SimpleNamespace(mask=self.answer(image, prompts, should_stop=should_stop).mask, score=0.9)
                for image, prompts in pairs
            ]

    return let_answer(monkeypatch, Searchable())


@pytest.fixture
def fixture(model) -> EditorFixture:
    """Two of sixteen discs are accepted; slices 14 and on show none."""
    values = np.where(discs_kji(), 160, 40).astype(np.int16)
    values[14:] = 40
    fixture = EditorFixture(model, volume_kji=values)
    fixture.set(NewSegments=1)
    for centre in CENTRES[:2]:
        fixture.click((*centre, K))
    fixture.accept()
    yield fixture
    fixture.editor.setActiveEffect(None)


def search(fixture) -> list:
    keys.press("M")
    fixture.wait(lambda: not fixture.controller.proposer.is_searching)
    return fixture.controller.proposer.proposals


def found_centres(proposals) -> set:
    return {centre for centre in CENTRES for each in proposals if each.mask[centre[1], centre[0]]}


def test_the_other_objects_are_proposed_and_nothing_is_written(fixture):
    before = fixture.image()
    proposals = search(fixture)
    assert found_centres(proposals) == set(CENTRES[2:]) and len(proposals) == len(CENTRES) - 2
    assert "14 proposals" in fixture.status.text
    assert names(fixture) == ["A", "A #2"] and len(fixture.controller.groups) == 2
    assert (fixture.image() != before).any()


def test_a_click_takes_a_proposal_into_a_segment_of_its_own_and_enter_accepts(fixture):
    search(fixture)
    taken = CENTRES[5]
    fixture.click((*taken, K))
    assert len(fixture.controller.proposer.proposals) == 13 and names(fixture) == ["A", "A #2", "A #3"]
    assert len(fixture.shown) == 1 and not written(fixture)[2].any()
    fixture.accept()
    np.testing.assert_array_equal(written(fixture)[2], disc(taken))
    assert len(fixture.controller.proposer.proposals) == 13  # they wait


def test_keys_take_and_refuse_the_marked_one_and_escape_the_rest(fixture):
    second = search(fixture)[1]
    keys.press("D")
    assert fixture.controller.proposer.proposals[0] is second and len(fixture.controller.proposer.proposals) == 13
    keys.press("A")
    fixture.wait()
    assert len(fixture.controller.proposer.proposals) == 12 and len(fixture.shown) == 1
    np.testing.assert_array_equal(fixture.shown[0], second.mask)
    keys.press("Escape")
    assert not fixture.controller.proposer.proposals and len(fixture.shown) == 1  # what was taken stays
    keys.press("A")
    assert "no proposal" in fixture.status.text
    keys.press("Escape")
    fixture.wait()
    assert not fixture.shown and names(fixture) == ["A", "A #2"]


def test_clicks_are_answered_while_it_searches_and_escape_cancels_it(fixture, model):
    model.delay_s = 0.05
    keys.press("M")
    fixture.wait(lambda: fixture.panel.status_line.is_working("proposals"))
    press_at(fixture, CENTRES[7])
    fixture.wait(lambda: fixture.shown)
    assert fixture.controller.proposer.is_searching
    keys.press("Escape")
    assert not fixture.controller.proposer.is_searching and "cancelled" in fixture.status.text
    assert not fixture.panel.status_line.is_working("proposals") and len(fixture.shown) == 1
    fixture.wait(lambda: not fixture.effect._service.worker.is_pending)
    assert not fixture.controller.proposer.proposals


def test_in_the_volume_what_goes_on_from_slice_to_slice_is_proposed_once(fixture):
    box = slicer.util.findChild(fixture.panel.widget, "similarInVolumeCheckBox")
    box.click()
    assert fixture.effect.scriptedEffect.integerParameter("SimilarInVolume") == 1
    slicer.util.findChild(fixture.panel.widget, "similarButton").click()
    fixture.wait(lambda: not fixture.controller.proposer.is_searching)
    proposals = fixture.controller.proposer.proposals
    assert found_centres(proposals) == set(CENTRES[2:]) and len(proposals) == len(CENTRES) - 2
    assert all(each.slice_index < 14 for each in proposals)
    marked = proposals[0]
    assert fixture.controller.editor.take().planes["Red"].origin_ijk[2] == marked.slice_index  # the view goes there
    keys.press("A")
    fixture.wait(lambda: fixture.shown)
    fixture.accept()
    assert written(fixture)[2][marked.slice_index].any() and written(fixture)[2].sum() == marked.mask.sum()


def test_without_an_accepted_object_it_says_what_to_do(model):
    fixture = EditorFixture(model, volume_kji=np.where(discs_kji(), 160, 40).astype(np.int16))
    fixture.pump(0.3)  # until all views have their slices
    assert search(fixture) == [] and "segment one first" in fixture.status.text
    fixture.editor.setActiveEffect(None)


def test_proposals_go_with_the_effect_and_with_the_volume(fixture):
    search(fixture)
    other = slicer.util.addVolumeFromArray(np.zeros(SIZE[::-1], np.int16))
    fixture.editor.setSourceVolumeNode(other)
    fixture.pump(0.05)
    assert not fixture.controller.proposer.shown(fixture.controller.editor.take())
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    assert not fixture.controller.proposer.proposals


def test_the_candidate_that_was_meant_is_taken(fixture, model):
    similar = fixture.controller.proposer
    first = search(fixture)[0]
    meant = replace(first, prompts=first.prompts.with_candidate(1))
    similar._proposals[0] = replace(similar._proposals[0], proposal=meant)
    keys.press("A")
    fixture.wait()
    assert model.asked[-1][0].candidate == 1 and len(fixture.shown) == 1
