"""How many threads compute, each its parts of a map; the engine holds NumPy's BLAS at one thread meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

from SAMMed2DLib.system.blas import blas_threads

_BAND_PIXELS = 448  # products of matrices are not faster with more

_Piece = TypeVar("_Piece")

_count = 0  # 0: as many as NumPy's BLAS has


def threads() -> int:
    """How many threads compute at a time."""
    return _count or blas_threads() or cores()


def set_threads(count: int) -> None:
    """Let so many threads compute from the next call on, as `torch.set_num_threads` does for PyTorch."""
    global _count
    _count = max(1, count)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each_band(work: Callable[[int, int], object], height: int, width: int, pixels: int = 0) -> None:
    """Do a piece of work for each band of a map, in all threads: as many rows as fit the cache, and as threads share.

    Args:
        work: gets the first row and the one after the last.
        height: rows of the map.
        width: its columns.
        pixels: let a band have so many where they are more than usual, because there is little to do for each.
    """
    rows = rows_of_a_band(height, width, pixels)
    each(lambda first: work(first, min(first + rows, height)), range(0, height, rows))


def rows_of_a_band(height: int, width: int, pixels: int = 0) -> int:
    """How many rows of a map are worked on at a time, so that all threads have as many bands.

    Args:
        height: rows of the map.
        width: its columns.
        pixels: as for `each_band`.
    """
    count, fitting = threads(), max(1, max(_BAND_PIXELS, pixels) // width)
    rounds = -(-height // (fitting * count))
    return -(-height // (rounds * count))


def each(work: Callable[[_Piece], object], pieces: Sequence[_Piece]) -> None:
    """Do each piece of work, in all threads, of which the caller's is one; the first error is raised."""
    left, count = iter(pieces), min(len(pieces), threads())

    def work_on() -> None:
        for piece in left:  # the next one that nobody has taken
            work(piece)

    others = [_pool(threads()).submit(work_on) for _ in range(count - 1)]
    try:
        work_on()
    finally:
        wait([other for other in others if not other.cancel()])  # who has not begun finds nothing left to do
    for other in others:
        if not other.cancelled():
            other.result()


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count - 1, "sammed2d-numpy")
