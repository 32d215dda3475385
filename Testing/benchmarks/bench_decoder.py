"""How fast prompts are decoded: one at a time, as a user clicks, and all of them in one batch.

python Testing/benchmarks/bench_decoder.py [--objects N] [--points] [--threads N | --cpu-time] [--json]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import networks
import torch
from side_by_side import arguments, compare, parsed, show
from torch import Tensor

from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.mask_decoder import select_best

# The published prompt encoder and decoder; the encoder does not take part, so a small one will do.
CONFIG = replace(ModelConfig(), embed_dim=64, depth=1, num_heads=2, global_blocks=())


def main() -> None:
    """Run the comparison and print it."""
    parser = arguments(__doc__ or "", rounds=15)
    parser.add_argument("--objects", type=int, default=16, help="objects on one image")
    parser.add_argument("--points", action="store_true", help="a point each, instead of a box")
    options = parsed(parser)
    calls = _calls(options.objects, options.points)
    what = "points" if options.points else "boxes"
    timing = compare(f"prompt encoder and mask decoder, {options.objects} {what}", calls, options)
    show([timing], {"largest difference of a logit from the reference": _differences(calls)}, options)


def _calls(count: int, are_points: bool) -> dict[str, Callable[[], Tensor]]:
    """Each way to decode `count` objects; all return logits (count, 4g, 4g)."""
    pair = networks.contenders(CONFIG)
    pair.ours.mask_decoder.prepare_for_cpu()
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(1, CONFIG.out_dim, CONFIG.grid, CONFIG.grid, generator=generator)
    boxes = networks.test_boxes(CONFIG, count)
    labels = torch.ones(count, 1, dtype=torch.int64)
    with torch.inference_mode():
        shared = pair.ours.share(features)  # once for each image, as the predictor does

    def prompts(chosen: slice) -> dict[str, Any]:
        if are_points:
            return {"points": (boxes[chosen].view(-1, 2, 2).mean(dim=1, keepdim=True), labels[chosen])}
        return {"boxes": boxes[chosen]}

    def reference(chosen: slice) -> Tensor:
        logits, scores = pair.reference.decode(features, **prompts(chosen))
        return select_best(logits[:, 1:], scores[:, 1:])[0][:, 0]

    def ours(chosen: slice) -> Tensor:
        return pair.ours.decode(features, **prompts(chosen), shared=shared, best=True)[0][:, 0]

    single = [slice(i, i + 1) for i in range(count)]
    return {
        "reference, one at a time": lambda: torch.cat([reference(one) for one in single]),
        "ours, one at a time": lambda: torch.cat([ours(one) for one in single]),
        "ours, one batch": lambda: ours(slice(None)),
    }


def _differences(calls: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    with torch.inference_mode():
        expected, *others = (call() for call in calls.values())
        return {
            name: float((other - expected).abs().max())
            for name, other in zip(list(calls)[1:], others, strict=True)
        }


if __name__ == "__main__":
    main()
