"""Measures of propagation: which objects count, what is compared, and the simpler ways."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.evaluation.report.volume_tables import losers, table_of_volumes, table_of_ways
from SAMMed2DLib.evaluation.volumes import (
    ObjectScores,
    Scores,
    VolumeEvaluationError,
    copied,
    interpolated_volume,
    is_measured,
    keyframes_of,
    score,
    slices_past,
    without,
)
from SAMMed2DLib.propagation.estimate import Weights


def a_block(first: int, last: int, side: int = 8, count: int = 20) -> np.ndarray:
    mask = np.zeros((count, 24, 24), bool)
    mask[first : last + 1, 6 : 6 + side, 6 : 6 + side] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (a_block(4, 10), True),
        (a_block(4, 9), False),  # six slices
        (a_block(4, 10, side=7), False),  # 49 px
        (a_block(2, 8) | a_block(12, 18), False),  # a gap
        (a_block(1, 0), False),  # nothing
    ],
)
def test_small_short_and_torn_objects_are_left_out(mask: np.ndarray, expected: bool) -> None:
    assert is_measured(mask) is expected


def test_keyframes_are_the_largest_slice_or_three_within_the_extent() -> None:
    mask = a_block(4, 14)
    mask[7, 4] = True
    assert keyframes_of(mask, 1) == [7]
    assert keyframes_of(mask, 3) == [5, 9, 13]


def test_a_volume_is_scored_as_a_whole_between_its_keyframes_and_slice_by_slice() -> None:
    mask, found = a_block(4, 13), a_block(4, 8)
    scores = score(found, mask, [5, 8])
    assert scores.volume == pytest.approx(2 / 3)
    assert (scores.between, scores.right, scores.past) == (1.0, 0.5, (0, 0))
    assert np.isnan(score(found, mask, [6]).between)


def test_slices_past_the_ends_count_only_where_the_volume_goes_on() -> None:
    assert slices_past(a_block(2, 15), a_block(4, 12)) == (2, 3)
    assert slices_past(a_block(5, 11), a_block(4, 12)) == (0, 0)
    assert slices_past(a_block(0, 15), a_block(0, 12)) == (3,)
    assert slices_past(a_block(1, 0), a_block(4, 12)) == (0, 0)


def test_the_simpler_ways_copy_and_interpolate() -> None:
    mask = a_block(4, 12)
    np.testing.assert_array_equal(copied(mask[8], mask), mask)
    np.testing.assert_array_equal(interpolated_volume({4: mask[4], 12: mask[12]}, 20), mask)


def test_an_evidence_term_is_silenced_by_its_weights() -> None:
    assert without([]) == Weights()
    assert without(["shape", "model"]) == Weights(shape=0.0, followed=0.0)
    with pytest.raises(VolumeEvaluationError, match="no evidence term 'luck'"):
        without(["luck"])


def a_result(volume: str, ours: float, theirs: float) -> ObjectScores:
    ways = {
        ("true", "propagated", 3): Scores(ours, ours, 1.0, (0, 2), 2.0, 10),
        ("true", "interpolated", 3): Scores(theirs, theirs, 0.5, (0, 0)),
    }
    return ObjectScores(volume, "a", 9, 70.0, ways)


def test_tables_tell_means_over_objects_and_volumes_and_what_lost() -> None:
    results = [a_result("x", 0.9, 0.6), a_result("x", 0.7, 0.6), a_result("y", 0.2, 0.4)]
    table = table_of_volumes(results)
    assert "| x | 2 | 0.800 | 0.600 |" in table
    assert "| **mean over objects** | 3 | 0.600 | 0.533 |" in table
    assert "| **mean over volumes** | 3 | 0.500 | 0.500 |" in table
    assert "| 3 true | propagated | 0.600 | 0.600 | 100 % | 1 | 2 | 2.00 | 5 |" in table_of_ways(results)
    assert [(one.volume, ours, theirs) for one, ours, theirs in losers(results)] == [("y", 0.2, 0.4)]
    with pytest.raises(VolumeEvaluationError, match="no object was measured"):
        table_of_volumes([])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A volume of which label 3 is a bright block of nine slices, and label 5 too small."""
    labels = a_block(4, 12).astype(np.uint8) * 3
    labels[0, 0, 0] = 5
    picture = np.random.default_rng(0).integers(0, 60, labels.shape).astype(np.int16) + 400 * (labels == 3)
    for name, array in (("image", picture.astype(np.int16)), ("labels", labels)):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / f"{name}.nrrd"))
    path = tmp_path / "volumes.tsv"
    path.write_text("name\timage\tlabels\twindow\tnote\nblock\timage.nrrd\tlabels.nrrd\t200,400\tmade up\n")
    return path


def test_the_command_measures_a_table_of_volumes(
    table: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = table.parent / "objects.csv"
    words = ["evaluate-propagation", "--volumes", table, "--model", tiny_model, "--device", "cpu", "--csv", objects]
    assert main([str(word) for word in words]) == OK
    shown = capsys.readouterr().out
    assert "| block | 1 |" in shown and "- block: made up" in shown
    rows = list(csv.DictReader(objects.open(encoding="utf-8")))
    assert [(row["label"], row["source"], row["way"], row["keyframes"]) for row in rows[:5]] == [
        ("Segment_3", "true", "propagated", "1"),
        ("Segment_3", "true", "with found keyframes", "1"),
        ("Segment_3", "true", "copied", "1"),
        ("Segment_3", "true", "propagated", "3"),
        ("Segment_3", "true", "interpolated", "3"),
    ]
    assert [(row["source"], row["way"]) for row in rows[10:]] == [
        ("box", way) for way in ("whole object", "ellipsoid", "filled box")
    ]
    assert len(rows) == 13 and float(rows[2]["dice"]) == float(rows[12]["dice"]) == 1.0
    assert 0.5 < float(rows[11]["dice"]) < 0.9 and rows[11]["past"] == "0 0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which volumes?"),
        (["--volumes", "nothing.tsv"], "nothing.tsv: no such file"),
        (["--volume", "a", "a.nrrd", "b.nrrd", "--csv", "nowhere/a.csv"], "nowhere/a.csv: there is no folder"),
        (["--without", "luck"], "invalid choice"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate-propagation", *words]) == BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
