"""`sammed2d propagate`: keyframes stay, the other slices are filled, and files are touched only by results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib import stack
from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, OK, main
from SAMMed2DLib.propagation import Propagated
from SAMMed2DLib.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.volume_io import Volume, read_volume

SHAPE_KJI = (12, 40, 48)
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tiny_network import save_tiny

    torch.manual_seed(0)
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.pt", name="tiny")


def the_ball() -> np.ndarray:
    """A cylinder on the slices 2 .. 9: (K, J, I) bool."""
    k, j, i = np.indices(SHAPE_KJI)
    return ((j - 18) ** 2 + (i - 20) ** 2 < 81) & (k >= 2) & (k <= 9)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 40, SHAPE_KJI)
    picture = SimpleITK.GetImageFromArray((noise + 300 * the_ball()).astype(np.int16))
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
    drawn = on(the_ball(), 3, 8)
    drawn[8, 0, 0] = True  # what a model would not find
    draw(image, ball=drawn)
    assert propagate("--range", "3,8", "--axis", "k", "--json", image.parent / "r.json") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    found = read.mask("ball")
    np.testing.assert_array_equal(found[[3, 8]], drawn[[3, 8]])
    assert read.segments == (Segment("ball", RED),)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == set(range(3, 9))
    for index in range(4, 8):
        both = (found[index] & the_ball()[index]).sum()
        assert 2 * both / (found[index].sum() + the_ball()[index].sum()) > 0.8
    (entry,) = json.loads((image.parent / "r.json").read_text())["segments"]
    assert (entry["keyframes"], entry["filled"], entry["slice_range"]) == ([3, 8], 4, [3, 8])
    assert entry["voxels"] == found.sum() and entry["worst_slice"] in range(4, 8)
    assert entry["worst_confidence"] <= entry["mean_confidence"] <= 1


def test_the_axis_is_the_one_with_the_fewest_keyframes(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, ball=on(the_ball(), 3, 8))
    assert propagate("--range", "3,8", "--png", image.parent / "o.png") == OK
    shown = capsys.readouterr()
    assert "slices along k (axial), where the fewest have a mask" in shown.err
    assert "ball: 2 keyframes, 4 slices filled, slices 3 to 8, confidence" in shown.out
    assert (image.parent / "o.png").stat().st_size > 1000


def test_overlapping_segments_are_both_kept_with_names_and_colours(image: Path, propagate: Any) -> None:
    moved = np.roll(the_ball(), 4, axis=2)
    draw(image, a=on(the_ball(), 3, 7), b=on(moved, 3, 7))
    assert propagate("--axis", "k", "--range", "3,7") == OK
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert read.segments == (Segment("a", RED), Segment("b", BLUE))
    np.testing.assert_array_equal(read.mask("a")[[3, 7]], the_ball()[[3, 7]])
    np.testing.assert_array_equal(read.mask("b")[[3, 7]], moved[[3, 7]])


def test_only_the_segments_that_are_named_are_carried(image: Path, propagate: Any) -> None:
    draw(image, a=on(the_ball(), 3, 7), b=on(the_ball(), 4))
    assert propagate("--segment", "b", "--range", "3,5") == OK
    assert read_segmentation(image.parent / "out.seg.nrrd").segments == (Segment("b", BLUE),)


def test_a_label_map_is_taken_and_written(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    labels = SimpleITK.GetImageFromArray(on(the_ball(), 3, 7).astype(np.uint8) * 4)
    labels.CopyInformation(SimpleITK.ReadImage(str(image)))
    SimpleITK.WriteImage(labels, str(image.parent / "key.nii.gz"))
    assert propagate("--range", "3,7", mask="key.nii.gz", output="out.nii.gz") == OK
    assert "counts its segments from 1: 1 is Segment_4" in capsys.readouterr().err
    found = read_segmentation(image.parent / "out.nii.gz").mask("Segment_1")
    np.testing.assert_array_equal(found[[3, 7]], the_ball()[[3, 7]])


def test_an_empty_segment_is_noted_and_the_others_go_on(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(image, ball=on(the_ball(), 3, 7), nothing=np.zeros(SHAPE_KJI, bool))
    assert propagate("--range", "3,7") == OK
    assert "no keyframe, left empty: nothing" in capsys.readouterr().err
    read = read_segmentation(image.parent / "out.seg.nrrd")
    assert read.mask("ball")[5].any() and not read.mask("nothing").any()


def test_the_model_is_asked_on_every_nth_slice_and_all_are_filled(image: Path, propagate: Any) -> None:
    draw(image, ball=on(the_ball(), 2, 9))
    assert propagate("--axis", "k", "--range", "2,9", "--every", 3, "--json", image.parent / "r.json") == OK
    (entry,) = json.loads((image.parent / "r.json").read_text())["segments"]
    slices = {one["slice"]: one["score"] for one in entry["slices"]}
    assert sorted(slices) == list(range(3, 9))
    assert {index for index, found in slices.items() if found is not None} == {5, 8}


def test_a_stop_writes_what_is_finished(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **options: object) -> Iterator[Propagated]:
        yield Propagated(0, 4, the_ball()[4], 0.9, 0.8)
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "propagate_stack", stopped)
    draw(image, ball=on(the_ball(), 3, 7))
    assert propagate() == CANCELLED
    assert "stopped: the slices that were finished are written" in capsys.readouterr().err
    found = read_segmentation(image.parent / "out.seg.nrrd").mask("ball")
    np.testing.assert_array_equal(found, on(the_ball(), 3, 4, 7))


def test_a_stop_before_anything_is_finished_touches_no_file(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*args: object, **options: object) -> Iterator[Propagated]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(stack, "propagate_stack", stopped)
    draw(image, ball=on(the_ball(), 3, 7))
    assert propagate() == CANCELLED
    assert "cancelled" in capsys.readouterr().err
    assert not (image.parent / "out.seg.nrrd").exists()


def test_slices_between_keyframes_where_it_was_lost_are_named(
    image: Path, propagate: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.zeros(SHAPE_KJI[1:], bool)
    lost = [Propagated(0, index, nothing, 0.1, 0.2) for index in (6, 4, 5, 8)]
    monkeypatch.setattr(stack, "propagate_stack", lambda *args, **options: iter(lost))
    draw(image, ball=on(the_ball(), 3, 9))
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
    draw(image, ball=on(the_ball(), 3))
    assert propagate(*words.split()) == BAD_INPUT
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(os.listdir(image.parent)) == ["ct.nrrd", "key.seg.nrrd"]


def test_masks_of_another_geometry_are_refused_with_advice(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = read_volume(image)
    shifted = volume.ijk_to_ras.copy()
    shifted[0, 3] += 1.0
    smaller = np.ones((12, 40, 47), bool)
    for mask, matrix, message in (
        (on(the_ball(), 3), shifted, "lies up to 1 mm away from the image"),
        (smaller, volume.ijk_to_ras, "has 47 x 40 x 12 voxels and the image 48 x 40 x 12"),
    ):
        other = Volume(mask.astype(np.uint8), matrix, False, "other")
        write_segmentation(image.parent / "key.seg.nrrd", [mask], other, [Segment("ball")])
        assert propagate() == BAD_INPUT
        error = capsys.readouterr().err
        assert message in error and "reference volume" in error


def test_no_keyframe_at_all_is_an_error(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    draw(image, ball=np.zeros(SHAPE_KJI, bool))
    assert propagate() == BAD_INPUT
    assert "there is no keyframe, all segments are empty" in capsys.readouterr().err


def test_a_single_slice_has_nothing_to_propagate_to(
    image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(image))[:, :, 3:4], str(image))
    draw(image, ball=the_ball()[3:4])
    assert propagate() == BAD_INPUT
    assert "has one slice along k (axial), there is nothing to propagate to" in capsys.readouterr().err


def test_the_keyframes_are_never_the_output(image: Path, propagate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = draw(image, ball=on(the_ball(), 3)).read_bytes()
    assert propagate(output="key.seg.nrrd") == BAD_INPUT
    assert "is also read" in capsys.readouterr().err
    assert (image.parent / "key.seg.nrrd").read_bytes() == before
