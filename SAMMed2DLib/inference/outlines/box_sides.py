"""A mask from a box alone comes nearer to the box's sides where the network is unsure of its own.

Whoever draws a box draws it around the object; the network distrusts it more than it has to, and ends its masks
before the sides (docs/decisions/masks-reach-their-box.md).
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.imaging.masks import extent_of
from SAMMed2DLib.inference.point_constraints import without_flecks
from SAMMed2DLib.inference.prompts import Prompts

# Where the network is unsure, masks whose logits exceed these differ.
SURE_LOGIT = 3.0
# How far each side of the mask moves, as a share of its distance to the box's side: so many times the distance between
# the sides of those masks, as a share of the box's length there; at the most this share.
SHARE_BY_DOUBT = 4.0
LARGEST_SHARE = 0.5
# A mask that is farther from a side, as a share of the box's length there, is of something else, or of a part.
FARTHEST_SHARE = 0.35


def reaching(logits_hw: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Stretch or shrink logits along rows and columns, so that the sides of the mask come nearer to those of a box.

    Args:
        logits_hw: (H, W) float32, positive inside the object.
        prompts: px of the logits.

    Returns:
        (H, W) float32; the logits themselves where there is more than a box, nothing inside, or a side far away.
    """
    if not prompts.is_box_alone or not (logits_hw > 0).any():
        return logits_hw
    box_xyxy = np.asarray(prompts.box_xyxy)
    lengths = np.tile(box_xyxy[2:] - box_xyxy[:2], 2)
    sides_xyxy = _sides(logits_hw, 0, prompts)
    gaps = box_xyxy - sides_xyxy
    if (np.abs(gaps) > FARTHEST_SHARE * lengths).any() or not gaps.any():
        return logits_hw
    shares = np.full(4, LARGEST_SHARE)
    if (logits_hw > SURE_LOGIT).any():
        doubt = np.abs(_sides(logits_hw, -SURE_LOGIT, prompts) - _sides(logits_hw, SURE_LOGIT, prompts)) / lengths
        shares = np.minimum(SHARE_BY_DOUBT * doubt, LARGEST_SHARE)
    wanted_xyxy = sides_xyxy + shares * gaps
    columns, rows = (
        _source(size, sides_xyxy[axis::2], wanted_xyxy[axis::2]) for axis, size in enumerate(logits_hw.shape[::-1])
    )
    return _resampled(_resampled(logits_hw, rows).T, columns).T


def _sides(logits_hw: np.ndarray, threshold: float, prompts: Prompts) -> np.ndarray:
    """The half-open box around what exceeds a threshold, but for flecks: (4,) float64, px."""
    return extent_of(without_flecks(logits_hw > threshold, prompts))


def _source(size: int, span: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where along an axis pixels are read from so that a span comes where it is wanted, (size,) float64, px."""
    scale = (span[1] - span[0]) / (wanted[1] - wanted[0])
    return (np.arange(size) + 0.5 - wanted[0]) * scale + span[0] - 0.5


def _resampled(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a map, (H, W), at places between them; those at its edges beyond."""
    first = np.clip(np.floor(rows), 0, max(len(values) - 2, 0)).astype(np.intp)
    share = np.clip(rows - first, 0, 1).astype(np.float32)[:, None]
    return values[first] * (1 - share) + values[np.minimum(first + 1, len(values) - 1)] * share
