"""How many labelled objects `Session.everything` proposes, and how many of its proposals are labelled.

    python Testing/training/evaluate_everything.py --data DATA --images 4 --split held_out

An object is a separate region of a label, of 0.15 % of the image at least. It is found if a proposal has an IoU of a
half (or of three quarters) with it; of several such proposals one is right. Most images have labels of one structure
only, so that the share of right proposals says how much a user has to refuse, not how many are objects. Beside it the
plain way: the connected parts on both sides of Otsu's threshold, under the same limits of size, the largest first.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from evaluate_similar import otsu
from prepare_data import SPLIT

from SAMMed2DLib.data.dataset import MIN_OBJECT_FRACTION, LabelledImage, read_cache
from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.imaging.metrics import iou
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.proposals.everything import is_object
from SAMMed2DLib.registry.built_in import BUILT_IN

LEAST_IOUS = (0.5, 0.75)
FIRST = 5  # proposals that a user looks at first


def main() -> None:
    """Print a row for each data set and way, and for all together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--split", choices=("validation", "held_out"), default="validation", help="(%(default)s)")
    parser.add_argument("--sets", nargs="+", help="only these data sets of the split")
    parser.add_argument("--images", type=int, default=1000, help="images of each set at most, evenly chosen")
    parser.add_argument("--most", type=int, default=12, help="proposals on an image at most (%(default)s)")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of weights (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, device="cpu")
    print(
        "| set | way | images | objects | found at 0.5 | at 0.75 | at 0.5 by the first 5 | proposals an image "
        "| right at 0.5 | at 0.75 | seconds |"
    )
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    totals: dict[str, list[np.ndarray]] = {}
    for name in (name for name, split in SPLIT.items() if split == options.split):
        path = options.data / f"{name}.npz"
        if not path.is_file() or (options.sets and name not in options.sets):
            continue
        rows: dict[str, list[np.ndarray]] = {}
        for item in chosen(read_cache(path), options.images):
            objects = objects_of(item)
            began = time.process_time()
            found = Session(predictor).everything(item.image, most=options.most)
            seconds = time.process_time() - began
            rows.setdefault("everything", []).append(score(objects, [each.mask for each in found], seconds))
            began = time.process_time()
            parts = by_otsu(item.image)[: options.most]
            rows.setdefault("Otsu", []).append(score(objects, parts, time.process_time() - began))
            print(f"{name} {item.name}: {rows['everything'][-1].round(2)}", file=sys.stderr, flush=True)
        for way, of_way in rows.items():
            print(row_text(name, way, of_way), flush=True)
            totals.setdefault(way, []).extend(of_way)
    for way, of_way in totals.items():
        print(row_text("**all**", way, of_way))


def chosen(items: Sequence[LabelledImage], most: int) -> list[LabelledImage]:
    """Images that have an object, as many as asked for, evenly over the set."""
    labelled = [item for item in items if objects_of(item)]
    places = np.unique(np.linspace(0, len(labelled) - 1, min(most, len(labelled))).round().astype(int))
    return [labelled[place] for place in places]


def objects_of(item: LabelledImage) -> list[np.ndarray]:
    """The separate regions of all labels, (H, W) bool, that are large enough."""
    parts = label_components(item.label)
    return [parts.mask(n + 1) for n, area in enumerate(parts.area_px) if area >= MIN_OBJECT_FRACTION * item.label.size]


def score(objects: Sequence[np.ndarray], masks: Sequence[np.ndarray], seconds: float) -> np.ndarray:
    """Numbers of: objects, those found at each IoU and by the first masks, masks, those right at each IoU; seconds."""
    ious = np.array([[iou(mask, each) for each in objects] for mask in masks]).reshape(len(masks), len(objects))
    best = ious.max(axis=0, initial=0)
    found = [np.count_nonzero(best >= least) for least in LEAST_IOUS]
    first = np.count_nonzero(ious[:FIRST].max(axis=0, initial=0) >= LEAST_IOUS[0])
    # A mask that covers an object by half covers no other one by half: each object found has one right mask.
    return np.array([len(objects), *found, first, len(masks), *found, seconds])


def by_otsu(image: np.ndarray) -> list[np.ndarray]:
    """Connected parts on both sides of Otsu's threshold, (H, W) bool, the largest first."""
    grey = image.astype(np.float64).mean(axis=2)
    parts = label_components(1 + (grey > otsu(grey)))
    masks = [parts.mask(number + 1) for number in np.argsort(-parts.area_px, kind="stable")[:200]]
    return [mask for mask in masks if is_object(mask)]


def row_text(name: str, way: str, rows: Sequence[np.ndarray]) -> str:
    """A row of the table."""
    objects, *found, first, masks, right, well, seconds = np.sum(rows, axis=0)
    shares = " | ".join(f"{count / objects:.2f}" for count in (*found, first))
    precision = " | ".join(f"{count / max(masks, 1):.2f}" for count in (right, well))
    count = len(rows)
    return (
        f"| {name} | {way} | {count} | {objects:.0f} | {shares} | {masks / count:.1f} | {precision} "
        f"| {seconds / count:.1f} |"
    )


if __name__ == "__main__":
    main()
