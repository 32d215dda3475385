"""Draws the pictures of the tour: the effect at work on a chest CT, in the slice views of the tests' host.

    python Testing/pictures/draw_tour.py

The CT comes with the package `slicerio` (the extra `test`); the masks are the built-in model's. Needs what
`Testing/host` needs.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "Testing")]
import host  # noqa: E402

APP = host.start()
sys.path[:0] = [str(ROOT / "Testing" / "slicer")]
import slicer  # noqa: E402

FOLDER = ROOT / "SAMMed2D" / "Resources" / "Tour"
SIZE_PX, COLORS = (360, 270), 200
DRAWN = 2  # times as large as in the file
HEART, TOO_FAR, SLICE = (57, 83, 12), (66, 77, 12), 12  # voxels of the CT
WIDTH_MM = 230  # of the part that is seen
FONT = "DejaVuSans-Bold.ttf"
SEGMENT_COLOR = (0.95, 0.65, 0.25)


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(exist_ok=True)
    fixture = editor()
    for name, image in pictures(fixture):
        small = image.resize(SIZE_PX, Image.Resampling.LANCZOS)
        few_colors = small.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few_colors.save(FOLDER / f"{name}.png", optimize=True)
    fixture.close_all()


def chest() -> tuple[np.ndarray, np.ndarray]:
    """The CT, (K, J, I) int16, and (4, 4) its voxels to RAS."""
    from SAMMed2DLib import read_volume

    package = importlib.util.find_spec("slicerio")
    if package is None or package.origin is None:
        raise SystemExit("the CT is in the package slicerio: pip install slicerio")
    volume = read_volume(Path(package.origin).parent / "data" / "CTChest4.nrrd")
    return volume.array, volume.ijk_to_ras


def editor():
    """The Segment Editor with the effect on the CT."""
    from editor_fixture import EditorFixture

    slicer.qSlicerScriptedLoadableModule(str(ROOT / "SAMMed2D" / "SAMMed2D.py")).load()
    APP.startupCompleted.emit()
    volume_kji, ras_from_ijk = chest()
    fixture = EditorFixture(None, ras_from_ijk, volume_kji=volume_kji, size_ijk=volume_kji.shape[::-1])
    fixture.volume.GetDisplayNode().SetWindowLevel(500, 30)
    fixture.segmentation.GetSegmentation().GetSegment(fixture.segment_id).SetColor(SEGMENT_COLOR)
    fixture.wait(lambda: fixture.effect._service.state.is_ready, 120)
    return fixture


def look(fixture, name: str, orientation: str) -> None:
    """Show the heart in a view."""
    fixture.name = name
    fixture.view.resize_view(*(DRAWN * px for px in SIZE_PX))
    node, height_mm = fixture.slice_node, WIDTH_MM * SIZE_PX[1] / SIZE_PX[0]
    node.SetOrientation(orientation)
    node.SetFieldOfView(WIDTH_MM, height_mm, 1)
    node.JumpSliceByCentering(*fixture.world(HEART))
    fixture.pump(0.2)


def pictures(fixture) -> Iterator[tuple[str, Image.Image]]:
    """The steps of the work, one after the other: name and picture."""
    look(fixture, "Red", "Axial")
    fixture.click(HEART)
    yield "click", drawn(fixture, HEART)
    fixture.click(TOO_FAR, control=True)
    yield "correct", drawn(fixture, TOO_FAR, "Ctrl")
    fixture.controller.clear()
    fixture.click(HEART)
    fixture.accept()
    yield "accept", drawn(fixture, None, "Enter")
    fixture.effect.propagation.propagate("both")
    fixture.wait(lambda: not fixture.effect.propagation.is_running, 120)
    look(fixture, "Green", "Coronal")
    yield "propagate", with_strip(fixture, drawn(fixture, None))


def drawn(fixture, ijk: tuple[int, int, int] | None, key: str = "") -> Image.Image:
    """What the view shows, with the mouse at a voxel, and a key."""
    fixture.pump(0.1)
    image = Image.fromarray(fixture.image().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    if ijk is not None:
        x, y = fixture.xy(ijk)
        draw_mouse(draw, x, image.height - y)
    if key:
        draw_key(draw, key, image.height)
    return image


def draw_mouse(draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """An arrow whose tip is at (x, y) px."""
    outline = [(0, 0), (0, 34), (8, 26), (14, 40), (21, 37), (15, 24), (26, 24)]
    draw.polygon([(x + dx, y + dy) for dx, dy in outline], fill="white", outline="black", width=2)


def draw_key(draw: ImageDraw.ImageDraw, key: str, height: int) -> None:
    """A key cap at the lower left."""
    font = ImageFont.truetype(FONT, 30)
    left, top = 24, height - 24 - 56
    width = int(draw.textlength(key, font)) + 40
    draw.rounded_rectangle((left, top, left + width, top + 56), 10, fill="#f4f4f4", outline="#606060", width=4)
    draw.text((left + 20, top + 10), key, fill="black", font=font)


def with_strip(fixture, image: Image.Image) -> Image.Image:
    """The picture with the strip of confidences below."""
    from SAMMed2DSlicer.propagation.panel.confidence_strip import strip_image

    section = fixture.effect.propagation
    section.ui.propagateButton.collapsed = False
    fixture.wait(lambda: section._reader.keyframes is not None)
    axis, keyframes = section._reader.axis, section._reader.keyframes
    strip = Image.fromarray(strip_image(keyframes, axis.count, SLICE)).resize((image.width, 64))
    image.paste(strip, (0, image.height - strip.height))
    return image


if __name__ == "__main__":
    main()
