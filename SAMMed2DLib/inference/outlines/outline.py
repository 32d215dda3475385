"""The mask of a crop, from what the network draws there and from what the prompts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.outlines.refinement import refine_logits
from SAMMed2DLib.inference.point_constraints import constrained_logits, without_flecks
from SAMMed2DLib.inference.prediction import Prediction
from SAMMed2DLib.inference.prompts import Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.zoom import Model, ViewPrediction


def outlined(
    model: Model, found: Prediction, cut: np.ndarray, inside: Prompts, previous: ViewPrediction | None = None
) -> np.ndarray:
    """The mask of a crop, (h, w) bool, its outline drawn by the refiner or fitted to the grey values.

    Args:
        model: made the prediction.
        found: on the crop.
        cut: (h, w, 3) uint8, the crop.
        inside: the prompts, px of the crop.
        previous: what earlier prompts gave.
    """
    logits = model.refine(found, cut, inside) if model.has_refiner else refine_logits(found.logits(), cut)
    mask = constrained(logits, inside, previous)
    return without_flecks(mask, inside) if model.has_refiner else mask


def constrained(logits_hw: np.ndarray, prompts: Prompts, previous: ViewPrediction | None = None) -> np.ndarray:
    """The mask of a view, its points on their sides; where nothing is found, a scribble makes an object, no point.

    Args:
        logits_hw: (H, W) float32, positive inside the object.
        prompts: px of the logits.
        previous: what earlier prompts gave.
    """
    is_nothing = not (logits_hw > 0).any() and (previous is None or not previous.mask.any())
    is_nothing &= not any(stroke.label for stroke in prompts.strokes)
    return (logits_hw if is_nothing else constrained_logits(logits_hw, prompts)) > 0
