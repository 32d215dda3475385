"""The recorded results of the published network, as the tests and benchmarks read them.

`Testing/data/golden/<size>_<adapter|plain>.npz` hold what the published code returned for weights that a
formula makes from each tensor's name, so that no weights need to be stored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

TESTING = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTING / "data"))

from golden_weights import golden_array  # noqa: E402  (needs the path above)

# Our name of each size, by the name in the files.
CONFIG_NAMES = {
    "image_size": "image_size",
    "patch": "patch_size",
    "embed": "embed_dim",
    "depth": "depth",
    "heads": "num_heads",
    "glob": "global_blocks",
    "window": "window_size",
    "adapter": "adapter",
    "dim": "out_dim",
    "dheads": "decoder_heads",
    "dmlp": "decoder_mlp_dim",
    "iouh": "iou_hidden_dim",
    "mic": "mask_in_channels",
}
CASES = (
    "point1",
    "point3",
    "point_with_pad_label",
    "box",
    "points_box",
    "refine_points_mask",
    "mask_only",
    "box_mask",
)


@dataclass(frozen=True, eq=False)
class CasePrompts:
    """What one recorded case asked for, in slice px."""

    points_xy: np.ndarray | None = None
    labels: np.ndarray | None = None
    box_xyxy: np.ndarray | None = None
    low_res_logits: np.ndarray | None = None


def formula_image(size_hw: tuple[int, int]) -> np.ndarray:
    """The integer test image of a size: (H, W, 3) uint8."""
    y, x, channel = np.mgrid[: size_hw[0], : size_hw[1], :3]
    return ((3 * x + 2 * y + 40 * channel + x * y // 61 * (channel + 1)) % 256).astype(np.uint8)


def golden_state(shapes: Mapping[str, Iterable[int]]) -> dict[str, Any]:
    """Weights of the recorded networks for these names and shapes, as float32 tensors."""
    import torch

    return {name: torch.from_numpy(golden_array(name, tuple(shape))) for name, shape in shapes.items()}


@dataclass(frozen=True)
class GoldenFile:
    """One file of recorded results, such as `tiny_adapter`."""

    name: str

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """Everything in the file, by key."""
        with np.load(TESTING / "data" / "golden" / f"{self.name}.npz") as archive:
            return dict(archive)

    @cached_property
    def config(self) -> dict[str, Any]:
        """Sizes of the network, under the names of the product's model configuration."""
        recorded = json.loads(str(self.arrays["config"]))
        return {CONFIG_NAMES[key]: value for key, value in recorded.items()}

    @cached_property
    def image(self) -> np.ndarray:
        """The encoded image, (H, W, 3) uint8."""
        if self.name.startswith("vit_b"):
            grey = GoldenFile("vit_b_adapter").arrays["image_gray_290x320"]
            return np.repeat(grey[:, :, None], 3, axis=2)
        return formula_image((150, 100) if self.name.startswith("tiny") else (290, 320))

    @cached_property
    def cases(self) -> dict[str, CasePrompts]:
        """The prompts of each recorded case, by its name."""
        points, labels, box = self.arrays["points"], self.arrays["labels"], self.arrays["box"]
        after_point = self.arrays["point1.multi.low_res"][0]
        after_box = self.arrays["box.multi.low_res"][0]
        return {
            "point1": CasePrompts(points[:1], labels[:1]),
            "point3": CasePrompts(points, labels),
            "point_with_pad_label": CasePrompts(points[:2], np.array([1, -1])),
            "box": CasePrompts(box_xyxy=box),
            "points_box": CasePrompts(points, labels, box),
            "refine_points_mask": CasePrompts(points[:2], labels[:2], low_res_logits=after_point),
            "mask_only": CasePrompts(low_res_logits=after_box),
            "box_mask": CasePrompts(box_xyxy=box, low_res_logits=after_box),
        }

    def recorded(self, case: str, mode: str) -> bool:
        """Whether the file has this case in a mode, "multi" (best of masks 1 to 3) or "single" (mask 0)."""
        return f"{case}.{mode}.iou" in self.arrays

    def mask(self, case: str, mode: str) -> np.ndarray:
        """The recorded mask at slice size, (H, W) bool."""
        shape = tuple(self.arrays[f"{case}.{mode}.mask_shape"])
        bits = np.unpackbits(self.arrays[f"{case}.{mode}.mask_bits"])[: int(np.prod(shape))]
        return bits.reshape(shape)[0].astype(bool)

    def differences(self, key: str, ours: np.ndarray) -> dict[str, float]:
        """Largest absolute difference from each array recorded under `key`, thinned the way it was stored.

        Args:
            key: Name of the quantity; the file may hold it as `key_every<N>`, every Nth row and column.
            ours: The full array, (..., H, W), or any shape where the file holds it whole.

        Returns:
            Difference by the name in the file; it is not empty.
        """
        found = [name for name in self.arrays if name == key or name.startswith(key + "_every")]
        if not found:
            raise KeyError(f"{self.name} has no {key}")
        return {
            name: float(np.abs(self._thinned(name, key, ours) - self.arrays[name]).max()) for name in found
        }

    def _thinned(self, name: str, key: str, ours: np.ndarray) -> np.ndarray:
        step = int(name.removeprefix(key + "_every")) if name != key else 1
        thinned = ours[..., ::step, ::step]
        if thinned.shape != self.arrays[name].shape:
            raise ValueError(f"{name} has shape {self.arrays[name].shape}, ours {thinned.shape}")
        return thinned
