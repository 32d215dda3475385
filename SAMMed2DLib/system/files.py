"""File names with two-part suffixes, and files that appear together or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

_STAGED = re.compile(r"\.+(?P<stem>.+?)(-[0-9a-f]{12}\.part)+(?P<suffix>.*)", re.DOTALL)
TWO_PART_SUFFIXES = (".nii.gz", ".seg.nrrd", ".mrk.json")
# Of formats without a place in the patient, and whose pixels have no size.
PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))


def suffix_of(path: str | Path) -> str:
    """The suffix in lower case, a two-part one (.nii.gz, .seg.nrrd, .mrk.json) whole; "" if there is none."""
    name = Path(path).name.lower()
    return next((s for s in TWO_PART_SUFFIXES if name.endswith(s)), Path(name).suffix)


def stem_of(path: str | Path) -> str:
    """The file's name without its suffix, two-part suffixes included."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(path))] or name


class JsonError(ValueError):
    """A file is no JSON that can be used; the message says why, for a sentence that names the file."""


def read_json(path: str | Path) -> Any:
    """Read a JSON file, whatever is in it.

    Raises:
        JsonError: it is no JSON, or made to do harm.
        OSError: it cannot be opened.
    """
    try:
        return parsed_json(Path(path).read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise JsonError("it is no text in UTF-8") from error


def parsed_json(text: str) -> Any:
    """Read JSON from a text; errors as `read_json`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise JsonError("it is nested too deeply") from error
    except ValueError as error:
        raise JsonError("it holds a number of thousands of digits") from error


class StagedFiles:
    """Output files, written beside their final places and moved there together at the end.

    Use as a context manager: `place(path)` gives the name to write to; leaving the block moves everything
    into place, an exception removes everything and leaves what was there before.
    """

    def __init__(self) -> None:
        """Start with nothing staged."""
        self._staged: dict[Path, Path] = {}

    def __enter__(self) -> StagedFiles:
        """Return itself."""
        return self

    def place(self, path: str | Path) -> Path:
        """The temporary file to write instead of `path`: hidden, beside it, with the same suffix.

        Where `path` is a link, the file that it leads to is written, and the link stays.
        """
        final = Path(path)
        if final.is_symlink():
            final = Path(os.path.realpath(final))
        if final.exists() and not (final.is_file() or final.is_dir()):
            raise OSError(errno.EINVAL, "is a device, no file; give the name of a file", str(path))
        unique = uuid4().hex[:12]  # process numbers repeat on other computers that write to the same folder
        staged = final.with_name(f".{stem_of(final)}-{unique}.part{suffix_of(path)}")
        self._staged[staged] = final
        return staged

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Move everything into place, or remove it after an exception."""
        try:
            if kind is None:
                for staged, final in self._staged.items():
                    os.replace(staged, final)
        finally:
            for staged in self._staged:
                staged.unlink(missing_ok=True)


def remove_leftovers(*paths: str | Path) -> None:
    """Remove what a killed process left beside files that it was about to write; none may be writing them now."""
    names: dict[Path, set[str]] = {}
    for final in map(Path, paths):
        names.setdefault(final.parent, set()).add(final.name.lower())
    for folder, of_folder in names.items():
        for other in folder.iterdir() if folder.is_dir() else ():
            staged = _STAGED.fullmatch(other.name.lower())
            if staged and staged["stem"] + staged["suffix"] in of_folder:
                other.unlink(missing_ok=True)
