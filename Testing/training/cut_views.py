"""Cut training views once, and keep what a frozen TinyViT sees in them, so that decoder training costs no encoding.

    python Testing/training/cut_views.py --data DATA --weights lite_medsam.pth --output VIEWS --count 3000 --kind crops

train_embedded.py needs crops and wide views, and framed ones where it tunes stages of the encoder.
A run that was cut off goes on with the shard that is missing. Item i depends on the seed and on i alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from heads import tiny_encoder
from prepare_data import SPLIT

from SAMMed2DLib.data.dataset import read_cache
from SAMMed2DLib.model.config.model_config import SMALL
from SAMMed2DLib.model.preprocessing import PIXEL_MEAN, PIXEL_STD
from SAMMed2DLib.model.tiny_vit import TinyVit
from SAMMed2DLib.training import LabelMaps, TrainingConfig, TrainingItems

VIEW_PX = 224  # side of the views that are kept; the encoder sees them at half of it
SEEN_PX = 112  # the full frame; of 56 and 28 tokens, which windows of 7 and 14 divide
COARSE_PX = 56  # the frame of a first look; 28 and 14 tokens
MASKS = 4
SHARD = 200
# Mostly crops around objects of many sizes; views of all scales; crops as the product cuts them around a box.
KINDS = ("crops", "wide", "framed")
RECIPE = {"balance": "datasets", "synthetic_share": 0.1, "lesion_share": 0.1}


def main() -> None:
    """Write the shards that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that prepare_data.py wrote")
    parser.add_argument("--weights", type=Path, required=True, help="checkpoint with a TinyViT")
    parser.add_argument("--output", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--count", type=int, default=3000, help="views (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="of the views (%(default)s)")
    parser.add_argument("--held", nargs="*", default=[], help="training sets that are held out as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    encoder = None  # framed views are seen only where its last stages learn, so no tokens of them are kept
    if options.kind != "framed":
        encoder = tiny_encoder(torch.load(options.weights, map_location="cpu", weights_only=True), SEEN_PX)
    items = training_items(options.data, options.count, options.seed, set(options.held), options.kind)
    for shard in range(-(-options.count // SHARD)):
        path = options.output / f"{options.kind}_{options.seed}_{shard:04d}.npz"
        if not path.is_file():
            began = time.perf_counter()
            write_shard(path, items, range(shard * SHARD, min((shard + 1) * SHARD, options.count)), encoder)
            print(f"{path.name}  {time.perf_counter() - began:.0f} s", flush=True)


def training_items(data: Path, count: int, seed: int, held: set[str], kind: str) -> TrainingItems:
    """Views of the training sets, by the recipe of the embedded model but for the share of synthetic images."""
    names = [name for name, part in SPLIT.items() if part == "train" and name not in held]
    images = [image for name in names if (data / f"{name}.npz").is_file() for image in read_cache(data / f"{name}.npz")]

    model = replace(SMALL, image_size=VIEW_PX)
    config = TrainingConfig(
        model,
        steps=count,
        images_per_batch=1,
        masks_per_image=MASKS,
        seed=seed,
        **RECIPE,
        focus_step=count if kind == "wide" else 0,
    )
    return TrainingItems(LabelMaps(images, framed=kind == "framed"), config, count)


def seen_by_encoder(views: Tensor, size: int = SEEN_PX) -> Tensor:
    """(B, 3, V, V) in 0..255 to (B, 3, size, size), its values stretched to 0..1 image by image."""
    small = functional.avg_pool2d(views, views.shape[-1] // size)
    low, high = small.amin(dim=(1, 2, 3), keepdim=True), small.amax(dim=(1, 2, 3), keepdim=True)
    return (small - low) / (high - low).clamp(min=1e-8)


@torch.inference_mode()
def write_shard(path: Path, items: TrainingItems, numbers: range, encoder: TinyVit | None) -> None:
    """Views (n, V, V, 3) uint8, packed masks (n, M, V * V / 8), and tokens before the neck (n, g, g, 320) float16.

    Without an encoder there are no tokens.
    """
    mean, std = torch.tensor(PIXEL_MEAN)[:, None, None], torch.tensor(PIXEL_STD)[:, None, None]
    views, masks, tokens = [], [], []
    for number in numbers:
        _, view, mask = items[number]
        views.append((view * std + mean).round().clamp(0, 255))
        masks.append(np.packbits(mask.numpy().reshape(MASKS, -1), axis=1))
        if encoder is not None:
            tokens.append(encoder.tokens(seen_by_encoder(views[-1][None]))[0].permute(1, 2, 0).half().numpy())
    rgb = torch.stack(views).byte().permute(0, 2, 3, 1).numpy()
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, views=rgb, masks=np.stack(masks), **({"tokens": np.stack(tokens)} if tokens else {}))
    partial.replace(path)


if __name__ == "__main__":
    main()
