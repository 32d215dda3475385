"""Prompts as values, what they refuse, and the boxes of masks."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SAMMed2DLib.inference.prompts import EmptyMaskError, PromptError, Prompts, box_of_mask, shift_box

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "pieces.npz"
# No limit of time for one example: a machine under load pauses where it likes.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZE_HW = (20, 30)
UNTYPED: Any = Prompts  # for what the annotations would forbid


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden_masks(golden):
    shape = golden["box.masks_shape"]
    return np.unpackbits(golden["box.masks_bits"])[: np.prod(shape)].reshape(shape).astype(bool)


def everything() -> Prompts:
    return Prompts.of([(3, 4), (5, 6)], [(7.5, 8)], (1, 2, 9, 10), np.eye(4))


# A value


def test_of_puts_positive_points_before_negative_ones():
    prompts = everything()
    np.testing.assert_array_equal(prompts.points_xy, [[3, 4], [5, 6], [7.5, 8]])
    np.testing.assert_array_equal(prompts.labels, [1, 1, 0])
    np.testing.assert_array_equal(prompts.box_xyxy, [1, 2, 9, 10])
    np.testing.assert_array_equal(prompts.low_res_logits, np.eye(4))


def test_dtypes_and_shapes_are_always_the_same():
    for prompts in (Prompts(), Prompts.of(), UNTYPED([], []), Prompts.of([], [], None, None)):
        assert (prompts.points_xy.shape, prompts.points_xy.dtype) == ((0, 2), np.float64)
        assert (prompts.labels.shape, prompts.labels.dtype) == ((0,), np.int64)
        assert prompts.box_xyxy is None
        assert prompts.low_res_logits is None
    full = UNTYPED(np.array([[1, 2]], np.int16), np.array([True]), [0, 0, 5, 5], np.zeros((2, 2)))
    assert [array.dtype for array in (full.points_xy, full.labels, full.box_xyxy, full.low_res_logits)] == [
        np.float64,
        np.int64,
        np.float64,
        np.float32,
    ]


@pytest.mark.parametrize(
    ("prompts", "is_empty"),
    [
        (Prompts(), True),
        (Prompts.of(positive=[(1, 1)]), False),
        (Prompts.of(negative=[(1, 1)]), False),
        (Prompts.of(box=(0, 0, 1, 1)), False),
        (Prompts.of(low_res_logits=np.zeros((2, 2))), False),
    ],
)
def test_only_prompts_without_anything_are_empty(prompts, is_empty):
    assert prompts.is_empty is is_empty


def test_prompts_keep_their_own_copy_of_arrays():
    points, labels, box, logits = (
        np.array([[1.0, 2.0]]),
        np.array([1]),
        np.arange(4.0),
        np.zeros((2, 2), np.float32),
    )
    prompts = Prompts(points, labels, box, logits)
    for array in (points, labels, box, logits):
        array[...] = 99
    assert prompts == UNTYPED([[1, 2]], [1], [0, 1, 2, 3], np.zeros((2, 2)))


@pytest.mark.parametrize(
    "remake", [lambda p: p, copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_prompts_cannot_be_changed_also_after_copying_or_unpickling(remake):
    prompts = remake(everything())
    for array in (prompts.points_xy, prompts.labels, prompts.box_xyxy, prompts.low_res_logits):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(FrozenInstanceError):
        prompts.box_xyxy = None
    assert prompts == everything()


def test_equal_prompts_are_one_key():
    other = UNTYPED(
        np.array([[3, 4], [5, 6], [7.5, 8]], np.float32), [1, 1, 0], [1.0, 2, 9, 10], np.eye(4, dtype=int)
    )
    assert everything() == other
    assert len({everything(), other}) == 1


def test_negative_zero_makes_no_other_prompt():
    minus, plus = (
        Prompts.of([(zero, 1)], box=(zero, 0, 2, 2), low_res_logits=[[zero]]) for zero in (-0.0, 0.0)
    )
    assert minus == plus
    assert hash(minus) == hash(plus)


@pytest.mark.parametrize(
    "other",
    [
        Prompts(),
        everything().with_point((1, 1), 1),
        everything().with_box((1, 2, 9, 11)),
        everything().with_box(None),
        everything().with_low_res_logits(np.zeros((4, 4))),
        everything().with_low_res_logits(None),
        Prompts.of([(3, 4)], [(5, 6), (7.5, 8)], (1, 2, 9, 10), np.eye(4)),
        Prompts.of([(5, 6), (3, 4)], [(7.5, 8)], (1, 2, 9, 10), np.eye(4)),
        None,
        "prompts",
    ],
)
def test_prompts_that_differ_in_anything_are_not_equal(other):
    assert everything() != other


def test_logits_of_another_size_differ():
    assert Prompts.of(low_res_logits=np.zeros((1, 1))) != Prompts.of(low_res_logits=np.zeros((2, 2)))


def test_with_point_appends_and_leaves_the_original():
    before = Prompts.of([(1, 2)], box=(0, 0, 5, 5))
    after = before.with_point((3, 4), 0).with_point((5, 6), 1)
    np.testing.assert_array_equal(after.points_xy, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(after.labels, [1, 0, 1])
    np.testing.assert_array_equal(after.box_xyxy, [0, 0, 5, 5])
    assert before == Prompts.of([(1, 2)], box=(0, 0, 5, 5))


def test_box_and_logits_are_replaced_or_taken_away():
    prompts = everything().with_box((0, 0, 3, 3)).with_low_res_logits([[5.0]])
    np.testing.assert_array_equal(prompts.box_xyxy, [0, 0, 3, 3])
    np.testing.assert_array_equal(prompts.low_res_logits, [[5.0]])
    np.testing.assert_array_equal(prompts.points_xy, everything().points_xy)
    assert prompts.with_box(None).box_xyxy is None
    assert prompts.with_low_res_logits(None).low_res_logits is None


# Wrong shapes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNTYPED.of(positive=(3, 4)), r"points have shape \(N, 2\)"),
        (lambda: UNTYPED.of(positive=[(1, 2, 3)]), r"points have shape \(N, 2\)"),
        (lambda: UNTYPED.of(positive=[(1, 2), (3,)]), "points cannot be read"),
        (lambda: UNTYPED.of(positive=[("a", "b")]), "points must hold numbers"),
        (lambda: UNTYPED.of(positive=[(1j, 2)]), "points must hold numbers"),
        (lambda: UNTYPED.of(negative=[(None, 2)]), "points must hold numbers"),
        (lambda: UNTYPED([[1, 2]], []), r"1 points need labels of shape \(1,\)"),
        (lambda: UNTYPED([[1, 2]], [1, 0]), r"1 points need labels of shape \(1,\)"),
        (lambda: UNTYPED([[1, 2]], [[1]]), r"labels of shape \(1,\)"),
        (lambda: UNTYPED([], [1]), "0 points need labels"),
        (lambda: UNTYPED([[1, 2]], [0.5]), "whole numbers"),
        (lambda: UNTYPED([[1, 2]], [np.nan]), "whole numbers"),
        (lambda: UNTYPED([[1, 2]], [np.inf]), "whole numbers"),
        (lambda: UNTYPED().with_point((1, 2), 0.5), "whole numbers"),
        (lambda: UNTYPED().with_point((1, 2, 3), 1), r"points have shape \(N, 2\)"),
        (lambda: UNTYPED.of(box=(1, 2, 3)), "four numbers"),
        (lambda: UNTYPED.of(box=[(1, 2, 3, 4)]), "four numbers"),
        (lambda: UNTYPED.of(box=5), "four numbers"),
        (lambda: UNTYPED().with_box("none"), "four numbers|must hold numbers"),
        (lambda: UNTYPED.of(low_res_logits=np.zeros((1, 4, 4))), r"shape \(L, L\)"),
        (lambda: UNTYPED.of(low_res_logits=np.zeros((3, 4))), r"shape \(L, L\)"),
        (lambda: UNTYPED.of(low_res_logits=np.zeros((0, 0))), r"shape \(L, L\)"),
    ],
)
def test_wrong_shapes_are_refused_at_once(make, message):
    with pytest.raises(PromptError, match=message):
        make()


# checked


def test_good_prompts_come_back_as_they_are():
    assert everything().checked(SIZE_HW) == everything()


def test_a_previous_prediction_alone_is_enough():
    prompts = Prompts.of(low_res_logits=np.zeros((4, 4)))
    assert prompts.checked(SIZE_HW) == prompts


def test_a_negative_point_alone_is_enough():
    assert Prompts.of(negative=[(1, 1)]).checked(SIZE_HW) == Prompts.of(negative=[(1, 1)])


@pytest.mark.parametrize(
    "point", [(-0.5, -0.5), (29.5, 19.5), (-0.5, 19.5), (0, 0), (29, 19), (-0.5 - 1e-9, 3)]
)
def test_points_up_to_half_a_pixel_off_are_inside(point):
    prompts = Prompts.of(positive=[point])
    assert prompts.checked(SIZE_HW) == prompts


@pytest.mark.parametrize(
    "point", [(-0.51, 3), (29.51, 3), (3, -0.51), (3, 19.51), (19, 29), (-1e9, 0), (3, 1e300)]
)
def test_points_further_off_are_refused_with_the_valid_range(point):
    with pytest.raises(PromptError, match="outside the slice; X goes from 0 to 29, Y from 0 to 19"):
        Prompts.of(positive=[(1, 1), point]).checked(SIZE_HW)


def test_the_message_names_the_wrong_point():
    with pytest.raises(PromptError, match="the point 40,3 is outside"):
        Prompts.of(positive=[(1, 1), (40, 3)]).checked(SIZE_HW)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    logits = np.zeros((4, 4))
    logits[1, 2] = bad
    for prompts in (
        Prompts.of(positive=[(bad, 1)]),
        Prompts.of(negative=[(1, bad)]),
        Prompts.of(box=(0, 0, bad, 5)),
        Prompts.of(box=(bad, 0, 5, 5)),
    ):
        with pytest.raises(PromptError, match="not finite"):
            prompts.checked(SIZE_HW)
    with pytest.raises(PromptError, match="NaN or infinity"):
        Prompts.of([(1, 1)], low_res_logits=logits).checked(SIZE_HW)


@pytest.mark.parametrize("label", [-1, 2, 255])
def test_labels_other_than_0_and_1_are_refused(label):
    with pytest.raises(PromptError, match=f"label {label}; use 1 for positive and 0 for negative"):
        Prompts().with_point((1, 1), label).checked(SIZE_HW)


def test_nothing_is_refused():
    with pytest.raises(PromptError, match="no prompt is given: add a point, a box"):
        Prompts().checked(SIZE_HW)


@pytest.mark.parametrize(
    ("positive", "negative", "pixel"),
    [
        ((3, 4), (3, 4), "3,4"),
        ((3.4, 4.4), (2.5, 3.5), "3,4"),
        ((-0.5, 0), (0.4, 0.3), "0,0"),
        ((29.5, 19.5), (29, 19), "29,19"),
    ],
)
def test_one_pixel_cannot_be_positive_and_negative(positive, negative, pixel):
    with pytest.raises(PromptError, match=f"the pixel {pixel} is both positive and negative; remove one"):
        Prompts.of([(9, 9), positive], [(8, 8), negative]).checked(SIZE_HW)


def test_neighbouring_pixels_may_differ_and_a_pixel_may_be_given_twice():
    prompts = Prompts.of([(3, 4), (3, 4), (3.4, 4)], [(3.5, 4)])
    assert prompts.checked(SIZE_HW) == prompts


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((0, 0, 30, 20), (0, 0, 30, 20)),
        ((-5, -6, 3, 4), (0, 0, 3, 4)),
        ((25, 15, 99, 99), (25, 15, 30, 20)),
        ((-1, -1, 31, 21), (0, 0, 30, 20)),
        ((2.25, 3.5, 2.75, 3.75), (2.25, 3.5, 2.75, 3.75)),
        ((29.5, 19.5, 30, 20), (29.5, 19.5, 30, 20)),
    ],
)
def test_a_box_is_clipped_to_the_slice(box, clipped):
    prompts = Prompts.of([(1, 1)], box=box)
    assert prompts.checked(SIZE_HW) == Prompts.of([(1, 1)], box=clipped)


@pytest.mark.parametrize("box", [(5, 5, 3, 8), (5, 5, 8, 3), (5, 5, 5, 8), (5, 5, 8, 5), (5, 5, 5, 5)])
def test_a_box_that_is_inverted_or_without_area_is_refused(box):
    with pytest.raises(PromptError, match="inverted or has no area; X0 must be less than X1"):
        Prompts.of(box=box).checked(SIZE_HW)


@pytest.mark.parametrize(
    "box", [(30, 0, 35, 5), (-9, 0, 0, 5), (0, 20, 5, 25), (0, -5, 5, 0), (40, 40, 50, 50)]
)
def test_a_box_beside_the_slice_is_refused_with_the_valid_range(box):
    with pytest.raises(PromptError, match="is outside the slice; X goes from 0 to 30 and Y from 0 to 20"):
        Prompts.of(box=box).checked(SIZE_HW)


@pytest.mark.parametrize("size_hw", [(0, 5), (5, -1), (5,), (5, 5, 3), (5.5, 5), "ab", None])
def test_a_size_that_is_none_is_refused(size_hw):
    with pytest.raises(PromptError, match="size of a slice"):
        everything().checked(size_hw)


POINTS_INSIDE = st.tuples(st.floats(-0.5, 29.5), st.floats(-0.5, 19.5))


@PATIENT
@given(st.lists(POINTS_INSIDE, min_size=1, max_size=6))
def test_points_inside_are_accepted_unchanged(points):
    prompts = Prompts.of(negative=points)
    assert prompts.checked(SIZE_HW) == prompts


@PATIENT
@given(hnp.arrays(np.float64, 4, elements=st.floats(-50, 80)))
def test_a_checked_box_is_inside_has_area_and_is_checked_already(box):
    try:
        checked: Any = Prompts.of(box=box).checked(SIZE_HW)
    except PromptError:
        inner = np.minimum(box[2:], [30, 20]) - np.maximum(box[:2], 0)
        assert (inner <= 0).any()
        return
    x0, y0, x1, y1 = checked.box_xyxy
    assert 0 <= x0 < x1 <= 30
    assert 0 <= y0 < y1 <= 20
    assert checked.checked(SIZE_HW) == checked


# Boxes of masks


def largest_component_by_flood_fill(mask):
    """Walk over the pixels one by one: slow, and nothing in common with runs."""
    waiting = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    components = []
    for seed in sorted(waiting):
        if seed not in waiting:
            continue
        waiting.remove(seed)
        component, border = [seed], [seed]
        while border:
            y, x = border.pop()
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & waiting
            waiting -= around
            component += around
            border += around
        components.append(component)
    return max(components, key=len)


def test_boxes_equal_the_published_ones(golden, golden_masks):
    boxes = [box_of_mask(mask) for mask in golden_masks]
    np.testing.assert_array_equal(boxes, golden["box.noise_free"])


@settings(PATIENT, max_examples=300)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_the_box_is_that_of_the_largest_component_found_by_flood_fill(mask):
    if not mask.any():
        with pytest.raises(EmptyMaskError):
            box_of_mask(mask)
        return
    ys, xs = zip(*largest_component_by_flood_fill(mask), strict=True)
    assert box_of_mask(mask).tolist() == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_a_noisy_mask_of_many_components_gives_the_box_of_the_flood_fill():
    mask = np.random.default_rng(0).random((60, 80)) < 0.42
    ys, xs = zip(*largest_component_by_flood_fill(mask), strict=True)
    assert box_of_mask(mask).tolist() == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_pixels_that_touch_by_a_corner_are_one_component():
    assert box_of_mask(np.eye(5)).tolist() == [0, 0, 5, 5]
    assert box_of_mask(np.fliplr(np.eye(5))).tolist() == [0, 0, 5, 5]


def test_a_spiral_is_one_component():
    mask = np.ones((11, 11), bool)
    mask[1, 1:10] = mask[1:10, 9] = mask[9, 1:10] = mask[3:10, 1] = mask[3, 1:8] = mask[3:8, 7] = mask[
        7, 3:8
    ] = False
    mask[5:7, 3:7] = False
    ys, xs = zip(*largest_component_by_flood_fill(mask), strict=True)
    assert box_of_mask(mask).tolist() == [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


def test_of_two_equal_components_the_first_in_row_order_is_taken():
    mask = np.zeros((10, 10), bool)
    mask[4:6, 1:3] = mask[2:4, 6:8] = True
    assert box_of_mask(mask).tolist() == [6, 2, 8, 4]


def test_a_large_component_wins_over_many_small_ones_around_it():
    mask = np.zeros((12, 12), bool)
    mask[::2, ::2] = True
    mask[4:7, 4:7] = True
    assert box_of_mask(mask).tolist() == [4, 4, 7, 7]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32, ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_of_any_dtype_and_memory_order_have_boxes(dtype, order):
    mask = np.zeros((6, 7), dtype, order=order)
    mask[2:4, 3:7] = 1
    box = box_of_mask(mask)
    assert box.tolist() == [3, 2, 7, 4]
    assert box.dtype == np.float64


@pytest.mark.parametrize(
    ("shape", "box"), [((1, 1), [0, 0, 1, 1]), ((1, 5), [0, 0, 5, 1]), ((5, 1), [0, 0, 1, 5])]
)
def test_the_box_of_a_full_slice_is_its_size(shape, box):
    assert box_of_mask(np.ones(shape)).tolist() == box


@pytest.mark.parametrize("shape", [(4, 4), (0, 4), (4, 0), (0, 0)])
def test_an_empty_mask_has_no_box(shape):
    with pytest.raises(EmptyMaskError, match="choose a slice in which the object is visible"):
        box_of_mask(np.zeros(shape, bool))


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), ()])
def test_a_mask_that_is_no_slice_is_refused(shape):
    with pytest.raises(PromptError, match="take one slice first"):
        box_of_mask(np.ones(shape, bool))


def test_an_empty_mask_is_a_prompt_error_and_a_value_error():
    assert issubclass(EmptyMaskError, PromptError)
    assert issubclass(PromptError, ValueError)


# Noise


def test_shifts_equal_the_published_ones_for_the_legacy_seed(golden, golden_masks):
    rng = np.random.RandomState(123)
    boxes = [shift_box(box_of_mask(mask), rng) for mask in golden_masks]
    np.testing.assert_array_equal(boxes, golden["box.noisy_np_seed123"])


@PATIENT
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
def test_a_shift_keeps_the_size_and_stays_within_its_reach(seed, width, height, max_px):
    box = np.array([7.0, 9.0, 7 + width, 9 + height])
    reach = min(max_px, int(min(width, height) * 0.1 * 5))
    shift = shift_box(box, np.random.default_rng(seed), max_px=max_px) - box
    assert shift[:2].tolist() == shift[2:].tolist()
    assert (shift == np.rint(shift)).all()
    assert (-reach <= shift).all()
    assert (shift <= max(reach - 1, 0)).all()


def test_every_shift_within_the_reach_occurs_for_both_axes():
    rng = np.random.default_rng(0)
    shifts = np.array([shift_box((0, 0, 40, 40), rng, max_px=2)[:2] for _ in range(200)])
    assert {tuple(shift) for shift in shifts.tolist()} == {(x, y) for x in range(-2, 2) for y in range(-2, 2)}


@pytest.mark.parametrize(("box", "max_px"), [((0, 0, 1, 50), 5), ((0, 0, 50, 1.9), 5), ((0, 0, 50, 50), 0)])
def test_a_thin_box_or_no_reach_draws_nothing(box, max_px):
    rng = np.random.RandomState(1)
    assert shift_box(box, rng, max_px=max_px).tolist() == list(box)
    assert rng.randint(0, 10**6) == np.random.RandomState(1).randint(0, 10**6)


def test_the_shorter_side_and_the_share_bound_the_shift():
    rng = np.random.default_rng(3)
    shifts = [shift_box((0, 0, 100, 4), rng, std=0.05)[0] for _ in range(60)]
    assert set(shifts) == {-1.0, 0.0}


def test_a_shifted_box_is_new_writeable_and_not_clipped():
    box: Any = Prompts.of(box=(0, 0, 20, 20)).box_xyxy
    rng = np.random.default_rng(5)
    shifted = [shift_box(box, rng) for _ in range(40)]
    assert min(one[0] for one in shifted) < 0
    shifted[0][:] = 7
    still = shift_box(box, rng, max_px=0)
    still[:] = 7
    assert box.tolist() == [0, 0, 20, 20]


@pytest.mark.parametrize("box", [(5, 5, 3, 8), (5, 5, 5, 8), (0, 0, np.nan, 3), (0, 0, np.inf, 3), (1, 2, 3)])
def test_what_is_no_box_cannot_be_shifted(box):
    with pytest.raises(PromptError):
        shift_box(box, np.random.default_rng(0))
