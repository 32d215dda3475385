"""Stacks of slices: their planes, one view for all slices, shared encodings, stopping, memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_network import CONFIG

from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.planes import mask_on, plane_of_view, planes_along, voxels_of_mask
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.session import Session, Stopped
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.propagation import stack
from SAMMed2DLib.propagation.estimate import MODEL_WEIGHT, Weights
from SAMMed2DLib.propagation.schedule import PropagationError
from SAMMed2DLib.propagation.stack import check_memory, memory_of_run, propagate_stack

ROOT = Path(__file__).resolve().parents[2]
WORLD = np.diag([1.0, 1.0, 2.0, 1.0])
SIZE_IJK = (20, 18, 12)


@pytest.fixture
def session():
    torch.manual_seed(0)
    return Session(Predictor(build_model(CONFIG), device="cpu", precision="float32"))


def oblique_plane():
    turn = np.deg2rad(30)
    view = np.eye(4)
    view[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    view[:3, 3] = (9.5, 8.5, 11)
    return plane_of_view(view, WORLD, SIZE_IJK)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_along_the_grid_are_the_slices_of_the_volume(axis):
    planes, position = planes_along(SlicePlane.of_axis(SIZE_IJK, axis, 5), WORLD)
    assert position == 5
    assert planes == [SlicePlane.of_axis(SIZE_IJK, axis, n) for n in range(SIZE_IJK[2 - axis])]


def test_oblique_planes_take_each_voxel_once():
    planes, _ = planes_along(oblique_plane(), WORLD)
    count = np.zeros(SIZE_IJK[::-1], int)
    extent = [end for size in SIZE_IJK for end in (0, size - 1)]
    for plane in planes:
        patch = voxels_of_mask(np.ones(plane.size_hw, bool), plane, WORLD, WORLD, extent)
        if patch is not None:
            i0, i1, j0, j1, k0, k1 = patch.extent
            count[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] += patch.mask_kji
    assert (count == 1).all()


def test_the_oblique_plane_itself_is_among_them_pixel_by_pixel():
    plane = oblique_plane()
    planes, position = planes_along(plane, WORLD)
    shift = planes[position].xy_from_ijk([plane.origin_ijk])[0]
    assert np.allclose(shift, np.round(shift), atol=1e-6)


def test_a_mask_on_an_oblique_plane_comes_back():
    plane = oblique_plane()
    planes, position = planes_along(plane, WORLD)
    voxels = np.zeros(SIZE_IJK[::-1], bool)
    voxels[3:9, 4:14, 5:15] = True
    assert mask_on(planes[position], voxels).any()
    assert not mask_on(planes[0], voxels).any()


# The model of these tests fails on the keyframes, so by itself it would not be asked.
ASK_EVERYWHERE = Weights(model=MODEL_WEIGHT, open_share=0)


def keyframes(count, *keys):
    mask = np.zeros((40, 50), bool)
    mask[10:30, 15:35] = True
    return {key: mask for key in keys}, np.random.default_rng(0).integers(0, 255, (count, 40, 50, 3), np.uint8)


def test_each_slice_is_encoded_once_however_many_objects(session):
    frames, pictures = keyframes(12, 0, 11)
    other = {key: np.roll(mask, 5, axis=1) for key, mask in frames.items()}
    found = list(propagate_stack(session, pictures.__getitem__, [frames, other, frames], 0, 11, weights=ASK_EVERYWHERE))
    assert len(found) == 3 * 10
    assert session.encoded == 12


@pytest.mark.parametrize(("objects", "keys"), [(1, (0, 23)), (1, (12,)), (4, (0, 23)), (4, (12,))])
def test_slices_are_encoded_several_at_a_time(session, objects, keys):
    frames, pictures = keyframes(24, *keys)
    pictures[:, 10:30, 15:35] //= 8  # so that the object is seen to go on
    batches = []
    real = session.predictor.embed
    session.predictor.embed = lambda images, **more: batches.append(len(images)) or real(images, **more)
    list(propagate_stack(session, pictures.__getitem__, [frames] * objects, 0, 23, weights=ASK_EVERYWHERE))
    assert sum(batches) == 24
    assert len(batches) <= 5


def test_a_second_run_encodes_nothing(session):
    frames, pictures = keyframes(12, 0, 11)
    for _ in range(2):
        list(propagate_stack(session, pictures.__getitem__, [frames], 0, 11, weights=ASK_EVERYWHERE))
    assert session.encoded == 12


def test_slices_that_leave_the_model_nothing_to_decide_are_not_encoded(session):
    frames, pictures = keyframes(12, 0, 11)
    pictures[:] = pictures // 32 + np.where(frames[0], 200, 20)[..., None]
    found = list(propagate_stack(session, pictures.__getitem__, [frames], 0, 11, asks_model=True))
    assert len(found) == 10
    assert all(np.array_equal(one.mask, frames[0]) for one in found)
    assert session.encoded == 2  # the keyframes, to see how good the model is


@pytest.mark.parametrize("weights", [Weights(model=MODEL_WEIGHT), ASK_EVERYWHERE, Weights()])
@pytest.mark.parametrize("allowed", [0, 3, 7])
def test_stopping_keeps_what_was_yielded(session, allowed, weights):
    frames, pictures = keyframes(40, 0, 39)
    found = []
    with pytest.raises(Stopped):
        for one in propagate_stack(
            session, pictures.__getitem__, [frames], 0, 39, weights=weights, should_stop=lambda: len(found) >= allowed
        ):
            found.append(one)
    assert len(found) >= allowed


def test_zoom_looks_at_a_crop_around_all_keyframes(session):
    frames, pictures = keyframes(3, 0, 2)
    small = {key: np.zeros_like(mask) for key, mask in frames.items()}
    for mask in small.values():
        mask[18:22, 20:26] = True
    sizes = []
    real = session.predictor.embed
    session.predictor.embed = lambda images, **more: (
        sizes.extend(image.shape for image in images) or real(images, **more)
    )
    list(propagate_stack(session, pictures.__getitem__, [small], 0, 2, zoom=True, asks_model=True))
    assert set(sizes) == {(32, 32, 3)}
    session.forget()
    list(propagate_stack(session, pictures.__getitem__, [small], 0, 2, zoom=False, asks_model=True))
    assert sizes[-1] == (40, 50, 3)


def test_too_little_memory_is_said_before_the_run(session, monkeypatch):
    monkeypatch.setattr(stack, "available_memory", lambda: 10**9)
    check_memory(session, (256, 256), 50, 1)
    with pytest.raises(PropagationError) as caught:
        check_memory(session, (512, 384), 2000, 8)
    assert re.fullmatch(
        r"Filling 2000 slices of 384 x 512 px for 8 segments takes about [34]\.\d GiB of memory, and 0\.9 GiB are "
        r"free\. Choose a smaller range or fewer segments, or close other programs\.",
        str(caught.value),
    )


def test_the_forecast_covers_all_logits_of_one_step(session):
    few, many = (memory_of_run(session, (100, 100), 0, objects) for objects in (8, 20))
    assert many - few == 100 * 100 * 4 * 2 * (2 * 20 - 16)


def test_the_forecast_is_of_this_model_and_volume(session):
    small = memory_of_run(session, (64, 64), 10, 1)
    assert memory_of_run(session, (64, 64), 20, 1) - small == 10 * (64 * 64 * 7 + session.predictor.embedding_bytes)
    session.cache_bytes = 0
    assert small - memory_of_run(session, (64, 64), 10, 1) == 10 * 4 * 4 * 32 * 4
    larger = Predictor(build_model(replace(CONFIG, image_size=256)), device="cpu", precision="float32")
    assert larger.working_bytes(8) > 16 * session.predictor.working_bytes(8)


def test_a_run_that_asks_no_model_needs_none_and_takes_less_memory(session):
    frames, pictures = keyframes(12, 0, 11)
    with_one, without = (
        [one.mask for one in propagate_stack(each, pictures.__getitem__, [frames], 0, 11)] for each in (session, None)
    )
    np.testing.assert_array_equal(with_one, without)
    assert session.encoded == 0
    with pytest.raises(PropagationError, match="give a session"):
        propagate_stack(None, pictures.__getitem__, [frames], 0, 11, asks_model=True)
    working = session.predictor.working_bytes(8) + 10 * session.predictor.embedding_bytes
    assert memory_of_run(session, (64, 64), 10, 1) - memory_of_run(None, (64, 64), 10, 1) == working


MEASURE = """
import json
import sys
from pathlib import Path
import numpy as np
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config import model_config
from SAMMed2DLib.propagation.stack import memory_of_run, propagate_stack

sizes, count = sys.argv[1], int(sys.argv[2])

def mib(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024

session = Session(Predictor(build_model(getattr(model_config, sizes)), device="cpu", precision="float32"))
rng = np.random.default_rng(0)
slices = rng.integers(60, 90, (count, 256, 256), np.uint8)
disc = np.hypot(*np.ogrid[-128:128, -128:128]) < 40
slices[:, disc] += 60
before = mib("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew
keys = [{0: disc, count - 1: disc}]
found = list(
    propagate_stack(session, lambda n: slices[n, ..., None].repeat(3, -1), keys, 0, count - 1, asks_model=True)
)
print(json.dumps([len(found), mib("VmHWM") - before, memory_of_run(session, (256, 256), count, 1) / 1024**2]))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process's peak of memory")
@pytest.mark.parametrize(("sizes", "slices"), [("SMALL", 31), ("TINY", 13)])
def test_a_run_takes_no_more_than_the_forecast(sizes, slices):
    command = [sys.executable, "-c", MEASURE, sizes, str(slices)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    count, peak_mib, forecast_mib = json.loads(done.stdout)
    assert count == slices - 2
    assert 20 < peak_mib < forecast_mib < 250

