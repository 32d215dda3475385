"""The commands of docs/*.md are commands that there are, and those about training work on a folder of four cases."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from curation_cases import write

from SAMMed2DLib.__main__ import BAD_INPUT, OK, _joined, main, make_parser
from SAMMed2DLib.data.sa_med2d import JSON_OF_SPLIT, read_layout
from SAMMed2DLib.registry.known_models import MODELS_DIR_VARIABLE, find

DOCS = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
QUICK = {
    "train": "--steps 1 --batch 1 --masks 1 --rounds 1 --workers 0 --most-validation 1 --device cpu",
    "evaluate": "--clicks 1 --jitter 0 --most-clicks 0 --device cpu",
    "curate": "--jobs 1",
}


def commands_in(page: Path) -> list[str]:
    """The command lines in the blocks of a page, without their comments."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0] for line in lines if re.match(r"([A-Z_]+=\S+ )?sammed2d ", line)]


@pytest.mark.parametrize("page", [page for page in DOCS if commands_in(page)], ids=lambda page: page.stem)
def test_documented_commands_and_options_are_known(page: Path) -> None:
    for command in commands_in(page):
        words = shlex.split(command)
        words = _joined(words[words.index("sammed2d") + 1 :])
        make_parser(words).parse_args(words)


def test_examples_name_models_that_there_are() -> None:
    root = DOCS[0].parents[1]
    pages = [*DOCS, root / "README.md", *root.glob("SAMMed2DLib/cli/**/*.py")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = re.findall(r"^ *sammed2d .*--model ([\w-]+)(?= |$)", text, re.MULTILINE)
    assert {find(name).name for name in named} >= {"sam-med2d_b"}


def write_cases(folder: Path, count: int) -> None:
    """Pictures of a bright disc each, with its mask."""
    rows, columns = np.mgrid[:64, :64]
    for number in range(count):
        disc = (rows - 30) ** 2 + (columns - 24 - 2 * number) ** 2 < 18**2
        noise = np.random.default_rng(number).integers(0, 60, disc.shape)
        write(folder / f"images/patient{number}.png", (noise + 120 * disc).astype(np.uint8))
        write(folder / f"labels/patient{number}.png", disc.astype(np.uint8))


@pytest.mark.parametrize("cases", [2, 4])
def test_the_commands_of_the_training_page_work_one_after_another(
    cases: int, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path / "models"))
    write_cases(tmp_path / "RAW", cases)
    commands = [shlex.split(line)[1:] for line in commands_in(next(page for page in DOCS if page.stem == "training"))]
    assert [words[0] for words in commands[:4]] == ["curate", "train", "evaluate", "models"]
    for words in commands[:4]:
        start = ["--from", str(tiny_model)] if words[0] == "train" else []
        assert main([*words, *start, *QUICK.get(words[0], "").split()]) == OK, capsys.readouterr().err
    lists = {split: Path("data") / name for split, name in JSON_OF_SPLIT.items()}
    found = {split: len(read_layout("data", split)) for split, path in lists.items() if path.exists()}
    assert found == ({"train": 2, "validation": 1, "test": 1} if cases == 4 else {"train": 1, "test": 1})
    assert (tmp_path / "models" / "mine.pt").exists() and (tmp_path / "report" / "report.md").exists()


def test_with_a_single_case_evaluate_says_what_is_missing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_cases(tmp_path / "RAW", 1)
    assert main(["curate", "RAW", "-o", "data", "--jobs", "1"]) == OK
    assert "too few cases for the split test; curate more" in capsys.readouterr().err
    assert main(["evaluate", "data", "-o", "report"]) == BAD_INPUT
    assert "there is no label2image_test.json, only train; curate more cases" in capsys.readouterr().err
