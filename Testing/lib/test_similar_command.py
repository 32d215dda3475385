"""`sammed2d similar`: objects that were segmented, and a segment for each proposal beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from test_similar import DISCS, disc, given, picture

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.cli.proposals import similar
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.io.segmentation_io import read_segmentation


@pytest.fixture
def folder(tmp_path, coarse_predictor, monkeypatch) -> Path:
    """A volume of two slices, a segmentation of some discs on the first one, and a model."""
    monkeypatch.setattr(similar, "load", lambda args: coarse_predictor)
    slices = np.stack([picture()[..., 0], picture(DISCS[5:], ())[..., 0]])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(slices), str(tmp_path / "image.nrrd"))
    labels = np.zeros(slices.shape, np.uint8)
    labels[0][given(2)] = 1
    labels[0][disc(*DISCS[2])] = 2
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(tmp_path / "objects.nrrd"))
    return tmp_path


def run(folder: Path, *words: object, output: str = "all.seg.nrrd") -> int:
    options = ("--mask", folder / "objects.nrrd", "-o", folder / output, *words)
    return main(["similar", *map(str, (folder / "image.nrrd", *options))])


def test_each_proposal_is_a_segment_beside_those_that_were_there(folder):
    report = folder / "report.json"
    words = ("--segment", "Segment_1", "--most", 6, "--json", report, "--png", folder / "all.png")
    assert run(folder, *words) == 0
    names = [segment.name for segment in read_segmentation(folder / "all.seg.nrrd").segments]
    entries = json.loads(report.read_text(encoding="utf-8"))["proposals"]
    assert names == ["Segment_1", "Segment_2", *(entry["name"] for entry in entries)]
    assert [entry["rank"] for entry in entries] == sorted((entry["rank"] for entry in entries), reverse=True)
    drawn = read_segmentation(folder / "all.seg.nrrd")
    np.testing.assert_array_equal(drawn.mask("Segment_1")[0], given(2))
    found = [drawn.mask(entry["name"])[0] for entry in entries]
    assert max(dice(mask, disc(*DISCS[3])) for mask in found) > 0.8
    assert max(dice(mask, disc(*DISCS[2])) for mask in found) < 0.3  # another segment has it
    assert all(
        entry["slice"] == 0 and entry["voxels"] == mask.sum() for entry, mask in zip(entries, found, strict=True)
    )
    assert (folder / "all.png").stat().st_size > 1000


def test_other_slices_are_searched_on_request(folder):
    report = folder / "report.json"
    assert run(folder, "--range", "1,1", "--most", 2, "--json", report) == 0
    entries = json.loads(report.read_text(encoding="utf-8"))["proposals"]
    assert entries and {entry["slice"] for entry in entries} == {1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--segment", "lesion"), "no segment 'lesion'; there are: Segment_1, Segment_2"),
        (("--range", "0,2"), "are slices 0 to 1"),
        (("--most", "0"), "--most"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_written(folder, capsys, words, message):
    assert run(folder, *words) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (folder / "all.seg.nrrd").exists()
