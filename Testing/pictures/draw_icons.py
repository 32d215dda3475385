"""Draws the icons of the extension, so that they can be changed: `python Testing/pictures/draw_icons.py`.

With `--check` it writes nothing, and names the committed icons that it would draw otherwise.

Each picture is drawn on a canvas of its own size, many times as large, and averaged down: soft edges, and whole pixels
stay whole. Needs PySide6-Essentials; no fonts are used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QLinearGradient, QPainter, QPainterPath, QPen, QPolygonF, QTransform

ROOT = Path(__file__).resolve().parents[2]
OVERSAMPLING = 8
COMPARED = QImage.Format.Format_RGBA8888_Premultiplied
LARGEST_ROUNDING = 8

NIGHT, DEEP = QColor("#2a5c8f"), QColor("#12304f")
TEAL, DARK_TEAL, MINT = QColor("#12a594"), QColor("#0b7d74"), QColor("#7df3e1")
BLUE = QColor("#2b7fd9")
GREEN, RED, AMBER = QColor("#1d9a55"), QColor("#d8413a"), QColor("#e08a12")
GREY, WHITE = QColor("#7c8794"), QColor("#ffffff")

# The outline of a structure in a unit square: start, then two controls and an end for each curve.
BLOB_START = (0.46, 0.03)
BLOB_CURVES = (
    (0.74, 0.00, 0.99, 0.11, 0.98, 0.33),
    (0.97, 0.48, 0.82, 0.47, 0.83, 0.58),
    (0.84, 0.67, 0.94, 0.68, 0.91, 0.79),
    (0.87, 0.93, 0.66, 0.98, 0.46, 0.97),
    (0.18, 0.96, 0.02, 0.74, 0.03, 0.48),
    (0.04, 0.22, 0.22, 0.05, 0.46, 0.03),
)


def blob(rect: QRectF) -> QPainterPath:
    """The outline of a structure that fills a rectangle."""
    path = QPainterPath(QPointF(*BLOB_START))
    for curve in BLOB_CURVES:
        path.cubicTo(*curve)
    return QTransform(rect.width(), 0, 0, rect.height(), rect.x(), rect.y()).map(path)


def round_pen(color: QColor, width: float) -> QPen:
    """A pen with round ends and corners."""
    return QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin)


def draw_corners(painter: QPainter, rect: QRectF, length: float, pen: QPen) -> None:
    """The four corners of a box, each with arms of one length."""
    painter.setPen(pen)
    for x, inwards_x in ((rect.left(), length), (rect.right(), -length)):
        for y, inwards_y in ((rect.top(), length), (rect.bottom(), -length)):
            corner = [QPointF(x + inwards_x, y), QPointF(x, y), QPointF(x, y + inwards_y)]
            painter.drawPolyline(QPolygonF(corner))


def draw_sign(painter: QPainter, centre: QPointF, arm: float, pen: QPen, is_plus: bool = True) -> None:
    """A plus or a minus."""
    painter.setPen(pen)
    painter.drawLine(centre - QPointF(arm, 0), centre + QPointF(arm, 0))
    if is_plus:
        painter.drawLine(centre - QPointF(0, arm), centre + QPointF(0, arm))


def fill(painter: QPainter, path: QPainterPath, brush: QColor | QLinearGradient) -> None:
    """Fill a path, without an outline."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.fillPath(path, brush)


def gradient(top: float, bottom: float, first: QColor, last: QColor) -> QLinearGradient:
    """Colours from top to bottom."""
    shades = QLinearGradient(0, top, 0, bottom)
    shades.setColorAt(0, first)
    shades.setColorAt(1, last)
    return shades


def draw_extension(painter: QPainter) -> None:
    """128 px: a structure with a click in it, inside the corners of a box, on a dark tile."""
    tile = QPainterPath()
    tile.addRoundedRect(QRectF(4, 4, 120, 120), 26, 26)
    fill(painter, tile, gradient(4, 124, NIGHT, DEEP))
    draw_corners(painter, QRectF(20, 20, 88, 88), 19, round_pen(WHITE, 7))
    outline = blob(QRectF(32, 32, 64, 64))
    fill(painter, outline, gradient(32, 96, TEAL, DARK_TEAL))
    painter.strokePath(outline, round_pen(MINT, 5))
    draw_sign(painter, QPointF(60, 64), 14, round_pen(WHITE, 8))


def draw_effect(painter: QPainter) -> None:
    """48 px, shown at 21: the same without a tile, in colours that stand on light and on dark."""
    draw_corners(painter, QRectF(4, 4, 40, 40), 9, round_pen(BLUE, 4))
    outline = blob(QRectF(8, 8, 32, 32))
    fill(painter, outline, TEAL)
    draw_sign(painter, QPointF(22.5, 24), 7.5, round_pen(WHITE, 5))


def draw_point(painter: QPainter, color: QColor, is_plus: bool) -> None:
    """48 px: a filled disc with a sign."""
    disc = QPainterPath()
    disc.addEllipse(QPointF(24, 24), 20, 20)
    fill(painter, disc, color)
    draw_sign(painter, QPointF(24, 24), 10, round_pen(WHITE, 6), is_plus)


def draw_box(painter: QPainter) -> None:
    """48 px: a box being dragged, with its handles."""
    rect = QRectF(9, 11, 30, 26)
    painter.setPen(QPen(BLUE, 4))
    painter.drawRect(rect)
    for centre in (rect.topLeft(), rect.topRight(), rect.bottomLeft(), rect.bottomRight()):
        handle = QPainterPath()
        handle.addRect(QRectF(centre.x() - 5, centre.y() - 5, 10, 10))
        fill(painter, handle, BLUE)
        inside = QPainterPath()
        inside.addRect(QRectF(centre.x() - 2, centre.y() - 2, 4, 4))
        fill(painter, inside, WHITE)


def draw_scribble(painter: QPainter) -> None:
    """48 px: a stroke that winds, and where it has come to."""
    path = QPainterPath(QPointF(7, 36))
    path.cubicTo(QPointF(10, 10), QPointF(22, 8), QPointF(21, 24))
    path.cubicTo(QPointF(20, 42), QPointF(33, 40), QPointF(39, 13))
    painter.strokePath(path, round_pen(GREEN, 6))
    end = QPainterPath()
    end.addEllipse(QPointF(39, 12), 6, 6)
    fill(painter, end, GREEN)


def draw_lasso(painter: QPainter) -> None:
    """48 px: a loop with the end of its rope."""
    painter.setPen(round_pen(BLUE, 5))
    painter.drawEllipse(QRectF(8, 7, 32, 23))
    rope = QPainterPath(QPointF(16, 29))
    rope.cubicTo(QPointF(13, 36), QPointF(22, 36), QPointF(19, 43))
    painter.strokePath(rope, round_pen(BLUE, 5))


def draw_accept(painter: QPainter) -> None:
    """48 px: a tick."""
    painter.setPen(round_pen(GREEN, 7))
    painter.drawPolyline(QPolygonF([QPointF(8, 25), QPointF(19, 37), QPointF(40, 11)]))


def draw_clear(painter: QPainter) -> None:
    """48 px: an eraser and what it leaves."""
    painter.save()
    painter.translate(24, 21)
    painter.rotate(-40)
    body = QPainterPath()
    body.addRoundedRect(QRectF(-17, -9, 34, 18), 4, 4)
    fill(painter, body, AMBER)
    painter.setClipPath(body)
    rubber = QPainterPath()
    rubber.addRect(QRectF(-18, -10, 14, 20))
    fill(painter, rubber, WHITE)
    painter.setClipping(False)
    painter.setPen(round_pen(AMBER, 3))
    painter.drawRoundedRect(QRectF(-16.5, -8.5, 33, 17), 4, 4)
    painter.restore()
    painter.setPen(round_pen(GREY, 4))
    painter.drawLine(QPointF(8, 42), QPointF(40, 42))


ICONS: dict[str, tuple[int, Callable[[QPainter], None]]] = {
    "Resources/SAMMed2D.png": (128, draw_extension),
    "SAMMed2D/Resources/Icons/SAMMed2D.png": (128, draw_extension),
    "SAMMed2D/SegmentEditorSAMMed2DLib/SegmentEditorEffect.png": (48, draw_effect),
    "SAMMed2D/Resources/Icons/PositivePoint.png": (48, lambda painter: draw_point(painter, GREEN, True)),
    "SAMMed2D/Resources/Icons/NegativePoint.png": (48, lambda painter: draw_point(painter, RED, False)),
    "SAMMed2D/Resources/Icons/Box.png": (48, draw_box),
    "SAMMed2D/Resources/Icons/Scribble.png": (48, draw_scribble),
    "SAMMed2D/Resources/Icons/Lasso.png": (48, draw_lasso),
    "SAMMed2D/Resources/Icons/Accept.png": (48, draw_accept),
    "SAMMed2D/Resources/Icons/Clear.png": (48, draw_clear),
}


def picture(file: str) -> QImage:
    """Draw one icon.

    Args:
        file: a key of `ICONS`.
    Returns:
        The icon with straight alpha, in its own size.
    """
    size_px, draw = ICONS[file]
    large_px = size_px * OVERSAMPLING
    canvas = QImage(large_px, large_px, QImage.Format.Format_ARGB32_Premultiplied)
    canvas.fill(Qt.GlobalColor.transparent)
    painter = QPainter(canvas)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(OVERSAMPLING, OVERSAMPLING)
    draw(painter)
    painter.end()
    small = canvas.scaled(size_px, size_px, mode=Qt.TransformationMode.SmoothTransformation)
    return small.convertToFormat(QImage.Format.Format_ARGB32)


def is_as_drawn(file: str) -> bool:
    """Whether the committed icon is what this script draws, but for the roundings of another Qt."""
    drawn, committed = (image.convertToFormat(COMPARED) for image in (picture(file), QImage(str(ROOT / file))))
    if drawn.size() != committed.size():
        return False
    levels = zip(bytes(drawn.constBits()), bytes(committed.constBits()), strict=True)
    return max(abs(a - b) for a, b in levels) <= LARGEST_ROUNDING


def write(file: str) -> None:
    """Write one icon into the repository."""
    path = ROOT / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not picture(file).save(str(path), "PNG"):
        raise OSError(f"{path} cannot be written")


def main(arguments: list[str]) -> int:
    """Write all icons into the repository, or check them."""
    if arguments == ["--check"]:
        others = [file for file in ICONS if not is_as_drawn(file)]
        for file in others:
            print(f"{file} is not what draw_icons.py draws")
        return 1 if others else 0
    for file in ICONS:
        write(file)
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
