"""DICOM segmentations: segments with their names, colours and codes, placed by what each frame says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from SAMMed2DLib.io.dicom.frames import INSTALL, DicomFrame, other_kind
from SAMMed2DLib.io.dicom.pydicom_reader import Decoder, explained, frames_of, read
from SAMMed2DLib.io.dicom.stacks import UNEVEN_MM
from SAMMed2DLib.io.seg_nrrd import Place, Segment, Segmentation, SegmentationError, label_dtype
from SAMMed2DLib.io.volume import LPS_TO_RAS, checked_place, times
from SAMMed2DLib.system.memory import available_memory, in_gib

_MASTER = "Segmentation category and type - DICOM master list"
_ANATOMY = "Anatomic codes - DICOM master list"
_NO_CODE = "^^"


def read_segments(path: Path) -> Segmentation:
    """Read a DICOM segmentation, by frames of segments or by label values.

    Raises:
        SegmentationError: it is none, is one of probabilities, or does not say where its frames lie.
        DicomError: it is damaged.
    """
    if other_kind(path) != "a DICOM segmentation":
        raise SegmentationError(
            f"{path}: is a DICOM file, but no segmentation; give a DICOM SEG, .seg.nrrd or label map"
        )
    try:
        import pydicom.pixels
    except ImportError:
        raise SegmentationError(f"{path}: a DICOM segmentation needs pydicom to be read: {INSTALL}") from None
    del pydicom
    with explained(path):
        return _read(path)


def _read(path: Path) -> Segmentation:
    data = read(path)
    kind = str(data.get("SegmentationType", ""))
    frames = list(frames_of(path, data))
    owners = [_owner(path, data, frame.index) if kind != "LABELMAP" else 0 for frame in frames]
    described = {int(segment.SegmentNumber): segment for segment in data.get("SegmentSequence") or ()}
    if not described or not frames:
        raise SegmentationError(f"{path}: has no segments")
    numbers, ijk_to_lps = _slices(path, frames, _declared_spacing(data))
    decoder = Decoder(path)
    shape_kji = (max(numbers) + 1, frames[0].size[1], frames[0].size[0])
    _check_memory(path, shape_kji, max(described))
    stack = _Layers(shape_kji, max(described))
    for value in sorted(described):
        mine = [n for n, owner in enumerate(owners) if owner in (0, value)]
        mask = np.zeros(stack.shape_kji, bool)
        for n in mine:
            image = decoder.frame(frames[n].index)
            mask[numbers[n]] |= image == value if kind == "LABELMAP" else _is_inside(path, data, image)
        stack.add(mask, value)
    segments = tuple(_segment(described[value]) for value in sorted(described))
    ijk_to_ras = checked_place(path, LPS_TO_RAS @ ijk_to_lps)
    return Segmentation(segments, np.stack(stack.layers), tuple(stack.places), ijk_to_ras)


def _check_memory(path: Path, shape_kji: tuple[int, int, int], highest: int) -> None:
    """Refuse what does not fit: a layer, a mask, and the layer once more when all are put together."""
    needed, free = math.prod(shape_kji) * (2 * label_dtype(highest).itemsize + 1), available_memory()
    if free is not None and needed > free:
        size = times(shape_kji[::-1])
        raise SegmentationError(
            f"{path}: reading {size} voxels needs about {in_gib(needed)} of memory and {in_gib(free)} are free; close "
            "other programs, or save it as .seg.nrrd of a part"
        )


class _Layers:
    """Segments that do not overlap, together."""

    def __init__(self, shape_kji: tuple[int, int, int], highest: int) -> None:
        self.shape_kji, self._dtype = shape_kji, label_dtype(highest)
        self.layers: list[np.ndarray] = []
        self.places: list[Place] = []

    def add(self, mask: np.ndarray, value: int) -> None:
        number = next((n for n, layer in enumerate(self.layers) if not layer[mask].any()), len(self.layers))
        if number == len(self.layers):
            self.layers.append(np.zeros(self.shape_kji, self._dtype))
        self.layers[number][mask] = value
        self.places.append((number, value))


def _owner(path: Path, data: Any, index: int) -> int:
    """The number of the segment that a frame belongs to."""
    for groups in (data.PerFrameFunctionalGroupsSequence[index], *(data.get("SharedFunctionalGroupsSequence") or ())):
        if items := groups.get("SegmentIdentificationSequence"):
            return int(items[0].ReferencedSegmentNumber)
    raise SegmentationError(f"{path}: does not say to which segment its frame {index} belongs")


def _is_inside(path: Path, data: Any, image: np.ndarray) -> np.ndarray:
    """Of one segment; a fraction is no mask unless it is nothing or all."""
    highest = int(data.get("MaximumFractionalValue") or 1)
    if str(data.get("SegmentationType")) == "FRACTIONAL" and ((image != 0) & (image != highest)).any():
        raise SegmentationError(
            f"{path}: holds probabilities (a fractional segmentation), no masks; save it with a threshold as .seg.nrrd"
        )
    return image != 0


def _declared_spacing(data: Any) -> float | None:
    """The distance of slices, mm, if it is told."""
    names = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    for groups in (groups for name in names for groups in (data.get(name) or ())[:1]):
        for measures in groups.get("PixelMeasuresSequence") or ():
            told = (measures.get(name) for name in ("SpacingBetweenSlices", "SliceThickness"))
            if spacing := next((abs(float(value)) for value in told if value), None):
                return spacing
    return None


def _slices(path: Path, frames: list[DicomFrame], declared: float | None) -> tuple[list[int], np.ndarray]:
    """The slice of each frame, and (4, 4) ijk to LPS, mm."""
    first = frames[0]
    if any(frame.position_lps is None for frame in frames) or first.steps_lps is None:
        raise SegmentationError(f"{path}: does not say where all of its frames lie; save it as .seg.nrrd")
    positions = np.array([frame.position_lps for frame in frames])
    along = (positions - positions[0]) @ first.normal_lps
    start, end = positions[along.argmin()], positions[along.argmax()]
    heights = along - along.min()
    apart = np.diff(np.unique(np.round(heights, 3)))
    smallest = float(apart.min()) if apart.size else first.spacing[2]
    for spacing in (declared or smallest, smallest):
        numbers = np.rint(heights / spacing).astype(int)
        step = (end - start) / max(int(numbers.max()), 1) if heights.max() > 0 else first.normal_lps * spacing
        off = np.linalg.norm(positions - start - np.outer(numbers, step), axis=1).max()
        if off <= UNEVEN_MM * min(1.0, spacing) and len(np.unique(numbers)) == len(apart) + 1:
            ijk_to_lps = np.eye(4)
            ijk_to_lps[:3, :2], ijk_to_lps[:3, 2], ijk_to_lps[:3, 3] = first.steps_lps, step, start
            return numbers.tolist(), ijk_to_lps
    raise SegmentationError(f"{path}: its slices are no even stack; save it as .seg.nrrd on the grid of its image")


# --- what is told of a segment --------------------------------------------------------------------------------


def _segment(about: Any) -> Segment:
    number = int(about.SegmentNumber)
    lab = about.get("RecommendedDisplayCIELabValue")
    category, kind, modifier = (
        _code(about, f"SegmentedProperty{word}CodeSequence") for word in ("Category", "Type", "TypeModifier")
    )
    region, side = (_code(about, f"AnatomicRegion{word}Sequence") for word in ("", "Modifier"))
    codes = "~".join([_MASTER, category, kind, modifier, _ANATOMY, region, side])
    has_codes = category != _NO_CODE and kind != _NO_CODE
    return Segment(
        str(about.get("SegmentLabel") or f"Segment_{number}"),
        _srgb(lab) if lab is not None and len(lab) == 3 else None,
        tags=f"Segmentation.Status:completed|TerminologyEntry:{codes}|" if has_codes else "",
        label_value=number,
    )


def _code(about: Any, sequence: str) -> str:
    items = about.get(sequence)
    if not items:
        return _NO_CODE
    words = (items[0].get(name, "") for name in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning"))
    return "^".join(str(word).replace("^", " ").replace("~", " ").replace("|", " ") for word in words)


def _srgb(lab: Any) -> tuple[float, float, float]:
    """Red, green, blue in 0..1 of DICOM's CIELab, 16 bits each."""
    light, a, b = (float(value) / 65535 for value in lab)
    y = (100 * light + 16) / 116
    xyz = [_from_lab(y + (255 * a - 128) / 500) * 0.95047, _from_lab(y), _from_lab(y - (255 * b - 128) / 200) * 1.08883]
    linear = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]) @ xyz
    linear = linear.clip(0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(value), 4) for value in curved)
    return red, green, blue


def _from_lab(value: float) -> float:
    return value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29)
