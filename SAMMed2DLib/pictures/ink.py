"""Smooth lines, dots and letters: anti-aliased, each as the share of every pixel that it covers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from SAMMed2DLib.pictures.captions import ADVANCE, GLYPH_HW, text_mask

Color = tuple[float, float, float]


def polyline(size_hw: tuple[int, int], points_xy: np.ndarray, width_px: float) -> np.ndarray:
    """The cover of a line through points, with round ends; one point is a dot.

    Args:
        size_hw: of the picture, px.
        points_xy: (N, 2) float, px; an integer is a pixel centre. Lines may leave the picture.
        width_px: of the line.
    Returns:
        (H, W) float32, 0..1.
    """
    cover = np.zeros(size_hw, np.float32)
    points = np.asarray(points_xy, np.float64).reshape(-1, 2)
    ends = points[1:] if len(points) > 1 else points
    for start, end in zip(points, ends, strict=False):
        _cover_segment(cover, start, end, width_px / 2)
    return cover


def _cover_segment(cover: np.ndarray, start: np.ndarray, end: np.ndarray, radius: float) -> None:
    reach = radius + 1
    low = np.maximum(np.floor(np.minimum(start, end) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(start, end) + reach), np.array(cover.shape[::-1]) - 1).astype(int) + 1
    if (low >= high).any():
        return
    area = cover[low[1] : high[1], low[0] : high[0]]
    x = np.arange(low[0], high[0])[None] - start[0]
    y = np.arange(low[1], high[1])[:, None] - start[1]
    along_x, along_y = end - start
    along = np.clip((x * along_x + y * along_y) / max(along_x**2 + along_y**2, 1e-12), 0, 1)
    distance = np.hypot(x - along * along_x, y - along * along_y)
    np.maximum(area, np.clip(radius + 0.5 - distance, 0, 1), out=area)


def rectangle(size_hw: tuple[int, int], left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The cover of a rectangle, whose sides may lie within pixels.

    Args:
        size_hw: of the picture, px.
        left: side, px; here 0 is the outer edge of the first pixel.
        top: side, px.
        right: side, px.
        bottom: side, px.
    Returns:
        (H, W) float32, 0..1.
    """
    rows, columns = (
        np.clip(np.minimum(np.arange(count) + 1, high) - np.maximum(np.arange(count), low), 0, 1)
        for count, low, high in ((size_hw[0], top, bottom), (size_hw[1], left, right))
    )
    return (rows[:, None] * columns[None]).astype(np.float32)


def text(words: str, scale: float = 2) -> np.ndarray:
    """The cover of one line of text, the strokes of the small font drawn smoothly.

    Args:
        words: any string; see `captions.text_mask`.
        scale: px per pixel of the font.
    Returns:
        (H, W) float32, 0..1, cut to the font's height and the text's width.
    """
    ink = text_mask(words)
    return _strokes(ink.tobytes(), ink.shape[1], scale)


def text_width(words: str, scale: float = 2) -> int:
    """Width of a line of text, px."""
    return int(np.ceil(max(0, len(words) * ADVANCE - 1) * scale))


@lru_cache(maxsize=512)
def _strokes(ink_bytes: bytes, width: int, scale: float) -> np.ndarray:
    ink = np.frombuffer(ink_bytes, bool).reshape(GLYPH_HW[0], width)
    cover = np.zeros((int(np.ceil(GLYPH_HW[0] * scale)), int(np.ceil(width * scale))), np.float32)
    for start, end in _joined_pixels(ink):
        _cover_segment(cover, (start + 0.5) * scale - 0.5, (end + 0.5) * scale - 0.5, 0.375 * scale)
    cover.flags.writeable = False  # it is shared by all that ask for the same text
    return cover


def _joined_pixels(ink: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The strokes of a bitmap: neighbours, and diagonal ones where no straight way leads; (x, y) each."""
    padded = np.pad(ink, 1)
    for y, x in np.argwhere(padded):
        here = np.array([x, y]) - 1.0
        ways = [(1, 0), (0, 1)]
        ways += [(dx, 1) for dx in (-1, 1) if not padded[y, x + dx] and not padded[y + 1, x]]
        others = [(dx, dy) for dx, dy in ways if padded[y + dy, x + dx]]
        yield here, here
        yield from ((here, here + way) for way in others)


def paint(picture: np.ndarray, cover: np.ndarray, color: Color, top_left: tuple[int, int] = (0, 0)) -> None:
    """Blend a colour into a picture; what lies beyond its edges is cut off.

    Args:
        picture: (H, W, 3) float32, 0..255; changed.
        cover: (h, w), 0..1.
        color: red, green, blue in 0..1.
        top_left: where the cover goes, px; may be negative.
    """
    top, left = top_left
    cover = cover[max(0, -top) :, max(0, -left) :]
    area = picture[max(0, top) :, max(0, left) :][: cover.shape[0], : cover.shape[1]]
    share = cover[: area.shape[0], : area.shape[1], None]
    area[...] = area * (1 - share) + np.array(color, np.float32) * 255 * share
