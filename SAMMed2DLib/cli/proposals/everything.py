"""The command `sammed2d everything`: all objects of a slice that the model finds, each as a segment to look at."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import (
    CommandLog,
    Progress,
    no_progress,
    note_overlap,
    print_report,
    progress_line,
    report_end,
    size_text,
    sizes,
    write_report,
    written,
)
from SAMMed2DLib.cli.common.image_job import ImageJob, Load, advice_on, check_outputs, intensity_of, load
from SAMMed2DLib.cli.common.options import AXES, add_files, add_results, add_seeing, at_least, slice_number
from SAMMed2DLib.cli.common.prompt_options import PromptFrame, RequestBuilder, SegmentRequest, axis_and_index, legend_of
from SAMMed2DLib.cli.common.provenance import header_record, image_and_view, record_of, rule_entry, segment_record
from SAMMed2DLib.cli.proposals.results import picture, volume_masks
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    check_output_fits,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.system.files import StagedFiles, suffix_of
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.proposals.ranking import Proposal

DESCRIPTION = """\
Propose all objects of a slice: each is a segment of its own, the surest first, with a score. They are proposals: look
at them, and delete or rename what you find. One may lie within another; .seg.nrrd keeps both, a label map the smaller.

examples:
  sammed2d everything ct.nii.gz --slice 40 --window 40,400 -o objects.seg.nrrd --csv objects.csv --png objects.png
  sammed2d everything cells.png -o objects.png --json objects.json
  sammed2d everything ct.nii.gz --slice mid --mask organs.seg.nrrd -o more.seg.nrrd"""
_COLUMNS = ("name", "axis", "slice", "x0", "y0", "x1", "y1", "score", "grade", "stability", "voxels", "volume_ml")


class NothingFoundError(RuntimeError):
    """The model found no object, so nothing is written."""


@dataclass(frozen=True, kw_only=True)
class EverythingJob(ImageJob):
    """An image and the slice whose objects are looked for.

    Attributes:
        slice: its number, "mid", or None for the only one.
        mask: segmentation whose segments are not proposed again, or None.
        most: proposals at most.
        csv: table to write, or None.
    """

    slice: int | str | None = None
    mask: str | None = None
    most: int = 12
    csv: str | None = None

    @property
    def also_read(self) -> Sequence[str]:
        """The segmentation."""
        return [self.mask] if self.mask else []

    @property
    def outputs(self) -> list[str]:
        """All files that will be written."""
        return [*super().outputs, *([self.csv] if self.csv else [])]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d everything`."""
    parser.set_defaults(run=run)
    add_files(parser)
    where = parser.add_argument_group("where to look")
    where.add_argument("--axis", choices=AXES, help="slices: by the patient, or stored along k, j, i (default axial)")
    where.add_argument("--slice", type=slice_number, metavar="N|mid", help="number of the slice, from 0")
    where.add_argument("--mask", metavar="FILE", help="segmentation of the image; its objects are not proposed again")
    where.add_argument("--most", type=at_least(1), default=12, metavar="N", help="proposals at most (%(default)s)")
    add_seeing(parser, "the slice")
    results = add_results(parser, "the slice with the proposals", "boxes, scores and times")
    results.add_argument("--csv", metavar="FILE", help="table of the proposals with their scores")


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d everything` was asked for; no output file is touched unless all goes well.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        NothingFoundError: there is no object.
    """
    with progress_line(args, "looking for objects: {done} % of {total}") as progress:
        report = everything_case(EverythingJob.of(args), lambda: load(args), progress)
    print_report(report, args.json, _summary(report))


def everything_case(job: EverythingJob, load: Load, progress: Progress = no_progress) -> dict[str, Any]:
    """Look for objects on one slice, and write the files.

    Args:
        job: what to do.
        load: gives the model; called once the image was found to be good.
        progress: called with the percentage that is done, and 100.

    Returns:
        the report; `sammed2d segment --prompts` takes it, too.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        NothingFoundError: there is no object.
    """
    from SAMMed2DLib.inference.session import Session

    check_outputs(job)
    log = CommandLog()
    with log.step("read"):
        volume = read_volume(job.image, frame=job.frame, series=job.series)
        drawn = placed(job.mask, read_segmentation(job.mask), volume, log.notes) if job.mask else None
    check_output_fits(job.output, volume)
    log.notes += [*volume.notes, *advice_on(job, volume)]
    plane = RequestBuilder(volume).plane(PromptFrame("xy", job.axis, job.slice))
    known = [] if drawn is None else list(map(plane.extract, drawn.masks()))
    intensity = intensity_of(job, volume)
    image, view = image_and_view(plane.extract(volume.array), intensity)
    with log.step("load"):
        predictor = load()
    with log.step("search"):
        found = Session(predictor).everything(
            image,
            known=known,
            most=job.most,
            zoom=job.zoom,
            on_progress=lambda share: progress(round(100 * share), 100),
        )
    if not found:
        raise NothingFoundError(
            f"the model found no object on {legend_of(plane, volume)}, so nothing is written; "
            "choose another slice, or change --window"
        )
    segments = with_colors([*(drawn.segments if drawn else ()), *_named(len(found), drawn)])
    new = segments[len(segments) - len(found) :]
    requests = [SegmentRequest(segment.name, prompts={plane: p.prompts}) for segment, p in zip(new, found, strict=True)]
    records = [segment_record(segment, request, {plane: view}) for segment, request in zip(new, requests, strict=True)]
    head = {**record_of(job, predictor, job.mask), "intensities": rule_entry(intensity)}
    with StagedFiles() as staged:
        with log.step("write"):
            voxels: list[int] = []
            kept = [replace(proposal, slice_index=0) for proposal in found]
            if suffix_of(job.output) != ".seg.nrrd":
                kept = _without_smaller(kept)
            masks = volume_masks(volume, iter(()) if drawn is None else drawn.masks(), [plane], kept, voxels)
            header = None if drawn is not None else header_record(head, records)
            note_overlap(log, write_segmentation(staged.place(job.output), masks, volume, segments, header))
        entries = [
            {**record, **sizes(volume, count), **_scores(proposal)}
            for record, proposal, count in zip(records, found, voxels[len(segments) - len(found) :], strict=True)
        ]
        if job.csv:
            _write_table(staged, job.csv, plane, entries)
        if job.png:
            with log.step("draw"):
                there = {0: np.any(known, axis=0)} if known else {}
                write_png(staged.place(job.png), picture(volume, [plane], [0], there, found, segments, intensity))
        report = {**head, "slice": legend_of(plane, volume), "segments": entries, **report_end(log)}
        write_report(staged, job, report)
    return report


def _named(count: int, drawn: Segmentation | None) -> list[Segment]:
    """Segments "object 1", "object 2", …, without names that are taken."""
    taken = {segment.name for segment in drawn.segments} if drawn else set()
    free = (name for n in range(1, len(taken) + count + 1) if (name := f"object {n}") not in taken)
    return [Segment(next(free)) for _ in range(count)]


def _without_smaller(found: Sequence[Proposal]) -> list[Proposal]:
    """The same, without the pixels that a smaller one has, since a label map has one segment at each voxel."""
    taken = np.zeros(found[0].mask.shape, bool)
    kept = {}
    for proposal in sorted(found, key=lambda proposal: int(proposal.mask.sum())):
        kept[id(proposal)] = replace(proposal, mask=proposal.mask & ~taken)
        taken |= proposal.mask
    return [kept[id(proposal)] for proposal in found]


def _scores(proposal: Proposal) -> dict[str, Any]:
    return {
        "score": round(proposal.score, 4),
        "grade": proposal.grade,
        "stability": round(proposal.stability, 4),
    }


def _write_table(staged: StagedFiles, path: str, plane: SlicePlane, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write a row for each proposal; boxes are half-open, px of the slice."""
    axis, index = axis_and_index(plane)
    with staged.place(path).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for entry in entries:
            box = (f"{value:g}" for value in entry["prompts"][0]["box"])
            known = (entry[name] for name in _COLUMNS[-5:])
            rows.writerow([entry["name"], "kji"[axis], index, *box, *("" if v is None else v for v in known)])


def _summary(report: dict[str, Any]) -> Iterator[str]:
    """How many there are, a line for each, and what was written."""
    entries = report["segments"]
    yield f"{counted(len(entries), 'proposal')} on {report['slice']}, the surest first"
    for entry in entries:
        grade = f" ({'check this' if entry['grade'] == 'check' else entry['grade']})" if entry["grade"] else ""
        yield f"{entry['name']}: {size_text(entry)}, score {entry['score']:.2f}{grade}"
    yield written(report)
