"""Propagation: keyframes stay, spans are filled from both sides, objects end; with models of a few lines."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.propagation.estimate import MODEL_WEIGHT, ModelPrediction, Weights
from SAMMed2DLib.propagation.schedule import PropagationError, Span, propagate, spans_of
from SAMMed2DLib.propagation.shapes import interpolated, signed_distance
from SAMMed2DLib.propagation.stop_rule import LEARNED_STOP_RULE, STOP_RULE, StopRule, expected_end

SIZE = 48

WITH_MODEL = Weights(model=MODEL_WEIGHT)


def disc(radius, x=24.0, y=24.0):
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


class Volume:
    """A bright body on slices 5 .. 14: discs whose radius and place change; everything else is dark and noisy."""

    def __init__(self, first=5, last=14, count=20):
        noise = np.random.default_rng(0).integers(0, 40, (count, SIZE, SIZE))
        self.masks = [disc(0)] * count
        for n in range(first, last + 1):
            self.masks[n] = disc(10 - abs(n - 9.5), 20 + 0.6 * n)
        self.pictures = np.where(np.array(self.masks), 150, 60)[..., None] + noise[..., None]
        self.pictures = np.repeat(self.pictures.astype(np.uint8), 3, axis=-1)
        self.asked = []

    def picture(self, index):
        return self.pictures[index]

    def predict(self, queries):
        """A model that knows the truth, and says so."""
        self.asked += [query.index for query in queries]
        logits = [np.where(self.masks[query.index], 5.0, -5.0).astype(np.float32) for query in queries]
        return [ModelPrediction(of_slice, 0.9) for of_slice in logits]

    def run(self, keys, first=0, last=19, weights=WITH_MODEL, **options):
        keyframes = [{index: self.masks[index] for index in keys}]
        found = propagate(self.picture, self.predict, keyframes, first, last, weights=weights, **options)
        return {result.index: result for result in found}


class HalfSeen(Volume):
    """Grey values say nothing on slices 9 and 10, and the model finds everything three pixels beside where it is."""

    def __init__(self):
        super().__init__()
        self.pictures[9:11] = 125

    def predict(self, questions):
        return [replace(one, logits=np.roll(one.logits, 3, axis=1)) for one in super().predict(questions)]


def test_spans_lie_between_and_beyond_keyframes():
    assert spans_of([4, 8], 0, 10) == [Span(0, 3, None, 4), Span(5, 7, 4, 8), Span(9, 10, 8, None)]


def test_keyframes_next_to_each_other_and_at_the_ends_leave_no_span():
    assert spans_of([0, 1, 5], 0, 5) == [Span(2, 4, 1, 5)]


def test_spans_are_cut_to_the_range():
    assert spans_of([4, 8], 6, 9) == [Span(6, 7, 4, 8), Span(9, 9, 8, None)]


def test_signed_distance_is_half_a_pixel_on_both_sides_of_the_outline():
    distance = signed_distance(np.array([[False, True, True, True, False]]).repeat(5, axis=0))
    assert distance[2].tolist() == [-0.5, 0.5, 1.5, 0.5, -0.5]


def test_distances_within_reach_are_exact_and_others_beyond_it():
    near, exact = signed_distance(disc(15), 5), signed_distance(disc(15))
    within = np.abs(exact) < 5
    assert (near[within] == exact[within]).all()
    assert (np.abs(near[~within]) >= 5).all()
    assert (np.sign(near) == np.sign(exact)).all()


def test_interpolated_shape_lies_between_the_two():
    middle = interpolated(disc(4), disc(12), 0.5)
    assert dice(middle, disc(8)) > 0.97


def test_slices_between_keyframes_are_filled_and_keyframes_are_not_returned():
    volume = Volume()
    found = volume.run([6, 13])
    assert not {6, 13} & set(found)
    assert all(dice(found[n].mask, volume.masks[n]) > 0.9 for n in range(7, 13))


@pytest.mark.parametrize(("keys", "is_between"), [([6, 13], True), ([6], False)])
def test_between_keyframes_the_model_is_asked_about_all_parts_and_beyond_about_the_largest(keys, is_between):
    volume, questions = Volume(), []
    real = volume.predict
    volume.predict = lambda given: questions.extend(given) or real(given)
    speck = disc(3, 40, 40)
    for n in range(6, 14):
        volume.masks[n] = volume.masks[n] | speck
        volume.pictures[n, speck] = 170
    volume.run(keys, 6, 13)
    asked = [one for one in questions if one.expected is not None]
    assert len(asked) == 8 - len(keys)
    for one in asked:
        rows, columns = np.nonzero((one.expected > 0) & (is_between | ~disc(8, 40, 40)))
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(one.prompts.box_xyxy, box, atol=1.1)
        assert one.ahead == tuple(range(one.index + 1, 13 if is_between else min(one.index + 4, 14)))


@pytest.mark.parametrize("key", [9, 6])
def test_an_object_is_followed_to_its_ends_and_not_beyond(key):
    volume = Volume()
    found = volume.run([key])
    assert np.mean([dice(found[n].mask, volume.masks[n]) for n in range(7, 13) if n != key]) > 0.85
    assert all(4 <= n <= 15 for n in found)


def test_keyframes_on_the_first_and_the_last_slice():
    volume = Volume(0, 19)
    assert sorted(volume.run([0, 19], 0, 19)) == list(range(1, 19))


def test_one_slice_has_nothing_to_fill():
    volume = Volume(0, 0, 1)
    assert volume.run([0], 0, 0) == {}


def test_the_range_limits_both_directions():
    volume = Volume()
    assert sorted(volume.run([9], 7, 11)) == [7, 8, 10, 11]


def test_an_empty_keyframe_ends_the_object_there():
    volume = Volume()
    keyframes = [{9: volume.masks[9], 12: np.zeros((SIZE, SIZE), bool)}]
    found = {one.index for one in propagate(volume.picture, volume.predict, keyframes, 0, 19)}
    assert max(found) == 11


def test_only_touched_spans_are_run_again():
    volume = Volume()
    assert sorted(volume.run([6, 9, 13], only=[7])) == [7, 8]


def test_several_objects_are_kept_apart_and_share_slices():
    volume = Volume()
    keyframes = [{n: volume.masks[n] for n in (6, 13)}, {n: ~disc(20) for n in (6, 13)}]
    found = list(propagate(volume.picture, volume.predict, keyframes, 6, 13))
    assert {(one.number, one.index) for one in found} == set(itertools.product((0, 1), range(7, 13)))
    asked = [index for index in volume.asked if index not in (6, 13)]
    assert asked == sorted(asked)


@pytest.mark.parametrize("keys", [[6, 13], [9]])
def test_every_third_slice_is_asked_and_the_others_are_interpolated(keys):
    volume = Volume()
    found = volume.run(keys, 6, 13, every=3)
    assert sorted(found) == [n for n in range(6, 14) if n not in keys]
    assert len(set(volume.asked) - set(keys)) <= 3
    assert all(dice(found[n].mask, volume.masks[n]) > 0.8 for n in found)


def test_a_model_that_fails_on_the_keyframes_is_hardly_heard():
    volume, wrong = Volume(), Volume()
    wrong.predict = lambda questions: [ModelPrediction(np.full((SIZE, SIZE), 6.0, np.float32), 0.9) for _ in questions]
    good, bad = volume.run([6, 13]), wrong.run([6, 13])
    assert all(dice(bad[n].mask, good[n].mask) > 0.9 for n in good)
    assert bad[9].confidence < good[9].confidence


def test_a_reliable_model_decides_where_grey_values_say_nothing():
    volume = Volume()
    volume.pictures[:] = 100
    volume.masks[9] = disc(10, 27)
    with_model, without = volume.run([6, 13]), volume.run([6, 13], weights=Weights())
    assert dice(with_model[9].mask, volume.masks[9]) > dice(without[9].mask, volume.masks[9])


def test_without_the_model_nothing_is_asked():
    volume = Volume()
    assert volume.run([6, 13], weights=Weights())
    assert volume.asked == []


def test_the_model_is_asked_only_where_it_has_something_to_decide():
    volume = HalfSeen()
    volume.run([6, 13], 6, 13)
    assert set(volume.asked) == {6, 13, 9, 10}  # the keyframes, to see how good it is, and what is open


def test_not_asking_changes_less_of_a_mask_than_the_open_share():
    everywhere = HalfSeen().run([6, 13], 6, 13, weights=Weights(model=MODEL_WEIGHT, open_share=0))
    most = 0.0
    for share in (0.1, 0.3, 0.6, 1.0):
        volume = HalfSeen()
        for index, one in volume.run([6, 13], 6, 13, weights=Weights(model=MODEL_WEIGHT, open_share=share)).items():
            changed = (one.mask ^ everywhere[index].mask).sum() / (one.mask.sum())
            assert changed == 0 if index in volume.asked else changed < share
            most = max(most, changed)
    assert most > 0


def test_confidence_falls_with_the_distance_from_keyframes():
    found = Volume().run([6, 13])
    assert found[7].confidence > found[9].confidence
    assert all(0 <= one.confidence <= 1 for one in found.values())


class Column(Volume):
    """A bright ball on slices 8 .. 18; what follows above it, up to the top, looks alike."""

    def __init__(self):
        super().__init__(8, 18, 44)
        for n in range(8, 44):
            ball = disc(np.sqrt(110 - 2 * (n - 13) ** 2) if n <= 18 else 0)
            column = disc(7 if n > 18 else 0)
            self.masks[n] = ball
            self.pictures[n] = np.where((ball | column)[..., None], 150, 60) + self.pictures[n] % 40

    def reached(self, keys, **options):
        return max(self.run(keys, 0, 43, weights=Weights(), **options))


def test_what_looks_alike_beyond_an_end_is_left_by_the_learned_rule():
    column = Column()
    assert column.reached([9, 13, 17], stop=STOP_RULE) == 43
    assert 18 <= column.reached([9, 13, 17], stop=LEARNED_STOP_RULE) <= 28


def test_thick_slices_carry_an_object_less_far():
    thin, thick = (Column().reached([13], slice_px=px) for px in (1.0, 8.0))
    assert thin > thick


def test_a_rule_sees_a_clear_end_from_one_keyframe_and_from_two():
    volume = Volume()
    for keys in ([9], [7, 12]):
        found = volume.run(keys, weights=Weights(), stop=LEARNED_STOP_RULE)
        assert {6, 8, 10, 13} - set(keys) <= set(found) <= set(range(4, 16))


@pytest.mark.parametrize(
    ("radii", "slices"),
    [
        ({0: 8.0}, None),
        ({0: 10.0, 10: 5.0}, 4),  # areas in a line: a quarter is left on slice 10, nothing on the fourth beyond
        ({0: 10.0, 10: 10.0}, 400),
    ],
)
def test_the_areas_of_keyframes_let_expect_where_an_object_ends(radii, slices):
    masks = {index: disc(radius) for index, radius in radii.items()}
    found = expected_end(max(masks), masks)
    assert found is None if slices is None else abs(found - slices) <= 1


def test_an_end_is_judged_by_the_keyframes_behind_it():
    starts = {}

    class Spy(StopRule):
        def detector(self, start):
            starts[start.keyframe] = sorted(start.masks)
            return super().detector(start)

    volume = Volume()
    keyframes = [{6: volume.masks[6], 8: volume.masks[8], 9: disc(0), 11: volume.masks[11], 13: volume.masks[13]}]
    list(propagate(volume.picture, volume.predict, keyframes, 0, 19, stop=Spy()))
    assert starts == {6: [6, 8, 11, 13], 11: [11, 13], 13: [6, 8, 11, 13]}


def test_the_order_of_rules_to_stop_does_not_matter_for_a_clear_end():
    volume = Volume()
    loose = StopRule(overlap=0, area=0, growth=99, grey=-99)
    assert max(volume.run([9], stop=loose)) >= max(volume.run([9]))


def test_leaving_early_asks_nothing_more():
    volume = Volume()
    run = propagate(volume.picture, volume.predict, [{6: volume.masks[6], 13: volume.masks[13]}], 0, 19)
    next(run)
    asked = len(volume.asked)
    run.close()
    assert len(volume.asked) == asked


@pytest.mark.parametrize(
    ("keyframes", "words"),
    [
        ([], "no keyframe"),
        ([{3: np.zeros((SIZE, SIZE), bool)}], "no keyframe"),
        ([{3: disc(5)}, {3: disc(5)[:30]}], "one size"),
    ],
)
def test_what_cannot_be_propagated_is_said(keyframes, words):
    volume = Volume()
    with pytest.raises(PropagationError, match=words):
        list(propagate(volume.picture, volume.predict, keyframes, 0, 19))


def test_a_range_that_is_none_is_refused():
    with pytest.raises(PropagationError, match="no range"):
        Volume().run([9], 12, 3)
