"""Images that are the same under two names, found among many without comparing each with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np

from SAMMed2DLib.data.curation.thumbnails import difference_hash

SAME_CORRELATION = 0.999
_BANDS, _BAND_BITS = 4, 16  # images whose hashes differ in up to three bits have one of four parts in common
_FLAT = 2.0  # standard deviation of a thumbnail, grey values, below which there is nothing to compare
_SAME_SHAPE = 0.02
_ROWS = 1024


class Groups:
    """Things that belong together, by pairs."""

    def __init__(self) -> None:
        """Start with everything alone."""
        self._above: dict[Hashable, Hashable] = {}

    def join(self, first: Hashable, second: Hashable) -> None:
        """Say that two belong together."""
        self._above[self.root(first)] = self.root(second)

    def root(self, one: Hashable) -> Hashable:
        """The one that stands for its group; itself if it is alone."""
        while (above := self._above.get(one, one)) != one:
            self._above[one] = one = self._above.get(above, above)
        return one


def same_images(
    thumbnails: Sequence[np.ndarray], owners: Sequence[Hashable], sizes_hw: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Find pairs of images of different owners that show the same, whatever their brightness, contrast and size.

    Args:
        thumbnails: (16, 16) float32 each.
        owners: whose they are; images of one owner are not compared.
        sizes_hw: of the images, px.
    Returns:
        numbers of the two images, the lower first; a pair may come more than once.
    """
    if not len(thumbnails):
        return
    small = np.stack(thumbnails).reshape(len(thumbnails), -1)
    spread = small.std(axis=1)
    unit = (small - small.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-6)[:, None] / np.sqrt(small.shape[1])
    shape = np.array([width / height for height, width in sizes_hw])
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    owner = np.array([numbers[one] for one in owners])
    for bucket in _buckets(thumbnails, np.flatnonzero(spread >= _FLAT)):
        for start in range(0, len(bucket), _ROWS):
            rows = bucket[start : start + _ROWS]
            same = unit[rows] @ unit[bucket].T >= SAME_CORRELATION
            same &= owner[rows][:, None] != owner[bucket]
            same &= np.abs(shape[rows][:, None] / shape[bucket] - 1) <= _SAME_SHAPE
            for row, column in np.argwhere(same):
                if rows[row] < bucket[column]:
                    yield int(rows[row]), int(bucket[column])


def _buckets(thumbnails: Sequence[np.ndarray], numbers: Iterable[int]) -> Iterator[np.ndarray]:
    """Images that have a part of their hash in common."""
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in numbers:
        bits = difference_hash(thumbnails[number])
        for band in range(_BANDS):
            buckets[band, bits >> (band * _BAND_BITS) & 0xFFFF].append(int(number))
    yield from (np.array(bucket) for bucket in buckets.values() if len(bucket) > 1)
