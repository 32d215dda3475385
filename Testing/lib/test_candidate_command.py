"""`sammed2d segment --candidate N`: another mask that the prompts may mean, and reports that make it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from tiny_network import save_tiny

from SAMMed2DLib.__main__ import main
from SAMMed2DLib.imaging.intensity import FULL_RANGE, rgb_from_slice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.io.segmentation_io import read_segmentation

CLICK, NEXT = Prompts.of(positive=[(50, 40)]), ((60, 50), 1)
WORDS = ("--slice", "0", "--point", "50,40")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A picture and a network with random weights."""
    folder = tmp_path_factory.mktemp("candidates")
    torch.manual_seed(3)
    save_tiny(folder / "tiny.pth")
    rows, columns = np.mgrid[:90, :120]
    blobs = 80 * np.cos(rows / 9) * np.sin(columns / 14) + 120
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(blobs.astype(np.uint8)), str(folder / "image.png"))
    return folder


@pytest.fixture(scope="module")
def session(folder) -> Session:
    return Session(load_predictor(folder / "tiny.pth", device="cpu", precision="float32"))


def picture(folder: Path) -> np.ndarray:
    return rgb_from_slice(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "image.png"))), FULL_RANGE)


def segment(folder: Path, output: str, *words: object) -> int:
    options = ("--model", folder / "tiny.pth", "--device", "cpu", "--precision", "float32", "--full-range")
    return main(["segment", *map(str, (folder / "image.png", "-o", folder / output, *options, *words))])


def mask(folder: Path, output: str, name: str = "Segment_1") -> np.ndarray:
    return read_segmentation(folder / output).mask(name)[0]


def test_a_number_takes_that_candidate_and_prompts_after_it_go_on_from_there(folder, session):
    image = picture(folder)
    candidates = session.answer(image, CLICK, candidates=True).candidates
    assert len(candidates) >= 2
    for number, candidate in enumerate(candidates, 1):
        assert segment(folder, "one.seg.nrrd", *WORDS, "--candidate", number) == 0
        np.testing.assert_array_equal(mask(folder, "one.seg.nrrd"), candidate.mask)
    assert segment(folder, "two.seg.nrrd", *WORDS, "--candidate", 2, "--point", "60,50") == 0
    expected = session.answer(image, CLICK.with_candidate(2).with_point(*NEXT)).mask
    np.testing.assert_array_equal(mask(folder, "two.seg.nrrd"), expected)


def test_each_segment_has_its_own(folder, session):
    words = (*WORDS, "--segment", "b", "--point", "50,40", "--candidate", 1, "--segment", "c", "--point", "50,40")
    assert segment(folder, "own.seg.nrrd", "--segment", "a", *words) == 0
    default, smallest = (session.answer(picture(folder), each).mask for each in (CLICK, CLICK.with_candidate(1)))
    for name, expected in (("a", default), ("b", smallest), ("c", default)):
        np.testing.assert_array_equal(mask(folder, "own.seg.nrrd", name), expected)


def test_a_report_says_which_and_makes_it_again(folder, session):
    report = folder / "r.json"
    words = (*WORDS, "--candidate", 2, "--point", "60,50", "--candidate", 1)
    assert segment(folder, "said.seg.nrrd", *words, "--json", report) == 0
    entry = json.loads(report.read_text())["segments"][0]
    assert entry["prompts"][0]["candidates"] == [[1, 2], [2, 1]]
    found = session.answer(picture(folder), CLICK.with_candidate(2).with_point(*NEXT).with_candidate(1))
    assert entry["slices"][0]["candidate"] == 1 and entry["slices"][0]["candidates"] == len(found.candidates)
    for source in (report, folder / "said.seg.nrrd"):
        assert segment(folder, "again.seg.nrrd", "--prompts", source) == 0
        np.testing.assert_array_equal(mask(folder, "again.seg.nrrd"), found.mask)


def test_without_the_option_reports_say_nothing_of_candidates(folder):
    assert segment(folder, "plain.seg.nrrd", *WORDS, "--json", folder / "plain.json") == 0
    assert '"candidate' not in (folder / "plain.json").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*WORDS, "--candidate", 9), "segment 'Segment_1', slice 0 (k): there is no candidate 9: there are {count}"),
        ((*WORDS, "--candidate", 0), "candidates are counted from 1, not 0"),
        (("--slice", 0, "--candidate", 2, "--point", "50,40"), "give the prompts first, then --candidate 2"),
        ((*WORDS, "--candidate", "large"), "invalid int value: 'large'"),
    ],
)
def test_a_number_that_is_not_there_is_refused_and_nothing_is_written(folder, session, capsys, words, message):
    count = len(session.answer(picture(folder), CLICK, candidates=True).candidates)
    try:
        assert segment(folder, "none.seg.nrrd", *words) != 0
    except SystemExit as ended:  # argparse's own
        assert ended.code == 2
    assert message.format(count=count) in capsys.readouterr().err
    assert not (folder / "none.seg.nrrd").exists()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[1]], "candidates are pairs of a number of points and a candidate's number, not [1]"),
        ([[1, 1.5]], "candidates are pairs"),
        ([[1, 0]], "candidates are counted from 1, not 0"),
        ("2", "has the wrong type"),
    ],
)
def test_what_is_wrong_in_a_file_of_prompts_is_said(folder, capsys, pairs, message):
    prompt = {"slice": 0, "points": [[50, 40, 1]], "candidates": pairs}
    (folder / "p.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [prompt]}]}))
    assert segment(folder, "none.seg.nrrd", "--prompts", folder / "p.json") != 0
    assert message in capsys.readouterr().err
