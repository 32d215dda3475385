"""Image files through SimpleITK: NRRD, MHA, PNG, JPEG, TIFF and others.

SimpleITK is imported inside the functions, so that this module can be imported without it.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.io.compressed import check_zlib, cut_off, has_whole_gzip, has_whole_zlib, opened
from SAMMed2DLib.io.image_header import check_header
from SAMMed2DLib.io.png_jpeg import check_jpeg_end, is_jpeg, jpeg_orientation, png_without_alpha, upright
from SAMMed2DLib.io.volume import LPS_TO_RAS, VolumeError, checked_place

_LONGEST_HEADER = 64 << 20
_LIST = "NRRD_kinds[pixel]"


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
        self._parts = _parts(path)
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
            self.notes = ("the picture is turned upright as its EXIF says, as viewers show it",)
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
        """RGB and RGBA pictures, known by their small unsigned type; other components are a stack of values."""
        import SimpleITK

        picture_types = (SimpleITK.sitkVectorUInt8, SimpleITK.sitkVectorUInt16)
        return self.components in (3, 4) and self._reader.GetPixelID() in picture_types and not self.is_list

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


# --- whether the file is whole ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """The voxels of a file.

    Attributes:
        path: of the file that holds them.
        start: the byte from which on it does.
        packing: "gzip", "zlib", or nothing.
        size: in bytes, as packed; None where only the end of the file tells.
    """

    path: Path
    start: int
    packing: str = ""
    size: int | None = None

    def check_size(self, unpacked: int) -> None:
        """Refuse a file that is shorter than its header says, before anything is read."""
        size = unpacked if not self.packing else self.size or 0
        there = max(self.path.stat().st_size - self.start, 0)
        if there < size:
            raise cut_off(self.path, f"it holds {there} of {size} bytes of its voxels")

    def check(self, array: np.ndarray) -> None:
        """Compare the checksum at the end with what was read; where they differ, read all once more, to be sure.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        if self.packing == "gzip":
            is_whole = has_whole_gzip(self.path, self.start, array)
        else:
            is_whole = not self.packing or has_whole_zlib(self.path, self.start + (self.size or 0), array)
        if not is_whole:
            self.check_to_end()

    def check_to_end(self) -> None:
        """Unpack all, so that the checksum is compared.

        Raises:
            VolumeError: the file is cut off or damaged.
        """
        if self.packing == "gzip":
            with opened(self.path, skip=self.start):
                pass
        elif self.packing:
            check_zlib(self.path, self.start, self.size or 0)


def _parts(path: Path) -> list[_Part]:
    """Where a NRRD or MetaImage file holds its voxels, as far as it is easy to tell."""
    with path.open("rb") as file:
        head = file.read(4)
        if head == b"NRRD":
            file.seek(0)
            return _nrrd_parts(path, _lines(file, b""))
        if path.suffix.lower() in (".mha", ".mhd"):
            file.seek(0)
            return _meta_parts(path, _lines(file, b"ElementDataFile"))
    return []


def _lines(file: Any, last: bytes) -> tuple[dict[str, str], list[str], int]:
    """Fields of a header, lines that are none, and where the header ends."""
    fields: dict[str, str] = {}
    others: list[str] = []
    while file.tell() < _LONGEST_HEADER and (line := file.readline(1 << 16)):
        text = line.strip()
        if not last and not text:
            break
        key, separator, value = text.partition(b"=") if last else text.partition(b":")
        if separator and not value.startswith(b"="):
            fields[key.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
        else:
            others.append(text.decode("latin-1"))
        if last and key.strip() == last:
            break
    return fields, others, file.tell()


def _nrrd_parts(path: Path, header: tuple[dict[str, str], list[str], int]) -> list[_Part]:
    fields, others, end = header
    packing = {"gzip": "gzip", "gz": "gzip", "raw": ""}.get(fields.get("encoding", "").lower())
    skips = [fields.get(key, "0") for key in ("byte skip", "byteskip", "line skip", "lineskip")]
    if packing is None or any(skip != "0" for skip in skips):
        return []
    name = fields.get("data file", fields.get("datafile", ""))
    if not name:
        return [_Part(path, end, packing)]
    # "LIST" is followed by names; with a pattern, as in "volume%03d.raw.gz 1 9 1", more is to be worked out.
    names = others[1:] if name.upper().startswith("LIST") else [name]
    files = [path.parent / one for one in names if not re.search(r"%\d*d", one)]
    return [_Part(file, 0, packing) for file in files if os.path.isfile(file) and (packing or len(files) == 1)]


def _meta_parts(path: Path, header: tuple[dict[str, str], list[str], int]) -> list[_Part]:
    fields, _, end = header
    name = fields.get("elementdatafile", "")
    file = path if name.upper() == "LOCAL" else path.parent / name
    is_plain = fields.get("binarydata", "True").lower() == "true" and "headersize" not in fields
    if not name or not os.path.isfile(file) or not is_plain:
        return []
    start = end if file == path else 0
    if fields.get("compresseddata", "").lower() != "true":
        return [_Part(file, start)]
    size = _whole(fields.get("compresseddatasize", "0"))
    return [_Part(file, start, "zlib", size)] if size else []


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else 0
