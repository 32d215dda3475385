"""Rulers: what is read off a picture is what a prompt takes."""

from __future__ import annotations

import gzip
from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.overlay import draw_slice
from SAMMed2DLib.plots.rulers import marks_along, with_rulers
from SAMMed2DLib.plots.slice_view import SliceView

SIZE_IJK = (70, 50, 90)
ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def placed(order, signs):
    """A matrix whose columns run along the patient's axes in this order and these directions."""
    ijk_to_ras = np.eye(4)
    ijk_to_ras[:3, :3] = np.eye(3)[:, list(order)] * signs
    return ijk_to_ras


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_numbers_stand_where_their_pixels_are_shown(order, signs):
    ijk_to_ras = placed(order, signs)
    for axis in range(3):
        plane = SlicePlane.of_axis(SIZE_IJK, axis, 0, ijk_to_ras)
        view = SliceView.of(plane, ijk_to_ras, 800)
        image = np.zeros((*plane.size_hw, 3), np.uint8)
        x, y = 20, 40
        image[y, x] = 255
        shown = draw_slice(image, view, letters=False)[..., 0]
        middle_yx = np.argwhere(shown >= shown.max()).mean(axis=0)
        across, down = (dict(marks_along(view, edge)) for edge in (0, 1))
        column, row = (across[y], down[x]) if view.swapped else (across[x], down[y])
        np.testing.assert_allclose([row, column], middle_yx, atol=0.75)


def test_every_pixel_of_a_tiny_slice_has_a_number():
    plane = SlicePlane.of_axis((5, 4, 1), 0, 0)
    view = SliceView.of(plane, np.diag([-1.0, -1.0, 1.0, 1.0]), 800)
    assert [value for value, _ in marks_along(view, 0)] == [0, 1, 2, 3, 4]
    assert [value for value, _ in marks_along(view, 1)] == [0, 1, 2, 3]


RED = (90, 10, 10)  # no text has it


def test_the_slice_is_whole_within_its_rulers():
    plane = SlicePlane.of_axis((1000, 800, 1), 0, 0)
    view = SliceView.of(plane, np.diag([-1.0, -1.0, 1.0, 1.0]))
    image = np.full((800, 1000, 3), RED, np.uint8)
    sheet = with_rulers(draw_slice(image, view, letters=False), view, "a legend " * 90)
    where = np.argwhere((sheet == RED).all(axis=-1))
    assert sheet.shape[0] > 860 and sheet.shape[1] > 1060
    # The first column and the first row carry a line of the grid.
    assert (np.ptp(where, axis=0) + 1).tolist() == [799, 999]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS[::7])
def test_the_lines_of_the_rulers_pass_through_the_pixels_that_their_numbers_name(order, signs):
    ijk_to_ras = placed(order, signs)
    plane = SlicePlane.of_axis(SIZE_IJK, "axial", 0, ijk_to_ras)
    view = SliceView.of(plane, ijk_to_ras, 700)
    sheet = with_rulers(np.full((*view.size_hw, 3), RED, np.uint8), view)
    top, left = np.argwhere((sheet == RED).all(axis=-1)).min(axis=0)
    across, down = ({at for _, at in marks_along(view, edge)} for edge in (0, 1))
    top, left = (low - (0 in marks) for low, marks in ((top, down), (left, across)))  # the first line may lie there
    shown = sheet[top : top + view.size_hw[0], left : left + view.size_hw[1]]
    assert set(np.flatnonzero((shown > RED).all(axis=(0, 2)))) == across
    assert set(np.flatnonzero((shown > RED).all(axis=(1, 2)))) == down
    elsewhere = np.delete(np.delete(shown, sorted(down), axis=0), sorted(across), axis=1)
    assert (elsewhere == RED).all()
    ticks_below, ticks_left = sheet[top + len(shown) + 4, left:], sheet[top:, left - 4]
    assert set(np.flatnonzero(ticks_below[: shown.shape[1], 0] > 120)) == across
    assert set(np.flatnonzero(ticks_left[: len(shown), 0] > 120)) == down


@pytest.fixture
def volume(tmp_path):
    array_kji = np.random.default_rng(0).integers(0, 100, (12, 40, 60), np.int16)
    path = tmp_path / "ct.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array_kji), str(path))
    return path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "axial slice 6 of 0 to 11, 60 x 40 px"),
        ("--axis j --slice 39", "coronal slice 39 of 0 to 39, 60 x 12 px"),
        ("--axis sagittal --slice 0 --window 40,400", "sagittal slice 0 of 0 to 59, 40 x 12 px"),
    ],
)
def test_a_slice_is_drawn(volume, tmp_path, capsys, words, told):
    picture = tmp_path / "slice.png"
    assert main(["show", str(volume), *words.split(), "-o", str(picture)]) == OK
    assert capsys.readouterr().out == f"{picture} written: {told}\n"
    assert max(SimpleITK.ReadImage(str(picture)).GetSize()) > 1600


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--slice 12 -o a.png", "there is no slice 12 along k (axial); choose one from 0 to 11"),
        ("--axis i --slice 400 -o a.png", "there is no slice 400 along i (sagittal); choose one from 0 to 59"),
        ("-o a.jpg", "end the name with .png"),
        ("-o nowhere/a.png", "there is no folder"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(volume, tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["show", str(volume), *words.split()]) == BAD_INPUT
    message = capsys.readouterr().err
    assert told in message and message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ct.nii.gz"]


def test_what_one_should_know_of_an_image_is_told_as_by_the_other_commands(volume, tmp_path, capsys):
    picture = tmp_path / "slice.png"
    assert main(["show", str(volume), "--window", "900,10", "-o", str(picture)]) == OK
    assert "note: --window 900,10 shows nothing of this image, it is one grey" in capsys.readouterr().err
    header = bytearray(gzip.decompress(volume.read_bytes()))
    header[252:256] = bytes(4)  # neither sform nor qform
    (tmp_path / "bare.nii").write_bytes(header)
    assert main(["show", str(tmp_path / "bare.nii"), "-o", str(picture)]) == OK
    (note,) = capsys.readouterr().err.splitlines()
    assert note == f"sammed2d: note: {read_volume(tmp_path / 'bare.nii').notes[0]}"
