"""Pictures of slices with masks and prompts, for people: contours, fills, captions, contact sheets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.io.itk_write import write_image
from SAMMed2DLib.pictures.captions import LINE_HEIGHT, fitting, text_mask
from SAMMed2DLib.pictures.slice_view import SliceView
from SAMMed2DLib.system.files import StagedFiles

Color = tuple[float, float, float]

POSITIVE_COLOR: Color = (0.15, 0.95, 0.25)
NEGATIVE_COLOR: Color = (1.00, 0.20, 0.20)
BOX_COLOR: Color = (1.00, 0.90, 0.10)
LETTER_COLOR: Color = (0.80, 0.80, 0.80)
BACKGROUND = 24  # grey of what lies around the pictures of a sheet


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
    """Draw a slice with masks (contour and translucent inside) and prompts (+ green, - red, box yellow).

    Args:
        image_hwc: (H, W, 3) uint8, the slice as the model sees it.
        view: made for this slice.
        layers: masks, drawn one over the other.
        prompts: in slice px.
        letters: write the patient's directions at the left and the top edge.

    Returns:
        (h, w, 3) uint8 of the view's size.
    """
    picture = view.picture(image_hwc)
    stroke = max(1, round(max(view.size_hw) / 300))
    for layer in layers:
        mask = view.mask(layer.mask_hw)
        _paint(picture, mask, layer.color, layer.fill)
        _paint(picture, _contour(mask, stroke), layer.color)
    for prompt in prompts:
        _draw_prompts(picture, view, prompt, stroke)
    if letters:
        _draw_letters(picture, view.letters, stroke)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str] = (), columns: int | None = None, scale: int = 1
) -> np.ndarray:
    """Lay pictures out in rows, from left to right, each under its caption.

    Args:
        pictures: (h, w, 3) uint8 each, of any sizes; at least one.
        captions: one for each picture, or none; several lines are allowed, too long ones are cut.
        columns: pictures in a row; None makes the sheet about square.
        scale: px per pixel of the font.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: no picture, or captions of another number.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    if captions and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures; give one for each, or none")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    lines = max((caption.count("\n") + 1 for caption in captions), default=0)
    head = lines * LINE_HEIGHT * scale + (4 * scale if lines else 0)
    columns = min(len(pictures), columns or math.ceil(math.sqrt(len(pictures) * (height + head) / width)))
    rows, gap = math.ceil(len(pictures) / columns), 4
    step_y, step_x = height + head + gap, width + gap
    sheet = np.full((rows * step_y + gap, columns * step_x + gap, 3), BACKGROUND, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = gap + number // columns * step_y, gap + number % columns * step_x
        _write_lines(sheet, captions[number] if captions else "", (top + 2 * scale, left), width, scale)
        top, left = top + head, left + (width - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 as a PNG; the file appears whole or not at all.

    Raises:
        ValueError: the name does not end in .png.
    """
    import SimpleITK

    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: a picture is written as .png; change the name")
    with StagedFiles() as staged:
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(picture), isVector=True)
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
    for point, label in zip(view.points(prompts.points_xy), prompts.labels, strict=True):
        _draw_point(picture, point, bool(label == 1), stroke)


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
    _paint(area, distance <= radius + stroke, (0.0, 0.0, 0.0))
    _paint(area, distance <= radius, POSITIVE_COLOR if positive else NEGATIVE_COLOR)
    _paint(area, sign, (0.0, 0.0, 0.0))


def _draw_letters(picture: np.ndarray, letters: tuple[str, str], stroke: int) -> None:
    left, top = (text_mask(letter, stroke + 1) for letter in letters)
    if picture.shape[0] < 3 * left.shape[0] or picture.shape[1] < 3 * left.shape[1]:
        return
    margin = 2 * stroke
    for ink, place in (
        (left, ((picture.shape[0] - left.shape[0]) // 2, margin)),
        (top, (margin, (picture.shape[1] - top.shape[1]) // 2)),
    ):
        _stamp(picture, ink, (place[0] + stroke, place[1] + stroke), (0.0, 0.0, 0.0))  # legible on white too
        _stamp(picture, ink, place)


def _write_lines(sheet: np.ndarray, text: str, top_left: tuple[int, int], width: int, scale: int) -> None:
    for number, line in enumerate(text.split("\n") if text else ()):
        ink = text_mask(fitting(line, width, scale), scale)
        _stamp(sheet, ink, (top_left[0] + number * LINE_HEIGHT * scale, top_left[1]), (0.95, 0.95, 0.95))


def _stamp(picture: np.ndarray, ink: np.ndarray, top_left: tuple[int, int], color: Color = LETTER_COLOR) -> None:
    top, left = top_left
    area = picture[top : top + ink.shape[0], left : left + ink.shape[1]]
    area[ink] = np.array(color) * 255
