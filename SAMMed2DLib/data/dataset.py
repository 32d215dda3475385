"""Labelled images for training and evaluation: reading them, and their objects."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMMed2DLib.data.sa_med2d import DatasetError, as_rgb, read_image_file
from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.imaging.intensity import is_grey

MIN_OBJECT_FRACTION = 0.00153  # 100 px of 256 x 256: what SA-Med2D keeps


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
    image, label = read_image_file(folder / row["image"]), read_image_file(folder / row["label"])
    return LabelledImage(
        image=as_rgb(image),
        label=label if label.ndim == 2 else label[..., 0],
        name=Path(row["image"]).stem,
        dataset=row["set"],
        modality=row["modality"],
    )


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
