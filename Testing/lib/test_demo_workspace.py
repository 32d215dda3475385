"""What the page of `sammed2d demo` does, without the page: prompts, segments, files that give the same masks again."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
import weakref
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from dicom_files import slice_file

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.demo_page.downloads import write_files, write_surfaces
from SAMMed2DLib.demo_page.model_shelf import ModelShelf
from SAMMed2DLib.demo_page.opening import Limits, open_upload
from SAMMed2DLib.demo_page.view import place_in_slice, shown
from SAMMed2DLib.demo_page.visitors import Visitors
from SAMMed2DLib.demo_page.workspace import DemoError, OpenImage, Workspace, box_between
from SAMMed2DLib.imaging.intensity import Window
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Stopped
from SAMMed2DLib.io.segmentation_io import read_segmentation
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.registry.built_in import BUILT_IN

SHAPE = (9, 48, 64)
BALL, ROD = (24.0, 22.0), (50.0, 30.0)  # their centres on the middle slice, px


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bright ball and a rod."""
    k, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = (3 * (k - 4)) ** 2 + (y - BALL[1]) ** 2 + (x - BALL[0]) ** 2 < 12**2
    rod = (abs(x - ROD[0]) < 5) & (abs(y - ROD[1]) < 12) & (k > 1)
    noise = np.random.default_rng(0).integers(0, 40, SHAPE)
    picture = SimpleITK.GetImageFromArray((noise + 300 * ball + 200 * rod).astype(np.int16))
    picture.SetSpacing((1.0, 1.0, 3.0))
    path = tmp_path_factory.mktemp("image") / "ct.nrrd"
    SimpleITK.WriteImage(picture, str(path))
    return path


@pytest.fixture(scope="module")
def shelf():
    shelf = ModelShelf("cpu")
    yield shelf
    shelf.close()


@pytest.fixture
def workspace(shelf: ModelShelf, image: Path):
    workspace = Workspace(shelf, BUILT_IN)
    workspace.open(OpenImage(read_volume(image), image.name))
    yield workspace
    workspace.close()


def accept_both(workspace: Workspace) -> None:
    """The ball by clicks and a candidate, and the rod by a box and a click beside it."""
    workspace.point(np.array(BALL), 1)
    workspace.other_candidate(1)
    workspace.point(np.array((2.0, 2.0)), 0)
    workspace.accept()
    workspace.add_segment("rod")
    workspace.box(np.array([(44.0, 17.0), (56.0, 43.0)]))
    workspace.point(np.array((60.0, 30.0)), 0)
    workspace.accept()


def replayed(image: Path, prompts: Path, output: Path) -> dict[str, np.ndarray]:
    assert main(["segment", str(image), "--prompts", str(prompts), "-o", str(output), "--device", "cpu"]) == OK
    found = read_segmentation(output)
    return {segment.name: found.mask(segment.name) for segment in found.segments}


@pytest.mark.parametrize("propagates", [False, True])
def test_the_command_line_gives_the_same_masks_from_the_files(workspace, image, tmp_path, propagates, capsys):
    workspace.rule = Window(width=330, level=160)
    accept_both(workspace)
    if propagates:
        assert [total for _, total in workspace.propagated()][-1] == 18
    files = {path.name: path for path in write_files(workspace, tmp_path)}
    assert set(files) == {"ct.seg.nrrd", "ct-labels.nii.gz", "ct-prompts.json"}
    shown_masks = {segment.name: segment.volume_mask(SHAPE) for segment in workspace.draft.segments}
    slices = {name: mask.any(axis=(1, 2)).sum() for name, mask in shown_masks.items()}
    assert all((count > 3) == propagates for count in slices.values()), slices
    written = read_segmentation(files["ct.seg.nrrd"])
    for name in ("ct-prompts.json", "ct.seg.nrrd"):
        masks = replayed(image, files[name], tmp_path / f"again-{len(name)}.seg.nrrd")
        assert "not as recorded" not in capsys.readouterr().err
        assert set(masks) == set(shown_masks)
        for segment, mask in masks.items():
            np.testing.assert_array_equal(mask, shown_masks[segment])
            np.testing.assert_array_equal(written.mask(segment), shown_masks[segment])
    labels = read_segmentation(files["ct-labels.nii.gz"])
    assert len(labels.segments) == 2
    assert write_surfaces(workspace, tmp_path).stat().st_size > 1000


def test_only_the_segments_that_were_propagated_are_followed_again(workspace, image, tmp_path):
    accept_both(workspace)
    list(workspace.propagated())
    workspace.show(5)
    workspace.point(np.array(ROD), 1)
    workspace.accept()  # what was carried from the mask before is gone
    assert [segment.whole for segment in workspace.draft.segments] == [True, False]
    prompts = write_files(workspace, tmp_path)[2]
    assert [entry.get("whole") for entry in json.loads(prompts.read_text())["segments"]] == [True, None]
    masks = replayed(image, prompts, tmp_path / "again.seg.nrrd")
    assert np.flatnonzero(masks["rod"].any(axis=(1, 2))).tolist() == [4, 5]
    assert masks["Segment_1"].any(axis=(1, 2)).sum() > 3


def test_each_step_can_be_taken_back_and_the_slice_is_shown_where_it_was_done(workspace):
    states = []
    for step in (
        lambda: workspace.point(np.array(BALL), 1),
        lambda: workspace.point(np.array((2.0, 2.0)), 0),
        workspace.accept,
        lambda: workspace.add_segment("ball", rename=True),
        lambda: workspace.add_segment("rod"),
        lambda: workspace.box(np.array([(44.0, 17.0), (56.0, 43.0)])),
        workspace.clear,
        lambda: list(workspace.propagated()),
    ):
        states.append((workspace.draft, workspace.index))
        step()
    assert [segment.name for segment in workspace.draft.segments] == ["ball", "rod"]
    workspace.show(0)
    for draft, index in reversed(states):
        workspace.undo()
        assert workspace.draft is draft and workspace.index == index
    with pytest.raises(DemoError, match="nothing to take back"):
        workspace.undo()


def test_refused_prompts_change_nothing(workspace):
    with pytest.raises(DemoError, match="Click on the object first"):
        workspace.point(np.array(BALL), 0)
    with pytest.raises(DemoError, match="no area"):
        workspace.box(np.array([(5.0, 5.0), (5.0, 20.0)]))
    workspace.point(np.array(BALL), 1)
    before = workspace.draft
    with pytest.raises(ValueError, match="both"):
        workspace.point(np.array(BALL), 0)
    assert workspace.draft is before
    with pytest.raises(DemoError, match="no carried"):
        workspace.show_least_sure()
    for rename in (False, True):
        with pytest.raises(DemoError, match="already"):
            workspace.add_segment("Segment_1", rename=rename)
    assert workspace.draft is before


def test_candidates_go_around(workspace):
    workspace.point(np.array((38.0, 24.0)), 1)
    found = workspace.answer(candidates=True)
    assert len(found.candidates) > 2
    numbers = []
    for _ in found.candidates:
        workspace.other_candidate(1)
        numbers.append(workspace.answer().candidate)
    assert sorted(numbers) == list(range(1, len(found.candidates) + 1)) and numbers[-1] == found.candidate
    np.testing.assert_array_equal(workspace.answer().mask, found.mask)


def test_the_model_keeps_the_window_of_the_accepted_masks_until_they_are_gone(workspace):
    before = workspace.model_image()
    workspace.point(np.array(BALL), 1)
    workspace.accept()
    workspace.rule = Window(width=50, level=20)
    np.testing.assert_array_equal(workspace.model_image(), before)
    workspace.clear()
    assert not np.array_equal(workspace.model_image(), before)


def test_the_model_is_free_to_choose_only_before_masks_are_accepted(workspace, tiny_model):
    workspace.choose_model(str(tiny_model))
    workspace.choose_model(BUILT_IN)
    workspace.point(np.array(BALL), 1)
    workspace.accept()
    with pytest.raises(DemoError, match=f"of {BUILT_IN}"):
        workspace.choose_model(str(tiny_model))
    assert workspace.model == BUILT_IN


def test_a_propagation_that_is_cancelled_or_outdated_changes_nothing(workspace):
    accept_both(workspace)
    before = workspace.draft
    run = workspace.propagated()
    next(run)
    workspace.is_cancelled.set()
    with pytest.raises(Stopped):
        list(run)
    assert workspace.draft is before
    run = workspace.propagated()
    workspace.is_cancelled.set()  # before it has begun
    with pytest.raises(Stopped):
        list(run)
    assert workspace.draft is before
    run = workspace.propagated()
    next(run)
    workspace.clear()
    with pytest.raises(DemoError, match="changed meanwhile"):
        list(run)
    assert not any(segment.carried for segment in workspace.draft.segments)


def test_the_least_sure_slice_is_shown(workspace):
    workspace.point(np.array(BALL), 1)
    workspace.accept()
    list(workspace.propagated())
    least = workspace.show_least_sure()
    assert workspace.index != 4 and least == min(c.confidence for c in workspace.draft.segment.carried.values())
    assert f"confidence {least:.2f}" in shown(workspace)["message"]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_place_in_the_picture_is_that_place_on_the_slice(workspace, axis):
    workspace.show(4, axis)
    view = SliceView.of(workspace.plane, workspace.volume.ijk_to_ras, 640, 1024)
    points = np.array([(0.0, 0.0), (7.25, 3.5), (20.0, 5.0)])
    height, width = view.size_hw
    shares = (view.points(points) + 0.5) / (width, height)
    np.testing.assert_allclose(place_in_slice(workspace, shares), points, atol=1e-6)


def test_a_picture_has_its_mask_as_png(shelf, tmp_path):
    y, x = np.mgrid[:60, :80]
    disc = np.hypot(x - 40, y - 30) < 14
    picture = np.stack([40 + 160 * disc] * 3, axis=-1).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture, isVector=True), str(tmp_path / "photo.png"))
    workspace = Workspace(shelf, BUILT_IN)
    workspace.open(OpenImage(read_volume(tmp_path / "photo.png"), "photo.png"))
    workspace.point(np.array((40.0, 30.0)), 1)
    workspace.accept()
    with pytest.raises(DemoError, match="one slice"):
        list(workspace.propagated())
    (tmp_path / "out").mkdir()
    written = write_files(workspace, tmp_path / "out")
    assert [path.name for path in written] == ["photo.seg.nrrd", "photo-labels.png", "photo-prompts.json"]
    (mask,) = replayed(tmp_path / "photo.png", written[2], tmp_path / "again.seg.nrrd").values()
    np.testing.assert_array_equal(mask, workspace.draft.segment.volume_mask(workspace.volume.array.shape[:3]))


# Visitors, and what they bring


def test_who_leaves_is_forgotten_and_two_do_not_share_anything(shelf, image, tmp_path):
    visitors = Visitors(shelf, tmp_path, Limits(visitors=2))
    one, other = visitors.of("one"), visitors.of("other")
    one.workspace.open(OpenImage(read_volume(image), image.name))
    one.workspace.point(np.array(BALL), 1)
    (one.folder / "ct.seg.nrrd").write_bytes(b"...")
    assert other.workspace.image is None and other.folder != one.folder
    with pytest.raises(DemoError, match="Too many people"):
        visitors.of("third")
    kept = [weakref.ref(one.workspace), weakref.ref(one.workspace.volume.array)]
    folder = one.folder
    visitors.close("one")
    del one
    gc.collect()
    assert [ref() for ref in kept] == [None, None] and not folder.exists()
    with pytest.raises(DemoError, match="load it again"):  # what was asked before and comes late begins nothing anew
        visitors.of("one")
    assert visitors.of("other") is other
    visitors.close_all()
    assert list(tmp_path.iterdir()) == []


def test_who_does_nothing_for_long_is_forgotten(shelf, tmp_path):
    visitors = Visitors(shelf, tmp_path, Limits(visitors=1))
    visitors.of("one").seen_s -= 61 * 60
    visitors.of("other")
    assert len(visitors) == 1


def sent(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / "uploads" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_is_read_and_removed(image, tmp_path):
    path = sent(tmp_path, "my ct.nrrd", image.read_bytes())
    opened = open_upload(path, frame=None, series=None, limits=Limits())
    assert opened.file == "my ct.nrrd" and opened.volume.array.shape == SHAPE
    assert list(path.parent.iterdir()) == []


def test_an_archive_of_dicom_files_is_read(tmp_path):
    for k, pixels in enumerate(np.arange(4 * 6 * 7, dtype=np.int16).reshape(4, 6, 7)):
        slice_file(tmp_path / "series" / f"{k}.dcm", pixels, (0, 0, 4.0 * k), number=k + 1)
    path = tmp_path / "uploads" / "ct.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for number, file in enumerate(sorted((tmp_path / "series").iterdir())):
            archive.write(file, f"../../{number}/{file.name}")  # a name that would lead elsewhere
    opened = open_upload(path, frame=None, series=None, limits=Limits())
    assert opened.volume.array.shape == (4, 6, 7) and list(path.parent.iterdir()) == []
    assert {entry.name for entry in tmp_path.iterdir()} == {"series", "uploads"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.nrrd", b"no image at all", "notes.nrrd"),
        ("empty.nii.gz", b"", "empty.nii.gz: the file is empty"),
    ],
)
def test_what_is_no_image_is_refused_without_a_place_on_the_server(tmp_path, name, content, words):
    with pytest.raises(DemoError) as refused:
        open_upload(sent(tmp_path, name, content), frame=None, series=None, limits=Limits())
    assert words in str(refused.value) and str(tmp_path) not in str(refused.value)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_4d_image_asks_for_the_field_of_the_page(tmp_path):
    array = np.random.default_rng(0).integers(0, 9, (3, 4, 5, 6)).astype(np.int16)
    file = tmp_path / "4d.nrrd"
    SimpleITK.WriteImage(SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(part) for part in array]), str(file))
    with pytest.raises(DemoError, match="choose one with Frame under More, N from 0 to 2"):
        open_upload(sent(tmp_path, "4d.nrrd", file.read_bytes()), frame=None, series=None, limits=Limits())
    opened = open_upload(sent(tmp_path, "4d.nrrd", file.read_bytes()), frame=2, series=None, limits=Limits())
    np.testing.assert_array_equal(opened.volume.array, array[2])


def test_what_is_too_large_once_unpacked_is_refused_before_it_is(tmp_path):
    path = tmp_path / "uploads" / "bomb.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.dcm", bytes(3 * 1024**2))
    with pytest.raises(DemoError, match="too large once unpacked: 2 MiB"):
        open_upload(path, frame=None, series=None, limits=Limits(image_mb=2))
    large = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 99, (3, 1024, 1024)).astype(np.uint8))
    SimpleITK.WriteImage(large, str(path.parent / "large.nrrd"))
    with pytest.raises(DemoError, match="takes 3 MiB, more than 2"):
        open_upload(path.parent / "large.nrrd", frame=None, series=None, limits=Limits(image_mb=2))
    assert list(path.parent.iterdir()) == []


# The models' thread


def test_a_click_where_the_mouse_rested_is_answered_from_what_was_prepared(workspace, shelf, monkeypatch):
    image, prompts = workspace.model_image(), Prompts.of(positive=[BALL])
    coarse = shelf.answer_ahead(workspace, BUILT_IN, image, prompts).result()
    assert coarse is not None and coarse[int(BALL[1]), int(BALL[0])]
    shelf._thread.submit(lambda: None).result()  # it is done: nobody waited for anything else
    monkeypatch.setattr(type(shelf.predictor(BUILT_IN)), "embed", None)  # nothing is encoded any more
    workspace.point(np.array(BALL), 1)
    assert workspace.answer().mask[int(BALL[1]), int(BALL[0])]
    assert shelf.answer_ahead(workspace, BUILT_IN, image, prompts).result() is None  # the answer is as near


def test_a_box_is_answered_from_what_was_prepared_while_it_was_drawn(workspace, shelf, monkeypatch):
    corners = np.array([[36.0, 35.0], [12.0, 10.0]])
    prompts = Prompts.of(box=box_between(corners, workspace.plane.size_hw)).checked(workspace.plane.size_hw)
    assert shelf.answer_ahead(workspace, BUILT_IN, workspace.model_image(), prompts).result() is None  # no coarse look
    monkeypatch.setattr(type(shelf.predictor(BUILT_IN)), "embed", None)
    workspace.box(corners)
    assert workspace.answer().mask[int(BALL[1]), int(BALL[0])]


def test_what_was_prepared_for_another_place_ends_when_something_is_asked(workspace, shelf):
    shelf.predictor(BUILT_IN)
    asked, ended = threading.Event(), []

    def long_work(should_stop):
        asked.set()
        until = time.monotonic() + 20
        while not should_stop() and time.monotonic() < until:
            time.sleep(0.01)
        ended.append(should_stop())
        raise Stopped

    for wanted in (Prompts.of(positive=[ROD]), None):
        asked.clear()
        shelf._ahead(workspace if wanted else object(), wanted, long_work)
        assert asked.wait(20)
        workspace.point(np.array(BALL), 1)
        workspace.undo()
    assert ended == [True, True]


def test_candidates_do_not_keep_the_next_click_waiting(workspace, shelf):
    workspace.point(np.array((38.0, 24.0)), 1)
    image, prompts = workspace.model_image(), workspace.draft.segment.drafts[workspace.plane]
    shelf._waiting += 1  # somebody waits
    try:
        with pytest.raises(Stopped):
            shelf.answer(workspace, BUILT_IN, image, prompts, candidates=True, gives_way=True)
        assert not shelf.answer(workspace, BUILT_IN, image, prompts).candidates
    finally:
        shelf._waiting -= 1
    assert len(shelf.answer(workspace, BUILT_IN, image, prompts, candidates=True, gives_way=True).candidates) >= 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--port 99999", "must be a whole number from 1 to 65535, not '99999'"),
        ("--visitors 0", "must be a whole number of 1 or more, not '0'"),
        ("--host 192.0.2.1", "192.0.2.1:7860 to 7959 cannot be listened on"),
        ("--port {taken}", "{taken} cannot be listened on: give another --port or --host"),
    ],
)
def test_an_address_or_a_limit_that_cannot_be_is_refused_at_once(words, told, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert main(["demo", "--no-browser", *words.format(taken=taken).split()]) == BAD_INPUT
    error = capsys.readouterr().err
    assert told.format(taken=taken) in error and error.count("\n") == 1
