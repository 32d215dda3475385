"""The sizes of a network from the shapes of its weights, which say what a file holds whatever it declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any

from SAMMed2DLib.model.config.model_config import ConfigError, ModelConfig

Shapes = Mapping[str, tuple[int, ...]]

_LAYERS = "mask_decoder.transformer.layers."
# What a declared configuration must share with the weights, beside the lengths of the tables of positions.
_DECLARED = (
    "image_size",
    "patch_size",
    "embed_dim",
    "depth",
    "num_heads",
    "out_dim",
    "decoder_depth",
    "decoder_mlp_dim",
    "iou_hidden_dim",
    "mask_in_channels",
)


def config_of(declared: Mapping[str, Any] | None, shapes: Shapes) -> ModelConfig:
    """Find the sizes of weights: those that their file declares, if they have them, or those that they tell.

    Args:
        declared: the configuration in the file, as `ModelConfig.to_dict` makes it; None if it has none.
        shapes: parameter name to shape, as in `state_dict()`.

    Raises:
        ConfigError: the names are not those of this network, or the weights have other sizes than declared.
    """
    if declared is not None and declared.get("tiny_vit") is not None:
        return _tiny_vit_config(declared, shapes)
    held = config_from_shapes(shapes)
    if declared is None:
        return held
    config = ModelConfig.from_dict(declared)
    pairs = [(name, getattr(config, name), getattr(held, name)) for name in _DECLARED]
    pairs.append(("MLP width", int(config.embed_dim * config.mlp_ratio), round(held.embed_dim * held.mlp_ratio)))
    for i, side in enumerate(_window_sides(shapes) if config.depth == held.depth else ()):
        said = config.grid if i in config.global_blocks else config.window_size
        pairs.append((f"a window of block {i} of", said, side))
    _check_declared(pairs)
    _check_refiner(config, shapes)
    return config


def _tiny_vit_config(declared: Mapping[str, Any], shapes: Shapes) -> ModelConfig:
    """The declared configuration of a TinyViT; the image size and the strides are no business of its weights."""
    config = ModelConfig.from_dict(declared)
    if config.tiny_vit is None:
        raise ConfigError("tiny_vit must be the sizes of a TinyViT")
    held: dict[str, tuple[int, ...]] = {"dims": (), "depths": (), "windows": ()}
    for stage in range(len(config.tiny_vit.dims)):
        prefix = f"image_encoder.layers.{stage}.blocks."
        blocks = {name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)}
        if stage:
            dim = _shape(shapes, f"{prefix}0.attn.proj.weight", 2)[0]
            window = isqrt(_shape(shapes, f"{prefix}0.attn.attention_biases", 2)[1])
        else:
            dim, window = _shape(shapes, f"{prefix}0.conv3.c.weight", 4)[0], config.tiny_vit.windows[0]
        for name, size in (("dims", dim), ("depths", len(blocks)), ("windows", window)):
            held[name] += (size,)
    pairs: list[tuple[str, object, object]] = [(name, getattr(config.tiny_vit, name), v) for name, v in held.items()]
    _check_declared([*pairs, *((name, getattr(config, name), v) for name, v in _decoder_sizes(shapes).items())])
    _check_refiner(config, shapes)
    return config


def _check_refiner(config: ModelConfig, shapes: Shapes) -> None:
    held = _shape(shapes, "refiner.first.weight", 4)[0] if "refiner.first.weight" in shapes else None
    _check_declared([("refiner_dim", config.refiner_dim, held)])


def _check_declared(pairs: Iterable[tuple[str, object, object]]) -> None:
    for name, said, found in pairs:
        if said != found:
            raise ConfigError(f"its configuration says {name} {said}, but its weights have {found}")


def config_from_shapes(shapes: Shapes) -> ModelConfig:
    """Read the sizes of a network off the shapes of its state dict.

    Decoder heads cannot be read off shapes: the published 8 are taken.

    Args:
        shapes: parameter name to shape, as in `state_dict()`.

    Raises:
        ConfigError: the names are not those of this network, or no network has such sizes.
    """
    try:
        return _config_from_shapes(shapes)
    except ConfigError as error:
        raise ConfigError(
            f"these weights are not a SAM network ({error}); a SAM or SAM-Med2D checkpoint has names such as "
            "'image_encoder.pos_embed' and 'mask_decoder.iou_token.weight'"
        ) from error


def _config_from_shapes(shapes: Shapes) -> ModelConfig:
    _, grid, columns, embed_dim = _shape(shapes, "image_encoder.pos_embed", 4)
    if columns != grid:
        raise ConfigError(f"its position table has {grid} x {columns} tokens, which is no square")
    patch_size = _shape(shapes, "image_encoder.patch_embed.proj.weight", 4)[3]
    sides = _window_sides(shapes)
    head_dim = _shape(shapes, "image_encoder.blocks.0.attn.rel_pos_h", 2)[1]
    window_sides = {side for side in sides if side != grid}
    return ModelConfig(
        image_size=grid * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=len(sides),
        num_heads=embed_dim // head_dim,
        global_blocks=tuple(i for i, side in enumerate(sides) if side == grid),
        window_size=window_sides.pop() if len(window_sides) == 1 else grid,
        adapter=any(".Adapter." in name for name in shapes),
        mlp_ratio=_shape(shapes, "image_encoder.blocks.0.mlp.lin1.weight", 2)[0] / embed_dim,
        **_decoder_sizes(shapes),
    )


def _decoder_sizes(shapes: Shapes) -> dict[str, Any]:
    return {
        "out_dim": _shape(shapes, "mask_decoder.iou_token.weight", 2)[1],
        "decoder_depth": len({name.removeprefix(_LAYERS).split(".")[0] for name in shapes if name.startswith(_LAYERS)}),
        "decoder_mlp_dim": _shape(shapes, f"{_LAYERS}0.mlp.lin1.weight", 2)[0],
        "iou_hidden_dim": _shape(shapes, "mask_decoder.iou_prediction_head.layers.0.weight", 2)[0],
        "mask_in_channels": _shape(shapes, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
    }


def _shape(shapes: Shapes, name: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise ConfigError(f"they have no {name!r}")
    if len(shape) != dimensions or not all(shape):
        raise ConfigError(f"{name!r} has the shape {shape}")
    return shape


def _window_sides(shapes: Shapes) -> list[int]:
    """Side of each block's attention window, tokens, from its (2n - 1, d) table."""
    table = re.compile(r"image_encoder\.blocks\.(\d{1,9})\.attn\.rel_pos_h$")
    numbers = sorted(int(match[1]) for match in map(table.match, shapes) if match)
    if numbers != list(range(len(numbers))):
        raise ConfigError(f"their {len(numbers)} blocks are not numbered from 0 to {len(numbers) - 1}")
    tables = (_shape(shapes, f"image_encoder.blocks.{i}.attn.rel_pos_h", 2) for i in numbers)
    return [(length + 1) // 2 for length, _ in tables]
