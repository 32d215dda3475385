"""`sammed2d segment --whole`: from a slice, from a box in space, and again from what was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.io.segmentation_io import read_segmentation

SHAPE = (16, 40, 48)


def the_ball() -> np.ndarray:
    k, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return (3 * (k - 8)) ** 2 + (y - 20) ** 2 + (x - 24) ** 2 < 14**2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 40, SHAPE)
    picture = SimpleITK.GetImageFromArray((noise + 300 * the_ball()).astype(np.int16))
    picture.SetSpacing((1.0, 1.0, 3.0))
    SimpleITK.WriteImage(picture, str(tmp_path / "ct.nrrd"))
    return tmp_path / "ct.nrrd"


@pytest.fixture
def segment(image: Path) -> Any:
    def run(*words: object, output: str = "out.seg.nrrd") -> int:
        return main(["segment", *map(str, [image, "-o", image.parent / output, "--device", "cpu", *words])])

    return run


def found_in(image: Path, name: str = "out.seg.nrrd") -> np.ndarray:
    return read_segmentation(image.parent / name).mask("Segment_1")


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_a_box_on_one_slice_gives_the_whole_object_and_its_record_gives_it_again(
    image: Path, segment: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = image.parent / "r.json"
    assert segment("--slice", 8, "--box", "10,6,39,35", "--whole", "--json", report) == OK
    assert dice(found_in(image), the_ball()) > 0.9
    assert json.loads(report.read_text())["whole"] is True
    slices = int(found_in(image).any(axis=(1, 2)).sum())
    assert slices > 5 and f" {slices} slices, followed from 1, " in capsys.readouterr().out
    assert json.loads(report.read_text())["segments"][0]["slices_followed"] == slices
    assert segment("--prompts", report, output="again.seg.nrrd") == OK
    np.testing.assert_array_equal(found_in(image, "again.seg.nrrd"), found_in(image))
    assert segment("--slice", 8, "--box", "10,6,39,35", output="one.seg.nrrd") == OK
    one = found_in(image, "one.seg.nrrd")
    np.testing.assert_array_equal(np.flatnonzero(one.any(axis=(1, 2))), [8])
    np.testing.assert_array_equal(found_in(image)[8], one[8])


def test_a_box_in_space_ends_the_object(image: Path, segment: Any) -> None:
    report = image.parent / "r.json"
    assert segment("--ijk", "--box", "10,6,5,38,34,10", "--whole", "--json", report) == OK
    found = found_in(image)
    assert np.flatnonzero(found.any(axis=(1, 2))).tolist() == [5, 6, 7, 8, 9, 10]
    assert dice(found[5:11], the_ball()[5:11]) > 0.9
    assert segment("--prompts", report, output="again.seg.nrrd") == OK
    np.testing.assert_array_equal(found_in(image, "again.seg.nrrd"), found)


def test_a_file_of_prompts_says_which_segments_are_followed(image: Path, segment: Any) -> None:
    boxes = [{"slice": k, "box": [10, 6, 39, 35]} for k in (7, 8, 9)]
    segments = [{"name": "followed", "whole": True, "prompts": boxes}, {"name": "not", "prompts": boxes[:1]}]
    prompts, report = image.parent / "p.json", image.parent / "r.json"
    prompts.write_text(json.dumps({"segments": segments}))
    assert segment("--prompts", prompts, "--json", report) == OK
    found = read_segmentation(image.parent / "out.seg.nrrd")
    assert np.flatnonzero(found.mask("not").any(axis=(1, 2))).tolist() == [7]
    followed = found.mask("followed")
    assert dice(followed, the_ball()) > 0.9 and followed.any(axis=(1, 2)).sum() > 5  # three boxes are no box in space
    assert segment("--prompts", report, output="again.seg.nrrd") == OK
    again = read_segmentation(image.parent / "again.seg.nrrd")
    for name in ("followed", "not"):
        np.testing.assert_array_equal(again.mask(name), found.mask(name))


def test_prompts_along_two_axes_are_refused(image: Path, segment: Any, capsys: pytest.CaptureFixture[str]) -> None:
    prompts = {
        "segments": [
            {
                "name": "a",
                "prompts": [{"slice": 8, "points": [[24, 20, 1]]}, {"slice": 20, "axis": "j", "points": [[24, 8, 1]]}],
            }
        ]
    }
    (image.parent / "p.json").write_text(json.dumps(prompts))
    assert segment("--prompts", image.parent / "p.json", "--whole") == BAD_INPUT
    error = capsys.readouterr().err
    assert "along two axes" in error and error.count("\n") == 1
    assert not (image.parent / "out.seg.nrrd").exists()
