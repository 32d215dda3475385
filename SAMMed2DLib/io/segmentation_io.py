"""Segmentations to and from files: Slicer's .seg.nrrd with names and colours, and plain label maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from SAMMed2DLib.imaging.grids import alignment
from SAMMed2DLib.io.dicom import looks_like_dicom
from SAMMed2DLib.io.dicom.segments import read_segments
from SAMMed2DLib.io.itk_io import write_image
from SAMMed2DLib.io.nifti import write_nifti
from SAMMed2DLib.io.seg_nrrd import (
    LARGEST_LABEL,
    SEGMENT_COLORS,
    Place,
    Segment,
    Segmentation,
    SegmentationError,
    label_dtype,
    segments_of_header,
    write_slicer,
)
from SAMMed2DLib.io.volume_io import LPS_TO_RAS, ImageFile, Volume, read_image
from SAMMed2DLib.system.files import PICTURE_SUFFIXES, StagedFiles, suffix_of
from SAMMed2DLib.system.formatting import counted

__all__ = [
    "LABELMAP_SUFFIXES",
    "SEGMENT_COLORS",
    "Place",
    "Segment",
    "Segmentation",
    "SegmentationError",
    "check_labels",
    "check_output_suffix",
    "label_values",
    "placed",
    "read_segmentation",
    "with_colors",
    "write_segmentation",
]

LABELMAP_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
PICTURE_SUFFIX = ".png"
LAYERED_SUFFIXES = (".seg.nrrd", ".nrrd", ".nhdr")
# A label map of so many values is looked at: whether they are labels, or grades of something.
_SUSPICIOUS_VALUES = 10
_RESAMPLE = (
    "give the image that it was drawn on, or resample it to this image (in 3D Slicer: Segmentations, export to a "
    "labelmap with this image as reference volume)"
)


def with_colors(segments: Sequence[Segment]) -> list[Segment]:
    """The same segments, those without a colour given the next one of SEGMENT_COLORS."""
    return [
        s if s.color is not None else replace(s, color=SEGMENT_COLORS[n % len(SEGMENT_COLORS)])
        for n, s in enumerate(segments)
    ]


def label_values(segments: Sequence[Segment]) -> list[int]:
    """The values of segments in a label map: those that they have, or 1, 2, … where these are not all different."""
    values = [s.label_value for s in segments if s.label_value is not None and 0 < s.label_value <= LARGEST_LABEL]
    return values if len(set(values)) == len(segments) else list(range(1, len(segments) + 1))


def write_segmentation(
    path: str | Path,
    masks: Iterable[np.ndarray],
    volume: Volume,
    segments: Sequence[Segment],
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write masks in the geometry of their image; the file appears whole or not at all.

    Args:
        path: .seg.nrrd (Slicer's, with all that is known of the segments, overlaps kept) or a label map: .nrrd,
            .nii.gz, .nii, .mha (with the values of `label_values`; where segments overlap the later one wins); or,
            of a 2D image, .png: the same values, but 255 for a single segment, so that it is seen.
        masks: one (K, J, I) bool array per segment; a generator keeps only one in memory at a time.
        volume: the image that was segmented.
        segments: their names, colours and so on.
        metadata: more lines of a header, by their keys; a label map has no place for them.

    Returns:
        number of voxels lost to a later segment: always 0 for a .seg.nrrd.

    Raises:
        SegmentationError: unknown suffix, no segment, or masks that do not fit the image.
    """
    suffix = check_output_suffix(path)
    check_output_fits(path, volume)
    if not segments:
        raise SegmentationError("there is no segment to write")
    checked = _checked_masks(masks, volume, len(segments))
    with StagedFiles() as staged:
        if suffix == ".seg.nrrd":
            layers, places = _layers(checked, volume, segments)
            write_slicer(staged.place(path), layers, places, volume, with_colors(segments), metadata or {})
            return 0
        is_single = suffix == PICTURE_SUFFIX and len(segments) == 1
        labels, lost = _labelmap(checked, volume, [255] if is_single else label_values(segments))
        _write_labelmap(staged.place(path), labels, volume)
        return lost


def check_output_suffix(path: str | Path) -> str:
    """The suffix of an output file, if a segmentation can be written with it.

    Raises:
        SegmentationError: it is none of the known ones.
    """
    suffix = suffix_of(path)
    if suffix not in (".seg.nrrd", *LABELMAP_SUFFIXES, PICTURE_SUFFIX):
        raise SegmentationError(
            f"{path}: cannot write a segmentation with this suffix; use .seg.nrrd (Slicer segmentation) or a "
            f"label map: {', '.join(LABELMAP_SUFFIXES)}, or of a 2D image {PICTURE_SUFFIX}"
        )
    return suffix


def check_output_fits(path: str | Path, volume: Volume) -> None:
    """Refuse a picture for the segmentation of an image that is none.

    Raises:
        SegmentationError: the image has several slices.
    """
    if suffix_of(path) == PICTURE_SUFFIX and volume.array.shape[0] > 1:
        raise SegmentationError(
            f"{path}: a picture holds one slice, and the image has {volume.array.shape[0]}; use .seg.nrrd or a label "
            f"map: {', '.join(LABELMAP_SUFFIXES)}"
        )


def read_segmentation(path: str | Path) -> Segmentation:
    """Read a Slicer .seg.nrrd, a DICOM segmentation, or a label map (whose values become segments named after them).

    Raises:
        VolumeError: the file is missing or unreadable.
        SegmentationError: its values are no labels, or its header contradicts itself.
    """
    path = Path(path)
    if path.is_file() and looks_like_dicom(path):
        return read_segments(path)
    file = read_image(path)
    layers = _labels(path, _layers_lkji(path, file))
    told = segments_of_header(path, file.metadata, len(layers))
    segments, places = told or _segments_of_values(path, layers)
    return Segmentation(segments, layers, places, file.ijk_to_ras)


def placed(path: str | Path, drawn: Segmentation, volume: Volume, notes: list[str]) -> Segmentation:
    """Bring a segmentation onto the grid of its image, by their places in the patient.

    Parts of the image, frames larger than it, and axes stored in another order or direction are taken.

    Args:
        path: for the messages.
        drawn: what was read.
        volume: the image.
        notes: what a user should know is added to them.

    Raises:
        SegmentationError: it lies beside the image, or its voxels are not voxels of the image.
    """
    size = drawn.layers_lkji.shape[:0:-1]
    if suffix_of(path) in PICTURE_SUFFIXES and size[2] == 1:  # it lies nowhere in the patient
        if size != volume.size_ijk:
            own, image = (" x ".join(map(str, lengths)) for lengths in (size[:2], volume.size_ijk))
            raise SegmentationError(f"{path}: is {own} px and the image {image}; give a mask of the image's size")
        return replace(drawn, ijk_to_ras=volume.ijk_to_ras)
    found = alignment(size, drawn.ijk_to_ras, volume.ijk_to_ras)
    if found is None:
        raise SegmentationError(f"{path}: {_why_not(drawn, volume)}; {_RESAMPLE}")
    if found.is_identity and size == volume.size_ijk:
        return drawn
    if size == volume.size_ijk and found.axes == (0, 1, 2) and found.signs == (1, 1, 1):
        notes.append(f"{path}: has the image's size but begins at its voxel {found.offset_ijk}, where it is placed")
    layers = np.stack([found.place(layer, volume.size_ijk) for layer in drawn.layers_lkji])
    lost = np.count_nonzero(drawn.layers_lkji) - np.count_nonzero(layers)
    if lost and not layers.any():
        raise SegmentationError(f"{path}: lies beside the image, none of it is within; {_RESAMPLE}")
    if lost:
        notes.append(f"{path}: {counted(int(lost), 'voxel')} beyond the edge of the image left out")
    return replace(drawn, layers_lkji=layers, ijk_to_ras=volume.ijk_to_ras)


def _why_not(drawn: Segmentation, volume: Volume) -> str:
    shift = _of_same_steps(drawn, volume)
    if shift is not None:
        return f"its voxels lie {shift:.3g} mm beside those of the image"
    own, sides = (" x ".join(f"{n:.4g}" for n in spacing) for spacing in (_sides(drawn.ijk_to_ras), volume.spacing_mm))
    if own != sides:
        return f"its voxels are of {own} mm and those of the image of {sides} mm"
    return "its axes are turned against those of the image"


def _of_same_steps(drawn: Segmentation, volume: Volume) -> float | None:
    """How far its first voxel is from the nearest of the image's, mm; None if the grids are of different steps."""
    size = drawn.layers_lkji.shape[:0:-1]
    at_voxel = drawn.ijk_to_ras.copy()
    at_voxel[:, 3] = volume.ijk_to_ras[:, 3]
    if alignment(size, at_voxel, volume.ijk_to_ras) is None:
        return None
    start_ijk = np.linalg.solve(volume.ijk_to_ras, drawn.ijk_to_ras[:, 3])[:3]
    return float(np.linalg.norm(volume.ijk_to_ras[:3, :3] @ (start_ijk - np.rint(start_ijk))))


def _sides(ijk_to_ras: np.ndarray) -> np.ndarray:
    return np.linalg.norm(ijk_to_ras[:3, :3], axis=0)


# --- what was read, as labels -------------------------------------------------------------------------------


def _layers_lkji(path: Path, file: ImageFile) -> np.ndarray:
    """(L, K, J, I) of what a file holds; several values per voxel are layers, unless they are colours."""
    array = file.array
    if file.components > 1:
        if file.metadata.get("NRRD_kinds[pixel]") != "list" and suffix_of(path) not in LAYERED_SUFFIXES:
            raise SegmentationError(
                f"{path}: is a picture in colour; save its labels as grey values, 0 for what is beside all of them"
            )
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 4 and file.metadata.get("NRRD_kinds[3]") != "list":
        raise SegmentationError(f"{path}: is a 4D image of {len(array)} frames; save the frame that is meant in a file")
    elif array.ndim < 4:
        array = array[np.newaxis]
    return np.ascontiguousarray(array if array.ndim == 4 else array[:, np.newaxis])


def _labels(path: Path, values: np.ndarray) -> np.ndarray:
    """The same as integers, which floats are if all of them are whole numbers."""
    if values.dtype.kind in "iu":
        return values
    if values.dtype.kind != "f" or not np.isfinite(values).all() or not (whole := np.rint(values) == values).all():
        fractions = int(values.size - whole.sum()) if values.dtype.kind == "f" and np.isfinite(values).all() else 0
        what = f"{fractions} of its values are no whole numbers" if fractions else "its values are not integers"
        raise SegmentationError(f"{path}: {what}, so it is no segmentation; a probability map needs a threshold first")
    if np.abs(values).max(initial=0) > LARGEST_LABEL:
        raise SegmentationError(f"{path}: has the value {np.abs(values).max():g}, so it is no segmentation")
    return values.astype(np.int32)


def _segments_of_values(path: Path, layers: np.ndarray) -> tuple[tuple[Segment, ...], tuple[Place, ...]]:
    places: list[Place] = []
    for n, layer in enumerate(layers):
        values = [int(value) for value in np.unique(layer) if value != 0]
        check_labels(path, layer, values)
        places += [(n, value) for value in values]
    return tuple(Segment(f"Segment_{value}", label_value=value) for _, value in places), tuple(places)


def check_labels(path: str | Path, layer_kji: np.ndarray, values: Sequence[int]) -> None:
    """Refuse grades of something, such as a probability map or a mask with soft edges, as labels.

    Labels lie in patches; of grades, most are met only where they go over into others.

    Args:
        path: for the message.
        layer_kji: (K, J, I) integers.
        values: those that are in it, without 0.

    Raises:
        SegmentationError: most of many values have mostly neighbours of other values.
    """
    if len(values) < _SUSPICIOUS_VALUES:
        return
    alike, other = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    for labels_ji in layer_kji:
        numbers = np.searchsorted(values, labels_ji).clip(max=len(values) - 1)
        for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
            labelled = (labels_ji[here] != 0) & (labels_ji[there] != 0)
            same = labels_ji[here] == labels_ji[there]
            alike += 2 * np.bincount(numbers[here][labelled & same], minlength=len(values))
            for side in (here, there):
                other += np.bincount(numbers[side][labelled & ~same], minlength=len(values))
    if np.count_nonzero(other > alike) > len(values) / 2:
        raise SegmentationError(
            f"{path}: its {len(values)} values are grades, not labels: they go over into one another, as in a "
            "probability map, a mask with soft edges or a JPEG; save it with a threshold, as 0 and 1"
        )


# --- masks to layers and label maps -------------------------------------------------------------------------


def _checked_masks(masks: Iterable[np.ndarray], volume: Volume, count: int) -> Iterable[np.ndarray]:
    shape, seen = volume.array.shape[:3], 0
    for mask in masks:
        if mask.shape != shape:
            own, image = (" x ".join(map(str, reversed(lengths))) for lengths in (mask.shape, shape))
            raise SegmentationError(f"a mask has {own} voxels, the image {image}; give masks of this image")
        seen += 1
        yield mask.astype(bool, copy=False)
    if seen != count:
        raise SegmentationError(f"{seen} masks for {count} segments; give one mask per segment")


def _layers(
    masks: Iterable[np.ndarray], volume: Volume, segments: Sequence[Segment]
) -> tuple[list[np.ndarray], list[Place]]:
    """Every mask in the first layer where it overlaps nothing, with its own value where that is free."""
    given = [s.label_value or 0 for s in segments]
    highest = max(0, *(value for value in given if value <= LARGEST_LABEL - len(segments)))
    dtype = label_dtype(highest if highest and len(set(given)) == len(given) > given.count(0) else highest + len(given))
    layers: list[np.ndarray] = []
    used: list[set[int]] = []
    places: list[Place] = []
    for mask, wanted in zip(masks, chain(given, repeat(0)), strict=False):  # `masks` counts itself
        layer = next((n for n, taken in enumerate(layers) if not (taken[mask] != 0).any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(volume.array.shape[:3], dtype))
            used.append(set())
        free = 0 < wanted <= highest and wanted not in used[layer]
        value = wanted if free else max(used[layer], default=0) + 1
        used[layer].add(value)
        layers[layer][mask] = value
        places.append((layer, value))
    return layers, places


def _labelmap(masks: Iterable[np.ndarray], volume: Volume, values: Sequence[int]) -> tuple[np.ndarray, int]:
    labels, lost = np.zeros(volume.array.shape[:3], label_dtype(max(values))), 0
    for mask, value in zip(masks, chain(values, repeat(0)), strict=False):
        lost += int((labels[mask] != 0).sum())
        labels[mask] = value
    return labels, lost


def _write_labelmap(path: Path, labels: np.ndarray, volume: Volume) -> None:
    if suffix_of(path) in (".nii", ".nii.gz"):
        write_nifti(path, labels, volume.ijk_to_ras)
        return
    import SimpleITK

    if suffix_of(path) == PICTURE_SUFFIX:
        picture = labels[0].astype(np.uint8 if labels.max() < 256 else np.uint16)
        write_image(SimpleITK.GetImageFromArray(picture), path)
        return
    image = SimpleITK.GetImageFromArray(labels)
    ijk_to_lps = LPS_TO_RAS @ volume.ijk_to_ras
    image.SetSpacing(volume.spacing_mm.tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / volume.spacing_mm).ravel().tolist())
    write_image(image, path)
