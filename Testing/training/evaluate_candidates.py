"""How good the best of the candidates is after one click, beside the mask that is shown first, on packed data sets.

    python Testing/training/evaluate_candidates.py --data DATA --model FILE --output RESULTS.csv --sets us_breast_busuc

Clicks are in the middle of each object, as in compare_methods.py, and objects are chosen as there.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from compare_methods import Case, cases_of

from SAMMed2DLib.data.simulated_user import centre_point
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN

COLUMNS = ("dataset", "object", "default", "best", "best within one step", "candidates", "place", "ms")


def main() -> None:
    """Score each object, then print macro means over data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--sets", nargs="+", required=True, help="data sets")
    parser.add_argument("--most", type=int, default=14, help="objects of each set at most (%(default)s)")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of weights (%(default)s)")
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, help="look at crops, or not")
    parser.add_argument("--output", type=Path, required=True, help="table to write, one row for each object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, device="cpu")
    rows = []
    for name in options.sets:
        for case in cases_of(options.data / f"{name}.npz", options.most):
            rows.append((name, case.target.entry.mask, *scored(predictor, case, options.zoom)))
        print(*row_text(name, [row for row in rows if row[0] == name]), flush=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(*row_text("macro mean", [tuple(mean_row(rows, name)) for name in options.sets]))


def scored(predictor: Predictor, case: Case, zoom: bool | None) -> Iterator[float]:
    """The columns of an object: Dice, how many candidates there are, the place of the best one, and what they cost."""
    session, truth = Session(predictor), case.target.mask
    click = Prompts.of(positive=[centre_point(truth)])
    session.answer(case.image, click, zoom=zoom)
    encoded, began = session.encoded, time.process_time()
    found = session.answer(case.image, click, zoom=zoom, candidates=True)
    took_ms = 1000 * (time.process_time() - began)
    assert session.encoded == encoded, "candidates were encoded"
    scores = [dice(candidate.mask, truth) for candidate in found.candidates]
    near = scores[max(found.candidate - 2, 0) : found.candidate + 1]
    yield from (dice(found.mask, truth), max(scores), max(near), len(scores), int(np.argmax(scores)) + 1, took_ms)


def mean_row(rows: list[tuple], name: str) -> Iterator[object]:
    """The row of means of a data set."""
    yield from (name, "")
    yield from np.mean([row[2:] for row in rows if row[0] == name], axis=0)


def row_text(name: str, rows: list[tuple]) -> Iterator[str]:
    """A line of the table."""
    default, best, near, count, _, ms = np.mean([row[2:] for row in rows], axis=0)
    yield f"{name:32} first mask {default:.3f}  best {best:.3f}  best within one step {near:.3f}"
    yield f" candidates {count:.1f}  {ms:.0f} ms"


if __name__ == "__main__":
    main()
