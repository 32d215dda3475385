"""The command that calibrates scores finds what its answers hold, and changes nothing else in a weights file."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_network import save_tiny

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.scoring.calibration import ScoreCalibration

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from calibrate_scores import (
    COLUMNS,
    Answer,
    decile_differences,
    fit,
    rank_correlation,
    read_answers,
    scores_of,
    tables,
    write,
)

TRUE = ScoreCalibration(-0.5, {"predicted_iou": 0.4, "stability": 0.8}, 0.8, 0.6)


def answers(datasets: list[str], offset: float = 0.0, count: int = 150) -> list[Answer]:
    """Masks whose IoU follows their evidence, and in these data sets is better than that by an offset."""
    rng, found = np.random.default_rng(len(datasets)), []
    for n in range(count):
        evidence = {"predicted_iou": rng.normal(1, 1), "stability": rng.normal(1, 1), "first_click": float(n % 3 == 0)}
        odds = np.log(TRUE.expected_iou(evidence) / (1 - TRUE.expected_iou(evidence))) + offset
        iou = float(np.clip(1 / (1 + np.exp(-odds)) + rng.normal(0, 0.05), 0, 1))
        prompt = "1 click" if n % 3 == 0 else "box"
        found.append(Answer(datasets[n % len(datasets)], str(n), prompt, iou, 2 * iou / (1 + iou), evidence))
    return found


def test_a_fit_finds_the_evidence_and_how_much_training_sets_flatter():
    training, validation = answers(["a", "b", "c"], offset=0.3), answers(["d", "e"])
    found = fit(training, validation)
    assert found.intercept == pytest.approx(TRUE.intercept, abs=0.15)
    assert found.weights["stability"] == pytest.approx(0.8, abs=0.1)
    truth = np.array([answer.iou for answer in validation])
    assert max(decile_differences(scores_of(found, validation), truth)) < 0.05
    assert 0.5 < found.fair_from < found.good_from < 1
    assert "| good |" in "\n".join(tables(found, validation))


def test_a_table_of_answers_is_of_one_networks_weights(tmp_path):
    table = tmp_path / "answers.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for answer in answers(["a"], count=3):
            facts = {name: getattr(answer, name) for name in ("dataset", "object", "prompt", "iou", "dice")}
            writer.writerow({"weights": "ab12", **facts, **answer.evidence})
    assert read_answers(table, "ab12") == answers(["a"], count=3)
    with pytest.raises(SystemExit, match="answers of other weights"):
        read_answers(table, "cd34")


def test_ranks_share_ties():
    assert rank_correlation(np.array([1, 2, 2, 9]), np.array([0.1, 0.2, 0.2, 5])) == pytest.approx(1)
    assert rank_correlation(np.arange(5), -(np.arange(5) ** 3)) == pytest.approx(-1)


def test_the_calibration_goes_into_the_weights_file_and_all_else_stays(tmp_path):
    file = save_tiny(tmp_path / "tiny.pt", prefers_zoom=True)
    before = read_checkpoint(file)
    weights = {name: value.clone() for name, value in before.state.items()}
    write(file, TRUE, ["a"])
    after = read_checkpoint(file)
    assert after.config == before.config and after.provenance["prefers_zoom"] is True
    assert after.provenance["weights_sha256"] == before.provenance["weights_sha256"]
    assert all((after.state[name] == value).all() for name, value in weights.items())
    assert load_predictor(file, device="cpu").score_calibration == TRUE
