"""Candidates: the best different masks of one object after a prompt, a part of it, the whole and a larger whole.

A click means the nodule, the lobe or the lung, and a model cannot know which. It has drawn several masks in each crop
anyway (docs/decisions/candidates.md): those that differ are kept, so that the user takes another one with a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from SAMMed2DLib.inference.outlines.outline import outlined
from SAMMed2DLib.inference.point_constraints import constrained_logits
from SAMMed2DLib.inference.prediction import Prediction
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.zoom import Model, ViewPrediction, rank

MOST = 5
# Masks that share more than this, as intersection over union, are the same to a user.
SAME_IOU = 0.8


class CandidateError(PromptError):
    """There is no candidate of this number."""


def candidates_of(
    model: Model,
    image: np.ndarray,
    found: ViewPrediction,
    zoomed: bool,
    finish: Callable[[ViewPrediction], ViewPrediction],
) -> tuple[ViewPrediction, ...]:
    """Draw the masks that a prediction's prompts may mean, without encoding anything.

    The surest come first, less what they share with the nearest of those that are there already.

    Args:
        model: made the prediction.
        image: (H, W, 3) uint8, the slice.
        found: the prediction, which is one of the candidates as it is.
        zoomed: whether outlines are drawn as on crops.
        finish: takes over what a prediction changes about the mask that was there before.

    Returns:
        up to `MOST` masks, from small to large; none is empty, unless the prediction itself is.
    """
    others = [finish(other) for other in _others(model, image, found, zoomed)]
    likeness = {n: 0.0 for n, other in enumerate(others) if other.mask.any()}
    kept = [found]
    while len(kept) < MOST:
        likeness = {n: max(value, _iou(others[n].mask, kept[-1].mask)) for n, value in likeness.items()}
        likeness = {n: value for n, value in likeness.items() if value <= SAME_IOU}
        if not likeness:
            break
        best = max(likeness, key=lambda n: rank(others[n]) - likeness[n])
        kept.append(others[best])
    return tuple(sorted(kept, key=lambda candidate: int(candidate.mask.sum())))


def taken(candidates: tuple[ViewPrediction, ...], number: int) -> ViewPrediction:
    """The candidate of a number, from 1.

    Raises:
        CandidateError: there is none.
    """
    if not 1 <= number <= len(candidates):
        there = f"there are {len(candidates)} candidates, 1 to {len(candidates)} from small to large"
        there = "there is one candidate" if len(candidates) == 1 else there
        raise CandidateError(f"there is no candidate {number}: {there}")
    return candidates[number - 1]


def _others(model: Model, image: np.ndarray, found: ViewPrediction, zoomed: bool) -> Iterator[ViewPrediction]:
    """All masks that the model draws in the views that were looked at."""
    for seen in (*found.earlier, found):
        if seen.embedding is None or seen.prompts is None:
            continue
        cut = seen.view.cut(image)
        for drawn in model.predict_all(seen.embedding, seen.prompts):
            mask = outlined(model, drawn, cut, seen.prompts) if zoomed else _plain(drawn, seen.prompts)
            yield ViewPrediction.in_view(seen.view, mask, drawn, seen.embedding, seen.prompts)


def _plain(drawn: Prediction, prompts: Prompts) -> np.ndarray:
    """A mask as the network draws it, the points on their sides; empty where nothing was found."""
    logits = drawn.logits()
    return constrained_logits(logits, prompts) > 0 if (logits > 0).any() else logits > 0


def _iou(one_hw: np.ndarray, other_hw: np.ndarray) -> float:
    union = np.count_nonzero(one_hw | other_hw)
    return np.count_nonzero(one_hw & other_hw) / union if union else 1.0
