"""DICOM becomes the volume that the files tell of, whatever their names and order; or a choice; or a refusal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dicom_files
import numpy as np
import pytest
import SimpleITK
from dicom_files import MR, PET, enhanced_file, item, slice_file
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from SAMMed2DLib.io.volume_io import Volume, VolumeError, read_volume

RNG = np.random.default_rng(5)
NAMES = [71, 3, 55, 18, 90, 42, 7, 66, 29, 84, 12, 37]  # as UIDs are: in no order
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
Read = Callable[..., Volume]


@pytest.fixture(params=["pydicom", "SimpleITK alone"])
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Reads with pydicom, and as if it were not installed."""

    def run(path: Path, **choice: object) -> Volume:
        with monkeypatch.context() as patched:
            if request.param != "pydicom":
                patched.setitem(sys.modules, "pydicom", None)
            return read_volume(path, **choice)

    return run


def images(count: int, size: tuple[int, int] = (4, 5)) -> np.ndarray:
    """(count, 4, 5) int16, no two alike."""
    return RNG.integers(-500, 500, (count, *size)).astype(np.int16)


def series(
    folder: Path, array: np.ndarray, z_mm: list[float], prefix: str = "", first: int = 1, **fields: object
) -> None:
    """Slices at these heights, under shuffled names."""
    for n, z in enumerate(z_mm):
        slice_file(folder / f"{prefix}{NAMES[n]:02d}.dcm", array[n], (7, 8, z), number=first + n, **fields)


def matrix(steps: np.ndarray, origin: tuple[float, ...]) -> np.ndarray:
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3], ijk_to_lps[:3, 3] = steps, origin
    return LPS @ ijk_to_lps


# --- plain series ---------------------------------------------------------------------------------------------


def test_slices_come_in_the_order_of_their_places(tmp_path: Path, read: Read) -> None:
    array = images(12)
    series(tmp_path / "ct", array, [2.0 * k for k in range(12)])
    volume = read(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix(np.diag([0.5, 0.75, 2.0]), (7, 8, 0)), atol=1e-9)
    assert (volume.name, volume.notes, volume.array.dtype) == ("ct", (), np.int16)


def test_slices_that_are_numbered_from_the_head_down_are_turned_around(tmp_path: Path, read: Read) -> None:
    array = images(5)
    series(tmp_path, array, [-3.0 * k for k in range(5)])
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array[::-1])
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], [-7, -8, -12])


def test_an_oblique_series_lies_where_its_files_say(tmp_path: Path, read: Read) -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    array = images(4)
    for k in range(4):
        position = np.array([10, -20, 30]) + 2.5 * k * rotation[:, 2]
        slice_file(tmp_path / f"{NAMES[k]}", array[k], position, orientation=rotation.T[:2].ravel())
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix(rotation * [0.5, 0.75, 2.5], (10, -20, 30)), atol=1e-6)
    assert volume.notes == ()


def test_a_gantry_tilt_is_a_sheared_volume(tmp_path: Path, read: Read) -> None:
    angle = np.radians(20)
    down = np.array([0, np.cos(angle), np.sin(angle)])  # rows, tilted against the table, along which slices follow
    array = images(6)
    for k in range(6):
        slice_file(tmp_path / f"{NAMES[k]}", array[k], (1, 2, 5.0 * k), orientation=(1, 0, 0, *down))
    volume = read(tmp_path)
    expected = matrix(np.column_stack([[0.5, 0, 0], 0.75 * down, [0, 0, 5]]), (1, 2, 0))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras, expected, atol=1e-6)
    assert volume.notes == ("the slices are tilted by 20 degrees against their stack, and placed so",)


def test_files_in_sub_folders_are_one_series(tmp_path: Path, read: Read) -> None:
    array = images(6)
    series(tmp_path / "a", array[:3], [0, 2, 4])
    series(tmp_path / "b" / "c", array[3:], [6, 8, 10])
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / ".hidden.dcm").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(read(tmp_path).array, array)


def test_a_single_slice_is_as_thick_as_its_file_says(tmp_path: Path, read: Read) -> None:
    array = images(1)
    path = slice_file(tmp_path / "a.dcm", array[0], (0, 0, 9), SliceThickness=5)
    for place in (path, tmp_path):
        volume = read(place)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 5])
    slice_file(path, array[0], (0, 0, 9), SliceThickness=5, SpacingBetweenSlices=6.5)
    np.testing.assert_allclose(read(path).spacing_mm, [0.5, 0.75, 5])
    slice_file(path, array[0], (0, 0, 9), SpacingBetweenSlices=6.5)
    np.testing.assert_allclose(read(path).spacing_mm, [0.5, 0.75, 6.5])


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_ways_to_write_bytes_give_the_same_volume(tmp_path: Path, read: Read, syntax: UID) -> None:
    array = images(1)[0]
    data = dicom_files.empty_file()
    dicom_files.set_pixels(data, array)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = array.astype(">i2" if syntax == ExplicitVRBigEndian else "<i2").tobytes()
    dicom_files.write(tmp_path / "b.dcm", data)
    volume = read(tmp_path / "b.dcm")
    assert volume.array.dtype == np.int16 and volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array[0], array)


def test_hounsfield_units_are_whole_numbers(tmp_path: Path, read: Read) -> None:
    stored = RNG.integers(0, 4000, (4, 4, 5)).astype(np.uint16)
    series(tmp_path, stored, [0, 1, 2, 3], RescaleSlope=1, RescaleIntercept=-1024)
    volume = read(tmp_path)
    assert volume.array.dtype.kind == "i"
    np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)


def test_each_file_has_its_own_slope(tmp_path: Path, read: Read) -> None:
    stored = RNG.integers(0, 30000, (4, 4, 5)).astype(np.int16)
    slopes = [0.5, 1.25, 0.125, 3.0]
    for k, slope in enumerate(slopes):
        slice_file(
            tmp_path / f"{NAMES[k]}", stored[k], (0, 0, 3 * k), sop_class=PET, RescaleSlope=slope, RescaleIntercept=k
        )
    expected = stored * np.reshape(slopes, (4, 1, 1)) + np.reshape(range(4), (4, 1, 1))
    np.testing.assert_allclose(read(tmp_path).array, expected, rtol=1e-6)


def test_the_brightest_of_inverted_grey_is_the_lowest_stored(tmp_path: Path, read: Read) -> None:
    stored = RNG.integers(0, 4096, (4, 5)).astype(np.uint16)
    path = slice_file(
        tmp_path / "a", stored, (0, 0, 0), PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11
    )
    np.testing.assert_array_equal(read(path).array, 4095 - stored[np.newaxis].astype(int))


# --- copies, phases, scouts -------------------------------------------------------------------------------------


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path, read: Read) -> None:
    array = images(6)
    series(tmp_path, array, [2.0 * k for k in range(6)])
    shutil.copy(tmp_path / "18.dcm", tmp_path / "zz_copy.dcm")
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 2])
    assert volume.notes == ("file left out as copies of others: zz_copy.dcm",)


def test_the_same_image_of_a_place_under_another_uid_counts_once(tmp_path: Path, read: Read) -> None:
    array = images(6)
    series(tmp_path, array, [2.0 * k for k in range(6)])
    slice_file(tmp_path / "again", array[2], (7, 8, 4.0), number=99)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    assert "show the same image of the same place" in volume.notes[0]


def test_two_different_images_of_one_place_are_named(tmp_path: Path, read: Read) -> None:
    array = images(7)
    series(tmp_path, array, [2.0 * k for k in range(6)])
    slice_file(tmp_path / "other", array[6], (7, 8, 4.0), number=3)
    with pytest.raises(
        VolumeError, match=r"show different images of one place.*move one of them out of the folder"
    ) as caught:
        read(tmp_path)
    assert "other" in str(caught.value) and "55.dcm" in str(caught.value)


def test_files_of_one_uid_that_differ_are_all_kept(tmp_path: Path, read: Read) -> None:
    array = images(4)
    series(tmp_path, array, [2.0 * k for k in range(4)], SOPInstanceUID="1.2.3.4.5")
    np.testing.assert_array_equal(read(tmp_path).array, array)


@pytest.mark.parametrize("interleaved", [True, False])
def test_two_phases_that_only_their_numbers_tell_apart_are_a_choice(
    tmp_path: Path, read: Read, interleaved: bool
) -> None:
    array = images(24).reshape(2, 12, 4, 5)
    for phase in (0, 1):
        for k in range(12):
            number = 2 * k + phase if interleaved else 12 * phase + k
            slice_file(tmp_path / f"{phase}_{NAMES[k]}", array[phase, k], (0, 0, 2 * k), number=number)
    with pytest.raises(
        VolumeError, match=r"holds 2 volumes; choose one with --frame N .*0: 12 slices of 5 x 4 px, 2 mm"
    ):
        read(tmp_path)
    for phase in (0, 1):
        volume = read(tmp_path, frame=phase)
        np.testing.assert_array_equal(volume.array, array[phase])
        np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 2])
    with pytest.raises(VolumeError, match="there is no frame 2, the series holds 2 volumes"):
        read(tmp_path, frame=2)


def test_echoes_and_phases_together_are_told_by_name(tmp_path: Path, read: Read) -> None:
    array = images(24).reshape(2, 3, 4, 4, 5)
    for e, t, k in np.ndindex(2, 3, 4):
        slice_file(
            tmp_path / f"{(7 * (12 * e + 4 * t + k)) % 24}",
            array[e, t, k],
            (0, 0, 2 * k),
            number=int(RNG.integers(1000)),
            sop_class=MR,
            EchoTime=(10.0, 25.5)[e],
            TemporalPositionIdentifier=t + 1,
            AcquisitionTime=f"1200{k:02d}.{e}{t}",
        )
    with pytest.raises(
        VolumeError, match=r"holds 6 volumes.*phase 1, echo time 10\.0|echo time 10\.0.*phase 1"
    ) as caught:
        read(tmp_path)
    listed = str(caught.value).split(": ", 2)[2].split("; ")
    for e, t in np.ndindex(2, 3):
        (number,) = [n for n, word in enumerate(listed) if f"phase {t + 1}" in word and ("10.0", "25.5")[e] in word]
        np.testing.assert_array_equal(read(tmp_path, frame=number).array, array[e, t])


def test_phases_of_different_length_are_told_apart(tmp_path: Path, read: Read) -> None:
    array = images(9)
    for k in range(5):
        slice_file(tmp_path / f"a{NAMES[k]}", array[k], (0, 0, 2 * k), AcquisitionNumber=1, number=k)
    for k in range(4):
        slice_file(tmp_path / f"b{NAMES[k]}", array[5 + k], (0, 0, 2 * k), AcquisitionNumber=2, number=k)
    with pytest.raises(VolumeError, match=r"0: 5 slices.*acquisition 1.*; 1: 4 slices.*acquisition 2"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, frame=1).array, array[5:])


def test_one_slice_at_many_times_is_a_choice(tmp_path: Path, read: Read) -> None:
    array = images(4)
    for t in range(4):
        slice_file(tmp_path / f"{NAMES[t]}", array[t], (1, 2, 3), number=t, TriggerTime=float(40 * t))
    with pytest.raises(VolumeError, match=r"holds 4 volumes.*0: 1 slice of 5 x 4 px, trigger time 0\.0"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, frame=2).array[0], array[2])


@pytest.mark.parametrize("size", [(4, 5), (9, 7)])
def test_a_scout_is_left_out_with_a_note(tmp_path: Path, read: Read, size: tuple[int, int]) -> None:
    array = images(12)
    series(tmp_path, array, [2.0 * k for k in range(12)], first=2)
    slice_file(tmp_path / "scout", images(1, size)[0], (-20, 0, 40), orientation=(0, 1, 0, 0, 0, -1), number=1)
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 2])
    assert volume.notes == ("left out as of another plane or place (scouts): 1 image (scout)",)


def test_two_planes_of_the_same_rank_are_a_choice(tmp_path: Path, read: Read) -> None:
    array = images(10)
    for k in range(5):
        slice_file(tmp_path / f"a{k}", array[k], (0, 0, 4 * k), number=k)
        slice_file(tmp_path / f"s{k}", array[5 + k], (4 * k, 0, 0), orientation=(0, 1, 0, 0, 0, -1), number=10 + k)
    with pytest.raises(VolumeError, match="holds 2 volumes; choose one with --frame"):
        read(tmp_path)
    np.testing.assert_array_equal(read(tmp_path, frame=0).array, array[:5])
    assert read(tmp_path, frame=1).array.shape == (5, 4, 5)


def test_several_series_are_listed_with_the_way_to_choose(tmp_path: Path, read: Read) -> None:
    array = images(5)
    series(tmp_path, array[:2], [0, 3], "a", series="1.2.3.1", SeriesDescription="chest 1")
    series(tmp_path, array[2:], [0, 3, 6], "b", series="1.2.3.2", SeriesDescription="chest 2")
    with pytest.raises(VolumeError, match=r"holds 2 DICOM series; choose one with --series N.*CT chest 2, 3 files"):
        read(tmp_path)
    assert len(read(tmp_path, series="2").array) == 3
    assert len(read(tmp_path, series="1.2.3.1").array) == 2
    with pytest.raises(VolumeError, match="has no series '3'"):
        read(tmp_path, series="3")


# --- uneven stacks ----------------------------------------------------------------------------------------------


def test_a_missing_slice_is_left_empty_and_all_others_are_in_their_places(tmp_path: Path, read: Read) -> None:
    array = images(6)
    series(tmp_path, array, [0, 3, 6, 12, 15, 18])
    volume = read(tmp_path)
    np.testing.assert_array_equal(volume.array[[0, 1, 2, 4, 5, 6]], array)
    np.testing.assert_array_equal(volume.array[3], np.full((4, 5), array.min()))
    np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 3])
    assert volume.notes == ("1 slice is missing in the series, and left empty: 3",)


def test_a_missing_slice_does_not_divide_what_was_scanned_in_several_turns(tmp_path: Path, read: Read) -> None:
    array = images(11)
    for n, k in enumerate([0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]):  # turns of four slices, of which one lacks its last
        slice_file(tmp_path / f"{(5 * n) % 11}", array[n], (0, 0, 2 * k), number=k, AcquisitionTime=f"12000{k // 4}")
    volume = read(tmp_path)
    assert len(volume.array) == 12 and volume.notes == ("1 slice is missing in the series, and left empty: 7",)


def test_phases_of_which_one_lacks_a_slice_are_told_apart(tmp_path: Path, read: Read) -> None:
    array = images(11)
    places = [(0, k) for k in range(6)] + [(1, k) for k in (0, 1, 2, 4, 5)]
    for n, (phase, k) in enumerate(places):
        slice_file(tmp_path / f"{(5 * n) % 11}", array[n], (0, 0, 2 * k), TemporalPositionIdentifier=phase + 1)
    assert read(tmp_path, frame=0).notes == ()
    assert read(tmp_path, frame=1).notes == ("1 slice is missing in the series, and left empty: 3",)


def test_a_series_whose_slices_change_their_distance_is_a_choice(tmp_path: Path, read: Read) -> None:
    array = images(12)
    series(tmp_path, array, [5.0 * k for k in range(6)] + [25 + 10.0 * k for k in range(1, 7)])
    with pytest.raises(VolumeError, match=r"0: 6 slices of 5 x 4 px, 5 mm apart.*1: 6 slices of 5 x 4 px, 10 mm apart"):
        read(tmp_path)
    volume = read(tmp_path, frame=1)
    np.testing.assert_array_equal(volume.array, array[6:])
    np.testing.assert_allclose(volume.ijk_to_ras, matrix(np.diag([0.5, 0.75, 10]), (7, 8, 35)))


def test_slices_at_no_rule_are_never_one_volume(tmp_path: Path, read: Read) -> None:
    series(tmp_path, images(6), [0, 1.7, 5.1, 5.9, 11.3, 12.9])
    with pytest.raises(VolumeError, match=r"holds 6 volumes.*1 slice of 5 x 4 px, by itself"):
        read(tmp_path)
    np.testing.assert_allclose(read(tmp_path, frame=2).ijk_to_ras[:3, 3], [-7, -8, 5.1])


@pytest.mark.parametrize("jitter", [0.001, 0.02])
def test_rounded_positions_are_even(tmp_path: Path, read: Read, jitter: float) -> None:
    z_mm = [2.0 * k + jitter * (-1) ** k for k in range(8)]
    series(tmp_path, images(8), z_mm)
    assert read(tmp_path).spacing_mm[2] == pytest.approx(2, abs=0.01)


def test_thin_slices_are_held_to_their_own_measure(tmp_path: Path, read: Read) -> None:
    series(tmp_path, images(5), [0, 0.02, 0.04, 0.08, 0.1])  # a slice is missing, all within 0.1 mm
    assert "1 slice is missing" in read(tmp_path).notes[0]


# --- files of many frames ---------------------------------------------------------------------------------------


def test_frames_of_an_enhanced_file_come_by_place_with_their_own_slopes(tmp_path: Path) -> None:
    array = images(6)
    order = [4, 1, 5, 0, 3, 2]
    slopes = [1.0, 2.0, 0.5, 1.5, 3.0, 0.25]
    groups = [
        {"PixelValueTransformationSequence": item(RescaleSlope=slopes[k], RescaleIntercept=k, RescaleType="US")}
        for k in order
    ]
    path = enhanced_file(tmp_path / "a.dcm", array[order], [(1, 2, 4.0 * k) for k in order], groups)
    volume = read_volume(path)
    expected = array * np.reshape(slopes, (6, 1, 1)) + np.reshape(range(6), (6, 1, 1))
    np.testing.assert_allclose(volume.array, expected, rtol=1e-6)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix(np.diag([0.5, 0.75, 4]), (1, 2, 0)))
    assert (volume.name, volume.notes) == ("a", ())


def test_phases_of_an_enhanced_file_are_a_choice_by_what_it_says(tmp_path: Path) -> None:
    array = images(12).reshape(3, 4, 4, 5)
    places = [(t, k) for k in (2, 0, 3, 1) for t in (1, 2, 0)]
    groups = [{"FrameContentSequence": item(TemporalPositionIndex=t + 1)} for t, _ in places]
    pixels = np.stack([array[t, k] for t, k in places])
    path = enhanced_file(tmp_path / "a.dcm", pixels, [(0, 0, 4.0 * k) for _, k in places], groups)
    with pytest.raises(VolumeError, match=r"holds 3 volumes; choose one with --frame.*4 slices.*phase 2") as caught:
        read_volume(path)
    listed = str(caught.value).split(": ", 2)[2].split("; ")
    for t in range(3):
        (number,) = [n for n, word in enumerate(listed) if f"phase {t + 1}" in word]
        np.testing.assert_array_equal(read_volume(path, frame=number).array, array[t])


def test_dimensions_tell_phases_apart_where_nothing_else_does(tmp_path: Path) -> None:
    array = images(8).reshape(2, 4, 4, 5)
    places = [(1, 0), (0, 1), (1, 1), (0, 0), (0, 3), (1, 2), (1, 3), (0, 2)]
    groups = [{"FrameContentSequence": item(DimensionIndexValues=[t + 1, k + 1])} for t, k in places]
    pixels = np.stack([array[t, k] for t, k in places])
    path = enhanced_file(tmp_path / "a.dcm", pixels, [(0, 0, 4.0 * k) for _, k in places], groups)
    found = [read_volume(path, frame=n).array for n in (0, 1)]
    assert sorted(np.array_equal(one, array[t]) for one in found for t in (0, 1)) == [False, False, True, True]


def test_a_folder_of_enhanced_files_is_a_choice_of_files(tmp_path: Path) -> None:
    array = images(12).reshape(3, 4, 4, 5)
    for t in range(3):
        enhanced_file(tmp_path / f"t{t}.dcm", array[t], [(0, 0, 4.0 * k) for k in range(4)])
    with pytest.raises(VolumeError, match=r"holds 3 volumes.*4 slices of 5 x 4 px, 4 mm apart, file t0\.dcm; 1: "):
        read_volume(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path, frame=2).array, array[2])


def test_without_pydicom_an_enhanced_file_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = enhanced_file(tmp_path / "a.dcm", images(4), [(0, 0, 4.0 * k) for k in range(4)])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for place in (path, tmp_path):
        with pytest.raises(VolumeError, match=r'pip install "sammed2d\[dicom\]"'):
            read_volume(place)


def test_a_film_without_places_is_read_as_a_stack_with_a_note(tmp_path: Path, read: Read) -> None:
    data = dicom_files.empty_file("1.2.840.10008.5.1.4.1.1.3.1")
    array = RNG.integers(0, 255, (3, 4, 6)).astype(np.uint8)
    dicom_files.set_pixels(data, array)
    data.Modality = "US"
    volume = read(dicom_files.write(tmp_path / "a.dcm", data))
    np.testing.assert_array_equal(volume.array, array)
    assert "do not say where the slices lie" in volume.notes[0]


def test_radiographs_are_never_a_stack_and_captured_slices_are_by_number(tmp_path: Path, read: Read) -> None:
    array = images(4)
    for k in range(4):
        slice_file(tmp_path / "dx" / f"{NAMES[k]}", array[k], None, number=k, Modality="DX")
        slice_file(tmp_path / "sc" / f"{NAMES[k]}", array[k], None, number=k, Modality="OT")
    with pytest.raises(VolumeError, match="holds 4 volumes; choose one with --frame"):
        read(tmp_path / "dx")
    volume = read(tmp_path / "sc")
    np.testing.assert_array_equal(volume.array, array)
    assert "taken in their instance numbers, positions in mm mean nothing" in volume.notes[0]


# --- colour and compression -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_are_kept(tmp_path: Path, read: Read, dtype: type) -> None:
    colours = RNG.integers(0, 255, (4, 5, 3)).astype(dtype)
    volume = read(slice_file(tmp_path / "a.dcm", colours, (0, 0, 0), colour=True))
    assert volume.is_colour
    np.testing.assert_array_equal(volume.array, colours[np.newaxis])


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_run_lengths_are_decoded_rightly_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type, colour: bool
) -> None:
    pixels = RNG.integers(0, 120 if dtype == np.uint8 else 30000, (6, 8, 3) if colour else (6, 8)).astype(dtype)
    path = slice_file(tmp_path / "a.dcm", pixels, (0, 0, 0), colour=colour, rle=True)
    np.testing.assert_array_equal(read_volume(path).array, pixels[np.newaxis])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    try:
        alone = read_volume(path).array
    except VolumeError as error:
        assert 'pip install "sammed2d[dicom]"' in str(error)
    else:
        assert not (colour and dtype != np.uint8)
        np.testing.assert_array_equal(alone, pixels[np.newaxis])


def test_bits_are_read_rightly_or_not_at_all(tmp_path: Path, read: Read) -> None:
    values = RNG.integers(0, 4096, (4, 5)).astype(np.uint16)
    with_overlay = slice_file(tmp_path / "a", values | 0x8000, (0, 0, 0), BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read(with_overlay).array[0], values)
    shifted = slice_file(tmp_path / "b", values << 4, (0, 0, 0), BitsStored=12, HighBit=15)
    with pytest.raises(VolumeError, match="its values of 12 bits end at bit 15, which is not read"):
        read(shifted)


def test_palette_colours_are_applied(tmp_path: Path) -> None:
    indices = RNG.integers(0, 256, (4, 5)).astype(np.uint8)
    palettes = RNG.integers(0, 256, (3, 256)).astype(np.uint8)
    fields: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, palette in zip(("Red", "Green", "Blue"), palettes, strict=True):
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        fields[f"{name}PaletteColorLookupTableData"] = palette.tobytes()
    volume = read_volume(slice_file(tmp_path / "a.dcm", indices, (0, 0, 0), **fields))
    np.testing.assert_array_equal(volume.array[0], palettes[:, indices].transpose(1, 2, 0))


def test_jpeg_2000_is_decoded_with_its_slope(tmp_path: Path, read: Read) -> None:
    stored = RNG.integers(0, 3000, (16, 24)).astype(np.int16)
    image = SimpleITK.JoinSeries(SimpleITK.GetImageFromArray(stored))
    for key, value in {"0028|1052": "-1024", "0028|1053": "1", "0020|0037": "1\\0\\0\\0\\1\\0"}.items():
        image.SetMetaData(key, value)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG2000")
    writer.Execute(image)
    assert b"1.2.840.10008.1.2.4.90" in (tmp_path / "a.dcm").read_bytes()[:1000]
    expected = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.dcm")))
    np.testing.assert_array_equal(read(tmp_path / "a.dcm").array, expected)


# --- what is no image, or damaged -------------------------------------------------------------------------------


def test_a_file_that_was_cut_off_is_named(tmp_path: Path, read: Read) -> None:
    series(tmp_path, images(6, (16, 16)), [2.0 * k for k in range(6)])
    path = tmp_path / "18.dcm"
    whole = path.read_bytes()
    for keep in (len(whole) - 100, len(whole) - 511, 200):
        path.write_bytes(whole[:keep])
        with pytest.raises(VolumeError) as caught:
            read(tmp_path)
        assert "18.dcm" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_dicom_says_so_and_nothing_else_is_printed(
    tmp_path: Path, read: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VolumeError, match="no DICOM series in this folder"):
        read(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_what_is_no_image_is_left_out_or_said(tmp_path: Path, read: Read) -> None:
    array = images(4)
    series(tmp_path / "both", array, [0, 2, 4, 6])
    structures = dicom_files.empty_file("1.2.840.10008.5.1.4.1.1.481.3", series="1.2.3.7")
    structures.Modality = "RTSTRUCT"
    dicom_files.write(tmp_path / "both" / "rs.dcm", structures)
    dicom_files.write(tmp_path / "alone" / "rs.dcm", structures)
    volume = read(tmp_path / "both")
    np.testing.assert_array_equal(volume.array, array)
    assert "left out, as they are no images" in volume.notes[0]
    with pytest.raises(VolumeError, match="and no image; give"):
        read(tmp_path / "alone")


def test_a_slide_in_tiles_is_refused(tmp_path: Path) -> None:
    data = dicom_files.empty_file("1.2.840.10008.5.1.4.1.1.77.1.6")
    dicom_files.set_pixels(data, images(4))
    data.TotalPixelMatrixColumns = data.TotalPixelMatrixRows = 8
    with pytest.raises(VolumeError, match="is an image in 4 tiles"):
        read_volume(dicom_files.write(tmp_path / "a", data))


def test_a_mosaic_is_refused(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "a", images(1)[0], (0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(VolumeError, match="is a mosaic of many slices in one image"):
        read_volume(path)
