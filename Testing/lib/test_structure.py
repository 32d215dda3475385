"""How large files, classes and folders of both packages may be, and that a public class name is used once.

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

TOO_MANY_METHODS = {
    # Slicer calls an effect by some thirty names.
    "SAMMed2D/SegmentEditorSAMMed2DLib/SegmentEditorEffect.py SegmentEditorEffect",
    # An interpreter: a method for each instruction of a pickle.
    "SAMMed2DLib/checkpoints/safe_pickle.py _Machine",
}
TOO_FULL = {
    "SAMMed2DLib/data/curation",
    "SAMMed2DLib/evaluation",
    "SAMMed2DLib/training",
}


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


def repeated_classes(sources: dict[str, str]) -> set[str]:
    """Name the public classes, of files' top level, that several files define."""
    names = Counter(
        node.name
        for source in sources.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    return {name for name, count in names.items() if count > 1}


# Both packages. Left of a failure is what there is, right what is allowed: shorten, split or rename rather than add.


def test_the_files_are_found():
    assert {"SAMMed2DLib/__init__.py", "SAMMed2D/SAMMed2D.py", "SAMMed2DLib/imaging/geometry.py"} <= set(SOURCES)


def test_no_file_is_too_long():
    assert long_files(SOURCES) == set()


def test_no_class_has_too_many_methods():
    assert large_classes(SOURCES) == TOO_MANY_METHODS


def test_no_folder_is_too_full():
    assert full_folders(SOURCES) == TOO_FULL


def test_no_public_class_name_is_used_twice():
    assert repeated_classes(SOURCES) == set()


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


def test_a_class_of_two_files_is_named_unless_it_is_private():
    source = "class Shared: ...\nclass _Private: ..."
    assert repeated_classes({"a.py": source, "b.py": source, "c.py": "class Other: ..."}) == {"Shared"}
