"""Images come in with the right voxels in the right place, and bad ones are refused with the right words."""

from __future__ import annotations

import bz2
import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.io import volume_io
from SAMMed2DLib.io.volume_io import VolumeError, read_frames, read_volume

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
    with pytest.raises(VolumeError, match="has no frames, it is an image of 5 x 4 x 2; leave --frame out"):
        read_volume(a_file(tmp_path, "a.nrrd", np.arange(40, dtype=np.int16).reshape(2, 4, 5)), frame=3)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no such file or folder"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.nii.gz", b"", r"empty \(0 bytes\)"),
        ("a.nii.gz", b"<html>not found</html>", "no format that SimpleITK knows"),
        ("a.txt", b"hello", "no format that SimpleITK knows"),
        ("a.zip", b"PK\5\6" + bytes(18), "is a ZIP archive; unpack it"),
        (
            "a.nrrd",
            b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 9 9 9\nencoding: raw\n\nabc",
            r"cut off or damaged \(it holds 3 of 729 bytes",
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


def test_a_png_that_was_cut_off_is_called_so(tmp_path: Path) -> None:
    path = a_file(tmp_path, "a.png", RNG.integers(0, 255, (50, 60)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(VolumeError, match=r"a\.png: .*it is cut off or damaged; copy, download or export it again"):
        read_volume(path)


def test_the_memory_forecast_counts_components_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path, "a.png", RNG.integers(0, 255, (10, 20, 3)).astype(np.uint8), isVector=True)
    monkeypatch.setattr(volume_io, "available_memory", lambda: 2 * 10 * 20 * 3)
    assert read_volume(path).is_colour
    monkeypatch.setattr(volume_io, "available_memory", lambda: 2 * 10 * 20 * 3 - 1)
    with pytest.raises(VolumeError, match="needs about"):
        read_volume(path)


def test_an_image_that_is_nan_throughout_is_refused(tmp_path: Path) -> None:
    for name in ("a.nrrd", "a.nii.gz"):
        with pytest.raises(VolumeError, match="every voxel is NaN or infinite"):
            read_volume(a_file(tmp_path, name, np.full((2, 3, 4), np.nan, np.float32)))


def test_an_image_of_one_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="every voxel has the value 7, so"):
        read_volume(a_file(tmp_path, "a.mha", np.full((2, 3, 4), 7, np.int16)))


def test_an_image_that_is_partly_nan_is_fine(tmp_path: Path) -> None:
    array = np.full((2, 3, 4), np.nan, np.float32)
    array[1, 2, 2:] = 5.0, 6.0
    for name in ("a.nrrd", "a.nii"):
        np.testing.assert_array_equal(read_volume(a_file(tmp_path, name, array)).array, array)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="complex numbers"):
        read_volume(a_file(tmp_path, "a.nrrd", np.ones((2, 3, 4), np.complex64)))


@pytest.mark.parametrize("mm", [1e-3, 5e-5, 2.24e-6, 1e-12])
@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii"])
def test_voxels_of_nanometres_are_read(tmp_path: Path, name: str, mm: float) -> None:
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetSpacing((mm, 2 * mm, 3 * mm))
    SimpleITK.WriteImage(image, str(tmp_path / name))
    np.testing.assert_allclose(read_volume(tmp_path / name).spacing_mm, [mm, 2 * mm, 3 * mm], rtol=1e-6)


def test_a_flat_grid_is_refused_whatever_its_size(tmp_path: Path) -> None:
    lines = "NRRD0004\ntype: uchar\ndimension: 3\nspace: RAS\nsizes: 2 2 2\nencoding: raw\nspace origin: (0,0,0)\n"
    path = tmp_path / "a.nrrd"
    path.write_bytes(f"{lines}space directions: (9,0,0) (0,9,0) (9,9,0)\n\n".encode() + bytes(range(8)))
    with pytest.raises(VolumeError, match=r"cannot be read as an image|is zero, NaN or flat"):
        read_volume(path)


# --- pictures ------------------------------------------------------------------------------------------------


def a_png(
    path: Path, colour_type: int, bits: int, rows: list[bytes], width: int, transparent: bytes | None = None
) -> Path:
    """Rows of filter byte and samples as a PNG file."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    text = chunk(b"tEXt", b"Comment\0hello") + (b"" if transparent is None else chunk(b"tRNS", transparent))
    body = chunk(b"IHDR", head) + text + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_grey_png_with_alpha_is_grey_and_loses_its_alpha(tmp_path: Path, bits: int, dtype: type) -> None:
    grey = RNG.integers(0, 2**bits, (6, 5)).astype(dtype)
    both = np.stack([grey, RNG.integers(0, 2**bits, (6, 5)).astype(dtype)], -1)
    stored = both.astype(both.dtype.newbyteorder(">"))
    # The second row differs from the first by PNG's filter "up".
    rows = [b"\0" + row.tobytes() for row in stored]
    before, row = (np.frombuffer(stored[n].tobytes(), np.uint8) for n in (0, 1))
    rows[1] = b"\2" + (row - before).tobytes()
    volume = read_volume(a_png(tmp_path / "a.png", 4, bits, rows, 5))
    assert not volume.is_colour and volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, grey[np.newaxis])


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_a_grey_value_that_is_transparent_is_a_grey_value(tmp_path: Path, bits: int, dtype: type) -> None:
    grey = RNG.integers(0, 2**bits, (6, 5)).astype(dtype)
    rows = [b"\0" + row.tobytes() for row in grey.astype(grey.dtype.newbyteorder(">"))]
    volume = read_volume(a_png(tmp_path / "a.png", 0, bits, rows, 5, transparent=b"\0\0"))
    assert not volume.is_colour and volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, grey[np.newaxis])


def test_colour_with_alpha_keeps_its_colours(tmp_path: Path) -> None:
    rgba = RNG.integers(0, 256, (6, 5, 4)).astype(np.uint8)
    volume = read_volume(a_png(tmp_path / "a.png", 6, 8, [b"\0" + row.tobytes() for row in rgba], 5))
    np.testing.assert_array_equal(volume.array, rgba[np.newaxis, ..., :3])


QUARTERS = np.array([[10, 80], [160, 250]], np.uint8)
# What a viewer shows of a picture with these four quarters, by its EXIF orientation.
UPRIGHT = {
    1: [[10, 80], [160, 250]], 2: [[80, 10], [250, 160]], 3: [[250, 160], [80, 10]], 4: [[160, 250], [10, 80]],
    5: [[10, 160], [80, 250]], 6: [[160, 10], [250, 80]], 7: [[250, 80], [160, 10]], 8: [[80, 250], [10, 160]],
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("order", "<>")
def test_a_jpeg_is_turned_as_its_exif_says(tmp_path: Path, orientation: int, order: str) -> None:
    path = a_file(tmp_path, "a.jpg", np.kron(QUARTERS, np.ones((8, 16), np.uint8)))
    tiff = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    tiff += struct.pack(f"{order}HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    volume = read_volume(path)
    assert volume.array.shape[:3] == ((1, 16, 32) if orientation < 5 else (1, 32, 16))
    quarters = volume.array[0, 4::8, 8::16] if orientation < 5 else volume.array[0, 8::16, 4::8]
    np.testing.assert_allclose(quarters.astype(int), UPRIGHT[orientation], atol=3)
    assert bool(volume.notes) == (orientation != 1)


# --- files that were cut off ---------------------------------------------------------------------------------


def packed_nrrd(path: Path, array: np.ndarray, encoding: str, pack: Any, detached: bool = False) -> Path:
    lines = ["NRRD0004", "type: short", "dimension: 3", f"sizes: {' '.join(map(str, array.shape[::-1]))}"]
    lines += [f"encoding: {encoding}", "endian: little", *(["data file: a.raw.gz"] if detached else [])]
    head, body = ("\n".join(lines) + "\n\n").encode(), pack(array.astype("<i2").tobytes())
    if detached:
        (path.parent / "a.raw.gz").write_bytes(body)
        path.write_bytes(head)
        return path.parent / "a.raw.gz"
    path.write_bytes(head + body)
    return path


def whole_file(folder: Path, kind: str, array: np.ndarray) -> tuple[Path, Path]:
    """An image, and the file that holds its voxels."""
    if kind == "gzip":
        return folder / "a.nrrd", packed_nrrd(folder / "a.nrrd", array, kind, gzip.compress)
    if kind == "nhdr":
        return folder / "a.nhdr", packed_nrrd(folder / "a.nhdr", array, "gzip", gzip.compress, detached=True)
    path = folder / f"a{kind}"
    image = SimpleITK.GetImageFromArray(array)
    if kind == ".nii.bz2":
        SimpleITK.WriteImage(image, str(folder / "b.nii"))
        path.write_bytes(bz2.compress((folder / "b.nii").read_bytes()))
        return path, path
    SimpleITK.WriteImage(image, str(path), "raw" not in kind)
    return path, folder / "a.zraw" if kind == ".mhd" else path


PACKED = [".nii.gz", ".nii.bz2", "gzip", "nhdr", ".mha", ".mhd"]


@pytest.mark.parametrize("kind", [*PACKED, ".nii", "raw.mha", "raw.nrrd"])
def test_a_whole_file_is_read_and_one_that_was_cut_anywhere_is_refused(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    array = RNG.integers(0, 1000, (6, 20, 30)).astype(np.int16)
    path, voxels = whole_file(tmp_path, kind, array)
    np.testing.assert_array_equal(read_volume(path).array, array)
    data = voxels.read_bytes()
    for keep in (len(data) - 1, len(data) - 5, len(data) * 2 // 3, len(data) // 3):
        voxels.write_bytes(data[:keep])
        with pytest.raises(VolumeError) as caught:
            read_volume(path)
        assert "\n" not in str(caught.value) and "copy, download or export it again" in str(caught.value), keep
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", PACKED)
def test_a_compressed_file_with_a_byte_changed_is_refused(tmp_path: Path, kind: str) -> None:
    array = RNG.integers(0, 1000, (6, 20, 30)).astype(np.int16)
    path, voxels = whole_file(tmp_path, kind, array)
    data = bytearray(voxels.read_bytes())
    data[len(data) * 3 // 4] ^= 0x55
    voxels.write_bytes(data)
    with pytest.raises(VolumeError):
        read_volume(path)


def test_a_jpeg_and_a_png_that_were_cut_off_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = a_file(tmp_path, name, RNG.integers(0, 255, (60, 50)).astype(np.uint8))
        data = path.read_bytes()
        for keep in (len(data) - 2, len(data) // 2):
            path.write_bytes(data[:keep])
            with pytest.raises(VolumeError, match=str(path)):
                read_volume(path)


def test_a_frame_of_a_cut_4d_file_is_refused_though_it_is_whole_itself(tmp_path: Path) -> None:
    frames = [SimpleITK.GetImageFromArray(RNG.random((3, 20, 30), dtype=np.float32)) for _ in range(5)]
    for name in ("a.nii.gz", "a.nrrd"):
        SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / name), True)
        np.testing.assert_array_equal(
            read_volume(tmp_path / name, frame=1).array, SimpleITK.GetArrayFromImage(frames[1])
        )
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-2000])
        with pytest.raises(VolumeError, match=name):
            read_volume(tmp_path / name, frame=1)
