"""Which weights are trained, by which optimiser, and how new ones begin."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from SAMMed2DLib.model.sam import Sam
from SAMMed2DLib.training.config import TrainingConfig

# The published forward replaces these by new tensors at every use: their optimiser only moves orphans.
PUBLISHED_ORPHANS = tuple(
    f"prompt_encoder.{name}.weight" for name in ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed")
)


def start_from_identity(model: Sam) -> None:
    """Scale the adapters' last norm to 0, so that a new adapter adds nothing, and spread the positions."""
    for name, parameter in model.named_parameters():
        if name.endswith("Adapter.norm.weight"):
            nn.init.zeros_(parameter)
        elif name.endswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)


def choose_trained(model: Sam, trained: str) -> None:
    """Freeze what is not trained: with "adapters" the encoder's body, with "decoder" the whole encoder."""
    for name, parameter in model.image_encoder.named_parameters():
        parameter.requires_grad_(trained == "all" or (trained == "adapters" and "Adapter" in name))
    for module in model.image_encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # a few images at a time tell too little of the statistics that it was trained with


def optimiser_of(model: Sam, config: TrainingConfig) -> torch.optim.Optimizer:
    """Freeze what the run does not train, and make the optimiser of the rest."""
    if config.as_published:
        return published_optimiser(model, config.learning_rate)
    choose_trained(model, config.trained)
    return make_optimiser(model, config)


def make_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW; position tables, embeddings, the patch projection, biases and norms do not decay."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for n, p in trained if p.ndim > 1 and "embed" not in n and "rel_pos" not in n]
    known = {id(p) for p in decayed}
    rest = [p for _, p in trained if id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))


def published_optimiser(model: Sam, learning_rate: float = 1e-4) -> torch.optim.Adam:
    """Adam as published: the encoder's body is frozen, and the orphaned point embeddings never move."""
    choose_trained(model, "adapters")
    for name in PUBLISHED_ORPHANS:
        model.get_parameter(name).requires_grad_(False)
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=learning_rate)
