"""docs/demo.ipynb runs from top to bottom, and is committed without what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from SAMMed2DLib.__main__ import OK, main
from SAMMed2DLib.io.segmentation_io import read_segmentation

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "demo.ipynb"


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["language_info"]["name"]) == (4, "python")
    return content["cells"]


def test_it_is_committed_without_outputs(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5 and len({cell["id"] for cell in cells}) == len(cells)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_it_runs_and_its_command_gives_the_same_mask(cells, tmp_path, monkeypatch, capsys):
    import matplotlib

    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
    names["plt"].close("all")
    assert names["dice"](names["whole"], names["reference"]) > 0.85
    assert "look at slice" in capsys.readouterr().out
    (line,) = [line for cell in cells for line in cell["source"] if line.startswith("sammed2d segment")]
    words = line.replace("CTChest4.nrrd", str(names["data"] / "CTChest4.nrrd")).replace("lung.seg", "again.seg").split()
    assert main(words[1:]) == OK
    expected = read_segmentation("lung.seg.nrrd").mask("right lung")
    assert (read_segmentation("again.seg.nrrd").mask("Segment_1") == expected).all()
