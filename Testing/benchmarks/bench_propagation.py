"""Slices per second of a propagation against encoding alone, by the same model in the same run.

python Testing/benchmarks/bench_propagation.py
OMP_NUM_THREADS=1 python Testing/benchmarks/bench_propagation.py --cpu-time
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.predictor import DEFAULT_MODEL, Predictor, load_predictor
from SAMMed2DLib.session import Session
from SAMMed2DLib.stack import propagate_stack

SLICES, SIDE = 96, 256
ROUNDS = 5


def made_volume(objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Discs that drift and breathe, bright on a noisy ground: pictures (S, H, W, 3) and masks (N, S, H, W)."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    rng = np.random.default_rng(0)
    masks = np.zeros((objects, SLICES, SIDE, SIDE), bool)
    for number in range(objects):
        turn = 2 * np.pi * number / objects
        for n in range(SLICES):
            x = SIDE / 2 + 75 * np.cos(turn) + 4 * np.sin(n / 9)
            y = SIDE / 2 + 75 * np.sin(turn)
            masks[number, n] = (columns - x) ** 2 + (rows - y) ** 2 < (20 + 4 * np.sin(n / 15)) ** 2
    grey = 70 + 90 * masks.any(axis=0) + rng.integers(0, 40, (SLICES, SIDE, SIDE))
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1), masks


def seconds_of(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    work()
    return clock() - start


def encode(predictor: Predictor, pictures: np.ndarray) -> None:
    """What the encoder alone takes."""
    for start in range(0, SLICES, 8):
        predictor.embed(list(pictures[start : start + 8]))


def propagate(predictor: Predictor, pictures: np.ndarray, keyframes: list[dict[int, np.ndarray]]) -> None:
    """All slices of all objects, each slice encoded once."""
    session = Session(predictor)
    found = list(propagate_stack(session, pictures.__getitem__, keyframes, 0, SLICES - 1, zoom=False))
    expected = sum(SLICES - len(one) for one in keyframes)
    if len(found) != expected or session.encoded != SLICES:
        raise SystemExit(f"{len(found)} masks from {session.encoded} encodings: this is no fair comparison")


def main() -> None:
    """Print the share of the encoder's throughput that a propagation keeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--cpu-time", action="store_true", help="for one thread on a computer with other work to do")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    predictor = load_predictor(arguments.model)
    print(f"{predictor.name}, {SLICES} slices of {SIDE} x {SIDE} px, whole slices; median of {ROUNDS} rounds in turns")
    print("| objects | keyframes | encode only, slices/s | propagate, slices/s | ratio |\n|---:|---:|---:|---:|---:|")
    for objects in arguments.objects:
        pictures, masks = made_volume(objects)
        for keys in ([0, SLICES // 2, SLICES - 1], [SLICES // 2]):
            keyframes = [{key: one[key] for key in keys} for one in masks]

            works = (partial(encode, predictor, pictures), partial(propagate, predictor, pictures, keyframes))
            for work in works:
                work()
            times = np.array([[seconds_of(work, clock) for work in works] for _ in range(ROUNDS)])
            encoded, propagated = SLICES / np.median(times, axis=0)
            ratio = np.median(times[:, 0] / times[:, 1])
            print(f"| {objects} | {len(keys)} | {encoded:.1f} | {propagated:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
