"""Fit the calibration of a network's scores, and write it into its weights file.

    python Testing/training/calibrate_scores.py --data DATA --weights FILE.pt --answers ANSWERS.csv --write

Objects of the training sets are asked for by an exact box, a box ±10 % and some clicks, as a user asks the product.
What can be seen of each mask is joined by a few weights to its expected IoU. Which evidence, how strongly weights are
kept small, and by how much training sets flatter is chosen on the validation sets. Sets in ANSWERS are not asked again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from compare_methods import Case, cases_of
from prepare_data import SPLIT

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, weights_sha256
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.evaluation.protocols.simulated_user_protocol import click_by_click
from SAMMed2DLib.imaging.metrics import dice, iou
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.scoring.calibration import EVIDENCE, GRADES, USABLE_DICE, ScoreCalibration
from SAMMed2DLib.inference.session import Session

CLICKS = 4
VALIDATION_TIMES = 3  # as many objects of a validation set as of a training set
# What is tried: which evidence, how small its weights are kept, and what is taken off the log odds of training sets.
SUBSETS = (EVIDENCE[:1], EVIDENCE[:2], EVIDENCE)
RIDGES = (0.001, 0.003, 0.01, 0.03)
OFFSETS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
SLACK = 1.02  # calibrations whose error is so little above the least are as good: their deciles decide
# A good score's masks are usable so often, a fair one's so often.
GOOD_SHARE, FAIR_SHARE = 0.85, 0.5
COLUMNS = ("weights", "dataset", "object", "prompt", "iou", "dice", *EVIDENCE)


@dataclass(frozen=True)
class Answer:
    """A mask that the product gave: of what, how good it is, and what can be seen of it."""

    dataset: str
    object: str
    prompt: str
    iou: float
    dice: float
    evidence: Mapping[str, float]


@dataclass(frozen=True)
class Recorder(ScoreCalibration):
    """Keeps the evidence that a session gathers of its last mask."""

    seen: list[Mapping[str, float]] = field(default_factory=list)

    def expected_iou(self, evidence: Mapping[str, float]) -> float:
        """Any score; what counts is kept."""
        self.seen[:] = [evidence]
        return 0.0


def main() -> None:
    """Ask, fit, say what came of it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, nargs="+", help="folders that prepare_data.py wrote")
    parser.add_argument("--weights", type=Path, required=True, help="weights file of the network")
    parser.add_argument("--answers", type=Path, required=True, help="table of what was asked; made, and gone on with")
    parser.add_argument("--most", type=int, default=4, help="objects of a training set; validation gets three times")
    parser.add_argument("--write", action="store_true", help="write the calibration into the weights file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = weights_sha256(read_checkpoint(options.weights).state)
    ask(options.weights, weights, options.data, options.most, options.answers)
    answers = read_answers(options.answers, weights)
    training, validation = (
        [answer for answer in answers if SPLIT[answer.dataset] == part] for part in ("train", "validation")
    )
    calibration = fit(training, validation)
    print(f"{len(training)} answers of training sets, {len(validation)} of validation sets")
    print("\n".join(tables(calibration, validation)))
    if options.write:
        write(options.weights, calibration, sorted({answer.dataset for answer in training}))


def ask(path: Path, weights: str, folders: Sequence[Path], most: int, table: Path) -> None:
    """Append the answers of all sets that are not in the table yet.

    Args:
        path: weights file of the network.
        weights: checksum of its weights.
        folders: with packed data sets.
        most: objects of a training set.
        table: CSV file.
    """
    done = {answer.dataset for answer in read_answers(table, weights)}
    files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.npz"))}
    parts = {"train": most, "validation": VALIDATION_TIMES * most}
    missing = {name: path for name, path in files.items() if name not in done and SPLIT.get(name) in parts}
    if not missing:
        return
    predictor = load_predictor(path, device="cpu")
    recorder = Recorder(0.0, {}, 1.0, 0.0)
    predictor.score_calibration = recorder
    is_new = not table.is_file()
    with table.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        for name, images in missing.items():
            cases = cases_of(images, parts[SPLIT[name]])
            rows = [row for case in cases for row in rows_of(Session(predictor), case, recorder)]
            writer.writerows({"weights": weights, **row} for row in rows)
            file.flush()
            print(f"{name}: {len(rows)} answers", flush=True)


def rows_of(session: Session, case: Case, recorder: Recorder) -> Iterator[dict[str, object]]:
    """Ask for one object in all ways; a mask that is empty gives no evidence, and no row."""
    truth = case.target.mask
    known = {"dataset": case.target.entry.dataset, "object": case.target.entry.mask}

    def found(prompts: Prompts) -> np.ndarray:
        recorder.seen.clear()
        return session.answer(case.image, prompts).mask

    def row(prompt: str, mask: np.ndarray) -> Iterator[dict[str, object]]:
        for evidence in recorder.seen:
            yield {**known, "prompt": prompt, "iou": iou(mask, truth), "dice": dice(mask, truth), **evidence}

    yield from row("box", found(Prompts.of(box=case.box)))
    yield from row("box ±10 %", found(Prompts.of(box=case.moved)))
    for count, mask, _ in click_by_click(found, truth, CLICKS):
        yield from row("1 click" if count == 1 else f"{count} clicks", mask)


def read_answers(table: Path, weights: str) -> list[Answer]:
    """What the table holds; nothing where there is none. The answers of other weights are refused."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
        if any(row["weights"] != weights for row in rows):
            raise SystemExit(f"{table} holds answers of other weights; name another file")
        return [
            Answer(
                row["dataset"],
                row["object"],
                row["prompt"],
                float(row["iou"]),
                float(row["dice"]),
                {name: float(row[name]) for name in EVIDENCE},
            )
            for row in rows
        ]


@dataclass(frozen=True)
class Trial:
    """A calibration of training sets, and how far its scores are from the IoU on validation sets.

    Attributes:
        fitted: as it is right on training sets.
        calibration: with `offset` taken off its log odds.
        error: root of the mean squared difference from the IoU, each data set weighing the same.
        difference: mean difference of the deciles.
    """

    fitted: ScoreCalibration
    calibration: ScoreCalibration
    ridge: float
    offset: float
    error: float
    difference: float

    @classmethod
    def of(cls, fitted: ScoreCalibration, ridge: float, offset: float, validation: Sequence[Answer]) -> Trial:
        """Try an offset."""
        calibration = replace(fitted, intercept=round(fitted.intercept - offset, 4))
        truth, score = np.array([answer.iou for answer in validation]), scores_of(calibration, validation)
        error = float(np.sqrt(set_weights(validation) @ (score - truth) ** 2))
        return cls(fitted, calibration, ridge, offset, error, float(np.mean(decile_differences(score, truth))))


def fit(training: Sequence[Answer], validation: Sequence[Answer]) -> ScoreCalibration:
    """Of the calibrations that training sets give, choose one on validation sets."""
    trials = [
        Trial.of(regression(training, names, ridge), ridge, offset, validation)
        for names, ridge, offset in product(SUBSETS, RIDGES, OFFSETS)
    ]
    least = min(trial.error for trial in trials)
    best = min((trial for trial in trials if trial.error <= SLACK * least), key=lambda trial: trial.difference)
    print(f"chosen: ridge {best.ridge}, {best.offset} off the log odds, {best.calibration}")
    print(f"validation: error {best.error:.3f} (least {least:.3f}), mean difference by decile {best.difference:.3f}")
    # What a score means is asked where scores are right on average: of training sets, before anything is taken off.
    good_from, fair_from = (score_of_share(best.fitted, training, share) for share in (GOOD_SHARE, FAIR_SHARE))
    return replace(best.calibration, good_from=good_from, fair_from=fair_from)


def regression(answers: Sequence[Answer], names: Sequence[str], ridge: float) -> ScoreCalibration:
    """Logistic regression of the IoU on the evidence; each data set weighs the same."""
    evidence = np.array([[answer.evidence[name] for name in names] for answer in answers])
    middle, spread = evidence.mean(axis=0), np.maximum(evidence.std(axis=0), 1e-3)
    weights = logistic((evidence - middle) / spread, np.array([answer.iou for answer in answers]), answers, ridge)
    slopes = weights[1:] / spread
    named = {name: round(float(slope), 4) for name, slope in zip(names, slopes, strict=True)}
    return ScoreCalibration(round(float(weights[0] - middle @ slopes), 4), named, 1.0, 0.0)


def logistic(evidence: np.ndarray, target: np.ndarray, answers: Sequence[Answer], ridge: float) -> np.ndarray:
    """Intercept and weights (1 + E,) of the log odds of targets (N,), 0 .. 1, by Newton's method."""
    inputs = np.hstack([np.ones((len(evidence), 1)), evidence])
    counts = set_weights(answers)
    penalty = ridge * np.diag([0.0, *[1.0] * evidence.shape[1]])
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        expected = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (target - expected)) - penalty @ weights
        curvature = (inputs.T * (counts * expected * (1 - expected))) @ inputs + penalty
        weights = weights + np.linalg.solve(curvature, slope)
    return weights


def set_weights(answers: Sequence[Answer]) -> np.ndarray:
    """(N,) weights that add up to 1, each data set's to the same."""
    names = [answer.dataset for answer in answers]
    sizes = {name: names.count(name) for name in set(names)}
    return np.array([1 / (len(sizes) * sizes[name]) for name in names])


def score_of_share(calibration: ScoreCalibration, answers: Sequence[Answer], share: float) -> float:
    """The score whose masks are usable so often."""
    odds = log_odds(scores_of(calibration, answers))
    usable = np.array([answer.dice >= USABLE_DICE for answer in answers], float)
    intercept, slope = logistic(odds[:, None], usable, answers, 1e-4)  # finite where scores separate perfectly
    return round(float(1 / (1 + np.exp(-(log_odds(np.array(share)) - intercept) / slope))), 3)


def log_odds(share: np.ndarray) -> np.ndarray:
    """Log odds of shares."""
    return np.log(share / (1 - share))


def scores_of(calibration: ScoreCalibration, answers: Sequence[Answer]) -> np.ndarray:
    """(N,) calibrated scores."""
    return np.array([calibration.expected_iou(answer.evidence) for answer in answers])


def tables(calibration: ScoreCalibration, answers: Sequence[Answer]) -> Iterator[str]:
    """What scores say of these answers, before and after."""
    before = 1 / (1 + np.exp(-np.array([answer.evidence["predicted_iou"] for answer in answers])))
    after = scores_of(calibration, answers)
    truth = np.array([answer.iou for answer in answers])
    quality = np.array([answer.dice for answer in answers])
    yield "| | predicted IoU | calibrated |\n|---|---:|---:|"
    for name, kinds in (("boxes", "box"), ("1 click", "1 click"), ("2 to 4 clicks", "clicks"), ("all", "")):
        asked = np.array([kinds in answer.prompt for answer in answers])
        if asked.sum() < 3:
            continue
        found = (f"{rank_correlation(score[asked], quality[asked]):.2f}" for score in (before, after))
        yield f"| rank correlation with Dice, {name} ({asked.sum()}) | {' | '.join(found)} |"
    yield f"| mean difference from the IoU | {np.mean(before - truth):+.3f} | {np.mean(after - truth):+.3f} |"
    worst = (f"{max(decile_differences(score, truth)):.3f}" for score in (before, after))
    yield f"| largest difference by decile | {' | '.join(worst)} |"
    yield "\n| decile of the calibrated score | score | IoU |\n|---|---:|---:|"
    for number, part in enumerate(deciles(after), 1):
        yield f"| {number} | {after[part].mean():.2f} | {truth[part].mean():.2f} |"
    yield f"\n| | score | answers | Dice >= {USABLE_DICE} | mean Dice |\n|---|---|---:|---:|---:|"
    limits = {"good": (calibration.good_from, 1), "fair": (calibration.fair_from, calibration.good_from)}
    for grade in GRADES:
        low, high = limits.get(grade, (0, calibration.fair_from))
        part = np.array([calibration.grade_of(score) == grade for score in after])
        shares = f"{(quality[part] >= USABLE_DICE).mean():.2f} | {quality[part].mean():.2f}" if part.any() else " | "
        yield f"| {grade} | {low:.2f} to {high:.2f} | {part.sum()} | {shares} |"


def deciles(score: np.ndarray) -> list[np.ndarray]:
    """The indices of each tenth, from the lowest score on."""
    return np.array_split(np.argsort(score, kind="stable"), 10)


def decile_differences(score: np.ndarray, truth: np.ndarray) -> list[float]:
    """Between mean score and mean IoU of each tenth."""
    return [abs(float(score[part].mean() - truth[part].mean())) for part in deciles(score)]


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's, ties at their mean rank."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def ranks(values: np.ndarray) -> np.ndarray:
    """(N,) ranks, ties at their mean."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[index]


def write(path: Path, calibration: ScoreCalibration, datasets: Sequence[str]) -> None:
    """Put the calibration into the provenance of a weights file; weights and the rest stay as they are."""
    checkpoint = read_checkpoint(path)
    before = weights_sha256(checkpoint.state)
    record = {**calibration.to_record(), "fitted_on": list(datasets)}
    state = {name: value.clone() for name, value in checkpoint.state.items()}  # the file is mapped, and replaced
    save_inference_checkpoint(path, state, checkpoint.config, {**checkpoint.provenance, "score_calibration": record})
    assert read_checkpoint(path).provenance["weights_sha256"] == before
    print(f"{path}: score_calibration written")


if __name__ == "__main__":
    main()
