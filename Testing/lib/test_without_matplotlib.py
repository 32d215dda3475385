"""Where matplotlib is missing: only what draws asks for it, in one line and before any work; the rest goes on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main
from SAMMed2DLib.cli import segment as segment_command
from SAMMed2DLib.plots import figure
from SAMMed2DLib.training.run.run_log import RunLog

ROOT = Path(__file__).resolve().parents[2]
ADVICE = 'matplotlib is not installed: pip install "sammed2d[plots]"'

pytestmark = pytest.mark.usefixtures("no_matplotlib")


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume, in the current folder."""
    array_kji = np.random.default_rng(0).integers(0, 100, (5, 40, 60)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array_kji), str(tmp_path / "ct.nrrd"))
    monkeypatch.chdir(tmp_path)
    return Path("ct.nrrd")


SEGMENT = "segment ct.nrrd --slice 2 --box 10,10,40,30 -o out.seg.nrrd"


@pytest.mark.parametrize(
    "words",
    [
        f"{SEGMENT} --png out.png",
        f"{SEGMENT} --png out.png --rulers",
        "show ct.nrrd -o out.png",
        "propagate ct.nrrd --mask ct.nrrd -o out.seg.nrrd --png out.png",
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused_in_one_line_before_any_work(image, capsys, monkeypatch, words):
    monkeypatch.setattr(segment_command, "read_volume", None)
    assert main(words.split()) == BAD_INPUT
    message = capsys.readouterr().err
    assert message == f"sammed2d: error: pictures are drawn by matplotlib; {ADVICE}\n"
    assert [path.name for path in Path().iterdir()] == ["ct.nrrd"]


def test_segments_are_written_without_it(image, tiny_model, capsys):
    assert main([*SEGMENT.split(), "--model", str(tiny_model), "--json", "report.json"]) == OK
    assert Path("out.seg.nrrd").exists() and "matplotlib" not in capsys.readouterr().err


def test_a_training_leaves_out_its_curves_only(tmp_path):
    log = RunLog(tmp_path)
    log.training({"step": 1, "loss": 0.5})
    log.draw()
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


def test_a_broken_one_is_told_with_what_is_wrong(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr("builtins.__import__", _broken(__import__))
    assert figure.missing() == (
        'matplotlib cannot be imported (numpy is too new): pip install "sammed2d[plots]" --force-reinstall'
    )


def _broken(true_import):
    def broken(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError("numpy is\ntoo new")
        return true_import(name, *rest)

    return broken


def test_masks_and_prompts_are_drawn_without_it():
    script = """
import sys
sys.modules["matplotlib"] = None
import numpy as np
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView
view = SliceView.of(SlicePlane.of_axis((30, 20, 1), 0, 0), np.eye(4))
layers, prompts = [MaskLayer(np.ones((20, 30), bool), (1, 0, 0))], [Prompts.of(positive=[(3, 3)])]
print(draw_slice(np.zeros((20, 30, 3), np.uint8), view, layers, prompts, letters=False).shape)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "(341, 512, 3)\n", done.stderr


def test_the_extension_in_slicer_draws_nothing_by_it():
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "SAMMed2D").rglob("*.py")}
    drawing = re.compile(r"matplotlib|SAMMed2DLib\.plots|from SAMMed2DLib import .*\bplots\b")
    assert sources and [path.name for path, text in sources.items() if drawing.search(text)] == []
