"""Pictures show slices the anatomical way up, undistorted, with masks and prompts where they belong."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.imaging.affines import ijk_from_ras
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR, Prompts, box_of_mask
from SAMMed2DLib.plots.contact_sheet import BACKGROUND, contact_sheet
from SAMMed2DLib.plots.figure import draw_over, fitting, new_figure, own_settings, text_width
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice, write_png
from SAMMed2DLib.plots.slice_view import SliceView

SIZE_IJK = (6, 8, 10)
EVERY_ORIENTATION = [
    np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
PICTURE = np.diag([-1.0, -1.0, 1.0, 1.0])  # how an image file without a patient lies
RED = (1.0, 0.0, 0.0)


def a_matrix(steps: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = steps
    return matrix


def a_plane(height: int, width: int) -> SlicePlane:
    return SlicePlane.of_axis((width, height, 1), 0, 0)


@pytest.mark.parametrize("steps", EVERY_ORIENTATION, ids=lambda steps: str(steps.astype(int).tolist()))
@pytest.mark.parametrize(
    ("axis", "left", "top", "letters"),
    [
        ("axial", (1, 0, 0), (0, 1, 0), ("R", "A")),
        ("coronal", (1, 0, 0), (0, 0, 1), ("R", "S")),
        ("sagittal", (0, 1, 0), (0, 0, 1), ("A", "S")),
    ],
)
def test_right_and_anterior_are_left_and_superior_is_up_however_the_file_is_stored(
    steps: np.ndarray, axis: str, left: tuple[int, ...], top: tuple[int, ...], letters: tuple[str, str]
) -> None:
    matrix = a_matrix(steps @ np.diag([1.0, 2.0, 3.0]))
    middle = matrix[:3, :3] @ ((np.array(SIZE_IJK) - 1) / 2)
    towards = middle + (np.array(left) + np.array(top)) * 1e3
    corner = np.clip(np.round(ijk_from_ras([towards], matrix)[0]), 0, np.array(SIZE_IJK) - 1).astype(int)
    volume = np.zeros(SIZE_IJK[::-1], bool)
    volume[tuple(corner[::-1])] = True
    number = int(np.abs(np.linalg.inv(matrix[:3, :3]) @ np.cross(left, top)).argmax())
    plane = SlicePlane.of_axis(SIZE_IJK, axis, int(corner[number]), matrix)
    view = SliceView.of(plane, matrix, 120)
    shown = view.mask(plane.extract(volume))
    assert shown[0, 0] and not shown[-1].any() and not shown[:, -1].any()
    assert view.letters == letters
    rows, columns = np.nonzero(shown)
    xy = plane.xy_from_ijk([corner])
    np.testing.assert_allclose(view.points(xy)[0], [columns.mean(), rows.mean()], atol=1.0)


def test_a_picture_file_is_shown_as_it_is_stored() -> None:
    view = SliceView.of(a_plane(3, 4), PICTURE, 4)
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(view.picture(image), image.astype(np.float32))
    assert (view.letters, view.size_hw) == (("R", "A"), (3, 4))


@pytest.mark.parametrize(("spacing", "size_hw"), [((1, 1), (100, 200)), ((1, 4), (200, 100)), ((0.5, 1.0), (200, 200))])
def test_pixels_become_square(spacing: tuple[float, float], size_hw: tuple[int, int]) -> None:
    view = SliceView.of(a_plane(20, 40), PICTURE @ np.diag([*spacing, 1, 1]), 200)
    assert view.size_hw == size_hw


def test_small_slices_are_enlarged_and_large_ones_kept() -> None:
    assert SliceView.of(a_plane(16, 32), PICTURE, 512).size_hw == (256, 512)
    assert SliceView.of(a_plane(800, 1000), PICTURE, 512).size_hw == (800, 1000)


def test_a_very_large_slice_is_drawn_smaller_and_in_place() -> None:
    image = np.full((3000, 4500, 3), 40, np.uint8)
    image[1000:2000, 1500:3000] = 200
    view = SliceView.of(SlicePlane.of_axis((4500, 3000, 1), 0, 0), np.eye(4))
    picture = draw_slice(image, view, [MaskLayer(image[..., 0] > 100, (1.0, 0.0, 0.0), fill=0.0)], letters=False)
    assert picture.shape == (1365, 2048, 3)
    assert (picture[600:760, 800:1200] == 200).all() and (picture[:400] == 40).all()
    red = np.argwhere((picture == (255, 0, 0)).all(axis=-1))
    edges = np.array([[1000, 1500], [2000, 3000]]) * (2048 / 4500)
    np.testing.assert_allclose([red.min(axis=0), red.max(axis=0) + 1], np.sort(edges, axis=0), atol=1.5)


def test_enlarging_interpolates_between_pixel_centres() -> None:
    view = SliceView.of(a_plane(1, 2), PICTURE, 4)
    image = np.array([[[0] * 3, [100] * 3]], np.uint8)
    np.testing.assert_allclose(view.picture(image)[0, :, 0], [0, 25, 75, 100])
    np.testing.assert_array_equal(view.mask(np.array([[False, True]])), [[False, False, True, True]] * 2)


def test_a_very_flat_slice_is_averaged_not_skipped() -> None:
    view = SliceView.of(a_plane(2, 100), PICTURE @ np.diag([0.01, 1, 1, 1]), 100)
    stripes = np.zeros((2, 100, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(view.picture(stripes) - 100).max() < 1


def test_a_mask_is_filled_softly_and_its_rim_is_opaque() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:8, 2:8] = True
    view = SliceView.of(a_plane(10, 10), PICTURE, 100)
    image = np.full((10, 10, 3), 100, np.uint8)
    picture = draw_slice(image, view, [MaskLayer(mask, RED, fill=0.5)], letters=False)
    assert picture[50, 50].tolist() == [178, 50, 50]
    assert picture[20, 50].tolist() == [255, 0, 0] and picture[79, 79].tolist() == [255, 0, 0]
    assert picture[19, 50].tolist() == [100, 100, 100] and picture[80, 50].tolist() == [100, 100, 100]


def test_an_empty_mask_and_no_prompt_leave_the_slice_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    view = SliceView.of(a_plane(12, 12), PICTURE, 12)
    layers = [MaskLayer(np.zeros((12, 12), bool), RED)]
    np.testing.assert_array_equal(draw_slice(image, view, layers, [Prompts.of()], letters=False), image)


def has_color(picture: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    return (np.abs(picture.astype(float) - np.array(color) * 255) <= 1).all(axis=-1)


def test_points_and_a_box_have_their_colours_around_their_pixels() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 4:14] = True
    view = SliceView.of(a_plane(20, 30), PICTURE, 300)
    prompts = Prompts.of(positive=[(8, 7)], negative=[(25, 15)], box=box_of_mask(mask))
    picture = draw_slice(np.zeros((20, 30, 3), np.uint8), view, (), [prompts], letters=False)
    for color, (x, y) in ((POSITIVE_COLOR, (85, 75)), (NEGATIVE_COLOR, (255, 155))):
        rows, columns = np.nonzero(has_color(picture, color))
        np.testing.assert_allclose([columns.mean(), rows.mean()], [x, y], atol=1)
    rows, columns = np.nonzero(has_color(picture, BOX_COLOR))
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], [40, 50, 140, 100], atol=1)


@pytest.mark.parametrize("point", [(0, 0), (29, 19), (0, 19), (-0.5, 10)])
def test_a_point_at_the_border_is_drawn_as_far_as_it_fits(point: tuple[float, float]) -> None:
    view = SliceView.of(a_plane(20, 30), PICTURE, 300)
    black = np.zeros((20, 30, 3), np.uint8)
    green = has_color(draw_slice(black, view, (), [Prompts.of(positive=[point])], letters=False), POSITIVE_COLOR)
    x, y = view.points(np.array(point))[0]
    rows, columns = np.nonzero(green)
    assert len(rows) and np.hypot(columns - x, rows - y).max() <= 3.5 + 2


def test_letters_name_the_left_and_the_top_edge_and_the_rest_stays() -> None:
    view = SliceView.of(a_plane(100, 100), PICTURE, 400)
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3)).astype(np.uint8)
    changed = (draw_slice(image, view) != draw_slice(image, view, letters=False)).any(axis=-1)
    left, top = np.zeros_like(changed), np.zeros_like(changed)
    left[170:230, :40] = top[:40, 170:230] = True
    assert changed[left].sum() > 50 and changed[top].sum() > 50 and not changed[~(left | top)].any()


def test_letters_are_seen_on_white_and_on_black() -> None:
    view = SliceView.of(a_plane(100, 100), PICTURE, 400)
    for grey in (0, 255):
        shown = draw_slice(np.full((100, 100, 3), grey, np.uint8), view).astype(int)
        assert (np.abs(shown - grey) > 150).all(axis=-1).sum() > 40


def test_a_picture_too_small_for_letters_has_none() -> None:
    flat = SliceView.of(a_plane(10, 100), PICTURE, 100)
    image = np.full((10, 100, 3), 90, np.uint8)
    assert (draw_slice(image, flat) == 90).all()


def test_a_sheet_lays_pictures_out_in_rows_under_their_captions() -> None:
    pictures = [np.full((60, 90, 3), color, np.uint8) for color in (50, 100, 150)]
    bare = contact_sheet(pictures, columns=2)
    sheet = contact_sheet(pictures, ["one", "", "three\nmore"], columns=2)
    head = (sheet.shape[0] - bare.shape[0]) // 2
    gap, step = 8, 60 + head + 8
    assert bare.shape == (2 * 68 + gap, 2 * 98 + gap, 3) and head > 40
    tops, lefts = (gap + head, gap + head, gap + head + step), (gap, gap + 98, gap)
    for picture, top, left in zip(pictures, tops, lefts, strict=True):
        np.testing.assert_array_equal(sheet[top : top + 60, left : left + 90], picture)
    assert (sheet[gap : gap + head, gap : gap + 90] > 200).any()
    assert (sheet[gap : gap + head, gap + 98 : gap + 188] == BACKGROUND).all()
    second = sheet[tops[2] - head : tops[2], gap : gap + 90]
    assert (second[: head // 2] > 200).any() and (second[head // 2 :] > 200).any()


def test_a_caption_stays_within_its_picture() -> None:
    pictures = [np.full((60, 90, 3), 50, np.uint8)] * 2
    sheet = contact_sheet(pictures, ["a caption that is far too long for its picture", ""], columns=2)
    head = sheet.shape[0] - 60 - 8
    assert (sheet[:head, 40:98] > 200).any() and (sheet[:head, 99:] == BACKGROUND).all()


def test_a_sheet_without_pictures_or_with_other_captions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
    with pytest.raises(ValueError, match="2 captions for 1 pictures"):
        contact_sheet([np.zeros((2, 2, 3), np.uint8)], ["a", "b"])


@pytest.mark.parametrize("text", ["abcdefgh", "", "$a$ and $b", "W" * 300, "\N{CJK UNIFIED IDEOGRAPH-732B}" * 9])
@pytest.mark.parametrize("width_px", [0, 30, 100, 1000])
def test_text_that_is_too_long_is_cut(text: str, width_px: int) -> None:
    with own_settings():
        figure = new_figure((10, 10))
        cut = fitting(figure, text, width_px)
        assert text_width(figure, cut) <= width_px
        if cut != text:
            assert text_width(figure, text) > width_px
            assert not cut or (cut.endswith("\N{HORIZONTAL ELLIPSIS}") and text.startswith(cut[:-1]))


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 1777), (1023, 999), (1601, 1602)])
def test_a_figure_has_the_size_that_was_asked_for(size_hw: tuple[int, int]) -> None:
    picture = np.full((*size_hw, 3), 7, np.uint8)
    with own_settings():
        draw_over(picture, new_figure(size_hw))
    assert (picture == 7).all()


def test_a_png_comes_back_and_other_names_are_refused(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", picture)
    read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.png")))
    np.testing.assert_array_equal(read, picture)
    with pytest.raises(ValueError, match=r"written as \.png"):
        write_png(tmp_path / "a.jpg", picture)
