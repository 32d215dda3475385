"""Means of results: by data set, modality, anatomy and size; over masks and over data sets; with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.evaluation.scores import ObjectResult

UNKNOWN = "unknown"
# Upper ends of the bins of size, as shares of the image.
SIZES = ((0.005, "under 0.5 %"), (0.02, "0.5 to 2 %"), (0.1, "2 to 10 %"), (1.01, "over 10 %"))
_DRAWS, _INTERVAL = 1000, (2.5, 97.5)


def size_of(result: ObjectResult) -> str:
    """The bin of an object's size."""
    return next((name for end, name in SIZES if result.area_share < end), UNKNOWN)


GROUPINGS: dict[str, Callable[[ObjectResult], str]] = {
    "data set": lambda result: result.dataset or UNKNOWN,
    "modality": lambda result: result.entry.modality or UNKNOWN,
    "anatomy": lambda result: result.entry.anatomy or UNKNOWN,
    "size": size_of,
}


@dataclass(frozen=True)
class Average:
    """One measure of one kind of prompt over all results.

    Attributes:
        weighted: mean over masks.
        macro: mean of the data sets' means.
        weighted_range: ends of the 95 % interval of the former.
        macro_range: and of the latter.
    """

    weighted: float
    macro: float
    weighted_range: tuple[float, float]
    macro_range: tuple[float, float]


def grouped(results: Iterable[ObjectResult], by: Callable[[ObjectResult], str]) -> dict[str, list[ObjectResult]]:
    """The results of each group, groups in the order of their names; sizes in that of `SIZES`."""
    groups: dict[str, list[ObjectResult]] = {}
    for result in results:
        groups.setdefault(by(result), []).append(result)
    order = {name: number for number, (_, name) in enumerate(SIZES)}
    return {name: groups[name] for name in sorted(groups, key=lambda name: (order.get(name, -1), name))}


def means(results: Sequence[ObjectResult], metric: str = "dice") -> dict[str, float]:
    """Mean over masks of each kind of prompt."""
    kinds = getattr(results[0], metric)
    return {kind: float(np.mean([getattr(result, metric)[kind] for result in results])) for kind in kinds}


def averages(results: Sequence[ObjectResult], metric: str = "dice") -> dict[str, Average]:
    """Averages of each kind of prompt, over everything.

    The intervals come from drawing patients (images, where patients are not known) anew within each data set, 1000
    times: masks of one patient are not independent.
    """
    kinds = list(getattr(results[0], metric))
    rng = np.random.default_rng(0)
    sums, counts, own = [], [], []
    for group in grouped(results, GROUPINGS["data set"]).values():
        patients = {patient: number for number, patient in enumerate(dict.fromkeys(result.patient for result in group))}
        totals = np.zeros((len(patients), len(kinds) + 1))
        for result in group:
            totals[patients[result.patient]] += [*(getattr(result, metric)[kind] for kind in kinds), 1]
        drawn = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), _DRAWS) @ totals
        sums.append(drawn[:, :-1])
        counts.append(drawn[:, -1:])
        own.append(totals.sum(axis=0))
    weighted = np.sum(sums, axis=0) / np.sum(counts, axis=0)
    macro = np.mean([s / n for s, n in zip(sums, counts, strict=True)], axis=0)
    total = np.sum(own, axis=0)
    return {
        kind: Average(
            float(total[i] / total[-1]),
            float(np.mean([sums_of_set[i] / sums_of_set[-1] for sums_of_set in own])),
            _range(weighted[:, i]),
            _range(macro[:, i]),
        )
        for i, kind in enumerate(kinds)
    }


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, _INTERVAL)
    return float(low), float(high)


@dataclass(frozen=True)
class Clicks:
    """How many clicks it takes to reach a Dice.

    Attributes:
        mean: objects that never reach it count with the most clicks that they got.
        median: likewise.
        reached: share of the objects that reach it.
    """

    mean: float
    median: float
    reached: float


def clicks_needed(results: Sequence[ObjectResult], target: float) -> Clicks:
    """Summarise `ObjectResult.clicks_to`."""
    needed = [result.clicks_to(target) for result in results]
    counts = [len(result.curve) if n is None else n for n, result in zip(needed, results, strict=True)]
    reached = np.mean([n is not None for n in needed])
    return Clicks(float(np.mean(counts)), float(np.median(counts)), float(reached))


def mean_curve(results: Sequence[ObjectResult]) -> np.ndarray:
    """Macro mean of the Dice after 1, 2, … clicks, (n,) float64."""
    groups = grouped(results, GROUPINGS["data set"]).values()
    return np.mean([np.mean([result.curve for result in group], axis=0) for group in groups], axis=0)


def mean_by_dataset(results: Iterable[ObjectResult]) -> dict[str, dict[str, float]]:
    """Mean Dice over the objects of each data set, with their number under "objects"."""
    groups = grouped(results, lambda result: result.dataset)
    return {name: {"objects": len(group)} | means(group) for name, group in groups.items()}


def macro_mean(by_dataset: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over data sets, each counting the same; "objects" is their sum."""
    rows = list(by_dataset.values())
    kinds = [kind for kind in rows[0] if kind != "objects"]
    mean = {kind: float(np.mean([row[kind] for row in rows])) for kind in kinds}
    return {"objects": sum(row["objects"] for row in rows), **mean}


def markdown_table(by_dataset: Mapping[str, Mapping[str, float]]) -> str:
    """Render a table with one row for each data set and the macro mean below.

    Raises:
        ValueError: there is no data set.
    """
    if not by_dataset:
        raise ValueError("nothing was evaluated: no labelled object was large enough; check the images' labels")
    kinds = list(next(iter(by_dataset.values())))
    rows = {**by_dataset, "**macro mean**": macro_mean(by_dataset)}
    return table(
        ["data set", *kinds],
        [
            [name, *(f"{row[kind]:.0f}" if kind == "objects" else f"{row[kind]:.3f}" for kind in kinds)]
            for name, row in rows.items()
        ],
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Render a Markdown table; all but the first column are numbers."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
