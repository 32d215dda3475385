"""DICOM files and folders as volumes, placed by what the files say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SAMMed2DLib.io.dicom.frames import DicomError, DicomFrame, Reader, looks_like_dicom
from SAMMed2DLib.io.dicom.stacks import DicomStack, stacks_of
from SAMMed2DLib.io.volume import LPS_TO_RAS, Volume, checked_place

CheckMemory = Callable[[Path, Sequence[int], int, int], None]
_MOST_LISTED = 12


@dataclass
class _Series:
    """Files of one series."""

    frames: list[DicomFrame]

    def __str__(self) -> str:
        """Words for people to choose by."""
        files = len({frame.path for frame in self.frames})
        return f"{self.frames[0].about}, {files} file{'s' if files > 1 else ''}, {self.frames[0].series}"


def read_dicom(path: Path, *, series: str | None, frame: int | None, name: str, check_memory: CheckMemory) -> Volume:
    """Read a DICOM file, or a folder of them and the folders in it.

    Args:
        path: file or folder.
        series: its number in the list of the error, or its UID.
        frame: which of several volumes of a series, by the list of the error, from 0.
        name: of the volume.
        check_memory: refuses what does not fit, by path, size, components and bytes of a value.

    Raises:
        DicomError: there is no image, more than one to choose from, or none that is a volume.
    """
    reader = _reader()
    notes: list[str] = []
    chosen = _chosen_series(path, _all_series(path, reader, notes), series)
    stacks, sorting_notes = stacks_of(chosen.frames, lambda a, b: _same_content(reader, a, b))
    stack = _chosen_stack(path, stacks, frame)
    size = (*stack.first.size, len(stack.frames))
    check_memory(path, size, 3 if stack.first.is_colour else 1, stack.first.bytes_per_value)
    ijk_to_ras = checked_place(path, LPS_TO_RAS @ stack.ijk_to_lps)
    notes += [*sorting_notes, *stack.notes]
    first = stack.first
    return Volume(_voxels(reader, stack), ijk_to_ras, first.is_colour, name, tuple(notes), first.has_spacing)


def _reader() -> Reader:
    try:
        import pydicom.pixels
    except ImportError:
        from SAMMed2DLib.io.dicom.itk_reader import ItkReader

        return ItkReader()
    del pydicom
    from SAMMed2DLib.io.dicom.pydicom_reader import PydicomReader

    return PydicomReader()


# --- which one ----------------------------------------------------------------------------------------------


def _all_series(path: Path, reader: Reader, notes: list[str]) -> list[_Series]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _may_be_dicom(file, path))
    series: dict[str, list[DicomFrame]] = {}
    others: list[str] = []
    for file in files:
        if not looks_like_dicom(file):
            continue
        frames = reader.frames(file)
        for frame in frames:
            series.setdefault(frame.series, []).append(frame)
        if not frames:
            others.append(reader.other(file))
    if not series:
        raise _no_image(path, others)
    if others:
        notes.append(f"left out, as they are no images: {', '.join(sorted(set(others)))}")
    return [_Series(series[uid]) for uid in sorted(series)]


def _may_be_dicom(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return file.is_file() and file.name.upper() != "DICOMDIR" and not any(part.startswith(".") for part in parts)


def _no_image(path: Path, others: list[str]) -> DicomError:
    if not others:
        return DicomError(f"{path}: no DICOM series in this folder; give the folder with the slices, or a file")
    advice = "give the images it belongs to"
    if any("segmentation" in other for other in others):
        advice = "give it as --mask, and the image that it was drawn on as the image"
    return DicomError(f"{path}: is {', '.join(sorted(set(others)))} and no image; {advice}")


def _chosen_series(path: Path, all_series: list[_Series], wanted: str | None) -> _Series:
    if wanted is None and len(all_series) == 1:
        return all_series[0]
    if wanted is not None and wanted.isdigit() and 1 <= int(wanted) <= len(all_series):
        return all_series[int(wanted) - 1]
    for series in all_series:
        if wanted is not None and series.frames[0].series == wanted:
            return series
    problem = f"holds {len(all_series)} DICOM series" if wanted is None else f"has no series {wanted!r}"
    raise DicomError(f'{path}: {problem}; choose one with --series N (series="N" in Python): {_listed(all_series, 1)}')


def _chosen_stack(path: Path, stacks: list[DicomStack], frame: int | None) -> DicomStack:
    if frame is None and len(stacks) == 1:
        return stacks[0]
    if frame is not None and 0 <= frame < len(stacks):
        return stacks[frame]
    held = "one volume" if len(stacks) == 1 else f"{len(stacks)} volumes"
    problem = f"the series holds {held}" if frame is None else f"there is no frame {frame}, the series holds {held}"
    raise DicomError(
        f"{path}: {problem}; choose one with --frame N (frame=N in Python), N from 0 to {len(stacks) - 1}: "
        f"{_listed(stacks, 0)}"
    )


def _listed(choices: Sequence[object], first: int) -> str:
    words = [f"{n}: {choice}" for n, choice in enumerate(choices, first)]
    return "; ".join(words[:_MOST_LISTED]) + ("; …" if len(words) > _MOST_LISTED else "")


# --- voxels -------------------------------------------------------------------------------------------------


def _same_content(reader: Reader, first: DicomFrame, second: DicomFrame) -> bool:
    (pixels,), (other_pixels,) = (list(reader.pixels([frame])) for frame in (first, second))
    return first.rescale == second.rescale and np.array_equal(pixels, other_pixels)


def _voxels(reader: Reader, stack: DicomStack) -> np.ndarray:
    """(K, J, I) or (K, J, I, 3): true values, whole numbers where all are; a missing slice has the lowest."""
    there = [k for k, frame in enumerate(stack.frames) if frame is not None]
    frames = [frame for frame in stack.frames if frame is not None]
    array = np.empty(0)
    for k, frame, stored in zip(there, frames, reader.pixels(frames), strict=True):
        true = _true(stored, frame.rescale, frames)
        if k == 0:
            array = np.empty((len(stack.frames), *true.shape), true.dtype)
        elif not np.can_cast(true.dtype, array.dtype):
            array = array.astype(np.promote_types(array.dtype, true.dtype))
        array[k] = true
    missing = [k for k, frame in enumerate(stack.frames) if frame is None]
    if missing:
        array[missing] = array[there].min()
    return array


def _true(stored: np.ndarray, rescale: tuple[float, float], frames: list[DicomFrame]) -> np.ndarray:
    if all(frame.rescale == (1.0, 0.0) for frame in frames):
        return stored if stored.dtype != np.float64 else stored.astype(np.float32)
    slope, intercept = rescale
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
        if all(value == int(value) and abs(value) < 2**15 for frame in frames for value in frame.rescale):
            return _smallest(stored.astype(np.int32) * int(slope) + int(intercept))
        return (stored * slope + intercept).astype(np.float32)
    return stored * slope + intercept


def _smallest(values: np.ndarray) -> np.ndarray:
    """As 16 bits, where they are enough: those of a CT are."""
    return values.astype(np.int16) if values.size and values.min() >= -(2**15) and values.max() < 2**15 else values
