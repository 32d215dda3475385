"""Train by our recipe and as published, from the same weights, on the same number of images, and compare.

    python Testing/training/prepare_data.py --images IMAGES --output DATA
    python Testing/training/compare_recipes.py --data DATA --output runs/recipes

Trained on the data sets that `prepare_data.SPLIT` calls "train", scored on images of those that it calls "validation",
once on the whole image and once with local zoom. A run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from prepare_data import SPLIT

from SAMMed2DLib.data.dataset import LabelledImage, read_cache
from SAMMed2DLib.evaluation import evaluate, macro_mean, mean_by_dataset, single_objects
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.training import (
    Intervals,
    LabelMaps,
    Progress,
    StartingPoint,
    TrainingConfig,
    fresh_start,
    known_start,
    train,
)
from SAMMed2DLib.training.validation import SCORED

# What differs from one row to the next. The published recipe trains what "adapters" trains.
RECIPES: dict[str, dict[str, Any]] = {
    "ours, all weights": {"trained": "all", "learning_rate": 2e-4},
    "ours, what the published recipe trains": {"trained": "adapters", "learning_rate": 2e-4},
    "ours, all weights, not for zoom": {"trained": "all", "learning_rate": 2e-4, "focus_step": 1 << 40},
    "as published": {"as_published": True, "learning_rate": 1e-4, "ema_decay": 0.0},
}
PASSES_AS_PUBLISHED = 9


def main() -> None:
    """Train all recipes, score them, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--from", dest="start", default=BUILT_IN, help="weights to begin with, or none")
    parser.add_argument("--batches", type=int, default=120, help="of 4 images with 5 masks each")
    parser.add_argument("--images-per-set", type=int, default=60, help="scored, of each validation set")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = fresh_start("small") if arguments.start == "none" else known_start(arguments.start)
    learned = LabelMaps(list(_images(arguments.data, "train", None)))
    scored = list(_images(arguments.data, "validation", arguments.images_per_set))
    rows = []
    if start.state:
        rows.append(["before", "0", *_scores(arguments.start, "rgb", scored)])
    for name, changes in RECIPES.items():
        folder = arguments.output / name.replace(",", "").replace(" ", "-")
        rows.append(_row(name, _config(start, arguments.batches, changes), start, learned, scored, folder))
    objects = sum(1 for image in scored for _ in single_objects(image.label))
    print(f"{len(scored)} images with {objects} objects\n", *_table(rows), sep="\n")


def _images(data: Path, part: str, most: int | None) -> Iterator[LabelledImage]:
    """Images of the data sets of a part, at most so many of each, spread over it."""
    for name in (name for name, its_part in SPLIT.items() if its_part == part):
        images = [image for image in read_cache(data / f"{name}.npz") if image.label.any()]
        count = min(most or len(images), len(images))
        yield from (images[i] for i in np.unique(np.linspace(0, len(images) - 1, count).round().astype(int)))


def _config(start: StartingPoint, batches: int, changes: dict[str, Any]) -> TrainingConfig:
    return TrainingConfig(start.model, batches, balance="datasets", warmup_steps=10, box_share=0.4, **changes)


def _row(
    name: str,
    config: TrainingConfig,
    start: StartingPoint,
    learned: LabelMaps,
    scored: Sequence[LabelledImage],
    folder: Path,
) -> list[str]:
    each = Intervals(save=50, log=10, report=lambda progress: _tell(name, progress))
    train(config, learned, folder, start_from=start.state or None, base=start.base, intervals=each)
    steps = config.steps * (PASSES_AS_PUBLISHED if config.as_published else 1)
    order = "bgr" if config.as_published else "rgb"
    return [name, str(steps), *_scores(folder / "best.pt", order, scored)]


def _tell(name: str, progress: Progress) -> None:
    told = f"{name}: step {progress.step}  loss {progress.loss:.4f}  {progress.seconds:.0f} s"
    print(told, file=sys.stderr, flush=True)


def _scores(weights: str | Path, channel_order: str, scored: Sequence[LabelledImage]) -> list[str]:
    """Dice by kind of prompt on whole images, their mean, and that mean with local zoom."""
    began = time.monotonic()
    predictor = load_predictor(weights, device="cpu", precision="float32", channel_order=channel_order)
    whole, zoomed = (_means(predictor, scored, zoom) for zoom in (False, True))
    print(f"scored {weights} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    kinds = [f"{whole[kind]:.3f}" for kind in SCORED]
    return [*kinds, *(f"{np.mean([means[kind] for kind in SCORED]):.3f}" for means in (whole, zoomed))]


def _means(predictor: Predictor, scored: Sequence[LabelledImage], zoom: bool) -> dict[str, float]:
    return macro_mean(mean_by_dataset(evaluate(predictor, scored, (1, 3, 5), zoom)))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    head = ["recipe", "optimiser steps", *SCORED, "mean", "mean, zoom"]
    yield f"| {' | '.join(head)} |"
    yield "|---|" + "---:|" * (len(head) - 1)
    yield from (f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
