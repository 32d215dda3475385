"""docs/python.md: its examples run, and do what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import slicer
from sequence_kit import a_cine

from SAMMed2DLib.registry.built_in import BUILT_IN

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
CENTRES = {"liver": (60, 10, -95), "spleen": (-95, -20, -95)}


@pytest.fixture
def chest(sammed2d):
    """A volume that stands for CTChest: two bright organs where the examples say they are."""
    from SAMMed2DSlicer.inference import service

    before = service.shared().choice
    service.shared().choose(service.ModelChoice())
    spacing, origin = np.array([2.0, 2.0, 2.5]), np.array([-150.0, -150.0, -245.0])
    k, j, i = np.mgrid[0:100, 0:150, 0:150]
    r, a, s = (origin[n] + spacing[n] * index for n, index in enumerate((i, j, k)))
    values = np.zeros(k.shape, np.int16)
    for (r0, a0, s0), radius in zip(CENTRES.values(), (40, 25), strict=True):
        values[(r - r0) ** 2 + (a - a0) ** 2 + (s - s0) ** 2 < radius**2] = 120
    volume = slicer.util.addVolumeFromArray(values, np.diag([*spacing, 1]) + np.pad(origin[:, None], ((0, 1), (3, 0))))
    volume.SetName("CTChest")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(200, 60)
    a_cine().volume.SetName("Cine")
    yield volume
    service.shared().choose(before)


def test_the_examples_run_one_after_the_other(chest, capsys):
    names = {"slicer": slicer}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/python.md, example {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert re.search(r"^liver: \d+ voxels\nspleen: \d+ voxels\nkidney: Organs has no segment 'kidney'", printed, re.M)
    assert f"{BUILT_IN} True Apache-2.0" in printed
    assert "off the slice" in printed.splitlines()[-1]
    for name, centre in CENTRES.items():
        segment = slicer.util.arrayFromSegmentBinaryLabelmap(names["segmentation"], name, chest)
        i, j, k = ((np.array(centre) - (-150, -150, -245)) / (2, 2, 2.5)).round().astype(int)
        assert segment[k, j, i], name
    assert names["mask_kji"][60].any() and not names["mask_kji"][59].any()


def test_every_example_is_python_and_every_public_method_is_shown(sammed2d):
    import sys

    shown = "".join(BLOCKS)
    logic = sys.modules["SAMMed2D"].SAMMed2DLogic
    ours = [part for part in logic.__mro__ if part.__module__.startswith("SAMMed2D")]
    for name in {name for part in ours for name in vars(part)}:
        if not name.startswith("_"):
            assert f"logic.{name}(" in shown, name
