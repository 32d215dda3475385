"""What was measured on labelled volumes, as tables in Markdown and as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from SAMMed2DLib.evaluation.volumes import (
    LEAST_AREA_PX,
    LEAST_SLICES,
    SOURCES,
    WAYS,
    ObjectScores,
    VolumeEvaluationError,
    Way,
)


def ways_of(results: Sequence[ObjectScores]) -> list[Way]:
    """The ways that were measured, in the order of the tables.

    Raises:
        VolumeEvaluationError: nothing was measured.
    """
    if not results:
        raise VolumeEvaluationError(
            f"no object was measured: one needs {LEAST_SLICES} slices without a gap and {LEAST_AREA_PX:.0f} px on "
            "average; check the labels and the axis"
        )
    return [(s, way, n) for s in SOURCES for way, n in WAYS if (s, way, n) in results[0].scores]


def table_of_volumes(results: Sequence[ObjectScores]) -> str:
    """Markdown: Dice of the volume, one row for each volume, and the means over objects and over volumes."""
    ways = ways_of(results)
    groups: dict[str, list[ObjectScores]] = {}
    for result in results:
        groups.setdefault(result.volume, []).append(result)
    rows = {name: _mean_dice(group, ways) for name, group in groups.items()}
    head = ["volume", "objects", *(f"{way}, {n} {source}" for source, way, n in ways)]
    lines = [_row(head), "|---|" + "---:|" * (len(ways) + 1)]
    lines += [_row([name, str(len(groups[name])), *_digits(row)]) for name, row in rows.items()]
    overall, macro = _mean_dice(results, ways), np.mean(list(rows.values()), axis=0)
    lines.append(_row(["**mean over objects**", str(len(results)), *_digits(overall)]))
    lines.append(_row(["**mean over volumes**", str(len(results)), *_digits(macro)]))
    return "\n".join(lines)


def table_of_ways(results: Sequence[ObjectScores]) -> str:
    """Markdown: all measures, one row for each way; means over objects."""
    head = ["keyframes", "way", "volume Dice", "between keyframes", "slices right", "slices past the end: median"]
    head += ["90 %", "s per object", "slices/s"]
    lines = [_row(head), "|---|---|" + "---:|" * 7]
    for way in ways_of(results):
        scores = [result.scores[way] for result in results]
        past = [count for scored in scores for count in scored.past]
        middle, most = np.percentile(past, [50, 90]) if past else (np.nan, np.nan)
        seconds, slices = sum(scored.seconds for scored in scores), sum(scored.slices for scored in scores)
        between = [scored.between for scored in scores if not np.isnan(scored.between)]
        volume = float(np.mean([scored.volume for scored in scores]))
        dices = [volume, float(np.mean(between)) if between else float("nan")]
        words = [*_digits(dices), f"{np.mean([scored.right for scored in scores]):.0%}".replace("%", " %")]
        words += [f"{middle:.0f}", f"{most:.0f}"]
        words += [f"{seconds / len(scores):.2f}", f"{slices / seconds:.0f}"] if seconds else ["n/a", "n/a"]
        lines.append(_row([f"{way[2]} {way[0]}", way[1], *words]))
    return "\n".join(lines)


def losers(results: Sequence[ObjectScores], source: str = "true") -> list[tuple[ObjectScores, float, float]]:
    """Objects that propagation finds less well than interpolation, with both Dice, the greatest loss first."""
    pairs = [
        (result, result.scores[source, "propagated", 3].volume, result.scores[source, "interpolated", 3].volume)
        for result in results
        if (source, "interpolated", 3) in result.scores
    ]
    return sorted((pair for pair in pairs if pair[1] < pair[2]), key=lambda pair: pair[1] - pair[2])


def table_of_losers(results: Sequence[ObjectScores], source: str = "true") -> str:
    """Markdown: the objects of `losers`."""
    head = ["volume", "object", "slices", "mean px", "propagated", "interpolated"]
    lines = [_row(head), "|---|---|" + "---:|" * 4]
    for result, ours, theirs in losers(results, source):
        words = [result.volume, result.label, str(result.slices), f"{result.area_px:.0f}"]
        lines.append(_row([*words, *_digits([ours, theirs])]))
    return "\n".join(lines)


def csv_rows(results: Iterable[ObjectScores]) -> Iterator[list[str]]:
    """Every object in every way, the head first."""
    head = "volume,label,slices,area_px,keyframes,source,way,dice,dice_between,right,past,seconds,filled"
    yield head.split(",")
    for result in results:
        for (source, way, count), found in result.scores.items():
            yield [
                result.volume,
                result.label,
                str(result.slices),
                f"{result.area_px:.1f}",
                str(count),
                source,
                way,
                *(f"{value:.4f}" for value in (found.volume, found.between, found.right)),
                " ".join(map(str, found.past)),
                f"{found.seconds:.3f}",
                str(found.slices),
            ]


def _mean_dice(results: Sequence[ObjectScores], ways: Sequence[Way]) -> list[float]:
    return [float(np.mean([result.scores[way].volume for result in results])) for way in ways]


def _digits(values: Iterable[float]) -> list[str]:
    return ["n/a" if np.isnan(value) else f"{value:.3f}" for value in values]


def _row(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"
