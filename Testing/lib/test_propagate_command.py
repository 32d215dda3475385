"""`sammed2d propagate`: keyframes stay, the other slices are filled, and files are touched only by results."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from cylinder import SHAPE_KJI, the_cylinder

from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, OK, main
from SAMMed2DLib.cli import propagate as propagate_command
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.propagation import estimate, stack, time_series
from SAMMed2DLib.propagation.time_series import FrameResult
from SAMMed2DLib.propagation.tracks import PropagatedSlice

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 40, SHAPE_KJI)
    picture = SimpleITK.GetImageFromArray((noise + 300 * the_cylinder()).astype(np.int16))
    picture.SetSpacing((0.5, 0.75, 2.0))
    picture.SetOrigin((3.0, -5.0, 7.0))
    SimpleITK.WriteImage(picture, str(tmp_path / "ct.nrrd"))
    return tmp_path / "ct.nrrd"


def on(mask_kji: np.ndarray, *slices: int) -> np.ndarray:
    kept = np.zeros_like(mask_kji)
    kept[list(slices)] = mask_kji[list(slices)]
    return kept


def draw(image: Path, name: str = "key.seg.nrrd", **masks: np.ndarray) -> Path:
    """Write segments; the first is red, the second blue."""
    segments = [Segment(one, color) for one, color in zip(masks, (RED, BLUE), strict=False)]
    write_segmentation(image.parent / name, masks.values(), read_volume(image), segments)
    return image.parent / name


@pytest.fixture
def propagate(image: Path, tiny_model: Path) -> Any:
    def run(*words: object, mask: str = "key.seg.nrrd", output: str = "out.seg.nrrd") -> int:
        where = [image, "--mask", image.parent / mask, "-o", image.parent / output]
        return main(["propagate", *map(str, [*where, "--model", tiny_model, "--device", "cpu", *words])])

    return run


def test_slices_between_keyframes_are_filled_and_keyframes_stay(image: Path, propagate: Any) -> None:
    drawn = on(the_cylinder(), 3, 8)
    drawn[8, 0, 0] = True  # what a model would not find
    draw(image, ball=drawn)
    assert propagate("--range", "3,8", "--axis", "k", "--json", image.parent / "r.json") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    found = read.mask("ball")
    np.testing.assert_array_equal(found[[3, 8]], drawn[[3, 8]])
    assert read.segments == (Segment("ball", RED),)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == set(range(3, 9))
    for index in range(4, 8):
        both = (found[index] & the_cylinder()[index]).sum()
        assert 2 * both / (found[index].sum() + the_cylinder()[index].sum()) > 0.8
    (entry,) = json.loads((image.parent / "r.json").read_text())["segments"]
    assert (entry["keyframes"], entry["filled"], entry["slice_range"]) == ([3, 8], 4, [3, 8])
    assert entry["voxels"] == found.sum() and entry["worst_slice"] in range(4, 8)
    assert entry["worst_confidence"] <= entry["mean_confidence"] <= 1


def test_the_axis_is_the_one_with_the_fewest_keyframes(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, ball=on(the_cylinder(), 3, 8))
    assert propagate("--range", "3,8", "--png", image.parent / "o.png") == OK
    shown = capsys.readouterr()
    assert "slices along k (axial), where the fewest have a mask" in shown.err
    assert "ball: 2 keyframes, 4 slices filled, slices 3 to 8, least sure on slice " in shown.out
    assert "which slice to look at first, not how good" in shown.out
    assert (image.parent / "o.png").stat().st_size > 1000


def test_overlapping_segments_are_both_kept_with_names_and_colours(image: Path, propagate: Any) -> None:
    moved = np.roll(the_cylinder(), 4, axis=2)
    draw(image, a=on(the_cylinder(), 3, 7), b=on(moved, 3, 7))
    assert propagate("--axis", "k", "--range", "3,7") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert read.segments == (Segment("a", RED), Segment("b", BLUE))
    np.testing.assert_array_equal(read.mask("a")[[3, 7]], the_cylinder()[[3, 7]])
    np.testing.assert_array_equal(read.mask("b")[[3, 7]], moved[[3, 7]])


def test_only_the_segments_that_are_named_are_carried(image: Path, propagate: Any) -> None:
    draw(image, a=on(the_cylinder(), 3, 7), b=on(the_cylinder(), 4))
    assert propagate("--segment", "b", "--range", "3,5") == OK
    assert read_segmentation(image.parent / "out.seg.nrrd").segments == (Segment("b", BLUE),)


def test_a_label_map_is_taken_and_written(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    labels = SimpleITK.GetImageFromArray(on(the_cylinder(), 3, 7).astype(np.float32) * 300)
    labels.CopyInformation(SimpleITK.ReadImage(str(image)))
    SimpleITK.WriteImage(labels, str(image.parent / "key.nii.gz"))
    assert propagate("--range", "3,7", mask="key.nii.gz", output="out.nii.gz") == OK
    assert "counts its segments" not in capsys.readouterr().err
    found = read_segmentation(image.parent / "out.nii.gz")
    assert found.places == ((0, 300),)
    np.testing.assert_array_equal(found.mask("Segment_300")[[3, 7]], the_cylinder()[[3, 7]])


def test_segments_of_one_value_in_two_layers_are_counted_in_a_label_map(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, a=on(the_cylinder(), 3, 5), b=on(np.roll(the_cylinder(), 4, axis=2), 3, 5))
    assert propagate("--range", "3,5", "--axis", "k", output="out.nii.gz") == OK
    assert "counts its segments from 1: 1 is a, 2 is b" in capsys.readouterr().err


def test_what_slicer_knew_of_a_segment_stays(image: Path, propagate: Any) -> None:
    tags = "Segmentation.Status:completed|TerminologyEntry:List~SCT^10200004^Liver~^^~^^|Mine:a=b|"
    known = Segment("liver", RED, "liver_id", tags, is_name_auto=True, is_color_auto=True, label_value=7)
    write_segmentation(image.parent / "key.seg.nrrd", [on(the_cylinder(), 3, 5)], read_volume(image), [known])
    assert propagate("--range", "3,5", "--axis", "k") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert dataclasses.asdict(read.segments[0]) == dataclasses.asdict(known)
    assert read.places == ((0, 7),)


@pytest.mark.parametrize(
    ("low_ijk", "high_ijk"), [((4, 3, 1), (40, 38, 11)), ((-5, -4, -2), (50, 44, 15))], ids=["cropped", "larger"]
)
def test_a_mask_that_slicer_saved_in_another_extent_gives_the_same_result(
    image: Path, propagate: Any, low_ijk: tuple[int, int, int], high_ijk: tuple[int, int, int]
) -> None:
    volume = read_volume(image)
    drawn = on(the_cylinder(), 3, 6)
    draw(image, ball=drawn)
    assert propagate("--range", "3,6", "--axis", "k", output="whole.seg.nrrd") == OK
    padded = np.pad(drawn, 10)
    part = padded[tuple(slice(a + 10, b + 10) for a, b in zip(low_ijk[::-1], high_ijk[::-1], strict=True))]
    matrix = volume.ijk_to_ras.copy()
    matrix[:, 3] = matrix @ [*low_ijk, 1]
    write_segmentation(
        image.parent / "key.seg.nrrd", [part], Volume(part, matrix, False, "part"), [Segment("ball", RED)]
    )
    assert propagate("--range", "3,6", "--axis", "k") == OK
    assert (image.parent / "out.seg.nrrd").read_bytes() == (image.parent / "whole.seg.nrrd").read_bytes()


def test_an_empty_segment_is_noted_and_the_others_go_on(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, ball=on(the_cylinder(), 3, 7), nothing=np.zeros(SHAPE_KJI, bool))
    assert propagate("--range", "3,7") == OK
    assert "no keyframe, left empty: nothing" in capsys.readouterr().err
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert read.mask("ball")[5].any() and not read.mask("nothing").any()


def test_the_model_is_asked_on_every_nth_slice_and_all_are_filled(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate.Estimator, "is_open", lambda *_: True)  # the ball is too clear to ask
    draw(image, ball=on(the_cylinder(), 2, 9))
    report = image.parent / "r.json"
    assert propagate("--axis", "k", "--range", "2,9", "--every", 3, "--ask-model", "--json", report) == OK
    assert len(json.loads(report.read_text())["checksum"]) == 64
    (entry,) = json.loads((image.parent / "r.json").read_text())["segments"]
    slices = {one["slice"]: one["score"] for one in entry["slices"]}
    assert sorted(slices) == list(range(3, 9))
    assert {index for index, found in slices.items() if found is not None} == {5, 8}


def test_a_model_that_is_not_asked_is_not_loaded(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(propagate_command, "load", lambda args: pytest.fail("nobody asks it"))
    draw(image, ball=on(the_cylinder(), 3, 8))
    assert propagate("--range", "3,8", "--json", image.parent / "r.json") == OK
    assert "--model is not used" in capsys.readouterr().err
    report = json.loads((image.parent / "r.json").read_text())
    assert not report["ask_model"] and not {"model", "checksum", "device", "zoom"} & report.keys()


def test_a_stop_writes_what_is_finished(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **options: object) -> Iterator[PropagatedSlice]:
        yield PropagatedSlice(0, 4, the_cylinder()[4], 0.9, 0.8)
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "propagate_stack", stopped)
    draw(image, ball=on(the_cylinder(), 3, 7))
    assert propagate() == CANCELLED
    assert "stopped: the slices that were finished are written" in capsys.readouterr().err
    found = read_segmentation(image.parent / "out.seg.nrrd").mask("ball")
    np.testing.assert_array_equal(found, on(the_cylinder(), 3, 4, 7))


def test_a_stop_before_anything_is_finished_touches_no_file(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **options: object) -> Iterator[PropagatedSlice]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(stack, "propagate_stack", stopped)
    draw(image, ball=on(the_cylinder(), 3, 7))
    assert propagate() == CANCELLED
    assert "cancelled" in capsys.readouterr().err
    assert not (image.parent / "out.seg.nrrd").exists()


def test_slices_between_keyframes_where_it_was_lost_are_named(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.zeros(SHAPE_KJI[1:], bool)
    lost = [PropagatedSlice(0, index, nothing, 0.1, 0.2) for index in (6, 4, 5, 8)]
    monkeypatch.setattr(stack, "propagate_stack", lambda *args, **options: iter(lost))
    draw(image, ball=on(the_cylinder(), 3, 9))
    assert propagate() == OK
    assert "ball was not found between keyframes, on 4 to 6, 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--range 5,2", "are slices 0 to 11, lowest first"),
        ("--axis k --range -1,4", "are slices 0 to 11, lowest first"),
        ("--range 5", "must be two slices with a comma"),
        ("--range 3,3", "there is nothing to fill"),
        ("--every 0", "give 1 or more"),
        ("--segment liver", "no segment 'liver'; there are: ball"),
        ("--png o.jpg", "end the name with .png"),
        ("--axis oblique", "invalid choice"),
    ],
)
def test_bad_options_are_refused_in_one_line_and_touch_no_file(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    draw(image, ball=on(the_cylinder(), 3))
    assert propagate(*words.split()) == BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(os.listdir(image.parent)) == ["ct.nrrd", "key.seg.nrrd"]


def test_masks_of_another_geometry_are_refused_with_advice(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = read_volume(image)
    shifted = volume.ijk_to_ras.copy()
    shifted[0, 3] += 0.2  # less than a voxel
    thinner = volume.ijk_to_ras @ np.diag([1, 1, 0.5, 1])
    beside = volume.ijk_to_ras.copy()
    beside[2, 3] += 2000
    for mask, matrix, message in (
        (on(the_cylinder(), 3), shifted, "its voxels lie 0.2 mm beside those of the image"),
        (np.ones((24, 40, 48), bool), thinner, "its voxels are of 0.5 x 0.75 x 1 mm and those of the image of 0.5 x"),
        (on(the_cylinder(), 3), beside, "lies beside the image, none of it is within"),
    ):
        other = Volume(mask.astype(np.uint8), matrix, False, "other")
        write_segmentation(image.parent / "key.seg.nrrd", [mask], other, [Segment("ball")])
        assert propagate() == BAD_INPUT
        error = capsys.readouterr().err
        assert message in error and "reference volume" in error


def test_no_keyframe_at_all_is_an_error(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    draw(image, ball=np.zeros(SHAPE_KJI, bool))
    assert propagate() == BAD_INPUT
    assert "all segments are empty; segment one slice at least" in capsys.readouterr().err


def test_a_single_slice_has_nothing_to_propagate_to(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(image))[:, :, 3:4], str(image))
    draw(image, ball=the_cylinder()[3:4])
    assert propagate() == BAD_INPUT
    assert "has one slice along k (axial), there is nothing to propagate to" in capsys.readouterr().err


def test_the_keyframes_are_never_the_output(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = draw(image, ball=on(the_cylinder(), 3)).read_bytes()
    assert propagate(output="key.seg.nrrd") == BAD_INPUT
    assert "is also read" in capsys.readouterr().err
    assert (image.parent / "key.seg.nrrd").read_bytes() == before


# --- along time ---------------------------------------------------------------------------------------------

FRAMES = 6


def the_beat(frame: int) -> np.ndarray:
    """A cylinder on the slices 1 and 2 of 4, that becomes smaller: (4, 40, 48) bool."""
    k, j, i = np.indices((4, 40, 48))
    return ((j - 18) ** 2 + (i - 20) ** 2 < (12 - frame) ** 2) & (k >= 1) & (k <= 2)


def test_a_run_that_fills_nothing_says_so(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, tube=the_cylinder())
    before = read_segmentation(image.parent / "key.seg.nrrd").mask("tube")
    assert propagate("--axis", "k") == OK
    after = read_segmentation(image.parent / "out.seg.nrrd").mask("tube")
    assert np.array_equal(after, before)
    assert "note: nothing was filled: no slice between keyframes is without" in capsys.readouterr().err


@pytest.fixture
def cine(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 40, (FRAMES, 4, 40, 48))
    values = noise + 300 * np.array([the_beat(frame) for frame in range(FRAMES)])
    frames = [SimpleITK.GetImageFromArray(one.astype(np.int16)) for one in values]
    for one in frames:
        one.SetSpacing((0.5, 0.75, 8.0))
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / "cine.nii.gz"))
    for frame in (0, 4):
        draw_frame(tmp_path, frame, beat=the_beat(frame))
    return tmp_path / "cine.nii.gz"


def draw_frame(folder: Path, frame: int, **masks: np.ndarray) -> None:
    """Write segments of a frame to key0.seg.nrrd, …"""
    segments = [Segment(one, color) for one, color in zip(masks, (RED, BLUE), strict=False)]
    volume = read_volume(folder / "cine.nii.gz", frame=frame)
    write_segmentation(folder / f"key{frame}.seg.nrrd", masks.values(), volume, segments)


@pytest.fixture
def in_time(cine: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(cine.parent)

    def run(words: str, masks: str = "0=key0.seg.nrrd 4=key4.seg.nrrd", output: str = "out{frame}.seg.nrrd") -> int:
        where = ["cine.nii.gz", "--along", "time", "-o", output, *(f"--mask={one}" for one in masks.split())]
        return main(["propagate", *where, "--model", str(tiny_model), "--device", "cpu", *words.split()])

    return run


def frame_of(name: str, segment: str = "beat") -> np.ndarray:
    return read_segmentation(Path(name)).mask(segment)


def test_frames_are_filled_each_in_a_file_of_its_own_and_keyframes_stay(
    in_time: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = the_beat(4)
    drawn[1, 0, 0] = True  # what a model would not find
    draw_frame(Path(), 4, beat=drawn)
    assert in_time("--json r.json --png o.png") == OK
    np.testing.assert_array_equal(frame_of("out0.seg.nrrd"), the_beat(0))
    np.testing.assert_array_equal(frame_of("out4.seg.nrrd"), drawn)
    for frame in (1, 2, 3, 5):
        found, truth = frame_of(f"out{frame}.seg.nrrd"), the_beat(frame)
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85, frame
    shown = capsys.readouterr()
    assert "beat: 2 keyframes, 4 frames filled, least sure in frame " in shown.out
    assert "slices along k (axial), as they are stored" in shown.err
    assert Path("o.png").stat().st_size > 1000


def test_the_report_of_frames_has_their_voxels_and_confidences(in_time: Any) -> None:
    assert in_time("--json r.json", output="f/out_{frame:02}.nii.gz") == BAD_INPUT  # there is no folder
    Path("f").mkdir()
    assert in_time("--json r.json", output="f/out_{frame:02}.nii.gz") == OK
    report = json.loads(Path("r.json").read_text())
    assert report["outputs"]["3"] == "f/out_03.nii.gz"
    (entry,) = report["segments"]
    assert (entry["keyframes"], entry["filled"], len(entry["frames"])) == ([0, 4], 4, FRAMES)
    for one in entry["frames"]:
        assert one["voxels"] == frame_of(f"f/out_0{one['frame']}.nii.gz", "Segment_1").sum()
        assert (one["confidence"] is None) == one["is_keyframe"] == (one["frame"] in (0, 4))
        assert [each["slice"] for each in one["slices"]] == ([] if one["is_keyframe"] else [1, 2])
    assert entry["worst_confidence"] <= entry["mean_confidence"] <= 1


def test_a_range_of_frames_is_written_and_others_are_not(in_time: Any) -> None:
    assert in_time("--range 1,2 --every 2") == OK
    assert sorted(Path().glob("out*")) == [Path("out1.seg.nrrd"), Path("out2.seg.nrrd")]


def test_a_single_mask_may_name_its_frame_apart(in_time: Any) -> None:
    assert in_time("--frame 4 --range 3,5", masks="key4.seg.nrrd") == OK
    np.testing.assert_array_equal(frame_of("out4.seg.nrrd"), the_beat(4))
    assert frame_of("out3.seg.nrrd").any()


def test_a_loop_is_a_cycle_of_all_frames(in_time: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    periods = []

    def asked(*args: Any, **options: Any) -> Iterator[FrameResult]:
        periods.append(options["period"])
        return iter([FrameResult(0, 5, 1, the_beat(5)[1], 0.9, 0.8)])

    monkeypatch.setattr(time_series, "propagate_in_time", asked)
    assert in_time("--range 5,5") == in_time("--range 5,5 --loop") == OK
    assert periods == [None, FRAMES]


def test_segments_are_matched_by_name_and_one_that_is_not_drawn_in_a_frame_is_carried_there(in_time: Any) -> None:
    moved = np.roll(the_beat(0), 3, axis=2)
    draw_frame(Path(), 0, beat=the_beat(0), other=moved)
    assert in_time("") == OK
    read = read_segmentation("out4.seg.nrrd")
    assert read.segments == (Segment("beat", RED), Segment("other", BLUE))
    np.testing.assert_array_equal(read.mask("beat"), the_beat(4))
    np.testing.assert_array_equal(frame_of("out0.seg.nrrd", "other"), moved)
    assert read.mask("other").any()


def test_a_slice_that_a_mask_leaves_empty_stays_empty_in_its_frame(in_time: Any) -> None:
    draw_frame(Path(), 4, beat=on(the_beat(4), 1))
    assert in_time("") == OK
    np.testing.assert_array_equal(frame_of("out4.seg.nrrd"), on(the_beat(4), 1))
    assert not frame_of("out5.seg.nrrd")[2].any()


def test_a_stop_in_time_writes_the_frames_that_have_something(
    in_time: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **options: object) -> Iterator[FrameResult]:
        yield FrameResult(0, 2, 1, the_beat(2)[1], 0.9, 0.8)
        raise KeyboardInterrupt

    monkeypatch.setattr(time_series, "propagate_in_time", stopped)
    assert in_time("") == CANCELLED
    assert "stopped: the slices that were finished are written" in capsys.readouterr().err
    assert sorted(one.name for one in Path().glob("out*")) == ["out0.seg.nrrd", "out2.seg.nrrd", "out4.seg.nrrd"]
    np.testing.assert_array_equal(frame_of("out2.seg.nrrd"), on(the_beat(2), 1))


def test_frames_without_the_object_are_named(
    in_time: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = [FrameResult(0, frame, 1, np.zeros((40, 48), bool), 0.1, 0.2) for frame in (1, 2)]
    monkeypatch.setattr(time_series, "propagate_in_time", lambda *args, **options: iter(lost))
    assert in_time("") == OK
    assert "beat was not found in the frames 1 to 3, 5" in capsys.readouterr().err
    assert not frame_of("out5.seg.nrrd").any()


@pytest.mark.parametrize(
    ("words", "masks", "output", "message"),
    [
        ("", "0=key0.seg.nrrd", "out.seg.nrrd", "put {frame} into the name, as in out_{frame}.seg.nrrd"),
        ("", "0=key0.seg.nrrd", "key{frame}.seg.nrrd", "is also read"),
        ("", "0=key0.seg.nrrd", "out{frame}.png", "error: out{frame}.png: a picture holds one slice"),
        ("", "6=key0.seg.nrrd", "out{frame}.seg.nrrd", "there is no frame 6, cine.nii.gz has the frames 0 to 5"),
        ("", "-1=key0.seg.nrrd", "out{frame}.seg.nrrd", "there is no frame -1"),
        ("", "0=key0.seg.nrrd 0=key4.seg.nrrd", "out{frame}.seg.nrrd", "two masks for frame 0"),
        ("", "key0.seg.nrrd", "out{frame}.seg.nrrd", "say in which frame it is drawn: --mask N=key0.seg.nrrd"),
        ("--frame 0", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "the masks name their frames"),
        ("--range 4,6", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "there are the frames 0 to 5, lowest first"),
        ("--range 0,0", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "there is nothing to fill"),
        ("--every 0", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "give 1 or more"),
        ("--segment liver", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "no segment 'liver'; there are: beat"),
        ("--series 1", "0=key0.seg.nrrd", "out{frame}.seg.nrrd", "not from DICOM folders"),
        ("", "0=missing.seg.nrrd", "out{frame}.seg.nrrd", "no such file"),
    ],
)
def test_bad_options_in_time_are_refused_in_one_line_and_touch_no_file(
    in_time: Any, capsys: pytest.CaptureFixture[str], words: str, masks: str, output: str, message: str
) -> None:
    assert in_time(words, masks, output) == BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(os.listdir()) == ["cine.nii.gz", "key0.seg.nrrd", "key4.seg.nrrd"]


def test_a_volume_has_no_frames_to_be_carried_through(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, ball=on(the_cylinder(), 3))
    assert propagate("--along", "time", "--frame", 0, output="out{frame}.seg.nrrd") == BAD_INPUT
    assert "has no frames in time, it is an image of 48 x 40 x 12" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--mask", "key.seg.nrrd"), ("--loop",)])
def test_what_is_meant_for_frames_is_refused_along_slices(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    draw(image, ball=on(the_cylinder(), 3))
    assert propagate(*words) == BAD_INPUT
    assert "add --along time" in capsys.readouterr().err
