"""Many cases, one after the other or on several computers: what is to be done, what was done, and what came of it.

The results table is a CSV file that is only appended to while cases are done, a whole line at a time. So a process
that is killed loses no finished case: at most its last line is torn, which is then ignored.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal

from SAMMed2DLib.system.files import StagedFiles, remove_leftovers
from SAMMed2DLib.system.locks import FileBusyError, sole_use

Status = Literal["done", "failed", "skipped"]
DONE: Status = "done"
FAILED: Status = "failed"
SKIPPED: Status = "skipped"


class ResultsError(ValueError):
    """The results table cannot be used; the message says why, and what to do."""


@dataclass(frozen=True)
class BatchCase:
    """One thing to do.

    Attributes:
        name: no other case has it.
        request: what to do, for the callable that does it.
        outputs: files that are there when it is done.
        inputs: a text that changes whenever what goes in changes.
        model: name of the weights.
        checksum: of the weights.
        skip: why it is to be left out; empty if it is not.
    """

    name: str
    request: Any
    outputs: tuple[Path, ...]
    inputs: str = ""
    model: str = ""
    checksum: str = ""
    skip: str = ""


@dataclass(frozen=True)
class CaseResult:
    """What the callable that does a case returns.

    Attributes:
        voxels: of each segment, by its name.
        notes: what a user should know.
    """

    voxels: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Attributes:
        case: its name.
        status: done, failed or skipped.
        error: why it failed or was skipped, in one line.
        seconds: how long it took.
        result: empty unless it was done.
    """

    case: str
    status: Status
    error: str = ""
    seconds: float = 0.0
    result: CaseResult = CaseResult()


@dataclass(frozen=True)
class ResultRow:
    """One line of the results table, as text."""

    case: str
    status: str
    error: str
    seconds: str
    voxels: str
    notes: str
    model: str
    checksum: str
    inputs: str

    @classmethod
    def of(cls, case: BatchCase, outcome: CaseOutcome) -> ResultRow:
        """What the table tells of a case."""
        result = outcome.result
        return cls(
            case=one_line(case.name),
            status=outcome.status,
            error=one_line(outcome.error),
            seconds=f"{outcome.seconds:.2f}",
            voxels=one_line("; ".join(f"{name}={count}" for name, count in result.voxels.items())),
            notes=one_line("; ".join(result.notes)),
            model=one_line(case.model),
            checksum=case.checksum,
            inputs=case.inputs,
        )

    def is_about(self, case: BatchCase) -> bool:
        """Whether it tells of this case with the same inputs and the same weights."""
        return (self.case, self.inputs, self.checksum) == (one_line(case.name), case.inputs, case.checksum)


COLUMNS = tuple(field.name for field in fields(ResultRow))


def one_line(text: str) -> str:
    """The same words with single spaces between them."""
    return " ".join(text.split())


# --- what is to be done -------------------------------------------------------------------------------------

# Does cases, in any order, and yields each with its outcome as soon as it has one.
Work = Callable[[Sequence[BatchCase]], Iterator[tuple[BatchCase, CaseOutcome]]]
# Called with a case, its outcome, how many have one now, and how many there are.
Told = Callable[[BatchCase, CaseOutcome, int, int], object]


@dataclass(frozen=True)
class Plan:
    """Cases, by what the results table says of them.

    Attributes:
        finished: done before, with the same inputs, and their outputs are there.
        failed: failed before, with the same inputs.
        skipped: to be left out.
        waiting: to be done.
    """

    finished: tuple[BatchCase, ...]
    failed: tuple[BatchCase, ...]
    skipped: tuple[BatchCase, ...]
    waiting: tuple[BatchCase, ...]


@dataclass(frozen=True)
class Summary:
    """How many cases there are of each kind after a call: now or before."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    done_before: int = 0
    failed_before: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed, now or before."""
        return not (self.failed or self.failed_before)


def plan(cases: Sequence[BatchCase], rows: Mapping[str, ResultRow], *, retry: bool = False) -> Plan:
    """Decide what is to be done.

    Args:
        cases: all of them.
        rows: of the results table, by case.
        retry: also do again what failed before.
    """
    finished, failed, skipped, waiting = [], [], [], []
    for case in cases:
        row = rows.get(one_line(case.name))
        status = row.status if row is not None and row.is_about(case) else ""
        if case.skip:
            skipped.append(case)
        elif status == DONE and all(path.exists() for path in case.outputs):
            finished.append(case)
        elif status == FAILED and not retry:
            failed.append(case)
        else:
            waiting.append(case)
    return Plan(tuple(finished), tuple(failed), tuple(skipped), tuple(waiting))


def run_cases(
    cases: Sequence[BatchCase],
    work: Work,
    results: Path,
    *,
    retry: bool = False,
    told: Told = lambda case, outcome, number, count: None,
) -> Summary:
    """Do all cases that are not done yet, and keep the table of their results.

    Args:
        cases: all of them, those that were done before too.
        work: does cases; `in_order` makes one of a callable for a single case.
        results: the table; made if it is not there. Rows of cases that are not listed any more stay.
        retry: also do again what failed before.
        told: called after each case that was done or failed, or that is skipped for the first time.

    Raises:
        ResultsError: the table is something else, or another process is using it.
        KeyboardInterrupt: it was stopped; what was finished is in the table.
    """
    with _held(results):
        table = ResultsTable(results)
        chosen = plan(cases, table.rows, retry=retry)
        counts = Counter[Status]()
        skips = [case for case in chosen.skipped if not _is_known(case, table.rows.get(one_line(case.name)))]
        total = len(skips) + len(chosen.waiting)
        try:
            with closing(_outcomes(skips, chosen.waiting, work)) as outcomes:
                for number, (case, outcome) in enumerate(outcomes, 1):
                    table.add(ResultRow.of(case, outcome))
                    counts[outcome.status] += 1
                    told(case, outcome, number, total)
        finally:
            table.tidy()
    return Summary(counts[DONE], counts[FAILED], len(chosen.skipped), len(chosen.finished), len(chosen.failed))


def _is_known(case: BatchCase, row: ResultRow | None) -> bool:
    """Whether the table says that, and why, it is skipped."""
    return row is not None and row.is_about(case) and (row.status, row.error) == (SKIPPED, one_line(case.skip))


def _outcomes(
    skips: Sequence[BatchCase], waiting: Sequence[BatchCase], work: Work
) -> Generator[tuple[BatchCase, CaseOutcome], None, None]:
    for case in skips:
        yield case, CaseOutcome(case.name, SKIPPED, case.skip)
    if waiting:
        yield from work(waiting)


def in_order(do_one: Callable[[Any], CaseResult], words: Callable[[Exception], str] = str) -> Work:
    """Work of one process: case after case.

    Args:
        do_one: does what a case's request says.
        words: tells an error in one line.
    """

    def work(cases: Sequence[BatchCase]) -> Iterator[tuple[BatchCase, CaseOutcome]]:
        for case in cases:
            yield case, attempt(case.name, partial(do_one, case.request), words)

    return work


def attempt(name: str, do: Callable[[], CaseResult], words: Callable[[Exception], str] = str) -> CaseOutcome:
    """Do one case; whatever goes wrong becomes its outcome, so that the others go on.

    Args:
        name: of the case.
        do: does it; may raise anything.
        words: tells an error in one line.
    """
    began = time.perf_counter()
    try:
        result = do()
    except Exception as error:
        text = one_line(words(error)) or type(error).__name__
        return CaseOutcome(name, FAILED, text, time.perf_counter() - began)
    return CaseOutcome(name, DONE, "", time.perf_counter() - began, result)


# --- the results table --------------------------------------------------------------------------------------


class ResultsTable:
    """The rows of a results file, the last one of each case; lines that are torn or damaged count as absent."""

    def __init__(self, path: Path) -> None:
        """Read a table, or begin a new one.

        Raises:
            ResultsError: the file is something else; it stays as it is.
        """
        self._path = path
        content = _read(path)
        lines = content.splitlines(keepends=True)
        head = _line(COLUMNS)
        if lines and lines[0] != head and not head.startswith(content):  # what is left of it after a kill
            raise ResultsError(f"{path}: is no results table of `sammed2d batch`; choose another name with --results")
        rows = [row for line in lines[1:] if (row := _row(line)) is not None]
        self.rows = {row.case: row for row in rows}
        self._is_tidy = bool(lines) and lines[0] == head and len(self.rows) == len(lines) - 1
        self.tidy()

    def add(self, row: ResultRow) -> None:
        """Append a row, so that it survives whatever comes next."""
        self._is_tidy = self._is_tidy and row.case not in self.rows
        self.rows[row.case] = row
        with self._path.open("ab") as file:
            file.write(_line(_texts(row)).encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

    def tidy(self) -> None:
        """Write the file anew where it has torn lines, or two of one case."""
        if self._is_tidy:
            return
        with StagedFiles() as staged:
            lines = [_line(COLUMNS), *(_line(_texts(row)) for row in self.rows.values())]
            staged.place(self._path).write_bytes("".join(lines).encode("utf-8"))
        self._is_tidy = True


def _read(path: Path) -> str:
    if not path.exists():
        return ""
    if path.is_dir():
        raise ResultsError(f"{path}: is a folder; choose another name with --results")
    try:
        return path.read_bytes().decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error


def _row(line: str) -> ResultRow | None:
    texts = next(csv.reader([line]), []) if line.endswith("\n") else []
    is_whole = len(texts) == len(COLUMNS) and texts[1] in (DONE, FAILED, SKIPPED)
    return ResultRow(*texts) if is_whole else None


def _texts(row: ResultRow) -> list[str]:
    return [getattr(row, name) for name in COLUMNS]


def _line(texts: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(texts)
    return written.getvalue()


@contextmanager
def _held(results: Path) -> Iterator[None]:
    """Keep a second process from doing the same cases."""
    if not results.absolute().parent.is_dir():
        raise ResultsError(f"{results}: there is no folder {results.absolute().parent}; make it first")
    with ExitStack() as held:
        try:
            is_sole = held.enter_context(sole_use(results))
        except FileBusyError as error:
            raise ResultsError(f"{results}: another batch is using it; wait for it, or stop it") from error
        except PermissionError as error:
            raise ResultsError(
                f"{results}: its folder cannot be written to; choose another place with --results"
            ) from error
        if is_sole:
            remove_leftovers(results)
        yield
