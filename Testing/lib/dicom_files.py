"""DICOM files for tests: single slices, and enhanced files with many frames."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

CT, MR, PET, ENHANCED_MR = (f"1.2.840.10008.5.1.4.1.1.{kind}" for kind in ("2", "4", "128", "4.1"))
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def empty_file(sop_class: str = CT, series: str = "1.2.3.1") -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", series, "1.2.3.9"
    data.PatientName = data.PatientID = "test"
    data.Modality = "CT"
    return data


def set_pixels(data: Dataset, pixels: np.ndarray, *, colour: bool = False, rle: bool = False) -> None:
    """(rows, columns), (frames, rows, columns), and with colour a last axis of 3."""
    size = pixels.shape[:-1] if colour else pixels.shape
    data.Rows, data.Columns = size[-2:]
    if len(size) == 3:
        data.NumberOfFrames = size[0]
    data.SamplesPerPixel = 3 if colour else 1
    if colour:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = encapsulate([run_lengths(pixels)]) if rle else pixels.tobytes()
    data["PixelData"].VR = "OB" if rle or pixels.itemsize == 1 else "OW"
    if rle:
        data.file_meta.TransferSyntaxUID = RLELossless
        data["PixelData"].is_undefined_length = True


def run_lengths(pixels: np.ndarray) -> bytes:
    """One frame in DICOM's run-length encoding, in literal runs: every byte of every sample is a segment."""
    samples = pixels.reshape(*pixels.shape[:2], -1)
    planes = [
        np.ascontiguousarray(samples[..., c]).view(np.uint8).reshape(-1, pixels.itemsize)[:, n].tobytes()
        for c in range(samples.shape[2])
        for n in reversed(range(pixels.itemsize))
    ]
    segments = [b"".join(bytes([len(run) - 1]) + run for run in _runs(plane)) for plane in planes]
    segments = [segment + b"\x80" * (len(segment) % 2) for segment in segments]
    starts = np.cumsum([64, *map(len, segments[:-1])])
    return struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


def _runs(plane: bytes) -> list[bytes]:
    return [plane[at : at + 128] for at in range(0, len(plane), 128)]


def write(path: Path, data: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def slice_file(
    path: Path,
    pixels: np.ndarray,
    position: Sequence[float] | None,
    *,
    number: int = 1,
    orientation: Sequence[float] = STRAIGHT,
    colour: bool = False,
    rle: bool = False,
    sop_class: str = CT,
    series: str = "1.2.3.1",
    **fields: Any,
) -> Path:
    """A file of one slice; columns are 0.5 mm apart, rows 0.75 mm."""
    data = empty_file(sop_class, series)
    data.InstanceNumber = number
    if position is not None:
        data.ImagePositionPatient = [float(f"{value:.9g}") for value in position]
        data.ImageOrientationPatient = [float(f"{value:.9g}") for value in orientation]
    data.PixelSpacing = [0.75, 0.5]
    set_pixels(data, pixels, colour=colour, rle=rle)
    for name, value in fields.items():
        setattr(data, name, value)
    return write(path, data)


def item(**fields: Any) -> list[Dataset]:
    """A sequence of one item."""
    data = Dataset()
    for name, value in fields.items():
        setattr(data, name, value)
    return [data]


def enhanced_file(
    path: Path,
    pixels: np.ndarray,
    positions: Sequence[Sequence[float]],
    frames: Sequence[dict[str, Any]] | None = None,
    *,
    orientation: Sequence[float] = STRAIGHT,
    **fields: Any,
) -> Path:
    """An enhanced file: (frames, rows, columns), and for each frame its position and further groups."""
    data = empty_file(ENHANCED_MR)
    data.InstanceNumber = 1
    set_pixels(data, pixels)
    shared, own = Dataset(), []
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.75, 0.5], SliceThickness=4)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=list(orientation))
    for n, position in enumerate(positions):
        groups = Dataset()
        groups.PlanePositionSequence = item(ImagePositionPatient=list(position))
        for name, value in (frames[n] if frames else {}).items():
            setattr(groups, name, value)
        own.append(groups)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], own
    for name, value in fields.items():
        setattr(data, name, value)
    return write(path, data)
