"""Segmentations to and from files: Slicer's .seg.nrrd with names and colours, and plain label maps.

The .seg.nrrd header is written here rather than by an image library, because only so do overlapping segments
become a list of layers ("list domain domain domain") as Slicer writes and reads them.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .files import StagedFiles, suffix_of
from .volume_io import LPS_TO_RAS, Volume, VolumeError, read_header, read_image

Place = tuple[int, int]  # (layer, value in that layer)
LABELMAP_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
# Told apart also by most colour-blind readers, and on grey; used in this order where no colour is given.
SEGMENT_COLORS = (
    (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00), (0.00, 0.45, 0.70), (0.60, 0.88, 0.55), (0.72, 0.55, 0.98), (0.98, 0.60, 0.60),
)  # fmt: skip
TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue"
    "~^^~Anatomic codes - DICOM master list~^^~^^"
)


class SegmentationError(VolumeError):
    """A segmentation cannot be written or read; the message says why, and what to do."""


@dataclass(frozen=True)
class Segment:
    """Name and colour of a segment.

    Attributes:
        name: as Slicer shows it.
        color: red, green, blue in 0..1; None takes the next of SEGMENT_COLORS.
    """

    name: str
    color: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation that was read.

    Attributes:
        segments: names and colours.
        layers_lkji: (L, K, J, I) integers; segments of one layer do not overlap.
        places: for each segment its layer and its value there.
        ijk_to_ras: (4, 4) float64, mm.
    """

    segments: tuple[Segment, ...]
    layers_lkji: np.ndarray
    places: tuple[Place, ...]
    ijk_to_ras: np.ndarray

    def mask(self, name: str) -> np.ndarray:
        """(K, J, I) bool: the voxels of the segment of this name.

        Raises:
            SegmentationError: there is no such segment.
        """
        for segment, (layer, value) in zip(self.segments, self.places, strict=True):
            if segment.name == name:
                return self.layers_lkji[layer] == value
        raise SegmentationError(f"no segment {name!r}; there are: {', '.join(s.name for s in self.segments)}")


def with_colors(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments, those without a colour given the next one of SEGMENT_COLORS."""
    return [
        Segment(s.name, s.color if s.color is not None else SEGMENT_COLORS[n % len(SEGMENT_COLORS)])
        for n, s in enumerate(segments)
    ]


def write_segmentation(
    path: str | Path, masks: Iterable[np.ndarray], volume: Volume, segments: Sequence[Segment]
) -> int:
    """Write masks in the geometry of their image; the file appears whole or not at all.

    Args:
        path: .seg.nrrd (Slicer's, with names and colours, overlaps kept) or a label map: .nrrd, .nii.gz,
            .nii, .mha (values 1, 2, … in the order of the segments; where they overlap the later one wins).
        masks: one (K, J, I) bool array per segment; a generator keeps only one in memory at a time.
        volume: the image that was segmented.
        segments: their names and colours.

    Returns:
        number of voxels lost to a later segment: always 0 for a .seg.nrrd.

    Raises:
        SegmentationError: unknown suffix, no segment, or masks that do not fit the image.
    """
    suffix = check_output_suffix(path)
    if not segments:
        raise SegmentationError("there is no segment to write")
    checked = _checked_masks(masks, volume, len(segments))
    with StagedFiles() as staged:
        if suffix == ".seg.nrrd":
            layers, places = _layers(checked, volume, len(segments))
            _write_slicer(staged.place(path), layers, places, volume, with_colors(segments))
            return 0
        labels, lost = _labelmap(checked, volume, len(segments))
        _write_labelmap(staged.place(path), labels, volume)
        return lost


def check_output_suffix(path: str | Path) -> str:
    """The suffix of an output file, if a segmentation can be written with it.

    Raises:
        SegmentationError: it is none of the known ones.
    """
    suffix = suffix_of(path)
    if suffix not in (".seg.nrrd", *LABELMAP_SUFFIXES):
        raise SegmentationError(
            f"{path}: cannot write a segmentation with this suffix; use .seg.nrrd (Slicer segmentation) or a "
            f"label map: {', '.join(LABELMAP_SUFFIXES)}"
        )
    return suffix


def read_segmentation(path: str | Path) -> Segmentation:
    """Read a Slicer .seg.nrrd, or a label map (whose values become segments named after them).

    Raises:
        VolumeError: the file is missing or unreadable.
        SegmentationError: its voxels are not integers.
    """
    path = Path(path)
    image, ijk_to_ras, array = read_image(path)
    if not np.issubdtype(array.dtype, np.integer):
        raise SegmentationError(f"{path}: its values are not integers, so it is no segmentation")
    if image.GetNumberOfComponentsPerPixel() > 1:
        layers = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    else:
        layers = array[np.newaxis]
    segments, places = _segments_of_header(read_header(path)) or _segments_of_values(layers)
    return Segmentation(segments, layers, places, ijk_to_ras)


# --- masks to layers and label maps -------------------------------------------------------------------------


def _checked_masks(masks: Iterable[np.ndarray], volume: Volume, count: int) -> Iterable[np.ndarray]:
    shape, seen = volume.array.shape[:3], 0
    for mask in masks:
        if mask.shape != shape:
            raise SegmentationError(f"a mask has shape {mask.shape}, the image has {shape} (K, J, I)")
        seen += 1
        yield mask.astype(bool, copy=False)
    if seen != count:
        raise SegmentationError(f"{seen} masks for {count} segments; give one mask per segment")


def _layers(masks: Iterable[np.ndarray], volume: Volume, count: int) -> tuple[list[np.ndarray], list[Place]]:
    """Every mask in the first layer where it overlaps nothing."""
    dtype = np.uint8 if count < 256 else np.uint16
    layers: list[np.ndarray] = []
    used: list[int] = []
    places: list[Place] = []
    for mask in masks:
        layer = next((n for n, taken in enumerate(layers) if not (taken[mask] != 0).any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(volume.array.shape[:3], dtype))
            used.append(0)
        used[layer] += 1
        layers[layer][mask] = used[layer]
        places.append((layer, used[layer]))
    return layers, places


def _labelmap(masks: Iterable[np.ndarray], volume: Volume, count: int) -> tuple[np.ndarray, int]:
    labels, lost = np.zeros(volume.array.shape[:3], np.uint8 if count < 256 else np.uint16), 0
    for value, mask in enumerate(masks, 1):
        lost += int((labels[mask] != 0).sum())
        labels[mask] = value
    return labels, lost


def _write_labelmap(path: Path, labels: np.ndarray, volume: Volume) -> None:
    import SimpleITK

    image = SimpleITK.GetImageFromArray(labels)
    ijk_to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / volume.spacing_mm).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=True)


# --- .seg.nrrd ----------------------------------------------------------------------------------------------


def _write_slicer(
    path: Path,
    layers: list[np.ndarray],
    places: list[Place],
    volume: Volume,
    segments: Sequence[Segment],
) -> None:
    lines = [
        *_nrrd_header(layers, volume),
        *_segment_lines(layers, places, segments),
        *_segmentation_lines(volume),
    ]
    little_endian = layers[0].dtype.newbyteorder("<")
    with open(path, "wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as payload:
            for k in range(len(layers[0])):  # slice by slice, the layer being the fastest axis
                voxels = np.stack([layer[k] for layer in layers], axis=-1)
                payload.write(voxels.astype(little_endian).tobytes())


def _nrrd_header(layers: list[np.ndarray], volume: Volume) -> list[str]:
    ijk_to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    several = len(layers) > 1
    sizes = " ".join(str(n) for n in ([len(layers)] if several else []) + list(volume.size_ijk))
    directions = " ".join(_vector(ijk_to_lps[:3, axis]) for axis in range(3))
    return [
        "NRRD0004",
        "# A segmentation for 3D Slicer",
        f"type: {'unsigned char' if layers[0].dtype == np.uint8 else 'unsigned short'}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if several else ''}{directions}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(ijk_to_lps[:3, 3])}",
    ]


def _segment_lines(layers: list[np.ndarray], places: list[Place], segments: Sequence[Segment]) -> Iterable[str]:
    # Slicer cuts a whole layer by the extents of its segments: those of one layer must be the same.
    extents = [_extent(layer) for layer in layers]
    for n, (segment, (layer, value)) in enumerate(zip(segments, places, strict=True)):
        fields = {
            "Color": " ".join(f"{c:.6g}" for c in segment.color or SEGMENT_COLORS[0]),
            "ColorAutoGenerated": 0,
            "Extent": extents[layer],
            "ID": f"Segment_{n + 1}",
            "LabelValue": value,
            "Layer": layer,
            "Name": _escaped(segment.name),
            "NameAutoGenerated": 0,
            "Tags": f"Segmentation.Status:inprogress|TerminologyEntry:{TISSUE}|",
        }
        yield from (f"Segment{n}_{key}:={text}" for key, text in fields.items())


def _segmentation_lines(volume: Volume) -> list[str]:
    matrix = "".join(f"{_number(v)};" for v in volume.ijk_to_ras.ravel())
    extent = "".join(f"0;{n - 1};" for n in volume.size_ijk)
    return [
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        f"Segmentation_ConversionParameters:=Reference image geometry|{matrix}{extent}|The segmented image.&",
        "Segmentation_MasterRepresentation:=Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset:=0 0 0",
    ]


def _extent(layer: np.ndarray) -> str:
    """Bounds of what is not zero, as Slicer writes them: i0 i1 j0 j1 k0 k1, both ends included."""
    words = []
    for axes in ((0, 1), (0, 2), (1, 2)):
        used = np.flatnonzero(layer.any(axis=axes))
        words += [str(used[0]), str(used[-1])] if used.size else ["0", "-1"]
    return " ".join(words)


def _number(value: float) -> str:
    return repr(float(value) + 0.0)  # shortest text that reads back as the same number; + 0.0 for -0.0


def _vector(values: np.ndarray) -> str:
    return "(" + ",".join(_number(v) for v in values) + ")"


def _escaped(text: str) -> str:
    """NRRD's own escapes: one line per value."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "")


def _segments_of_header(
    header: dict[str, str],
) -> tuple[tuple[Segment, ...], tuple[Place, ...]] | None:
    numbers = sorted({int(found[1]) for key in header if (found := re.match(r"Segment(\d+)_", key))})
    segments, places = [], []
    for n in numbers:
        color = [float(c) for c in header.get(f"Segment{n}_Color", "").split()]
        name = header.get(f"Segment{n}_Name", f"Segment_{n + 1}")
        segments.append(Segment(name, (color[0], color[1], color[2]) if len(color) == 3 else None))
        layer, value = header.get(f"Segment{n}_Layer", 0), header.get(f"Segment{n}_LabelValue", n + 1)
        places.append((int(layer), int(value)))
    return (tuple(segments), tuple(places)) if segments else None


def _segments_of_values(layers: np.ndarray) -> tuple[tuple[Segment, ...], tuple[Place, ...]]:
    places = tuple((n, int(v)) for n, layer in enumerate(layers) for v in np.unique(layer) if v != 0)
    return tuple(Segment(f"Segment_{value}") for _, value in places), places
