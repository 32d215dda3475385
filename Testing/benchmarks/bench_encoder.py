"""How fast the image encoder is: ours in fp32 and bf16, the plain reference, the package segment-anything.

python Testing/benchmarks/bench_encoder.py [--threads N | --cpu-time] [--batch N] [--json]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import networks
import torch
from side_by_side import Comparison, arguments, compare, parsed, show
from torch import Tensor

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.sam import Sam

BOXES = 16


def with_adapters(options: argparse.Namespace) -> tuple[Comparison, dict[str, dict[str, float]]]:
    """Ours against the plain reference, at the published size; and how far their features agree."""
    config = ModelConfig()
    pair = networks.contenders(config)
    images = networks.test_image(config, options.batch)
    half = networks.bfloat16_encoder(pair.ours)
    calls: dict[str, Callable[[], Tensor]] = {
        "reference fp32": lambda: pair.reference.image_encoder(images),
        "reference bf16 autocast": lambda: _autocast(pair.reference.image_encoder, images),
        "ours fp32": lambda: pair.ours.image_encoder(images),
        "ours bf16": lambda: half(images.bfloat16()).float(),
    }
    timing = compare(f"encoder with adapters, ViT-B at 256 px, {options.batch} image(s)", calls, options)
    with torch.inference_mode():
        expected = calls["reference fp32"]()
        others = [name for name in calls if name != "reference fp32"]
        agreement = {
            f"{name}, against reference fp32": _agreement(pair.ours, expected, calls[name]())
            for name in others
        }
    return timing, agreement


def without_adapters(options: argparse.Namespace) -> Comparison:
    """Ours against the package segment-anything (where installed) and the plain reference."""
    config = replace(ModelConfig(), adapter=False)
    pair = networks.contenders(config)
    images = networks.test_image(config, options.batch)
    half = networks.bfloat16_encoder(pair.ours)
    package = networks.segment_anything_encoder(config, pair.ours)
    calls: dict[str, Callable[[], object]] = {}
    if package is not None:
        calls["segment-anything fp32"] = lambda: package(images)
    calls["reference fp32"] = lambda: pair.reference.image_encoder(images)
    calls["ours fp32"] = lambda: pair.ours.image_encoder(images)
    calls["ours bf16"] = lambda: half(images.bfloat16())
    note = "" if package is not None else " (segment-anything is not installed)"
    return compare(
        f"encoder without adapters, ViT-B at 256 px, {options.batch} image(s){note}", calls, options
    )


def _autocast(encoder: torch.nn.Module, images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(images).float()


def _agreement(model: Sam, expected: Tensor, features: Tensor) -> dict[str, float]:
    """Differences of the features, and the Dice between masks decoded (in fp32) from either."""
    difference = features - expected
    pairs = list(zip(_masks(model, expected[:1]), _masks(model, features[:1]), strict=True))
    agreement = [dice(first, second) for first, second in pairs]
    return {
        "largest difference of a feature": float(difference.abs().max()),
        "RMS difference over RMS of the features": float(difference.norm() / expected.norm()),
        f"mean Dice between the masks of {BOXES} boxes": sum(agreement) / len(agreement),
        "smallest Dice": min(agreement),
    }


def _masks(model: Sam, features: Tensor) -> list:
    boxes = networks.test_boxes(ModelConfig(), BOXES)
    logits, _ = select_best(*model.decode(features, boxes=boxes))
    return [mask > 0 for mask in model.upscale(logits)[:, 0].numpy()]


def main() -> None:
    """Run both comparisons and print them."""
    parser = arguments(__doc__ or "", rounds=7)
    parser.add_argument("--batch", type=int, default=1, help="images encoded together")
    options = parsed(parser)
    timing, agreement = with_adapters(options)
    show([timing, without_adapters(options)], agreement, options)


if __name__ == "__main__":
    main()
