"""What a run begins with: known weights, at another image size or with new adapters if wanted, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, sha256_of
from SAMMed2DLib.checkpoints.fit import HEAD_PARTS, fit_state_dict
from SAMMed2DLib.inference.engines.loading import config_of_checkpoint
from SAMMed2DLib.inference.zoom import click_scales_of, coarse_size_of
from SAMMed2DLib.model.build import build_empty, build_model
from SAMMed2DLib.model.config.model_config import SMALL, VIT_B, VIT_H, VIT_L, ModelConfig
from SAMMed2DLib.model.sam import Sam
from SAMMed2DLib.registry.known_models import KNOWN_MODELS, weights_path
from SAMMed2DLib.training.config import TrainingConfig, TrainingError
from SAMMed2DLib.training.optimisers import start_from_identity

_BODIES = {"small": SMALL, "vit_b": VIT_B, "vit_l": VIT_L, "vit_h": VIT_H}
SIZES = {name: replace(body, adapter=True, image_size=256) for name, body in _BODIES.items()}
PUBLISHED_WIDTH = 768  # models of at least this width are trained by their adapters


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A network before its first step.

    Attributes:
        model: its sizes.
        state: its weights; what is missing begins with fresh ones.
        prefers_zoom: whether these weights were trained for crops around prompts.
        click_scales: what they answer first clicks on, see `Predictor`.
        coarse_size: the frame in which they look there first, px, see `Predictor`.
        base: where they come from, plain JSON types; empty for none.
    """

    model: ModelConfig
    state: Mapping[str, Tensor] = field(default_factory=dict)
    prefers_zoom: bool = True
    click_scales: tuple[float, ...] = (1.0,)
    coarse_size: int | None = None
    base: Mapping[str, Any] = field(default_factory=dict)


def fresh_start(sizes: str, image_size: int | None = None) -> StartingPoint:
    """Begin with random weights, in sizes of `SIZES`.

    Raises:
        TrainingError: no such sizes.
        ConfigError: the image size does not fit them.
    """
    if sizes not in SIZES:
        raise TrainingError(f"unknown sizes {sizes!r}: choose one of {', '.join(SIZES)}")
    config = SIZES[sizes]
    return StartingPoint(replace(config, image_size=image_size or config.image_size), prefers_zoom=sizes == "small")


def known_start(
    model: str | Path, image_size: int | None = None, *, add_adapters: bool = False, reset_heads: bool = False
) -> StartingPoint:
    """Begin with the weights of a file or of a known model.

    Args:
        model: as in `load_predictor`.
        image_size: side of the model frame; None takes the file's own. Position tables are resized to it.
        add_adapters: give a model without adapters new ones.
        reset_heads: leave out the mask tokens and heads of a model without adapters, as published.

    Raises:
        RegistryError: no model of this name here.
        CheckpointError: no such file, no weights in it, or weights of another network.
        ConfigError: the image size does not fit.
        TrainingError: the file is incomplete.
    """
    path = weights_path(model)
    checkpoint = read_checkpoint(path)
    own = config_of_checkpoint(checkpoint, path.name)
    config = replace(own, image_size=image_size or own.image_size, adapter=own.adapter or add_adapters)
    wanted = {name: tuple(value.shape) for name, value in build_empty(config).state_dict().items()}
    fitted = fit_state_dict(checkpoint.state, wanted, reset_heads=reset_heads and not own.adapter)
    new = (".Adapter.", *(HEAD_PARTS if reset_heads else ())) if not own.adapter else ()
    lacking = [name for name in fitted.missing if not any(part in name for part in new)]
    if lacking:
        raise TrainingError(f"{path.name} lacks weights, the first is {lacking[0]!r}: it is incomplete, get it again")
    known = checkpoint.provenance
    base: dict[str, Any] = {"name": path.stem, "file_sha256": sha256_of(path)}
    base |= {key: known[key] for key in ("weights_sha256", "weights_licence", "data_licence", "steps") if key in known}
    if path.stem in KNOWN_MODELS and not isinstance(model, Path):
        base["weights_licence"] = KNOWN_MODELS[path.stem].weights_licence
    if own.image_size != config.image_size:
        base["resized_from"] = own.image_size
    first = click_scales_of(known), coarse_size_of(known, config.takes_size)
    return StartingPoint(config, fitted.state, bool(known.get("prefers_zoom")), *first, base)


def build_start(config: TrainingConfig, start: Mapping[str, Tensor] | None) -> Sam:
    """Build the network of a run and give it its first weights; those that are not given are drawn by the seed."""
    torch.manual_seed(config.seed)
    model = build_model(config.model)
    if not config.as_published:
        start_from_identity(model)
    state = {name: value.float() for name, value in (start or {}).items()}
    model.load_state_dict(state, strict=False)
    unknown = set(state) - set(model.state_dict())
    if unknown:
        raise TrainingError(f"the weights to begin with are of another network: {sorted(unknown)[0]!r} is not in it")
    return model.train()
