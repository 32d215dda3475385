"""The doctor finds what is broken, says what to do, and does not fall over itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from SAMMed2DLib import doctor
from SAMMed2DLib.__main__ import FAILURE, OK, main
from SAMMed2DLib.doctor import (
    Finding,
    Probe,
    Remedies,
    cpu_flags,
    device_finding,
    dicom_finding,
    examine,
    folder_finding,
    memory_finding,
    numbers_of,
    package_finding,
    probe_import,
    python_finding,
    torch_finding,
    torchvision_findings,
    weights_finding,
)
from SAMMed2DLib.registry.known_models import MODELS_DIR_VARIABLE
from SAMMed2DLib.system.memory import GIB

FACTS: dict[str, Any] = {
    "version": "2.13.0+cpu",
    "numpy_works": True,
    "cuda": None,
    "cuda_build": None,
    "mps": False,
    "threads": 2,
}


def test_a_package_that_works_is_ok_with_its_version() -> None:
    probe = probe_import("numpy")
    assert probe.facts is not None
    finding = package_finding("numpy", probe)
    assert finding.level == "OK" and numbers_of(finding.state) >= (1, 20)


def test_a_package_that_is_not_there_can_be_installed() -> None:
    finding = package_finding("no_such_package", probe_import("no_such_package"))
    assert (finding.level, finding.state) == ("FAIL", "not installed")
    assert "-m pip install --upgrade no_such_package" in finding.advice


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12"),
        ("import os; os._exit(3)", "ended the process (exit code 3)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by signal 9"),
    ],
)
def test_a_package_that_breaks_the_process_breaks_only_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "broken_package.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = package_finding("broken_package", probe_import("broken_package"))
    assert finding.level == "FAIL" and words in finding.state and "--force-reinstall" in finding.advice


def test_a_package_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_package.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(doctor, "IMPORT_TIMEOUT_S", 0.5)
    assert "took longer than" in probe_import("slow_package").trouble


def test_a_package_that_prints_is_still_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud_package.py").write_text("print('hello'); __version__ = '1.2'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert probe_import("loud_package").facts == {"version": "1.2"}


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "OK", "2.13.0+cpu"),
        ({"version": "2.1.2"}, "OK", "2.1.2"),
        ({"version": "2.1.1+cu118"}, "FAIL", "too old"),
        ({"version": "1.13.1"}, "FAIL", "too old"),
        ({"numpy_works": False}, "FAIL", "built for another numpy"),
    ],
)
def test_torch_must_be_new_enough_and_exchange_arrays(changes: dict[str, Any], level: str, words: str) -> None:
    finding = torch_finding(Probe({**FACTS, **changes}))
    assert finding.level == level and words in finding.state
    assert bool(finding.advice) == (level == "FAIL")


def test_a_torch_without_its_windows_libraries_names_them() -> None:
    finding = torch_finding(Probe(None, "OSError: [WinError 126] error loading c10.dll: DLL load failed"))
    assert finding.level == "FAIL" and "Visual C++ Redistributable" in finding.advice


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"cuda": "NVIDIA RTX"}, "OK", "CUDA: NVIDIA RTX"),
        ({"mps": True}, "OK", "MPS"),
        ({}, "OK", "CPU, 2 threads"),
        ({"cuda_build": "12.1"}, "WARN", "CPU, 2 threads"),
    ],
)
def test_the_device_is_named(changes: dict[str, Any], level: str, words: str) -> None:
    finding = device_finding({**FACTS, **changes})
    assert finding.level == level and words in finding.state


def test_cpu_flags_are_read_from_both_kinds_of_processors(tmp_path: Path) -> None:
    (tmp_path / "x86").write_text("processor: 0\nflags\t\t: fpu avx512_bf16 amx_bf16\nflags\t\t: fpu\n")
    (tmp_path / "arm").write_text("processor: 0\nFeatures\t: fp bf16\n")
    assert cpu_flags(str(tmp_path / "x86")) == {"fpu", "avx512_bf16", "amx_bf16"}
    assert cpu_flags(str(tmp_path / "arm")) == {"fp", "bf16"}
    assert cpu_flags(str(tmp_path / "nothing")) == set()


def test_python_and_memory_have_limits() -> None:
    assert python_finding((3, 11, 0)).level == "OK"
    assert python_finding((3, 10, 9)).level == "FAIL"
    assert [memory_finding(free).level for free in (8 * GIB, GIB, None)] == ["OK", "WARN", "WARN"]


def test_weights_are_compared_with_their_checksum(tmp_path: Path) -> None:
    import torch

    from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint

    path = save_inference_checkpoint(tmp_path / "a.pt", {"w": torch.arange(10.0)}, None, {})
    assert weights_finding("a", path, torch_works=True).level == "OK"
    assert weights_finding("a", path, torch_works=False).level == "OK"
    damaged = bytearray(path.read_bytes())
    at = bytes(damaged).index(torch.arange(10.0).numpy().tobytes())
    damaged[at + 5] ^= 1
    path.write_bytes(damaged)
    finding = weights_finding("a", path, torch_works=True)
    assert finding.level == "FAIL" and "remove" in finding.advice
    assert weights_finding("a", path, torch_works=False).level == "FAIL"
    path.write_text("<html>")
    assert weights_finding("a", path, torch_works=True).level == "FAIL"


def test_the_folder_for_weights_need_not_exist_but_must_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder_finding(tmp_path / "a" / "b").level == "OK"
    assert not (tmp_path / "a").exists()

    def refused(**kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    finding = folder_finding(tmp_path)
    assert finding.level == "WARN" and MODELS_DIR_VARIABLE in finding.advice


def test_without_torch_the_doctor_still_looks_at_everything_else() -> None:
    def probe(name: str) -> Probe:
        return Probe(None, "ModuleNotFoundError: No module named 'torch'") if name == "torch" else Probe(FACTS)

    findings = {finding.subject: finding for finding in examine(probe)}
    assert findings["torch"].level == "OK" and "the built-in model runs on NumPy" in findings["torch"].state
    assert "pip install" in findings["torch"].advice and "device" not in findings
    assert {"Python", "numpy", "SimpleITK", "requests", "memory", "folder for weights"} <= findings.keys()


@pytest.mark.parametrize(("level", "code", "ending"), [("WARN", OK, "ready to segment"), ("FAIL", FAILURE, "see FAIL")])
def test_the_exit_code_says_whether_something_does_not_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], level: str, code: int, ending: str
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter([Finding(level, "torch", "odd", "do this")]))
    assert main(["doctor"]) == code
    shown = capsys.readouterr().out
    assert f"{level}  torch: odd\n      -> do this\n" in shown and shown.rstrip().endswith(ending)
    assert main(["doctor", "--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (code == OK)
    assert report["findings"] == [{"level": level, "subject": "torch", "state": "odd", "advice": "do this"}]


def test_where_python_is_a_part_of_another_program_the_advice_is_its_own() -> None:
    remedies = Remedies(
        python="PythonSlicer",
        install="pip_install('{package}')",
        reinstall="pip_install('--force-reinstall {package}')",
        torch="press the button",
        download="get {model} above",
        program="install the extension again",
    )

    def probe(name: str) -> Probe:
        if name == "torch":
            return Probe({**FACTS, "numpy_works": False})
        return Probe(None, "ModuleNotFoundError: No module named 'x'" if name == "requests" else "ImportError: x")

    findings = {finding.subject: finding for finding in examine(probe, remedies)}
    assert findings["pydicom"].level == "WARN" and "installed but broken" in findings["pydicom"].state
    assert findings["requests"].advice == "pip_install('requests')"
    assert findings["numpy"].advice == "pip_install('--force-reinstall numpy')"
    assert findings["torch"].advice == "press the button, or pip_install('\"numpy<2\"')"
    assert "get NAME above" in findings["other models"].state
    assert torch_finding(Probe(None, "No module named 'torch'"), remedies).advice.endswith("press the button")


def test_a_broken_torchvision_is_told_and_a_missing_one_is_not() -> None:
    assert not list(torchvision_findings(Probe({"version": "0.28"})))
    assert not list(torchvision_findings(Probe(None, "ModuleNotFoundError: No module named 'torchvision'")))
    for trouble in ("RuntimeError: operator torchvision::nms does not exist", "its import ended the process"):
        (finding,) = torchvision_findings(Probe(None, trouble), Remedies(uninstall="remove {package}"))
        assert finding.level == "WARN" and trouble in finding.state and finding.advice.endswith("remove torchvision")


def test_packages_are_imported_by_the_python_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "could be started" in probe_import("numpy", "no-such-python").trouble
    asked: list[str] = []
    monkeypatch.setattr(doctor, "probe_import", lambda name, python: asked.append(python) or Probe(FACTS))
    list(examine(remedies=Remedies(python="PythonSlicer")))
    assert set(asked) == {"PythonSlicer"}


def test_pydicom_is_wanted_but_not_needed() -> None:
    assert dicom_finding(Probe({"version": "3.0.1"})) == Finding("OK", "pydicom", "3.0.1")
    missing = dicom_finding(Probe(None, "ModuleNotFoundError: No module named 'pydicom'"))
    assert (missing.level, missing.state) == ("OK", "not installed; plain DICOM series are read without it")
    assert missing.advice.startswith("for DICOM of many frames") and "pip install" in missing.advice
