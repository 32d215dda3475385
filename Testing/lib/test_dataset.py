"""Reading labelled images, and their objects."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.data.augmentation import gaussian_blur, sample_linear, sample_nearest
from SAMMed2DLib.data.dataset import DatasetError, LabelledImage, objects_of, read_cache, read_manifest, write_cache


def an_image(side: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark image with a bright square (label 1) and two bright bars (label 2)."""
    label = np.zeros((side, side), np.uint8)
    label[10:30, 10:30] = 1
    label[40:50, 5:20] = 2
    label[40:50, 30:45] = 2
    return np.repeat(np.where(label, 200, 20).astype(np.uint8)[..., None], 3, 2), label


@pytest.fixture
def a_folder(tmp_path):
    image, label = an_image()
    pictures = {
        "grey": SimpleITK.GetImageFromArray(image[..., 0]),
        "colour": SimpleITK.GetImageFromArray(image, isVector=True),
        "label": SimpleITK.GetImageFromArray(label),
    }
    for name, picture in pictures.items():
        SimpleITK.WriteImage(picture, str(tmp_path / f"{name}.png"))
    rows = ["set\tmodality\timage\tlabel", "a\tCT\tgrey.png\tlabel.png", "b\tMR\tcolour.png\tlabel.png"]
    (tmp_path / "MANIFEST.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_a_manifest_gives_grey_and_colour_images_as_three_channels(a_folder):
    items = read_manifest(a_folder)
    image, label = an_image()
    assert [(i.name, i.dataset, i.modality) for i in items] == [("grey", "a", "CT"), ("colour", "b", "MR")]
    for item in items:
        np.testing.assert_array_equal(item.image, image)
        np.testing.assert_array_equal(item.label, label)


def test_a_manifest_can_be_read_in_part(a_folder):
    assert [item.dataset for item in read_manifest(a_folder, ["b"])] == ["b"]


def test_an_unknown_set_is_named(a_folder):
    with pytest.raises(DatasetError, match="no set named c"):
        read_manifest(a_folder, ["c"])


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no MANIFEST\.tsv"):
        read_manifest(tmp_path)


def test_a_broken_image_is_named(a_folder):
    (a_folder / "grey.png").write_text("not an image")
    with pytest.raises(DatasetError, match=r"grey\.png cannot be read"):
        read_manifest(a_folder)


def test_a_label_of_another_size_is_refused():
    with pytest.raises(DatasetError, match="image's size"):
        LabelledImage(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), "x", "set")


def test_a_packed_data_set_comes_back_equal(tmp_path):
    image, label = an_image()
    colour = image.copy()
    colour[0, 0] = (1, 2, 3)
    items = [LabelledImage(i, label, n, "set", "CT") for i, n in ((image, "grey"), (colour, "colour"))]
    write_cache(tmp_path / "set.npz", items)
    for before, after in zip(items, read_cache(tmp_path / "set.npz"), strict=True):
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.label, before.label)
        assert (after.name, after.dataset, after.modality) == (before.name, before.dataset, before.modality)


def test_another_file_is_no_packed_data_set(tmp_path):
    np.savez(tmp_path / "x.npz", a=1)
    with pytest.raises(DatasetError, match="not a packed data set"):
        read_cache(tmp_path / "x.npz")


def test_a_class_of_several_regions_gives_the_class_and_its_regions():
    _, label = an_image()
    areas = [int(mask.sum()) for mask in objects_of(label)]
    assert areas == [400, 300, 150, 150]


def test_small_objects_are_dropped():
    label = np.zeros((100, 100), np.uint8)
    label[0, :15] = 1  # 15 px < 0.153 %
    label[5, :16] = 2
    assert [int(mask.sum()) for mask in objects_of(label)] == [16]


def test_an_empty_label_map_has_no_objects():
    assert objects_of(np.zeros((8, 8), np.uint8)) == []


def test_sampling_on_the_pixel_grid_returns_the_array_and_zero_outside():
    array = np.arange(12, dtype=np.uint8).reshape(3, 4) + 1
    grid = np.stack(np.meshgrid(np.arange(-1, 5), np.arange(-1, 4))).astype(np.float32)
    np.testing.assert_array_equal(sample_nearest(array, grid), np.pad(array, 1))
    np.testing.assert_allclose(sample_linear(array, grid), np.pad(array, 1), atol=0.02)


def test_linear_sampling_takes_the_mean_between_pixels():
    array = np.array([[0, 10], [20, 30]], np.uint8)
    grid = np.array([[[0.5]], [[0.5]]], np.float32)
    np.testing.assert_allclose(sample_linear(array, grid), [[15]])


def test_blur_keeps_a_constant_and_the_sum_of_a_dot():
    np.testing.assert_allclose(gaussian_blur(np.full((9, 9), 0.5, np.float32), 1.3), 0.5, rtol=1e-5)
    dot = np.zeros((21, 21, 2), np.float32)
    dot[10, 10] = 1
    blurred = gaussian_blur(dot, 1.5)
    np.testing.assert_allclose(blurred.sum((0, 1)), 1, rtol=1e-5)
    assert blurred[10, 10, 0] < 0.1


def test_a_cut_off_cache_is_refused(tmp_path):
    image, label = an_image()
    write_cache(tmp_path / "a.npz", [LabelledImage(image, label, "case", "a", "CT")])
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="make it again"):
        read_cache(tmp_path / "a.npz")
