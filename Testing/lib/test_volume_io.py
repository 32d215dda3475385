"""Images come in with the right voxels in the right place, and bad ones are refused with the right words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib import volume_io
from SAMMed2DLib.volume_io import VolumeError, read_frames, read_volume

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
RNG = np.random.default_rng(7)


def an_image(array: np.ndarray, **kwargs: bool) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(array, **kwargs)
    if image.GetDimension() == 3:
        image.SetSpacing((0.5, 0.75, 2.0))
        image.SetOrigin((10.0, -20.0, 30.0))
        image.SetDirection(OBLIQUE)
    return image


def a_file(folder: Path, name: str, array: np.ndarray, **kwargs: bool) -> Path:
    SimpleITK.WriteImage(an_image(array, **kwargs), str(folder / name))
    return folder / name


def a_dicom_series(folder: Path, uid: str, z_mm: list[float]) -> None:
    folder.mkdir(exist_ok=True)
    for number, z in enumerate(z_mm):
        image = SimpleITK.JoinSeries(SimpleITK.GetImageFromArray(np.full((4, 5), number, np.int16)))
        image.SetSpacing((1.0, 2.0, 3.0))
        tags = {
            "0008|0060": "CT",
            "0008|103e": f"chest {uid}",
            "0008|0018": f"1.2.9.{uid}.{number}",
            "0020|000d": "1.2.3",
            "0020|000e": f"1.2.3.{uid}",
            "0020|0013": str(number),
            "0020|0032": f"7\\8\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        image.SetOrigin((7.0, 8.0, z))
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        # Written in a shuffled order of names: the positions decide, not the names.
        writer.SetFileName(str(folder / f"{uid}_{(number * 7) % 10}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_a_volume_keeps_its_voxels_and_its_place_in_the_patient(tmp_path: Path, name: str) -> None:
    array = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    path = a_file(tmp_path, name, array)
    volume = read_volume(path)
    expected = np.diag([-1.0, -1.0, 1.0]) @ np.array(OBLIQUE).reshape(3, 3) @ np.diag([0.5, 0.75, 2.0])
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras[:3, :3], expected, atol=1e-6)
    np.testing.assert_allclose(volume.ijk_to_ras[:, 3], [-10.0, 20.0, 30.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(volume.spacing_mm, [0.5, 0.75, 2.0], atol=1e-6)
    assert (volume.name, volume.size_ijk, volume.is_colour) == ("a", (6, 5, 4), False)


def test_a_grey_png_is_one_slice(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (5, 7)).astype(np.uint8)
    volume = read_volume(a_file(tmp_path, "x.png", array))
    np.testing.assert_array_equal(volume.array, array[np.newaxis])
    np.testing.assert_array_equal(volume.ijk_to_ras, np.diag([-1.0, -1.0, 1.0, 1.0]))


def test_a_colour_png_keeps_its_colours_and_loses_its_alpha(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (5, 7, 4)).astype(np.uint8)
    volume = read_volume(a_file(tmp_path, "x.png", array, isVector=True))
    assert volume.is_colour
    np.testing.assert_array_equal(volume.array, array[np.newaxis, ..., :3])


def test_a_jpeg_is_a_colour_slice(tmp_path: Path) -> None:
    array = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    array[8:] = 20, 40, 60  # at the border of two JPEG blocks
    volume = read_volume(a_file(tmp_path, "x.jpg", array, isVector=True))
    assert volume.array.shape == (1, 16, 24, 3)
    np.testing.assert_allclose(volume.array[0, 3].astype(int), array[3].astype(int), atol=8)  # lossy


def test_a_volume_of_one_slice_is_fine(tmp_path: Path) -> None:
    assert read_volume(a_file(tmp_path, "a.nrrd", np.arange(20, dtype=np.int16).reshape(1, 4, 5))).size_ijk == (5, 4, 1)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_a_4d_image_is_refused_until_a_frame_is_chosen(tmp_path: Path, name: str) -> None:
    frames = [RNG.random((3, 4, 5), dtype=np.float32) for _ in range(2)]
    image = SimpleITK.JoinSeries([an_image(frame) for frame in frames])
    SimpleITK.WriteImage(image, str(tmp_path / name))
    with pytest.raises(VolumeError, match=r"4D image \(2 frames of 5 x 4 x 3\); choose one with --frame N"):
        read_volume(tmp_path / name)
    with pytest.raises(VolumeError, match="there is no frame 2"):
        read_volume(tmp_path / name, frame=2)
    volume = read_volume(tmp_path / name, frame=1)
    np.testing.assert_array_equal(volume.array, frames[1])
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], [-10.0, 20.0, 30.0], atol=1e-6)
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 0], [-0.4, -0.3, 0.0], atol=1e-6)


def test_a_diffusion_image_is_refused_until_a_component_is_chosen(tmp_path: Path) -> None:
    array = RNG.random((2, 3, 4, 6)).astype(np.float32)
    path = a_file(tmp_path, "dwi.nrrd", array, isVector=True)
    with pytest.raises(VolumeError, match=r"several values per voxel \(6 frames.*--frame N"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, frame=5).array, array[..., 5])


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_all_frames_of_a_4d_image_are_read_in_the_place_of_each(tmp_path: Path, name: str) -> None:
    frames = RNG.random((3, 2, 4, 5), dtype=np.float32)
    SimpleITK.WriteImage(SimpleITK.JoinSeries([an_image(one) for one in frames]), str(tmp_path / name))
    read = read_frames(tmp_path / name)
    assert len(read) == 3
    np.testing.assert_array_equal(read.array, frames)
    alone = read_volume(tmp_path / name, frame=1)
    np.testing.assert_array_equal(read.volume(1).array, alone.array)
    np.testing.assert_array_equal(read.ijk_to_ras, alone.ijk_to_ras)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("count", [3, 5])
def test_a_sequence_of_slicer_is_a_list_of_frames_never_colour(tmp_path: Path, count: int, last: bool) -> None:
    frames = RNG.integers(0, 255, (count, 2, 4, 5), dtype=np.uint8)
    first = not last
    lines = [
        "NRRD0004",
        "type: unsigned char",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {f'{count} ' * first}5 4 2{f' {count}' * last}",
        f"space directions: {'none ' * first}(1,0,0) (0,1,0) (0,0,1){' none' * last}",
        f"kinds: {'list ' * first}domain domain domain{' list' * last}",
        "encoding: raw",
        "space origin: (1,2,3)",
    ]
    voxels = frames if last else np.moveaxis(frames, 0, -1)
    path = tmp_path / "a.seq.nrrd"
    path.write_bytes(("\n".join(lines) + "\n\n").encode() + voxels.tobytes())
    read = read_frames(path)
    np.testing.assert_array_equal(read.array, frames)
    np.testing.assert_array_equal(read.ijk_to_ras[:3, 3], [-1, -2, 3])
    np.testing.assert_array_equal(read_volume(path, frame=2).array, frames[2])


def test_what_has_no_frames_is_refused_as_a_series(tmp_path: Path) -> None:
    volume = a_file(tmp_path, "a.nrrd", np.arange(40, dtype=np.int16).reshape(2, 4, 5))
    with pytest.raises(VolumeError, match="no frames in time, it is an image of 5 x 4 x 2"):
        read_frames(volume)
    with pytest.raises(VolumeError, match="is a folder; time series are read from one 4D file"):
        read_frames(tmp_path)
    with pytest.raises(VolumeError, match="no such file"):
        read_frames(tmp_path / "b.nrrd")


def test_a_frame_of_a_3d_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="there is no frame 3, the image has 1"):
        read_volume(a_file(tmp_path, "a.nrrd", np.arange(40, dtype=np.int16).reshape(2, 4, 5)), frame=3)


def test_a_dicom_folder_is_ordered_by_position(tmp_path: Path) -> None:
    a_dicom_series(tmp_path / "ct", "1", [0.0, 3.0, 6.0, 9.0])
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array[:, 0, 0], [0, 1, 2, 3])
    expected = [[-1, 0, 0, -7], [0, -2, 0, -8], [0, 0, 3, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.ijk_to_ras, expected, atol=1e-9)
    assert (volume.name, volume.notes) == ("ct", ())


def test_a_dicom_folder_with_a_missing_slice_is_read_with_a_note(tmp_path: Path) -> None:
    a_dicom_series(tmp_path / "ct", "1", [0.0, 3.0, 9.0])
    assert "unevenly spaced" in read_volume(tmp_path / "ct").notes[0]


def test_several_dicom_series_are_listed_with_the_way_to_choose(tmp_path: Path) -> None:
    a_dicom_series(tmp_path, "1", [0.0, 3.0])
    a_dicom_series(tmp_path, "2", [0.0, 3.0, 6.0])
    with pytest.raises(VolumeError, match=r"holds 2 DICOM series; choose one with --series N.*CT chest 2, 3 files"):
        read_volume(tmp_path)
    assert len(read_volume(tmp_path, series="2").array) == 3
    assert len(read_volume(tmp_path, series="1.2.3.1").array) == 2
    with pytest.raises(VolumeError, match="has no series '3'"):
        read_volume(tmp_path, series="3")


def test_a_folder_without_dicom_says_so_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VolumeError, match="no DICOM series in this folder"):
        read_volume(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no such file or folder"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nii.gz", b"", r"empty \(0 bytes\)"),
        ("a.nii.gz", b"<html>not found</html>", "no format that SimpleITK knows"),
        ("a.txt", b"hello", "no format that SimpleITK knows"),
        (
            "a.nrrd",
            b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 9 9 9\nencoding: raw\n\nabc",
            "cannot be read",
        ),
        ("a.nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 0 9 9\nencoding: raw\n\n", "size is zero"),
    ],
)
def test_an_unreadable_file_says_why_in_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VolumeError, match=words) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_huge_image_is_refused_before_its_voxels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.nrrd"
    path.write_bytes(b"NRRD0004\ntype: float\ndimension: 3\nsizes: 90000 90000 9000\nendian: little\nencoding: raw\n\n")
    with pytest.raises(VolumeError, match=r"90000 x 90000 x 9000 voxels needs about .* GiB of memory.*crop"):
        read_volume(path)


def test_the_memory_forecast_counts_components_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path, "a.png", RNG.integers(0, 255, (10, 20, 3)).astype(np.uint8), isVector=True)
    monkeypatch.setattr(volume_io, "available_memory", lambda: 2 * 10 * 20 * 3)
    assert read_volume(path).is_colour
    monkeypatch.setattr(volume_io, "available_memory", lambda: 2 * 10 * 20 * 3 - 1)
    with pytest.raises(VolumeError, match="needs about"):
        read_volume(path)


def test_an_image_that_is_nan_throughout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="every voxel is NaN or infinite"):
        read_volume(a_file(tmp_path, "a.nrrd", np.full((2, 3, 4), np.nan, np.float32)))


def test_an_image_of_one_value_is_refused_as_a_nifti_file_of_nan_reads_as_zeros(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"every voxel has the value 0 \(NaN in a NIfTI file reads as 0\)"):
        read_volume(a_file(tmp_path, "a.nii", np.full((2, 3, 4), np.nan, np.float32)))
    with pytest.raises(VolumeError, match="every voxel has the value 7, so"):
        read_volume(a_file(tmp_path, "a.mha", np.full((2, 3, 4), 7, np.int16)))


def test_an_image_that_is_partly_nan_is_fine(tmp_path: Path) -> None:
    array = np.full((2, 3, 4), np.nan, np.float32)
    array[1, 2, 2:] = 5.0, 6.0
    np.testing.assert_array_equal(read_volume(a_file(tmp_path, "a.nrrd", array)).array, array)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="complex numbers"):
        read_volume(a_file(tmp_path, "a.nrrd", np.ones((2, 3, 4), np.complex64)))
