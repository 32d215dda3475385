"""Small labelled images for the tests of curation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK

SHAPE_KJI = (24, 32, 40)


def a_volume(shape: tuple[int, ...] = SHAPE_KJI, seed: int = 0) -> np.ndarray:
    """Noise in coarse blocks, int16, so that neighbours and volumes differ."""
    coarse = np.random.default_rng(seed).normal(0, 300, [n // 4 + 1 for n in shape])
    for axis, n in enumerate(shape):
        coarse = coarse.repeat(4, axis).take(range(n), axis)
    return coarse.astype(np.int16)


def a_block(value: int = 1, shape: tuple[int, ...] = SHAPE_KJI, start: int = 8, stop: int = 18) -> np.ndarray:
    """A cube of one label, (K, J, I) uint8."""
    labels = np.zeros(shape, np.uint8)
    labels[(slice(start, stop),) * len(shape)] = value
    return labels


def write(
    path: Path,
    array: np.ndarray,
    spacing: Sequence[float] = (1, 1, 1),
    origin: Sequence[float] = (0, 0, 0),
) -> Path:
    """Write an image file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array, isVector=array.ndim == 3 and array.shape[2] == 3)
    image.SetSpacing([float(n) for n in spacing[: image.GetDimension()]])
    image.SetOrigin([float(n) for n in origin[: image.GetDimension()]])
    SimpleITK.WriteImage(image, str(path))
    return path


def write_table(path: Path, *lines: str, columns: str = "image,labels") -> Path:
    """Write a table of cases."""
    path.write_text("\n".join([columns, *lines]) + "\n", encoding="utf-8")
    return path


def write_dicom(folder: Path, volume: np.ndarray) -> Path:
    """Write a DICOM series of CT slices, 1 mm apart."""
    folder.mkdir(parents=True)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, plane in enumerate(volume):
        image = SimpleITK.GetImageFromArray(plane[np.newaxis])
        image.SetOrigin((0.0, 0.0, float(number)))
        for key, value in {
            "0008|0060": "CT",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.1",
            "0020|0013": str(number),
            "0020|0032": f"0\\0\\{number}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{number:03d}.dcm"))
        writer.Execute(image)
    return folder
