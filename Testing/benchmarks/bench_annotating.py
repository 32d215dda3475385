"""Strokes and seconds until an object is finished, with this product's tools and with Slicer's own.

    OMP_NUM_THREADS=1 python Testing/benchmarks/bench_annotating.py CASES.tsv
    … --case liver --way "Grow from seeds" --seconds click=1 outline=12 --csv strokes.csv

A simulated user, who knows the labels and makes no mistake, works with one tool until the Dice of the whole case
reaches the case's target, or gives up. Needs what the extra `test` installs. Cases are written by
annotating/prepare_cases.py; docs/annotating-results.md explains them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from annotating import cine_ways, editor_ways, product_ways
from annotating.cases import Case, read_cases
from annotating.product_ways import BOX, CLICK, OUTLINE, PropagatingUser
from annotating.tasks import Task
from annotating.work import SECONDS, Finished, Work

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.registry.built_in import BUILT_IN

MOST = 60

Ways = dict[str, Callable[[Work], object]]


def ways_of(case: Case, session: Session) -> Ways:
    """The ways to finish a case, by name."""
    return _series_ways(case.frames, session) if case.is_series else _volume_ways(case.frames[0], session)


def _volume_ways(task: Task, session: Session) -> Ways:
    def propagated(first: str, from_one: bool = False) -> Callable[[Work], object]:
        return lambda work: PropagatingUser(task, session, work, first, from_one=from_one).finish()

    if task.is_single:
        ours: Ways = {
            "SAM-Med2D, three slices, Propagate": propagated(BOX),
            "SAM-Med2D, one slice, Whole object": propagated(BOX, from_one=True),
        }
    else:
        ours = {"SAM-Med2D, a click on each, Propagate": propagated(CLICK)}
    return {
        **ours,
        "SAM-Med2D, box in space, Whole object": lambda work: product_ways.whole_objects_in_boxes(task, session, work),
        "outlines by hand, Propagate (no model)": propagated(OUTLINE),
        "Grow from seeds": lambda work: editor_ways.grown_from_seeds(task, work),
        "Fill between slices": lambda work: editor_ways.filled_between_slices(task, work),
        "Threshold, Islands": lambda work: editor_ways.thresholded(task, work),
        "outlines by hand on all slices": lambda work: editor_ways.outlined(task, work),
    }


def _series_ways(frames: Sequence[Task], session: Session) -> Ways:
    return {
        "SAM-Med2D, two frames, Propagate along time": lambda work: cine_ways.through_time(frames, session, work),
        "Grow from seeds, each frame": lambda work: cine_ways.each_frame(frames, work, editor_ways.grown_from_seeds),
        "Fill between slices, each frame": lambda work: cine_ways.each_frame(
            frames, work, editor_ways.filled_between_slices
        ),
        "Threshold, Islands, same thresholds": lambda work: cine_ways.same_thresholds(frames, work),
        "first frame by hand, copied": lambda work: cine_ways.copied(frames, work),
        "outlines by hand on all slices": lambda work: cine_ways.each_frame(frames, work, editor_ways.outlined),
    }


def finish(case: Case, session: Session, wanted: list[str], most: int) -> Iterator[Finished]:
    """Finish a case in each way."""
    label = np.stack([frame.label for frame in case.frames])
    for name, way in ways_of(case, session).items():
        if wanted and not any(part in name for part in wanted):
            continue
        session.forget()
        work = Work(most)
        found = way(work)
        if not isinstance(found, np.ndarray):
            found = np.any(found, axis=0)
        yield Finished(case.name, name, work, dice(found.reshape(label.shape), label), case.frames[0].target)


def row_of(result: Finished, seconds: dict[str, float]) -> dict[str, str]:
    """A result as the table has it."""
    kinds = ", ".join(f"{result.work.strokes[kind]} {kind}" for kind in SECONDS if result.work.strokes[kind])
    return {
        "case": result.case,
        "way": result.way,
        "strokes": str(result.work.total),
        "of these": kinds,
        "user's s": f"{result.work.human_s(seconds):.0f}",
        "computing s": f"{result.work.computing_s:.1f}",
        "Dice": f"{result.dice:.3f}",
        "finished": "yes" if result.is_reached else "**no**",
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("cases", type=Path, help="table of annotating/prepare_cases.py")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--way", action="append", default=[], metavar="TEXT", help="only ways with this in their name")
    parser.add_argument("--target", type=float, metavar="DICE", help="to be reached, instead of that of the table")
    parser.add_argument("--most", type=int, default=MOST, help="strokes after which the user gives up (%(default)s)")
    parser.add_argument("--seconds", nargs="+", default=[], metavar="STROKE=S", help=f"assumed: {SECONDS}")
    parser.add_argument("--csv", type=Path, help="also write the results there")
    options = parser.parse_args()
    seconds = SECONDS | {kind: float(value) for kind, value in (word.split("=") for word in options.seconds)}
    session, rows = Session(load_predictor(BUILT_IN)), []
    for case in read_cases(options.cases, options.case, options.target):
        for result in finish(case, session, options.way, options.most):
            rows.append(row_of(result, seconds))
            if len(rows) == 1:
                print(f"| {' | '.join(rows[0])} |\n|---|---|---:|---|---:|---:|---:|---|")
            print(f"| {' | '.join(rows[-1].values())} |", flush=True)
    if options.csv and rows:
        with options.csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
