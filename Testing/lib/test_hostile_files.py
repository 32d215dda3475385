"""Weights files made to do harm: nothing in them runs, and the error says what is wrong."""

from __future__ import annotations

import ast
import builtins
import copyreg
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from crafted_files import (
    SIX,
    Call,
    Storage,
    command,
    dumps,
    floats,
    raw_attacks,
    reduce_attacks,
    tensor_of,
    torch_zip,
)

from SAMMed2DLib.checkpoints import checkpoint, inference_checkpoint, safe_pickle, torch_contents, torch_file
from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, read_checkpoint


class _Victim(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return torch.FloatStorage(6)


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def extension():
    """A function registered under the code 0xf0, as a program may have done."""
    copyreg.add_extension(os.system.__module__, "system", 0xF0)
    yield
    copyreg.remove_extension(os.system.__module__, "system", 0xF0)


def test_the_attacks_below_work_on_pythons_own_unpickler(sentinel, extension):
    """Otherwise the tests that follow would prove nothing."""
    attacks = {name: dumps(attack) for name, attack in reduce_attacks(sentinel).items()}
    for name, payload in {**attacks, **raw_attacks(sentinel)}.items():
        try:
            _Victim(io.BytesIO(payload)).load()
        except (TypeError, AttributeError, pickle.UnpicklingError) as error:  # it may end badly, after it ran
            assert sentinel.exists(), f"{name}: {error}"
        assert sentinel.exists(), name
        sentinel.unlink()


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_code_beside_and_inside_the_optimiser_does_not_run_and_the_weights_are_read(
    tmp_path, sentinel, protocol
):
    for name, attack in reduce_attacks(sentinel).items():
        weights = {"a.w": tensor_of(floats())}
        for value in (
            {"model": weights, "optimizer": attack},
            {"optimizer": {"state": [{"deep": (attack, {"x": attack})}]}, "model": weights},
            {"hook": attack, "model": weights, "last": attack},
        ):
            path = tmp_path / "w.pth"
            checkpoint = read_checkpoint(torch_zip(path, dumps(value, protocol), {"0": SIX}))
            assert checkpoint.state["a.w"].tolist() == [[0, 1, 2], [3, 4, 5]]
            assert checkpoint.provenance["not_loaded"], name
            assert not sentinel.exists(), name


def test_code_in_place_of_a_weight_does_not_run_and_is_named(tmp_path, sentinel):
    for name, attack in reduce_attacks(sentinel).items():
        value = {"model": {"a.w": tensor_of(floats()), "a.b": attack}}
        with pytest.raises(CheckpointError, match=r"crafted or damaged: 'a.b' is no weight but made by"):
            read_checkpoint(torch_zip(tmp_path / "w.pth", dumps(value), {"0": SIX}))
        assert not sentinel.exists(), name


def test_code_as_the_whole_file_does_not_run_in_any_layout(tmp_path, sentinel, extension):
    attacks = {name: dumps(attack) for name, attack in reduce_attacks(sentinel).items()}
    path = tmp_path / "w.pth"
    for name, payload in {**attacks, **raw_attacks(sentinel)}.items():
        legacy = [torch_file.LEGACY_MAGIC, pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
        for data in (payload, b"".join([*legacy, payload]), b"".join([*legacy[:2], payload])):
            path.write_bytes(data)
            with pytest.raises(CheckpointError):
                read_checkpoint(path)
        with pytest.raises(CheckpointError, match=r"holds|cannot be read"):
            read_checkpoint(torch_zip(path, payload))
        assert not sentinel.exists(), name


def test_code_around_the_tensors_does_not_run(tmp_path, sentinel):
    """Hooks, devices, storage types, sizes: every place where torch's own format takes an object."""
    attack = Call(os.system, command(sentinel))
    rebuild = torch._utils._rebuild_tensor_v2
    places = [
        Call(rebuild, floats(), 0, (2, 3), (3, 1), False, attack),
        Call(rebuild, attack, 0, (2, 3), (3, 1), False, OrderedDict()),
        Call(rebuild, floats(), attack, (2, 3), (3, 1), False, OrderedDict()),
        Call(rebuild, floats(), 0, attack, (3, 1), False, OrderedDict()),
        Call(rebuild, Storage("storage", attack, "0", "cpu", 6), 0, (2, 3), (3, 1), False, OrderedDict()),
        Call(rebuild, Storage("storage", torch.FloatStorage, "0", attack, 6), 0, (2, 3), (3, 1), False, ()),
        Call(torch._utils._rebuild_parameter, attack, False, OrderedDict()),
    ]
    for number, place in enumerate(places):
        path = torch_zip(tmp_path / "w.pth", dumps({"model": {"a.w": place}}), {"0": SIX})
        try:
            state = read_checkpoint(path).state
        except CheckpointError as error:
            assert "w.pth" in str(error)
        else:
            assert state["a.w"].tolist() == [[0, 1, 2], [3, 4, 5]], number
        assert not sentinel.exists(), number


def test_our_reader_has_no_means_to_run_code():
    """No import by name, no unpickler and no torch.load, in the source itself."""
    forbidden = {
        "eval",
        "exec",
        "compile",
        "__import__",
        "import_module",
        "load",
        "loads",
        "find_class",
        "Unpickler",
    }
    for module in (safe_pickle, torch_file, checkpoint, inference_checkpoint, torch_contents):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            assert name not in forbidden, f"{module.__name__} line {getattr(node, 'lineno', 0)}: {name}"
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "importlib", "builtins"}


def test_neither_torch_load_nor_pickle_is_called(tmp_path, monkeypatch):
    adam = torch.optim.Adam([torch.ones(2, requires_grad=True)])
    torch.save({"model": {"a.w": torch.ones(2)}, "optimizer": adam}, tmp_path / "w.pth")

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("an unpickler was called")

    for owner, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(owner, name, refuse)
    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, refuse)
    assert list(read_checkpoint(tmp_path / "w.pth").state) == ["a.w"]


# Files that lie


@pytest.mark.parametrize(
    "reference",
    [
        (),
        ("storage",),
        ("module", "x", "y", "z", 1),
        ("storage", "torch.FloatStorage", "0", "cpu", 6),
        ("storage", os.system, "0", "cpu", 6),
        ("storage", torch.FloatStorage, 0, "cpu", 6),
        ("storage", torch.FloatStorage, "0", "cpu", -6),
        ("storage", torch.FloatStorage, "0", "cpu", 6.0),
        ("storage", torch.FloatStorage, "0", "cpu", True),
        ("storage", torch.FloatStorage, "0", "cpu", 1 << 62),
        ("storage", torch.FloatStorage, "0", "cpu", 6, ("0", 0, 6)),
        ("storage", torch.FloatStorage, "../data.pkl", "cpu", 6),
        ("storage", torch.ComplexFloatStorage, "0", "cpu", 3),
        ("storage", torch.FloatStorage, "1", "cpu", 6),
        ("storage", torch.FloatStorage, "0", "cpu", 7),
        ("storage", torch.DoubleStorage, "0", "cpu", 6),
    ],
)
def test_a_reference_that_is_none_or_lies_about_its_size_is_refused(tmp_path, reference):
    value = {"model": {"a.w": tensor_of(Storage(*reference))}}
    with pytest.raises(CheckpointError, match=r"w.pth (is|cannot be read)"):
        read_checkpoint(torch_zip(tmp_path / "w.pth", dumps(value), {"0": SIX}))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (2, 3), (3, 1)),
        (0, (2, 4), (3, 1)),
        (0, (2, 3), (4, 1)),
        (-1, (2, 3), (3, 1)),
        (0, (2, -3), (3, 1)),
        (5, (2, 3), (-3, 1)),
        (0, (2, 3), (3,)),
        (0, (10**6, 10**6), (0, 0)),
        (0, (1 << 63,), (0,)),
        (0, (1,) * 200, (1,) * 200),
        (0, "23", (3, 1)),
        (True, (2, 3), (3, 1)),
        (1 << 70, (2, 3), (3, 1)),
    ],
)
def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path, offset, shape, strides):
    value = {"model": {"a.w": tensor_of(floats(), offset, shape, strides)}}
    with pytest.raises(CheckpointError, match="table of contents is damaged"):
        read_checkpoint(torch_zip(tmp_path / "w.pth", dumps(value), {"0": SIX}))


def test_extra_members_are_never_written_and_wandering_names_are_refused(tmp_path):
    contents = dumps({"model": {"a.w": tensor_of(floats())}})
    inside = tmp_path / "inside"
    inside.mkdir()
    path = torch_zip(inside / "w.pth", contents, {"0": SIX}, [("archive/notes.txt", b"x"), ("evil.py", b"x")])
    assert read_checkpoint(path).state["a.w"].shape == (2, 3)
    for name in ("../evil.py", "archive/../../evil.py", "/evil.py", "..\\evil.py", "archive/data/../../evil"):
        path = torch_zip(inside / "w.pth", contents, {"0": SIX}, [(name, b"x")])
        with pytest.raises(CheckpointError, match=r"crafted: its archive has a part named"):
            read_checkpoint(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inside", "w.pth"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_and_two_tables_of_contents_are_refused(tmp_path):
    contents = dumps({"model": {"a.w": tensor_of(floats())}})
    for name in ("archive/data.pkl", "archive/data/0"):
        with pytest.raises(CheckpointError, match="two parts of one name"):
            read_checkpoint(torch_zip(tmp_path / "w.pth", contents, {"0": SIX}, [(name, b"x")]))
    with pytest.raises(CheckpointError, match=r"more than one data.pkl"):
        read_checkpoint(torch_zip(tmp_path / "w.pth", contents, {"0": SIX}, [("other/data.pkl", contents)]))


def test_an_archive_that_would_unpack_to_more_than_it_is_is_refused(tmp_path):
    contents = dumps({"model": {"a.w": tensor_of(floats(1 << 24), 0, (1 << 24,), (1,))}})
    path = torch_zip(
        tmp_path / "bomb.pth", contents, {"0": b"\0" * (4 << 24)}, compression=zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 1 << 18
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        read_checkpoint(path)


def test_a_directory_that_lies_about_sizes_or_places_is_refused(tmp_path):
    contents = dumps({"model": {"a.w": tensor_of(floats(600), 0, (600,), (1,))}})
    whole = torch_zip(tmp_path / "w.pth", contents, {"0": SIX}).read_bytes()
    entry = whole.rindex(b"PK\x01\x02")  # the directory's entry of the storage
    assert b"archive/data/0" in whole[entry:]
    liars = []
    for at, value in ((20, 2400), (24, 2400), (42, len(whole) - 10), (42, 0)):
        liar = bytearray(whole)
        liar[entry + at : entry + at + 4] = struct.pack("<I", value)
        liars.append(liar)
    both = bytearray(whole)
    both[entry + 20 : entry + 28] = struct.pack("<II", 2400, 2400)
    for liar in [*liars, both]:
        (tmp_path / "w.pth").write_bytes(liar)
        with pytest.raises(CheckpointError, match=r"damaged|cut short|crafted"):
            read_checkpoint(tmp_path / "w.pth")


def test_a_directory_that_gives_one_part_for_another_is_refused(tmp_path):
    contents = dumps({"model": {"a.w": tensor_of(floats())}})
    whole = torch_zip(tmp_path / "w.pth", contents, {"0": SIX}).read_bytes()
    entry = whole.rindex(b"PK\x01\x02")
    (tmp_path / "w.pth").write_bytes(whole[: entry + 42] + struct.pack("<I", 0) + whole[entry + 46 :])
    with pytest.raises(CheckpointError, match="contradict its directory"):
        read_checkpoint(tmp_path / "w.pth")


def test_nesting_and_repetition_that_would_exhaust_the_machine_do_not(tmp_path, monkeypatch):
    """Deep tuples as keys (hashing recurses), doubling lists, deep lists, endless instructions."""
    doubled = b"]" + b"".join(b"2\x86" for _ in range(60))  # a tuple of a tuple ... 2 ** 60 leaves
    payloads = [
        b"}" + b")" + b"\x85" * 100_000 + b"Ns.",
        b"}" + doubled + b"Ns.",
        b"]" * 50_000 + b"a" * 49_999 + b".",
        b"}X\x06\0\0\0config" + doubled + b"s.",
    ]
    for payload in payloads:
        with pytest.raises(CheckpointError):
            read_checkpoint(torch_zip(tmp_path / "w.pth", payload))
    monkeypatch.setattr(torch_file, "MAX_STEPS", 10_000)
    with pytest.raises(CheckpointError, match="more entries than a model file of this size"):
        read_checkpoint(torch_zip(tmp_path / "w.pth", b"N0" * 5_001 + b"N."))


def test_a_configuration_that_is_no_plain_data_is_refused(tmp_path, sentinel):
    weights = {"a.w": tensor_of(floats())}
    shared: Any = {}
    for _ in range(60):
        shared = {"x": shared, "y": shared}
    for config in ({"a": Call(os.system, command(sentinel))}, shared, {1: 2}, [1], "text"):
        record = {
            "format": "sammed2d-weights",
            "version": 1,
            "config": config,
            "state": weights,
            "provenance": {},
        }
        with pytest.raises(CheckpointError):
            read_checkpoint(torch_zip(tmp_path / "w.pth", dumps(record), {"0": SIX}))
    assert not sentinel.exists()


def test_names_from_a_file_reach_the_terminal_without_control_characters(tmp_path):
    payload = b"}X\x05\0\0\0modelcnowhere\n\x1b[2Jevil\n)Rs."
    path = torch_zip(tmp_path / "w.pth", payload)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()
    assert all(name.isprintable() for name in torch_file.open_torch_file(path).inert)
