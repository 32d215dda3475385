"""How fast prompts are decoded: boxes one at a time, and all of them in one batch.

python Testing/benchmarks/bench_decoder.py [--boxes N] [--threads N | --cpu-time] [--json]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import networks
import torch
from side_by_side import arguments, compare, parsed, show
from torch import Tensor

from SAMMed2DLib.model.build import ModelConfig
from SAMMed2DLib.model.mask_decoder import select_best

# The published prompt encoder and decoder; the encoder does not take part, so a small one will do.
CONFIG = replace(ModelConfig(), embed_dim=64, depth=1, num_heads=2, global_blocks=())


def main() -> None:
    """Run the comparison and print it."""
    parser = arguments(__doc__ or "", rounds=15)
    parser.add_argument("--boxes", type=int, default=16, help="boxes on one image")
    options = parsed(parser)
    calls = _calls(options.boxes)
    timing = compare(f"prompt encoder and mask decoder, {options.boxes} boxes", calls, options)
    show([timing], {"largest difference of a logit from the reference": _differences(calls)}, options)


def _calls(count: int) -> dict[str, Callable[[], Tensor]]:
    """Each way to decode `count` boxes; all return logits (count, 4g, 4g)."""
    pair = networks.contenders(CONFIG)
    features = torch.randn(
        1, CONFIG.out_dim, CONFIG.grid, CONFIG.grid, generator=torch.Generator().manual_seed(3)
    )
    boxes = networks.test_boxes(CONFIG, count)

    def ours(some: Tensor) -> Tensor:
        return select_best(*pair.ours.decode(features, boxes=some))[0][:, 0]

    return {
        "reference, one at a time": lambda: torch.stack(
            [m for m, _ in pair.reference.best_of_boxes(features, boxes)]
        ),
        "ours, one at a time": lambda: torch.cat([ours(box[None]) for box in boxes]),
        "ours, one batch": lambda: ours(boxes),
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
