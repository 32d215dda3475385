"""What a session answers: the mask of one object on one slice, and how good it probably is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from SAMMed2DLib.inference.interaction import Step
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.scoring.calibration import Grade, ScoreCalibration
    from SAMMed2DLib.inference.zoom import ViewPrediction


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """One object on one slice.

    Attributes:
        mask: (H, W) bool.
        score: the IoU that it probably has: calibrated where the weights came with a calibration (see `grade`), else
            what the network predicts.
        view_xyxy: (x0, y0, x1, y1), slice px, half-open: the part of the slice that the model saw last.
        encoded: how many images had to be encoded for this answer.
        predicted_iou: what the network predicts.
        grade: what a calibrated score means: "good", "fair" or "check"; None where the score is not calibrated, also of
            a mask that was there already and corrected.
        candidates: the best different masks, from small to large, this one among them; empty where they were not asked
            for.
        candidate: which of them this is, from 1; 0 where they were not asked for.
        stability: the share of the mask that stays if more certainty is asked for, 0 .. 1; of a mask that the model did
            not make it is not a number.
    """

    mask: np.ndarray
    score: float
    view_xyxy: tuple[int, int, int, int]
    encoded: int
    predicted_iou: float = float("nan")
    grade: Grade | None = None
    candidates: tuple[MaskPrediction, ...] = ()
    candidate: int = 0
    stability: float = float("nan")


def prediction_of(
    step: Step, encoded: int, with_candidates: bool, calibration: ScoreCalibration | None
) -> MaskPrediction:
    """What a caller gets of a step.

    Args:
        step: what was found.
        encoded: how many images had to be encoded for it.
        with_candidates: whether the other masks that may be meant were asked for.
        calibration: makes scores; None: they are what the network predicts.
    """
    found = [step.taken, *(step.candidates if with_candidates or step.prompts.candidate else ())]
    taken, *candidates = (_described(each, step.prompts, calibration) for each in found)
    number = found.index(step.taken, 1) if candidates else 0
    return replace(taken, encoded=encoded, candidates=tuple(candidates), candidate=number)


def _described(found: ViewPrediction, prompts: Prompts, calibration: ScoreCalibration | None) -> MaskPrediction:
    """A mask with its score: calibrated, if there is a calibration and evidence, or what the network predicts."""
    from SAMMed2DLib.inference.scoring.evidence import evidence_of, stability_of

    view, score, grade = found.view, found.score, None
    evidence = {} if calibration is None else evidence_of(found, prompts)
    if calibration is not None and evidence:
        score = calibration.expected_iou(evidence)
        grade = calibration.grade_of(score)
    stability = float("nan") if found.low_res_logits is None else stability_of(found.low_res_logits)
    seen = (view.x0, view.y0, view.x1, view.y1)
    return MaskPrediction(found.mask, score, seen, 0, found.score, grade, stability=stability)
