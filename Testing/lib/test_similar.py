"""Further objects like given ones: each proposed once, the likely ones first, and none that is there already."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from SAMMed2DLib.imaging.components import parts_touching
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.prompts import EmptyMaskError, Prompts
from SAMMed2DLib.inference.session import MaskPrediction, Session, Stopped
from SAMMed2DLib.proposals.likeness import Likeness, peaks
from SAMMed2DLib.proposals.ranking import Proposal, one_per_object, ranked
from SAMMed2DLib.proposals.similar import ExampleObjects, find_similar
from SAMMed2DLib.proposals.tiles import feature_map, tiles_of

SIZE_HW = (150, 180)
DISCS = [(30, 30), (80, 35), (140, 30), (35, 80), (90, 85), (145, 80), (30, 125)]
DARK = [(85, 125), (145, 120)]  # of the same size, and of another grey


def disc(x: float, y: float, radius: float = 9, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def picture(discs=DISCS, dark=DARK) -> np.ndarray:
    """Bright discs, dark discs and a bright band on grey."""
    grey = np.full(SIZE_HW, 90.0)
    for centre in discs:
        grey[disc(*centre)] = 200
    for centre in dark:
        grey[disc(*centre)] = 20
    grey += np.random.default_rng(0).normal(0, 6, SIZE_HW)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def proposal(mask, rank, index=0) -> Proposal:
    return Proposal(index, Prompts.of(positive=[(1, 1)]), mask, 0.9, rank)


# Ranking


def test_the_best_comes_first_and_each_object_once():
    one, again, part, other = disc(30, 30), disc(32, 30), disc(30, 30, 4), disc(80, 30)
    given = [proposal(again, 0.5), proposal(one, 0.9), proposal(part, 0.8), proposal(other, 0.7)]
    assert [found.rank for found in ranked(given)] == [0.9, 0.7]
    assert [found.rank for found in ranked(given, most=1)] == [0.9]


def test_what_is_known_is_not_proposed_also_if_it_is_a_part_of_a_proposal():
    known = disc(30, 30, 5) | disc(120, 100, 5)
    given = [proposal(disc(30, 30), 0.9), proposal(disc(120, 100, 3), 0.8), proposal(disc(80, 30), 0.1)]
    assert [found.rank for found in ranked(given, {0: known})] == [0.1]
    assert len(ranked(given, {1: known})) == 3  # of another slice


def test_objects_that_touch_are_two_and_empty_masks_none():
    given = [proposal(disc(30, 30), 0.9), proposal(disc(45, 30), 0.8), proposal(np.zeros(SIZE_HW, bool), 1.0)]
    assert [found.rank for found in ranked(given)] == [0.9, 0.8]


def test_on_neighbouring_slices_an_object_is_proposed_on_its_best_one():
    given = [proposal(disc(30 + n, 30), rank, n) for n, rank in enumerate((0.5, 0.7, 0.9, 0.6))]
    given += [proposal(disc(30, 30), 0.4, 8), proposal(disc(100, 100), 0.3, 2)]
    assert [(found.slice_index, found.rank) for found in one_per_object(given)] == [(2, 0.9), (8, 0.4), (2, 0.3)]


def test_what_continues_a_known_object_is_not_proposed():
    given = [proposal(disc(30, 30), 0.9, n) for n in (4, 5, 6)] + [proposal(disc(100, 100), 0.3, 4)]
    assert [found.rank for found in one_per_object(given, {3: disc(31, 30)})] == [0.3]


# Likeness


def test_places_like_the_objects_have_about_one_and_others_about_nothing():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, (6, 20, 30)).astype(np.float32)
    values[0] += 40 * rng.normal(0, 1, (20, 30))  # varies everywhere: it should not count
    inside = np.zeros((20, 30), np.float32)
    inside[3:6, 4:8] = 1
    like = np.zeros((20, 30), bool)
    like[12:15, 20:24] = True
    values[3, (inside > 0) | like] += 5
    found = Likeness.of([values], [inside]).map(values)
    assert found[inside > 0].mean() == pytest.approx(1, abs=0.05)
    assert found[like].mean() > 0.7
    assert abs(found[(inside == 0) & ~like].mean()) < 0.1


def test_peaks_are_apart_and_as_high_as_asked_for():
    likeness = np.zeros((20, 20))
    likeness[5, 5], likeness[5, 6], likeness[15, 4], likeness[2, 15] = 0.9, 0.8, 0.7, 0.2
    likeness[10, 10] = -np.inf
    assert peaks(likeness, 2, 10, 0.5) == [(5, 5), (15, 4)]
    assert peaks(likeness, 2, 1, 0.5) == [(5, 5)]


@pytest.mark.parametrize("object_px", [6, 20, 400])
def test_tiles_cover_the_slice_and_the_map_has_a_value_everywhere(coarse_predictor, object_px):
    tiles = tiles_of(SIZE_HW, object_px)
    covered = np.zeros(SIZE_HW, bool)
    for tile in tiles:
        covered[tile.y0 : tile.y1, tile.x0 : tile.x1] = True
    assert covered.all() and len(tiles) <= 36
    seen = feature_map(Session(coarse_predictor), picture(), tiles, object_px)
    assert np.isfinite(seen.values).all()
    grey = np.array([seen.colors[-1, y // seen.step_px, x // seen.step_px] for x, y in DISCS])
    if object_px < 30:
        assert (grey > 150).all()  # colours are where they are in the image


# The search


@pytest.fixture(scope="module")
def session(coarse_predictor) -> Session:
    return Session(coarse_predictor)


def given(number: int = 2) -> np.ndarray:
    return np.any([disc(*centre) for centre in DISCS[:number]], axis=0)


def test_the_other_discs_are_found_and_the_dark_ones_are_not(session):
    shares: list[float] = []
    found = find_similar(
        session, lambda n: picture(), [ExampleObjects(0, given())], [0], most=12, on_progress=shares.append
    )
    assert shares == sorted(shares) and shares[-1] == 1
    best = [max(dice(each.mask, disc(*centre)) for each in found) for centre in DISCS[2:]]
    assert min(best) > 0.8
    assert not any((each.mask & disc(*centre)).any() for each in found for centre in DARK)
    assert not any(dice(each.mask, disc(*centre)) > 0.3 for each in found for centre in DISCS[:2])
    assert [each.rank for each in found] == sorted((each.rank for each in found), reverse=True)
    for each in found[:2]:  # the same path as of any click
        np.testing.assert_array_equal(each.mask, session.answer(picture(), each.prompts).mask)


def test_in_a_volume_each_object_is_proposed_on_one_slice(session):
    images = [picture(), picture(DISCS[:4], ()), picture((), ())]
    known = {1: disc(*DISCS[3])}
    found = find_similar(session, images.__getitem__, [ExampleObjects(0, given())], [0, 1, 2], known=known, most=12)
    on = {centre: [each.slice_index for each in found if dice(each.mask, disc(*centre)) > 0.7] for centre in DISCS}
    assert on.pop(DISCS[3]) == []  # it goes on where it is known
    assert on.pop(DISCS[0]) == on.pop(DISCS[1]) == []
    assert all(len(slices) == 1 for slices in on.values())


def test_without_an_object_there_is_nothing_to_look_for(session):
    with pytest.raises(EmptyMaskError, match="segment one first"):
        find_similar(session, lambda n: picture(), [ExampleObjects(0, np.zeros(SIZE_HW, bool))], [0])


def test_it_can_be_stopped(session):
    with pytest.raises(Stopped):
        find_similar(session, lambda n: picture(), [ExampleObjects(0, given())], [0], should_stop=lambda: True)


class WholeFirst:
    """A session that sees grey values, and takes each click for the whole picture; the disc is a candidate."""

    def encode(self, image, should_stop=None, *, coarse=True):
        pass

    def embed(self, images):
        return [SimpleNamespace(array=image[None, ..., 0].astype(np.float32)[None]) for image in images]

    def answer_pairs(self, pairs, *, should_stop=None):
        return [SimpleNamespace(mask=np.ones(image.shape[:2], bool), score=0.9) for image, _ in pairs]

    def answer(self, image, prompts, *, zoom=None, candidates=False, should_stop=None):
        part = parts_touching(image[..., 0] > 150, disc(*prompts.points_xy[0], 1))
        masks = [np.ones(SIZE_HW, bool), part]
        found = [MaskPrediction(mask, 0.9, (0, 0, *SIZE_HW), 0) for mask in masks]
        return replace(found[0], candidates=tuple(found) if candidates else ())


def test_where_the_answer_is_too_large_the_candidate_that_is_an_object_is_proposed():
    found = find_similar(WholeFirst(), lambda n: picture(), [ExampleObjects(0, given())], [0], most=12)
    assert len(found) == len(DISCS) - 2
    assert all(each.prompts.candidate == 2 and each.mask.sum() < 400 for each in found)
