"""What a folder looks like at each moment at which a process that writes into it may be killed.

The process need not be killed for that: what is on disk after a kill is what was there before the operation that did
not happen any more, or half of what was being written. So one undisturbed run shows all of it.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import SimpleITK

Contents = dict[str, bytes | None]
"""Files by their path in the folder; None for a folder."""
_OPERATIONS = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "truncate", "ftruncate")
_BUFFER = 1 << 24  # one write for each file: more of them only take longer


def contents(folder: Path) -> Contents:
    """All that is in a folder."""
    return {
        path.relative_to(folder).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def restore(folder: Path, state: Contents) -> None:
    """Make a folder that looks like that."""
    folder.mkdir(parents=True)
    for name, data in state.items():
        if data is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(data)


def differing(states: Sequence[Contents]) -> list[Contents]:
    """Those that differ, not counting what is in files that were being written, and how these are called."""
    found: dict[int, Contents] = {}
    for number, state in enumerate(states):
        parts = {re.sub("[0-9a-f]{12}", "", name): b"" if ".part" in name else state[name] for name in state}
        if parts not in found.values():
            found[number] = parts
    return [states[number] for number in found]


@contextmanager
def recorded(folder: Path) -> Iterator[list[Contents]]:
    """List the states through which a folder goes in this block, the first one included, each once in a row."""
    states: list[Contents] = []
    is_looking = False

    def look(torn: Path | None = None, lost: int = 0) -> None:
        """Note what there is; of one file without so many of the bytes that were just written."""
        nonlocal is_looking
        if is_looking:
            return
        is_looking = True
        state = contents(folder) if folder.exists() else {}
        if torn is not None and torn.is_relative_to(folder):
            name = torn.relative_to(folder).as_posix()
            state[name] = (state[name] or b"")[:-lost]
        if not states or state != states[-1]:
            states.append(state)
        is_looking = False

    with _watched(look):
        yield states


@contextmanager
def full_disk(free_writes: int) -> Iterator[None]:
    """Let no more than so many files be written in this block."""
    left = free_writes

    def write(raw: io.FileIO) -> None:
        nonlocal left
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= 1

    with _watched(lambda torn=None, lost=0: None, write):
        yield


@contextmanager
def _watched(look: Callable[..., None], before_write: Callable[[io.FileIO], None] = lambda raw: None) -> Iterator[None]:
    """Call `look` around all that changes files, from Python or by SimpleITK."""

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            before_write(self)
            look()
            count = super().write(data)
            look(Path(self.name), (count + 1) // 2)
            return count

        def truncate(self, size: int | None = None) -> int:
            look()
            return super().truncate(size)

    plain_open, plain_write = io.open, SimpleITK.WriteImage

    def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
               newline: Any = None, *rest: Any, **more: Any) -> Any:  # fmt: skip
        if not set(mode) & set("wax+") or isinstance(file, int):
            return plain_open(file, mode, buffering, encoding, errors, newline, *rest, **more)
        look()
        raw = Raw(os.fspath(file), mode.replace("b", "").replace("t", ""))
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, _BUFFER)
        if "a" in mode:
            buffered.seek(0, os.SEEK_END)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def write_image(image: Any, path: Any, *rest: Any, **more: Any) -> None:
        with plain_open(os.devnull, "wb") as raw:
            before_write(raw)
        look()
        plain_write(image, path, *rest, **more)
        look(Path(path), (Path(path).stat().st_size + 1) // 2)

    def looking(name: str) -> Callable[..., Any]:
        plain = getattr(os, name)

        def operation(*arguments: Any, **more: Any) -> Any:
            look()
            return plain(*arguments, **more)

        return operation

    with (
        mock.patch.multiple(os, **{name: looking(name) for name in _OPERATIONS}),
        mock.patch.object(builtins, "open", opened),
        mock.patch.object(io, "open", opened),
        mock.patch.object(SimpleITK, "WriteImage", write_image),
    ):
        yield
        look()
