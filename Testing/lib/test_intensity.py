"""From intensities to three 8-bit channels, against arithmetic with exact fractions."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from SAMMed2DLib.imaging.intensity import FullRange, ImageError, Percentiles, Window, rgb_from_slice

pytestmark = pytest.mark.filterwarnings("error")

# No limit of time for one example: a machine under load pauses where it likes.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
RULES = [Window(width=50, level=100), Percentiles(), Percentiles(10, 90), FullRange()]
DTYPES: list[Any] = [
    np.bool_,
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
    np.longdouble,
    ">i2",
    ">u2",
    ">i4",
    ">f4",
    ">f8",
]

NAN, INF = math.nan, math.inf


def grey(values) -> np.ndarray:
    """Return (H, W) uint8 as (H, W, 3)."""
    return np.repeat(np.asarray(values, np.uint8)[..., np.newaxis], 3, axis=2)


def exact(value, low, high) -> int:
    """Scale one finite value with fractions; halves round up."""
    clipped = min(max(Fraction(value), Fraction(low)), Fraction(high))
    return math.floor(255 * (clipped - Fraction(low)) / (Fraction(high) - Fraction(low)) + Fraction(1, 2))


def assert_is_rgb(rgb, shape_hw):
    assert rgb.dtype == np.uint8
    assert rgb.shape == (*shape_hw, 3)
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable
    assert rgb.flags.owndata


# Window and level


def test_a_window_maps_its_ends_to_0_and_255_and_clips_beyond():
    rgb = rgb_from_slice(np.array([[-1000, -160, 40, 240, 3000]], np.int16), Window(width=400, level=40))
    np.testing.assert_array_equal(rgb, grey([[0, 0, 128, 255, 255]]))


def test_a_window_of_8_bit_leaves_8_bit_values_as_they_are():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(rgb_from_slice(values, Window.of_range(0, 255)), grey(values))


@PATIENT
@given(
    hnp.arrays(np.int16, (4, 5)),
    st.integers(-40000, 40000),
    st.integers(1, 70000),
)
def test_whole_numbers_in_a_window_are_scaled_exactly(values, low, width):
    rgb = rgb_from_slice(values, Window.of_range(low, low + width))
    np.testing.assert_array_equal(
        rgb, grey([[exact(int(v), low, low + width) for v in row] for row in values])
    )


@PATIENT
@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
)
def test_floats_in_a_window_are_scaled_to_within_one_level(values, level, width):
    window = Window(width=width, level=level)
    low, high = window.limits(values)
    expected = np.array([[exact(v, low, high) for v in row] for row in values.tolist()])
    assert np.abs(rgb_from_slice(values, window)[..., 0].astype(int) - expected).max() <= 1


@PATIENT
@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9))
def test_a_window_of_a_range_has_its_limits(low, width):
    found = Window.of_range(low, low + width).limits(np.zeros(1))
    assert found == pytest.approx((low, low + width), rel=1e-12, abs=1e-6)


@pytest.mark.parametrize("width", [0, -1, NAN, INF, -INF])
def test_a_window_needs_a_width(width):
    with pytest.raises(ImageError, match="width of more than 0"):
        Window(width=width, level=0)


@pytest.mark.parametrize("level", [NAN, INF, -INF])
def test_a_window_needs_a_level(level):
    with pytest.raises(ImageError, match="finite level"):
        Window(width=1, level=level)


@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3), (NAN, 1), (0, INF)])
def test_a_range_must_be_one(low, high):
    with pytest.raises(ImageError):
        Window.of_range(low, high)


def test_width_and_level_cannot_be_mixed_up():
    positional: Any = Window
    with pytest.raises(TypeError):
        positional(400, 40)


def test_a_window_too_narrow_for_its_level_becomes_a_step():
    values = np.array([[1e9 - 1, 1e9, 1e9 + 1]])
    rgb = rgb_from_slice(values, Window(width=1e-9, level=1e9))
    np.testing.assert_array_equal(rgb, grey([[0, 0, 255]]))


# Full range and percentiles


def test_the_full_range_goes_from_the_smallest_to_the_largest_value():
    rgb = rgb_from_slice(np.array([[-100, 0, 155]], np.int16), FullRange())
    np.testing.assert_array_equal(rgb, grey([[0, 100, 255]]))


def test_the_full_range_is_the_default():
    values = np.random.default_rng(0).normal(size=(6, 7))
    np.testing.assert_array_equal(rgb_from_slice(values), rgb_from_slice(values, FullRange()))


@PATIENT
@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)),
    st.floats(0, 49),
    st.floats(51, 100),
)
def test_percentiles_are_values_that_leave_no_more_than_their_share_outside(values, low, high):
    found_low, found_high = Percentiles(low, high).limits(values)
    assert found_low in values
    assert found_high in values
    if values.min() < values.max():
        assert found_low < found_high
    assert np.mean(values < found_low) <= low / 100 + 1e-9
    assert np.mean(values > found_high) <= 1 - high / 100 + 1e-9


@PATIENT
@given(hnp.arrays(np.int16, st.integers(1, 60)))
def test_percentiles_agree_with_a_sorted_list(values):
    low, high = Percentiles(5, 80).limits(values)
    ordered = sorted(values.tolist())
    expected = ordered[math.floor((len(ordered) - 1) * 0.05)], ordered[math.ceil((len(ordered) - 1) * 0.8)]
    assert (low, high) == (expected if expected[0] < expected[1] else (ordered[0], ordered[-1]))


def test_percentiles_ignore_a_few_extreme_values():
    values = np.linspace(0, 100, 1000).reshape(20, 50)
    values[0, 0], values[-1, -1] = -1e6, 1e6
    low, high = Percentiles().limits(values)
    assert 0 <= low < 2
    assert 98 < high <= 100


def test_a_small_object_on_a_constant_background_stays_visible():
    values = np.zeros((100, 100), np.int16)
    values[50, 50:53] = 700
    rgb = rgb_from_slice(values, Percentiles())
    np.testing.assert_array_equal(rgb, grey(np.where(values, 255, 0)))


def test_all_percentiles_are_the_full_range():
    values = np.random.default_rng(1).normal(size=(9, 9))
    assert Percentiles(0, 100).limits(values) == FullRange().limits(values)


@pytest.mark.parametrize(("low", "high"), [(-1, 50), (50, 101), (60, 40), (50, 50), (NAN, 50), (50, NAN)])
def test_percentiles_must_be_in_order(low, high):
    with pytest.raises(ImageError, match="0 <= low < high <= 100"):
        Percentiles(low, high)


@pytest.mark.parametrize("rule", [Percentiles(), FullRange()])
def test_limits_of_a_whole_volume_can_serve_all_its_slices(rule):
    volume = np.random.default_rng(2).integers(-500, 900, (3, 4, 5)).astype(np.int16)
    window = Window.of_range(*rule.limits(volume))
    assert window.limits(volume[0]) == rule.limits(volume)


# Constant slices, NaN and infinity


@pytest.mark.parametrize("rule", [Percentiles(), FullRange()])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 1, 7])
def test_a_constant_slice_is_black(rule, dtype, value):
    rgb = rgb_from_slice(np.full((4, 5), value).astype(dtype), rule)
    np.testing.assert_array_equal(rgb, grey(np.zeros((4, 5))))


def test_a_constant_slice_has_its_place_in_a_window():
    np.testing.assert_array_equal(
        rgb_from_slice(np.full((2, 2), 40), Window.of_range(0, 100)), grey([[102] * 2] * 2)
    )


@pytest.mark.parametrize("rule", [Percentiles(), FullRange(), Window.of_range(-10, 30)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_nan_and_minus_infinity_are_the_low_end_and_infinity_the_high_end(rule, dtype):
    values = np.array([[NAN, -10, 30], [INF, -INF, 10]], dtype)
    np.testing.assert_array_equal(rgb_from_slice(values, rule), grey([[0, 0, 255], [255, 0, 128]]))


@pytest.mark.parametrize("rule", [Percentiles(20, 80), FullRange()])
def test_nan_and_infinity_do_not_influence_the_limits(rule):
    values = np.random.default_rng(3).normal(size=400)
    mixed = np.concatenate([values, np.full(300, NAN), np.full(200, INF), np.full(100, -INF)])
    assert rule.limits(np.random.default_rng(4).permutation(mixed)) == rule.limits(values)


@pytest.mark.parametrize("rule", [Percentiles(), FullRange()])
def test_slices_without_a_finite_value_have_a_defined_result(rule):
    np.testing.assert_array_equal(rgb_from_slice(np.full((2, 2), NAN), rule), grey(np.zeros((2, 2))))
    rgb = rgb_from_slice(np.array([[NAN, INF], [-INF, INF]]), rule)
    np.testing.assert_array_equal(rgb, grey([[0, 255], [0, 255]]))


@pytest.mark.parametrize("rule", [Percentiles(), FullRange()])
def test_a_constant_with_nan_and_infinity_is_black_but_for_infinity(rule):
    rgb = rgb_from_slice(np.array([[5, NAN], [INF, -INF]]), rule)
    np.testing.assert_array_equal(rgb, grey([[0, 0], [255, 0]]))


# Any dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [FullRange(), Percentiles(0, 100), Window.of_range(0, 1)])
def test_every_dtype_works(dtype, rule):
    values = np.array([[0, 1, 1], [1, 0, 0]]).astype(dtype)
    rgb = rgb_from_slice(values, rule)
    assert_is_rgb(rgb, (2, 3))
    np.testing.assert_array_equal(rgb, grey([[0, 255, 255], [255, 0, 0]]))


@pytest.mark.parametrize("dtype", [d for d in DTYPES if np.dtype(d).kind in "iu"])
def test_the_extremes_of_an_integer_dtype_do_not_overflow(dtype):
    info = np.iinfo(dtype)
    values = np.array([[info.min, info.max, info.min // 2 + info.max // 2]], dtype)
    rgb = rgb_from_slice(values)
    assert rgb[0, :2, 0].tolist() == [0, 255]
    assert rgb[0, 2, 0] in (126, 127, 128)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rule", [FullRange(), Percentiles()])
def test_the_extremes_of_a_float_dtype_do_not_overflow(dtype, rule):
    info = np.finfo(dtype)
    np.testing.assert_array_equal(
        rgb_from_slice(np.array([[info.min, 0, info.max]], dtype), rule), grey([[0, 128, 255]])
    )
    tiny = np.array([[0, info.smallest_subnormal, 2 * info.smallest_subnormal]], dtype)
    np.testing.assert_array_equal(rgb_from_slice(tiny, rule), grey([[0, 128, 255]]))


@PATIENT
@given(
    st.sampled_from([d for d in DTYPES if d != np.longdouble]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6))
    ),
    st.sampled_from(RULES),
)
def test_any_slice_gives_an_image_in_the_order_of_its_values(values, rule):
    rgb = rgb_from_slice(values, rule)
    assert_is_rgb(rgb, values.shape)
    assert (rgb == rgb[..., :1]).all()
    flat, shown = values.ravel(), rgb[..., 0].ravel()
    is_number = flat == flat
    order = np.argsort(flat[is_number], kind="stable")
    assert (np.diff(shown[is_number][order].astype(int)) >= 0).all()
    assert (shown[~is_number] == 0).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_memory_layout_does_not_matter(rule):
    volume = np.random.default_rng(5).integers(0, 200, (6, 7, 8)).astype(np.int16)
    for view in (volume[:, :, 3], volume[::-1, 2, ::2], np.asfortranarray(volume[1]), volume[1].T):
        np.testing.assert_array_equal(rgb_from_slice(view, rule), rgb_from_slice(view.copy(), rule))


@pytest.mark.parametrize("shape", [(1, 1), (1, 200_000), (200_000, 1), (300, 331)])
def test_slices_of_several_blocks_are_seamless(shape):
    values = (np.arange(math.prod(shape)) % 256).reshape(shape)
    np.testing.assert_array_equal(rgb_from_slice(values, Window.of_range(0, 255)), grey(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (5, 6, 4)])
def test_the_input_stays_as_it_is_and_is_never_shared(dtype, shape):
    values = np.random.default_rng(6).integers(0, 100, shape).astype(dtype)
    before = values.copy()
    rgb = rgb_from_slice(values)
    rgb[:] = 9
    np.testing.assert_array_equal(values, before)


def test_a_large_slice_needs_little_more_memory_than_its_result():
    values = np.zeros((2048, 2048), np.int16)
    tracemalloc.start()
    try:
        rgb_from_slice(values, Window(width=400, level=40))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * values.size + 2_000_000


# Colour


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("channels", [3, 4])
def test_8_bit_colour_is_passed_through_without_alpha(rule, channels):
    colour = np.random.default_rng(7).integers(0, 256, (5, 6, channels)).astype(np.uint8)
    rgb = rgb_from_slice(colour, rule)
    assert_is_rgb(rgb, (5, 6))
    np.testing.assert_array_equal(rgb, colour[..., :3])


def test_other_colour_is_scaled_with_one_pair_of_limits():
    colour = np.array([[[0, 100, 200], [400, 500, 1000]]], np.uint16)
    np.testing.assert_array_equal(rgb_from_slice(colour), [[[0, 26, 51], [102, 128, 255]]])


@PATIENT
@given(hnp.arrays(np.int16, (3, 4, 4), elements=st.integers(-1000, 1000)), st.sampled_from(RULES))
def test_other_colour_is_scaled_channel_by_channel_with_the_limits_of_all_three(colour, rule):
    low, high = rule.limits(colour[..., :3])
    rgb = rgb_from_slice(colour, rule)
    if low == high:
        assert not rgb.any()
        return
    for channel in range(3):
        expected = [[exact(int(v), low, high) for v in row] for row in colour[..., channel]]
        np.testing.assert_array_equal(rgb[..., channel], expected)


def test_alpha_has_no_part_in_the_limits():
    colour = np.array([[[0, 1, 2, 9000], [3, 4, 5, -9000]]], np.int16)
    np.testing.assert_array_equal(rgb_from_slice(colour), [[[0, 51, 102], [153, 204, 255]]])


def test_colour_of_floats_handles_nan():
    colour = np.array([[[0.0, NAN, 1.0], [INF, 0.5, -INF]]], np.float32)
    np.testing.assert_array_equal(rgb_from_slice(colour), [[[0, 0, 255], [255, 128, 0]]])


def test_one_component_is_grey():
    values = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(rgb_from_slice(values[..., np.newaxis]), rgb_from_slice(values))


# What is no slice


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0), (0, 5, 3), (5, 0, 4)])
def test_an_empty_slice_is_refused(shape):
    with pytest.raises(ImageError, match="is empty"):
        rgb_from_slice(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (5,), (5, 5, 2), (5, 5, 5), (5, 5, 0), (2, 5, 5, 3), (1, 1, 1, 1)])
def test_arrays_that_are_no_slice_are_refused(shape):
    with pytest.raises(ImageError, match="take one slice, time point or component"):
        rgb_from_slice(np.zeros(shape))


def test_complex_numbers_are_refused():
    with pytest.raises(ImageError, match=r"np\.abs"):
        rgb_from_slice(np.zeros((2, 2), np.complex64))


@pytest.mark.parametrize("dtype", [object, "U3", "S3", "M8[s]", "m8[s]", [("a", "i4")]])
def test_what_holds_no_numbers_is_refused(dtype):
    with pytest.raises(ImageError, match="booleans, integers or floats"):
        rgb_from_slice(np.zeros((2, 2), dtype))


@pytest.mark.parametrize("limits", [(3.0, 1.0), (NAN, 1.0), (0.0, INF)])
def test_a_rule_with_limits_out_of_order_is_refused(limits):
    class Odd:
        def limits(self, values):
            return limits

    with pytest.raises(ImageError, match="finite and in order"):
        rgb_from_slice(np.zeros((2, 2)), Odd())


def test_an_image_error_is_a_value_error():
    assert issubclass(ImageError, ValueError)
