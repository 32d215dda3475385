"""Random scenes: what lies where in a synthetic image, and what counts as one object (numpy only)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from SAMMed2DLib.data.augmentation import sample_nearest, smooth_field

MAX_REGIONS = 240


@dataclass(eq=False)
class Scene:
    """The layout of a synthetic image under construction.

    Attributes:
        region_hw: (S, S) uint8, index of the region that a pixel shows.
        level: Per region, its mean grey value in 0..1.
        object_of: Per region, the label it counts for, 0 = nothing to segment; regions may share one.
    """

    region_hw: np.ndarray
    level: list[float] = field(default_factory=lambda: [0.0])
    object_of: list[int] = field(default_factory=lambda: [0])

    @property
    def size(self) -> int:
        """Side of the square frame in px."""
        return self.region_hw.shape[0]

    def add_region(self, level: float, label: int | None = None) -> int:
        """Register a region, of its own or one that counts for an existing label; return its index."""
        self.level.append(float(np.clip(level, 0, 1)))
        self.object_of.append(len(self.object_of) if label is None else label)
        return len(self.level) - 1

    def label_hw(self) -> np.ndarray:
        """Return the (S, S) uint8 label map."""
        return np.array(self.object_of, np.uint8)[self.region_hw]


@dataclass(frozen=True)
class _Patch:
    """A shape in a window of the frame: `depth` < 1 inside, 0 at its middle."""

    rows: slice
    columns: slice
    depth: np.ndarray


def random_scene(rng: np.random.Generator, size: int) -> Scene:
    """Draw a background of tissues and a few groups of objects on it.

    Args:
        rng: Source of random numbers.
        size: Side of the frame in px.
    """
    scene = Scene(np.zeros((size, size), np.uint8))
    scene.level[0] = float(rng.uniform(0.05, 0.8))
    _BACKGROUNDS[rng.choice(len(_BACKGROUNDS), p=[0.35, 0.2, 0.25, 0.2])](rng, scene)
    for _ in range(int(rng.integers(1, 6))):
        if len(scene.level) < MAX_REGIONS - 70:
            group = rng.choice(len(_GROUPS), p=[0.35, 0.25, 0.12, 0.08, 0.12, 0.08])
            _GROUPS[group](rng, scene)
    if rng.random() < 0.35:
        _surround_by_air(rng, scene)
    if rng.random() < 0.5:
        _roughen(rng, scene)
    return scene


def _roughen(rng: np.random.Generator, scene: Scene) -> None:
    """Shift pixels along a fine random field, so that outlines are less ideal."""
    size, cells = scene.size, int(rng.integers(6, 26))
    grid = np.stack(np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)))
    shift_px = np.float32(rng.uniform(0.1, 0.35) * size / cells / 2)
    grid += shift_px * np.stack([smooth_field(rng, size, cells), smooth_field(rng, size, cells)])
    scene.region_hw = sample_nearest(scene.region_hw, np.clip(grid, 0, size - 1))


# ---- backgrounds: tissues that fill the frame


def _plain(rng: np.random.Generator, scene: Scene) -> None:
    """Leave one tissue everywhere."""


def _voronoi(rng: np.random.Generator, scene: Scene) -> None:
    """Cells around random seeds, their borders warped."""
    size, count = scene.size, int(rng.integers(3, 13))
    axis = np.linspace(0, 1, size, dtype=np.float32)
    warp = np.float32(rng.uniform(0.0, 0.08))
    cells = int(rng.integers(2, 7))
    x = axis[None, :] + warp * smooth_field(rng, size, cells)
    y = axis[:, None] + warp * smooth_field(rng, size, cells)
    nearest, best = np.zeros((size, size), np.uint8), np.full((size, size), np.inf, np.float32)
    for k, (seed_x, seed_y) in enumerate(rng.random((count, 2), np.float32)):
        distance = (x - seed_x) ** 2 + (y - seed_y) ** 2
        closer = distance < best
        nearest[closer] = k
        np.minimum(best, distance, out=best)
    _fill(rng, scene, nearest, count)


def _smooth_regions(rng: np.random.Generator, scene: Scene) -> None:
    """Regions where one of several smooth fields is the largest."""
    count, cells = int(rng.integers(2, 6)), int(rng.integers(2, 8))
    fields = np.stack([smooth_field(rng, scene.size, cells) for _ in range(count)])
    _fill(rng, scene, fields.argmax(0).astype(np.uint8), count)


def _layers(rng: np.random.Generator, scene: Scene) -> None:
    """Wavy layers, mostly horizontal, thin and thick."""
    count, size = int(rng.integers(3, 9)), scene.size
    axis = np.linspace(0, 1, size, dtype=np.float32)
    tilt = rng.normal(0, 0.25)
    height = axis[:, None] + np.float32(tilt) * axis[None, :]
    height = height + np.float32(rng.uniform(0.01, 0.08)) * smooth_field(rng, size, int(rng.integers(1, 5)))
    borders = np.sort(rng.uniform(0, 1 + max(tilt, 0), count - 1))
    index = np.digitize(height, borders).astype(np.uint8)
    _fill(rng, scene, index if rng.random() < 0.7 else index.T, count)


def _fill(rng: np.random.Generator, scene: Scene, index_hw: np.ndarray, count: int) -> None:
    """Make `count` regions of an index image; half of the backgrounds are objects too."""
    are_objects = rng.random() < 0.5
    middle, spread = rng.uniform(0.15, 0.75), rng.uniform(0.05, 0.3)
    names = [scene.add_region(rng.normal(middle, spread), None if are_objects else 0) for _ in range(count)]
    scene.region_hw[:] = np.array(names, np.uint8)[index_hw]


_BACKGROUNDS: tuple[Callable[[np.random.Generator, Scene], None], ...] = (
    _plain,
    _voronoi,
    _smooth_regions,
    _layers,
)


# ---- groups of objects


def _blob(
    rng: np.random.Generator,
    size: int,
    centre_xy: np.ndarray,
    radius_px: float,
    wavy: float,
    stretch: float = 0.4,
) -> _Patch:
    """Return an ellipse whose outline waves; `wavy` 0 is a plain ellipse, `stretch` 0 a circle."""
    reach = radius_px * (1 + 2 * wavy) * np.exp(stretch) + 2
    x0, y0 = np.maximum(np.floor(centre_xy - reach), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre_xy + reach), size).astype(int)
    x = np.arange(x0, max(x1, x0), dtype=np.float32)[None, :] - np.float32(centre_xy[0])
    y = np.arange(y0, max(y1, y0), dtype=np.float32)[:, None] - np.float32(centre_xy[1])
    angle, aspect = rng.uniform(0, np.pi), np.exp(rng.uniform(-stretch, stretch))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (cos * x + sin * y) / np.float32(aspect), (cos * y - sin * x) * np.float32(aspect)
    outline = np.float32(radius_px)
    if wavy:
        theta = np.arctan2(v, u)
        waves = np.arange(2, 8)
        height = rng.normal(0, wavy, len(waves)) / waves**0.7
        phase = rng.uniform(0, 2 * np.pi, len(waves))
        turns = sum(
            np.float32(a) * np.cos(np.float32(k) * theta + np.float32(p))
            for k, a, p in zip(waves, height, phase, strict=True)
        )
        outline = np.maximum(radius_px * (1 + turns), 0.25 * radius_px).astype(np.float32)
    return _Patch(slice(y0, max(y1, y0)), slice(x0, max(x1, x0)), np.sqrt(u * u + v * v) / outline)


def _contrast(rng: np.random.Generator) -> float:
    """Return a brightness step, often small, of either sign."""
    return float(rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.06), np.log(0.5))))


def _level_at(scene: Scene, xy: np.ndarray) -> float:
    column, row = np.clip(xy, 0, scene.size - 1).astype(int)
    return scene.level[scene.region_hw[row, column]]


def _put(scene: Scene, patch: _Patch, region: int, limit: float = 1.0, within: int | None = None) -> None:
    """Paint the part of a patch with depth below `limit`, at most over the pixels of the region `within`."""
    window = scene.region_hw[patch.rows, patch.columns]
    chosen = patch.depth < limit
    window[chosen if within is None else chosen & (window == within)] = region


def _step(level: float, step: float) -> float:
    """Add a brightness step, turned round where it would leave 0..1."""
    return level + step if 0 <= level + step <= 1 else level - step


def _blobs(rng: np.random.Generator, scene: Scene) -> None:
    """One to three blobs of any size, some with blobs of another brightness inside that belong to them."""
    for _ in range(int(rng.integers(1, 4))):
        centre, radius = rng.uniform(0, scene.size, 2), _radius(rng, scene.size)
        wavy = float(rng.choice([0.0, 0.08, 0.15, 0.25]))
        level = _step(_level_at(scene, centre), _contrast(rng))
        region = scene.add_region(level)
        _put(scene, _blob(rng, scene.size, centre, radius, wavy), region)
        if rng.random() < 0.3:
            for _ in range(int(rng.integers(1, 5))):
                inner = scene.add_region(_step(level, _contrast(rng)), label=scene.object_of[region])
                offset = rng.normal(0, 0.4, 2) * radius
                blob = _blob(rng, scene.size, centre + offset, radius * rng.uniform(0.1, 0.5), 0.15)
                _put(scene, blob, inner, within=region)


def _radius(rng: np.random.Generator, size: int) -> float:
    return float(size * np.exp(rng.uniform(np.log(0.02), np.log(0.3))))


def _nested(rng: np.random.Generator, scene: Scene) -> None:
    """A body with a rim and a core: cavities, walls, thin rims; or a rim that belongs to the whole."""
    centre, radius = rng.uniform(0.1, 0.9, 2) * scene.size, max(_radius(rng, scene.size), 0.05 * scene.size)
    patch = _blob(rng, scene.size, centre, radius, float(rng.choice([0.0, 0.1, 0.2])))
    level = _step(_level_at(scene, centre), _contrast(rng))
    outer = scene.add_region(level)
    _put(scene, patch, outer)
    limits = np.sort(rng.uniform(0.4, 0.95, int(rng.integers(1, 3))))[::-1]
    for limit in limits:
        level = _step(level, _contrast(rng))
        whole = rng.random() < 0.4
        region = scene.add_region(level, label=scene.object_of[outer] if whole else None)
        _put(scene, patch, region, limit=float(limit))


def _tubes(rng: np.random.Generator, scene: Scene) -> None:
    """Winding tubes with a changing width; all pieces of one call have one brightness."""
    step = _contrast(rng)
    for _ in range(int(rng.integers(1, 4))):
        point, heading = rng.uniform(0, scene.size, 2), rng.uniform(0, 2 * np.pi)
        width = scene.size * np.exp(rng.uniform(np.log(0.008), np.log(0.05)))
        region = scene.add_region(_step(_level_at(scene, point), step))
        bend = rng.uniform(0.02, 0.3)
        for _ in range(int(rng.integers(10, 70))):
            _put(scene, _disc(scene.size, point, width), region)
            heading += rng.normal(0, bend)
            width = max(width * np.exp(rng.normal(0, 0.05)), 1.5)
            point = point + np.array([np.cos(heading), np.sin(heading)]) * max(0.6 * width, 1.0)


def _disc(size: int, centre_xy: np.ndarray, radius_px: float) -> _Patch:
    x0, y0 = np.clip(np.floor(centre_xy - radius_px), 0, size).astype(int)
    x1, y1 = np.clip(np.ceil(centre_xy + radius_px) + 1, 0, size).astype(int)
    x, y = np.arange(x0, x1) - centre_xy[0], np.arange(y0, y1) - centre_xy[1]
    return _Patch(slice(y0, y1), slice(x0, x1), (x[None, :] ** 2 + y[:, None] ** 2) / radius_px**2)


def _bands(rng: np.random.Generator, scene: Scene) -> None:
    """The strip where a smooth field is near zero: curved bands, folds, rims."""
    surface = np.abs(smooth_field(rng, scene.size, int(rng.integers(1, 5))))
    centre = np.unravel_index(int(surface.argmin()), surface.shape)[::-1]
    region = scene.add_region(_step(_level_at(scene, np.array(centre)), _contrast(rng)))
    scene.region_hw[surface < rng.uniform(0.04, 0.25)] = region


def _many_small(rng: np.random.Generator, scene: Scene) -> None:
    """Scattered or crowded round objects of one kind, at times with a dot inside."""
    size, count = scene.size, int(rng.integers(6, 40))
    radius, wavy, step = size * rng.uniform(0.018, 0.06), float(rng.choice([0.0, 0.06, 0.12])), _contrast(rng)
    dot = _contrast(rng) if rng.random() < 0.3 else 0.0
    middle = rng.uniform(0, size, 2) if rng.random() < 0.4 else None
    for _ in range(count):
        centre = rng.uniform(0, size, 2) if middle is None else rng.normal(middle, 0.2 * size)
        if not ((centre > 0) & (centre < size)).all():
            continue
        level = _step(_level_at(scene, centre), step * rng.uniform(0.7, 1.3))
        region = scene.add_region(level)
        patch = _blob(rng, size, centre, radius * rng.uniform(0.7, 1.3), wavy)
        _put(scene, patch, region)
        if dot:
            _put(scene, patch, scene.add_region(level + dot, label=region), limit=0.45)


def _distractors(rng: np.random.Generator, scene: Scene) -> None:
    """Blobs that are visible but never labelled."""
    for _ in range(int(rng.integers(1, 6))):
        centre = rng.uniform(0, scene.size, 2)
        region = scene.add_region(_step(_level_at(scene, centre), _contrast(rng)), label=0)
        _put(scene, _blob(rng, scene.size, centre, _radius(rng, scene.size) * 0.4, 0.15), region)


_GROUPS: tuple[Callable[[np.random.Generator, Scene], None], ...] = (
    _blobs,
    _nested,
    _tubes,
    _bands,
    _many_small,
    _distractors,
)


def _surround_by_air(rng: np.random.Generator, scene: Scene) -> None:
    """Cut everything to a large body in dark air, at times with a bright shell."""
    size = scene.size
    centre = rng.uniform(0.4, 0.6, 2) * size
    patch = _blob(rng, size, centre, size * rng.uniform(0.33, 0.55), 0.05, stretch=0.2)
    depth = np.full((size, size), 2.0, np.float32)
    depth[patch.rows, patch.columns] = patch.depth
    shell = scene.add_region(rng.uniform(0.3, 1.0), label=0)
    thickness = rng.uniform(0.01, 0.12)
    if rng.random() < 0.5:
        scene.region_hw[(depth < 1) & (depth > 1 - thickness)] = shell
    air = scene.add_region(rng.uniform(0, 0.06), label=0)
    scene.region_hw[depth >= 1] = air
