"""The built-in model keeps what its card says, on a real CT that it was not trained on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, verify_weights
from SAMMed2DLib.evaluation.protocols.simulated_user_protocol import click_by_click
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.registry.known_models import KNOWN_MODELS, path_of

sys.path.append(str(Path(__file__).resolve().parents[1] / "demo"))

import run_demo

WEIGHTS = path_of(KNOWN_MODELS[BUILT_IN])


def test_the_file_is_small_whole_and_says_where_it_comes_from():
    checkpoint = read_checkpoint(WEIGHTS)
    verify_weights(checkpoint)
    assert WEIGHTS.stat().st_size <= 24 * 2**20
    assert checkpoint.config is not None and checkpoint.config["preprocessing"] == "min-max"
    assert checkpoint.provenance["licence"] == "Apache-2.0"
    assert "ct_chest_slicerio" not in [k for k, v in checkpoint.provenance["data_sets"].items() if v == "train"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def results(predictor: Predictor) -> list[run_demo.Result]:
    """Of every other slice of the demo: one for each structure and plane."""
    return run_demo.segmented(predictor, list(run_demo.chosen(*run_demo.chest()))[::2], run_demo.Times())


def _mean(results: list[run_demo.Result], kind: str) -> float:
    return float(np.mean([result.dice(kind) for result in results]))


def test_a_box_gives_more_than_the_box_itself(results):
    assert _mean(results, "box") > np.mean([result.filled_box for result in results]) + 0.03


def test_clicks_add_up(results):
    one, three, five = (_mean(results, kind) for kind in ("1 click", "3 clicks", "5 clicks"))
    assert one > 0.4 and three > one + 0.1 and five > three


def drawn_ring(outer_px: float, inner_px: float, width_over_height: float) -> tuple[np.ndarray, np.ndarray]:
    """An image (256, 256, 3) uint8 of a ring on an uneven, noisy ground, and its mask."""
    rows, columns = np.mgrid[:256, :256]
    radius = np.hypot((columns - 128) / width_over_height, rows - 120)
    mask = (radius < outer_px) & (radius >= inner_px)
    ground = 100 + 12 * np.sin(columns / 17) * np.cos(rows / 23)
    image = ground + np.random.default_rng(0).normal(0, 12, mask.shape) + 80 * mask
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2), mask


@pytest.mark.parametrize("ring", [(60, 35, 1.0), (70, 20, 1.0), (60, 35, 1.6), (18, 10, 1.0)])
def test_five_clicks_of_a_user_open_the_hole_of_a_ring(predictor, ring):
    image, mask = drawn_ring(*ring)
    session = Session(predictor)
    *_, (count, found, _) = click_by_click(lambda prompts: session.answer(image, prompts).mask, mask, 5)
    assert count == 5 and not found[118:123, 126:131].any()
    assert dice(found, mask) > 0.9
