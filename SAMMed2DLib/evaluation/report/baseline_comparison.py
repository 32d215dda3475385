"""The model beside the baselines, which use no network, and beside other models: means over data sets, and gains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from SAMMed2DLib.evaluation.evaluation_options import (
    BASELINES,
    BOX,
    DISC_FIT,
    ELLIPSE_FIT,
    FILLED_BOX,
    EvaluationOptions,
    clicks_name,
    jittered_name,
)
from SAMMed2DLib.evaluation.report.averages import GROUPINGS, averages, grouped, means, table
from SAMMed2DLib.evaluation.scores import METRICS, ObjectResult

MODEL = "model"
# What a gain is counted over, for the prompts that this baseline is given.
OPPONENTS = (ELLIPSE_FIT, DISC_FIT)
_NAMES = {name: f"{name} box" for name in BASELINES[:1]} | {DISC_FIT: "disc at the click + fit"}


class Comparison:
    """One table of the model, the baselines and the other models."""

    def __init__(self, results: Sequence[ObjectResult], options: EvaluationOptions, others: Sequence[str] = ()) -> None:
        """Average the results.

        Args:
            results: at least one, all with baselines.
            options: by which they were found.
            others: names of other models.
        """
        boxes = [BOX, *(jittered_name(BOX, share) for share in options.box_jitters)]
        clicks = [clicks_name(count) for count in sorted(set(options.clicks))]
        self._metrics = [metric for metric in METRICS if getattr(results[0], metric)]
        surface = [(f"NSD, {BOX}", "nsd", BOX)] if "nsd" in self._metrics else []
        self._columns = [*((kind, "dice", kind) for kind in boxes), *surface, *((n, "dice", n) for n in clicks)]
        self._methods = (MODEL, *BASELINES, *others)
        self._results = results
        self._sets = grouped(results, GROUPINGS["data set"])
        found = {metric: averages(results, metric) for metric in self._metrics}
        self.macro = {
            method: {
                title: found[metric][known].macro
                for title, metric, kind in self._columns
                if (known := _kind_of(method, kind)) in found[metric]
            }
            for method in self._methods
        }

    def gains(self) -> dict[str, dict[str, float]]:
        """By the baseline: what the model's means over data sets are above its own."""
        return {
            opponent: {title: self.macro[MODEL][title] - value for title, value in self.macro[opponent].items()}
            for opponent in OPPONENTS
        }

    def under_filled_box(self) -> list[str]:
        """The data sets in which the model's mask of a box is worse than the box itself, by mean Dice."""
        found = {name: means(group) for name, group in self._sets.items()}
        return [name for name, dice in found.items() if dice[BOX] < dice[FILLED_BOX]]

    def summary(self) -> dict[str, Any]:
        """For other programs."""
        return {
            "means_over_data_sets": self.macro,
            "gain_over": self.gains(),
            "under_filled_box": self.under_filled_box(),
        }

    def gain_rows(self) -> Iterator[list[str]]:
        """Lines for the table of averages: gains in means over masks, of every group."""
        for grouping, by in [("all", lambda result: "all"), *GROUPINGS.items()]:
            for name, group in grouped(self._results, by).items():
                found = {metric: means(group, metric) for metric in self._metrics}
                for opponent, kind in self._answered():
                    gains = [
                        f"{found[m][kind] - found[m][_kind_of(opponent, kind)]:.4f}" if m in found else ""
                        for m in METRICS
                    ]
                    yield [grouping, name, str(len(group)), f"gain over {opponent}, {kind}", *gains]

    def parts(self) -> Iterator[str]:
        """The section of the report."""
        yield "## Beside what needs no network"
        yield (
            "Means over data sets, Dice where not NSD. The box taken as the mask, the ellipse inscribed in it, that "
            "ellipse fitted to the grey values, and a disc of 6 % of the image at the first click, fitted likewise."
        )
        yield self._table()
        under, count = self.under_filled_box(), len(self._sets)
        if under:
            yield (
                f"**Under the filled box**, by the mean Dice of the exact box, in {len(under)} of {count} data sets: "
                + (f"{', '.join(under)}.")
            )
        else:
            yield f"In no data set of {count} is the model under the filled box."
        yield self._table_of_sets()

    def _answered(self) -> Iterator[tuple[str, str]]:
        """Each opponent with the kinds of prompts that it is given."""
        for opponent in OPPONENTS:
            yield from (
                (opponent, kind)
                for _, metric, kind in self._columns
                if metric == "dice" and _kind_of(opponent, kind) in self._results[0].dice
            )

    def _table(self) -> str:
        titles = [title for title, _, _ in self._columns]
        rows = [
            [f"**{MODEL}**" if name == MODEL else _NAMES.get(name, name), *(_number(row.get(t)) for t in titles)]
            for name, row in self.macro.items()
        ]
        rows += [
            [f"**gain over {opponent}**", *(_number(row.get(t), sign="+") for t in titles)]
            for opponent, row in self.gains().items()
            if row
        ]
        return table(["", *titles], rows)

    def _table_of_sets(self) -> str:
        kinds = [FILLED_BOX, _kind_of(ELLIPSE_FIT, BOX), BOX]
        click, disc = clicks_name(1), _kind_of(DISC_FIT, clicks_name(1))
        has_click = click in self._results[0].dice
        rows = []
        for name, group in self._sets.items():
            dice = means(group)
            row = [*(_number(dice[kind]) for kind in kinds), _number(dice[BOX] - dice[kinds[1]], sign="+")]
            if has_click:
                row += [_number(dice[disc]), _number(dice[click]), _number(dice[click] - dice[disc], sign="+")]
            rows.append([f"{name}, **under the filled box**" if dice[BOX] < dice[FILLED_BOX] else name, *row])
        head = ["data set", *kinds, "gain", *([disc, click, "gain"] if has_click else [])]
        return table(head, rows)


def _kind_of(method: str, kind: str) -> str:
    """The kind under which a method's scores are kept."""
    return kind if method == MODEL else f"{method} {kind}"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.3f}"
