"""Labels from their own grid onto that of the image, by physical space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files import suffix_of
from ..volume_io import LPS_TO_RAS, Volume
from .cases import CurationError

# Grids are the same if no corner is farther off than this share of a voxel's shortest side.
SAME_GRID = 0.05
LEAST_INSIDE = 0.5  # of what is labelled; a label map with less of it on the image belongs to another one
WORTH_A_NOTE = 0.98


def placer(
    path: Path, own: tuple[int, ...], ijk_to_ras: np.ndarray | None, volume: Volume, notes: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that brings labels onto the grid of their image.

    Args:
        path: of the labels, for people.
        own: (K, J, I) of the labels.
        ijk_to_ras: (4, 4) of the labels, mm; None for a picture, which has no place in the patient.
        volume: the image.
        notes: what a user should know is added to them.
    Raises:
        CurationError: a picture of another size; the function raises it for labels that lie elsewhere.
    """
    shape = volume.array.shape[:3]
    if ijk_to_ras is None or (shape[0] == own[0] == 1 and shape == own):
        if shape != own:
            raise CurationError(f"{path}: is {_times(own)} px, its image {_times(shape)}; give the image's own labels")
        return lambda layer: layer
    if shape == own and _corner_offset(ijk_to_ras, volume) <= SAME_GRID:
        return lambda layer: layer
    if not _is_same_lattice(ijk_to_ras, volume.ijk_to_ras):
        notes.append(f"{path.name}: labels resampled to the image's grid (nearest)")
    elif suffix_of(path) != ".seg.nrrd" and np.prod(own) < np.prod(shape):  # which 3D Slicer always crops
        notes.append(f"{path.name}: covers only a part of the image; beyond it nothing is labelled")
    place = ijk_to_ras
    return lambda layer: _resampled(path, layer, place, volume, notes)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in reversed(shape))


def _corner_offset(ijk_to_ras: np.ndarray, volume: Volume) -> float:
    """How far the corners of two grids of one size are apart, in sides of a voxel."""
    ends = [(0, n - 1) for n in volume.size_ijk]
    corners = np.array([[*corner, 1] for corner in np.stack(np.meshgrid(*ends), -1).reshape(-1, 3)])
    apart = np.linalg.norm((corners @ (ijk_to_ras - volume.ijk_to_ras).T)[:, :3], axis=1).max()
    return float(apart / volume.spacing_mm.min())


def _is_same_lattice(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether one grid is a cut or a larger frame of the other, as 3D Slicer saves segmentations."""
    step = np.linalg.inv(first) @ second
    return bool(
        np.allclose(step[:3, :3], np.eye(3), atol=1e-3) and np.abs(step[:3, 3] - np.rint(step[:3, 3])).max() < 0.05
    )


def _resampled(path: Path, layer: np.ndarray, ijk_to_ras: np.ndarray, volume: Volume, notes: list[str]) -> np.ndarray:
    import SimpleITK

    source = _itk_image(layer.astype(np.uint32), ijk_to_ras)
    target = _itk_image(np.zeros(volume.array.shape[:3], np.uint8), volume.ijk_to_ras)
    moved = SimpleITK.Resample(source, target, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    result = SimpleITK.GetArrayFromImage(moved)
    before, after = _labelled_mm3(layer, ijk_to_ras), _labelled_mm3(result, volume.ijk_to_ras)
    _check_inside(path, 1 - after / before if before else 0.0, notes)
    return result


def _labelled_mm3(labels: np.ndarray, ijk_to_ras: np.ndarray) -> float:
    return np.count_nonzero(labels) * abs(float(np.linalg.det(ijk_to_ras[:3, :3])))


def _check_inside(path: Path, lost: float, notes: list[str]) -> None:
    if 1 - lost < LEAST_INSIDE:
        raise CurationError(
            f"{path}: lies elsewhere than its image: {100 * lost:.0f} % of what is labelled is outside of it; "
            "give the labels of this image, or correct origin, spacing and direction in the header"
        )
    if 1 - lost < WORTH_A_NOTE:
        notes.append(f"{path.name}: {100 * lost:.0f} % of what is labelled is outside of the image")


def _itk_image(array: np.ndarray, ijk_to_ras: np.ndarray) -> Any:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array)
    ijk_to_lps = LPS_TO_RAS @ ijk_to_ras
    spacing = np.linalg.norm(ijk_to_lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing).ravel().tolist())
    return image
