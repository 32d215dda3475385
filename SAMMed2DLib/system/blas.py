"""How many threads NumPy's BLAS uses: one, while others compute, beside which its own would spin.

The number holds for the whole process; it is given back when the last one who asked for one thread has finished.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

_lock = Lock()
_users = 0
_before = 0  # threads while _users was 0 last


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let NumPy's BLAS use one thread within the context, where it lets itself be told, for several users at a time."""
    global _users, _before
    calls = blas_calls()
    if calls is None:
        yield
        return
    get, set_ = calls
    with _lock:
        if not _users:
            _before = get()
            set_(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                set_(_before)


def blas_threads() -> int:
    """How many threads NumPy's BLAS uses outside of `one_blas_thread`; 0 where it does not say."""
    calls = blas_calls()
    if calls is None:
        return 0
    with _lock:
        return _before if _users else calls[0]()


@cache
def blas_calls() -> tuple[Any, Any] | None:
    """Functions that get and set the threads of the OpenBLAS that comes with NumPy; None for another BLAS."""
    package = Path(np.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".libs", package / ".dylibs")
    for file in (file for folder in folders for file in sorted(folder.glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(file))
        except OSError:
            continue
        for form in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
            get, set_ = (getattr(library, form.format(what), None) for what in ("get", "set"))
            if get is not None and set_ is not None:
                set_.restype, set_.argtypes = None, [ctypes.c_int]
                return get, set_
    return None
