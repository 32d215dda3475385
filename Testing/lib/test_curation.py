"""Curation: what is read, how volumes become pictures with masks, and what stays together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from curation_cases import SHAPE_KJI, a_block, a_volume, write, write_dicom, write_table

from SAMMed2DLib.data.curation.assembly import assemble
from SAMMed2DLib.data.curation.case_writer import write_png
from SAMMed2DLib.data.curation.curation_options import PUBLISHED_MASK_SHARE, CurationOptions, Shares
from SAMMed2DLib.data.curation.curation_run import Curated, curate
from SAMMed2DLib.data.curation.duplicates import Groups, differ, same_images, thumbnail
from SAMMed2DLib.data.curation.slices import cuts
from SAMMed2DLib.data.curation.sources.cases import (
    Case,
    CurationError,
    check_names,
    file_name,
    read_cases,
    read_class_names,
)
from SAMMed2DLib.data.curation.sources.discovery import discover
from SAMMed2DLib.data.curation.sources.label_stack import LabelStack, read_labels
from SAMMed2DLib.data.sa_med2d import read_layout, read_manifest
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.io.segmentation_io import Segment, write_segmentation
from SAMMed2DLib.io.volume_io import Volume, VolumeError, read_volume

ALL = CurationOptions(similar=0, min_share=0, min_sides=0)


def a_case(image: Path, *labels: Path, **more) -> Case:
    return Case(**{"image": image, "labels": labels, "name": "one", "case": "one", "dataset": "set"} | more)


def a_stack(*labels: np.ndarray, classes: dict[int, str] | None = None) -> LabelStack:
    stack = LabelStack(labels[0].shape)
    for number, one in enumerate(labels, 1):
        stack.add(one, classes or {int(v): f"class {v}" for v in np.unique(one) if v} or {number: ""})
    return stack


def cut_all(volume: np.ndarray, labels: LabelStack, options: CurationOptions = ALL, spacing=(1, 1, 1)):
    """The cuts of a volume, and what was dropped."""
    dropped: Counter[str] = Counter()
    whole = Volume(volume, np.diag([*spacing, 1.0]), volume.ndim == 4, "one")
    found = list(cuts(whole, labels, a_case(Path("image"), Path("labels")), options, dropped))
    return found, dropped


def labels_of(case: Case, names: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """Class -> (K, J, I) bool."""
    stack = read_labels(case, read_volume(case.image), names or {})
    found = {name: [layer == n for layer in stack.layers] for n, name in enumerate(stack.classes, 1)}
    return {name: np.any(masks, axis=0) for name, masks in found.items()}


# Tables of cases


def test_a_table_names_images_labels_and_what_is_known(tmp_path):
    for name in ("a.nrrd", "a_liver.nrrd", "b.nrrd"):
        write(tmp_path / name, a_block())
    cells = "a.nrrd", "a_liver.nrrd; b.nrrd", "patient 1", "CT", "40,400", "1=liver;2=left kidney", "train"
    columns = "image", "labels", "case", "modality", "window", "classes", "split"
    table = write_table(tmp_path / "cases.csv", "\t".join(cells), columns="\t".join(columns))
    (case,) = read_cases(table)
    assert case == Case(
        tmp_path / "a.nrrd",
        (tmp_path / "a_liver.nrrd", tmp_path / "b.nrrd"),
        "patient 1-a",
        "patient 1",
        tmp_path.name,
        "CT",
        (40, 400),
        "train",
        {1: "liver", 2: "left kidney"},
        "a.nrrd",
    )


@pytest.mark.parametrize(
    ("columns", "line", "words"),
    [
        ("image,mask", "a.nrrd,a.nrrd", "no column labels"),
        ("image,labels", "a.nrrd,", "line 2: image or labels is empty"),
        ("image,labels", "a.nrrd,gone.nrrd", "gone.nrrd is not there"),
        ("image,labels,split", "a.nrrd,a.nrrd,training", "split 'training' is none; use train, validation, test"),
        ("image,labels,window", "a.nrrd,a.nrrd,40", "must be centre and width"),
        ("image,labels,window", 'a.nrrd,a.nrrd,"40,0"', "has no width"),
        ("image,labels,classes", "a.nrrd,a.nrrd,liver", "must be a value and its name"),
        ("image,labels", "", "lists no case"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_to_do(tmp_path, columns, line, words):
    write(tmp_path / "a.nrrd", a_block())
    with pytest.raises(CurationError, match=words):
        read_cases(write_table(tmp_path / "cases.csv", line, columns=columns))


def test_images_of_one_name_are_refused():
    cases = [a_case(Path("1/ct.nii"), Path("l")), a_case(Path("2/ct.nii"), Path("l"))]
    with pytest.raises(CurationError, match=r"1/ct.nii and 2/ct.nii are both named one.*column case"):
        check_names(cases)


@pytest.mark.parametrize(
    ("text", "name"),
    [("left kidney", "left-kidney"), ("a/b\\c:*", "a-b-c"), ("Zyste_1 ü", "Zyste-1-ü"), ("..", "unnamed")],
)
def test_file_names_hold_no_underscore_and_nothing_forbidden(text, name):
    assert file_name(text) == name


def test_names_of_classes_may_rename_join_and_leave_out(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    labels = a_block(1)
    labels[0, 0, :2] = 2, 3
    case = a_case(image, write(tmp_path / "l.nrrd", labels))
    (tmp_path / "names.csv").write_text("label,name\n1,liver\n2,\n3,liver\n")
    found = labels_of(case, read_class_names(tmp_path / "names.csv"))
    assert list(found) == ["liver"]
    assert np.array_equal(found["liver"], (labels == 1) | (labels == 3))


# Labels


def test_values_without_a_name_are_called_label(tmp_path):
    case = a_case(write(tmp_path / "a.nrrd", a_volume()), write(tmp_path / "l.nrrd", a_block(3)))
    assert list(labels_of(case)) == ["label_3"]
    assert list(labels_of(dataclasses.replace(case, classes={3: "spleen"}))) == ["spleen"]


def test_files_of_one_structure_each_are_named_by_the_file_and_may_overlap(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    for name, start in (("liver", 4), ("tumour", 8), ("spleen", 20)):
        write(tmp_path / f"seg/{name}.nii.gz", a_block(1, start=start, stop=start + 8))
    found = labels_of(a_case(image, tmp_path / "seg"))
    assert {name: int(mask.sum()) for name, mask in found.items()} == {"liver": 512, "tumour": 512, "spleen": 256}
    assert (found["liver"] & found["tumour"]).any()


def test_the_segments_of_slicer_keep_names_and_overlaps(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    masks = [a_block().astype(bool), a_block(start=10).astype(bool)]
    write_segmentation(tmp_path / "a.seg.nrrd", masks, read_volume(image), [Segment("liver"), Segment("left part")])
    found = labels_of(a_case(image, tmp_path / "a.seg.nrrd"))
    assert list(found) == ["liver", "left part"]
    assert all(np.array_equal(found[name], mask) for name, mask in zip(found, masks, strict=True))


def test_labels_as_whole_floats_are_read_and_others_refused(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    assert list(labels_of(a_case(image, write(tmp_path / "l.nrrd", a_block(2).astype(np.float32))))) == ["label_2"]
    with pytest.raises(CurationError, match="no label map"):
        labels_of(a_case(image, write(tmp_path / "l.nrrd", a_block(2).astype(np.float32) / 3)))


def test_a_class_of_two_files_is_one_class(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    first, second = a_block(start=4, stop=8), a_block(start=6, stop=12)
    paths = [write(tmp_path / "left.nrrd", first), write(tmp_path / "right.nrrd", second)]
    found = labels_of(a_case(image, *paths), {"left": "kidney", "right": "kidney"})
    assert np.array_equal(found["kidney"], (first | second).astype(bool))


def test_a_cropped_label_map_is_put_in_place(tmp_path):
    image, labels = write(tmp_path / "a.nrrd", a_volume()), a_block()
    path = write(tmp_path / "l.nrrd", labels[6:20, 5:22, 4:30], origin=(4, 5, 6))
    stack = read_labels(a_case(image, path), read_volume(image), {})
    assert np.array_equal(stack.layers[0], labels)
    assert stack.notes == ["l.nrrd: covers only a part of the image; beyond it nothing is labelled"]


def test_a_preview_among_files_of_structures_is_no_structure(tmp_path):
    image = write(tmp_path / "a.nrrd", a_volume())
    write(tmp_path / "seg/liver.nrrd", a_block())
    write(tmp_path / "seg/preview.png", np.zeros((5, 5, 3), np.uint8))
    assert list(labels_of(a_case(image, tmp_path / "seg"))) == ["liver"]


def test_labels_on_another_grid_are_resampled_with_a_note(tmp_path):
    image, labels = write(tmp_path / "a.nrrd", a_volume()), a_block(start=8, stop=16)
    path = write(tmp_path / "l.nrrd", labels[::2, ::2, ::2], spacing=(2, 2, 2), origin=(0.5, 0.5, 0.5))
    stack = read_labels(a_case(image, path), read_volume(image), {})
    assert np.array_equal(stack.layers[0], labels)
    assert stack.notes == ["l.nrrd: labels resampled to the image's grid (nearest)"]


def test_labels_that_lie_elsewhere_are_an_error(tmp_path):
    case = a_case(write(tmp_path / "a.nrrd", a_volume()), write(tmp_path / "l.nrrd", a_block(), origin=(100, 0, 0)))
    with pytest.raises(CurationError, match=r"l\.nrrd: lies elsewhere than its image: 100 %"):
        labels_of(case)


def test_a_picture_and_labels_of_another_size_are_an_error(tmp_path):
    image = write(tmp_path / "a.png", np.zeros((8, 9), np.uint8) + np.arange(9, dtype=np.uint8))
    case = a_case(image, write(tmp_path / "l.png", np.ones((9, 9), np.uint8)))
    with pytest.raises(CurationError, match="is 9 x 9 x 1 px, its image 9 x 8 x 1"):
        labels_of(case)


def test_labels_in_colour_are_an_error(tmp_path):
    image = write(tmp_path / "a.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[2:5, 2:5, 0] = 255
    with pytest.raises(CurationError, match="its labels are colours; save them as grey values"):
        labels_of(a_case(image, write(tmp_path / "l.png", colour)))


# Slices


@pytest.mark.parametrize("letter", "kji")
def test_a_slice_is_that_of_its_axis_as_stored(letter):
    volume, labels = a_volume(), a_block()
    found, _ = cut_all(volume, a_stack(labels), dataclasses.replace(ALL, axes=letter, full_range=True))
    assert [cut.number for cut in found] == list(range(8, 18))
    plane = SlicePlane.of_axis(volume.shape[::-1], "kji".index(letter), found[0].number)
    want = plane.extract(volume).astype(float)
    want = (want - volume.min()) / (float(volume.max()) - volume.min()) * 255
    assert np.abs(found[0].image - want).max() <= 0.5
    assert np.array_equal(found[0].masks[0].mask_hw, plane.extract(labels) != 0)


def test_all_axes_are_cut_in_the_order_k_j_i():
    found, _ = cut_all(a_volume(), a_stack(a_block()))
    assert [cut.axis for cut in found] == ["k"] * 10 + ["j"] * 10 + ["i"] * 10


def test_slices_across_thicker_ones_have_square_pixels():
    found, _ = cut_all(a_volume(), a_stack(a_block()), spacing=(1, 1, 2))
    assert {cut.axis: cut.image.shape for cut in found} == {"k": (32, 40), "j": (48, 40), "i": (48, 32)}
    mask = next(cut for cut in found if cut.axis == "j").masks[0].mask_hw
    assert np.array_equal(np.flatnonzero(mask.any(axis=1)), np.arange(16, 36))


def test_slices_across_very_thick_ones_only_when_asked_for():
    found, dropped = cut_all(a_volume(), a_stack(a_block()), spacing=(1, 1, 5))
    assert {cut.axis for cut in found} == {"k"}
    assert dropped["slices across thick ones"] == 32 + 40
    found, _ = cut_all(a_volume(), a_stack(a_block()), dataclasses.replace(ALL, all_axes=True), spacing=(1, 1, 5))
    assert {cut.axis for cut in found} == {"k", "j", "i"}


@pytest.mark.parametrize(("length", "axes"), [(15, {"k"}), (20, {"k", "j", "i"})])
def test_slices_with_a_short_side_under_half_the_long_one_are_dropped(length, axes):
    shape = (length, 40, 40)
    found, _ = cut_all(
        a_volume(shape), a_stack(a_block(shape=shape, start=4, stop=14)), CurationOptions(similar=0, min_share=0)
    )
    assert {cut.axis for cut in found} == axes


@pytest.mark.parametrize(("px", "is_kept"), [(99, False), (100, True)])
def test_a_mask_of_under_100_px_in_256_x_256_is_dropped(px, is_kept):
    labels = np.zeros((1, 256, 256), np.uint8)
    labels.ravel()[1000 : 1000 + px] = 1
    found, dropped = cut_all(a_volume((1, 256, 256)), a_stack(labels), CurationOptions())
    assert bool(found) == is_kept and dropped["masks too small"] == (not is_kept)


def test_one_mask_for_the_class_and_one_for_each_large_part():
    labels = np.zeros((1, 64, 64), np.uint8)
    labels[0, 2:10, 2:10] = labels[0, 30:40, 30:40] = labels[0, 60, 60] = 1
    labels[0, 50:60, 2:10] = 2
    (cut,), _ = cut_all(a_volume((1, 64, 64)), a_stack(labels), CurationOptions())
    found = [(mask.anatomy, mask.instance, int(mask.mask_hw.sum())) for mask in cut.masks]
    assert found == [("class 1", 0, 165), ("class 1", 1, 64), ("class 1", 2, 100), ("class 2", 0, 80)]


def test_overlapping_classes_are_both_whole():
    first, second = a_block(1, (1, 64, 64)), a_block(2, (1, 64, 64))
    first[0, 5:40, 5:40], second[0, 20:50, 20:50] = 1, 2
    (cut,), _ = cut_all(a_volume((1, 64, 64)), a_stack(first, second), CurationOptions())
    assert [int(mask.mask_hw.sum()) for mask in cut.masks] == [35 * 35, 30 * 30]


def test_at_most_so_many_slices_evenly_spread():
    found, dropped = cut_all(a_volume(), a_stack(a_block()), dataclasses.replace(ALL, axes="k", max_slices=2))
    assert [cut.number for cut in found] == [10, 15]
    assert dropped["slices beyond the number asked for"] == 8


def test_neighbours_that_hardly_differ_are_dropped_but_not_where_the_labels_change():
    volume = np.repeat(a_volume((1, 32, 40)), 24, axis=0)
    labels = a_block()
    labels[14:, 8:18, 8:12] = 0
    found, dropped = cut_all(volume, a_stack(labels), CurationOptions(axes="k"))
    assert [cut.number for cut in found] == [8, 14]
    assert dropped["slices much like the one before"] == 8


def test_a_colour_picture_stays_as_it_is():
    volume = np.random.default_rng(0).integers(0, 200, (1, 32, 40, 3)).astype(np.uint8)
    (cut,), _ = cut_all(volume, a_stack(a_block(shape=(1, 32, 40), start=0)), CurationOptions())
    assert (cut.axis, cut.number) == ("", -1)
    assert np.array_equal(cut.image, volume[0])


def test_eight_bit_grey_stays_as_it_is_unless_a_window_is_given():
    volume = np.random.default_rng(0).integers(50, 200, (1, 32, 40)).astype(np.uint8)
    labels = a_stack(a_block(shape=(1, 32, 40), start=0))
    assert np.array_equal(cut_all(volume, labels, CurationOptions())[0][0].image, volume[0])
    assert cut_all(volume, labels, CurationOptions(window=(125, 100)))[0][0].image.max() == 255


@pytest.mark.parametrize(
    "options", [{"axes": "xy"}, {"axes": ""}, {"min_share": 1}, {"min_sides": -1}, {"similar": 2}, {"max_slices": -1}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(CurationError):
        CurationOptions(**options)


def test_the_published_share_of_a_mask_is_153_thousandths_of_a_percent():
    assert round(100 * PUBLISHED_MASK_SHARE, 3) == 0.153


# Files of pictures


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 257), (6, 4, 3), (33, 1, 3)])
def test_a_picture_is_read_back_by_others_as_it_was(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    write_png(tmp_path / "a.png", picture)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.png"))), picture)


def test_a_mask_is_written_as_0_and_255(tmp_path):
    mask = np.random.default_rng(0).random((9, 8)) > 0.5
    write_png(tmp_path / "a.png", mask)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.png"))), mask * 255)


# Splits


def test_shares_are_kept_about_and_more_cases_move_none():
    shares = Shares.of((80, 10, 10))
    splits = {str(n): shares.split_of("set", str(n)) for n in range(2000)}
    counts = Counter(splits.values())
    assert 1500 < counts["train"] < 1700 and 150 < counts["validation"] < 250 and 150 < counts["test"] < 250
    assert [shares.split_of("set", str(n)) for n in range(100)] == list(splits.values())[:100]


def test_another_seed_divides_in_another_way():
    splits = [[Shares(seed=seed).split_of("set", str(n)) for n in range(50)] for seed in ("", "other")]
    assert splits[0] != splits[1]


def test_a_share_of_zero_gets_nothing():
    assert {Shares.of((1, 0, 1)).split_of("set", str(n)) for n in range(50)} == {"train", "test"}


@pytest.mark.parametrize("numbers", [(1, 2), (0, 0, 0), (1, -1, 1), (float("nan"), 1, 1)])
def test_shares_that_make_no_sense_are_refused(numbers):
    with pytest.raises(CurationError, match="three shares"):
        Shares.of(numbers)


# The same image twice


def test_the_same_image_is_found_whatever_its_brightness_and_size():
    image = np.kron(np.random.default_rng(0).integers(0, 200, (12, 12)), np.ones((8, 8))).astype(np.uint8)
    brighter = (image * 0.6 + 60).astype(np.uint8)
    half = image[::2, ::2]
    other = np.kron(np.random.default_rng(1).integers(0, 200, (12, 12)), np.ones((8, 8))).astype(np.uint8)
    images = [image, other, brighter, half]
    sizes = [one.shape for one in images]
    pairs = set(same_images([thumbnail(one) for one in images], "abcd", sizes))
    assert pairs == {(0, 2), (0, 3), (2, 3)}
    assert set(same_images([thumbnail(one) for one in images], "aaaa", sizes)) == set()


def test_images_without_contrast_are_not_compared():
    assert list(same_images([np.zeros((16, 16), np.float32)] * 2, "ab", [(9, 9), (9, 9)])) == []


def test_groups_join_by_pairs():
    groups = Groups()
    groups.join(1, 2)
    groups.join(3, 2)
    assert groups.root(1) == groups.root(3) != groups.root(4)


def test_a_thumbnail_is_an_average():
    assert np.allclose(thumbnail(np.arange(32 * 48).reshape(32, 48).astype(np.float32), 2).mean(), (32 * 48 - 1) / 2)
    assert differ(np.zeros((2, 2)), np.full((2, 2), 51)) == pytest.approx(0.2)


# Discovery


def found_in(folder: Path) -> dict[str, list[str]]:
    return {case.image.relative_to(folder).as_posix(): [p.name for p in case.labels] for case in discover(folder).cases}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("files", "pairs", "unpaired"),
    [
        ("images/a.png images/b.png labels/a.png labels/c.png", {"images/a.png": ["a.png"]}, 2),
        ("images/a.png masks/a_mask.png", {"images/a.png": ["a_mask.png"]}, 0),
        ("images/a_image.png masks/a_mask_1.png", {"images/a_image.png": ["a_mask_1.png"]}, 0),
        ("images/a.nrrd labels/a/liver.nrrd labels/a/spleen.nrrd", {"images/a.nrrd": ["a"]}, 0),
        ("a.nrrd a_seg.nrrd a-label.nii.gz b.nrrd", {"a.nrrd": ["a-label.nii.gz", "a_seg.nrrd"]}, 1),
        ("x/a.nrrd x/a.seg.nrrd y/b.png y/b_labels.png", {"x/a.nrrd": ["a.seg.nrrd"], "y/b.png": ["b_labels.png"]}, 0),
        ("CT.nrrd Segmentation.seg.nrrd", {"CT.nrrd": ["Segmentation.seg.nrrd"]}, 0),
        ("s1/ct.nii.gz s1/segmentations/liver.nii.gz", {"s1/ct.nii.gz": ["segmentations"]}, 0),
        ("imagesTr/a_0000.png imagesTr/a_0001.png labelsTr/a.png imagesTs/b_0000.png",
         {"imagesTr/a_0000.png": ["a.png"], "imagesTr/a_0001.png": ["a.png"]}, 1),
        ("images/deep/a.png images/b.png labels/b.png", {"images/b.png": ["b.png"]}, 1),
        ("a/image.nii.gz a/label.nii.gz b/image.nii.gz b/label.nii.gz",
         {"a/image.nii.gz": ["label.nii.gz"], "b/image.nii.gz": ["label.nii.gz"]}, 0),
        ("a/imaging.nii.gz a/segmentation.nii.gz", {"a/imaging.nii.gz": ["segmentation.nii.gz"]}, 0),
        ("a/ct.nrrd a/mask.nrrd", {"a/ct.nrrd": ["mask.nrrd"]}, 0),
        ("a/img.png a/gt.png", {"a/img.png": ["gt.png"]}, 0),
        ("a/t1.nii.gz a/t2.nii.gz a/seg.nii.gz", {"a/t1.nii.gz": ["seg.nii.gz"], "a/t2.nii.gz": ["seg.nii.gz"]}, 0),
        ("volume-0.nii segmentation-0.nii volume-1.nii", {"volume-0.nii": ["segmentation-0.nii"]}, 1),
        ("img_7.png label_7.png img12.png mask12.png", {"img_7.png": ["label_7.png"], "img12.png": ["mask12.png"]}, 0),
        ("image_a.nrrd label_a.nrrd", {"image_a.nrrd": ["label_a.nrrd"]}, 0),
    ],
)  # fmt: skip
def test_common_layouts_are_found(tmp_path, files, pairs, unpaired):
    touch(tmp_path, *files.split())
    assert found_in(tmp_path) == pairs
    assert len(discover(tmp_path).unpaired) == unpaired


def test_a_case_in_a_folder_of_its_own_is_named_by_the_folder(tmp_path):
    touch(tmp_path / "data", "p1/image.nii.gz", "p1/label.nii.gz", "p2/image.nii.gz", "p2/label.nii.gz")
    cases = discover(tmp_path).cases
    assert [(one.dataset, one.case, one.name) for one in cases] == [
        ("data", "p1", "p1-image"),
        ("data", "p2", "p2-image"),
    ]
    check_names(cases)


def test_bids_pairs_by_the_parts_of_names_also_in_derivatives(tmp_path):
    root = tmp_path / "ds1"
    anat = "sub-01/ses-1/anat/sub-01_ses-1"
    touch(
        root,
        f"{anat}_T1w.nii.gz",
        f"{anat}_run-1_T2w.nii.gz",
        f"{anat}_run-2_T2w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz",
        "sub-02/anat/sub-02_FLAIR.nii.gz",
        "sub-02/anat/sub-02_FLAIR_seg-manual.nii.gz",
        "sub-03/anat/sub-03_ct.nii.gz",
        f"derivatives/labels/{anat}_T1w_label-lesion_mask.nii.gz",
        f"derivatives/labels/{anat}_run-2_T2w_label-lesion_mask.nii.gz",
        f"derivatives/labels/{anat}_run-2_T2w_label-oedema_mask.nii.gz",
        "derivatives/prep/sub-02/anat/sub-02_desc-preproc_FLAIR.nii.gz",
        "derivatives/labels/sub-09/anat/sub-09_T1w_dseg.nii.gz",
    )
    found = discover(root)
    assert {case.name: [p.name for p in case.labels] for case in found.cases} == {
        "sub-01_ses-1_T1w": ["sub-01_ses-1_T1w_label-lesion_mask.nii.gz"],
        "sub-01_ses-1_run-2_T2w": [
            "sub-01_ses-1_run-2_T2w_label-lesion_mask.nii.gz",
            "sub-01_ses-1_run-2_T2w_label-oedema_mask.nii.gz",
        ],
        "sub-02_FLAIR": ["sub-02_FLAIR_seg-manual.nii.gz"],
    }
    assert {(case.case, case.dataset, case.modality) for case in found.cases} == {
        ("sub-01", "ds1", "MR"),
        ("sub-02", "ds1", "MR"),
    }
    assert sorted(Path(line.split(" (")[0]).name for line in found.unpaired) == [
        "sub-01_ses-1_run-1_T2w.nii.gz",
        "sub-01_ses-2_T1w.nii.gz",
        "sub-03_ct.nii.gz",
        "sub-09_T1w_dseg.nii.gz",
    ]


def test_classes_in_bids_are_named_alike_in_all_subjects(tmp_path):
    for subject in ("01", "02"):
        place = tmp_path / f"sub-{subject}/anat/sub-{subject}"
        write(Path(f"{place}_T1w.nii.gz"), a_volume())
        for n, structure in enumerate(("lesion", "oedema")):
            write(Path(f"{place}_T1w_label-{structure}_mask.nii.gz"), a_block(1, start=4 + 8 * n, stop=10 + 8 * n))
        write(Path(f"{place}_T2w.nii.gz"), a_volume())
        write(Path(f"{place}_T2w_dseg.nii.gz"), a_block(7))
    (tmp_path / "dseg.tsv").write_text("index\tname\n0\tbackground\n7\tputamen\n")
    names = [list(labels_of(case)) for case in discover(tmp_path).cases]
    assert names == [["lesion", "oedema"], ["putamen"]] * 2


def test_a_mask_with_soft_edges_does_not_become_many_classes(tmp_path):
    j, i = np.indices((32, 40)) - 16
    soft = np.rint(255 * np.clip((14 - np.hypot(i, j)) / 6, 0, 1)).astype(np.uint8)
    case = a_case(write(tmp_path / "a.png", a_volume((32, 40)).astype(np.uint8)), write(tmp_path / "m.png", soft))
    with pytest.raises(VolumeError, match=r"its \d+ values are grades, not labels"):
        labels_of(case)


def test_nnunet_tells_classes_and_modality(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png")
    about = '{"name": "Liver", "channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "liver": 1}}'
    (tmp_path / "dataset.json").write_text(about)
    first, second = discover(tmp_path).cases
    assert (first.dataset, first.case, first.name, first.modality) == ("Liver", "a", "a_0000", "CT")
    assert (second.case, second.name, second.modality) == ("a", "a_0001", "PET")
    assert first.classes == {1: "liver"}


def test_older_nnunet_has_values_as_keys(tmp_path):
    touch(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png")
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "MRI"}, "labels": {"0": "background", "2": "tumour"}}')
    (case,) = discover(tmp_path).cases
    assert (case.modality, case.classes) == ("MRI", {2: "tumour"})


def test_totalsegmentator_names_the_case_by_its_folder(tmp_path):
    touch(
        tmp_path / "data", "s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s2/mri.nii.gz", "s2/segmentations/a.nii.gz"
    )
    cases = discover(tmp_path).cases
    assert [(one.dataset, one.case, one.name, one.modality) for one in cases] == [
        ("data", "s1", "s1-ct", "CT"),
        ("data", "s2", "s2-mri", "MR"),
    ]


def test_data_that_were_curated_into_the_folder_are_not_taken_for_its_images(tmp_path):
    cases = a_data_set(tmp_path, 1)
    curated(cases, tmp_path / "data")
    found = discover(tmp_path)
    assert [case.image for case in found.cases] == [cases[0].image]
    assert found.unpaired == [f"{tmp_path / 'data'} (was made by this command)"]


def test_a_dicom_series_beside_its_labels_is_one_image(tmp_path):
    write_dicom(tmp_path / "images/anna", a_volume())
    write(tmp_path / "labels/anna.nrrd", a_block())
    assert found_in(tmp_path) == {"images/anna": ["anna.nrrd"]}


@pytest.mark.parametrize("files", ["", "a.png b.png", "a.png b.png mask.png"])
def test_a_folder_without_pairs_is_an_error(tmp_path, files):
    touch(tmp_path, *files.split())
    with pytest.raises(CurationError, match="no image with labels"):
        discover(tmp_path)


# From files to the layout


def a_data_set(folder: Path, count: int = 3) -> list[Case]:
    for n in range(count):
        write(folder / f"images/{n}.nrrd", a_volume(seed=n))
        write(folder / f"labels/{n}.nrrd", a_block(1 + n % 2))
    return discover(folder, dataset="set", modality="CT").cases


def curated(
    cases: list[Case], folder: Path, options: CurationOptions | None = None, shares: tuple = (1, 0, 0)
) -> Curated:
    return curate(cases, folder, options or CurationOptions(axes="k"), Shares.of(shares))


def test_pictures_and_masks_belong_to_the_slices_that_the_manifest_says(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    curated(cases, tmp_path / "out", CurationOptions(full_range=True, similar=0))
    entries = read_manifest(tmp_path / "out")
    assert len(entries) == 2 * 30
    for image in read_layout(tmp_path / "out", "train"):
        read = image.read()
        (entry,) = read.entries
        number = int(entry.case)
        volume, labels = a_volume(seed=number).astype(float), a_block()
        want = np.take(volume, entry.slice, "kji".index(entry.axis))
        want = (want - volume.min()) / (volume.max() - volume.min()) * 255
        assert np.abs(read.image[..., 0] - want).max() <= 0.5
        assert np.array_equal(read.masks[0], np.take(labels, entry.slice, "kji".index(entry.axis)) != 0)
        assert (entry.modality, entry.anatomy, entry.source) == ("CT", f"label_{1 + number}", f"images/{number}.nrrd")
        assert entry.area_px == read.masks[0].sum()


def test_file_names_tell_case_slice_class_and_instance(tmp_path):
    curated(a_data_set(tmp_path / "raw", 1), tmp_path / "out")
    assert read_manifest(tmp_path / "out")[0].mask == "masks/set/0/0-k_0008_label-1_0.png"


def test_a_dicom_series_tells_its_modality_also_from_a_folder_in_it(tmp_path):
    folder = write_dicom(tmp_path / "raw/images/anna", a_volume())
    (folder / "0").mkdir()
    for path in sorted(folder.glob("*.dcm"))[:5]:
        path.rename(folder / "0" / path.name)
    write(tmp_path / "raw/labels/anna.nrrd", a_block())
    curated(discover(tmp_path / "raw").cases, tmp_path / "out")
    assert {entry.modality for entry in read_manifest(tmp_path / "out")} == {"CT"}


def test_one_case_is_never_in_two_splits(tmp_path):
    cases = a_data_set(tmp_path / "raw", 8)
    curated(cases, tmp_path / "out", shares=(1, 1, 1))
    splits = {(entry.case, entry.split) for entry in read_manifest(tmp_path / "out")}
    assert len(splits) == 8 and len({split for _, split in splits}) > 1


def test_a_second_run_makes_only_what_changed(tmp_path):
    cases = a_data_set(tmp_path / "raw", 3)
    curated(cases, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").rglob("*.png")}
    write(tmp_path / "raw/labels/1.nrrd", a_block(7, start=10))
    result = curated(cases, tmp_path / "out")
    assert result.finished_before == 2
    made = {path.parent.name for path in times if not path.exists() or path.stat().st_mtime_ns != times[path]}
    assert made == {"1"}
    assert {entry.anatomy for entry in read_manifest(tmp_path / "out") if entry.case == "1"} == {"label_7"}


def test_a_touched_file_with_the_same_content_is_not_made_again(tmp_path):
    cases = a_data_set(tmp_path / "raw", 1)
    curated(cases, tmp_path / "out")
    (tmp_path / "raw/images/0.nrrd").touch()
    assert curated(cases, tmp_path / "out").finished_before == 1


def test_other_options_make_all_again_and_other_shares_none(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    curated(cases, tmp_path / "out")
    assert curated(cases, tmp_path / "out", shares=(0, 0, 1)).finished_before == 2
    assert not (tmp_path / "out/image2label_train.json").exists()
    assert curated(cases, tmp_path / "out", CurationOptions(axes="j")).finished_before == 0
    assert {entry.axis for entry in read_manifest(tmp_path / "out")} == {"j"}


def test_a_damaged_record_is_made_again(tmp_path):
    cases = a_data_set(tmp_path / "raw", 1)
    curated(cases, tmp_path / "out")
    (tmp_path / "out/cases/set/0.json").write_text('{"place": ')
    assert curated(cases, tmp_path / "out").finished_before == 0


def test_bad_files_are_told_and_the_others_go_on(tmp_path):
    cases = a_data_set(tmp_path / "raw", 3)
    (tmp_path / "raw/images/0.nrrd").write_bytes(b"no image")
    write(tmp_path / "raw/labels/1.nrrd", a_block(), origin=(99, 0, 0))
    result = curated(cases, tmp_path / "out")
    assert "cannot be read" in result.failed["set/0"] and "lies elsewhere" in result.failed["set/1"]
    assert {entry.case for entry in read_manifest(tmp_path / "out")} == {"2"}
    a_data_set(tmp_path / "raw", 2)
    assert curated(cases, tmp_path / "out").failed == {}


def test_a_file_that_vanished_costs_only_its_case(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    curated(cases, tmp_path / "out")
    (tmp_path / "raw/labels/1.nrrd").unlink()
    result = curated(cases, tmp_path / "out")
    assert "1.nrrd: cannot be read (No such file" in result.failed["set/1"] and result.finished_before == 1
    assert {entry.case for entry in read_manifest(tmp_path / "out")} == {"0"}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_of_few_cases_some_are_kept_for_testing_and_validation(tmp_path, count):
    """Whatever the names: each seed stands for other ones."""
    cases = a_data_set(tmp_path / "raw", count)
    records = curated(cases, tmp_path / "out").records
    for seed in range(30):
        split_of = {one.case: one.split for one in assemble(cases, records, Shares(seed=str(seed))).entries}
        found = Counter(split_of.values())
        assert sum(found.values()) == count and found["train"]
        assert bool(found["test"]) == (count > 1)
        assert found["validation"] or count < 4
        by_name = {name: Shares(seed=str(seed)).split_of("set", name) for name in split_of}
        moved = {name for name in split_of if split_of[name] != by_name[name]}
        assert all(list(split_of.values()).count(split_of[name]) == 1 for name in moved), "only into empty splits"


def test_cases_that_a_table_puts_into_a_split_stay_there(tmp_path):
    cases = [dataclasses.replace(case, split="train") for case in a_data_set(tmp_path / "raw", 3)]
    records = curated(cases, tmp_path / "out").records
    result = assemble(cases, records, Shares())
    assert {entry.split for entry in result.entries} == {"train"}
    assert [note for note in result.notes if "too few cases for the split" in note]


def test_splits_without_a_share_stay_empty(tmp_path):
    cases = a_data_set(tmp_path / "raw", 3)
    records = curated(cases, tmp_path / "out").records
    assert {one.split for one in assemble(cases, records, Shares.of((0, 0, 1))).entries} == {"test"}


def test_a_case_without_labels_is_finished_with_a_note(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    write(tmp_path / "raw/labels/1.nrrd", np.zeros(SHAPE_KJI, np.uint8))
    result = curated(cases, tmp_path / "out")
    assert not result.failed and result.records["set/1"].notes[0].startswith("nothing is labelled")
    assert curated(cases, tmp_path / "out").finished_before == 2


def test_nothing_but_bad_files_is_an_error(tmp_path):
    cases = a_data_set(tmp_path / "raw", 1)
    (tmp_path / "raw/images/0.nrrd").write_bytes(b"")
    with pytest.raises(CurationError, match=r"no mask was kept: .*0\.nrrd: the file is empty"):
        curated(cases, tmp_path / "out")


def test_several_processes_do_the_same_as_one(tmp_path):
    cases = a_data_set(tmp_path / "raw", 3)
    curated(cases, tmp_path / "one")
    curate(cases, tmp_path / "two", CurationOptions(axes="k"), Shares.of((1, 0, 0)), jobs=2)
    assert read_manifest(tmp_path / "one") == read_manifest(tmp_path / "two")


def test_cases_of_an_earlier_run_are_left_out_and_told(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    curated(cases, tmp_path / "out")
    assert curated(cases[:1], tmp_path / "out").others == ["set/1"]
    assert {entry.case for entry in read_manifest(tmp_path / "out")} == {"0"}


def test_the_same_image_in_two_cases_is_kept_once_with_the_masks_of_both(tmp_path):
    cases = a_data_set(tmp_path / "raw", 3)
    write(tmp_path / "raw/images/1.nrrd", a_volume(seed=0))
    result = curated(cases, tmp_path / "out", shares=(1, 1, 1))
    entries = read_manifest(tmp_path / "out")
    assert len(result.assembly.repeated) == result.assembly.handed_over == 3
    assert {entry.case for entry in entries} == {"0", "2"}
    assert {entry.anatomy for entry in entries if entry.case == "0"} == {"label_1", "label_2"}
    assert result.assembly.notes[0].startswith("cases with the same images are all in")


def test_the_same_image_under_another_window_is_the_same(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    write(tmp_path / "raw/images/1.nrrd", a_volume(seed=0))
    cases = [
        dataclasses.replace(case, window=window) for case, window in zip(cases, ((0, 100), (800, 40)), strict=True)
    ]
    result = curated(cases, tmp_path / "out", CurationOptions(axes="j", max_slices=1))
    assert len(result.assembly.repeated) == result.assembly.handed_over == 1
    assert {entry.case for entry in read_manifest(tmp_path / "out")} == {"0"}


def test_masks_go_to_the_very_same_image_among_those_that_look_the_same(tmp_path):
    volume = np.repeat(a_volume((1, 32, 40)), 24, axis=0) + np.arange(24, dtype=np.int16)[:, None, None]
    for name, value in (("a", 1), ("b", 2)):
        write(tmp_path / f"raw/images/{name}.nrrd", volume)
        write(tmp_path / f"raw/labels/{name}.nrrd", a_block(value))
    result = curated(discover(tmp_path / "raw").cases, tmp_path / "out", CurationOptions(axes="k", similar=0))
    assert len(result.assembly.repeated) == result.assembly.handed_over == 10
    for image in read_layout(tmp_path / "out", "train"):
        assert [(Path(one.mask).stem, one.slice) for one in image.masks] == [
            (f"a-k_{image.masks[0].slice:04d}_label-1_0", image.masks[0].slice),
            (f"b-k_{image.masks[0].slice:04d}_label-2_0", image.masks[0].slice),
        ]


def test_cases_that_share_images_are_in_one_split(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    both = a_volume(seed=1)
    both[:12] = a_volume(seed=0)[:12]  # half of case 1 is case 0
    write(tmp_path / "raw/images/1.nrrd", both)
    cases = [dataclasses.replace(case, window=(0, 2000)) for case in cases]
    for seed in "abcdef":
        curate(cases, tmp_path / "out", CurationOptions(axes="k"), Shares((0.5, 0.25, 0.25), seed))
        entries = read_manifest(tmp_path / "out")
        assert len({entry.split for entry in entries}) == 1 and len({entry.case for entry in entries}) == 2


def test_what_tests_is_kept_where_a_table_puts_one_image_into_two_splits(tmp_path):
    cases = a_data_set(tmp_path / "raw", 2)
    write(tmp_path / "raw/images/1.nrrd", a_volume(seed=0))
    fixed = [dataclasses.replace(case, split=split) for case, split in zip(cases, ("train", "test"), strict=True)]
    curated(fixed, tmp_path / "out")
    assert {(entry.case, entry.split) for entry in read_manifest(tmp_path / "out")} == {("1", "test")}


def test_a_case_in_two_splits_of_a_table_is_refused(tmp_path):
    first, second = a_data_set(tmp_path / "raw", 2)
    cases = [dataclasses.replace(first, split="train"), dataclasses.replace(second, case="0", split="test")]
    with pytest.raises(CurationError, match="case 0 is in train and in test"):
        curated(cases, tmp_path / "out")


def test_a_colour_picture_with_a_mask_of_255(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 5:20] = 255
    write(tmp_path / "raw/images/a.png", image)
    write(tmp_path / "raw/masks/a.png", mask)
    curated(discover(tmp_path / "raw").cases, tmp_path / "out")
    (entry,) = read_layout(tmp_path / "out", "train")
    assert np.array_equal(entry.read().image, image)
    assert np.array_equal(entry.read().masks[0], mask > 0)
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "out" / entry.masks[0].mask))).max() == 255
