"""The network and the predictor return what the published code returned, for the same weights and prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from golden_cases import CASES, TESTING, CasePrompts, GoldenFile, formula_image, golden_state
from torch import Tensor

from SAMMed2DLib.inference.prediction import Embedding
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.preprocessing import ResizeTransform, nearest_index
from SAMMed2DLib.model.sam import Sam

TOLERANCE = 1e-4
NEAR_ZERO = 1e-3  # a logit this close to the threshold may fall on either side
SIZES = ("tiny_adapter", "tiny_plain", "small_adapter", "small_plain", "vit_b_adapter", "vit_b_plain")
TINY = SIZES[:2]
DETAILED = (
    "tiny_adapter",
    "tiny_plain",
    "small_adapter",
    "vit_b_adapter",
)  # with raw_*, dense_pe and two_boxes

_vit_b_state: dict[str, Tensor] = {}  # 271 million numbers, made once for both ViT-B files


@pytest.fixture(scope="module", autouse=True)
def _forget_the_large_weights() -> Iterator[None]:
    yield
    for cached in (network, encoded, predictor, embedded):
        cached.cache_clear()
    _vit_b_state.clear()


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def _state_of(model: Sam, name: str) -> dict[str, Tensor]:
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if not name.startswith("vit_b"):
        return golden_state(wanted)
    missing = {key: shape for key, shape in wanted.items() if key not in _vit_b_state}
    _vit_b_state.update(golden_state(missing))
    return {key: _vit_b_state[key] for key in wanted}


def built(name: str) -> Sam:
    """A network of the product with a golden file's weights; several of them share the large weights."""
    with torch.device("meta"):
        model = build_model(ModelConfig.from_dict(GoldenFile(name).config))
    model.load_state_dict(_state_of(model, name), strict=True, assign=True)
    return model.requires_grad_(False)


@cache
def network(name: str) -> tuple[Sam, GoldenFile]:
    """The product's network of a golden file, as it is trained and saved, and the file."""
    return built(name), GoldenFile(name)


@cache
def predictor(name: str, channel_order: str = "rgb") -> Predictor:
    """The product's predictor with the weights of a golden file, prepared for the CPU."""
    return Predictor(built(name), name, device="cpu", precision="float32", channel_order=channel_order)


@cache
def embedded(name: str) -> Embedding:
    """A golden file's image as the predictor encodes it."""
    return predictor(name).embed([GoldenFile(name).image])


@cache
def encoded(name: str) -> tuple[Tensor, ResizeTransform]:
    """Features (1, C, g, g) of a golden file's image, and its frame."""
    model, golden = network(name)
    frame = ResizeTransform(golden.image.shape[:2], model.image_size)
    return model.image_encoder(encoded_images(name)), frame


def encoded_images(name: str) -> Tensor:
    """A golden file's image in the model frame, (1, 3, S, S)."""
    model, golden = network(name)
    frame = ResizeTransform(golden.image.shape[:2], model.image_size)
    return torch.from_numpy(frame.model_image(golden.image))[None]


def decode(name: str, prompts: CasePrompts, multimask: bool = True) -> tuple[Tensor, Tensor]:
    """All masks of a mode for prompts in slice px: logits (1, M, 4g, 4g) and scores (1, M)."""
    model, _ = network(name)
    features, frame = encoded(name)
    return model.decode(features, *model_prompts(frame, prompts), multimask)


def model_prompts(
    frame: ResizeTransform, prompts: CasePrompts
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
    """Points, boxes and masks of one object, as the network takes them."""
    points = boxes = masks = None
    if prompts.points_xy is not None and prompts.labels is not None:
        coords = torch.from_numpy(frame.model_from_xy(prompts.points_xy))
        points = (coords[None], torch.from_numpy(prompts.labels)[None])
    if prompts.box_xyxy is not None:
        boxes = torch.from_numpy(frame.model_from_xy(prompts.box_xyxy.reshape(2, 2))).reshape(1, 4)
    if prompts.low_res_logits is not None:
        masks = torch.from_numpy(prompts.low_res_logits)[None, None].sigmoid()
    return points, boxes, masks


def assert_recorded(golden: GoldenFile, key: str, ours: Tensor | np.ndarray) -> None:
    """Fail where `ours` leaves the recorded array by more than the tolerance."""
    differences = golden.differences(key, np.asarray(ours))
    assert max(differences.values()) < TOLERANCE, differences


def assert_features(size: str, features: Tensor) -> None:
    """Fail where features (1, C, g, g) leave the recorded ones; some files hold every 4th channel only."""
    recorded = GoldenFile(size).arrays
    key, step = ("features", 1) if "features" in recorded else ("features_every4", 4)
    assert np.abs(features[0, ::step].numpy() - recorded[key]).max() < TOLERANCE


def assert_same_mask(golden: GoldenFile, case: str, mode: str, logits_hw: np.ndarray) -> None:
    """Fail where a pixel differs whose logit is not next to zero."""
    differs = (logits_hw > 0) != golden.mask(case, mode)
    assert not (differs & (np.abs(logits_hw) >= NEAR_ZERO)).any()


CASES_BY_MODE = [
    pytest.param(size, case, mode, id=f"{size}-{case}-{mode}")
    for size in SIZES
    for case in CASES
    for mode in ("multi", "single")
    if GoldenFile(size).recorded(case, mode)
]


@pytest.mark.parametrize("size", SIZES)
def test_features_equal_the_recorded_ones(size: str) -> None:
    assert_features(size, encoded(size)[0])


@pytest.mark.parametrize("size", SIZES)
def test_features_of_the_predictor_equal_the_recorded_ones(size: str) -> None:
    assert_features(size, embedded(size).features)


@pytest.mark.parametrize(("size", "case", "mode"), CASES_BY_MODE)
def test_each_case_gives_the_recorded_logits_scores_and_mask(size: str, case: str, mode: str) -> None:
    golden = GoldenFile(size)
    logits, scores = decode(size, golden.cases[case], multimask=mode == "multi")
    best = int(scores[0].argmax())
    low_res, score = logits[:, best : best + 1], scores[0, best : best + 1]
    at_slice = encoded(size)[1].slice_logits(low_res.numpy())[0]

    assert_recorded(golden, f"{case}.{mode}.low_res", low_res[0])
    assert np.abs(score.numpy() - golden.arrays[f"{case}.{mode}.iou"]).max() < TOLERANCE
    assert_recorded(golden, f"{case}.{mode}.logits", at_slice)
    assert_same_mask(golden, case, mode, at_slice[0])


@pytest.mark.parametrize("size", DETAILED)
@pytest.mark.parametrize("case", ["point3", "box"])
def test_prompt_tokens_and_all_four_masks_equal_the_recorded_ones(size: str, case: str) -> None:
    model, golden = network(size)
    features, frame = encoded(size)
    sparse, dense = model.prompt_encoder(*model_prompts(frame, golden.cases[case]))
    image_pe = model.prompt_encoder.dense_pe()
    parts = [model.mask_decoder(features, image_pe, sparse, dense, multi) for multi in (False, True)]
    masks, scores = (torch.cat(pair, dim=1)[0] for pair in zip(*parts, strict=True))

    assert np.abs(sparse.numpy() - golden.arrays[f"raw_{case}.sparse"]).max() < TOLERANCE
    assert np.abs(scores.numpy() - golden.arrays[f"raw_{case}.iou4"]).max() < TOLERANCE
    assert_recorded(golden, f"raw_{case}.masks4", masks)


@pytest.mark.parametrize("size", DETAILED)
def test_the_positions_of_the_grid_equal_the_recorded_ones(size: str) -> None:
    model, golden = network(size)
    ours = model.prompt_encoder.dense_pe()[0].numpy()
    recorded = golden.arrays["dense_pe_every4"]
    step = ours.shape[0] // recorded.shape[0]
    thinned = ours if step == 1 else ours[::step, ::2, ::2]
    assert np.abs(thinned - recorded).max() < TOLERANCE


@pytest.mark.parametrize("size", DETAILED)
def test_two_boxes_in_one_batch_equal_two_boxes_one_by_one(size: str) -> None:
    model, golden = network(size)
    features, frame = encoded(size)
    boxes_xyxy = golden.arrays["two_boxes.boxes"]
    boxes = torch.from_numpy(frame.model_from_xy(boxes_xyxy.reshape(-1, 2, 2))).reshape(-1, 4)
    logits, scores = model.decode(features, boxes=boxes)
    best = scores.argmax(dim=1)
    low_res, score = logits[[0, 1], best][:, None], scores[[0, 1], best][:, None]

    assert_recorded(golden, "two_boxes.logits", frame.slice_logits(low_res.numpy()))
    # The published code returned these two of the last box only.
    assert_recorded(golden, "two_boxes.returned_low_res", low_res[1:])
    assert np.abs(score[1:].numpy() - golden.arrays["two_boxes.returned_iou"]).max() < TOLERANCE


@pytest.mark.parametrize("size", ["tiny_adapter", "tiny_plain", "small_adapter"])
def test_features_are_the_recorded_ones_with_gradients_too(size: str) -> None:
    model, _ = network(size)
    with torch.enable_grad():
        images = encoded_images(size).clone().requires_grad_()
        features = model.image_encoder(images)
    assert features.requires_grad
    assert_features(size, features.detach())


@pytest.mark.parametrize("size", TINY)
def test_a_batch_of_two_images_equals_the_recorded_features(size: str) -> None:
    model, golden = network(size)
    images = golden_state({"golden_input": (2, 3, 64, 64)})["golden_input"]
    assert_recorded(golden, "enc.out_for_golden_input", model.image_encoder(images))


@pytest.mark.parametrize("size", TINY)
def test_the_whole_model_call_equals_the_recorded_one(size: str) -> None:
    model, golden = network(size)
    images = golden_state({"golden_input": (2, 3, 64, 64)})["golden_input"]
    boxes = torch.tensor([[5.0, 6.0, 40.0, 50.0], [10.0, 3.0, 60.0, 33.0]])
    masks, scores, low_res = model(images, (90, 70), boxes=boxes)

    assert np.abs(masks[..., ::5, ::5].numpy() - golden.arrays["forward.masks"]).max() < TOLERANCE
    assert_recorded(golden, "forward.iou_predictions", scores)
    assert_recorded(golden, "forward.low_res_logits", low_res)


@pytest.mark.parametrize("size", TINY)
def test_reversed_colours_give_the_features_recorded_for_that_order(size: str) -> None:
    model, golden = network(size)
    frame = encoded(size)[1]
    image = torch.from_numpy(frame.model_image(np.ascontiguousarray(golden.image[:, :, ::-1])))
    assert_recorded(golden, "features_image_format_BGR", model.image_encoder(image[None])[0])


@pytest.mark.parametrize("size", TINY)
@pytest.mark.parametrize("count", [1, 3])
def test_without_the_padding_token_the_exported_decoder_is_met(size: str, count: int) -> None:
    """The exported decoder adds no padding token, and takes box corners as points with labels 2 and 3."""
    model, golden = network(size)
    features, _ = encoded(size)
    coords = torch.from_numpy(golden.arrays["onnx.points"])
    boxes = coords[:, 1:].reshape(1, 4) if count == 3 else None
    sparse, dense = model.prompt_encoder((coords[:, :1], torch.tensor([[1]])), boxes)
    image_pe = model.prompt_encoder.dense_pe()
    parts = [
        model.mask_decoder(features, image_pe, sparse[:, :count], dense, multi) for multi in (False, True)
    ]
    logits, scores = (torch.cat(pair, dim=1) for pair in zip(*parts, strict=True))

    assert_recorded(golden, f"onnx.all.n{count}.scores", scores)
    assert_recorded(golden, f"onnx.all.n{count}.low_res", logits[0])


PREDICTOR_CASES = [
    pytest.param(size, case, id=f"{size}-{case}")
    for size in SIZES
    for case in CASES
    if GoldenFile(size).recorded(case, "multi") and case != "point_with_pad_label"  # no user can ask for that
]


def user_prompts(prompts: CasePrompts) -> Prompts:
    """The prompts of a case as a user of the library gives them."""
    given = Prompts.of(box=prompts.box_xyxy, low_res_logits=prompts.low_res_logits)
    if prompts.points_xy is not None and prompts.labels is not None:
        for point_xy, label in zip(prompts.points_xy, prompts.labels, strict=True):
            given = given.with_point(point_xy, int(label))
    return given


@pytest.mark.parametrize(("size", "case"), PREDICTOR_CASES)
def test_the_predictor_returns_the_recorded_mask_score_and_logits(size: str, case: str) -> None:
    golden = GoldenFile(size)
    prediction = predictor(size).predict(embedded(size), user_prompts(golden.cases[case]))
    logits = prediction.logits()

    assert_recorded(golden, f"{case}.multi.low_res", prediction.low_res_logits[None])
    assert abs(prediction.score - golden.arrays[f"{case}.multi.iou"][0]) < TOLERANCE
    assert_recorded(golden, f"{case}.multi.logits", logits[None])
    assert_same_mask(golden, case, "multi", logits)
    np.testing.assert_array_equal(prediction.mask, logits > 0)


@pytest.mark.parametrize("size", ["tiny_adapter", "small_adapter"])
def test_all_cases_predicted_in_one_call_return_what_each_returned(size: str) -> None:
    golden = GoldenFile(size)
    cases = [case for case in CASES if case != "point_with_pad_label"]
    together = predictor(size).predict_many(
        embedded(size), [user_prompts(golden.cases[case]) for case in cases]
    )
    for case, prediction in zip(cases, together, strict=True):
        assert_recorded(golden, f"{case}.multi.low_res", prediction.low_res_logits[None])
        assert abs(prediction.score - golden.arrays[f"{case}.multi.iou"][0]) < TOLERANCE


@pytest.mark.parametrize("size", DETAILED)
def test_two_boxes_asked_of_the_predictor_each_get_their_logits_and_score(size: str) -> None:
    golden = GoldenFile(size)
    boxes = [Prompts.of(box=box) for box in golden.arrays["two_boxes.boxes"]]
    first, last = predictor(size).predict_many(embedded(size), boxes)

    assert_recorded(golden, "two_boxes.logits", np.stack([first.logits(), last.logits()])[:, None])
    assert_recorded(golden, "two_boxes.returned_low_res", last.low_res_logits[None, None])
    assert abs(last.score - golden.arrays["two_boxes.returned_iou"][0, 0]) < TOLERANCE


@pytest.mark.parametrize("size", TINY)
def test_the_predictor_can_reverse_the_colours_as_the_published_one(size: str) -> None:
    golden = GoldenFile(size)
    features = predictor(size, "bgr").embed([golden.image]).features
    assert_recorded(golden, "features_image_format_BGR", features[0])


def test_the_predictor_stretches_a_small_slice_as_recorded() -> None:
    recorded = GoldenFile("small_adapter").arrays
    ours = predictor("small_adapter")
    embedding = ours.embed([formula_image((181, 230))])
    prediction = ours.predict(embedding, Prompts.of(box=(40, 30, 170, 150)))

    key = "small_image_181x230"
    assert np.abs(embedding.features[0, ::16].numpy() - recorded[f"{key}.features_every16"]).max() < TOLERANCE
    assert np.abs(prediction.low_res_logits - recorded[f"{key}.box_low_res"][0]).max() < TOLERANCE
    assert abs(prediction.score - recorded[f"{key}.box_iou"][0]) < TOLERANCE


def _pieces(prefix: str) -> dict[str, np.ndarray]:
    arrays = GoldenFile("pieces").arrays
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


@pytest.mark.parametrize(("key", "recorded"), _pieces("nearest.").items())
def test_nearest_neighbours_are_the_recorded_ones(key: str, recorded: np.ndarray) -> None:
    source, target = (int(number) for number in key.split("_to_"))
    np.testing.assert_array_equal(nearest_index(source, target), recorded)


@pytest.mark.parametrize(("key", "recorded"), _pieces("pad.").items())
def test_small_slices_are_padded_to_the_recorded_place(key: str, recorded: np.ndarray) -> None:
    height, width = (int(number) for number in key.split("x"))
    placed = ResizeTransform((height, width), 256, "pad").resample_nearest(np.ones((height, width), np.uint8))
    rows, columns = np.flatnonzero(placed.any(axis=1)), np.flatnonzero(placed.any(axis=0))
    np.testing.assert_array_equal([rows[0], rows[-1], columns[0], columns[-1]], recorded)


def _published_shapes() -> dict[str, tuple[int, ...]]:
    listing = json.loads((TESTING / "data" / "state_dict_vit_b_256.json").read_text())
    return {entry["name"]: tuple(entry["shape"]) for entry in listing["tensors"]}


def test_names_and_shapes_equal_the_published_state_dict() -> None:
    model, _ = network("vit_b_adapter")
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == _published_shapes()


def test_without_adapters_only_their_names_are_gone() -> None:
    model, _ = network("vit_b_plain")
    expected = {name: shape for name, shape in _published_shapes().items() if ".Adapter." not in name}
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


def test_weights_with_adapters_load_into_a_model_without_once_those_are_left_out() -> None:
    with_adapters, _ = network("small_adapter")
    plain, _ = network("small_plain")
    state = {k: v for k, v in with_adapters.state_dict().items() if ".Adapter." not in k}
    model = build_model(ModelConfig.from_dict(GoldenFile("small_plain").config))
    model.load_state_dict(state, strict=True)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())
