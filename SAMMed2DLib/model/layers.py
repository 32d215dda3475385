"""The two small layers that several parts of the network share."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of an NCHW map, pixel by pixel (eps 1e-6)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        """Create the scale (ones) and shift (zeros) of `channels` channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) over C."""
        return self.of_rows(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def of_rows(self, x: Tensor) -> Tensor:
        """Normalise (..., C) over C."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Mlp(nn.Module):
    """Linear layers with ReLU between them, none after the last (hypernetworks and score head)."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        """Create `len(sizes) - 1` layers; `sizes` are the widths from input to output."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., sizes[0]) to (..., sizes[-1])."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        return self.layers[-1](x)


class MlpBlock(nn.Module):
    """The two-layer MLP of a transformer block: `lin1`, activation, `lin2`."""

    def __init__(self, dim: int, hidden_dim: int, activation: type[nn.Module]) -> None:
        """Create dim -> hidden_dim -> dim.

        Args:
            dim: channels in and out.
            hidden_dim: channels between the two layers.
            activation: class of the module between them.
        """
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.act = activation()
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return self.lin2(self.act(self.lin1(x)))
