"""The labels of an image, from files of any kind, on the image's grid and with the names of their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from SAMMed2DLib.data.curation.sources.cases import Case, CurationError
from SAMMed2DLib.data.curation.sources.dataset_layouts import structure_of
from SAMMed2DLib.data.curation.sources.discovery import IMAGE_SUFFIXES, PICTURE_SUFFIXES, is_dicom_folder
from SAMMed2DLib.data.curation.sources.resampling import placer
from SAMMed2DLib.io.dicom import looks_like_dicom
from SAMMed2DLib.io.segmentation_io import check_labels, read_segmentation
from SAMMed2DLib.io.volume_io import Volume, read_image
from SAMMed2DLib.system.files import stem_of, suffix_of


@dataclass(eq=False)
class LabelStack:
    """Classes on the grid of an image; those that overlap are in different layers.

    Attributes:
        shape: (K, J, I).
        layers: (K, J, I) uint16 each, 0 = nothing, n = the n-th class.
        classes: names, from the first.
        notes: what a user should know.
    """

    shape: tuple[int, ...]
    layers: list[np.ndarray] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, labels: np.ndarray, names: Mapping[int, str]) -> None:
        """Add classes that do not overlap each other; a class that is known already is joined.

        Args:
            labels: (K, J, I) integer.
            names: class of each value; other values are nothing.
        """
        known = len(self.classes)
        numbers = {value: self._number(name) for value, name in names.items()}
        new = _replaced(labels, numbers)
        for number in {number for number in numbers.values() if number <= known}:
            for layer in self.layers:
                earlier = layer == number
                new[earlier & (new == 0)] = number  # all of a class is in one layer
                layer[earlier] = 0
        for layer in self.layers:
            if not (layer.astype(bool) & new.astype(bool)).any():
                np.maximum(layer, new, out=layer)
                return
        self.layers.append(new)

    def _number(self, name: str) -> int:
        if name not in self.classes:
            self.classes.append(name)
        return self.classes.index(name) + 1


def _replaced(labels: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    """Labels with other numbers; what has none becomes 0."""
    highest = int(labels.max(initial=0))
    if highest < 1 << 20:
        table = np.zeros(highest + 1, np.uint16)
        for value, number in numbers.items():
            if value <= highest:
                table[value] = number
        return table[labels]
    new = np.zeros(labels.shape, np.uint16)
    for value, number in numbers.items():
        new[labels == value] = number
    return new


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What one file holds.

    Attributes:
        path: of the file.
        layers: (K, J, I) integer each.
        names: for each layer, the name of each value.
        ijk_to_ras: (4, 4), mm; None for a 2D image file, which has no place in the patient.
    """

    path: Path
    layers: tuple[np.ndarray, ...]
    names: tuple[Mapping[int, str], ...]
    ijk_to_ras: np.ndarray | None


def read_labels(case: Case, volume: Volume, renamed: Mapping[str, str]) -> LabelStack:
    """Read all labels of a case.

    Args:
        case: names the files.
        volume: its image.
        renamed: new names by value or by the name found; an empty one leaves the class out.
    Raises:
        CurationError: a file holds no labels, or they lie elsewhere than the image.
        VolumeError: a file cannot be read.
    """
    stack = LabelStack(volume.array.shape[:3])
    paths = list(_files(case.labels))
    for path in paths:
        file = _read(path, case.classes, is_structure=len(paths) > 1 or path not in case.labels)
        place = placer(path, file.layers[0].shape, file.ijk_to_ras, volume, stack.notes)
        for layer, names in zip(file.layers, file.names, strict=True):
            kept = {value: new for value, name in names.items() if (new := _renamed(value, name, renamed))}
            if kept:
                stack.add(place(layer), kept)
    return stack


def _renamed(value: int, name: str, renamed: Mapping[str, str]) -> str:
    """The name to use. A value stands only for classes without a name of their own: values differ between files."""
    if name in renamed or not name.endswith(f"label_{value}"):
        return renamed.get(name, name)
    return renamed.get(str(value), name)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        if is_dicom_folder(path):
            raise CurationError(
                f"{path}: labels in DICOM are not read; convert them to .seg.nrrd, as 3D Slicer saves them"
            )
        files = [file for file in sorted(path.iterdir()) if suffix_of(file) in (*IMAGE_SUFFIXES, ".seg.nrrd")]
        if not files:
            raise CurationError(f"{path}: holds no label file; put one for each structure into it")
        volumes = [file for file in files if suffix_of(file) not in PICTURE_SUFFIXES]
        yield from volumes or files  # a picture among volumes is a preview


# --- one file -----------------------------------------------------------------------------------------------


def _read(path: Path, classes: Mapping[int, str], is_structure: bool) -> LabelFile:
    if suffix_of(path) == ".seg.nrrd" or looks_like_dicom(path):
        return _read_slicer(path)
    file = read_image(path)
    if file.dimension > 3:
        raise CurationError(f"{path}: has {file.dimension} dimensions; save its label map in 3D")
    labels = _integers(path, file.array if file.components == 1 else _grey(path, file.array))
    is_2d = file.dimension == 2
    labels = labels[np.newaxis] if is_2d else labels
    names = _names(path, labels, classes, is_structure)
    return LabelFile(path, (labels,), (names,), None if is_2d else file.ijk_to_ras)


def _read_slicer(path: Path) -> LabelFile:
    read = read_segmentation(path)
    names: list[dict[int, str]] = [{} for _ in read.layers_lkji]
    for segment, (layer, value) in zip(read.segments, read.places, strict=True):
        names[layer][value] = segment.name
    return LabelFile(path, tuple(read.layers_lkji), tuple(names), read.ijk_to_ras)


def _grey(path: Path, array: np.ndarray) -> np.ndarray:
    colour = array[..., :3]
    if array.shape[-1] < 3 or (colour != colour[..., :1]).any():
        raise CurationError(
            f"{path}: its labels are colours; save them as grey values, 0 for what is beside all of them"
        )
    return colour[..., 0]


def _integers(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.array_equal(whole, array):
            raise CurationError(f"{path}: its values are not whole numbers, so it is no label map; give the label map")
        array = whole.astype(np.int64)
    if array.min() < 0:
        raise CurationError(f"{path}: has labels below 0; use 0 for the background and 1, 2, … for classes")
    return array


def _names(path: Path, labels: np.ndarray, classes: Mapping[int, str], is_structure: bool) -> dict[int, str]:
    """The classes of a plain file: by its own name if it is one structure's, else by value."""
    values = [int(value) for value in np.unique(labels) if value]
    if len(values) > 1000:
        raise CurationError(f"{path}: has {len(values)} different values, so it is no label map; give the label map")
    check_labels(path, labels, values)
    if is_structure and len(values) <= 1:
        return {value: structure_of(path) for value in values}
    prefix = f"{stem_of(path)}_" if is_structure else ""
    return {value: classes.get(value, f"{prefix}label_{value}") for value in values}
