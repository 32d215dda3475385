"""Endless synthetic images with labels: a model learns to segment what is under the prompt in any modality.

A scene (`shapes`) says which region lies where. Here regions get brightness, texture and colour, and
the image passes one of several rough models of how an image is made: X-ray CT windows, MR bias and Rician
noise, ultrasound fan and speckle, stained tissue, plain colour. None of them imitates a particular device;
variety is the point.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from SAMMed2DLib.data.augmentation import gaussian_blur, smooth_field
from SAMMed2DLib.data.synthetic.shapes import Scene, random_scene


def synthetic_item(rng: np.random.Generator, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Draw one synthetic image with its label map.

    Args:
        rng: Source of random numbers; equal states give equal items.
        size: Side of the square image in px.
    Returns:
        image (size, size, 3) uint8, label (size, size) uint8, 0 = background, with at least one object.
    """
    while True:
        scene = random_scene(rng, size)
        image = _IMAGING[rng.choice(len(_IMAGING), p=_SHARES)](rng, scene, _painted(rng, scene))
        label = _visible(scene.label_hw(), np.clip(image if image.ndim == 2 else image.mean(2), 0, 1))
        if label.any():
            break
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, 2)
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), label


def _visible(label_hw: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Drop the labels that differ from what is around them neither in brightness nor in texture."""
    seen = np.zeros(256, np.uint8)
    for name in np.unique(label_hw[label_hw > 0]):
        inside = label_hw == name
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        window = (
            slice(max(rows[0] - 6, 0), rows[-1] + 7),
            slice(max(columns[0] - 6, 0), columns[-1] + 7),
        )
        mask, values = inside[window], grey[window]
        near, own = values[~mask], values[mask]
        if len(near) and (abs(own.mean() - near.mean()) > 0.03 or abs(own.std() - near.std()) > 0.03):
            seen[name] = name
    return seen[label_hw]


def lesions_on(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add synthetic lesions to a real image: regions changed in brightness or texture, with their labels.

    Args:
        rng: Source of random numbers.
        image: (S, S, 3) uint8, square.
        label: (S, S) uint8, its labels; they are kept where no lesion covers them.
    Returns:
        A new image and label of the same shapes and dtypes; new labels follow the largest one, as far as 255.
    """
    scene = random_scene(rng, image.shape[0])
    lesions = scene.label_hw()
    names = np.unique(lesions[lesions > 0])
    names = rng.permutation(names)[: min(int(rng.integers(2, 7)), max(0, 255 - int(label.max())))]
    out, labels = image.astype(np.float32), label.copy()
    side = image.shape[0]
    margin = min(20, side // 4)
    shift = tuple(rng.integers(margin, side - margin, 2))
    elsewhere = np.roll(image, shift, (0, 1)).astype(np.float32)
    for name in names:
        mask = lesions == name
        if mask.mean() > 0.25 or image[mask].mean() < 0.6 * image.mean():  # too large, or in the air
            continue
        soft = gaussian_blur(mask.astype(np.float32), rng.uniform(0.5, 2.0))[..., None]
        swap = rng.random() < 0.4
        step = rng.choice([-1, 1]) * rng.uniform(12, 70)
        changed = elsewhere + 0.5 * step if swap else out * rng.uniform(0.6, 1.2) + step
        out += soft * (changed - out)
        labels[mask] = int(labels.max()) + 1
    return np.clip(out, 0, 255).astype(np.uint8), labels


def _painted(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Return (S, S) float32: brightness and texture of every region, edges blurred."""
    image = np.array(scene.level, np.float32)[scene.region_hw]
    for texture in _textures(rng, scene.size):
        strength = rng.gamma(1.0, 0.03, len(scene.level)).astype(np.float32)
        if rng.random() < 0.3:  # the same grain everywhere
            strength[:] = strength.mean()
        image += strength[scene.region_hw] * texture
    if rng.random() < 0.15:
        image += np.float32(rng.normal(0, 0.2)) * _borders(scene.region_hw)
    image += np.float32(rng.uniform(0, 0.06)) * smooth_field(rng, scene.size, 2)
    return gaussian_blur(image, rng.uniform(0.4, 1.8))


def _textures(rng: np.random.Generator, size: int) -> list[np.ndarray]:
    """Return three textures of unit deviation: coarse, streaky, and fine grain."""
    grain = rng.standard_normal((size, size), np.float32)
    across, down = rng.integers(4, size // 3, 2)
    return [smooth_field(rng, size, int(rng.integers(6, 40))), smooth_field(rng, size, across, down), grain]


def _borders(region_hw: np.ndarray) -> np.ndarray:
    """Return 1 where the region changes to the right or below."""
    edge = np.zeros(region_hw.shape, np.float32)
    edge[:, :-1] = region_hw[:, 1:] != region_hw[:, :-1]
    edge[:-1] = np.maximum(edge[:-1], region_hw[1:] != region_hw[:-1])
    return edge


# ---- imaging: (rng, scene, (S, S) float32) -> (S, S) or (S, S, 3) float32


def _plain(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    return image + np.float32(rng.uniform(0, 0.04)) * rng.standard_normal(image.shape, np.float32)


def _ct(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """A display window that saturates both ends, and correlated noise."""
    low = rng.uniform(0, 0.3)
    image = (image - np.float32(low)) / np.float32(rng.uniform(0.4, 0.9))
    noise = smooth_field(rng, scene.size, scene.size // int(rng.integers(2, 5)))
    return np.clip(image, 0, 1) + np.float32(rng.uniform(0, 0.07)) * noise


def _mr(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """A smooth coil sensitivity and Rician noise."""
    bias = np.exp(np.float32(rng.uniform(0.05, 0.4)) * smooth_field(rng, scene.size, int(rng.integers(1, 4))))
    sigma = np.float32(rng.uniform(0.005, 0.06))
    real = image * bias + sigma * rng.standard_normal(image.shape, np.float32)
    return np.hypot(real, sigma * rng.standard_normal(image.shape, np.float32))


def _ultrasound(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """Speckle, log compression, attenuation with depth, shadows, and often a fan-shaped field of view."""
    size = scene.size
    grain = rng.standard_normal((2, size, size), np.float32)
    speckle = gaussian_blur(np.hypot(*grain), rng.uniform(0.4, 1.2)) / np.float32(1.25)
    strength = np.float32(rng.uniform(0.3, 1.0))
    echo = np.maximum(image, 0.02) ** np.float32(1.5) * (1 - strength + strength * speckle)
    depth = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    echo = echo * np.exp(-np.float32(rng.uniform(0, 2)) * depth)
    if rng.random() < 0.4:
        echo = echo * _shadows(rng, depth)
    gain = np.float32(rng.uniform(8, 60))
    echo = np.log1p(gain * echo) / np.log1p(gain)
    return echo * _fan(rng, size) if rng.random() < 0.4 else echo


def _shadows(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """Return (S, S) factors: some columns fade below a depth that changes along them."""
    size = len(depth)
    profile, onset = (smooth_field(rng, size, int(rng.integers(3, 10)))[:1] for _ in range(2))
    below = 1 / (1 + np.exp(-np.float32(rng.uniform(8, 40)) * (depth - rng.uniform(0, 0.7) - 0.1 * onset)))
    return (1 - np.clip(profile + 0.3, 0, 0.95) * below).astype(np.float32)


def _fan(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return 1 inside a sector that opens downwards, 0 outside."""
    axis = np.linspace(0, 1, size, dtype=np.float32)
    x, y = axis[None, :] - 0.5, axis[:, None] + np.float32(rng.uniform(0.05, 0.5))
    radius = np.hypot(x, y)
    inside = np.abs(x) < y * np.tan(rng.uniform(0.4, 0.8))
    near = y[0, 0] * rng.uniform(1.0, 1.3)
    return (inside & (radius > near) & (radius < near + rng.uniform(0.8, 1.1))).astype(np.float32)


def _stained(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """Light through two stains of random hue: one takes the brightness, the other the texture."""
    size = scene.size
    hues = rng.dirichlet([1.0, 1.0, 1.0], 2).astype(np.float32) * rng.uniform(1.5, 4.0)
    dots = np.maximum(
        smooth_field(rng, size, int(rng.integers(20, 80))) - np.float32(rng.uniform(0.3, 1.5)), 0
    )
    second = (rng.random(len(scene.level)) * rng.uniform(0, 0.8)).astype(np.float32)[scene.region_hw]
    first = np.maximum(1 - image, 0) * np.float32(rng.uniform(0.5, 1))
    second = gaussian_blur(second, 0.7) + np.float32(rng.uniform(0, 0.5)) * dots
    return np.exp(-(first[..., None] * hues[0] + second[..., None] * hues[1])) * np.float32(
        rng.uniform(0.8, 1)
    )


def _coloured(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """A reddish or random base colour, each region a little off it."""
    base = np.array([1.0, 0.6, 0.45]) if rng.random() < 0.5 else rng.uniform(0.3, 1, 3)
    tint = np.clip(base + rng.normal(0, rng.uniform(0.03, 0.2), (len(scene.level), 3)), 0.05, 1.2)
    colour = gaussian_blur(tint.astype(np.float32)[scene.region_hw], 0.7)
    light = np.exp(np.float32(0.3) * smooth_field(rng, scene.size, 1))
    return colour * (image * light)[..., None]


def _projection(rng: np.random.Generator, scene: Scene, image: np.ndarray) -> np.ndarray:
    """Structures in front of each other, as in a radiograph: a second scene shines through."""
    other = random_scene(rng, scene.size)
    behind = gaussian_blur(np.array(other.level, np.float32)[other.region_hw], rng.uniform(1, 4))
    share = np.float32(rng.uniform(0.15, 0.4))
    return (
        (1 - share) * image + share * behind + np.float32(0.02) * rng.standard_normal(image.shape, np.float32)
    )


_IMAGING: tuple[Callable[[np.random.Generator, Scene, np.ndarray], np.ndarray], ...] = (
    _plain,
    _ct,
    _mr,
    _ultrasound,
    _stained,
    _coloured,
    _projection,
)
_SHARES = (0.12, 0.18, 0.18, 0.22, 0.13, 0.1, 0.07)
