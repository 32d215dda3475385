"""Many cases: what is done, done again or left; and a results table that a kill at any byte leaves usable."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from SAMMed2DLib.batch_run import (
    COLUMNS,
    DONE,
    FAILED,
    SKIPPED,
    BatchCase,
    CaseOutcome,
    CaseResult,
    ResultRow,
    ResultsError,
    ResultsTable,
    Summary,
    attempt,
    in_order,
    run_cases,
)


class Writer:
    """Does a case by writing its output; fails, or is stopped, where it is told to."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.trouble: dict[str, BaseException] = {}

    def __call__(self, path: Path) -> CaseResult:
        self.done.append(path.name)
        if path.name in self.trouble:
            raise self.trouble[path.name]
        path.write_text("mask")
        return CaseResult({"liver": 12, "spleen": 3}, ["a note"])


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results.csv"


def cases_of(results: Path, names: str, **more: str) -> list[BatchCase]:
    outputs = [results.with_name(name) for name in names]
    return [BatchCase(path.name, path, (path,), **{"inputs": "i1", "checksum": "c1"} | more) for path in outputs]


def run(results: Path, writer: Writer, cases: Sequence[BatchCase], *, retry: bool = False) -> Summary:
    writer.done = []
    return run_cases(cases, in_order(writer), results, retry=retry)


def rows_in(results: Path) -> list[dict[str, str]]:
    with results.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def statuses(results: Path) -> dict[str, str]:
    rows = rows_in(results)
    assert len({row["case"] for row in rows}) == len(rows), "one row for each case"
    return {row["case"]: row["status"] for row in rows}


# What is done


def test_every_case_is_done_in_order_and_has_its_row(results: Path, writer: Writer) -> None:
    cases = cases_of(results, "abc", model="small")
    assert run(results, writer, cases) == Summary(done=3)
    assert writer.done == ["a", "b", "c"]
    row = rows_in(results)[0]
    assert float(row.pop("seconds")) >= 0
    assert row == {
        "case": "a",
        "status": "done",
        "error": "",
        "voxels": "liver=12; spleen=3",
        "notes": "a note",
        "model": "small",
        "checksum": "c1",
        "inputs": "i1",
    }


def test_a_second_call_does_nothing_and_leaves_the_table_as_it_is(results: Path, writer: Writer) -> None:
    cases = cases_of(results, "abc")
    run(results, writer, cases)
    before = results.read_bytes()
    assert run(results, writer, cases) == Summary(done_before=3)
    assert writer.done == [] and results.read_bytes() == before


@pytest.mark.parametrize("change", [{"inputs": "i2"}, {"checksum": "c2"}])
def test_a_case_with_other_inputs_or_another_model_is_done_again(
    results: Path, writer: Writer, change: dict[str, str]
) -> None:
    first, second = cases_of(results, "ab")
    run(results, writer, [first, second])
    assert run(results, writer, [first, replace(second, **change)]) == Summary(done=1, done_before=1)
    assert writer.done == ["b"]
    assert statuses(results) == {"a": DONE, "b": DONE}


def test_a_case_whose_output_is_gone_is_done_again(results: Path, writer: Writer) -> None:
    run(results, writer, cases_of(results, "ab"))
    results.with_name("a").unlink()
    assert run(results, writer, cases_of(results, "ab")) == Summary(done=1, done_before=1)
    assert writer.done == ["a"]


def test_a_case_that_fails_does_not_stop_the_others_and_its_error_is_one_line(results: Path, writer: Writer) -> None:
    writer.trouble["b"] = ValueError("no such\nfile,  \"quoted\"; 'and' more")
    assert run(results, writer, cases_of(results, "abc")) == Summary(done=2, failed=1)
    assert statuses(results) == {"a": DONE, "b": FAILED, "c": DONE}
    assert rows_in(results)[1]["error"] == "no such file, \"quoted\"; 'and' more"
    assert results.read_text().count("\n") == 4


def test_what_failed_is_left_until_it_is_to_be_retried_or_its_inputs_change(results: Path, writer: Writer) -> None:
    cases = cases_of(results, "ab")
    writer.trouble["a"] = MemoryError()
    run(results, writer, cases)
    assert rows_in(results)[0]["error"] == "MemoryError"
    again = run(results, writer, cases)
    assert (again, again.is_complete, writer.done) == (Summary(failed_before=1, done_before=1), False, [])
    writer.trouble = {}
    assert run(results, writer, cases, retry=True).is_complete
    assert writer.done == ["a"] and statuses(results) == {"a": DONE, "b": DONE}

    writer.trouble["a"] = MemoryError()
    run(results, writer, cases_of(results, "a", inputs="i2"))
    assert run(results, writer, cases_of(results, "a", inputs="i3")) == Summary(failed=1)


def test_a_case_to_skip_has_a_row_with_the_reason_and_is_told_once(results: Path, writer: Writer) -> None:
    first, second = cases_of(results, "ab")
    cases = [first, replace(second, skip="motion\nartefact")]
    told: list[tuple[str, str, int, int]] = []
    for _ in range(2):
        summary = run_cases(
            cases,
            in_order(writer),
            results,
            told=lambda case, outcome, number, count: told.append((case.name, outcome.status, number, count)),
        )
        assert summary.skipped == 1 and summary.is_complete
    assert told == [("b", SKIPPED, 1, 2), ("a", DONE, 2, 2)]
    assert {row["case"]: row["error"] for row in rows_in(results)} == {"a": "", "b": "motion artefact"}
    assert not second.outputs[0].exists()
    assert run(results, writer, [first, second]) == Summary(done=1, done_before=1), "not to be skipped any more"


def test_a_stop_keeps_what_is_finished_and_the_same_call_goes_on(results: Path, writer: Writer) -> None:
    writer.trouble["b"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(results, writer, cases_of(results, "abc"))
    assert statuses(results) == {"a": DONE}
    writer.trouble = {}
    assert run(results, writer, cases_of(results, "abc")) == Summary(done=2, done_before=1)


def test_a_stop_during_a_retry_keeps_the_row_of_the_failure(results: Path, writer: Writer) -> None:
    writer.trouble["a"] = ValueError("bad")
    run(results, writer, cases_of(results, "a"))
    writer.trouble["a"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(results, writer, cases_of(results, "a"), retry=True)
    assert statuses(results) == {"a": FAILED}


def test_rows_of_cases_that_are_not_listed_any_more_stay(results: Path, writer: Writer) -> None:
    run(results, writer, cases_of(results, "ab"))
    run(results, writer, cases_of(results, "bc"))
    assert statuses(results) == {"a": DONE, "b": DONE, "c": DONE}


def test_outcomes_may_come_in_any_order(results: Path, writer: Writer) -> None:
    cases = cases_of(results, "abc")
    summary = run_cases(
        cases, lambda some: iter([(case, CaseOutcome(case.name, DONE)) for case in some[::-1]]), results
    )
    assert summary.done == 3
    assert list(statuses(results)) == ["c", "b", "a"]


def test_an_attempt_tells_what_went_wrong_in_the_callers_words() -> None:
    def fail() -> CaseResult:
        raise ValueError("secret")

    assert attempt("a", fail, lambda error: f"told\n{type(error).__name__}").error == "told ValueError"


# The results table


def whole_table(results: Path, writer: Writer) -> bytes:
    cases = cases_of(results, "abc")
    run(results, writer, [replace(cases[0], name='é,"1"'), *cases[1:]])
    return results.read_bytes()


def test_a_table_that_is_cut_at_any_byte_loses_at_most_the_torn_line(results: Path, writer: Writer) -> None:
    content = whole_table(results, writer)
    for length in range(len(content)):
        results.write_bytes(content[:length])
        whole_lines = content[:length].count(b"\n")
        assert len(ResultsTable(results).rows) == max(0, whole_lines - 1)
        assert content.startswith(results.read_bytes()) and results.read_bytes().endswith(b"\n")


def test_a_case_whose_row_is_torn_is_done_again_and_the_table_is_whole(results: Path, writer: Writer) -> None:
    content = whole_table(results, writer)
    results.write_bytes(content[:-10])
    cases = cases_of(results, "abc")
    assert run(results, writer, [replace(cases[0], name='é,"1"'), *cases[1:]]).done == 1
    assert writer.done == ["c"]
    assert statuses(results) == {'é,"1"': DONE, "b": DONE, "c": DONE}


def test_a_row_is_on_the_disk_before_the_next_case_begins(results: Path) -> None:
    seen: list[int] = []

    def look(path: Path) -> CaseResult:
        seen.append(len(rows_in(results)))
        return CaseResult()

    run_cases(cases_of(results, "abc"), in_order(look), results)
    assert seen == [0, 1, 2]


def test_a_process_that_is_killed_keeps_its_finished_cases(results: Path, writer: Writer) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from SAMMed2DLib.batch_run import CaseResult, BatchCase, in_order, run_cases
folder = Path(sys.argv[1])
def do(path):
    if path.name == "c":
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    path.write_text("mask")
    return CaseResult()
cases = [BatchCase(n, folder / n, (folder / n,), "i1", "", "c1") for n in "abcd"]
run_cases(cases, in_order(do), folder / "results.csv")
"""
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run([sys.executable, "-c", script, str(results.parent)], cwd=root, timeout=300)
    assert killed.returncode != 0
    assert statuses(results) == {"a": DONE, "b": DONE}
    assert run(results, writer, cases_of(results, "abcd")) == Summary(done=2, done_before=2)


def test_a_table_that_a_spreadsheet_saved_is_read(results: Path, writer: Writer) -> None:
    content = whole_table(results, writer).decode()
    results.write_bytes(("\ufeff" + content.replace("\n", "\r\n")).encode())
    assert len(ResultsTable(results).rows) == 3


@pytest.mark.parametrize("content", [b"image,output\na,b\n", b"precious", b"\x89PNG\r\n\x1a\n"])
def test_another_file_is_never_taken_for_a_table(results: Path, writer: Writer, content: bytes) -> None:
    results.write_bytes(content)
    with pytest.raises(ResultsError, match="is no results table"):
        run(results, writer, cases_of(results, "a"))
    assert results.read_bytes() == content and writer.done == []


def test_places_that_no_table_can_have_are_refused(tmp_path: Path, writer: Writer) -> None:
    with pytest.raises(ResultsError, match="there is no folder"):
        run(tmp_path / "nowhere" / "results.csv", writer, [])
    with pytest.raises(ResultsError, match="is a folder"):
        run(tmp_path, writer, [])


def test_two_batches_never_share_a_table(results: Path, writer: Writer) -> None:
    def second(path: Path) -> CaseResult:
        with pytest.raises(ResultsError, match="another batch is using it"):
            run(results, writer, cases_of(results, "b"))
        return CaseResult()

    assert run_cases(cases_of(results, "a"), in_order(second), results).done == 1
    assert os.listdir(results.parent) == ["results.csv"], "nothing of the lock is left"


def test_a_row_is_as_many_texts_as_there_are_columns(results: Path) -> None:
    (case,) = cases_of(results, "a")
    answer = CaseResult({"a\nb": 1}, ["x\u2028y", "z"])
    row = ResultRow.of(replace(case, name="a\tb"), CaseOutcome("a", DONE, result=answer))
    assert (row.case, row.voxels, row.notes) == ("a b", "a b=1", "x y; z")
    ResultsTable(results).add(row)
    assert list(rows_in(results)[0]) == list(COLUMNS)
    assert ResultsTable(results).rows == {"a b": row}
