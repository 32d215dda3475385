"""`sammed2d batch`: tables of cases to outputs and a results table; what is wrong with a table is told at once."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from cylinder import SHAPE_KJI, the_cylinder

from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, FAILURE, OK, main
from SAMMed2DLib.cli import batch as batch_command
from SAMMed2DLib.cli import segment as segment_command
from SAMMed2DLib.io.segmentation_io import Segment, read_segmentation, write_segmentation
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.registry.built_in import BUILT_IN
from SAMMed2DLib.system.files import StagedFiles, remove_leftovers

ROOT = Path(__file__).resolve().parents[2]
BOX = [11, 9, 30, 28]


def write_image(path: Path, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).integers(0, 40, SHAPE_KJI)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray((noise + 300 * the_cylinder()).astype(np.int16)), str(path))
    return path


def write_prompts(path: Path, slice_number: int = 5, name: str = "ball") -> Path:
    prompts = [{"slice": slice_number, "axis": "k", "box": BOX}]
    path.write_text(json.dumps({"segments": [{"name": name, "prompts": prompts}]}))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.nrrd, b.nrrd, c.nrrd, prompts p.json and F.mrk.json and R.mrk.json, keyframes key.nii.gz."""
    for seed, name in enumerate("abc"):
        write_image(tmp_path / f"{name}.nrrd", seed)
    write_prompts(tmp_path / "p.json")
    point = {"label": "F-1", "position": [20, 18, 5], "positionStatus": "defined"}
    roi = {"center": [20, 18, 5], "size": [18, 18, 3], "orientation": np.eye(3).ravel().tolist(), "roiType": "Box"}
    for name, markup in (("F", {"type": "Fiducial", "controlPoints": [point]}), ("R", {"type": "ROI"} | roi)):
        (tmp_path / f"{name}.mrk.json").write_text(json.dumps({"markups": [{"coordinateSystem": "LPS"} | markup]}))
    keys = np.zeros(SHAPE_KJI, np.uint8)
    keys[[3, 8]] = the_cylinder()[[3, 8]]
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(keys), str(tmp_path / "key.nii.gz"))
    return tmp_path


def write_cases(folder: Path, *lines: str, head: str = "image,output,prompts") -> Path:
    (folder / "cases.csv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return folder / "cases.csv"


@pytest.fixture
def batch(folder: Path, tiny_model: Path) -> Any:
    def run(*words: object, model: object = tiny_model) -> int:
        batch_command.model_of.cache_clear()
        where = [folder / "cases.csv", "--model", model, "--device", "cpu"]
        return main(["batch", *map(str, [*where, *words])])

    return run


def rows_in(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["case"] for row in rows}) == len(rows)
    return {row["case"]: row for row in rows}


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in rows_in(folder).values()]


def slices_of(path: Path, name: str) -> list[int]:
    return np.flatnonzero(read_segmentation(path).mask(name).any(axis=(1, 2))).tolist()


# What is done


def test_the_built_in_model_does_prompts_markups_and_masks(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_cases(
        folder,
        "one,a.nrrd,out/one.seg.nrrd,p.json,,,",
        "two,b.nrrd,out/two.nii.gz,F.mrk.json,,lesion,",
        "three,b.nrrd,out/three.seg.nrrd,R.mrk.json,,lesion,",
        'four,c.nrrd,out/deep/four.seg.nrrd,,key.nii.gz,,"3,8"',
        head="case,image,output,prompts,mask,segment,range",
    )
    assert main(["batch", str(table), "--device", "cpu", "--window", "150,300"]) == OK
    assert slices_of(folder / "out" / "one.seg.nrrd", "ball") == [5]
    assert slices_of(folder / "out" / "two.nii.gz", "Segment_1") == [5]
    assert slices_of(folder / "out" / "three.seg.nrrd", "lesion") == [4, 5, 6]
    assert slices_of(folder / "out" / "deep" / "four.seg.nrrd", "Segment_1") == list(range(3, 9))
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[:3] for line in lines[:4]] == [
        [f"[{n}/4]", f"{name}:", "done"] for n, name in enumerate(("one", "two", "three", "four"), 1)
    ]
    assert lines[4].startswith("4 cases: 4 done; see ") and len(lines) == 5 and shown.err == ""
    row = rows_in(folder)["one"]
    count = read_segmentation(folder / "out" / "one.seg.nrrd").mask("ball").sum()
    assert (row["voxels"], row["model"], len(row["checksum"])) == (f"ball={count}", BUILT_IN, 64)
    assert "where the fewest have a mask" in rows_in(folder)["four"]["notes"]


def test_a_case_with_prompts_and_a_mask_corrects_the_mask(folder: Path, batch: Any) -> None:
    """A click beside the object takes away near itself, and each segment of the file comes out."""
    before = np.zeros(SHAPE_KJI, np.uint8)
    before[5, 8:28, 10:30] = before[9, 2:6, 2:6] = 1
    before[5, 30:34, 2:6] = 2
    for name, values in (("one.nii.gz", before == 1), ("two.nii.gz", before)):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.uint8)), str(folder / name))
    point = {"label": "-", "position": [28, 26, 5], "positionStatus": "defined"}
    markup = {"type": "Fiducial", "controlPoints": [point]}
    (folder / "N.mrk.json").write_text(json.dumps({"markups": [{"coordinateSystem": "LPS"} | markup]}))
    prompts = {"segments": [{"name": "Segment_2", "prompts": [{"slice": 5, "points": [[3, 31, 0]]}]}]}
    (folder / "second.json").write_text(json.dumps(prompts))
    write_cases(
        folder,
        "one,a.nrrd,one.seg.nrrd,N.mrk.json,one.nii.gz,",
        "named,b.nrrd,named.seg.nrrd,N.mrk.json,two.nii.gz,Segment_1",
        "file,c.nrrd,file.seg.nrrd,second.json,two.nii.gz,",
        "which,c.nrrd,which.seg.nrrd,N.mrk.json,two.nii.gz,",
        head="case,image,output,prompts,mask,segment",
    )
    assert batch(model=BUILT_IN) == FAILURE
    assert [row["status"] for row in rows_in(folder).values()] == ["done", "done", "done", "failed"]
    assert "which segment?" in rows_in(folder)["which"]["error"]
    for name, others in (("one", []), ("named", ["Segment_2"])):
        written = read_segmentation(folder / f"{name}.seg.nrrd")
        after = written.mask("Segment_1")
        taken = (before == 1) & ~after
        assert not (after & ~(before == 1)).any() and taken[5, 26, 28]
        assert taken[5, 22:, 24:].sum() == taken.sum() > 0
        assert [segment.name for segment in written.segments] == ["Segment_1", *others]
    second = read_segmentation(folder / "file.seg.nrrd")
    assert (second.mask("Segment_1") == (before == 1)).all() and not second.mask("Segment_2")[5, 31, 3]


def test_the_model_is_loaded_once(folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    load = batch_command.load
    monkeypatch.setattr(batch_command, "load", lambda args: [loaded.append(args), load(args)][1])
    write_cases(folder, *(f"{name}.nrrd,{name}.seg.nrrd,p.json" for name in "abc"))
    assert batch() == OK
    assert len(loaded) == 1
    assert batch() == OK
    assert len(loaded) == 1, "and not at all where nothing is to be done"


def test_options_of_a_line_are_heeded_and_come_before_those_of_the_call(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Any] = []
    monkeypatch.setattr(
        batch_command, "segment_case", lambda job, load: jobs.append(job) or {"segments": [], "notes": []}
    )
    monkeypatch.setattr(
        batch_command, "propagate_case", lambda job, load: jobs.append(job) or {"segments": [], "notes": []}
    )
    write_cases(
        folder,
        "a.nrrd\tx/a.seg.nrrd\tp.json\t\tcoronal\t\t40,400\tmid\t\t\ta.png",
        "b.nrrd\tx/b.seg.nrrd\t\tkey.nii.gz\tk\tliver\t\t\t2,9\t3\t",
        head="image\toutput\tprompts\tmask\taxis\tsegment\twindow\tslice\trange\tevery\tpng",
    )
    assert batch("--percentiles", "1,99", "--no-zoom") == OK
    first, second = jobs
    assert first.window == (40, 400) and first.percentiles is None and first.zoom is False
    assert (first.axis, first.slice, first.png) == ("coronal", "mid", str(folder / "a.png"))
    assert second.window is None and second.percentiles == (1, 99)
    assert (second.axis, second.segment, second.range, second.every) == ("k", ("liver",), (2, 9), 3)
    assert (second.image, second.also_read) == (str(folder / "b.nrrd"), [str(folder / "key.nii.gz")])


def test_a_table_of_a_spreadsheet_is_read(folder: Path, batch: Any) -> None:
    text = "image;output;prompts;Alter\r\na.nrrd ; a.seg.nrrd;p.json;71\r\n;;;\r\n"
    (folder / "cases.csv").write_bytes(text.encode("utf-8-sig"))
    assert batch() == OK
    assert list(rows_in(folder)) == ["a.seg.nrrd"]


def test_columns_without_a_meaning_are_named(folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json,71,", head="image,output,prompts,age,windows")
    assert batch() == OK
    assert capsys.readouterr().err == "sammed2d: note: columns without a meaning here: age, windows\n"


# Bad cases


def test_a_bad_case_never_stops_the_rest(folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_prompts(folder / "far.json", 99)
    (folder / "broken.nii.gz").write_bytes(b"<html>")
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(folder / "a.nrrd")), str(folder / "cut.nii.gz"))
    (folder / "cut.nii.gz").write_bytes((folder / "cut.nii.gz").read_bytes()[:-3000])
    (folder / "bad.json").write_text("{")
    (folder / "taken").mkdir()
    (folder / "taken" / "x.seg.nrrd").mkdir()
    bad = {
        "missing": ("nothing.nrrd", "out/1.seg.nrrd", "p.json", "no such file or folder"),
        "broken": ("broken.nii.gz", "out/2.seg.nrrd", "p.json", "cannot be read as an image"),
        "cut off": ("cut.nii.gz", "out/9.seg.nrrd", "p.json", "is cut off or damaged"),
        "no prompts": ("a.nrrd", "out/3.seg.nrrd", "nothing.json", "cannot be opened"),
        "no json": ("a.nrrd", "out/4.seg.nrrd", "bad.json", "is no JSON"),
        "outside": ("a.nrrd", "out/5.seg.nrrd", "far.json", "there is no slice 99"),
        "no markups": ("a.nrrd", "out/6.seg.nrrd", "nothing.mrk.json", "cannot be opened"),
        "no file": ("a.nrrd", "taken/x.seg.nrrd", "p.json", "is a folder"),
        "no folder": ("a.nrrd", "p.json/y.seg.nrrd", "p.json", "p.json"),
    }
    lines = [",".join([name, *words[:3]]) for name, words in bad.items()]
    write_cases(folder, *lines, "good,b.nrrd,out/good.seg.nrrd,p.json", head="case,image,output,prompts")
    assert batch() == FAILURE
    rows = rows_in(folder)
    assert [rows[name]["status"] for name in bad] == ["failed"] * len(bad)
    for name, words in bad.items():
        assert words[3] in rows[name]["error"]
    assert rows["good"]["status"] == "done" and os.listdir(folder / "out") == ["good.seg.nrrd"]
    shown = capsys.readouterr().out
    assert "[1/10] missing: failed: " in shown and "10 cases: 1 done, 9 failed; see " in shown


def test_a_case_of_which_the_model_finds_nothing_fails_and_keeps_the_earlier_output(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: object) -> None:
        raise segment_command.EmptyResultError("the model found nothing")

    monkeypatch.setattr(segment_command, "_check_found", nothing)
    (folder / "a.seg.nrrd").write_bytes(b"precious")
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json")
    assert batch() == FAILURE
    assert rows_in(folder)["a.seg.nrrd"]["error"] == "the model found nothing"
    assert (folder / "a.seg.nrrd").read_bytes() == b"precious"


def test_an_error_of_ours_is_told_with_its_name_and_the_way_to_its_place(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*args: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(segment_command, "_check_found", fails)
    monkeypatch.setenv("SAMMED2D_TRACEBACK", "1")
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json")
    assert batch() == FAILURE
    assert rows_in(folder)["a.seg.nrrd"]["error"] == "KeyError: 'x' (SAMMED2D_TRACEBACK=1 shows where)"
    assert "in fails" in capsys.readouterr().err


# A second call


def test_a_second_call_does_only_what_is_not_done(
    folder: Path, batch: Any, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from tiny_network import save_tiny

    def done_now() -> list[str]:
        return [line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines() if line.startswith("[")]

    lines = ["a,a.nrrd,a.seg.nrrd,p.json,", "b,b.nrrd,b.seg.nrrd,p.json,", "c,c.nrrd,c.seg.nrrd,,key.nii.gz"]
    head = "case,image,output,prompts,mask"
    write_cases(folder, *lines, head=head)
    changes: list[tuple[list[str], Any]] = [
        (["a", "b", "c"], lambda: None),
        ([], lambda: None),
        (["b"], lambda: (folder / "b.seg.nrrd").unlink()),
        (["a"], lambda: write_image(folder / "a.nrrd", 7)),
        (["a", "b"], lambda: write_prompts(folder / "p.json", 6)),
        (["a"], lambda: write_cases(folder, lines[0].replace("a.seg", "d.seg"), *lines[1:], head=head)),
        (
            ["c"],
            lambda: write_cases(
                folder, lines[0].replace("a.seg", "d.seg"), lines[1], lines[2] + ",3", head=head + ",every"
            ),
        ),
    ]
    for expected, change in changes:
        change()
        assert batch() == OK
        assert done_now() == expected
    assert batch("--window", "100,300") == OK
    assert done_now() == ["a", "b", "c"]
    torch.manual_seed(1)
    other = save_tiny(tmp_path_factory.mktemp("other") / "tiny.pt", name="tiny")
    assert batch("--window", "100,300", model=other) == OK
    assert done_now() == ["a", "b", "c"], "the same name, other weights"
    assert statuses(folder) == ["done"] * 3


def test_what_failed_is_done_again_with_retry_or_once_its_files_are_there(
    folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json", "later.nrrd,b.seg.nrrd,p.json")
    assert [batch(), batch()] == [FAILURE, FAILURE]
    shown = capsys.readouterr().out
    assert "2 cases: 1 done before, 1 failed before" in shown and "with --retry" in shown
    assert batch("--retry") == FAILURE
    assert "2 cases: 1 failed, 1 done before" in capsys.readouterr().out
    write_image(folder / "later.nrrd")
    assert batch() == OK
    assert statuses(folder) == ["done", "done"]


def test_a_case_is_skipped_with_its_reason(folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_cases(
        folder,
        "a.nrrd,a.seg.nrrd,p.json,no",
        "nothing.nrrd,b.seg.nrrd,p.json,motion artefact",
        head="image,output,prompts,skip",
    )
    assert batch() == OK
    assert "skipped: motion artefact" in capsys.readouterr().out
    assert statuses(folder) == ["skipped", "done"]
    assert rows_in(folder)["b.seg.nrrd"]["error"] == "motion artefact"


@pytest.mark.parametrize("sent", ["ctrl+c", "terminated"])
def test_a_stop_keeps_what_is_finished(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sent: str
) -> None:
    do = batch_command.segment_case

    def stop_at_b(job: Any, load: Any) -> Any:
        if job.image.endswith("b.nrrd"):
            signal.raise_signal(signal.SIGINT if sent == "ctrl+c" else signal.SIGTERM)
        return do(job, load)

    monkeypatch.setattr(batch_command, "segment_case", stop_at_b)
    write_cases(folder, *(f"{name}.nrrd,out/{name}.seg.nrrd,p.json" for name in "abc"))
    assert batch() == CANCELLED
    assert "stopped; finished cases are in " in capsys.readouterr().err
    assert statuses(folder) == ["done"] and os.listdir(folder / "out") == ["a.seg.nrrd"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    monkeypatch.setattr(batch_command, "segment_case", do)
    assert batch() == OK
    assert "3 cases: 2 done, 1 done before" in capsys.readouterr().out


def test_a_stop_in_the_middle_of_a_mask_writes_no_part_of_it(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SAMMed2DLib.propagation import stack
    from SAMMed2DLib.propagation.tracks import PropagatedSlice

    def stopped(*args: object, **options: object) -> Any:
        yield PropagatedSlice(0, 4, the_cylinder()[4], 0.9, 0.8)
        raise KeyboardInterrupt

    monkeypatch.setattr(stack, "propagate_stack", stopped)
    write_cases(folder, "a.nrrd,out/a.seg.nrrd,key.nii.gz", head="image,output,mask")
    assert batch() == CANCELLED
    assert statuses(folder) == [] and os.listdir(folder / "out") == []


def test_what_a_killed_process_left_half_written_is_removed(folder: Path, batch: Any) -> None:
    left = StagedFiles().place(folder / "a.seg.nrrd")
    inner = StagedFiles().place(left)
    others = [
        folder / name for name in (".ab-0123456789ab.part.seg.nrrd", ".a.seg.nrrd", "a-0123456789ab.part.seg.nrrd")
    ]
    for path in (left, inner, *others):
        path.write_bytes(b"half")
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json")
    assert batch() == OK
    assert not left.exists() and not inner.exists() and all(path.exists() for path in others)
    remove_leftovers(folder / "nowhere" / "a.seg.nrrd")


# Bad tables


BAD_TABLES: list[tuple[str, Sequence[str]]] = [
    ("", ["lacks the columns image, output, prompts or mask", "there are: none"]),
    ("a,b\n1,2", ["lacks the columns image, output, prompts or mask", "there are: a, b"]),
    ("image,output\na.nrrd,a.nrrd", ["lacks the column prompts or mask"]),
    ("image,output,mask\n\n,,\n", ["lists no case"]),
    ("image,output,mask,mask\na,b,c,d", ["has 2 columns mask"]),
    ("image,output,prompts\n,,p.json", ["line 2: image is empty", "line 2: output is empty"]),
    ("image,output,prompts\na.nrrd,x.seg.nrrd,", ["line 2: give prompts, a mask to carry, or both to correct"]),
    ("image,output,prompts,mask,every\na.nrrd,x.seg.nrrd,p.json,k.nrrd,2", ["every is for cases with mask alone"]),
    ("image,output,prompts\na.nrrd,x.stl,p.json", ["line 2: x.stl: cannot write a segmentation"]),
    ("image,output,prompts,png\na.nrrd,x.seg.nrrd,p.json,x.jpg", ["x.jpg: end the name of the picture with .png"]),
    (
        "image,output,prompts\na.nrrd,x.seg.nrrd,p.json\n\nb.nrrd,./x.seg.nrrd,p.json",
        ["line 4: writes ./x.seg.nrrd, as line 2 does"],
    ),
    (
        "case,image,output,prompts\none,a.nrrd,x.seg.nrrd,p.json\none,b.nrrd,y.seg.nrrd,p.json",
        ["line 3: the case one is also in line 2"],
    ),
    ("image,output,prompts\na.nrrd,b.nrrd,p.json\nb.nrrd,x.seg.nrrd,p.json", ["line 2: writes b.nrrd, which is read"]),
    ("image,output,mask\na.nrrd,k.nrrd,k.nrrd", ["line 2: writes k.nrrd, which is read"]),
    (
        "image,output,prompts,axis,slice,window,frame\na.nrrd,x.seg.nrrd,p.json,up,first,40,-1",
        [
            "axis: 'up' is no axis; choose one of axial, coronal",
            "slice: 'first' is no slice",
            "window: '40' must be two numbers",
            "frame: '-1' must be a whole number of 0 or more",
        ],
    ),
    (
        'image,output,prompts,mask,slice,range,every\na.nrrd,x.seg.nrrd,p.json,,,"1,2",2\nb.nrrd,y.seg.nrrd,,k.nrrd,3,1,0',
        [
            "line 2: range is for cases with mask alone",
            "line 2: every is for cases with mask alone",
            "line 3: slice is for cases with prompts",
            "line 3: range: '1' must be two slices",
            "line 3: every: '0' must be a whole number of 1 or more",
        ],
    ),
    ("image,output,prompts,segment\na.nrrd,x.seg.nrrd,p.json,liver", ["names its segments itself"]),
    ("image,output,prompts,window\na.nrrd,x.seg.nrrd,p.json,40,400", ["has more cells than there are columns"]),
    ("image,output,prompts\na.nrrd,\0,p.json", ["is no text"]),
    ("image,output,prompts\né.nrrd,x.seg.nrrd,p.json", ["is not UTF-8"]),
]


@pytest.mark.parametrize(("text", "problems"), BAD_TABLES, ids=[problems[-1] for _, problems in BAD_TABLES])
def test_all_that_is_wrong_with_a_table_is_told_before_anything_runs(
    folder: Path, batch: Any, capsys: pytest.CaptureFixture[str], text: str, problems: Sequence[str]
) -> None:
    (folder / "cases.csv").write_bytes(text.encode("latin-1" if "é" in text else "utf-8"))
    before = sorted(os.listdir(folder))
    assert batch() == BAD_INPUT
    told = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"sammed2d: error: {folder / 'cases.csv'}") for line in told)
    missing = [problem for problem in problems if not any(problem in line for line in told)]
    assert missing == [] and len(told) <= len(problems)
    assert sorted(os.listdir(folder)) == before


def test_problems_of_several_lines_are_told_together(
    folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(folder, "a.nrrd,x.seg.nrrd,", "b.nrrd,x.seg.nrrd,p.json", "c.nrrd,a.nrrd,p.json")
    assert batch() == BAD_INPUT
    told = [line.partition("cases.csv, ")[2] for line in capsys.readouterr().err.splitlines()]
    assert [line.partition(":")[0] for line in told] == ["line 2", "line 3", "line 4"]


def test_a_model_or_a_results_table_that_cannot_be_used_is_told_before_anything_runs(
    folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cases(folder, "a.nrrd,a.seg.nrrd,p.json")
    (folder / "page.pt").write_text("<html>")
    for words, options in (
        ("missing.pt: cannot be opened", {"model": folder / "missing.pt"}),
        ("There is no model 'no-such'", {"model": "no-such"}),
        ("page.pt", {"model": folder / "page.pt"}),
    ):
        assert batch(**options) == BAD_INPUT
        assert words in capsys.readouterr().err
    for words, path in (("is no results table", "p.json"), ("is no results table", "cases.csv"), ("is a folder", ".")):
        assert batch("--results", folder / path) == BAD_INPUT
        assert words in capsys.readouterr().err
    assert not (folder / "a.seg.nrrd").exists()


def test_a_table_that_is_not_there_is_told(folder: Path, batch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch() == BAD_INPUT
    assert "cases.csv: cannot be opened: No such file" in capsys.readouterr().err


def test_the_program_goes_on_where_it_was_killed(folder: Path, tiny_model: Path) -> None:
    """The whole program, killed by itself in the middle of an output's writing."""
    write_cases(folder, *(f"{name}.nrrd,{name}.seg.nrrd,p.json" for name in "abc"))
    script = """
import os, signal, sys
from SAMMed2DLib.__main__ import main
from SAMMed2DLib.cli import segment
write = segment.write_segmentation
def killed_at_b(path, *rest):
    if path.name.startswith(".b"):
        path.write_bytes(b"half")
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return write(path, *rest)
if sys.argv[1] == "kill":
    segment.write_segmentation = killed_at_b
sys.exit(main(["batch", *sys.argv[2:]]))
"""
    command = [sys.executable, "-c", script]
    words = [str(folder / "cases.csv"), "--model", str(tiny_model), "--device", "cpu"]
    killed = subprocess.run([*command, "kill", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert killed.returncode not in (OK, FAILURE, BAD_INPUT, CANCELLED), killed.stderr
    assert statuses(folder) == ["done"] and not (folder / "b.seg.nrrd").exists()
    again = subprocess.run([*command, "go on", *words], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == OK, again.stderr
    assert "3 cases: 2 done, 1 done before" in again.stdout
    assert statuses(folder) == ["done"] * 3
    assert not [name for name in os.listdir(folder) if ".part" in name]


def test_the_examples_of_the_documentation_work(
    folder: Path, batch: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "batches.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.*?)```", text, flags=re.DOTALL)
    (script,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    for name in ("ct", "prompts", "keys", "old"):
        (folder / name).mkdir()
    for name in ("anna", "ben", "carl", "dora"):
        write_image(folder / "ct" / f"{name}.nii.gz")
    write_prompts(folder / "prompts" / "anna.json")
    for name in ("ben", "dora"):
        shutil.copy(folder / "R.mrk.json", folder / "prompts" / f"{name}.mrk.json")
    keys = np.zeros(SHAPE_KJI, bool)
    keys[[3, 8]] = the_cylinder()[[3, 8]]
    volume, liver = read_volume(folder / "a.nrrd"), [Segment("liver")]
    write_segmentation(folder / "keys" / "carl.seg.nrrd", [keys], volume, liver)
    write_segmentation(folder / "old" / "dora.seg.nrrd", [the_cylinder()], volume, liver)
    (folder / "cases.csv").write_text(table.replace("20,80", "2,9"))
    assert batch() == OK, capsys.readouterr()
    assert list(rows_in(folder)) == ["anna", "ben", "carl", "dora"]

    os.remove(folder / "results.csv")
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(compile(script, "batches.md", "exec"), {})
    assert capsys.readouterr().out == "4 0 0\n"
