"""Images from files and DICOM folders, as an array and the matrix that places it in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMMed2DLib.io.dicom import looks_like_dicom, read_dicom
from SAMMed2DLib.io.itk_io import ItkFile
from SAMMed2DLib.io.nifti import NiftiFile, nifti_file
from SAMMed2DLib.io.volume import LPS_TO_RAS, Volume, VolumeError, VolumeSequence, times
from SAMMed2DLib.system.files import PICTURE_SUFFIXES, stem_of, suffix_of
from SAMMed2DLib.system.memory import available_memory, in_gib

__all__ = [
    "LPS_TO_RAS",
    "Volume",
    "VolumeError",
    "VolumeSequence",
    "read_frames",
    "read_header",
    "read_image",
    "read_volume",
]


def read_volume(path: str | Path, *, frame: int | None = None, series: str | None = None) -> Volume:
    """Read a NIfTI, NRRD, MHA, DICOM, PNG, JPEG, … file, or a folder that holds a DICOM series.

    Args:
        path: file or folder.
        frame: which one of a 4D image's volumes, or of a multi-component image's components, from 0.
        series: which series of a DICOM folder: its number in the list of the error, or its UID.

    Raises:
        VolumeError: the image is missing, unreadable, empty, has four dimensions and no frame was chosen,
            does not fit into memory (found out before its voxels are read), is NaN, or shows nothing.
    """
    path = Path(path)
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder")
    if suffix_of(path) == ".seg.nrrd":
        raise VolumeError(
            f"{path}: is a segmentation of 3D Slicer, no image; give the image that it was drawn on, and the "
            "segmentation with --mask"
        )
    if path.is_dir() or looks_like_dicom(path):
        name = path.resolve().name if path.is_dir() else stem_of(path)
        volume = read_dicom(path, series=series, frame=frame, name=name, check_memory=_check_memory)
    else:
        volume = _read_file(path, frame)
    if 0 in volume.array.shape:
        raise VolumeError(f"{path}: the image has no voxels (size {times(volume.size_ijk)})")
    _check_contrast(path, volume.array)
    return volume


def read_frames(path: str | Path) -> VolumeSequence:
    """Read all frames of a 4D image: NIfTI, MHA, or NRRD with a fourth axis or a list, such as Slicer's .seq.nrrd.

    Args:
        path: file.

    Raises:
        VolumeError: the image is missing, unreadable, empty, has no several frames, does not fit into memory (found
            out before its voxels are read), is NaN, or shows nothing.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; time series are read from one 4D file" if path.is_dir() else "no such file"
        raise VolumeError(f"{path}: {what}")
    if looks_like_dicom(path):
        raise VolumeError(f"{path}: time series in DICOM are not read; save it as .seq.nrrd in 3D Slicer, or as NIfTI")
    file = _opened(path)
    _check_series(file)
    array = file.read()
    if file.components > 1:  # a list of values in each voxel
        array = np.moveaxis(array, -1, 0)
    if len(file.size) == 2:
        array = array[:, np.newaxis]
    _check_contrast(path, array)
    return VolumeSequence(array, file.ijk_to_ras, stem_of(path))


@dataclass(frozen=True, eq=False)
class ImageFile:
    """All that a file of any kind holds, for callers that know what its components mean.

    Attributes:
        array: (J, I), (K, J, I) or (T, K, J, I), with the components as a last axis if there are several.
        dimension: of the image, without the components: 2, 3 or 4.
        components: values of one voxel.
        ijk_to_ras: (4, 4) float64, mm.
        metadata: key/value pairs of the header.
    """

    array: np.ndarray
    dimension: int
    components: int
    ijk_to_ras: np.ndarray
    metadata: dict[str, str]


def read_image(path: str | Path) -> ImageFile:
    """Read a file of any kind as it is.

    Raises:
        VolumeError: the file is missing, empty or unreadable, or does not fit into memory.
    """
    path = Path(path)
    if not path.is_file():
        raise VolumeError(f"{path}: {'is a folder; give a file' if path.is_dir() else 'no such file'}")
    file = _opened(path)
    _check_memory(path, file.size, file.components, file.bytes_per_value)
    return ImageFile(file.read(), len(file.size), file.components, file.ijk_to_ras, file.metadata)


def read_header(path: str | Path) -> dict[str, str]:
    """The key/value pairs of an image file's header.

    Raises:
        VolumeError: the file is unreadable.
    """
    return _opened(Path(path)).metadata


# --- one file -----------------------------------------------------------------------------------------------


def _opened(path: Path) -> NiftiFile | ItkFile:
    """The header of a file."""
    if path.stat().st_size == 0:
        raise VolumeError(f"{path}: the file is empty (0 bytes); copy or export it again")
    return nifti_file(path) or ItkFile(path)


def _read_file(path: Path, frame: int | None) -> Volume:
    file = _opened(path)
    if 0 in file.size:
        raise VolumeError(f"{path}: the image has no voxels (size {times(file.size)})")
    is_4d = _is_4d(file)
    count = file.size[3] if is_4d else 1 if file.is_colour else file.components
    _check_frame(path, file.size, count, frame)
    _check_memory(path, file.size, file.components, file.bytes_per_value)
    array = _components(file.read((frame or 0) if is_4d else None), file, frame)
    has_spacing = suffix_of(path) not in PICTURE_SUFFIXES
    return Volume(array, file.ijk_to_ras, file.is_colour, stem_of(path), file.notes, has_spacing)


def _is_4d(file: NiftiFile | ItkFile) -> bool:
    if len(file.size) > 4 or (len(file.size) == 4 and file.components > 1):
        raise VolumeError(
            f"{file.path}: has too many dimensions ({times(file.size)}); write one 3D volume of it to a file"
        )
    return len(file.size) == 4


def _check_series(file: NiftiFile | ItkFile) -> None:
    """Refuse what has no frames, or does not fit."""
    if 0 in file.size:
        raise VolumeError(f"{file.path}: the image has no voxels (size {times(file.size)})")
    count = file.size[3] if _is_4d(file) else file.components
    if count == 1 or file.is_colour:
        raise VolumeError(
            f"{file.path}: has no frames in time, it is an image of {times(file.size)}; give a 4D image, or, if its "
            "slices are the frames, carry segments along them (without --along time)"
        )
    _check_memory(file.path, file.size, file.components, file.bytes_per_value)


def _check_frame(path: Path, size: tuple[int, ...], count: int, frame: int | None) -> None:
    choice = f"choose one with --frame N (frame=N in Python), N from 0 to {count - 1}"
    if frame is None and count > 1:
        what = "a 4D image" if len(size) == 4 else "an image with several values per voxel"
        raise VolumeError(f"{path}: is {what} ({count} frames of {times(size[:3])}); {choice}")
    if count == 1 and frame not in (None, 0):
        raise VolumeError(f"{path}: has no frames, it is an image of {times(size[:3])}; leave --frame out")
    if frame is not None and not 0 <= frame < count:
        raise VolumeError(f"{path}: there is no frame {frame}, the image has {count}; {choice}")


def _components(array: np.ndarray, file: NiftiFile | ItkFile, frame: int | None) -> np.ndarray:
    """(K, J, I) or (K, J, I, 3): alpha dropped, one component chosen, a 2D picture made one slice."""
    if len(file.size) == 2:
        array = array[np.newaxis]
    if file.is_colour:
        return np.ascontiguousarray(array[..., :3])
    return np.ascontiguousarray(array[..., frame or 0]) if array.ndim == 4 else array


# --- limits -------------------------------------------------------------------------------------------------


def _check_memory(path: Path, size: Sequence[int], components: int, bytes_per_value: int) -> None:
    """Refuse what cannot fit: ITK's image and our array exist side by side for a moment."""
    needed = 2 * int(np.prod([int(n) for n in size], dtype=object)) * components * bytes_per_value
    free = available_memory()
    if free is not None and needed > free:
        raise VolumeError(
            f"{path}: reading {times(size)} voxels needs about {in_gib(needed)} of memory and "
            f"{in_gib(free)} are free; crop or downsample the image, or close other programs"
        )


def _check_contrast(path: Path, array: np.ndarray) -> None:
    """Refuse an image in which nothing can be seen."""
    lows, highs = [], []
    for piece in array:  # slice by slice: no second copy of the image
        finite = piece[np.isfinite(piece)] if piece.dtype.kind == "f" else piece
        if finite.size:
            lows.append(finite.min())
            highs.append(finite.max())
    if not lows:
        raise VolumeError(f"{path}: every voxel is NaN or infinite, so nothing can be seen; export it again")
    if min(lows) == max(highs) and array.size > 1:
        raise VolumeError(
            f"{path}: every voxel has the value {min(lows):g}, so nothing can be seen; export it again"
        )
