"""The image encoder computed the plain way: every step as its formula reads, with stock layers.

It is the yardstick of the benchmarks and the second opinion of the tests, and is kept out of the product on
purpose: windows are padded and all their tokens projected, attention is written out with its position terms
added one by one, and the adapters run the stock convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the name everybody knows it by)


@dataclass(frozen=True)
class Sizes:
    """Every size of the network; the names are those of the product's model configuration."""

    image_size: int = 256
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window_size: int = 14
    adapter: bool = True
    out_dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_hidden_dim: int = 256
    mask_in_channels: int = 16

    @property
    def grid(self) -> int:
        """Tokens along one side of the image."""
        return self.image_size // self.patch_size


class ReferenceLayerNorm2d(nn.Module):
    """Layer norm over the channels of an NCHW tensor, pixel by pixel."""

    def __init__(self, channels: int) -> None:
        """Start as the identity scale and shift of `channels` channels."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) float; the shape stays."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


def cut_windows(x: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Zero-pad (B, H, W, C) at the bottom and right and cut it by rows into (B * windows, side, side, C)."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[1] // side, x.shape[2] // side
    x = x.view(batch, rows, side, columns, side, channels).permute(0, 1, 3, 2, 4, 5)
    return x.contiguous().view(-1, side, side, channels), (rows, columns)


def join_windows(windows: Tensor, layout: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """Undo `cut_windows` and crop the padding: back to (B, H, W, C)."""
    rows, columns = layout
    side = windows.shape[1]
    x = windows.view(-1, rows, columns, side, side, windows.shape[-1]).permute(0, 1, 3, 2, 4, 5)
    x = x.contiguous().view(-1, rows * side, columns * side, windows.shape[-1])
    return x[:, : size_hw[0], : size_hw[1], :].contiguous()


def relative_rows(table: Tensor, side: int) -> Tensor:
    """The rows of a (2 * side - 1, D) table for each query and key along one axis: (side, side, D)."""
    along = torch.arange(side)
    return table[along[:, None] - along[None, :] + side - 1]


class ReferenceAttention(nn.Module):
    """Self-attention over a map, with relative positions split into rows and columns."""

    def __init__(self, dim: int, heads: int, side: int) -> None:
        """Attend over `side` x `side` tokens of `dim` numbers."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each (side, side) map of (B, side, side, C) float; the shape stays."""
        batch, side, _, channels = x.shape
        tokens, head_dim = side * side, channels // self.heads
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, batch * self.heads, tokens, head_dim).unbind(0)
        logits = (q * head_dim**-0.5) @ k.transpose(-2, -1)
        logits = self._with_positions(logits, q.reshape(-1, side, side, head_dim), side)
        out = (logits.softmax(-1) @ v).view(batch, self.heads, side, side, head_dim)
        return self.proj(out.permute(0, 2, 3, 1, 4).reshape(batch, side, side, channels))

    def _with_positions(self, logits: Tensor, q: Tensor, side: int) -> Tensor:
        by_row = torch.einsum("byxd,ykd->byxk", q, relative_rows(self.rel_pos_h, side))
        by_column = torch.einsum("byxd,xkd->byxk", q, relative_rows(self.rel_pos_w, side))
        split = logits.view(-1, side, side, side, side)
        return (split + by_row[..., :, None] + by_column[..., None, :]).view_as(logits)


class ReferenceMlp(nn.Module):
    """Two linear layers with a nonlinearity between."""

    def __init__(self, dim: int, hidden: int, activation: nn.Module) -> None:
        """Widen `dim` to `hidden` and come back."""
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last dimension; the shape stays."""
        return self.lin2(self.activation(self.lin1(x)))


class ReferenceAdapter(nn.Module):
    """Channel gate and strided convolutions, by the stock layers in NCHW."""

    def __init__(self, dim: int) -> None:
        """Adapt maps of `dim` channels."""
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.channel = nn.Sequential(
            nn.Linear(dim, dim // 4, bias=False),
            nn.ReLU(),
            nn.Linear(dim // 4, dim, bias=False),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(dim, dim, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(dim, dim, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adapt (B, H, W, C) float with even H and W; the shape stays."""
        x = x.permute(0, 3, 1, 2)
        gate = self.channel(self.average(x).flatten(1))
        x = x + self.spatial(x * gate[:, :, None, None])
        return self.norm(x.permute(0, 2, 3, 1))


class ReferenceBlock(nn.Module):
    """One pre-norm transformer block, windowed or global."""

    def __init__(self, sizes: Sizes, index: int) -> None:
        """Build block `index` of the encoder."""
        super().__init__()
        dim = sizes.embed_dim
        self.window = 0 if index in sizes.global_blocks else sizes.window_size
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = ReferenceAttention(dim, sizes.num_heads, self.window or sizes.grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = ReferenceMlp(dim, 4 * dim, nn.GELU())
        if sizes.adapter:
            self.Adapter = ReferenceAdapter(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, H, W, C) float; the shape stays."""
        x = x + self._attend(self.norm1(x))
        normed = self.norm2(x)
        mixed = self.mlp(normed)
        return x + mixed + self.Adapter(normed) if hasattr(self, "Adapter") else x + mixed

    def _attend(self, x: Tensor) -> Tensor:
        if not self.window:
            return self.attn(x)
        windows, layout = cut_windows(x, self.window)
        return join_windows(self.attn(windows), layout, (x.shape[1], x.shape[2]))


class _PatchEmbed(nn.Module):
    """One convolution that turns patches into tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, sizes.embed_dim, sizes.patch_size, stride=sizes.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).permute(0, 2, 3, 1)


class ReferenceImageEncoder(nn.Module):
    """Images to embeddings, one formula after the other."""

    def __init__(self, sizes: Sizes) -> None:
        """Build the encoder of these sizes, with zero position tables."""
        super().__init__()
        self.patch_embed = _PatchEmbed(sizes)
        self.pos_embed = nn.Parameter(torch.zeros(1, sizes.grid, sizes.grid, sizes.embed_dim))
        self.blocks = nn.ModuleList(ReferenceBlock(sizes, index) for index in range(sizes.depth))
        self.neck = nn.Sequential(
            nn.Conv2d(sizes.embed_dim, sizes.out_dim, 1, bias=False),
            ReferenceLayerNorm2d(sizes.out_dim),
            nn.Conv2d(sizes.out_dim, sizes.out_dim, 3, padding=1, bias=False),
            ReferenceLayerNorm2d(sizes.out_dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode (B, 3, S, S) float, normalised, into (B, C, g, g) float."""
        x = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))
