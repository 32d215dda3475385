"""The stop rule of propagation: when an object, followed slice by slice beyond its outermost keyframes, has ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.metrics import dice


@dataclass(frozen=True)
class StopRule:
    """Limits beyond which an object is taken to have ended; how they were found: docs/decisions/propagation.md.

    Attributes:
        overlap: Dice with the neighbouring slice falls below this; with one n slices away, below its n-th power.
        area: the area falls below this share of the keyframe's.
        growth: the area exceeds this multiple of the keyframe's.
        grey: the mean log odds of the grey values inside the mask fall below this.
    """

    overlap: float = 0.7
    area: float = 0.1
    growth: float = 4.0
    grey: float = 0.0

    def has_ended(
        self,
        mask_hw: np.ndarray,
        before_hw: np.ndarray,
        grey_odds_hw: np.ndarray,
        *,
        keyframe_area: int,
        slices_away: int,
    ) -> bool:
        """Whether the object does not reach a slice any more.

        Args:
            mask_hw: (H, W) bool, the mask estimated there; empty says that it has ended.
            before_hw: (H, W) bool, the mask on the last slice reached.
            grey_odds_hw: (H, W) float, log odds that a pixel of this grey value is the object's.
            keyframe_area: of the keyframe from which it is followed, px.
            slices_away: from the last slice reached, 1 or more.
        """
        area = np.count_nonzero(mask_hw)
        if not area or not self.area <= area / keyframe_area <= self.growth:
            return True
        least_overlap = self.overlap**slices_away
        return bool(dice(mask_hw, before_hw) < least_overlap or grey_odds_hw[mask_hw].mean() < self.grey)


STOP_RULE = StopRule()
