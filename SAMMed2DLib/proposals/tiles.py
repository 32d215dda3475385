"""What the image encoder sees of a slice, in tiles that show objects large enough, put together as one map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.zoom import Crop
from SAMMed2DLib.proposals.steps import ShouldStop

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session


# A tile is so many times as long as an object: features are then a few for each object, and the decoder, which sees the
# tile, sees more than a speck.
_OBJECTS_LONG = 10.0
# Tiles are no smaller than this share of the slice, since each costs an encoding; the object is then seen smaller.
_SMALLEST_SHARE = 1 / 3
# Tiles share so much of their side with the next one, for objects at their borders.
_OVERLAP = 0.2
# A place of the map is so many times smaller than an object.
_PLACES_LONG = 3.0


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """A slice as features.

    Attributes:
        values: (C, h, w) float32, of the encoder.
        colors: (3, h, w) float32, of the image.
        step_px: side of a place, slice px; the first one begins at the slice's corner.
    """

    values: np.ndarray
    colors: np.ndarray
    step_px: int

    def places(self, pixels_hw: np.ndarray) -> np.ndarray:
        """The mean of (H, W) pixels in each place: (h, w) float32; the rest at the far borders is left out."""
        return _place_means(pixels_hw[..., None], self.step_px)[0]


def tiles_of(size_hw: tuple[int, int], object_px: float) -> list[Crop]:
    """Cover a slice by tiles.

    Args:
        size_hw: of the slice, px.
        object_px: how long objects are.
    """
    side = round(min(max(_OBJECTS_LONG * object_px, _SMALLEST_SHARE * max(size_hw)), max(size_hw)))
    return tiles_of_side(size_hw, side)


def tiles_of_side(size_hw: tuple[int, int], side_px: int) -> list[Crop]:
    """Cover a slice by overlapping tiles of a side, px; where the slice is narrower, they are."""
    return [
        Crop(x, y, min(x + side_px, size_hw[1]), min(y + side_px, size_hw[0]), size_hw)
        for y in _starts(size_hw[0], side_px)
        for x in _starts(size_hw[1], side_px)
    ]


def best_tile(tiles: Sequence[Crop], point_xy: np.ndarray) -> int:
    """The number of the tile in which a point, (2,) slice px, lies deepest."""
    x, y = point_xy
    depths = [min(x - tile.x0, tile.x1 - 1 - x, y - tile.y0, tile.y1 - 1 - y) for tile in tiles]
    return int(np.argmax(depths))


def feature_map(
    session: Session, image: np.ndarray, tiles: list[Crop], object_px: float, should_stop: ShouldStop | None = None
) -> FeatureMap:
    """Put the features of tiles together.

    Args:
        session: encodes what it has not seen.
        image: (H, W, 3) uint8, the slice.
        tiles: cover the slice.
        object_px: how long objects are; places are a few times smaller.
        should_stop: ends the work early.

    Raises:
        Stopped: `should_stop` said so.
    """
    step = max(1, min(round(object_px / _PLACES_LONG), min(image.shape[:2]) // 8 or 1))
    height, width = (n // step for n in image.shape[:2])
    total: np.ndarray | None = None
    weight = np.zeros((height, width), np.float32)
    for tile in tiles:
        cut = tile_image(image, tile)
        session.encode(cut, should_stop, coarse=False)
        features = session.embed([cut])[0].array[0]
        rows, columns = (_centres(low, high, step, n) for low, high, n in _spans(tile, height, width))
        part = np.einsum(
            "yg,cgh,xh->cyx",
            _interpolation((rows + 0.5) * step - tile.y0, tile.y1 - tile.y0, features.shape[1]),
            features,
            _interpolation((columns + 0.5) * step - tile.x0, tile.x1 - tile.x0, features.shape[2]),
            optimize=True,
        )
        if total is None:
            total = np.zeros((len(features), height, width), np.float32)
        inner = np.minimum.outer(_depth(len(rows)), _depth(len(columns)))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        total[:, *window] += part * inner
        weight[window] += inner
    if total is None:
        raise ValueError("a slice needs at least one tile")
    return FeatureMap(total / weight, _place_means(image, step), step)


def tile_image(image: np.ndarray, tile: Crop) -> np.ndarray:
    """The pixels of a tile, which own their memory, so that a session reads them once for its key."""
    return np.ascontiguousarray(tile.cut(image))


def _starts(length: int, side: int) -> list[int]:
    if side >= length:
        return [0]
    count = int(np.ceil((length - side) / (side * (1 - _OVERLAP))))
    return [round(n * (length - side) / count) for n in range(count + 1)]


def _spans(tile: Crop, height: int, width: int) -> Iterator[tuple[int, int, int]]:
    yield tile.y0, tile.y1, height
    yield tile.x0, tile.x1, width


def _centres(low: int, high: int, step: int, count: int) -> np.ndarray:
    """The places whose middle is in a span of pixels."""
    places = np.arange(count)
    middles = (places + 0.5) * step
    return places[(middles >= low) & (middles <= high)]


def _interpolation(at_px: np.ndarray, side_px: int, count: int) -> np.ndarray:
    """(n, count) weights: linear interpolation of cells that share a side, at places in it."""
    position = np.clip(at_px * count / side_px - 0.5, 0, count - 1)
    low = np.minimum(position.astype(int), max(count - 2, 0))
    share = (position - low).astype(np.float32)
    weights = np.zeros((len(at_px), count), np.float32)
    rows = np.arange(len(at_px))
    weights[rows, low] += 1 - share
    weights[rows, np.minimum(low + 1, count - 1)] += share
    return weights


def _depth(count: int) -> np.ndarray:
    """How deep in a row of places each lies, from 1: tiles count less at their borders, where they see half."""
    forth = np.arange(1, count + 1, dtype=np.float32)
    return np.minimum(forth, forth[::-1])


def _place_means(pixels: np.ndarray, step: int) -> np.ndarray:
    """(H, W, C) to (C, h, w) float32."""
    height, width = (n // step for n in pixels.shape[:2])
    whole = pixels[: height * step, : width * step].astype(np.float32)
    return whole.reshape(height, step, width, step, -1).mean(axis=(1, 3)).transpose(2, 0, 1)
