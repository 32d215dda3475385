"""The picture of a chart: title, legend, axes with their numbers, and the curves or bars within."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMMed2DLib.pictures import ink
from SAMMed2DLib.pictures.axes import Axis, number_text, round_step
from SAMMed2DLib.pictures.captions import GLYPH_HW, fitting

# Told apart also by most colour-blind readers, and on white.
SERIES_COLORS: tuple[ink.Color, ...] = (
    (0.00, 0.45, 0.70), (0.84, 0.37, 0.00), (0.00, 0.60, 0.45), (0.80, 0.47, 0.65), (0.90, 0.62, 0.00),
    (0.34, 0.71, 0.91), (0.35, 0.35, 0.35), (0.50, 0.30, 0.70), (0.60, 0.40, 0.20), (0.55, 0.70, 0.20),
)  # fmt: skip
INK: ink.Color = (0.20, 0.22, 0.25)
GRID: ink.Color = (0.88, 0.89, 0.91)
TEXT_SCALE, TITLE_SCALE = 1.5, 2.0
_LINE = round(GLYPH_HW[0] * TEXT_SCALE)  # height of a line of text, px
_PAD = 12
_SWATCH = 18


def series_colors(count: int) -> list[ink.Color]:
    """A colour for each series; they repeat after ten."""
    return [SERIES_COLORS[n % len(SERIES_COLORS)] for n in range(count)]


@dataclass(eq=False)
class ChartFrame:
    """A picture and the part of it that the axes enclose.

    Attributes:
        picture: (H, W, 3) float32, 0..255.
        left, top, right, bottom: edges of the plot, px; 0 is the outer edge of the first pixel.
        turned: labels of bars stand upright.
    """

    picture: np.ndarray
    left: int
    top: int
    right: int
    bottom: int
    turned: bool = False

    @classmethod
    def of(
        cls,
        size_hw: tuple[int, int],
        title: str,
        x_label: str,
        y_label: str,
        names: Sequence[str],
        y_axis: Axis,
        labels: Sequence[str] | None = None,
    ) -> ChartFrame:
        """White, with title, legend and the names of the axes; the plot takes what is left."""
        height, width = size_hw
        chart = cls(np.full((height, width, 3), 255, np.float32), _PAD, _PAD, width - 2 * _PAD, height - _PAD)
        chart.left += _LINE + _PAD if y_label else 0
        chart.left += max((ink.text_width(word, TEXT_SCALE) for word in y_axis.texts), default=0) + 8
        chart._write_title(title)
        chart._write_legend(names)
        chart.bottom -= _LINE + _PAD if x_label else 0
        chart.bottom -= chart._label_room(labels)
        chart._write_axis_names(x_label, y_label)
        return chart

    @property
    def size_hw(self) -> tuple[int, int]:
        """Of the whole picture, px."""
        return self.picture.shape[0], self.picture.shape[1]

    def finished(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        return np.clip(self.picture + 0.5, 0, 255).astype(np.uint8)

    def leave_line(self) -> None:
        """Leave a line free between the legend and the plot."""
        self.top += _LINE + 4

    def draw_grid(self, x_axis: Axis | None, y_axis: Axis) -> None:
        """Light lines at the ticks, their numbers beside the plot, a dark base line."""
        for share, word in zip(y_axis.share(np.array(y_axis.ticks)), y_axis.texts, strict=True):
            y = round(self.bottom - share * (self.bottom - self.top))
            self._fill(self.left, y - 0.5, self.right, y + 0.5, GRID)
            self._write(word, (y - _LINE // 2, self.left - 8 - ink.text_width(word, TEXT_SCALE)))
        for share, word in _spread(x_axis, self.right - self.left) if x_axis else ():
            x = round(self.left + share * (self.right - self.left))
            self._fill(x - 0.5, self.top, x + 0.5, self.bottom, GRID)
            place = x - ink.text_width(word, TEXT_SCALE) // 2
            self._write(word, (self.bottom + 8, min(place, self.size_hw[1] - ink.text_width(word, TEXT_SCALE) - 2)))
        self._fill(self.left, self.bottom - 0.5, self.right, self.bottom + 1, INK)

    def draw_curve(self, shares: np.ndarray, color: ink.Color) -> None:
        """A curve of (N, 2) shares of the axes; rows of NaN are gaps."""
        size = np.array([self.right - self.left, self.bottom - self.top])
        points = np.array([0, self.bottom - self.top]) + shares * size * (1, -1) - 0.5
        plot_hw = (int(size[1]), int(size[0]))
        known = ~np.isnan(points).any(axis=1)
        area = self.picture[self.top : self.bottom, self.left : self.right]
        for piece in _pieces(points, known):
            ink.paint(area, ink.polyline(plot_hw, _thinned(piece, int(size[0])), 2), color)
        for point in points[known] if known.sum() <= 40 else ():
            dot = ink.polyline(self.size_hw, point + np.array([self.left, self.top]), 7)
            ink.paint(self.picture, dot, color)

    def draw_bars(self, shares: np.ndarray, base: float) -> None:
        """Bars of (series, labels) shares of the y axis, in groups by label, from `base` on."""
        height, base = self.bottom - self.top, float(np.clip(base, 0, 1))
        for number, color in enumerate(series_colors(len(shares))):
            for place, share in enumerate(np.clip(shares[number], 0, 1)):
                if np.isnan(share):
                    continue
                left, right = self._bar(number, place, shares.shape)
                low, high = sorted((base, float(share)))
                self._fill(left, self.bottom - high * height, right, self.bottom - low * height, color)
        self._fill(self.left, self.bottom - base * height - 0.5, self.right, self.bottom - base * height + 1, INK)

    def write_values(self, heights: np.ndarray, y_axis: Axis) -> None:
        """The value over each bar that is wide enough."""
        for (number, place), value in np.ndenumerate(heights):
            word = _value_text(float(value))
            left, right = self._bar(number, place, heights.shape)
            if word and ink.text_width(word, TEXT_SCALE) <= (right - left) + 4:
                share = float(np.clip(y_axis.share(np.array(value)), 0, 1))
                top = round(self.bottom - share * (self.bottom - self.top)) - _LINE - 4
                self._write(word, (top, round((left + right - ink.text_width(word, TEXT_SCALE)) / 2)))

    def write_labels(self, labels: Sequence[str]) -> None:
        """The labels of the bars, under them."""
        step = (self.right - self.left) / max(len(labels), 1)
        skip = int(np.ceil((_LINE + 2) / step)) if self.turned else 1
        for place, label in list(enumerate(labels))[::skip]:
            middle = self.left + (place + 0.5) * step
            cover = ink.text(_shortened(label) if self.turned else label, TEXT_SCALE)
            cover = np.rot90(cover) if self.turned else cover
            ink.paint(self.picture, cover, INK, (self.bottom + 8, round(middle - cover.shape[1] / 2)))

    def _bar(self, number: int, place: int, shape: tuple[int, ...]) -> tuple[float, float]:
        """Left and right side of a bar."""
        step = (self.right - self.left) / max(shape[1], 1)
        width = min(step * 0.8 / shape[0], 80.0)
        left = self.left + (place + 0.5) * step + (number - shape[0] / 2) * width
        gap = 0.5 if shape[0] > 1 and width > 4 else 0.0
        return left + gap, left + width - gap

    def _label_room(self, labels: Sequence[str] | None) -> int:
        if labels is None:
            return _LINE + 10
        step = (self.right - self.left) / max(len(labels), 1)
        widest = max((ink.text_width(label, TEXT_SCALE) for label in labels), default=0)
        self.turned = widest > step - 6
        turned_room = max((ink.text_width(_shortened(label), TEXT_SCALE) for label in labels), default=0)
        return (turned_room if self.turned else _LINE) + 12

    def _write_title(self, title: str) -> None:
        if title:
            words = fitting(title, round(self.size_hw[1] - 2 * _PAD), 2)
            self._write(words, (self.top, _PAD), TITLE_SCALE)
            self.top += round(GLYPH_HW[0] * TITLE_SCALE) + _PAD

    def _write_legend(self, names: Sequence[str]) -> None:
        x, y = _PAD, self.top
        if len(names) > 1:
            for name, color in zip(names, series_colors(len(names)), strict=True):
                width = _SWATCH + 6 + ink.text_width(name, TEXT_SCALE)
                if x > _PAD and x + width > self.right:
                    x, y = _PAD, y + _LINE + 7
                self._fill(x, y + _LINE / 2 - 3, x + _SWATCH, y + _LINE / 2 + 3, color)
                self._write(name, (y, x + _SWATCH + 6))
                x += width + 2 * _PAD
            self.top = y + _LINE + _PAD

    def _write_axis_names(self, x_label: str, y_label: str) -> None:
        cover = ink.text(x_label, TEXT_SCALE)
        place = (self.size_hw[0] - _PAD - _LINE, (self.left + self.right - cover.shape[1]) // 2)
        ink.paint(self.picture, cover, INK, place)
        cover = np.rot90(ink.text(y_label, TEXT_SCALE))
        ink.paint(self.picture, cover, INK, ((self.top + self.bottom - cover.shape[0]) // 2, _PAD))

    def _write(self, words: str, top_left: tuple[int, int], scale: float = TEXT_SCALE) -> None:
        ink.paint(self.picture, ink.text(words, scale), INK, top_left)

    def _fill(self, left: float, top: float, right: float, bottom: float, color: ink.Color) -> None:
        ink.paint(self.picture, ink.rectangle(self.size_hw, left, top, right, bottom), color)


def _value_text(value: float) -> str:
    """A value with about three digits; "" for NaN."""
    if not np.isfinite(value):
        return ""
    if value.is_integer() and abs(value) < 1e4:
        return f"{value:.0f}"
    return number_text(value, round_step(max(abs(value), 1e-9)) / 100)


def _shortened(label: str) -> str:
    return label if len(label) <= 22 else label[:20] + ".."


def _spread(axis: Axis, length_px: int) -> Iterator[tuple[float, str]]:
    """Ticks of an x axis as (share, text), as many as can be read."""
    widest = max((ink.text_width(word, TEXT_SCALE) for word in axis.texts), default=0) + 14
    every = max(1, int(np.ceil(widest * len(axis.texts) / max(length_px, 1))))
    shares: Any = axis.share(np.array(axis.ticks))
    yield from list(zip(shares.tolist(), axis.texts, strict=True))[::every]


def _pieces(points: np.ndarray, known: np.ndarray) -> Iterator[np.ndarray]:
    """The runs of known points."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    yield from (points[start:end] for start, end in edges.reshape(-1, 2))


def _thinned(points: np.ndarray, width_px: int) -> np.ndarray:
    """Where several points fall into one column, its first, lowest, highest and last: they look the same."""
    if len(points) <= 4 * width_px:
        return points
    column = np.floor(points[:, 0]).astype(int)
    starts = np.flatnonzero(np.diff(column, prepend=column[0] - 1))
    kept = set()
    for start, end in zip(starts, [*starts[1:], len(points)], strict=True):
        y = points[start:end, 1]
        kept |= {int(start), int(start + y.argmin()), int(start + y.argmax()), int(end - 1)}
    return points[sorted(kept)]
