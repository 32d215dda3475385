"""The header of Slicer's .seg.nrrd: what it says of each segment, read and written.

The header is written here rather than by an image library, because only so do overlapping segments become a list
of layers ("list domain domain domain") as Slicer writes and reads them.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from SAMMed2DLib.io.volume import LPS_TO_RAS, Volume, VolumeError

Place = tuple[int, int]  # (layer, value in that layer)
# Told apart also by most colour-blind readers, and on grey; used in this order where no colour is given.
SEGMENT_COLORS = (
    (0.90, 0.62, 0.00), (0.34, 0.71, 0.91), (0.00, 0.62, 0.45), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65),
    (0.84, 0.37, 0.00), (0.00, 0.45, 0.70), (0.60, 0.88, 0.55), (0.72, 0.55, 0.98), (0.98, 0.60, 0.60),
)  # fmt: skip
TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^85756007^Tissue"
    "~^^~Anatomic codes - DICOM master list~^^~^^"
)
NEW_TAGS = f"Segmentation.Status:inprogress|TerminologyEntry:{TISSUE}|"
# Numbers that no reader takes for something else: NRRD's "int".
LARGEST_LABEL = 2**31 - 1
_KEY = re.compile(r"Segment(\d{1,6})_")
_TYPES = {"u1": "unsigned char", "u2": "unsigned short", "i4": "int"}


class SegmentationError(VolumeError):
    """A segmentation cannot be written or read; the message says why, and what to do."""


@dataclass(frozen=True)
class Segment:
    """Name and colour of a segment, and what a file that it was read from knew of it besides.

    Attributes:
        name: as Slicer shows it.
        color: red, green, blue in 0..1; None takes the next of SEGMENT_COLORS.
        identifier: by which Slicer and its scripts find it; empty for a new one.
        tags: Slicer's, as in the file: terminology, status and others; empty for those of a new segment.
        is_name_auto: Slicer made the name and may change it with the terminology.
        is_color_auto: Slicer made the colour.
        label_value: its number in the file; None for the next free one.
    """

    name: str
    color: tuple[float, float, float] | None = None
    identifier: str = field(default="", compare=False)
    tags: str = field(default="", compare=False)
    is_name_auto: bool = field(default=False, compare=False)
    is_color_auto: bool = field(default=False, compare=False)
    label_value: int | None = field(default=None, compare=False)


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

    def masks(self) -> Iterator[np.ndarray]:
        """(K, J, I) bool of each segment, one after the other."""
        return (self.layers_lkji[layer] == value for layer, value in self.places)

    def mask(self, name: str) -> np.ndarray:
        """(K, J, I) bool: the voxels of the segment of this name.

        Raises:
            SegmentationError: there is no such segment.
        """
        for segment, (layer, value) in zip(self.segments, self.places, strict=True):
            if segment.name == name:
                return self.layers_lkji[layer] == value
        raise SegmentationError(f"no segment {name!r}; there are: {', '.join(s.name for s in self.segments)}")


def label_dtype(highest: int) -> np.dtype:
    """The smallest type that readers of label maps know for numbers up to this one."""
    return np.dtype("u1" if highest < 256 else "u2" if highest < 65536 else "i4")


# --- writing ------------------------------------------------------------------------------------------------


def write_slicer(
    path: Path,
    layers: Sequence[np.ndarray],
    places: Sequence[Place],
    volume: Volume,
    segments: Sequence[Segment],
    metadata: Mapping[str, str],
) -> None:
    """Write a .seg.nrrd.

    Args:
        path: of the file.
        layers: (K, J, I) of a type of `label_dtype`, at least one.
        places: for each segment its layer and its value there.
        volume: the image that was segmented.
        segments: their names, colours and so on.
        metadata: more lines of the header, by their keys.
    """
    lines = [*_nrrd_header(layers, volume), *_segment_lines(layers, places, segments), *_segmentation_lines(volume)]
    lines += [f"{key}:={_escaped(text)}" for key, text in metadata.items()]
    little_endian = layers[0].dtype.newbyteorder("<")
    with open(path, "wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode())
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=6) as payload:
            for k in range(len(layers[0])):  # slice by slice, the layer being the fastest axis
                voxels = np.stack([layer[k] for layer in layers], axis=-1)
                payload.write(voxels.astype(little_endian).tobytes())


def _nrrd_header(layers: Sequence[np.ndarray], volume: Volume) -> list[str]:
    ijk_to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    several = len(layers) > 1
    sizes = " ".join(str(n) for n in ([len(layers)] if several else []) + list(volume.size_ijk))
    directions = " ".join(_vector(ijk_to_lps[:3, axis]) for axis in range(3))
    return [
        "NRRD0004",
        "# A segmentation for 3D Slicer",
        f"type: {_TYPES[layers[0].dtype.str[1:]]}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        f"space directions: {'none ' if several else ''}{directions}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(ijk_to_lps[:3, 3])}",
    ]


def _segment_lines(layers: Sequence[np.ndarray], places: Sequence[Place], segments: Sequence[Segment]) -> Iterable[str]:
    # Slicer cuts a whole layer by the extents of its segments: those of one layer must be the same.
    extents = [_extent(layer) for layer in layers]
    identifiers = _identifiers(segments)
    for n, (segment, (layer, value)) in enumerate(zip(segments, places, strict=True)):
        fields = {
            "Color": " ".join(f"{c:.6g}" for c in segment.color or SEGMENT_COLORS[0]),
            "ColorAutoGenerated": int(segment.is_color_auto),
            "Extent": extents[layer],
            "ID": _escaped(identifiers[n]),
            "LabelValue": value,
            "Layer": layer,
            "Name": _escaped(segment.name),
            "NameAutoGenerated": int(segment.is_name_auto),
            "Tags": _escaped(segment.tags or NEW_TAGS),
        }
        yield from (f"Segment{n}_{key}:={text}" for key, text in fields.items())


def _identifiers(segments: Sequence[Segment]) -> list[str]:
    """Those that segments have, the first of each; free ones for the others."""
    given = {segment.identifier for segment in segments}
    identifiers: list[str] = []
    for n, segment in enumerate(segments, 1):
        identifier = segment.identifier
        if not identifier or identifier in identifiers:
            free = (f"Segment_{number}" for number in count(n))
            identifier = next(name for name in free if name not in given and name not in identifiers)
        identifiers.append(identifier)
    return identifiers


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


# --- reading ------------------------------------------------------------------------------------------------


def segments_of_header(
    path: Path, header: Mapping[str, str], layers: int
) -> tuple[tuple[Segment, ...], tuple[Place, ...]] | None:
    """What a header says of its segments.

    Args:
        path: for the message.
        header: key/value pairs.
        layers: how many the file has.

    Returns:
        the segments, and for each its layer and its value there; None if the header tells of none.

    Raises:
        SegmentationError: a layer or a value is no number, or there is no such layer.
    """
    numbers = sorted({int(found[1]) for key in header if (found := _KEY.match(key))})
    segments, places = [], []
    for n in numbers:
        about = {key: header.get(f"Segment{n}_{key}", "") for key in ("Name", "ID", "Tags", "Color")}
        layer = _whole(path, header, f"Segment{n}_Layer", 0)
        if not 0 <= layer < layers:
            raise SegmentationError(
                f"{path}: Segment{n}_Layer is {layer}, the layers of the file are 0 to {layers - 1}; save the "
                "segmentation again in 3D Slicer"
            )
        value = _whole(path, header, f"Segment{n}_LabelValue", n + 1)
        segments.append(
            Segment(
                about["Name"] or f"Segment_{n + 1}",
                _color(about["Color"]),
                about["ID"],
                about["Tags"],
                header.get(f"Segment{n}_NameAutoGenerated", "").strip() == "1",
                header.get(f"Segment{n}_ColorAutoGenerated", "").strip() == "1",
                value,
            )
        )
        places.append((layer, value))
    return (tuple(segments), tuple(places)) if segments else None


def _whole(path: Path, header: Mapping[str, str], key: str, default: int) -> int:
    text = header.get(key, str(default)).strip()
    if not re.fullmatch(r"[+-]?\d{1,10}", text, re.ASCII) or abs(int(text)) > LARGEST_LABEL:
        raise SegmentationError(
            f"{path}: {key} is {text[:40]!r} and should be a whole number; correct the header, or save the "
            "segmentation again in 3D Slicer"
        )
    return int(text)


def _color(text: str) -> tuple[float, float, float] | None:
    """Three numbers from 0 to 1; None if they are not, so that the segment gets a colour of its own."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return None
    if len(numbers) != 3 or not all(math.isfinite(number) for number in numbers):
        return None
    red, green, blue = (min(max(number, 0.0), 1.0) for number in numbers)
    return red, green, blue
