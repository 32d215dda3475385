"""The calibrated score of a mask: from what can be seen of it to the IoU that such masks have.

A network's own estimate is too high or too low by kind of image and prompt. A weights file may hold a few weights that
join it with other evidence (docs/decisions/calibrated-scores.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Grade = Literal["good", "fair", "check"]
GRADES: tuple[Grade, ...] = get_args(Grade)
EVIDENCE = ("predicted_iou", "stability", "first_click")
"""Names of what `evidence_of` gathers."""
# A mask of this Dice needs little correction: grades say how often masks of a score have it.
USABLE_DICE = 0.8


@dataclass(frozen=True)
class ScoreCalibration:
    """Weights of the evidence of a mask, and what scores mean.

    Attributes:
        intercept: log odds of the expected IoU without evidence.
        weights: what each piece of evidence adds to them, by its name; what is not named adds nothing.
        good_from: the least score that is good.
        fair_from: the least score that is fair; below it a mask should be checked.
    """

    intercept: float
    weights: Mapping[str, float]
    good_from: float
    fair_from: float

    @classmethod
    def of_record(cls, record: object) -> ScoreCalibration | None:
        """Read what `to_record` wrote; None for anything else, also for evidence that this version does not know."""
        if not isinstance(record, Mapping) or not isinstance(record.get("weights"), Mapping):
            return None
        weights = record["weights"]
        numbers: list[Any] = [record.get(name) for name in ("intercept", "good_from", "fair_from")]
        recorded = [*numbers, *weights.values()]
        are_numbers = all(type(value) in (int, float) and math.isfinite(value) for value in recorded)
        if not are_numbers or not weights.keys() <= set(EVIDENCE):
            return None
        intercept, good_from, fair_from = (float(value) for value in numbers)
        return cls(intercept, {name: float(value) for name, value in weights.items()}, good_from, fair_from)

    def to_record(self) -> dict[str, Any]:
        """Plain JSON types, for the provenance of a weights file."""
        return {
            "intercept": self.intercept,
            "weights": dict(self.weights),
            "good_from": self.good_from,
            "fair_from": self.fair_from,
        }

    def expected_iou(self, evidence: Mapping[str, float]) -> float:
        """The IoU that masks of this evidence have on average, 0 .. 1."""
        odds = self.intercept + sum(weight * evidence[name] for name, weight in self.weights.items())
        return 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))

    def grade_of(self, score: float) -> Grade:
        """What a calibrated score means to a user."""
        if score >= self.good_from:
            return "good"
        return "fair" if score >= self.fair_from else "check"
