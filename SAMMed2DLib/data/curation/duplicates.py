"""Images that show the same under two names: found by small versions of them, without comparing each with each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np

SIDE = 16


def thumbnail(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Average an image down.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        side: of the thumbnail, px.
    Returns:
        (side, side) float32, 0..255.
    """
    grey = image if image.ndim == 2 else image.mean(axis=2)
    for axis in (0, 1):
        grey = _averaged(grey, axis, side)
    return grey.astype(np.float32)


def _averaged(image: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Averages of `count` equal parts, whose edges may lie within pixels."""
    length = image.shape[axis]
    total = np.concatenate([np.zeros_like(image.take([0], axis), np.float64), np.cumsum(image, axis, np.float64)], axis)
    edge = np.arange(count + 1) * length / count
    low = np.minimum(edge.astype(int), length)
    share = (edge - low).reshape((-1, 1) if axis == 0 else (1, -1))
    at_edge = total.take(low, axis) * (1 - share) + total.take(np.minimum(low + 1, length), axis) * share
    return np.diff(at_edge, axis=axis) * count / length


def differ(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of two thumbnails, as a share of the grey range."""
    return float(np.abs(first - second).mean() / 255)


def difference_hash(small: np.ndarray) -> int:
    """64 bits: where an (8, 9) version of a thumbnail gets brighter from left to right, whatever its contrast."""
    rows = _averaged(small, 0, 8)
    columns = _averaged(rows, 1, 9)
    bits = (columns[:, 1:] > columns[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


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

    def root(self, item: Hashable) -> Hashable:
        """The item that stands for its group; itself if it is alone."""
        while (above := self._above.get(item, item)) != item:
            self._above[item] = item = self._above.get(above, above)
        return item


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
    owner = np.array([numbers[name] for name in owners])
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
