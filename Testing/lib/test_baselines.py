"""Baselines without a network, and the model's gain over them in the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from test_evaluation import _RowsOfClicks, rectangle, two_masks  # noqa: F401 (a fixture)

from SAMMed2DLib.evaluation import EvaluationOptions, ObjectResult, evaluate
from SAMMed2DLib.evaluation.baselines import (
    baseline_masks,
    ellipse,
    ellipse_logits,
    filled_box,
    fitted_disc,
    fitted_ellipse,
)
from SAMMed2DLib.evaluation.evaluation_run import EvaluationRun
from SAMMed2DLib.evaluation.report.baseline_comparison import Comparison
from SAMMed2DLib.evaluation.report.evaluation_report import write_report
from SAMMed2DLib.imaging.metrics import dice

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from peer_litemedsam import LiteMedSam, ZoomedLiteMedSam

BOX = np.array([20.0, 30, 60, 50])


def an_image(mask: np.ndarray) -> np.ndarray:
    """An object brighter than what surrounds it, (H, W, 3) uint8, with noise."""
    noise = np.random.default_rng(0).normal(0, 8, mask.shape)
    return np.repeat(np.clip(90 + 70 * mask + noise, 0, 255).astype(np.uint8)[..., None], 3, 2)


class _Sees(LiteMedSam):
    """Draws the upper half of the box, and notes what it was shown; no package, no weights."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def embed(self, image):
        self.shown.append(image.shape[:2])
        return image.shape[:2]

    def logits(self, embedding, box_xyxy):
        logits = np.full(embedding, -8, np.float32)
        x0, y0, x1, y1 = box_xyxy.astype(int)
        logits[y0 : (y0 + y1) // 2, x0:x1] = 8
        return logits


def test_a_peer_in_our_zoom_draws_in_the_crop_of_its_box():
    mask = np.zeros((300, 400), bool)
    mask[100:120, 200:240] = True
    image, network = an_image(mask), _Sees()
    zoomed = ZoomedLiteMedSam(network)
    found = zoomed.segment(zoomed.embed(image), np.array([200.0, 100, 240, 140]))
    whole = network.segment(network.embed(image), np.array([200.0, 100, 240, 140]))
    assert network.shown == [(67, 67), (300, 400)]  # 40 px are 60 % of a crop's side
    assert dice(found, mask) > 0.95 and dice(whole, mask) == 1


def a_triangle() -> np.ndarray:
    """Within `BOX`, which it touches on all sides."""
    mask = np.zeros((80, 100), bool)
    for row in range(30, 50):
        mask[row, 20 : 20 + 2 * (row - 29)] = True
    return mask


def test_boxes_are_filled_whole_and_cut_at_the_images_border():
    image = np.zeros((80, 100, 3), np.uint8)
    mask = filled_box(image, BOX)
    assert mask.sum() == 40 * 20 and mask[30:50, 20:60].all()
    assert filled_box(image, np.array([-3.4, 70.6, 8.4, 90])).sum() == 8 * 9


def test_the_ellipse_touches_its_box_and_has_its_area():
    mask = ellipse(np.zeros((80, 100, 3), np.uint8), BOX)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == tuple(BOX)
    assert mask.sum() == pytest.approx(np.pi * 20 * 10, rel=0.01)
    assert ellipse_logits(BOX, (80, 100))[40, 40] == pytest.approx(8, abs=0.5)


def test_the_fit_gives_the_ellipse_the_outline_of_the_object():
    truth = a_triangle()
    image = an_image(truth)
    plain, fitted = ellipse(image, BOX), fitted_ellipse(image, BOX)
    assert dice(fitted, truth) > dice(plain, truth) + 0.05
    assert not fitted[:, 90:].any() and fitted.shape == truth.shape


def test_a_disc_around_the_click_takes_six_hundredths_of_a_plain_image():
    plain = np.full((100, 200, 3), 70, np.uint8)
    mask = fitted_disc(plain, np.array([90.0, 40.0]))
    assert mask.sum() == pytest.approx(0.06 * mask.size, rel=0.02) and mask[40, 90]
    truth = np.hypot(*np.mgrid[-40:60, -90:110]) < 14
    assert dice(fitted_disc(an_image(truth), np.array([90.0, 40.0])), truth) > dice(mask, truth) + 0.1


def test_each_kind_of_prompt_has_its_baselines_and_the_filled_box_is_not_counted_twice(rectangle):  # noqa: F811
    options = EvaluationOptions(box_jitters=(0.1,), clicks=(1, 2), tolerance_px=2.0, baselines=True)
    (result,) = evaluate(_RowsOfClicks(), [rectangle], options=options)
    assert list(result.dice) != [] and set(result.dice) == set(options.kinds())
    others = [kind for kind in options.kinds() if kind.startswith(("filled", "ellipse", "disc"))]
    assert others == [
        "filled box",
        "filled box ±10 %",
        "ellipse box",
        "ellipse box ±10 %",
        "ellipse + fit box",
        "ellipse + fit box ±10 %",
        "disc + fit 1 click",
    ]
    assert result.dice["filled box"] == 1 > result.dice["ellipse box"] > 0.8
    plain = EvaluationOptions(box_jitters=(0.1,), clicks=(1, 2), tolerance_px=2.0)
    (alone,) = evaluate(_RowsOfClicks(), [rectangle], options=plain)
    assert alone.dice == {kind: result.dice[kind] for kind in plain.kinds()}
    assert dict(baseline_masks(rectangle.image, {}, np.array([5.0, 5]))).keys() == {"disc + fit 1 click"}


def a_result(dataset: str, box: float, filled: float, fit: float, click: float, disc: float) -> ObjectResult:
    kinds = {"filled box": filled, "box": box, "ellipse box": 0.5, "ellipse + fit box": fit}
    return ObjectResult(dataset, f"{box}", 0, 10, {**kinds, "disc + fit 1 click": disc, "1 click": click})


RESULTS = [
    a_result("a", 0.9, 0.7, 0.8, 0.6, 0.5),
    a_result("a", 0.7, 0.5, 0.6, 0.4, 0.5),
    a_result("b", 0.6, 0.7, 0.7, 0.2, 0.6),
]


def test_gains_are_means_over_data_sets_and_sets_under_their_box_are_named():
    found = Comparison(RESULTS, EvaluationOptions(clicks=(1,), baselines=True))
    gains = found.gains()
    assert gains["ellipse + fit"]["box"] == pytest.approx((0.8 + 0.6) / 2 - (0.7 + 0.7) / 2)
    assert gains["disc + fit"] == {"1 click": pytest.approx((0.5 + 0.2) / 2 - (0.5 + 0.6) / 2)}
    assert found.under_filled_box() == ["b"] and found.summary()["under_filled_box"] == ["b"]
    text = "\n".join(found.parts())
    assert "**Under the filled box**, by the mean Dice of the exact box, in 1 of 2 data sets: b." in text
    assert "| **gain over ellipse + fit** | +0.000 |  |" in text
    assert "| b, **under the filled box** | 0.700 | 0.700 | 0.600 | -0.100 | 0.600 | 0.200 | -0.400 |" in text
    rows = [row for row in found.gain_rows() if row[:2] == ["data set", "a"]]
    assert rows[0] == ["data set", "a", "2", "gain over ellipse + fit, box", "0.1000", "", ""]


def test_the_report_begins_with_the_comparison(tmp_path, monkeypatch):
    from SAMMed2DLib.evaluation.evaluation_run import Source

    monkeypatch.setattr("SAMMed2DLib.evaluation.evaluation_run.measure_speeds", lambda *args: [])
    options = EvaluationOptions(clicks=(1, 3), box_jitters=(0.1,), tolerance_px=2.0, baselines=True)
    run, source = EvaluationRun(tmp_path, options, {}), Source.of_image(two_masks())
    run.go(_RowsOfClicks(), [source])
    text = write_report(run, _RowsOfClicks(), [source], finished=False).read_text(encoding="utf-8")
    assert text.index("## Beside what needs no network") < text.index("## All prompts")
    for row in ("filled box", "ellipse", "ellipse + fit", "disc at the click + fit", "**gain over ellipse + fit**"):
        assert f"\n| {row} | " in text
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["comparison"]
    assert set(summary["means_over_data_sets"]["ellipse"]) == {"box", "box ±10 %", "NSD, box"}
    assert "gain over disc + fit, 1 click" in (tmp_path / "summary.csv").read_text(encoding="utf-8")
