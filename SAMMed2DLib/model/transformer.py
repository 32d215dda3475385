"""The two-way transformer: tokens attend to the image, the image attends to the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import MlpBlock


class TwoWayTransformer(nn.Module):
    """The decoder's transformer.

    The image side may have batch 1 while the tokens have batch B: it then stays one until the tokens
    have changed it, so that several prompts of one image share the first projections.
    """

    def __init__(self, depth: int, dim: int, num_heads: int, mlp_dim: int) -> None:
        """Create `depth` layers and the final attention."""
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, num_heads, mlp_dim, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, num_heads, dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Args:
            image: (B or 1, g*g, dim), features.
            image_pe: (1, g*g, dim), their positions.
            tokens: (B, N, dim), output and prompt tokens; they serve as their own positions.

        Returns:
            tokens (B, N, dim) and image (B, g*g, dim) after attention.
        """
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, token_pe, image, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


class TwoWayAttentionBlock(nn.Module):
    """One layer: self-attention, tokens to image, MLP, image to tokens, each with its norm."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        """Create a layer; the first takes its tokens without position and without residual."""
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, num_heads, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, num_heads, dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MlpBlock(dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, dim // 2)

    def forward(
        self, tokens: Tensor, token_pe: Tensor, image: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the new tokens (B, N, dim) and image (B, g*g, dim)."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        placed_image = image + image_pe
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_pe, placed_image, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        attended = self.cross_attn_image_to_token(placed_image, tokens + token_pe, tokens)
        return tokens, self.norm4(image + attended)


class Attention(nn.Module):
    """Multi-head attention with its own width; query and key batches of 1 are shared.

    Between a few tokens and a whole image, the image side is not projected at all: a product with the
    image's projection is a product of the image with the projected tokens, and there are far fewer of
    those. Results are equal up to rounding.
    """

    def __init__(self, dim: int, num_heads: int, internal_dim: int) -> None:
        """Create projections dim -> internal_dim -> dim."""
        super().__init__()
        self.num_heads = num_heads
        self.internal_dim = internal_dim
        self.q_proj = nn.Linear(dim, internal_dim)
        self.k_proj = nn.Linear(dim, internal_dim)
        self.v_proj = nn.Linear(dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from (Bq, n, dim) to (Bk, m, dim); batches are equal or 1. Returns (B, n, dim)."""
        queries, keys = query.shape[1], key.shape[1]
        if self.num_heads * min(queries, keys) < self.internal_dim and queries != keys:
            return self._from_few(query, key, value) if queries < keys else self._to_few(query, key, value)
        batch = max(len(query), len(key))
        q, k, v = (
            self._heads(projection(x)).transpose(1, 2).expand(batch, -1, -1, -1)
            for projection, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        out = functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _from_few(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Few queries, many keys. Softmax does not see the key bias: it adds the same to all keys of a query."""
        tokens = self._heads(self.q_proj(query)) * self._scale
        weight = self.k_proj.weight.unflatten(0, (self.num_heads, -1))
        seen = torch.einsum("bnhd,hdc->bhnc", tokens, weight).flatten(1, 2)  # (B, h * n, dim)
        share = (seen @ key.transpose(1, 2)).softmax(dim=-1)
        mean = (share @ value).unflatten(1, (self.num_heads, -1))  # (B, h, n, dim)
        weight = self.v_proj.weight.unflatten(0, (self.num_heads, -1))
        out = torch.einsum("bhnc,hdc->bnhd", mean, weight).flatten(2)
        return self.out_proj(out + self.v_proj.bias)

    def _to_few(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Many queries, few keys; heads come last, where softmax over the keys is fastest."""
        tokens = self._heads(self.k_proj(key)) * self._scale
        weight = self.q_proj.weight.unflatten(0, (self.num_heads, -1))
        seen = torch.einsum("bmhd,hdc->bcmh", tokens, weight).flatten(2)  # (B, dim, m * h)
        bias = torch.einsum("bmhd,hd->bmh", tokens, self.q_proj.bias.unflatten(0, (self.num_heads, -1)))
        logits = (query @ seen).unflatten(2, (-1, self.num_heads)) + bias[:, None]  # (B, n, m, h)
        weight = self.out_proj.weight.unflatten(1, (self.num_heads, -1))
        given = torch.einsum("bmhd,chd->bmhc", self._heads(self.v_proj(value)), weight).flatten(1, 2)
        return logits.softmax(dim=2).flatten(2) @ given + self.out_proj.bias

    def _heads(self, x: Tensor) -> Tensor:
        """(B, n, heads * d) to (B, n, heads, d)."""
        return x.unflatten(-1, (self.num_heads, -1))

    @property
    def _scale(self) -> float:
        return (self.internal_dim // self.num_heads) ** -0.5
