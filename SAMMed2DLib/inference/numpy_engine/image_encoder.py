"""TinyViT on NumPy, one image at a time; see `model.tiny_vit`, whose results it gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAMMed2DLib.inference.numpy_engine.functions import (
    convolved,
    gelu_,
    layer_norm,
    normalised,
    softmax_,
)
from SAMMed2DLib.inference.numpy_engine.threads import each, each_band, rows_of_a_band, threads
from SAMMed2DLib.inference.numpy_engine.weights import Linear, NamedWeights

_HEAD_DIM = 32
_BLOCK_NORM_EPS = 1e-5
_NECK_NORM_EPS = 1e-6

CheckStop = Callable[[], None]


class NumpyImageEncoder:
    """Images to feature maps: stem, stages with merging between them, neck."""

    def __init__(
        self, weights: NamedWeights, depths: tuple[int, ...], windows: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        """Lay out the weights.

        Args:
            weights: of the part `image_encoder`.
            depths: blocks of each stage.
            windows: side of the attention windows of each stage, tokens; that of the first stage is ignored.
            strides: of the merging after each stage but the last.
        """
        stem = weights.part("patch_embed").part("seq")
        self._stem = stem.pointwise("0"), stem.pointwise("2")
        self._blocks: list[Callable[[np.ndarray], np.ndarray]] = []
        for stage, (depth, window) in enumerate(zip(depths, windows, strict=True)):
            part = weights.part(f"layers.{stage}")
            for number in range(depth):
                block = part.part(f"blocks.{number}")
                self._blocks.append(_AttentionBlock(block, window) if stage else _ConvBlock(block))
            if stage < len(strides):
                self._blocks.append(_Merging(part.part("downsample"), strides[stage]))
        neck = weights.part("neck")
        self._narrow = np.ascontiguousarray(neck["0.weight"][:, :, 0, 0].T)
        self._norms = neck.norm("1"), neck.norm("3")
        self._last = neck.convolution("2")

    def __call__(self, image: np.ndarray, check_stop: CheckStop) -> np.ndarray:
        """Encode one image.

        Args:
            image: (3, S, S) float32, normalised; S is a multiple of the stride.
            check_stop: raises where the work is to end early; called before every block.

        Returns:
            (g, g, dim) float32.
        """
        x = self._begun(np.ascontiguousarray(image.transpose(1, 2, 0)))
        for block in self._blocks:
            check_stop()
            x = block(x)
        return self._ended(x)

    def _begun(self, image: np.ndarray) -> np.ndarray:
        """The stem, of (S, S, 3)."""
        height, width, _ = image.shape
        first_layer, second_layer = self._stem
        out = np.empty((height, width, second_layer.weight.shape[1]), np.float32)

        def begin(first: int, last: int) -> None:
            out[first:last] = second_layer(gelu_(first_layer(image[first:last])))

        each_band(begin, height, width)
        return out

    def _ended(self, x: np.ndarray) -> np.ndarray:
        """The neck, of (g, g, C)."""
        out = np.empty((*x.shape[:2], self._narrow.shape[1]), np.float32)

        def narrow(first: int, last: int) -> None:
            out[first:last] = layer_norm(x[first:last] @ self._narrow, *self._norms[0], _NECK_NORM_EPS)

        each_band(narrow, *x.shape[:2])
        return convolved(out, self._last, lambda band, _: layer_norm(band, *self._norms[1], _NECK_NORM_EPS))


def _widened(x: np.ndarray, layer: Linear) -> np.ndarray:
    """A pointwise convolution and GELU of (H, W, C), with a border of zeros: (H + 2, W + 2, D)."""
    height, width, _ = x.shape
    out = np.zeros((height + 2, width + 2, layer.weight.shape[1]), np.float32)

    def widen(first: int, last: int) -> None:
        out[1 + first : 1 + last, 1:-1] = gelu_(layer(x[first:last]))

    each_band(widen, height, width)
    return out


class _ConvBlock:
    """Widen, look at the neighbours channel by channel, narrow, add."""

    def __init__(self, weights: NamedWeights) -> None:
        self._wide, self._narrow = weights.pointwise("conv1"), weights.pointwise("conv3")
        self._around = weights.depthwise("conv2")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        wide, out = _widened(x, self._wide), np.empty_like(x)

        def narrow(first: int, last: int) -> None:
            part = self._narrow(gelu_(self._around.rows(wide, first, last)))
            part += x[first:last]
            out[first:last] = gelu_(part)

        each_band(narrow, len(x), x.shape[1])
        return out


class _Merging:
    """To another width, and to a coarser map where the stride is 2."""

    def __init__(self, weights: NamedWeights, stride: int) -> None:
        self._first, self._last = weights.pointwise("conv1"), weights.pointwise("conv3")
        self._around = weights.depthwise("conv2", stride)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        wide, step = _widened(x, self._first), self._around.stride
        height, width = ((size + step - 1) // step for size in x.shape[:2])
        out = np.empty((height, width, self._last.weight.shape[1]), np.float32)

        def merge(first: int, last: int) -> None:
            out[first:last] = self._last(gelu_(self._around.rows(wide, first, last)))

        each_band(merge, height, width)
        return out


class _AttentionBlock:
    """Window attention, a convolution channel by channel, and an MLP."""

    def __init__(self, weights: NamedWeights, window: int) -> None:
        self._window = window
        attention = weights.part("attn")
        self._qkv, self._out = attention.normed_linear("norm", "qkv"), attention.linear("proj")
        biases = attention["attention_biases"]
        self._heads = len(biases)
        queries = np.tile(np.repeat([True, False, False], _HEAD_DIM), self._heads)
        scale = np.where(queries, np.float32(_HEAD_DIM**-0.5), np.float32(1))
        self._qkv = Linear(self._qkv.weight * scale, self._qkv.bias * scale)
        self._biases = np.ascontiguousarray(biases[:, _distances(window)])  # (heads, n * n, n * n)
        self._around = weights.depthwise("local_conv")
        mlp = weights.part("mlp")
        self._first, self._second = mlp.normed_linear("norm", "fc1"), mlp.linear("fc2")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        height, width, dim = x.shape
        padded = np.zeros((height + 2, width + 2, dim), np.float32)
        np.add(x, self._attended(x), out=padded[1:-1, 1:-1])
        out = np.empty_like(x)

        def mix(first: int, last: int) -> None:
            tokens = self._around.rows(padded, first, last)
            np.add(tokens, self._second(gelu_(self._first(normalised(tokens, _BLOCK_NORM_EPS)))), out=out[first:last])

        each_band(mix, height, width)
        return out

    def _attended(self, x: np.ndarray) -> np.ndarray:
        """Attention within windows of (H, W, C); what is padded takes part as keys, as in training."""
        height, width, dim = x.shape
        side = self._window
        below, right = -height % side, -width % side
        if below or right:
            x = np.pad(x, ((0, below), (0, right), (0, 0)))
        rows, columns = x.shape[0] // side, x.shape[1] // side
        windows = x.reshape(rows, side, columns, side, dim).swapaxes(1, 2).reshape(-1, side * side, dim)
        tokens = windows.reshape(-1, dim)
        qkv = np.empty((len(tokens), 3 * dim), np.float32)

        def project(first: int, last: int) -> None:
            qkv[first:last] = self._qkv(normalised(tokens[first:last], _BLOCK_NORM_EPS))

        each_band(project, len(tokens), 1)
        by_head = qkv.reshape(len(windows), side * side, self._heads, 3, -1)
        query, key, value = (by_head[:, :, :, part].swapaxes(1, 2) for part in range(3))
        attended = np.empty_like(windows)

        def attend(piece: tuple[slice, slice]) -> None:
            some, queries = piece
            weights = query[some, :, queries] @ key[some].swapaxes(-1, -2)
            weights += self._biases[:, queries]
            seen = (softmax_(weights) @ value[some]).swapaxes(1, 2)
            attended[some, queries] = self._out(seen.reshape(*seen.shape[:2], dim))

        each(attend, _pieces(len(windows), side * side))
        out = attended.reshape(rows, columns, side, side, dim).swapaxes(1, 2)
        return out.reshape(rows * side, columns * side, dim)[:height, :width]


def _pieces(windows: int, tokens: int) -> list[tuple[slice, slice]]:
    """Which windows, and which of their tokens as queries, are worked on at a time: parts of them if they are few."""
    step = rows_of_a_band(windows, tokens)
    parts = -(-threads() // windows)
    return [
        (slice(first, first + step), slice(part * tokens // parts, (part + 1) * tokens // parts))
        for first in range(0, windows, step)
        for part in range(parts)
    ]


def _distances(window: int) -> np.ndarray:
    """Number of the distance between any two tokens of a window: rows apart times its side, plus columns apart."""
    row, column = np.divmod(np.arange(window**2), window)
    return np.abs(row[:, None] - row) * window + np.abs(column[:, None] - column)
