"""How good masks of scribbles and lassos are, beside clicks and beside what was painted, on packed data sets.

    python Testing/benchmarks/bench_scribbles.py --data DATA --sets us_breast_busuc --output RESULTS.csv

DATA is what Testing/training/prepare_data.py writes. A simulated user paints a scribble through the middle of each
object along its length, from 10 to 90 % of it, and draws a lasso around it, on average 6 % of its size away. After a
first click the largest error is corrected, by a click in its middle or by a scribble through it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from compare_methods import Case, cases_of

from SAMMed2DLib.data.simulated_user import centre_error_point, centre_point
from SAMMed2DLib.imaging.components import label_components, largest_component, squared_depth, squared_distance
from SAMMed2DLib.imaging.masks import extent_of
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompt_parts import given
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN

COUNTS = (1, 2, 3, 4, 6, 8)
BANDS = 9  # of an object along its length; a scribble goes through the middles of all
LASSO_AWAY, LASSO_NOISE, LASSO_CORNERS = 0.06, 0.04, 24  # of the longer side of the object's box


def main() -> None:
    """Score each object, then print the means of the data sets' means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--sets", nargs="+", required=True, help="data sets")
    parser.add_argument("--most", type=int, default=14, help="objects of each set at most (%(default)s)")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="points of a scribble")
    parser.add_argument("--model", default=BUILT_IN, help="name or file of weights (%(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="table to write, one row for each mask")
    options = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load_predictor(options.model, device="cpu")
    rows: list[tuple[str, str, str, float]] = []
    for name in options.sets:
        for case in cases_of(options.data / f"{name}.npz", options.most):
            truth = case.target.mask
            for method, mask in masks_of(Session(predictor), case, options.counts):
                rows.append((name, case.target.entry.mask, method, dice(mask, truth)))
        print(name, len({row[1] for row in rows if row[0] == name}), "objects", flush=True)
    with options.output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("dataset", "object", "method", "dice"), *rows])
    for method in dict.fromkeys(row[2] for row in rows):
        means = [
            np.mean([row[3] for row in rows if row[0] == name and row[2] == method]) for name in options.sets
        ]
        print(f"{method:44} {np.mean(means):.3f}  " + "  ".join(f"{mean:.3f}" for mean in means))


def masks_of(session: Session, case: Case, counts: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """What each way of prompting gives."""
    image, truth = case.image, case.target.mask
    line_xy = line_through(truth)
    painted = Stroke(line_xy).mask(truth.shape)
    wide = squared_distance(painted) <= np.median(squared_depth(truth)[painted & truth])
    yield "first: painted line alone", painted
    yield "first: painted alone, as broad as it fits", wide
    for count in counts:
        given.POINTS_OF_STROKE = count
        session._chains.clear()  # what was answered with another number of points
        yield f"first: scribble, {count} points", session.answer(image, Prompts().with_scribble(line_xy, 1)).mask
        points = Stroke(line_xy).interior_points(count, truth.shape)
        yield f"first: {count} clicks along it", session.answer(image, Prompts.of(positive=points)).mask
    clicks = Prompts.of(positive=[centre_point(truth)])
    for count in range(1, max(counts) + 1):
        mask = session.answer(image, clicks).mask
        if count in counts:
            yield f"first: {count} clicks where it goes wrong", mask
        error = centre_error_point(mask, truth)
        if error is not None:
            clicks = clicks.with_point(*error)
    yield from corrections(session, case, counts)
    yield from lassos(session, case)


def corrections(session: Session, case: Case, counts: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """One correction after a first click."""
    image, truth = case.image, case.target.mask
    click = Prompts.of(positive=[centre_point(truth)])
    mask = session.answer(image, click).mask
    yield "second: none", mask
    error = centre_error_point(mask, truth)
    if error is None:
        return
    point, label = error
    yield "second: a click", session.answer(image, click.with_point(point, label)).mask
    wrong = largest_component_at(mask != truth, point)
    line_xy = line_through(wrong)
    painted = Stroke(line_xy).mask(truth.shape)
    yield "second: painted line alone", (mask | painted) if label else (mask & ~painted)
    for count in counts:
        given.POINTS_OF_STROKE = count
        session._chains.clear()  # what was answered with another number of points
        yield f"second: scribble, {count} points", session.answer(image, click.with_scribble(line_xy, label)).mask


def lassos(session: Session, case: Case) -> Iterator[tuple[str, np.ndarray]]:
    """A lasso around the object, beside the box around it."""
    image, truth = case.image, largest_component(case.target.mask)
    line_xy = lasso_around(truth, case.target.rng(0, "lasso"))
    filled = Stroke(line_xy, is_closed=True).mask(truth.shape)
    found = session.answer(image, Prompts().with_lasso(line_xy, 1)).mask
    yield "lasso: filled, without the model", filled
    yield "lasso", found
    yield "lasso: its box alone", session.answer(image, Prompts.of(box=extent_of(filled))).mask
    yield "lasso: the exact box alone", session.answer(image, Prompts.of(box=extent_of(truth))).mask


def line_through(mask_hw: np.ndarray) -> np.ndarray:
    """The corners of a scribble through a mask along its length, (N, 2) px: the deepest pixel of each band across."""
    mask_hw = largest_component(mask_hw)
    depth = squared_depth(mask_hw)
    pixels = np.argwhere(mask_hw)[:, ::-1].astype(float)
    middle = pixels.mean(axis=0)
    axis = np.linalg.eigh(np.cov((pixels - middle).T) if len(pixels) > 1 else np.eye(2))[1][:, -1]
    along = (pixels - middle) @ axis
    edges = np.quantile(along, np.linspace(0.1, 0.9, BANDS + 1))
    corners = []
    for low, high in pairwise(edges):
        band = pixels[(along >= low) & (along <= high)]
        if len(band):
            x, y = band.astype(int).T
            corners.append(band[depth[y, x].argmax()])
    return np.array(corners)


def lasso_around(mask_hw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The corners of a lasso around a mask, (N, 2) px: in each direction somewhat beyond its farthest pixel."""
    pixels = np.argwhere(mask_hw)[:, ::-1].astype(float)
    middle = pixels.mean(axis=0)
    size_px = np.ptp(pixels, axis=0).max() + 1
    angles = np.linspace(0, 2 * np.pi, LASSO_CORNERS, endpoint=False)
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    turned = np.arctan2(*(pixels - middle).T[::-1])
    corners = []
    for angle, direction in zip(angles, directions, strict=True):
        near = np.abs((turned - angle + np.pi) % (2 * np.pi) - np.pi) <= np.pi / LASSO_CORNERS
        far_px = max(((pixels[near] - middle) @ direction).max(initial=0.0), 1.0)
        away_px = size_px * max(LASSO_AWAY + LASSO_NOISE * rng.standard_normal(), 0)
        corners.append(middle + direction * (far_px + away_px))
    last_xy = np.array(mask_hw.shape[::-1]) - 1
    return np.clip(corners, 0, last_xy)


def largest_component_at(mask_hw: np.ndarray, point_xy: np.ndarray) -> np.ndarray:
    """The part of a mask that holds a point."""
    x, y = np.round(point_xy).astype(int)
    index = label_components(mask_hw).index_hw
    return index == index[y, x]


if __name__ == "__main__":
    main()
