"""DICOM files through pydicom: also enhanced ones, with all frames by themselves. pydicom is imported late."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.io.compressed import cut_off
from SAMMed2DLib.io.dicom.frames import DicomError, DicomFrame, check_bits, numbers, other_kind, plane_steps
from SAMMed2DLib.io.itk_io import executed
from SAMMed2DLib.io.volume import VolumeError

# What may tell frames at one place apart: names for people, and DICOM's keywords.
_TELLS = {
    "phase": "TemporalPositionIdentifier", "echo": "EchoNumbers", "echo time": "EchoTime",
    "inversion time": "InversionTime", "b-value": "DiffusionBValue", "cardiac phase": "NominalPercentageOfCardiacPhase",
    "trigger time": "TriggerTime", "acquisition": "AcquisitionNumber", "type": "ImageType",
    "kernel": "ConvolutionKernel", "flip angle": "FlipAngle", "stack": "StackID",
    "time": "AcquisitionTime", "date and time": "AcquisitionDateTime", "content time": "ContentTime",
}  # fmt: skip
# The same in the frames of an enhanced file: the sequence, and the keyword in it.
_FRAME_TELLS = {
    "phase": ("FrameContentSequence", "TemporalPositionIndex"), "stack": ("FrameContentSequence", "StackID"),
    "echo time": ("MREchoSequence", "EffectiveEchoTime"), "b-value": ("MRDiffusionSequence", "DiffusionBValue"),
    "cardiac phase": ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase"),
    "inversion time": ("MRModifierSequence", "InversionTimes"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "type": ("MRImageFrameTypeSequence", "FrameType"), "CT type": ("CTImageFrameTypeSequence", "FrameType"),
    "kernel": ("CTReconstructionSequence", "ConvolutionKernel"),
    "time": ("FrameContentSequence", "FrameAcquisitionDateTime"),
}  # fmt: skip
_READ = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "SeriesNumber",
    "FrameOfReferenceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "BitsAllocated", "BitsStored", "HighBit", "TotalPixelMatrixColumns", "PhotometricInterpretation",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "SpacingBetweenSlices", "SliceThickness", "RescaleSlope", "RescaleIntercept",
    "DoseGridScaling", "GridFrameOffsetVector", "ModalityLUTSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "DetectorInformationSequence",
    *_TELLS.values(),
)  # fmt: skip
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_NEEDED_FOR_DECODING = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip


class PydicomReader:
    """Reads DICOM files with pydicom; see `Reader`."""

    def __init__(self) -> None:
        """Nothing is open yet."""
        self._open: tuple[Path, Any] | None = None

    def frames(self, path: Path) -> list[DicomFrame]:
        """The frames of a file; none if it holds no image."""
        if other_kind(path):
            return []
        head = read(path, _READ, stop_before_pixels=True)
        with explained(path):
            if head.get("Rows") is None or head.get("Columns") is None:
                raise cut_off(path, "it does not say how large its image is")
            return list(frames_of(path, head))

    def other(self, path: Path) -> str:
        """What a file without frames is."""
        kind = other_kind(path)
        if kind != "a DICOM segmentation":
            return kind
        head = read(path, ("SegmentSequence",), stop_before_pixels=True)
        with explained(path):
            names = [str(segment.get("SegmentLabel", "")) for segment in head.get("SegmentSequence") or ()]
        return f"{kind} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"

    def pixels(self, frames: Iterable[DicomFrame]) -> Iterator[np.ndarray]:
        """Stored values of frames, one after the other."""
        for frame in frames:
            if self._open is None or self._open[0] != frame.path:
                self._open = frame.path, Decoder(frame.path)
            yield self._open[1].frame(frame.index)
        self._open = None


def read(path: Path, keywords: tuple[str, ...] | None = None, **options: bool) -> Any:
    """A data set, or some of its elements.

    Raises:
        DicomError: it cannot be read.
    """
    import pydicom

    with explained(path):
        tags: Any = list(keywords) if keywords else None
        with _Bounded(io.FileIO(path)) as file:
            return pydicom.dcmread(file, force=True, specific_tags=tags, **options)


class _Bounded(io.BufferedReader):
    """A file that is never asked for more than it holds, whatever length a damaged element gives itself."""

    def read(self, size: int | None = -1, /) -> bytes:
        there = max(os.fstat(self.fileno()).st_size - self.tell(), 0)
        return super().read(there if size is None or size < 0 else min(size, there))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever a damaged file leads to, in one line; pydicom's remarks are about form only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except VolumeError:
            raise
        except Exception as error:  # of any kind, by what is damaged
            words = " ".join(str(error).split())[:200]
            if "less than expected" in words:
                raise DicomError(
                    f"{path}: is cut off, some of its pixels are missing; copy or export it again"
                ) from error
            raise DicomError(f"{path}: cannot be read as DICOM ({words or type(error).__name__})") from error


def _uid(head: Any, keyword: str) -> str:
    return str(head.get(keyword) or "")


# --- what a file says of its frames -------------------------------------------------------------------------


def frames_of(path: Path, head: Any) -> Iterator[DicomFrame]:
    """What a data set says of its frames."""
    count = int(head.get("NumberOfFrames") or 1)
    shared, each = head.get("SharedFunctionalGroupsSequence") or [None], head.get("PerFrameFunctionalGroupsSequence")
    if count < 1 or (each and len(each) != count):
        raise DicomError(f"{path}: says that it has {count} frames and tells of {len(each or ())}; export it again")
    if "MOSAIC" in [str(word) for word in head.get("ImageType") or ()] and not each:
        raise DicomError(f"{path}: is a mosaic of many slices in one image; convert the series to NIfTI (dcm2niix)")
    if head.get("TotalPixelMatrixColumns") is not None and count > 1:
        raise DicomError(f"{path}: is an image in {count} tiles (whole-slide microscopy); export the region as PNG")
    check_bits(path, head.get("BitsStored"), head.get("HighBit"))
    about = " ".join(filter(None, (_uid(head, "Modality"), _uid(head, "SeriesDescription")))) or "unnamed"
    samples, bits = int(head.get("SamplesPerPixel") or 1), int(head.get("BitsAllocated") or 16)
    is_colour = samples == 3 or _uid(head, "PhotometricInterpretation") == "PALETTE COLOR"
    places = _offsets(head, count)
    for index in range(count):
        groups = _Groups(shared[0], each[index] if each else None, head)
        position, steps = groups.position, groups.steps
        if position is not None and count > 1 and not each:
            position = None if places is None else position + places[index]
        slope, intercept = groups.rescale
        has_lut = bool(head.get("ModalityLUTSequence"))
        yield DicomFrame(
            path,
            index,
            _uid(head, "SOPInstanceUID") or str(path),
            _uid(head, "SeriesInstanceUID"),
            about,
            _uid(head, "Modality"),
            _uid(head, "FrameOfReferenceUID"),
            _whole(head.get("InstanceNumber")),
            (int(head.Columns), int(head.Rows)),
            position if steps is not None else None,
            steps if position is not None else None,
            groups.spacing,
            is_colour,
            bits // 8 if (slope, intercept) == (1.0, 0.0) or is_colour else 4,
            (1.0, 0.0) if is_colour or has_lut else (slope, intercept),
            "LOCALIZER" in str(groups.tells.get("type", "")) + str(groups.tells.get("CT type", "")),
            count > 1,
            groups.tells | ({"file": path.name} if count > 1 else {}),
        )


class _Groups:
    """What holds for a frame: in its own groups, in the shared ones, or in the file."""

    def __init__(self, shared: Any, own: Any, head: Any) -> None:
        self._shared, self._own, self._head = shared, own, head
        self.position = numbers(self._value("PlanePositionSequence", "ImagePositionPatient"), 3)
        orientation = numbers(self._value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        spacing = numbers(self._value("PixelMeasuresSequence", "PixelSpacing"), 2)
        self.steps = plane_steps(orientation, spacing)
        rows_columns = next(
            (
                pair
                for key in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
                if (pair := spacing if key == "PixelSpacing" else numbers(head.get(key), 2)) is not None
                and (pair > 0).all()
            ),
            np.ones(2),
        )
        thick = [self._value("PixelMeasuresSequence", key) for key in ("SliceThickness", "SpacingBetweenSlices")]
        slices = next((abs(float(value)) for value in thick if value not in (None, "") and float(value) != 0), 1.0)
        self.spacing = (float(rows_columns[1]), float(rows_columns[0]), slices)

    def _value(self, sequence: str, keyword: str) -> Any:
        for groups in (self._own, self._shared):
            items = groups.get(sequence) if groups is not None else None
            if items and items[0].get(keyword) is not None:
                return items[0].get(keyword)
        detectors = self._head.get("DetectorInformationSequence")
        if self._head.get(keyword) is None and detectors:  # nuclear medicine
            return detectors[0].get(keyword)
        return self._head.get(keyword)

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept; those of a dose count as slope."""
        slope = self._value("PixelValueTransformationSequence", "RescaleSlope")
        slope = self._head.get("DoseGridScaling") if slope is None else slope
        intercept = self._value("PixelValueTransformationSequence", "RescaleIntercept")
        pair = numbers((1.0 if slope in (None, "") else slope, 0.0 if intercept in (None, "") else intercept), 2)
        return (float(pair[0]), float(pair[1])) if pair is not None and pair[0] != 0 else (1.0, 0.0)

    @property
    def tells(self) -> dict[str, str]:
        """What may tell the frame from others at its place."""
        found = {name: _text(self._head.get(keyword)) for name, keyword in _TELLS.items()}
        for name, (sequence, keyword) in _FRAME_TELLS.items():
            found[name] = _text(self._value(sequence, keyword)) or found.get(name, "")
        content = self._own.get("FrameContentSequence") if self._own is not None else None
        for n, value in enumerate(content[0].get("DimensionIndexValues") or () if content else ()):
            found[f"dimension {n + 1}"] = str(value)
        return {name: value for name, value in found.items() if value}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "/".join(map(str, value))


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _offsets(head: Any, count: int) -> np.ndarray | None:
    """(count, 3) mm from the first frame to each, where a file without groups says so."""
    groups = _Groups(None, None, head)
    if count == 1 or groups.steps is None:
        return None
    normal = np.cross(groups.steps[:, 0], groups.steps[:, 1])
    normal /= np.linalg.norm(normal)
    offsets = numbers(head.get("GridFrameOffsetVector"), count)
    if offsets is None and head.get("SpacingBetweenSlices") is not None:
        offsets = np.arange(count) * float(head.SpacingBetweenSlices)
    return None if offsets is None else np.outer(offsets - offsets[0], normal)


# --- voxels -------------------------------------------------------------------------------------------------


class Decoder:
    """The images of a file, one by one."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            DicomError: it cannot be read, or has no images.
        """
        self._path, self._data = path, read(path)
        if not any(keyword in self._data for keyword in _PIXELS):
            raise cut_off(path, "it ends before its image")
        self._from_gdcm: np.ndarray | None = None

    def frame(self, index: int) -> np.ndarray:
        """Stored values, (rows, columns) or (rows, columns, 3).

        Raises:
            DicomError: it cannot be decoded.
        """
        with explained(self._path):
            array = self._decoded(index)
            kind = str(self._data.get("PhotometricInterpretation", ""))
            if kind == "MONOCHROME1":  # the lowest value is the brightest
                highest = -1 if self._data.get("PixelRepresentation") else 2 ** int(self._data.BitsStored) - 1
                array = (highest - array.astype(np.int64)).astype(array.dtype)
            if kind == "PALETTE COLOR" and array.ndim == 2:
                array = self._painted(array)
            if self._data.get("ModalityLUTSequence"):
                from pydicom.pixels import apply_modality_lut

                array = apply_modality_lut(array, self._data)
            expected = (int(self._data.Rows), int(self._data.Columns))
        if array.shape[:2] != expected or array.shape[2:] not in ((), (3,)):
            raise DicomError(f"{self._path}: its image is {array.shape}, not {expected} as it says; export it again")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def _decoded(self, index: int) -> np.ndarray:
        from pydicom.pixels import pixel_array

        if self._data.BitsAllocated == 1 and not self._data.file_meta.TransferSyntaxUID.is_compressed:
            return self._bits(index)
        if self._from_gdcm is None:
            try:
                return pixel_array(self._data, index=index)
            except (RuntimeError, NotImplementedError):  # no decoder installed; SimpleITK brings some along
                if not self._data.file_meta.TransferSyntaxUID.is_compressed:
                    raise
                self._from_gdcm = self._by_gdcm()
        return self._from_gdcm[index]

    def _bits(self, index: int) -> np.ndarray:
        """A frame of bits, which need not begin with a byte."""
        shape = (int(self._data.Rows), int(self._data.Columns))
        first, count = index * shape[0] * shape[1], shape[0] * shape[1]
        packed = np.frombuffer(self._data.PixelData, np.uint8)[first // 8 : (first + count + 7) // 8]
        bits = np.unpackbits(packed, bitorder="little")[first % 8 :][:count]
        if len(bits) < count:
            raise cut_off(self._path, "it ends within its images")
        return bits.reshape(shape)

    def _by_gdcm(self) -> np.ndarray:
        """All frames, (frames, rows, columns[, 3]), as SimpleITK decodes them, without any rescaling."""
        import SimpleITK
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, RLELossless, generate_uid

        if self._data.file_meta.TransferSyntaxUID == RLELossless:
            raise DicomError(f"{self._path}: its run-length encoded image is damaged; export it again")
        bare = Dataset()
        bare.file_meta = FileMetaDataset()
        bare.file_meta.TransferSyntaxUID = self._data.file_meta.TransferSyntaxUID
        bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
        bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        for keyword in _NEEDED_FOR_DECODING:
            if keyword in self._data:
                bare[keyword] = self._data[keyword]
        if bare.PhotometricInterpretation == "MONOCHROME1":
            bare.PhotometricInterpretation = "MONOCHROME2"  # it is turned around here, once
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "a.dcm"
            bare.save_as(file, enforce_file_format=True)
            array = SimpleITK.GetArrayFromImage(executed(self._path, lambda: SimpleITK.ReadImage(str(file))))
        count = int(self._data.get("NumberOfFrames") or 1)
        if array.shape[0] != count:
            raise DicomError(f"{self._path}: {array.shape[0]} of its {count} images can be decoded; export it again")
        return array

    def _painted(self, indices: np.ndarray) -> np.ndarray:
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(indices, self._data)
        return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
