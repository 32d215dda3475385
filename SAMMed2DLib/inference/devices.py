"""Where and in which precision the network runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16", "float16")

# Below this width the products are too small for the narrower format to pay.
_MIN_DIM_FOR_HALF_ON_CPU = 512


class DeviceError(ValueError):
    """A device or precision that does not exist here."""


class FallbackWarning(RuntimeWarning):
    """The network goes on elsewhere or in another precision than was asked for; shown unless filtered."""


def choose_device(name: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that is there.

    Raises:
        DeviceError: the name is unknown, or this computer has no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:N or mps") from error
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(_has_mps()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        there = ", ".join(kind for kind, count in present.items() if count)
        raise DeviceError(f"there is no device {name!r} here: choose auto, or one of {there}")
    return device


def available_devices() -> dict[str, str]:
    """The devices of this computer, as `choose_device` takes them: name -> what it is."""
    import torch

    found = {"cpu": "CPU"}
    if torch.cuda.is_available():
        found |= {f"cuda:{n}": torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())}
    return found | ({"mps": "Apple graphics"} if _has_mps() else {})


def choose_precision(name: Precision, device: torch.device, embed_dim: int) -> torch.dtype:
    """Precision of the image encoder; the decoder always runs in float32.

    "auto" takes float16 on CUDA, float32 on MPS, and on a CPU bfloat16 where the CPU multiplies it much
    faster than float32 (measured here, in about 20 ms) and the network is wide enough to gain.

    Args:
        name: "auto" or a type of `PRECISIONS`.
        device: that the encoder runs on.
        embed_dim: channels of the encoder, its width.

    Raises:
        DeviceError: an unknown name.
    """
    import torch

    if name not in PRECISIONS:
        raise DeviceError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.float16
    wide = embed_dim >= _MIN_DIM_FOR_HALF_ON_CPU
    return torch.bfloat16 if device.type == "cpu" and wide and is_bfloat16_fast() else torch.float32


def is_bfloat16_fast() -> bool:
    """Whether this CPU multiplies bfloat16 matrices at least half again as fast as float32 ones."""
    import torch

    return _product_seconds(torch.float32) > 1.5 * _product_seconds(torch.bfloat16)


def _product_seconds(dtype: torch.dtype) -> float:
    import torch

    a, b = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    seconds = []
    with torch.inference_mode():
        for _ in range(6):
            began = time.perf_counter()
            a @ b
            seconds.append(time.perf_counter() - began)
    return min(seconds)


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()
