"""The extension is configured and installed against the stub SDK, and what is installed is whole and works.

Slicer's own SDK takes hours to build. The stub (see `stub/SlicerConfig.cmake`) takes a second, and is stricter: it
refuses arguments that it does not know and files that are not there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaged_files import MODULES, NEVER_PACKAGED, ROOT, files_of

HERE = Path(__file__).resolve().parent
STUB = HERE / "stub"
INSTALLED = Path("lib/Slicer-5.13/qt-scripted-modules")
SECONDS = 300


def cmake() -> str:
    """CMake's path: this environment's, else the system's."""
    beside_python = shutil.which("cmake", path=str(Path(sys.executable).parent))
    found = beside_python or shutil.which("cmake")
    if found is None:
        pytest.fail(
            "CMake is missing, and the extension cannot be tested without it: install the system's package 'cmake', "
            "or run `pip install cmake` in this environment",
            pytrace=False,
        )
    return found


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that takes seconds at most, and keep what it says."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def configure(source: Path, build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Configure an extension against the stub."""
    return run(
        *(cmake(), "-S", source, "-B", build, f"-DSlicer_DIR={STUB}"),
        f"-DCMAKE_TOOLCHAIN_FILE={STUB / 'no_compiler.cmake'}",
        *options,
    )


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    done = configure(ROOT, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("installed")
    done = run(cmake(), "--install", build, "--prefix", prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    return prefix


@pytest.fixture(scope="module")
def modules_folder(installed: Path) -> Path:
    return installed / INSTALLED


def python_on(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A new Python that sees the installed folder first, and does not start in the repository."""
    return run(sys.executable, "-B", *arguments, cwd=folder.parents[2], PYTHONPATH=str(folder))


def what_belongs_where() -> dict[str, str]:
    """From the tree: the place of each packaged file in Slicer's folder of modules, and where it comes from."""
    prefixes = dict(zip(MODULES, ("", "SAMMed2DLib/"), strict=True))
    return {
        prefixes[module] + file: f"{module}/{file}"
        for module in MODULES
        for file in files_of(module)
        if file not in NEVER_PACKAGED
    }


def recorded(build: Path, kind: str) -> list[list[str]]:
    """What the stub's macros were given."""
    lines = (build / "recorded.txt").read_text(encoding="utf-8").splitlines()
    return [line.split(" ", 2)[1:] for line in lines if line.startswith(f"{kind} ")]


def test_exactly_the_files_of_the_tree_are_installed_and_nothing_elsewhere(installed: Path) -> None:
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert found == {(INSTALLED / file).as_posix() for file in what_belongs_where()}


def test_installed_files_are_the_same_bytes(modules_folder: Path) -> None:
    differ = [
        file
        for file, source in what_belongs_where().items()
        if (modules_folder / file).read_bytes() != (ROOT / source).read_bytes()
    ]
    assert differ == []


def test_slicer_would_try_only_the_module_itself_as_a_module(modules_folder: Path) -> None:
    assert [path.name for path in modules_folder.glob("*.py*")] == ["SAMMed2D.py"]


def test_all_installed_files_compile(modules_folder: Path, tmp_path: Path) -> None:
    done = python_on(modules_folder, "-X", f"pycache_prefix={tmp_path}", "-m", "compileall", "-q", modules_folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_installed_library_opens_without_the_repository(modules_folder: Path) -> None:
    done = python_on(modules_folder, "-c", "import SAMMed2DLib.imaging.geometry as g; print(g.__file__)")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == modules_folder / "SAMMed2DLib" / "imaging" / "geometry.py"


def test_every_file_of_the_installed_library_opens(modules_folder: Path) -> None:
    names = [
        file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for file in what_belongs_where()
        if file.startswith("SAMMed2DLib/") and file.endswith(".py") and not file.endswith("__main__.py")
    ]
    done = python_on(modules_folder, "-c", f"import importlib\nfor n in {names}: importlib.import_module(n)")
    assert done.returncode == 0, done.stderr


def test_the_test_that_slicer_runs_on_the_package_passes_on_the_installed_files(modules_folder: Path) -> None:
    code = "import sys, unittest; sys.path.append(sys.argv.pop(1)); unittest.main('SAMMed2DPackageTest')"
    done = python_on(modules_folder, "-c", code, HERE)
    assert done.returncode == 0, done.stderr
    assert "skipped" not in done.stderr


def test_slicer_runs_the_generic_tests_the_self_test_and_the_package_test(build: Path) -> None:
    assert recorded(build, "generic_tests") == [["SAMMed2D", "-"]]
    scripts = {Path(script) for _, script in recorded(build, "unittest")}
    assert scripts == {ROOT / "SAMMed2D" / "SAMMed2D.py", HERE / "SAMMed2DPackageTest.py"}


def test_without_tests_nothing_of_the_tests_is_configured(tmp_path: Path) -> None:
    done = configure(ROOT, tmp_path, "-DBUILD_TESTING=OFF")
    assert done.returncode == 0, done.stdout + done.stderr
    assert recorded(tmp_path, "unittest") == []


# What the stub refuses: the body of a CMakeLists.txt, and what the complaint says.
REFUSED = {
    "an argument that Slicer does not know": ("NAME Small FILES a.png SCRIPTS Small.py", "FILES;a.png"),
    "a file that is not there": ("NAME Small SCRIPTS Small.py missing.py", "missing.py does not exist"),
    "a file of another folder": ("NAME Small SCRIPTS Small.py ../Other/x.py", "would not package it"),
    "a module without its own script": ("NAME Other SCRIPTS Small.py", "module without Other.py"),
    "no name": ("SCRIPTS Small.py", "given no name"),
    "generic tests of a library": ("NAME Small SCRIPTS Small.py WITH_SUBDIR WITH_GENERIC_TESTS", "is no module"),
}


@pytest.mark.parametrize("arguments, complaint", REFUSED.values(), ids=REFUSED)
def test_the_stub_refuses(arguments: str, complaint: str, tmp_path: Path) -> None:
    source = tmp_path / "Small"
    source.mkdir()
    (source / "Small.py").touch()
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\n"
        "project(Small)\n"
        "find_package(Slicer REQUIRED)\n"
        "include(${Slicer_USE_FILE})\n"
        f"slicerMacroBuildScriptedModule({arguments})\n",
        encoding="utf-8",
    )
    done = configure(source, tmp_path / "build")
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
