"""One image from its keyframes to its files, along slices or along time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from SAMMed2DLib.cli.common.console_report import CommandLog, Progress, no_progress, write_report
from SAMMed2DLib.cli.common.image_job import Load
from SAMMed2DLib.cli.common.provenance import record_of
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.propagation.report import report_of, sheet_of
from SAMMed2DLib.cli.propagation.series import PropagationSeries
from SAMMed2DLib.cli.propagation.slice_series import SliceSeries
from SAMMed2DLib.cli.propagation.time_series import TimeSeries
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor


def propagate_case(
    job: PropagateJob, load: Load, progress: Progress = no_progress, *, keeps_part: bool = False
) -> dict[str, Any]:
    """Fill the slices or frames of one image and write its files; none is touched unless there is a result.

    Args:
        job: what to do.
        load: gives the model; called if it is asked, once the image and the masks were found to be good.
        progress: called with how many slices are done, and how many there are at most.
        keeps_part: write what is finished when the user stops.

    Returns:
        the report; its "stopped" is whether the user stopped.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: the user stopped, and no part was to be written, or there was none.
    """
    log = CommandLog()
    is_of_frames = job.along == "time"
    series: PropagationSeries[Any] = TimeSeries.read(job, log) if is_of_frames else SliceSeries.read(job, log)
    series.check_segments(log)
    predictor, stopped = _fill(series, log, load, progress)
    if stopped:
        if not (keeps_part and any(carried.found for carried in series.segments)):
            raise KeyboardInterrupt
        log.notes.append(series.stopped)
        series.keep_finished()
    series.note_gaps(log)
    with StagedFiles() as staged:
        voxels = series.write(log, staged)
        if job.png:
            with log.step("draw"):
                write_png(staged.place(job.png), sheet_of(series))
        head = record_of(series.job, predictor, None if is_of_frames else job.also_read[0])
        report = report_of(series, log, head, voxels, stopped)
        write_report(staged, job, report)
    return report


def _fill(
    series: PropagationSeries[Any], log: CommandLog, load: Load, progress: Progress
) -> tuple[Predictor | None, bool]:
    """Fill until all is done or the user stops; the model, if it was asked, and whether stopped."""
    from SAMMed2DLib.inference.session import Session

    session = None
    if series.job.asks_model:
        with log.step("load"):
            session = Session(load())
    predictor = None if session is None else session.predictor
    series.check_memory(session)
    most = series.most_slices
    with log.step("propagate"):
        try:
            for done, _ in enumerate(series.fill(session), 1):
                progress(done, most)
        except KeyboardInterrupt:
            return predictor, True
    return predictor, False
