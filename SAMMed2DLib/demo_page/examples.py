"""Images to begin with: a CT and an MR image that come with other packages, and two that are drawn at start."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMMed2DLib.data.augmentation import gaussian_blur
from SAMMed2DLib.demo_page.workspace import OpenImage
from SAMMed2DLib.imaging.intensity import Window
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.overlay import write_png

_CHEST = Window(width=1500, level=-250)  # lung, soft tissue and bone all show
_SEED = 7


@dataclass(frozen=True)
class Example:
    """An image to begin with.

    Attributes:
        title: in the list.
        path: of its file.
        note: where it comes from.
        frame: which volume of a 4D image.
        rule: the intensities to begin with.
    """

    title: str
    path: Path
    note: str
    frame: int | None = None
    rule: Window | None = None

    def open(self) -> OpenImage:
        """Read it."""
        volume = read_volume(self.path, frame=self.frame)
        return OpenImage(volume, self.path.name, self.frame, None, self.rule, self.note)


def examples(folder: Path) -> list[Example]:
    """The examples that can be had here.

    Args:
        folder: takes those that are drawn.
    """
    found = [
        Example("CT: chest", path, "CTChest of 3D Slicer's sample data, from the package slicerio", rule=_CHEST)
        for path in _of_package("slicerio", "data/CTChest4.nrrd")
    ]
    found += [
        Example("MR: brain", path, "from the test data of the package nibabel", frame=0)
        for path in _of_package("nibabel", "tests/data/example4d.nii.gz")
    ]
    drawn: list[tuple[str, str, Callable[[np.random.Generator], np.ndarray]]] = [
        ("Ultrasound: cyst and stone (drawn)", "ultrasound.png", ultrasound),
        ("Fundus: optic disc (drawn)", "fundus.png", fundus),
    ]
    for title, name, draw in drawn:
        write_png(folder / name, draw(np.random.default_rng(_SEED)))
        found.append(Example(title, folder / name, "drawn by the program: of no patient"))
    return found


def _of_package(package: str, name: str) -> list[Path]:
    """The file of an installed package, if it is there."""
    spec = importlib.util.find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / name
    return [path] if path is not None and path.is_file() else []


def ultrasound(rng: np.random.Generator) -> np.ndarray:
    """Draw a curved probe's view of tissue with a cyst and a stone: (H, W) uint8."""
    height, width = 480, 640
    y, x = np.mgrid[:height, :width].astype(np.float64)
    depth, angle = np.hypot(x - width / 2, y + 90) - 100, np.arctan2(x - width / 2, y + 90)
    fan = (depth > 0) & (depth < 440) & (np.abs(angle) < 0.58)
    echo = np.full((height, width), 0.42)
    for near, far, gain in ((0, 18, 0.75), (18, 26, 0.3), (70, 76, 0.8), (76, 96, 0.3), (380, 392, 0.85)):
        layer = depth + 9 * np.sin(5 * angle + near)
        echo[(layer > near) & (layer < far)] = gain
    cyst = ((x - 250) / 62) ** 2 + ((y - 230) / 48) ** 2
    echo[cyst < 1.12] = 0.62
    echo[cyst < 1] = 0.03
    echo[(np.abs(angle - np.arctan2(250 - width / 2, 320.0)) < 0.15) & (y > 265) & (depth < 372)] *= 1.5
    stone = ((x - 410) / 34) ** 2 + ((y - 250) / 20) ** 2
    shadow = (np.abs(angle - np.arctan2(410 - width / 2, 340.0)) < 0.085) & (y > 255)
    echo[shadow] *= 0.25
    echo[stone < 1] = 0.95
    noise = rng.normal(size=(2, height, width))
    speckle = np.hypot(*(gaussian_blur(part, 1.6) for part in noise))
    value = gaussian_blur(echo, 1.2) * (0.35 + 0.8 * speckle / speckle.mean()) * np.exp(-np.clip(depth, 0, None) / 900)
    return np.where(fan, 4 + 251 * np.clip(value, 0, 1) ** 0.75, 0).astype(np.uint8)


def fundus(rng: np.random.Generator) -> np.ndarray:
    """Draw a photograph of the back of an eye with optic disc, macula and vessels: (H, W, 3) uint8."""
    side = 512
    y, x = np.mgrid[:side, :side].astype(np.float64)
    radius = np.hypot(x - side / 2, y - side / 2) / (side / 2)
    light = 1 - 0.45 * radius**2 + 0.06 * gaussian_blur(rng.normal(size=(side, side)), 12) * 12
    picture = np.stack([0.78 * light, 0.36 * light, 0.14 * light], axis=-1)
    picture *= 1 - 0.3 * np.exp(-((x - 190) ** 2 + (y - 262) ** 2) / (2 * 34**2))[..., None]
    disc = np.hypot((x - 352) / 40, (y - 250) / 46)
    for edge, color in ((1.0, (0.97, 0.72, 0.38)), (0.5, (1.0, 0.9, 0.66))):
        share = 1 / (1 + np.exp((disc - edge) * 22))
        picture = picture * (1 - share[..., None]) + np.array(color) * share[..., None]
    vessels = np.zeros((side, side))
    for side_y, bend, reach in ((-1, 1.0, 300), (1, 1.0, 310), (-1, -0.7, 150), (1, -0.7, 150), (-1, 0.45, 190)):
        _vessel(vessels, rng, side_y, bend, reach)
    vessels = np.clip(gaussian_blur(vessels, 1.0), 0, 1)[..., None]
    picture = picture * (1 - vessels) + picture * np.array([0.62, 0.3, 0.35]) * vessels
    picture += rng.normal(0, 0.012, picture.shape)
    return np.where(radius[..., None] < 0.96, 255 * np.clip(picture, 0, 1), 0).astype(np.uint8)


def _vessel(drawn: np.ndarray, rng: np.random.Generator, side_y: int, bend: float, reach: int) -> None:
    """Draw an arcade from the optic disc and its branches, thinner and thinner, as 1 on 0."""
    place, direction, width = np.array([352.0, 250.0]), np.array([-0.25 * bend, side_y * 1.0]), 4.2
    for step in range(reach):
        direction += np.array([-0.011 * bend, -side_y * 0.0045]) + rng.normal(0, 0.02, 2)
        direction /= np.linalg.norm(direction)
        place += direction
        width = max(1.0, width - 0.009)
        _dot(drawn, place, width)
        if step % 45 == 30:
            branch, way = place.copy(), direction @ np.array([[0.6, -0.8], [0.8, 0.6]]) * rng.choice((-1, 1))
            for _ in range(60):
                way += rng.normal(0, 0.05, 2)
                branch += way / np.linalg.norm(way)
                _dot(drawn, branch, width * 0.55)


def _dot(drawn: np.ndarray, place_xy: np.ndarray, width: float) -> None:
    x, y = np.floor(place_xy + 0.5).astype(int)
    half = int(np.ceil(width / 2))
    rows, columns = np.mgrid[y - half : y + half + 1, x - half : x + half + 1]
    inside = (rows >= 0) & (rows < drawn.shape[0]) & (columns >= 0) & (columns < drawn.shape[1])
    inside &= np.hypot(columns - place_xy[0], rows - place_xy[1]) <= width / 2
    drawn[rows[inside], columns[inside]] = 1
