"""`sammed2d everything`: the objects of a slice as segments, with a table of scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from test_similar import DISCS, disc, picture

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.cli.proposals import everything
from SAMMed2DLib.imaging.metrics import dice, iou
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.io.segmentation_io import read_segmentation
from SAMMed2DLib.proposals.ranking import Proposal


@pytest.fixture
def folder(tmp_path, coarse_predictor, monkeypatch) -> Path:
    """A volume of two slices, of which the second is empty, and a model."""
    monkeypatch.setattr(everything, "load", lambda args: coarse_predictor)
    slices = np.stack([picture()[..., 0], picture((), ())[..., 0]])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(slices), str(tmp_path / "image.nrrd"))
    return tmp_path


def run(folder: Path, *words: object, output: str = "all.seg.nrrd") -> int:
    return main(["everything", *map(str, (folder / "image.nrrd", "-o", folder / output, *words))])


def test_each_proposal_is_a_segment_with_a_row_of_scores_and_can_be_made_again(folder, capsys, monkeypatch):
    report, table = folder / "report.json", folder / "all.csv"
    words = ("--slice", 0, "--most", 6, "--json", report, "--csv", table, "--png", folder / "all.png", "--progress")
    assert run(folder, *words) == 0
    told = capsys.readouterr()
    entries = json.loads(report.read_text(encoding="utf-8"))["segments"]
    assert f"{len(entries)} proposals on axial slice 0 of 0 to 1" in told.out and "100 % of 100" in told.err
    drawn = read_segmentation(folder / "all.seg.nrrd")
    assert [segment.name for segment in drawn.segments] == [f"object {n + 1}" for n in range(len(entries))]
    masks = [drawn.mask(entry["name"]) for entry in entries]
    assert not any(mask[1].any() for mask in masks)
    assert sum(max(dice(mask[0], disc(*centre)) for mask in masks) > 0.8 for centre in DISCS) >= 3
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    for row, entry, mask in zip(rows, entries, masks, strict=True):
        assert row["name"] == entry["name"] and row["grade"] == entry["grade"] and row["slice"] == "0"
        assert float(row["score"]) == entry["score"] and float(row["stability"]) == entry["stability"]
        assert int(row["voxels"]) == entry["voxels"] == mask.sum()
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert box == entry["prompts"][0]["box"]
    assert (folder / "all.png").stat().st_size > 1000
    again = ["segment", folder / "image.nrrd", "--prompts", folder / "all.seg.nrrd", "-o", folder / "again.seg.nrrd"]
    monkeypatch.setattr("SAMMed2DLib.cli.segment.load", lambda args: everything.load(None))
    assert main([*map(str, again)]) == 0
    for entry, mask in zip(entries, masks, strict=True):
        np.testing.assert_array_equal(read_segmentation(folder / "again.seg.nrrd").mask(entry["name"]), mask)


class Nested:
    """Proposes a disc, and a smaller one within it."""

    def __init__(self, monkeypatch) -> None:
        self.known = None
        monkeypatch.setattr(Session, "everything", self.propose)

    def propose(self, image, *, known, most, zoom, on_progress):
        self.known = known
        masks = (disc(60, 60, 20), disc(60, 60, 8))
        return [Proposal(0, Prompts.of(box=(40, 40, 81, 81)), mask, 0.9, 0.9, 0.95, "good") for mask in masks]


def test_in_a_label_map_the_smaller_of_two_objects_is_kept(folder, monkeypatch):
    Nested(monkeypatch)
    assert run(folder, "--slice", 0, output="all.nii.gz") == 0
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "all.nii.gz")))
    np.testing.assert_array_equal(labels[0] == 2, disc(60, 60, 8))
    np.testing.assert_array_equal(labels[0] > 0, disc(60, 60, 20))


def test_what_was_segmented_stays_and_is_not_proposed_again(folder, monkeypatch):
    nested = Nested(monkeypatch)
    known = np.zeros((2, *disc(1, 1).shape), np.uint8)
    known[0][disc(120, 100)] = 1
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(known), str(folder / "known.nrrd"))
    assert run(folder, "--slice", 0, "--mask", folder / "known.nrrd") == 0
    np.testing.assert_array_equal(nested.known[0], disc(120, 100))
    drawn = read_segmentation(folder / "all.seg.nrrd")
    assert [segment.name for segment in drawn.segments] == ["Segment_1", "object 1", "object 2"]
    assert iou(drawn.mask("Segment_1"), known > 0) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "which of the 2 slices? give --slice 0 to 1"),
        (("--slice", "2"), 2, "2"),
        (("--slice", "0", "--most", "0"), 2, "--most"),
        (("--slice", "0", "--csv", "nowhere/all.csv"), 2, "there is no folder"),
        (("--slice", "1"), 1, "found no object on axial slice 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_written(
    folder, capsys, monkeypatch, words, code, message
):
    monkeypatch.setattr(Session, "everything", lambda *args, **options: [])
    assert run(folder, *words) == code
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not (folder / "all.seg.nrrd").exists()
