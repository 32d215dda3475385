"""Checkpoints in the layout of the published ones, for the original code and programs that were written for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from SAMMed2DLib.checkpoints.torch_write import write_torch_file
from SAMMed2DLib.export.networks import ExportedNetwork
from SAMMed2DLib.export.onnx_files import ExportError
from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    from torch import Tensor

    from SAMMed2DLib.model.config.model_config import ModelConfig


def write_published(network: ExportedNetwork, path: Path) -> str:
    """Write `{"model": state dict}`, float32, which `torch.load(weights_only=True)` reads.

    Args:
        network: one that the published code can build.
        path: of the file; one that is there is replaced.

    Returns:
        the name of the network: which of `model_config.VARIANTS` it is.

    Raises:
        ExportError: the published code cannot build this network.
    """
    variant = variant_of(network.config)
    path.parent.mkdir(parents=True, exist_ok=True)
    with StagedFiles() as staged:
        write_torch_file(staged.place(path), {"model": published_state(network)})
    return variant


def published_state(network: ExportedNetwork) -> dict[str, Tensor]:
    """The weights by their published names, contiguous."""
    return {name: tensor.detach().float().contiguous() for name, tensor in network.model.state_dict().items()}


def variant_of(config: ModelConfig) -> str:
    """The name in `model_config.VARIANTS` of a network.

    Raises:
        ExportError: it has none.
    """
    from SAMMed2DLib.model.config.model_config import VARIANTS

    for name, known in VARIANTS.items():
        if known == config:
            return name
    kind = "a TinyViT" if config.tiny_vit else f"{config.depth} blocks of width {config.embed_dim}"
    raise ExportError(
        f"the published code builds ViT-B, L and H of 256 or 1024 px; this model is {kind} of {config.image_size} px: "
        "export a model that was fine-tuned from SAM-Med2D, FT-SAM or SAM, or use `sammed2d export onnx`"
    )
