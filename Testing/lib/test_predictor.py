"""The predictor's promises: one call or many, any prompts, clear refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.cli.common.console_report import CommandLog
from SAMMed2DLib.inference import predictor as predictor_module
from SAMMed2DLib.inference.devices import FallbackWarning, available_devices, choose_device
from SAMMed2DLib.inference.engines import torch_engine
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.registry.known_models import RegistryError

ROOT = Path(__file__).parents[2]
TINY = ModelConfig(
    image_size=64, patch_size=8, embed_dim=16, depth=2, num_heads=2, global_blocks=(1,), window_size=3,
    out_dim=16, decoder_heads=2, decoder_mlp_dim=16, iou_hidden_dim=16, mask_in_channels=4,
)  # fmt: skip


def _model() -> torch.nn.Module:
    torch.manual_seed(1)
    return build_model(TINY)


@pytest.fixture(scope="module")
def tiny() -> Predictor:
    return Predictor(_model(), "tiny", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def slices() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((40, 60), (90, 70))]


KINDS = {
    "a point": Prompts.of(positive=[(10, 12)]),
    "points of both kinds": Prompts.of(positive=[(10, 12)], negative=[(30, 5)]),
    "a box": Prompts.of(box=(5, 6, 30, 33)),
    "points and a box": Prompts.of(positive=[(10, 12)], box=(5, 6, 30, 33)),
    "a mask": Prompts.of(low_res_logits=np.linspace(-3, 3, 32 * 32).reshape(32, 32)),
    "all together": Prompts.of([(10, 12)], [(30, 5)], (5, 6, 30, 33), np.ones((32, 32))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_prompt_gives_a_mask_of_the_slices_size(tiny, slices, kind):
    prediction = tiny.predict(tiny.embed(slices)[0], KINDS[kind])
    assert prediction.mask.shape == (40, 60) and prediction.mask.dtype == bool
    assert prediction.low_res_logits.shape == (32, 32)
    np.testing.assert_array_equal(prediction.mask, prediction.logits() > 0)


def test_many_prompts_in_one_call_equal_one_call_each(tiny, slices):
    embedding = tiny.embed(slices[:1])
    order = [*KINDS.values(), KINDS["a box"], KINDS["a point"]]
    together = tiny.predict_many(embedding, order)
    for prompts, prediction in zip(order, together, strict=True):
        alone = tiny.predict(embedding, prompts)
        np.testing.assert_allclose(prediction.low_res_logits, alone.low_res_logits, atol=1e-5)
        assert prediction.score == pytest.approx(alone.score, abs=1e-5)


def test_more_prompts_than_fit_in_one_batch_are_all_answered(tiny, slices, monkeypatch):
    monkeypatch.setattr(predictor_module, "_PROMPTS_AT_ONCE", 2)
    points = [Prompts.of(positive=[(x, 5)]) for x in range(5)]
    embedding = tiny.embed(slices[:1])
    several = tiny.predict_many(embedding, points)
    assert len(several) == 5
    np.testing.assert_allclose(several[4].low_res_logits, tiny.predict(embedding, points[4]).low_res_logits, atol=1e-5)


def test_all_masks_of_many_prompts_equal_those_of_each(tiny, slices, monkeypatch):
    monkeypatch.setattr(predictor_module, "_PROMPTS_AT_ONCE", 2)
    embedding = tiny.embed(slices[:1])
    order = [KINDS["a point"], KINDS["a box"], *(Prompts.of(positive=[(x, 5)]) for x in range(3))]
    for prompts, masks in zip(order, tiny.predict_all_many(embedding, order), strict=True):
        alone = tiny.predict_all(embedding, prompts)
        assert len(masks) == len(alone) == 3
        for mask, other in zip(masks, alone, strict=True):
            np.testing.assert_allclose(mask.low_res_logits, other.low_res_logits, atol=1e-5)
            assert mask.score == pytest.approx(other.score, abs=1e-5)


def test_a_batch_of_slices_equals_one_slice_each(tiny, slices, monkeypatch):
    monkeypatch.setattr(torch_engine, "_IMAGES_AT_ONCE", 2)
    batch = tiny.embed([*slices, slices[0]])
    assert [one.size_hw for one in batch] == [(40, 60), (90, 70), (40, 60)]
    for image, one in zip([*slices, slices[0]], batch, strict=True):
        torch.testing.assert_close(one.features, tiny.embed([image]).features, atol=1e-5, rtol=0)


def test_embeddings_are_frozen_and_carry_no_gradients(tiny, slices):
    embedding = tiny.embed(slices)
    assert not embedding.features.requires_grad
    assert embedding.nbytes == 2 * 16 * 8 * 8 * 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        embedding.features = None
    with pytest.raises(RuntimeError, match="inference"):
        embedding.features.add_(1)


def test_an_embedding_is_chosen_by_number(tiny, slices):
    embedding = tiny.embed(slices)
    assert embedding[np.int64(-1)].size_hw == (90, 70)
    with pytest.raises(TypeError):
        embedding[0:1]


def test_bgr_reverses_the_channels(slices):
    swapped = Predictor(_model(), "tiny", device="cpu", precision="float32", channel_order="bgr")
    plain = Predictor(_model(), "tiny", device="cpu", precision="float32")
    reversed_slice = np.ascontiguousarray(slices[0][..., ::-1])
    assert torch.equal(swapped.embed(slices[:1]).features, plain.embed([reversed_slice]).features)
    assert not torch.equal(swapped.embed(slices[:1]).features, plain.embed(slices[:1]).features)


def test_padding_keeps_a_small_slice_unscaled(slices):
    padded = Predictor(_model(), "tiny", device="cpu", precision="float32", fit="pad")
    frame = padded.embed(slices[:1]).frames[0]
    assert frame.is_padded and frame.offset_xy == (2, 12)
    np.testing.assert_array_equal(frame.model_from_xy(np.array([[0.0, 0.0]])), [[2, 12]])
    assert padded.predict(padded.embed(slices[:1]), KINDS["a point"]).mask.shape == (40, 60)


REFUSED = {
    "nothing given": (Prompts(), PromptError, "no prompt"),
    "point outside": (Prompts.of(positive=[(60, 5)]), PromptError, "60"),
    "logits of another model": (Prompts.of(low_res_logits=np.ones((64, 64))), PromptError, "32 x 32"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_prompts_that_do_not_fit_are_refused(tiny, slices, case):
    prompts, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        tiny.predict(tiny.embed(slices[:1]), prompts)


def test_embeddings_that_do_not_fit_are_refused(tiny, slices):
    with pytest.raises(ValueError, match="2 slices"):
        tiny.predict(tiny.embed(slices), KINDS["a box"])
    other = Predictor(_model(), "other", device="cpu", precision="float32")
    with pytest.raises(ValueError, match="embed the slice again"):
        tiny.predict(other.embed(slices[:1]), KINDS["a box"])


def test_a_slice_without_a_list_around_it_is_refused(tiny, slices):
    for not_a_list in (slices[0], slices[0].tolist()):
        with pytest.raises(ValueError, match="a list of"):
            tiny.embed(not_a_list)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_images_of_another_type_are_refused(tiny, image):
    with pytest.raises(ValueError, match="uint8"):
        tiny.embed([image])


def test_no_image_is_refused(tiny):
    with pytest.raises(ValueError, match="at least one"):
        tiny.embed([])


FULL = (torch.cuda.OutOfMemoryError("full"), RuntimeError("MPS backend out of memory (MPS allocated: 9.00 GB)"))


@pytest.mark.parametrize("full", FULL, ids=["cuda", "mps"])
def test_a_full_graphics_card_falls_back_to_the_cpu_and_says_so(full, slices, monkeypatch):
    moved = Predictor(_model(), "tiny", device="cpu", precision="bfloat16")
    encode, calls = moved.engine._encode, []

    def full_at_first(inputs):
        calls.append(moved.precision)
        if len(calls) == 1:
            raise full
        return encode(inputs)

    monkeypatch.setattr(moved.engine, "_encode", full_at_first)
    with pytest.warns(FallbackWarning, match="goes on with the CPU"):
        embedding = moved.embed(slices[:1])
    assert calls == [torch.bfloat16, torch.float32]
    assert embedding.features.dtype == torch.float32


def test_other_errors_of_the_device_are_not_taken_for_a_full_one(slices, monkeypatch):
    broken = Predictor(_model(), "tiny", device="cpu", precision="float32")

    def fail(inputs):
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(broken.engine, "_encode", fail)
    with pytest.raises(RuntimeError, match="device-side"):
        broken.embed(slices[:1])


def test_weights_beyond_the_range_of_float16_are_computed_in_float32_and_said_so(slices):
    model = _model()
    with torch.no_grad():
        for layer in (model.image_encoder.blocks[0].mlp.lin1, model.image_encoder.blocks[0].mlp.lin2):
            layer.weight.mul_(3000)
    half = Predictor(model, "loud", device="cpu", precision="float16")
    with pytest.warns(FallbackWarning, match="float16"):
        features = half.embed(slices[:1]).features
    assert features.isfinite().all() and half.precision == torch.float32


def test_a_fallback_is_shown_by_default():
    command = (
        "import warnings; from SAMMed2DLib.inference.devices import FallbackWarning as F; "
        "warnings.warn('on the CPU', F)"
    )
    ran = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "on the CPU" in ran.stderr


def test_the_command_line_notes_a_fallback_once_and_no_other_warning():
    run = CommandLog()
    with run.step("embed"):
        for message, kind in (("on the CPU", FallbackWarning), ("of a library", RuntimeWarning)) * 2:
            warnings.warn(message, kind, stacklevel=1)
    assert run.notes == ["on the CPU"]


def test_bfloat16_encodes_nearly_the_same(tiny, slices):
    half = Predictor(_model(), "tiny", device="cpu", precision="bfloat16")
    exact = tiny.embed(slices[:1]).features
    assert (half.embed(slices[:1]).features - exact).norm() < 0.03 * exact.norm()


@pytest.fixture
def weights_file(tmp_path):
    return save_inference_checkpoint(tmp_path / "tiny.pt", _model().state_dict(), TINY.to_dict(), {})


def test_a_saved_model_loads_with_its_sizes_and_predicts_the_same(weights_file, tiny, slices):
    loaded = load_predictor(weights_file, device="cpu", precision="float32")
    first, second = (one.predict(one.embed(slices[:1]), KINDS["a box"]) for one in (loaded, tiny))
    np.testing.assert_array_equal(first.low_res_logits, second.low_res_logits)


def test_a_model_loaded_in_inference_mode_predicts(weights_file, slices):
    with torch.inference_mode():
        loaded = load_predictor(weights_file, device="cpu")
        assert loaded.predict(loaded.embed(slices[:1]), KINDS["a point"]).mask.shape == (40, 60)


def test_half_precision_weights_are_computed_in_float32(tmp_path):
    path = save_inference_checkpoint(tmp_path / "half.pt", _model().state_dict(), TINY.to_dict(), {}, dtype="float16")
    loaded = load_predictor(path, device="cpu", precision="float32")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}


def test_adapters_can_be_left_out(weights_file, tmp_path, slices):
    without = load_predictor(weights_file, device="cpu", precision="float32", adapters=False)
    assert without.name.endswith("*")
    body = {name: value for name, value in _model().state_dict().items() if "Adapter" not in name}
    plain = build_model(dataclasses.replace(TINY, adapter=False))
    plain.load_state_dict(body)
    expected = Predictor(plain, "plain", device="cpu", precision="float32").embed(slices[:1]).features
    assert torch.equal(without.embed(slices[:1]).features, expected)
    config = dataclasses.replace(TINY, adapter=False).to_dict()
    path = save_inference_checkpoint(tmp_path / "plain.pt", body, config, {})
    assert load_predictor(path, device="cpu", adapters=False).name == "plain.pt@64"


def test_another_image_size_resizes_the_tables(weights_file, slices):
    larger = load_predictor(weights_file, device="cpu", image_size=128)
    assert larger.embed(slices[:1]).features.shape == (1, 16, 16, 16)


def test_sizes_are_read_off_a_file_without_configuration(tmp_path, slices):
    wide = dataclasses.replace(TINY, out_dim=32, decoder_heads=8)
    torch.save(build_model(wide).state_dict(), tmp_path / "wide.pth")
    loaded = load_predictor(tmp_path / "wide.pth", device="cpu")
    assert loaded.predict(loaded.embed(slices[:1]), KINDS["a box"]).mask.shape == (40, 60)


def test_incomplete_weights_are_refused(tmp_path):
    state = _model().state_dict()
    del state["image_encoder.neck.0.weight"]
    path = save_inference_checkpoint(tmp_path / "cut.pt", state, TINY.to_dict(), {})
    with pytest.raises(CheckpointError, match=r"neck\.0\.weight"):
        load_predictor(path, device="cpu")


def test_a_model_that_is_not_here_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMMED2D_MODELS_DIR", str(tmp_path))
    with pytest.raises(RegistryError, match="sammed2d models download sam-med2d_b"):
        load_predictor("sam-med2d_b")
    with pytest.raises(RegistryError, match="no model 'sam-med3d'"):
        load_predictor("sam-med3d")


def test_a_model_that_the_user_added_loads_by_its_name(monkeypatch, weights_file):
    monkeypatch.setenv("SAMMED2D_MODELS_DIR", str(weights_file.parent))
    assert load_predictor("tiny", device="cpu").name == "tiny@64"


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "meta"])
def test_devices_that_are_not_here_are_refused(device):
    with pytest.raises(ValueError, match="choose"):
        Predictor(_model(), device=device)


def test_an_unknown_precision_or_channel_order_is_refused():
    with pytest.raises(ValueError, match="precision"):
        Predictor(_model(), precision="float8")
    with pytest.raises(ValueError, match="channel order"):
        Predictor(_model(), channel_order="gbr")


def test_the_devices_that_are_listed_can_be_chosen(monkeypatch):
    assert available_devices()["cpu"] == "CPU"
    for name in available_devices():
        assert str(choose_device(name)) == name
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
    assert {"cuda:0": "card 0", "cuda:1": "card 1"}.items() <= available_devices().items()


def test_objects_of_several_slices_are_decoded_as_each_alone(tiny):
    images = [np.random.default_rng(n).integers(0, 255, (40, 50, 3), np.uint8) for n in range(3)]
    embedding = tiny.embed(images)
    prompts = [Prompts.of(box=(5 + n, 6, 30, 30)) for n in range(3)]
    together = tiny.decode_pairs(list(zip(embedding, prompts, strict=True)))
    for one, slice_embedding, asked in zip(together, embedding, prompts, strict=True):
        alone = tiny.predict(slice_embedding, asked)
        assert np.allclose(one.low_res_logits, alone.low_res_logits, atol=1e-4)


def test_a_mask_prompt_has_the_size_that_the_model_takes(tiny):
    logits = tiny.mask_prompt(np.full((40, 50), 3.0, np.float32))
    assert logits.shape == (tiny.model.prompt_encoder.mask_input_size,) * 2
    assert np.allclose(logits, 3)
