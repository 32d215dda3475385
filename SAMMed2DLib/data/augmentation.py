"""Random views and random intensities of a labelled image, for training (numpy only).

A view is a grid of source coordinates; image and labels go through the same grid. Intensities are changed on
float32 in 0..1, on one channel where the image is grey.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from SAMMed2DLib.imaging.components import Components

FULL_VIEW = 0.35  # share of items that show the whole image, as the model sees it without a local zoom
FULL_VIEW_FOCUSED = 0.25
OBJECT_SHARE = (0.15, 0.95)
OBJECT_SHARE_FOCUSED = (0.35, 0.85)
SMALLEST_VIEW_PX = 40.0
# A crop that the product cuts around a box shows the object at about three fifths of its side, in the middle.
OBJECT_SHARE_FRAMED = (0.52, 0.68)
SMALLEST_FRAMED_PX = 28.0


@lru_cache(maxsize=64)
def _spline_basis(size: int, cells: int) -> np.ndarray:
    """Return (size, cells + 3) float32: cubic B-splines over `cells` cells at `size` pixel centres."""
    position = (np.arange(size) + 0.5) * cells / size
    cell = np.minimum(position.astype(int), cells - 1)
    t = position - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3]) / 6
    basis = np.zeros((size, cells + 3), np.float32)
    for k in range(4):
        basis[np.arange(size), cell + k] = weights[k]
    return basis


def smooth_field(
    rng: np.random.Generator, size: int, cells: int, cells_down: int | None = None
) -> np.ndarray:
    """Return a smooth random surface of about zero mean and unit standard deviation.

    Args:
        rng: Source of random numbers.
        size: Side of the square field in px.
        cells: Number of bumps across; more is finer.
        cells_down: Number of bumps from top to bottom if it differs (a streaky field).
    Returns:
        (size, size) float32.
    """
    down = _spline_basis(size, min(cells_down or cells, size))
    across = _spline_basis(size, min(cells, size))
    knots = rng.standard_normal((down.shape[1], across.shape[1]), np.float32)
    return (down @ knots @ across.T) * np.float32(2.1)


def random_grid(
    rng: np.random.Generator,
    size_hw: tuple[int, ...],
    draw_box: Callable[[np.random.Generator], np.ndarray] | None,
    size: int,
    focused: bool = False,
) -> np.ndarray:
    """Draw a view of an image: the whole frame, or a zoom towards one object.

    Args:
        rng: Source of random numbers.
        size_hw: Size of the image in px.
        draw_box: Draws an object and gives its half-open box (4,), (x0, y0, x1, y1) in px; None if there is none.
        size: Side of the view in px.
        focused: Mostly zooms, as a crop around a prompt shows its object (see `zoom`).
    Returns:
        (2, size, size) float32: source x and y in px (integer = pixel centre) of each pixel of the view.
    """
    if rng.random() < (FULL_VIEW_FOCUSED if focused else FULL_VIEW) or draw_box is None:
        centre_xy, extent_xy = _full_view(rng, size_hw)
    else:
        share = OBJECT_SHARE_FOCUSED if focused else OBJECT_SHARE
        centre_xy, extent_xy = _zoomed_view(rng, size_hw, draw_box(rng), share)
    return _bent_grid(rng, centre_xy, extent_xy, size)


def framed_grid(rng: np.random.Generator, size_hw: tuple[int, ...], box: np.ndarray, size: int) -> np.ndarray:
    """Draw a view as the product cuts it around a box that is a little off, within the image.

    Args:
        rng: Source of random numbers.
        size_hw: Size of the image in px.
        box: (4,) half-open, (x0, y0, x1, y1) in px, of the object.
        size: Side of the view in px.
    Returns:
        As `random_grid`.
    """
    sides = np.tile(box[2:] - box[:2], 2)
    box = box + rng.uniform(-0.06, 0.06, 4) * sides
    share = np.exp(rng.uniform(*np.log(OBJECT_SHARE_FRAMED)))
    extent = np.full(2, max((box[2:] - box[:2]).max() / share, SMALLEST_FRAMED_PX))
    if rng.random() < 0.4:
        extent *= np.exp(rng.normal(0, 0.1) * np.array([1, -1]))
    size_xy = np.array(size_hw[::-1], float)
    extent = np.minimum(extent, size_xy)
    centre = np.clip((box[:2] + box[2:] - 1) / 2, (extent - 1) / 2, size_xy - (extent + 1) / 2)
    return _bent_grid(rng, centre, extent, size)


def _full_view(rng: np.random.Generator, size_hw: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and extent (source px) of the whole image, stretched, at times with a margin."""
    size_xy = np.array(size_hw[::-1], float)
    extent = size_xy * np.exp(rng.uniform(-0.15, 0.15, 2)) if rng.random() < 0.5 else size_xy
    if rng.random() < 0.2:
        extent = extent * rng.uniform(1.0, 1.6)
    return (size_xy - 1) / 2 + rng.uniform(-0.05, 0.05, 2) * extent, extent


def _zoomed_view(
    rng: np.random.Generator, size_hw: tuple[int, ...], box: np.ndarray, share: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and extent (source px) of a view in which the object of a box takes such a share of the side."""
    object_px = max(box[2] - box[0], box[3] - box[1])
    side = object_px / np.exp(rng.uniform(*np.log(share)))
    side = float(np.clip(side, SMALLEST_VIEW_PX, 1.3 * max(size_hw)))
    aspect = np.exp(rng.normal(0, 0.12))
    extent = np.array([side * aspect, side / aspect])
    slack = np.maximum(extent - (box[2:] - box[:2]), 0.2 * extent)
    return (box[:2] + box[2:] - 1) / 2 + rng.uniform(-0.5, 0.5, 2) * slack, extent


def any_part(rng: np.random.Generator, parts: Components) -> np.ndarray:
    """Draw a region, first a label, then a region of it, larger ones more often: (H, W) bool."""
    label = rng.choice(np.unique(parts.label))
    numbers = np.flatnonzero(parts.label == label)
    weight = np.sqrt(parts.area_px[numbers])
    return parts.mask(int(rng.choice(numbers, p=weight / weight.sum())) + 1)


def box_around(mask_hw: np.ndarray) -> np.ndarray:
    """Return the half-open box (x0, y0, x1, y1) of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask_hw.any(1)), np.flatnonzero(mask_hw.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _bent_grid(rng: np.random.Generator, centre_xy: np.ndarray, extent_xy: np.ndarray, size: int) -> np.ndarray:
    """The source coordinates of a view; a third of the views are bent a little."""
    grid = _affine_grid(rng, centre_xy, extent_xy, size)
    if rng.random() < 0.3:
        strength = rng.uniform(0.005, 0.03) * extent_xy.mean()
        cells = int(rng.integers(2, 6))
        grid += strength * np.stack([smooth_field(rng, size, cells), smooth_field(rng, size, cells)])
    return grid


def _affine_grid(
    rng: np.random.Generator, centre_xy: np.ndarray, extent_xy: np.ndarray, size: int
) -> np.ndarray:
    """Return the source coordinates of a view with random flips, transposition and rotation."""
    angle = 0.0
    if rng.random() < 0.5:
        angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.25 else rng.normal(0, 0.2)
    flip_x, flip_y = rng.choice([-1.0, 1.0], 2)
    unit = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
    u, v = np.meshgrid(flip_x * unit, flip_y * unit)
    if rng.random() < 0.15:
        u, v = v, u
    x, y = u * np.float32(extent_xy[0]), v * np.float32(extent_xy[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return np.stack(
        [cos * x - sin * y + np.float32(centre_xy[0]), sin * x + cos * y + np.float32(centre_xy[1])]
    )


def sample_nearest(array: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Read an array at the nearest pixel of each grid position; 0 outside.

    Args:
        array: (H, W) or (H, W, C).
        grid: (2, S, S) float32, source x and y in px.
    Returns:
        (S, S) or (S, S, C), same dtype.
    """
    h, w = array.shape[:2]
    column, row = np.floor(grid + np.float32(0.5)).astype(np.int32)
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    flat = np.clip(row, 0, h - 1) * w + np.clip(column, 0, w - 1)
    out = array.reshape(h * w, *array.shape[2:])[flat]
    out[~inside] = 0
    return out


def sample_linear(array: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Read an array by bilinear interpolation at each grid position; 0 outside.

    Args:
        array: (H, W) or (H, W, C), any real dtype.
        grid: (2, S, S) float32, source x and y in px.
    Returns:
        (S, S) or (S, S, C) float32.
    """
    padded = np.pad(array, ((1, 1), (1, 1)) + ((0, 0),) * (array.ndim - 2))
    h, w = padded.shape[:2]
    x = np.clip(grid[0] + 1, 0, w - 1.001)
    y = np.clip(grid[1] + 1, 0, h - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - column, y - row
    if array.ndim == 3:
        fx, fy = fx[..., None], fy[..., None]
    flat = row * w + column
    source = padded.reshape(h * w, *array.shape[2:])
    top = source[flat] * (1 - fx) + source[flat + 1] * fx
    bottom = source[flat + w] * (1 - fx) + source[flat + w + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.float32, copy=False)


def gaussian_blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Blur the first two axes with a Gaussian; the border is repeated.

    Args:
        image: (H, W) or (H, W, C) float32.
        sigma_px: Standard deviation in px, 0 for none.
    """
    radius = int(np.ceil(2.5 * sigma_px))
    if radius == 0:
        return image
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        n = image.shape[axis]
        index = np.clip(np.arange(-radius, n + radius), 0, n - 1)
        padded = image[index] if axis == 0 else image[:, index]
        image = sum(
            k * (padded[i : i + n] if axis == 0 else padded[:, i : i + n]) for i, k in enumerate(kernel)
        )
    return image


def random_intensities(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Change contrast, colour, sharpness and noise at random.

    Args:
        rng: Source of random numbers.
        image: (S, S) grey or (S, S, 3) colour, float32 in 0..1.
    Returns:
        Same shape or (S, S, 3) (a grey image may be tinted), float32 in 0..1.
    """
    if image.ndim == 3:
        image = _random_colour(rng, image)
    for probability, change in _CHANGES:
        if rng.random() < probability:
            image = change(rng, image)
    if image.ndim == 2 and rng.random() < 0.1:
        image = _tinted(rng, image)
    return np.clip(image, 0, 1)


def _random_colour(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    if rng.random() < 0.15:
        weights = rng.dirichlet([1, 1, 1]).astype(np.float32)
        return image @ weights
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.5:
        mix = np.eye(3) + rng.normal(0, 0.12, (3, 3))
        image = image @ mix.astype(np.float32) + rng.normal(0, 0.05, 3).astype(np.float32)
        image = np.clip(image, 0, 1)
    return image


def _window(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Stretch a random part of the range to 0..1, the rest saturates."""
    shares = [rng.uniform(0, 20), rng.uniform(80, 100)]
    low, high = np.percentile(image[::4, ::4], shares).astype(np.float32)
    return np.clip((image - low) / np.maximum(high - low, np.float32(0.1)), 0, 1)


def _gamma(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return np.maximum(image, 1e-4) ** np.float32(np.exp(rng.normal(0, 0.4)))


def _contrast(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    gain = (
        rng.uniform(0.6, 1.3) if image.std() > 0.1 else rng.uniform(1.0, 2.0)
    )  # faint images get no fainter
    shift = rng.uniform(-0.15, 0.15)
    return np.clip((image - 0.5) * np.float32(gain) + np.float32(0.5 + shift), 0, 1)


def _invert(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return 1 - image


def _bias_field(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    strength = np.float32(rng.uniform(0.1, 0.45))
    field = np.exp(strength * smooth_field(rng, image.shape[0], int(rng.integers(1, 4))))
    return image * (field[..., None] if image.ndim == 3 else field)


def _blur(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return gaussian_blur(image, rng.uniform(0.4, 1.6))


def _noise(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    sigma = min(rng.uniform(0.02, 0.45) * float(image.std()), 0.09)
    return image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)


def _speckle(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return image * (1 + np.float32(rng.uniform(0.05, 0.3)) * rng.standard_normal(image.shape, np.float32))


def _tinted(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Colour a grey image: each channel gets its own curve between two random colours."""
    dark, bright = rng.uniform(0, 0.5, 3), rng.uniform(0.5, 1, 3)
    curve = np.exp(rng.normal(0, 0.4, 3)).astype(np.float32)
    return (dark + (bright - dark) * np.maximum(image, 1e-4)[..., None] ** curve).astype(np.float32)


_CHANGES: tuple[tuple[float, Callable[[np.random.Generator, np.ndarray], np.ndarray]], ...] = (
    (0.25, _window),
    (0.4, _gamma),
    (0.4, _contrast),
    (0.12, _invert),
    (0.25, _bias_field),
    (0.25, _blur),
    (0.35, _noise),
    (0.12, _speckle),
)
