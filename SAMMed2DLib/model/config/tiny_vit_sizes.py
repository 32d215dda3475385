"""Sizes of a TinyViT, which come from files and are checked here; nothing of PyTorch is needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

HEAD_DIM = 32  # channels of an attention head, as published
# Sizes come from files, which may be crafted: no network has larger ones.
_LARGEST = {"dims": 4096, "depths": 64, "windows": 64, "strides": 4}
_MOST_STAGES = 8


@dataclass(frozen=True)
class TinyVitSizes:
    """Sizes of a TinyViT by stage; the defaults are LiteMedSAM's.

    Attributes:
        dims: channels of each stage; the first stage has convolutions only.
        depths: blocks of each stage.
        windows: side of the attention windows of each stage, tokens; the first stage has none, its value is ignored.
        strides: of the merging after each stage but the last.
    """

    dims: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    windows: tuple[int, ...] = (0, 7, 14, 7)
    strides: tuple[int, ...] = (2, 2, 1)

    def __post_init__(self) -> None:
        """Refuse what are no sizes, and sizes that do not fit together: they may come from a damaged file.

        Raises:
            ValueError: the message names the size.
        """
        for field in fields(self):
            values, largest = getattr(self, field.name), _LARGEST[field.name]
            if not (isinstance(values, tuple) and 0 < len(values) <= _MOST_STAGES):
                raise ValueError(f"{field.name} must be a list of 1 to {_MOST_STAGES} numbers, one for each stage")
            counted = values[1:] if field.name == "windows" else values
            if not all(type(value) is int and 0 < value <= largest for value in counted):
                raise ValueError(f"{field.name} must be whole numbers from 1 to {largest:,}")
        stages = len(self.dims)
        if not (len(self.depths) == len(self.windows) == stages == len(self.strides) + 1):
            raise ValueError("dims, depths, windows and strides must be of one number of stages")
        if any(dim % HEAD_DIM for dim in self.dims):
            raise ValueError(f"dims must be multiples of {HEAD_DIM}, not {self.dims}")

    @property
    def stride(self) -> int:
        """Image px for one token of the features, along each side."""
        return math.prod(self.strides)

    def to_dict(self) -> dict[str, list[int]]:
        """Plain JSON types, for `from_dict`."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TinyVitSizes:
        """Read what `to_dict` wrote.

        Raises:
            ValueError: an unknown name, a value that is no size, or sizes that do not fit together.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{len(unknown)} unknown sizes: the file was made by a newer version")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
