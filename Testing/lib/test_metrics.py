"""Dice, IoU and surfaces: published values, definitions by counting, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SAMMed2DLib.imaging.metrics import MetricError, dice, iou, normalised_surface_distance

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "pieces.npz"

# No limit of time for one example: a machine under load pauses where it likes.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PAIRS_OF_MASKS = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


# The published script applies its sigmoid only if a prediction has a negative value, so that the threshold on
# the values as given is 0 for the one case and 0.5 for the other.
@pytest.mark.parametrize(("case", "threshold"), [("a", 0.0), ("nonneg", 0.5)])
def test_metrics_equal_the_published_ones(golden, case, threshold):
    predicted = golden[f"metric.{case}.pred"] > threshold
    reference = golden["loss.gt"] > 0.5
    dices = [dice(one, other) for one, other in zip(predicted, reference, strict=True)]
    ious = [iou(one, other) for one, other in zip(predicted, reference, strict=True)]
    np.testing.assert_allclose(dices, golden[f"metric.{case}.dice"], atol=1e-6)
    np.testing.assert_allclose(ious, golden[f"metric.{case}.iou"], atol=1e-6)
    np.testing.assert_allclose(
        [np.mean(ious), np.mean(dices)], golden[f"metric.{case}.mean_iou_dice"], atol=1e-6
    )


def test_two_empty_masks_agree_as_in_the_published_code(golden):
    empty = np.zeros((4, 5), bool)
    assert [dice(empty, empty)] * 2 == golden["metric.empty_both.dice"].tolist()
    assert [iou(empty, empty)] * 2 == golden["metric.empty_both.iou"].tolist()


def test_two_arrays_without_any_pixel_agree():
    nothing = np.zeros((0, 3), bool)
    assert dice(nothing, nothing) == iou(nothing, nothing) == 1


def test_one_empty_mask_scores_next_to_nothing():
    full, empty = np.ones((10, 10), bool), np.zeros((10, 10), bool)
    assert 0 < dice(full, empty) < 1e-8
    assert 0 < iou(empty, full) < 1e-8


@PATIENT
@given(PAIRS_OF_MASKS)
def test_metrics_equal_counting_over_sets_of_pixels(masks):
    first, second = (set(np.flatnonzero(mask).tolist()) for mask in masks)
    either = len(first | second)
    expected_iou = len(first & second) / either if either else 1.0
    expected_dice = 2 * len(first & second) / (len(first) + len(second)) if either else 1.0
    assert iou(*masks) == pytest.approx(expected_iou, abs=1e-6)
    assert dice(*masks) == pytest.approx(expected_dice, abs=1e-6)


@PATIENT
@given(PAIRS_OF_MASKS)
def test_metrics_are_symmetric_and_consistent_with_each_other(masks):
    first, second = masks
    assert dice(first, second) == dice(second, first)
    assert iou(first, second) == iou(second, first)
    overlap = iou(first, second)
    assert dice(first, second) == pytest.approx(2 * overlap / (1 + overlap), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, ">u2"])
@pytest.mark.parametrize("inside", [1, 255, 3])
def test_masks_of_numbers_with_one_value_count_as_masks(dtype, inside):
    mask = np.array([[0, inside, inside], [0, 0, inside]]).astype(dtype)
    assert dice(mask, np.array([[False, True, True], [False, True, False]])) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    "no_mask",
    [
        np.array([-3.0, 2.0, 1.0]),
        np.array([-3.0, 0.0, -3.0]),
        np.array([0.2, 0.9, 0.0]),
        np.array([0, 1, 2]),
        np.array([0, -1, -1]),
        np.array([np.nan, 1.0, 0.0]),
        np.array([np.nan, 0.0, 0.0]),
        np.array([1j, 0, 0]),
        np.array(["a", "", ""]),
    ],
    ids=[
        "logits",
        "negative logits",
        "probabilities",
        "labels",
        "negative",
        "NaN and 1",
        "NaN",
        "complex",
        "text",
    ],
)
@pytest.mark.parametrize("metric", [dice, iou])
def test_what_is_no_mask_is_refused(metric, no_mask):
    mask = np.array([True, False, False])
    with pytest.raises(MetricError, match="mask"):
        metric(no_mask, mask)
    with pytest.raises(MetricError, match="mask"):
        metric(mask, no_mask)


@pytest.mark.parametrize("metric", [dice, iou])
def test_masks_of_different_shapes_are_refused_and_not_broadcast(metric):
    with pytest.raises(MetricError, match=r"\(1, 3\) and \(3, 3\)"):
        metric(np.ones((1, 3), bool), np.ones((3, 3), bool))


def test_results_are_plain_floats():
    mask = np.ones((2, 2), bool)
    assert type(dice(mask, mask)) is float
    assert type(iou(mask, mask)) is float


# Surfaces


def near_by_counting(mask_a, mask_b, tolerance, spacing):
    """The definition: every surface pixel against every other one."""

    def surface(mask):
        pixels = set(map(tuple, np.argwhere(mask).tolist()))
        steps = [*np.eye(mask.ndim, dtype=int), *-np.eye(mask.ndim, dtype=int)]
        return [p for p in pixels if any(tuple((p + step).tolist()) not in pixels for step in steps)]

    first, second = surface(mask_a), surface(mask_b)
    if not (first and second):
        return float(bool(first) == bool(second))
    gaps = (np.array(first)[:, None] - np.array(second)[None]) * spacing
    close = (gaps**2).sum(-1) <= tolerance**2 * (1 + 1e-9)
    return (close.any(1).sum() + close.any(0).sum()) / (len(first) + len(second))


PAIRS_OF_SURFACES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7).flatmap(
    lambda shape: st.tuples(
        hnp.arrays(bool, shape),
        hnp.arrays(bool, shape),
        st.tuples(*[st.sampled_from([0.5, 2 / 3, 1.0, 2.5])] * len(shape)),
    )
)


@PATIENT
@given(PAIRS_OF_SURFACES, st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0, 100.0]))
def test_the_surface_distance_equals_its_definition(masks, tolerance):
    *pair, spacing = masks
    assert normalised_surface_distance(*pair, tolerance, spacing) == pytest.approx(
        near_by_counting(*pair, tolerance, spacing)
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 1.9), (2.0, 0.4)])
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 3.3])
def test_the_surface_distance_equals_that_of_distance_transforms(spacing, tolerance):
    ndimage = pytest.importorskip("scipy.ndimage")
    y, x = np.indices((60, 70))
    pair = [(y - 30) ** 2 + (x - 30) ** 2 < 400, (y - 28) ** 2 * 1.4 + (x - 38) ** 2 < 500]
    pair[1][:9] = True  # a second part, that reaches the border
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in pair]
    away = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    near = sum((away[1 - i][edges[i]] <= tolerance + 1e-9).sum() for i in (0, 1))
    expected = near / sum(edge.sum() for edge in edges)
    assert normalised_surface_distance(*pair, tolerance, spacing) == pytest.approx(expected)


def test_a_shift_within_the_tolerance_is_no_error():
    mask = np.zeros((20, 20), bool)
    mask[5:12, 5:12] = True
    moved = np.roll(mask, 2, axis=1)
    assert normalised_surface_distance(mask, moved, 2) == 1
    assert normalised_surface_distance(mask, moved, 1.9) < 1
    assert normalised_surface_distance(mask, moved, 2, spacing=1.5) < 1
    assert type(normalised_surface_distance(mask, moved, 2)) is float


def test_empty_masks_have_the_same_surface():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert normalised_surface_distance(empty, empty, 1) == 1
    assert normalised_surface_distance(empty, full, 1) == normalised_surface_distance(full, empty, 1) == 0


@pytest.mark.parametrize(
    ("tolerance", "spacing", "words"),
    [
        (-1, 1, "tolerance"),
        (np.nan, 1, "tolerance"),
        (1, 0, "spacing"),
        (1, (1, 1, 1), "2 axes"),
        (1, (1, np.inf), "spacing"),
    ],
)
def test_impossible_distances_are_refused(tolerance, spacing, words):
    mask = np.ones((2, 2), bool)
    with pytest.raises(MetricError, match=words):
        normalised_surface_distance(mask, mask, tolerance, spacing)
