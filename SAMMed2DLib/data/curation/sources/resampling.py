"""Labels from their own grid onto that of the image, by physical space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.data.curation.sources.cases import CurationError
from SAMMed2DLib.imaging.grids import Alignment, alignment
from SAMMed2DLib.io.volume_io import LPS_TO_RAS, Volume
from SAMMed2DLib.system.files import suffix_of

LEAST_INSIDE = 0.5  # of what is labelled; a label map with less of it on the image belongs to another one
WORTH_A_NOTE = 0.98


def placer(
    path: Path, own: tuple[int, ...], ijk_to_ras: np.ndarray | None, volume: Volume, notes: list[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that brings labels onto the grid of their image.

    Args:
        path: of the labels, for people.
        own: (K, J, I) of the labels.
        ijk_to_ras: (4, 4) of the labels, mm; None for a 2D image file, which has no place in the patient.
        volume: the image.
        notes: what a user should know is added to them.
    Raises:
        CurationError: a 2D image of another size; the function raises it for labels that lie elsewhere.
    """
    shape = volume.array.shape[:3]
    if ijk_to_ras is None or (shape[0] == own[0] == 1 and shape == own):
        if shape != own:
            raise CurationError(f"{path}: is {_times(own)} px, its image {_times(shape)}; give the image's own labels")
        return lambda layer: layer
    found = alignment(own[::-1], ijk_to_ras, volume.ijk_to_ras)
    if found is not None and found.is_identity and shape == own:
        return lambda layer: layer
    if found is None:
        notes.append(f"{path.name}: labels resampled to the image's grid (nearest)")
    elif suffix_of(path) != ".seg.nrrd" and np.prod(own) < np.prod(shape):  # which 3D Slicer always crops
        notes.append(f"{path.name}: covers only a part of the image; beyond it nothing is labelled")
    move = _resampled if found is None else partial(_moved, found)
    place = ijk_to_ras

    def placed(layer: np.ndarray) -> np.ndarray:
        result = move(layer, place, volume)
        before, after = _labelled_mm3(layer, place), _labelled_mm3(result, volume.ijk_to_ras)
        _check_inside(path, 1 - after / before if before else 0.0, notes)
        return result

    return placed


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in reversed(shape))


def _moved(found: Alignment, layer: np.ndarray, ijk_to_ras: np.ndarray, volume: Volume) -> np.ndarray:
    return found.place(layer, volume.size_ijk)


def _resampled(layer: np.ndarray, ijk_to_ras: np.ndarray, volume: Volume) -> np.ndarray:
    import SimpleITK

    source = _itk_image(layer.astype(np.uint32), ijk_to_ras)
    target = _itk_image(np.zeros(volume.array.shape[:3], np.uint8), volume.ijk_to_ras)
    moved = SimpleITK.Resample(source, target, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor, 0)
    return SimpleITK.GetArrayFromImage(moved)


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
