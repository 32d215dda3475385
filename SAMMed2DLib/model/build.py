"""All sizes of the network, and nothing else: configurations, and models built from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from .image_encoder import ImageEncoderViT
from .mask_decoder import MaskDecoder
from .prompt_encoder import PromptEncoder
from .sam import Sam


class ConfigError(ValueError):
    """Sizes that do not fit together, or weights from which no configuration can be read."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a network; the defaults are the published SAM-Med2D (ViT-B at 256 px, with adapters).

    Attributes:
        image_size: side of the model frame, px; `patch_size` times an even number with adapters.
        patch_size: side of a patch, px.
        embed_dim: channels of the encoder's tokens.
        depth: number of encoder blocks.
        num_heads: attention heads of a block.
        global_blocks: indices of the blocks that attend to the whole grid.
        window_size: side of the windows of the other blocks, tokens.
        adapter: whether each block has an adapter.
        mlp_ratio: hidden width of a block's MLP over `embed_dim`.
        out_dim: channels of the features, of the prompts and of the decoder.
        decoder_depth: layers of the two-way transformer.
        decoder_heads: its attention heads.
        decoder_mlp_dim: hidden width of its MLPs.
        iou_hidden_dim: hidden width of the score head.
        mask_in_channels: channels inside the mask prompt's convolutions.
    """

    image_size: int = 256
    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    window_size: int = 14
    adapter: bool = True
    mlp_ratio: float = 4.0
    out_dim: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    iou_hidden_dim: int = 256
    mask_in_channels: int = 16

    def __post_init__(self) -> None:
        """Refuse what are no sizes, and sizes that do not fit together."""
        self._check_each()
        rules = {
            "image_size must be a multiple of patch_size": self.image_size % self.patch_size == 0,
            "adapters need an even token grid (image_size / patch_size)": not self.adapter or self.grid % 2 == 0,
            "num_heads must divide embed_dim": self.embed_dim % self.num_heads == 0,
            "decoder_heads must divide out_dim / 2": self.out_dim % (2 * self.decoder_heads) == 0,
            "out_dim must be a multiple of 8": self.out_dim % 8 == 0,
            "mask_in_channels must be a multiple of 4": self.mask_in_channels % 4 == 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError("; ".join(broken))

    def _check_each(self) -> None:
        """Refuse values of another kind: a configuration may come from a damaged file."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and not (isinstance(value, int) and value > 0):
                raise ConfigError(f"{field.name} must be a whole number above 0, not {value!r}")
        if not (isinstance(self.mlp_ratio, int | float) and self.mlp_ratio > 0):
            raise ConfigError(f"mlp_ratio must be a number above 0, not {self.mlp_ratio!r}")
        if not (isinstance(self.global_blocks, tuple) and set(self.global_blocks) <= set(range(self.depth))):
            raise ConfigError(f"global_blocks must be indices of the {self.depth} blocks, not {self.global_blocks!r}")

    @property
    def grid(self) -> int:
        """Tokens along one side."""
        return self.image_size // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for `from_dict`."""
        return {**asdict(self), "global_blocks": list(self.global_blocks)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: an unknown name, a value that is no size, or sizes that do not fit together.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"unknown sizes {sorted(unknown)}: the file was made by a newer version")
        blocks = values.get("global_blocks", cls.global_blocks)
        return cls(**{**values, "global_blocks": tuple(blocks) if isinstance(blocks, list) else blocks})


VIT_B = ModelConfig(adapter=False)
VIT_L = replace(VIT_B, embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23))
VIT_H = replace(VIT_B, embed_dim=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31))
# The embedded model: made for CPUs.
SMALL = ModelConfig(
    embed_dim=160,
    depth=5,
    num_heads=5,
    global_blocks=(1, 3, 4),
    window_size=8,
    out_dim=128,
    decoder_heads=8,
    decoder_mlp_dim=512,
    iou_hidden_dim=128,
)

# SAM and FT-SAM are the same network; so are SAM-Med2D and its starred form once the adapters are left out.
VARIANTS: dict[str, ModelConfig] = {
    f"{family}_{letter}_{size}": replace(body, image_size=size, adapter=family == "sam-med2d")
    for family in ("sam", "sam-med2d")
    for letter, body in (("b", VIT_B), ("l", VIT_L), ("h", VIT_H))
    for size in (256, 1024)
}


def build_model(config: ModelConfig) -> Sam:
    """Build a network with freshly initialised weights, in evaluation mode."""
    encoder = ImageEncoderViT(
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
    prompts = PromptEncoder(config.image_size, config.grid, config.out_dim, config.mask_in_channels)
    decoder = MaskDecoder(
        config.out_dim,
        config.decoder_depth,
        config.decoder_heads,
        config.decoder_mlp_dim,
        config.iou_hidden_dim,
    )
    return Sam(encoder, prompts, decoder).eval()


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


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> ModelConfig:
    """Read the sizes of a network off the shapes of its state dict.

    Decoder heads cannot be read off shapes: the published 8 are taken.

    Args:
        shapes: parameter name to shape, as in `state_dict()`.

    Raises:
        ConfigError: the names are not those of this network.
    """
    try:
        return _config_from_shapes(shapes)
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"these weights are not a SAM network ({error}); a SAM or SAM-Med2D checkpoint has names such as "
            "'image_encoder.pos_embed' and 'mask_decoder.iou_token.weight'"
        ) from error


def _config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> ModelConfig:
    _, grid, _, embed_dim = shapes["image_encoder.pos_embed"]
    patch_size = shapes["image_encoder.patch_embed.proj.weight"][-1]
    sides = _window_sides(shapes)
    head_dim = shapes["image_encoder.blocks.0.attn.rel_pos_h"][1]
    window_sides = {side for side in sides if side != grid}
    out_dim = shapes["mask_decoder.iou_token.weight"][1]
    layer = "mask_decoder.transformer.layers."
    return ModelConfig(
        image_size=grid * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=len(sides),
        num_heads=embed_dim // head_dim,
        global_blocks=tuple(i for i, side in enumerate(sides) if side == grid),
        window_size=window_sides.pop() if len(window_sides) == 1 else grid,
        adapter=any(".Adapter." in name for name in shapes),
        mlp_ratio=shapes["image_encoder.blocks.0.mlp.lin1.weight"][0] / embed_dim,
        out_dim=out_dim,
        decoder_depth=len({name.removeprefix(layer).split(".")[0] for name in shapes if name.startswith(layer)}),
        decoder_mlp_dim=shapes[f"{layer}0.mlp.lin1.weight"][0],
        iou_hidden_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        mask_in_channels=shapes["prompt_encoder.mask_downscaling.3.weight"][0],
    )


def _window_sides(shapes: Mapping[str, tuple[int, ...]]) -> list[int]:
    """Side of each block's attention window, tokens, from its (2n - 1, d) table."""
    table = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_h$")
    matches = ((table.match(name), shape) for name, shape in shapes.items())
    sides = {int(match[1]): (shape[0] + 1) // 2 for match, shape in matches if match}
    return [sides[i] for i in range(len(sides))]
