"""Averages by hand, results on disk, runs that go on after anything, and what the report says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from other_model import LeftHalf
from test_evaluation import _RowsOfClicks, two_masks

from SAMMed2DLib.data.sa_med2d import MaskedImage, MaskEntry
from SAMMed2DLib.evaluation import EvaluationError, EvaluationOptions, ObjectResult, result_file
from SAMMed2DLib.evaluation.evaluation_run import MASKS_FILE, EvaluationRun, Problem, Source, thinned
from SAMMed2DLib.evaluation.report import averages, evaluation_contact_sheet, evaluation_report
from SAMMed2DLib.evaluation.speed import Speed

OPTIONS = EvaluationOptions(clicks=(1, 3), box_jitters=(0.1,), most_clicks=4, tolerance_px=2.0)


def a_result(dataset: str, case: str, score: float, share: float = 0.01, curve=(), **entry: str) -> ObjectResult:
    known = MaskEntry(f"{case}-{score}.png", f"{case}.png", "", dataset, case=case, **entry)
    return ObjectResult(dataset, known.image, 0, 10, {"box": score}, curve=curve, area_share=share, entry=known)


RESULTS = [
    a_result("a", "1", 1.0, 0.001, (0.7, 0.95), modality="CT", anatomy="liver"),
    a_result("a", "1", 0.8, 0.3, (0.85, 0.9), modality="CT", anatomy="spleen"),
    a_result("a", "2", 0.6, 0.05, (0.1, 0.2), modality="MR", anatomy="liver"),
    a_result("b", "3", 0.2, 0.01, (0.8, 0.7), modality="US", anatomy="liver"),
]


# Averages


def test_masks_weigh_the_same_or_data_sets_do():
    average = averages.averages(RESULTS)["box"]
    assert average.weighted == pytest.approx(2.6 / 4) and average.macro == pytest.approx((0.8 + 0.2) / 2)


def test_intervals_come_from_drawing_patients_within_data_sets():
    average = averages.averages(RESULTS)["box"]
    # Patients 1 and 2 of set a are drawn: twice the first, both, or twice the second; set b has one patient.
    assert average.macro_range == pytest.approx(((0.6 + 0.2) / 2, (0.9 + 0.2) / 2))
    assert average == averages.averages(RESULTS)["box"]


@pytest.mark.parametrize(
    ("grouping", "expected"),
    [
        ("data set", {"a": 3, "b": 1}),
        ("modality", {"CT": 2, "MR": 1, "US": 1}),
        ("anatomy", {"liver": 3, "spleen": 1}),
        ("size", {"under 0.5 %": 1, "0.5 to 2 %": 1, "2 to 10 %": 1, "over 10 %": 1}),
    ],
)
def test_results_are_grouped(grouping, expected):
    groups = averages.grouped(RESULTS, averages.GROUPINGS[grouping])
    assert list({name: len(group) for name, group in groups.items()}.items()) == list(expected.items())


def test_clicks_that_do_not_suffice_count_as_the_most():
    needed = averages.clicks_needed(RESULTS, 0.9)
    assert (needed.mean, needed.median, needed.reached) == (2, 2, 0.5)
    assert averages.clicks_needed(RESULTS, 0.8).mean == pytest.approx((2 + 1 + 2 + 1) / 4)


def test_the_mean_curve_weighs_data_sets():
    np.testing.assert_allclose(averages.mean_curve(RESULTS), [(0.55 + 0.8) / 2, (2.05 / 3 + 0.7) / 2])


# Results on disk


@pytest.fixture
def results() -> list[ObjectResult]:
    from SAMMed2DLib.evaluation import evaluate

    return list(evaluate(_RowsOfClicks(), [two_masks()], options=OPTIONS))


def test_results_are_read_back(tmp_path, results):
    columns = result_file.columns_of(OPTIONS)
    with result_file.ResultFile(tmp_path / "masks.csv", columns) as file:
        for result in results:
            file.add(result)
            assert len(result_file.read_results(file.path, columns)) == len(file.results)
    (first, _), read = results, result_file.read_results(tmp_path / "masks.csv", columns)
    assert [one.key for one in read] == [one.key for one in results]
    assert read[0].dice == pytest.approx(first.dice, abs=1e-6) and read[0].nsd == pytest.approx(first.nsd, abs=1e-6)
    assert read[0].curve == pytest.approx(first.curve, abs=1e-6)
    assert replace(read[0].entry, split="test", area_px=1) == first.entry


def test_half_a_line_is_dropped(tmp_path, results):
    columns, path = result_file.columns_of(OPTIONS), tmp_path / "masks.csv"
    with result_file.ResultFile(path, columns) as file:
        file.add(results[0])
    path.write_bytes(path.read_bytes() + b"set,CT,liv")
    with result_file.ResultFile(path, columns) as file:
        file.add(results[1])
    assert len(result_file.read_results(path, columns)) == 2


@pytest.mark.parametrize("damage", [lambda text: text.replace("dataset", "other", 1), lambda text: text + "x,y\r\n"])
def test_files_of_others_are_refused(tmp_path, results, damage):
    path = tmp_path / "masks.csv"
    with result_file.ResultFile(path, result_file.columns_of(OPTIONS)) as file:
        file.add(results[0])
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(EvaluationError, match="--restart"):
        result_file.ResultFile(path, result_file.columns_of(OPTIONS))


# Runs


class _Counting(_RowsOfClicks):
    """Counts what it embeds, and stops like a user at a certain image."""

    name, device, precision = "stand-in", None, "float32"

    def __init__(self, stop_at: int = -1) -> None:
        super().__init__()
        self.embedded, self.stop_at = 0, stop_at

    def embed(self, images, coarse=False):
        self.embedded += 1
        if self.embedded == self.stop_at:
            raise KeyboardInterrupt
        return super().embed(images)


def numbered(number: int, dataset: str = "set") -> MaskedImage:
    item = two_masks()
    more = {"image": f"{number}.png", "dataset": dataset}
    entries = tuple(replace(one, mask=f"{number}/{one.mask}", **more) for one in item.entries)
    return MaskedImage(item.image, item.masks, entries)


SOURCES = [Source.of_image(numbered(n)) for n in range(4)]


@pytest.fixture(autouse=True)
def no_timing(monkeypatch):
    monkeypatch.setattr("SAMMed2DLib.evaluation.evaluation_run.measure_speeds", lambda *args: [])


def a_run(folder, **settings) -> EvaluationRun:
    return EvaluationRun(folder, OPTIONS, {"model": "stand-in", **settings})


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    stopped, seen = a_run(tmp_path), []
    assert not stopped.go(_Counting(stop_at=3), SOURCES, progress=lambda *at: seen.append(at))
    assert len(stopped.results) == 4 and seen == [(0, 4), (1, 4), (2, 4)]
    rest, whole = _Counting(), a_run(tmp_path / "..")
    again = a_run(tmp_path)
    assert again.go(rest, SOURCES) and rest.embedded == 2
    assert [one.entry.mask for one in again.results] == [f"{n}/masks/{m}.png" for n in range(4) for m in range(2)]
    assert len(set(again.results[i].key for i in range(8))) == 8 and whole.results == []


def test_a_finished_run_asks_the_model_for_nothing(tmp_path):
    a_run(tmp_path).go(_Counting(), SOURCES)
    idle = _Counting()
    assert a_run(tmp_path).go(idle, SOURCES) and idle.embedded == 0


def test_results_of_other_settings_are_not_mixed(tmp_path):
    a_run(tmp_path).go(_Counting(), SOURCES[:1])
    with pytest.raises(EvaluationError, match="other settings"):
        a_run(tmp_path, seed=1).go(_Counting(), SOURCES)


def test_what_cannot_be_read_or_prompted_is_listed_and_the_rest_is_done(tmp_path):
    def broken(complain):
        complain(Problem("a mask", "is torn"))
        raise OSError("no such\nfile")

    nothing = Source("set", "none.png", ("x",), lambda complain: None)
    sources = [Source("set", "broken.png", None, broken), SOURCES[0], nothing, SOURCES[1]]
    run = a_run(tmp_path)
    assert run.go(_Counting(), sources)
    assert run.problems == [Problem("a mask", "is torn"), Problem("broken.png", "no such file")]
    assert len(run.results) == 4


def test_images_are_thinned_evenly_within_each_data_set():
    sources = [Source.of_image(numbered(n, "a" if n < 6 else "b")) for n in range(8)]
    assert [one.image for one in thinned(sources, 3)] == ["0.png", "2.png", "4.png", "6.png", "7.png"]
    assert thinned(sources, None) == sources


# Reports


def test_the_report_has_tables_and_pictures_of_everything(tmp_path):
    sources, peer = [Source.of_image(numbered(n, f"set {n % 2}")) for n in range(4)], LeftHalf()
    run = a_run(tmp_path)
    run.go(_Counting(), sources, [peer])
    run.problems.append(Problem("images/x.png", "is torn"))
    text = evaluation_report.write_report(run, _Counting(), sources, ["other"]).read_text(encoding="utf-8")
    for words in ("| box ±10 % |", "| other box |", "| filled box |", "| set 1 | 4 |", "**mean of the rows**"):
        assert words in text
    assert "SAM-Med2D, 256 px | 79.30 | 70.01 | 76.35 | 78.68" in text and "`images/x.png`: is torn" in text
    for name in ("dice_by_prompt", "jitter_curve", "clicks_curve", "size_plot", "sheet"):
        assert f"({name}.png)" in text and (tmp_path / f"{name}.png").stat().st_size > 1000
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["masks"] == 8 and summary["finished"] and set(summary["averages"]) == {"dice", "iou", "nsd"}
    assert len((tmp_path / MASKS_FILE).read_text(encoding="utf-8").splitlines()) == 9


def test_speeds_name_no_encoding_where_there_is_none(tmp_path, monkeypatch):
    speeds = [Speed("ours", 0.32, 0.015, 13, "cpu", "float32", 1), Speed("zoomed", 1e-6, 4.0, 3, "cpu", "float32", 1)]
    monkeypatch.setattr("SAMMed2DLib.evaluation.evaluation_run.measure_speeds", lambda *args: speeds)
    run = a_run(tmp_path)
    run.go(_Counting(), SOURCES)
    text = evaluation_report.write_report(run, _Counting(), SOURCES).read_text(encoding="utf-8")
    assert "| 3.1 | 67 | 3.0 | cpu" in text
    assert "| zoomed |  | 0.2 | 0.2 | cpu" in text


def test_a_report_of_a_stopped_run_says_so(tmp_path):
    run = a_run(tmp_path)
    run.go(_Counting(), SOURCES[:1])
    text = evaluation_report.write_report(run, _Counting(), SOURCES, finished=False).read_text(encoding="utf-8")
    assert "Stopped before the end" in text and not (tmp_path / "sheet.png").exists()


def test_a_report_of_nothing_says_so(tmp_path):
    written = evaluation_report.write_report(a_run(tmp_path), _Counting(), [])
    assert "Nothing could be evaluated" in written.read_text(encoding="utf-8")


def test_the_sheet_shows_as_many_data_sets_as_it_can():
    chosen = evaluation_contact_sheet.choose(RESULTS, "box", across=2)
    assert [one.place for one in chosen] == ["best"] * 2 + ["median"] * 2 + ["worst"] * 2
    assert [one.result.dice["box"] for one in chosen] == [1.0, 0.2, 0.6, 0.2, 0.2, 0.6]
