"""The effect where PyTorch cannot be imported: ready at once, clicks, boxes and corrections, by the built-in model.

The tests below run in a process of their own, in which torch is blocked; the first one starts it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from editor_fixture import EditorFixture
from test_effect_model import SIZE, dice_with_disc, disc_kji

BLOCKED = "SAMMED2D_TEST_WITHOUT_TORCH" in os.environ
inside = pytest.mark.skipif(not BLOCKED, reason="runs in the process that the first test starts")


@pytest.mark.skipif(BLOCKED, reason="starts the process of the others")
def test_clicks_are_answered_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env={**os.environ, "PYTHONPATH": path, "SAMMED2D_TEST_WITHOUT_TORCH": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.startswith("s....")  # this one is left out, none of the others


@pytest.fixture
def service(sammed2d, monkeypatch):
    """The shared service, as after the installation of the extension: nothing chosen, nothing loaded."""
    from SAMMed2DSlicer.inference import service
    from SAMMed2DSlicer.setup import pytorch

    monkeypatch.setattr(pytorch, "torch_state", lambda: pytorch.TorchState("missing", "PyTorch is not installed yet."))
    shared = service.shared()
    shared.choice, shared._loaded = service.ModelChoice(), None
    shared.state = service.ServiceState("unloaded", "")
    slicer.app.settings().setValue("SAMMed2D/NumPyTold", 0)
    yield shared
    EditorFixture.close_all()
    shared.worker.cancel_all()


@pytest.fixture
def fixture(service) -> EditorFixture:
    noise = np.random.default_rng(0).normal(0, 6, SIZE[::-1])
    values = (np.where(disc_kji(), 150, 50) + noise).astype(np.int16)
    return EditorFixture(service, volume_kji=values, size_ijk=SIZE)


@inside
def test_it_is_ready_within_a_second_and_says_once_what_pytorch_would_add(fixture, service):
    fixture.editor.setActiveEffect(None)
    service._loaded, service.state = None, type(service.state)("unloaded", "")
    slicer.app.settings().setValue("SAMMed2D/NumPyTold", 0)
    began = time.process_time()  # of all threads: other programs do not count
    fixture.activate()
    fixture.wait(lambda: service.state.is_ready)
    assert time.process_time() - began < 1
    assert service.state.text.startswith("Ready on NumPy, loaded in")
    panel = fixture.panel
    hint = "Built-in model on NumPy; install PyTorch for the published model and graphics cards."
    assert panel.status_line.text == hint and panel.ui.modelStateLabel.toolTip == hint
    assert not panel.ui.installRow.isVisibleTo(panel.widget)
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    fixture.wait(lambda: service.state.is_ready)
    assert fixture.panel.status_line.text != hint


@inside
def test_a_click_and_a_box_give_the_disc_and_what_is_accepted_is_corrected(fixture):
    fixture.click((50, 45, 10))
    fixture.wait(lambda: fixture.controller.pending)
    assert dice_with_disc(fixture.shown[0]) > 0.85
    fixture.accept()
    assert dice_with_disc(fixture.segment()[10]) > 0.85
    before = fixture.segment()[10].sum()
    fixture.click((60, 45, 10), control=True)
    fixture.wait(lambda: fixture.controller.pending)
    fixture.accept()
    assert fixture.segment()[10].sum() < before and not fixture.segment()[10, 45, 60]


@inside
def test_a_box_gives_the_disc_and_clear_takes_it_away(fixture):
    fixture.drag((26, 21, 10), (74, 69, 10))
    fixture.wait(lambda: fixture.controller.pending)
    assert dice_with_disc(fixture.shown[0]) > 0.85
    fixture.effect.clear()
    fixture.wait()
    assert not fixture.controller.pending and not fixture.segment().any()


@inside
def test_nothing_has_imported_torch_and_a_device_of_it_is_refused_in_words(service):
    from SAMMed2DSlicer.inference import blocking
    from SAMMed2DSlicer.inference.service import ModelChoice
    from SAMMed2DSlicer.setup.pytorch import InstallError

    assert "torch" not in sys.modules
    assert blocking.call(lambda session, stop: session.predictor.engine.name) == "numpy"
    service.choice = ModelChoice(device="cuda")
    with pytest.raises(InstallError, match=r"needs PyTorch\. Install it in the module"):
        blocking.call(lambda session, stop: None)
