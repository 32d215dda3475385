"""All sizes of the network, and nothing else; `model.build` makes models of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes

# How pixels come into the model frame; see `ModelConfig`.
Preprocessing = Literal["published", "min-max"]
PREPROCESSINGS: tuple[Preprocessing, ...] = ("published", "min-max")

_LARGEST = {"image_size": 4096, "depth": 128, "decoder_depth": 32, "prompt_size": 4096, "refiner_dim": 256}
_LARGEST_SIZE = 16_384
_LARGEST_MLP_RATIO = 64.0
# What files say only where it is not the default, so that earlier versions read the others.
_LATER = ("preprocessing", "prompt_size", "refiner_dim")
_SHOWN = 60  # letters of a value in a message


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
        tiny_vit: sizes of a TinyViT that takes the ViT's place; `patch_size` is then its stride, and the other sizes of
            the ViT mean nothing.
        preprocessing: how pixels come into the model frame: "published", by nearest neighbours and ImageNet's
            statistics; "min-max", bilinearly with antialiasing and stretched to 0..1 in each image.
        prompt_size: side of the frame that points and boxes are counted in, px; None: that of the model frame.
        refiner_dim: channels of the refiner; None: there is none.
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
    tiny_vit: TinyVitSizes | None = None
    preprocessing: Preprocessing = "published"
    prompt_size: int | None = None
    refiner_dim: int | None = None

    def __post_init__(self) -> None:
        """Refuse what are no sizes, and sizes that do not fit together."""
        self._check_each()
        frame, patch = self.image_size, self.patch_size
        rules = {
            f"image_size, {frame}, must be a multiple of patch_size, {patch}": frame % patch == 0,
            "adapters need an even token grid (image_size / patch_size)": not self.adapter or self.grid % 2 == 0,
            "num_heads must divide embed_dim": self.embed_dim % self.num_heads == 0,
            "decoder_heads must divide out_dim / 2": self.out_dim % (2 * self.decoder_heads) == 0,
            "out_dim must be a multiple of 8": self.out_dim % 8 == 0,
            "mask_in_channels must be a multiple of 4": self.mask_in_channels % 4 == 0,
            "patch_size must be the stride of the TinyViT": self.tiny_vit is None
            or self.patch_size == self.tiny_vit.stride,
            "a TinyViT has no adapters": self.tiny_vit is None or not self.adapter,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError("; ".join(broken))

    def _check_each(self) -> None:
        """Refuse values of another kind: a configuration may come from a damaged or crafted file."""
        for field in fields(self):
            value = getattr(self, field.name)
            largest = _LARGEST.get(field.name, _LARGEST_SIZE)
            if field.type == "int" and not (type(value) is int and 0 < value <= largest):
                raise ConfigError(f"{field.name} must be a whole number from 1 to {largest:,}, not {_shown(value)}")
        for name in ("prompt_size", "refiner_dim"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and 0 < value <= _LARGEST[name]):
                raise ConfigError(f"{name} must be a whole number from 1 to {_LARGEST[name]:,}, not {_shown(value)}")
        if self.preprocessing not in PREPROCESSINGS:
            known = ", ".join(PREPROCESSINGS)
            raise ConfigError(f"preprocessing must be one of {known}, not {_shown(self.preprocessing)}")
        ratio = self.mlp_ratio
        if type(ratio) not in (int, float) or not 0 < ratio <= _LARGEST_MLP_RATIO or int(self.embed_dim * ratio) < 1:
            raise ConfigError(f"mlp_ratio must be a number above 0, up to {_LARGEST_MLP_RATIO:g}, not {_shown(ratio)}")
        blocks = self.global_blocks
        are_indices = isinstance(blocks, tuple) and all(type(i) is int and 0 <= i < self.depth for i in blocks)
        if not are_indices or len(set(blocks)) != len(blocks):
            raise ConfigError(f"global_blocks must be indices of the {self.depth} blocks, not {_shown(blocks)}")
        if type(self.adapter) is not bool:
            raise ConfigError(f"adapter must be true or false, not {_shown(self.adapter)}")
        if not isinstance(self.tiny_vit, TinyVitSizes | None):
            raise ConfigError(f"tiny_vit must be the sizes of a TinyViT, not {_shown(self.tiny_vit)}")

    @property
    def grid(self) -> int:
        """Tokens along one side."""
        return self.image_size // self.patch_size

    def takes_size(self, size: int) -> bool:
        """Whether images of this smaller side, px, can be encoded too: a network without a table of positions does."""
        return self.tiny_vit is not None and 0 < size < self.image_size and size % self.patch_size == 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for `from_dict`."""
        tiny_vit = {} if self.tiny_vit is None else {"tiny_vit": self.tiny_vit.to_dict()}
        later = {field.name: field.default for field in fields(self) if field.name in _LATER}
        sizes = {
            name: value
            for name, value in asdict(self).items()
            if name != "tiny_vit" and not (name in later and value == later[name])
        }
        return {**sizes, "global_blocks": list(self.global_blocks), **tiny_vit}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: an unknown name, a value that is no size, or sizes that do not fit together.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"unknown sizes {_shown(sorted(unknown))}: the file was made by a newer version")
        blocks = values.get("global_blocks", cls.global_blocks)
        read = {**values, "global_blocks": tuple(blocks) if isinstance(blocks, list) else blocks}
        if isinstance(values.get("tiny_vit"), Mapping):
            try:
                read["tiny_vit"] = TinyVitSizes.from_dict(values["tiny_vit"])
            except ValueError as error:
                raise ConfigError(f"tiny_vit: {error}") from error
        return cls(**read)


def _shown(value: object) -> str:
    """A value for a message, cut short; it may be of any kind and size."""
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return f"a number of {value.bit_length():,} bits"
    words = repr(value[:_SHOWN] if isinstance(value, (str, list, tuple)) else value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"


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

# LiteMedSAM's shapes, at a size whose maps of tokens its windows divide.
TINY = ModelConfig(image_size=112, patch_size=4, adapter=False, tiny_vit=TinyVitSizes())

# SAM and FT-SAM are the same network; so are SAM-Med2D and its starred form once the adapters are left out.
VARIANTS: dict[str, ModelConfig] = {
    f"{family}_{letter}_{size}": replace(body, image_size=size, adapter=family == "sam-med2d")
    for family in ("sam", "sam-med2d")
    for letter, body in (("b", VIT_B), ("l", VIT_L), ("h", VIT_H))
    for size in (256, 1024)
}
