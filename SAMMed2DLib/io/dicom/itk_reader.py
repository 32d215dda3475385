"""DICOM files through SimpleITK alone, where pydicom is not installed: plain slices, each file one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from SAMMed2DLib.io.dicom.frames import INSTALL, DicomError, DicomFrame, check_bits, numbers, other_kind, plane_steps
from SAMMed2DLib.io.itk_io import ItkFile
from SAMMed2DLib.io.volume import VolumeError

_TELLS = {
    "phase": "0020|0100", "echo": "0018|0086", "echo time": "0018|0081", "inversion time": "0018|0082",
    "b-value": "0018|9087", "trigger time": "0018|1060", "acquisition": "0020|0012", "type": "0008|0008",
    "kernel": "0018|1210", "time": "0008|0032", "content time": "0008|0033",
}  # fmt: skip
# Ultrasound, secondary capture and angiography in several frames, which are not placed in the patient.
_WITHOUT_PLACES = tuple(f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("3.1", "7", "12.1", "12.2"))
_RLE = b"1.2.840.10008.1.2.5\0"
_NO_IMAGES = frozenset(["RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "SEG", "REG", "RTRECORD", "DOC", "AU", "ECG"])


class ItkReader:
    """Reads DICOM files with SimpleITK; see `Reader`."""

    def frames(self, path: Path) -> list[DicomFrame]:
        """The frame of a file; none if it holds no image.

        Raises:
            DicomError: the file needs pydicom.
        """
        if other_kind(path):
            return []
        file = _opened(path)
        about = {key: value.strip().strip("\0") for key, value in file.metadata.items()}
        count = _whole(about.get("0028|0008", "1"))
        orientation = numbers(about.get("0020|0037", "").split("\\"), 6)
        spacing = numbers(about.get("0028|0030", "").split("\\"), 2)
        position = numbers(about.get("0020|0032", "").split("\\"), 3)
        steps = plane_steps(orientation, spacing)
        is_placed = steps is not None or position is not None
        if count > 1 and (is_placed or not about.get("0008|0016", "").startswith(_WITHOUT_PLACES)):
            raise DicomError(f"{path}: holds {count} frames, which need pydicom to be placed: {INSTALL}")
        is_colour = file.is_colour
        check_bits(path, about.get("0028|0101"), about.get("0028|0102"))
        self._check_decoding(path, is_colour, about)
        thick = [numbers([about[key]], 1) for key in ("0018|0050", "0018|0088") if about.get(key)]
        slices = next((abs(float(value[0])) for value in thick if value is not None and value[0] != 0), 1.0)
        rows_columns = spacing if spacing is not None else np.ones(2)
        tells = {name: about[key] for name, key in _TELLS.items() if about.get(key)}
        words = " ".join(filter(None, (about.get("0008|0060"), about.get("0008|103e")))) or "unnamed"
        return [
            DicomFrame(
                path,
                index,
                about.get("0008|0018", "") or str(path),
                about.get("0020|000e", ""),
                words,
                about.get("0008|0060", ""),
                about.get("0020|0052", ""),
                _whole(about.get("0020|0013", "0")),
                (file.size[0], file.size[1]),
                position if steps is not None else None,
                steps if position is not None else None,
                (float(rows_columns[1]), float(rows_columns[0]), slices),
                is_colour,
                file.bytes_per_value,
                (1.0, 0.0),  # SimpleITK has done it
                "LOCALIZER" in tells.get("type", ""),
                count > 1,
                tells,
            )
            for index in range(count)
        ]

    def other(self, path: Path) -> str:
        """What a file without frames is."""
        return other_kind(path)

    def pixels(self, frames: Iterable[DicomFrame]) -> Iterator[np.ndarray]:
        """True values of frames, one after the other."""
        path, images = None, np.empty(0)
        for frame in frames:
            if frame.path != path:
                path = frame.path
                try:
                    images = _opened(path).read()
                except VolumeError as error:
                    raise _needs_pydicom(path, "its image is damaged, or stored in a way") from error
            yield images[frame.index] if images.ndim == 3 + frame.is_colour else images

    def _check_decoding(self, path: Path, is_colour: bool, about: dict[str, str]) -> None:
        with path.open("rb") as file:
            is_rle = _RLE in file.read(2048)
        if is_rle and is_colour and about.get("0028|0100") != "8":
            raise DicomError(f"{path}: its run-length encoded colours need pydicom to be decoded rightly: {INSTALL}")


def _opened(path: Path) -> ItkFile:
    try:
        return ItkFile(path)
    except VolumeError as error:
        raise _needs_pydicom(path, "it is damaged, or stored in a way") from error


def _needs_pydicom(path: Path, why: str) -> DicomError:
    return DicomError(f"{path}: cannot be read: {why} that needs pydicom ({INSTALL}); or export it again")


def _whole(text: str) -> int:
    try:
        return int(float(text))
    except ValueError:
        return 0
