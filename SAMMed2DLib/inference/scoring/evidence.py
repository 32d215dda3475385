"""What can be seen of a mask without knowing the truth, and tells how good it is: the evidence of its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.zoom import ViewPrediction

# From a quarter to three quarters of certainty: where a model is sure, the mask is the same at both.
_STABLE_LOGIT = 1.0
_LEAST = 0.01  # shares closer to 0 or 1 are not told from it, and have finite log odds


def evidence_of(found: ViewPrediction, prompts: Prompts) -> dict[str, float]:
    """Gather the evidence of a mask.

    Args:
        found: the mask, with the logits that it was made of.
        prompts: all that the object has got.

    Returns:
        by the names of `calibration.EVIDENCE`: log odds of the predicted IoU, and of the share of the mask that stays
        if more certainty is asked for; 1 for a first click. Empty where there is no mask, or the model did not make it.
    """
    logits = found.low_res_logits
    if logits is None or not found.mask.any() or not (logits > -_STABLE_LOGIT).any():
        return {}
    return evidence_of_logits(logits, found.score, prompts.box_xyxy is None and len(prompts.labels) == 1)


def evidence_of_logits(logits: np.ndarray, predicted_iou: float, is_first_click: bool) -> dict[str, float]:
    """The same of logits as the network draws them.

    Args:
        logits: (L, L), of which one at least is above -1.
        predicted_iou: by the network.
        is_first_click: whether a click is all that the object has got.
    """
    return {
        "predicted_iou": _log_odds(predicted_iou),
        "stability": _log_odds(stability_of(logits)),
        "first_click": float(is_first_click),
    }


def stability_of(logits: np.ndarray) -> float:
    """The share of a mask that stays if more certainty is asked for, 0 .. 1, of its logits; 0 where there is none."""
    loose = np.count_nonzero(logits > -_STABLE_LOGIT)
    return np.count_nonzero(logits > _STABLE_LOGIT) / loose if loose else 0.0


def _log_odds(share: float) -> float:
    inside = min(max(share, _LEAST), 1 - _LEAST)
    return float(np.log(inside / (1 - inside)))
