"""Reference weights that anyone can rebuild: every array follows from a parameter's name and shape.

The golden files beside this one hold what the published network computes on these weights. The numbers
must therefore never change; the kind of a parameter decides only how far its values spread.
"""

from __future__ import annotations

import math
import zlib

import numpy as np

_TABLE_SPREADS = (  # first match wins; a lookup table is not a matrix, so it has no fan-in
    ("rel_pos", 0.25),
    ("gaussian_matrix", 1.5),
    ("pos_embed", 1.0),
    ("point_embeddings", 1.0),
    ("not_a_point_embed", 1.0),
    ("no_mask_embed", 1.0),
    ("iou_token", 1.0),
    ("mask_tokens", 1.0),
)
_TAPS_OF_TRANSPOSED = ((".spatial.2.", 4), ("output_upscaling", 1))  # kernel taps that reach one output pixel


def golden_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Build the reference value of one parameter.

    Args:
        name: the parameter's full name in the state dict.
        shape: its shape, at least one dimension.

    Returns:
        float32 array of `shape`: uniform noise around 0 (around 1 for the scales and variances of norm layers).
    """
    noise = _noise(name, shape)
    if len(shape) == 1:
        values = 1.0 + 0.25 * noise if name.endswith((".weight", ".running_var")) else 0.2 * noise
    else:
        values = noise * _spread(name, shape)
    return values.astype(np.float32)


def _noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform float64 noise in [-1, 1) whose seed is the checksum of the name."""
    seed = zlib.crc32(name.encode("utf-8"))
    draws = np.random.Generator(np.random.PCG64(seed)).random(math.prod(shape))
    return (2.0 * draws - 1.0).reshape(shape)


def _spread(name: str, shape: tuple[int, ...]) -> float:
    """Half-width of the noise: fixed for tables, variance 1 / fan-in for matrices and kernels."""
    for part, spread in _TABLE_SPREADS:
        if part in name:
            return spread
    return float(np.sqrt(3.0 / _fan_in(name, shape)))


def _fan_in(name: str, shape: tuple[int, ...]) -> int:
    """Inputs that add up in one output value; transposed kernels store input channels first."""
    if len(shape) == 4:
        for part, taps in _TAPS_OF_TRANSPOSED:
            if part in name:
                return shape[0] * taps
    return math.prod(shape[1:])
