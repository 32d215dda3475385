"""The published layout on disk: what is written is read back, and what others wrote is read too."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.data.sa_med2d import (
    DatasetError,
    MaskEntry,
    as_mask,
    as_rgb,
    entry_of_name,
    read_image_file,
    read_layout,
    read_manifest,
    write_layout,
)

IMAGE = np.arange(48, dtype=np.uint8).reshape(6, 8)
MASK = IMAGE > 20


def write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(path))


def an_entry(name: str, split: str, case: str, **more) -> MaskEntry:
    return MaskEntry(f"masks/{name}_1.png", f"images/{name}.png", split, "lungs", "CT", "lung", case, "k", 4, 1, **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_png(tmp_path / f"images/{name}.png", IMAGE)
        write_png(tmp_path / f"masks/{name}_1.png", MASK.astype(np.uint8) * 255)
    return tmp_path


def test_what_was_written_is_read_back(folder: Path):
    entries = [an_entry("a", "train", "1", area_px=27), an_entry("b", "validation", "2"), an_entry("c", "test", "3")]
    write_layout(folder, entries)
    assert read_manifest(folder) == entries
    for entry in entries:
        (image,) = read_layout(folder, entry.split)
        assert image.masks == (entry,)
        read = image.read()
        np.testing.assert_array_equal(read.image, np.repeat(IMAGE[..., None], 3, 2))
        np.testing.assert_array_equal(read.masks, MASK[None])


def test_the_json_files_are_as_published(folder: Path):
    write_layout(folder, [an_entry("a", "train", "1"), an_entry("c", "test", "3")])
    assert json.loads((folder / "image2label_train.json").read_text()) == {"images/a.png": ["masks/a_1.png"]}
    assert json.loads((folder / "label2image_test.json").read_text()) == {"masks/c_1.png": "images/c.png"}
    assert not (folder / "label2image_validation.json").exists()


def test_a_split_that_lost_its_masks_loses_its_list_but_not_if_nothing_is_written(folder: Path):
    write_layout(folder, [an_entry("a", "train", "1"), an_entry("c", "test", "3")])
    with pytest.raises(DatasetError):
        write_layout(folder, [an_entry("a", "train", "1"), an_entry("b", "validation", "1")])
    assert (folder / "label2image_test.json").exists()
    write_layout(folder, [an_entry("a", "train", "1")])
    assert not (folder / "label2image_test.json").exists()
    assert (folder / "image2label_train.json").exists()


def test_a_case_in_two_splits_is_refused_and_nothing_is_written(folder: Path):
    with pytest.raises(DatasetError, match="case 1 of lungs is in train and in test"):
        write_layout(folder, [an_entry("a", "train", "1"), an_entry("b", "test", "1")])
    assert not (folder / "manifest.tsv").exists()


def test_published_data_without_a_manifest_is_read_by_its_file_names(folder: Path, monkeypatch):
    write_png(folder / "masks/p_01_117_liver_000.png", MASK.astype(np.uint8))
    pairs = {f"{folder.name}/masks/p_01_117_liver_000.png": f"{folder.name}/images/a.png"}
    (folder / "label2image_test.json").write_text(json.dumps(pairs))
    monkeypatch.chdir(folder.parent)
    (image,) = read_layout(folder, "test")
    (entry,) = image.masks
    assert (entry.case, entry.slice, entry.anatomy, entry.instance) == ("p_01", 117, "liver", 0)
    assert entry.dataset == folder.name
    np.testing.assert_array_equal(image.read().masks, MASK[None])


@pytest.mark.parametrize(
    ("mask", "image", "parts"),
    [
        ("p_01_117_liver_000.png", "p_01_117.png", ("p_01", 117, "liver", 0)),
        ("p_01_117_left_kidney_002.png", "p_01_117.png", ("p_01", 117, "left_kidney", 2)),
        ("p_01_117_liver_000.png", "p.png", ("p_01", 117, "liver", 0)),
        ("p_01_117_liver_000.png", "other_3.png", ("p_01", 117, "liver", 0)),
    ],
)
def test_case_and_class_of_a_published_name_may_hold_underscores(mask: str, image: str, parts: tuple):
    entry = entry_of_name(mask, image, "test", "d")
    assert (entry.case, entry.slice, entry.anatomy, entry.instance) == parts


def test_a_name_without_the_published_parts_still_has_a_case():
    assert entry_of_name("m/x_mask.png", "i/x.png", "test", "d").case == "x"


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.array([[0, 1], [2, 3]]), "is no mask"),
        (np.array([[1, 2], [2, 1]]), "is no mask"),
        (np.zeros((2, 2)), "is empty"),
    ],
)
def test_what_is_no_mask_is_named(picture: np.ndarray, words: str):
    with pytest.raises(DatasetError, match=words):
        as_mask(picture, "x.png")


def test_a_mask_of_another_size_is_named(folder: Path):
    write_png(folder / "masks/a_1.png", np.full((5, 8), 255, np.uint8))
    write_layout(folder, [an_entry("a", "train", "1")])
    with pytest.raises(DatasetError, match=r"masks/a_1.png is 8 x 5 px, its image images/a.png 8 x 6"):
        read_layout(folder, "train")[0].read()


@pytest.mark.parametrize("base", ["the repository", "a folder above it", "the working directory", "--root"])
def test_paths_of_a_list_begin_in_any_of_these_places(folder: Path, tmp_path_factory, monkeypatch, base: str):
    """Whatever the place, an image has the same name, relative to the list."""
    parts = {"a folder above it": f"{folder.parent.name}/{folder.name}/", "the repository": f"{folder.name}/"}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    at = folder
    if base in ("the working directory", "--root"):
        at = elsewhere / "lists"
        at.mkdir()
    monkeypatch.chdir(folder if base == "the working directory" else elsewhere)
    start = parts.get(base, "")
    (at / "label2image_test.json").write_text(json.dumps({f"{start}masks/a_1.png": f"{start}images/a.png"}))
    (image,) = read_layout(at, "test", root=folder if base == "--root" else None)
    np.testing.assert_array_equal(image.read().masks, MASK[None])
    expected = "images/a.png" if at == folder else f"../../{folder.relative_to(elsewhere.parent)}/images/a.png"
    assert image.image == expected


def test_a_list_reached_by_a_link_finds_what_lies_beside_the_link(folder: Path, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    lists = tmp_path_factory.mktemp("far") / "deep" / "lists"
    lists.mkdir(parents=True)
    (root / "images").symlink_to(folder / "images")
    (root / "masks").symlink_to(folder / "masks")
    (root / "lists").symlink_to(lists)
    (lists / "label2image_test.json").write_text(json.dumps({"masks/a_1.png": "images/a.png"}))
    (image,) = read_layout(root / "lists", "test")
    np.testing.assert_array_equal(image.read().masks, MASK[None])


def test_a_list_of_which_no_image_is_there_says_what_was_tried(folder: Path, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(elsewhere := tmp_path_factory.mktemp("elsewhere"))
    (folder / "label2image_test.json").write_text(json.dumps({"gone/a_1.png": "gone/a.png"}))
    words = f"gone/a.png was tried in {folder}, in the folders above it, and from the working directory {elsewhere}"
    with pytest.raises(DatasetError, match=f"none of the images.*{words}; give .* --root"):
        read_layout(folder, "test")
    with pytest.raises(DatasetError, match=f"tried under {elsewhere}, in {folder}"):
        read_layout(folder, "test", elsewhere)


@pytest.mark.parametrize("value", ["5", "null", '{"a": 1}', "[5]", '[["a.png"]]'])
def test_what_is_no_path_is_named(folder: Path, value: str):
    (folder / "image2label_train.json").write_text(f'{{"images/a.png": {value}}}')
    with pytest.raises(DatasetError, match=r"images/a.png is paired with .*, which is no path"):
        read_layout(folder, "train")


@pytest.mark.parametrize("damage", ["few", "many", "word", "bytes"])
def test_a_damaged_line_of_the_manifest_is_named(folder: Path, damage: str):
    write_layout(folder, [an_entry("a", "train", "1")])
    path = folder / "manifest.tsv"
    content = path.read_bytes()
    change = {
        "few": content.replace(b"\t4\t", b"\t"),
        "many": content.replace(b"\t4\t", b"\t4\t4\t"),
        "word": content.replace(b"\t4\t", b"\tfour\t"),
        "bytes": content.replace(b"\t4\t", b"\t\xff\t"),
    }
    path.write_bytes(change[damage])
    with pytest.raises(DatasetError, match=r"manifest.tsv, line \d: it is damaged; curate again"):
        read_manifest(folder)


@pytest.mark.parametrize("content", ["[]", "{", "{}"])
def test_a_broken_or_empty_list_is_named(tmp_path: Path, content: str):
    (tmp_path / "image2label_train.json").write_text(content)
    with pytest.raises(DatasetError, match="image2label_train"):
        read_layout(tmp_path, "train")


def test_a_missing_list_says_what_to_do(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"holds no label2image_validation.json.*give a folder that"):
        read_layout(tmp_path, "validation")
    with pytest.raises(DatasetError, match="nowhere is no folder"):
        read_layout(tmp_path / "nowhere", "validation")


def test_a_missing_split_says_which_there_are(folder: Path):
    write_layout(folder, [an_entry("a", "train", "1"), an_entry("c", "validation", "3")])
    words = r"nothing to test on: there is no label2image_test.json, only train and validation; curate more cases"
    with pytest.raises(DatasetError, match=words):
        read_layout(folder, "test")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 2), (4, 4, 3), (4, 4, 4)])
def test_every_picture_becomes_three_channels_of_8_bits(shape: tuple[int, ...]):
    for dtype in (np.uint8, np.uint16):
        rgb = as_rgb(np.arange(np.prod(shape), dtype=dtype).reshape(shape))
        assert (rgb.shape, rgb.dtype) == ((4, 4, 3), np.uint8)


def test_a_grey_picture_with_alpha_is_read(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    rows = b"".join(b"\0" + np.stack([row, 255 - row], -1).tobytes() for row in grey)
    head = struct.pack(">IIBBBBB", 4, 3, 8, 4, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_array_equal(read_image_file(tmp_path / "a.png"), grey)
