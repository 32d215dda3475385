"""NIfTI files are read and written with the affine that they have, also where it is sheared."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.io.nifti import write_nifti
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import Volume, VolumeError, read_frames, read_volume

RNG = np.random.default_rng(11)
ARRAY = RNG.integers(-1000, 1000, (3, 4, 5)).astype(np.int16)


def turned(*angles: float) -> np.ndarray:
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return x @ y @ z


def affine(steps: np.ndarray, origin: tuple[float, ...] = (12.5, -80.25, 1000.0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = steps, origin
    return matrix


SIDES = np.diag([0.7, 1.3, 2.5])
AWKWARD = {
    "straight": SIDES,
    "radiological": SIDES * [-1, 1, 1],
    "mirrored twice": SIDES * [-1, -1, 1],
    "upside down": SIDES * [1, 1, -1],
    "coronal": SIDES[[0, 2, 1]],
    "sagittal": SIDES[[2, 0, 1]] * [1, -1, -1],
    "turned": turned(0.3, -0.2, 0.9) @ SIDES,
    "turned and left-handed": turned(-1.3, 2.2, 0.1) @ SIDES * [1, -1, 1],
    "half a turn": turned(np.pi, 0, 0) @ SIDES,
    "half a turn about a diagonal": turned(np.pi, 0, np.pi / 2) @ SIDES,
    "nearly a rotation": turned(0.3, -0.2, 0.9) @ np.array([[1, 0, 3e-4], [0, 1, -3e-4], [0, 0, 1]]) @ SIDES,
    "gantry tilt": np.array([[1, 0, 0], [0, 1, 0.4], [0, 0, 1]]) @ SIDES,
    "sheared and turned": turned(0.3, -0.2, 0.9) @ np.array([[1, 0.2, 0.3], [0, 1, -0.1], [0, 0, 1]]) @ SIDES,
}
SHEARED = ("gantry tilt", "sheared and turned")


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("forms", ["sform", "qform", "both", "both, apart"])
def test_the_place_is_the_one_that_nibabel_reads(tmp_path: Path, name: str, kind: type, forms: str) -> None:
    image = kind(ARRAY.T, None)
    other = affine(turned(1, 0, 0) @ AWKWARD[name], (0, 0, 0)) if forms == "both, apart" else affine(AWKWARD[name])
    image.set_sform(affine(AWKWARD[name]), int(forms != "qform"))
    image.set_qform(other, 2 * int(forms != "sform"))
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.ijk_to_ras, nibabel.load(tmp_path / "a.nii.gz").affine, atol=2e-5)
    np.testing.assert_array_equal(volume.array, ARRAY)
    if forms == "sform":
        np.testing.assert_allclose(volume.ijk_to_ras, affine(AWKWARD[name]), atol=1e-4)
    are_apart = forms == "both, apart" or (forms == "both" and name in SHEARED)  # a qform cannot tell of shear
    assert ["gives two places in the patient" in note for note in volume.notes] == [True] * are_apart


def test_without_a_place_itk_and_slicer_agree_with_us_and_a_note_says_so(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY.T, None)
    image.header.set_zooms((0.5, 2, 3))
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "a.nii")
    volume, itk = read_volume(tmp_path / "a.nii"), SimpleITK.ReadImage(str(tmp_path / "a.nii"))
    corner_lps = itk.TransformIndexToPhysicalPoint((4, 3, 2))
    np.testing.assert_allclose(volume.ijk_to_ras @ [4, 3, 2, 1], [-corner_lps[0], -corner_lps[1], corner_lps[2], 1])
    assert "does not say where in the patient it lies" in volume.notes[0]


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1e3), ("mm", 1), ("micron", 1e-3), ("unknown", 1)])
def test_units_become_millimetres(tmp_path: Path, unit: str, mm: float) -> None:
    image = nibabel.Nifti1Image(ARRAY.T, affine(SIDES))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    expected = affine(SIDES)
    expected[:3] *= mm
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").ijk_to_ras, expected, rtol=1e-6)


@pytest.mark.parametrize("code", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_voxels_of_every_type_and_byte_order_are_read(tmp_path: Path, code: str, order: str) -> None:
    values = RNG.integers(0, 100, (3, 4, 5)).astype(code)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(code))
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4), header), tmp_path / "a.nii")
    read = read_volume(tmp_path / "a.nii").array
    assert read.dtype == np.dtype(code) and read.dtype.isnative
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("slope", "intercept", "kind"), [(1, -1024, "i"), (2, 0, "i"), (0.5, 3, "f"), (0, 7, "i"), (np.nan, 0, "i")]
)
def test_slope_and_intercept_are_applied(tmp_path: Path, slope: float, intercept: float, kind: str) -> None:
    image = nibabel.Nifti1Image(ARRAY.T, np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[112:120] = np.array([slope, intercept], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    read = read_volume(tmp_path / "a.nii").array
    assert read.dtype.kind == kind
    np.testing.assert_array_equal(read, nibabel.load(tmp_path / "a.nii").get_fdata().T)


def test_a_pair_of_files_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(ARRAY.T, affine(AWKWARD["gantry tilt"])), tmp_path / "a.hdr")
    volume = read_volume(tmp_path / "a.hdr")
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.ijk_to_ras, affine(AWKWARD["gantry tilt"]), atol=1e-4)
    (tmp_path / "a.img").unlink()
    with pytest.raises(VolumeError, match=r"is the header of a pair, and a\.img is not beside it"):
        read_volume(tmp_path / "a.hdr")


def test_frames_components_and_colours_are_told_apart(tmp_path: Path) -> None:
    frames = RNG.integers(0, 99, (2, 3, 4, 5)).astype(np.int16)
    sheared = affine(AWKWARD["gantry tilt"])
    nibabel.save(nibabel.Nifti1Image(frames.T, sheared), tmp_path / "t.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "t.nii.gz", frame=1).array, frames[1])
    np.testing.assert_array_equal(read_frames(tmp_path / "t.nii.gz").array, frames)
    np.testing.assert_allclose(read_frames(tmp_path / "t.nii.gz").ijk_to_ras, sheared, atol=1e-4)
    nibabel.save(nibabel.Nifti1Image(frames.T[:, :, :, None], sheared), tmp_path / "v.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "v.nii.gz", frame=1).array, frames[1])
    colour = RNG.integers(0, 99, (3, 4, 5, 3)).astype(np.uint8)
    packed = np.ascontiguousarray(colour).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(packed.T, sheared), tmp_path / "c.nii.gz")
    volume = read_volume(tmp_path / "c.nii.gz")
    assert volume.is_colour
    np.testing.assert_array_equal(volume.array, colour)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (40, np.int16(9), "its header gives the sizes 9, 5, 4, 3"),
        (42, np.int16(-5), "its header gives the sizes 3, -5, 4, 3"),
        (42, np.int16(0), "the image has no voxels"),
        (42, np.int16(6), "is cut off or damaged"),
        (70, np.int16(1536), r"of a type \(code 1536\) that is not read"),
        (70, np.int16(32), "holds complex numbers"),
        (108, np.float32(1e20), "its header has voxels begin at byte 1e"),
        (108, np.float32(np.nan), "its header has voxels begin at byte nan"),
        (280, np.float32(np.nan), "its spacing or direction is zero, NaN or flat"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, at: int, value: np.generic, words: str
) -> None:
    image = nibabel.Nifti1Image(ARRAY.T, affine(SIDES))
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[at : at + value.nbytes] = value.tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(VolumeError, match=words) as caught:
        read_volume(tmp_path / "a.nii")
    assert "\n" not in str(caught.value)


# --- label maps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_a_label_map_lies_where_its_image_lies(tmp_path: Path, name: str, suffix: str) -> None:
    volume = Volume(ARRAY, affine(AWKWARD[name]), False, "a")
    write_segmentation(tmp_path / f"o{suffix}", [ARRAY > 0], volume, [Segment("a", label_value=300)])
    read = read_segmentation(tmp_path / f"o{suffix}")
    np.testing.assert_allclose(read.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(read.layers_lkji[0], 300 * (ARRAY > 0))
    if suffix.startswith(".nii"):
        theirs = nibabel.load(tmp_path / f"o{suffix}")
        np.testing.assert_allclose(theirs.affine, volume.ijk_to_ras, atol=1e-4)
        np.testing.assert_array_equal(theirs.dataobj, 300 * (ARRAY > 0).T)


@pytest.mark.parametrize("name", AWKWARD)
def test_readers_that_know_only_rotations_place_a_label_map_rightly_or_refuse_it(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / "o.nii", (ARRAY > 0).astype(np.uint8), affine(AWKWARD[name]))
    header = nibabel.load(tmp_path / "o.nii").header
    if name in SHEARED:
        assert header["qform_code"] == 0
        with pytest.raises(RuntimeError, match="orthonormal"):
            SimpleITK.ReadImage(str(tmp_path / "o.nii"))
        return
    np.testing.assert_allclose(header.get_qform(), affine(AWKWARD[name]), atol=2e-3)
    itk = SimpleITK.ReadImage(str(tmp_path / "o.nii"))
    corner_lps = itk.TransformIndexToPhysicalPoint((4, 3, 2))
    np.testing.assert_allclose(
        affine(AWKWARD[name]) @ [4, 3, 2, 1], [-corner_lps[0], -corner_lps[1], corner_lps[2], 1], atol=3e-3
    )
