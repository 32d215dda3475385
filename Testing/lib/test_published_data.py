"""Training and evaluation on data as the published repository ships them, from any working directory."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from training_cases import write_picture

from SAMMed2DLib.__main__ import BAD_INPUT, OK, main

CASES = {"amos_0004_31": (64, 64), "amos_0006_90": (58, 64), "s0619_32": (36, 52), "s0114_111": (31, 45)}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with `data_demo`, whose lists name files from the repository's root; we are elsewhere."""
    root = tmp_path / "SAM-Med2D"
    rng = np.random.default_rng(0)
    masks_of: dict[str, list[str]] = {}
    for name, (height, width) in CASES.items():
        picture = rng.integers(0, 60, (height, width, 1)).astype(np.uint8)
        image = f"data_demo/images/{name}.png"
        for instance, organ in enumerate(("liver", "left_kidney")):
            mask = np.zeros((height, width), np.uint8)
            mask[5 + 9 * instance : 20 + 9 * instance, 6:28] = 255
            picture[mask > 0] += 70
            masks_of.setdefault(image, []).append(f"data_demo/masks/{name}_{organ}_000.png")
            write_picture(root / masks_of[image][-1], mask)
        write_picture(root / image, np.repeat(picture, 3, axis=2))
    lists = {
        "image2label_train.json": masks_of,
        "label2image_test.json": {mask: image for image, masks in masks_of.items() for mask in masks},
    }
    for name, content in lists.items():
        (root / "data_demo" / name).write_text(json.dumps(content, indent=4))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return root


def test_training_and_evaluation_run_on_the_demo_data(repository: Path, tiny_model: Path, capsys) -> None:
    quick = ["--steps", "1", "--batch", "2", "--masks", "2", "--rounds", "1", "--workers", "0", "--device", "cpu"]
    data = str(repository / "data_demo")
    assert main(["train", data, "-o", "run", "--from", str(tiny_model), "--most-validation", "2", *quick]) == OK
    told = capsys.readouterr().err
    assert "4 images to train on, 2 of them to choose the best weights by" in told and "left out" not in told
    words = ["--model", "run/best.pt", "--device", "cpu", "--clicks", "1", "--jitter", "0", "--most-clicks", "0"]
    assert main(["evaluate", data, "-o", "report", "--protocol", "published", *words]) == OK
    with Path("report/masks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["case"], row["slice"]) for row in rows[::2]] == [
        (f"images/{name}.png", *name.rsplit("_", 1)) for name in CASES
    ]
    assert [row["anatomy"] for row in rows[:2]] == ["liver", "left_kidney"]
    assert {row["case"] for row in rows} == {name.rsplit("_", 1)[0] for name in CASES}


def test_lists_that_were_moved_away_need_the_root(repository: Path, tiny_model: Path, capsys) -> None:
    data = repository.parent / "lists"
    data.mkdir()
    for path in (repository / "data_demo").glob("*.json"):
        path.rename(data / path.name)
    words = ["--model", str(tiny_model), "--device", "cpu", "--clicks", "1", "--jitter", "0", "--most-clicks", "0"]
    assert main(["evaluate", str(data), "-o", "report", *words]) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "data_demo/images/amos_0004_31.png was tried in" in line and "--root" in line
    assert not Path("report").exists()
    assert main(["evaluate", str(data), "-o", "report", "--root", str(repository), "--most", "1", *words]) == OK
