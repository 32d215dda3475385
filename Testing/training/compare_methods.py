"""Compare ways to segment an object, with and without a network, on packed data sets of development.

    python Testing/training/compare_methods.py --data DATA --output RESULTS.csv \
        --methods box ellipse ellipse+fit disc+fit product product:FILE --sets us_breast_busuc ct_lung_tumor_msd

`product` is the built-in model and `product:FILE` a weights file, answered as the product answers; `unfitted:FILE` is
what its network draws in the same crop of a box, and `litemedsam` what LiteMedSAM's own code draws on the whole slice
(see evaluate_packed.py). Methods that the results hold are not scored again.
"""

from __future__ import annotations

import argparse
import csv
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.data.dataset import read_cache
from SAMMed2DLib.data.simulated_user import centre_point
from SAMMed2DLib.evaluation.baselines import ellipse, filled_box, fitted_disc, fitted_ellipse
from SAMMed2DLib.evaluation.protocols.objects import Target, moved_box, targets_of
from SAMMed2DLib.evaluation.protocols.simulated_user_protocol import click_by_click
from SAMMed2DLib.evaluation.scores import Peer
from SAMMed2DLib.imaging.metrics import dice, normalised_surface_distance
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.inference.zoom import Crop
from SAMMed2DLib.registry.built_in import BUILT_IN

CLICKS = (1, 3, 5)
TOLERANCE_PX, FRAME_PX = 2.0, 256
KEPT_BYTES = 2**30  # of encoded crops, for methods that look at the same
COLUMNS = ("method", "dataset", "object", "prompt", "dice", "nsd")


@dataclass(frozen=True, eq=False)
class Case:
    """One object with its image, exact box and moved box (slice px, half-open)."""

    image: np.ndarray
    target: Target
    moved: np.ndarray

    @property
    def box(self) -> np.ndarray:
        """The exact box."""
        return self.target.extent_xyxy


# A method gives the mask of each prompt that it knows.
Method = Callable[[Case], Iterator[tuple[str, np.ndarray]]]


def main() -> None:
    """Score the methods that are missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--sets", nargs="+", required=True, help="data sets")
    parser.add_argument("--most", type=int, default=14, help="objects of each set at most (%(default)s)")
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--clicks", action=argparse.BooleanOptionalAction, default=True, help="ask products by clicks")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for name in options.sets for case in cases_of(options.data / f"{name}.npz", options.most)]
    done = {row["method"] for row in read_rows(options.output)}
    for name in options.methods:
        if name not in done:
            score(name, method_of(name, options.clicks), cases, options.output)
    print_table(read_rows(options.output), options.methods)


def cases_of(path: Path, most: int) -> list[Case]:
    """At most so many objects of a data set, spread over its images."""
    found = [(item, target) for item in read_cache(path) for target in targets_of(item)]
    order = sorted(found, key=lambda pair: zlib.crc32(pair[1].entry.mask.encode()))[:most]
    return [
        Case(item.image, target, moved_box(target.extent_xyxy, target.mask.shape, 0.1, target.rng(0, "box ±10 %")))
        for item, target in order
    ]


def score(name: str, method: Method, cases: list[Case], output: Path) -> None:
    """Append one row for each object and prompt."""
    is_new = not output.is_file()
    rows = []
    for case in cases:
        truth = case.target.mask
        spacing = FRAME_PX / max(truth.shape)
        for prompt, mask in method(case):
            nsd = normalised_surface_distance(mask, truth, TOLERANCE_PX, spacing)
            rows.append((name, case.target.entry.dataset, case.target.entry.mask, prompt, dice(mask, truth), nsd))
    with output.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """What the file holds; nothing where there is none."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def print_table(rows: list[dict[str, str]], methods: list[str]) -> None:
    """Macro means over data sets."""
    kinds = ("box", "box 10", "nsd box", "1 click", "3 clicks", "5 clicks", "nsd 5")
    print("| method | objects | " + " | ".join(kinds) + " |")
    for name in methods:
        mine = [row for row in rows if row["method"] == name]
        count = len({row["object"] + row["dataset"] for row in mine})
        print(f"| {name} | {count} | " + " | ".join(_cell(mine, kind) for kind in kinds) + " |", flush=True)


def _cell(rows: list[dict[str, str]], kind: str) -> str:
    value = "nsd" if kind.startswith("nsd ") else "dice"
    prompt = {"nsd box": "box", "nsd 5": "5 clicks"}.get(kind, kind)
    by_set: dict[str, list[float]] = {}
    for row in rows:
        if row["prompt"] == prompt:
            by_set.setdefault(row["dataset"], []).append(float(row[value]))
    return f"{np.mean([np.mean(v) for v in by_set.values()]):.3f}" if by_set else ""


def method_of(name: str, clicks: bool = True) -> Method:
    """Build a method from its name; `clicks` also asks products by clicks."""
    simple: dict[str, Method] = {
        "box": partial(_from_box, filled_box),
        "ellipse": partial(_from_box, ellipse),
        "ellipse+fit": partial(_from_box, fitted_ellipse),
        "disc+fit": _disc,
    }
    if name in simple:
        return simple[name]
    kind, _, weights = name.partition(":")
    if name == "litemedsam":
        from peer_litemedsam import LiteMedSam

        return partial(_peer, LiteMedSam())
    if kind == "product":
        return partial(_product, _session(weights), clicks)
    if kind == "unfitted":
        return partial(_from_box, partial(_unfitted, _session(weights)))
    raise SystemExit(f"unknown method {name}")


@cache
def _session(weights: str) -> Session:
    return Session(load_predictor(Path(weights) if weights else BUILT_IN, device="cpu"), KEPT_BYTES)


def _from_box(mask_of: Callable[[np.ndarray, np.ndarray], np.ndarray], case: Case) -> Iterator[tuple[str, np.ndarray]]:
    yield "box", mask_of(case.image, case.box)
    yield "box 10", mask_of(case.image, case.moved)


def _disc(case: Case) -> Iterator[tuple[str, np.ndarray]]:
    yield "1 click", fitted_disc(case.image, centre_point(case.target.mask))


def _peer(peer: Peer, case: Case) -> Iterator[tuple[str, np.ndarray]]:
    seen = peer.embed(case.image)
    yield "box", peer.segment(seen, case.box)
    yield "box 10", peer.segment(seen, case.moved)


def _unfitted(session: Session, image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    view = Crop.shown_around(box_xyxy, (image.shape[0], image.shape[1]))
    found = session.predict(session.embed([view.cut(image)])[0], view.prompts(Prompts.of(box=box_xyxy)))
    return view.whole_mask(found.mask)


def _product(session: Session, clicks: bool, case: Case) -> Iterator[tuple[str, np.ndarray]]:
    def found(prompts: Prompts) -> np.ndarray:
        return session.answer(case.image, prompts).mask

    yield "box", found(Prompts.of(box=case.box))
    yield "box 10", found(Prompts.of(box=case.moved))
    for count, mask, _ in click_by_click(found, case.target.mask, CLICKS[-1]) if clicks else ():
        if count in CLICKS:
            yield _clicks(count), mask


def _clicks(count: int) -> str:
    return "1 click" if count == 1 else f"{count} clicks"


if __name__ == "__main__":
    main()
