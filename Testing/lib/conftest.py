"""What all tests of the library rely on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says nothing on a busy computer: no test fails of that.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# A shell starts background jobs with Ctrl+C ignored, and processes pass that on to the ones they start: the tests
# that send it would then wait for nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a network whose weights are random, but always the same."""
    import torch
    from tiny_network import save_tiny

    torch.manual_seed(0)
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.pt", name="tiny")


@pytest.fixture(scope="session")
def coarse_predictor():
    """The built-in network with half of its frame's side: a quarter of the work, and masks that are not as good."""
    from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
    from SAMMed2DLib.inference.predictor import load_predictor
    from SAMMed2DLib.registry.built_in import BUILT_IN
    from SAMMed2DLib.registry.known_models import weights_path

    config = read_checkpoint(weights_path(BUILT_IN)).config
    return load_predictor(device="cpu", precision="float32", image_size=config["image_size"] // 2)


@pytest.fixture
def no_matplotlib(monkeypatch):
    """As if matplotlib were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
