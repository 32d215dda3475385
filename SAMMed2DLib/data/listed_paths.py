"""Where the files are that a list names by relative paths, when the list does not say from where they begin."""

from __future__ import annotations

import os
from pathlib import Path


class ListedPaths:
    """Finds the files of a list under the folder asked for, beside the list, in the folders above, and from here.

    Attributes:
        tried: the folders, in words.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        """Prepare.

        Args:
            folder: of the list.
            root: where to look first; None for nowhere else.
        """
        here = Path.cwd()
        above = [*folder.absolute().parents, *folder.resolve().parents]
        self._folder = folder
        self._bases = dict.fromkeys([*([root] if root else []), folder, *above, here])
        under = f"under {root}, " if root else ""
        self.tried = f"{under}in {folder}, in the folders above it, and from the working directory {here}"

    def find(self, path: str) -> str | None:
        """The path of a file, relative to the list's folder; None if it is nowhere."""
        base = next((base for base in self._bases if os.path.exists(base / path)), None)
        return None if base is None else path if base == self._folder else self._relative(base / path)

    def _relative(self, path: Path) -> str:
        """The same for everybody who reads the list, whatever the working directory."""
        relative = Path(os.path.relpath(path, self._folder))
        # ".." leads elsewhere where the list's folder is a link.
        return (relative if (self._folder / relative).exists() else path.absolute()).as_posix()
