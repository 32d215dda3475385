"""The mask decoder on NumPy; see `model.mask_decoder` and `model.transformer`, whose results it gives.

Between a few tokens and a whole image, projections are moved from the image to the tokens, as there.
"""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.inference.numpy_engine.functions import gelu_, layer_norm, softmax_
from SAMMed2DLib.inference.numpy_engine.weights import Linear, NamedWeights

_NUM_MASKS = 4
_NORM_EPS = 1e-5
_UPSCALING_NORM_EPS = 1e-6


class NumpyMaskDecoder:
    """Features and prompt tokens to logits and predicted IoU, three of each for an object."""

    def __init__(self, weights: NamedWeights, depth: int, num_heads: int) -> None:
        """Lay out the weights.

        Args:
            weights: of the part `mask_decoder`.
            depth: layers of the transformer.
            num_heads: its attention heads.
        """
        self._outputs = np.concatenate([weights["iou_token.weight"], weights["mask_tokens.weight"]])
        transformer = weights.part("transformer")
        self._layers = [_Layer(transformer.part(f"layers.{i}"), num_heads, first=i == 0) for i in range(depth)]
        self._final = _Attention(transformer.part("final_attn_token_to_image"), num_heads)
        self._final_norm = transformer.norm("norm_final_attn")
        upscaling = weights.part("output_upscaling")
        self._upscaling = _times_four(upscaling, "0"), _times_four(upscaling, "3")
        self._upscaling_norm = upscaling.norm("1")
        self._hypernetworks = [_mlp(weights.part(f"output_hypernetworks_mlps.{k}")) for k in range(1, _NUM_MASKS)]
        self._scores = _mlp(weights.part("iou_prediction_head"))

    def __call__(
        self, image: np.ndarray, image_pe: np.ndarray, prompts: np.ndarray, best: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode masks.

        Args:
            image: (1 or B, g * g, dim), features with the encoded mask prompt.
            image_pe: (g * g, dim), their positions.
            prompts: (B, N, dim), tokens.
            best: return, for each object, only the mask with the largest predicted IoU.

        Returns:
            logits (B, 3 or 1, 4g, 4g) and predicted IoU (B, 3 or 1).
        """
        outputs = np.broadcast_to(self._outputs, (len(prompts), *self._outputs.shape))
        tokens = token_pe = np.concatenate([outputs, prompts], axis=1)
        for layer in self._layers:
            tokens, image = layer(tokens, token_pe, image, image_pe)
        tokens, token_pe = tokens[:, : 1 + _NUM_MASKS], token_pe[:, : 1 + _NUM_MASKS]
        tokens = tokens + self._final.read_image(tokens + token_pe, image, image_pe)
        tokens = layer_norm(tokens, *self._final_norm, _NORM_EPS)
        scores = _run(self._scores, tokens[:, 0])[:, 1:]
        chosen = scores.argmax(axis=1)[:, None] if best else np.tile(np.arange(_NUM_MASKS - 1), (len(scores), 1))
        weights = np.stack([
            np.stack([_run(self._hypernetworks[k], tokens[n, 1 + (k + 1)]) for k in numbers], axis=-1)
            for n, numbers in enumerate(chosen)
        ])  # (B, dim / 8, M)
        logits = _unfolded(self._upscaled(image) @ weights)
        return logits, np.take_along_axis(scores, chosen, axis=1)

    def _upscaled(self, image: np.ndarray) -> np.ndarray:
        """The four-fold upscaling of (B, g * g, dim) to (B, g * g * 16, dim / 8), pixel by pixel."""
        first, second = self._upscaling
        x = first(image).reshape(len(image), 4 * image.shape[1], -1)
        x = second(gelu_(layer_norm(x, *self._upscaling_norm, _UPSCALING_NORM_EPS)))
        return gelu_(x.reshape(len(image), 16 * image.shape[1], -1))


class _Layer:
    """Self-attention, tokens to image, MLP, image to tokens, each with its norm."""

    def __init__(self, weights: NamedWeights, num_heads: int, first: bool) -> None:
        self._is_first = first
        self._self = _Attention(weights.part("self_attn"), num_heads)
        self._to_image = _Attention(weights.part("cross_attn_token_to_image"), num_heads)
        self._to_tokens = _Attention(weights.part("cross_attn_image_to_token"), num_heads)
        self._norms = [weights.norm(f"norm{n}") for n in range(1, 5)]
        self._mlp = weights.linear("mlp.lin1"), weights.linear("mlp.lin2")

    def __call__(
        self, tokens: np.ndarray, token_pe: np.ndarray, image: np.ndarray, image_pe: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._is_first:
            tokens = self._self(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + self._self(placed, placed, tokens)
        tokens = layer_norm(tokens, *self._norms[0], _NORM_EPS)
        tokens = tokens + self._to_image.read_image(tokens + token_pe, image, image_pe)
        tokens = layer_norm(tokens, *self._norms[1], _NORM_EPS)
        first, second = self._mlp
        tokens = layer_norm(tokens + second(np.maximum(first(tokens), 0)), *self._norms[2], _NORM_EPS)
        image = self._to_tokens.read_tokens(image, image_pe, tokens + token_pe, tokens)
        return tokens, layer_norm(image, *self._norms[3], _NORM_EPS)


class _Attention:
    """Multi-head attention; batches are equal or 1."""

    def __init__(self, weights: NamedWeights, num_heads: int) -> None:
        self._heads = num_heads
        self._q, self._k, self._v = (weights.linear(f"{name}_proj") for name in "qkv")
        self._out = weights.linear("out_proj")
        inner = self._q.weight.shape[1]
        scale = np.float32((inner // num_heads) ** -0.5)
        self._q = Linear(self._q.weight * scale, self._q.bias * scale)
        self._q_by_head, self._k_by_head, self._v_by_head = (
            np.ascontiguousarray(layer.weight.reshape(-1, num_heads, inner // num_heads).transpose(1, 0, 2))
            for layer in (self._q, self._k, self._v)
        )  # (heads, dim, d)
        self._out_by_head = self._out.weight.reshape(num_heads, inner // num_heads, -1)

    def __call__(self, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        """Attend: (Bq, n, dim) to (Bk, m, dim), giving (B, n, dim)."""
        weights = softmax_(self._by_head(self._q(query)) @ self._by_head(self._k(key)).swapaxes(-1, -2))
        return self._out(self._joined(weights @ self._by_head(self._v(value))))

    def read_image(self, tokens: np.ndarray, image: np.ndarray, image_pe: np.ndarray) -> np.ndarray:
        """Let tokens (B, n, dim), with their positions, attend to an image (B or 1, m, dim): (B, n, dim)."""
        if not self._is_short(tokens):
            return self(tokens, image + image_pe, image)
        batch, count, dim = tokens.shape
        # A bias of the keys drops out of the softmax, and one of the values is added to a sum of weights of one.
        moved = self._by_head(self._q(tokens)) @ self._k_by_head.swapaxes(-1, -2)
        moved = moved.reshape(batch, self._heads * count, dim)
        seen = softmax_(moved @ (image + image_pe).swapaxes(-1, -2)) @ image
        value = seen.reshape(batch, self._heads, count, dim) @ self._v_by_head
        joined = self._joined(value)
        joined += self._v.bias
        return self._out(joined)

    def read_tokens(
        self, image: np.ndarray, image_pe: np.ndarray, keys: np.ndarray, tokens: np.ndarray
    ) -> np.ndarray:
        """Let an image (B or 1, m, dim) attend to tokens (B, n, dim), and add what it reads: (B, m, dim)."""
        if not self._is_short(tokens):
            return image + self(image + image_pe, keys, tokens)
        batch, count, dim = tokens.shape
        projected = self._by_head(self._k(keys))  # (B, heads, n, d)
        moved = (projected @ self._q_by_head.swapaxes(-1, -2)).reshape(batch, self._heads * count, dim)
        logits = moved @ (image + image_pe).swapaxes(-1, -2)
        logits += (projected @ self._q.bias.reshape(self._heads, -1, 1)).reshape(batch, -1, 1)
        weights = softmax_(logits.reshape(batch, self._heads, count, -1), axis=2).reshape(logits.shape)
        values = (self._by_head(self._v(tokens)) @ self._out_by_head).reshape(batch, self._heads * count, dim)
        out = weights.swapaxes(-1, -2) @ values
        out += self._out.bias
        out += image
        return out

    def _is_short(self, tokens: np.ndarray) -> bool:
        """Whether moving a projection from the image to the tokens (B, n, dim) saves work."""
        return self._heads * tokens.shape[1] <= self._q.weight.shape[1]

    def _by_head(self, x: np.ndarray) -> np.ndarray:
        """(B, n, heads * d) to (B, heads, n, d)."""
        return x.reshape(len(x), x.shape[1], self._heads, -1).swapaxes(1, 2)

    @staticmethod
    def _joined(x: np.ndarray) -> np.ndarray:
        """(B, heads, n, d) to (B, n, heads * d), contiguous."""
        return x.swapaxes(1, 2).reshape(len(x), x.shape[2], -1)


def _mlp(weights: NamedWeights) -> list[Linear]:
    layers: list[Linear] = []
    while weights.has(f"layers.{len(layers)}"):
        layers.append(weights.linear(f"layers.{len(layers)}"))
    return layers


def _run(layers: list[Linear], x: np.ndarray) -> np.ndarray:
    """Linear layers with ReLU between them."""
    for layer in layers[:-1]:
        x = np.maximum(layer(x), 0)
    return layers[-1](x)


def _times_four(weights: NamedWeights, name: str) -> Linear:
    """A transposed convolution of 2 x 2 px of stride 2 as a product, (in, 4 * out)."""
    weight = weights[f"{name}.weight"]
    flat = np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(len(weight), -1))
    return Linear(flat, np.tile(weights[f"{name}.bias"], 4))


def _unfolded(x: np.ndarray) -> np.ndarray:
    """Pixels (B, g * g * 16, M), each of 2 x 2 of 2 x 2, to maps (B, M, 4g, 4g)."""
    batch, pixels, masks = x.shape
    grid = round((pixels // 16) ** 0.5)
    x = x.reshape(batch, grid, grid, 2, 2, 2, 2, masks).transpose(0, 7, 1, 3, 5, 2, 4, 6)
    return np.ascontiguousarray(x).reshape(batch, masks, 4 * grid, 4 * grid)
