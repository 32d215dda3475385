"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder_with_a_ct(tmp_path, monkeypatch):
    """A folder with ct.nii.gz, in which two bright organs lie where the README's prompts are."""
    volume_kji = np.full((60, 200, 260), -100, np.int16)
    volume_kji[:, 65:136, 85:176] = 120
    volume_kji[:, 80:101, 190:215] = 150
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume_kji), str(tmp_path / "ct.nii.gz"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_runs(folder_with_a_ct):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["found"].mask.shape == (200, 260) and names["found"].mask[75:125, 95:165].mean() > 0.5
    assert not names["better"].mask[75, 150] and not (names["better"].mask & ~names["found"].mask).any()


def test_the_first_command_runs(folder_with_a_ct):
    commands = re.findall(r"^sammed2d segment ct\.nii\.gz (?:.*\\\n)*.*$", README, flags=re.MULTILINE)
    assert main(shlex.split(commands[0].replace("\\\n", " "))[1:]) == 0
    assert {"organs.seg.nrrd", "organs.png"} <= {path.name for path in folder_with_a_ct.iterdir()}


def test_every_link_and_picture_is_there():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []
