"""`sammed2d curate`: what it tells, what it writes, how it ends, and how it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from curation_cases import a_block, a_volume, write, write_table

from SAMMed2DLib.__main__ import BAD_INPUT, FAILURE, OK, main
from SAMMed2DLib.cli.curate import bar
from SAMMed2DLib.data.sa_med2d import read_image_file, read_layout, read_manifest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three volumes with labels."""
    for n in range(3):
        write(tmp_path / f"raw/images/{n}.nrrd", a_volume(seed=n))
        write(tmp_path / f"raw/labels/{n}.nrrd", a_block(1 + n))
    return tmp_path / "raw"


def curate(*words: object) -> int:
    return main(["curate", *map(str, words), "--jobs", "1"])


def finished(out: Path) -> set[str]:
    """Names of the cases that have a record."""
    return {path.stem for path in out.glob("cases/raw/*.json") if not path.name.startswith(".")}


def test_a_folder_becomes_data_with_a_report(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert curate(raw, "-o", out, "--split", "1,0,0", "--modality", "CT", "--similar", 0) == OK
    told = capsys.readouterr()
    assert told.out.splitlines()[:2] == [
        "3 images with labels (images + labels)",
        "3 cases, 90 images, 90 masks of 3 classes; 0 cases failed",
    ]
    assert told.err == ""
    assert len(read_layout(out, "train")) == 90
    report = (out / "report.md").read_text(encoding="utf-8")
    for line in (
        "| train | 3 | 90 | 90 |",
        "| CT | 3 | 90 | 90 |",
        "| label_2 | 1 | 30 | 30 |",
        "- 198 slices without",
    ):
        assert line in report
    assert read_image_file(out / "mask_sizes.png").shape == (960, 1520, 3)
    assert read_image_file(out / "samples.png").shape[1] > 6 * 480


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_report_has_no_pictures_and_says_so(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert curate(raw, "-o", out, "--split", "1,0,0", "--similar", 0) == OK
    reason = 'matplotlib is not installed: pip install "sammed2d[plots]"'
    assert f"sammed2d: note: the report has no pictures: {reason}\n" in capsys.readouterr().err
    report = (out / "report.md").read_text(encoding="utf-8")
    assert f"The pictures are left out: {reason}" in report and "| train | 3 | 90 | 90 |" in report
    assert "![](" not in report and not list(out.glob("*.png"))


def test_a_dry_run_lists_pairs_and_what_is_left(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (raw / "labels/2.nrrd").unlink()
    assert curate(raw, "-o", tmp_path / "out", "--dry-run") == OK
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "2 images with labels (images + labels)",
        "1 file left unpaired",
        f"raw / 0: {raw}/images/0.nrrd + 0.nrrd",
        f"raw / 1: {raw}/images/1.nrrd + 1.nrrd",
        f"unpaired: {raw}/images/2.nrrd (no labels)",
    ]
    assert not (tmp_path / "out").exists()


def test_what_is_left_unpaired_is_told_and_in_the_report(raw: Path, tmp_path: Path, capsys) -> None:
    (raw / "labels/2.nrrd").unlink()
    assert curate(raw, "-o", tmp_path / "out") == OK
    assert "note: unpaired:" in capsys.readouterr().err
    assert "2.nrrd (no labels)" in (tmp_path / "out/report.md").read_text(encoding="utf-8")


def test_tables_and_folders_may_be_mixed_and_classes_named(raw: Path, tmp_path: Path) -> None:
    write(tmp_path / "more/x.png", np.arange(4096, dtype=np.uint8).reshape(64, 64))
    write(tmp_path / "more/x_liver.png", a_block(shape=(64, 64)))
    table = write_table(tmp_path / "more/cases.csv", "x.png,x_liver.png,test", columns="image,labels,split")
    (tmp_path / "names.csv").write_text("1,liver\n2,spleen\n3,\n")
    out = tmp_path / "out"
    assert curate(raw, "--cases", table, "--labels", tmp_path / "names.csv", "-o", out, "--split", "1,0,0") == OK
    entries = read_manifest(out)
    assert {(entry.dataset, entry.anatomy) for entry in entries} == {
        ("more", "liver"), ("raw", "liver"), ("raw", "spleen")}  # fmt: skip
    assert {entry.split for entry in entries if entry.dataset == "more"} == {"test"}


def test_a_bad_file_is_told_and_ends_with_1(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (raw / "images/1.nrrd").write_bytes(b"NRRD but not really")
    assert curate(raw, "-o", tmp_path / "out") == FAILURE
    told = capsys.readouterr()
    assert f"sammed2d: error: raw/1: {raw}/images/1.nrrd: cannot be read as an image" in told.err
    assert "1 case failed" in told.out
    assert "Cases that failed" in (tmp_path / "out/report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to curate: give a folder, or a table with --cases"),
        (["no/such/folder"], "no/such/folder is no folder"),
        (["--cases", "gone.csv"], "gone.csv: cannot be opened: No such file"),
        (["RAW", "--split", "80,20"], "--split takes three shares"),
        (["RAW", "--axes", "axial"], "must be some of i, j and k"),
        (["RAW", "--labels", "gone.csv"], "gone.csv: cannot be opened: No such file"),
        (["RAW", "--window", "1"], "must be two numbers"),
        (["RAW", "--max-slices", "-1"], "--max-slices: must be a whole number of 0 or more"),
    ],
)
def test_bad_input_is_one_clear_line(raw: Path, tmp_path: Path, capsys, words: list[str], told: str) -> None:
    assert curate(*(raw if word == "RAW" else word for word in words), "-o", tmp_path / "out") == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sammed2d: error: ") and told in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [".", "images/..", "images"])
def test_what_is_read_is_not_written_into(raw: Path, capsys, name: str) -> None:
    """A folder for pictures that is the input's own would later be emptied, with what was in it."""
    before = sorted(raw.rglob("*"))
    if name == "images":
        assert curate(raw / "images", raw / "labels", "-o", raw) == BAD_INPUT
    else:
        assert curate(raw, "-o", raw / name) == BAD_INPUT
        assert "what is read lies there; choose another folder for -o" in capsys.readouterr().err
    assert sorted(raw.rglob("*")) == before


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_that_is_a_file_is_refused(raw: Path, tmp_path: Path, capsys, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    assert curate(raw, "-o", tmp_path / name) == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'file'} is a file; give the name of a folder" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_a_second_call_says_what_was_finished(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    curate(raw, "-o", tmp_path / "out")
    capsys.readouterr()
    assert curate(raw, "-o", tmp_path / "out", "--progress") == OK
    assert "3 of the cases were finished before" in capsys.readouterr().out


def test_the_bar_fills() -> None:
    assert bar(1, 4, 2.4) == "[######..................] 1/4 cases, 2 s"
    assert bar(0, 0, 0) == "[........................] 0/0 cases, 0 s"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C cannot be sent to one process alone")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_keeps_finished_cases_and_the_next_call_goes_on(raw: Path, tmp_path: Path, jobs: int, capfd) -> None:
    for n in range(3, 40):
        write(raw / f"images/{n}.nrrd", a_volume((60, 70, 80), seed=n))
        write(raw / f"labels/{n}.nrrd", a_block(1, (60, 70, 80), stop=50))
    out = tmp_path / "out"
    words = ["curate", str(raw), "-o", str(out), "--axes", "k", "--jobs", str(jobs)]
    call = [sys.executable, "-m", "SAMMed2DLib", *words]
    process = subprocess.Popen(call, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    began = time.monotonic()
    while not finished(out) and time.monotonic() < began + 300:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes get it
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130, told
    assert told.split("\n")[1:] == ["sammed2d: stopped; finished cases are kept, the same call goes on", ""]
    kept = finished(out)
    assert 0 < len(kept) < 40 and not (out / "manifest.tsv").exists()
    for path in raw.glob("*/*.nrrd"):  # all the others would take long
        if path.stem not in kept | {"39"}:
            path.unlink()
    assert curate(raw, "-o", out, "--axes", "k") == OK
    assert f"{len(kept)} of the cases were finished before" in capfd.readouterr().out
    assert {entry.case for entry in read_manifest(out)} == kept | {"39"}
