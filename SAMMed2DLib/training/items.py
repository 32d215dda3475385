"""The items of a run: from label maps in memory or masks on disk, each drawn from (seed, index) alone."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from SAMMed2DLib.data.dataset import DatasetError, LabelledImage, objects_of
from SAMMed2DLib.data.sa_med2d import ImageEntry, MaskedImage
from SAMMed2DLib.data.synthetic import lesions_on, synthetic_item
from SAMMed2DLib.imaging.intensity import is_grey
from SAMMed2DLib.training.config import TrainingConfig
from SAMMed2DLib.training.views import Item, make_framed_item, make_masked_item, make_published_item, make_training_item

CACHE_BYTES = 256 << 20  # of decoded images, in each process that draws items
_MOST_NOTES = 10
_ATTEMPTS = 50  # images that may be unusable in a row
_LARGEST_SHARE = 40  # images beyond which a data set is drawn no more often


class SkippedImageWarning(RuntimeWarning):
    """An image could not be used and another one was drawn."""


class TrainingImages(Protocol):
    """Images with objects, of which views are drawn."""

    @property
    def datasets(self) -> Sequence[str]:
        """The data set of each image."""

    @property
    def sha256(self) -> str:
        """Checksum of what there is: images and masks."""

    def view(self, rng: np.random.Generator, number: int, config: TrainingConfig, focused: bool, lesions: bool) -> Item:
        """Draw a view of one image; `lesions`: add synthetic lesions, which become objects too.

        Args:
            rng: source of all draws.
            number: of the image.
            config: of the run.
            focused: zoom in on an object.
            lesions: add synthetic lesions, which become objects too.

        Raises:
            DatasetError: the image cannot be used.
        """


class LabelMaps:
    """Label maps in memory."""

    def __init__(self, images: Sequence[LabelledImage], framed: bool = False) -> None:
        """Keep the images.

        Args:
            images: images and their label maps.
            framed: views are drawn as the product cuts them around a box, see `make_framed_item`.
        """
        self._images = images
        self._framed = framed

    @property
    def datasets(self) -> list[str]:
        """The data set of each image."""
        return [image.dataset for image in self._images]

    @property
    def sha256(self) -> str:
        """Checksum of all names, images and labels."""
        digest = hashlib.sha256()
        for image in self._images:
            digest.update(f"{image.dataset} {image.name} {image.label.shape} {image.label.dtype}\n".encode())
            digest.update(np.ascontiguousarray(image.image).data)
            digest.update(np.ascontiguousarray(image.label).data)
        return digest.hexdigest()

    def view(self, rng: np.random.Generator, number: int, config: TrainingConfig, focused: bool, lesions: bool) -> Item:
        """Draw a view of one image, or of a square of it with lesions, which are objects too.

        Args:
            rng: source of all draws.
            number: of the image.
            config: of the run.
            focused: zoom in on an object.
            lesions: draw a square of the image with synthetic lesions.

        Raises:
            DatasetError: the image has no object.
        """
        image, label = self._images[number].image, self._images[number].label
        size, count = config.view_size, config.masks_per_image
        if config.as_published:
            masks = objects_of(label)
            if not masks:
                raise DatasetError(f"{self._images[number].name} has no object that is large enough")
            return make_published_item(rng, image, np.stack(masks), size, count)
        if lesions:
            image, label = _with_lesions(rng, image, label)
        if self._framed:
            return make_framed_item(rng, image, label, size, count)
        return make_training_item(rng, image, label, size, count, focused)


def _with_lesions(rng: np.random.Generator, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A square of an image with lesions added; the image itself where no object would be left."""
    side = min(label.shape)
    top, left = (int(rng.integers(size - side + 1)) for size in label.shape)
    square = (slice(top, top + side), slice(left, left + side))
    changed, labels = lesions_on(rng, image[square], label[square])
    return (changed, labels) if labels.any() else (image, label)


class LayoutImages:
    """Images in the SA-Med2D format, read when they are needed; the last ones are kept."""

    def __init__(self, entries: Sequence[ImageEntry], cache_bytes: int = CACHE_BYTES) -> None:
        """Keep the entries, and of the decoded images no more than `cache_bytes` at a time."""
        self._entries = entries
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._held = 0

    @property
    def datasets(self) -> list[str]:
        """The data set of each image."""
        return [entry.masks[0].dataset for entry in self._entries]

    @property
    def sha256(self) -> str:
        """Checksum of the lines of all images and masks; it sees the pixels only through the manifest's checksums."""
        digest = hashlib.sha256()
        for entry in self._entries:
            lines = [entry.image, [asdict(mask) for mask in entry.masks]]
            digest.update(json.dumps(lines, sort_keys=True).encode())
        return digest.hexdigest()

    def view(self, rng: np.random.Generator, number: int, config: TrainingConfig, focused: bool, lesions: bool) -> Item:
        """Draw a view of one image; there are no lesions here.

        Args:
            rng: source of all draws.
            number: of the image.
            config: of the run.
            focused: zoom in on an object.
            lesions: not used.

        Raises:
            DatasetError: a file is missing or broken, or no object survives.
        """
        image, masks = self._read(number)
        size, count = config.view_size, config.masks_per_image
        if config.as_published:
            return make_published_item(rng, image, masks, size, count)
        kinds = [mask.anatomy for mask in self._entries[number].masks]
        return make_masked_item(rng, image, masks, kinds, size, count, focused)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) uint8 and masks (M, H, W) bool."""
        if number not in self._cache:
            self._keep(number, self._entries[number].read())
        self._cache.move_to_end(number)
        image, bits = self._cache[number]
        size_hw, count = image.shape[:2], len(self._entries[number].masks)
        masks = np.unpackbits(bits, count=count * size_hw[0] * size_hw[1]).reshape(count, *size_hw)
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2), masks.view(bool)

    def _keep(self, number: int, read: MaskedImage) -> None:
        image = read.image[..., 0].copy() if is_grey(read.image) else read.image
        packed = (image, np.packbits(read.masks))
        self._cache[number] = packed
        self._held += sum(array.nbytes for array in packed)
        while self._held > self._cache_bytes and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._held -= sum(array.nbytes for array in oldest)


class TrainingItems(torch.utils.data.Dataset):
    """Item i of a run: its index, an image, and M of its objects."""

    def __init__(self, images: TrainingImages, config: TrainingConfig, count: int) -> None:
        """Prepare `count` items; what item i is does not depend on it.

        Args:
            images: what to learn from.
            config: of the run.
            count: how many items there are.
        """
        self._images = images
        self._config = config
        self._count = count
        self._datasets = images.datasets
        members: dict[str, list[int]] = {}
        for number, name in enumerate(self._datasets):
            members.setdefault(name, []).append(number)
        self._groups = [members[name] for name in sorted(members)]
        weight = np.sqrt([min(len(group), _LARGEST_SHARE) for group in self._groups])
        self._group_shares = weight / weight.sum() if len(weight) else weight
        # Views zoom in from the item on with which the step begins.
        self._per_step = count // config.steps

    def __len__(self) -> int:
        """Items of the whole run."""
        return self._count

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        """Index, image (3, S, S) float32 and masks (M, S, S) uint8."""
        config = self._config
        rng = np.random.default_rng([config.seed, index])
        focused = index >= config.focus_step * self._per_step
        kind = rng.random() if self._datasets else 0.0
        if not self._datasets or kind < config.synthetic_share:
            size, count = config.view_size, config.masks_per_image
            view, masks = make_training_item(rng, *synthetic_item(rng, size), size, count, focused)
        else:
            lesions = kind < config.synthetic_share + config.lesion_share
            view, masks = self._real_item(rng, self._number(rng, index), focused, lesions)
        return index, torch.from_numpy(view), torch.from_numpy(masks)

    def _number(self, rng: np.random.Generator, index: int) -> int:
        """Draw the image of an item by the configured balance."""
        if self._config.balance == "images" or self._config.as_published:
            epoch, place = divmod(index, len(self._datasets))
            return int(_order(self._config.seed, epoch, len(self._datasets))[place])
        group = self._groups[rng.choice(len(self._groups), p=self._group_shares)]
        return group[rng.integers(len(group))]

    def _real_item(self, rng: np.random.Generator, number: int, focused: bool, lesions: bool) -> Item:
        """A view of an image; one that cannot be used is named and makes way for another."""
        for _ in range(_ATTEMPTS):
            try:
                return self._images.view(rng, number, self._config, focused, lesions)
            except DatasetError as error:
                problem = str(error)
                warnings.warn(f"skipped an image: {problem}", SkippedImageWarning, stacklevel=2)
                number = int(rng.integers(len(self._datasets)))
        raise DatasetError(f"{_ATTEMPTS} images in a row cannot be used, the last one because: {problem}")


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the images in an epoch."""
    return np.random.default_rng([seed, epoch, 3]).permutation(count)


def usable(entries: Sequence[ImageEntry], note: Callable[[str], None]) -> list[ImageEntry]:
    """Leave out images of which a file is missing or cut off, the first of them with a note; no image is decoded.

    Raises:
        DatasetError: none is left.
    """
    left, count = [], 0
    for entry in entries:
        problem = next(_problems(entry), None)
        if problem is None:
            left.append(entry)
            continue
        count += 1
        if count <= _MOST_NOTES:
            note(f"left out {entry.image}: {problem}")
    if count > _MOST_NOTES:
        note(f"left out {count - _MOST_NOTES} more images for such reasons, of {len(entries)} in all")
    if not left:
        raise DatasetError("none of the images can be used: curate the folder again")
    return left


def _problems(entry: ImageEntry) -> Iterator[str]:
    for name in (entry.image, *(mask.mask for mask in entry.masks)):
        path = entry.folder / name
        try:
            with path.open("rb") as file:
                head = file.read(8)
                file.seek(max(0, path.stat().st_size - 12))
                tail = file.read()
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})"
            continue
        if path.suffix.lower() == ".png" and (head != b"\x89PNG\r\n\x1a\n" or tail[4:8] != b"IEND"):
            yield f"{name} is no PNG file, or is cut off"
