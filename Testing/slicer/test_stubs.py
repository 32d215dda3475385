"""The stubs that mypy reads say nothing of Slicer that is not so: compared with its C++, and with the host's Qt."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import qt
import slicer
import vtk
from vtkmodules.generate_pyi import get_signatures

STUBS = Path(__file__).resolve().parents[1] / "stubs"
# What the wrappers call a number: the C++ enumerations are int to Python.
NUMBERS = {"int", "bool", "float", "SupportsFloat"}
WORDS = {*NUMBERS, "str"}


def classes_of(file: str) -> list[ast.ClassDef]:
    nodes = ast.parse((STUBS / file).read_text(encoding="utf-8")).body
    return [node for node in nodes if isinstance(node, ast.ClassDef)]


def real_class(name: str) -> type:
    return next(getattr(module, name) for module in (slicer, vtk, qt) if hasattr(module, name))


FILES = ["vtk/__init__.pyi", "qt.pyi", *sorted(f"slicer/{path.name}" for path in (STUBS / "slicer").glob("_*.pyi"))]
CLASSES = {node.name: node for file in FILES for node in classes_of(file)}
WRAPPED = sorted(name for name in CLASSES if name.startswith("vtk") and name != "vtkCommand")


def members(node: ast.ClassDef) -> Iterator[str]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef):
            yield child.name
        elif isinstance(child, ast.AnnAssign):
            yield ast.unparse(child.target)


def plain_type(annotation: ast.expr | None) -> str:
    """The one class or word of an annotation, without None and modules; empty for containers and the like."""
    text = ast.unparse(annotation) if annotation is not None else "None"
    parts = [part.strip("' ").split(".")[-1] for part in text.split("|")]
    parts = [part for part in parts if part != "None"] or ["None"]
    return parts[0] if len(parts) == 1 and re.fullmatch(r"\w+", parts[0]) else ""


def fits(ours: str, real: str) -> bool:
    """Whether a type of a stub is that of Slicer, or a class above or below it."""
    if not ours or not real or ours == real:
        return True
    if ours in WORDS or real in WORDS:
        return (ours in NUMBERS) == (real not in {"str", "None"} and not real.startswith(("vtk", "'vtk")))
    if not (ours.startswith("vtk") and real.startswith("vtk")):
        return False
    one, other = real_class(ours), getattr(slicer, real, None) or getattr(vtk, real)
    return issubclass(one, other) or issubclass(other, one)


def parameters(node: ast.FunctionDef) -> list[tuple[str, bool]]:
    """For each parameter but self its type, and whether it may be left out."""
    arguments = [a for a in node.args.args if a.arg != "self"]
    optional = len(node.args.defaults)
    return [(plain_type(a.annotation), n >= len(arguments) - optional) for n, a in enumerate(arguments)]


def is_like(ours: ast.FunctionDef, real: ast.FunctionDef) -> bool:
    """Whether each call that the stub allows is one that the real signature allows, with a result as it is told."""
    mine, theirs = parameters(ours), parameters(real)
    if len(mine) > len(theirs) or not all(is_optional for _type, is_optional in theirs[len(mine) :]):
        return False
    if any(is_optional and not may for (_a, is_optional), (_b, may) in zip(mine, theirs, strict=False)):
        return False
    pairs = zip(mine, theirs, strict=False)
    return all(fits(a, b) for (a, _x), (b, _y) in pairs) and fits(plain_type(ours.returns), plain_type(real.returns))


def real_signatures(owner: type, name: str) -> list[ast.FunctionDef]:
    found = [ast.parse(text) for text in get_signatures(getattr(owner, name))]
    return [node for tree in found for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_all_that_a_stub_has_is_there(name: str) -> None:
    cls = real_class(name)
    properties = {key for base in inspect.getmro(cls) for key in vars(base)}  # PythonQt's are found on objects only
    assert [key for key in members(CLASSES[name]) if key not in properties and not hasattr(cls, key)] == []


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_bases_of_a_stub_are_bases_in_slicer(name: str) -> None:
    bases = [ast.unparse(base).split(".")[-1] for base in CLASSES[name].bases]
    assert [base for base in bases if not issubclass(real_class(name), real_class(base))] == []


@pytest.mark.parametrize("name", WRAPPED)
def test_methods_take_and_give_what_they_do_in_slicer(name: str) -> None:
    methods = [node for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)]
    real = {node.name: real_signatures(real_class(name), node.name) for node in methods if node.name[0] != "_"}
    wrong = [node for node in methods if node.name in real and not any(is_like(node, one) for one in real[node.name])]
    assert {ast.unparse(node): [ast.unparse(one) for one in real[node.name]] for node in wrong} == {}


@pytest.mark.parametrize("name", WRAPPED)
def test_constants_are_numbers(name: str) -> None:
    constants = [ast.unparse(node.target) for node in CLASSES[name].body if isinstance(node, ast.AnnAssign)]
    assert [key for key in constants if not isinstance(getattr(real_class(name), key), int)] == []


def test_functions_of_slicer_util_are_called_as_they_are_defined() -> None:
    nodes = ast.parse((STUBS / "slicer/util.pyi").read_text(encoding="utf-8")).body
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    wrong = []
    for node in functions:
        real = inspect.signature(getattr(slicer.util, node.name)).parameters
        names = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
        takes_more = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in real.values())
        if [name for name in names if name not in real and not takes_more]:
            wrong.append(f"{node.name}({', '.join(real)})")
    assert wrong == []


WRONG = {
    "a name": ("def GetNmae(self) -> str: ...", False),
    "a parameter too many": ("def GetName(self, number: int) -> str: ...", False),
    "another result": ("def GetName(self) -> int: ...", False),
    "a parameter of another type": ("def SetName(self, name: int) -> None: ...", False),
    "as it is": ("def GetName(self) -> str | None: ...", True),
}


@pytest.mark.parametrize("text, is_right", WRONG.values(), ids=WRONG)
def test_a_wrong_stub_is_noticed(text: str, is_right: bool) -> None:
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    owner = slicer.vtkMRMLNode
    signatures = real_signatures(owner, node.name) if hasattr(owner, node.name) else []
    assert any(is_like(node, real) for real in signatures) == is_right
