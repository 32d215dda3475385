"""The refiner and what its networks take in: values of any contrast, prompts in a frame of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import formula_image
from test_tiny_vit import MINIATURE
from torch.nn import functional

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.model.build import ConfigError, ModelConfig, build_model
from SAMMed2DLib.model.preprocessing import ResizeTransform, stretched
from SAMMed2DLib.model.refiner import Refiner, prompt_maps
from SAMMed2DLib.training.config import TrainingError
from SAMMed2DLib.training.start import known_start

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
    np.testing.assert_array_equal(stretched(image[..., ::-1], 28), stretched(image, 28).flip(0))


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


def test_training_refuses_a_network_that_it_would_show_other_images(tmp_path):
    path = save_inference_checkpoint(tmp_path / "refined.pt", build_model(REFINED).state_dict(), REFINED.to_dict(), {})
    with pytest.raises(TrainingError, match="begin with another model"):
        known_start(path)


@pytest.mark.parametrize("dim", [None, 8])
def test_a_file_whose_refiner_is_another_one_than_it_says_is_refused(tmp_path, dim):
    config = replace(REFINED, refiner_dim=dim).to_dict()
    path = save_inference_checkpoint(tmp_path / "other.pt", build_model(REFINED).state_dict(), config, {})
    with pytest.raises(CheckpointError, match="refiner_dim"):
        load_predictor(path, device="cpu")
