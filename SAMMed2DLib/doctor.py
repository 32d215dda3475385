"""`sammed2d doctor`: what is installed, what is broken, and what to do about it.

Packages are imported in a process of their own: a broken torch can end a process, and not this one.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, check_opens, read_checkpoint, verify_weights
from SAMMed2DLib.registry.known_models import KNOWN_MODELS, models_dir, path_of
from SAMMed2DLib.system.memory import GIB, available_memory, in_gib

OLDEST_PYTHON = (3, 11)
OLDEST_TORCH = (2, 1, 2)
IMPORT_TIMEOUT_S = 120
ENOUGH_MEMORY = 2 * GIB

_PROBE = """
import importlib, json, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    module = importlib.import_module(sys.argv[1])
    found = {"version": str(getattr(module, "__version__", "?"))}
    if sys.argv[1] == "torch":
        import numpy
        try:
            module.from_numpy(numpy.zeros(2)).numpy()
            found["numpy_works"] = True
        except RuntimeError:
            found["numpy_works"] = False
        cuda = module.cuda.is_available()
        found["cuda"] = module.cuda.get_device_name(0) if cuda else None
        found["cuda_build"] = module.version.cuda
        found["mps"] = bool(module.backends.mps.is_available())
        found["threads"] = module.get_num_threads()
print("\\n" + json.dumps(found))
"""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: "OK", "WARN" (it works, but) or "FAIL" (it does not work).
        subject: what was looked at.
        state: what was found.
        advice: what to do; empty where all is well.
    """

    level: str
    subject: str
    state: str
    advice: str = ""


@dataclass(frozen=True)
class Remedies:
    """What to tell the user to do, here.

    Attributes:
        python: the Python that imports packages; where this is a part of another program, not `sys.executable`.
        install: installs or updates {package}.
        reinstall: installs {package} anew.
        uninstall: removes {package}.
        torch: installs or updates torch.
        download: gets the weights {model}.
        program: installs SAMMed2D anew.
    """

    python: str = sys.executable
    install: str = f"{sys.executable} -m pip install --upgrade {{package}}"
    reinstall: str = f"{sys.executable} -m pip install --upgrade {{package}} --force-reinstall"
    uninstall: str = f"{sys.executable} -m pip uninstall {{package}}"
    torch: str = f"{sys.executable} -m pip install --upgrade torch"
    download: str = "sammed2d models download {model}"
    program: str = "install SAMMed2D again"


COMMAND_LINE = Remedies()


@dataclass(frozen=True)
class Probe:
    """What came of importing a package in a process of its own.

    Attributes:
        facts: version and more; None where the import failed.
        trouble: the last line of the error, or how the process ended.
    """

    facts: dict[str, Any] | None
    trouble: str = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d doctor`."""
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Print all findings; 1 if something does not work, else 0."""
    findings = list(examine())
    failed = any(finding.level == "FAIL" for finding in findings)
    if args.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return int(failed)
    for finding in findings:
        advice = f"\n      -> {finding.advice}" if finding.advice else ""
        print(f"{finding.level:4}  {finding.subject}: {finding.state}{advice}")
    print("something does not work, see FAIL" if failed else "ready to segment")
    return int(failed)


def examine(probe: Callable[[str], Probe] | None = None, remedies: Remedies = COMMAND_LINE) -> Iterator[Finding]:
    """All findings, one after the other.

    Args:
        probe: imports a package by name; the default does so in another process.
        remedies: how things are repaired here.
    """
    probe = probe or partial(probe_import, python=remedies.python)
    yield python_finding(sys.version_info[:3])
    for name in ("numpy", "SimpleITK", "requests"):
        yield package_finding(name, probe(name), remedies)
    yield dicom_finding(probe("pydicom"), remedies)
    torch = probe("torch")
    finding = torch_finding(torch, remedies)
    yield finding
    if torch.facts is not None:
        yield device_finding(torch.facts)
    yield from torchvision_findings(probe("torchvision"), remedies)
    yield memory_finding(available_memory())
    yield from weights_findings(torch.facts is not None and finding.level == "OK", remedies)


def probe_import(name: str, python: str = sys.executable) -> Probe:
    """Import a package in a process of its own, of this Python."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", _PROBE, name],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would show a console
        )
    except subprocess.TimeoutExpired:
        return Probe(None, f"its import took longer than {IMPORT_TIMEOUT_S} s")
    except OSError as error:
        return Probe(None, f"no other process could be started: {error}")
    if done.returncode == 0:
        return Probe(json.loads(done.stdout.strip().splitlines()[-1]))
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return Probe(None, lines[-1][:300] if lines else f"its import ended the process ({ended})")


def python_finding(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    state = f"{'.'.join(map(str, version))} ({platform.system()} {platform.machine()})"
    if version[:2] < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        return Finding("FAIL", "Python", state, f"install Python {wanted} or newer, and SAMMed2D into it")
    return Finding("OK", "Python", state)


def package_finding(name: str, probe: Probe, remedies: Remedies = COMMAND_LINE) -> Finding:
    """Whether a package can be imported.

    Args:
        name: of the package.
        probe: what importing it in a process of its own gave.
        remedies: the words of advice.
    """
    if probe.facts is not None:
        return Finding("OK", name, probe.facts["version"])
    if "No module named" in probe.trouble:
        return Finding("FAIL", name, "not installed", remedies.install.replace("{package}", name))
    state = f"installed but broken: {probe.trouble}"
    return Finding("FAIL", name, state, remedies.reinstall.replace("{package}", name))


def dicom_finding(probe: Probe, remedies: Remedies = COMMAND_LINE) -> Finding:
    """Whether pydicom is there, which only some DICOM files need."""
    finding = package_finding("pydicom", probe, remedies)
    if finding.level == "OK":
        return finding
    if finding.state == "not installed":
        advice = f"for DICOM of many frames and DICOM segmentations: {finding.advice}"
        return Finding("OK", "pydicom", "not installed; plain DICOM series are read without it", advice)
    return replace(finding, level="WARN")


def torch_finding(probe: Probe, remedies: Remedies = COMMAND_LINE) -> Finding:
    """Whether torch can be imported, is new enough, and works with this numpy."""
    plain = package_finding("torch", probe, replace(remedies, install=remedies.torch))
    if probe.facts is None:
        if "DLL" in probe.trouble:
            return Finding(
                "FAIL", "torch", plain.state, "install Microsoft's Visual C++ Redistributable (x64), restart"
            )
        if plain.state == "not installed":
            advice = f"for the other models and for graphics cards: {plain.advice}"
            return Finding("OK", "torch", "not installed; the built-in model runs on NumPy", advice)
        return plain
    version = probe.facts["version"]
    if numbers_of(version) < OLDEST_TORCH:
        wanted = ".".join(map(str, OLDEST_TORCH))
        return Finding("FAIL", "torch", f"{version}, too old", f"{remedies.torch}  (needed: {wanted} or newer)")
    if not probe.facts["numpy_works"]:
        state = f"{version}, built for another numpy: they cannot exchange arrays"
        older = remedies.install.replace("{package}", '"numpy<2"')
        return Finding("FAIL", "torch", state, f"{remedies.torch}, or {older}")
    return Finding("OK", "torch", version)


def torchvision_findings(probe: Probe, remedies: Remedies = COMMAND_LINE) -> Iterator[Finding]:
    """Whether a torchvision that is installed is broken; SAMMed2D never imports it, but other programs do."""
    if probe.facts is None and "No module named 'torchvision'" not in probe.trouble:
        way = remedies.uninstall.replace("{package}", "torchvision")
        advice = f"SAMMed2D never imports it; where other programs crash by it: {way}"
        yield Finding("WARN", "torchvision", f"installed but broken: {probe.trouble}", advice)


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.1.2+cu118" -> (2, 1, 2)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(n) for n in found[0].split(".")) if found else ()


def device_finding(facts: dict[str, Any]) -> Finding:
    """What torch would compute on."""
    if facts["cuda"]:
        return Finding("OK", "device", f"CUDA: {facts['cuda']}, half precision")
    if facts["mps"]:
        return Finding("OK", "device", "MPS (Apple graphics)")
    fast = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in cpu_flags()]
    narrow = f"bfloat16 in hardware ({fast[0]})" if fast else "no bfloat16 in hardware, float32"
    state = f"CPU, {facts['threads']} threads, {narrow}"
    if facts["cuda_build"]:
        advice = "torch was built for CUDA but sees no card; update the NVIDIA driver, or go on with the CPU"
        return Finding("WARN", "device", state, advice)
    return Finding("OK", "device", state)


def cpu_flags(path: str = "/proc/cpuinfo") -> set[str]:
    """What the CPU can do, as far as the system says."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if re.match("(flags|Features)\\b", line)), set())


def memory_finding(free: int | None) -> Finding:
    """Whether there is room for an image and a model."""
    if free is None:
        return Finding("WARN", "memory", "unknown on this system")
    if free < ENOUGH_MEMORY:
        advice = f"close other programs; the large model needs about {in_gib(ENOUGH_MEMORY)}"
        return Finding("WARN", "memory", f"{in_gib(free)} free", advice)
    return Finding("OK", "memory", f"{in_gib(free)} free")


def weights_findings(torch_works: bool, remedies: Remedies = COMMAND_LINE) -> Iterator[Finding]:
    """Which weights are there and whole, and whether more can be stored.

    Args:
        torch_works: without it the checksums of the archive are compared, not that of the weights.
        remedies: how to get them here.
    """
    missing = []
    for entry in KNOWN_MODELS.values():
        path = path_of(entry)
        if path.is_file():
            yield weights_finding(entry.name, path, torch_works, remedies)
        elif entry.embedded:
            yield Finding("FAIL", entry.name, f"its file {path} is missing", remedies.program)
        else:
            missing.append(entry.name)
    if missing:
        state = f"not installed: {', '.join(missing)}; to get one: {remedies.download.replace('{model}', 'NAME')}"
        yield Finding("OK", "other models", state)
    yield folder_finding(models_dir())


def weights_finding(name: str, path: Path, torch_works: bool, remedies: Remedies = COMMAND_LINE) -> Finding:
    """Whether a file of weights is what was written.

    Args:
        name: of the model.
        path: of its weights.
        torch_works: without it the checksums of the archive are compared, not that of the weights.
        remedies: the words of advice.
    """
    size = in_gib(path.stat().st_size)
    try:
        if torch_works:
            verify_weights(read_checkpoint(path))
        else:
            check_opens(path, checksums=True)
    except CheckpointError as error:
        advice = f"remove {path}, then: {remedies.download.replace('{model}', name)}, or {remedies.program}"
        return Finding("FAIL", name, str(error), advice)
    return Finding("OK", name, f"{size}, checksum right")


def folder_finding(folder: Path) -> Finding:
    """Whether weights can be stored in a folder, which need not exist yet."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return Finding("OK", "folder for weights", str(folder))
    except OSError as error:
        advice = "set SAMMED2D_MODELS_DIR to a folder that you may write to"
        return Finding("WARN", "folder for weights", f"{folder}: {error.strerror or error}", advice)
