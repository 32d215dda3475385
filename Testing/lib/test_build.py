"""Configurations: variants, refusals, and sizes read back off shapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import VARIANTS, ConfigError, ModelConfig
from SAMMed2DLib.model.config.shapes import config_from_shapes


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in build_model(config).state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_builds_and_its_shapes_tell_its_sizes(name):
    assert config_from_shapes(_shapes(VARIANTS[name])) == VARIANTS[name]


def test_the_published_model_has_the_published_number_of_weights():
    shapes = _shapes(VARIANTS["sam-med2d_b_256"])
    assert len(shapes) == 386
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 271_242_032
    assert len(_shapes(VARIANTS["sam_b_256"])) == 314


def test_a_configuration_survives_plain_json():
    config = replace(VARIANTS["sam-med2d_b_256"], patch_size=8, mlp_ratio=3.0)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_sizes_of_a_newer_version_are_refused():
    with pytest.raises(ConfigError, match="newer"):
        ModelConfig.from_dict({"embed_dim": 64, "stem": 3})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 250}, "image_size, 250, must be a multiple of patch_size, 16"),
        ({"image_size": 240}, "even token grid"),
        ({"num_heads": 7}, "num_heads"),
        ({"decoder_heads": 7}, "decoder_heads"),
        ({"mask_in_channels": 6}, "mask_in_channels"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig(**change)


@pytest.mark.parametrize(
    "damaged",
    [
        {"patch_size": 0},
        {"num_heads": 0},
        {"decoder_heads": 0},
        {"window_size": 0},
        {"depth": -1},
        {"image_size": "256"},
        {"embed_dim": 768.0},
        {"mlp_ratio": "4"},
        {"global_blocks": 5},
        {"global_blocks": [12]},
    ],
)
def test_values_of_a_damaged_file_that_are_no_sizes_are_refused(damaged):
    with pytest.raises(ConfigError, match=next(iter(damaged))):
        ModelConfig.from_dict(damaged)


def test_weights_of_something_else_are_refused():
    with pytest.raises(ConfigError, match="not a SAM network"):
        config_from_shapes({"conv1.weight": (64, 3, 7, 7)})


def test_a_model_tried_in_inference_mode_can_still_be_trained():
    model = build_model(ModelConfig(image_size=32, embed_dim=16, depth=1, num_heads=2, global_blocks=(0,)))
    features, box = torch.zeros(1, 256, 2, 2), torch.tensor([[1.0, 2.0, 30.0, 30.0]])
    with torch.inference_mode():
        model.decode(features, boxes=box)
    logits, iou = model.decode(features, boxes=box)
    (logits.sum() + iou.sum()).backward()
    assert model.mask_decoder.iou_token.weight.grad.any()


def test_adapters_as_matrix_products_change_nothing():
    config = ModelConfig(
        image_size=64, patch_size=8, embed_dim=16, depth=2, num_heads=2, global_blocks=(1,), window_size=3,
        out_dim=16, decoder_heads=2, decoder_mlp_dim=16, iou_hidden_dim=16, mask_in_channels=4,
    )  # fmt: skip
    torch.manual_seed(0)
    encoder = build_model(config).image_encoder
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        stock = encoder(images)
        encoder.prepare_for_cpu()
        torch.testing.assert_close(encoder(images), stock, atol=2e-5, rtol=0)
