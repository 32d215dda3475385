"""The check of a graphics card runs from end to end, here on the processor and with a small network."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from test_refiner import REFINED

from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.model.build import build_model

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu_check.py"


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True, timeout=300)


def test_every_check_passes_on_the_processor_and_makes_a_table(tmp_path):
    torch.manual_seed(0)
    model = build_model(replace(REFINED, refiner_dim=4))
    facts = {"prefers_zoom": True, "click_scales": [1.0, 0.5], "coarse_size": 28}
    path = save_inference_checkpoint(tmp_path / "small.pt", model.state_dict(), REFINED.to_dict(), facts)
    done = run("--device", "cpu", "--quick", "--model", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and line.endswith(" yes |")]
    checks = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert checks == [
        "same as the processor", "throughput", "clicks", "embeddings are kept", "memory is full", "training step",
        "two processes",
    ]  # fmt: skip
    assert "**no**" not in done.stdout and "goes on with cpu" in done.stdout


def test_a_card_that_is_not_here_is_told_in_one_line():
    done = run("--device", "cuda:99")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "choose auto" in done.stderr
