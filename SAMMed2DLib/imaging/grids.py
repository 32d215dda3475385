"""Grids of voxels that share their voxels: one is a part, a larger frame, or another storage order of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Voxels are the same if no corner is farther off than this share of a voxel's shortest side.
SAME_VOXEL = 0.05


@dataclass(frozen=True)
class Alignment:
    """Where the voxels of a source grid are in a target grid: target = sign * source[axis] + offset, axis by axis.

    Attributes:
        axes: for each axis i, j, k of the target, the axis of the source that runs along it.
        signs: for each, 1, or -1 where the source runs the other way.
        offset_ijk: the target's voxel at the source's voxel (0, 0, 0).
    """

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    offset_ijk: tuple[int, ...]

    @property
    def is_identity(self) -> bool:
        """Whether both grids begin at the same voxel and run the same way."""
        return self.axes == (0, 1, 2) and self.signs == (1, 1, 1) and self.offset_ijk == (0, 0, 0)

    def place(self, source_kji: np.ndarray, size_ijk: tuple[int, ...]) -> np.ndarray:
        """Bring an array of the source onto the target; zero where the source has no voxel.

        Args:
            source_kji: (K, J, I).
            size_ijk: of the target, voxels.

        Returns:
            (K, J, I) of the target, the same dtype; the array itself where nothing is to be done.
        """
        if self.is_identity and source_kji.shape[::-1] == tuple(size_ijk):
            return source_kji
        turned_ijk = np.flip(source_kji.T.transpose(self.axes), tuple(a for a in range(3) if self.signs[a] < 0))
        placed_kji = np.zeros(tuple(size_ijk)[::-1], source_kji.dtype)
        into, out_of = [], []
        for axis, count in enumerate(turned_ijk.shape):
            first = self.offset_ijk[axis] - (count - 1 if self.signs[axis] < 0 else 0)
            low, high = max(first, 0), max(min(first + count, size_ijk[axis]), 0)
            into.append(slice(low, max(high, low)))
            out_of.append(slice(low - first, max(high, low) - first))
        placed_kji.T[tuple(into)] = turned_ijk[tuple(out_of)]
        return placed_kji


def alignment(
    source_size_ijk: tuple[int, ...], source_ijk_to_ras: np.ndarray, target_ijk_to_ras: np.ndarray
) -> Alignment | None:
    """Find where the voxels of one grid are in another.

    Args:
        source_size_ijk: voxels; along an axis of one voxel the length of its side does not count.
        source_ijk_to_ras: (4, 4), mm.
        target_ijk_to_ras: (4, 4), mm.

    Returns:
        None where voxels of the one are not voxels of the other.
    """
    step = np.linalg.solve(target_ijk_to_ras, source_ijk_to_ras)
    for axis in range(3):
        if source_size_ijk[axis] == 1:
            step[:3, axis] /= np.abs(step[:3, axis]).max()
    if not np.isfinite(step).all() or np.abs(step).max() > 2**31:
        return None
    whole = np.rint(step)
    turn = whole[:3, :3]
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        return None
    corners = np.array([[*(np.array(c) * (np.array(source_size_ijk) - 1)), 1] for c in np.ndindex(2, 2, 2)], float)
    off_mm = np.linalg.norm(target_ijk_to_ras[:3] @ (step - whole) @ corners.T, axis=0).max()
    if off_mm > SAME_VOXEL * np.linalg.norm(target_ijk_to_ras[:3, :3], axis=0).min():
        return None
    axes = np.abs(turn).argmax(axis=1)
    signs = turn[np.arange(3), axes]
    return Alignment(*(tuple(int(v) for v in values) for values in (axes, signs, whole[:3, 3])))
