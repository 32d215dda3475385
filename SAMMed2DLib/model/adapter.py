"""The adapter of SAM-Med2D: a channel gate and a strided convolution pair beside each block's MLP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Adapter(nn.Module):
    """Adapter of one encoder block, added in parallel to the block's MLP (SAM-Med2D, section 3.2)."""

    def __init__(self, dim: int, ratio: float = 0.25) -> None:
        """Create an adapter for maps of `dim` channels; the gate narrows to `int(ratio * dim)`."""
        super().__init__()
        hidden = int(ratio * dim)
        self.channel = nn.Sequential(
            nn.Linear(dim, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, dim, bias=False), nn.Sigmoid()
        )
        down = nn.Conv2d(dim, dim, 3, stride=2, padding=1, bias=False)
        up = nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1, bias=False)
        self.spatial = nn.Sequential(down, nn.ReLU(), up, nn.ReLU())
        self.norm = nn.LayerNorm(dim)  # eps 1e-5, unlike the 1e-6 of the blocks
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; H and W must be even."""
        gated = x * self.channel(x.mean(dim=(1, 2)))[:, None, None]
        return self.norm(x + self.spatial(gated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class MatrixAdapter(nn.Module):
    """An adapter whose convolutions are matrix products, on weights laid out for them once.

    On CPUs the stock kernels, that of the transposed convolution above all, run at a fraction of the speed
    of a matrix product (Testing/benchmarks/bench_encoder.py). Results are equal up to rounding. It cannot be
    trained, and its weights no longer carry the published names.
    """

    def __init__(self, adapter: Adapter) -> None:
        """Take over the weights of an adapter."""
        super().__init__()
        self.channel = adapter.channel
        self.norm = adapter.norm
        down = adapter.get_parameter("spatial.0.weight").detach()  # (D, C, 3, 3)
        up = adapter.get_parameter("spatial.2.weight").detach()  # (C, D, 4, 4)
        self.register_buffer("down", down.permute(2, 3, 1, 0).reshape(-1, down.shape[0]).contiguous())
        self.register_buffer("up", torch.stack([self._phase(up, y, x) for y in (0, 1) for x in (0, 1)]))

    down: Tensor
    up: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; H and W must be even."""
        gated = x * self.channel(x.mean(dim=(1, 2)))[:, None, None]
        return self.norm(self._upsample(self._downsample(gated).relu_()).add_(x))

    def _downsample(self, x: Tensor) -> Tensor:
        """3x3 convolution, stride 2, padding 1: (B, H, W, C) to (B, H/2, W/2, C)."""
        _, height, width, _ = x.shape
        padded = functional.pad(x, (0, 0, 1, 1, 1, 1))
        taps = [padded[:, y : y + height : 2, x : x + width : 2] for y in range(3) for x in range(3)]
        return torch.cat(taps, dim=-1) @ self.down

    def _upsample(self, x: Tensor) -> Tensor:
        """Transposed 4x4 convolution, stride 2, padding 1: (B, H, W, C) to (B, 2H, 2W, C).

        Output pixels of one phase (even or odd row, even or odd column) all see 2 x 2 inputs in the same
        way, so that each phase is one product.
        """
        batch, height, width, channels = x.shape
        padded = functional.pad(x, (0, 0, 1, 1, 1, 1))
        starts = [(y + i, x + j) for y in (0, 1) for x in (0, 1) for i in (0, 1) for j in (0, 1)]
        seen = torch.cat([padded[:, y : y + height, x : x + width] for y, x in starts], dim=-1)
        seen = seen.view(-1, 4, 4 * channels).transpose(0, 1)  # (phase, B * H * W, 4C)
        out = torch.bmm(seen, self.up).relu_().view(2, 2, batch, height, width, -1)
        return out.permute(2, 3, 0, 4, 1, 5).reshape(batch, 2 * height, 2 * width, -1)

    @staticmethod
    def _phase(weight: Tensor, odd_row: int, odd_column: int) -> Tensor:
        """Taps (4C, D) of (C, D, 4, 4) that reach the output pixels of one phase, in the order of `_upsample`."""
        rows, columns = ((2, 0) if odd else (3, 1) for odd in (odd_row, odd_column))
        return torch.cat([weight[:, :, row, column] for row in rows for column in columns])
