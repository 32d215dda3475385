"""Reading, fitting and writing weights; nothing in a file is ever run."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crafted_files import SIX, dumps, floats, tensor_of, torch_zip

from SAMMed2DLib.checkpoints import torch_file
from SAMMed2DLib.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    read_checkpoint,
    sha256_of,
    verify_weights,
    weights_sha256,
)
from SAMMed2DLib.checkpoints.inference_checkpoint import convert_to_inference_checkpoint, save_inference_checkpoint

# Files as the world has them


@pytest.fixture
def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A little network and the Adam that has moved it twice; one layer never had a gradient."""
    torch.manual_seed(0)
    net = torch.nn.ModuleDict({"encoder": torch.nn.Linear(6, 5), "frozen": torch.nn.Conv2d(2, 3, 3)})
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(2):
        adam.zero_grad()
        net["encoder"](torch.randn(4, 6)).square().sum().backward()
        adam.step()
    return net, adam


@pytest.fixture(params=["zip", "legacy"])
def published_like(request, trained, tmp_path: Path) -> Path:
    """A training checkpoint as the authors save it: the Adam object itself beside the weights."""
    net, adam = trained
    path = tmp_path / "sam-med2d_b.pth"
    torch.save(
        {"model": net.state_dict(), "optimizer": adam},
        path,
        _use_new_zipfile_serialization=request.param == "zip",
    )
    return path


def assert_same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype, name
        assert torch.equal(state[name], tensor), name


def test_the_published_layout_is_read_with_torchs_adam_object_beside_the_weights(published_like, trained):
    checkpoint = read_checkpoint(published_like)
    assert_same(checkpoint.state, trained[0].state_dict())
    assert checkpoint.config is None
    assert checkpoint.provenance == {
        "file": "sam-med2d_b.pth",
        "bytes": published_like.stat().st_size,
        "not_loaded": ["torch.optim.adam.Adam"],
    }


def test_only_the_storages_of_the_weights_are_touched(published_like, trained, monkeypatch):
    touched = []
    real = torch_file.TorchFile.tensor

    def spy(self, ref):
        touched.append(ref)
        return real(self, ref)

    monkeypatch.setattr(torch_file.TorchFile, "tensor", spy)
    read_checkpoint(published_like)
    assert [ref.shape for ref in touched] == [tuple(t.shape) for t in trained[0].state_dict().values()]


def test_weights_can_be_changed_in_memory_without_changing_the_file(published_like):
    before = published_like.read_bytes()
    state = read_checkpoint(published_like).state
    for tensor in state.values():
        tensor.zero_()
    assert published_like.read_bytes() == before


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bare_state_dict_is_read_with_every_dtype_and_layout(tmp_path, legacy):
    base = torch.arange(24.0)
    state = {
        "a.float": torch.randn(2, 3),
        "a.half": torch.randn(5).half(),
        "a.brain": torch.randn(3).bfloat16(),
        "a.double": torch.randn(2).double(),
        "a.long": torch.tensor([1, -2]),
        "a.byte": torch.tensor([255], dtype=torch.uint8),
        "a.bool": torch.tensor([True, False]),
        "a.scalar": torch.tensor(3.5),
        "a.empty": torch.empty(0, 4),
        "a.transposed": base.reshape(4, 6).T,
        "a.slice": base[5:9],
    }
    path = tmp_path / "Gewichte ä 权重.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    assert_same(read_checkpoint(path).state, state)


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_weights_are_found_under_the_usual_keys_and_without_the_prefix_of_dataparallel(tmp_path, key):
    path = tmp_path / "w.pth"
    torch.save({"epoch": 3, key: {"module.a.weight": torch.ones(2), "module.b": torch.zeros(1)}}, path)
    assert list(read_checkpoint(path).state) == ["a.weight", "b"]


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"module.a": torch.ones(2), "b.c": torch.zeros(1)}, path)
    assert list(read_checkpoint(path).state) == ["module.a", "b.c"]


def test_storages_at_odd_addresses_are_read_too(tmp_path):
    for shift in range(1, 9):
        contents = dumps({"model": {"a.w": tensor_of(floats())}}) + b"\0" * shift
        state = read_checkpoint(torch_zip(tmp_path / f"{shift}.pth", contents, {"0": SIX})).state
        assert state["a.w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert state["a.w"].data_ptr() % 4 == 0


# Files that do not hold weights


def test_what_is_no_weights_file_is_refused_in_plain_words(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    cases = {
        "empty": (b"", "is empty"),
        "page": (b"\n<!DOCTYPE html><html><title>Quota exceeded</title></html>", "web page"),
        "text": (b"Hello, this is no model at all", "not a file written by torch.save"),
        "safetensors": (struct.pack("<Q", len(header)) + header + b"\0" * 4, "safetensors"),
        "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "Unpack it"),
        "pickle": (pickle.dumps({"a": 1}), "not a file written by torch.save"),
        "short": (b"P", "not a file written by torch.save"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=words) as caught:
            read_checkpoint(path)
        assert f"{name}.pth" in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.pth does not exist.*download"):
        read_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"epoch": 1, "args": "x"}, r"holds no weights \(it holds: 'epoch', 'args'\)"),
        ({}, "nothing named"),
        ([torch.ones(1)], "holds no dictionary of weights"),
        (torch.ones(1), "holds no dictionary of weights"),
        (torch.nn.Linear(1, 1), r"whole object \(torch.nn.modules.linear.Linear\)"),
    ],
)
def test_a_file_without_a_dictionary_of_weights_is_refused(tmp_path, value, words):
    path = tmp_path / "w.pth"
    torch.save(value, path)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(path)


def test_a_zip_that_torch_did_not_write_and_a_program_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        read_checkpoint(path)
    torch_zip(path, dumps({}), extra=[("archive/constants.pkl", b"")])
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(path)


def test_a_file_cut_anywhere_is_refused_and_never_read_in_part(published_like):
    whole = published_like.read_bytes()
    for length in [*range(1, len(whole), 211), len(whole) - 1]:
        published_like.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut short|damaged|not a file written by torch"):
            read_checkpoint(published_like)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_a_damaged_table_of_contents_ends_in_our_error_or_in_weights(published_like):
    whole = bytearray(published_like.read_bytes())
    generator = np.random.Generator(np.random.PCG64(7))
    for _ in range(150):
        damaged = bytearray(whole)
        for at in generator.integers(0, min(len(whole), 2500), 3):
            damaged[at] = generator.integers(256)
        published_like.write_bytes(damaged)
        try:
            read_checkpoint(published_like)
        except CheckpointError as error:
            assert str(error).startswith("sam-med2d_b.pth ")


# Inference checkpoints

CONFIG = {"image_size": 256, "embed_dim": 64, "global_blocks": [2], "adapter": True}


def test_a_lean_file_gives_back_what_was_saved_and_torch_can_map_it_too(tmp_path):
    state = {"a.w": torch.randn(3, 4), "a.n": torch.tensor(3), "a.half": torch.randn(2).half()}
    path = save_inference_checkpoint(tmp_path / "deep" / "weights.pt", state, CONFIG, {"source": "a test"})
    checkpoint = read_checkpoint(path)
    assert_same(checkpoint.state, state)
    assert checkpoint.config == CONFIG
    assert checkpoint.provenance == {"source": "a test", "weights_sha256": weights_sha256(state)}
    verify_weights(checkpoint)
    record = torch.load(path, weights_only=True, mmap=True)
    assert (record["format"], record["version"], record["config"]) == ("sammed2d-weights", 1, CONFIG)
    assert_same(record["state"], state)
    assert [p.name for p in path.parent.iterdir()] == ["weights.pt"]


def test_a_lean_file_of_views_holds_only_what_they_show(tmp_path):
    large = torch.randn(1000, 100)
    path = save_inference_checkpoint(tmp_path / "weights.pt", {"a.row": large[3], "a.turned": large[:2].T}, None, {})
    assert path.stat().st_size < 10_000
    assert_same(read_checkpoint(path).state, {"a.row": large[3], "a.turned": large[:2].T.contiguous()})


def test_half_precision_keeps_the_positional_matrix_and_integers(tmp_path):
    state = {
        "a.w": torch.randn(50, 40),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": torch.randn(2, 8),
        "a.steps": torch.tensor([70_000]),
    }
    read = read_checkpoint(save_inference_checkpoint(tmp_path / "weights.pt", state, None, {}, dtype="float16")).state
    assert [t.dtype for t in read.values()] == [torch.float16, torch.float32, torch.int64]
    assert torch.equal(read["a.w"], state["a.w"].half())
    with pytest.raises(CheckpointError, match=r"a.w has values too large for float16"):
        save_inference_checkpoint(tmp_path / "other.pt", {"a.w": torch.tensor([1e6])}, None, {}, dtype="float16")
    with pytest.raises(CheckpointError, match="not 'int8'"):
        save_inference_checkpoint(tmp_path / "other.pt", {"a.w": torch.ones(1)}, None, {}, dtype="int8")
    assert not (tmp_path / "other.pt").exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = save_inference_checkpoint(tmp_path / "weights.pt", {"a.w": torch.ones(2)}, None, {})
    before = path.read_bytes()

    def fail(record, file):
        file.write(b"half a file")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        save_inference_checkpoint(path, {"a.w": torch.zeros(2)}, None, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_reads_back_other_than_it_was_written_gets_no_name(tmp_path, monkeypatch):
    real = torch.save

    def flip(record, file):
        real({**record, "state": {"a.w": record["state"]["a.w"] + 1}}, file)

    monkeypatch.setattr(torch, "save", flip)
    with pytest.raises(CheckpointError, match="damaged"):
        save_inference_checkpoint(tmp_path / "weights.pt", {"a.w": torch.ones(2)}, None, {})
    assert list(tmp_path.iterdir()) == []


def test_plain_json_only_goes_into_a_lean_file(tmp_path):
    mistakes: list[tuple[Any, Any]] = [({"a": torch.ones(1)}, {}), ({}, {"when": object()}), ({1: 2}, {})]
    for config, provenance in mistakes:
        with pytest.raises(CheckpointError, match="no plain JSON"):
            save_inference_checkpoint(tmp_path / "weights.pt", {"a.w": torch.ones(1)}, config, provenance)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_weight_is_found_by_the_checksum(tmp_path):
    path = save_inference_checkpoint(tmp_path / "weights.pt", {"a.w": torch.arange(1000.0)}, None, {})
    data = bytearray(path.read_bytes())
    at = data.index(torch.arange(500.0, 504.0).numpy().tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        verify_weights(read_checkpoint(path))
    with pytest.raises(CheckpointError, match="no checksum"):
        verify_weights(Checkpoint({}, None))


def test_a_lean_file_of_a_newer_format_is_refused(tmp_path):
    record = {"format": "sammed2d-weights", "version": 2, "config": None, "state": {}, "provenance": {}}
    torch.save(record, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="update the program"):
        read_checkpoint(tmp_path / "w.pt")


def test_conversion_drops_the_optimiser_and_says_where_the_weights_come_from(
    published_like, trained, tmp_path
):
    target = convert_to_inference_checkpoint(published_like, tmp_path / "weights.pt", CONFIG, {"url": "https://example.org/x"})
    checkpoint = read_checkpoint(target)
    assert_same(checkpoint.state, trained[0].state_dict())
    assert checkpoint.config == CONFIG
    assert checkpoint.provenance == {
        "source_file": "sam-med2d_b.pth",
        "source_bytes": published_like.stat().st_size,
        "source_sha256": sha256_of(published_like),
        "not_loaded": ["torch.optim.adam.Adam"],
        "url": "https://example.org/x",
        "weights_sha256": weights_sha256(trained[0].state_dict()),
    }
    again = read_checkpoint(convert_to_inference_checkpoint(target, tmp_path / "again.pt", dtype="float16"))
    assert again.config == CONFIG
    assert again.provenance["source_sha256"] == sha256_of(published_like)
    assert published_like.exists()
