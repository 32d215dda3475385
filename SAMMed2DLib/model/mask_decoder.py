"""The mask decoder: image features and prompt tokens to four masks and their predicted IoU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import LayerNorm2d, Mlp
from .transformer import TwoWayTransformer

NUM_MASKS = 4  # one for unambiguous prompts, three for ambiguous ones


class MaskDecoder(nn.Module):
    """Decodes the prompts of B objects on one image, or of one object on each of B images."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_dim: int, iou_hidden_dim: int) -> None:
        """Create the decoder; `build.ModelConfig` explains the sizes."""
        super().__init__()
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(NUM_MASKS, dim)
        self.transformer = TwoWayTransformer(depth, dim, num_heads, mlp_dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp((dim, dim, dim, dim // 8)) for _ in range(NUM_MASKS)
        )
        self.iou_prediction_head = Mlp((dim, iou_hidden_dim, iou_hidden_dim, NUM_MASKS))

    def forward(
        self, features: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, multimask: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Decode masks.

        Args:
            features: (1 or B, dim, g, g), from the image encoder.
            image_pe: (1, dim, g, g), `PromptEncoder.dense_pe()`.
            sparse: (B, N, dim), prompt tokens.
            dense: (1 or B, dim, g, g), encoded mask prompts.
            multimask: return masks 1..3; else mask 0, which SAM-Med2D's own training leaves untrained.

        Returns:
            logits: (B, 3 or 1, 4g, 4g).
            iou: (B, 3 or 1), predicted; not confined to 0..1.
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        image = (features + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(image, image_pe.flatten(2).transpose(1, 2), tokens)

        image = image.transpose(1, 2).unflatten(2, features.shape[-2:])
        upscaled = self.output_upscaling(image)  # (B, dim / 8, 4g, 4g)
        chosen = slice(1, None) if multimask else slice(0, 1)
        hypernetworks = list(enumerate(self.output_hypernetworks_mlps))[chosen]
        weights = torch.stack([mlp(tokens[:, 1 + k]) for k, mlp in hypernetworks], dim=1)
        logits = (weights @ upscaled.flatten(2)).unflatten(2, upscaled.shape[-2:])
        return logits, self.iou_prediction_head(tokens[:, 0])[:, chosen]


def select_best(logits: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Keep, for each object, the mask with the largest predicted IoU.

    Args:
        logits: (B, M, H, W).
        iou: (B, M).

    Returns:
        logits (B, 1, H, W) and iou (B, 1).
    """
    best = iou.argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    return logits[rows, best][:, None], iou[rows, best][:, None]
