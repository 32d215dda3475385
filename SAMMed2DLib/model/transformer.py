"""The two-way transformer: tokens attend to the image, the image attends to the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.layers import MlpBlock


@dataclass(frozen=True, eq=False)
class SharedImage:
    """What the layers compute of an image and its positions alone; it serves any number of prompts.

    Attributes:
        image: (1, g*g, dim), features with the embedding of "no mask".
        keys: (1, heads, g*g, d) of the first layer, for tokens that read the image.
        values: likewise.
        queries: (1, heads, g*g, d) of the first layer, for the image that reads tokens.
        positions: for each attention between tokens and image, in order, its projected positions
            (1, heads, g*g, d). They belong to the weights, not to the image.
    """

    image: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    positions: tuple[Tensor, ...]


class TwoWayTransformer(nn.Module):
    """The decoder's transformer.

    The image side may have batch 1 while the tokens have batch B: it then stays one until the tokens
    have changed it, so that several prompts of one image share the first projections.
    """

    def __init__(self, depth: int, dim: int, num_heads: int, mlp_dim: int) -> None:
        """Create the layers and the final attention.

        Args:
            depth: number of layers.
            dim: channels of tokens and image.
            num_heads: attention heads of a layer.
            mlp_dim: hidden width of a layer's MLP.
        """
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, num_heads, mlp_dim, first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, num_heads, dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self,
        image: Tensor,
        image_pe: Tensor,
        tokens: Tensor,
        outputs: int,
        shared: SharedImage | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Args:
            image: (B or 1, g*g, dim), features.
            image_pe: (1, g*g, dim), their positions.
            tokens: (B, N, dim), output and prompt tokens; they serve as their own positions.
            outputs: how many of the tokens are output tokens; the others are not needed in the end.
            shared: of these weights; with `image` being its own, the first layer takes all from it.

        Returns:
            output tokens (B, outputs, dim) and image (B, g*g, dim) after attention.
        """
        token_pe = tokens
        first = shared if shared is not None and shared.image is image else None
        positions: list[Tensor | None] = [*shared.positions] if shared else [None] * (2 * len(self.layers) + 1)
        for i, layer in enumerate(self.layers):
            tokens, image = layer(tokens, token_pe, image, image_pe, positions[2 * i : 2 * i + 2], first)
            first = None
        tokens, token_pe = tokens[:, :outputs], token_pe[:, :outputs]
        read = self.final_attn_token_to_image.read_image(tokens + token_pe, image, image_pe, positions[-1])
        return self.norm_final_attn(tokens + read), image

    def share(self, image: Tensor, image_pe: Tensor, positions: tuple[Tensor, ...] = ()) -> SharedImage:
        """Compute what does not depend on prompts.

        Args:
            image: (1, g*g, dim), features with the embedding of "no mask".
            image_pe: (1, g*g, dim), their positions.
            positions: those of an earlier image, as long as the weights are the same.
        """
        layers = cast("list[TwoWayAttentionBlock]", list(self.layers))
        to_image, to_tokens = layers[0].cross_attn_token_to_image, layers[0].cross_attn_image_to_token
        placed = image + image_pe
        return SharedImage(
            image,
            to_image.heads(to_image.k_proj(placed)),
            to_image.heads(to_image.v_proj(image)),
            to_tokens.heads(to_tokens.q_proj(placed)),
            positions or self._positions(layers, image_pe),
        )

    def _positions(self, layers: list[TwoWayAttentionBlock], image_pe: Tensor) -> tuple[Tensor, ...]:
        projected = []
        for layer in layers:
            to_image, to_tokens = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            projected += [to_image.heads(to_image.k_proj(image_pe)), to_tokens.heads(to_tokens.q_proj(image_pe))]
        last = self.final_attn_token_to_image
        return (*projected, last.heads(last.k_proj(image_pe)))


class TwoWayAttentionBlock(nn.Module):
    """One layer: self-attention, tokens to image, MLP, image to tokens, each with its norm."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, first: bool) -> None:
        """Create a layer.

        Args:
            dim: channels of tokens and image.
            num_heads: attention heads.
            mlp_dim: hidden width of the MLP.
            first: this is the first layer, which takes its tokens without position and without residual.
        """
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
        self,
        tokens: Tensor,
        token_pe: Tensor,
        image: Tensor,
        image_pe: Tensor,
        positions: Sequence[Tensor | None] = (None, None),
        shared: SharedImage | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layer.

        Args:
            tokens: (B, N, dim).
            token_pe: (B, N, dim), their positions.
            image: (B or 1, g*g, dim).
            image_pe: (1, g*g, dim), their positions.
            positions: projected `image_pe` of the two attentions between tokens and image, see `SharedImage`.
            shared: what is known of the first layer's image; None in other layers.

        Returns:
            the new tokens (B, N, dim) and image (B, g*g, dim).
        """
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_pe
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        read, placed = self.cross_attn_token_to_image, tokens + token_pe
        if shared is None:
            tokens = tokens + read.read_image(placed, image, image_pe, positions[0])
        else:
            tokens = tokens + read.read_projected(placed, shared.keys, shared.values)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.cross_attn_image_to_token.read_tokens(
            image, image_pe, tokens + token_pe, tokens, positions[1], None if shared is None else shared.queries
        )
        return tokens, self.norm4(image)


class Attention(nn.Module):
    """Multi-head attention with its own width; query and key batches of 1 are shared.

    Between a few tokens and a whole image, the image side is not projected at all: a product with the
    image's projection is a product of the image with the projected tokens, and there are far fewer of
    those. Results are equal up to rounding.
    """

    def __init__(self, dim: int, num_heads: int, internal_dim: int) -> None:
        """Create projections dim -> internal_dim -> dim.

        Args:
            dim: channels in and out.
            num_heads: attention heads.
            internal_dim: channels of all heads together.
        """
        super().__init__()
        self.num_heads = num_heads
        self.internal_dim = internal_dim
        self.q_proj = nn.Linear(dim, internal_dim)
        self.k_proj = nn.Linear(dim, internal_dim)
        self.v_proj = nn.Linear(dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend; batches are equal or 1.

        Args:
            query: (Bq, n, dim).
            key: (Bk, m, dim).
            value: (Bk, m, dim).

        Returns:
            (B, n, dim).
        """
        return self.read_projected(query, self.heads(self.k_proj(key)), self.heads(self.v_proj(value)))

    def read_projected(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend to keys and values that are projected already; batches are equal or 1.

        Args:
            query: (Bq, n, dim).
            keys: (Bk, heads, m, d).
            values: (Bk, heads, m, d).

        Returns:
            (B, n, dim).
        """
        queries = self.heads(self.q_proj(query))
        if len(queries) != len(keys):
            batch = max(len(queries), len(keys))
            queries, keys, values = (x.expand(batch, -1, -1, -1) for x in (queries, keys, values))
        out = functional.scaled_dot_product_attention(queries, keys, values)
        return self.out_proj(out.transpose(1, 2).flatten(2))

    # Memory is what costs here, so the positions, the output's bias and the residual ride along in the products.
    # The image has hundreds of positions and a prompt a handful of tokens, so the cross-attentions leave the
    # image as it is and move its projections to the side of the tokens: (W x) . t = x . (W^T t). A key bias
    # drops out of the softmax, and weights that sum to one hand a bias of the values through unchanged.

    def read_image(
        self, tokens: Tensor, image: Tensor, image_pe: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Let tokens attend to an image.

        Args:
            tokens: (B, n, dim), with their positions.
            image: (B or 1, m, dim).
            image_pe: (1, m, dim), its positions.
            positions: (1, heads, m, d), the positions projected as keys; None: they are projected here.

        Returns:
            (B, n, dim).
        """
        if len(image) < len(tokens) or not self._is_short(tokens):
            return self(tokens, image + image_pe, image)
        query = self.heads(self.q_proj(tokens)) * self._scale
        moved = torch.matmul(query, self._by_head(self.k_proj.weight))
        placed = _by_positions(query, moved, image_pe, positions)
        seen = torch.baddbmm(placed, moved.flatten(1, 2), image.transpose(1, 2)).softmax(-1) @ image
        value = torch.matmul(seen.view_as(moved), self._by_head(self.v_proj.weight).transpose(-1, -2))
        return self.out_proj(value.transpose(1, 2).flatten(2) + self.v_proj.bias)

    def read_tokens(
        self,
        image: Tensor,
        image_pe: Tensor,
        keys: Tensor,
        tokens: Tensor,
        positions: Tensor | None = None,
        queries: Tensor | None = None,
    ) -> Tensor:
        """Let an image attend to tokens, and add what it reads.

        Args:
            image: (B or 1, m, dim).
            image_pe: (1, m, dim), its positions.
            keys: (B, n, dim), the tokens with their positions.
            tokens: (B, n, dim).
            positions: (1, heads, m, d), the image's positions projected as queries; None: they are projected here.
            queries: (1, heads, m, d), the image with its positions, projected; None: computed here where it is needed.

        Returns:
            (B, m, dim).
        """
        if not self._is_short(tokens):
            return image + self(image + image_pe, keys, tokens)
        batch = len(tokens)
        keys = self.heads(self.k_proj(keys)) * self._scale
        if queries is None and len(image) < batch:
            queries = self.heads(self.q_proj(image + image_pe))
        if queries is not None:
            logits = keys @ queries.transpose(-1, -2)
        else:
            moved = torch.matmul(keys, self._by_head(self.q_proj.weight))
            placed = _by_positions(keys, moved, image_pe, positions)
            logits = torch.baddbmm(placed, moved.flatten(1, 2), image.transpose(1, 2)).view(*keys.shape[:3], -1)
            if positions is None:  # else the bias is in the positions
                logits = logits + keys @ self.q_proj.bias.view(self.num_heads, -1, 1)
        weights = logits.softmax(dim=2).flatten(1, 2)
        values = torch.matmul(self.heads(self.v_proj(tokens)), self._by_head(self.out_proj.weight.t()))
        values = values.flatten(1, 2) + self.out_proj.bias / self.num_heads
        return torch.baddbmm(image.expand(batch, -1, -1), weights.transpose(1, 2), values)

    def _is_short(self, tokens: Tensor) -> bool:
        """Whether moving a projection from the image to the tokens (B, n, dim) saves work."""
        return self.num_heads * tokens.shape[1] <= self.q_proj.out_features

    @property
    def _scale(self) -> float:
        return (self.q_proj.out_features // self.num_heads) ** -0.5

    def heads(self, x: Tensor) -> Tensor:
        """(B, n, heads * d) to (B, heads, n, d)."""
        return x.view(len(x), x.shape[1], self.num_heads, -1).transpose(1, 2)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(heads * d, dim) to (heads, d, dim)."""
        return weight.view(self.num_heads, -1, weight.shape[1])


def _by_positions(x: Tensor, moved: Tensor, image_pe: Tensor, positions: Tensor | None) -> Tensor:
    """Products of (B, heads, n, d), `moved` to (B, heads, n, dim), with an image's positions: (B, heads * n, m)."""
    if positions is not None:
        return torch.matmul(x, positions.transpose(-1, -2)).flatten(1, 2)
    return (moved.flatten(0, 2) @ image_pe[0].t()).view(len(x), -1, image_pe.shape[1])
