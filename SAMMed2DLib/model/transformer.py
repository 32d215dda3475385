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
        attended = self.final_attn_token_to_image.read_image(tokens + token_pe, image, image_pe)
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
        tokens = tokens + self.cross_attn_token_to_image.read_image(tokens + token_pe, image, image_pe)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.cross_attn_image_to_token.read_tokens(image, image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image)


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
        batch = max(len(query), len(key))
        heads = [
            self._heads(projection(x)).expand(batch, -1, -1, -1)
            for projection, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        ]
        out = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.out_proj(out.transpose(1, 2).flatten(2))

    # Memory is what costs here, so the positions, the output's bias and the residual ride along in the products.
    # The image has hundreds of positions and a prompt a handful of tokens, so the cross-attentions leave the
    # image as it is and move its projections to the side of the tokens: (W x) . t = x . (W^T t). A key bias
    # drops out of the softmax, and weights that sum to one hand a bias of the values through unchanged.

    def read_image(self, tokens: Tensor, image: Tensor, image_pe: Tensor) -> Tensor:
        """Let tokens (B, n, dim) attend to an image (B or 1, m, dim), its positions (1, m, dim)."""
        if len(image) < len(tokens) or not self._is_short(tokens):
            return self(tokens, image + image_pe, image)
        query = self._heads(self.q_proj(tokens)) * self._scale
        query = torch.einsum("bhnd,hdc->bhnc", query, self._by_head(self.k_proj.weight))
        seen = self._against_image(query, image, image_pe).softmax(-1) @ image
        seen = seen.view_as(query)
        value = torch.einsum("bhnc,hdc->bnhd", seen, self._by_head(self.v_proj.weight)).flatten(2)
        return self.out_proj(value + self.v_proj.bias)

    def read_tokens(self, image: Tensor, image_pe: Tensor, keys: Tensor, tokens: Tensor) -> Tensor:
        """Let an image (B or 1, m, dim) attend to tokens (B, n, dim), and add what it reads: (B, m, dim)."""
        if not self._is_short(tokens):
            return image + self(image + image_pe, keys, tokens)
        batch = len(tokens)
        keys = self._heads(self.k_proj(keys)) * self._scale
        if len(image) < batch:
            logits = keys @ self._heads(self.q_proj(image + image_pe)).transpose(-1, -2)
        else:
            offsets = keys @ self.q_proj.bias.view(self.num_heads, -1, 1)
            keys = torch.einsum("bhnd,hdc->bhnc", keys, self._by_head(self.q_proj.weight))
            logits = self._against_image(keys, image, image_pe).view(*keys.shape[:3], -1) + offsets
        weights = logits.softmax(dim=2).flatten(1, 2)
        values = self._heads(self.v_proj(tokens))
        values = torch.einsum("bhnd,hdc->bhnc", values, self._by_head(self.out_proj.weight.t()))
        values = values.flatten(1, 2) + self.out_proj.bias / self.num_heads
        return torch.baddbmm(image.expand(batch, -1, -1), weights.transpose(1, 2), values)

    def _against_image(self, x: Tensor, image: Tensor, image_pe: Tensor) -> Tensor:
        """Products of (B, heads, n, dim) with an image (B, m, dim) at its positions: (B, heads * n, m)."""
        x = x.flatten(1, 2)
        with_positions = (x.flatten(0, 1) @ image_pe[0].t()).view(*x.shape[:2], -1)
        return torch.baddbmm(with_positions, x, image.transpose(1, 2))

    def _is_short(self, tokens: Tensor) -> bool:
        """Whether moving a projection from the image to the tokens (B, n, dim) saves work."""
        return self.num_heads * tokens.shape[1] <= self.q_proj.out_features

    @property
    def _scale(self) -> float:
        return (self.q_proj.out_features // self.num_heads) ** -0.5

    def _heads(self, x: Tensor) -> Tensor:
        """(B, n, heads * d) to (B, heads, n, d)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(heads * d, dim) to (heads, d, dim)."""
        return weight.unflatten(0, (self.num_heads, -1))
