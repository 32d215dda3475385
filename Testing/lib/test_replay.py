"""The same prompts give the same mask, whoever asks; a report makes its masks again; masks are corrected."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib import evaluation
from SAMMed2DLib.__main__ import main
from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.evaluation.protocols import simulated_user_protocol
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Window, rgb_from_slice
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.registry.built_in import BUILT_IN

SIZE_KJI = (5, 90, 110)
WINDOW = Window(level=100, width=200)
POINTS = [(50, 40, 1), (80, 40, 0), (38, 52, 1), (20, 70, 0)]
DEVICE = ("--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A volume with an ellipsoid and things of its grey value beside it, ct.nrrd."""
    folder = tmp_path_factory.mktemp("replay")
    k, j, i = np.mgrid[: SIZE_KJI[0], : SIZE_KJI[1], : SIZE_KJI[2]]
    body = ((i - 48) / 24) ** 2 + ((j - 42) / 17) ** 2 + ((k - 2) / 3) ** 2 < 1
    beside = ((i - 80) / 12) ** 2 + ((j - 40) / 10) ** 2 < 1
    noise = np.random.default_rng(3).normal(0, 14, SIZE_KJI)
    volume = SimpleITK.GetImageFromArray((60 + 70 * body + 65 * beside + noise).astype(np.int16))
    volume.SetSpacing((0.8, 0.8, 3.0))
    SimpleITK.WriteImage(volume, str(folder / "ct.nrrd"))
    return folder


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(load_predictor(device="cpu", precision="float32"))


def plane_of(folder: Path, index: int = 2) -> tuple[SlicePlane, np.ndarray]:
    volume = read_volume(folder / "ct.nrrd")
    plane = SlicePlane.of_axis(volume.size_ijk, 0, index, volume.ijk_to_ras)
    return plane, rgb_from_slice(plane.extract(volume.array), WINDOW)


def prompts(count: int = len(POINTS), box=None) -> Prompts:
    chosen = np.array(POINTS[:count])
    return Prompts(chosen[:, :2], chosen[:, 2], box)


def segment(folder: Path, output: str, *words: object) -> int:
    return main(["segment", str(folder / "ct.nrrd"), "-o", str(folder / output), *DEVICE, *map(str, words)])


def clicks(points=POINTS) -> list[str]:
    return [word for x, y, label in points for word in ("--point", f"{x},{y},{'+' if label else '-'}")]


# Whoever asks


def test_command_line_batch_evaluation_and_demo_give_the_mask_of_the_session_bit_for_bit(folder, session):
    plane, image = plane_of(folder)
    expected = session.answer(image, prompts(), zoom=None).mask
    assert 300 < expected.sum() < 4000
    where = ("--axis", "k", "--slice", 2, "--window", "100,200")
    assert segment(folder, "all.seg.nrrd", *where, "--segment", "a", *clicks()) == 0
    np.testing.assert_array_equal(plane.extract(read_segmentation(folder / "all.seg.nrrd").mask("a")), expected)

    asked = {"slice": 2, "axis": "k", "points": POINTS}
    (folder / "p.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [asked]}]}))
    with (folder / "cases.csv").open("w", newline="") as file:
        names, cells = ("image", "output", "prompts", "json"), ("ct.nrrd", "batch.nii.gz", "p.json", "batch.json")
        csv.writer(file).writerows([names, cells])
    assert main(["batch", str(folder / "cases.csv"), "--window", "100,200", *DEVICE]) == 0
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "batch.nii.gz")))
    np.testing.assert_array_equal(labels[2] != 0, expected)
    assert segment(folder, "batch.seg.nrrd", "--prompts", folder / "batch.json") == 0
    np.testing.assert_array_equal(read_segmentation(folder / "batch.seg.nrrd").mask("a")[2], expected)

    # A user whose clicks are those of the evaluation
    y, x = np.mgrid[:90, :110]
    truth = (((x - 48) / 24) ** 2 + ((y - 42) / 17) ** 2 < 1) & (x < 60)  # without the end, which no border tells
    (result,) = evaluation.evaluate(session.predictor, [LabelledImage(image, truth.astype(np.uint8), "n", "d")])
    steps = simulated_user_protocol.click_by_click(lambda p: Session(session.predictor).answer(image, p).mask, truth, 5)
    *_, (_, _, given) = steps
    points = [(x, y, label) for (x, y), label in zip(given.points_xy, given.labels, strict=True)]
    assert {0, 1} == set(given.labels.tolist())
    assert segment(folder, "clicks.nrrd", *where, *clicks(points)) == 0
    labels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "clicks.nrrd")))
    assert dice(labels[2] != 0, truth) == result.dice["5 clicks"]

    demo = the_demo()
    case = demo.Case("structure", "axial", 2, plane, truth, image)
    shown = demo.one_case(Session(session.predictor), case, np.random.default_rng(0), demo.Times())
    np.testing.assert_array_equal(shown.masks["5 clicks"], labels[2] != 0)


def the_demo():
    path = Path(__file__).resolve().parents[1] / "demo" / "run_demo.py"
    spec = importlib.util.spec_from_file_location("run_demo_of_this_test", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_order_of_points_counts_and_survives_the_file(folder, session):
    plane, image = plane_of(folder)
    turned = [POINTS[2], POINTS[1], POINTS[0], POINTS[3]]
    asked = {"slice": 2, "axis": "k", "points": turned}
    (folder / "t.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [asked]}]}))
    assert segment(folder, "t.seg.nrrd", "--prompts", folder / "t.json", "--window", "100,200") == 0
    found = plane.extract(read_segmentation(folder / "t.seg.nrrd").mask("a"))
    array = np.array(turned)
    np.testing.assert_array_equal(found, session.answer(image, Prompts(array[:, :2], array[:, 2])).mask)
    assert (found != session.answer(image, prompts()).mask).any()


LOCKED = [(48, 42, 1), (66, 42, 0)]  # what was accepted, and a click that takes away


def test_what_was_accepted_stays_locked_in_files_of_prompts_and_in_reports(folder, session):
    plane, image = plane_of(folder)
    given = np.array(LOCKED, float)
    free = Prompts(given[:, :2], given[:, 2].astype(int))
    expected = session.answer(image, Prompts(given[:1, :2], [1]).with_acceptance().with_point(given[1, :2], 0)).mask
    assert (expected != session.answer(image, free).mask).any()  # the lock tells
    asked = {"slice": 2, "axis": "k", "points": [[*point[:2], int(point[2])] for point in given], "accepted": [1]}
    (folder / "l.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [asked]}]}))
    assert segment(folder, "l.seg.nrrd", "--prompts", folder / "l.json", "--window", "100,200") == 0
    assert segment(folder, "l2.seg.nrrd", "--prompts", folder / "l.seg.nrrd") == 0  # what the first tells of itself
    for name in ("l.seg.nrrd", "l2.seg.nrrd"):
        np.testing.assert_array_equal(plane.extract(read_segmentation(folder / name).mask("a")), expected)


@pytest.mark.parametrize(
    ("accepted", "message"),
    [([1.5], "whole numbers from 0 on"), (["a"], "whole numbers from 0 on"), ([-1], "from 0 on"), (2, "wrong type")],
)
def test_what_is_wrong_with_accepted_in_a_file_is_said(folder, capsys, accepted, message):
    asked = {"slice": 2, "points": [[50, 40, 1]], "accepted": accepted}
    (folder / "w.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [asked]}]}))
    assert segment(folder, "w.seg.nrrd", "--prompts", folder / "w.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (folder / "w.seg.nrrd").exists()


@pytest.mark.parametrize("point", [[1, 2], [1, 2, 2], [1, 2, -1], [], "a", [1, "b", 1], [None, 1, 1]])
def test_points_without_a_side_are_refused(folder, capsys, point):
    asked = {"slice": 2, "points": [[50, 40, 1], point]}
    (folder / "b.json").write_text(json.dumps({"segments": [{"name": "a", "prompts": [asked]}]}))
    assert segment(folder, "b.seg.nrrd", "--prompts", folder / "b.json") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "prompts[0]" in line and not (folder / "b.seg.nrrd").exists()


# The report as prompts

CHOICES = {
    "as it comes": (),
    "window": ("--window", "100,200"),
    "percentiles": ("--percentiles", "1,97"),
    "whole slice": ("--no-zoom", "--fit", "pad", "--full-range"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_a_report_makes_the_same_masks_again(folder, capsys, choice):
    asked = ("--axis", "k", "--slice", 2, "--segment", "a", *clicks(), "--segment", "b", "--box", "68.5,30,92.25,50")
    words = ("--json", folder / "r.json", *CHOICES[choice])
    assert segment(folder, "first.seg.nrrd", *asked, "--point", "80,40", *words) == 0
    capsys.readouterr()
    assert segment(folder, "again.seg.nrrd", "--prompts", folder / "r.json", "--json", folder / "s.json") == 0
    assert "not as recorded" not in capsys.readouterr().err
    first, again = (read_segmentation(folder / f"{name}.seg.nrrd") for name in ("first", "again"))
    assert first.segments == again.segments
    np.testing.assert_array_equal(first.layers_lkji, again.layers_lkji)
    told, retold = (json.loads((folder / f"{name}.json").read_text()) for name in "rs")
    for report in (told, retold):
        del report["output"], report["seconds"], report["notes"]
    assert told == retold
    one, other = (entry["prompts"][0] for entry in told["segments"])
    assert one["points"] == [[*map(float, point[:2]), point[2]] for point in POINTS] and "box" not in one
    assert other["box"] == [68.5, 30, 92.25, 50] and other["points"] == [[80, 40, 1]]
    assert len(told["checksum"]) == 64 and told["model"] == BUILT_IN and told["channel_order"] == "rgb"


def test_what_is_not_as_recorded_is_told_in_one_line(folder, capsys):
    words = ("--axis", "k", "--slice", 2, *clicks(), "--window", "100,200", "--json", folder / "d.json")
    assert segment(folder, "d.seg.nrrd", *words) == 0
    report = json.loads((folder / "d.json").read_text())
    (folder / "d.json").write_text(json.dumps({**report, "checksum": "0" * 64}))
    capsys.readouterr()
    assert segment(folder, "e.seg.nrrd", "--prompts", folder / "d.json", "--window", "90,300", "--no-zoom") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not as recorded" in line]
    for part in (
        "zoom off instead of on",
        "intensities window 90.0,300.0 instead of window 100.0,200.0",
        f"the weights of {BUILT_IN} are others",
        "other pixels on slice 2 (k)",
    ):
        assert part in line


def test_a_report_that_calls_the_model_by_a_former_name_is_made_again(folder, capsys):
    words = ("--axis", "k", "--slice", 2, *clicks(), "--no-zoom", "--json", folder / "f.json")
    assert segment(folder, "f.seg.nrrd", *words) == 0
    report = json.loads((folder / "f.json").read_text())
    (folder / "f.json").write_text(json.dumps({**report, "model": "sam-med2d-small", "checksum": "0" * 64}))
    capsys.readouterr()
    assert segment(folder, "g.seg.nrrd", "--prompts", folder / "f.json", "--json", folder / "g.json") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "not as recorded" in line]
    assert f"model {BUILT_IN} instead of sam-med2d-small" in line and f"the weights of {BUILT_IN} are others" in line
    assert json.loads((folder / "g.json").read_text())["model"] == BUILT_IN


def test_a_segmentation_is_enough_too_and_names_no_folder(folder):
    words = ("--axis", "k", "--slice", 2, "--segment", 'a "b" \\ é', *clicks(), "--no-zoom", "--fit", "pad")
    assert segment(folder, "h.seg.nrrd", *words) == 0
    assert segment(folder, "i.seg.nrrd", "--prompts", folder / "h.seg.nrrd") == 0
    header, again = ((folder / f"{name}.seg.nrrd").read_bytes() for name in "hi")
    assert header == again  # all of it, with the record
    assert str(folder).encode() not in header and b"ct.nrrd" in header


@pytest.mark.parametrize("content", [b"", b"NRRD0004\n", None])
def test_a_segmentation_without_a_record_is_refused(folder, drawn, capsys, content):
    path = folder / "organs.seg.nrrd"
    if content is not None:
        path = folder / "bad.seg.nrrd"
        path.write_bytes(content)
    assert segment(folder, "no.seg.nrrd", "--prompts", path) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (folder / "no.seg.nrrd").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"model": 3},
        {"zoom": "yes"},
        {"frame": True},
        {"intensities": {"window": [1]}},
        {"intensities": {"window": [1, float("nan")]}},
        {"segments": 3},
        {"segments": [3]},
        {"segments": [{"name": "a", "prompts": [3]}]},
        {"mask": "nowhere.seg.nrrd"},
    ],
)
def test_a_damaged_report_is_one_line(folder, capsys, change):
    prompt = {"axis": "k", "slice": 2, "points": [[50, 40, 1]]}
    report = {"sammed2d": "0", "segments": [{"name": "a", "prompts": [prompt]}]}
    (folder / "x.json").write_text(json.dumps({**report, **change}))
    assert segment(folder, "x.seg.nrrd", "--prompts", folder / "x.json") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (folder / "x.seg.nrrd").exists()


# A mask that is there


@pytest.fixture(scope="module")
def drawn(folder) -> np.ndarray:
    """The segments "organ" (too large on slice 2) and "other", in organs.seg.nrrd; (K, J, I) bool of "organ"."""
    k, j, i = np.mgrid[: SIZE_KJI[0], : SIZE_KJI[1], : SIZE_KJI[2]]
    organ = ((i - 48) / 24) ** 2 + ((j - 42) / 17) ** 2 + ((k - 2) / 3) ** 2 < 1
    organ[2] |= (i[2] - 48) ** 2 + (j[2] - 64) ** 2 < 9**2
    other = i > 100
    known = Segment("organ", (1, 0, 0), identifier="Organ_7", tags="a:b|", label_value=7)
    segments, volume = [known, Segment("other", (0, 1, 0))], read_volume(folder / "ct.nrrd")
    write_segmentation(folder / "organs.seg.nrrd", [organ, other], volume, segments)
    return organ


def test_a_mask_that_is_there_is_corrected_and_all_else_stays(folder, drawn, session):
    plane, image = plane_of(folder)
    words = ("--segment", "organ", "--axis", "k", "--slice", 2, "--point", "48,66,-", "--window", "100,200")
    files = ("--mask", folder / "organs.seg.nrrd", "--json", folder / "m.json")
    assert segment(folder, "better.seg.nrrd", *words, *files) == 0
    before, after = (read_segmentation(folder / f"{name}.seg.nrrd") for name in ("organs", "better"))
    assert [(s.name, s.color, s.identifier, s.tags) for s in after.segments] == [
        (s.name, s.color, s.identifier, s.tags) for s in before.segments
    ]
    np.testing.assert_array_equal(after.mask("other"), before.mask("other"))
    found = after.mask("organ")
    np.testing.assert_array_equal(found[[0, 1, 3, 4]], drawn[[0, 1, 3, 4]])
    expected = session.answer(image, Prompts.of(negative=[(48, 66)]), mask=plane.extract(drawn)).mask
    np.testing.assert_array_equal(plane.extract(found), expected)
    assert not found[2, 66, 48] and not (found & ~drawn).any() and found[2].sum() < drawn[2].sum() - 50

    assert segment(folder, "replayed.seg.nrrd", "--prompts", folder / "m.json") == 0
    np.testing.assert_array_equal(read_segmentation(folder / "replayed.seg.nrrd").layers_lkji, after.layers_lkji)


def test_a_new_segment_may_join_those_of_the_mask(folder, drawn, capsys):
    words = ("--segment", "new", "--axis", "k", "--slice", 2, "--box", "68,30,92,50")
    capsys.readouterr()
    assert segment(folder, "joined.seg.nrrd", "--mask", folder / "organs.seg.nrrd", *words) == 0
    assert f"note: new beside the segments of {folder / 'organs.seg.nrrd'}: new\n" in capsys.readouterr().err
    joined = read_segmentation(folder / "joined.seg.nrrd")
    assert [one.name for one in joined.segments] == ["organ", "other", "new"]
    np.testing.assert_array_equal(joined.mask("organ"), drawn)
    assert joined.mask("new")[2].any() and not joined.mask("new")[[0, 1, 3, 4]].any()


def test_a_recorded_mask_that_is_not_there_is_asked_for(folder, drawn, tmp_path, capsys):
    words = ("--segment", "organ", "--axis", "k", "--slice", 2, "--point", "48,66,-")
    files = ("--mask", folder / "organs.seg.nrrd", "--json", folder / "m2.json")
    assert segment(folder, "first.seg.nrrd", *words, *files) == 0
    moved = shutil.copy(folder / "first.seg.nrrd", tmp_path / "moved.seg.nrrd")  # its header knows the name alone
    capsys.readouterr()
    assert segment(folder, "second.seg.nrrd", "--prompts", moved) == 2
    assert f"moved.seg.nrrd: its prompts correct the mask {tmp_path / 'organs.seg.nrrd'}" in capsys.readouterr().err
    assert segment(folder, "second.seg.nrrd", "--prompts", moved, *files[:2]) == 0
    first, second = (read_segmentation(folder / f"{name}.seg.nrrd") for name in ("first", "second"))
    np.testing.assert_array_equal(second.layers_lkji, first.layers_lkji)


def test_files_in_the_place_of_others_are_named_as_what_they_are(folder, drawn, capsys):
    assert segment(folder, "no.seg.nrrd", "--prompts", folder / "ct.nrrd") == 2
    assert "is no JSON: it is no text in UTF-8; a mask goes with --mask" in capsys.readouterr().err
    words = ("--axis", "k", "--slice", 2, "--point", "48,66")
    assert segment(folder, "no.seg.nrrd", *words, "--mask", folder) == 2
    assert f"{folder}: is a folder; give a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--axis k --slice 2 --point 48,66,-", "which segment?"),
        ("--axis k --slice 2 --segment new --point 48,66,-", "no segment 'new' to take away from; there are: organ"),
        ("--axis j --slice 4 --segment organ --point 2,2,-", "only negative points"),
    ],
)
def test_what_cannot_be_corrected_is_said_in_one_line(folder, drawn, capsys, words, message):
    assert segment(folder, "no.seg.nrrd", "--mask", folder / "organs.seg.nrrd", *words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (folder / "no.seg.nrrd").exists()


def test_a_recorded_model_that_is_not_here_is_named_with_the_report(folder, capsys):
    words = ("--axis", "k", "--slice", 2, "--point", "48,42", "--json", folder / "w.json")
    assert segment(folder, "w.seg.nrrd", *words) == 0
    report = json.loads((folder / "w.json").read_text())
    for model in ("mine", "sam-med2d_b", "gone.pt"):
        (folder / "w.json").write_text(json.dumps({**report, "model": model}))
        capsys.readouterr()
        assert segment(folder, "v.seg.nrrd", "--prompts", folder / "w.json") == 2
        error = capsys.readouterr().err
        assert f"w.json: its masks were made with the model {model}, which is not here" in error and "--model" in error
    assert segment(folder, "v.seg.nrrd", "--prompts", folder / "w.json", "--model", BUILT_IN) == 0
