"""How large files, classes and folders of both packages may be, that a public class name is used once, and `Args:`.

The sets below name what is still over a limit. An entry that is no longer needed fails, so that they only shrink.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("SAMMed2DLib", "SAMMed2D")
SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}

MOST_LINES = 400
MOST_METHODS = 25
MOST_FILES = 12  # in one folder, without its __init__.py
FEWEST_ARGUMENTS = 3  # that need `Args:` in the docstring

TOO_MANY_METHODS = {
    # Slicer calls an effect by some thirty names.
    "SAMMed2D/SegmentEditorSAMMed2DLib/SegmentEditorEffect.py SegmentEditorEffect",
    # An interpreter: a method for each instruction of a pickle.
    "SAMMed2DLib/checkpoints/safe_pickle.py _Machine",
}
# Events of Slicer's own effect class, which describes their arguments.
SLICER_EVENTS = {"SegmentEditorEffect.processInteractionEvents", "SegmentEditorEffect.processViewNodeEvents"}


def classes(source: str) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def long_files(sources: dict[str, str]) -> set[str]:
    return {file for file, source in sources.items() if len(source.splitlines()) > MOST_LINES}


def large_classes(sources: dict[str, str]) -> set[str]:
    methods = {
        f"{file} {found.name}": sum(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in found.body)
        for file, source in sources.items()
        for found in classes(source)
    }
    return {name for name, count in methods.items() if count > MOST_METHODS}


def full_folders(sources: dict[str, str]) -> set[str]:
    counts = Counter(file.rpartition("/")[0] for file in sources if not file.endswith("/__init__.py"))
    return {folder for folder, count in counts.items() if count > MOST_FILES}


def code_of_folders(sources: dict[str, str]) -> set[str]:
    """Name the files of folders themselves that define something, rather than say what lies in the folder."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        file
        for file, source in sources.items()
        if file.endswith("/__init__.py") and any(isinstance(node, kinds) for node in ast.walk(ast.parse(source)))
    }


def repeated_classes(sources: dict[str, str]) -> set[str]:
    """Name the public classes, of files' top level, that several files define."""
    names = Counter(
        node.name
        for source in sources.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    return {name for name, count in names.items() if count > 1}


def functions_of(source: str) -> list[tuple[str, list[str], ast.FunctionDef]]:
    """Public functions and methods, also `__init__` and `__call__`: name, names of the class's bases, definition."""
    found = []

    def visit(body: list[ast.stmt], prefix: str, bases: list[str]) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                of_class = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
                visit(node.body, f"{prefix}{node.name}.", of_class)
            elif isinstance(node, ast.FunctionDef) and not (
                node.name.startswith("_") and node.name not in ("__init__", "__call__")
            ):
                found.append((prefix + node.name, bases, node))

    visit(ast.parse(source).body, "", [])
    return found


def without_args(sources: dict[str, str]) -> set[str]:
    """Name the public functions of three or more arguments whose docstring has no `Args:`.

    A method that overrides one of a base class in these sources needs none if that has them.
    """
    missing, documented = [], set()
    for file, source in sources.items():
        for name, bases, function in functions_of(source):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in arguments)
            if "Args:" in (ast.get_docstring(function) or ""):
                documented.add(name)
            elif count >= FEWEST_ARGUMENTS and name not in SLICER_EVENTS:
                missing.append((f"{file} {name}", {f"{base}.{function.name}" for base in bases}))
    return {name for name, overridden in missing if not overridden & documented}


# Both packages. Left of a failure is what there is, right what is allowed: shorten, split or rename rather than add.


def test_the_files_are_found():
    assert {"SAMMed2DLib/__init__.py", "SAMMed2D/SAMMed2D.py", "SAMMed2DLib/imaging/geometry.py"} <= set(SOURCES)


def test_no_file_is_too_long():
    assert long_files(SOURCES) == set()


def test_no_class_has_too_many_methods():
    assert large_classes(SOURCES) == TOO_MANY_METHODS


def test_no_folder_is_too_full():
    assert full_folders(SOURCES) == set()


def test_the_files_of_folders_themselves_hold_no_code():
    assert code_of_folders(SOURCES) == {"SAMMed2DLib/__init__.py"}  # it loads the names of the face when they are used


def test_no_public_class_name_is_used_twice():
    assert repeated_classes(SOURCES) == set()


def test_public_functions_describe_three_or_more_arguments():
    assert without_args(SOURCES) == set()


# The checks themselves


def test_a_file_may_have_as_many_lines_as_the_limit():
    assert long_files({"a.py": "\n" * MOST_LINES, "b.py": "\n" * (MOST_LINES + 1)}) == {"b.py"}


def test_methods_are_counted_in_inner_classes_too():
    def inner(count: int) -> str:
        methods = "".join(f"        def f{index}(self): ...\n" for index in range(count))
        return f"class Outer:\n    class Inner:\n{methods}"

    assert large_classes({"a.py": inner(MOST_METHODS)}) == set()
    assert large_classes({"a.py": inner(MOST_METHODS + 1)}) == {"a.py Inner"}


def test_the_file_of_a_package_itself_does_not_fill_its_folder():
    files = ["x/__init__.py", *(f"x/{index}.py" for index in range(MOST_FILES)), "x/y/z.py"]
    assert full_folders(dict.fromkeys(files, "")) == set()
    assert full_folders(dict.fromkeys([*files, "x/more.py"], "")) == {"x"}


def test_a_folder_may_import_and_rename_but_not_define():
    imports, code = '"""A."""\nfrom a.b import c\nd = c', "def f(): ..."
    files = {"a/__init__.py": imports, "b/__init__.py": code, "c.py": code}
    assert code_of_folders(files) == {"b/__init__.py"}


def test_a_class_of_two_files_is_named_unless_it_is_private():
    source = "class Shared: ...\nclass _Private: ..."
    assert repeated_classes({"a.py": source, "b.py": source, "c.py": "class Other: ..."}) == {"Shared"}


def test_arguments_are_counted_without_self():
    methods = "def f(self, a, b): ...\n    def g(self, a, b, *, c): ...\n    def _h(self, a, b, c): ..."
    assert without_args({"a.py": f"class A:\n    {methods}"}) == {"a.py A.g"}
    assert without_args({"a.py": "class _A:\n    def f(self, a, b, c): ..."}) == set()
    assert without_args({"a.py": 'def f(a, b, c):\n    """F.\n\n    Args:\n        a: 1.\n    """'}) == set()
    assert without_args({"a.py": "class A:\n    def __init__(self, a, b, c): ..."}) == {"a.py A.__init__"}


def test_arguments_of_an_overridden_method_are_described_in_the_base_class():
    base = 'class Base:\n    def f(self, a, b, c):\n        """F.\n\n        Args:\n            a: 1.\n        """'
    derived = "class Derived(module.Base[int]):\n    def f(self, a, b, c): ...\n    def g(self, a, b, c): ..."
    assert without_args({"a.py": base, "b.py": derived}) == {"b.py Derived.g"}
    assert without_args({"b.py": derived}) == {"b.py Derived.f", "b.py Derived.g"}
