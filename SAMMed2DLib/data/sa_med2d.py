"""2D training data on disk in the SA-Med2D format: PNG images, one PNG per mask, and JSON files that pair them.

    folder/image2label_train.json        image -> its masks
    folder/label2image_validation.json   mask -> its image
    folder/label2image_test.json         mask -> its image
    folder/manifest.tsv                  added by `sammed2d curate`: a line per mask, what is known about it

Data without that manifest is read too; what it lacks is then taken from the SA-Med2D names of mask files,
`<case>_<slice>_<class>_<instance>.png`.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.io.itk_io import ItkFile
from SAMMed2DLib.io.png_jpeg import png_without_alpha
from SAMMed2DLib.io.volume import VolumeError
from SAMMed2DLib.system.files import StagedFiles, read_json


class ListedPaths:
    """Finds the files of a list under the folder asked for, beside the list, in the folders above, and from here.

    Attributes:
        tried: the folders, in words.
    """

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        """Prepare.

        Args:
            folder: of the list.
            root: where to look first; None for nowhere else.
        """
        here = Path.cwd()
        above = [*folder.absolute().parents, *folder.resolve().parents]
        self._folder = folder
        self._bases = dict.fromkeys([*([root] if root else []), folder, *above, here])
        under = f"under {root}, " if root else ""
        self.tried = f"{under}in {folder}, in the folders above it, and from the working directory {here}"

    def find(self, path: str) -> str | None:
        """The path of a file, relative to the list's folder; None if it is nowhere."""
        base = next((base for base in self._bases if os.path.exists(base / path)), None)
        return None if base is None else path if base == self._folder else self._relative(base / path)

    def _relative(self, path: Path) -> str:
        """The same for everybody who reads the list, whatever the working directory."""
        relative = Path(os.path.relpath(path, self._folder))
        # ".." leads elsewhere where the list's folder is a link.
        return (relative if (self._folder / relative).exists() else path.absolute()).as_posix()


MANIFEST = "manifest.tsv"
TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
JSON_OF_SPLIT = {
    TRAIN: "image2label_train.json",
    VALIDATION: "label2image_validation.json",
    TEST: "label2image_test.json",
}
_PURPOSE = {TRAIN: "train on", VALIDATION: "validate on", TEST: "test on"}


class DatasetError(ValueError):
    """Training data that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class MaskEntry:
    """One mask, a line of the manifest.

    Attributes:
        mask: path of its PNG, relative to the folder.
        image: path of the image's PNG, relative to the folder.
        split: one of `SPLITS`.
        dataset: name of the data set.
        modality: for example "CT"; empty if unknown.
        anatomy: the class.
        case: patient or volume; no case is in two splits.
        axis: "i", "j" or "k", the axis of the volume along which the slice was cut; empty for 2D images.
        slice: number of the slice along it, from 0; -1 for 2D images.
        instance: 0 for all of the class in the image, else the number of a connected part, from 1.
        area_px: of the mask as it is stored.
        source: the file that it was made from.
        sha256: of the pixels of image and mask.
    """

    mask: str
    image: str
    split: str
    dataset: str = ""
    modality: str = ""
    anatomy: str = ""
    case: str = ""
    axis: str = ""
    slice: int = -1
    instance: int = 0
    area_px: int = 0
    source: str = ""
    sha256: str = ""


_COLUMNS = tuple(field.name for field in fields(MaskEntry))
_NUMBERS = ("slice", "instance", "area_px")


@dataclass(frozen=True, eq=False)
class MaskedImage:
    """One image and its masks, which may overlap.

    Attributes:
        image: (H, W, 3) uint8.
        masks: (M, H, W) bool.
        entries: what is known about each mask, M of them.
    """

    image: np.ndarray
    masks: np.ndarray
    entries: tuple[MaskEntry, ...]


@dataclass(frozen=True)
class ImageEntry:
    """One image of a folder, not yet read.

    Attributes:
        folder: that the paths are relative to.
        image: path of the PNG.
        masks: at least one.
    """

    folder: Path
    image: str
    masks: tuple[MaskEntry, ...]

    def read(self) -> MaskedImage:
        """Read the image and all of its masks.

        Raises:
            DatasetError: a file is missing or broken, a mask is not one, or its size is not the image's.
        """
        image = as_rgb(read_image_file(self.folder / self.image))
        masks = [as_mask(read_image_file(self.folder / entry.mask), entry.mask) for entry in self.masks]
        for entry, mask in zip(self.masks, masks, strict=True):
            if mask.shape != image.shape[:2]:
                raise DatasetError(
                    f"{entry.mask} is {mask.shape[1]} x {mask.shape[0]} px, its image {self.image} "
                    f"{image.shape[1]} x {image.shape[0]}; restore one of the files or drop the line"
                )
        return MaskedImage(image, np.stack(masks), self.masks)


def read_layout(folder: Path | str, split: str, root: Path | str | None = None) -> list[ImageEntry]:
    """List the images of one split with their masks; no image is read.

    The lists of SA-Med2D name files from the root of their repository, generated ones from the folder of the list. So
    paths are tried under `root`, beside the list, in the folders above it, and from the working directory.

    Args:
        folder: holds the JSON file of the split.
        split: one of `SPLITS`.
        root: a further folder from which the paths may begin.
    Returns:
        The images in the order of the JSON file.
    Raises:
        DatasetError: there is no such file, it is not in the layout, it is empty, or none of its images is there.
    """
    folder = Path(folder)
    _check_folders(folder, root)
    listed = _list_of(folder, split)
    pairs = list(_pairs(listed))
    if not pairs:
        raise DatasetError(f"{listed} lists no mask; choose another split or curate again")
    paths = ListedPaths(folder, Path(root) if root else None)
    if not any(paths.find(image) for image, _ in pairs):
        raise DatasetError(
            f"none of the images that {listed} lists is there: {pairs[0][0]} was tried {paths.tried}; give the folder "
            "from which the paths begin with --root"
        )
    known = {entry.mask: entry for entry in read_manifest(folder)} if (folder / MANIFEST).is_file() else {}
    images: dict[str, list[MaskEntry]] = {}
    for image, mask in pairs:
        image, mask = paths.find(image) or image, paths.find(mask) or mask
        entry = known.get(mask) or entry_of_name(mask, image, split, folder.resolve().name)
        images.setdefault(image, []).append(entry)
    return [ImageEntry(folder, image, tuple(masks)) for image, masks in images.items()]


def write_layout(folder: Path | str, entries: Iterable[MaskEntry]) -> None:
    """Write the manifest and the JSON files of all splits that have masks; they appear together or not at all.

    Args:
        folder: where the images are.
        entries: all masks.
    Raises:
        DatasetError: a case is in two splits.
    """
    folder, entries = Path(folder), list(entries)
    check_cases(entries)
    with StagedFiles() as staged:
        _write_manifest(staged.place(folder / MANIFEST), entries)
        for split, name in JSON_OF_SPLIT.items():
            of_split = [entry for entry in entries if entry.split == split]
            if of_split:
                text = json.dumps(_paired(of_split, split), indent=1, ensure_ascii=False)
                staged.place(folder / name).write_text(text + "\n", encoding="utf-8")
    for split in set(SPLITS) - {entry.split for entry in entries}:
        (folder / JSON_OF_SPLIT[split]).unlink(missing_ok=True)  # its masks may now be in another split


def check_cases(entries: Iterable[MaskEntry]) -> None:
    """Refuse a case that is in two splits: its test would measure memory.

    Raises:
        DatasetError: there is one.
    """
    split_of: dict[tuple[str, str], str] = {}
    for entry in entries:
        first = split_of.setdefault((entry.dataset, entry.case), entry.split)
        if first != entry.split:
            raise DatasetError(f"case {entry.case} of {entry.dataset} is in {first} and in {entry.split}; keep one")


def read_manifest(folder: Path | str) -> list[MaskEntry]:
    """Read the manifest of a folder.

    Raises:
        DatasetError: there is none, or its columns are others.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise DatasetError(f"{folder} has no {MANIFEST}; make it with `sammed2d curate`")
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t")
        try:
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                raise DatasetError(f"{path} has other columns than {', '.join(_COLUMNS)}; curate again")
            return [_entry_of_row(row) for row in reader]
        except (csv.Error, TypeError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}, line {reader.line_num}: it is damaged; curate again") from error


def _entry_of_row(row: dict[str, Any]) -> MaskEntry:
    """One line of the manifest.

    Raises:
        TypeError: it has too many or too few cells, or no number where one belongs.
    """
    if None in row or None in row.values() or not all(re.fullmatch(r"-?\d{1,18}", row[name]) for name in _NUMBERS):
        raise TypeError
    return MaskEntry(**row | {name: int(row[name]) for name in _NUMBERS})


def entry_of_name(mask: str, image: str, split: str, dataset: str) -> MaskEntry:
    """Parse the SA-Med2D name of a mask file, `<case>_<slice>_<class>_<instance>.png`.

    Case and class may hold "_": where the image is called `<case>_<slice>.png`, it says where the class begins.

    Args:
        mask: path of its file in the layout's folder.
        image: path of the file of its image.
        split: "train", "validation" or "test".
        dataset: name of the data set.

    Returns:
        with what the name tells; a name of another kind leaves class, slice and instance open.
    """
    words, of_image = Path(mask).stem.rsplit("_", 3), Path(image).stem
    about = Path(mask).stem.removeprefix(f"{of_image}_")
    if "_" in of_image and "_" in about and about != Path(mask).stem:
        words = [*of_image.rsplit("_", 1), *about.rsplit("_", 1)]
    if len(words) < 4 or not words[3].isdecimal():
        return MaskEntry(mask, image, split, dataset, case=Path(image).stem)
    case, number, anatomy, instance = words
    at = int(number) if number.isdecimal() else -1
    return MaskEntry(mask, image, split, dataset, anatomy=anatomy, case=case, slice=at, instance=int(instance))


def read_image_file(path: Path | str) -> np.ndarray:
    """Read an image file as it is stored, (H, W) or (H, W, channels).

    Raises:
        DatasetError: it cannot be read.
    """
    import SimpleITK

    try:
        if png_without_alpha(Path(path)):
            return ItkFile(Path(path)).read()
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except (RuntimeError, OSError, VolumeError) as error:
        raise DatasetError(f"{path} cannot be read as an image; restore it or drop its line") from error


def as_rgb(image: np.ndarray) -> np.ndarray:
    """An image, grey or with 2 to 4 channels, as (H, W, 3) uint8; more than 8 bits are scaled to 0..255."""
    samples = image if image.ndim == 3 else image[..., None]
    samples = samples[..., :3] if samples.shape[2] > 2 else samples[..., 0]
    if samples.dtype != np.uint8:
        return rgb_from_slice(samples)
    return np.ascontiguousarray(samples) if samples.ndim == 3 else np.repeat(samples[..., None], 3, axis=2)


def as_mask(image: np.ndarray, name: str) -> np.ndarray:
    """A stored mask, 0 and 255 or 0 and 1, as (H, W) bool.

    Raises:
        DatasetError: it has other values, or none but 0.
    """
    plane = image if image.ndim == 2 else image[..., 0]
    values = np.unique(plane)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise DatasetError(f"{name} is no mask: it has the values {', '.join(map(str, values[:5]))}; use 0 and 255")
    if not plane.any():
        raise DatasetError(f"{name} is empty; drop its line")
    return plane != 0


def _check_folders(*folders: Path | str | None) -> None:
    for folder in folders:
        if folder and not Path(folder).is_dir():
            raise DatasetError(f"{folder} is no folder; correct the path")


def _list_of(folder: Path, split: str) -> Path:
    """The JSON file of a split.

    Raises:
        DatasetError: there is none; the message says which splits there are.
    """
    path = folder / JSON_OF_SPLIT[split]
    if path.is_file():
        return path
    there = [other for other, name in JSON_OF_SPLIT.items() if (folder / name).is_file()]
    if not there:
        raise DatasetError(
            f"{folder} holds no {path.name}, nor a list of another split; give a folder that `sammed2d curate` wrote, "
            "or one in SAM-Med2D's layout"
        )
    raise DatasetError(
        f"{folder} has nothing to {_PURPOSE[split]}: there is no {path.name}, only {' and '.join(there)}; curate more "
        f"cases, with a share for {split} in --split, or give each its split in a table"
    )


def _pairs(path: Path) -> Iterable[tuple[str, str]]:
    """(image, mask) of a JSON file, either way round."""
    try:
        content = read_json(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    except ValueError as error:
        raise DatasetError(f"{path} is no JSON file ({error}); restore it") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} holds no object of paths; restore it")
    for key, value in content.items():
        if isinstance(value, list) and all(isinstance(mask, str) for mask in value):
            yield from ((key, mask) for mask in value)
        elif isinstance(value, str):
            yield value, key
        else:
            raise DatasetError(f"{path}: {key} is paired with {str(value)[:40]}, which is no path; correct the line")


def _paired(entries: Sequence[MaskEntry], split: str) -> dict[str, object]:
    if split != TRAIN:
        return {entry.mask: entry.image for entry in entries}
    masks: dict[str, list[str]] = {}
    for entry in entries:
        masks.setdefault(entry.image, []).append(entry.mask)
    return dict(masks)


def _write_manifest(path: Path, entries: Iterable[MaskEntry]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, delimiter="\t")
        writer.writeheader()
        writer.writerows(map(vars, entries))
