"""An image and its place in the patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class VolumeError(ValueError):
    """An image cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class Volume:
    """An image and its place in the patient.

    Attributes:
        array: (K, J, I), or (K, J, I, 3) for colour; the file's own dtype.
        ijk_to_ras: (4, 4) float64, voxel index (integer = voxel centre) -> RAS, mm; may be sheared.
        is_colour: the array has three channels, R, G, B.
        name: the file's or the folder's name without its suffix.
        notes: what a user should know about how it was read (missing slices and such).
        has_spacing: millimetres are known; False for pictures, whose pixels have any size.
    """

    array: np.ndarray
    ijk_to_ras: np.ndarray
    is_colour: bool
    name: str
    notes: tuple[str, ...] = ()
    has_spacing: bool = True

    @property
    def size_ijk(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        k, j, i = self.array.shape[:3]
        return i, j, k

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) float64: distance of neighbouring voxels along i, j, k."""
        return np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)


@dataclass(frozen=True, eq=False)
class VolumeSequence:
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


def checked_place(path: Path, ijk_to_ras: np.ndarray) -> np.ndarray:
    """The same matrix, if it places voxels anywhere: of any size, however small, but not flat.

    Raises:
        VolumeError: it has no inverse, or numbers that are none.
    """
    sides = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if not np.isfinite(ijk_to_ras).all() or not sides.all() or abs(np.linalg.det(ijk_to_ras[:3, :3] / sides)) < 1e-6:
        raise VolumeError(f"{path}: its spacing or direction is zero, NaN or flat; repair its header")
    return ijk_to_ras


def times(size: Sequence[int]) -> str:
    """Words for a size: "48 x 40 x 12"."""
    return " x ".join(map(str, size))
