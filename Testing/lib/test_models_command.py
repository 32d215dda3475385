"""`sammed2d models`: listing, adding and removing weights; downloads have tests of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_network import CONFIG, save_tiny

from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, FAILURE, OK, main
from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
from SAMMed2DLib.cli import models as models_command
from SAMMed2DLib.model.config.model_config import VARIANTS
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.registry.download import DownloadError, DownloadPolicy
from SAMMed2DLib.registry.known_models import KNOWN_MODELS, MODELS_DIR_VARIABLE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)  # with some weights a box gives no mask
    return save_tiny(tmp_path / "mine.pt")


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == OK
    return {model["name"]: model for model in json.loads(capsys.readouterr().out)}


def test_the_list_names_every_model_with_its_licences(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == OK
    shown = " ".join(capsys.readouterr().out.split())
    for entry in KNOWN_MODELS.values():
        assert f"{entry.name}: {entry.title}" in shown
        assert " ".join(entry.weights_licence.split()) in shown
    assert listed(capsys).keys() == KNOWN_MODELS.keys()


def test_a_file_can_be_added_listed_and_removed(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", "my-model", str(checkpoint)]) == OK
    kept = read_checkpoint(folder / "my-model.pt")
    assert kept.config == CONFIG.to_dict()
    for name, value in read_checkpoint(checkpoint).state.items():
        assert torch.equal(kept.state[name], value)
    assert listed(capsys)["my-model"]["installed"] is True
    assert main(["models", "remove", "my-model"]) == OK
    assert "my-model" not in listed(capsys)
    assert checkpoint.exists()


def test_an_added_model_is_found_by_its_name(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    import SimpleITK

    monkeypatch.chdir(tmp_path)
    array = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), "x.png")
    assert main(["models", "add", "my-model", str(checkpoint)]) == OK
    words = ["x.png", "--box", "3,3,20,15", "--model", "my-model", "--device", "cpu", "-o", "x.seg.nrrd"]
    assert main(["segment", *words]) == OK


def test_a_file_can_stand_in_for_a_download_and_be_kept_in_half(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VARIANTS, "sam-med2d_b_256", CONFIG)
    assert main(["models", "add", "sam-med2d_b", str(checkpoint), "--half"]) == OK
    kept = read_checkpoint(folder / "sam-med2d_b.pt")
    assert kept.provenance["weights_licence"] == KNOWN_MODELS["sam-med2d_b"].weights_licence
    assert kept.state["image_encoder.pos_embed"].dtype == torch.float16
    assert listed(capsys)["sam-med2d_b"]["installed"] is True
    assert main(["models", "remove", "sam-med2d_b"]) == OK
    assert list(folder.glob("*.pt")) == []


def test_weights_of_another_network_are_not_taken_for_a_known_model(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "add", "sam-med2d_b", str(checkpoint)]) == BAD_INPUT
    message = capsys.readouterr().err
    assert "is not sam-med2d_b, which has 12 blocks of width 768 with adapters" in message
    assert "this file has 2 blocks of width 32 with adapters: add it under a name of its own" in message
    assert not folder.exists()


def test_the_list_and_a_failed_download_tell_the_address(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = replace(KNOWN_MODELS["ft-sam_b"], sources=("http://127.0.0.1:9/ft-sam_b.pth",))
    monkeypatch.setitem(KNOWN_MODELS, "ft-sam_b", entry)
    monkeypatch.setattr(models_command, "POLICY", DownloadPolicy(backoff_s=0.01, unreachable_s=60))
    assert main(["models", "list"]) == OK
    assert "    from http://127.0.0.1:9/ft-sam_b.pth\n" in capsys.readouterr().out
    assert main(["models", "download", "ft-sam_b"]) == FAILURE
    told = capsys.readouterr().err.splitlines()
    assert told[2] == "connecting to 127.0.0.1 …" and told[3].startswith("trying again, 2 of at most 5")
    assert told[-1].startswith("sammed2d: error: No connection to 127.0.0.1")
    assert told[-1].endswith(
        "The file is at http://127.0.0.1:9/ft-sam_b.pth; once you have it: sammed2d models add ft-sam_b FILE"
    )


def test_what_cannot_be_added_or_removed_says_why(
    checkpoint: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(4, 3, 7, 7)}, other)
    assert main(["models", "add", "twice", str(checkpoint)]) == OK
    capsys.readouterr()
    for words, message in (
        (["add", BUILT_IN, checkpoint], f"there is a model {BUILT_IN!r} already"),
        (["add", "twice", checkpoint], "there is a model 'twice' already"),
        (["add", "../x", checkpoint], "'../x' is no name for a model"),
        (["add", "other", other], "other.pth"),
        (["add", "missing", tmp_path / "missing.pt"], "missing.pt"),
        (["remove", BUILT_IN], "comes with the program"),
        (["remove", "sam-med2d_b"], "is not installed"),
        (["remove", "nothing"], "there is no model 'nothing' to remove; added models: twice"),
        (["download", "nothing"], "nothing"),
    ):
        assert main(["models", *map(str, words)]) == BAD_INPUT, words
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert [path.name for path in folder.glob("*.pt")] == ["twice.pt"]


def test_a_download_says_the_licences_and_shows_progress(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def installed(entry: Any, progress: Callable[[int, int | None], None] | None = None, **_: Any) -> Path:
        assert progress is not None
        progress(50 << 20, 100 << 20)
        folder.mkdir()
        (folder / "x.pt").write_bytes(b"x" * (1 << 20))
        return folder / "x.pt"

    monkeypatch.setattr(models_command, "install", installed)
    assert main(["models", "download", "sam-med2d_b", "--progress"]) == OK
    shown = capsys.readouterr()
    assert "weights licence: Not stated" in shown.err and "50 MiB of 100 MiB (50 %)" in shown.err
    assert "sam-med2d_b is installed" in shown.out


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (KeyboardInterrupt(), CANCELLED, "goes on from there"),
        (DownloadError("the line is down"), FAILURE, "line is down"),
    ],
)
def test_a_download_that_ends_early_says_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    trouble: BaseException,
    code: int,
    words: str,
) -> None:
    def broken(entry: Any, progress: Any = None, **_: Any) -> Path:
        raise trouble

    monkeypatch.setattr(models_command, "install", broken)
    assert main(["models", "download", "sam-med2d_b"]) == code
    assert words in capsys.readouterr().err
