"""Slices per second of a propagation against encoding alone, by the same model in the same run.

python Testing/benchmarks/bench_propagation.py
python Testing/benchmarks/bench_propagation.py --volume abdomen ct.nrrd labels.nrrd
OMP_NUM_THREADS=1 python Testing/benchmarks/bench_propagation.py --cpu-time
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.cli.evaluate_propagation import Entry, labelled_volume
from SAMMed2DLib.evaluation.volumes import is_measured, keyframes_of
from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.estimate import MODEL_WEIGHT, ModelPrediction, ModelQuery, Weights
from SAMMed2DLib.propagation.schedule import propagate
from SAMMed2DLib.propagation.stack import StackModel
from SAMMed2DLib.registry.built_in import BUILT_IN

SLICES, SIDE = 96, 256
ROUNDS = 5
# By how much the discs are brighter than the ground, and how many grey values the noise spans.
CLEAR, NOISY = (90, 40), (60, 80)


@dataclass(frozen=True)
class Task:
    """Slices, (S, H, W, 3) uint8, and the true masks, (S, H, W) bool, of objects on them."""

    name: str
    pictures: np.ndarray
    masks: Sequence[np.ndarray]


def discs(name: str, objects: int, brighter: int, noise: int) -> Task:
    """Discs that drift and breathe, brighter than a noisy ground."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    rng = np.random.default_rng(0)
    masks = np.zeros((objects, SLICES, SIDE, SIDE), bool)
    for number in range(objects):
        turn = 2 * np.pi * number / objects
        for n in range(SLICES):
            x = SIDE / 2 + 75 * np.cos(turn) + 4 * np.sin(n / 9)
            y = SIDE / 2 + 75 * np.sin(turn)
            masks[number, n] = (columns - x) ** 2 + (rows - y) ** 2 < (20 + 4 * np.sin(n / 15)) ** 2
    grey = 70 + brighter * masks.any(axis=0) + rng.integers(0, noise, (SLICES, SIDE, SIDE))
    return Task(name, np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1), list(masks))


def labelled(entry: Entry, objects: int) -> Task:
    """The objects of a labelled volume that are on most slices."""
    volume = labelled_volume(entry)
    slices = np.moveaxis(volume.array, volume.axis, 0)
    masks = [np.moveaxis(mask, volume.axis, 0) for _, mask in volume.objects]
    longest = sorted(filter(is_measured, masks), key=lambda mask: -mask.any(axis=(1, 2)).sum())[:objects]
    used = np.flatnonzero(np.any(longest, axis=(0, 2, 3)))
    part = slice(used[0], used[-1] + 1)
    pictures = np.stack([rgb_from_slice(one, volume.intensity) for one in slices[part]])
    return Task(entry.name, pictures, [mask[part] for mask in longest])


class Run:
    """One way to fill a task's slices, that may be timed again and again."""

    def __init__(self, predictor: Predictor, task: Task, keyframes: int, weights: Weights) -> None:
        self._predictor, self._task, self._weights = predictor, task, weights
        self._keyframes = [{n: mask[n] for n in keyframes_of(mask, keyframes)} for mask in task.masks]
        self.asked = self.found = self.encoded = 0

    def encode(self) -> None:
        """What the encoder alone takes for all slices."""
        for start in range(0, len(self._task.pictures), 8):
            self._predictor.embed(list(self._task.pictures[start : start + 8]))

    def propagate(self) -> None:
        """All slices of all objects."""
        session, asked = Session(self._predictor), 0
        model = StackModel(session, self._task.pictures.__getitem__, False, self._keyframes)

        def counted(questions: Sequence[ModelQuery]) -> list[ModelPrediction]:
            nonlocal asked
            asked += sum(question.expected is not None for question in questions)
            return model(questions)

        last = len(self._task.pictures) - 1
        found = list(propagate(model.slice_image, counted, self._keyframes, 0, last, weights=self._weights))
        if session.encoded > last + 1:
            raise SystemExit(f"{session.encoded} encodings of {last + 1} slices: one should be enough for all objects")
        self.asked, self.found, self.encoded = asked, len(found), session.encoded


def seconds_of(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    work()
    return clock() - start


def tasks(volumes: Sequence[Sequence[str]], objects: int) -> Iterator[Task]:
    """What is measured with so many objects."""
    if not volumes:
        yield discs("clear", objects, *CLEAR)
        yield discs("noisy", objects, *NOISY)
    for name, image, labels in volumes:
        yield labelled(Entry(name, image, labels), objects)


def main() -> None:
    """Print the share of the encoder's throughput that a propagation keeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=BUILT_IN)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--volume", nargs=3, action="append", metavar=("NAME", "IMAGE", "LABELS"), default=[])
    parser.add_argument("--ask-everywhere", action="store_true", help="as with `sammed2d evaluate-propagation`")
    parser.add_argument("--cpu-time", action="store_true", help="for one thread on a computer with other work to do")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    weights = Weights(model=MODEL_WEIGHT, open_share=0.0 if arguments.ask_everywhere else Weights.open_share)
    predictor = load_predictor(arguments.model)
    print(f"{predictor.name}, whole slices; median of {arguments.rounds} rounds in turns")
    print("| slices of | objects | keyframes each | masks | asked | encoded | encode only, slices/s | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for objects in arguments.objects:
        for task in tasks(arguments.volume, objects):
            for keyframes in (3, 1):
                run = Run(predictor, task, keyframes, weights)
                works = (run.encode, run.propagate)
                for work in works:
                    work()
                times = np.array([[seconds_of(work, clock) for work in works] for _ in range(arguments.rounds)])
                count = len(task.pictures)
                words = [task.name, len(task.masks), keyframes, run.found, f"{run.asked / run.found:.0%}"]
                words += [f"{run.encoded} of {count}", f"{count / np.median(times[:, 0]):.1f}"]
                words.append(f"{np.median(times[:, 0] / times[:, 1]):.2f}")
                print("|", " | ".join(map(str, words)), "|", flush=True)


if __name__ == "__main__":
    main()
