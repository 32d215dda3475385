"""Pictures of slices with masks and prompts, for people: in numpy, but for the letters of the patient's directions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR, Prompts
from SAMMed2DLib.io.itk_io import write_image
from SAMMed2DLib.plots.figure import DPI, Color, draw_over, new_figure, own_settings
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.files import StagedFiles

LETTER_COLOR: Color = (0.80, 0.80, 0.80)
BLACK: Color = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class MaskLayer:
    """A mask and how to draw it.

    Attributes:
        mask_hw: (H, W) bool, slice px.
        color: red, green, blue in 0..1.
        fill: opacity of its inside, 0..1; its contour is always opaque.
    """

    mask_hw: np.ndarray
    color: Color
    fill: float = 0.3


def draw_slice(
    image_hwc: np.ndarray,
    view: SliceView,
    layers: Iterable[MaskLayer] = (),
    prompts: Iterable[Prompts] = (),
    *,
    letters: bool = True,
) -> np.ndarray:
    """Draw a slice with masks (contour and translucent inside) and prompts (+ green, - pink, box blue).

    Args:
        image_hwc: (H, W, 3) uint8, the slice as the model sees it.
        view: made for this slice.
        layers: masks, drawn one over the other.
        prompts: in slice px.
        letters: write the patient's directions at the left and the top edge.

    Returns:
        (h, w, 3) uint8 of the view's size.

    Raises:
        PlotsError: letters are to be written, and there is no matplotlib.
    """
    picture = view.picture(image_hwc)
    stroke = max(1, round(max(view.size_hw) / 300))
    for layer in layers:
        mask = view.mask(layer.mask_hw)
        _paint(picture, mask, layer.color, layer.fill)
        _paint(picture, _contour(mask, stroke), layer.color)
    for prompt in prompts:
        _draw_prompts(picture, view, prompt, stroke)
    drawn = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    if letters:
        _write_letters(drawn, view.letters)
    return drawn


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Write colours (H, W, 3) or grey values (H, W), uint8, as a PNG; the file appears whole or not at all.

    Raises:
        ValueError: the name does not end in .png.
    """
    import SimpleITK

    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: a picture is written as .png; change the name")
    with StagedFiles() as staged:
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(picture), isVector=picture.ndim == 3)
        write_image(image, staged.place(path))


def _paint(picture: np.ndarray, where: np.ndarray, color: Color, opacity: float = 1.0) -> None:
    picture[where] = picture[where] * (1 - opacity) + np.array(color, np.float32) * (255 * opacity)


def _contour(mask: np.ndarray, stroke: int) -> np.ndarray:
    """The rim of a mask, inside it, `stroke` px wide."""
    inner = np.pad(mask, stroke)
    for _ in range(stroke):
        inner[1:-1, 1:-1] = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return mask & ~inner[stroke:-stroke, stroke:-stroke]


def _draw_prompts(picture: np.ndarray, view: SliceView, prompts: Prompts, stroke: int) -> None:
    if prompts.box_xyxy is not None:
        edges = view.points(prompts.box_xyxy.reshape(2, 2) - 0.5)  # a box counts from the pixel's edge
        _draw_box(picture, np.sort(edges, axis=0), stroke)
    for drawn in prompts.strokes:
        corners = view.points(drawn.points_xy)
        line = np.concatenate([corners, corners[:1]]) if drawn.is_closed else corners
        _draw_line(picture, line, POSITIVE_COLOR if drawn.label else NEGATIVE_COLOR, stroke)
    for point, label in zip(view.points(prompts.points_xy), prompts.labels, strict=True):
        _draw_point(picture, point, bool(label == 1), stroke)


def _draw_line(picture: np.ndarray, corners_xy: np.ndarray, color: Color, stroke: int) -> None:
    """Straight lines between corners, as broad as outlines, with a dark rim."""
    last = np.array(picture.shape[1::-1]) - 1
    parts = [corners_xy[:1]]
    for start, end in pairwise(corners_xy):
        count = int(np.ceil(np.abs(end - start).max())) + 1
        parts.append(np.linspace(start, end, count))
    x, y = np.clip(np.floor(np.concatenate(parts) + 0.5).astype(int), 0, last).T
    for half, shade in ((stroke + 1, BLACK), (stroke // 2 + 1, color)):
        where = np.zeros(picture.shape[:2], bool)
        for dx in range(-half, half + 1):
            for dy in range(-half, half + 1):
                if dx * dx + dy * dy <= half * half:
                    where[np.clip(y + dy, 0, last[1]), np.clip(x + dx, 0, last[0])] = True
        _paint(picture, where, shade)


def _draw_box(picture: np.ndarray, edges: np.ndarray, stroke: int) -> None:
    last = np.array(picture.shape[1::-1]) - 1
    (x0, y0), (x1, y1) = np.clip(np.floor(edges + 0.5).astype(int), 0, last)
    frame = np.zeros(picture.shape[:2], bool)
    frame[y0 : y1 + 1, x0 : x1 + 1] = True
    _paint(picture, _contour(frame, stroke), BOX_COLOR)


def _draw_point(picture: np.ndarray, point_xy: np.ndarray, positive: bool, stroke: int) -> None:
    """A disc with a dark rim and a plus or a minus, told apart also without colour."""
    radius = 3.5 + 2.0 * stroke
    left, top = np.maximum(0, np.floor(point_xy - radius - stroke)).astype(int)
    right, bottom = np.ceil(point_xy + radius + stroke).astype(int) + 1
    area = picture[top:bottom, left:right]
    x = np.arange(left, left + area.shape[1])[None] - point_xy[0]
    y = np.arange(top, top + area.shape[0])[:, None] - point_xy[1]
    distance = np.hypot(x, y)
    arm, half = radius * 0.65, max(0.6, stroke * 0.6)
    sign = (np.abs(y) <= half) & (np.abs(x) <= arm)
    if positive:
        sign |= (np.abs(x) <= half) & (np.abs(y) <= arm)
    _paint(area, distance <= radius + stroke, BLACK)
    _paint(area, distance <= radius, POSITIVE_COLOR if positive else NEGATIVE_COLOR)
    _paint(area, sign, BLACK)


def _write_letters(picture: np.ndarray, letters: tuple[str, str]) -> None:
    """Write the patient's directions at the left and the top edge, where there is room for them."""
    height, width = picture.shape[:2]
    letter_px = max(height, width) / 26
    if min(height, width) < 4 * letter_px:
        return
    with own_settings():
        from matplotlib.patheffects import withStroke

        figure = new_figure((height, width))
        rim = [withStroke(linewidth=letter_px * 72 / DPI / 8, foreground=BLACK)]  # legible on white too
        look = {"color": LETTER_COLOR, "fontsize": letter_px * 72 / DPI, "path_effects": rim}
        figure.text(letter_px / 3 / width, 0.5, letters[0], ha="left", va="center", **look)
        figure.text(0.5, 1 - letter_px / 3 / height, letters[1], ha="center", va="top", **look)
        draw_over(picture, figure)
