"""Files that ask for hours or for all memory are refused at once, in one line that says what is wrong with them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from greedy_files import GREEDY
from tiny_network import CONFIG

from SAMMed2DLib.checkpoints.checkpoint import CheckpointError, read_checkpoint
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ConfigError, ModelConfig
from SAMMed2DLib.model.config.shapes import config_of

SECONDS, MIB = 1.5, 400  # the first is CPU time; a busy computer takes longer for the same
WORDS_OF_PYTHON = (
    "Error", "Traceback", "object", "NoneType", "unhashable", "convert", "unpack", "Storage size", "invalid shape",
    "tensor(", "exceed", "negative dimension", "int()", "float", "iterable", "subscript", "range(",
)  # fmt: skip

_OPEN = """
import json, resource, sys, time
from pathlib import Path
from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.training.start import known_start

def own_bytes():
    return resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])

if sys.platform == "linux":
    resource.setrlimit(resource.RLIMIT_AS, (own_bytes() + (int(sys.argv[1]) << 20),) * 2)
for path in map(Path, sys.argv[2:]):
    for load in (lambda: load_predictor(path, device="cpu"), lambda: known_start(path)):
        started = time.process_time()
        try:
            load()
            told = "it was loaded"
        except CheckpointError as error:
            told = str(error)
        except BaseException as error:
            told = f"{type(error).__name__} instead of CheckpointError: {error}"
        print(json.dumps([path.name, time.process_time() - started, told]), flush=True)
"""


def test_files_that_ask_for_too_much_are_refused_at_once_and_say_why(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    paths = {f"{number}.pt": name for number, name in enumerate(GREEDY)}
    for file, name in paths.items():
        GREEDY[name](tmp_path / file)
    command = [sys.executable, "-c", _OPEN, str(MIB), *(str(tmp_path / file) for file in paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)


    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == 2 * len(GREEDY)
    faults = [
        f"{paths[file]}: {seconds:.1f} s, {told}"
        for file, seconds, told in results
        if seconds > SECONDS
        or not told.startswith(file)
        or len(told) > 400
        or not told.isprintable()
        or any(word in told for word in WORDS_OF_PYTHON)
    ]
    assert not faults, "\n".join(faults)


def test_what_a_configuration_says_must_be_what_the_weights_have() -> None:
    shapes = {name: tuple(value.shape) for name, value in build_model(CONFIG).state_dict().items()}
    assert config_of(CONFIG.to_dict(), shapes) == CONFIG
    with pytest.raises(ConfigError, match="says depth 9, but its weights have 2"):
        config_of(replace(CONFIG, depth=9).to_dict(), shapes)
    with pytest.raises(ConfigError, match="says a window of block 0 of 4, but its weights have 3"):
        config_of(replace(CONFIG, window_size=4).to_dict(), shapes)
    with pytest.raises(ConfigError, match="a window of block 1 of 3, but its weights have 4"):
        config_of(replace(CONFIG, global_blocks=()).to_dict(), shapes)
    with pytest.raises(ConfigError, match="MLP width 64, but its weights have 128"):
        config_of(replace(CONFIG, mlp_ratio=2.0).to_dict(), shapes)


def test_an_image_size_that_no_model_has_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    path = save_inference_checkpoint(tmp_path / "w.pt", build_model(CONFIG).state_dict(), CONFIG.to_dict(), {})
    with pytest.raises(ConfigError, match="image_size must be a whole number from 1 to 4,096, not 100000"):
        load_predictor(path, device="cpu", image_size=100_000)
    assert load_predictor(path, device="cpu", image_size=128).model.image_size == 128


def test_weights_that_share_a_storage_are_read_as_far_as_the_file_could_hold_them(tmp_path: Path) -> None:
    whole = torch.arange(1000.0)
    torch.save({"a.w": whole, "a.tied": whole}, tmp_path / "w.pt")
    assert read_checkpoint(tmp_path / "w.pt").state["a.tied"].tolist() == whole.tolist()
    torch.save({f"a.{i}": whole for i in range(20)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="its weights take 80,000 bytes"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_checkpoint_with_the_optimiser_of_a_large_model_still_opens_at_once(tmp_path: Path) -> None:
    """As many tensors as a ViT-H with its moments, each of a few numbers."""
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(900)]
    adam = torch.optim.AdamW(weights)
    for weight in weights:
        weight.grad = torch.ones(2)
    adam.step()
    state = {f"image_encoder.w{i}": weight.detach() for i, weight in enumerate(weights)}
    record = {"model": state, "ema": dict(state), "optimizer": adam.state_dict(), "scheduler": {}, "epoch": 3}
    for legacy in (False, True):
        torch.save(record, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
        started = time.process_time()
        assert len(read_checkpoint(tmp_path / "w.pth").state) == 900
        assert time.process_time() - started < SECONDS


def test_the_sizes_of_every_known_body_are_allowed() -> None:
    for depth, width in ((12, 768), (24, 1024), (32, 1280), (40, 1664)):
        ModelConfig(embed_dim=width, depth=depth, num_heads=width // 64, image_size=2048)


