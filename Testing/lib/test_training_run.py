"""Whole runs: resumed ones equal uninterrupted ones, several processes equal one, and a folder keeps to its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_cases import TINY, tiny_config, write_folder

from SAMMed2DLib import training
from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint, verify_weights
from SAMMed2DLib.data.sa_med2d import TRAIN, VALIDATION, read_layout
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.model.config.model_config import ModelConfig
from SAMMed2DLib.training.run.run_log import read_rows
from SAMMed2DLib.training.start import build_start
from SAMMed2DLib.training.validation import Validation, spread

ROOT = Path(__file__).resolve().parents[2]
NOTHING = training.LabelMaps([])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class StopAfter:
    """Stops a run like Ctrl+C would, after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, progress: training.Progress) -> None:
        if progress.step == self.step and progress.scores is None:
            os.kill(os.getpid(), signal.SIGINT)


def run(config, folder, *, stop: int = 0, **options):
    each = training.Intervals(save=3, log=1, report=StopAfter(stop) if stop else None)
    return training.train(config, NOTHING, folder, workers=0, intervals=each, **options)


def state_of(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_equal_states(one: dict, other: dict) -> None:
    for part in ("model", "ema"):
        assert (one[part] is None) == (other[part] is None)
        for name, value in (one[part] or {}).items():
            assert torch.equal(value, other[part][name]), name
    moments = [
        [value for entry in state["optimiser"]["state"].values() for value in entry.values()] for state in (one, other)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"ema_decay": 0.0},
        {"precision": "bf16", "accumulate": 2},
        {"precision": "fp16"},
        {"neighbour_share": 1.0, "trained": "adapters"},
        {"as_published": True, "steps": 2, "learning_rate": 1e-4, "ema_decay": 0.0},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, changes):
    config = tiny_config(**changes)
    whole = run(config, tmp_path / "whole")
    cut = run(config, tmp_path / "cut", stop=config.steps // 2)
    assert (cut.stopped, cut.step, whole.stopped) == (True, config.steps // 2, False)
    resumed = run(config, tmp_path / "cut")
    assert (resumed.stopped, resumed.step) == (False, config.steps)
    assert_equal_states(state_of(tmp_path / "whole"), state_of(tmp_path / "cut"))
    rows = [read_rows(tmp_path / name / "log.csv") for name in ("whole", "cut")]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path):
    class Killed(Exception):
        pass

    def kill(progress: training.Progress) -> None:
        if progress.step == 5:
            raise Killed

    with pytest.raises(Killed):
        training.train(
            tiny_config(), NOTHING, tmp_path / "cut", workers=0, intervals=training.Intervals(2, 1, report=kill)
        )
    assert state_of(tmp_path / "cut")["step"] == 4
    run(tiny_config(), tmp_path / "cut")
    run(tiny_config(), tmp_path / "whole")
    assert_equal_states(state_of(tmp_path / "whole"), state_of(tmp_path / "cut"))
    assert [row["step"] for row in read_rows(tmp_path / "cut" / "log.csv")] == list("123456")


def test_a_finished_run_is_left_as_it_is_and_can_be_made_longer(tmp_path):
    run(tiny_config(steps=2), tmp_path)
    before = state_of(tmp_path)
    assert run(tiny_config(steps=2), tmp_path).step == 2
    assert_equal_states(before, state_of(tmp_path))
    assert run(tiny_config(steps=3), tmp_path).step == 3


def test_how_a_step_is_cut_into_batches_may_change(tmp_path):
    run(tiny_config(steps=2, images_per_batch=2), tmp_path)
    assert run(tiny_config(steps=3, images_per_batch=1, accumulate=2), tmp_path).step == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, r"seed \(0 there, 5 here\)"),
        ({"accumulate": 2}, r"images per step \(2 there, 4 here\)"),
        ({"model": replace(TINY, depth=1, global_blocks=(0,))}, "model"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, changes, words):
    run(tiny_config(steps=1), tmp_path)
    with pytest.raises(training.TrainingError, match=words):
        run(replace(tiny_config(steps=1), **changes), tmp_path)


def test_other_data_or_other_first_weights_are_refused(tmp_path):
    run(tiny_config(steps=1), tmp_path)
    with pytest.raises(training.TrainingError, match="the weights to begin with"):
        run(tiny_config(steps=1), tmp_path, base={"file_sha256": "0"})
    folder = write_folder(tmp_path / "data")
    with pytest.raises(training.TrainingError, match="the data"):
        training.train(
            tiny_config(steps=1), training.LayoutImages(read_layout(folder, TRAIN)), tmp_path, workers=0
        )


def test_a_run_can_begin_with_given_weights(tmp_path):
    config = tiny_config(steps=1, learning_rate=0.0, weight_decay=0.0)
    given = {name: value.half() for name, value in build_model(TINY).state_dict().items()}
    trained = run(config, tmp_path, start_from=given).weights
    assert all(torch.equal(trained[name], value.float()) for name, value in given.items())


def test_the_configuration_survives_its_file(tmp_path):
    config = tiny_config(steps=1, trained="adapters", precision="bf16")
    run(config, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert training.TrainingConfig.from_dict(stored["config"]) == config
    with pytest.raises(training.TrainingError, match="it has colour"):
        training.TrainingConfig.from_dict({**stored["config"], "colour": 1})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be 1 or more"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"ema_decay": 1.0}, "averaged weights"),
        ({"as_published": True, "accumulate": 2}, "nothing can be accumulated"),
        ({"model": replace(TINY, adapter=False), "trained": "adapters"}, "no adapters"),
    ],
)
def test_what_no_run_can_be_is_refused(changes, words):
    with pytest.raises(training.TrainingError, match=words):
        replace(tiny_config(), **changes)


def test_the_rate_rises_and_falls_and_is_constant_as_published():
    config = tiny_config(steps=100, warmup_steps=10, cooldown=0.5, learning_rate=1.0)
    rates = [config.learning_rate_at(step) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == rates[30] == 1.0 and rates[75] == 0.5 and rates[99] < 0.03
    assert {replace(config, as_published=True).learning_rate_at(step) for step in range(100)} == {1.0}


# Validation and files


class Rising:
    """Scores that rise and fall again."""

    is_seen = False

    def __init__(self) -> None:
        self.left = [0.2, 0.9, 0.5, 0.4]

    def scores(self, config, weights):
        return {"score": self.left.pop(0), "box": 0.5}


def test_the_best_weights_are_kept(tmp_path):
    given = build_model(TINY).state_dict()
    each = training.Intervals(save=2, log=2, validate=2)
    outcome = training.train(
        tiny_config(), NOTHING, tmp_path, start_from=given, validation=Rising(), workers=0, intervals=each
    )
    assert outcome.best == 0.9
    best, last = (read_checkpoint(tmp_path / name) for name in ("best.pt", "last.pt"))
    assert (best.provenance["steps"], last.provenance["steps"]) == (2, 6)
    assert best.provenance["validation"]["score"] == 0.9
    assert [row["step"] for row in read_rows(tmp_path / "validation.csv")] == ["0", "2", "4", "6"]
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_the_files_of_a_run_say_what_they_are(tmp_path):
    run(tiny_config(steps=1), tmp_path, base={"name": "parent", "file_sha256": "ab"})
    state = state_of(tmp_path)
    assert state["config"]["steps"] == 1 and len(state["data_sha256"]) == 64 and state["base"]["name"] == "parent"
    assert {"optimiser", "schedule", "rng", "scaler", "images_per_step", "torch_version"} <= state.keys()
    best = read_checkpoint(tmp_path / "best.pt")
    verify_weights(best)
    assert best.provenance["prefers_zoom"] is True and best.provenance["base"]["file_sha256"] == "ab"
    assert best.provenance["data_sha256"] == state["data_sha256"]
    assert ModelConfig.from_dict(best.config) == TINY
    assert load_predictor(tmp_path / "best.pt", device="cpu").prefers_zoom


def test_validation_uses_the_evaluation_protocol(tmp_path):
    entries = read_layout(write_folder(tmp_path, validation=2), VALIDATION)
    scores = Validation(entries).scores(tiny_config(), build_start(tiny_config(), None).state_dict())
    assert scores["objects"] == 4
    assert scores["score"] == pytest.approx(np.mean([scores[k] for k in ("box", "1 click", "3 clicks", "5 clicks")]))


def test_few_validation_images_are_spread_over_all(tmp_path):
    entries = read_layout(write_folder(tmp_path, train=7), TRAIN)
    assert spread(entries, 3) == [entries[0], entries[3], entries[6]]
    assert spread(entries, 99) == entries


def test_tensorboard_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(training.TrainingError, match=r"sammed2d\[tensorboard\]"):
        training.train(
            tiny_config(), NOTHING, tmp_path, workers=0, intervals=training.Intervals(tensorboard=True)
        )


# What a run begins with


def test_known_weights_fit_another_image_size(tmp_path):
    run(tiny_config(steps=1), tmp_path)
    start = training.known_start(tmp_path / "best.pt", 64)
    assert start.model == replace(TINY, image_size=64) and start.prefers_zoom
    assert start.base["resized_from"] == 32 and len(start.base["file_sha256"]) == 64
    model = build_start(replace(tiny_config(), model=start.model), start.state)
    assert model.image_encoder.pos_embed.shape[1] == 8


def test_new_adapters_can_be_added_and_heads_reset(tmp_path):
    bare = replace(TINY, adapter=False)
    state = build_model(bare).state_dict()
    torch.save(state, tmp_path / "sam.pth")
    start = training.known_start(tmp_path / "sam.pth", add_adapters=True)
    missing = set(build_model(start.model).state_dict()) - set(start.state)
    assert start.model.adapter and missing and all(".Adapter." in name for name in missing)
    reset = training.known_start(tmp_path / "sam.pth", add_adapters=True, reset_heads=True)
    assert not any("mask_tokens" in name for name in reset.state)


def test_incomplete_weights_are_refused(tmp_path):
    state = build_model(TINY).state_dict()
    del state["mask_decoder.iou_token.weight"]
    torch.save({**state, "mask_decoder.x": torch.zeros(1)}, tmp_path / "cut.pth")
    with pytest.raises(ValueError, match=r"cut\.pth|iou_token"):
        training.known_start(tmp_path / "cut.pth")


def test_unknown_sizes_are_refused():
    with pytest.raises(training.TrainingError, match="small, vit_b"):
        training.fresh_start("huge")
    assert training.fresh_start("vit_b", 512).model.image_size == 512


# Several processes


def test_the_processes_of_a_step_share_its_items_without_overlap():
    config = tiny_config(steps=3, images_per_batch=2, accumulate=2)
    device = torch.device("cpu")
    drawn = [list(training.ShardedBatches(config, training.Team(device, rank, 2), 1)) for rank in (0, 1)]
    assert len(training.ShardedBatches(config, training.Team(device, 0, 2), 1)) == len(drawn[0]) == 4
    first_step = [index for batches in drawn for batch in batches[:2] for index in batch]
    assert sorted(first_step) == list(range(8, 16))


WORKER = """
import sys
from pathlib import Path

import torch

from SAMMed2DLib import training

sys.path.insert(0, sys.argv[3])
from training_cases import tiny_config

torch.set_num_threads(1)
config = tiny_config(steps=3, images_per_batch=int(sys.argv[2]), accumulate=int(sys.argv[4]), weight_decay=0.0)
with training.team("cpu") as team:
    training.train(config, training.LabelMaps([]), Path(sys.argv[1]), team=team, workers=0)
"""


def _processes(count: int, folder: Path, images: int, accumulate: int = 1) -> dict:
    script = folder.with_suffix(".py")
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    arguments = [str(script), str(folder), str(images), str(Path(__file__).parent), str(accumulate)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return state_of(folder)


def test_two_processes_give_what_one_gives_with_twice_the_batch(tmp_path):
    alone = training.train(
        tiny_config(steps=3, images_per_batch=4, weight_decay=0.0), NOTHING, tmp_path / "one", workers=0
    )
    two = _processes(2, tmp_path / "two", 1, accumulate=2)
    assert two["images_per_step"] == state_of(tmp_path / "one")["images_per_step"] == 4
    for name, value in state_of(tmp_path / "one")["model"].items():
        # Softmax does not see a key bias: its gradient is rounding, which Adam blows up.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(two["model"][name], value, atol=1e-5, rtol=0, msg=name)
            torch.testing.assert_close(two["ema"][name], alone.weights[name], atol=1e-5, rtol=0, msg=name)
