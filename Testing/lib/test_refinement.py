"""A coarse mask is fitted to the grey values of its picture."""

from __future__ import annotations

import numpy as np
import pytest

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.outlines import refinement
from SAMMed2DLib.inference.outlines.refinement import refine_logits

ROW, COLUMN = np.mgrid[:90, :120]


def a_disc(radius: float) -> np.ndarray:
    return np.hypot(ROW - 45, COLUMN - 60) < radius


def coarse_logits(radius: float = 25.3) -> np.ndarray:
    """A round answer that falls off slowly, as of a model that sees little."""
    return ((radius - np.hypot(ROW - 45, COLUMN - 60)) / 3).astype(np.float32)


def picture_of(mask: np.ndarray, inside: tuple[int, ...], outside: tuple[int, ...], noise: float = 12) -> np.ndarray:
    rng = np.random.default_rng(0)
    flat = np.where(mask[..., None], inside, outside) + rng.normal(0, noise, (*mask.shape, len(inside)))
    return np.broadcast_to(np.clip(flat, 0, 255), (*mask.shape, 3)).astype(np.uint8)


def a_square(half: int = 24) -> np.ndarray:
    return (abs(ROW - 45) < half) & (abs(COLUMN - 60) < half)


@pytest.mark.parametrize(("inside", "outside"), [((160,), (80,)), ((40,), (120,)), ((180, 60, 90), (120, 110, 90))])
def test_the_corners_of_a_square_come_back(inside: tuple[int, ...], outside: tuple[int, ...]):
    square, logits = a_square(), coarse_logits()
    before = dice(logits > 0, square)
    assert before < 0.93
    assert dice(refine_logits(logits, picture_of(square, inside, outside)) > 0, square) > before + 0.03


def test_in_a_flat_picture_the_model_decides():
    flat = np.full((90, 120, 3), 77, np.uint8)
    np.testing.assert_array_equal(refine_logits(coarse_logits(), flat) > 0, coarse_logits() > 0)


def test_where_the_model_is_sure_grey_values_do_not_matter():
    """A dark hole in the middle, and a bright thing far away."""
    picture = picture_of(a_square() & ~a_disc(5) | (COLUMN < 8), (160,), (80,))
    fitted = refine_logits(coarse_logits(), picture) > 0
    assert fitted[45, 60]
    assert not fitted[:, :8].any()


def test_flecks_beside_the_object_are_left_out():
    """The model hesitates all around, and a bright thing lies beside what it found."""
    logits = np.maximum(coarse_logits(), -2)
    beside = (abs(ROW - 45) < 5) & (abs(COLUMN - 105) < 6)
    fitted = refine_logits(logits, picture_of(a_square() | beside, (160,), (80,))) > 0
    assert not fitted[beside].any()
    assert dice(fitted, a_square()) > 0.95


def test_where_grey_values_leave_nothing_of_the_object_the_model_decides(monkeypatch: pytest.MonkeyPatch):
    logits = np.minimum(coarse_logits(), 2)
    monkeypatch.setattr(refinement, "_odds", lambda picture, *_: np.full(picture.shape[:2], -5.0))
    np.testing.assert_array_equal(refine_logits(logits, picture_of(a_square(), (160,), (80,))) > 0, logits > 0)


@pytest.mark.parametrize("value", [-3.0, 3.0])
def test_nothing_and_all_stay_what_they_are(value: float):
    logits = np.full((90, 120), value, np.float32)
    np.testing.assert_array_equal(refine_logits(logits, picture_of(a_square(), (160,), (80,))) > 0, logits > 0)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (3, 2)])
def test_the_smallest_crops_are_answered(size_hw: tuple[int, int]):
    logits = np.linspace(-5, 5, size_hw[0] * size_hw[1], dtype=np.float32).reshape(size_hw)
    assert refine_logits(logits, np.zeros((*size_hw, 3), np.uint8)).shape == size_hw


def test_extreme_logits_give_no_warning(recwarn: pytest.WarningsRecorder):
    refine_logits(1e4 * coarse_logits(), picture_of(a_square(), (160,), (80,)))
    assert not recwarn.list
