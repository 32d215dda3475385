"""Fit a coarse mask to the grey values of its image: edges that the model's few logits cannot follow.

The model answers with 64 x 64 logits, so its outlines are round. Where it is sure, its answer says how bright the
object and its surroundings are; where it is not, that decides (docs/decisions/outlines-follow-grey-values.md).
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.imaging.components import parts_touching
from SAMMed2DLib.imaging.intensity import is_grey, smoothed_histogram

# What grey values weigh, in units of the model's logits for one unit of log odds, and the most that they may say.
WEIGHT = 1.5
MOST_ODDS = 2.0
# Pixels that the model finds less likely than this are too far from the object to tell what surrounds it.
SURROUNDINGS_LOGIT = -8.0
# Histograms are smoothed by this many grey values (standard deviation), and odds by this share of the longer side.
HISTOGRAM_BLUR = 3.0
ODDS_BLUR = 1 / 128
# Added to shares of a histogram: a grey value that neither holds says nothing.
_LEAST_SHARE = 2e-4


def refine_logits(logits_hw: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Add to logits what grey values or colours say, so that their sign follows the edges of the image.

    Args:
        logits_hw: (H, W) float, positive inside the object.
        image: (H, W, 3) uint8, what the model saw.
    Returns:
        (H, W) float, positive in parts that touch what the model says; where the model finds no object, or nothing but
        object, or grey values leave nothing of it, the logits themselves.
    """
    probability = 1 / (1 + np.exp(-np.clip(logits_hw, -20, 20)))
    sure = np.abs(2 * probability - 1) * (logits_hw > SURROUNDINGS_LOGIT)
    inside, outside = probability * sure, (1 - probability) * sure
    if not ((logits_hw > 0).any() and outside.any()):
        return logits_hw
    odds = _smoothed(_odds(image, inside, outside), ODDS_BLUR * max(logits_hw.shape))
    fitted = logits_hw + WEIGHT * np.clip(odds, -MOST_ODDS, MOST_ODDS)
    kept = parts_touching(fitted > 0, logits_hw > 0)  # others are flecks beside the object that have its grey values
    return np.where((fitted > 0) & ~kept, logits_hw, fitted) if kept.any() else logits_hw


def _odds(image: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """(H, W) log odds that a pixel of this colour is inside; channels count half each, since they say much the same."""
    if is_grey(image):
        return _channel_odds(image[..., 0], inside, outside)
    return np.sum([_channel_odds(image[..., channel], inside, outside) for channel in range(3)], axis=0) / 2


def _channel_odds(channel: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """(H, W) log odds by one channel."""
    of_object, of_surroundings = (_shares(channel, weights) for weights in (inside, outside))
    return np.log((of_object + _LEAST_SHARE) / (of_surroundings + _LEAST_SHARE)).astype(np.float32)[channel]


def _shares(channel: np.ndarray, weights: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), weights.ravel(), 256)
    blurred = smoothed_histogram(counts, HISTOGRAM_BLUR)
    return blurred / blurred.sum()


def _smoothed(values: np.ndarray, sigma_px: float) -> np.ndarray:
    """Two running means along each axis, together about as wide as a normal distribution."""
    half = int((np.sqrt(6 * sigma_px**2 + 1) - 1) / 2 + 0.5)
    for axis in (0, 0, 1, 1) if half else ():
        values = _running_mean(values, half, axis)
    return values


def _running_mean(values: np.ndarray, half: int, axis: int) -> np.ndarray:
    widths = [(half + 1, half) if at == axis else (0, 0) for at in range(2)]
    sums = np.pad(values, widths, mode="edge").cumsum(axis=axis, dtype=np.float64)
    width = 2 * half + 1
    high = np.take(sums, range(width, sums.shape[axis]), axis)
    return (high - np.take(sums, range(sums.shape[axis] - width), axis)) / width
