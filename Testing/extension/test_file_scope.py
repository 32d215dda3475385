"""What runs while Slicer loads the extension: nothing but definitions, and imports of what Slicer has.

Slicer imports `SAMMed2D.py` and the effect at every start, of every user, whether they use it or not. A package that is
missing there breaks the start-up, one that is slow delays it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLICER_LAYER = ROOT / "SAMMed2D"
FILES = sorted(path.relative_to(SLICER_LAYER).as_posix() for path in SLICER_LAYER.rglob("*.py"))
EFFECT = "SegmentEditorSAMMed2DLib/SegmentEditorEffect.py"
LOADED_AT_START = ("SAMMed2D.py", EFFECT)

# Folders that top-level packages of ours are found in.
OUR_FOLDERS = (SLICER_LAYER, ROOT)
OURS = {"SAMMed2D", "SAMMed2DSlicer", "SegmentEditorSAMMed2DLib", "SAMMed2DLib"}
BUNDLED = {
    *("slicer", "qt", "ctk", "vtk", "vtkmodules", "PythonQt", "mrml", "SegmentEditorEffects", "SampleData"),
    *("sitkUtils", "numpy", "SimpleITK", "requests", "pydicom"),
}
HEAVY = {"torch", "torchvision", "numpy", "SimpleITK", "scipy", "requests", "pydicom", "sitkUtils"}

NETWORK_AND_PROCESSES = {"requests", "urllib", "urllib3", "socket", "http", "ftplib", "subprocess"}
INSTALLERS = {
    *("pip_install", "pip_uninstall", "pip_ensure", "pip_check", "installTorch", "install_torch"),
    *("urlopen", "urlretrieve", "download", "downloadFile", "system", "popen", "Popen"),
}


def source_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def at_file_scope(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when a file is imported: not the bodies of functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            children: list[ast.AST] = list(child.orelse)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            children = [*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)]
        elif isinstance(child, ast.Lambda):
            children = []
        else:
            yield child
            yield from at_file_scope(child)
            continue
        for part in children:
            yield part
            yield from at_file_scope(part)


def imports_at_file_scope(source: ast.Module, package: str = "") -> Iterator[str]:
    """Dotted names that a file imports at once; what is imported from a module may be a module too.

    Args:
        source: of the file.
        package: dotted name of the package that the file lies in, for relative imports.
    """
    for node in at_file_scope(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> Path | None:
    """Our file of a dotted name, or None."""
    for folder in OUR_FOLDERS:
        below = folder.joinpath(*module.split("."))
        for path in (below.with_suffix(".py"), below / "__init__.py"):
            if path.is_file():
                return path
    return None


def package_of(path: Path) -> str:
    """Dotted name of the package that one of our files lies in."""
    folder = ROOT if path.is_relative_to(ROOT / "SAMMed2DLib") else SLICER_LAYER
    return ".".join(path.relative_to(folder).parent.parts)


def with_parents(module: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`: importing the last one runs all."""
    parts = module.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))


@dataclass
class Chain:
    """How a package comes to be imported."""

    package: str
    files: tuple[str, ...]


def packages_at_start(start: Path) -> list[Chain]:
    """All packages of others that importing one of our files imports, through our other files too."""
    found: list[Chain] = []
    waiting = [(start, (start.relative_to(ROOT).as_posix(),))]
    seen = {start}
    while waiting:
        path, files = waiting.pop(0)
        for name in imports_at_file_scope(source_of(path), package_of(path)):
            found += [Chain(name.split(".")[0], files)] * (name.split(".")[0] not in OURS)
            for ours in filter(None, map(file_of, with_parents(name))):
                if ours not in seen:
                    seen.add(ours)
                    waiting.append((ours, (*files, ours.relative_to(ROOT).as_posix())))
    return found


def test_the_files_that_slicer_loads_at_start_are_here() -> None:
    assert set(LOADED_AT_START) <= set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_file_scope_imports_only_what_slicer_bundles(file: str) -> None:
    path = SLICER_LAYER / file
    packages = {name.split(".")[0] for name in imports_at_file_scope(source_of(path), package_of(path))}
    assert packages - BUNDLED - OURS - sys.stdlib_module_names == set()


@pytest.mark.parametrize("file", LOADED_AT_START)
def test_start_up_imports_nothing_heavy_not_even_through_other_files(file: str) -> None:
    heavy = [chain for chain in packages_at_start(SLICER_LAYER / file) if chain.package in HEAVY]
    assert [f"{chain.package}: {' -> '.join(chain.files)}" for chain in heavy] == []


@pytest.mark.parametrize("file", sorted(set(FILES) - set(LOADED_AT_START)))
def test_numpy_is_imported_at_the_top_where_start_up_does_not_pay_for_it(file: str) -> None:
    source = source_of(SLICER_LAYER / file)
    at_once = list(at_file_scope(source))
    late = [node for node in ast.walk(source) if isinstance(node, ast.Import | ast.ImportFrom) and node not in at_once]
    assert [ast.unparse(node) for node in late if re.search(r"\bnumpy\b", ast.unparse(node))] == []


def test_torchvision_is_never_imported() -> None:
    """Its import has crashed Slicer; whether it is there is none of our business."""
    importing = [
        path.relative_to(ROOT).as_posix()
        for folder in OUR_FOLDERS
        for path in sorted((folder / "SAMMed2DLib" if folder == ROOT else folder).rglob("*.py"))
        for node in ast.walk(source_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and re.search(r"\btorchvision\b", ast.unparse(node))
    ]
    assert importing == []


@pytest.mark.parametrize("file", FILES)
def test_file_scope_reaches_for_no_network_no_pip_and_no_process(file: str) -> None:
    calls = [node for node in at_file_scope(source_of(SLICER_LAYER / file)) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    wrong = [name for name in names if name.split(".")[0] in NETWORK_AND_PROCESSES or name.split(".")[-1] in INSTALLERS]
    assert wrong == []


@pytest.mark.parametrize("file", FILES)
def test_file_scope_calls_nothing_for_its_effect(file: str) -> None:
    statements = [node for node in at_file_scope(source_of(SLICER_LAYER / file)) if isinstance(node, ast.Expr)]
    assert [ast.unparse(node) for node in statements if isinstance(node.value, ast.Call)] == []


def test_the_effect_imports_absolutely() -> None:
    """Slicer loads it under the name of its folder, as no part of a package."""
    nodes = ast.walk(source_of(SLICER_LAYER / EFFECT))
    assert [ast.unparse(node) for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


CODE = {
    "import torch": ["torch"],
    "from torch.nn import Linear": ["torch.nn", "torch.nn.Linear"],
    "try:\n    import a\nexcept ImportError:\n    import b": ["a", "b"],
    "class C:\n    import a": ["a"],
    "def f(x=__import__('a')):\n    import b": [],
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b": [
        *("typing", "typing.TYPE_CHECKING"),
        "b",
    ],
    "from . import x\nfrom .y import z": ["P", "P.x", "P.y", "P.y.z"],
}


@pytest.mark.parametrize("code, names", CODE.items())
def test_imports_are_found_where_they_run(code: str, names: list[str]) -> None:
    assert list(imports_at_file_scope(ast.parse(code), "P")) == names
