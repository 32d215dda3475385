"""Images from files: what SimpleITK reads, as an array and the matrix that places it in the patient.

SimpleITK is imported inside the functions, so that this module can be imported without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import stem_of
from .memory import available_memory, in_gib

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNEVEN_TOLERANCE_MM = 0.1


class VolumeError(ValueError):
    """An image cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class Volume:
    """An image and its place in the patient.

    Attributes:
        array: (K, J, I), or (K, J, I, 3) for colour; the file's own dtype.
        ijk_to_ras: (4, 4) float64, voxel index (integer = voxel centre) -> RAS, mm.
        is_colour: the array has three channels, R, G, B.
        name: the file's or the folder's name without its suffix.
        notes: what a user should know about how it was read (uneven slices and such).
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    is_colour: bool
    name: str
    notes: tuple[str, ...] = ()

    @property
    def size_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.array.shape[:3]
        return i, j, k

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) float64: distance of neighbouring voxels along i, j, k."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)


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
    volume = _read_dicom_folder(path, series) if path.is_dir() else _read_file(path, frame)
    if 0 in volume.array.shape:
        raise VolumeError(f"{path}: the image has no voxels (size {_times(volume.size_ijk)})")
    _check_contrast(path, volume.array)
    return volume


@dataclass(frozen=True, eq=False)
class Frames:
    """A 4D image: volumes of one place in the patient, one after the other.

    Attributes:
        array: (T, K, J, I), the file's own dtype.
        ijk_to_ras: (4, 4) float64, mm, of every frame.
        name: the file's name without its suffix.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str

    def __len__(self) -> int:
        """How many frames there are."""
        return len(self.array)

    def volume(self, frame: int) -> Volume:
        """One of them, without a copy."""
        return Volume(self.array[frame], self.ijk_to_ras, False, self.name)


def read_frames(path: str | Path) -> Frames:
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
    reader = _header(path)
    _check_series(path, reader)
    image = _executed(path, reader.Execute)
    array = _array(image)
    if image.GetNumberOfComponentsPerPixel() > 1:  # a list of values in each voxel
        array = np.moveaxis(array, -1, 0)
    if image.GetDimension() == 2:
        array = array[:, np.newaxis]
    _check_contrast(path, array)
    return Frames(array, _ijk_to_ras(path, image), stem_of(path))


def read_image(path: str | Path) -> tuple[Any, np.ndarray, np.ndarray]:
    """Read a file of any kind as it is, for callers that know what its components mean.

    Returns:
        SimpleITK image, (4, 4) float64 ijk_to_ras, and the array (K, J, I[, components]).

    Raises:
        VolumeError: the file is missing, empty or unreadable.
    """
    path = Path(path)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file")
    image = _executed(path, _header(path).Execute)
    return image, _ijk_to_ras(path, image), _array(image)


def read_header(path: str | Path) -> dict[str, str]:
    """The key/value pairs of an image file's header.

    Raises:
        VolumeError: the file is unreadable.
    """
    reader = _header(Path(path))
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


# --- one file -----------------------------------------------------------------------------------------------


def _read_file(path: Path, frame: int | None) -> Volume:
    reader = _header(path)
    size, components = tuple(reader.GetSize()), int(reader.GetNumberOfComponents())
    if 0 in size:
        raise VolumeError(f"{path}: the image has no voxels (size {_times(size)})")
    is_colour, bytes_per_value = _is_colour(reader, components), _bytes_per_value(path, reader)
    _choose_frame(path, reader, size, 1 if is_colour else components, frame)
    _check_memory(path, size, components, bytes_per_value)
    image = _executed(path, reader.Execute)
    array = _components(_array(image), image, is_colour, frame)
    return Volume(array, _ijk_to_ras(path, image), is_colour, stem_of(path))


def _header(path: Path) -> Any:
    import SimpleITK

    if path.stat().st_size == 0:
        raise VolumeError(f"{path}: the file is empty (0 bytes); copy or export it again")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    _executed(path, reader.ReadImageInformation)
    return reader


def _executed(path: Path, read: Any) -> Any:
    """What `read` returns, with ITK's many-line report cut down to its reason."""
    try:
        return read()
    except (RuntimeError, MemoryError) as error:
        raise VolumeError(
            f"{path}: cannot be read as an image (NIfTI, NRRD, MHA, DICOM, PNG, JPEG, TIFF): {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    if "Unable to determine ImageIO" in str(error):
        return "its content is of no format that SimpleITK knows"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    # "ITK ERROR: NrrdImageIO(0x5581…): what happened": the reader's address helps nobody.
    return last.split("): ", 1)[-1][:300]


def _is_colour(reader: Any, components: int) -> bool:
    """RGB and RGBA pictures, known by their small unsigned type; other components are a stack of values."""
    import SimpleITK

    if _is_list(reader):
        return False
    picture_types = (SimpleITK.sitkVectorUInt8, SimpleITK.sitkVectorUInt16)
    return components in (3, 4) and reader.GetPixelID() in picture_types


def _is_list(image: Any) -> bool:
    """Whether a NRRD file says that its components follow one another, as in Slicer's sequences of 3 or 4 frames."""
    key = "NRRD_kinds[pixel]"
    return bool(image.HasMetaDataKey(key) and image.GetMetaData(key) == "list")


def _bytes_per_value(path: Path, reader: Any) -> int:
    import SimpleITK

    kind = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID()).replace("vector of ", "")
    if "complex" in kind:
        raise VolumeError(f"{path}: holds complex numbers; write its magnitude to a file and use that")
    bits = [int(word) for word in kind.replace("-", " ").split() if word.isdigit()]
    return bits[0] // 8 if bits else 8


def _choose_frame(path: Path, reader: Any, size: tuple[int, ...], components: int, frame: int | None) -> None:
    """Tell the reader which part of a 4D image to take; refuse to guess."""
    if len(size) > 4 or (len(size) == 4 and components > 1):
        raise VolumeError(f"{path}: has too many dimensions ({_times(size)}); write one 3D volume of it to a file")
    count = size[3] if len(size) == 4 else components
    _check_frame(path, size, count, frame)
    if len(size) == 4:
        reader.SetExtractSize([*size[:3], 0])
        reader.SetExtractIndex([0, 0, 0, frame or 0])


def _check_series(path: Path, reader: Any) -> None:
    """Refuse what has no frames, or does not fit."""
    size, components = tuple(reader.GetSize()), int(reader.GetNumberOfComponents())
    count = size[3] if len(size) == 4 else components
    if 0 in size:
        raise VolumeError(f"{path}: the image has no voxels (size {_times(size)})")
    if len(size) > 4 or (len(size) == 4 and components > 1):
        raise VolumeError(f"{path}: has too many dimensions ({_times(size)}), time series of grey values have four")
    if count == 1 or _is_colour(reader, components):
        raise VolumeError(
            f"{path}: has no frames in time, it is an image of {_times(size)}; give a 4D image, or, if its slices are "
            "the frames, carry segments along them (without --along time)"
        )
    _check_memory(path, size, components, _bytes_per_value(path, reader))


def _check_frame(path: Path, size: tuple[int, ...], count: int, frame: int | None) -> None:
    choice = f"choose one with --frame N (frame=N in Python), N from 0 to {count - 1}"
    if frame is None and count > 1:
        what = "a 4D image" if len(size) == 4 else "an image with several values per voxel"
        raise VolumeError(f"{path}: is {what} ({count} frames of {_times(size[:3])}); {choice}")
    if frame is not None and not 0 <= frame < count:
        raise VolumeError(f"{path}: there is no frame {frame}, the image has {count}; {choice}")


def _components(array: np.ndarray, image: Any, is_colour: bool, frame: int | None) -> np.ndarray:
    """(K, J, I) or (K, J, I, 3): alpha dropped, one component chosen, a 2D picture made one slice."""
    if image.GetDimension() == 2:
        array = array[np.newaxis]
    if is_colour:
        return np.ascontiguousarray(array[..., :3])
    return np.ascontiguousarray(array[..., frame or 0]) if array.ndim == 4 else array


def _array(image: Any) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(image)


def _ijk_to_ras(path: Path, image: Any) -> np.ndarray:
    """ITK's origin, spacing and direction (LPS) as one matrix to RAS; a 2D image lies in the plane z = 0.

    Of a 4D image, the place of its frames.
    """
    dimension = image.GetDimension()
    n = min(dimension, 3)
    ijk_to_lps = np.eye(4)
    direction = np.array(image.GetDirection(), dtype=float).reshape(dimension, dimension)[:n, :n]
    ijk_to_lps[:n, :n] = direction * np.array(image.GetSpacing()[:n], dtype=float)
    ijk_to_lps[:n, 3] = image.GetOrigin()[:n]
    if not np.isfinite(ijk_to_lps).all() or abs(np.linalg.det(ijk_to_lps)) < 1e-12:
        raise VolumeError(f"{path}: its spacing or direction is zero, NaN or flat; repair its header")
    return LPS_TO_RAS @ ijk_to_lps


# --- a folder of DICOM --------------------------------------------------------------------------------------


def _read_dicom_folder(folder: Path, series: str | None) -> Volume:
    import SimpleITK

    with _itk_warnings_off():
        uids = list(SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    uid = _choose_series(folder, uids, series)
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
    first = _header(Path(files[0]))
    size, components = (*first.GetSize()[:2], len(files)), int(first.GetNumberOfComponents())
    _check_memory(folder, size, components, _bytes_per_value(folder, first))
    if len(files) == 1:  # also a multi-frame file, which is a volume by itself
        return _read_file(Path(files[0]), None)
    image, notes = _read_series(folder, files)
    is_colour = _is_colour(image, components)
    array = _components(_array(image), image, is_colour, None)
    return Volume(array, _ijk_to_ras(folder, image), is_colour, folder.resolve().name, notes)


def _read_series(folder: Path, files: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(files)
    reader.MetaDataDictionaryArrayUpdateOn()
    with _itk_warnings_off():
        image = _executed(folder, reader.Execute)
    return image, _uneven_slices(image, reader, len(files))


@contextmanager
def _itk_warnings_off() -> Iterator[None]:
    """ITK prints its own words on empty folders and uneven slices; ours say the same, once and in place."""
    import SimpleITK

    were_on = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(were_on)


def _uneven_slices(image: Any, reader: Any, count: int) -> tuple[str, ...]:
    """A note when slices are missing or tilted: one matrix cannot place such a stack everywhere."""
    key = "0020|0032"  # image position (patient)
    if not all(reader.HasMetaDataKey(k, key) for k in range(count)):
        return ()
    written = np.array([[float(v) for v in reader.GetMetaData(k, key).split("\\")] for k in range(count)])
    assumed = np.array([image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(count)])
    worst = float(np.abs(written - assumed).max())
    if worst <= UNEVEN_TOLERANCE_MM:
        return ()
    return (
        f"the DICOM slices are unevenly spaced, missing or tilted (up to {worst:.1f} mm off an even stack): "
        "positions in mm are approximate",
    )


def _choose_series(folder: Path, uids: list[str], series: str | None) -> str:
    if not uids:
        raise VolumeError(f"{folder}: no DICOM series in this folder; give the folder with the slices, or a file")
    if series is None and len(uids) == 1:
        return uids[0]
    if series is not None and series.isdigit() and 1 <= int(series) <= len(uids):
        return uids[int(series) - 1]
    if series in uids:
        return series
    listed = "; ".join(f"{n}: {_described(folder, uid)}" for n, uid in enumerate(uids, 1))
    problem = f"holds {len(uids)} DICOM series" if series is None else f"has no series {series!r}"
    raise VolumeError(f'{folder}: {problem}; choose one with --series N (series="N" in Python): {listed}')


def _described(folder: Path, uid: str) -> str:
    import SimpleITK

    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
    reader = _header(Path(files[0]))
    modality_and_description = ("0008|0060", "0008|103e")
    words = [reader.GetMetaData(key).strip() for key in modality_and_description if reader.HasMetaDataKey(key)]
    return f"{' '.join(words) or 'unnamed'}, {len(files)} files, {uid}"


# --- limits -------------------------------------------------------------------------------------------------


def _check_memory(path: Path, size: Sequence[int], components: int, bytes_per_value: int) -> None:
    """Refuse what cannot fit: ITK's image and our array exist side by side for a moment."""
    needed = 2 * int(np.prod([int(n) for n in size], dtype=object)) * components * bytes_per_value
    free = available_memory()
    if free is not None and needed > free:
        raise VolumeError(
            f"{path}: reading {_times(size)} voxels needs about {in_gib(needed)} of memory and "
            f"{in_gib(free)} are free; crop or downsample the image, or close other programs"
        )


def _check_contrast(path: Path, array: np.ndarray) -> None:
    """Refuse an image in which nothing can be seen. ITK reads the NaN of a NIfTI file as 0."""
    lows, highs = [], []
    for piece in array:  # slice by slice: no second copy of the image
        finite = piece[np.isfinite(piece)] if piece.dtype.kind == "f" else piece
        if finite.size:
            lows.append(finite.min())
            highs.append(finite.max())
    if not lows:
        raise VolumeError(f"{path}: every voxel is NaN or infinite, so nothing can be seen; export it again")
    if min(lows) == max(highs) and array.size > 1:
        hint = " (NaN in a NIfTI file reads as 0)" if min(lows) == 0 else ""
        raise VolumeError(
            f"{path}: every voxel has the value {min(lows):g}{hint}, so nothing can be seen; export it again"
        )


def _times(size: Sequence[int]) -> str:
    return " x ".join(str(n) for n in size)
