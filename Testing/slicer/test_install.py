"""PyTorch: found or not, whole or not, explained, and installed after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import ClassVar

import pytest


@pytest.fixture
def pytorch(sammed2d):
    from SAMMed2DSlicer.setup import pytorch

    return pytorch


@pytest.fixture
def torch(monkeypatch, tmp_path):
    """A function that sets what this Python finds of torch: files, record of the installation, loaded module."""

    def set_torch(version=None, files=(), has_spec=True, loaded=None):
        folder = tmp_path / "torch"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name in files:
            (folder / name).write_bytes(b"")
        spec = ModuleSpec("torch", None, origin=str(folder / "__init__.py") if "__init__.py" in files else None)
        spec.submodule_search_locations = [str(folder)]
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *rest: (spec if has_spec else None) if name == "torch" else find(name, *rest),
        )

        def version_of(name):
            if version is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(importlib.metadata, "version", version_of)
        if loaded is None:
            monkeypatch.delitem(sys.modules, "torch", raising=False)
        else:
            monkeypatch.setitem(sys.modules, "torch", loaded)

    return set_torch


WHOLE = ("__init__.py", "_C.cpython-312-x86_64-linux-gnu.so")


@pytest.mark.parametrize(
    ("facts", "name", "words"),
    [
        ({"version": "2.1.2", "files": WHOLE}, "ready", ""),
        ({"version": "2.9.0.dev20260801+cu130", "files": WHOLE}, "ready", ""),
        ({"version": "2.10.0", "files": ("__init__.py", "_C.cp312-win_amd64.pyd")}, "ready", ""),
        ({"version": "2.1.1+cu118", "files": WHOLE}, "old", "2.1.1+cu118 is too old: 2.1.2 or newer"),
        ({"version": "1.13.1", "files": WHOLE}, "old", "too old"),
        ({"has_spec": False}, "missing", "not installed yet"),
        ({"version": "2.5.0", "has_spec": False}, "broken", "incomplete"),
        ({"files": WHOLE}, "broken", "incomplete"),
        ({"version": "2.5.0", "files": ("__init__.py",)}, "broken", "incomplete"),
        ({"version": "2.5.0", "files": ("leftover.txt",)}, "broken", "incomplete"),
    ],
)
def test_what_is_there_is_seen_without_importing_it(pytorch, torch, facts, name, words):
    torch(**facts)
    state = pytorch.torch_state()
    assert state.name == name and words in state.text
    assert state.is_ready == (name == "ready")
    assert "torch" not in sys.modules


def test_a_loaded_torch_is_taken_at_its_word(pytorch, torch):
    loaded = types.ModuleType("torch")
    loaded.__version__ = "2.4.0"
    torch(loaded=loaded, has_spec=False)
    assert pytorch.torch_state() == pytorch.TorchState("ready", "", "2.4.0")


def test_what_a_failed_import_left_counts_as_broken(pytorch, torch, monkeypatch):
    torch(loaded=types.ModuleType("torch"))

    def refuse(name, *rest):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(importlib.util, "find_spec", refuse)
    assert pytorch.torch_state().name == "broken"


def test_the_requirements_are_read_as_slicer_reads_them_without_its_import(pytorch, monkeypatch):
    from slicer import packaging

    from SAMMed2DSlicer import resources
    from SAMMed2DSlicer.setup import requirements

    path = f"{resources.MODULE_DIR}/Resources/requirements.txt"
    slicers = {requirement.name: str(requirement.specifier) for requirement in packaging.load_requirements(path)}
    monkeypatch.setattr(packaging, "load_requirements", lambda path: pytest.fail("its import takes too long"))
    requirements.oldest_torch.cache_clear()
    assert requirements.specifiers() == slicers == {"torch": ">=2.1.2"} and requirements.oldest_torch() == "2.1.2"
    assert pytorch.torch_state().is_ready


def test_pytorch_is_not_looked_at_for_what_numpy_computes(pytorch, monkeypatch):
    from SAMMed2DSlicer.setup import engines

    missing = pytorch.TorchState("missing", "not there")
    monkeypatch.setattr(pytorch, "torch_state", lambda: pytest.fail("this takes longer than all else"))
    assert engines.missing_torch("sam-med2d-tiny", "auto") is None
    monkeypatch.setattr(pytorch, "torch_state", lambda: missing)
    assert engines.missing_torch("sam-med2d-tiny", "cuda") is missing


def test_this_computers_torch_is_ready(pytorch):
    assert pytorch.torch_state().is_ready


def test_looking_costs_next_to_nothing(pytorch):
    import time

    began = time.process_time()
    for _ in range(20):
        pytorch.torch_state()
    assert (time.process_time() - began) / 20 < 0.02


# Explanations


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "PyTorch is not installed yet. Install it"),
        (ModuleNotFoundError("No module named 'torch._C'", name="torch._C"), "incomplete"),
        (ImportError("cannot import name 'Tensor' from partially initialized module 'torch'"), "installed anew"),
        (OSError("[WinError 126] The specified module could not be found. Error loading c10.dll"), "Visual C++"),
        (ImportError("DLL load failed while importing _C: The specified module could not be found."), "Visual C++"),
        (OSError("[WinError 1455] The paging file is too small for this operation"), "paging file"),
        (OSError("libcudart.so.12: cannot open shared object file: No such file"), "missing or of another version"),
        (ImportError("/x/libc10.so: undefined symbol: _ZN3c105"), "missing or of another version"),
        (RuntimeError("Numpy is not available"), "another version of numpy"),
        (ImportError("A module that was compiled using NumPy 1.x cannot be run in"), "another version of numpy"),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), "Choose the device CPU"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "memory of the graphics card is full"),
        (ValueError("there is no device 'cuda'"), "there is no device 'cuda'"),
        (KeyError(), "KeyError"),
    ],
)
def test_errors_are_turned_into_advice(pytorch, error, words):
    assert words in pytorch.explain_error(error)


def test_the_cause_of_an_error_counts(pytorch):
    try:
        try:
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        except ModuleNotFoundError as cause:
            raise RuntimeError("the model could not be loaded") from cause
    except RuntimeError as error:
        assert "PyTorch is not installed yet" in pytorch.explain_error(error)


def test_a_model_that_is_missing_is_found_in_the_module(pytorch):
    from SAMMed2DLib.registry.known_models import NotInstalledError

    assert "Get it in the module SAMMed2D, under Models" in pytorch.explain_error(NotInstalledError("sam-med2d_b"))


# Installing


class TorchUtils:
    """Stands for the logic of the extension PyTorch; keeps what it was asked."""

    calls: ClassVar[list] = []
    outcome: ClassVar[object] = "installed"

    def installTorch(self, **options):  # noqa: N802
        self.calls.append(("install", options["askConfirmation"], options["torchVersionRequirement"]))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return types.ModuleType("torch") if self.outcome == "installed" else None

    def uninstallTorch(self):  # noqa: N802
        self.calls.append(("uninstall",))


@pytest.fixture
def utils(monkeypatch):
    """The extension PyTorch is there."""
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = TorchUtils
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    monkeypatch.setattr(TorchUtils, "calls", [])
    monkeypatch.setattr(TorchUtils, "outcome", "installed")
    return TorchUtils


def becomes_ready_when_installed(torch, utils, monkeypatch):
    def install(self, **options):
        self.calls.append(("install", options["askConfirmation"], options["torchVersionRequirement"]))
        torch(version="2.5.0", files=WHOLE)
        return types.ModuleType("torch")

    monkeypatch.setattr(utils, "installTorch", install)


def test_a_torch_that_is_ready_is_left_alone(pytorch, utils):
    assert pytorch.ensure_torch() is True
    assert utils.calls == []


def test_a_missing_torch_is_installed_after_asking(pytorch, torch, utils, monkeypatch):
    torch(has_spec=False)
    becomes_ready_when_installed(torch, utils, monkeypatch)
    assert pytorch.ensure_torch() is True
    assert utils.calls == [("install", True, ">=2.1.2")]


def test_slicer_itself_reads_what_is_to_be_installed(pytorch, torch, utils, monkeypatch):
    from slicer import packaging

    read, load = [], packaging.load_requirements
    monkeypatch.setattr(packaging, "load_requirements", lambda path: read.append(path) or load(path))
    torch(has_spec=False)
    assert pytorch.torch_state().name == "missing" and not read
    becomes_ready_when_installed(torch, utils, monkeypatch)
    assert pytorch.ensure_torch() is True and utils.calls == [("install", True, ">=2.1.2")]
    (path,) = read
    assert path.endswith("requirements.txt")


def test_a_slicer_without_slicer_packaging_installs_the_same(pytorch, torch, utils, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)  # before Slicer 5.11
    torch(has_spec=False)
    becomes_ready_when_installed(torch, utils, monkeypatch)
    assert pytorch.ensure_torch() is True and utils.calls == [("install", True, ">=2.1.2")]


def test_a_user_may_decline(pytorch, torch, utils, monkeypatch):
    torch(has_spec=False)
    monkeypatch.setattr(utils, "outcome", "declined")
    assert pytorch.ensure_torch() is False


def test_a_broken_torch_is_removed_first_after_asking(pytorch, torch, utils, monkeypatch, app):
    torch(version="2.5.0", files=("__init__.py",))
    becomes_ready_when_installed(torch, utils, monkeypatch)
    app.answers.give("Remove what is there", "Cancel")
    assert pytorch.ensure_torch() is False
    assert utils.calls == []
    app.answers.give("Remove what is there", "OK")
    assert pytorch.ensure_torch() is True
    assert utils.calls == [("uninstall",), ("install", False, ">=2.1.2")]


def test_a_torch_in_use_is_not_replaced(pytorch, torch, utils, app):
    old = types.ModuleType("torch")
    old.__version__ = "1.13.1"
    torch(loaded=old)
    with pytest.raises(pytorch.InstallError, match="restart Slicer"):
        pytorch.install_torch()
    assert utils.calls == []


def test_without_the_extension_it_says_where_to_get_it(pytorch, torch, app, monkeypatch):
    torch(has_spec=False)
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    app.answers.give("Extensions Manager", "OK")
    assert pytorch.ensure_torch() is False
    (shown,) = app.answers.shown
    assert "restart Slicer" in shown[1] and "--no-index" in shown[1]


def test_pip_is_not_disturbed(pytorch, torch, utils):
    from slicer import packaging

    torch(has_spec=False)
    packaging.answers["isPipInstallInProgress"] = True
    try:
        with pytest.raises(pytorch.InstallError, match="wait until that is done"):
            pytorch.install_torch()
    finally:
        packaging.answers.clear()
    assert utils.calls == []


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (OSError("[WinError 206] The filename or extension is too long"), "too long"),
        (ImportError("DLL load failed while importing _C"), "Visual C++"),
    ],
)
def test_an_installation_that_fails_says_why(pytorch, torch, utils, monkeypatch, trouble, words):
    torch(has_spec=False)
    monkeypatch.setattr(utils, "outcome", trouble)
    with pytest.raises(pytorch.InstallError, match="could not be installed") as caught:
        pytorch.install_torch()
    assert words in str(caught.value)


def test_an_installation_that_is_not_seen_asks_for_a_restart(pytorch, torch, utils):
    torch(has_spec=False)
    with pytest.raises(pytorch.InstallError, match="Restart Slicer"):
        pytorch.install_torch()
