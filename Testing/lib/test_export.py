"""Exported files against the predictor: in onnxruntime, as X-AnyLabeling runs them, and in the published layout."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_network import CONFIG as VIT

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.export.networks import ExportedNetwork, load_network
from SAMMed2DLib.export.onnx_files import ExportError, OnnxOptions, write_onnx
from SAMMed2DLib.export.published import published_state, variant_of
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.model.build import build_empty, build_model
from SAMMed2DLib.model.config.model_config import SMALL, VARIANTS, ModelConfig
from SAMMed2DLib.model.config.tiny_vit_sizes import TinyVitSizes
from SAMMed2DLib.model.preprocessing import PIXEL_MEAN, PIXEL_STD

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 75, 98
TINY = ModelConfig(
    image_size=56,
    patch_size=4,
    adapter=False,
    out_dim=32,
    decoder_heads=4,
    decoder_mlp_dim=64,
    iou_hidden_dim=32,
    tiny_vit=TinyVitSizes((32, 32, 64), (1, 1, 1), (0, 7, 4), (2, 2)),
    preprocessing="min-max",
    prompt_size=112,
    refiner_dim=8,
)
KINDS = {"vit": VIT, "vit without adapters": replace(VIT, adapter=False), "tiny": TINY}
BOX = (20.0, 15.0, 70.0, 60.0)
PROMPTS = {
    "a click": Prompts.of(positive=[[40, 30]]),
    "five clicks": Prompts.of(positive=[[40, 30], [50, 35], [30.5, 44]], negative=[[5, 5], [90, 70]]),
    "a box": Prompts.of(box=BOX),
    "clicks and a box": Prompts.of(positive=[[40, 30]], negative=[[22, 17]], box=BOX),
}


def image_of(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Noise around a bright disc, in colour."""
    y, x = np.mgrid[:height, :width]
    inside = np.hypot(x - 0.45 * width, y - 0.5 * height) < 0.3 * height
    noise = np.random.default_rng(1).integers(0, 60, (height, width, 3))
    return (noise + np.where(inside, 150, 30)[..., None] + [0, 10, 20]).astype(np.uint8)


def network(config: ModelConfig):
    """Random weights, none of them zero."""
    torch.manual_seed(0)
    model = build_model(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.05 * torch.randn_like(weights)
    return model


class Exported:
    """A network in memory and its files."""

    def __init__(self, folder: Path, config: ModelConfig, **options: bool) -> None:
        self.config = config
        files = write_onnx(network(config), config, "net", folder, OnnxOptions(**options), {"model": "net"})
        self.files = [file.name for file in files]
        self.sessions = {
            file.name.split(".")[1]: onnxruntime.InferenceSession(file) for file in files if file.suffix == ".onnx"
        }
        self.predictor = Predictor(network(config), "net", device="cpu", precision="float32")

    def encode(self, image: np.ndarray) -> np.ndarray:
        return self.sessions["encoder"].run(None, {"input_image": image})[0]

    def decode(self, embedding: np.ndarray, prompts: Prompts, padding: bool = False) -> list[np.ndarray]:
        return self.sessions["decoder"].run(None, self.inputs(embedding, prompts, padding))

    def inputs(self, embedding: np.ndarray, prompts: Prompts, padding: bool = False) -> dict[str, np.ndarray]:
        points, labels = prompts.points_xy, prompts.labels.astype(np.float32)
        if prompts.box_xyxy is not None:
            points = np.concatenate([points, prompts.box_xyxy.reshape(2, 2)])
            labels = np.concatenate([labels, np.float32([2, 3])])
        if padding:
            points, labels = np.concatenate([points, [[0, 0]]]), np.append(labels, np.float32(-1))
        frame = points * self.config.image_size / [WIDTH, HEIGHT]
        side = 4 * self.config.grid
        mask = prompts.low_res_logits
        return {
            "image_embeddings": embedding,
            "point_coords": frame[None].astype(np.float32),
            "point_labels": labels[None],
            "mask_input": np.zeros((1, 1, side, side), np.float32) if mask is None else mask[None, None],
            "has_mask_input": np.float32([mask is not None]),
            "orig_im_size": np.float32([HEIGHT, WIDTH]),
        }


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory) -> Exported:
    return Exported(tmp_path_factory.mktemp("files"), KINDS[request.param], with_preprocessing=True)


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-4 of the values' size, and not by being all the same."""
    size = max(1.0, float(np.abs(expected).max()))
    assert np.ptp(expected) > 1e-3 or expected.size == 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * size)


def test_files_answer_prompts_as_the_predictor_does(exported):
    image = image_of()
    embedding, features = exported.predictor.embed([image]), exported.encode(image)
    assert_near(features, embedding.features.numpy())
    mask = exported.predictor.predict(embedding, PROMPTS["a click"]).low_res_logits
    with_mask = {
        "a click and a mask": replace(PROMPTS["a click"], low_res_logits=mask),
        "a box and a mask": replace(PROMPTS["a box"], low_res_logits=mask),
        "a mask alone": Prompts.of(low_res_logits=mask),
    }
    for prompts in (PROMPTS | with_mask).values():
        expected = exported.predictor.predict(embedding, prompts)
        masks, scores, low_res = exported.decode(features, prompts)
        assert masks.shape == (1, 1, HEIGHT, WIDTH) and scores.shape == (1, 1)
        assert_near(low_res[0, 0], expected.low_res_logits)
        assert_near(masks[0, 0], expected.logits())
        assert scores[0, 0] == pytest.approx(expected.score, abs=1e-4)


def test_a_padding_point_of_the_callers_counts_once(exported):
    features = exported.encode(image_of())
    ours, theirs = (exported.decode(features, PROMPTS["five clicks"], padding) for padding in (False, True))
    assert_near(theirs[2], ours[2])


def test_the_refiner_draws_what_the_predictor_draws(exported):
    if exported.config.refiner_dim is None:
        assert exported.files == ["net.encoder.onnx", "net.decoder.onnx"]
        return
    image = image_of()
    embedding, features = exported.predictor.embed([image]), exported.encode(image)
    for prompts in PROMPTS.values():
        expected = exported.predictor.refine(exported.predictor.predict(embedding, prompts), image, prompts)
        asked = exported.inputs(features, prompts)
        inputs = {name: asked[name] for name in ("point_coords", "point_labels", "orig_im_size")}
        low_res = exported.decode(features, prompts)[2]
        (masks,) = exported.sessions["refiner"].run(None, {"input_image": image, "low_res_masks": low_res, **inputs})
        assert_near(masks[0, 0], expected)


def test_names_and_sizes_are_those_of_the_ecosystem(exported):
    decoder, encoder = exported.sessions["decoder"], exported.sessions["encoder"]
    assert [value.name for value in decoder.get_inputs()] == [
        "image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size",
    ]  # fmt: skip
    assert [value.name for value in decoder.get_outputs()] == ["masks", "iou_predictions", "low_res_masks"]
    assert decoder.get_inputs()[1].shape == [1, "num_points", 2]
    assert [value.name for value in encoder.get_outputs()] == ["image_embeddings"]
    assert (encoder.get_inputs()[0].name, encoder.get_inputs()[0].type) == ("input_image", "tensor(uint8)")
    facts = encoder.get_modelmeta().custom_metadata_map
    assert facts["model"] == "net" and facts["frame_px"] == str(exported.config.image_size)


@pytest.mark.parametrize("size_hw", [(1, 1), (20, 400), (56, 56), (301, 33)])
def test_images_of_any_size_are_brought_into_the_frame(exported, size_hw):
    image = image_of(*size_hw)
    np.testing.assert_allclose(exported.encode(image), exported.predictor.embed([image]).features, atol=1e-4)


@pytest.mark.parametrize("size_hw", [(300, 400), (200, 300), (512, 97)])
def test_published_weights_see_the_rows_and_columns_that_they_see_here(size_hw, tmp_path):
    network = build_model(replace(VIT, image_size=256))
    (encoder, *_) = write_onnx(network, replace(VIT, image_size=256), "net", tmp_path, OnnxOptions(True), {})
    image = image_of(*size_hw)
    features = onnxruntime.InferenceSession(encoder).run(None, {"input_image": image})[0]
    predictor = Predictor(network, "net", device="cpu", precision="float32")
    np.testing.assert_allclose(features, predictor.embed([image]).features, atol=1e-4)


@pytest.mark.parametrize("config", [VIT, TINY], ids=["vit", "tiny"])
def test_without_preprocessing_the_encoder_takes_the_model_frame_and_all_masks_come_out(config, tmp_path):
    files = Exported(tmp_path, config, multimask=True)
    embedding = files.predictor.embed([image_of()])
    features = files.encode(embedding.frames[0].model_image(image_of())[None])
    assert_near(features, embedding.features.numpy())
    expected = files.predictor.predict_all(embedding, PROMPTS["clicks and a box"])
    masks, scores, _ = files.decode(features, PROMPTS["clicks and a box"])
    assert_near(masks[0], np.stack([prediction.logits() for prediction in expected]))
    np.testing.assert_allclose(scores[0], [prediction.score for prediction in expected], atol=1e-4)
    opsets = {entry.domain: entry.version for entry in onnx.load(tmp_path / "net.decoder.onnx").opset_import}
    assert opsets == {"": 17}


# X-AnyLabeling


def as_x_anylabeling(folder: Path, image: np.ndarray, points, labels) -> np.ndarray:
    """Run files as that program does, from the YAML file on: what it checks, sends and reads."""
    (described,) = folder.glob("*.yaml")
    names = dict(line.split(": ", 1) for line in described.read_text().splitlines())
    assert {"type", "name", "display_name", "encoder_model_path", "decoder_model_path", "input_size"} <= set(names)
    assert names["type"] == "sam_med2d"
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / json.loads(names[f"{part}_model_path"]))
        for part in ("encoder", "decoder")
    )
    height, width = encoder.get_inputs()[0].shape[-2:]
    assert str(height) == names["input_size"]
    size_hw = image.shape[:2]
    normalised = (image - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
    # It names nearest neighbours, in the place of another argument of OpenCV's, so that pixels are interpolated.
    channels = torch.from_numpy(normalised.transpose(2, 0, 1)[None])
    placed = torch.nn.functional.interpolate(channels, (height, width), mode="bilinear")
    embedding = encoder.run(None, {encoder.get_inputs()[0].name: placed.numpy().astype(np.float32)})[0]
    assert embedding.shape == (1, 256, height // 16, width // 16)
    inputs = {
        "image_embeddings": embedding,
        "point_coords": (np.array(points) * [width / size_hw[1], height / size_hw[0]])[None].astype(np.float32),
        "point_labels": np.float32(labels)[None],
        "mask_input": np.zeros((1, 1, height // 4, width // 4), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
        "orig_im_size": np.float32(size_hw),
    }
    masks, _, _ = decoder.run(None, inputs)
    return masks[0][0]


def test_x_anylabeling_gets_the_logits_of_the_predictor_for_published_networks(tmp_path):
    files = Exported(tmp_path, VIT, x_anylabeling=True)
    assert files.files == ["net.encoder.onnx", "net.decoder.onnx", "net.yaml"]
    image = image_of(VIT.image_size, VIT.image_size)  # others are brought to this size in another way
    box = [0.2 * VIT.image_size, 0.3 * VIT.image_size, 0.6 * VIT.image_size, 0.8 * VIT.image_size]
    found = as_x_anylabeling(tmp_path, image, [box[:2], box[2:]], [2, 3])
    embedding = files.predictor.embed([image])
    assert_near(found, files.predictor.predict(embedding, Prompts.of(box=box)).logits())


def test_x_anylabeling_gets_the_masks_of_the_built_in_model(tmp_path):
    assert main(["export", "onnx", "--x-anylabeling", "-o", str(tmp_path)]) == 0
    image, predictor = image_of(300, 400), load_predictor(device="cpu", precision="float32")
    found = as_x_anylabeling(tmp_path, image, [[90, 60], [270, 240]], [2, 3]) > 0
    expected = predictor.predict(predictor.embed([image]), Prompts.of(box=(90, 60, 270, 240))).mask
    assert dice(found, expected) > 0.98 and expected.mean() > 0.05


def test_x_anylabeling_accepts_the_name_whatever_the_weights_are_called(tmp_path):
    write_onnx(network(VIT), VIT, "my nét (2)", tmp_path, OnnxOptions(x_anylabeling=True), {})
    text = (tmp_path / "my nét (2).yaml").read_text(encoding="utf-8")
    described = {key: json.loads(value) for key, value in re.findall(r'^(\w+): (".*")$', text, re.MULTILINE)}
    assert re.fullmatch(r"[A-Za-z0-9._-]+", described["name"]) and described["display_name"] == "my nét (2)"
    assert (tmp_path / described["encoder_model_path"]).is_file()


@pytest.mark.parametrize("option", ["with_preprocessing", "multimask"])
def test_x_anylabeling_takes_no_other_preprocessing_or_masks(option):
    with pytest.raises(ExportError, match="leave out"):
        OnnxOptions(x_anylabeling=True, **{option: True})


# The command, and the example of the documentation


def test_a_quantised_encoder_is_smaller_and_finds_the_same_object(tmp_path, capsys):
    assert main(["export", "onnx", "--quantize", "--with-preprocessing", "-o", str(tmp_path)]) == 0
    names = [f"sam-med2d-tiny.{part}.onnx" for part in ("encoder.quant", "decoder", "refiner")]
    assert re.findall(r"sam-med2d-tiny\.\S+", capsys.readouterr().out) == names
    image = image_of(300, 400)
    encoder = onnxruntime.InferenceSession(tmp_path / names[0])
    predictor = load_predictor(device="cpu", precision="float32")
    embedding, prompts = predictor.embed([image]), Prompts.of(box=(90, 60, 270, 240))
    quantised = replace(embedding, features=torch.from_numpy(encoder.run(None, {"input_image": image})[0]))
    found, expected = (predictor.predict(each, prompts).mask for each in (quantised, embedding))
    assert dice(found, expected) > 0.95 and expected.mean() > 0.05
    assert (tmp_path / names[0]).stat().st_size < 0.8 * predictor_bytes(predictor)


def predictor_bytes(predictor: Predictor) -> int:
    return sum(weights.nbytes for weights in predictor.model.image_encoder.parameters())


def test_the_example_of_the_documentation_finds_the_object(tmp_path, monkeypatch):
    from PIL import Image

    assert main(["export", "onnx", "--with-preprocessing", "-o", str(tmp_path / "exported")]) == 0
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(encoding="utf-8"), re.DOTALL)
    Image.fromarray(image_of(300, 400)).save(tmp_path / "slice.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "docs/export.md", "exec"), {})
    mask = np.array(Image.open("mask.png")) > 0
    y, x = np.mgrid[:300, :400]
    assert dice(mask, np.hypot(x - 180, y - 150) < 90) > 0.9


def test_without_its_packages_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "onnx" in name else there(name))
    assert main(["export", "onnx", "-o", str(tmp_path)]) == 2
    said = 'sammed2d: error: an export to ONNX needs onnx and onnxruntime: pip install "sammed2d[onnx]"\n'
    assert capsys.readouterr().err == said
    assert not list(tmp_path.iterdir())


def test_networks_of_more_channels_than_x_anylabeling_takes_are_refused(tmp_path):
    config = replace(VIT, out_dim=512)
    with pytest.raises(ExportError, match="256 channels, this model has 512"):
        write_onnx(network(config), config, "net", tmp_path, OnnxOptions(x_anylabeling=True), {})
    assert not list(tmp_path.iterdir())


# The published layout


def test_the_published_layout_has_the_published_keys_and_shapes():
    listed = json.loads((ROOT / "Testing/data/state_dict_vit_b_256.json").read_text())["tensors"]
    config = VARIANTS["sam-med2d_b_256"]
    state = published_state(ExportedNetwork("net", build_empty(config), config, ""))
    assert {name: list(tensor.shape) for name, tensor in state.items()} == {
        tensor["name"]: tensor["shape"] for tensor in listed
    }
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_a_published_file_is_read_by_torch_and_by_us(tmp_path, monkeypatch, capsys):
    state = network(VIT).state_dict()
    ours = save_inference_checkpoint(tmp_path / "tuned.pt", state, VIT.to_dict(), {})
    monkeypatch.setitem(VARIANTS, "sam-med2d_xs_64", VIT)
    assert main(["export", "published", str(tmp_path / "out.pth"), "--model", str(ours)]) == 0
    assert "sam-med2d_xs_64" in capsys.readouterr().out
    read = torch.load(tmp_path / "out.pth", weights_only=True)
    assert list(read) == ["model"] and list(read["model"]) == list(state)
    assert all(torch.equal(read["model"][name], state[name]) for name in state)
    assert load_network(tmp_path / "out.pth").config.embed_dim == VIT.embed_dim


def test_networks_that_the_published_code_cannot_build_are_refused(tmp_path, capsys):
    assert main(["export", "published", str(tmp_path / "out.pth")]) == 2
    assert "this model is a TinyViT of 112 px" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    with pytest.raises(ExportError, match="5 blocks of width 160"):
        variant_of(SMALL)
