"""Train the embedded model, and write it as the half-precision inference checkpoint that the product ships.

    python Testing/training/prepare_data.py --images IMAGES --output DATA
    python Testing/training/train_small.py --data DATA --output runs/small
    python Testing/training/train_small.py --data DATA --output runs/more --from SAMMed2DLib/weights/sam-med2d-small.pt

The second command trains finished weights further, with a fresh optimiser. A run that was cut off goes on where its
last checkpoint was. `--export` writes the weights of a run as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from prepare_data import SPLIT

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, sha256_of
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.data.dataset import read_cache
from SAMMed2DLib.model.build import SMALL
from SAMMed2DLib.training import Intervals, LabelMaps, Progress, TrainingConfig, train

EMBEDDED = Path(__file__).resolve().parents[2] / "SAMMed2DLib" / "weights" / "sam-med2d-small.pt"

# Synthetic images, added lesions, and a late turn to views that zoom in, as the product does.
RECIPE: dict[str, Any] = {
    "learning_rate": 8e-4,
    "warmup_steps": 300,
    "precision": "bf16",
    "balance": "datasets",
    "synthetic_share": 0.4,
    "lesion_share": 0.12,
    "focus_step": 4250,
}

# What differs when finished weights are trained further: a gentle start, more clicks, and masks of other slices.
FURTHER: dict[str, Any] = {
    "learning_rate": 4e-4,
    "warmup_steps": 150,
    "cooldown": 0.8,
    "synthetic_share": 0.3,
    "box_share": 0.4,
    "neighbour_share": 0.2,
    "focus_step": 0,
}


def main() -> None:
    """Train or resume, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, default=7500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export", action="store_true", help="write the run's weights without training")
    parser.add_argument("--from", dest="start", type=Path, help="weights file to train further")
    parser.add_argument("--keep", type=float, default=0.0, help="share of the --from weights in those that are written")
    parser.add_argument("--weights", type=Path, default=EMBEDDED, help="file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = TrainingConfig(SMALL, steps=arguments.steps, **RECIPE)
    start = None
    if arguments.start is not None:
        config = replace(config, **FURTHER)
        start = read_checkpoint(arguments.start).state
    if not arguments.export:
        names = [name for name, part in SPLIT.items() if part == "train"]
        images = [image for name in names for image in read_cache(arguments.data / f"{name}.npz")]
        print(f"{len(images)} images of {len(names)} data sets", flush=True)
        train(config, LabelMaps(images), arguments.output, start_from=start, intervals=Intervals(report=_print))
    _export(arguments)


def _print(progress: Progress) -> None:
    print(f"step {progress.step}  loss {progress.loss:.4f}  {progress.seconds:.0f} s", flush=True)


def _export(arguments: argparse.Namespace) -> None:
    """Write the averaged weights of a run, with what they were made of."""
    state = torch.load(arguments.output / "checkpoint.pt", weights_only=True)
    manifest = (arguments.data / "manifest.json").read_bytes()
    sets = {name: part for name, part in SPLIT.items() if name in json.loads(manifest)}
    provenance = {
        "name": "sam-med2d-small",
        "made_by": "Testing/training/train_small.py",
        "licence": "Apache-2.0",
        "prefers_zoom": True,
        "steps": state["step"],
        "data_sets": sets,
        "data_manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "card": "docs/model-card.md",
    }
    if arguments.start is not None:
        start = read_checkpoint(arguments.start)
        for name, value in state["ema"].items():
            value.lerp_(start.state[name].float(), arguments.keep)
        provenance["trained_further_from"] = {
            "file_sha256": sha256_of(arguments.start),
            "share_kept": arguments.keep,
            "steps": start.provenance.get("steps"),
            "data_manifest_sha256": start.provenance.get("data_manifest_sha256"),
        }
    save_inference_checkpoint(arguments.weights, state["ema"], state["config"]["model"], provenance, dtype="float16")
    print(f"{arguments.weights}: {arguments.weights.stat().st_size / 2**20:.2f} MiB after {state['step']} steps")


if __name__ == "__main__":
    main()
