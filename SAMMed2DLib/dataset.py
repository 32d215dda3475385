"""Labelled images for training: reading them, their objects, and one augmented training item."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .augmentation import random_grid, random_intensities, sample_linear, sample_nearest
from .components import Components, label_components
from .model import frame

MIN_OBJECT_FRACTION = 0.00153  # 100 px of 256 x 256: what the published data set keeps
LARGE_OBJECT_FRACTION = 0.02
CLASS_MASK_SHARE = 0.15  # how often a class of several separate objects is asked for as one mask
PIXEL_MEAN = np.array(frame.PIXEL_MEAN, np.float32)
PIXEL_STD = np.array(frame.PIXEL_STD, np.float32)


class DatasetError(ValueError):
    """Training data that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image with its label map.

    Attributes:
        image: (H, W, 3) uint8.
        label: (H, W) uint8 or uint16, 0 = background.
        name: Name within the data set.
        dataset: Name of the data set.
        modality: For example "CT"; empty if unknown.
    """

    image: np.ndarray
    label: np.ndarray
    name: str
    dataset: str
    modality: str = ""

    def __post_init__(self) -> None:
        """Check that image and label belong together.

        Raises:
            DatasetError: they do not.
        """
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise DatasetError(f"{self.name}: the image must be (H, W, 3) uint8, not {_kind(self.image)}.")
        if self.label.shape != self.image.shape[:2] or self.label.dtype.kind not in "ub":
            raise DatasetError(
                f"{self.name}: the label must be unsigned integers of the image's size "
                f"{self.image.shape[:2]}, not {_kind(self.label)}."
            )


def _kind(array: np.ndarray) -> str:
    return f"{array.shape} {array.dtype}"


def read_manifest(folder: Path | str, datasets: Collection[str] | None = None) -> list[LabelledImage]:
    """Read a folder of PNG images and labels that a MANIFEST.tsv lists.

    Args:
        folder: Holds MANIFEST.tsv (columns set, modality, image, label, ...) and the files, relative to it.
        datasets: Names of the sets to read, None for all.
    Returns:
        The images in the order of the manifest.
    Raises:
        DatasetError: no manifest, a name that it lacks, or a file that cannot be read.
    """
    folder = Path(folder)
    manifest = folder / "MANIFEST.tsv"
    if not manifest.is_file():
        raise DatasetError(f"{folder} has no MANIFEST.tsv; give the folder that holds it.")
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    unknown = set(datasets or ()) - {row["set"] for row in rows}
    if unknown:
        raise DatasetError(f"{manifest} lists no set named {', '.join(sorted(unknown))}; check the spelling.")
    return [_read_row(folder, row) for row in rows if datasets is None or row["set"] in datasets]


def _read_row(folder: Path, row: dict[str, str]) -> LabelledImage:
    image, label = _read_png(folder / row["image"]), _read_png(folder / row["label"])
    return LabelledImage(
        image=np.ascontiguousarray(np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image[..., :3]),
        label=label if label.ndim == 2 else label[..., 0],
        name=Path(row["image"]).stem,
        dataset=row["set"],
        modality=row["modality"],
    )


def _read_png(path: Path) -> np.ndarray:
    import SimpleITK

    try:
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError as error:
        raise DatasetError(f"{path} cannot be read as an image; restore it or drop its row.") from error


def read_cache(path: Path | str) -> list[LabelledImage]:
    """Read one data set that was packed into a single .npz file.

    The file holds `names`, `modality`, `dataset` and, for the i-th name, `image_i` ((H, W) or (H, W, 3)
    uint8) and `label_i` ((H, W) uint8 or uint16).

    Args:
        path: The .npz file.
    Returns:
        The images in the order of `names`.
    Raises:
        DatasetError: the file is not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [str(name) for name in archive["names"]]
            dataset, modality = str(archive["dataset"]), str(archive["modality"])
            pairs = [(archive[f"image_{i}"], archive[f"label_{i}"]) for i in range(len(names))]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} is not a packed data set ({error}); make it again.") from error
    return [
        LabelledImage(np.repeat(i[..., None], 3, 2) if i.ndim == 2 else i, label, name, dataset, modality)
        for name, (i, label) in zip(names, pairs, strict=True)
    ]


def write_cache(path: Path | str, items: list[LabelledImage]) -> None:
    """Pack the images of one data set into a file for `read_cache`; grey images are stored once.

    Args:
        path: The .npz file to write.
        items: Images of one data set, at least one.
    Raises:
        DatasetError: no items, or of several data sets.
    """
    if len({(item.dataset, item.modality) for item in items}) != 1:
        raise DatasetError("A packed file holds the images of exactly one data set and modality; split them.")
    arrays: dict[str, np.ndarray] = {
        "names": np.array([item.name for item in items]),
        "dataset": np.array(items[0].dataset),
        "modality": np.array(items[0].modality),
    }
    for i, item in enumerate(items):
        arrays[f"image_{i}"] = item.image[..., 0] if is_grey(item.image) else item.image
        arrays[f"label_{i}"] = item.label
    with Path(path).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def is_grey(image: np.ndarray) -> bool:
    """Return whether the three channels of an (H, W, 3) image are equal."""
    first = image[..., 0]
    return bool(np.array_equal(first, image[..., 1]) and np.array_equal(first, image[..., 2]))


def objects_of(label_hw: np.ndarray, min_fraction: float = MIN_OBJECT_FRACTION) -> list[np.ndarray]:
    """List what a user may want to segment in a label map.

    That is every class as one mask and, where a class has several separate regions of sufficient size (two
    kidneys, nuclei, glands), each of these regions too.

    Args:
        label_hw: (H, W) integer, 0 = background.
        min_fraction: Masks of a smaller share of the frame are dropped.
    Returns:
        (H, W) bool masks, none of them empty: per label in rising order, first the class, then its regions.
    """
    parts = label_components(label_hw)
    min_px = max(1.0, min_fraction * label_hw.size)
    masks: list[np.ndarray] = []
    for label in np.unique(parts.label):
        of_class = parts.label == label
        if parts.area_px[of_class].sum() >= min_px:
            masks.append(label_hw == label)
        large = np.flatnonzero(of_class & (parts.area_px >= min_px)) + 1
        if len(large) > 1:
            masks.extend(parts.mask(int(number)) for number in large)
    return masks


def make_training_item(
    rng: np.random.Generator,
    image: np.ndarray,
    label: np.ndarray,
    size: int = 256,
    n_masks: int = 5,
    focused: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one augmented view of a labelled image and some of the objects in it.

    Args:
        rng: Source of random numbers.
        image: (H, W, 3) uint8.
        label: (H, W) unsigned integer, 0 = background, at least one pixel labelled.
        size: Side of the view in px.
        n_masks: How many objects; repeated where the view shows fewer.
        focused: Mostly large objects in zoomed views, see `augmentation.random_grid`.
    Returns:
        image (3, size, size) float32, normalised by the pixel mean and standard deviation in the channel
        order given; masks (n_masks, size, size) uint8 of 0/1, none of them empty.
    Raises:
        DatasetError: the label has no object.
    """
    source_parts = label_components(label)
    if not len(source_parts):
        raise DatasetError(
            "The label map is empty, so there is nothing to learn from it; leave such images out."
        )
    first = LARGE_OBJECT_FRACTION if focused and rng.random() < 0.8 else MIN_OBJECT_FRACTION
    for min_fraction in (first,) * 4 + (MIN_OBJECT_FRACTION,) * 4 + (0.0,) * 8:
        grid = random_grid(rng, label, source_parts, size, focused)
        view_label = sample_nearest(label, grid)
        parts = label_components(view_label)
        masks = _draw_masks(rng, view_label, parts, n_masks, min_fraction)
        if masks is not None:
            return _normalised(_view_of(rng, image, grid)), masks
    raise DatasetError(
        "No object of this label map survives in a view; its objects are too small or too few."
    )


def _draw_masks(
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


def _view_of(rng: np.random.Generator, image: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the view as (S, S) or (S, S, 3) float32 in 0..1 with random intensities."""
    source = image[..., 0] if is_grey(image) else image
    sample = sample_nearest if rng.random() < 0.25 else sample_linear
    return random_intensities(rng, sample(source, grid).astype(np.float32) / np.float32(255))


def _normalised(view: np.ndarray) -> np.ndarray:
    """Return (3, S, S) float32: 0..1 to the model's normalised range."""
    if view.ndim == 2:
        view = np.broadcast_to(view[..., None], (*view.shape, 3))
    scale, shift = (255 / PIXEL_STD)[:, None, None], (PIXEL_MEAN / PIXEL_STD)[:, None, None]
    return np.ascontiguousarray(view.transpose(2, 0, 1)) * scale - shift
