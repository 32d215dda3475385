"""`sammed2d train`: from a curated folder to weights that segment, in one process and by torchrun."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from tiny_network import CONFIG, save_tiny
from training_cases import write_folder

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.checkpoints.checkpoint import read_checkpoint
from SAMMed2DLib.data.sa_med2d import read_layout
from SAMMed2DLib.training import TrainingConfig
from SAMMed2DLib.training.run import run_log
from SAMMed2DLib.training.run.run_log import read_rows
from SAMMed2DLib.training.validation import Validation, spread

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--batch", "2", "--masks", "2", "--rounds", "2", "--workers", "0", "--device", "cpu"]


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny.pt", prefers_zoom="yes")


def train(folder: Path, run: Path, tiny: Path, *options: str) -> int:
    return main(["train", str(folder), "-o", str(run), "--from", str(tiny), *QUICK, *options])


@pytest.fixture(autouse=True)
def blank_curves(monkeypatch):
    """Drawing is what takes longest; the module's run, which is made before, has its curves."""
    monkeypatch.setattr(run_log, "line_chart", lambda *rest: np.zeros((4, 4, 3), np.uint8))


@pytest.fixture(scope="module")
def a_run(a_folder, tiny, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "mine"
    assert train(a_folder, run, tiny, "--epochs", "1") == OK
    return run


def test_a_run_leaves_weights_tables_and_curves(a_run):
    names = ["best.pt", "checkpoint.pt", "config.json", "curves.png", "last.pt", "log.csv", "validation.csv"]
    assert sorted(path.name for path in a_run.iterdir()) == names
    assert min(SimpleITK.ReadImage(str(a_run / "curves.png")).GetSize()) > 100
    assert [row["step"] for row in read_rows(a_run / "log.csv")] == ["1", "2"]  # 4 images, 2 in a step
    assert [row["step"] for row in read_rows(a_run / "validation.csv")] == ["0", "1", "2"]


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_a_run_leaves_out_its_curves_and_says_so(a_folder, tiny, tmp_path, capsys):
    assert train(a_folder, tmp_path / "run", tiny, "--epochs", "1") == OK
    note = 'note: curves.png is left out: matplotlib is not installed: pip install "sammed2d[plots]"'
    assert capsys.readouterr().err.count(note) == 1
    assert not (tmp_path / "run/curves.png").exists() and (tmp_path / "run/best.pt").exists()


def test_the_best_weights_segment_an_image(a_run, tmp_path, capsys):
    picture = tmp_path / "slice.png"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.arange(40 * 48).astype(np.uint8).reshape(40, 48)), str(picture))
    output = tmp_path / "out.nii.gz"
    command = ["segment", str(picture), "--slice", "0", "--box", "5,5,30,30", "-o", str(output)]
    assert main([*command, "--model", str(a_run / "best.pt")]) == OK
    assert output.exists()


def test_the_weights_say_where_they_come_from(a_run, tiny):
    provenance = read_checkpoint(a_run / "last.pt").provenance
    assert provenance["base"]["name"] == "tiny" and provenance["prefers_zoom"] is True
    assert provenance["data_sets"] == ["drawn"] and provenance["training"]["trained"] == "all"
    assert json.loads((a_run / "config.json").read_text())["base"] == provenance["base"]


def test_the_same_command_finds_the_run_finished_and_another_one_is_refused(a_run, a_folder, tiny, capsys):
    assert train(a_folder, a_run, tiny, "--epochs", "1") == OK
    assert train(a_folder, a_run, tiny, "--epochs", "1", "--seed", "3") == BAD_INPUT
    assert "seed (0 there, 3 here)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sizes", "small"], "--from none"),
        (["--steps", "0"], "--steps: must be a whole number of 1 or more, not '0'"),
        (["--save-every", "0"], "--save-every: must be a whole number of 1 or more"),
        (["--workers", "-1"], "--workers: must be a whole number of 0 or more"),
        (["--most-validation", "x"], "--most-validation: must be a whole number of 0 or more"),
        (["--seed", "-1"], "--seed: must be a whole number of 0 or more"),
        (["--epochs", "nan"], "--epochs: must be more than 0, not 'nan'"),
        (["--lr", "-1"], "--lr: must be more than 0"),
        (["--ema", "1"], "--ema: must be 0 or more and less than 1"),
        (["--synthetic", "2"], "--synthetic: must be a share from 0 to 1"),
        (["--as-published", "--accumulate", "2"], "nothing can be accumulated"),
        (["--image-size", "100"], "image_size, 100, must be a multiple of patch_size, 16"),
        (["--device", "cuda:77"], "no device"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(a_folder, tiny, tmp_path, capsys, options, words):
    assert train(a_folder, tmp_path / "run", tiny, *options) == BAD_INPUT
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("sammed2d: error:") and words in error
    assert not (tmp_path / "run").exists()


def test_a_folder_without_training_images_is_refused(tmp_path, tiny, capsys):
    assert train(tmp_path, tmp_path / "run", tiny) == BAD_INPUT
    assert "image2label_train.json" in capsys.readouterr().err
    assert train(tmp_path / "nowhere", tmp_path / "run", tiny) == BAD_INPUT
    assert "is no folder" in capsys.readouterr().err


def test_broken_files_are_noted_at_the_start(tmp_path, tiny, capsys):
    folder = write_folder(tmp_path / "data")
    (folder / "images/case0_0.png").write_bytes(b"no picture")
    (folder / "masks/case4_0_bar_0.png").write_bytes(b"no picture")  # of the validation split
    assert train(folder, tmp_path / "run", tiny, "--steps", "1") == OK
    told = capsys.readouterr().err
    assert told.count("left out images/case0_0.png") == told.count("left out images/case4_0.png") == 1
    assert "3 images to train on, 1 to validate on" in told


def test_where_nothing_is_to_be_validated_the_last_weights_are_called_the_best(tmp_path, a_folder, tiny, capsys):
    run = tmp_path / "run"
    assert train(a_folder, run, tiny, "--steps", "1", "--most-validation", "0", "--as-published") == OK
    best, last = (read_checkpoint(run / name) for name in ("best.pt", "last.pt"))
    assert best.provenance["prefers_zoom"] is False and "validation" not in best.provenance
    assert all(torch.equal(value, last.state[name]) for name, value in best.state.items())
    assert not (run / "validation.csv").exists()
    told = capsys.readouterr().err
    assert "best.pt will hold the last weights" in told and "after the last step, 1, which were not validated" in told


@pytest.mark.parametrize(("rate", "recipe"), [("0.3", ["--as-published"]), ("1e-4", [])])
def test_without_a_validation_split_the_best_weights_are_chosen_by_training_images(
    tmp_path, a_folder, tiny, capsys, recipe, rate
):
    """They are never worse than those it began with, by the measure that it tells."""
    folder, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(a_folder, folder)
    (folder / "label2image_validation.json").unlink()
    assert train(folder, run, tiny, "--steps", "2", "--most-validation", "2", "--lr", rate, *recipe) == OK
    told = capsys.readouterr().err
    assert "chosen by their scores on images that are trained on" in told and "2 of them to choose" in told
    rows = read_rows(run / "validation.csv")
    best = max(rows, key=lambda row: float(row["score"]))
    assert rows[0]["step"] == "0" and len(rows) == 3
    checkpoint = read_checkpoint(run / "best.pt")
    assert checkpoint.provenance["steps"] == int(best["step"]) and "validation" not in checkpoint.provenance
    assert checkpoint.provenance["validation_on_seen"]["score"] == pytest.approx(float(best["score"]), abs=1e-5)
    config = TrainingConfig.from_dict(json.loads((run / "config.json").read_text())["config"])
    measure = Validation(spread(read_layout(folder, "train"), 2))
    assert measure.scores(config, checkpoint.state)["score"] == pytest.approx(float(best["score"]), abs=1e-5)
    assert measure.scores(config, read_checkpoint(tiny).state)["score"] <= float(best["score"]) + 1e-5
    if best["step"] == "0":
        assert "the weights that it began with" in told


def test_a_longer_run_without_validation_keeps_what_validation_chose(tmp_path, a_folder, tiny):
    assert train(a_folder, tmp_path / "run", tiny, "--steps", "1", "--most-validation", "1") == OK
    before = (tmp_path / "run" / "best.pt").read_bytes()
    assert train(a_folder, tmp_path / "run", tiny, "--steps", "2", "--most-validation", "0") == OK
    assert (tmp_path / "run" / "best.pt").read_bytes() == before


def test_cases_in_both_splits_are_noted(tmp_path, tiny, capsys):
    folder = write_folder(tmp_path / "data")
    (folder / "manifest.tsv").unlink()
    pairs = json.loads((folder / "image2label_train.json").read_text())
    image, masks = next(iter(pairs.items()))
    (folder / "label2image_validation.json").write_text(json.dumps({masks[0]: image}))
    assert train(folder, tmp_path / "run", tiny, "--steps", "1") == OK
    assert "note: 1 case is in train and in validation (one is case0" in capsys.readouterr().err


def test_a_new_model_and_another_image_size(tmp_path, a_folder, tiny):
    run = tmp_path / "run"
    assert train(a_folder, run, tiny, "--steps", "1", "--image-size", "96", "--trained", "decoder") == OK
    assert read_checkpoint(run / "best.pt").config == {**CONFIG.to_dict(), "image_size": 96}


def _command(run: Path, folder: Path, tiny: Path, *options: str) -> list[str]:
    return ["-m", "SAMMed2DLib", "train", str(folder), "-o", str(run), "--from", str(tiny), *QUICK, *options]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path, a_folder, tiny):
    run = tmp_path / "run"
    command = [sys.executable, *_command(run, a_folder, tiny, "--steps", "100000", "--most-validation", "0")]
    command[-4:-4] = ["--workers", "1"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(3000):
            if (run / "config.json").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert "the same command goes on from there" in told and "Traceback" not in told
    step = int(told.partition("stopped after step ")[2].split()[0])
    longer = [*_command(run, a_folder, tiny, "--steps", str(step + 1), "--most-validation", "0")][2:]
    assert main(longer) == OK
    assert read_checkpoint(run / "last.pt").provenance["steps"] == step + 1


def test_torchrun_trains_with_the_same_command(tmp_path, a_folder, tiny):
    run = tmp_path / "run"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = _command(run, a_folder, tiny, "--steps", "2", "--most-validation", "1", "--batch", "1")
    done = subprocess.run([*launch, *command], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("2 steps of 2 images") == 1  # one process speaks
    assert json.loads((run / "config.json").read_text())["images_per_step"] == 2
