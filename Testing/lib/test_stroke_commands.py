"""Scribbles and lassos on the command line: curve files, files of prompts, reports that replay, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.imaging.affines import ras_from_ijk
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Window, rgb_from_slice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.io.segmentation_io import read_segmentation
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.overlay import draw_slice
from SAMMed2DLib.plots.slice_view import SliceView

K = 2
THROUGH, BESIDE = [(34.0, 40.0), (48.0, 44.0), (60.0, 41.0)], [(80.0, 30.0), (82.0, 52.0)]
AROUND = [(20.0, 20.0), (76.0, 20.0), (76.0, 64.0), (20.0, 64.0)]
OPTIONS = ("--window", "100,200", "--axis", "k", "--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """A volume with an ellipsoid and a thing of its grey value beside it."""
    path = tmp_path_factory.mktemp("strokes") / "ct.nrrd"
    k, j, i = np.mgrid[:5, :90, :110]
    body = ((i - 48) / 24) ** 2 + ((j - 42) / 17) ** 2 + ((k - 2) / 3) ** 2 < 1
    beside = ((i - 80) / 12) ** 2 + ((j - 40) / 10) ** 2 < 1
    noise = np.random.default_rng(3).normal(0, 14, k.shape)
    volume = SimpleITK.GetImageFromArray((60 + 70 * body + 65 * beside + noise).astype(np.int16))
    volume.SetSpacing((0.8, 0.8, 3.0))
    volume.SetOrigin((5, -7, 9))
    SimpleITK.WriteImage(volume, str(path))
    return path


def a_curve(image: Path, name: str, kind: str, corners_xy, k=(K,), description: str = "") -> Path:
    """A markups file with a curve on a slice, as Slicer writes it."""
    corners_ijk = [(x, y, k[n % len(k)]) for n, (x, y) in enumerate(corners_xy)]
    ras = ras_from_ijk(np.array(corners_ijk, float), read_volume(image).ijk_to_ras)
    points = [{"position": (p * (-1, -1, 1)).tolist(), "label": "C-1", "description": description} for p in ras]
    path = image.parent / name
    path.write_text(json.dumps({"markups": [{"type": kind, "coordinateSystem": "LPS", "controlPoints": points}]}))
    return path


def segment(image: Path, *words: object) -> int:
    return main(["segment", str(image), "-o", str(image.parent / "out.seg.nrrd"), *OPTIONS, *map(str, words)])


def drawn(image: Path, name: str = "out.seg.nrrd") -> np.ndarray:
    return read_segmentation(image.parent / name).mask("Segment_1")[K]


def answer(image: Path, prompts: Prompts) -> np.ndarray:
    volume = read_volume(image)
    plane = SlicePlane.of_axis(volume.size_ijk, 0, K, volume.ijk_to_ras)
    pixels = rgb_from_slice(plane.extract(volume.array), Window(level=100, width=200))
    return Session(load_predictor(device="cpu", precision="float32")).answer(pixels, prompts).mask


def test_curve_files_are_scribbles_and_lassos_and_their_report_replays_to_the_same_mask(image, capsys):
    words = (
        *("--markups", a_curve(image, "around.mrk.json", "ClosedCurve", AROUND)),
        *("--markups", a_curve(image, "in.mrk.json", "Curve", THROUGH)),
        *("--negative", a_curve(image, "out.mrk.json", "Curve", BESIDE)),
    )
    report = image.parent / "report.json"
    assert segment(image, *words, "--json", report, "--png", image.parent / "out.png") == 0
    expected = answer(image, Prompts().with_lasso(AROUND, 1).with_scribble(THROUGH, 1).with_scribble(BESIDE, 0))
    np.testing.assert_array_equal(drawn(image), expected)
    (entry,) = json.loads(report.read_text())["segments"][0]["prompts"]
    assert [(stroke["inside"], stroke["closed"]) for stroke in entry["strokes"]] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    for made_of in (report, image.parent / "out.seg.nrrd"):
        again = ["segment", str(image), "-o", str(image.parent / "again.seg.nrrd"), "--prompts", str(made_of)]
        assert main([*again, "--device", "cpu"]) == 0
        np.testing.assert_array_equal(drawn(image, "again.seg.nrrd"), expected)
    assert "not as recorded" not in capsys.readouterr().err


def test_a_file_of_prompts_holds_strokes_between_points(image):
    strokes = [{"points": THROUGH}, {"points": BESIDE, "inside": False, "after": 1}]
    given = {"slice": K, "points": [[40, 42, 1], [55, 50, 1]], "strokes": strokes}
    path = image.parent / "prompts.json"
    path.write_text(json.dumps({"axis": "k", "segments": [{"name": "Segment_1", "prompts": [given]}]}))
    assert segment(image, "--prompts", path) == 0
    prompts = Prompts().with_point((40, 42), 1).with_scribble(BESIDE, 0).with_point((55, 50), 1)
    np.testing.assert_array_equal(drawn(image), answer(image, prompts.with_scribble(THROUGH, 1)))


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([{"points": []}], "the points of strokes are lists"),
        ([{"points": [[1, 2], [3]]}], "the points of strokes are lists"),
        ([{"points": [[1, 2, 3]]}], "the stroke has points of 2 numbers in xy coordinates"),
        ([{"points": [[1, 2]], "inside": 1}], "strokes.inside: has the wrong type"),
        ([{"points": [[1, 2]], "width": 3}], "unknown key 'width'; known are points, inside, closed, after"),
        ([{"points": [[900, 2], [950, 2]]}], "the scribble from 900,2 is outside the slice"),
        ([{"points": [[5, 5], [9, 9]], "inside": False}], "has only negative points"),
    ],
)
def test_bad_strokes_of_a_file_are_refused_in_one_line(image, capsys, strokes, words):
    path = image.parent / "bad.json"
    segments = [{"name": "a", "prompts": [{"slice": K, "strokes": strokes}]}]
    path.write_text(json.dumps({"axis": "k", "segments": segments}))
    assert segment(image, "--prompts", path) != 0
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1


def test_a_curve_that_leaves_its_slice_is_refused(image, capsys):
    path = a_curve(image, "steep.mrk.json", "Curve", THROUGH, k=(1, 2, 3))
    assert segment(image, "--markups", path) != 0
    error = capsys.readouterr().err
    assert "is on slices 1 to 3 (k), not on slice 1 (k) alone; draw it on one slice" in error


def test_an_outside_scribble_corrects_a_mask(image):
    assert segment(image, "--slice", K, "--box", "22,24,94,60") == 0
    before = drawn(image)
    path = a_curve(image, "less.mrk.json", "Curve", BESIDE, description="negative")
    mask = image.parent / "before.seg.nrrd"
    (image.parent / "out.seg.nrrd").rename(mask)
    assert segment(image, "--mask", mask, "--markups", path) == 0
    after = drawn(image)
    assert not (after & ~before).any() and not after[30:53, 81].any()


def test_pictures_show_strokes_in_the_colours_of_their_sides(image):
    volume = read_volume(image)
    plane = SlicePlane.of_axis(volume.size_ijk, 0, K, volume.ijk_to_ras)
    view = SliceView.of(plane, volume.ijk_to_ras, 440, 440)
    prompts = Prompts().with_scribble(THROUGH, 1).with_lasso([(80, 10), (100, 10), (100, 30)], 0)
    picture = draw_slice(np.zeros((*plane.size_hw, 3), np.uint8), view, [], [prompts], letters=False).astype(int)
    green = (picture[..., 1] > 150) & (picture[..., 0] < 100)
    pink = (picture[..., 0] > 200) & (picture[..., 1] < 100)
    for where, xy in ((green, THROUGH[1]), (pink, (100, 20)), (pink, (90, 20))):
        (x, y), *_ = np.round(view.points(np.array([xy], float))).astype(int)
        assert where[y - 2 : y + 3, x - 2 : x + 3].any()
