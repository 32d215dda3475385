"""Writes the files of the tree into the lists of both CMakeLists.txt.

Run `python Testing/extension/update_cmake_lists.py` after adding, renaming or removing a file.
"""

from __future__ import annotations

import sys

from packaged_files import MODULES, ROOT, lists_of_tree, unknown_files, with_lists


def update(module: str) -> bool:
    """Write one module's lists.

    Returns:
        Whether anything changed.
    """
    path = ROOT / module / "CMakeLists.txt"
    old = path.read_text(encoding="utf-8")
    new = with_lists(old, lists_of_tree(module))
    path.write_text(new, encoding="utf-8")
    return new != old


def main() -> int:
    """Update all modules, and name the files that belong nowhere."""
    for module in MODULES:
        print(f"{module}/CMakeLists.txt: {'updated' if update(module) else 'was up to date'}")
    unknown = [f"{module}/{file}" for module in MODULES for file in unknown_files(module)]
    for file in unknown:
        print(f"{file} is in no list: what is it? See packaged_files.py", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
