"""How many further objects *Find similar* proposes rightly, and how many wrongly, on packed data sets of many objects.

    python Testing/training/evaluate_similar.py --data DATA --half odd --sets micro_nuclei_dsb2018_fluorescence

Three objects of each image are the examples, drawn at random, the others are to be found: a proposal is right if it has
an IoU of a half with an object that no other proposal has found. Beside it the plain way: of the image's parts on the
objects' side of Otsu's threshold, those of the objects' range of grey and size. Constants of the search were chosen on
images of even number ("--half even"), figures are of the odd ones.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.data.dataset import LabelledImage, read_cache
from SAMMed2DLib.imaging.components import Components, label_components
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.proposals.similar import ExampleObjects, find_similar
from SAMMed2DLib.registry.built_in import BUILT_IN

SMALLEST_PX, EXAMPLES, FEWEST = 12, 3, 6
RIGHT_IOU, SIZE_FACTOR = 0.5, 3.0


def main() -> None:
    """Print a row for each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--sets", nargs="+", required=True, help="data sets")
    parser.add_argument("--half", choices=("even", "odd"), default="odd", help="images of which numbers (%(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="images of each set at most")
    parser.add_argument("--most", type=int, default=30, help="proposals on an image at most (%(default)s)")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of weights (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, device="cpu")
    print("| set | images | objects | recall | false an image | seconds | Otsu: recall | false an image |")
    for name in options.sets:
        items = read_cache(options.data / f"{name}.npz")[options.half == "odd" :: 2]
        cases = [case for case in map(case_of, items) if case is not None][: options.images]
        rows = []
        for item, parts, examples in cases:
            began = time.process_time()
            found = find_similar(
                Session(predictor),
                lambda n, image=item.image: image,
                [ExampleObjects(0, np.isin(parts.index_hw, examples))],
                [0],
                most=options.most,
            )
            seconds = time.process_time() - began
            search = score(parts, examples, [proposal.mask for proposal in found])
            rows.append((*search, seconds, *score(parts, examples, list(by_otsu(item.image, parts, examples)))))
            print(f"{name} {item.name}: {rows[-1]}", file=sys.stderr, flush=True)
        hits, others, false, seconds, plain_hits, _, plain_false = np.sum(rows, axis=0)
        print(
            f"| {name} | {len(rows)} | {others:.0f} | {hits / others:.2f} | {false / len(rows):.1f} "
            f"| {seconds / len(rows):.0f} | {plain_hits / others:.2f} | {plain_false / len(rows):.1f} |",
            flush=True,
        )


def case_of(item: LabelledImage) -> tuple[LabelledImage, Components, list[int]] | None:
    """An image, its objects, and the numbers of the examples; None where there are too few objects."""
    parts = label_components(item.label)
    numbers = [n for n in range(1, len(parts) + 1) if parts.area_px[n - 1] >= SMALLEST_PX]
    if len(numbers) < FEWEST:
        return None
    rng = np.random.default_rng(zlib.crc32(item.name.encode()))
    return item, parts, rng.choice(numbers, EXAMPLES, replace=False).tolist()


def score(parts: Components, examples: Sequence[int], masks: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """How many of the other objects were found, how many there are, and how many masks are none of them."""
    found, false = set(), 0
    for mask in masks:
        shares = np.bincount(parts.index_hw[mask], minlength=len(parts) + 1)
        shares[0] = 0
        number = int(shares.argmax())
        union = np.count_nonzero(mask) + (parts.area_px[number - 1] if number else 0) - shares[number]
        is_right = number not in (0, *examples, *found) and shares[number] >= RIGHT_IOU * union
        false += not is_right
        found |= {number} if is_right else set()
    others = int((parts.area_px >= SMALLEST_PX).sum()) - len(examples)
    return sum(parts.area_px[number - 1] >= SMALLEST_PX for number in found), others, false


def by_otsu(image: np.ndarray, parts: Components, examples: Sequence[int]) -> Iterator[np.ndarray]:
    """What thresholds find: parts of the examples' grey and size."""
    grey = image.astype(np.float64).mean(axis=2)
    inside = np.isin(parts.index_hw, examples)
    side = grey > otsu(grey)
    side = side if side[inside].mean() > 0.5 else ~side
    means = [grey[parts.mask(number)].mean() for number in examples]
    low, high = min(means) - grey[inside].std(), max(means) + grey[inside].std()
    areas = [parts.area_px[number - 1] for number in examples]
    found = label_components(side)
    for number, area in enumerate(found.area_px, 1):
        if not min(areas) / SIZE_FACTOR <= area <= max(areas) * SIZE_FACTOR:
            continue
        mask = found.mask(number)
        if low <= grey[mask].mean() <= high and not (mask & inside).any():
            yield mask


def otsu(grey: np.ndarray) -> float:
    """The threshold that separates two classes of grey best."""
    counts, edges = np.histogram(grey, 256)
    middles = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * middles)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middles[int(np.nanargmax(between))])


if __name__ == "__main__":
    main()
