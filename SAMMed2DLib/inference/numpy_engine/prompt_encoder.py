"""Points, boxes and mask prompts on NumPy; see `model.prompt_encoder`, whose results it gives."""

from __future__ import annotations

import numpy as np

from SAMMed2DLib.inference.numpy_engine.functions import gelu_, layer_norm
from SAMMed2DLib.inference.numpy_engine.weights import Linear, NamedWeights

_NOT_A_POINT = -1
_MASK_NORM_EPS = 1e-6


class NumpyPromptEncoder:
    """Prompts of B objects; coordinates are (x, y), px of the frame that prompts are counted in."""

    def __init__(self, weights: NamedWeights, prompt_size: int) -> None:
        """Lay out the weights.

        Args:
            weights: of the part `prompt_encoder`.
            prompt_size: side of the frame that points and boxes are counted in, px.
        """
        self._prompt_size = prompt_size
        self._matrix = weights["pe_layer.positional_encoding_gaussian_matrix"]
        points = [weights[f"point_embeddings.{kind}.weight"] for kind in range(4)]
        self._kinds = np.concatenate([weights["not_a_point_embed.weight"], *points[:2]])
        self._corners = np.concatenate(points[2:])
        self.no_mask = weights["no_mask_embed.weight"]
        downscaling = weights.part("mask_downscaling")
        self._mask_layers = [_of_2x2(downscaling, "0"), _of_2x2(downscaling, "3")]
        self._mask_norms = [downscaling.norm("1"), downscaling.norm("4")]
        self._mask_last = Linear(
            np.ascontiguousarray(downscaling["6.weight"][:, :, 0, 0].T), downscaling["6.bias"]
        )

    def tokens(self, points: tuple[np.ndarray, np.ndarray] | None, boxes: np.ndarray | None, count: int) -> np.ndarray:
        """Encode points and boxes: one token per point, two per box, one more for points without a box.

        Args:
            points: (B, n, 2) coordinates and (B, n) labels; None for no points.
            boxes: (B, 2, 2) corners; None for no boxes.
            count: B.

        Returns:
            (B, N, dim).
        """
        found = []
        if points is not None:
            xy, labels = points[0] + np.float32(0.5), points[1]
            if boxes is None:
                xy = np.concatenate([xy, np.zeros((len(xy), 1, 2), np.float32)], axis=1)
                labels = np.concatenate([labels, np.full((len(labels), 1), _NOT_A_POINT)], axis=1)
            is_point = (labels != _NOT_A_POINT)[..., None]
            found.append(self._positions(xy / np.float32(self._prompt_size)) * is_point + self._kinds[labels + 1])
        if boxes is not None:
            found.append(self._positions((boxes + np.float32(0.5)) / np.float32(self._prompt_size)) + self._corners)
        return np.concatenate(found, axis=1) if found else np.zeros((count, 0, self._kinds.shape[1]), np.float32)

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """Encode mask prompts, probabilities (B, 4g, 4g), to (B, g * g, dim)."""
        x = masks[..., None]
        for layer, norm in zip(self._mask_layers, self._mask_norms, strict=True):
            x = gelu_(layer_norm(layer(_by_2x2(x)), *norm, _MASK_NORM_EPS))
        return self._mask_last(x.reshape(len(x), -1, x.shape[-1]))

    def grid_positions(self, grid: int) -> np.ndarray:
        """Positional encoding of a token grid, (g * g, dim)."""
        centres = (np.arange(grid, dtype=np.float32) + np.float32(0.5)) / np.float32(grid)
        y, x = np.meshgrid(centres, centres, indexing="ij")
        return self._positions(np.stack([x, y], axis=-1)).reshape(grid * grid, -1)

    def _positions(self, unit_xy: np.ndarray) -> np.ndarray:
        """Random Fourier features of positions (..., 2), as fractions of width and height."""
        angles = np.float32(2 * np.pi) * ((2 * unit_xy.astype(np.float32) - 1) @ self._matrix)
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)


def _of_2x2(weights: NamedWeights, name: str) -> Linear:
    """A convolution of 2 x 2 px of stride 2 as a product."""
    weight = weights[f"{name}.weight"]
    return Linear(np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))), weights[f"{name}.bias"])


def _by_2x2(x: np.ndarray) -> np.ndarray:
    """(B, 2h, 2w, C) to (B, h, w, 4C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return x.reshape(batch, height // 2, width // 2, -1)
