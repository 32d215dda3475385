"""The TinyViT encoder computes what LiteMedSAM's does, takes other sizes, and works as a network of this library."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import TESTING, formula_image, golden_state

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import TINY, ConfigError, ModelConfig
from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes
from SAMMed2DLib.model.sam import Sam

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from export_embedded import untrained

# Two stages of attention, the second after a merging that keeps the size, as in the published network.
MINIATURE = ModelConfig(
    image_size=56,
    patch_size=2,
    adapter=False,
    out_dim=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_hidden_dim=32,
    tiny_vit=TinyVitSizes(dims=(32, 64, 96), depths=(1, 1, 2), windows=(0, 7, 14), strides=(2, 1)),
)


def with_golden_weights(config: ModelConfig) -> Sam:
    model = build_model(config)
    state = model.state_dict()
    counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
    wanted = {name: tuple(value.shape) for name, value in state.items() if name not in counters}
    model.load_state_dict({**golden_state(wanted), **counters}, strict=True)
    return model


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    """What LiteMedSAM's code returned for these weights, thinned out."""
    with np.load(TESTING / "data" / "golden" / "tiny_vit_256.npz") as archive:
        return dict(archive)


@torch.no_grad()
def test_features_masks_and_scores_are_those_of_litemedsam(recorded):
    model = with_golden_weights(ModelConfig(patch_size=4, adapter=False, tiny_vit=TinyVitSizes()))
    image = torch.from_numpy(formula_image((256, 256))).permute(2, 0, 1)[None].float() / 255
    model.image_encoder.prepare_for_cpu()
    features = model.image_encoder(image)
    np.testing.assert_allclose(features[0, ::4, ::6, ::6], recorded["features"], atol=1e-4)

    box = torch.tensor([[40.0, 60.0, 180.0, 200.0]])
    decoded = [model.decode(features, boxes=box, multimask=multimask) for multimask in (False, True)]
    logits, iou = (torch.cat(parts, dim=1)[0] for parts in zip(*decoded, strict=True))
    np.testing.assert_allclose(logits[:, ::9, ::9], recorded["logits"], atol=2e-4)
    np.testing.assert_allclose(iou, recorded["iou"], atol=1e-4)


@torch.no_grad()
def test_litemedsam_as_a_weights_file_answers_with_its_one_trained_mask_unchanged():
    published = with_golden_weights(ModelConfig(patch_size=4, adapter=False, tiny_vit=TinyVitSizes()))
    state, config, _ = untrained(published.state_dict(), size=56)
    exported = build_model(config)
    exported.load_state_dict(state, strict=True)
    features, box = torch.linspace(-2, 2, 256 * 14 * 14).sin().view(1, 256, 14, 14), torch.tensor([[9.0, 12, 40, 47]])
    all_scores = exported.decode(features, boxes=box)[1]
    best, score = exported.decode(features, boxes=box, best=True)
    published.prompt_encoder.image_size = 56  # boxes count in the frame of the crop
    logits, iou = published.decode(features, boxes=box, multimask=False)
    assert all_scores.argmax() == 0 and logits.std() > 0.1
    np.testing.assert_allclose(best, logits, atol=1e-5)
    np.testing.assert_allclose(score, iou, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("side", [28, 56, 60])
def test_what_makes_a_cpu_fast_changes_nothing_at_any_size(side):
    encoder = with_golden_weights(MINIATURE).image_encoder
    image = torch.from_numpy(formula_image((side, side))).permute(2, 0, 1)[None].float() / 255
    images = torch.cat([image, image.flip(-1)])
    before = encoder(images)
    encoder.prepare_for_cpu()
    assert before.shape == (2, 32, side // 2, side // 2)
    np.testing.assert_allclose(encoder(images), before, atol=1e-5)


@torch.no_grad()
def test_windows_do_not_see_each_other_but_through_convolutions():
    attention = with_golden_weights(MINIATURE).image_encoder.layers[1].blocks[0].attn
    tokens = torch.linspace(-1, 1, 14 * 14 * 64).sin().view(1, 14, 14, 64)
    changed = tokens.clone()
    changed[:, 0, 0] += 1
    differs = (attention(tokens) != attention(changed)).any(dim=-1)[0]
    assert differs[:7, :7].all()
    assert not differs[7:].any() and not differs[:, 7:].any()


def test_a_stop_is_asked_for_before_every_block():
    encoder = build_model(MINIATURE).image_encoder
    seen = []
    for block in encoder.blocks:
        block.register_forward_pre_hook(lambda module, _: seen.append(module))
    encoder(torch.zeros(1, 3, 28, 28))
    assert seen == encoder.blocks and len(seen) == 4


def test_a_cpu_encodes_only_so_many_images_at_once_as_it_gains_by():
    predictor, batches = Predictor(build_model(MINIATURE), device="cpu"), []
    encoder = predictor.model.image_encoder
    encoder.register_forward_hook(lambda _encoder, images, _features: batches.append(len(images[0])))
    slices = [formula_image((30, 30))] * 5
    assert len(predictor.embed(slices)) == 5 and batches == [2, 2, 1]
    assert predictor.working_bytes(5) == predictor.working_bytes(2) == 2 * predictor.working_bytes(1)


def test_an_encoder_tried_in_inference_mode_can_still_be_trained():
    encoder = build_model(MINIATURE).image_encoder
    with torch.inference_mode():
        encoder(torch.zeros(1, 3, 28, 28))
    encoder(torch.ones(1, 3, 28, 28)).square().sum().backward()
    biases = encoder.layers[1].blocks[0].attn.attention_biases
    assert biases.grad is not None and biases.grad.abs().sum() > 0


def test_the_configuration_survives_plain_json():
    assert ModelConfig.from_dict(MINIATURE.to_dict()) == MINIATURE
    assert ModelConfig.from_dict(TINY.to_dict()).tiny_vit == TinyVitSizes()
    assert "tiny_vit" not in ModelConfig().to_dict()  # files of a ViT stay readable for earlier versions


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": 4}, "patch_size must be the stride"),
        ({"adapter": True}, "has no adapters"),
        ({"tiny_vit": [1, 2]}, "must be the sizes of a TinyViT"),
        ({"tiny_vit": {"dims": [32, 64]}}, "one number of stages"),
        ({"tiny_vit": {"dims": [32, 64, 128, 100]}}, "multiples of 32"),
        ({"tiny_vit": {"depths": [1, 0, 1, 1]}}, "depths must be whole numbers"),
        ({"tiny_vit": {"rings": [1]}}, "newer version"),
        ({"tiny_vit": {"dims": [10**30] * 4}}, "dims must be whole numbers from 1 to 4,096"),
        ({"tiny_vit": {"depths": [True, 1, 1, 1]}}, "depths must be whole numbers"),
        ({"tiny_vit": {"strides": []}}, "strides must be a list of 1 to 8 numbers"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig.from_dict({**MINIATURE.to_dict(), **change})


@pytest.mark.parametrize("change", [{"dims": [32, 64, 128]}, {"depths": [1, 1, 1]}, {"windows": [0, 7, 7]}])
def test_a_file_whose_weights_are_of_other_sizes_than_it_says_is_refused(tmp_path, change):
    config = MINIATURE.to_dict()
    config["tiny_vit"] = {**config["tiny_vit"], **change}
    path = save_inference_checkpoint(tmp_path / "tiny.pt", build_model(MINIATURE).state_dict(), config, {})
    with pytest.raises(CheckpointError, match="its configuration says"):
        load_predictor(path, device="cpu")


def test_a_file_of_such_a_network_is_a_model_like_any_other(tmp_path):
    model = with_golden_weights(MINIATURE)
    path = save_inference_checkpoint(tmp_path / "tiny.pt", model.state_dict(), MINIATURE.to_dict(), {})
    predictor = load_predictor(path, device="cpu")
    image = formula_image((70, 90))
    found = predictor.predict(predictor.embed([image]), Prompts.of(box=[20, 15, 60, 50]))
    assert found.mask.shape == (70, 90) and found.low_res_logits.shape == (112, 112)
    assert predictor.embedding_bytes == predictor.embed([image]).nbytes
    frame = found.frame
    features = model.image_encoder(torch.from_numpy(frame.model_image(image))[None])
    box = torch.from_numpy(frame.model_from_xy(np.array([[20.0, 15.0], [60.0, 50.0]])))[None]
    logits, scores = model.decode(features, boxes=box)
    np.testing.assert_allclose(found.low_res_logits, logits[0, scores.argmax()].detach(), atol=1e-4)
