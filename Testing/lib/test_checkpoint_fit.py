"""Fitting weights to a model: position tables by shape, other architectures refused in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import TESTING, golden_state

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.checkpoints.fit import fit_state_dict
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig

SMALL = ModelConfig(embed_dim=64, depth=3, num_heads=2, global_blocks=(2,))


def shapes_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_model(config).state_dict().items()}


def changed(config: ModelConfig, **values: Any) -> ModelConfig:
    return ModelConfig.from_dict({**config.to_dict(), **values})


def weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    return golden_state(shapes_of(config))


@pytest.fixture(scope="module")
def small_1024() -> dict[str, torch.Tensor]:
    return weights(changed(SMALL, image_size=1024, adapter=False))


def test_a_1024_model_is_resized_to_the_numbers_of_the_published_conversion(small_1024):
    golden = np.load(TESTING / "data" / "golden" / "pieces.npz")
    fitted = fit_state_dict(small_1024, shapes_of(changed(SMALL, adapter=False)))
    assert (fitted.missing, fitted.ignored) == ((), ())
    positions = "image_encoder.pos_embed"
    tables = [f"image_encoder.blocks.2.attn.rel_pos_{axis}" for axis in "hw"]
    assert sorted(fitted.resized) == sorted([positions, *tables])
    np.testing.assert_allclose(
        fitted.state[positions].numpy()[..., ::4], golden["convert.pos_embed"], rtol=0, atol=2e-6
    )
    for name in tables:
        np.testing.assert_allclose(fitted.state[name].numpy(), golden[f"convert.{name}"], rtol=0, atol=2e-6)
    for name in fitted.state.keys() - set(fitted.resized):
        assert fitted.state[name] is small_1024[name]


def test_resetting_the_heads_leaves_out_the_31_published_names(small_1024):
    golden = np.load(TESTING / "data" / "golden" / "pieces.npz")
    fitted = fit_state_dict(small_1024, shapes_of(changed(SMALL, adapter=False)), reset_heads=True)
    assert sorted(fitted.missing) == sorted(golden["convert.kept_at_init"].tolist())
    assert not set(fitted.missing) & set(fitted.state)


def test_a_fitted_state_loads_strictly_into_models_of_other_image_sizes(small_1024):
    for size in (256, 512):
        model = build_model(changed(SMALL, adapter=False, image_size=size))
        model.load_state_dict(fit_state_dict(small_1024, shapes_of_model(model)).state, strict=True)


def shapes_of_model(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_constant_tables_stay_constant_and_ramps_stay_ramps():
    """Half-pixel centres: cell i of 4 lies at (i + 0.5) * 2 - 0.5 of 8."""
    state = {
        "image_encoder.pos_embed": torch.arange(8.0).reshape(1, 1, 8, 1).expand(1, 8, 8, 2).contiguous(),
        "image_encoder.blocks.0.attn.rel_pos_h": torch.arange(6.0).reshape(6, 1).half(),
    }
    target = {"image_encoder.pos_embed": (1, 4, 4, 2), "image_encoder.blocks.0.attn.rel_pos_h": (3, 1)}
    fitted = fit_state_dict(state, target).state
    assert fitted["image_encoder.pos_embed"][0, 1, :, 1].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert fitted["image_encoder.blocks.0.attn.rel_pos_h"].flatten().tolist() == [0.5, 2.5, 4.5]
    assert fitted["image_encoder.blocks.0.attn.rel_pos_h"].dtype == torch.float16


def test_adapters_on_one_side_only_are_reported_and_do_no_harm():
    with_adapters, without = shapes_of(SMALL), shapes_of(changed(SMALL, adapter=False))
    adapters = tuple(name for name in with_adapters if ".Adapter." in name)
    assert len(adapters) == 18
    dropped = fit_state_dict(weights(SMALL), without)
    assert (dropped.missing, dropped.ignored, dropped.resized) == ((), adapters, ())
    wanted = fit_state_dict(weights(changed(SMALL, adapter=False)), with_adapters)
    assert (wanted.missing, wanted.ignored, wanted.resized) == (adapters, (), ())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"embed_dim": 32},
            r"file holds an encoder \(embed 64, depth 3\), the model is an encoder \(embed 32, depth 3\)",
        ),
        ({"depth": 4}, r"depth 3\), the model is an encoder \(embed 64, depth 4\)"),
        ({"num_heads": 4}, "width of one attention head 32 in the file, 16 in the model"),
        ({"patch_size": 32}, "patch size 16 in the file, 32 in the model"),
        ({"out_dim": 32}, "decoder width 256 in the file, 32 in the model"),
        ({"decoder_depth": 1}, "decoder depth 2 in the file, 1 in the model"),
        ({"decoder_mlp_dim": 64}, "decoder MLP width 2048 in the file, 64 in the model"),
        ({"iou_hidden_dim": 32}, "width of the score head 256 in the file, 32 in the model"),
        ({"mask_in_channels": 8}, "mask prompt channels 16 in the file, 8 in the model"),
    ],
)
def test_another_architecture_is_refused_in_plain_words(values, words):
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes_of(SMALL).items()}
    with pytest.raises(CheckpointError, match=words):
        fit_state_dict(state, shapes_of(changed(SMALL, **values)))


def test_the_variants_are_told_by_name():
    large = ModelConfig(embed_dim=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23), adapter=False)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes_of(large).items()}
    with pytest.raises(CheckpointError, match=r"holds ViT-L \(embed 1024, depth 24\), the model is ViT-B"):
        fit_state_dict(state, shapes_of(ModelConfig()))


def test_a_single_wrong_shape_is_named():
    state = weights(SMALL)
    state["image_encoder.neck.0.weight"] = torch.zeros(256, 64, 3, 3)
    with pytest.raises(
        CheckpointError, match=r"image_encoder.neck.0.weight has shape \(256, 64, 3, 3\) in the file"
    ):
        fit_state_dict(state, shapes_of(SMALL))


@pytest.mark.parametrize(
    ("name", "held", "wanted"),
    [
        ("image_encoder.pos_embed", (1, 4, 4, 2), (1, 4, 4, 3)),
        ("image_encoder.pos_embed", (4, 4, 2), (1, 4, 4, 2)),
        ("image_encoder.blocks.1.attn.rel_pos_w", (5, 2), (7, 3)),
    ],
)
def test_a_table_with_other_channels_is_no_table_to_resize(name, held, wanted):
    with pytest.raises(CheckpointError, match=f"{name} has shape"):
        fit_state_dict({name: torch.zeros(held)}, {name: wanted})


def test_weights_of_another_kind_of_network_are_refused():
    with pytest.raises(
        CheckpointError, match=r"something else than SAM \(its first names: 'layer1.0.conv1.weight'"
    ):
        fit_state_dict({"layer1.0.conv1.weight": torch.zeros(1)}, shapes_of(SMALL))
