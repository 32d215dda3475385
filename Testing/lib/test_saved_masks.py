"""Masks that an evaluation keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_evaluation import _RowsOfClicks, two_masks

from SAMMed2DLib.data.sa_med2d import MaskEntry, read_image_file
from SAMMed2DLib.evaluation import EvaluationError, EvaluationOptions, evaluate_image
from SAMMed2DLib.evaluation.saved_masks import MaskFolder

OPTIONS = EvaluationOptions(clicks=(1, 3), box_jitters=(0.1,), baselines=True)


def test_the_masks_of_each_kind_of_prompt_are_kept_under_the_names_of_the_data_set(tmp_path):
    item = two_masks()
    results = list(evaluate_image(_RowsOfClicks(), item, OPTIONS, masks=MaskFolder(tmp_path / "found", OPTIONS)))
    names = sorted(path.relative_to(tmp_path / "found").as_posix() for path in tmp_path.rglob("*.png"))
    folders = ("1_click", "3_clicks", "box", "box_10")
    assert names == [f"{folder}/set/masks/{n}.png" for folder in folders for n in (0, 1)]
    found = read_image_file(tmp_path / "found/box/set/masks/0.png")
    assert found.shape == (40, 40) and set(np.unique(found)) == {0, 255}
    expected = np.zeros((40, 40), bool)
    expected[4:36, 10:20] = True
    np.testing.assert_array_equal(found > 0, expected)
    assert results[0].dice["box"] == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "a:b?.png", "..", "/", "CON\\x.png", "x\n.png"])
def test_masks_stay_in_their_folder_whatever_they_are_called(tmp_path, name):
    folder = MaskFolder(tmp_path / "found", OPTIONS)
    for dataset in ("", "..", "a/b"):
        folder.save(MaskEntry(name, "image.png", "", dataset), "box", np.ones((4, 4), bool))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 3 and all((tmp_path / "found/box") in path.parents for path in written)
    assert all(path.suffix == ".png" for path in written)


def test_names_that_become_alike_stay_apart():
    folder = MaskFolder(Path("found"), OPTIONS)
    paths = {
        folder.path_of(MaskEntry(name, "", "", "set"), "box") for name in ("a?.png", "a*.png", "a_.png", "../a_.png")
    }
    assert len(paths) == 4


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "found").write_bytes(b"a file")
    folder = MaskFolder(tmp_path / "found", OPTIONS)
    with pytest.raises(EvaluationError, match=r"found.*cannot be written"):
        list(evaluate_image(_RowsOfClicks(), two_masks(), OPTIONS, masks=folder))
