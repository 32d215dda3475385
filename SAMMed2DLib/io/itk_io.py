"""Image files through SimpleITK: NRRD, MHA, PNG, JPEG, TIFF and others.

SimpleITK is imported inside the functions, so that this module can be imported without it.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.io.image_header import check_header, voxel_parts
from SAMMed2DLib.io.png_jpeg import check_jpeg_end, is_jpeg, jpeg_orientation, png_without_alpha, upright
from SAMMed2DLib.io.volume import LPS_TO_RAS, VolumeError, checked_place

if TYPE_CHECKING:
    import SimpleITK

_LIST = "NRRD_kinds[pixel]"
_FULL_BYTES = 1 << 16  # what is left of a disk on which nothing fits any more


class ItkFile:
    """The header of an image file, and the way to its voxels.

    Attributes:
        path: of the file.
        size: voxels along i, j and maybe k and frames.
        components: values of one voxel.
        is_list: they follow one another in time, as in Slicer's sequences, and are no colours.
        is_colour: they are red, green, blue and maybe alpha.
        bytes_per_value: of one value in memory.
        ijk_to_ras: (4, 4) float64, mm; of a 4D image that of each frame.
        metadata: key/value pairs of the header.
        notes: what a user should know about it.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            VolumeError: it is of no known format, cut off or damaged.
        """
        import SimpleITK

        self.path = path
        self.notes: tuple[str, ...] = ()
        check_header(path)
        self._parts = voxel_parts(path)
        self._grey_alpha = png_without_alpha(path)
        if is_jpeg(path):
            check_jpeg_end(path)
        reader = SimpleITK.ImageFileReader()
        with _readable(path, self._grey_alpha) as file:
            reader.SetFileName(str(file))
            executed(path, reader.ReadImageInformation)
        self._reader = reader
        self.size = tuple(int(n) for n in reader.GetSize())
        self.metadata = dict(_metadata(reader))
        self.is_list = self.metadata.get(_LIST) == "list"
        self.components = 1 if self._grey_alpha else int(reader.GetNumberOfComponents())
        self.is_colour = self._is_colour()
        self.bytes_per_value = self._bytes_per_value()
        self.ijk_to_ras = self._place()
        self._orientation = jpeg_orientation(path) if is_jpeg(path) else 1
        if self._orientation != 1:
            self.notes = ("the image is turned upright as its EXIF says, as viewers show it",)
        if self._orientation >= 5:
            self.size = self.size[::-1]
            self.ijk_to_ras[[0, 1], [0, 1]] = self.ijk_to_ras[[1, 0], [1, 0]]

    def read(self, frame: int | None = None) -> np.ndarray:
        """Read the voxels.

        Args:
            frame: which one of a 4D image; None for all.

        Returns:
            (J, I), (K, J, I) or (T, K, J, I), with the components as a last axis if there are several.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        import SimpleITK

        for part in self._parts:
            part.check_size(self.bytes_per_value * self.components * math.prod(self.size))
        if frame is not None:
            self._reader.SetExtractSize([*self.size[:3], 0])
            self._reader.SetExtractIndex([0, 0, 0, frame])
        with _readable(self.path, self._grey_alpha) as file:
            self._reader.SetFileName(str(file))
            try:
                array = SimpleITK.GetArrayFromImage(executed(self.path, self._reader.Execute))
            except VolumeError:
                for part in self._parts:
                    part.check_to_end()  # has clearer words for it
                raise
        for part in self._parts:
            part.check(array)
        if self._grey_alpha and self._grey_alpha[1]:
            array = (array >> 8).astype(np.uint8) if self._grey_alpha[1] == 8 else _first_two_bytes(array)
        return upright(array, self._orientation) if self._orientation != 1 else array

    def _is_colour(self) -> bool:
        """RGB and RGBA images, known by their small unsigned type; other components are a stack of values."""
        import SimpleITK

        colour_types = (SimpleITK.sitkVectorUInt8, SimpleITK.sitkVectorUInt16)
        return self.components in (3, 4) and self._reader.GetPixelID() in colour_types and not self.is_list

    def _bytes_per_value(self) -> int:
        import SimpleITK

        kind = SimpleITK.GetPixelIDValueAsString(self._reader.GetPixelID()).replace("vector of ", "")
        if "complex" in kind:
            raise VolumeError(f"{self.path}: holds complex numbers; write its magnitude to a file and use that")
        bits = [int(word) for word in kind.replace("-", " ").split() if word.isdigit()]
        return bits[0] // 8 if bits else 8

    def _place(self) -> np.ndarray:
        """ITK's origin, spacing and direction (LPS) as one matrix to RAS; a 2D image lies in the plane z = 0."""
        dimension = len(self.size)
        n = min(dimension, 3)
        ijk_to_lps = np.eye(4)
        direction = np.array(self._reader.GetDirection(), dtype=float).reshape(dimension, dimension)[:n, :n]
        ijk_to_lps[:n, :n] = direction * np.array(self._reader.GetSpacing()[:n], dtype=float)
        ijk_to_lps[:n, 3] = self._reader.GetOrigin()[:n]
        return checked_place(self.path, LPS_TO_RAS @ ijk_to_lps)


def _first_two_bytes(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0].astype(np.uint16) << 8) + pixels[..., 1]


def _metadata(reader: Any) -> Iterator[tuple[str, str]]:
    """Key/value pairs; what is no text in UTF-8 is marked in values, and left out as a key."""
    for key in reader.GetMetaDataKeys():
        if key.isprintable():
            yield key, reader.GetMetaData(key).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@contextmanager
def _readable(path: Path, changed: tuple[bytes, int] | None) -> Iterator[Path]:
    """The file itself, or one with the content that can be read instead."""
    if changed is None:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grey.png"
        file.write_bytes(changed[0])
        yield file


def executed(path: Path, read: Any) -> Any:
    """What `read` returns, with ITK's many-line report cut down to its reason.

    Raises:
        VolumeError: it failed.
    """
    try:
        with itk_warnings_off():
            return read()
    except (RuntimeError, MemoryError) as error:
        if path.is_file() and zipfile.is_zipfile(path):
            raise VolumeError(f"{path}: is a ZIP archive; unpack it, and give the file or folder in it") from error
        raise VolumeError(
            f"{path}: cannot be read as an image (NIfTI, NRRD, MHA, DICOM, PNG, JPEG, TIFF): {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    if "Error while reading file" in str(error):  # what ITK says of a PNG
        return "it is cut off or damaged; copy, download or export it again"
    if "Unable to determine ImageIO" in str(error):
        return "its content is of no format that SimpleITK knows, or it is cut off"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    # "ITK ERROR: NrrdImageIO(0x5581…): what happened": the reader's address helps nobody.
    return last.split("): ", 1)[-1][:300]


@contextmanager
def itk_warnings_off() -> Iterator[None]:
    """ITK prints its own words on oddities; ours say the same, once and in place."""
    import SimpleITK

    were_on = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(were_on)


def write_image(image: SimpleITK.Image, path: Path) -> None:
    """Write an image file, compressed where its format can be. NIfTI has a writer of its own: ITK's forgets errors.

    Raises:
        OSError: it cannot be written, for instance because the disk is full.
    """
    import SimpleITK

    try:
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        is_full = shutil.disk_usage(path.parent).free < _FULL_BYTES
        code = errno.ENOSPC if is_full else errno.EIO
        raise OSError(code, os.strerror(code), str(path.parent)) from error
