"""The network on NumPy gives what the one on PyTorch gives, and is refused for what only PyTorch computes."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from golden_cases import TESTING, formula_image
from test_refiner import REFINED
from test_tiny_vit import with_golden_weights

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, read_checkpoint
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.inference.engines.engine import EncodedPrompts, EngineError
from SAMMed2DLib.inference.numpy_engine import threads
from SAMMed2DLib.inference.numpy_engine.engine import NumpyEngine
from SAMMed2DLib.inference.numpy_engine.functions import gelu_
from SAMMed2DLib.inference.numpy_engine.refiner import prompt_maps
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session, Stopped
from SAMMed2DLib.model import refiner
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes
from SAMMed2DLib.system.blas import blas_calls, blas_threads

sys.path.append(str(Path(__file__).resolve().parents[1] / "demo"))

import run_demo

CROPS = 50


@pytest.fixture(scope="module")
def predictors() -> tuple[Predictor, Predictor]:
    """The built-in model on PyTorch and on NumPy."""
    return load_predictor(engine="torch", device="cpu", precision="float32"), load_predictor(engine="numpy")


@pytest.fixture
def own_threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads compute; as before after the test."""
    before = threads._count
    yield threads.set_threads
    threads._count = before


@pytest.fixture
def two_blas_threads() -> Iterator[Callable[[], int]]:
    """NumPy's BLAS has two threads; says how many it has."""
    calls = blas_calls()
    if calls is None:
        pytest.skip("a BLAS that does not let itself be told")
    get, set_ = calls
    before = get()
    set_(2)
    yield get
    set_(before)


def test_gelu_is_exact_to_a_millionth():
    x = np.concatenate([np.linspace(-8, 8, 40_001), [-1e4, -100.0, -20.0, 20.0, 100.0, 1e4]]).astype(np.float32)
    exact = np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x.astype(np.float64)])
    np.testing.assert_allclose(gelu_(x.copy()), exact, atol=4e-7, rtol=2.5e-7)


def test_the_golden_case_of_litemedsam():
    """Its windows do not divide its map: what is padded takes part."""
    config = ModelConfig(patch_size=4, adapter=False, tiny_vit=TinyVitSizes())
    state = {name: value.numpy() for name, value in with_golden_weights(config).state_dict().items()}
    engine = NumpyEngine(state, config)
    features = engine.encode([formula_image((256, 256)).transpose(2, 0, 1).astype(np.float32) / 255])
    with np.load(TESTING / "data" / "golden" / "tiny_vit_256.npz") as recorded:
        np.testing.assert_allclose(features[0, ::4, ::6, ::6], recorded["features"], atol=1e-4)
        boxes = np.array([[[40.0, 60.0], [180.0, 200.0]]], np.float32)
        logits, iou = engine.decode([features], EncodedPrompts(boxes=boxes), best=False)
        np.testing.assert_allclose(logits[0, :, ::9, ::9], recorded["logits"][1:], atol=2e-4)
        np.testing.assert_allclose(iou[0], recorded["iou"][1:], atol=1e-4)


def test_fifty_crops_of_a_real_ct_have_the_same_logits_and_masks(predictors):
    slices = list(run_demo.chosen(*run_demo.chest()))
    rng, worst = np.random.default_rng(0), 0.0
    for number in range(CROPS):
        image = slices[number % len(slices)].image
        first_yx = rng.uniform(0, 0.3, 2) * image.shape[:2]
        (top, left), (below, right) = first_yx.astype(int), (first_yx + 0.6 * np.array(image.shape[:2])).astype(int)
        crop = np.ascontiguousarray(image[top:below, left:right])
        width_height = np.array(crop.shape[1::-1])
        corner = rng.uniform(0, 0.4, 2) * width_height
        prompts = [
            Prompts.of(positive=[rng.uniform(0.2, 0.8, 2) * width_height]),
            Prompts.of(box=[*corner, *(corner + rng.uniform(0.2, 0.6) * width_height)], negative=[(1, 1)]),
        ][number % 2]
        is_coarse = number % 5 > 0  # the faster frame
        found = [each.predict_all(each.embed([crop], coarse=is_coarse), prompts) for each in predictors]
        for theirs, ours in zip(*found, strict=True):
            logits, same = theirs.logits(), ours.logits()
            worst = max(worst, float(np.abs(theirs.low_res_logits - ours.low_res_logits).max()))
            assert ((theirs.mask == ours.mask) | (np.abs(logits) < 1e-3)).all()
            assert np.abs(logits - same).max() < 1e-4 and abs(theirs.score - ours.score) < 1e-4
        fine = [each.refine(all_found[0], crop, prompts) for each, all_found in zip(predictors, found, strict=True)]
        np.testing.assert_allclose(*fine, atol=1e-4)
    assert worst < 1e-4


KINDS = {
    "points": (3, 0, False),
    "many points": (25, 0, False),
    "a box": (0, 1, False),
    "points and a box": (2, 1, False),
    "an earlier mask": (0, 0, True),
    "all": (4, 1, True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("best", "images"), [(True, 1), (False, 3)])
def test_prompts_of_every_kind_are_decoded_alike(predictors, kind, best, images):
    points, boxes, has_mask = KINDS[kind]
    rng, count = np.random.default_rng(5), 3
    prompts = EncodedPrompts(
        (rng.uniform(0, 224, (count, points, 2)).astype(np.float32), rng.integers(0, 2, (count, points)))
        if points
        else None,
        np.sort(rng.uniform(0, 224, (count, 2, 2)).astype(np.float32), axis=1) if boxes else None,
        5 * rng.normal(size=(count, 56, 56)).astype(np.float32) if has_mask else None,
    )
    views = [rng.random((3, 56, 56), np.float32) for _ in range(images)]
    (logits, iou), (same, same_iou) = (
        each.engine.decode([each.engine.encode([view]) for view in views], prompts, best) for each in predictors
    )
    assert logits.shape == same.shape == (3, 1 if best else 3, 56, 56)
    np.testing.assert_allclose(same, logits, atol=1e-4)
    np.testing.assert_allclose(same_iou, iou, atol=1e-5)


def test_maps_of_prompts_are_those_of_the_network_on_pytorch():
    xy = np.array([[[3.0, 9.0], [20.5, 4.0], [30.0, 30.0]]], np.float32)
    box, labels = np.array([[[5.0, 6.0], [21.0, 30.0]]], np.float32), np.array([[1, 0, 1]])
    theirs = refiner.prompt_maps((torch.from_numpy(xy), torch.from_numpy(labels)), torch.from_numpy(box), 16, 32, 1)
    np.testing.assert_allclose(prompt_maps((xy, labels), box, 16, 32), theirs[0], atol=1e-6)


def test_a_session_answers_alike_step_by_step(predictors):
    case = next(run_demo.chosen(*run_demo.chest()))
    inside = np.argwhere(case.reference)[np.count_nonzero(case.reference) // 2][::-1]
    prompts = Prompts.of(positive=[inside]).with_point((2, 2), 0).with_scribble([inside, inside + 3], 1)
    for count in range(1, 4):
        theirs, ours = (Session(each).answer(case.image, prompts.first(count)) for each in predictors)
        assert (theirs.mask != ours.mask).sum() <= 2 and abs(theirs.score - ours.score) < 1e-4
        assert theirs.view_xyxy == ours.view_xyxy and theirs.encoded == ours.encoded


def test_the_encoding_can_be_stopped_before_every_block(predictors):
    _, ours = predictors
    session, image, asked = Session(ours), np.zeros((60, 60, 3), np.uint8), []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Stopped):
        session.encode(image, stop)
    assert len(asked) == 6 and session.encoded == 0
    session.encode(image)
    assert session.is_encoded(image)


def test_several_threads_find_what_one_finds_and_give_the_blas_its_threads_back(
    predictors, own_threads, two_blas_threads
):
    _, ours = predictors
    views, found = [np.random.default_rng(0).random((3, 56, 56), np.float32)], []
    for count in (1, 3, 5):
        own_threads(count)
        found.append(ours.engine.encode(views))
        assert two_blas_threads() == 2 == blas_threads()
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_the_blas_has_one_thread_while_the_engine_computes_and_its_own_again_after_a_stop(
    predictors, own_threads, two_blas_threads, count
):
    _, ours = predictors
    seen: list[int] = []

    def stop() -> None:
        seen.append(two_blas_threads())
        if len(seen) == 3:
            raise Stopped

    own_threads(count)
    with ours.engine.checking(stop), pytest.raises(Stopped):
        ours.engine.encode([np.zeros((3, 56, 56), np.float32)])
    assert seen == [1, 1, 1] and two_blas_threads() == 2


@pytest.mark.parametrize(
    ("count", "height", "width", "rows"),
    [
        (1, 56, 56, 8),
        (2, 56, 56, 7),  # eight bands, not seven
        (2, 112, 112, 4),
        (2, 14, 14, 7),
        (3, 14, 14, 5),
        (4, 56, 56, 7),
        (4, 2, 9, 1),
        (2, 3, 2000, 1),
    ],
)
def test_threads_have_as_many_bands_each_and_do_every_row_once(own_threads, count, height, width, rows):
    own_threads(count)
    done: list[tuple[int, int]] = []
    threads.each_band(lambda first, last: done.append((first, last)), height, width)
    assert sorted(done) == [(first, min(first + rows, height)) for first in range(0, height, rows)]


def test_an_error_in_any_thread_is_raised_when_no_thread_works_any_more(own_threads):
    own_threads(3)
    begun = Barrier(3, timeout=30)
    done: list[int] = []

    def work(number: int) -> None:
        if number < 3:
            begun.wait()
        if number == 1:
            raise ValueError("of one")
        done.append(number)

    with pytest.raises(ValueError, match="of one"):
        threads.each(work, range(40))
    assert sorted(done) == [0, *range(2, 40)]


def test_engines_may_compute_at_a_time(predictors, two_blas_threads, own_threads):
    own_threads(2)
    _, ours = predictors
    views = [np.random.default_rng(number).random((3, 56, 56), np.float32) for number in range(4)]
    alone = [ours.engine.encode([view]) for view in views]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda view: ours.engine.encode([view]), views))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert two_blas_threads() == 2


# Files


@pytest.fixture
def model():
    torch.manual_seed(3)
    model = build_model(REFINED)
    torch.nn.init.normal_(model.refiner.last.weight)
    return model


@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_weights_in_any_precision_are_read_without_pytorch_as_they_are(model, tmp_path, dtype):
    path = save_inference_checkpoint(tmp_path / "net.pt", model.state_dict(), REFINED.to_dict(), {}, dtype=dtype)
    theirs, ours = read_checkpoint(path), read_checkpoint(path, as_arrays=True)
    assert list(theirs.state) == list(ours.state) and theirs.config == ours.config
    for name, value in theirs.state.items():
        np.testing.assert_array_equal(ours.state[name], value.float() if dtype == "bfloat16" else value)
    image = formula_image((40, 50))
    embeddings = [load_predictor(path, engine=engine, device="cpu").embed([image]) for engine in ("torch", "numpy")]
    np.testing.assert_allclose(embeddings[1].array, embeddings[0].array, atol=1e-4)
    assert embeddings[0].nbytes == embeddings[1].nbytes


def test_another_size_of_the_frame_is_taken(model, tmp_path):
    path = save_inference_checkpoint(tmp_path / "net.pt", model.state_dict(), REFINED.to_dict(), {})
    found = [
        each.predict(each.embed([formula_image((40, 50))]), Prompts.of(box=(5, 5, 30, 30))).low_res_logits
        for each in (load_predictor(path, engine=engine, device="cpu", image_size=84) for engine in ("torch", "numpy"))
    ]
    assert found[0].shape == found[1].shape == (168, 168)
    np.testing.assert_allclose(*found, atol=1e-4)


def test_incomplete_weights_are_refused(model, tmp_path):
    state = model.state_dict()
    del state["image_encoder.neck.0.weight"]
    path = save_inference_checkpoint(tmp_path / "cut.pt", state, REFINED.to_dict(), {})
    with pytest.raises(CheckpointError, match=r"neck\.0\.weight"):
        load_predictor(path, engine="numpy")


# The choice


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "numpy", "device": "cuda"}, "the device 'cuda' needs PyTorch"),
        ({"engine": "numpy", "precision": "float16"}, "the precision 'float16' needs PyTorch"),
        ({"engine": "jax"}, "choose one of auto, torch, numpy"),
    ],
)
def test_what_only_pytorch_computes_is_refused(options, words):
    with pytest.raises(EngineError, match=words):
        load_predictor(**options)


def test_a_published_network_needs_pytorch(tmp_path):
    vit = replace(REFINED, tiny_vit=None, refiner_dim=None, image_size=64, patch_size=16, depth=1, global_blocks=())
    path = save_inference_checkpoint(tmp_path / "vit.pt", build_model(vit).state_dict(), vit.to_dict(), {})
    with pytest.raises(EngineError, match=r"'vit\.pt@64' needs PyTorch"):
        load_predictor(path, engine="numpy")


def test_pytorch_is_chosen_where_it_works_and_its_network_is_no_secret(predictors):
    assert load_predictor(device="cpu").engine.name == "torch"
    with pytest.raises(EngineError, match="engine torch"):
        _ = predictors[1].model
