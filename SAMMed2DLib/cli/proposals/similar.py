"""The command `sammed2d similar`: further objects like those that a segmentation has, each as a segment to look at."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import (
    CommandLog,
    Progress,
    note_overlap,
    print_report,
    progress_line,
    report_end,
    size_text,
    write_report,
    written,
)
from SAMMed2DLib.cli.common.image_job import ImageJob, Load, advice_on, check_outputs, intensity_of, load
from SAMMed2DLib.cli.common.options import AXES, add_files, add_results, add_seeing, at_least, slice_range
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError, along
from SAMMed2DLib.cli.common.provenance import record_of, rule_entry
from SAMMed2DLib.cli.propagation.keyframes import chosen_masks, fewest_slices, slices_shown
from SAMMed2DLib.cli.proposals.results import picture, proposal_entries, volume_masks
from SAMMed2DLib.cli.whole_objects import planes_of
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    check_output_fits,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.proposals.names import numbered_names
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import counted

DESCRIPTION = """\
Propose further objects like those of a segmentation, such as nuclei or lesions of which a few were segmented. The
output has the segments of --mask and a new one for each proposal, the most likely first: look at them and delete what
is wrong. Slices on which the segmentation shows something are searched; --range chooses others.

examples:
  sammed2d similar nuclei.png --mask three.seg.nrrd -o all.seg.nrrd --png all.png
  sammed2d similar flair.nii.gz --mask lesions.seg.nrrd --segment lesion --range 20,40 -o more.seg.nrrd"""


@dataclass(frozen=True, kw_only=True)
class SimilarJob(ImageJob):
    """An image and objects like which others are looked for.

    Attributes:
        mask: file of the segmentation that has the objects.
        segment: names of the segments that are such objects; None for all.
        range: first and last slice to search; None for those that show objects.
        most: proposals on a slice at most.
    """

    mask: str
    segment: Sequence[str] | None = None
    range: tuple[int, int] | None = None
    most: int = 30

    @property
    def also_read(self) -> Sequence[str]:
        """The file with the objects."""
        return [self.mask]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d similar`."""
    parser.set_defaults(run=run)
    add_files(parser)
    parser.add_argument(
        "--mask", required=True, metavar="FILE", help="segmentation with objects: .seg.nrrd, DICOM SEG or a label map"
    )
    parser.add_argument("--segment", action="append", metavar="NAME", help="only like this segment; may be repeated")
    where = parser.add_argument_group("where to look")
    where.add_argument(
        "--axis", choices=AXES, help="slices: by the patient, or stored along k, j, i (default: fewest show objects)"
    )
    where.add_argument("--range", type=slice_range, metavar="A,B", help="first and last slice, from 0")
    where.add_argument(
        "--most", type=at_least(1), default=30, metavar="N", help="proposals on each slice at most (%(default)s)"
    )
    add_seeing(parser)
    add_results(parser, "some slices with objects and proposals", "slices, clicks, scores and times")


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d similar` was asked for; no output file is touched unless all goes well.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    with progress_line(args, "looking for similar objects: {done} % of {total}") as progress:
        report = similar_case(SimilarJob.of(args), lambda: load(args), progress)
    print_report(report, args.json, _summary(report))


def similar_case(job: SimilarJob, load: Load, progress: Progress) -> dict[str, Any]:
    """Search one image and write its files.

    Args:
        job: what to do.
        load: gives the model; called once the image and the objects were found to be good.
        progress: called with the percentage that is done, and 100.

    Returns:
        the report.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.proposals.similar import ExampleObjects, find_similar

    check_outputs(job)
    log = CommandLog()
    with log.step("read"):
        volume = read_volume(job.image, frame=job.frame, series=job.series)
        drawn = placed(job.mask, read_segmentation(job.mask), volume, log.notes)
    check_output_fits(job.output, volume)
    log.notes += [*volume.notes, *advice_on(job, volume)]
    chosen = chosen_masks(drawn, job.segment, job.mask)
    axis = RequestBuilder(volume).array_axis(job.axis) if job.axis else _axis_of(volume, chosen)
    planes = planes_of(volume, axis)
    objects, there = (
        _by_slice(planes, axis, np.any([drawn.layers_lkji[drawn.places[n][0]] == drawn.places[n][1] for n in of], 0))
        for of in (chosen, range(len(drawn.segments)))
    )
    slices = _slices(job, volume, axis, sorted(objects))
    intensity = intensity_of(job, volume)
    with log.step("load"):
        predictor = load()
    with log.step("search"):
        found = find_similar(
            Session(predictor),
            lambda n: rgb_from_slice(planes[n].extract(volume.array), intensity),
            [ExampleObjects(n, mask) for n, mask in objects.items()],
            slices,
            known=there,
            most=job.most,
            zoom=job.zoom,
            on_progress=lambda share: progress(round(100 * share), 100),
        )
    taken = {segment.name for segment in drawn.segments}
    names = numbered_names(drawn.segments[next(iter(chosen))].name, taken, len(found))
    segments = with_colors([*drawn.segments, *map(Segment, names)])
    head = record_of(job, predictor, job.mask)
    with StagedFiles() as staged:
        with log.step("write"):
            voxels: list[int] = []
            masks = volume_masks(volume, drawn.masks(), planes, found, voxels)
            note_overlap(log, write_segmentation(staged.place(job.output), masks, volume, segments))
        if job.png:
            with log.step("draw"):
                write_png(staged.place(job.png), picture(volume, planes, slices, there, found, segments, intensity))
        entries = proposal_entries(volume, names, found, voxels[len(drawn.segments) :])
        report = {
            **head,
            "intensities": rule_entry(intensity),
            "axis": "kji"[axis],
            "slices": [slices[0], slices[-1]],
            "proposals": entries,
            **report_end(log),
        }
        write_report(staged, job, report)
    return report


def _axis_of(volume: Volume, masks: Mapping[int, np.ndarray]) -> int:
    return fewest_slices(list(masks.values()), volume.spacing_mm)


def _by_slice(planes: Sequence[SlicePlane], axis: int, mask_kji: np.ndarray) -> dict[int, np.ndarray]:
    """Masks (H, W) bool by slice, where they show something."""
    return {n: planes[n].extract(mask_kji) for n in np.flatnonzero(slices_shown(mask_kji, axis)).tolist()}


def _slices(job: SimilarJob, volume: Volume, axis: int, shown: Sequence[int]) -> Sequence[int]:
    if job.range is None:
        return shown
    (first, last), count = job.range, volume.array.shape[axis]
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: {along(axis, volume)} are slices 0 to {count - 1}, lowest first")
    return range(first, last + 1)


def _summary(report: dict[str, Any]) -> Iterator[str]:
    """How many there are, a line for each, and what was written."""
    entries = report["proposals"]
    yield f"{counted(len(entries), 'proposal')}, the most likely first"
    for entry in entries:
        yield f"{entry['name']}: slice {entry['slice']}, {size_text(entry)}, rank {entry['rank']:.2f}"
    yield written(report)
