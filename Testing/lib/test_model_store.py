"""The models on this computer: listed, found, added and removed; the command has tests of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_network import CONFIG, save_tiny

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.model.config.model_config import VARIANTS
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.registry.known_models import (
    KNOWN_MODELS,
    MODELS_DIR_VARIABLE,
    NotInstalledError,
    RegistryError,
    find,
    weights_path,
)
from SAMMed2DLib.registry.store import (
    ModelNameError,
    add_model,
    find_stored,
    remove_model,
    stored_models,
    suggested_name,
)
from SAMMed2DLib.training.start import known_start


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "mine.pt")


def test_before_anything_is_added_the_known_models_are_listed() -> None:
    models = {model.name: model for model in stored_models()}
    assert models.keys() == KNOWN_MODELS.keys()
    ours, published = models[BUILT_IN], models["sam-med2d_b"]
    assert (ours.is_installed, ours.is_removable, ours.is_downloadable) == (True, False, False)
    assert (published.is_installed, published.is_removable, published.is_downloadable) == (False, False, True)
    assert published.size_bytes == KNOWN_MODELS["sam-med2d_b"].size_bytes and published.path is None


def test_an_added_model_is_listed_loaded_and_removed(checkpoint: Path, folder: Path) -> None:
    added = add_model("mine", checkpoint)
    assert added == find_stored("mine") == stored_models()[-1]
    assert added.path == folder / "mine.pt" == weights_path("mine")
    assert (added.is_installed, added.is_removable, added.is_downloadable) == (True, True, False)
    assert added.entry is None and added.weights_licence == ""
    assert added.path.read_bytes() == checkpoint.read_bytes()  # reports name the checksum of the file
    size = added.path.stat().st_size
    assert added.size_bytes == size == remove_model("mine")
    with pytest.raises(RegistryError, match=f"Known models: {BUILT_IN}"):
        find_stored("mine")


def test_a_file_can_stand_in_for_a_download_of_a_known_model(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VARIANTS, "ft-sam_b_256", CONFIG)
    with pytest.raises(NotInstalledError) as caught:
        weights_path("ft-sam_b")
    assert caught.value.name == "ft-sam_b"
    added = add_model("ft-sam_b", checkpoint, half=True)
    assert added.entry is KNOWN_MODELS["ft-sam_b"] and added.is_removable and not added.is_downloadable
    assert weights_path("ft-sam_b") == added.path


def test_a_former_name_of_the_built_in_model_means_it_still(checkpoint: Path) -> None:
    assert find_stored("sam-med2d-small") == find_stored(BUILT_IN) and find("sam-med2d-small") is KNOWN_MODELS[BUILT_IN]
    assert weights_path("sam-med2d-small") == weights_path(BUILT_IN)
    assert load_predictor("sam-med2d-small", device="cpu").name == load_predictor(device="cpu").name
    assert known_start("sam-med2d-small").base["name"] == BUILT_IN
    with pytest.raises(ModelNameError, match="already"):
        add_model("sam-med2d-small", checkpoint)
    with pytest.raises(RegistryError, match="comes with the program"):
        remove_model("sam-med2d-small")
    with pytest.raises(RegistryError):
        weights_path("of")


def test_what_cannot_be_added_or_removed_leaves_no_file(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("../x", "", ".hidden", BUILT_IN):
        with pytest.raises(ModelNameError):
            add_model(name, checkpoint)
    with pytest.raises(CheckpointError, match="does not exist"):
        add_model("other", tmp_path / "gone.pt")
    for name in ("nothing", "sam-med2d_b", BUILT_IN):
        with pytest.raises(RegistryError):
            remove_model(name)
    assert list(folder.glob("*")) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("sam-med2d_b.pth", "sam-med2d_b"),
        ("/a/b/my model (1).pt", "my-model-1"),
        ("epoch=3.step=4.pth", "epoch-3.step-4"),
        ("Größe.pt", "Größe"),
        ("...", "model"),
        ("  .pt", "model"),
    ],
)
def test_a_file_suggests_a_name_that_can_be_used(file: str, name: str, checkpoint: Path) -> None:
    assert suggested_name(file) == name
    assert add_model(suggested_name(file) + "x", checkpoint).is_installed
