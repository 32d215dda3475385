"""What DICOM files say of each of their frames: its place in the patient, and what tells it from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from SAMMed2DLib.io.volume import VolumeError

# Files of these kinds are single images, or images in time: they are no slices of one another.
PROJECTIONS = frozenset(["CR", "DX", "MG", "IO", "PX", "XA", "RF", "US", "ES", "GM", "SM", "OP", "XC", "IVUS"])
INSTALL = 'pip install "sammed2d[dicom]"'
# Kinds of files that hold no image, by the UIDs that name them at their beginning.
_OTHERS = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a DICOM segmentation", "1.2.840.10008.5.1.4.1.1.66.7": "a DICOM segmentation",
    "1.2.840.10008.5.1.4.1.1.481.3": "RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.5": "RTPLAN",
    "1.2.840.10008.5.1.4.1.1.88.": "SR", "1.2.840.10008.5.1.4.1.1.11.": "PR",
    "1.2.840.10008.5.1.4.1.1.66": "RAW", "1.2.840.10008.5.1.4.1.1.67": "RWV", "1.2.840.10008.5.1.4.1.1.104.": "DOC",
    "1.2.840.10008.5.1.4.1.1.9.": "ECG", "1.2.840.10008.5.1.4.1.1.4.2": "MRS", "1.2.840.10008.1.3.10": "DICOMDIR",
    "1.3.12.2.1107.5.9.1": "CSA",
}  # fmt: skip


class DicomError(VolumeError):
    """DICOM files cannot be read as one image; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """One frame of a DICOM file; a file of one slice has one.

    Attributes:
        path: of the file.
        index: of the frame in the file, from 0.
        uid: of the file's object.
        series: UID of its series.
        about: modality and description of the series.
        modality: of the series.
        frame_of_reference: UID of the coordinates; empty if unknown.
        number: instance number, or 0.
        size: columns and rows.
        position_lps: (3,) mm, centre of the first pixel; None where the file does not say.
        steps_lps: (3, 2) mm, from a column, and from a row, to the next; None where the file does not say.
        spacing: mm, of columns, of rows and of slices, as far as known; else 1.
        is_colour: red, green and blue.
        bytes_per_value: of one value as it will be in memory.
        rescale: slope and intercept from stored to true values; (1, 0) where nothing is to be done.
        is_localizer: the file says that it is a scout.
        is_multiframe: the file holds several frames.
        tells: what may tell it from frames at the same place, by name.
    """

    path: Path
    index: int
    uid: str
    series: str
    about: str
    modality: str
    frame_of_reference: str
    number: int
    size: tuple[int, int]
    position_lps: np.ndarray | None
    steps_lps: np.ndarray | None
    spacing: tuple[float, float, float]
    is_colour: bool
    bytes_per_value: int
    rescale: tuple[float, float]
    is_localizer: bool
    is_multiframe: bool
    tells: dict[str, str]

    @property
    def has_spacing(self) -> bool:
        """Whether the file says how far pixels are apart; many of ultrasound and photographs do not."""
        return self.steps_lps is not None or self.spacing[:2] != (1.0, 1.0)

    @property
    def normal_lps(self) -> np.ndarray:
        """(3,) of length 1: columns x rows, along which slices are counted."""
        assert self.steps_lps is not None
        normal = np.cross(self.steps_lps[:, 0], self.steps_lps[:, 1])
        return normal / np.linalg.norm(normal)


class Reader(Protocol):
    """A way to read DICOM files: with pydicom, or with what SimpleITK brings along."""

    def frames(self, path: Path) -> list[DicomFrame]:
        """The frames of a file; none if it holds no image.

        Raises:
            DicomError: the file cannot be read, or not rightly.
        """

    def other(self, path: Path) -> str:
        """What a file without frames is, as `other_kind` says, or in more words."""

    def pixels(self, frames: Iterable[DicomFrame]) -> Iterator[np.ndarray]:
        """Stored values of frames, (rows, columns) or (rows, columns, 3), one after the other.

        Raises:
            DicomError: they cannot be decoded.
        """


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does, with or without the preamble."""
    with path.open("rb") as file:
        head = file.read(132)
    is_bare = head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00" and head[4:6].isalpha()
    return head[128:] == b"DICM" or is_bare


def other_kind(path: Path) -> str:
    """What a file is that holds no image: "RTSTRUCT", "a DICOM segmentation", …; empty for all others."""
    with path.open("rb") as file:
        head = file.read(512)
    return next((name for uid, name in _OTHERS.items() if uid.encode() in head), "")


def check_bits(path: Path, stored: Any, high: Any) -> None:
    """Refuse values that do not begin with the lowest bit, which no decoder here reads rightly.

    Args:
        path: of the file, for messages.
        stored: how many bits a value has; None or text that is no number passes.
        high: index of its highest bit, from 0.

    Raises:
        DicomError: they do not.
    """
    bits = numbers((stored, high), 2)
    if bits is not None and bits[1] != bits[0] - 1:
        raise DicomError(
            f"{path}: its values of {bits[0]:g} bits end at bit {bits[1]:g}, which is not read; export it again"
        )


def numbers(values: Any, count: int) -> np.ndarray | None:
    """So many finite numbers, or None."""
    try:
        array = np.array([float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == (count,) and np.isfinite(array).all() else None


def plane_steps(orientation: np.ndarray | None, spacing: np.ndarray | None) -> np.ndarray | None:
    """(3, 2) mm from a column, and from a row, to the next, of the six cosines and (between rows, between columns)."""
    if orientation is None or spacing is None or not (spacing > 0).all():
        return None
    columns, rows = orientation[:3], orientation[3:]
    if min(np.linalg.norm(columns), np.linalg.norm(rows), np.linalg.norm(np.cross(columns, rows))) < 0.5:
        return None
    return np.column_stack([columns * spacing[1], rows * spacing[0]])
