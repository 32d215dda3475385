"""NamedWeights by their published names, laid out for products of matrices with channels last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.inference.numpy_engine.functions import Depthwise

_BATCH_NORM_EPS = 1e-5
_LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class Linear:
    """A product with a matrix and a shift.

    Attributes:
        weight: (in, out) float32.
        bias: (out,) float32.
    """

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Map (..., in) to (..., out)."""
        out = x.reshape(-1, x.shape[-1]) @ self.weight
        out += self.bias
        return out.reshape(*x.shape[:-1], -1)


class NamedWeights:
    """The weights of one part of the network, by their names within it."""

    def __init__(self, state: Mapping[str, np.ndarray], prefix: str = "") -> None:
        """Look at a part of a state.

        Args:
            state: name to array, as in the published state dict.
            prefix: of the names of the part.
        """
        self._state = state
        self._prefix = prefix

    def part(self, name: str) -> NamedWeights:
        """The weights of a part of this part."""
        return NamedWeights(self._state, f"{self._prefix}{name}.")

    def has(self, name: str) -> bool:
        """Whether there are weights of this part."""
        return any(key.startswith(f"{self._prefix}{name}.") for key in self._state)

    def __getitem__(self, name: str) -> np.ndarray:
        """An array, float32, contiguous."""
        return np.ascontiguousarray(self._state[self._prefix + name], np.float32)

    def linear(self, name: str) -> Linear:
        """A linear layer, whose weight is (out, in) in the file."""
        return Linear(np.ascontiguousarray(self[f"{name}.weight"].T), self[f"{name}.bias"])

    def normed_linear(self, norm: str, name: str) -> Linear:
        """A linear layer after a layer norm, whose scale and shift become part of it."""
        layer = self.linear(name)
        scale, shift = self[f"{norm}.weight"], self[f"{norm}.bias"]
        return Linear(np.ascontiguousarray(scale[:, None] * layer.weight), layer.bias + shift @ layer.weight)

    def norm(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift of a norm."""
        return self[f"{name}.weight"], self[f"{name}.bias"]

    def pointwise(self, name: str) -> Linear:
        """A convolution of one pixel and its batch norm."""
        weight, bias = self._folded(name)
        return Linear(np.ascontiguousarray(weight[:, :, 0, 0].T), bias)

    def depthwise(self, name: str, stride: int = 1) -> Depthwise:
        """A convolution of 3 x 3 px channel by channel and its batch norm."""
        weight, bias = self._folded(name)
        return Depthwise(np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0).reshape(9, -1)), bias, stride)

    def convolution(self, name: str) -> np.ndarray:
        """A convolution of 3 x 3 px for `convolved`: (9 * in, out)."""
        weight = self[f"{name}.weight"]
        return np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)))

    def _folded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a convolution with its batch norm, which is one convolution in inference."""
        variance, mean = self[f"{name}.bn.running_var"], self[f"{name}.bn.running_mean"]
        scale = self[f"{name}.bn.weight"] / np.sqrt(variance + np.float32(_BATCH_NORM_EPS))
        return self[f"{name}.c.weight"] * scale[:, None, None, None], self[f"{name}.bn.bias"] - mean * scale
