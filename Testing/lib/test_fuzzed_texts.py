"""Every text that is read from files, damaged at random: what is refused is refused in one line of our own words."""

from __future__ import annotations

import json
import math
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from SAMMed2DLib.cli.common.case_table import CaseFileError, read_cases
from SAMMed2DLib.cli.common.errors import is_bad_input
from SAMMed2DLib.cli.common.prompt_file import add_json
from SAMMed2DLib.cli.common.prompt_options import PromptFrame, RequestBuilder
from SAMMed2DLib.data.sa_med2d import TRAIN, read_layout
from SAMMed2DLib.io.markups import read_fiducials, read_rois
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import Volume, VolumeError, read_frames, read_header, read_volume

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
WORDS_OF_PYTHON = ("Traceback", "object has no", "NoneType", "unhashable", "could not convert", "unpack", "not enough",
    "sys.", "int()", "invalid literal", "codec", "subscriptable", "at 0x", "Exceeds the limit")  # fmt: skip
LONGEST = 1500


def refused_in_our_words(read: Callable[[], object]) -> None:
    """Whatever happens, it is an answer, or one line of the library."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except CaseFileError as error:
        for problem in error.problems:
            assert_one_line(problem)
    except Exception as error:
        if not is_bad_input(error):
            raise
        assert_one_line(str(error))


def assert_one_line(words: str) -> None:
    assert "\n" not in words and words.strip(), words
    assert len(words) < LONGEST, words[:2000]
    assert not any(word in words for word in WORDS_OF_PYTHON), words


# What takes the place of something sensible

ODD_TEXTS = st.one_of(
    st.sampled_from([
        "", " ", "nan", "inf", "-inf", "1e400", "-1", "0", "9" * 20, "9" * 5000, "1e-320", "block", "1.5", "0x10", "²",
        "٣", "1 2", "(1,0,0)", "(1,0,0) (0,1,0) (0,0,1)", "none", "\\n", "a:b", ":=", "%d", "../../x", "~" * 300,
    ]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=20),
    st.integers().map(str),
    st.floats().map(repr),
)  # fmt: skip
ODD_JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from([10**400, -(10**30), math.nan, math.inf, "", "mid", "RAS", "nan", "é\u202e\x1b[2J", "x" * 900]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["a", "position", "name", "0"]), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


def places_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all parts of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places_of(item, (*path, key)))]


@st.composite
def damaged_json(draw: st.DrawFn, whole: Any) -> bytes:
    """A file with a part or two replaced or removed, or with its text damaged."""
    content = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places_of(content)))
        if not place:
            content = draw(ODD_JSON) if draw(st.integers(0, 9)) == 0 else content
            continue
        parent = content
        for key in place[:-1]:
            parent = parent[key]
        if draw(st.booleans()) or isinstance(parent, list):
            parent[place[-1]] = draw(ODD_JSON)
        else:
            del parent[place[-1]]
    data = json.dumps(content).encode()
    return draw(damaged_bytes(data)) if draw(st.integers(0, 4)) == 0 else data


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes cut off, changed, or with some put in between."""
    at = draw(st.integers(0, len(whole)))
    added = draw(st.sampled_from([b"", b"\0", b"\xff\xfe", b"{", b"[" * 2000, b'"', b"9" * 5000, b"\n", b"NaN", b"-"]))
    return whole[:at] + added + whole[at + draw(st.integers(0, 3)) :]


@st.composite
def damaged_lines(draw: st.DrawFn, lines: list[str], separator: str) -> list[str]:
    """Lines of "key, separator, value" of which one or two have another value, another key, or are gone or doubled."""
    lines = list(lines)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        key, found, _ = lines[at].partition(separator)
        kind = draw(st.integers(0, 9))
        if kind < 7 and found:
            lines[at] = f"{key}{separator}{draw(ODD_TEXTS)}"
        elif kind == 7:
            lines[at] = draw(ODD_TEXTS)
        elif kind == 8:
            lines.insert(at, lines[at])
        elif len(lines) > 1:
            del lines[at]
    return lines


def try_file(name: str, data: bytes, *readers: Callable[[Path], object]) -> None:
    """Let readers read a file of this name."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        for reader in readers:
            refused_in_our_words(lambda reader=reader: reader(path))


# JSON

POINTS = {
    "markups": [
        {
            "type": "Fiducial",
            "coordinateSystem": "LPS",
            "coordinateUnits": "mm",
            "controlPoints": [
                {"label": "liver-1", "description": "", "position": [1.0, -2.0, 3.0], "positionStatus": "defined"},
                {"label": "liver negative-2", "position": [4.0, 5.0, 6.0], "positionStatus": "undefined"},
            ],
        }
    ]
}
ROI = {
    "markups": [
        {
            "type": "ROI",
            "roiType": "Box",
            "coordinateSystem": "RAS",
            "coordinateUnits": ["mm", "UCUM"],
            "center": [0.0, 1.0, 2.0],
            "size": [10.0, 20.0, 3.0],
            "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        }
    ]
}
PROMPTS = {
    "coordinates": "xy",
    "axis": "axial",
    "segments": [
        {
            "name": "liver",
            "color": [0.8, 0.4, 0.3],
            "prompts": [
                {"slice": 2, "points": [[2, 3, 1], [1, 1, 0]], "box": [0, 0, 4, 3]},
                {"slice": "mid", "axis": "coronal", "positive": [[1, 1]], "negative": [[2, 2]]},
            ],
        }
    ],
}
VOLUME = Volume(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]), False, "case")


@FEW
@given(damaged_json(POINTS))
def test_point_lists(data: bytes) -> None:
    try_file("liver.mrk.json", data, read_fiducials)


@FEW
@given(damaged_json(ROI))
def test_rois(data: bytes) -> None:
    try_file("liver.mrk.json", data, read_rois)


@FEW
@given(damaged_json(PROMPTS))
def test_prompt_files(data: bytes) -> None:
    try_file("prompts.json", data, lambda path: add_json(RequestBuilder(VOLUME), path, PromptFrame("xy", None, None)))


@FEW
@given(damaged_json({"images/a.png": ["masks/a_1.png", "masks/a_2.png"], "images/b.png": ["masks/b_1.png"]}))
def test_lists_of_images(data: bytes) -> None:
    try_file("image2label_train.json", data, lambda path: read_layout(path.parent, TRAIN))


# Tables

TABLE = ["case,image,output,prompts,segment,axis,slice,window,frame,skip",
         "one,a.nii.gz,a.seg.nrrd,p.json,,axial,3,\"40,400\",0,",
         "two,b.nrrd,b.nii.gz,l.mrk.json,liver,coronal,mid,,,yes"]  # fmt: skip


@FEW
@given(st.data())
def test_case_tables(data: st.DataObject) -> None:
    separator = data.draw(st.sampled_from([",", "\t", ";"]))
    rows = [line.split(",") for line in TABLE]
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        row[data.draw(st.integers(0, len(row) - 1))] = data.draw(ODD_TEXTS)
    text = "\n".join(separator.join(row) for row in rows).encode()
    broken = data.draw(damaged_bytes(text)) if data.draw(st.booleans()) else text
    try_file("cases.csv", broken, lambda path: read_cases(path, {}))


# Headers of images

NRRD = [
    "NRRD0004",
    "type: short",
    "dimension: 3",
    "space: left-posterior-superior",
    "sizes: 6 5 4",
    "space directions: (1,0,0) (0,2,0) (0,0,3)",
    "kinds: domain domain domain",
    "endian: little",
    "encoding: raw",
    "space origin: (0,0,0)",
    "measurement frame: (1,0,0) (0,1,0) (0,0,1)",
]
META = [
    "ObjectType = Image",
    "NDims = 3",
    "BinaryData = True",
    "BinaryDataByteOrderMSB = False",
    "CompressedData = False",
    "TransformMatrix = 1 0 0 0 1 0 0 0 1",
    "Offset = 0 0 0",
    "ElementSpacing = 1 2 3",
    "DimSize = 6 5 4",
    "ElementType = MET_SHORT",
    "ElementDataFile = LOCAL",
]
VOXELS = VOLUME.array.tobytes()


@FEW
@given(damaged_lines(NRRD, ": "))
def test_headers_of_nrrd(lines: list[str]) -> None:
    data = "\n".join(lines).encode("utf-8", "replace") + b"\n\n" + VOXELS
    try_file("image.nrrd", data, read_volume, read_frames, read_header)


@FEW
@given(damaged_lines(META, " = "))
def test_headers_of_metaimage(lines: list[str]) -> None:
    try_file("image.mha", "\n".join(lines).encode("utf-8", "replace") + b"\n" + VOXELS, read_volume, read_frames)


@pytest.fixture(scope="module")
def nifti() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii"
        mask = np.zeros(VOLUME.array.shape, bool)
        mask[1:3, 1:4, 2:5] = True
        write_segmentation(path, [mask], VOLUME, [Segment("liver")])
        return path.read_bytes()


FIELDS_OF_NIFTI = {40: "<h", 42: "<h", 44: "<h", 46: "<h", 48: "<h", 68: "<h", 70: "<h", 72: "<h", 76: "<f", 80: "<f",
    84: "<f", 88: "<f", 108: "<f", 112: "<f", 116: "<f", 123: "<b", 252: "<h", 254: "<h", 256: "<f", 268: "<f",
    280: "<f", 284: "<f", 296: "<f", 312: "<f", 344: "<i", 348: "<i"}  # fmt: skip


@FEW
@given(data=st.data())
def test_headers_of_nifti(nifti: bytes, data: st.DataObject) -> None:
    changed = bytearray(nifti)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(sorted(FIELDS_OF_NIFTI)))
        kind = FIELDS_OF_NIFTI[at]
        values = st.floats(width=32) if kind == "<f" else st.integers(-128, 127)
        if kind in ("<h", "<i"):
            values = st.one_of(values, st.sampled_from([-32768, 32767, 256, 2048, 1792]))
        changed[at : at + struct.calcsize(kind)] = struct.pack(kind, data.draw(values))
    try_file("image.nii", bytes(changed), read_volume, read_frames, read_segmentation)


# Segmentations of 3D Slicer


@pytest.fixture(scope="module")
def segmentation() -> tuple[list[str], bytes]:
    """Lines of the header of a .seg.nrrd with overlapping segments, and the rest of the file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.seg.nrrd"
        masks = [np.zeros(VOLUME.array.shape, bool) for _ in range(3)]
        masks[0][1:3], masks[1][2:4], masks[2][0, 0] = True, True, True
        write_segmentation(path, masks, VOLUME, [Segment("liver"), Segment("tumour"), Segment("skin", (0.1, 0.2, 0.3))])
        header, _, rest = path.read_bytes().partition(b"\n\n")
        return header.decode().split("\n"), rest


@FEW
@given(data=st.data())
def test_headers_of_slicer_segmentations(segmentation: tuple[list[str], bytes], data: st.DataObject) -> None:
    lines, rest = segmentation
    separator = data.draw(st.sampled_from([":=", ": "]))
    changed = data.draw(damaged_lines([line for line in lines if separator in line], separator))
    kept = [line for line in lines if separator not in line]
    header = "\n".join([*kept, *changed] if separator == ":=" else [kept[0], *changed, *kept[1:]])
    try_file("drawn.seg.nrrd", header.encode("utf-8", "replace") + b"\n\n" + rest, read_segmentation)


@pytest.mark.parametrize(
    ("key", "value"),
    [("Segment1_Layer", "block"), ("Segment1_LabelValue", "nan"), ("Segment0_LabelValue", "9" * 5000),
     ("Segment2_Layer", "-1"), ("Segment2_Layer", "99"), ("Segment0_LabelValue", "²")],
)  # fmt: skip
def test_a_field_that_is_no_number_is_named(segmentation, tmp_path, key: str, value: str):
    lines, rest = segmentation
    changed = [f"{key}:={value}" if line.startswith(f"{key}:=") else line for line in lines]
    assert changed != lines
    path = tmp_path / "drawn.seg.nrrd"
    path.write_bytes("\n".join(changed).encode() + b"\n\n" + rest)
    with pytest.raises(ValueError, match=key) as caught:
        read_segmentation(path)
    assert is_bad_input(caught.value)
    assert_one_line(str(caught.value))


NRRD_TEXT, META_TEXT = "\n".join(NRRD), "\n".join(META)
# Each of these ended the process inside of ITK.
FATAL = {
    "a long field.nrrd": NRRD_TEXT.replace("type: short", "type: " + "1" * 1200),
    "a long name of a field.nrrd": NRRD_TEXT + "\n" + "x" * 5000 + ": 3",
    "a long line.nrrd": NRRD_TEXT + "\n" + "x" * 2000,
    "a long name of a file.nrrd": NRRD_TEXT + "\ndata file: " + "x" * 1100,
    "dimensions below 0.mha": META_TEXT.replace("NDims = 3", "NDims = -1"),
    "1000 dimensions.mha": META_TEXT.replace("NDims = 3", "NDims = 1000"),
    "dimensions of many digits.mhd": META_TEXT.replace("NDims = 3", "NDims : " + "9" * 20),
    "a format for a name.mha": META_TEXT.replace("= LOCAL", "= %s%n 1 5 1"),
}


@pytest.mark.parametrize("name", FATAL)
def test_headers_that_ended_the_process_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FATAL[name].encode() + (b"\n\n" if name.endswith(".nrrd") else b"\n") + VOXELS)
    with pytest.raises(VolumeError, match=r"is damaged: .*export it again") as caught:
        read_volume(path)
    assert_one_line(str(caught.value))


def test_long_texts_of_the_users_own_are_no_damage(tmp_path: Path) -> None:
    header = [*NRRD, "content: " + "c" * 5000, "# " + "x" * 5000, 'record:={"a": "' + "y" * 100_000 + '"}']
    path = tmp_path / "image.nrrd"
    path.write_bytes("\n".join(header).encode() + b"\n\n" + VOXELS)
    assert np.array_equal(read_volume(path).array, VOLUME.array)
    assert len(read_header(path)["record"]) > 100_000
