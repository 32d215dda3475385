"""The charts of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from SAMMed2DLib.evaluation.evaluation_options import (
    BOX,
    DISC_FIT,
    ELLIPSE_FIT,
    FILLED_BOX,
    EvaluationOptions,
    clicks_name,
    jittered_name,
)
from SAMMed2DLib.evaluation.report.averages import GROUPINGS, averages, grouped, mean_curve, means
from SAMMed2DLib.evaluation.scores import ObjectResult
from SAMMed2DLib.plots.charts import bar_chart, line_chart

_SIZE_HW = (420, 760)


def dice_by_prompt(results: Sequence[ObjectResult], kinds: Sequence[str]) -> np.ndarray:
    """Mean Dice of a few kinds of prompts, over masks and over data sets: (H, W, 3) uint8."""
    found = averages(results)
    bars = {
        "mean over masks": [found[kind].weighted for kind in kinds],
        "mean over data sets": [found[kind].macro for kind in kinds],
    }
    if len(grouped(results, GROUPINGS["data set"])) == 1:
        bars.pop("mean over data sets")
    return bar_chart(kinds, bars, "Dice by prompt", y_label="Dice", size_hw=(380, 920), y_limits=(0, 1), numbers=True)


def jitter_curve(results: Sequence[ObjectResult], options: EvaluationOptions, peers: Sequence[str]) -> np.ndarray:
    """Mean Dice over data sets against how far boxes and first clicks are moved: (H, W, 3) uint8.

    Args:
        results: of all objects.
        options: how far boxes were moved.
        peers: names of the other models.
    """
    found = averages(results)
    series = {}
    for name in (BOX, *(f"{other} {BOX}" for other in (ELLIPSE_FIT, *peers)), clicks_name(1)):
        moved = [(share, jittered_name(name, share)) for share in (0.0, *options.box_jitters)]
        known = [(100 * share, found[kind].macro) for share, kind in moved if kind in found]
        if len(known) > 1:
            series[name] = ([x for x, _ in known], [y for _, y in known])
    series["filled exact box"] = ([0, 100 * max(options.box_jitters)], [found[FILLED_BOX].macro] * 2)
    label = "moved by up to, % of the side"
    return line_chart(series, "Dice of inexact prompts, mean over data sets", label, "Dice", size_hw=_SIZE_HW)


def clicks_curve(results: Sequence[ObjectResult]) -> np.ndarray:
    """Dice against the number of clicks, with that of a box for comparison: (H, W, 3) uint8."""
    curves = np.array([result.curve for result in results])
    counts = np.arange(1, curves.shape[1] + 1)
    box = averages(results)[BOX].macro
    series = {
        "mean over data sets": (counts, mean_curve(results)),
        "median of masks": (counts, np.median(curves, axis=0)),
        "lower quartile": (counts, np.percentile(curves, 25, axis=0)),
        "one box, mean": (counts, np.full(len(counts), box)),
    }
    return line_chart(
        series, "Dice against clicks", "clicks", "Dice", size_hw=_SIZE_HW, x_limits=(1, len(counts)), y_limits=(0, 1)
    )


def size_plot(results: Sequence[ObjectResult], kinds: Sequence[str]) -> np.ndarray:
    """Mean Dice of objects of one size, for a few kinds of prompts: (H, W, 3) uint8."""
    groups = grouped(results, GROUPINGS["size"])
    by_size = {name: means(group) for name, group in groups.items()}
    labels = [f"{name} ({len(group)})" for name, group in groups.items()]
    bars = {kind: [row[kind] for row in by_size.values()] for kind in kinds}
    return bar_chart(
        labels,
        bars,
        "Dice by size of the object",
        "share of the image (masks)",
        "Dice",
        size_hw=_SIZE_HW,
        y_limits=(0, 1),
        numbers=True,
    )


def main_kinds(results: Sequence[ObjectResult], peers: Sequence[str], clicks: Sequence[int]) -> list[str]:
    """The kinds of prompts that a reader looks at first.

    Args:
        results: of all objects.
        peers: names of the other models.
        clicks: numbers of clicks that are scored.
    """
    others = [f"{name} {BOX}" for name in (ELLIPSE_FIT, *peers)] + [f"{DISC_FIT} {clicks_name(1)}"]
    kinds = [FILLED_BOX, BOX, *others, *map(clicks_name, sorted(clicks))]
    return [kind for kind in kinds if kind in results[0].dice]
