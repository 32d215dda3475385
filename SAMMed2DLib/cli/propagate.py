"""The command `sammed2d propagate`: segments drawn on a few slices of an image are carried to the others."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import (
    CommandLog,
    Progress,
    no_progress,
    note_overlap,
    progress_line,
    tell,
    write_report,
)
from SAMMed2DLib.cli.common.image_job import ImageJob, Load, advice_on, check_outputs, intensity_of, load
from SAMMed2DLib.cli.common.options import AXES, add_files, add_results, add_seeing, slice_range
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError, along
from SAMMed2DLib.cli.common.provenance import record_of
from SAMMed2DLib.cli.propagation.keyframes import chosen_masks, fewest_slices, slices_shown
from SAMMed2DLib.cli.propagation.slice_report import report_of, sheet_of, summary
from SAMMed2DLib.cli.propagation.slices import Stack, Tracked
from SAMMed2DLib.cli.propagation.time import is_of_frame, run_in_time
from SAMMed2DLib.imaging.intensity import for_all_slices
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    Segmentation,
    check_output_fits,
    label_values,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.propagation.schedule import spans_of
from SAMMed2DLib.system.files import StagedFiles, suffix_of
from SAMMed2DLib.system.formatting import listed

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

CANCELLED = 130

DESCRIPTION = """\
Carry segments from the slices on which they are drawn to all others. Every slice on which a segment is not
empty is a keyframe and stays as it is; the slices between keyframes are filled, and beyond them the segment
is followed until it ends.

examples:
  sammed2d propagate ct.nii.gz --mask key.seg.nrrd -o liver.seg.nrrd --window 40,400
  sammed2d propagate ct.nrrd --mask key.seg.nrrd --segment liver --axis coronal --range 40,90 -o out.seg.nrrd \\
      --json report.json --png slices.png
  sammed2d propagate cine.seq.nrrd --along time --mask 0=ed.seg.nrrd --mask 9=es.seg.nrrd --loop \\
      -o 'out_{frame}.seg.nrrd'

Along time the slices stay where they are and the frames of a 4D image (NIfTI, NRRD and Slicer's .seq.nrrd, MHA)
follow one another. A mask that shows a segment says all about it in its frame, and stays as it is; each slice on
which the segment is drawn in some frame is carried to the others by itself. Every frame becomes a file of its own.

Ctrl+C writes the slices that are finished, and ends with exit code 130."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d propagate`."""
    parser.set_defaults(run=run)
    add_files(parser)
    parser.add_argument(
        "--mask",
        required=True,
        action="append",
        metavar="FILE",
        help="segments on keyframes: .seg.nrrd, DICOM SEG or a label map; along time N=FILE for each frame N",
    )
    where = parser.add_argument_group("what is filled")
    where.add_argument(
        "--along", choices=("slices", "time"), default="slices", help="carry through the slices, or the frames"
    )
    where.add_argument("--loop", action="store_true", help="along time: the last frame is followed by the first")
    where.add_argument(
        "--axis",
        choices=AXES,
        help="slices: by the patient, or stored along k, j, i (default: fewest keyframes; along time as stored)",
    )
    where.add_argument("--range", type=slice_range, metavar="A,B", help="first and last slice (frame) to fill, from 0")
    where.add_argument("--every", type=int, default=1, metavar="N", help="ask the model on every N-th of them (1)")
    where.add_argument("--segment", action="append", metavar="NAME", help="only this segment; may be repeated")
    add_seeing(parser, "the volume")
    add_results(parser, "some slices with masks", "slices, confidences and times")


@dataclass(frozen=True, kw_only=True)
class PropagateJob(ImageJob):
    """An image and segments on some of its slices.

    Attributes:
        mask: file with the keyframes.
        range: first and last slice to fill; None for all.
        every: ask the model on every N-th slice.
        segment: names of the segments to carry; None for all.
    """

    mask: str
    range: tuple[int, int] | None = None
    every: int = 1
    segment: Sequence[str] | None = None

    @property
    def also_read(self) -> Sequence[str]:
        """The file with the keyframes."""
        return [self.mask]


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d propagate` was asked for; no output file is touched unless there is a result.

    Returns:
        the exit code: 0, or 130 if it was stopped and wrote what was finished.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: it was stopped before anything was finished.
    """
    if args.along == "time":
        return CANCELLED if run_in_time(args) else 0
    job = PropagateJob.of(argparse.Namespace(**{**vars(args), "mask": _one_mask(args)}))
    with progress_line(args, "propagating, slices: {done} of at most {total}") as progress:
        report = propagate_case(job, lambda: load(args), progress, keeps_part=True)
    tell(report, args.json, summary(report))
    return CANCELLED if report["stopped"] else 0


def _one_mask(args: argparse.Namespace) -> str:
    words: list[str] = args.mask
    if args.loop:
        raise RequestError("--loop: only frames can follow one another in a circle; add --along time")
    if len(words) > 1 or (is_of_frame(words[0]) and not Path(words[0]).exists()):
        raise RequestError(f"--mask {words[-1]}: several masks, and N=FILE, are of frames; add --along time")
    return words[0]


def propagate_case(
    job: PropagateJob, load: Load, progress: Progress = no_progress, *, keeps_part: bool = False
) -> dict[str, Any]:
    """Fill the slices of one image and write its files; none is touched unless there is a result.

    Args:
        job: what to do.
        load: gives the model; called once the image and the mask were found to be good.
        progress: called with how many slices are done, and how many there are at most.
        keeps_part: write what is finished when the user stops.

    Returns:
        the report; its "stopped" is whether the user stopped.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: the user stopped, and no part was to be written, or there was none.
    """
    check_outputs(job)
    this = CommandLog()
    with this.step("read"):
        volume = read_volume(job.image, frame=job.frame, series=job.series)
        drawn = placed(job.mask, read_segmentation(job.mask), volume, this.notes)
    check_output_fits(job.output, volume)
    this.notes += [*volume.notes, *advice_on(job, volume)]
    masks = chosen_masks(drawn, job.segment, job.mask)
    stack = _stack(job, this, volume, list(masks.values()))
    tracked = _tracked(drawn, masks, stack)
    objects = _to_fill(this, tracked, stack)
    zoom, predictor, stopped = _fill(job, this, stack, objects, load, progress)
    if stopped and not (keeps_part and any(one.found for one in objects)):
        raise KeyboardInterrupt
    _note_gaps(this, objects)
    with StagedFiles() as staged:
        with this.step("write"):
            voxels: list[int] = []
            whole = _whole(stack, tracked, voxels)
            segments = [one.segment for one in tracked]
            note_overlap(this, write_segmentation(staged.place(job.output), whole, volume, segments))
        _note_values(job, this, segments, [drawn.places[n][1] for n in masks])
        if job.png:
            with this.step("draw"):
                write_png(staged.place(job.png), sheet_of(stack, tracked))
        report = report_of(job, this, record_of(job, predictor, zoom, job.mask), stack, tracked, voxels, stopped)
        write_report(staged, job, report)
    return report


# --- what is asked for --------------------------------------------------------------------------------------


def _stack(job: PropagateJob, this: CommandLog, volume: Volume, masks: Sequence[np.ndarray]) -> Stack:
    axis = RequestBuilder(volume).array_axis(job.axis) if job.axis else fewest_slices(masks, volume.spacing_mm)
    count = volume.array.shape[axis]
    if count == 1:
        raise RequestError(f"{job.image}: has one slice {along(axis, volume)}, there is nothing to propagate to")
    if job.axis is None:
        this.notes.append(f"slices {along(axis, volume)}, where the fewest have a mask; --axis chooses others")
    first, last = job.range or (0, count - 1)
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: {along(axis, volume)} are slices 0 to {count - 1}, lowest first")
    if job.every < 1:
        raise RequestError(f"--every {job.every}: give 1 or more")
    return Stack(volume, axis, for_all_slices(intensity_of(job, volume), volume.array), first, last)


def _tracked(drawn: Segmentation, masks: dict[int, np.ndarray], stack: Stack) -> list[Tracked]:
    colored = with_colors([drawn.segments[n] for n in masks])
    return [
        Tracked(
            segment,
            mask,
            {int(n): stack.plane(int(n)).extract(mask) for n in np.flatnonzero(slices_shown(mask, stack.axis))},
        )
        for segment, mask in zip(colored, masks.values(), strict=True)
    ]


def _to_fill(this: CommandLog, tracked: Sequence[Tracked], stack: Stack) -> list[Tracked]:
    """Those that have keyframes, and slices without."""
    empty = [one.segment.name for one in tracked if not one.keyframes]
    if empty:
        this.notes.append(f"no keyframe, left empty: {', '.join(empty)}")
    shown = [one for one in tracked if one.keyframes]
    objects = [one for one in shown if spans_of(one.keyframes, stack.first, stack.last)]
    if not objects:
        raise RequestError(
            f"every slice from {stack.first} to {stack.last} has a mask {along(stack.axis, stack.volume)}, there is "
            "nothing to fill; check --axis and --range"
        )
    full = [one.segment.name for one in shown if one not in objects]
    if full:
        this.notes.append(f"every slice is a keyframe, left as it is: {', '.join(full)}")
    return objects


# --- the work -----------------------------------------------------------------------------------------------


def _fill(
    job: PropagateJob, this: CommandLog, stack: Stack, objects: Sequence[Tracked], load: Load, progress: Progress
) -> tuple[bool, Predictor, bool]:
    """Fill slices until all are done or the user stops; whether with zoom, the model, and whether stopped."""
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.propagation.stack import check_memory, propagate_stack

    slices = stack.last - stack.first + 1
    with this.step("load"):
        predictor = load()
    session = Session(predictor)
    check_memory(session, stack.plane(0).size_hw, slices, len(objects))
    zoom = predictor.prefers_zoom if job.zoom is None else job.zoom
    stopped = False
    with this.step("propagate"):
        try:
            for one in propagate_stack(
                session,
                stack.picture,
                [one.keyframes for one in objects],
                stack.first,
                stack.last,
                zoom=zoom,
                every=job.every,
            ):
                objects[one.number].found[one.index] = one
                progress(sum(len(each.found) for each in objects), slices * len(objects))
        except KeyboardInterrupt:
            stopped = True
    if stopped:
        this.notes.append("stopped: the slices that were finished are written, the others are empty")
    return zoom, predictor, stopped


def _note_gaps(this: CommandLog, objects: Sequence[Tracked]) -> None:
    if not any(one.found for one in objects):
        this.notes.append(
            "nothing was filled: no slice between keyframes is without a mask, and beyond them the segments end; check "
            "--axis, along which slices are filled"
        )
    for one in objects:
        lost = sorted(index for index, found in one.found.items() if not found.mask.any())
        if lost:
            this.notes.append(f"{one.segment.name} was not found between keyframes, on {listed(lost)}")


def _note_values(job: PropagateJob, this: CommandLog, segments: Sequence[Segment], values: Sequence[int]) -> None:
    """Say that a label map has other values than its keyframes had."""
    written = label_values(segments)
    if suffix_of(job.output) != ".seg.nrrd" and list(values) != written:
        words = ", ".join(f"{n} is {one.name}" for n, one in zip(written, segments, strict=True))
        this.notes.append(f"the label map counts its segments from 1: {words}")


def _whole(stack: Stack, tracked: Sequence[Tracked], voxels: list[int]) -> Iterator[np.ndarray]:
    """One (K, J, I) bool array after the other; their numbers of voxels are appended as they pass."""
    for one in tracked:
        whole = one.mask.copy()
        for index, found in one.found.items():
            stack.plane(index).insert(whole, found.mask, True)
        voxels.append(int(whole.sum()))
        yield whole
