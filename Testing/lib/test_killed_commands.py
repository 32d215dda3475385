"""`curate`, `evaluate` and `batch`, killed at any moment: the same call again gives what one call would have given."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from curation_cases import a_block, a_volume, write, write_table
from disk_states import Contents, contents, differing, full_disk, recorded, restore
from training_cases import write_folder

from SAMMed2DLib.__main__ import BAD_INPUT, FAILURE, OK, main
from SAMMed2DLib.data.curation import curation_report
from SAMMed2DLib.evaluation import evaluation_run
from SAMMed2DLib.evaluation.report import evaluation_report
from SAMMed2DLib.system.locks import sole_use

OF_THE_USER = {"notes.txt": b"mine", ".notes-0123456789ab.part.txt": b"mine too"}
Command = Callable[[Path], int]
SMALL = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def curate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Two volumes to curate."""
    monkeypatch.setattr(curation_report, "size_chart", lambda *rest: SMALL)  # drawing is what takes longest
    monkeypatch.setattr(curation_report, "sample_sheet", lambda *rest: SMALL)
    for n in range(2):
        write(tmp_path / f"raw/images/{n}.nrrd", a_volume((6, 16, 16), seed=n))
        write(tmp_path / f"raw/labels/{n}.nrrd", a_block(1, (6, 16, 16), 2, 5))
    options = ["--axes", "k", "--similar", "0", "--jobs", "1", "--split", "1,0,0"]
    return lambda folder: main(["curate", str(tmp_path / "raw"), "-o", str(folder), *options])


@pytest.fixture
def evaluate(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Two images with two masks each to evaluate."""
    monkeypatch.setattr(evaluation_run, "measure_speeds", lambda *rest: [])  # they differ from run to run
    monkeypatch.setattr(evaluation_report, "draw_contact_sheet", lambda *rest, **named: SMALL)
    for name in ("dice_by_prompt", "size_plot"):
        monkeypatch.setattr(evaluation_report.evaluation_charts, name, lambda *rest: SMALL)
    data = write_folder(tmp_path / "data", train=0, validation=2)
    words = ["--model", str(tiny_model), "--device", "cpu", "--split", "validation", "--no-zoom"]
    quick = ["--clicks", "1", "--jitter", "0", "--most-clicks", "0", "--tolerance", "0"]
    return lambda folder: main(["evaluate", str(data), "-o", str(folder), *words, *quick])


@pytest.fixture
def batch(tmp_path: Path, tiny_model: Path) -> Command:
    """Two images to segment, with pictures."""
    for name in "ab":
        write(tmp_path / f"in/{name}.nrrd", a_volume((3, 24, 24), seed=ord(name)))
    prompts = {"segments": [{"name": "ball", "prompts": [{"slice": 1, "axis": "k", "box": [4, 4, 20, 20]}]}]}
    (tmp_path / "in/p.json").write_text(json.dumps(prompts))
    out = tmp_path / "folder" / "out"
    lines = [f"{name}.nrrd,{out}/{name}.seg.nrrd,p.json,{out}/{name}.png" for name in "ab"]
    table = write_table(tmp_path / "in/cases.csv", *lines, columns="image,output,prompts,png")

    def run(folder: Path) -> int:
        where = ["--results", str(folder / "results.csv"), "--model", str(tiny_model), "--device", "cpu", "--no-zoom"]
        return main(["batch", str(table), *where])

    return run


def essence(state: Contents) -> Contents:
    """All but what tells how long something took, when files were changed, and where the folder is."""
    told = dict(state)
    if rows := told.get("results.csv"):
        told["results.csv"] = re.sub(rb",\d+\.\d\d,", b",,", rows)
    return told


COMMANDS = ("curate", "evaluate", "batch")


@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_operation_the_same_call_gives_the_same(
    command: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run: Command = request.getfixturevalue(command)
    folder = tmp_path / "folder"  # the same one each time: outputs tell where they are
    restore(folder, dict(OF_THE_USER))
    with recorded(folder) as states:
        assert run(folder) == OK
    whole = contents(folder)
    assert not [name for name in whole if ".lock" in name or (".part" in name and "notes" not in name)]
    different = differing(states)
    assert len(different) > 15
    for number, state in enumerate(different):
        folder.rename(tmp_path / f"before {number}")
        restore(folder, state)
        assert run(folder) == OK, state.keys()
        again = contents(folder)
        assert again.keys() == whole.keys(), state.keys()
        differ = [name for name, data in essence(whole).items() if essence(again)[name] != data]
        assert not differ, state.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_in_one_line_and_the_same_call_goes_on_later(
    command: str, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    run: Command = request.getfixturevalue(command)
    folder = tmp_path / "folder"
    folder.mkdir()
    assert run(folder) == OK
    whole = essence(contents(folder))
    for free in range(5):
        folder.rename(tmp_path / f"before {free}")
        folder.mkdir()
        capsys.readouterr()
        with full_disk(free):
            assert run(folder) == FAILURE
        (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sammed2d: error: ")]
        assert "No space left on device" in told and "free some" in told
        assert not [name for name in contents(folder) if ".part" in name or ".lock" in name], free
        assert run(folder) == OK
        assert essence(contents(folder)) == whole, free


@pytest.mark.parametrize(
    ("command", "locked", "part", "words"),
    [
        ("curate", "manifest.tsv", ".manifest-0123456789ab.part.tsv", "another process is curating into it"),
        ("evaluate", "masks.csv", ".summary-0123456789ab.part.json", "another evaluation is writing there"),
        ("batch", "results.csv", ".results-0123456789ab.part.csv", "another batch is using it"),
    ],
)
def test_what_another_process_is_writing_is_left_alone(
    command: str, locked: str, part: str, words: str, tmp_path: Path, request: pytest.FixtureRequest, capsys
) -> None:
    run: Command = request.getfixturevalue(command)
    restore(tmp_path / "folder", {part: b"on its way"})
    with sole_use(tmp_path / "folder" / locked):
        assert run(tmp_path / "folder") == BAD_INPUT
        assert words in capsys.readouterr().err
        assert (tmp_path / "folder" / part).exists()
    assert run(tmp_path / "folder") == OK
    assert not (tmp_path / "folder" / part).exists()


def test_pictures_that_were_to_be_made_anew_are_not_taken_for_the_old_ones(
    curate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while a case is made anew with other options, the next call with the first options makes it again."""
    folder = tmp_path / "folder"
    assert curate(folder) == OK
    whole = contents(folder)
    with recorded(folder) as states:
        assert main(["curate", str(tmp_path / "raw"), "-o", str(folder), "--axes", "k", "--jobs", "1", "--min-share",
                     "0.02", "--similar", "0", "--split", "1,0,0"]) == OK  # fmt: skip
    for number, state in enumerate(differing(states)):
        folder.rename(tmp_path / f"before {number}")
        restore(folder, state)
        assert curate(folder) == OK
        assert contents(folder) == whole, number


def members_alive(group: int) -> list[int]:
    """Processes of a process group that have not ended."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
            alive += [int(path.parent.name)] if int(of_group) == group and state != "Z" else []
    return alive


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_when_curate_is_killed_its_processes_end_and_the_next_call_goes_on(tmp_path: Path) -> None:
    shape = (40, 60, 60)
    for n in range(8):
        write(tmp_path / f"raw/images/{n}.nrrd", a_volume(shape, seed=n))
        write(tmp_path / f"raw/labels/{n}.nrrd", a_block(1, shape, stop=36))
    out, words = tmp_path / "out", ["--axes", "k", "--split", "1,0,0", "--jobs", "2"]
    call = [sys.executable, "-m", "SAMMed2DLib", "curate", str(tmp_path / "raw"), "-o", str(out), *words]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(call, cwd=root, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: list(out.glob("cases/raw/[0-9].json")))
        process.kill()
    until(lambda: not members_alive(process.pid), seconds=60)
    kept = len(list(out.glob("cases/raw/[0-9].json")))
    assert kept < 8 and not (out / "manifest.tsv").exists()
    for folder in (out, tmp_path / "whole"):
        assert main(["curate", str(tmp_path / "raw"), "-o", str(folder), *words[:-1], "1"]) == OK
    assert contents(out) == contents(tmp_path / "whole")


def until(is_so: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
