"""What is to be segmented: the objects of a labelled image, and the boxes and first clicks that they get."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.data.dataset import MIN_OBJECT_FRACTION, LabelledImage
from SAMMed2DLib.data.sa_med2d import MaskedImage, MaskEntry
from SAMMed2DLib.data.simulated_user import centre_point
from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.inference.prompts import box_of_mask


@dataclass(frozen=True, eq=False)
class Target:
    """One object.

    Attributes:
        mask: (H, W) bool, not empty.
        entry: what is known about it.
        label: its class in a label map; 0 where there is none.
        given: boxes and first clicks that were drawn before, by the kind of prompt; None: they are drawn.
    """

    mask: np.ndarray
    entry: MaskEntry
    label: int = 0
    given: Mapping[str, np.ndarray] | None = None

    def rng(self, seed: int, purpose: str) -> np.random.RandomState:
        """Random numbers of this object alone: what else is evaluated, or in which order, does not change them."""
        name = "/".join((self.entry.dataset, self.entry.image, self.entry.mask, purpose))
        return np.random.RandomState([seed, zlib.crc32(name.encode())])

    @property
    def extent_xyxy(self) -> np.ndarray:
        """(4,) float64, px, half-open: the box around all of the object, as the simulated user draws it."""
        return extent_of(self.mask)


def targets_of(item: LabelledImage | MaskedImage) -> Iterator[Target]:
    """The objects of an image.

    Of a label map, every connected region of at least 0.153 % of the frame, as in SA-Med2D; of listed
    masks, all.
    """
    if isinstance(item, MaskedImage):
        yield from (Target(mask, entry) for mask, entry in zip(item.masks, item.entries, strict=True))
        return
    for number, (label, mask) in enumerate(single_objects(item.label)):
        name = f"{item.name}#{label}.{number}"
        entry = MaskEntry(name, item.name, "", item.dataset, item.modality, case=item.name, area_px=int(mask.sum()))
        yield Target(mask, entry, label)


def single_objects(label_hw: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Class and mask (H, W) bool of each connected region that is large enough to be counted."""
    parts = label_components(label_hw)
    for number in np.flatnonzero(parts.area_px >= MIN_OBJECT_FRACTION * label_hw.size):
        yield int(parts.label[number]), parts.mask(int(number) + 1)


def extent_of(mask: np.ndarray) -> np.ndarray:
    """(4,) float64, half-open (x0, y0, x1, y1): around all pixels of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def filled(box_xyxy: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """The box itself as a mask, (H, W) bool."""
    x0, y0, x1, y1 = box_xyxy.astype(int)
    mask = np.zeros(size_hw, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def jittered_box(mask: np.ndarray, jitter: float, rng: np.random.Generator | np.random.RandomState) -> np.ndarray:
    """Return the object's box, each edge moved by up to `jitter` of the side, within the image.

    Args:
        mask: (H, W) bool, not empty.
        jitter: 0.1 moves an edge by up to a tenth of the box's width or height, either way.
        rng: source of random numbers; four draws.
    Returns:
        (4,) float64, (x0, y0, x1, y1), half-open, at least 1 px wide and high.
    """
    return moved_box(box_of_mask(mask), mask.shape, jitter, rng)


def moved_box(
    box_xyxy: np.ndarray,
    size_hw: tuple[int, ...],
    jitter: float,
    rng: np.random.Generator | np.random.RandomState,
) -> np.ndarray:
    """As `jittered_box`, of a box in an image of this size.

    Args:
        box_xyxy: (4,) px, half-open.
        size_hw: of the image, px.
        jitter: largest move of an edge, as a share of the box's side.
        rng: source of the draws.

    Returns:
        (4,) float64 px, within the image, at least one px wide and high.
    """
    box = np.asarray(box_xyxy, np.float64)
    moved = box + rng.uniform(-jitter, jitter, 4) * np.tile(box[2:] - box[:2], 2)
    size_xy = np.array(size_hw[::-1], dtype=np.float64)
    low = np.clip(moved[:2], 0, size_xy - 1)
    return np.concatenate([low, np.clip(moved[2:], low + 1, size_xy)])


def jittered_click(mask: np.ndarray, jitter: float, rng: np.random.RandomState) -> np.ndarray:
    """Return a first click off the middle of the object, but on it.

    Args:
        mask: (H, W) bool, not empty.
        jitter: 0.1 allows a tenth of the box's width and height, either way; any pixel of the object within that
            is as likely.
        rng: source of random numbers; one draw.
    Returns:
        (2,) float64 point (x, y).
    """
    centre, box = centre_point(mask), box_of_mask(mask)
    points = np.argwhere(mask)[:, ::-1].astype(np.float64)
    near = points[(np.abs(points - centre) <= jitter * (box[2:] - box[:2])).all(axis=1)]
    return near[rng.randint(len(near))]
