"""What helps a user whose torch is missing needs none: help, version, doctor, the list of models."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

RUN_ALL = """
import contextlib, io, json, sys
from SAMMed2DLib.__main__ import main

told = {}
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    told[" ".join(words)] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """In which no process can import torch."""
    folder = tmp_path_factory.mktemp("without-torch")
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "SAMMED2D_MODELS_DIR": str(folder / "models"), "COLUMNS": "200"}


def run_all(environment, *calls):
    """Exit code, stdout and stderr of several calls of the command line, in one process without torch."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, json.dumps([call.split() for call in calls])],
        env=environment,
        cwd=environment["SAMMED2D_MODELS_DIR"].removesuffix("models"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_helps(environment):
    calls = ["--version", "--help", *(f"{name} --help" for name in COMMANDS)]
    actions = [f"models {action} --help" for action in ("list", "download", "add", "remove")]
    told = run_all(environment, *calls, *actions)
    assert {call: code for call, (code, _, _) in told.items()} == dict.fromkeys(told, 0)
    assert all(name in told["--help"][1] for name in COMMANDS)
    assert [call for call, (_, out, _) in told.items() if call != "--version" and not out.startswith("usage:")] == []


def test_doctor_and_models_say_what_there_is(environment):
    told = run_all(environment, "models list", "models list --json", "doctor")
    assert told["models list"][0] == told["models list --json"][0] == 0
    assert "sam-med2d_b: SAM-Med2D ViT-B" in told["models list"][1]
    code, report, _ = told["doctor"]
    assert code == 0
    assert "torch: not installed; the built-in model runs on NumPy" in report and "pip install" in report
    assert "sam-med2d-tiny: 19 MiB, checksum right" in report


def test_what_needs_torch_says_so_in_one_line(environment):
    missing, train, export = run_all(
        environment, "models add mine nothing.pt", "train . -o run", "export published out.pth"
    ).values()
    assert missing[0] in (1, 2) and "Traceback" not in missing[2]
    for code, _, error in (train, export):
        assert code == 1 and error.endswith("PyTorch, and it is not installed: pip install torch\n"), error
    assert [error.count("\n") for _, _, error in (missing, train, export)] == [1, 1, 1]


def test_a_slice_is_shown(environment):
    folder = Path(environment["SAMMED2D_MODELS_DIR"]).parent
    image = np.arange(24 * 32, dtype=np.uint16).reshape(1, 24, 32)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(image), str(folder / "image.nrrd"))
    ((code, out, _),) = run_all(environment, "show image.nrrd -o shown.png").values()
    assert code == 0 and out == "shown.png written: the only slice, 32 x 24 px\n"
    assert SimpleITK.ReadImage(str(folder / "shown.png")).GetSize() > (800, 600)


def test_the_built_in_model_segments_on_numpy(environment):
    folder = Path(environment["SAMMED2D_MODELS_DIR"]).parent
    y, x = np.mgrid[:96, :120]
    disc = np.hypot(x - 50, y - 40) < 20
    noise = np.random.default_rng(0).normal(0, 8, disc.shape)
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray((100 * disc + noise).astype(np.int16)[None]), str(folder / "disc.nrrd")
    )
    box = "segment disc.nrrd --slice 0 --box 28,18,73,63"
    told = run_all(
        environment,
        f"{box} -o out.nrrd --json out.json",
        "segment disc.nrrd --slice 0 --point 50,40 -o click.nrrd",
        "segment disc.nrrd --prompts out.json -o again.nrrd --engine numpy",
        f"{box} -o no.nrrd --engine torch",
        f"{box} -o no.nrrd --device cuda",
    )
    *good, explicit, cuda = told.values()
    assert [code for code, _, _ in good] == [0, 0, 0], told
    assert explicit[0] == cuda[0] == 2 and "pip install torch" in explicit[2] and "pip install torch" in cuda[2]
    assert explicit[2].count("\n") == cuda[2].count("\n") == 1
    masks = [
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / f"{name}.nrrd")))[0] != 0
        for name in ("out", "click", "again")
    ]
    assert [round(2 * (mask & disc).sum() / (mask.sum() + disc.sum()), 1) for mask in masks] == [1.0, 1.0, 1.0]
    np.testing.assert_array_equal(masks[0], masks[2])
    assert json.loads((folder / "out.json").read_text())["engine"] == "numpy"


def test_the_model_is_ready_at_once(environment):
    """From nothing imported to the first click that can be answered; 1 s is what a user may wait for."""
    script = """
import time
began = time.process_time()
from SAMMed2DLib.inference.predictor import load_predictor
from SAMMed2DLib.inference.session import Session
session = Session(load_predictor())
print(session.predictor.engine.name, time.process_time() - began)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    engine, seconds = done.stdout.split()
    assert engine == "numpy" and float(seconds) < 1


def test_the_built_in_model_is_measured_on_labelled_images(environment):
    folder = Path(environment["SAMMED2D_MODELS_DIR"]).parent
    disc = np.hypot(*np.mgrid[-40:40, -50:50]) < 20
    for name, picture in (("image", 60 + 100 * disc), ("mask", 255 * disc)):
        (folder / "labelled").mkdir(exist_ok=True)
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(picture.astype(np.uint8)), str(folder / f"labelled/{name}.png")
        )
    (folder / "labelled/label2image_test.json").write_text(json.dumps({"mask.png": "image.png"}))
    quick = "--clicks 1 --most-clicks 0 --jitter 0"
    told = run_all(
        environment,
        f"evaluate labelled -o report {quick}",
        f"evaluate labelled -o refused {quick} --protocol published",
    )
    good, published = told.values()
    assert good[0] == 0, good
    assert json.loads((folder / "report/settings.json").read_text())["engine"] == "numpy"
    assert published[0] == 2, published
    assert "pip install torch" in published[2] and "Traceback" not in published[2]


def test_the_demo_page_has_a_model(environment):
    script = """
import numpy as np
from SAMMed2DLib.demo_page.model_shelf import ModelShelf
from SAMMed2DLib.inference.prompts import Prompts
disc = np.hypot(*np.mgrid[-40:40, -50:50]) < 20
image = np.repeat(np.uint8(60 + 100 * disc)[..., None], 3, axis=-1)
shelf = ModelShelf()
found = shelf.answer(shelf, "sam-med2d-tiny", image, Prompts.of(box=(30, 20, 70, 60)))
dice = 2 * (found.mask & disc).sum() / (found.mask.sum() + disc.sum())
print(shelf.predictor("sam-med2d-tiny").engine.name, round(dice, 1))
shelf.close()
"""
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["numpy", "1.0"], done.stderr


def test_segments_are_carried_through_the_slices(environment):
    folder = Path(environment["SAMMED2D_MODELS_DIR"]).parent
    ball = np.zeros((5, 24, 32), np.uint8)
    ball[:, 6:18, 8:24] = 1
    keyframe = np.zeros_like(ball)
    keyframe[2] = ball[2]
    for name, array in (("ct", 100 * ball), ("key", keyframe)):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(folder / f"{name}.nrrd"))
    told = run_all(environment, "propagate ct.nrrd --mask key.nrrd -o out.nrrd --axis k")
    assert [code for code, _, _ in told.values()] == [0], told
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / "out.nrrd"))), ball)


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_come_at_once(option):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "SAMMed2DLib", option], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3
