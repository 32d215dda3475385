"""The built-in model keeps what its card says, on a real CT that it was not trained on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, verify_weights
from SAMMed2DLib.inference.predictor import load_predictor
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
def results() -> list[run_demo.Result]:
    predictor = load_predictor(device="cpu", precision="float32")
    return run_demo.segmented(predictor, list(run_demo.chosen(*run_demo.chest())), run_demo.Times())


def _mean(results: list[run_demo.Result], kind: str) -> float:
    return float(np.mean([result.dice(kind) for result in results]))


def test_a_box_gives_more_than_the_box_itself(results):
    assert _mean(results, "box") > np.mean([result.filled_box for result in results]) + 0.03


def test_clicks_add_up(results):
    one, three, five = (_mean(results, kind) for kind in ("1 click", "3 clicks", "5 clicks"))
    assert one > 0.4 and three > one + 0.1 and five > three
