"""Write a checkpoint of train_embedded.py, or LiteMedSAM as it is, as a weights file that the product loads.

    python Testing/training/export_embedded.py --checkpoint RUN/checkpoint.pt --weights lite_medsam.pth --data DATA \
        --output FILE.pt
    python Testing/training/export_embedded.py --weights lite_medsam.pth --output lite_medsam.pt
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cut_views import COARSE_PX, SEEN_PX, VIEW_PX
from heads import REFINER_DIM, tuned_weights
from prepare_data import SPLIT

from SAMMed2DLib.checkpoints.checkpoint import sha256_of
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.model.build import build_empty
from SAMMed2DLib.model.config.model_config import TINY, ModelConfig
from SAMMed2DLib.registry.built_in import BUILT_IN

State = dict[str, Tensor]

CLICK_SHARES = (1.0, 0.25)  # sides of the crops that a first click is answered at, of the image's longer side
LITE_PX = 256  # the frame of LiteMedSAM


def main() -> None:
    """Write the weights file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, help="of train_embedded.py; none: LiteMedSAM itself is written")
    parser.add_argument("--weights", type=Path, required=True, help="LiteMedSAM's checkpoint")
    parser.add_argument("--data", type=Path, help="folder that prepare_data.py wrote")
    parser.add_argument("--held", nargs="*", default=[], help="training sets that were held out, as in training")
    parser.add_argument("--size", type=int, default=LITE_PX, help="frame of LiteMedSAM itself, px (%(default)s)")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    lite = torch.load(options.weights, map_location="cpu", weights_only=True)
    if options.checkpoint is None:
        state, config, provenance = untrained(lite, options.size)
    else:
        kept = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        state, config, provenance = trained(lite, kept)
        provenance["data_sets"] = {
            name: "validation" if name in options.held else part
            for name, part in SPLIT.items()
            if options.data is not None and (options.data / f"{name}.npz").is_file()
        }
    provenance["encoder_sha256"] = sha256_of(options.weights)
    exported = {name: state[name] for name in build_empty(config).state_dict()}
    save_inference_checkpoint(options.output, exported, config.to_dict(), provenance, dtype="float16")
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB")


def trained(lite: State, kept: dict[str, Any]) -> tuple[State, ModelConfig, dict[str, Any]]:
    """What was trained, on LiteMedSAM's encoder."""
    heads = {_name_of_head(name): value for name, value in kept["ema"]["heads"].items()}
    refiner = {f"refiner.{name}": value for name, value in kept["ema"]["refiner"].items()}
    config = replace(TINY, image_size=SEEN_PX, preprocessing="min-max", prompt_size=VIEW_PX, refiner_dim=REFINER_DIM)
    tuned = tuned_weights(kept["ema"])
    provenance = {
        "name": BUILT_IN,
        "made_by": "Testing/training/export_embedded.py",
        "licence": "Apache-2.0",
        "prefers_zoom": True,
        "click_scales": list(CLICK_SHARES),
        "coarse_size": COARSE_PX,
        "steps": kept["step"],
        "encoder": f"LiteMedSAM (Apache-2.0), {'its last stages tuned' if tuned else 'frozen'}",
        "card": "docs/model-card.md",
    }
    return {**lite, **tuned, **heads, **refiner}, config, provenance


def untrained(lite: State, size: int = LITE_PX) -> tuple[State, ModelConfig, dict[str, Any]]:
    """LiteMedSAM, answered on our crops, which it sees at `size` px, by the one mask that it was trained for.

    That is mask 0, where the product takes the best of masks 1 to 3: it changes places with mask 1. All four tokens
    stay, as they attend to each other, but what masks 2 and 3 would show, untrained, is empty and never the best.
    """
    state = dict(lite)
    decoder = "mask_decoder."
    place_of = {"mlps.0.": "mlps.1.", "mlps.1.": "mlps.0."}
    for name in (name for name in lite if name.startswith(f"{decoder}output_hypernetworks_mlps.")):
        for place, other in place_of.items():
            if place in name:
                state[name] = lite[name.replace(place, other)]
    head = f"{decoder}iou_prediction_head.layers.2"
    for name in (f"{decoder}mask_tokens.weight", f"{head}.weight", f"{head}.bias"):
        state[name] = lite[name][[1, 0, 2, 3]]
    for number in (2, 3):
        for name in ("weight", "bias"):
            last = f"{decoder}output_hypernetworks_mlps.{number}.layers.2.{name}"
            state[last] = torch.zeros_like(state[last])
    state[f"{head}.weight"][2:], state[f"{head}.bias"][2:] = 0.0, -1.0  # no IoU is as low
    config = replace(TINY, image_size=size, preprocessing="min-max")
    return state, config, {"name": "LiteMedSAM", "licence": "Apache-2.0", "prefers_zoom": True}


def _name_of_head(name: str) -> str:
    return f"image_encoder.{name}" if name.startswith("neck.") else name


if __name__ == "__main__":
    main()
