"""Write a checkpoint of route_train.py (Route L) as a weights file that the product loads.

    python Testing/training/route_export.py --checkpoint RUN/checkpoint.pt --weights lite_medsam.pth --data DATA \
        --output FILE.pt
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from prepare_data import SPLIT
from route_features import SEEN_PX, VIEW_PX
from route_model import CLICK_SHARES, tuned_weights

from SAMMed2DLib.checkpoints.checkpoint import sha256_of
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.model.build import TINY, build_empty
from SAMMed2DLib.registry.built_in import BUILT_IN


def main() -> None:
    """Join the frozen encoder and the trained parts, and save them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="LiteMedSAM's checkpoint")
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--held", nargs="*", default=[], help="training sets that were held out, as in training")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    kept = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
    lite = torch.load(options.weights, map_location="cpu", weights_only=True)
    heads = {_name_of_head(name): value for name, value in kept["ema"]["heads"].items()}
    refiner = {f"refiner.{name}": value for name, value in kept["ema"]["refiner"].items()}
    dim = refiner["refiner.first.weight"].shape[0]
    config = replace(TINY, image_size=SEEN_PX, preprocessing="min-max", prompt_size=VIEW_PX, refiner_dim=dim)
    tuned = tuned_weights(kept["ema"])
    state = {**lite, **tuned, **heads, **refiner}
    wanted = build_empty(config).state_dict()
    provenance = {
        "name": BUILT_IN,
        "made_by": "Testing/training/route_export.py",
        "licence": "Apache-2.0",
        "prefers_zoom": True,
        "click_scales": list(CLICK_SHARES),
        "steps": kept["step"],
        "encoder": f"LiteMedSAM (Apache-2.0), {'its last stages tuned' if tuned else 'frozen'}",
        "encoder_sha256": sha256_of(options.weights),
        "data_sets": {
            name: "validation" if name in options.held else part
            for name, part in SPLIT.items()
            if (options.data / f"{name}.npz").is_file()
        },
        "card": "docs/model-card.md",
    }
    exported = {name: state[name] for name in wanted}
    save_inference_checkpoint(options.output, exported, config.to_dict(), provenance, dtype="float16")
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB after {kept['step']} steps")


def _name_of_head(name: str) -> str:
    return f"image_encoder.{name}" if name.startswith("neck.") else name


if __name__ == "__main__":
    main()
