"""Activations, norms and convolutions on NumPy: channels last, float32, in blocks that fit a processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAMMed2DLib.inference.numpy_engine.threads import each_band

# x / (1 + exp(-x Q(x^2))) is GELU where Q(x^2) = logit(Phi(x)) / x; of degree 6 it is off by 7e-8 at the most, found by
# linear programming with the weight that Q has in the result, for x up to 6.5. Beyond, Q stays large: it is x or 0.
_GELU = (
    3.6112299977500027e-09,
    -2.6689269305979015e-07,
    7.938216931083634e-06,
    -1.1048030306472207e-04,
    -6.62600307530609e-05,
    7.266856708094496e-02,
    1.5957684322157388,
)
_MINUS_GELU = tuple(np.float32(-value) for value in _GELU)
_ONE = np.float32(1)
# Numbers that are worked on at a time: about a band. With fewer of them threads would wait longer for Python's lock,
# which each one takes between any two operations of NumPy, than a nearer cache gains.
_BLOCK = 131_072

_CONVOLVED_AT_A_TIME = 262_144  # numbers of pixels with their neighbours, likewise


def gelu_(x: np.ndarray) -> np.ndarray:
    """Apply the exact GELU in place, as `torch.nn.GELU` does, to a contiguous float32 array."""
    flat = x.reshape(-1)
    first, second = np.empty(min(_BLOCK, flat.size), np.float32), np.empty(min(_BLOCK, flat.size), np.float32)
    with np.errstate(over="ignore"):  # far below zero, where the result is 0
        for start in range(0, flat.size, _BLOCK):
            part = flat[start : start + _BLOCK]
            square, power = first[: part.size], second[: part.size]
            np.multiply(part, part, out=square)
            np.multiply(square, _MINUS_GELU[0], out=power)
            for coefficient in _MINUS_GELU[1:-1]:
                power += coefficient
                power *= square
            power += _MINUS_GELU[-1]
            power *= part
            np.exp(power, out=power)
            power += _ONE
            part /= power
    return x


def normalised(x: np.ndarray, eps: float) -> np.ndarray:
    """Subtract the mean of the last axis and divide by its standard deviation: a layer norm's first half."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...c,...c->...", centred, centred)[..., None] / np.float32(x.shape[-1])
    variance += np.float32(eps)
    centred /= np.sqrt(variance, out=variance)
    return centred


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """Normalise over the last axis, scale and shift.

    Args:
        x: (..., C).
        weight: (C,).
        bias: (C,).
        eps: added to the variance.
    """
    out = normalised(x, eps)
    out *= weight
    out += bias
    return out


def softmax_(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Turn logits into weights that sum to one along an axis, in place."""
    x -= x.max(axis=axis, keepdims=True)
    np.exp(x, out=x)
    x /= x.sum(axis=axis, keepdims=True)
    return x


def convolved(
    x: np.ndarray,
    weight: np.ndarray,
    finished: Callable[[np.ndarray, slice], np.ndarray],
    dilation: int = 1,
) -> np.ndarray:
    """Convolve with 3 x 3 pixels, the map keeping its size, as a product of matrices for each band.

    Args:
        x: (H, W, C).
        weight: (9 * C, D): rows, columns, channels in; channels out.
        finished: what becomes of the product of a band, (rows, W, D), and of which rows it is.
        dilation: px from one to the next of the 3 pixels.

    Returns:
        (H, W, D).
    """
    height, width, channels = x.shape
    padded = np.pad(x, ((dilation, dilation), (dilation, dilation), (0, 0)))
    out = np.empty((height, width, weight.shape[1]), np.float32)

    def convolve(first: int, last: int) -> None:
        seen = np.empty((last - first, width, 9, channels), np.float32)
        for tap in range(9):
            row, column = dilation * (tap // 3), dilation * (tap % 3)
            seen[:, :, tap] = padded[first + row : last + row, column : column + width]
        product = (seen.reshape(-1, len(weight)) @ weight).reshape(last - first, width, -1)
        out[first:last] = finished(product, slice(first, last))

    each_band(convolve, height, width, _CONVOLVED_AT_A_TIME // len(weight))
    return out


class Depthwise:
    """A 3 x 3 convolution channel by channel, as a sum over shifted slices."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray, stride: int) -> None:
        """Keep the weights.

        Args:
            weight: (9, C).
            bias: (C,).
            stride: px from one output pixel to the next.
        """
        self.stride = stride
        self._columns = max(1, _BLOCK // (4 * weight.shape[1]))
        # Repeated along the columns of a tile, so that products run over long stretches of memory.
        self._weight = np.tile(weight, (1, self._columns))
        self._bias = np.tile(bias, self._columns)

    def rows(self, padded: np.ndarray, first: int, last: int) -> np.ndarray:
        """Convolve some rows of a map.

        Args:
            padded: (H + 2, W + 2, C), with a border of zeros.
            first: output row.
            last: the output row after the last one.

        Returns:
            (last - first, W', C), contiguous.
        """
        step, channels = self.stride, padded.shape[2]
        height, width = last - first, (padded.shape[1] - 2 + step - 1) // step
        columns = min(self._columns, width, max(1, _BLOCK // (height * channels)))
        lines = padded.reshape(len(padded), -1)
        out = np.empty((height, width * channels), np.float32)
        scratch = np.empty((2, height * columns * channels), np.float32)
        for left in range(0, width, columns):
            count = min(columns, width - left)
            size = count * channels
            total, part = (each[: height * size].reshape(height, size) for each in scratch)
            for tap in range(9):
                row, column = step * first + tap // 3, step * left + tap % 3
                below, right = row + step * (height - 1) + 1, column + step * (count - 1) + 1
                weight = self._weight[tap, :size]
                if step == 1:
                    np.multiply(lines[row:below, column * channels : right * channels], weight, out=part)
                else:
                    seen = padded[row:below:step, column:right:step]
                    np.multiply(seen, weight.reshape(count, channels), out=part.reshape(seen.shape))
                if tap:
                    total += part
                else:
                    np.add(part, self._bias[:size], out=total)
            out[:, left * channels : left * channels + size] = total
        return out.reshape(height, width, channels)
