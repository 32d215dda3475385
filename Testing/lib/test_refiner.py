"""The refiner and what its networks take in: values of any contrast, prompts in a frame of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_cases import formula_image
from test_tiny_vit import MINIATURE
from torch.nn import functional
from training_cases import write_folder

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, read_checkpoint
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ConfigError, ModelConfig
from SAMMed2DLib.model.preprocessing import ResizeTransform, normalise, stretched
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.training.config import TrainingConfig
from SAMMed2DLib.training.optimisers import optimiser_of
from SAMMed2DLib.training.start import build_start, known_start
from SAMMed2DLib.training.steps import Batch, Interaction, train_batch
from SAMMed2DLib.training.training_prompts import AccumulatedClicks

REFINED = replace(MINIATURE, preprocessing="min-max", prompt_size=112, refiner_dim=4)


@pytest.fixture
def predictor(tmp_path):
    torch.manual_seed(3)
    model = build_model(REFINED)
    torch.nn.init.normal_(model.refiner.last.weight)
    facts = {"prefers_zoom": True, "click_scales": [1.0, 0.5]}
    path = save_inference_checkpoint(tmp_path / "refined.pt", model.state_dict(), REFINED.to_dict(), facts)
    return load_predictor(path, device="cpu")


@torch.no_grad()
def test_a_fresh_refiner_changes_nothing():
    logits = torch.randn(2, 1, 28, 28)
    fine = Refiner(4)(torch.rand(2, 3, 56, 56), logits, torch.rand(2, 3, 28, 28))
    expected = functional.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(fine, expected)


def test_prompts_are_drawn_where_they_are():
    points = (torch.tensor([[[9.5, 5.5], [1.5, 29.5]]]), torch.tensor([[1, 0]]))
    positive, negative, box = prompt_maps(points, torch.tensor([[8.0, 16.0, 24.0, 32.0]]), 8, 32, 1)[0]
    assert np.argwhere(positive.numpy() == 1).tolist() == [[1, 2]]
    assert np.argwhere(negative.numpy() == 1).tolist() == [[7, 0]]
    assert np.argwhere(box.numpy() == 1).tolist() == [[y, x] for y in range(4, 8) for x in range(2, 6)]


def test_contrast_and_brightness_do_not_matter():
    image = formula_image((40, 60)) // 4
    np.testing.assert_allclose(stretched(image, 28), stretched(image * 2 + 50, 28), atol=1e-5)
    assert float(stretched(image, 28).min()) == 0 and float(stretched(image, 28).max()) == 1
    assert (stretched(np.full((9, 9, 3), 7, np.uint8), 28) == 0).all()


@pytest.mark.filterwarnings("error")
def test_a_picture_that_may_not_be_written_to_is_seen_without_a_warning_in_either_order_of_channels():
    image = formula_image((40, 60))
    image.flags.writeable = False
    np.testing.assert_array_equal(stretched(image[..., ::-1], 28), stretched(image, 28)[::-1])


def test_prompts_are_counted_in_their_own_frame_and_images_are_always_stretched():
    frame = ResizeTransform((20, 40), 56, "pad", "min-max", 112)
    assert not frame.is_padded
    np.testing.assert_array_equal(frame.model_from_xy(np.array([[10.0, 5.0]])), [[28, 28]])
    assert frame.model_image(np.zeros((20, 40, 3), np.uint8)).shape == (3, 56, 56)


def test_a_file_says_all_that_its_network_needs(predictor):
    assert predictor.has_refiner and predictor.click_scales == (1.0, 0.5) and predictor.prefers_zoom
    assert ModelConfig.from_dict(REFINED.to_dict()) == REFINED
    assert not {"preprocessing", "prompt_size", "refiner_dim"} & set(MINIATURE.to_dict())


def test_the_refined_mask_is_the_answer_and_points_hold(predictor):
    image, point = formula_image((70, 90)), (30, 40)
    found = Session(predictor).answer(image, Prompts.of(positive=[point], negative=[(60, 20)]))
    assert found.mask.shape == (70, 90) and not found.mask[20, 60]
    assert found.mask[40, 30] or not found.mask.any()
    embedding = predictor.embed([image])
    prediction = predictor.predict(embedding, Prompts.of(positive=[point]))
    refined = predictor.refine(prediction, image, Prompts.of(positive=[point]))
    assert refined.shape == (70, 90) and (refined != prediction.logits()).any()


def test_a_network_without_a_refiner_says_so(tmp_path):
    state = build_model(MINIATURE).state_dict()
    path = save_inference_checkpoint(tmp_path / "plain.pt", state, MINIATURE.to_dict(), {})
    predictor = load_predictor(path, device="cpu")
    assert not predictor.has_refiner and predictor.click_scales == (1.0,)
    image = formula_image((30, 30))
    prediction = predictor.predict(predictor.embed([image]), Prompts.of(positive=[(3, 4)]))
    with pytest.raises(ValueError, match="has no refiner"):
        predictor.refine(prediction, image, Prompts.of(positive=[(3, 4)]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"preprocessing": "best"}, "preprocessing must be one of published, min-max"),
        ({"preprocessing": ["published"]}, "preprocessing must be one of"),
        ({"prompt_size": 0}, "prompt_size must be a whole number from 1 to 4,096"),
        ({"refiner_dim": True}, "refiner_dim must be a whole number from 1 to 256"),
        ({"refiner_dim": 10**9}, "refiner_dim must be a whole number from 1 to 256"),
    ],
)
def test_settings_that_no_network_has_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig.from_dict({**REFINED.to_dict(), **change})


# Training


@pytest.fixture
def file(tmp_path) -> Path:
    torch.manual_seed(0)
    facts = {"prefers_zoom": True, "click_scales": [1.0, 0.5], "coarse_size": 28}
    return save_inference_checkpoint(tmp_path / "r.pt", build_model(REFINED).state_dict(), REFINED.to_dict(), facts)


def test_in_training_the_encoder_sees_what_it_sees_in_use():
    image, seen = formula_image((112, 112)), []
    model = build_model(REFINED)
    model.image_encoder.register_forward_pre_hook(lambda _encoder, images: seen.append(images[0]))
    batch = Batch(torch.from_numpy(normalise(image))[None], torch.ones(1, 1, 112, 112))
    Interaction(model)(batch, AccumulatedClicks(np.random.default_rng(0)), 1)
    np.testing.assert_allclose(seen[0][0], stretched(image, 56), atol=1e-5)


def test_decoder_and_refiner_are_trained_and_the_encoder_stays(file, tmp_path, capsys):
    data, run = write_folder(tmp_path / "data"), tmp_path / "run"
    options = ["--steps", "2", "--batch", "1", "--masks", "2", "--workers", "0", "--most-validation", "0"]
    assert main(["train", str(data), "-o", str(run), "--from", str(file), *options]) == 0
    assert "training prompt encoder, decoder and refiner" in capsys.readouterr().err
    before, after = read_checkpoint(file).state, read_checkpoint(run / "last.pt").state
    changed = {name for name, value in after.items() if not torch.equal(value.float(), before[name].float())}
    assert not any(name.startswith("image_encoder.") for name in changed)
    for part in ("mask_decoder.", "prompt_encoder.", "refiner.first", "refiner.last"):
        assert any(name.startswith(part) for name in changed), part
    trained = load_predictor(run / "best.pt", device="cpu")
    assert trained.has_refiner and trained.prefers_zoom and trained.click_scales == (1.0, 0.5)
    assert trained.coarse_size == 28
    assert Session(trained).answer(formula_image((70, 90)), Prompts.of(box=(10, 10, 60, 50))).mask.shape == (70, 90)


def test_a_whole_network_is_trained_with_the_statistics_of_its_batch_norms(file):
    start = known_start(file)
    config = TrainingConfig(start.model, steps=1, images_per_batch=1, masks_per_image=1, synthetic_share=1.0)
    model = build_start(config, start.state)
    optimiser = optimiser_of(model, config)
    batch = Batch(torch.randn(1, 3, 112, 112), torch.ones(1, 1, 112, 112))
    train_batch(Interaction(model), optimiser, [(batch, AccumulatedClicks(np.random.default_rng(0)))], 1)
    name = "image_encoder.patch_embed.seq.0.bn"
    after = model.state_dict()
    assert not torch.equal(after[f"{name}.weight"], start.state[f"{name}.weight"])
    assert torch.equal(after[f"{name}.running_mean"], start.state[f"{name}.running_mean"])


def test_the_published_recipe_is_not_for_it(file, tmp_path, capsys):
    data = write_folder(tmp_path / "data")
    assert main(["train", str(data), "-o", str(tmp_path / "run"), "--from", str(file), "--as-published"]) == 2
    assert "leave out --as-published" in capsys.readouterr().err


@pytest.mark.parametrize("dim", [None, 8])
def test_a_file_whose_refiner_is_another_one_than_it_says_is_refused(tmp_path, dim):
    config = replace(REFINED, refiner_dim=dim).to_dict()
    path = save_inference_checkpoint(tmp_path / "other.pt", build_model(REFINED).state_dict(), config, {})
    with pytest.raises(CheckpointError, match="refiner_dim"):
        load_predictor(path, device="cpu")


def test_a_coarse_view_has_its_own_grid_and_its_own_place_in_the_cache(predictor):
    predictor.coarse_size = 28
    image = formula_image((160, 200))
    session, click = Session(predictor), Prompts.of(positive=[(85, 85)])
    assert predictor.embed([image]).features.shape[-1] == 28
    assert predictor.embed([image], coarse=True).features.shape[-1] == 14
    session.encode(image)
    assert session.is_encoded(image) and session.encoded == 1
    assert session.answer(image, click).encoded == 2  # the half of the slice, coarse, and a crop in the full frame
    box = session.answer(image, Prompts.of(box=(0, 0, 200, 160)))  # all of the slice, not as it was seen coarsely
    assert box.encoded == 1
    alone = Session(predictor).answer(image, Prompts.of(box=(0, 0, 200, 160)))
    np.testing.assert_array_equal(box.mask, alone.mask)
    assert session.answer(image, click).encoded == 0


def test_masks_on_a_coarse_view_lie_where_those_in_the_full_frame_do(predictor):
    predictor.coarse_size = 28
    image, prompts = formula_image((160, 200)), Prompts.of(box=(60, 40, 140, 120))
    coarse = predictor.predict(predictor.embed([image], coarse=True), prompts)
    assert coarse.low_res_logits.shape == (56, 56)
    assert predictor.refine(coarse, image, prompts).shape == (160, 200)
    again = predictor.predict(
        predictor.embed([image], coarse=True), prompts.with_low_res_logits(coarse.low_res_logits)
    )
    assert again.mask.shape == (160, 200)
    pairs = [(predictor.embed([image], coarse=c), prompts) for c in (True, False)]
    for (embedding, _), found in zip(pairs, predictor.decode_pairs(pairs), strict=True):
        alone = predictor.predict(embedding, prompts)
        np.testing.assert_allclose(found.low_res_logits, alone.low_res_logits, atol=1e-4)
