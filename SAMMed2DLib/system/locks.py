"""Locks on file names: two processes do not write the same files at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


class FileBusyError(OSError):
    """Another process or thread holds the lock."""


@contextmanager
def lock_beside(target: Path) -> Iterator[None]:
    """Hold a lock on a file name that ends, at the latest, with the process.

    Raises:
        FileBusyError: someone else holds it.
    """
    path = target.with_name(f".{target.name}.lock")
    while True:
        with path.open("a+b") as file:
            _lock(file)
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                continue  # its last holder removed it between our opening and our locking
            try:
                yield
            finally:
                with suppress(OSError):  # Windows does not remove an open file
                    path.unlink()
            return


def _lock(file: BinaryIO) -> None:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise FileBusyError(str(error)) from error


@contextmanager
def sole_use(target: Path) -> Iterator[bool]:
    """Keep other processes from the files that belong to `target` until the end of the block.

    Yields:
        False on a file system that knows no locks, as some clusters have: then nobody knows who else is there.

    Raises:
        FileBusyError: another process is using them.
    """
    with ExitStack() as held:
        is_sole = True
        try:
            held.enter_context(lock_beside(target))
        except FileBusyError as error:
            if isinstance(error.__cause__, BlockingIOError | PermissionError):
                raise
            is_sole = False
        yield is_sole
