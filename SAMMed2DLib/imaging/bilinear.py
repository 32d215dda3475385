"""Bilinear resizing with half-pixel centres, as PyTorch does it, as products with the weights of rows and columns.

The products run in one thread of NumPy's BLAS: more of them would spin beside the threads of PyTorch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from SAMMed2DLib.system.blas import one_blas_thread


def resized(x: np.ndarray, size_hw: tuple[int, int], *, antialias: bool = False) -> np.ndarray:
    """Resize maps bilinearly; none where the size is right.

    Args:
        x: (..., H, W) float32.
        size_hw: height and width that come out, px.
        antialias: let each pixel of a smaller map see all that it covers.

    Returns:
        (..., *size_hw) float32.
    """
    if tuple(x.shape[-2:]) == tuple(size_hw):
        return x
    down, across = (_weights(x.shape[axis], size_hw[axis], antialias) for axis in (-2, -1))
    with one_blas_thread():  # more would spin beside those of PyTorch, and slow them down
        return down @ (x @ across.T)


@lru_cache(maxsize=32)
def _weights(size: int, target: int, antialias: bool) -> np.ndarray:
    """How much each source pixel counts in each target pixel, (target, size) float32; rows sum to one."""
    scale = float(np.float32(size / target))  # PyTorch counts in single precision
    centres = (np.arange(target) + 0.5) * scale
    if antialias:
        distance = np.arange(size, dtype=np.float32) + 0.5 - centres.astype(np.float32)[:, None]
        weights = np.maximum(1 - np.abs(distance) / np.float32(max(scale, 1.0)), 0)
        return weights / weights.sum(axis=1, keepdims=True)
    centres = np.maximum((centres - 0.5).astype(np.float32), 0)
    first = np.minimum(centres.astype(np.intp), size - 1)
    share = centres - first.astype(np.float32)
    weights = np.zeros((target, size), np.float32)
    rows = np.arange(target)
    weights[rows, first] = 1 - share
    weights[rows, np.minimum(first + 1, size - 1)] += share
    return weights
