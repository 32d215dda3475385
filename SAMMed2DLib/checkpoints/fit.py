"""Fit a state dict to a model of another image size, by shapes alone, and say plainly when it cannot fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

HEAD_PARTS = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
"""Parts of the names that the published training starts from random values (SAM's heads, 31 tensors)."""
_VARIANTS = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
_MAX_NAMED = 3

# What an architecture is recognised by: (in words, name of a weight, dimension of it). Depths are counted.
_SIZES = (
    ("encoder width", "image_encoder.patch_embed.proj.weight", 0),
    ("patch size", "image_encoder.patch_embed.proj.weight", 3),
    ("encoder MLP width", "image_encoder.blocks.0.mlp.lin1.weight", 0),
    ("width of one attention head", "image_encoder.blocks.0.attn.rel_pos_h", 1),
    ("decoder width", "mask_decoder.iou_token.weight", 1),
    ("decoder MLP width", "mask_decoder.transformer.layers.0.mlp.lin1.weight", 0),
    ("width of the score head", "mask_decoder.iou_prediction_head.layers.0.weight", 0),
    ("number of mask tokens", "mask_decoder.mask_tokens.weight", 0),
    ("mask prompt channels", "prompt_encoder.mask_downscaling.3.weight", 0),
)
_ENCODER = ("encoder width", "encoder depth")  # told together, as the name of a variant
_DEPTHS = (
    ("encoder depth", "image_encoder.blocks."),
    ("decoder depth", "mask_decoder.transformer.layers."),
)


@dataclass(frozen=True, eq=False)
class FittedState:
    """Weights that a model of the target shapes loads.

    Attributes:
        state: name -> tensor of exactly the target's shape; only names that the model has.
        resized: names whose table was resized.
        missing: names of the model that have no weight here; the caller decides whether that is right.
        ignored: names of the file that the model does not have, adapters of a model without them for example.
    """

    state: dict[str, torch.Tensor]
    resized: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]


def fit_state_dict(
    state: Mapping[str, torch.Tensor], target_shapes: Mapping[str, Shape], *, reset_heads: bool = False
) -> FittedState:
    """Take the weights that a model has, and resize its position tables where the image sizes differ.

    `pos_embed` is resized bilinearly as an image, relative-position tables linearly along their length, both
    with half-pixel centres and without antialiasing. What to resize is seen from the shapes, so that files of
    any image size fit models of any other.

    Args:
        state: name -> tensor, as read from a file.
        target_shapes: name -> shape of every weight of the model.
        reset_heads: leave out the 31 weights of the mask tokens and heads, as the published conversion did;
            they are reported as missing. Needed only to repeat the published training.

    Raises:
        CheckpointError: the file is of another architecture; the message names the first differences.
    """
    wanted = {name: tuple(shape) for name, shape in target_shapes.items()}
    taken = {name for name in wanted if name in state and not (reset_heads and _is_head(name))}
    _check_architecture({name: tuple(tensor.shape) for name, tensor in state.items()}, wanted)
    fitted = {name: _fit(name, state[name], wanted[name]) for name in wanted if name in taken}
    return FittedState(
        fitted,
        resized=tuple(name for name in fitted if tuple(state[name].shape) != wanted[name]),
        missing=tuple(name for name in wanted if name not in taken),
        ignored=tuple(name for name in state if name not in wanted),
    )


def _is_head(name: str) -> bool:
    return any(part in name for part in HEAD_PARTS)


def _fit(name: str, tensor: torch.Tensor, shape: Shape) -> torch.Tensor:
    if tuple(tensor.shape) == shape:
        return tensor
    return _resize_image(tensor, shape) if tensor.ndim == 4 else _resize_table(tensor, shape)


def _is_resizable(name: str, shape: Shape, wanted: Shape) -> bool:
    """A table of positions whose channels agree; everything else must have the exact shape."""
    if len(shape) != len(wanted) or shape[-1] != wanted[-1] or not all(shape):
        return False
    if name.endswith("pos_embed"):
        return len(shape) == 4 and shape[0] == wanted[0] == 1
    return name.endswith(("rel_pos_h", "rel_pos_w")) and len(shape) == 2


def _resize_image(tensor: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Bilinear resize of 1 x H x W x C."""
    from torch.nn.functional import interpolate

    channels_first = tensor.float().permute(0, 3, 1, 2)
    resized = interpolate(channels_first, size=shape[1:3], mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1).contiguous().to(tensor.dtype)


def _resize_table(tensor: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Linear resize of L x C along its length."""
    from torch.nn.functional import interpolate

    resized = interpolate(tensor.float().T[None], size=shape[0], mode="linear", align_corners=False)
    return resized[0].T.contiguous().to(tensor.dtype)


# Architecture


def _check_architecture(held: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    if not held.keys() & wanted.keys():
        some = ", ".join(repr(name[:80]) for name in list(held)[:_MAX_NAMED]) or "none"
        raise CheckpointError(
            f"This file holds the weights of something else than SAM (its first names: {some}). Use a SAM or "
            "SAM-Med2D checkpoint."
        )
    differences = _differences(_sizes(held), _sizes(wanted)) or _other_shapes(held, wanted)
    if differences:
        more = f" and {len(differences) - _MAX_NAMED} more" if len(differences) > _MAX_NAMED else ""
        told = "; ".join(differences[:_MAX_NAMED])
        raise CheckpointError(
            f"This file does not fit the model: {told}{more}. Choose a file of the model's architecture, or "
            "build the model from the file's own sizes."
        )


def _sizes(shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The architecture in words -> numbers, as far as these names and shapes tell."""
    sizes = {}
    for words, name, dimension in _SIZES:
        if len(shapes.get(name, ())) > dimension:
            sizes[words] = shapes[name][dimension]
    for words, prefix in _DEPTHS:
        if depth := _depth(shapes, prefix):
            sizes[words] = depth
    return sizes


def _depth(names: Iterable[str], prefix: str) -> int:
    numbers = (re.match(rf"{re.escape(prefix)}(\d{{1,4}})\.", name) for name in names)
    return len({match[1] for match in numbers if match})


def _differences(held: dict[str, int], wanted: dict[str, int]) -> list[str]:
    """Differences in words; of what only one side tells, nothing is said. The encoder's size comes first."""
    words = []
    encoders = _encoder_words(held), _encoder_words(wanted)
    if all(encoders) and encoders[0] != encoders[1]:
        words.append(f"this file holds {encoders[0]}, the model is {encoders[1]}")
    for what, size in held.items():
        if what in wanted and what not in _ENCODER and wanted[what] != size:
            words.append(f"{what} {size} in the file, {wanted[what]} in the model")
    return words


def _encoder_words(sizes: Mapping[str, int]) -> str:
    if not all(what in sizes for what in _ENCODER):
        return ""
    width, depth = (sizes[what] for what in _ENCODER)
    return f"{_VARIANTS.get((width, depth), 'an encoder')} (embed {width}, depth {depth})"


def _other_shapes(held: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> list[str]:
    return [
        f"{name} has shape {held[name]} in the file, {shape} in the model"
        for name, shape in wanted.items()
        if name in held and held[name] != shape and not _is_resizable(name, held[name], shape)
    ]
