"""Which files the extension packages: by its tree, and by the lists in its two CMakeLists.txt."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("SAMMed2D", "SAMMed2DLib")

SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
SUFFIXES = {
    SCRIPTS: {".py"},
    RESOURCES: {".ui", ".png", ".svg", ".json", ".pt", ".md", ".typed", ".css", ".html", ".js", ".txt"},
}
NEVER_PACKAGED = {"CMakeLists.txt"}

Lists = dict[str, list[str]]


def files_of(module: str, root: Path = ROOT) -> list[str]:
    """What a module's folder holds, without what Python and desktops leave behind.

    Args:
        module: one of `MODULES`.
        root: the repository.
    Returns:
        Paths below the module's folder, with slashes, sorted.
    """
    folder = root / module
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [path.as_posix() for path in paths if not _is_left_behind(path)]


def _is_left_behind(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix in {".pyc", ".part"} or path.name.startswith(".")


def lists_of_tree(module: str, root: Path = ROOT) -> Lists:
    """The lists that a module's CMakeLists.txt should have."""
    files = [file for file in files_of(module, root) if Path(file).name not in NEVER_PACKAGED]
    return {name: [file for file in files if Path(file).suffix in suffixes] for name, suffixes in SUFFIXES.items()}


def unknown_files(module: str, root: Path = ROOT) -> list[str]:
    """Files that would be in no list, for which somebody has to decide."""
    known = NEVER_PACKAGED.union(*lists_of_tree(module, root).values())
    return [file for file in files_of(module, root) if file not in known]


def lists_of_cmake(text: str) -> Lists:
    """The lists that a CMakeLists.txt has.

    Raises:
        ValueError: a list is not there, or there twice.
    """
    return {name: _list_in(text, name).group(1).split() for name in SUFFIXES}


def with_lists(text: str, lists: Lists) -> str:
    """A CMakeLists.txt with other lists."""
    for name, files in lists.items():
        found = _list_in(text, name)
        lines = "".join(f"\n  {file}" for file in files)
        text = f"{text[: found.start(1)]}{lines}\n  {text[found.end(1) :]}"
    return text


def _list_in(text: str, name: str) -> re.Match[str]:
    found = list(re.finditer(rf"^set\({name}\b([^)]*)\)", text, re.MULTILINE))
    if len(found) != 1:
        raise ValueError(f"set({name} ...) is there {len(found)} times, not once")
    return found[0]
