"""One training item: a view of an image and some of the objects in it, augmented or as published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from SAMMed2DLib.data.augmentation import (
    any_part,
    box_around,
    framed_grid,
    random_grid,
    random_intensities,
    sample_linear,
    sample_nearest,
)
from SAMMed2DLib.data.dataset import MIN_OBJECT_FRACTION, DatasetError
from SAMMed2DLib.imaging.components import Components, label_components
from SAMMed2DLib.imaging.intensity import is_grey
from SAMMed2DLib.model.preprocessing import PIXEL_MEAN, PIXEL_STD, ResizeTransform

LARGE_OBJECT_FRACTION = 0.02
SMALLEST_FRAMED_OBJECT_PX = 30
CLASS_MASK_SHARE = 0.15  # how often a class of several separate objects is asked for as one mask
_MEAN, _STD = np.array(PIXEL_MEAN, np.float32), np.array(PIXEL_STD, np.float32)

# View (3, S, S) float32, normalised by the pixel mean and standard deviation in the channel order given, and
# masks (n, S, S) uint8 of 0/1, none of them empty.
Item = tuple[np.ndarray, np.ndarray]
# Grid of a view and the smallest share of it that counts -> masks, or None if no object is that large.
_DrawMasks = Callable[[np.ndarray, float], np.ndarray | None]


def make_training_item(
    rng: np.random.Generator,
    image: np.ndarray,
    label: np.ndarray,
    size: int = 256,
    n_masks: int = 5,
    focused: bool = False,
) -> Item:
    """Draw one augmented view of a label map: its classes, and where they are several, their regions.

    Args:
        rng: source of random numbers.
        image: (H, W, 3) uint8.
        label: (H, W) unsigned integer, 0 = background, at least one pixel labelled.
        size: side of the view, px.
        n_masks: how many objects; repeated where the view shows fewer.
        focused: mostly large objects in zoomed views, see `augmentation.random_grid`.

    Raises:
        DatasetError: the label has no object.
    """
    source_parts = label_components(label)
    if not len(source_parts):
        raise DatasetError("The label map is empty, so there is nothing to learn from it; leave such images out.")

    def draw_masks(grid: np.ndarray, min_fraction: float) -> np.ndarray | None:
        view_label = sample_nearest(label, grid)
        return _draw_regions(rng, view_label, label_components(view_label), n_masks, min_fraction)

    return _first_view(rng, image, lambda rng: box_around(any_part(rng, source_parts)), draw_masks, size, focused)


def make_framed_item(
    rng: np.random.Generator, image: np.ndarray, label: np.ndarray, size: int = 256, n_masks: int = 5
) -> Item:
    """Draw a view as the product cuts it around a box: one region of a label map in its middle.

    All masks are of that region, but for the last one, which is of any object of the view.

    Args:
        rng: source of random numbers.
        image: (H, W, 3) uint8.
        label: (H, W) unsigned integer, 0 = background.
        size: side of the view, px.
        n_masks: how many masks, 2 or more.

    Raises:
        DatasetError: the label has no object, or none that is large enough.
    """
    parts = label_components(label)
    for _ in range(16 if len(parts) else 0):
        part = any_part(rng, parts)
        grid = framed_grid(rng, label.shape, box_around(part), size)
        mask = sample_nearest(part, grid)
        if np.count_nonzero(part) >= SMALLEST_FRAMED_OBJECT_PX and mask.any():
            view_label = sample_nearest(label, grid)
            other = _draw_regions(rng, view_label, label_components(view_label), 1, MIN_OBJECT_FRACTION)
            masks = np.repeat(mask[None].astype(np.uint8), n_masks, axis=0)
            masks[-1:] = mask if other is None else other
            return _normalised(_view_of(rng, image, grid)), masks
    raise DatasetError("No object of this image is large enough to be framed; its objects are too small or none.")


def make_masked_item(
    rng: np.random.Generator,
    image: np.ndarray,
    masks: np.ndarray,
    kinds: Sequence[str],
    size: int = 256,
    n_masks: int = 5,
    focused: bool = False,
) -> Item:
    """Draw one augmented view of an image with masks that may overlap; each mask is one object.

    Args:
        rng: source of random numbers.
        image: (H, W, 3) uint8.
        masks: (M, H, W) bool, none of them empty.
        kinds: class of each mask; every class is as likely.
        size: side of the view, px.
        n_masks: how many objects; repeated where the view shows fewer.
        focused: mostly large objects in zoomed views, see `augmentation.random_grid`.

    Raises:
        DatasetError: no mask survives in a view.
    """
    _, kind, per_kind = np.unique(np.array(kinds), return_inverse=True, return_counts=True)
    rarity = per_kind[kind].astype(np.float64)

    def draw_box(rng: np.random.Generator) -> np.ndarray:
        return box_around(masks[rng.choice(len(masks), p=1 / rarity / len(per_kind))])

    def draw_masks(grid: np.ndarray, min_fraction: float) -> np.ndarray | None:
        order = np.argsort(rng.exponential(size=len(masks)) * rarity)  # weighted draw without replacement
        return _seen(masks, order, grid, n_masks, min_fraction)

    return _first_view(rng, image, draw_box, draw_masks, size, focused)


def make_published_item(
    rng: np.random.Generator, image: np.ndarray, masks: np.ndarray, size: int = 256, n_masks: int = 5
) -> Item:
    """Place an image in the frame as the loader of SAM-Med2D does, with masks drawn with replacement.

    Nothing is augmented, small images are padded, others are stretched by nearest neighbours, and channels are
    in B, G, R order. Unlike there, a mask that vanishes in the frame is not drawn.

    Args:
        rng: source of random numbers.
        image: (H, W, 3) uint8, R, G, B.
        masks: (M, H, W) bool.
        size: side of the frame, px.
        n_masks: how many masks.

    Raises:
        DatasetError: every mask vanishes.
    """
    frame = ResizeTransform((image.shape[0], image.shape[1]), size, "pad")
    placed = frame.resample_nearest(masks.transpose(1, 2, 0)).transpose(2, 0, 1)
    left = np.flatnonzero(placed.any(axis=(1, 2)))
    if not len(left):
        raise DatasetError("No mask of this image survives at the model's size; its objects are too small.")
    chosen = rng.choice(left, n_masks)
    return frame.model_image(image[..., ::-1]), placed[chosen].astype(np.uint8)


def _first_view(
    rng: np.random.Generator,
    image: np.ndarray,
    draw_box: Callable[[np.random.Generator], np.ndarray],
    draw_masks: _DrawMasks,
    size: int,
    focused: bool,
) -> Item:
    """The first of some random views that shows an object; the later ones are content with smaller objects."""
    first = LARGE_OBJECT_FRACTION if focused and rng.random() < 0.8 else MIN_OBJECT_FRACTION
    for min_fraction in (first,) * 4 + (MIN_OBJECT_FRACTION,) * 4 + (0.0,) * 8:
        grid = random_grid(rng, image.shape[:2], draw_box, size, focused)
        masks = draw_masks(grid, min_fraction)
        if masks is not None:
            return _normalised(_view_of(rng, image, grid)), masks
    raise DatasetError("No object of this image survives in a view; its objects are too small or too few.")


def _draw_regions(
    rng: np.random.Generator, label_hw: np.ndarray, parts: Components, n_masks: int, min_fraction: float
) -> np.ndarray | None:
    """Return (n_masks, H, W) uint8, every label as likely, repeats only if needed; None if none."""
    min_px = max(1.0, min_fraction * label_hw.size)
    large = np.flatnonzero(parts.area_px >= min_px)
    if not len(large):
        return None
    _, of_label, per_label = np.unique(parts.label[large], return_inverse=True, return_counts=True)
    key = rng.exponential(size=len(large)) * per_label[of_label]  # weighted draw without replacement
    order = large[np.argsort(key)][:n_masks]
    chosen = np.concatenate([order, rng.choice(order, n_masks - len(order))])
    masks = np.empty((n_masks, *label_hw.shape), np.uint8)
    for mask, part in zip(masks, chosen, strict=True):
        alone = per_label[of_label[np.searchsorted(large, part)]] == 1
        whole_class = alone or rng.random() < CLASS_MASK_SHARE
        np.copyto(mask, label_hw == parts.label[part] if whole_class else parts.index_hw == part + 1)
    return masks


def _seen(
    masks: np.ndarray, order: np.ndarray, grid: np.ndarray, n_masks: int, min_fraction: float
) -> np.ndarray | None:
    """The first `n_masks` in this order that the view shows well enough, in turn again if they are fewer."""
    min_px = max(1.0, min_fraction * grid[0].size)
    seen: list[np.ndarray] = []
    for number in order:
        mask = sample_nearest(masks[number], grid)
        if np.count_nonzero(mask) >= min_px:
            seen.append(mask)
        if len(seen) == n_masks:
            break
    return np.stack([seen[i % len(seen)] for i in range(n_masks)]).astype(np.uint8) if seen else None


def _view_of(rng: np.random.Generator, image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the view as (S, S) or (S, S, 3) float32 in 0..1 with random intensities."""
    source = image[..., 0] if is_grey(image) else image
    sample = sample_nearest if rng.random() < 0.25 else sample_linear
    return random_intensities(rng, sample(source, grid).astype(np.float32) / np.float32(255))


def _normalised(view: np.ndarray) -> np.ndarray:
    """Return (3, S, S) float32: 0..1 to the model's normalised range."""
    if view.ndim == 2:
        view = np.broadcast_to(view[..., None], (*view.shape, 3))
    scale, shift = (255 / _STD)[:, None, None], (_MEAN / _STD)[:, None, None]
    return np.ascontiguousarray(view.transpose(2, 0, 1)) * scale - shift
