"""*Propose objects*: outlines of all objects of the slice, taken by a click or a key; nothing is written by itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from editor_fixture import EditorFixture, let_answer
from host import keys
from test_effect_many_objects import CENTRES, K, OneObject, disc, discs_kji, names, press_at, written
from test_effect_similar import OFF, found_centres

MOST = 12  # at once


class Proposing(OneObject):
    """Draws, for each click of a grid, the disc that it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.predictor.score_calibration = None

    def draw_all(self, image, prompts, *, coarse=False, should_stop=None):
        masks = [self.answer(image, prompt, should_stop=should_stop).mask for prompt in prompts]
        logits = [np.where(mask, 9.0, -9.0).astype(np.float32) for mask in masks]
        return [
            [SimpleNamespace(low_res_logits=drawn, score=0.9, mask=mask)]
            for drawn, mask in zip(logits, masks, strict=True)
        ]


@pytest.fixture
def model(model, monkeypatch):
    return let_answer(monkeypatch, Proposing())


@pytest.fixture
def fixture(model) -> EditorFixture:
    fixture = EditorFixture(model, volume_kji=np.where(discs_kji(), 160, 40).astype(np.int16))
    yield fixture
    fixture.editor.setActiveEffect(None)


def propose(fixture) -> list:
    keys.press("J")
    fixture.wait(lambda: not fixture.controller.proposer.is_searching)
    return fixture.controller.proposer.proposals


def test_all_objects_are_proposed_without_one_that_was_accepted_and_nothing_is_written(fixture):
    before = fixture.image()
    proposals = propose(fixture)
    assert len(proposals) == MOST and found_centres(proposals) < set(CENTRES)  # no more at once
    assert f"{MOST} proposals" in fixture.status.text and (fixture.image() != before).any()
    assert names(fixture) == ["A"] and not fixture.controller.groups and not written(fixture)[0].any()


def test_the_button_does_the_same_and_what_is_segmented_is_not_proposed(fixture):
    fixture.click((*CENTRES[0], K))
    fixture.accept()
    fixture.click((*CENTRES[1], K))  # shown, and not accepted
    button = slicer.util.findChild(fixture.panel.widget, "everythingButton")
    button.click()
    assert not button.enabled
    fixture.wait(lambda: not fixture.controller.proposer.is_searching)
    assert button.enabled
    found = found_centres(fixture.controller.proposer.proposals)
    assert found < set(CENTRES[2:]) and len(found) == MOST


def test_a_click_takes_one_into_the_selected_segment_and_undo_takes_it_back(fixture):
    proposals = propose(fixture)
    taken = next(centre for centre in CENTRES if any(each.mask[centre[1], centre[0]] for each in proposals))
    fixture.click((*taken, K))
    assert len(fixture.shown) == 1 and not written(fixture)[0].any()
    assert len(fixture.controller.proposer.proposals) == MOST - 1 and names(fixture) == ["A"]
    fixture.accept()
    np.testing.assert_array_equal(written(fixture)[0], disc(taken))
    second = next(centre for centre in CENTRES if centre != taken and centre in found_centres(proposals))
    fixture.click((*second, K))
    fixture.accept()
    np.testing.assert_array_equal(written(fixture)[0], disc(taken) | disc(second))
    fixture.editor.undo()
    np.testing.assert_array_equal(written(fixture)[0], disc(taken))
    fixture.editor.undo()
    assert not written(fixture)[0].any()


def test_where_answers_are_accepted_at_once_what_is_taken_is_written_and_undone_alone(fixture):
    fixture.set(AcceptAtOnce=1)
    first, second = propose(fixture)[:2]
    keys.press("A")
    fixture.wait()
    keys.press("A")
    fixture.wait()
    np.testing.assert_array_equal(written(fixture)[0][K], first.mask | second.mask)
    fixture.editor.undo()
    np.testing.assert_array_equal(written(fixture)[0][K], first.mask)
    assert len(fixture.controller.proposer.proposals) == MOST - 2


def test_with_a_segment_for_each_object_keys_take_into_new_ones(fixture):
    fixture.set(NewSegments=1)
    first, second = propose(fixture)[:2]
    keys.press("A")
    keys.press("A")
    fixture.wait()
    assert names(fixture) == ["A", "A #2"] and len(fixture.controller.proposer.proposals) == MOST - 2
    fixture.accept()
    for found, proposal in zip(written(fixture), (first, second), strict=True):
        np.testing.assert_array_equal(found[K], proposal.mask)


def test_escape_refuses_all_and_a_click_beside_them_is_a_click(fixture):
    proposals = propose(fixture)
    keys.press("D")
    assert fixture.controller.proposer.proposals == proposals[1:]
    press_at(fixture, OFF)
    fixture.wait()
    assert len(fixture.controller.proposer.proposals) == MOST - 1 and len(fixture.controller.groups) == 1
    keys.press("Escape")
    assert not fixture.controller.proposer.proposals and "refused" in fixture.status.text
    assert not written(fixture)[0].any()


def test_the_search_shows_how_far_it_is_and_is_cancelled_by_escape(fixture, model):
    model.delay_s = 0.005
    keys.press("J")
    line = fixture.panel.status_line
    fixture.wait(lambda: line.is_working("proposals"))
    keys.press("Escape")
    assert not fixture.controller.proposer.is_searching and not line.is_working("proposals")
    assert "cancelled" in fixture.status.text
    fixture.wait(lambda: not fixture.effect._service.worker.is_pending)
    assert not fixture.controller.proposer.proposals


def test_of_two_that_lie_within_each_other_a_click_takes_the_smaller(fixture):
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.proposals.ranking import Proposal

    propose(fixture)
    proposer = fixture.controller.proposer
    shown = proposer._proposals[0]
    size_hw = shown.proposal.mask.shape
    large, small = np.ones(size_hw, bool), np.zeros(size_hw, bool)
    small[24:29, 24:29] = True
    pairs = [(large, (0, 0, 50, 40)), (small, (24, 24, 29, 29))]
    given = [Proposal(K, Prompts.of(box=box), mask, 0.9, 0.9) for mask, box in pairs]
    proposer._proposals = [type(shown)(each, shown.plane, shown.world_from_ijk) for each in given]
    fixture.click((26, 26, K))
    assert proposer.proposals == given[:1]
    assert model_box(fixture) == [24, 24, 29, 29]


def model_box(fixture) -> list[float]:
    return fixture.model.asked[-1][0].box_xyxy.round(6).tolist()


def test_masking_and_protected_segments_hold_for_what_is_taken(fixture):
    proposals = propose(fixture)
    centre = next(iter(found_centres(proposals)))
    other = fixture.add_segment("B")
    held = disc(centre)
    held[:, :, : centre[0]] = False  # the right half belongs to another segment
    slicer.util.updateSegmentBinaryLabelmapFromArray(held.astype(np.uint8), fixture.segmentation, other, fixture.volume)
    fixture.editor_node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    fixture.click((*centre, K))
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(other), held)
    np.testing.assert_array_equal(written(fixture)[0], disc(centre) & ~held)


def test_what_is_taken_back_is_proposed_again_and_what_is_accepted_is_not(fixture):
    first = propose(fixture)[0]
    keys.press("A")
    fixture.wait()
    assert first not in fixture.controller.proposer.proposals
    fixture.effect.remove_last()
    assert fixture.controller.proposer.proposals[0] is first and not fixture.shown
    keys.press("A")
    fixture.accept()
    fixture.editor.undo()
    assert first not in fixture.controller.proposer.proposals and len(fixture.controller.proposer.proposals) == MOST - 1


def test_keys_are_about_the_proposal_under_the_mouse(fixture):
    proposals = propose(fixture)
    last = proposals[-1]
    centre = next(centre for centre in CENTRES if last.mask[centre[1], centre[0]])
    before = fixture.image()
    fixture.view.hover(*fixture.xy((*centre, K)))
    assert fixture.controller.proposer.proposals == [last, *proposals[:-1]]
    assert (fixture.image() != before).any()
    keys.press("D")
    assert fixture.controller.proposer.proposals == proposals[:-1]


def test_the_module_opens_the_editor_and_proposes_there(fixture):
    fixture.editor.setActiveEffect(None)
    slicer.util.selectModule("SAMMed2D")
    panel = slicer.util.getModuleWidget("SAMMed2D").panels[0]
    panel.parameters.segmentation = None
    panel.ui.proposeButton.click()
    assert "Select a volume and a segment" in panel.status_line.text
    chosen = panel.parameters
    chosen.volume, chosen.segmentation, chosen.segment_id = fixture.volume, fixture.segmentation, fixture.segment_id
    chosen.view = "Red"
    panel.ui.proposeButton.click()
    editor = slicer.modules.SegmentEditorWidget.editor
    proposer = editor.activeEffect().self().controller.proposer
    fixture.wait(lambda: not proposer.is_searching)
    assert len(proposer.proposals) == MOST and not written(fixture)[0].any()
    editor.setActiveEffect(None)
    slicer.util.selectModule("")
