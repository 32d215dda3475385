"""Training items: augmented views of label maps and of masks, the published placement, lazy reading, broken files."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from test_dataset import an_image
from training_cases import TINY, tiny_config, write_folder

from SAMMed2DLib.data.augmentation import box_around
from SAMMed2DLib.data.dataset import DatasetError, LabelledImage
from SAMMed2DLib.data.sa_med2d import TRAIN, read_layout
from SAMMed2DLib.model.preprocessing import PIXEL_MEAN, PIXEL_STD
from SAMMed2DLib.training import (
    LabelMaps,
    LayoutImages,
    SkippedImageWarning,
    TrainingItems,
    make_framed_item,
    make_masked_item,
    make_published_item,
    make_training_item,
    usable,
)


def test_a_training_item_has_normalised_channels_and_masks_that_are_not_empty():
    image, label = an_image()
    for seed in range(20):
        view, masks = make_training_item(np.random.default_rng(seed), image, label, 64, 4)
        assert view.shape == (3, 64, 64) and view.dtype == np.float32
        assert masks.shape == (4, 64, 64) and masks.dtype == np.uint8
        assert masks.max() == 1 and masks.any((1, 2)).all()
        raw = view * np.array(PIXEL_STD)[:, None, None] + np.array(PIXEL_MEAN)[:, None, None]
        assert raw.min() > -0.01 and raw.max() < 255.01


def test_equal_seeds_give_equal_training_items():
    image, label = an_image()
    first, second = (make_training_item(np.random.default_rng(3), image, label, 64, 2) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_masks_follow_the_geometry_of_the_image():
    image, label = an_image()
    label = (label == 1).astype(np.uint8)
    image = np.repeat((label * 255)[..., None], 3, 2)
    separated = []
    for seed in range(30):
        view, masks = make_training_item(np.random.default_rng(seed), image, label, 64, 1)
        inside = masks[0] > 0
        if 50 < inside.sum() < 64 * 64 - 50:
            separated.append(abs(view.mean(0)[inside].mean() - view.mean(0)[~inside].mean()))
    assert len(separated) > 15
    assert np.median(separated) > 1.0  # in units of the normalised image


def test_a_tiny_object_still_gives_an_item():
    label = np.zeros((200, 200), np.uint8)
    label[100, 100] = 1
    _, masks = make_training_item(np.random.default_rng(0), np.zeros((200, 200, 3), np.uint8), label, 64, 3)
    assert masks.any((1, 2)).all()


def test_an_image_without_label_is_refused():
    with pytest.raises(DatasetError, match="label map is empty"):
        make_training_item(
            np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
        )


def test_a_framed_item_shows_its_object_in_the_middle_as_the_product_does():
    label = np.zeros((120, 160), np.uint8)
    label[50:70, 60:90] = 1
    label[52:60, 100:104] = 2
    image = np.repeat((label * 100)[..., None], 3, 2)
    sides, middles = [], []
    for seed in range(40):
        view, masks = make_framed_item(np.random.default_rng(seed), image, label, 64, 4)
        assert view.shape == (3, 64, 64) and masks.any((1, 2)).all()
        assert (masks[:3] == masks[0]).all()
        if masks[0].sum() > 400:  # the larger object
            box = box_around(masks[0])
            sides.append((box[2:] - box[:2]).max() / 64)
            middles.append((box[:2] + box[2:]) / 128)
    assert np.median(sides) == pytest.approx(0.6, abs=0.08)
    assert np.abs(np.array(middles) - 0.5).max() < 0.15


@pytest.mark.parametrize("pixels", [0, 4])
def test_nothing_to_frame_is_refused(pixels):
    label = np.zeros((40, 40), np.uint8)
    label[10, 10 : 10 + pixels] = 1
    with pytest.raises(DatasetError, match="large enough to be framed"):
        make_framed_item(np.random.default_rng(0), np.zeros((40, 40, 3), np.uint8), label, 64, 2)


def overlapping_masks() -> tuple[np.ndarray, np.ndarray]:
    """An image with a large square and, inside it, a small one: masks (2, 60, 60) bool."""
    masks = np.zeros((2, 60, 60), bool)
    masks[0, 10:50, 10:50] = True
    masks[1, 20:35, 20:35] = True
    return np.repeat((masks.sum(0) * 100).astype(np.uint8)[..., None], 3, 2), masks


def test_masks_that_overlap_stay_whole_in_a_view():
    image, masks = overlapping_masks()
    nested = 0
    for seed in range(20):
        _, seen = make_masked_item(np.random.default_rng(seed), image, masks, ["a", "b"], 64, 2)
        assert seen.shape == (2, 64, 64) and set(np.unique(seen)) <= {0, 1} and seen.any((1, 2)).all()
        small, large = sorted(seen, key=np.sum)
        nested += bool((small <= large).all()) and small.sum() < large.sum()
    assert nested > 15


def test_few_masks_are_repeated_and_each_class_is_as_likely():
    image, masks = overlapping_masks()
    many = np.concatenate([masks[:1]] * 9 + [masks[1:]])
    rng = np.random.default_rng(0)
    kinds = ["large"] * 9 + ["small"]
    first = [make_masked_item(rng, image, many, kinds, 64, 1)[1][0] for _ in range(60)]
    assert 15 < sum(mask.mean() < 0.15 for mask in first) < 50
    _, seen = make_masked_item(rng, image, masks[:1], ["large"], 64, 3)
    assert (seen == seen[0]).all()


def test_the_published_item_is_padded_and_in_reverse_channel_order():
    image = np.zeros((40, 20, 3), np.uint8)
    image[...] = (10, 20, 30)
    masks = np.zeros((2, 40, 20), bool)
    masks[0, 5:9, 3:7] = True  # the other one is empty and never drawn
    view, seen = make_published_item(np.random.default_rng(0), image, masks, 64, 3)
    raw = view[:, 12:52, 22:42] * np.array(PIXEL_STD)[:, None, None] + np.array(PIXEL_MEAN)[:, None, None]
    np.testing.assert_allclose(raw, np.broadcast_to(np.array([30, 20, 10])[:, None, None], raw.shape), atol=1e-4)
    assert np.count_nonzero(view[:, :12]) == np.count_nonzero(view[:, :, 42:]) == 0
    expected = np.zeros((3, 64, 64), np.uint8)
    expected[:, 17:21, 25:29] = 1
    np.testing.assert_array_equal(seen, expected)


def test_a_large_image_is_stretched_as_published():
    masks = np.ones((1, 128, 64), bool)
    _, seen = make_published_item(np.random.default_rng(0), np.zeros((128, 64, 3), np.uint8), masks, 64, 1)
    assert seen.all()


# Items of a run


def items(pictures, count=12, **changes):
    return TrainingItems(pictures, tiny_config(synthetic_share=0.0, steps=6, **changes), count)


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("layout"))


def test_an_item_depends_on_seed_and_index_alone(a_folder):
    entries = read_layout(a_folder, TRAIN)
    first, second = items(LayoutImages(entries)), items(LayoutImages(entries, cache_bytes=0))
    second[7]  # what was read before makes no difference
    for one, other in zip(first[3], second[3], strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(first[3][1], items(LayoutImages(entries), seed=1)[3][1])


def test_an_epoch_shows_each_image_once():
    class Counted(LabelMaps):
        numbers: list[int] = []  # noqa: RUF012

        def view(self, rng, number, *rest):
            self.numbers.append(number)
            return super().view(rng, number, *rest)

    image, label = an_image()
    pictures = Counted([LabelledImage(image, label, str(n), "a") for n in range(6)])
    drawn = items(pictures)
    for index in range(12):
        drawn[index]
    assert sorted(pictures.numbers[:6]) == sorted(pictures.numbers[6:]) == list(range(6))
    assert pictures.numbers[:6] != pictures.numbers[6:]


def test_small_data_sets_are_drawn_more_often_than_their_share():
    image, label = an_image()
    bright = np.full_like(image, 250)
    many = [LabelledImage(image, label, str(n), "many") for n in range(36)]
    drawn = items(LabelMaps([*many, LabelledImage(bright, label, "one", "few")]), count=60, balance="datasets")
    numbers = [drawn._number(np.random.default_rng(n), n) for n in range(300)]
    assert 20 < numbers.count(36) < 80  # 1 in 7, not 1 in 37


def test_the_cache_is_bounded(a_folder):
    entries = read_layout(a_folder, TRAIN)
    size = 40 * 48 + 2 * 40 * 48 // 8
    pictures = LayoutImages(entries, cache_bytes=2 * size)
    for number in range(4):
        pictures.view(np.random.default_rng(0), number, tiny_config(), False, False)
    assert list(pictures._cache) == [2, 3] and pictures._held == 2 * size


def test_items_travel_to_worker_processes(a_folder):
    drawn = items(LayoutImages(read_layout(a_folder, TRAIN)))
    there = pickle.loads(pickle.dumps(drawn))
    np.testing.assert_array_equal(there[2][1], drawn[2][1])


@pytest.mark.parametrize("lesion_share", [0.0, 1.0])
@pytest.mark.parametrize("as_published", [False, True])
def test_label_maps_give_items_of_every_kind(lesion_share, as_published):
    image, label = an_image()
    pictures = LabelMaps([LabelledImage(image, label, "a", "a")])
    _, view, masks = items(pictures, lesion_share=lesion_share, as_published=as_published)[0]
    assert view.shape == (3, 32, 32) and masks.shape == (2, 32, 32) and masks.flatten(1).any(1).all()


def test_the_checksum_tells_other_data(a_folder):
    entries = read_layout(a_folder, TRAIN)
    assert LayoutImages(entries).sha256 == LayoutImages(list(entries)).sha256
    assert LayoutImages(entries).sha256 != LayoutImages(entries[:3]).sha256
    image, label = an_image()
    one = LabelledImage(image, label, "a", "a")
    assert LabelMaps([one]).sha256 != LabelMaps([replace(one, label=label + 1)]).sha256


# Broken files


def test_files_that_are_missing_or_cut_off_are_left_out_with_a_note(tmp_path):
    folder = write_folder(tmp_path, train=4)
    (folder / "images/case0_0.png").unlink()
    path = folder / "masks/case1_0_bar_0.png"
    path.write_bytes(path.read_bytes()[:-20])
    notes: list[str] = []
    left = usable(read_layout(folder, TRAIN), notes.append)
    assert [entry.image for entry in left] == ["images/case2_0.png", "images/case3_0.png"]
    assert "images/case0_0.png cannot be read" in notes[0] and "case1_0_bar_0.png is no PNG" in notes[1]


def test_of_many_files_that_are_missing_the_first_are_named_and_the_others_counted(tmp_path):
    entries = read_layout(write_folder(tmp_path, train=2), TRAIN)
    gone = [replace(entries[0], image=f"images/gone{number}.png") for number in range(13)]
    notes: list[str] = []
    assert usable([entries[1], *gone], notes.append) == [entries[1]]
    assert len(notes) == 11 and notes[-1] == "left out 3 more images for such reasons, of 14 in all"


def test_nothing_left_is_an_error(tmp_path):
    folder = write_folder(tmp_path, train=1)
    (folder / "images/case0_0.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="none of the images"):
        usable(read_layout(folder, TRAIN), lambda note: None)


def test_an_image_that_turns_out_broken_makes_way_for_another(tmp_path):
    folder = write_folder(tmp_path, train=2)
    path = folder / "images/case0_0.png"
    data = bytearray(path.read_bytes())
    data[60:120] = bytes(60)  # the ends are right, what is between is not
    path.write_bytes(data)
    entries = usable(read_layout(folder, TRAIN), lambda note: None)
    drawn = items(LayoutImages(entries))
    with pytest.warns(SkippedImageWarning, match="case0_0"):
        views = [drawn[index][1] for index in range(2)]
    assert all(view.shape == (3, TINY.image_size, TINY.image_size) for view in views)
