"""Work in progress is kept in a file, offered after a crash, and comes back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from editor_fixture import INSIDE, EditorFixture
from test_propagation import draw

from SAMMed2DLib.io.saved_work import SUFFIX, read_work

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where files are kept, and looked for."""
    before = slicer.app.temporaryPath
    slicer.app.temporaryPath = str(tmp_path)
    yield tmp_path
    slicer.app.temporaryPath = before


@pytest.fixture
def fixture(model, folder):
    """An editor whose work is kept a fifth of a second after each change."""
    from SAMMed2DSlicer.recovery import autosave

    slicer.modules.sammed2dAutosave = autosave.Autosave(0.2)
    yield EditorFixture(model)
    slicer.modules.sammed2dAutosave.close()
    del slicer.modules.sammed2dAutosave


def files(folder):
    """The files of kept work; one that is being written has a dot before its name."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def kept(fixture, folder):
    """The file that comes, once nothing is left to be kept."""
    fixture.pump(0.5)  # what was done last is noticed
    followed = slicer.modules.sammed2dAutosave._followed
    fixture.wait(lambda: files(folder) and all(one.changed_at is None for one in followed.values()), 120)
    (path,) = files(folder)
    return path


def voxels_of(node, volume, segment_id="A"):
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, volume).astype(bool)


def left_by_another(folder, fixture):
    """The file that is kept, as if its process had been killed: nobody holds it any more."""
    path = kept(fixture, folder)
    content = path.read_bytes()
    slicer.modules.sammed2dAutosave.close()
    assert not files(folder)
    path.write_bytes(content)
    return path


def test_prompts_and_segments_are_kept_after_changes_only(fixture, folder):
    fixture.pump(0.6)
    assert not files(folder)
    fixture.click()
    work = read_work(kept(fixture, folder))
    assert [len(one["points"]) for one in work.details["prompts"]] == [1]
    fixture.accept()
    path = kept(fixture, folder)
    fixture.wait(lambda: read_work(path).segments[0].voxels is not None, 60)
    work = read_work(path)
    whole = np.zeros_like(fixture.segment())
    patch = work.segments[0].voxels.patch()
    i0, i1, j0, j1, k0, k1 = patch.extent
    whole[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = patch.mask_kji
    np.testing.assert_array_equal(whole, fixture.segment())
    before = path.stat().st_mtime_ns
    fixture.show(2, INSIDE[2] + 1)
    fixture.show(1, INSIDE[1])
    fixture.pump(0.8)
    assert path.stat().st_mtime_ns == before


def test_what_is_saved_needs_no_file_any_more(fixture, folder, tmp_path):
    fixture.click()
    fixture.accept()
    kept(fixture, folder)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    fixture.wait(lambda: not files(folder), 120)
    fixture.pump(0.5)
    assert not files(folder)
    fixture.click((20, 20, 10))
    kept(fixture, folder)
    slicer.mrmlScene.Clear(0)
    assert os.listdir(folder) == ["scene.mrb"]


def test_a_scene_with_a_file_has_it_beside_it(fixture, folder, tmp_path):
    (tmp_path / "case").mkdir()
    assert slicer.util.saveScene(str(tmp_path / "case" / "scene.mrml"))
    slicer.mrmlScene.SetURL(str(tmp_path / "case" / "scene.mrml"))
    fixture.click()
    fixture.wait(lambda: files(tmp_path / "case"), 120)
    assert not files(folder)


def test_a_propagation_that_runs_is_kept_too(fixture, folder):
    draw(fixture, 6, 14)
    panel = fixture.effect.propagation
    panel.ui.modelCheckBox.checked = True
    fixture.model.delay_s = 0.15
    panel.propagate("both")
    fixture.wait(lambda: files(folder) and len(slices_kept(files(folder)[0])) > 2, 120)
    assert panel.is_running
    assert np.flatnonzero(fixture.segment().any(axis=(1, 2))).tolist() == [6, 14]
    panel.stop()


def slices_kept(path):
    patch = read_work(path).segments[0].voxels.patch()
    return np.flatnonzero(patch.mask_kji.any(axis=(1, 2)))


def test_later_keeps_the_file_and_discard_removes_it(fixture, folder):
    fixture.click()
    fixture.accept()
    path = left_by_another(folder, fixture)
    other = path.with_name(f"unsaved-0{SUFFIX}")
    other.write_bytes(path.read_bytes())
    for words in ("Later", "Discard"):
        slicer.app.answers.give("ended without saving", words)
    offer(fixture)
    assert len(files(folder)) == 1
    offer(fixture)  # not asked again before the next start
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


def offer(fixture):
    """Open the effect anew."""
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    fixture.pump(0.1)


def test_without_its_image_the_file_stays_and_the_user_is_told(fixture, folder):
    fixture.click()
    fixture.accept()
    path = left_by_another(folder, fixture)
    fixture.volume.SetSpacing(9, 9, 9)
    slicer.app.answers.give("ended without saving", "Restore")
    slicer.app.answers.give("is not in the scene", "OK")
    offer(fixture)
    assert files(folder) == [path]
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", "cut"])
def test_a_damaged_file_is_told_and_removed(fixture, folder, content):
    fixture.click()
    path = left_by_another(folder, fixture)
    path.write_bytes(path.read_bytes()[:-40] if content == "cut" else content)
    slicer.app.answers.give("cannot be restored", "OK")
    offer(fixture)
    assert not files(folder)


CRASHING = """
import sys
folder, tests, module = sys.argv[1:]
sys.path[:0] = [tests, tests + "/slicer"]
import host
app = host.start()
host.begin()
import slicer
slicer.qSlicerScriptedLoadableModule(module).load()
app.startupCompleted.emit()
slicer.app.temporaryPath = folder
from editor_fixture import BrightSession, EditorFixture
from SAMMed2DSlicer.inference import service
from SAMMed2DSlicer.recovery import autosave
model = BrightSession()
service.InferenceService._session = lambda self, choice: model
slicer.modules.sammed2dAutosave = autosave.Autosave(0.2)
fixture = EditorFixture(model)
fixture.click()
fixture.accept()
fixture.drag((10, 12, 10), (41, 33, 10))
fixture.wait()
while True:
    fixture.pump(0.1)
"""


def test_what_a_killed_slicer_had_done_is_offered_and_restored(fixture, folder):
    command = [sys.executable, "-c", CRASHING, str(folder), str(ROOT / "Testing"), str(ROOT / "SAMMed2D/SAMMed2D.py")]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        ends = time.monotonic() + 240
        while not any(len(read_work(path).details["prompts"]) == 2 for path in files(folder)):
            assert child.poll() is None and time.monotonic() < ends
            offer(fixture)  # the file of a Slicer that is at work is not offered to another one
            time.sleep(0.3)
    finally:
        child.kill()
        child.wait()
    slicer.app.answers.give("1 segments (A) and 2 prompts", "Restore")
    offer(fixture)
    assert time.strftime("%Y-%m-%d") in slicer.app.answers.shown[-1][1]
    assert "Restored as Segmentation (restored)" in slicer.util.mainWindow().statusBar().currentMessage()
    ours, restored = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert ours is fixture.segmentation and not fixture.segment().any()
    assert restored.GetName() == "Segmentation (restored)" and not files(folder)
    fixture.editor.setSegmentationNode(restored)
    fixture.editor.setCurrentSegmentID("A")
    fixture.activate()
    fixture.wait(lambda: len(fixture.controller.groups) == 2 and not fixture.controller.is_waiting, 120)
    assert sorted(group.state for group in fixture.controller.groups) == ["accepted", "open"]
    expected = np.zeros_like(fixture.structure)
    expected[INSIDE[2]] = fixture.structure[INSIDE[2]]
    np.testing.assert_array_equal(voxels_of(restored, fixture.volume), expected)
