"""The command `sammed2d segment`: an image and prompts to a segmentation, a PNG file and a report."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import (
    CommandLog,
    Masks,
    Progress,
    no_progress,
    note_overlap,
    print_report,
    progress_line,
    report_end,
    segment_entries,
    write_report,
)
from SAMMed2DLib.cli.common.image_job import ImageJob, Load, advice_on, check_memory, check_outputs, intensity_of, load
from SAMMed2DLib.cli.common.markups_options import add_markups
from SAMMed2DLib.cli.common.prompt_file import add_json
from SAMMed2DLib.cli.common.prompt_options import (
    PromptFrame,
    RequestBuilder,
    RequestError,
    SegmentRequest,
    legend_of,
    slice_text,
)
from SAMMed2DLib.cli.common.provenance import (
    View,
    header_record,
    image_and_view,
    read_record,
    record_of,
    rule_entry,
    segment_record,
)
from SAMMed2DLib.cli.propagation.keyframes import slices_shown
from SAMMed2DLib.cli.whole_objects import KnownMask, WholeObjects
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.inference.interaction import says_where
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    check_output_fits,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice, write_png
from SAMMed2DLib.plots.rulers import RULED_PX, with_rulers
from SAMMed2DLib.plots.slice_view import MOST_PX, SliceView
from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

FIRST_SEGMENT = "Segment_1"
_SHEET_PX = 8192  # the most a side of a contact sheet has, about
FILE_EVENTS = ("markups", "negative", "roi", "any markups")


class EmptyResultError(RuntimeError):
    """The model found nothing, so nothing is written."""


@dataclass(frozen=True, kw_only=True)
class SegmentJob(ImageJob):
    """An image and its prompts.

    Attributes:
        coordinates: of points and boxes, one of COORDINATES.
        slice: its number, "mid", or None.
        prompts: JSON file of prompts, or a report.
        mask: segmentation to be corrected, or None.
        events: names of segments, and prompts that belong to the segment before them, in order:
            ("segment", name), ("point", (numbers, label)), ("box", numbers), ("candidate", number), (one of
            FILE_EVENTS, file).
        rulers: whether the PNG file has rulers.
        whole: whether each segment is followed through the slices until it ends.
    """

    coordinates: str = "xy"
    slice: int | str | None = None
    prompts: str | None = None
    mask: str | None = None
    events: Sequence[tuple[str, Any]] | None = None
    rulers: bool = False
    whole: bool = False

    @property
    def also_read(self) -> Sequence[str]:
        """Files with prompts, and the mask."""
        named = [value for kind, value in self.events or () if kind in FILE_EVENTS]
        return [*named, *(path for path in (self.prompts, self.mask) if path)]


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d segment` was asked for; no output file is touched unless all goes well.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        EmptyResultError: no segment has a voxel.
    """
    record = read_record(args.prompts)
    chosen = args.model
    args = args if record is None else record.model_options(args)
    if record is not None and args.model != chosen:
        record.check_model_is_here()
    with progress_line(args, "segmenting, slices: {done} of {total}") as progress:
        report = segment_case(SegmentJob.of(args), lambda: load(args), progress)
    print_report(report, args.json)


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
    record = read_record(job.prompts)
    job = job if record is None else record.job(job)
    check_outputs(job)
    this = CommandLog()
    with this.step("read"):
        volume = read_volume(job.image, frame=job.frame, series=job.series)
        drawn = placed(job.mask, read_segmentation(job.mask), volume, this.notes) if job.mask else None
    check_output_fits(job.output, volume)
    this.notes += volume.notes
    requests = _requests(job, volume, drawn, this.notes)
    if drawn is not None and (new := [request.name for request in requests[len(drawn.segments) :]]):
        this.notes.append(f"new beside the segments of {job.mask}: {', '.join(new)}")
    is_whole = job.whole or any(request.whole for request in requests)
    objects = WholeObjects.of(job, volume, requests) if is_whole else None
    check_memory(job, volume, _memory_needed(volume, requests))
    known = {} if drawn is None else _masks_by_number(drawn)
    with this.step("load"):
        predictor = load()
    intensity = intensity_of(job, volume)
    this.notes += advice_on(job, volume)
    zoom = predictor.prefers_zoom if job.zoom is None else job.zoom
    asked = requests if objects is None else objects.asked
    masks, views = _predicted(this, predictor, volume, asked, known, intensity, progress, zoom)
    _check_found(this, requests, masks, known)
    if objects is not None:
        with this.step("follow"):
            masks, known = objects.followed(masks, known, intensity)
        views |= objects.more_views(views, intensity)
    segments = with_colors(_segments(requests, drawn))
    head = {**record_of(job, predictor, job.mask), "intensities": rule_entry(intensity)}
    head |= {"whole": True} if job.whole else {}
    if record is not None and (words := list(record.differences(head, {p: v.checksum for p, v in views.items()}))):
        this.notes.append(f"not as recorded in {job.prompts}: {'; '.join(words)}")
    with StagedFiles() as staged:
        with this.step("write"):
            voxels: list[int] = []
            followed: dict[int, int] = {}
            axes = [] if objects is None else objects.axes
            whole = _counted(_volume_masks(volume, masks, known, len(segments)), axes, voxels, followed)
            pairs = zip(segments, requests, strict=True)
            records = [segment_record(segment, request, views) for segment, request in pairs]
            metadata = header_record(head, records)
            lost = write_segmentation(staged.place(job.output), whole, volume, segments, metadata)
        note_overlap(this, lost)
        if job.png:
            with this.step("draw"):
                write_png(staged.place(job.png), _drawn_slices(job, volume, requests, segments, masks, intensity))
        report = {
            **head,
            "segments": segment_entries(volume, requests, segments, masks, voxels, views, followed),
            **report_end(this),
        }
        write_report(staged, job, report)
    return report


def _memory_needed(volume: Volume, requests: Sequence[SegmentRequest]) -> int:
    """Forecast what the work takes besides the volume, bytes, about; found by measurement on images of 1 to 36 MPx."""
    pairs = [pair for request in requests for pair in request.prompts.items()]
    sizes = [(plane.size_hw[0] * plane.size_hw[1], prompts) for plane, prompts in pairs]
    image_and_logits, distances, whole, network = 3 + 4, 60, 3, 300 * 1024**2  # distances: from an outside click
    at_once = max(pixels * (image_and_logits + distances * (prompts.labels == 0).any()) for pixels, prompts in sizes)
    return sum(pixels for pixels, _ in sizes) + int(at_once) + whole * int(np.prod(volume.size_ijk)) + network


def _requests(job: SegmentJob, volume: Volume, drawn: Segmentation | None, notes: list[str]) -> list[SegmentRequest]:
    """All prompts, from files and options, in their order; segments that are there already come first, all of them."""
    builder = RequestBuilder(volume)
    place = PromptFrame(job.coordinates, job.axis, job.slice)
    if job.prompts:
        add_json(builder, Path(job.prompts), place)
    name = _first_name(job, drawn)
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
        elif kind == "candidate":
            builder.take_candidate(segment, value)
        elif kind == "roi":
            builder.add_rois(segment, Path(value), place)
        else:
            is_negative, is_any = kind == "negative", kind == "any markups"
            add_markups(builder, segment, Path(value), place, negative=is_negative, with_rois=is_any)
    notes += builder.notes
    if drawn is None:
        return builder.finished()
    names = [segment.name for segment in drawn.segments]
    masks = {name: drawn.mask(name) for name in builder.segments if name in names}
    new = [request for request in builder.segments.values() if request.name not in names]
    for request in new:
        if not any(says_where(prompts) for prompts in request.prompts.values()):
            raise RequestError(
                f"{job.mask}: has no segment {request.name!r} to take away from; "
                f"there are: {', '.join(names) or 'none'}"
            )
    by_name = {request.name: request for request in builder.finished(masks)}
    there = [by_name.pop(name, SegmentRequest(name)) for name in names]
    return [*there, *by_name.values()]


def _first_name(job: SegmentJob, drawn: Segmentation | None) -> str:
    """The segment of prompts that none was named for."""
    if drawn is None:
        return FIRST_SEGMENT
    names = [segment.name for segment in drawn.segments]
    if len(names) > 1 and next((kind for kind, _ in job.events or ()), "segment") != "segment":
        raise RequestError(f"{job.mask}: which segment? name it with --segment; there are: {', '.join(names)}")
    return names[0] if names else FIRST_SEGMENT


def _masks_by_number(drawn: Segmentation) -> dict[int, KnownMask]:
    """What is there already, (K, J, I) bool when it is asked for, by the number of the segment."""
    return {n: partial(np.equal, drawn.layers_lkji[layer], value) for n, (layer, value) in enumerate(drawn.places)}


def _segments(requests: Sequence[SegmentRequest], drawn: Segmentation | None) -> list[Segment]:
    """Names and colours, and what was known of segments that are there already."""
    there = [] if drawn is None else list(drawn.segments)
    return there + [Segment(request.name, request.color) for request in requests[len(there) :]]


def _predicted(
    this: CommandLog,
    predictor: Predictor,
    volume: Volume,
    requests: Sequence[SegmentRequest],
    known: Mapping[int, KnownMask],
    intensity: Intensity,
    progress: Progress,
    zoom: bool,
) -> tuple[Masks, dict[SlicePlane, View]]:
    """Predict all segments on all slices, slice by slice; returns what the model saw of each slice, too."""
    from SAMMed2DLib.inference.candidates import CandidateError
    from SAMMed2DLib.inference.session import Session

    planes = list(dict.fromkeys(plane for request in requests for plane in request.prompts))
    corrected = {n: known[n]() for n, request in enumerate(requests) if n in known and request.prompts}
    masks: Masks = {}
    views: dict[SlicePlane, View] = {}
    for number, plane in enumerate(planes):
        progress(number, len(planes))
        given = [(n, request.prompts[plane]) for n, request in enumerate(requests) if plane in request.prompts]
        with this.step("embed and predict"):
            image, views[plane] = image_and_view(plane.extract(volume.array), intensity)
            session = Session(predictor)  # a slice's own: what it keeps goes with it
            masks[plane] = []
            for n, prompts in given:
                mask = plane.extract(corrected[n]) if n in corrected else None
                try:
                    masks[plane].append((n, session.answer(image, prompts, mask=mask, zoom=zoom)))
                except CandidateError as error:
                    raise RequestError(f"segment {requests[n].name!r}, {slice_text(plane)}: {error}") from error
    progress(len(planes), len(planes))
    return masks, views


def _check_found(
    this: CommandLog, requests: Sequence[SegmentRequest], masks: Masks, known: Mapping[int, KnownMask]
) -> None:
    found = {n for of_slice in masks.values() for n, prediction in of_slice if prediction.mask.any()} | known.keys()
    if not found:
        raise EmptyResultError(
            "the model found nothing at these prompts, so nothing is written; add a box, or change --window"
        )
    empty = [request.name for n, request in enumerate(requests) if n not in found]
    if empty:
        this.notes.append(f"nothing was found for: {', '.join(empty)}")


def _volume_masks(volume: Volume, masks: Masks, known: Mapping[int, KnownMask], count: int) -> Iterator[np.ndarray]:
    """One (K, J, I) bool array after the other, so that only one is in memory."""
    for number in range(count):
        whole = known[number]() if number in known else np.zeros(volume.array.shape[:3], bool)
        for plane, predictions in masks.items():
            for n, prediction in predictions:
                if n == number:
                    plane.insert(whole, ~prediction.mask, False)
                    plane.insert(whole, prediction.mask, True)
        yield whole


def _drawn_slices(
    job: SegmentJob,
    volume: Volume,
    requests: Sequence[SegmentRequest],
    segments: Sequence[Segment],
    masks: Masks,
    intensity: Intensity,
) -> np.ndarray:
    """Draw what was found, (H, W, 3) uint8; large slices are drawn smaller than they are.

    Args:
        job: what was asked for.
        volume: the image.
        requests: the segments' prompts.
        segments: their names and colours.
        masks: the predictions.
        intensity: as the model saw it.
    """
    most_px = min(MOST_PX, int(_SHEET_PX / math.ceil(math.sqrt(len(masks)))))
    size_px = min(most_px, RULED_PX if job.rulers else 1024 if len(masks) == 1 else 640)
    images, captions = [], []
    for plane, predictions in masks.items():
        layers = [MaskLayer(prediction.mask, segments[n].color or (1.0, 0.0, 0.0)) for n, prediction in predictions]
        prompts = [requests[n].prompts[plane] for n, _ in predictions]
        view = SliceView.of(plane, volume.ijk_to_ras, size_px, most_px)
        pixels = rgb_from_slice(plane.extract(volume.array), intensity)
        image = draw_slice(pixels, view, layers, prompts, letters=min(volume.size_ijk) > 1)
        caption = f"{legend_of(plane, volume)}: {', '.join(segments[n].name for n, _ in predictions)}"
        images.append(with_rulers(image, view, caption) if job.rulers else image)
        captions.append(caption)
    return images[0] if len(images) == 1 else contact_sheet(images, () if job.rulers else captions)


def _counted(
    masks: Iterable[np.ndarray], axes: Sequence[int | None], voxels: list[int], followed: dict[int, int]
) -> Iterator[np.ndarray]:
    """The same masks; as they pass, their voxels are counted, and the slices of those followed along an array axis."""
    for n, mask in enumerate(masks):
        voxels.append(int(mask.sum()))
        axis = axes[n] if n < len(axes) else None
        if axis is not None:
            followed[n] = int(slices_shown(mask, axis).sum())
        yield mask
