"""Measure weights on the data sets that training never saw, as Markdown tables.

    python Testing/training/evaluate_small.py --data DATA --split left_out
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from prepare_data import SPLIT

from SAMMed2DLib.dataset import read_cache
from SAMMed2DLib.evaluation import evaluate, markdown_table, mean_by_dataset
from SAMMed2DLib.predictor import DEFAULT_MODEL, load_predictor


def main() -> None:
    """Evaluate one model on one part of the split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--split", choices=["train", "validation", "left_out", "test"], default="left_out")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="catalogue name or weights file")
    parser.add_argument("--fit", choices=["stretch", "pad"], default="stretch")
    parser.add_argument("--most", type=int, help="images of each data set at most")
    parser.add_argument("--zoom", action=argparse.BooleanOptionalAction, help="predict on crops around the prompts")
    parser.add_argument("--jitter", type=float, default=0.0, help="score boxes moved by this share too, e.g. 0.1")
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model, fit=arguments.fit)
    names = [name for name, part in SPLIT.items() if part == arguments.split]
    images = [image for name in names for image in read_cache(arguments.data / f"{name}.npz")[: arguments.most]]
    results = []
    for result in evaluate(predictor, images, zoom=arguments.zoom, box_jitter=arguments.jitter):
        results.append(result)
        if len(results) % 50 == 0:
            print(f"{len(results)} objects", file=sys.stderr)
    print(markdown_table(mean_by_dataset(results)))


if __name__ == "__main__":
    main()
