"""A network, data and configurations with which a training run takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from SAMMed2DLib.data.sa_med2d import TRAIN, VALIDATION, MaskEntry, write_layout
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.training import TrainingConfig

TINY = ModelConfig(
    image_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, global_blocks=(1,), window_size=2,
    out_dim=16, decoder_heads=2, decoder_mlp_dim=16, iou_hidden_dim=16, mask_in_channels=4,
)  # fmt: skip


def tiny_config(**changes: Any) -> TrainingConfig:
    """Six steps of two synthetic images."""
    quick = {"steps": 6, "images_per_batch": 2, "masks_per_image": 2, "max_rounds": 2, "warmup_steps": 1}
    return TrainingConfig(TINY, **{**quick, "synthetic_share": 1.0, **changes})


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) uint8 as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=array.ndim == 3), str(path))


def write_folder(folder: Path, train: int = 4, validation: int = 2) -> Path:
    """Write grey images of one case each, with a bright square and a bar that lies across it."""
    rng, entries = np.random.default_rng(0), []
    for number in range(train + validation):
        masks = np.zeros((2, 40, 48), bool)
        left = 4 + 3 * number
        masks[0, 8:24, left : left + 16] = True
        masks[1, 14:20, 2:46] = True
        picture = rng.integers(0, 40, (40, 48)) + 90 * masks.sum(0)
        image = f"images/case{number}_0.png"
        write_picture(folder / image, picture.astype(np.uint8))
        for name, mask in zip(("square", "bar"), masks, strict=True):
            path = f"masks/case{number}_0_{name}_0.png"
            write_picture(folder / path, mask.astype(np.uint8) * 255)
            split = TRAIN if number < train else VALIDATION
            entries.append(MaskEntry(path, image, split, "drawn", "CT", name, f"case{number}"))
    write_layout(folder, entries)
    return folder
