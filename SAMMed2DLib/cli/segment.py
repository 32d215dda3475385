"""The command `sammed2d segment`: an image and prompts to a segmentation, pictures and a report."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import StagedFiles
from ..image import Intensity, rgb_from_slice
from ..pictures.overlay import MaskLayer, contact_sheet, draw_slice, write_png
from ..pictures.slice_view import SliceView
from ..segmentation_io import Segment, with_colors, write_segmentation
from ..volume_io import Volume, read_volume
from .job import Job, Load, advice_on, check_outputs, intensity_of, load
from .prompt_file import add_json
from .prompts import Place, RequestBuilder, SegmentRequest, slice_words
from .report import (
    Masks,
    Progress,
    Run,
    no_progress,
    note_overlap,
    progress_line,
    report_end,
    report_head,
    segment_entries,
    tell,
    write_report,
)

if TYPE_CHECKING:
    from ..session import Session

FIRST_SEGMENT = "Segment_1"
FILE_EVENTS = ("markups", "negative", "roi", "any markups")


class EmptyResultError(RuntimeError):
    """The model found nothing, so nothing is written."""


@dataclass(frozen=True, kw_only=True)
class SegmentJob(Job):
    """An image and its prompts.

    Attributes:
        coordinates: of points and boxes, one of COORDINATES.
        slice: its number, "mid", or None.
        prompts: JSON file of prompts.
        events: names of segments, and prompts that belong to the segment before them, in order:
            ("segment", name), ("point", (numbers, label)), ("box", numbers), (one of FILE_EVENTS, file).
    """

    coordinates: str = "xy"
    slice: int | str | None = None
    prompts: str | None = None
    events: Sequence[tuple[str, Any]] | None = None

    @property
    def also_read(self) -> Sequence[str]:
        """Files with prompts."""
        named = [value for kind, value in self.events or () if kind in FILE_EVENTS]
        return [*named, *([self.prompts] if self.prompts else [])]


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d segment` was asked for; no output file is touched unless all goes well.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        EmptyResultError: no segment has a voxel.
    """
    with progress_line(args, "segmenting: {done} of {total} slices") as progress:
        report = segment_case(SegmentJob.of(args), lambda: load(args), progress)
    tell(report, args.json)


def segment_case(job: SegmentJob, load: Load, progress: Progress = no_progress) -> dict[str, Any]:
    """Segment one image and write its files; none is touched unless all goes well.

    Args:
        job: what to do.
        load: gives the model; called once the image and the prompts were found to be good.
        progress: called with how many slices are done, and how many there are.

    Returns:
        the report.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        EmptyResultError: no segment has a voxel.
    """
    from ..session import Session

    check_outputs(job)
    this = Run()
    with this.step("read"):
        volume = read_volume(job.image, frame=job.frame, series=job.series)
    this.notes += volume.notes
    requests = _requests(job, volume)
    with this.step("load"):
        predictor = load()
    intensity = intensity_of(job, volume)
    this.notes += advice_on(job, volume)
    zoom = predictor.prefers_zoom if job.zoom is None else job.zoom
    masks = _predicted(this, Session(predictor), volume, requests, intensity, progress, zoom)
    _check_found(this, requests, masks)
    segments = with_colors([Segment(one.name, one.color) for one in requests])
    with StagedFiles() as staged:
        with this.step("write"):
            voxels: list[int] = []
            whole = _counted(_volume_masks(volume, masks, len(segments)), voxels)
            lost = write_segmentation(staged.place(job.output), whole, volume, segments)
        note_overlap(this, lost)
        if job.png:
            with this.step("draw"):
                write_png(staged.place(job.png), _pictures(volume, requests, segments, masks, intensity))
        report = {
            **report_head(job, predictor, zoom),
            "segments": segment_entries(volume, requests, segments, masks, voxels),
            **report_end(this),
        }
        write_report(staged, job, report)
    return report


def _requests(job: SegmentJob, volume: Volume) -> list[SegmentRequest]:
    """All prompts, from files and options, in their order."""
    builder = RequestBuilder(volume)
    place = Place(job.coordinates, job.axis, job.slice)
    if job.prompts:
        add_json(builder, Path(job.prompts), place)
    name = FIRST_SEGMENT
    for kind, value in job.events or ():
        if kind == "segment":
            name = value
            builder.segment(name)
            continue
        segment = builder.segment(name)
        if kind == "point":
            builder.add_points(segment, [value[0]], [value[1]], place)
        elif kind == "box":
            builder.add_box(segment, value, place)
        elif kind == "roi":
            builder.add_rois(segment, Path(value), place)
        elif kind == "any markups":
            builder.add_markups(segment, Path(value), place)
        else:
            builder.add_fiducials(segment, Path(value), place, negative=kind == "negative")
    return builder.finished()


def _predicted(
    this: Run,
    session: Session,
    volume: Volume,
    requests: Sequence[SegmentRequest],
    intensity: Intensity,
    progress: Progress,
    zoom: bool,
) -> Masks:
    """Answer the prompts of all segments on all slices, slice by slice, so that each is encoded once."""
    planes = list(dict.fromkeys(plane for one in requests for plane in one.prompts))
    masks: Masks = {}
    for number, plane in enumerate(planes):
        progress(number, len(planes))
        image = rgb_from_slice(plane.extract(volume.array), intensity)
        with this.step("embed and predict"):
            masks[plane] = [
                (n, session.answer(image, one.prompts[plane], zoom=zoom))
                for n, one in enumerate(requests)
                if plane in one.prompts
            ]
    progress(len(planes), len(planes))
    return masks


def _check_found(this: Run, requests: Sequence[SegmentRequest], masks: Masks) -> None:
    found = [n for predictions in masks.values() for n, one in predictions if one.mask.any()]
    if not found:
        raise EmptyResultError(
            "the model found nothing at these prompts, so nothing is written; add a box, or change --window"
        )
    empty = [one.name for n, one in enumerate(requests) if n not in found]
    if empty:
        this.notes.append(f"nothing was found for: {', '.join(empty)}")


def _volume_masks(volume: Volume, masks: Masks, count: int) -> Iterator[np.ndarray]:
    """One (K, J, I) bool array after the other, so that only one is in memory."""
    for number in range(count):
        whole = np.zeros(volume.array.shape[:3], bool)
        for plane, predictions in masks.items():
            for n, one in predictions:
                if n == number:
                    plane.insert(whole, one.mask, True)
        yield whole


def _counted(masks: Iterable[np.ndarray], voxels: list[int]) -> Iterator[np.ndarray]:
    """The same masks; their numbers of voxels are appended as they pass."""
    for mask in masks:
        voxels.append(int(mask.sum()))
        yield mask


def _pictures(
    volume: Volume,
    requests: Sequence[SegmentRequest],
    segments: Sequence[Segment],
    masks: Masks,
    intensity: Intensity,
) -> np.ndarray:
    """The slice with its masks and prompts, or a sheet of all slices."""
    size_px = 512 if len(masks) == 1 else 320
    pictures, captions = [], []
    for plane, predictions in masks.items():
        layers = [MaskLayer(one.mask, segments[n].color or (1.0, 0.0, 0.0)) for n, one in predictions]
        prompts = [requests[n].prompts[plane] for n, _ in predictions]
        view = SliceView.of(plane, volume.ijk_to_ras, size_px)
        image = rgb_from_slice(plane.extract(volume.array), intensity)
        pictures.append(draw_slice(image, view, layers, prompts, letters=min(volume.size_ijk) > 1))
        captions.append(f"{slice_words(plane)}: {', '.join(segments[n].name for n, _ in predictions)}")
    return pictures[0] if len(pictures) == 1 else contact_sheet(pictures, captions)
