"""A volume and its labels cut into slice images with masks, as in SA-Med2D."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SAMMed2DLib.data.curation.curation_options import MOST_ANISOTROPIC, CurationOptions
from SAMMed2DLib.data.curation.duplicates import differ, thumbnail
from SAMMed2DLib.data.curation.sources.cases import Case
from SAMMed2DLib.data.curation.sources.label_stack import LabelStack
from SAMMed2DLib.imaging.components import Components, label_components
from SAMMed2DLib.imaging.intensity import Intensity, for_all_slices, rgb_from_slice
from SAMMed2DLib.io.volume_io import Volume

_SQUARE = 1.01  # sides of a pixel that differ by less are equal
_SAME_LABELS = 0.05


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask and its class.

    Attributes:
        anatomy: the class.
        instance: 0 for all of it, else the number of a connected part, from 1.
        mask_hw: (H, W) bool.
    """

    anatomy: str
    instance: int
    mask_hw: np.ndarray


@dataclass(frozen=True, eq=False)
class Cut:
    """One slice image with its masks.

    Attributes:
        axis: "i", "j" or "k"; empty for a 2D image.
        number: of the slice; -1 for a 2D image.
        image: (H, W) or, in colour, (H, W, 3) uint8.
        stored: SHA-256 of the intensities before any window.
        masks: at least one.
    """

    axis: str
    number: int
    image: np.ndarray
    stored: str
    masks: tuple[Mask, ...]


def cuts(
    volume: Volume, labels: LabelStack, case: Case, options: CurationOptions, dropped: Counter[str]
) -> Iterator[Cut]:
    """Cut a volume, or take a 2D image as it is.

    Args:
        volume: the image.
        labels: on its grid.
        case: may have a window of its own.
        options: what is kept.
        dropped: counts what is not kept, by reason; it is changed.
    """
    rule = for_all_slices(options.rule(case, volume.array.dtype == np.uint8), volume.array)
    if volume.array.shape[0] == 1:
        cut = _Axis(volume, labels, rule, 0, options).cut(0, dropped)
        if cut is not None:
            yield replace(cut, axis="", number=-1)
        return
    for letter in sorted(set(options.axes), reverse=True):
        axis = _Axis(volume, labels, rule, "kji".index(letter), options)
        reason = axis.reason_against()
        if reason:
            dropped[f"slices {reason}"] += volume.array.shape[axis.axis]
        else:
            yield from _kept_along(axis, options, dropped)


def _kept_along(axis: _Axis, options: CurationOptions, dropped: Counter[str]) -> Iterator[Cut]:
    """The slices along an axis, without those that hardly differ from the one before."""
    last: Cut | None = None
    for number in _chosen(axis.labelled_slices(dropped), options.max_slices, dropped):
        cut = axis.cut(number, dropped)
        if cut is None:
            continue
        if last is not None and options.similar and _is_similar(last, cut, options.similar):
            dropped["slices much like the one before"] += 1
            continue
        yield cut
        last = cut


def _chosen(numbers: Sequence[int], most: int, dropped: Counter[str]) -> Sequence[int]:
    """At most so many slices, evenly spread."""
    if not most or len(numbers) <= most:
        return numbers
    dropped["slices beyond the number asked for"] += len(numbers) - most
    places = (np.arange(most) + 0.5) * len(numbers) / most
    return [numbers[int(place)] for place in places]


def _is_similar(first: Cut, second: Cut, limit: float) -> bool:
    """Whether both the images and what is labelled in them hardly differ."""
    if differ(thumbnail(first.image), thumbnail(second.image)) >= limit:
        return False
    masks = {mask.anatomy: mask.mask_hw for mask in first.masks if mask.instance == 0}
    others = {mask.anatomy: mask.mask_hw for mask in second.masks if mask.instance == 0}
    if masks.keys() != others.keys():
        return False
    labelled = sum(int((mask | others[name]).sum()) for name, mask in masks.items())
    changed = sum(int((mask ^ others[name]).sum()) for name, mask in masks.items())
    return changed < _SAME_LABELS * labelled


class _Axis:
    """The slices along one axis of a volume, with square pixels."""

    def __init__(
        self, volume: Volume, labels: LabelStack, rule: Intensity, axis: int, options: CurationOptions
    ) -> None:
        self.axis = axis
        self._volume, self._labels, self._rule, self._options = volume, labels, rule, options
        shape = [n for place, n in enumerate(volume.array.shape[:3]) if place != axis]
        sides = [side for place, side in enumerate(volume.spacing_mm[::-1]) if place != axis]
        self.anisotropy = max(sides) / min(sides)
        self._size = tuple(
            max(1, round(n * side / min(sides))) if self.anisotropy > _SQUARE else n
            for n, side in zip(shape, sides, strict=True)
        )

    def reason_against(self) -> str:
        """Why no slice of this axis is taken; empty if there is no reason."""
        if self.anisotropy > MOST_ANISOTROPIC and not self._options.all_axes:
            return "across thick ones"
        if min(self._size) < self._options.min_sides * max(self._size):
            return "too narrow"
        return ""

    def labelled_slices(self, dropped: Counter[str]) -> list[int]:
        """Numbers of the slices in which anything is labelled."""
        others = tuple(place for place in range(3) if place != self.axis)
        labelled = np.zeros(self._labels.shape[self.axis], bool)
        for layer in self._labels.layers:
            labelled |= layer.any(axis=others)
        dropped["slices without a label"] += int((~labelled).sum())
        return np.flatnonzero(labelled).tolist()

    def cut(self, number: int, dropped: Counter[str]) -> Cut | None:
        """One slice, or None where no mask is large enough."""
        masks = tuple(self._masks(number, dropped))
        if not masks:
            dropped["slices without a large mask"] += 1
            return None
        stored = self._volume.array.take(number, self.axis)
        image = rgb_from_slice(stored, self._rule)
        image = image if self._volume.is_colour else image[..., 0]
        digest = hashlib.sha256(stored.astype(np.float32).tobytes()).hexdigest()
        return Cut("kji"[self.axis], number, _stretched(image, self._size), digest, masks)

    def _masks(self, number: int, dropped: Counter[str]) -> Iterator[Mask]:
        least = self._options.min_share * self._size[0] * self._size[1]
        for layer in self._labels.layers:
            labels = _repeated(layer.take(number, self.axis), self._size)
            parts = label_components(labels)
            for label in np.unique(parts.label):
                found = list(_masks_of(labels, parts, int(label), least))
                dropped["masks too small"] += not found
                for instance, mask in found:
                    yield Mask(self._labels.classes[label - 1], instance, mask)


def _masks_of(labels: np.ndarray, parts: Components, label: int, least: float) -> Iterator[tuple[int, np.ndarray]]:
    """The class as one mask, then each of its large parts where there are several."""
    of_class = parts.label == label
    if parts.area_px[of_class].sum() < max(least, 1):
        return
    yield 0, labels == label
    large = np.flatnonzero(of_class & (parts.area_px >= max(least, 1))) + 1
    if len(large) > 1:
        yield from ((instance, parts.mask(int(part))) for instance, part in enumerate(large, 1))


def _repeated(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Labels at another size, each pixel that of the nearest."""
    if labels.shape == size:
        return labels
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * old / n, old - 1).astype(int)
        for n, old in zip(size, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _stretched(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """An image at a size that is not smaller, interpolated."""
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    values = image.astype(np.float32)
    for axis, n in enumerate(size):
        place = np.clip((np.arange(n) + 0.5) * image.shape[axis] / n - 0.5, 0, image.shape[axis] - 1)
        low = place.astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        along_axis = [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
        share = (place - low).astype(np.float32).reshape(along_axis)
        values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return (values + 0.5).astype(np.uint8)
