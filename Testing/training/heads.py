"""The parts of the embedded model that are trained, and the encoder that they read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes
from SAMMed2DLib.model.mask_decoder import MaskDecoder
from SAMMed2DLib.model.prompt_encoder import PromptEncoder
from SAMMed2DLib.model.tiny_vit import TinyVit

REFINER_DIM = 16


def tuned_weights(ema: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The encoder's stages that were tuned, under the names of LiteMedSAM's checkpoint; none of a frozen encoder."""
    return {f"image_encoder.layers.{name}": value for name, value in ema.get("stages", {}).items()}


def tiny_encoder(state: dict[str, Tensor], size: int) -> TinyVit:
    """The image encoder of a checkpoint, made for fast prediction."""
    encoder = TinyVit(size, TinyVitSizes(), 256).eval().requires_grad_(False)
    prefix = "image_encoder."
    encoder.load_state_dict({name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})
    encoder.prepare_for_cpu()
    return encoder


class Heads(nn.Module):
    """What is trained: neck, prompt encoder and mask decoder."""

    def __init__(self, size: int, prompt_px: int | None = None) -> None:
        """Create them for crops of `size` px; prompts count in px of a frame of `prompt_px`."""
        super().__init__()
        self.neck = TinyVit(size, TinyVitSizes(), 256).neck
        self.prompt_encoder = PromptEncoder(prompt_px or size, size // 4, 256, 16)
        self.mask_decoder = MaskDecoder(256, 2, 8, 2048, 256)

    @classmethod
    def from_lite(cls, state: dict[str, Tensor], size: int, noise: float, prompt_px: int | None = None) -> Heads:
        """The heads of LiteMedSAM, whose one trained mask is given to the three others, with so much noise."""
        heads = cls(size, prompt_px)
        prefix = "image_encoder."
        wanted = heads.state_dict()
        heads.load_state_dict({name: v for key, v in state.items() if (name := key.removeprefix(prefix)) in wanted})
        heads._spread_first_mask(noise)
        return heads

    @torch.no_grad()
    def _spread_first_mask(self, noise: float) -> None:
        generator = torch.Generator().manual_seed(0)
        decoder = self.mask_decoder
        tokens = decoder.mask_tokens.weight
        noise *= float(tokens.std())
        tokens[1:] = tokens[:1] + noise * torch.randn(3, tokens.shape[1], generator=generator)
        for mlp in decoder.output_hypernetworks_mlps[1:]:
            mlp.load_state_dict(decoder.output_hypernetworks_mlps[0].state_dict())
        last = decoder.iou_prediction_head.layers[-1]
        last.weight[1:], last.bias[1:] = last.weight[:1], last.bias[:1]
