"""The command line: prompts of every kind to segmentations in the right place; bad input touches no file."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib import __version__
from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, FAILURE, OK, main
from SAMMed2DLib.cli import segment as segment_command
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.scoring.calibration import ScoreCalibration
from SAMMed2DLib.io.segmentation_io import read_segmentation

ROOT = Path(__file__).resolve().parents[2]
SIZE_IJK = (30, 24, 12)


@dataclass
class StubEmbedding:
    sizes_hw: list[tuple[int, int]]
    nbytes: int = 0

    def __getitem__(self, index: int) -> StubEmbedding:
        return StubEmbedding([self.sizes_hw[index]])


@dataclass
class StubPrediction:
    mask: np.ndarray
    score: float
    low_res_logits: np.ndarray | None = None

    def logits(self) -> np.ndarray:
        return np.where(self.mask, np.float32(20), np.float32(-20))


class StubPredictor:
    """Segments the box, or 3 x 3 pixels at every positive point."""

    prefers_zoom = False
    has_refiner = False
    click_scales = (1.0,)
    coarse_size = None
    score_calibration = None

    def __init__(self, trouble: Exception | None = None) -> None:
        self.images: list[list[np.ndarray]] = []
        self.calls: list[Prompts] = []
        self.trouble = trouble
        self.finds_nothing = False

    def embed(self, images: Sequence[np.ndarray], coarse: bool = False) -> StubEmbedding:
        self.images.append(list(images))
        return StubEmbedding([image.shape[:2] for image in images])

    def predict(self, embedding: StubEmbedding, prompts: Prompts) -> StubPrediction:
        self.calls.append(prompts)
        if self.trouble:
            raise self.trouble
        return StubPrediction(self.mask(embedding.sizes_hw[0], prompts), 0.75)

    def mask(self, size_hw: tuple[int, int], prompts: Prompts) -> np.ndarray:
        mask = np.zeros(size_hw, bool)
        if self.finds_nothing:
            return mask
        if prompts.box_xyxy is not None:
            x0, y0, x1, y1 = prompts.box_xyxy.round().astype(int)
            mask[y0:y1, x0:x1] = True
        for (x, y), label in zip(prompts.points_xy.round().astype(int), prompts.labels, strict=True):
            if label == 1:
                mask[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
        return mask


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> StubPredictor:
    stub = StubPredictor()
    monkeypatch.setattr(segment_command, "load", lambda args: stub)
    return stub


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Patient axes swapped and flipped: i runs to anterior, j to inferior, k to left; anisotropic, offset."""
    array = np.random.default_rng(0).integers(-300, 1000, SIZE_IJK[::-1]).astype(np.int16)
    volume = SimpleITK.GetImageFromArray(array)
    volume.SetSpacing((0.5, 0.75, 2.0))
    volume.SetOrigin((3.0, -5.0, 7.0))
    volume.SetDirection((0, 0, 1, -1, 0, 0, 0, -1, 0))
    SimpleITK.WriteImage(volume, str(tmp_path / "ct.nrrd"))
    return tmp_path / "ct.nrrd"


def ras_of(ijk: Sequence[float]) -> list[float]:
    """Where a voxel of `image` is in the patient."""
    i, j, k = ijk
    left, posterior, superior = 3.0 + 2.0 * k, -5.0 - 0.5 * i, 7.0 - 0.75 * j
    return [-left, -posterior, superior]


def segment(image: Path, *words: object, output: str = "out.seg.nrrd") -> int:
    return main(["segment", str(image), "-o", str(image.parent / output), *map(str, words)])


def voxels(image: Path, name: str, output: str = "out.seg.nrrd") -> list[list[int]]:
    """Indices (i, j, k) of a segment's voxels."""
    return np.argwhere(read_segmentation(image.parent / output).mask(name))[:, ::-1].tolist()


def block(i: range, j: range, k: range) -> list[list[int]]:
    return [[a, b, c] for c in k for b in j for a in i]


# What is segmented


def test_a_point_on_a_stored_slice_is_segmented_in_the_geometry_of_the_image(
    image: Path, predictor: StubPredictor
) -> None:
    assert segment(image, "--axis", "k", "--slice", 4, "--point", "10,6") == OK
    assert voxels(image, "Segment_1") == block(range(9, 12), range(5, 8), range(4, 5))
    read, given = read_segmentation(image.parent / "out.seg.nrrd"), SimpleITK.ReadImage(str(image))
    np.testing.assert_allclose((np.diag([-1, -1, 1, 1]) @ read.ijk_to_ras)[:3, 3], given.GetOrigin(), atol=1e-12)
    steps = np.array([[0, 0, -2], [0.5, 0, 0], [0, -0.75, 0]])
    np.testing.assert_allclose(read.ijk_to_ras[:3, :3], steps, atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        ("axial", block(range(4, 7), range(8, 9), range(2, 5))),  # slices along j; x = i, y = k
        ("coronal", block(range(8, 9), range(4, 7), range(2, 5))),  # slices along i; x = j, y = k
        ("sagittal", block(range(4, 7), range(2, 5), range(8, 9))),  # slices along k; x = i, y = j
        ("j", block(range(4, 7), range(8, 9), range(2, 5))),
    ],
)
def test_an_axis_is_meant_in_the_patient_or_as_stored(
    image: Path, predictor: StubPredictor, axis: str, expected: list[list[int]]
) -> None:
    assert segment(image, "--axis", axis, "--slice", 8, "--point", "5,3") == OK
    assert voxels(image, "Segment_1") == expected


def test_the_middle_slice_can_be_asked_for(image: Path, predictor: StubPredictor) -> None:
    assert segment(image, "--axis", "k", "--slice", "mid", "--point", "5,3") == OK
    assert {k for _, _, k in voxels(image, "Segment_1")} == {6}


def test_prompts_belong_to_the_segment_before_them_and_a_slice_is_encoded_once(
    image: Path, predictor: StubPredictor
) -> None:
    words = "--axis k --slice 2 --segment liver --box 2,3,10,12 --segment spot --point 20,20 --point 9,9,-"
    assert segment(image, *words.split(), "--segment", "liver", "--point", "4,4,+") == OK
    assert len(predictor.images) == 1
    assert predictor.calls == [  # each prompt refines what the ones before it gave
        Prompts.of(box=(2, 3, 10, 12)),
        Prompts.of(positive=[(4, 4)], box=(2, 3, 10, 12)),
        Prompts.of(positive=[(20, 20)]),
        Prompts.of(positive=[(20, 20)], negative=[(9, 9)]),
    ]
    assert [s.name for s in read_segmentation(image.parent / "out.seg.nrrd").segments] == ["liver", "spot"]


@pytest.mark.parametrize(("box", "is_cut"), [("20,10,40,24", True), ("-1,0,9,9", True), ("0,0,30,24", False)])
def test_a_box_that_reaches_beyond_the_slice_is_cut_and_told(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], box: str, is_cut: bool
) -> None:
    assert segment(image, "--axis", "k", "--slice", 2, "--box", box) == OK
    told = f"note: segment 'Segment_1': the box {box} reaches beyond the slice of 30 x 24 px, and is cut at its edge"
    assert (told in capsys.readouterr().err) == is_cut
    x0, y0, x1, y1 = map(int, box.split(","))
    inside = block(range(max(x0, 0), min(x1, 30)), range(max(y0, 0), min(y1, 24)), range(2, 3))
    assert sorted(voxels(image, "Segment_1")) == sorted(inside)


@pytest.mark.parametrize(("choice", "seen"), [("--no-zoom", (90, 120, 3)), ("--zoom", (32, 32, 3))])
def test_zoom_shows_the_model_a_crop_around_the_prompts(
    tmp_path: Path, predictor: StubPredictor, choice: str, seen: tuple[int, ...]
) -> None:
    picture = tmp_path / "picture.png"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.eye(90, 120, dtype=np.uint8)), str(picture))
    assert segment(picture, "--box", "60,50,70,58", choice) == 0
    assert [image.shape for image in predictor.images[0]] == [seen]
    found = voxels(picture, "Segment_1")
    assert len(found) == 80 and found[0][:2] == [60, 50] and found[-1][:2] == [69, 57]


def test_overlapping_segments_are_both_kept(image: Path, predictor: StubPredictor) -> None:
    words = "--axis k --slice 2 --segment a --box 2,2,10,10 --segment b --box 5,5,15,15"
    assert segment(image, *words.split()) == OK
    assert voxels(image, "a") == block(range(2, 10), range(2, 10), range(2, 3))
    assert voxels(image, "b") == block(range(5, 15), range(5, 15), range(2, 3))


def test_a_label_map_says_how_many_voxels_the_later_segment_took(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--axis k --slice 2 --segment a --box 2,2,10,10 --segment b --box 5,5,15,15"
    assert segment(image, *words.split(), output="out.nii.gz") == OK
    assert "25 voxels went to the later one" in capsys.readouterr().err
    assert len(voxels(image, "Segment_1", "out.nii.gz")) == 64 - 25


def test_voxel_indices_find_their_slice(image: Path, predictor: StubPredictor) -> None:
    assert segment(image, "--ijk", "--axis", "k", "--point", "10,6,4", "--point", "20,6,7") == OK
    expected = block(range(9, 12), range(5, 8), range(4, 5)) + block(range(19, 22), range(5, 8), range(7, 8))
    assert voxels(image, "Segment_1") == expected


def test_a_box_of_voxels_covers_all_slices_between_its_corners(image: Path, predictor: StubPredictor) -> None:
    assert segment(image, "--ijk", "--axis", "k", "--box", "9,4,6,3,8,4") == OK
    assert voxels(image, "Segment_1") == block(range(3, 10), range(4, 9), range(4, 7))


def test_a_box_in_space_can_be_restricted_to_one_slice(image: Path, predictor: StubPredictor) -> None:
    assert segment(image, "--ijk", "--axis", "k", "--slice", 5, "--box", "3,4,4,9,8,6") == OK
    assert voxels(image, "Segment_1") == block(range(3, 10), range(4, 9), range(5, 6))


def test_patient_positions_find_their_voxel_also_when_they_begin_with_a_minus(
    image: Path, predictor: StubPredictor
) -> None:
    point = ",".join(f"{v:g}" for v in ras_of((10, 6, 4)))
    assert point.startswith("-")
    assert segment(image, "--ras", "--axis", "sagittal", "--point", point) == OK
    assert voxels(image, "Segment_1") == block(range(9, 12), range(5, 8), range(4, 5))


def test_a_box_in_mm_holds_the_pixels_between_its_corners(image: Path, predictor: StubPredictor) -> None:
    low, high = ras_of((2.5, 3.5, 3.6)), ras_of((9.5, 8.5, 6.4))
    box = ",".join(f"{v:.6g}" for v in (*low, *high))
    assert segment(image, "--ras", "--axis", "k", "--box", box) == OK
    assert voxels(image, "Segment_1") == block(range(3, 10), range(4, 9), range(4, 7))


def a_markups_file(path: Path, points_ijk: Sequence[Sequence[float]], **extra: Any) -> Path:
    points = [
        {"label": f"F-{n}", "position": [-r, -a, s], "positionStatus": "defined"}
        for n, (r, a, s) in enumerate(map(ras_of, points_ijk), 1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points, **extra}
    path.write_text(json.dumps({"markups": [markup]}))
    return path


def test_points_of_slicer_find_their_slices_and_signs(image: Path, predictor: StubPredictor) -> None:
    inside = a_markups_file(image.parent / "F.mrk.json", [(10, 6, 4), (20, 6, 7)])
    outside = a_markups_file(image.parent / "N.mrk.json", [(25, 20, 4)])
    assert segment(image, "--axis", "k", "--markups", inside, "--negative", outside) == OK
    _, first, second = predictor.calls
    np.testing.assert_allclose(first.points_xy, [(10, 6), (25, 20)], atol=1e-9)
    assert first.labels.tolist() == [1, 0] and second.labels.tolist() == [1]
    expected = block(range(9, 12), range(5, 8), range(4, 5)) + block(range(19, 22), range(5, 8), range(7, 8))
    assert voxels(image, "Segment_1") == expected


def test_a_box_of_slicer_is_segmented_on_every_slice_that_it_crosses(image: Path, predictor: StubPredictor) -> None:
    center = np.mean([ras_of((2.5, 3.5, 3.6)), ras_of((9.5, 8.5, 6.4))], axis=0)
    size = np.abs(np.subtract(ras_of((2.5, 3.5, 3.6)), ras_of((9.5, 8.5, 6.4))))
    roi = {"type": "ROI", "coordinateSystem": "RAS", "roiType": "Box", "center": center.tolist()}
    roi |= {"size": size.tolist(), "orientation": np.eye(3).ravel().tolist()}
    (image.parent / "R.mrk.json").write_text(json.dumps({"markups": [roi]}))
    assert segment(image, "--axis", "k", "--roi", image.parent / "R.mrk.json") == OK
    assert voxels(image, "Segment_1") == block(range(3, 10), range(4, 9), range(4, 7))


def test_a_prompts_file_holds_several_segments_slices_and_axes(image: Path, predictor: StubPredictor) -> None:
    content = {
        "axis": "k",
        "segments": [
            {
                "name": "liver",
                "color": [1, 0.5, 0],
                "prompts": [
                    {"slice": 2, "box": [1, 1, 4, 4]},
                    {"slice": "mid", "positive": [[10, 10]], "negative": [[0, 0]]},
                ],
            },
            {"name": "spleen", "prompts": [{"slice": 8, "axis": "i", "positive": [[5, 3]]}]},
        ],
    }
    (image.parent / "p.json").write_text(json.dumps(content))
    assert segment(image, "--prompts", image.parent / "p.json") == OK
    expected = block(range(1, 4), range(1, 4), range(2, 3)) + block(range(9, 12), range(9, 12), range(6, 7))
    assert voxels(image, "liver") == expected
    assert voxels(image, "spleen") == block(range(8, 9), range(4, 7), range(2, 5))
    assert read_segmentation(image.parent / "out.seg.nrrd").segments[0].color == (1.0, 0.5, 0.0)


def test_a_picture_needs_neither_axis_nor_slice(tmp_path: Path, predictor: StubPredictor) -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=True), str(tmp_path / "x.png"))
    assert segment(tmp_path / "x.png", "--point", "10,6") == OK
    np.testing.assert_array_equal(predictor.images[0][0], array)
    assert voxels(tmp_path / "x.png", "Segment_1") == block(range(9, 12), range(5, 8), range(1))


def test_many_slices_are_encoded_once_each(image: Path, predictor: StubPredictor) -> None:
    words = "--ijk --axis k --segment a --box 3,4,0,9,8,11 --segment b --box 12,4,0,14,8,11"
    assert segment(image, *words.split()) == OK
    assert [len(batch) for batch in predictor.images] == [1] * 12
    assert len(predictor.calls) == 2 * 12


# What the model sees


def test_the_intensity_rule_can_be_chosen(image: Path, predictor: StubPredictor) -> None:
    where = ("--axis", "k", "--slice", 4, "--point", "10,6")
    slice_hw = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image)))[4].astype(float)
    expected: dict[tuple[str, ...], Callable[[], np.ndarray]] = {
        ("--window", "-100,400"): lambda: (slice_hw + 300) / 400,
        ("--full-range",): lambda: (slice_hw - slice_hw.min()) / np.ptp(slice_hw),
        ("--percentiles", "10,90"): lambda: (
            (slice_hw - np.percentile(slice_hw, 10)) / np.ptp(np.percentile(slice_hw, [10, 90]))
        ),
    }
    for words, made in expected.items():
        assert segment(image, *where, *words) == OK
        seen = predictor.images[-1][0][..., 0].astype(float)
        np.testing.assert_allclose(seen, np.clip(made(), 0, 1) * 255, atol=1.5)


def test_a_ct_without_a_window_is_segmented_with_advice(
    tmp_path: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(0).integers(-1024, 3000, (2, 20, 30)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "ct.mha"))
    assert segment(tmp_path / "ct.mha", "--slice", 0, "--point", "10,6") == OK
    assert "looks like a CT; --window 40,400" in capsys.readouterr().err
    assert segment(tmp_path / "ct.mha", "--slice", 0, "--point", "10,6", "--window", "40,400") == OK
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("window", "is_told"), [("5000,10", True), ("-400,100", True), ("-400,300", False)])
def test_a_window_that_shows_nothing_is_told(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], window: str, is_told: bool
) -> None:
    assert segment(image, *GOOD.split(), "--window", window) == OK
    assert (f"--window {window} shows nothing of this image" in capsys.readouterr().err) == is_told
    assert (np.ptp(predictor.images[-1][0]) == 0) == is_told


def test_a_link_stays_and_the_file_that_it_leads_to_is_written(
    image: Path, predictor: StubPredictor, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    link, real = image.parent / "linked.seg.nrrd", tmp_path / "real" / "organs.seg.nrrd"
    try:
        link.symlink_to(real)
    except OSError:  # Windows, without the right to
        pytest.skip("links cannot be made here")
    assert segment(image, *GOOD.split(), output=link.name) == OK
    assert link.is_symlink() and [path.name for path in (tmp_path / "real").iterdir()] == ["organs.seg.nrrd"]
    assert read_segmentation(real).mask("Segment_1").any()


def test_nan_beside_an_image_does_not_make_it_a_ct(
    tmp_path: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    for lowest in (np.nan, -np.inf, np.finfo(np.float32).min):
        array[:, :5] = lowest
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "mr.nii.gz"))
        assert segment(tmp_path / "mr.nii.gz", "--slice", 0, "--point", "10,12") == OK
        assert capsys.readouterr().err == ""


def test_eight_bit_images_are_seen_as_they_are(tmp_path: Path, predictor: StubPredictor) -> None:
    array = np.random.default_rng(0).integers(50, 100, (20, 30)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "x.png"))
    assert segment(tmp_path / "x.png", "--point", "10,6") == OK
    np.testing.assert_array_equal(predictor.images[0][0][..., 1], array)


# What is told and written


def test_the_report_and_the_picture_come_with_the_segmentation(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--ijk", "--axis", "k", "--segment", "liver", "--box", "3,4,4,9,8,5")
    extra = ("--png", image.parent / "o.png", "--json", image.parent / "r.json")
    assert segment(image, *words, *extra) == OK
    report = json.loads((image.parent / "r.json").read_text())
    (liver,) = report["segments"]
    assert (liver["name"], liver["voxels"]) == ("liver", 70)
    assert liver["volume_ml"] == pytest.approx(70 * 0.5 * 0.75 * 2.0 / 1000)
    assert liver["slices"][0] == {
        "axis": "k",
        "slice": 4,
        "score": 0.75,
        "predicted_iou": 0.75,
        "grade": None,
        "pixels": 35,
        "points": 0,
        "box": True,
    }
    assert {"read", "load", "embed and predict", "write", "draw"} <= report["seconds"].keys()
    picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image.parent / "o.png")))
    assert picture.ndim == 3 and picture.shape[1] > 2 * 240
    shown = capsys.readouterr()
    assert "liver: 70 voxels" in shown.out and "predicted IoU 0.75" in shown.out
    assert shown.err == "", "no progress in a log"
    assert sorted(os.listdir(image.parent)) == ["ct.nrrd", "o.png", "out.seg.nrrd", "r.json"]


def test_calibrated_scores_have_a_grade_and_slices_to_check_are_counted(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = ScoreCalibration(-2.0, {"predicted_iou": 1.0}, 0.8, 0.6)
    monkeypatch.setattr(StubPredictor, "score_calibration", calibration)
    logits = np.full((4, 4), 9, np.float32)
    monkeypatch.setattr(
        StubPredictor,
        "predict",
        lambda self, embedding, prompts: StubPrediction(self.mask(embedding.sizes_hw[0], prompts), 0.75, logits),
    )
    report = image.parent / "r.json"
    assert segment(image, "--axis", "k", "--segment", "liver", "--ijk", "--box", "3,4,4,9,8,5", "--json", report) == OK
    entries = json.loads(report.read_text())["segments"][0]["slices"]
    score = round(1 / (1 + math.exp(2) / 3), 4)
    assert [(one["score"], one["predicted_iou"], one["grade"]) for one in entries] == [(score, 0.75, "check")] * 2
    assert f"expected IoU {score:.2f} (2 to check)" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_picture_has_pixels_and_no_millilitres(
    tmp_path: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    picture = tmp_path / f"photo.{suffix}"
    array = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(picture))
    assert segment(picture, "--point", "12,8", "--json", tmp_path / "report.json") == OK
    said = capsys.readouterr().out
    assert re.match(r"Segment_1: \d+ pixels, 1 slice, predicted IoU", said) and " ml" not in said
    (entry,) = json.loads((tmp_path / "report.json").read_text())["segments"]
    assert entry["volume_ml"] is None and entry["voxels"] > 0


def test_the_mask_of_a_picture_can_be_a_picture(tmp_path: Path, predictor: StubPredictor) -> None:
    array = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "photo.png"))
    words = ["--segment", "a", "--box", "2,3,8,9", "--segment", "b", "--box", "12,10,20,18"]
    masks = []
    for output, given in (("one.png", words[:4]), ("two.png", words), ("two.seg.nrrd", words)):
        assert segment(tmp_path / "photo.png", *given, output=output) == OK
        masks.append(tmp_path / output)
    one, two = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in masks[:2])
    wanted = read_segmentation(masks[2])
    a, b = (wanted.mask(name)[0] for name in "ab")
    assert a.any() and b.any() and not (a & b).any()
    np.testing.assert_array_equal(one, np.where(a, 255, 0))
    np.testing.assert_array_equal(two, np.where(a, 1, np.where(b, 2, 0)))
    assert one.dtype == two.dtype == np.uint8


def test_the_mask_of_a_volume_is_no_picture(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(image, "--slice", 4, "--point", "5,3", output="mask.png") == BAD_INPUT
    assert "a picture holds one slice, and the image has" in capsys.readouterr().err
    assert not (image.parent / "mask.png").exists()


def test_the_picture_has_rulers_when_asked_for(image: Path, predictor: StubPredictor) -> None:
    plain, ruled = (image.with_name(name) for name in ("plain.png", "ruled.png"))
    assert segment(image, "--slice", 4, "--point", "5,3", "--png", plain) == OK
    assert segment(image, "--slice", 4, "--point", "5,3", "--png", ruled, "--rulers") == OK
    (width, height), (ruled_width, ruled_height) = (
        SimpleITK.ReadImage(str(path)).GetSize() for path in (plain, ruled)
    )
    assert max(width, height) == 1024 and ruled_width > 1600 * width / 1024 and ruled_height > 1600 * height / 1024


def test_the_report_alone_goes_to_stdout(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(image, "--axis", "k", "--slice", 4, "--point", "10,6", "--json", "-") == OK
    assert json.loads(capsys.readouterr().out)["segments"][0]["voxels"] == 9


def test_progress_is_shown_when_asked_for(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(image, "--axis", "k", "--slice", 4, "--point", "10,6", "--progress") == OK
    assert "slices: 1 of 1\n" in capsys.readouterr().err


def test_a_segment_that_was_not_found_is_named(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predictor.mask
    monkeypatch.setattr(
        predictor,
        "mask",
        lambda size, one: whole(size, one) if one.box_xyxy is not None else np.zeros(size, bool),
    )
    words = "--axis k --slice 2 --segment liver --box 2,3,10,12 --segment spot --point 20,20"
    assert segment(image, *words.split()) == OK
    assert "nothing was found for: spot" in capsys.readouterr().err


# Bad input: a message of one line, the exit code, and no file touched


GOOD = "--axis k --slice 4 --point 10,6"
NEEDS_DEVICES = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full")
REFUSED_OPTIONS = [
    ("--axis k --slice 4", "nothing to segment: give --point"),
    ("--axis k --point 10,6", "which of the 12 slices? give --slice 0 to 11, or --slice mid"),
    ("--axis k --slice 12 --point 10,6", "no slice 12"),
    ("--axis k --slice four --point 10,6", "'four' is no slice"),
    ("--axis oblique --slice 4 --point 10,6", "invalid choice: 'oblique'"),
    (
        "--axis k --slice 4 --point 30,6",
        "segment 'Segment_1', slice 4 (k): the point 30,6 is outside",
    ),
    ("--axis k --slice 4 --point -3,6", "is outside the slice"),
    ("--axis k --slice 4 --point 10,6,4", "a point in xy coordinates is X,Y, not 10,6,4"),
    ("--axis k --slice 4 --point 10", "a point in xy coordinates is X,Y, not 10"),
    ("--axis k --slice 4 --point 10, 6", "'10,' is no list of numbers with commas, and no spaces, between them"),
    ("--axis k --slice 4 --point 10,y", "'10,y' is no list of numbers"),
    ("--axis k --slice 4 --point nan,3", "must be finite numbers"),
    ("--axis k --slice 4 --point 10,6,-", "has only negative points; add a positive point or a box"),
    ("--axis k --slice 4 --point 10,6 --point 10,6,-", "the pixel 10,6 is both positive and negative"),
    ("--axis k --slice 4 --box 10,6,5,9", "is inverted or has no area"),
    ("--axis k --slice 4 --box 10,6,10,9", "is inverted or has no area"),
    ("--axis k --slice 4 --box 40,6,50,9", "is outside the slice"),
    ("--axis k --slice 4 --box 1,2,3", "a box in xy coordinates is X0,Y0,X1,Y1, not 1,2,3"),
    (
        "--axis k --slice 4 --box 1,2,3,4 --box 2,3,4,5",
        "has two boxes on slice 4 (k); give each its own --segment",
    ),
    ("--axis k --slice 4 --segment a --point 10,6 --segment b", "segment 'b' has no prompt"),
    ("--ijk --axis k --point 10,6", "a point in ijk coordinates is I,J,K, not 10,6"),
    (
        "--ijk --axis k --point 10,6,12",
        "the point 10,6,12 is outside the image: I goes from 0 to 29, J goes from 0 to 23, K goes from 0 to 11",
    ),
    ("--ijk --axis k --slice 4 --point 10,6,7", "10,6,7 is not on slice 4 (k), it is on slice 7 (k); choose that one"),
    ("--ijk --axis k --box 50,4,4,60,8,6", "the box is in no slice of the image"),
    (
        "--ras --axis k --point 1000,0,0",
        "R goes from -26.0 to -2.0 mm, A goes from 4.8 to 19.8 mm, S goes from -10.6 to 7.4 mm",
    ),
    ("--ijk --ras --point 1,2,3", "not allowed with argument"),
    (f"{GOOD} --window 40", "'40' must be two numbers"),
    (f"{GOOD} --window 40,0", "a finite width of more than 0"),
    (f"{GOOD} --percentiles 90,10", "0 <= low < high <= 100"),
    (f"{GOOD} --window 1,2 --full-range", "not allowed with argument"),
    (f"{GOOD} --frame 3", "has no frames, it is an image of 30 x 24 x 12; leave --frame out"),
    (f"{GOOD} --slice 5 --point 11,6", "argument --slice: is given twice, and only one counts"),
    (f"{GOOD} --axis j", "argument --axis: is given twice"),
    ("--prompts a.json --prompts b.json", "argument --prompts: is given twice"),
    (f"{GOOD} --mask a.seg.nrrd --mask b.seg.nrrd", "argument --mask: is given twice"),
    pytest.param(f"{GOOD} --json /dev/null", "/dev/null: is a device, no file", marks=NEEDS_DEVICES),
    pytest.param(f"{GOOD} --json /dev/full", "/dev/full: is a device, no file", marks=NEEDS_DEVICES),
    (f"{GOOD} --markups nothing.mrk.json", "nothing.mrk.json: cannot be opened"),
    (f"{GOOD} --prompts nothing.json", "nothing.json: cannot be opened"),
    (f"{GOOD} --png picture.jpg", "end the name with .png"),
    (f"{GOOD} --png nowhere/picture.png", "there is no folder"),
    (f"{GOOD} --unknown", "unrecognized arguments: --unknown; see sammed2d segment --help"),
    ("--axis k --slice 4 --point 10 6", "unrecognized arguments: 6; numbers have commas between them, and no spaces"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED_OPTIONS)
def test_bad_prompts_and_options_are_refused_in_one_line_and_touch_no_file(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    (image.parent / "out.seg.nrrd").write_bytes(b"precious")
    assert segment(image, *words.split()) == BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("sammed2d: error: ") and error.count("\n") == 1
    assert (image.parent / "out.seg.nrrd").read_bytes() == b"precious"
    assert sorted(os.listdir(image.parent)) == ["ct.nrrd", "out.seg.nrrd"]
    assert predictor.calls == [], "found out before any work"


REFUSED_FILES = [
    ([1, 2], "must be an object"),
    ({"markups": []}, "holds markups of 3D Slicer; give points with --markups"),
    ({"sammed2d": "1", "every": 1, "mask": "k.nrrd", "segments": []}, "is a report of `sammed2d propagate`"),
    ({"segmnets": []}, "unknown key 'segmnets'; known are coordinates, axis, segments"),
    ({"segments": [{"prompts": []}]}, "segments[0]: needs a name"),
    ({"segments": [{"name": "a", "prompts": []}]}, "nothing to segment"),
    ({"coordinates": "lps"}, "coordinates must be one of xy, ijk, ras, not 'lps'"),
    ({"segments": [{"name": "a", "color": [2, 0, 0]}]}, "segments[0].color: is three numbers from 0 to 1"),
    (
        {"segments": [{"name": "a", "prompts": [{"slice": "first"}]}]},
        'prompts[0]: slice is a number or "mid"',
    ),
    (
        {"segments": [{"name": "a", "prompts": [{"slice": 1.5}]}]},
        "prompts[0].slice: has the wrong type (number)",
    ),
    (
        {"segments": [{"name": "a", "prompts": [{"slice": 1, "positive": [3, 4]}]}]},
        "must hold lists of numbers",
    ),
    (
        {"segments": [{"name": "a", "prompts": [{"slice": 1, "axis": "k", "box": [1, 2, 3]}]}]},
        "segments[0].prompts[0]: a box in xy coordinates is X0,Y0,X1,Y1",
    ),
    ({"segments": [{"name": "a", "prompts": [{"slice": 99, "positive": [[3, 4]]}]}]}, "no slice 99"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED_FILES, ids=[message for _, message in REFUSED_FILES])
def test_a_bad_prompts_file_says_where_it_is_wrong(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], content: Any, message: str
) -> None:
    (image.parent / "p.json").write_text(json.dumps(content))
    assert segment(image, "--prompts", image.parent / "p.json") == BAD_INPUT
    assert message in capsys.readouterr().err
    assert not (image.parent / "out.seg.nrrd").exists()


def nrrd(sizes: str) -> bytes:
    dimension = len(sizes.split())
    return f"NRRD0004\ntype: uchar\ndimension: {dimension}\nsizes: {sizes}\nencoding: raw\n\n".encode()


REFUSED_IMAGES: list[tuple[str, bytes | None, str]] = [
    ("missing.nii", None, "no such file or folder"),
    ("unreadable.nii.gz", b"<html>", "no format that SimpleITK knows"),
    ("empty.nii", b"", "the file is empty (0 bytes)"),
    (
        "four.nrrd",
        nrrd("2 3 4 2") + bytes(range(48)),
        "is a 4D image (2 frames of 2 x 3 x 4); choose one with --frame",
    ),
    ("huge.nrrd", nrrd("99999 99999 9999"), "are free; crop or downsample the image"),
    ("cut_off.nrrd", nrrd("9 9 9") + b"123", "is cut off or damaged (it holds 3 of 729 bytes"),
    ("constant.nrrd", nrrd("2 3 4") + bytes(24), "every voxel has the value 0"),
]


@pytest.mark.parametrize(("name", "content", "message"), REFUSED_IMAGES, ids=[name for name, *_ in REFUSED_IMAGES])
def test_bad_images_are_refused_in_one_line_and_touch_no_file(
    tmp_path: Path,
    predictor: StubPredictor,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(os.listdir(tmp_path))
    assert segment(tmp_path / name, "--slice", 0, "--point", "1,1") == BAD_INPUT
    error = capfd.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_an_image_full_of_nan_is_refused_and_one_of_a_single_slice_is_not(
    tmp_path: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    nan = SimpleITK.GetImageFromArray(np.full((3, 4, 5), np.nan, np.float32))
    SimpleITK.WriteImage(nan, str(tmp_path / "nan.mha"))
    assert segment(tmp_path / "nan.mha", "--slice", 0, "--point", "1,1") == BAD_INPUT
    assert "every voxel is NaN or infinite" in capsys.readouterr().err
    single = SimpleITK.GetImageFromArray(np.arange(20, dtype=np.float32).reshape(1, 4, 5))
    SimpleITK.WriteImage(single, str(tmp_path / "single.mha"))
    assert segment(tmp_path / "single.mha", "--point", "1,1") == OK


def test_too_little_memory_is_said_before_the_work(
    image: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("SAMMed2DLib.cli.common.image_job.available_memory", lambda: 10**8)
    assert segment(image, "--slice", 4, "--point", "5,3") == BAD_INPUT
    message = capsys.readouterr().err
    assert re.search(r"takes about 3\d\d MiB of memory, and 95 MiB are free; crop or downsample it", message)
    assert message.count("\n") == 1 and not (image.parent / "out.seg.nrrd").exists()


def test_the_image_itself_is_never_the_output(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    before = image.read_bytes()
    assert segment(image, *GOOD.split(), output="ct.nrrd") == BAD_INPUT
    assert segment(image, *GOOD.split(), "--json", image.parent / "out.seg.nrrd") == BAD_INPUT
    error = capsys.readouterr().err
    assert "is the image itself" in error and "two outputs have the same name" in error
    assert image.read_bytes() == before


def test_a_segmentation_is_no_image(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(image, *GOOD.split()) == OK
    for words in (("segment", *GOOD.split(), "-o", "x.seg.nrrd"), ("show", "-o", "x.png")):
        assert main([words[0], str(image.parent / "out.seg.nrrd"), *words[1:]]) == BAD_INPUT
        assert "out.seg.nrrd: is a segmentation of 3D Slicer, no image" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["out.stl", "out", "out.seg.nii"])
def test_an_output_of_an_unknown_kind_is_refused(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    code = segment(image, *GOOD.split(), output=output)
    assert (code, "use .seg.nrrd" in capsys.readouterr().err) == (
        (OK, False) if output.endswith(".nii") else (BAD_INPUT, True)
    )


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (KeyboardInterrupt(), CANCELLED, "cancelled"),
        (MemoryError(), FAILURE, "out of memory; close other programs"),
        (RuntimeError("device lost\nsecond line"), FAILURE, "RuntimeError: device lost second line"),
        (ImportError("DLL load failed"), FAILURE, "`sammed2d doctor` says what is missing"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), FAILURE, "this needs PyTorch, and it is not"),
        (ValueError("a mistake of ours"), FAILURE, "ValueError: a mistake of ours"),
    ],
)
def test_trouble_during_the_work_touches_no_file(
    image: Path,
    predictor: StubPredictor,
    capsys: pytest.CaptureFixture[str],
    trouble: Exception,
    code: int,
    words: str,
) -> None:
    (image.parent / "out.seg.nrrd").write_bytes(b"precious")
    predictor.trouble = trouble
    assert segment(image, *GOOD.split(), "--png", image.parent / "o.png") == code
    assert words in capsys.readouterr().err
    assert (image.parent / "out.seg.nrrd").read_bytes() == b"precious"
    assert sorted(os.listdir(image.parent)) == ["ct.nrrd", "out.seg.nrrd"]


def test_a_result_without_a_voxel_is_a_failure_and_touches_no_file(
    image: Path, predictor: StubPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    (image.parent / "out.seg.nrrd").write_bytes(b"precious")
    predictor.finds_nothing = True
    assert segment(image, *GOOD.split()) == FAILURE
    assert "the model found nothing at these prompts, so nothing is written" in capsys.readouterr().err
    assert (image.parent / "out.seg.nrrd").read_bytes() == b"precious"


def test_a_failure_while_drawing_leaves_the_segmentation_unwritten(
    image: Path, predictor: StubPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(segment_command, "write_png", fails)
    assert segment(image, *GOOD.split(), "--png", image.parent / "o.png") == FAILURE
    assert os.listdir(image.parent) == ["ct.nrrd"]


# The program as a whole


def test_version_help_and_no_command() -> None:
    run = [sys.executable, "-m", "SAMMed2DLib"]
    version = subprocess.run([*run, "--version"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (version.returncode, version.stdout) == (OK, f"sammed2d {__version__}\n")
    nothing = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert nothing.returncode == BAD_INPUT and "required: COMMAND" in nothing.stderr


def test_letters_that_a_console_lacks_stop_nothing() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "SAMMed2DLib", "segment", "--help"],
        cwd=ROOT,
        capture_output=True,
        timeout=300,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert told.returncode == OK and b"JPEG, \\u2026, or a DICOM folder" in b" ".join(told.stdout.split())


def test_help_says_how_to_give_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "--help"]) == OK
    shown = capsys.readouterr().out
    for word in ("--point", "--markups", "JSON file of --prompts", "columns X0 .. X1 - 1"):
        assert word in shown


def test_a_real_network_segments_from_the_command_line(image: Path, tiny_model: Path) -> None:
    words = "--axis k --segment a --box 3,4,20,18 --segment b --point 10,6 --slice 4 --device cpu"
    assert segment(image, *words.split(), "--model", tiny_model, "--png", image.parent / "o.png") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert [s.name for s in read.segments] == ["a", "b"]
    assert read.layers_lkji.shape[1:] == SIZE_IJK[::-1]
    assert set(np.nonzero(read.layers_lkji)[1]) == {4}


def test_weights_that_cannot_be_used_are_refused_and_touch_no_file(
    image: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    other = tmp_path / "resnet.pth"
    torch.save({"model": {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)}}, other)
    page = tmp_path / "page.pth"
    page.write_text("<html>Sign in</html>")
    cut = tmp_path / "cut.pt"
    cut.write_bytes(tiny_model.read_bytes()[:5000])
    for model in (other, page, cut, tmp_path / "missing.pt", "no-such-model"):
        assert segment(image, *GOOD.split(), "--model", model) == BAD_INPUT, model
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and Path(str(model)).name in error
    assert segment(image, *GOOD.split(), "--model", tiny_model, "--device", "abacus") == BAD_INPUT
    assert not (image.parent / "out.seg.nrrd").exists()
