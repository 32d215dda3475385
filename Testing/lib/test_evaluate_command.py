"""`sammed2d evaluate` on a small folder in the published layout, with a small untrained network."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from SAMMed2DLib.__main__ import BAD_INPUT, CANCELLED, FAILURE, OK, main
from SAMMed2DLib.data.sa_med2d import MaskEntry, write_layout
from SAMMed2DLib.evaluation.report import evaluation_report
from SAMMed2DLib.inference import predictor


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images with two masks each, of two data sets."""
    entries = []
    for number in range(3):
        image = np.full((50, 60), 40, np.uint8)
        for anatomy, part in (("liver", np.s_[5:30, 8:40]), ("lesion", np.s_[12:20, 14 + number : 24])):
            mask = np.zeros((50, 60), np.uint8)
            mask[part] = 255
            image[part] += 60
            name = f"masks/{number}_{anatomy}.png"
            write_png(tmp_path / "data" / name, mask)
            dataset = "first" if number < 2 else "second"
            entries.append(MaskEntry(name, f"images/{number}.png", "test", dataset, "CT", anatomy, str(number)))
        write_png(tmp_path / f"data/images/{number}.png", image)
    write_layout(tmp_path / "data", entries)
    return tmp_path / "data"


def write_png(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(path))


def command(data: Path, tiny_model: Path) -> Callable[..., int]:
    """The command on these images, with options."""
    quick = ("--most-clicks", "3", "--clicks", "1,2", "--jitter", "10", "--device", "cpu")
    where = ("-o", str(data.parent / "report"), "--model", str(tiny_model))
    return lambda *more: main(["evaluate", str(data), *where, *quick, *more])


@pytest.fixture
def evaluate(data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command, with blank pictures: drawing is what takes longest."""
    monkeypatch.setattr(evaluation_report, "draw_contact_sheet", blank)
    for name in ("dice_by_prompt", "jitter_curve", "clicks_curve", "size_plot"):
        monkeypatch.setattr(evaluation_report.evaluation_charts, name, blank)
    return command(data, tiny_model)


def blank(*rest: object, **named: object) -> np.ndarray:
    return np.zeros((4, 4, 3), np.uint8)


def lines(data: Path) -> list[dict[str, str]]:
    with (data.parent / "report/masks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_everything_is_measured_and_reported(data, tiny_model, capsys):
    assert command(data, tiny_model)() == OK
    folder = data.parent / "report"
    assert capsys.readouterr().out == f"{folder / 'report.md'}\n"
    pictures = {"dice_by_prompt.png", "jitter_curve.png", "clicks_curve.png", "size_plot.png", "sheet.png"}
    files = {"report.md", "masks.csv", "settings.json", "summary.csv", "summary.json"}
    assert {path.name for path in folder.iterdir()} == files | pictures
    rows = lines(data)
    assert [row["mask"] for row in rows] == [f"masks/{n}_{a}.png" for n in range(3) for a in ("liver", "lesion")]
    assert {row["dataset"] for row in rows} == {"first", "second"} and rows[0]["area_px"] == str(25 * 32)
    assert {"dice box ±10 %", "iou box", "nsd 2 clicks", "dice 1 click anywhere", "dice after 3"} <= set(rows[0])
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "6 masks of 3 images of 2 data sets" in report and "| lesion | 3 |" in report
    assert "images encoded/s" in report


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_report_has_no_pictures_and_says_so(evaluate, data, capsys):
    assert evaluate() == OK
    folder = data.parent / "report"
    reason = 'matplotlib is not installed: pip install "sammed2d[plots]"'
    assert capsys.readouterr().err == f"sammed2d: note: the report has no pictures: {reason}\n"
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert f"The pictures are left out: {reason}" in report and "| lesion | 3 |" in report
    assert ".png)" not in report and not list(folder.glob("*.png"))


def test_the_reference_protocol_pads_and_does_not_zoom(evaluate, data):
    assert evaluate("--protocol", "published") == OK
    settings = json.loads((data.parent / "report/settings.json").read_text(encoding="utf-8"))
    assert (settings["protocol"], settings["fit"], settings["zoom"]) == ("published", "pad", False)
    assert "dice 1 click anywhere" not in lines(data)[0]


def test_the_same_command_goes_on_and_another_one_does_not(evaluate, data, capsys, monkeypatch):
    assert evaluate() == OK
    before = lines(data)
    monkeypatch.setattr("SAMMed2DLib.evaluation.evaluation_run.EvaluationRun._evaluate", None)  # nothing is left to do
    assert evaluate() == OK and lines(data) == before
    assert evaluate("--seed", "1") == BAD_INPUT
    assert "other settings" in capsys.readouterr().err and lines(data) == before


def test_restart_discards_what_was_there(evaluate, data):
    assert evaluate() == OK
    assert evaluate("--seed", "1", "--restart") == OK and len(lines(data)) == 6


def test_what_is_broken_is_named_and_the_rest_is_measured(evaluate, data, capsys):
    (data / "masks/0_liver.png").write_bytes(b"no picture")
    (data / "images/2.png").unlink()
    assert evaluate() == FAILURE
    assert "left out" in capsys.readouterr().err
    report = (data.parent / "report/report.md").read_text(encoding="utf-8")
    assert "- `masks/0_liver.png`: " in report and "- `masks/2_lesion.png`: " in report
    assert [row["mask"] for row in lines(data)] == ["masks/0_lesion.png", "masks/1_liver.png", "masks/1_lesion.png"]


def test_interrupting_keeps_and_reports_what_is_done(evaluate, data, monkeypatch, capsys):
    decode, calls = predictor.Predictor.decode_pairs, []

    def stopping(self, pairs):
        calls.append(pairs)
        if len(lines(data)) == 3:
            raise KeyboardInterrupt
        return decode(self, pairs)

    with monkeypatch.context() as patched:
        patched.setattr(predictor.Predictor, "decode_pairs", stopping)
        assert evaluate() == CANCELLED
    assert len(lines(data)) == 3
    assert "sammed2d: stopped; what is done is kept" in capsys.readouterr().err
    assert "Stopped before the end" in (data.parent / "report/report.md").read_text(encoding="utf-8")
    assert evaluate("--progress") == OK and len(lines(data)) == 6
    assert "image 3 of 3, 6 masks, 0 left out" in capsys.readouterr().err


def test_fewer_images_of_each_data_set(evaluate, data):
    assert evaluate("--most", "1") == OK
    assert [row["image"] for row in lines(data)] == ["images/0.png"] * 2 + ["images/2.png"] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jitter", "0.1"], "per cent"),
        (["--split", "train"], "image2label_train.json"),
        (["--protocol", "published", "--zoom"], "neither zoom"),
        (["--clicks", "0"], "--clicks: must be a whole number of 1 or more"),
        (["--most", "0"], "--most: must be a whole number of 1 or more"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_impossible_requests_are_refused(evaluate, options, words, capsys):
    assert evaluate(*options) == BAD_INPUT
    assert words in capsys.readouterr().err


def test_a_report_does_not_go_into_the_data(data, tiny_model, capsys):
    before = sorted(data.rglob("*"))
    assert main(["evaluate", str(data), "-o", str(data / "masks" / ".."), "--model", str(tiny_model)]) == BAD_INPUT
    assert "the data lie there" in capsys.readouterr().err and sorted(data.rglob("*")) == before


@pytest.mark.parametrize(("name", "words"), [("masks.csv", "with other settings"), ("settings.json", "other settings")])
def test_files_of_something_else_in_the_report_folder_are_left_alone(evaluate, data, capsys, name, words):
    folder = data.parent / "report"
    folder.mkdir()
    (folder / name).write_bytes(b"\xff\xfe,1\n2,3\n")
    assert evaluate() == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line and "--restart" in line
    assert (folder / name).read_bytes() == b"\xff\xfe,1\n2,3\n"


def test_a_damaged_line_of_results_is_named(evaluate, data, capsys):
    assert evaluate() == OK
    path = data.parent / "report" / "masks.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].rpartition(b",")[0] + b",x\r\n"
    path.write_bytes(b"".join(lines))
    assert evaluate() == BAD_INPUT
    told = capsys.readouterr().err
    assert "masks.csv, line 3: holds no result; remove the line, or discard all with --restart" in told


# A second model, masks that are kept, prompts from a file


@pytest.mark.usefixtures("no_matplotlib")
def test_a_second_model_masks_and_prompts_in_one_run(evaluate, data, tiny_model, tmp_path, capsys):
    second = tmp_path / "after.pt"  # a column "dice after ..." is no step of the curve
    second.write_bytes(tiny_model.read_bytes())
    more = [
        "--compare",
        str(second),
        "--save-masks",
        str(tmp_path / "found"),
        "--prompts-file",
        str(tmp_path / "p.json"),
    ]
    assert evaluate(*more) == OK
    before = lines(data)
    assert {"dice after (zoom) box ±10 %", "nsd after (whole) 2 clicks", "dice ellipse + fit box"} <= set(before[0])
    assert before[0]["dice after (whole) box"] == before[0]["dice box"]  # the same weights, which do not zoom
    report = (data.parent / "report/report.md").read_text(encoding="utf-8")
    assert "| after (zoom) | " in report and "**gain over ellipse + fit**" in report
    assert len(list((tmp_path / "found/box/first/masks").glob("*.png"))) == 4
    prompts = (tmp_path / "p.json").read_bytes()
    assert evaluate(*more) == OK and lines(data) == before  # it goes on, with nothing left to do
    (tmp_path / "p.json").write_bytes(prompts.replace(b"[8.0, 5.0,", b"[9.0, 5.0,"))
    assert evaluate(*more) == BAD_INPUT and "other settings" in capsys.readouterr().err
    assert evaluate(*more, "--restart") == BAD_INPUT
    assert "holds files already" in capsys.readouterr().err and lines(data) == before


@pytest.mark.usefixtures("no_matplotlib")
def test_prompts_are_read_in_another_run(evaluate, data, tmp_path):
    assert evaluate("--prompts-file", str(tmp_path / "p.json")) == OK
    before = lines(data)
    assert evaluate("--prompts-file", str(tmp_path / "p.json"), "--seed", "3", "--restart") == OK
    assert lines(data) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--compare", "{weights}", "--compare", "{weights}"], "two models of --compare have the same name"),
        (["--compare", "no-such-model"], "no-such-model"),
        (["--save-masks", "{data}"], "holds files already"),
        (["--prompts-file", "{data}/image2label_test.json", "--protocol", "published"], "published protocol"),
        (["--prompts-file", "{data}/label2image_test.json"], "holds no prompts of an evaluation"),
        (["--prompts-file", "{data}/none/p.json"], "there is no folder"),
    ],
)
def test_what_cannot_be_compared_kept_or_read_is_refused(evaluate, data, tiny_model, capsys, options, words):
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert evaluate(*(word.format(data=data, weights=tiny_model) for word in options)) == BAD_INPUT
    assert words in capsys.readouterr().err
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
