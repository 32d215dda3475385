"""How many threads compute: parts of a map in threads of our own, products of matrices in those of NumPy's BLAS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from SAMMed2DLib.imaging.bilinear import blas_calls, blas_threads

_BAND_PIXELS = 448  # products of matrices are not faster with more

_count = 0  # 0: as many as NumPy's BLAS has
_pool: tuple[int, ThreadPoolExecutor] | None = None


def threads() -> int:
    """How many threads compute at a time."""
    return _count or _blas_threads() or cores()


def set_threads(count: int) -> None:
    """Let so many threads compute from the next call on, as `torch.set_num_threads` does for PyTorch."""
    global _count
    _count = max(1, count)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_band(work: Callable[[int, int], object], height: int, width: int) -> None:
    """Do a piece of work for each band of a map, in all threads: as many rows as fit the cache, and as threads share.

    Args:
        work: gets the first row and the one after the last.
        height: rows of the map.
        width: its columns.
    """
    rows = max(1, min(_BAND_PIXELS // width, -(-height // threads())))
    each(lambda first: work(first, min(first + rows, height)), range(0, height, rows))


def each(work: Callable[[int], object], numbers: Iterable[int]) -> None:
    """Do a piece of work for each number, in all threads; products within them run in one thread each."""
    global _pool
    count = threads()
    if count == 1:
        for number in numbers:
            work(number)
        return
    if _pool is None or _pool[0] != count:
        _pool = count, ThreadPoolExecutor(count, "sammed2d-numpy")
    with blas_threads(1):
        for _ in _pool[1].map(work, numbers):
            pass


def _blas_threads() -> int:
    calls = blas_calls()
    return calls[0]() if calls else 0
