"""The command `sammed2d batch`: the cases of a table, one after the other or on a cluster; a second call goes on."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.batch_run import DONE, BatchCase, CaseOutcome, CaseResult, Summary, Work, attempt, in_order, run_cases
from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
from SAMMed2DLib.cli.common.case_table import CaseFileError, CaseLine, read_cases
from SAMMed2DLib.cli.common.errors import message_of
from SAMMed2DLib.cli.common.image_job import ImageJob, load
from SAMMed2DLib.cli.common.options import add_seeing
from SAMMed2DLib.cli.propagation.case import propagate_case
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.segment import SegmentJob, segment_case
from SAMMed2DLib.registry.known_models import weights_path
from SAMMed2DLib.system.files import remove_leftovers
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

OK, FAILURE, BAD_INPUT, CANCELLED = 0, 1, 2, 130
_MARKED_BYTES = 1 << 16

DESCRIPTION = """\
Segment the cases of a table, without a person. A case that cannot be done is told and the others go on. A second
call does only what is not done yet: a case is done if its output is there, and if neither its line, nor the
files it names, nor the model have changed since.

  image,output,prompts,mask,window
  ct/one.nii.gz,out/one.seg.nrrd,prompts/one.json,,"40,400"
  ct/two.nii.gz,out/two.seg.nrrd,prompts/two.mrk.json,,
  ct/three.nii.gz,out/three.seg.nrrd,,keys/three.seg.nrrd,
  ct/four.nii.gz,out/four.seg.nrrd,prompts/four.json,old/four.seg.nrrd,

columns of the table (comma, tab or semicolon between them; its paths are relative to it):
  image, output   as of `sammed2d segment`; a folder of an output is made if it is not there
  prompts         JSON file or report as of `sammed2d segment --prompts`, or markups of 3D Slicer (.mrk.json); or else
  mask            segments on a few slices, carried to the others as by `sammed2d propagate`; with prompts, segments
                  that these correct as by `sammed2d segment --mask`
and if wanted
  case            name of the case (default: its output)
  segment         name of the segment that markups are for, or of the only one of a mask to carry or correct
  axis, window, frame, series; slice (prompts); range, every (mask alone)   as the options of those commands
  png             picture to write
  json            report to write; --prompts REPORT makes the same masks again
  skip            why this case is left out

examples:
  sammed2d batch cases.csv --model sam-med2d_b --window 40,400
  sammed2d batch cases.csv --retry                                 # also what failed before
  sammed2d batch cases.csv --scheduler tcp://node1:8786            # on the workers of a Dask cluster"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d batch`."""
    parser.set_defaults(run=run)
    parser.add_argument("cases", metavar="CASES", help="table of cases, see above")
    parser.add_argument(
        "--results", metavar="FILE", help="table of what became of each case (default: results.csv beside CASES)"
    )
    parser.add_argument("--retry", action="store_true", help="also do again what failed before")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="let the workers of this Dask scheduler do the cases: tcp://HOST:PORT"
    )
    add_seeing(parser, "each slice or volume", ", in all cases")


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and how it runs.

    Attributes:
        model: name, or absolute path of a file.
        engine: as of `load_predictor`.
        device: as of `Predictor`.
        precision: as of `Predictor`.
        fit: as of `Predictor`.
        checksum: SHA-256 of the weights.
    """

    model: str
    engine: str
    device: str
    precision: str
    fit: str
    checksum: str


class OtherWeightsError(RuntimeError):
    """A computer has other weights under the name than the one that gave out the work."""


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d batch` was asked for.

    Returns:
        the exit code: 0 all is done, 1 some cases failed, 2 the table cannot be used, 130 stopped.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    table = Path(args.cases)
    results = Path(args.results) if args.results else table.with_name("results.csv")
    try:
        found = read_cases(table, _shared(args), kept=[results])
    except CaseFileError as error:
        for problem in error.problems:
            print(f"sammed2d: error: {problem}", file=sys.stderr)
        return BAD_INPUT
    if found.unused:
        print(f"sammed2d: note: columns without a meaning here: {', '.join(found.unused)}", file=sys.stderr)
    settings = _settings(args)
    cases = [_case(line, args, settings) for line in found.lines]
    try:
        with _terminated_as_stopped():
            summary = run_cases(cases, _work(args, settings), results, retry=args.retry, told=_print_outcome)
    except KeyboardInterrupt:
        print(f"\nsammed2d: stopped; finished cases are in {results}, the same call goes on", file=sys.stderr)
        return CANCELLED
    remove_leftovers(*(path for case in cases for path in case.outputs))
    for text in _summary(summary, len(cases), results):
        print(text)
    return OK if summary.is_complete else FAILURE


# --- what is to be done -------------------------------------------------------------------------------------


def _shared(args: argparse.Namespace) -> dict[str, Any]:
    """What all jobs have in common."""
    names = ("window", "percentiles", "full_range", "zoom", "model")
    return {name: getattr(args, name) for name in names}


def _settings(args: argparse.Namespace) -> ModelSettings:
    path = weights_path(args.model)
    is_file = path == Path(args.model)
    model = os.path.abspath(path) if is_file else args.model
    return ModelSettings(model, args.engine, args.device, args.precision, args.fit, _checksum(path))


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be opened: {error.strerror}") from error


def _case(line: CaseLine, args: argparse.Namespace, settings: ModelSettings) -> BatchCase:
    rules = {name: value for name, value in _shared(args).items() if name != "model"} | {"fit": args.fit}
    files = {path: mark_of(Path(path)) for path in (line.job.image, *line.job.also_read)}
    described = json.dumps([line.cells, rules, list(files.values())], sort_keys=True)
    return BatchCase(
        name=line.name,
        request=line.job,
        outputs=tuple(Path(path) for path in line.job.outputs),
        inputs=hashlib.sha256(described.encode()).hexdigest()[:16],
        model=Path(args.model).name,
        checksum=settings.checksum,
        skip=line.skip,
    )


def mark_of(path: Path) -> str:
    """A text that changes with a file: its size, its beginning and its end; of a folder the files' number and size."""
    try:
        if path.is_dir():
            sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
            return f"{len(sizes)} files, {sum(sizes)} bytes"
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(file.read(_MARKED_BYTES))
            file.seek(max(0, size - _MARKED_BYTES))
            digest.update(file.read(_MARKED_BYTES))
        return f"{size} {digest.hexdigest()}"
    except OSError:
        return ""


# --- the work -----------------------------------------------------------------------------------------------


def _work(args: argparse.Namespace, settings: ModelSettings) -> Work:
    do = partial(do_case, settings=settings)
    if args.scheduler:
        from SAMMed2DLib.cli.common.cluster import on_cluster

        return on_cluster(args.scheduler, partial(do_remotely, settings=settings))

    def work(cases: Sequence[BatchCase]) -> Iterator[tuple[BatchCase, CaseOutcome]]:
        if any(case.request.asks_model for case in cases):
            model_of(settings)  # what is wrong with it is wrong for all that ask it
        yield from in_order(do, _logged_message)(cases)

    return work


def do_case(job: ImageJob, settings: ModelSettings) -> CaseResult:
    """Do one case; its files appear when all went well.

    Raises:
        ValueError, RuntimeError: it cannot be done.
    """
    for path in job.outputs:
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    report = _report_of(job, partial(model_of, settings))
    return CaseResult({entry["name"]: entry["voxels"] for entry in report["segments"]}, report["notes"])


def _report_of(job: ImageJob, load: Callable[[], Predictor]) -> dict[str, Any]:
    if isinstance(job, PropagateJob):
        return propagate_case(job, load)
    if isinstance(job, SegmentJob):
        return segment_case(job, load)
    raise TypeError(f"no way to do a {type(job).__name__}")


_ONE_AT_A_TIME = threading.Lock()


def do_remotely(case: BatchCase, settings: ModelSettings) -> CaseOutcome:
    """Do one case on a worker of a cluster; the model, which serves one thread at a time, stays there for the next.

    Raises:
        OtherWeightsError, ValueError, RuntimeError: the model cannot be used there, so that no case can be done.
    """
    with _ONE_AT_A_TIME:
        if case.request.asks_model:
            model_of(settings)
        return attempt(case.name, lambda: do_case(case.request, settings), message_of)


@lru_cache(maxsize=1)
def model_of(settings: ModelSettings) -> Predictor:
    """Load a model, once in a process.

    Raises:
        OtherWeightsError: this computer has other weights under its name.
        ValueError: it cannot be used, in one of the library's own classes.
    """
    path = weights_path(settings.model)
    if _checksum(path) != settings.checksum:
        raise OtherWeightsError(f"{path}: are other weights than those of the computer that gives out the cases")
    return load(argparse.Namespace(**vars(settings)))


# --- what is told -------------------------------------------------------------------------------------------


def _print_outcome(case: BatchCase, outcome: CaseOutcome, number: int, count: int) -> None:
    """One line for each case."""
    if outcome.status == DONE:
        words = [f"done in {outcome.seconds:.1f} s"]
        words += [f"{name} {counted(voxels, 'voxel')}" for name, voxels in outcome.result.voxels.items()]
        notes = len(outcome.result.notes)
        words += [counted(notes, "note")] if notes else []
        text = ", ".join(words)
    else:
        text = f"{outcome.status}: {outcome.error}"
    print(f"[{number}/{count}] {case.name}: {text}", flush=True)


def _summary(summary: Summary, count: int, results: Path) -> Iterator[str]:
    counts = {
        "done": summary.done,
        "failed": summary.failed,
        "skipped": summary.skipped,
        "done before": summary.done_before,
        "failed before": summary.failed_before,
    }
    words = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    yield f"{counted(count, 'case')}: {words}; see {results}"
    if summary.failed_before:
        yield "what failed before is done again with --retry, or once its line or its files have changed"


def _logged_message(error: Exception) -> str:
    """The error in one line, and where it arose if the user wants to know."""
    if os.environ.get("SAMMED2D_TRACEBACK"):
        traceback.print_exception(error)
    return message_of(error)


@contextmanager
def _terminated_as_stopped() -> Iterator[None]:
    """Take a request to end, which clusters send at their time limit, as Ctrl+C."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
