"""Where files of work in progress lie, and which of them were left by a Slicer that is no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import slicer

from SAMMed2DLib.io.saved_work import SUFFIX
from SAMMed2DLib.system.files import remove_leftovers
from SAMMed2DLib.system.locks import FileBusyError, sole_use

# Names of files that lie beside scenes: those in the temporary folder are found without.
_SETTING = "SAMMed2D/RecoveryFiles"
_SEPARATOR = "\n"


class RecoveryFile:
    """The place of one file, which is this process's own as long as it is held."""

    def __init__(self) -> None:
        """Hold no place yet."""
        self.path: Path | None = None
        self._held = ExitStack()

    def place(self) -> Path:
        """The file to write: beside the scene, or in the temporary folder where the scene is nowhere yet.

        Raises:
            OSError: neither folder can be written to.
        """
        folder = folder_of_scene() or Path(slicer.app.temporaryPath)
        if self.path is None or self.path.parent != folder:
            self.remove()
            path = folder / f"unsaved-{uuid4().hex[:12]}{SUFFIX}"
            self._held.enter_context(sole_use(path))
            self.path = path
            _remember([*_remembered(), path])
        return self.path

    def remove(self) -> None:
        """Remove the file: what was in it is saved, or not wanted."""
        if self.path is not None:
            discard(self.path)
            self._held.close()
            self.path = None


def folder_of_scene() -> Path | None:
    """The folder of the scene's file; None where it has none, or one that cannot be written to."""
    url = slicer.mrmlScene.GetURL()
    folder = Path(url).parent if url else None
    return folder if folder is not None and folder.is_dir() and os.access(folder, os.W_OK) else None


def left_files() -> Iterator[Path]:
    """Files whose processes have ended without removing them, the newest first."""
    found = {*_remembered(), *Path(slicer.app.temporaryPath).glob(f"unsaved-*{SUFFIX}")}
    there = sorted((path for path in found if path.is_file()), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in there:
        try:
            with sole_use(path):
                pass
        except FileBusyError:
            continue  # another Slicer is at work on it
        yield path


def discard(path: Path) -> None:
    """Remove a file and all traces of it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        remove_leftovers(path)
    _remember([other for other in _remembered() if other != path])


def _remembered() -> list[Path]:
    text = str(slicer.app.settings().value(_SETTING, "") or "")
    return [Path(line) for line in text.split(_SEPARATOR) if line]


def _remember(paths: list[Path]) -> None:
    settings = slicer.app.settings()
    settings.setValue(_SETTING, _SEPARATOR.join(dict.fromkeys(map(str, paths))))
    settings.sync()  # else it might be lost in the crash for which it is
