"""The contenders: our network, the plain reference and the package segment-anything, on the same weights."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import sys
import types
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from reference_encoder import Sizes
from reference_model import ReferenceSam
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing" / "lib")]

from golden_cases import formula_image, golden_state  # noqa: E402  (needs the path above)

from SAMMed2DLib.model.build import build_model  # noqa: E402
from SAMMed2DLib.model.config.model_config import ModelConfig  # noqa: E402
from SAMMed2DLib.model.preprocessing import ResizeTransform  # noqa: E402
from SAMMed2DLib.model.sam import Sam  # noqa: E402


@dataclass(frozen=True)
class Contenders:
    """Two networks of one configuration that share their weights."""

    ours: Sam
    reference: ReferenceSam


def contenders(config: ModelConfig) -> Contenders:
    """Build both networks; the weights come from a formula, the same ones in every run."""
    sizes = {name: value for name, value in config.to_dict().items() if name in Sizes.__dataclass_fields__}
    with torch.device("meta"):
        ours, reference = build_model(config), ReferenceSam(Sizes(**sizes))
    state = golden_state({name: tuple(value.shape) for name, value in ours.state_dict().items()})
    for network in (ours, reference):
        network.load_state_dict(state, strict=True, assign=True)
        network.requires_grad_(False)
    ours.image_encoder.prepare_for_cpu()  # as the predictor does
    return Contenders(ours, reference)


def bfloat16_encoder(network: Sam) -> nn.Module:
    """A copy of the image encoder with bf16 weights."""
    return copy.deepcopy(network.image_encoder).to(torch.bfloat16)


def segment_anything_encoder(config: ModelConfig, network: Sam) -> nn.Module | None:
    """The encoder of the package `segment-anything` with our weights, or None where it is not installed.

    Only its network is imported: the package's front door also wants torchvision.
    """
    found = importlib.util.find_spec("segment_anything")
    if found is None or found.submodule_search_locations is None:
        return None
    parent = types.ModuleType("segment_anything")
    parent.__path__ = list(found.submodule_search_locations)
    sys.modules["segment_anything"] = parent
    module = importlib.import_module("segment_anything.modeling.image_encoder")
    encoder: nn.Module = module.ImageEncoderViT(
        img_size=config.image_size,
        patch_size=config.patch_size,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        out_chans=config.out_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window_size,
        global_attn_indexes=config.global_blocks,
    )
    encoder.load_state_dict(network.image_encoder.state_dict(), strict=True)
    return encoder.eval().requires_grad_(False)


def test_image(config: ModelConfig, batch: int = 1) -> Tensor:
    """A normalised test image, (batch, 3, S, S) float32."""
    image = formula_image((290, 320))
    one = torch.from_numpy(ResizeTransform((290, 320), config.image_size).model_image(image))
    return one[None].repeat(batch, 1, 1, 1)


def test_boxes(config: ModelConfig, count: int) -> Tensor:
    """Boxes spread over the model frame, (count, 4) float32."""
    draw = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(7)) * config.image_size
    return torch.cat([draw.amin(dim=1), draw.amax(dim=1) + 8.0], dim=1)
