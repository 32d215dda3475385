"""Labelled volumes as tasks of a simulated user, and what the user sees of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from SAMMed2DLib.evaluation.volumes import keyframes_of
from SAMMed2DLib.imaging.components import label_components, squared_depth, squared_distance
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice

# A brush stroke covers the part of a region that is at least so deep, of its deepest pixel.
_CORE = 0.5
# A line around an object runs so far away, of the radius of a disc of its area, and at least so far; it is so wide.
_RING_SHARE, _LEAST_RING_PX, _RING_WIDTH_PX = 0.2, 3, 2


@dataclass(frozen=True, eq=False)
class Task:
    """One volume, and the objects that are to be segmented.

    Attributes:
        grey: (N, H, W), the slices.
        objects: (N, H, W) bool each, not empty.
        intensity: how slices are shown.
        slice_px: how far slices are from each other, px of a slice.
        target: Dice of all objects together, 0 .. 1.
    """

    grey: np.ndarray
    objects: Sequence[np.ndarray]
    intensity: Intensity
    slice_px: float
    target: float
    _images: dict[int, np.ndarray] = field(default_factory=dict)

    def image(self, index: int) -> np.ndarray:
        """A slice as the model sees it, (H, W, 3) uint8."""
        if index not in self._images:
            self._images[index] = rgb_from_slice(self.grey[index], self.intensity)
        return self._images[index]

    @cached_property
    def label(self) -> np.ndarray:
        """All objects, (N, H, W) bool."""
        return np.any(self.objects, axis=0)

    @property
    def is_single(self) -> bool:
        """Whether there is one object."""
        return len(self.objects) == 1

    @property
    def slice_target(self) -> float:
        """The Dice with which a slice is left as it is: half as far from 1 as the target of the volume."""
        return (1 + self.target) / 2

    def dice(self, found: np.ndarray | Sequence[np.ndarray]) -> float:
        """Dice of what was found, (N, H, W) bool or one for each object, with all objects."""
        return dice(found if isinstance(found, np.ndarray) else np.any(found, axis=0), self.label)

    def starting_slices(self, number: int) -> list[int]:
        """Where the user begins: on three slices of a single object, on the largest one of each of several."""
        return keyframes_of(self.objects[number], 3 if self.is_single else 1)


def worst_slice(found: np.ndarray, label: np.ndarray, right: Mapping[int, np.ndarray] | None = None) -> int:
    """The slice with most wrong pixels, both (N, H, W) bool; -1 if all are right, or drawn already."""
    wrong = (found != label).sum(axis=(1, 2))
    wrong[list(right or ())] = 0
    return int(wrong.argmax()) if wrong.any() else -1


def regions(mask_hw: np.ndarray) -> int:
    """How many outlines a mask, (H, W) bool, has: one for each region, holes not counted."""
    return len(label_components(mask_hw.astype(np.uint8)))


def core(mask_hw: np.ndarray) -> np.ndarray:
    """The middle of a region, as a brush would cover it in one stroke: (H, W) bool."""
    depth = squared_depth(mask_hw)
    return depth >= max(_CORE**2 * depth.max(), 1)


def ring(mask_hw: np.ndarray) -> np.ndarray:
    """A line around a mask, (H, W) bool, not too close to it."""
    away = max(_LEAST_RING_PX, round(_RING_SHARE * np.sqrt(mask_hw.sum() / np.pi)))
    distance = squared_distance(mask_hw)
    return (distance >= away**2) & (distance < (away + _RING_WIDTH_PX) ** 2)


def largest_error(found_hw: np.ndarray, label_hw: np.ndarray) -> tuple[np.ndarray, bool]:
    """The largest connected error on a slice, (H, W) bool, and whether it was missed; else it is surplus."""
    errors = label_components(np.where(found_hw != label_hw, 1 + label_hw.astype(np.uint8), 0))
    largest = int(errors.area_px.argmax()) + 1
    return errors.mask(largest), bool(errors.label[largest - 1] == 2)
