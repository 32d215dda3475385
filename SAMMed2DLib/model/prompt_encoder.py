"""The prompt encoder: points, boxes and masks to the tokens and the map that the decoder reads."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.layers import LayerNorm2d

NOT_A_POINT = -1


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features of positions (Tancik et al. 2020); the matrix is fixed, and saved."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_features: int) -> None:
        """Draw a (2, num_features) matrix; the encoding has 2 * num_features channels."""
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_features))

    def forward(self, unit_xy: Tensor) -> Tensor:
        """Encode positions (..., 2), (x, y) as fractions of width and height, to (..., 2 * num_features)."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = (2 * math.pi) * ((2 * unit_xy.to(matrix.dtype) - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Encodes the prompts of B objects; coordinates are (x, y) in the model frame, px."""

    def __init__(self, image_size: int, grid: int, dim: int, mask_in_channels: int) -> None:
        """Create the encoder.

        Args:
            image_size: side of the frame that points and boxes are counted in, px.
            grid: side of the features, tokens.
            dim: channels of features and tokens.
            mask_in_channels: channels inside the convolutions of mask prompts.
        """
        super().__init__()
        self.image_size = image_size
        self.grid = grid
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_channels // 4, 2, stride=2),
            LayerNorm2d(mask_in_channels // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_channels // 4, mask_in_channels, 2, stride=2),
            LayerNorm2d(mask_in_channels),
            nn.GELU(),
            nn.Conv2d(mask_in_channels, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)
        self._dense_pe: dict[int, tuple[Tensor, int, Tensor]] = {}

    @property
    def mask_input_size(self) -> int:
        """Side of a mask prompt, px: four times the token grid."""
        return 4 * self.grid

    def dense_pe(self, grid: int | None = None) -> Tensor:
        """Positional encoding of the token grid, (1, dim, g, g); computed once per matrix and grid.

        Args:
            grid: tokens along a side; None: as many as the model frame has.
        """
        grid = grid or self.grid
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        version = 0 if matrix.is_inference() else matrix._version  # counts changes in place
        cached = self._dense_pe.get(grid)
        if cached is None or cached[0] is not matrix or cached[1] != version:
            # A tensor made in inference mode could not be kept for a later step of training.
            with torch.inference_mode(False), torch.no_grad():
                cached = self._dense_pe[grid] = (matrix, version, self._encoded_grid(grid, matrix.device))
        return cached[2]

    def _encoded_grid(self, grid: int, device: torch.device) -> Tensor:
        centres = (torch.arange(grid, device=device) + 0.5) / grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([x, y], dim=-1)).permute(2, 0, 1)[None].contiguous()

    def forward(
        self,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        grid: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode the prompts of B objects.

        Args:
            points: coordinates (B, n, 2) and labels (B, n): 1 positive, 0 negative, -1 not a point.
            boxes: (B, 4), (B, 1, 4) or (B, 2, 2), corners (x0, y0), (x1, y1).
            masks: (B, 1, 4g, 4g), probabilities 0..1 (the sigmoid of earlier logits).
            grid: tokens along a side, g; None: as many as the model frame has.

        Returns:
            sparse: (B, N, dim), one token per point and two per box; points without a box get one more.
            dense: (B, dim, g, g), or (1, dim, g, g) where no mask was given.
        """
        tokens = []
        if points is not None:
            tokens.append(self._encode_points(*points, pad=boxes is None))
        if boxes is not None:
            tokens.append(self._encode_boxes(boxes))
        if tokens:
            sparse = torch.cat(tokens, dim=1)
        else:
            batch = 1 if masks is None else masks.shape[0]
            sparse = self.no_mask_embed.weight.new_zeros(batch, 0, self.no_mask_embed.embedding_dim)
        return sparse, self.encode_masks(masks, grid)

    def encode_masks(self, masks: Tensor | None, grid: int | None = None) -> Tensor:
        """Encode mask prompts (B, 1, 4g, 4g) to (B, dim, g, g); none gives (1, dim, g, g).

        Args:
            masks: probabilities 0..1; None for no mask.
            grid: tokens along a side where there is no mask; None: as many as the model frame has.
        """
        if masks is None:
            grid = grid or self.grid
            return self.no_mask_embed.weight[:, :, None, None].expand(-1, -1, grid, grid)
        return self.mask_downscaling(masks)

    def _encode_points(self, points_model: Tensor, labels: Tensor, pad: bool) -> Tensor:
        """Tokens of (B, n, 2) points; `pad` appends one token that is not a point."""
        points_model = points_model + 0.5
        if pad:
            points_model = torch.cat([points_model, points_model.new_zeros(len(points_model), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), NOT_A_POINT)], dim=1)
        is_point = labels[..., None] != NOT_A_POINT
        position = self.pe_layer(points_model / self.image_size) * is_point
        kinds = torch.cat([self.not_a_point_embed.weight, *self._point_weights(0, 1)])
        return position + functional.embedding(labels + 1, kinds)

    def _encode_boxes(self, boxes_model: Tensor) -> Tensor:
        """Two tokens, (B, 2, dim), for each box."""
        corners = self.pe_layer((boxes_model.reshape(-1, 2, 2) + 0.5) / self.image_size)
        return corners + torch.cat(self._point_weights(2, 3))

    def _point_weights(self, *indices: int) -> list[Tensor]:
        return [cast("nn.Embedding", self.point_embeddings[i]).weight for i in indices]
