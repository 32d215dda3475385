"""The whole network computed the plain way: the yardstick of the benchmarks (see `reference_encoder`).

Prompts are decoded one object at a time, and everything that does not change between two prompts (the
positions of the grid, the embedding of "no mask") is computed again for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from reference_encoder import ReferenceImageEncoder, ReferenceLayerNorm2d, ReferenceMlp, Sizes
from torch import Tensor, nn


class _PositionEncoding(nn.Module):
    """Random Fourier features of coordinates in 0..1."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, dim // 2))

    def forward(self, unit_xy: Tensor) -> Tensor:
        matrix = self.positional_encoding_gaussian_matrix
        angle = 2 * math.pi * ((2 * unit_xy.to(matrix.dtype) - 1) @ matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class ReferencePromptEncoder(nn.Module):
    """Points, boxes and masks to tokens and a dense map."""

    def __init__(self, sizes: Sizes) -> None:
        """Build the prompt encoder of these sizes."""
        super().__init__()
        dim, wide = sizes.out_dim, sizes.mask_in_channels
        self.image_size, self.grid = sizes.image_size, sizes.grid
        self.pe_layer = _PositionEncoding(dim)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.no_mask_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, wide // 4, 2, stride=2),
            ReferenceLayerNorm2d(wide // 4),
            nn.GELU(),
            nn.Conv2d(wide // 4, wide, 2, stride=2),
            ReferenceLayerNorm2d(wide),
            nn.GELU(),
            nn.Conv2d(wide, dim, 1),
        )

    def dense_pe(self) -> Tensor:
        """Positions of the grid's cell centres, (1, C, g, g) float."""
        centres = (torch.arange(self.grid, dtype=torch.float32) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None]

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Encode prompts given in the model frame.

        Args:
            points: coordinates (B, N, 2) float and labels (B, N) int, or None.
            boxes: (B, 4) float corners x0, y0, x1, y1, or None.
            masks: (B, 1, 4g, 4g) float in 0..1, or None.

        Returns:
            Tokens (B, N, C) float and the dense map (B, C, g, g) float.
        """
        given = [item for item in (None if points is None else points[0], boxes, masks) if item is not None]
        batch = len(given[0]) if given else 1
        sparse = self.no_mask_embed.weight.new_zeros(batch, 0, self.no_mask_embed.weight.shape[1])
        if points is not None:
            sparse = torch.cat([sparse, self._points(*points, pad=boxes is None)], dim=1)
        if boxes is not None:
            sparse = torch.cat([sparse, self._boxes(boxes)], dim=1)
        if masks is not None:
            return sparse, self.mask_downscaling(masks)
        return sparse, self.no_mask_embed.weight.view(1, -1, 1, 1).expand(batch, -1, self.grid, self.grid)

    def _points(self, coords: Tensor, labels: Tensor, pad: bool) -> Tensor:
        coords = coords + 0.5
        if pad:
            coords = torch.cat([coords, coords.new_zeros(len(coords), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), -1)], dim=1)
        tokens = self.pe_layer(coords / self.image_size)
        tokens[labels == -1] = 0.0
        tokens[labels == -1] += self.not_a_point_embed.weight
        tokens[labels == 0] += self.point_embeddings[0].weight
        tokens[labels == 1] += self.point_embeddings[1].weight
        return tokens

    def _boxes(self, boxes: Tensor) -> Tensor:
        tokens = self.pe_layer((boxes.view(-1, 2, 2) + 0.5) / self.image_size)
        tokens[:, 0] += self.point_embeddings[2].weight
        tokens[:, 1] += self.point_embeddings[3].weight
        return tokens


class ReferenceDecoderAttention(nn.Module):
    """Attention between two token sets, with its own internal width."""

    def __init__(self, dim: int, heads: int, shrink: int = 1) -> None:
        """Project `dim` to `dim // shrink` numbers before attending with `heads` heads."""
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim // shrink)
        self.k_proj = nn.Linear(dim, dim // shrink)
        self.v_proj = nn.Linear(dim, dim // shrink)
        self.out_proj = nn.Linear(dim // shrink, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Let (B, N, C) queries read (B, M, C) keys and values: (B, N, C)."""
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ReferenceDecoderLayer(nn.Module):
    """Tokens among themselves, tokens to image, MLP, image to tokens."""

    def __init__(self, sizes: Sizes, first: bool) -> None:
        """Build a layer; the `first` one attends without positions and without residual."""
        super().__init__()
        dim, heads = sizes.out_dim, sizes.decoder_heads
        self.first = first
        self.self_attn = ReferenceDecoderAttention(dim, heads)
        self.cross_attn_token_to_image = ReferenceDecoderAttention(dim, heads, 2)
        self.cross_attn_image_to_token = ReferenceDecoderAttention(dim, heads, 2)
        self.mlp = ReferenceMlp(dim, sizes.decoder_mlp_dim, nn.ReLU())
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.norm3, self.norm4 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (B, N, C) and image (B, g*g, C) with each other."""
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            tokens = tokens + self.self_attn(tokens + token_pe, tokens + token_pe, tokens)
        tokens = self.norm1(tokens)
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image)


class _TwoWayTransformer(nn.Module):
    """The decoder's layers and the last look of the tokens at the image."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ReferenceDecoderLayer(sizes, i == 0) for i in range(sizes.decoder_depth))
        self.final_attn_token_to_image = ReferenceDecoderAttention(sizes.out_dim, sizes.decoder_heads, 2)
        self.norm_final_attn = nn.LayerNorm(sizes.out_dim)

    def forward(self, image: Tensor, image_pe: Tensor, token_pe: Tensor) -> tuple[Tensor, Tensor]:
        image, image_pe = image.flatten(2).transpose(1, 2), image_pe.flatten(2).transpose(1, 2)
        tokens = token_pe
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        look = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + look), image


class _Head(nn.Module):
    """Three linear layers with ReLU between."""

    def __init__(self, dim: int, hidden: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dim, hidden), nn.Linear(hidden, hidden)])
        self.layers.append(nn.Linear(hidden, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](self.layers[1](self.layers[0](x).relu()).relu())


class ReferenceMaskDecoder(nn.Module):
    """Image and prompt embeddings to four masks and their scores."""

    def __init__(self, sizes: Sizes) -> None:
        """Build the decoder of these sizes."""
        super().__init__()
        dim = sizes.out_dim
        self.transformer = _TwoWayTransformer(sizes)
        self.iou_token, self.mask_tokens = nn.Embedding(1, dim), nn.Embedding(4, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            ReferenceLayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(_Head(dim, dim, dim // 8) for _ in range(4))
        self.iou_prediction_head = _Head(dim, sizes.iou_hidden_dim, 4)

    def forward(
        self, features: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode all four masks of each prompt: logits (B, 4, 4g, 4g) and scores (B, 4)."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(len(sparse), -1, -1)
        image = features + dense
        tokens, image = self.transformer(
            image, image_pe.repeat(len(sparse), 1, 1, 1), torch.cat([own, sparse], dim=1)
        )
        image = self.output_upscaling(image.transpose(1, 2).unflatten(2, tuple(features.shape[-2:])))
        heads = [mlp(tokens[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        masks = (torch.stack(heads, dim=1) @ image.flatten(2)).unflatten(2, tuple(image.shape[-2:]))
        return masks, self.iou_prediction_head(tokens[:, 0])


class ReferenceSam(nn.Module):
    """Image encoder, prompt encoder and mask decoder, with the published state-dict names."""

    def __init__(self, sizes: Sizes) -> None:
        """Build the whole network of these sizes, in evaluation mode."""
        super().__init__()
        self.image_encoder = ReferenceImageEncoder(sizes)
        self.prompt_encoder = ReferencePromptEncoder(sizes)
        self.mask_decoder = ReferenceMaskDecoder(sizes)
        self.eval()

    def decode(
        self,
        features: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode one prompt set of the model frame: logits (B, 4, 4g, 4g) and scores (B, 4)."""
        sparse, dense = self.prompt_encoder(points, boxes, masks)
        return self.mask_decoder(features, self.prompt_encoder.dense_pe(), sparse, dense)

    def best_of_boxes(self, features: Tensor, boxes: Iterable[Tensor]) -> list[tuple[Tensor, float]]:
        """Decode boxes one after the other and keep, of masks 1 to 3, the one with the best score.

        Args:
            features: (1, C, g, g) float, one image.
            boxes: (4,) float each, corners in the model frame.

        Returns:
            For each box its logits (4g, 4g) float and its score.
        """
        results = []
        for box in boxes:
            masks, scores = self.decode(features, boxes=box[None])
            best = 1 + int(scores[0, 1:].argmax())
            results.append((masks[0, best], float(scores[0, best])))
        return results
