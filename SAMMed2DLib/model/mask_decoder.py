"""The mask decoder: image features and prompt tokens to four masks and their predicted IoU."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.layers import LayerNorm2d, Mlp
from SAMMed2DLib.model.transformer import SharedImage, TwoWayTransformer

NUM_MASKS = 4  # one for unambiguous prompts, three for ambiguous ones


class MaskDecoder(nn.Module):
    """Decodes the prompts of B objects on one image, or of one object on each of B images."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_dim: int, iou_hidden_dim: int) -> None:
        """Create the decoder.

        Args:
            dim: channels of features and tokens.
            depth: layers of the transformer.
            num_heads: attention heads of a layer.
            mlp_dim: hidden width of a layer's MLP.
            iou_hidden_dim: hidden width of the score head.
        """
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
        self,
        features: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor | None,
        multimask: bool = True,
        shared: SharedImage | None = None,
        best: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Decode masks.

        Args:
            features: (1 or B, dim, g, g), from the image encoder.
            image_pe: (1, dim, g, g), `PromptEncoder.dense_pe()`.
            sparse: (B, N, dim), prompt tokens.
            dense: (1 or B, dim, g, g), encoded mask prompts; None for those without, which takes `shared`.
            multimask: return masks 1..3; else mask 0, which SAM-Med2D's own training leaves untrained.
            shared: what `share` made of these features, or of others of this network.
            best: return, for each object, only the mask with the largest predicted IoU.

        Returns:
            logits: (B, 3 or 1, 4g, 4g).
            iou: (B, 3 or 1), predicted; not confined to 0..1.
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        image = shared.image if dense is None and shared else _rows(features if dense is None else features + dense)
        tokens, image = self.transformer(image, _rows(image_pe), tokens, 1 + NUM_MASKS, shared)

        chosen = slice(1, None) if multimask else slice(0, 1)
        scores = self.iou_prediction_head(tokens[:, 0])[:, chosen]
        hypernetworks = list(enumerate(self.output_hypernetworks_mlps))[chosen]
        if best and len(scores) == 1:  # the other masks need not be made
            hypernetworks, scores = [hypernetworks[int(scores.argmax())]], scores.amax(dim=1, keepdim=True)
        weights = torch.stack([mlp(tokens[:, 1 + k]) for k, mlp in hypernetworks], dim=-1)  # (B, dim / 8, M)
        logits = _unfolded(self._upscaled(image) @ weights, features.shape[-1])
        return select_best(logits, scores) if best else (logits, scores)

    def prepare_for_cpu(self) -> None:
        """Lay weights out as products of a few tokens read them; values, names and shapes stay as they are."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.out_features >= module.in_features:
                module.weight.data = module.weight.data.t().contiguous().t()
            elif isinstance(module, nn.ConvTranspose2d):  # see `_times_four`
                module.weight.data = module.weight.data.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)

    def share(
        self, features: Tensor, image_pe: Tensor, no_mask: Tensor, earlier: SharedImage | None = None
    ) -> SharedImage:
        """Compute what the prompts without a mask share.

        Args:
            features: (1, dim, g, g), from the image encoder.
            image_pe: (1, dim, g, g), `PromptEncoder.dense_pe()`.
            no_mask: (1, dim, g, g), `PromptEncoder.encode_masks(None)`.
            earlier: of another image, as long as the weights are the same.
        """
        positions = earlier.positions if earlier else ()
        return self.transformer.share(_rows(features + no_mask), _rows(image_pe), positions)

    def _upscaled(self, image: Tensor) -> Tensor:
        """The four-fold upscaling of (B, g*g, dim) to (B, g*g*16, dim / 8), pixel by pixel.

        Transposed convolutions whose stride is their size are products, each pixel becoming 2 x 2 of them. They
        stay together until the end, which is a reordering of the few channels that are left then.
        """
        first, norm, _, second, _ = self.output_upscaling
        x = cast("LayerNorm2d", norm).of_rows(_times_four(image, cast("nn.ConvTranspose2d", first)))
        return functional.gelu(_times_four(functional.gelu(x), cast("nn.ConvTranspose2d", second)))


def _rows(x: Tensor) -> Tensor:
    """(B, dim, g, g) to (B, g*g, dim)."""
    return x.flatten(2).transpose(1, 2)


def _times_four(x: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    """A 2 x 2 transposed convolution of stride 2, of pixels (B, N, C): (B, 4N, D)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # of (C, D, 2, 2)
    bias = cast("Tensor", convolution.bias).repeat(4)
    return functional.linear(x, weight, bias).view(len(x), 4 * x.shape[1], -1)


def _unfolded(x: Tensor, grid: int) -> Tensor:
    """Pixels (B, g*g*16, M), each of 2 x 2 of 2 x 2, to maps (B, M, 4g, 4g)."""
    x = x.view(len(x), grid, grid, 2, 2, 2, 2, -1)
    return x.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(len(x), -1, 4 * grid, 4 * grid)


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
