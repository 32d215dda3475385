"""All cases, in several processes at once; what is finished already is not done again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SAMMed2DLib.data.curation.assembly import Assembly, assemble
from SAMMed2DLib.data.curation.case_writer import StoppedError, curate_case
from SAMMed2DLib.data.curation.curation_options import CurationOptions, Shares
from SAMMed2DLib.data.curation.records import CASES, REPORT_FILES, CaseRecord, is_finished, path_of, read_record
from SAMMed2DLib.data.curation.sources.cases import Case, CurationError, check_names
from SAMMed2DLib.data.sa_med2d import JSON_OF_SPLIT, MANIFEST, write_layout
from SAMMed2DLib.system.files import remove_leftovers
from SAMMed2DLib.system.locks import FileBusyError, sole_use

# called with a case, its record, how many are done and how many there are
Told = Callable[[Case, CaseRecord, int, int], None]


@dataclass
class Curated:
    """What a run did.

    Attributes:
        records: of all cases, by place, also of those that failed.
        finished_before: number of cases that were not done again.
        others: records in the folder of cases that are not in this run.
        assembly: the masks of the folder.
    """

    records: dict[str, CaseRecord] = field(default_factory=dict)
    finished_before: int = 0
    others: list[str] = field(default_factory=list)
    assembly: Assembly = field(default_factory=Assembly)

    @property
    def failed(self) -> dict[str, str]:
        """Why a case has no slice images, by place."""
        return {place: record.error for place, record in self.records.items() if record.error}


def curate(
    cases: Sequence[Case],
    folder: Path,
    options: CurationOptions,
    shares: Shares,
    *,
    jobs: int = 1,
    told: Told | None = None,
    report: Callable[[Curated], None] | None = None,
) -> Curated:
    """Curate cases into a folder in the SA-Med2D format.

    Args:
        cases: of all that shall be in the folder.
        folder: is made if it is not there.
        options: what is kept.
        shares: of the splits.
        jobs: number of processes; 1 does all in this one.
        told: called after each case.
        report: called at the end, to write what people read into the folder, which no other process uses meanwhile.
    Raises:
        CurationError: two images have the same name, no mask is left, a process died, or another one is curating
            into this folder.
        KeyboardInterrupt: it was stopped; finished cases are kept for the next run.
        OSError: the folder cannot be written to.
    """
    check_names(cases)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            is_sole = held.enter_context(sole_use(folder / MANIFEST))
        except FileBusyError as error:
            raise CurationError(
                f"{folder}: another process is curating into it; wait for it or stop it, or choose another folder"
            ) from error
        if is_sole:
            _remove_leftovers(cases, folder)
        result = _curated(cases, folder, options, shares, jobs, told)
        if report:
            report(result)
    return result


def _remove_leftovers(cases: Sequence[Case], folder: Path) -> None:
    """Remove what a process that was killed had begun to write."""
    names = (MANIFEST, *JSON_OF_SPLIT.values(), *REPORT_FILES)
    remove_leftovers(*(folder / name for name in names), *(path_of(folder, case) for case in cases))


def _curated(
    cases: Sequence[Case], folder: Path, options: CurationOptions, shares: Shares, jobs: int, told: Told | None
) -> Curated:
    result = Curated()
    todo = []
    for case in cases:
        record = read_record(folder, case)
        if record is not None and is_finished(record, case, options):
            result.records[case.place] = record
        else:
            todo.append(case)
    result.finished_before = len(result.records)
    for case, record in _done(todo, options, folder, jobs):
        result.records[case.place] = record
        if told:
            told(case, record, len(result.records), len(cases))
    result.others = _others(folder, cases)
    result.assembly = _write(cases, result, folder, shares)
    return result


def _write(cases: Sequence[Case], result: Curated, folder: Path, shares: Shares) -> Assembly:
    well = {place: record for place, record in result.records.items() if not record.error}
    assembly = assemble(cases, well, shares)
    if not assembly.entries:
        reasons = list(result.failed.values()) or ["every slice or mask was left out, see the options"]
        raise CurationError(f"no mask was kept: {reasons[0]}")
    write_layout(folder, assembly.entries)
    return assembly


def _others(folder: Path, cases: Sequence[Case]) -> list[str]:
    curated = {case.place for case in cases}
    paths = [path for path in (folder / CASES).glob("*/*.json") if not path.name.startswith(".")]  # half-written ones
    places = (path.relative_to(folder / CASES).with_suffix("").as_posix() for path in paths)
    return sorted(place for place in places if place not in curated)


# --- processes ----------------------------------------------------------------------------------------------


def _done(
    cases: Sequence[Case], options: CurationOptions, folder: Path, jobs: int
) -> Iterator[tuple[Case, CaseRecord]]:
    if jobs <= 1 or len(cases) <= 1:
        yield from ((case, curate_case(case, options, folder)) for case in cases)
        return
    context = multiprocessing.get_context("spawn")  # ITK has threads, which a forked process would lose
    stop = context.Event()
    workers = min(jobs, len(cases))
    with ProcessPoolExecutor(workers, context, _begin, (stop, max(1, (os.cpu_count() or 1) // workers))) as pool:
        with _interrupts_held():
            waiting = {pool.submit(_work, case, options, folder): case for case in cases}
        try:
            yield from _as_they_end(waiting)
        except BrokenProcessPool as error:
            raise CurationError(
                "a process ended before its case, probably out of memory; run again with fewer --jobs "
                "(finished cases are not done again)"
            ) from error
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl+C wait. Processes that are started meanwhile never get it: the parent decides when they end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_they_end(waiting: dict[Future[CaseRecord], Case]) -> Iterator[tuple[Case, CaseRecord]]:
    while waiting:
        ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            yield waiting.pop(future), future.result()


_stop: Any = None  # of this worker process


def _begin(stop: Any, threads: int) -> None:
    """Prepare a worker; where Ctrl+C was not held while it started, it reaches the worker too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import SimpleITK

    global _stop
    _stop = stop
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _end_with_parent() -> None:
    """End this worker when the process that gives out the work was killed: it would wait for ever, or write on."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(case: Case, options: CurationOptions, folder: Path) -> CaseRecord:
    try:
        return curate_case(case, options, folder, _stop.is_set)
    except StoppedError:
        return CaseRecord(case.place, error="stopped")
