"""Timing of several ways to do the same thing, one after the other in every round.

A computer's speed drifts with what else runs on it, so two timings mean something only against each other and
in the same minutes: every round runs all contenders once, and ratios are formed within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Comparison:
    """Seconds of each contender, round by round; the first contender is the yardstick."""

    title: str
    seconds: Mapping[str, Sequence[float]]

    def ratio(self, name: str, yardstick: str) -> float:
        """How many times faster `name` is than `yardstick`: the median over the rounds."""
        pairs = zip(self.seconds[yardstick], self.seconds[name], strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)

    def rows(self) -> list[dict[str, Any]]:
        """One row per contender: median and best milliseconds, and the gain over the first contender."""
        first = next(iter(self.seconds))
        return [
            {
                "name": name,
                "median_ms": round(1e3 * statistics.median(seconds), 2),
                "best_ms": round(1e3 * min(seconds), 2),
                "gain": round(self.ratio(name, first), 2),
            }
            for name, seconds in self.seconds.items()
        ]

    def table(self) -> str:
        """The rows as text."""
        width = max(map(len, self.seconds))
        lines = [self.title, f"  {'':{width}}  median ms    best ms    gain"]
        for row in self.rows():
            numbers = f"{row['median_ms']:11.1f}{row['best_ms']:11.1f}{row['gain']:7.2f}x"
            lines.append(f"  {row['name']:{width}}{numbers}")
        return "\n".join(lines)


def compare(
    title: str, contenders: Mapping[str, Callable[[], object]], options: argparse.Namespace
) -> Comparison:
    """Run every contender once to warm up, then as many rounds as the options say, without gradients."""
    clock = time.thread_time if options.cpu_time else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with torch.inference_mode():
        for call in contenders.values():
            call()
        for _ in range(options.rounds):
            for name, call in contenders.items():
                start = clock()
                call()
                seconds[name].append(clock() - start)
    return Comparison(title, seconds)


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds; each runs everything once")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch; 0 keeps its own choice")
    parser.add_argument(
        "--cpu-time", action="store_true", help="processor time of one thread, for busy computers"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and set the number of threads as it says."""
    options = parser.parse_args()
    if options.cpu_time:
        options.threads = 1  # the clock sees only the thread that asks
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What a reader has to know beside the numbers."""
    return {
        "threads": torch.get_num_threads(),
        "clock": "processor" if options.cpu_time else "wall",
        "rounds": options.rounds,
        "torch": torch.__version__,
    }


def show(
    comparisons: Sequence[Comparison], agreements: Mapping[str, Any], options: argparse.Namespace
) -> None:
    """Print timings and, beside them, how far the results agree."""
    if options.json:
        timings = {comparison.title: comparison.rows() for comparison in comparisons}
        print(json.dumps({**conditions(options), "timings": timings, "agreement": agreements}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in conditions(options).items()))
    for comparison in comparisons:
        print(f"\n{comparison.table()}")
    for name, values in agreements.items():
        print(f"\n{name}")
        for key, value in values.items():
            print(f"  {key}: {value:.3g}")
