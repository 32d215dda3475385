"""All objects of a slice: each once, the sure ones first, specks and the whole image left out."""

from __future__ import annotations

import numpy as np
import pytest
from test_similar import DARK, DISCS, SIZE_HW, disc, picture

from SAMMed2DLib.imaging.metrics import dice, iou
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session, Stopped
from SAMMed2DLib.proposals.everything import everything_steps
from SAMMed2DLib.proposals.ranking import NestedMasks

OBJECTS = [*DISCS, *DARK]


@pytest.fixture(scope="module")
def session(coarse_predictor) -> Session:
    return Session(coarse_predictor)


@pytest.fixture(scope="module")
def found(session):
    shares: list[float] = []
    return session.everything(picture(), slice_index=3, most=12, on_progress=shares.append), shares


def best_dice(proposals, centre) -> float:
    return max((dice(each.mask, disc(*centre)) for each in proposals), default=0.0)


def test_bright_and_dark_discs_are_found_with_the_masks_that_their_prompts_give(session, found):
    proposals, shares = found
    assert sum(best_dice(proposals, centre) > 0.8 for centre in OBJECTS) >= 7
    assert len(proposals) <= 12 and {each.slice_index for each in proposals} == {3}
    assert [each.rank for each in proposals] == sorted((each.rank for each in proposals), reverse=True)
    assert all(0.7 <= each.score <= 1 and 0 < each.stability <= 1 and each.grade for each in proposals)
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    for each in proposals[:2]:  # the same path as of any box
        np.testing.assert_array_equal(each.mask, session.answer(picture(), each.prompts).mask)


def test_no_two_are_of_one_object_and_none_is_a_speck_or_the_whole_image(found):
    proposals, _ = found
    masks = [each.mask for each in proposals]
    assert all(iou(a, b) < 0.5 for n, a in enumerate(masks) for b in masks[:n])
    assert all(12 <= mask.sum() <= 0.6 * mask.size for mask in masks)


def test_what_is_known_is_not_proposed(session):
    known = [disc(*centre) for centre in OBJECTS[:-1]]
    proposals = session.everything(picture(), known=known, most=12)
    assert not any(iou(each.mask, mask) >= 0.5 for each in proposals for mask in known)


def test_it_can_be_stopped_at_once_and_between_steps(session):
    with pytest.raises(Stopped):
        session.everything(picture(), should_stop=lambda: True)
    steps = everything_steps(Session(session.predictor), picture(), should_stop=lambda: share > 0.1)
    share = 0.0
    with pytest.raises(Stopped):
        for share in steps:  # noqa: B007 - the stop goes by it
            pass
    assert 0.1 < share < 0.3


@pytest.mark.parametrize("size_hw", [(1, 1), (3, 70), (20, 16)])
def test_the_smallest_images_are_searched_and_plain_ones_have_nothing(session, size_hw):
    values = np.random.default_rng(0).integers(0, 255, (*size_hw, 1), np.uint8)
    image = np.repeat(values, 3, axis=2)
    assert all(each.mask.shape == size_hw for each in session.everything(image, most=1))
    encoded = session.encoded
    assert session.everything(np.full_like(image, 90)) == [] and session.encoded == encoded


class Drawn:
    """A mask as a network draws it, of the whole view."""

    def __init__(self, mask_hw: np.ndarray, score: float = 0.9) -> None:
        self.low_res_logits, self.score = np.where(mask_hw, 9.0, -9.0).astype(np.float32), score
        self.mask = mask_hw


class AlwaysTheSame:
    """A session whose network draws the same masks for every click on the whole slice, and answers boxes with them."""

    def __init__(self, masks) -> None:
        self.masks, self.answered = masks, []
        self.predictor = type("", (), {"prefers_zoom": False, "score_calibration": None})

    def draw_all(self, image, prompts, *, coarse, should_stop):
        assert not coarse and image.shape[:2] == SIZE_HW
        return [[Drawn(mask) for mask in self.masks] for _ in prompts]

    def answer(self, image, prompts: Prompts, *, zoom, should_stop):
        self.answered.append(prompts)
        mask = next(mask for mask in self.masks if Prompts.of(box=_box(mask)) == prompts)
        return type("", (), {"mask": mask, "score": 0.9, "stability": 1.0, "grade": None})


def _box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_specks_and_the_whole_image_are_not_even_looked_at_again():
    whole, speck, good = np.ones(SIZE_HW, bool), disc(20, 20, 1), disc(60, 60)
    session = AlwaysTheSame([whole, speck, good])
    (only,) = everything(session)
    np.testing.assert_array_equal(only.mask, good)
    assert len(session.answered) == 1


def test_an_object_within_another_is_one_of_its_own_and_a_shifted_one_is_not():
    session = AlwaysTheSame([disc(60, 60, 20), disc(60, 60, 8), disc(61, 60, 20), disc(120, 100)])
    assert sorted(int(each.mask.sum()) for each in everything(session)) == sorted(
        int(mask.sum()) for mask in (disc(60, 60, 20), disc(60, 60, 8), disc(120, 100))
    )


def test_there_are_no_more_than_asked_for():
    session = AlwaysTheSame([disc(*centre) for centre in DISCS])
    assert len(Session.everything(session, picture(), most=3)) == 3 == len(session.answered)


def everything(session):
    return Session.everything(session, picture())


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        (disc(60, 60, 20), disc(60, 60, 19), False),
        (disc(60, 60, 20), disc(60, 60, 10), True),  # within it
        (disc(60, 60, 20), disc(80, 60, 20), True),  # beside it, with a part in common
        (disc(60, 60, 20), np.zeros(SIZE_HW, bool), False),
    ],
)
def test_masks_are_the_same_by_what_they_share_of_both(first, second, is_new):
    assert NestedMasks([first]).add_unless_same(second) is is_new


def test_separate_regions_of_what_is_known_are_objects_too():
    both = disc(30, 30, 12) | disc(120, 100)
    for mask, is_new in ((disc(30, 30, 12), False), (disc(120, 100), False), (both, False), (disc(60, 60), True)):
        assert NestedMasks([both]).add_unless_same(mask) is is_new
