"""Networks built from their configurations."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.image_encoder import ImageEncoderViT
from SAMMed2DLib.model.mask_decoder import MaskDecoder
from SAMMed2DLib.model.prompt_encoder import PromptEncoder
from SAMMed2DLib.model.refiner import Refiner
from SAMMed2DLib.model.sam import Sam
from SAMMed2DLib.model.tiny_vit import TinyVit


def build_model(config: ModelConfig) -> Sam:
    """Build a network with freshly initialised weights, in evaluation mode."""
    encoder = _build_encoder(config)
    prompt_size = config.prompt_size or config.image_size
    prompts = PromptEncoder(prompt_size, config.grid, config.out_dim, config.mask_in_channels)
    decoder = MaskDecoder(
        config.out_dim,
        config.decoder_depth,
        config.decoder_heads,
        config.decoder_mlp_dim,
        config.iou_hidden_dim,
    )
    refiner = None if config.refiner_dim is None else Refiner(config.refiner_dim)
    return Sam(encoder, prompts, decoder, refiner, config.preprocessing).eval()


def _build_encoder(config: ModelConfig) -> ImageEncoderViT | TinyVit:
    if config.tiny_vit is not None:
        return TinyVit(config.image_size, config.tiny_vit, config.out_dim)
    return ImageEncoderViT(
        image_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        out_dim=config.out_dim,
        window_size=config.window_size,
        global_blocks=config.global_blocks,
        adapter=config.adapter,
    )


def build_empty(config: ModelConfig) -> Sam:
    """Build a network without memory for its weights, to be filled with `load_state_dict(assign=True)`."""
    with torch.device("meta"), _NothingDrawn():
        return build_model(config)


class _NothingDrawn(TorchFunctionMode):
    """Skips random initialisation: on the meta device all it does is to load torch's compiler, for seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        if func is torch.randn:
            func = torch.empty
        return func(*args, **(kwargs or {}))
