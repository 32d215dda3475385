"""`SamPredictor`: the habits of segment-anything, the recorded numbers of the published network, clear refusals."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from golden_cases import CASES, GoldenFile, golden_state

from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import PromptError
from SAMMed2DLib.inference.sam_predictor import NoImageError, SamPredictor
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig

TOLERANCE = 1e-4
NEAR_ZERO = 1e-3  # a logit this close to the threshold may fall on either side
SIZES = ("tiny_adapter", "tiny_plain", "small_adapter")


@cache
def sam_predictor(size: str) -> SamPredictor:
    """With the weights and the image of a golden file."""
    golden = GoldenFile(size)
    model = build_model(ModelConfig.from_dict(golden.config))
    model.load_state_dict(golden_state({key: tuple(value.shape) for key, value in model.state_dict().items()}))
    sam = SamPredictor(Predictor(model, size, device="cpu", precision="float32"))
    sam.set_image(golden.image)
    return sam


@pytest.fixture
def sam() -> SamPredictor:
    sam = sam_predictor("tiny_adapter")
    sam.set_image(GoldenFile("tiny_adapter").image)
    return sam


def arguments(golden: GoldenFile, case: str) -> dict:
    prompts = golden.cases[case]
    logits = prompts.low_res_logits
    return {
        "point_coords": prompts.points_xy,
        "point_labels": prompts.labels,
        "box": prompts.box_xyxy,
        "mask_input": None if logits is None else logits[None],
    }


# The published network


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", sorted(set(CASES) - {"point_with_pad_label"}))
def test_the_best_mask_is_the_one_that_the_published_predictor_returned(size, case):
    golden, sam = GoldenFile(size), sam_predictor(size)
    masks, scores, low_res = sam.predict(**arguments(golden, case), multimask_output=False)
    logits, _, _ = sam.predict(**arguments(golden, case), multimask_output=False, return_logits=True)

    assert max(golden.differences(f"{case}.multi.low_res", low_res).values()) < TOLERANCE
    assert np.abs(scores - golden.arrays[f"{case}.multi.iou"]).max() < TOLERANCE
    assert max(golden.differences(f"{case}.multi.logits", logits).values()) < TOLERANCE
    differs = masks[0] != golden.mask(case, "multi")
    assert not (differs & (np.abs(logits[0]) >= NEAR_ZERO)).any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", ["point3", "box"])
def test_the_three_masks_are_those_of_the_published_decoder(size, case):
    golden = GoldenFile(size)
    _, scores, low_res = sam_predictor(size).predict(**arguments(golden, case))

    assert np.abs(scores - golden.arrays[f"raw_{case}.iou4"].reshape(4)[1:]).max() < TOLERANCE
    recorded = next(array for key, array in golden.arrays.items() if key.startswith(f"raw_{case}.masks4"))
    recorded = recorded.reshape(4, *recorded.shape[-2:])
    step = -(-low_res.shape[-1] // recorded.shape[-1])
    assert np.abs(low_res[:, ::step, ::step] - recorded[1:]).max() < TOLERANCE


@pytest.mark.parametrize("size", SIZES[:2])
def test_reversed_colours_are_turned_back(size):
    golden, sam = GoldenFile(size), SamPredictor(sam_predictor(size).predictor)
    sam.set_image(golden.image)
    as_rgb = sam.get_image_embedding()
    sam.set_image(np.ascontiguousarray(golden.image[..., ::-1]), image_format="BGR")
    assert torch.equal(sam.get_image_embedding(), as_rgb)
    sam.set_image(golden.image, image_format="BGR")
    features = sam.get_image_embedding()[0].numpy()
    assert max(golden.differences("features_image_format_BGR", features).values()) < TOLERANCE


# Frames, shapes and dtypes of segment-anything


@pytest.mark.parametrize(("multimask", "count"), [(True, 3), (False, 1)])
def test_shapes_and_dtypes_are_those_of_segment_anything(sam, multimask, count):
    height, width = GoldenFile("tiny_adapter").image.shape[:2]
    masks, scores, low_res = sam.predict(np.array([[50, 70]]), np.array([1]), multimask_output=multimask)
    logits, _, _ = sam.predict(np.array([[50, 70]]), np.array([1]), None, None, multimask, True)

    assert (masks.shape, masks.dtype) == ((count, height, width), np.dtype(bool))
    assert (logits.shape, logits.dtype) == ((count, height, width), np.dtype(np.float32))
    assert (scores.shape, scores.dtype) == ((count,), np.dtype(np.float32))
    assert (low_res.shape, low_res.dtype) == ((count, 16, 16), np.dtype(np.float32))
    np.testing.assert_array_equal(masks, logits > 0)


def test_without_multimask_the_mask_with_the_largest_score_comes(sam):
    three, scores, low_res = sam.predict(box=np.array([10, 20, 60, 90]))
    best, score, logits = sam.predict(box=np.array([[10, 20, 60, 90]]), multimask_output=False)
    number = int(scores.argmax())
    np.testing.assert_allclose(score, scores[number : number + 1], atol=1e-6)
    np.testing.assert_allclose(logits, low_res[number : number + 1], atol=1e-5)
    np.testing.assert_array_equal(best[0], three[number])


def test_logits_of_a_call_refine_the_next_one(sam):
    points, labels = np.array([[50, 70], [20, 30]]), np.array([1, 0])
    _, scores, logits = sam.predict(points[:1], labels[:1])
    alone, _, _ = sam.predict(points, labels, return_logits=True)
    refined, _, _ = sam.predict(points, labels, mask_input=logits[scores.argmax()][None], return_logits=True)
    assert np.abs(refined - alone).max() > TOLERANCE


def test_the_embedding_and_the_device_are_the_networks(sam):
    embedding = sam.predictor.embed([GoldenFile("tiny_adapter").image])
    assert torch.equal(sam.get_image_embedding(), embedding.features)
    assert sam.device == sam.predictor.device == torch.device("cpu")


# Refusals


def test_a_prompt_before_an_image_is_told_what_to_do(sam):
    assert sam.is_image_set
    sam.reset_image()
    assert not sam.is_image_set
    with pytest.raises(NoImageError, match="call set_image"):
        sam.predict(box=np.array([10, 20, 60, 90]))
    with pytest.raises(NoImageError, match="call set_image"):
        sam.get_image_embedding()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((20, 30, 3), np.float32),
        [[[0, 0, 0]]],
    ],
)
def test_what_is_no_colour_image_is_refused_and_the_last_one_stays(sam, image):
    before = sam.get_image_embedding()
    with pytest.raises(ValueError, match="rgb_from_slice"):
        sam.set_image(image)
    with pytest.raises(ValueError, match="RGB, BGR"):
        sam.set_image(GoldenFile("tiny_adapter").image, image_format="RGBA")
    assert sam.get_image_embedding() is before


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "no prompt is given"),
        ({"point_coords": [[5, 5]]}, "point_coords without point_labels"),
        ({"point_labels": [1]}, "point_labels without point_coords"),
        ({"point_coords": [[5, 5]], "point_labels": [1, 0]}, "1 points need labels"),
        ({"point_coords": [[5, 500]], "point_labels": [1]}, "outside the slice"),
        ({"point_coords": [[5, 5]], "point_labels": [-1]}, "1 for positive and 0 for negative"),
        ({"box": [60, 20, 10, 90]}, "inverted"),
        ({"box": [[10, 20, 60, 90], [1, 2, 3, 4]]}, "four numbers"),
        ({"mask_input": np.zeros((16, 16), np.float32)}, r"logits\[i\]\[None\]"),
        ({"mask_input": np.zeros((1, 20, 20), np.float32)}, "16 x 16"),
    ],
)
def test_prompts_that_make_no_sense_are_told_what_is_wrong(sam, prompts, message):
    with pytest.raises(PromptError, match=message):
        sam.predict(**prompts)
