"""A network of the real architecture, small enough to be made and saved in a test."""

from __future__ import annotations

from pathlib import Path

from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig

CONFIG = ModelConfig(
    image_size=64,
    embed_dim=32,
    depth=2,
    num_heads=2,
    global_blocks=(1,),
    window_size=3,
    out_dim=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_hidden_dim=32,
)


def save_tiny(path: Path, **provenance: object) -> Path:
    """Write untrained weights with their configuration."""
    return save_inference_checkpoint(path, build_model(CONFIG).state_dict(), CONFIG.to_dict(), provenance)
