"""The image encoder: a ViT with window attention, decomposed relative positions and adapters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.adapter import Adapter, MatrixAdapter
from SAMMed2DLib.model.layers import LayerNorm2d, MlpBlock


class ImageEncoderViT(nn.Module):
    """Images to feature maps: patches, positions, blocks, neck.

    Attributes:
        most_at_once: images that a CPU encodes as fast as more.
    """

    most_at_once = 8

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        out_dim: int,
        window_size: int,
        global_blocks: tuple[int, ...],
        adapter: bool,
    ) -> None:
        """Create the encoder.

        Args:
            image_size: side of the model frame, px.
            patch_size: side of a patch, px.
            embed_dim: channels of the tokens.
            depth: number of blocks.
            num_heads: attention heads of a block.
            mlp_ratio: hidden width of a block's MLP over `embed_dim`.
            out_dim: channels of the features.
            window_size: side of the attention windows, tokens.
            global_blocks: indices of the blocks that attend to the whole grid.
            adapter: whether each block has an adapter.
        """
        super().__init__()
        self.image_size = image_size
        self.width = embed_dim
        grid = image_size // patch_size
        self.feature_bytes = 4 * grid**2 * out_dim  # of one image, float32
        # A pass takes most for its attention maps; found by measurement from 256 to 1024 px, small model and ViT-B.
        keys = grid**2 if global_blocks else min(window_size, grid) ** 2
        self._working_bytes = 4 * grid**2 * (num_heads * keys + 5 * int(mlp_ratio * embed_dim))
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                mlp_ratio,
                window_size=0 if i in global_blocks else window_size,
                grid=grid,
                adapter=adapter,
            )
            for i in range(depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(embed_dim, out_dim, 1, bias=False),
            LayerNorm2d(out_dim),
            nn.Conv2d(out_dim, out_dim, 3, padding=1, bias=False),
            LayerNorm2d(out_dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalised images.

        Args:
            images: (B, 3, S, S) float, S = `image_size`.

        Returns:
            (B, out_dim, S / patch, S / patch).

        Raises:
            ValueError: the images are not S x S.
        """
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"the encoder takes {self.image_size} x {self.image_size} px, got {tuple(images.shape[-2:])}; "
                "bring the slice into the model frame first (model.preprocessing.ResizeTransform)"
            )
        x = self.patch_embed(images) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))

    def working_bytes(self, images: int) -> int:
        """Forecast what a pass over so many images takes while it lasts, bytes, about."""
        return images * self._working_bytes

    def prepare_for_cpu(self) -> None:
        """Lay the adapters out for fast prediction on a CPU; the encoder can then neither be trained nor saved."""
        for block in self.blocks:
            if isinstance(block.Adapter, Adapter):
                block.Adapter = MatrixAdapter(block.Adapter)


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens."""

    def __init__(self, patch_size: int, embed_dim: int) -> None:
        """Create the projection of patch_size x patch_size x 3 pixels."""
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, g, g, C)."""
        return self.proj(images).permute(0, 2, 3, 1)


class Block(nn.Module):
    """One pre-norm block; the MLP and the adapter read the same normalised map and are added together."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, window_size: int, grid: int, adapter: bool
    ) -> None:
        """Create a window block or a global one.

        Args:
            dim: channels.
            num_heads: attention heads.
            mlp_ratio: hidden width of the MLP over `dim`.
            window_size: side of the windows, tokens; 0 for a global block.
            grid: side of the map, tokens.
            adapter: whether there is an adapter beside the MLP.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RelPosAttention(dim, num_heads, window_size or grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MlpBlock(dim, int(dim * mlp_ratio), nn.GELU)
        self.Adapter = Adapter(dim) if adapter else None  # the published name has a capital A

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = x + self.attn(self.norm1(x))
        normed = self.norm2(x)
        out = x + self.mlp(normed)
        return out if self.Adapter is None else out + self.Adapter(normed)


class RelPosAttention(nn.Module):
    """Multi-head attention within n x n windows, with decomposed relative positions.

    A map that n does not divide is padded below and to the right, and the padding takes part as keys:
    that is how the published weights were trained. Nothing is computed for it, though. After the zero
    padding of the published code a padded token's q, k and v are the biases of `qkv`; softmax does not
    see the key bias, and the value bias leaves the weighted sum as it is. So the key bias is dropped,
    the value bias is added after the attention, padded keys and values are zeros, and padded queries
    are left out.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        """Create attention within windows.

        Args:
            dim: channels.
            num_heads: attention heads.
            window_size: side of the windows, tokens.
        """
        super().__init__()
        head_dim = dim // num_heads
        self.num_heads = num_heads
        self.window_size = window_size
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window_size - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window_size - 1, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        batch, height, width, dim = x.shape
        query, key, value = functional.linear(x, self.qkv.weight).split(dim, dim=-1)
        query_bias, _, value_bias = self.qkv.bias.split(dim)
        query, key, value = (self._heads(t) for t in (query + query_bias, key, value))
        out = self._attend_windows(query, key, value)
        out = out.permute(0, 2, 3, 1, 4).reshape(batch, height, width, dim)
        return self.proj(out + value_bias)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, H, W, heads * d) to (B, heads, H, W, d)."""
        return x.unflatten(-1, (self.num_heads, -1)).permute(0, 3, 1, 2, 4)

    def _attend_windows(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of (B, heads, H, W, d) maps, window by window; equal windows go in one batch."""
        n = self.window_size
        height, width = map(int, query.shape[2:4])  # plain numbers also where a graph is traced
        pad = (0, 0, 0, -width % n, 0, -height % n)
        key, value = functional.pad(key, pad), functional.pad(value, pad)
        bands = []
        for top, bottom in _bands(height, n):
            rows, key_rows = min(n, bottom - top), slice(top, top + _ceil(bottom - top, n))
            band = []
            for left, right in _bands(width, n):
                columns, key_columns = min(n, right - left), slice(left, left + _ceil(right - left, n))
                queries = query[:, :, top:bottom, left:right]
                out = self._attend(
                    _split(queries, rows, columns),
                    _split(key[:, :, key_rows, key_columns], n, n),
                    _split(value[:, :, key_rows, key_columns], n, n),
                )
                band.append(_join(out, queries.shape))
            bands.append(torch.cat(band, dim=3))
        return torch.cat(bands, dim=2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of the first (h, w) positions of windows over whole n x n windows.

        Args:
            query: (N, heads, h, w, d).
            key: (N, heads, n, n, d).
            value: (N, heads, n, n, d).

        Returns:
            (N, heads, h, w, d).
        """
        n = self.window_size
        height, width = query.shape[2:4]
        rows = torch.einsum("...hwd,hkd->...hwk", query, _relative(self.rel_pos_h, height, n))
        columns = torch.einsum("...hwd,wkd->...hwk", query, _relative(self.rel_pos_w, width, n))
        # Spread over the keys by a product with the one-hot codes of their rows and columns.
        bias = torch.cat([rows, columns], dim=-1).flatten(2, 3) @ _key_codes(n, query)
        out = functional.scaled_dot_product_attention(
            query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3), attn_mask=bias
        )
        return out.unflatten(2, (height, width))


def _key_codes(n: int, like: Tensor) -> Tensor:
    """Row and column of each key of an n x n window, one-hot: (2n, n * n)."""
    eye = torch.eye(n, dtype=like.dtype, device=like.device)
    return torch.cat([eye.repeat_interleave(n, dim=1), eye.repeat(1, n)])


def _relative(table: Tensor, queries: int, keys: int) -> Tensor:
    """Rows of a (2n-1, d) table for each query and key position along one axis: (queries, keys, d)."""
    query_index = torch.arange(queries, device=table.device)[:, None]
    key_index = torch.arange(keys, device=table.device)[None]
    return table[query_index - key_index + keys - 1]


def _bands(size: int, n: int) -> list[tuple[int, int]]:
    """Cut 0..size into the part made of whole windows and the rest; empty parts are left out."""
    whole = size - size % n
    return [(a, b) for a, b in ((0, whole), (whole, size)) if b > a]


def _ceil(size: int, n: int) -> int:
    """`size` rounded up to a multiple of `n`."""
    return -(-size // n) * n


def _split(x: Tensor, rows: int, columns: int) -> Tensor:
    """(B, heads, H, W, d) into (B * windows, heads, rows, columns, d), row-major."""
    batch, heads, height, width, dim = x.shape
    if (height, width) == (rows, columns):
        return x
    x = x.view(batch, heads, height // rows, rows, width // columns, columns, dim)
    return x.permute(0, 2, 4, 1, 3, 5, 6).reshape(-1, heads, rows, columns, dim)


def _join(windows: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of `_split`: windows back to the map of `shape`."""
    if windows.shape == shape:
        return windows
    batch, heads, height, width, dim = shape
    rows, columns = windows.shape[2:4]
    x = windows.view(batch, height // rows, width // columns, heads, rows, columns, dim)
    return x.permute(0, 3, 1, 4, 2, 5, 6).reshape(shape)
