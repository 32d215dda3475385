"""The surface of a mask as triangles, in numpy: a surface net, smoothed, so that steps of voxels do not show."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from SAMMed2DLib.imaging.affines import checked_affine

# Of a smoothing pass outwards after each one inwards, so that nothing shrinks (Taubin).
_INWARDS, _OUTWARDS = 0.5, -0.53


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface.

    Attributes:
        points_ras: (N, 3) float32, mm.
        triangles: (M, 3) int64, numbers of points; seen from outside they run counter-clockwise.
    """

    points_ras: np.ndarray
    triangles: np.ndarray

    def normals(self) -> np.ndarray:
        """(N, 3) float32: the direction out of the surface at each point, of length 1."""
        corners = self.points_ras[self.triangles].astype(np.float64)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = np.stack([_summed(across[:, n], self.triangles, len(self.points_ras)) for n in range(3)], axis=1)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0).astype(np.float32)


def surface_of(mask_kji: np.ndarray, ijk_to_ras: np.ndarray, *, most_voxels: int = 160, passes: int = 6) -> Surface:
    """Draw the surface of a mask.

    Args:
        mask_kji: (K, J, I) bool.
        ijk_to_ras: (4, 4), mm.
        most_voxels: along each side of the mask's box; of a longer side only every n-th voxel is looked at.
        passes: of smoothing.

    Returns:
        the surface; without points for an empty mask.
    """
    matrix = checked_affine(ijk_to_ras)
    sides = [np.flatnonzero(mask_kji.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not len(sides[0]):
        return Surface(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    starts = np.array([side[0] for side in sides])
    steps = np.array([-(-(side[-1] - side[0] + 1) // most_voxels) for side in sides])
    cut = tuple(slice(side[0], side[-1] + 1, step) for side, step in zip(sides, steps, strict=True))
    points_kji, triangles = _net(np.pad(mask_kji[cut], 1))
    for _ in range(passes):
        points_kji = _smoothed(points_kji, triangles)
    points_ijk = ((points_kji - 1) * steps + starts)[:, ::-1]
    if np.linalg.det(matrix[:3, :3]) > 0:  # (k, j, i) is a mirrored (i, j, k)
        triangles = triangles[:, ::-1]
    return Surface((points_ijk @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32), triangles)


def _net(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One point in each cell of eight voxels that the surface passes, and two triangles across each edge that it cuts.

    Args:
        mask: (K, J, I) bool, empty at its rims.

    Returns:
        (N, 3) float64 points in (k, j, i), and (M, 3) triangles, counter-clockwise from outside in that frame.
    """
    corners = {shift: mask[tuple(slice(s, s - 1 or None) for s in shift)] for shift in product((0, 1), repeat=3)}
    count = np.add.reduce([corner.astype(np.int8) for corner in corners.values()], axis=0, dtype=np.int8)
    cells = np.argwhere((count > 0) & (count < 8))
    number = np.full(count.shape, -1)
    number[tuple(cells.T)] = np.arange(len(cells))
    inside = {shift: corner[tuple(cells.T)] for shift, corner in corners.items()}
    sums, cuts = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for axis, shift in product(range(3), product((0, 1), repeat=3)):
        if shift[axis] == 0:
            other = tuple(1 if n == axis else s for n, s in enumerate(shift))
            is_cut = inside[shift] != inside[other]
            sums += is_cut[:, None] * (np.add(shift, other) / 2)
            cuts += is_cut
    quads = [_quads(mask, number, axis) for axis in range(3)]
    square = np.concatenate(quads)
    return cells + sums / cuts[:, None], np.concatenate([square[:, [0, 1, 2]], square[:, [0, 2, 3]]])


def _quads(mask: np.ndarray, number: np.ndarray, axis: int) -> np.ndarray:
    """(Q, 4) the cells around each edge along an axis that the surface cuts, counter-clockwise from outside."""
    moved = np.moveaxis(mask, axis, 0)
    cells = np.moveaxis(number, axis, 0)
    edges = np.argwhere(moved[:-1] != moved[1:])
    a, b, c = edges.T
    around = np.stack([cells[a, b - 1, c - 1], cells[a, b, c - 1], cells[a, b, c], cells[a, b - 1, c]], axis=1)
    leaves = moved[a, b, c]  # inside first: the surface looks along the axis
    is_turned = leaves if axis == 1 else ~leaves  # the two other axes follow in this order only for axes 0 and 2
    return np.where(is_turned[:, None], around[:, ::-1], around)


def _smoothed(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Move each point towards the mean of its neighbours, and a little more back."""
    starts = triangles.ravel()
    ends = triangles[:, [1, 2, 0]].ravel()
    degree = np.bincount(starts, minlength=len(points))[:, None]
    for factor in (_INWARDS, _OUTWARDS):
        sums = np.stack([np.bincount(starts, points[ends, n], len(points)) for n in range(3)], axis=1)
        points = points + factor * (sums / degree - points)
    return points


def _summed(values: np.ndarray, triangles: np.ndarray, count: int) -> np.ndarray:
    """For each point the sum of a value of its triangles."""
    return np.bincount(triangles.ravel(), np.repeat(values, 3), count)
