"""A DICOM segmentation is read by its segments, and each frame goes where it says."""

from __future__ import annotations

import sys
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dicom_files import item, slice_file
from pydicom.dataset import Dataset

from SAMMed2DLib.io.segmentation_io import SegmentationError, placed, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import VolumeError, read_volume

RNG = np.random.default_rng(9)
# Of sRGB's green, L 87.73, a -86.18, b 83.18, as DICOM stores it.
GREEN_LAB = [57494, 10748, 54274]
SHAPE = (6, 5, 7)  # 35 pixels: a frame does not end with a byte
LIVER, SPLEEN = RNG.random(SHAPE) > 0.6, RNG.random(SHAPE) > 0.5
LIVER[[0, 4]], SPLEEN[[0, 5]] = False, False  # frames that are not stored


def a_segment(number: int, label: str, **fields: object) -> Dataset:
    data = Dataset()
    data.SegmentNumber, data.SegmentLabel, data.SegmentAlgorithmType = number, label, "MANUAL"
    for name, value in fields.items():
        setattr(data, name, value)
    return data


def a_segmentation(
    path: Path, masks: dict[int, np.ndarray], *, kind: str = "BINARY", spacing: float | None = 2.0, tilt_mm: float = 0.0
) -> Path:
    """Frames of all slices that are not empty, in no order; 2 mm apart, shifted in rows by the tilt."""
    places = [(number, int(k)) for number, mask in masks.items() for k in np.flatnonzero(mask.any(axis=(1, 2)))]
    places = [places[n] for n in RNG.permutation(len(places))]
    pixels = np.stack([masks[number][k] for number, k in places])
    data = dicom_files.empty_file("1.2.840.10008.5.1.4.1.1.66.4")
    data.Modality, data.SegmentationType = "SEG", kind
    if kind == "BINARY":
        dicom_files.set_pixels(data, pixels.astype(np.uint8))
        data.BitsAllocated = data.BitsStored = 1
        data.HighBit = 0
        packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        data.PixelData = packed + b"\0" * (len(packed) % 2)
    else:
        dicom_files.set_pixels(data, pixels.astype(np.uint8))
        data.MaximumFractionalValue = 255
    codes = {}
    for word, code, meaning in (("Category", "123037004", "Anatomical Structure"), ("Type", "10200004", "Liver")):
        codes[f"SegmentedProperty{word}CodeSequence"] = item(
            CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning=meaning
        )
    named = {1: a_segment(1, "liver", RecommendedDisplayCIELabValue=GREEN_LAB, **codes), 300: a_segment(300, "spleen")}
    data.SegmentSequence = [named[number] for number in masks]
    shared, own = Dataset(), []
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.75, 0.5])
    if spacing is not None:
        shared.PixelMeasuresSequence[0].SpacingBetweenSlices = spacing
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    for number, k in places:
        groups = Dataset()
        groups.PlanePositionSequence = item(ImagePositionPatient=[7, 8 + tilt_mm * k, 2.0 * k])
        groups.SegmentIdentificationSequence = item(ReferencedSegmentNumber=number)
        own.append(groups)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], own
    return dicom_files.write(path, data)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for k in range(6):
        slice_file(tmp_path / "ct" / f"{(5 * k) % 6}", RNG.integers(0, 99, SHAPE[1:]).astype(np.int16), (7, 8, 2 * k))
    return tmp_path / "ct"


@pytest.mark.parametrize("spacing", [2.0, None])
def test_segments_come_with_their_names_and_lie_where_their_frames_say(
    tmp_path: Path, images: Path, spacing: float | None
) -> None:
    path = a_segmentation(tmp_path / "seg.dcm", {1: LIVER, 300: SPLEEN}, spacing=spacing)
    drawn, volume = read_segmentation(path), read_volume(images)
    assert [s.name for s in drawn.segments] == ["liver", "spleen"]
    assert [s.label_value for s in drawn.segments] == [1, 300]
    on_image = placed(path, drawn, volume, [])
    np.testing.assert_array_equal(on_image.mask("liver"), LIVER)
    np.testing.assert_array_equal(on_image.mask("spleen"), SPLEEN)
    np.testing.assert_allclose(on_image.ijk_to_ras, volume.ijk_to_ras)


def test_keyframes_far_apart_are_placed_by_the_distance_of_slices(tmp_path: Path, images: Path) -> None:
    sparse = np.zeros(SHAPE, bool)
    sparse[[1, 5]] = SPLEEN[[1, 2]]
    path = a_segmentation(tmp_path / "seg.dcm", {1: sparse})
    np.testing.assert_array_equal(placed(path, read_segmentation(path), read_volume(images), []).mask("liver"), sparse)


def test_a_tilted_segmentation_is_sheared(tmp_path: Path) -> None:
    matrix = read_segmentation(a_segmentation(tmp_path / "s.dcm", {1: SPLEEN}, tilt_mm=0.3)).ijk_to_ras
    np.testing.assert_allclose(matrix[:, 2], [0, -0.3, 2, 0], atol=1e-9)


def test_colour_and_codes_are_kept_for_slicer(tmp_path: Path, images: Path) -> None:
    path = a_segmentation(tmp_path / "seg.dcm", {1: LIVER})
    volume = read_volume(images)
    drawn = placed(path, read_segmentation(path), volume, [])
    write_segmentation(tmp_path / "o.seg.nrrd", [drawn.mask("liver")], volume, drawn.segments)
    segment = read_segmentation(tmp_path / "o.seg.nrrd").segments[0]
    np.testing.assert_allclose(segment.color, [0, 1, 0], atol=0.01)
    assert "~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~" in segment.tags


def test_label_values_in_a_dicom_segmentation_are_segments(tmp_path: Path, images: Path) -> None:
    labels = np.where(LIVER, 1, np.where(SPLEEN, 2, 0)).astype(np.uint8)
    data = dicom_files.empty_file("1.2.840.10008.5.1.4.1.1.66.7")
    data.SegmentationType = "LABELMAP"
    dicom_files.set_pixels(data, labels)
    data.SegmentSequence = [a_segment(1, "liver"), a_segment(2, "spleen")]
    shared, own = Dataset(), []
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.75, 0.5], SliceThickness=2)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    for k in range(6):
        groups = Dataset()
        groups.PlanePositionSequence = item(ImagePositionPatient=[7, 8, 2.0 * k])
        own.append(groups)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], own
    path = dicom_files.write(tmp_path / "seg.dcm", data)
    drawn = placed(path, read_segmentation(path), read_volume(images), [])
    np.testing.assert_array_equal(drawn.mask("liver"), LIVER)
    np.testing.assert_array_equal(drawn.mask("spleen"), SPLEEN & ~LIVER)


def test_fractions_are_a_mask_only_if_they_are_nothing_or_all(tmp_path: Path) -> None:
    path = a_segmentation(tmp_path / "a.dcm", {1: LIVER * 255}, kind="FRACTIONAL")
    assert read_segmentation(path).layers_lkji.sum() == LIVER.sum()
    path = a_segmentation(tmp_path / "b.dcm", {1: LIVER * 100}, kind="FRACTIONAL")
    with pytest.raises(SegmentationError, match="holds probabilities"):
        read_segmentation(path)


def test_a_segmentation_is_no_image_and_an_image_no_segmentation(tmp_path: Path, images: Path) -> None:
    path = a_segmentation(tmp_path / "seg" / "a.dcm", {1: LIVER, 300: SPLEEN})
    for place in (path, path.parent):
        with pytest.raises(
            VolumeError, match=r"a DICOM segmentation \(liver, spleen\) and no image; give it as --mask"
        ):
            read_volume(place)
    with pytest.raises(SegmentationError, match="is a DICOM file, but no segmentation"):
        read_segmentation(images / "0")


def test_without_pydicom_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_segmentation(tmp_path / "a.dcm", {1: LIVER})
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(SegmentationError, match=r'pip install "sammed2d\[dicom\]"'):
        read_segmentation(path)
    with pytest.raises(VolumeError, match="a DICOM segmentation and no image"):
        read_volume(path)
