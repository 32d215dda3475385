"""The refiner on NumPy; see `model.refiner`, whose results it gives."""

from __future__ import annotations

from functools import partial

import numpy as np

from SAMMed2DLib.imaging.bilinear import resized
from SAMMed2DLib.inference.numpy_engine.functions import convolved, gelu_
from SAMMed2DLib.inference.numpy_engine.weights import NamedWeights

_SPOT_PX = 6.0
_LARGEST_LOGIT = 12.0
_DILATIONS = (1, 2, 4, 2, 1)


class NumpyRefiner:
    """A few dilated convolutions over the image, the decoder's logits and the prompts."""

    def __init__(self, weights: NamedWeights) -> None:
        """Lay out the weights of the part `refiner`."""
        names = ["first", *(f"middle.{n}" for n in range(len(_DILATIONS))), "last"]
        self._layers = [(weights.convolution(name), weights[f"{name}.bias"]) for name in names]

    def __call__(self, image: np.ndarray, logits: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """Correct logits.

        Args:
            image: (3, 2L, 2L) in 0..1.
            logits: (L, L), of the decoder.
            prompts: (3, L, L), prompts as maps.

        Returns:
            (2L, 2L) float32 logits.
        """
        side = len(logits)
        clamped = np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT)
        seen = np.empty((side, side, 17), np.float32)
        pixels = image.reshape(3, side, 2, side, 2).transpose(1, 3, 0, 2, 4).reshape(side, side, 12)
        np.subtract(pixels, np.float32(0.5), out=seen[..., :12])
        seen[..., 12] = clamped / 6
        seen[..., 13] = 1 / (1 + np.exp(-clamped)) - 0.5
        seen[..., 14:] = prompts.transpose(1, 2, 0)
        (first, first_bias), *middle, (last, last_bias) = self._layers
        x = convolved(seen, first, lambda band, _: gelu_(np.add(band, first_bias, out=band)))
        for (weight, bias), dilation in zip(middle, _DILATIONS, strict=True):
            x = convolved(x, weight, partial(_changed, x, bias), dilation)
        change = convolved(x, last, lambda band, _: np.add(band, last_bias, out=band))
        fine = change.reshape(side, side, 2, 2).swapaxes(1, 2).reshape(2 * side, 2 * side)
        return fine + resized(logits, (2 * side, 2 * side))


def _changed(x: np.ndarray, bias: np.ndarray, change: np.ndarray, rows: slice) -> np.ndarray:
    """Some rows of a map (H, W, D) and what is to change in them, before its bias and GELU."""
    change += bias
    gelu_(change)
    change += x[rows]
    return change


def prompt_maps(
    points: tuple[np.ndarray, np.ndarray] | None, boxes: np.ndarray | None, size: int, prompt_size: int
) -> np.ndarray:
    """Draw the prompts of one object as maps: positive points, negative points, the inside of the box.

    Args:
        points: (1, n, 2) coordinates, px of the prompts' frame, and (1, n) labels; None for no points.
        boxes: (1, 2, 2), px of the prompts' frame; None for no box.
        size: side of the maps, L.
        prompt_size: side of the frame that prompts are counted in, px.

    Returns:
        (3, L, L) float32 in 0..1.
    """
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(prompt_size / size) - np.float32(0.5)
    maps = np.zeros((3, size, size), np.float32)
    if points is not None:
        near = np.exp(-((centres - points[0][0, :, :, None]) ** 2) / np.float32(2 * _SPOT_PX**2))  # (n, 2, L)
        spots = near[:, 1, :, None] * near[:, 0, None, :]
        for channel, label in ((0, 1), (1, 0)):
            maps[channel] = spots[points[1][0] == label].max(axis=0, initial=0)
    if boxes is not None:
        (x0, y0), (x1, y1) = boxes[0]
        maps[2] = ((centres >= y0) & (centres < y1))[:, None] & ((centres >= x0) & (centres < x1))
    return maps
