"""The list of models; installing them from a server, holding them to the first checksum, removing them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch
from flaky_server import File, Server, page, running_server

from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, sha256_of, verify_weights
from SAMMed2DLib.registry import known_models
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.registry.download import ChecksumError, Downloaded, DownloadError, DownloadPolicy, exclusive
from SAMMed2DLib.registry.known_models import (
    KNOWN_MODELS,
    ChecksumRecord,
    KnownModel,
    RegistryError,
    find,
    install,
    remove,
)

QUICK = DownloadPolicy(backoff_s=0.01, attempts=2, reserve_bytes=0)
CONFIG = {"image_size": 256, "adapter": True}


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A training checkpoint as the authors publish it, optimiser included."""
    net = torch.nn.Linear(4, 3)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 4)).sum().backward()
    adam.step()
    torch.save({"model": net.state_dict(), "optimizer": adam}, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def entry_at(*sources: str, **values: Any) -> KnownModel:
    entry = KnownModel("test_b", "Test", "A test.", "Apache-2.0", "CC0", None, sources)
    return dataclasses.replace(entry, **values)


def test_the_known_models_are_listed_with_their_licences_and_sources():
    assert list(KNOWN_MODELS) == [BUILT_IN, "sam-med2d_b", "ft-sam_b", "sam_b_256"]
    for name, entry in KNOWN_MODELS.items():
        assert entry.name == name
        assert entry.title
        assert entry.what
        assert entry.weights_licence
        assert entry.data_licence
        assert bool(entry.sources) != entry.embedded
        assert all(urlsplit(source).scheme == "https" for source in entry.sources)
    assert find("sam-med2d_b").sources == (
        "https://huggingface.co/schengal1/SAM-Med2D_model/resolve/main/sam-med2d_b.pth",
        "https://drive.usercontent.google.com/download?id=1ARiB5RkSsWmAB_8mqWnwDF8ZKTtFwsjl&export=download",
    )


def test_the_licence_of_the_data_is_never_sold_as_that_of_the_weights():
    for name in ("sam-med2d_b", "ft-sam_b"):
        assert "Not stated" in find(name).weights_licence
        assert "CC BY-NC-SA 4.0" in find(name).data_licence


def test_an_unknown_model_is_answered_with_the_known_ones():
    with pytest.raises(RegistryError, match=rf"no model 'sam'.*{BUILT_IN}, sam-med2d_b"):
        find("sam")


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/me/.local/share/sammed2d/models"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/sammed2d/models"),
        ("darwin", {}, "/home/me/Library/Application Support/SAMMed2D/models"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/SAMMed2D/models"),
        ("win32", {}, "/home/me/AppData/Local/SAMMed2D/models"),
        ("win32", {"SAMMED2D_MODELS_DIR": "/mine"}, "/mine"),
        ("linux", {"SAMMED2D_MODELS_DIR": "~/mine"}, "/home/me/mine"),
    ],
)
def test_models_lie_in_the_users_data_folder_or_where_the_variable_says(
    monkeypatch, platform, environment, expected
):
    for name in ("SAMMED2D_MODELS_DIR", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert known_models.models_dir().as_posix() == expected


def test_looking_at_the_known_models_makes_no_folder_and_needs_no_torch(tmp_path):
    code = (
        "import sys; from SAMMed2DLib.registry import known_models as c; c.is_installed(c.find('sam-med2d_b'));"
        "assert not {'torch', 'requests', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    environment = {"SAMMED2D_MODELS_DIR": str(tmp_path / "models"), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not (tmp_path / "models").exists()


def test_the_embedded_model_lies_in_the_package_and_is_never_downloaded(tmp_path, monkeypatch):
    small = find(BUILT_IN)
    assert known_models.path_of(small, tmp_path) == (
        Path(known_models.__file__).parents[1] / "weights" / f"{BUILT_IN}.pt"
    )
    monkeypatch.setattr(known_models, "_WEIGHTS_DIR", tmp_path)
    with pytest.raises(RegistryError, match="Install the program again"):
        install(small)
    (tmp_path / f"{BUILT_IN}.pt").write_bytes(b"here")
    assert install(small) == tmp_path / f"{BUILT_IN}.pt"


def test_installing_leaves_a_lean_file_its_checksum_and_nothing_else(server, checkpoint, tmp_path):
    url = server.serve("/published.pth", File(checkpoint.read_bytes()))
    entry, models = entry_at(url), tmp_path / "models"
    assert not known_models.is_installed(entry, models)
    installed = install(entry, models, config=CONFIG, policy=QUICK)
    assert installed == models / "test_b.pt"
    assert known_models.is_installed(entry, models)
    assert sorted(path.name for path in models.iterdir()) == ["checksums.json", "test_b.pt"]
    read = read_checkpoint(installed)
    verify_weights(read)
    assert read.config == CONFIG
    assert sorted(read.state) == ["bias", "weight"]
    assert read.provenance["url"] == url
    assert read.provenance["source_file"] == "published.pth"
    assert read.provenance["source_sha256"] == sha256_of(checkpoint)
    assert read.provenance["weights_licence"] == "Apache-2.0"
    held = json.loads((models / "checksums.json").read_text())["test_b"]
    assert (held["sha256"], held["bytes"], held["url"]) == (
        sha256_of(checkpoint),
        checkpoint.stat().st_size,
        url,
    )


def test_an_installed_model_is_not_downloaded_again(server, checkpoint, tmp_path):
    entry = entry_at(server.serve("/w.pth", File(checkpoint.read_bytes())))
    first = install(entry, tmp_path / "models", policy=QUICK)
    server.seen.clear()
    assert install(entry, tmp_path / "models", policy=QUICK) == first
    assert server.seen == []


def test_a_second_download_must_be_the_file_of_the_first(server, checkpoint, tmp_path):
    models = tmp_path / "models"
    entry = entry_at(server.serve("/w.pth", File(checkpoint.read_bytes())))
    first = install(entry, models, policy=QUICK)
    first.unlink()
    torch.save({"model": {"weight": torch.zeros(3, 4)}}, tmp_path / "changed.pth")
    server.serve("/w.pth", File((tmp_path / "changed.pth").read_bytes()))
    with pytest.raises(ChecksumError, match=sha256_of(checkpoint)):
        install(entry, models, policy=QUICK)
    assert sorted(path.name for path in models.iterdir()) == ["checksums.json"]
    server.serve("/w.pth", File(checkpoint.read_bytes()))
    assert install(entry, models, policy=QUICK) == first


def test_a_published_checksum_goes_before_the_record(server, checkpoint, tmp_path):
    entry = entry_at(server.serve("/w.pth", File(checkpoint.read_bytes())), sha256="0" * 64)
    with pytest.raises(ChecksumError):
        install(entry, tmp_path / "models", policy=QUICK)


def test_a_file_that_holds_no_weights_is_removed_and_its_checksum_not_held(server, tmp_path):
    torch.save({"epoch": 1}, tmp_path / "empty.pth")
    entry = entry_at(server.serve("/w.pth", File((tmp_path / "empty.pth").read_bytes())))
    with pytest.raises(DownloadError, match="holds no weights"):
        install(entry, tmp_path / "models", policy=QUICK)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_failed_download_installs_nothing(server, tmp_path):
    entry = entry_at(server.serve("/w.pth", page("<html><title>Sign in</title></html>")))
    with pytest.raises(DownloadError, match="Sign in"):
        install(entry, tmp_path / "models", policy=QUICK)
    assert list((tmp_path / "models").iterdir()) == []


def test_one_model_is_installed_once_at_a_time(server, checkpoint, tmp_path):
    entry = entry_at(server.serve("/w.pth", File(checkpoint.read_bytes())))
    (tmp_path / "models").mkdir()
    with exclusive(tmp_path / "models" / "test_b.pt"), pytest.raises(DownloadError, match="Another download"):
        install(entry, tmp_path / "models", policy=QUICK)
    assert install(entry, tmp_path / "models", policy=QUICK).is_file()


def test_removing_takes_the_model_and_the_rests_of_its_downloads_only(server, checkpoint, tmp_path):
    models = tmp_path / "models"
    entry = entry_at(server.serve("/w.pth", File(checkpoint.read_bytes())))
    installed = install(entry, models, policy=QUICK)
    others = [models / "test_b2.pt", models / "other.download.12.part"]
    rests = [models / "test_b.download.12.part", models / "test_b.download.12.part.json"]
    for path in (*others, *rests):
        path.write_bytes(b"x")
    assert remove(entry, models) == (installed, *rests)
    assert sorted(models.iterdir()) == sorted([models / "checksums.json", *others])
    assert remove(entry, models) == ()
    with pytest.raises(RegistryError, match="comes with the program"):
        remove(find(BUILT_IN))


def test_the_first_checksum_is_held_for_good(tmp_path):
    record = ChecksumRecord(tmp_path / "checksums.json")
    assert record.sha256("a") is None
    record.hold("a", Downloaded(tmp_path, "1" * 64, 5, "https://example.org/a"))
    record.hold("a", Downloaded(tmp_path, "2" * 64, 6, "https://example.org/b"))
    record.hold("b", Downloaded(tmp_path, "3" * 64, 7, "https://example.org/c"))
    again = ChecksumRecord(tmp_path / "checksums.json")
    assert (again.sha256("a"), again.sha256("b")) == ("1" * 64, "3" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["checksums.json"]


@pytest.mark.parametrize(
    "text", ["", "[]x", "[1]", '{"a": 1}', '{"a": {"sha256": "12"}}', '{"a": {"sha256": null}}']
)
def test_a_damaged_record_is_refused_rather_than_forgotten(tmp_path, text):
    (tmp_path / "checksums.json").write_text(text)
    with pytest.raises(RegistryError, match="is damaged"):
        ChecksumRecord(tmp_path / "checksums.json").sha256("a")
