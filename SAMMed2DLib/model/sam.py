"""The whole network: image encoder, prompt encoder and mask decoder."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.config.model_config import Preprocessing
from SAMMed2DLib.model.image_encoder import ImageEncoderViT
from SAMMed2DLib.model.mask_decoder import MaskDecoder
from SAMMed2DLib.model.prompt_encoder import PromptEncoder
from SAMMed2DLib.model.refiner import Refiner
from SAMMed2DLib.model.tiny_vit import TinyVit
from SAMMed2DLib.model.transformer import SharedImage


class Sam(nn.Module):
    """SAM, FT-SAM and SAM-Med2D: one class, told apart by sizes, adapters and weights."""

    def __init__(
        self,
        image_encoder: ImageEncoderViT | TinyVit,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        refiner: Refiner | None = None,
        preprocessing: Preprocessing = "published",
    ) -> None:
        """Join the parts; the attribute names are the prefixes of the state dict.

        Args:
            image_encoder: images to features.
            prompt_encoder: points, boxes and masks to tokens and maps.
            mask_decoder: features and prompts to logits and scores.
            refiner: draws outlines at the image's resolution; None: there is none.
            preprocessing: how pixels come into the model frame, see `ModelConfig`.
        """
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.refiner = refiner
        self.preprocessing = preprocessing

    @property
    def image_size(self) -> int:
        """Side of the model frame, px."""
        return self.image_encoder.image_size

    def decode(
        self,
        features: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
        shared: SharedImage | None = None,
        best: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks of prompts on encoded images; see `PromptEncoder.forward` and `MaskDecoder.forward`.

        Args:
            features: (1 or B, dim, g, g).
            points: (B, n, 2) coordinates in the model frame, px, and (B, n) labels.
            boxes: (B, 4), model frame, px.
            masks: (B, 1, 4g, 4g), probabilities.
            multimask: three masks, or mask 0 alone.
            shared: what `share` made of these features; it saves time, and changes nothing beyond rounding.
            best: keep, for each object, only the mask with the largest predicted IoU.

        Returns:
            logits (B, 3 or 1, 4g, 4g) and predicted IoU (B, 3 or 1).
        """
        grid = features.shape[-1]
        sparse, dense = self.prompt_encoder(points, boxes, masks, grid)
        unmasked = shared is not None and masks is None
        dense = None if unmasked else dense
        return self.mask_decoder(features, self.prompt_encoder.dense_pe(grid), sparse, dense, multimask, shared, best)

    def share(self, features: Tensor, earlier: SharedImage | None = None) -> SharedImage:
        """Compute what all prompts on one image share, for `decode`; the weights must stay as they are.

        Args:
            features: (1, dim, g, g).
            earlier: of another image, with the same weights.
        """
        grid = features.shape[-1]
        no_mask, image_pe = self.prompt_encoder.encode_masks(None, grid), self.prompt_encoder.dense_pe(grid)
        return self.mask_decoder.share(features, image_pe, no_mask, earlier)

    def forward(
        self,
        images: Tensor,
        size_hw: tuple[int, int],
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One object on each of B normalised images, from pixels to logits at `size_hw`.

        Args:
            images: (B, 3, S, S), normalised.
            size_hw: size of the slices before they were stretched to S x S.
            points: as `decode`.
            boxes: as `decode`.
            masks: as `decode`.
            multimask: as `decode`.

        Returns:
            logits (B, M, H, W) at `size_hw`, predicted IoU (B, M), low-resolution logits (B, M, 4g, 4g).
        """
        low_res, iou = self.decode(self.image_encoder(images), points, boxes, masks, multimask)
        return resize_bilinear(self.upscale(low_res), size_hw), iou, low_res

    def upscale(self, low_res: Tensor) -> Tensor:
        """Bring logits (B, M, 4g, 4g) to the model frame, (B, M, S, S)."""
        return resize_bilinear(low_res, (self.image_size, self.image_size))


def resize_bilinear(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, C, H, W) with half-pixel centres, without antialiasing; none where the size is right."""
    if tuple(x.shape[-2:]) == tuple(size_hw):
        return x
    return functional.interpolate(x, size_hw, mode="bilinear", align_corners=False)
