"""Time the library's answers to prompts on slices of 512 x 512 px: first click, further click, box; models in turn.

    python Testing/benchmarks/bench_prompts.py --models sam-med2d-tiny FILE.pt --threads 1
    OPENBLAS_NUM_THREADS=1 python Testing/benchmarks/bench_prompts.py --engine torch numpy --threads 1
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.inference.engines.engine import ENGINES, EngineName
from SAMMed2DLib.inference.numpy_engine.threads import set_threads
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN

SIDE = 512


def main() -> None:
    """Print the medians of each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[BUILT_IN], help="names or weights files")
    parser.add_argument("--engine", nargs="+", default=["auto"], choices=ENGINES, help="each computes every model")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and of NumPy (%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="slices, each with another object (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    set_threads(options.threads)
    predictors = {
        f"{name}, {engine}": _loaded(name, engine) for name in options.models for engine in options.engine
    }
    times: dict[str, list[dict[str, float]]] = {name: [] for name in predictors}
    for number in range(options.rounds + 1):
        image, centre_xy, radius = slice_with_disc(np.random.default_rng(number))
        for name, predictor in predictors.items():
            times[name].append(answers_timed(predictor, image, centre_xy, radius))
    kinds = list(next(iter(times.values()))[0])
    print(f"median of {options.rounds}, ms, threads: {options.threads}")
    print("| model | " + " | ".join(kinds) + " |")
    for name, rounds in times.items():  # the first round warms up
        medians = [np.median([each[kind] for each in rounds[1:]]) for kind in kinds]
        print(f"| {name} | " + " | ".join(f"{median:.0f}" for median in medians) + " |")


def _loaded(name: str, engine: EngineName) -> Predictor:
    return load_predictor(Path(name) if Path(name).is_file() else name, device="cpu", engine=engine)


def slice_with_disc(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """A noisy slice, (H, W, 3) uint8, with a disc of 12 to 90 px radius: its centre (x, y) and its radius."""
    radius = float(np.exp(rng.uniform(np.log(12), np.log(90))))
    centre_xy = rng.uniform(radius + 5, SIDE - radius - 5, size=2)
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = np.hypot(x - centre_xy[0], y - centre_xy[1]) < radius
    grey = np.where(disc, 150, 80) + 20 * np.sin(x / 23) * np.cos(y / 31) + rng.normal(0, 12, disc.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2), np.round(centre_xy), radius


def answers_timed(predictor: Predictor, image: np.ndarray, centre_xy: np.ndarray, radius: float) -> dict[str, float]:
    """Milliseconds of each kind of answer."""
    click = Prompts.of(positive=[centre_xy])
    more = Prompts.of(positive=[centre_xy, centre_xy + np.array([0.6 * radius, 0])])
    box = Prompts.of(box=np.concatenate([centre_xy - radius, centre_xy + radius + 1]))
    fresh, ahead = Session(predictor), Session(predictor)
    ahead.encode(image)
    return {
        "first click": _timed(fresh, image, click),
        "further click": _timed(fresh, image, more),
        "first click, slice encoded ahead": _timed(ahead, image, click),
        "box": _timed(Session(predictor), image, box),
    }


def _timed(session: Session, image: np.ndarray, prompts: Prompts) -> float:
    began = time.perf_counter()
    session.answer(image, prompts)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
