"""The command `sammed2d segment`: an image and prompts to a segmentation, pictures and a report."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import StagedFiles, suffix_of
from ..image import FULL_RANGE, Intensity, Percentiles, Window, rgb_from_slice
from ..pictures.overlay import MaskLayer, contact_sheet, draw_slice, write_png
from ..pictures.slice_view import SliceView
from ..segmentation_io import Segment, check_output_suffix, with_colors, write_segmentation
from ..volume_io import Volume, read_volume
from .prompt_file import add_json
from .prompts import Place, RequestBuilder, RequestError, SegmentRequest, slice_words
from .report import Masks, Run, made_report, progress_of, tell

if TYPE_CHECKING:
    from ..predictor import Prediction, Predictor
    from ..prompts import Prompts
    from ..zoom import ZoomedPrediction

SLICES_AT_ONCE = 8
FIRST_SEGMENT = "Segment_1"
LOWEST_WITHOUT_ADVICE = -900  # air has about -1000 Hounsfield units


class EmptyResultError(RuntimeError):
    """The model found nothing, so nothing is written."""


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d segment` was asked for; no output file is touched unless all goes well.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        EmptyResultError: no segment has a voxel.
    """
    check_outputs(args)
    this = Run()
    with this.step("read"):
        volume = read_volume(args.image, frame=args.frame, series=args.series)
    this.notes += volume.notes
    requests = _requests(args, volume)
    with this.step("load"):
        predictor = load(args)
    intensity = intensity_of(args, volume)
    this.notes += advice_on(args, volume)
    zoom = predictor.prefers_zoom if args.zoom is None else args.zoom
    masks = _predicted(this, predictor, volume, requests, intensity, progress_of(args), zoom)
    _check_found(this, requests, masks)
    segments = with_colors([Segment(one.name, one.color) for one in requests])
    with StagedFiles() as staged:
        with this.step("write"):
            voxels: list[int] = []
            whole = _counted(_volume_masks(volume, masks, len(segments)), voxels)
            lost = write_segmentation(staged.place(args.output), whole, volume, segments)
        if lost:
            this.notes.append(f"segments overlap: {lost} voxels went to the later one; .seg.nrrd keeps both")
        if args.png:
            with this.step("draw"):
                write_png(staged.place(args.png), _pictures(volume, requests, segments, masks, intensity))
        report = made_report(args, this, predictor, zoom, volume, requests, segments, masks, voxels)
        if args.json and args.json != "-":
            staged.place(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    tell(args, report)


def load(args: argparse.Namespace) -> Predictor:
    """Load the model that the options name: a known one, one that the user added, or a file."""
    from ..predictor import load_predictor

    return load_predictor(args.model, device=args.device, precision=args.precision, fit=args.fit)


def check_outputs(args: argparse.Namespace, inputs: Sequence[str] = ()) -> None:
    """Find out before any work what would fail after it.

    Args:
        args: with `image`, `output`, `png` and `json`.
        inputs: other files that are read, and must stay.

    Raises:
        SegmentationError, RequestError: an output cannot be written, or would replace what is read.
    """
    check_output_suffix(args.output)
    if args.png and suffix_of(args.png) != ".png":
        raise RequestError(f"{args.png}: --png writes PNG; end the name with .png")
    named = [path for path in (args.output, args.png, args.json) if path and path != "-"]
    if len({os.path.abspath(path) for path in named}) < len(named):
        raise RequestError("two outputs have the same name; give each its own")
    for path in named:
        folder = Path(path).absolute().parent
        if not folder.is_dir():
            raise RequestError(f"{path}: there is no folder {folder}; make it first")
        if Path(path).is_dir():
            raise RequestError(f"{path}: is a folder; give the name of a file")
        if not os.access(folder, os.W_OK):
            raise RequestError(f"{path}: the folder {folder} cannot be written to; choose another one")
        if Path(path).exists() and os.path.samefile(path, args.image):
            raise RequestError(f"{path}: is the image itself; give the output another name")
        if Path(path).exists() and any(Path(one).exists() and os.path.samefile(path, one) for one in inputs):
            raise RequestError(f"{path}: is also read; give the output another name")


def _requests(args: argparse.Namespace, volume: Volume) -> list[SegmentRequest]:
    """All prompts, from files and options, in their order."""
    builder = RequestBuilder(volume)
    place = Place(args.coordinates, args.axis, args.slice)
    if args.prompts:
        add_json(builder, Path(args.prompts), place)
    name = FIRST_SEGMENT
    for kind, value in args.events or ():
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
        else:
            builder.add_fiducials(segment, Path(value), place, negative=kind == "negative")
    return builder.finished()


def intensity_of(args: argparse.Namespace, volume: Volume) -> Intensity:
    """The rule asked for; else 8-bit values as they are, and percentiles for all others."""
    if args.window:
        level, width = args.window
        return Window(width=width, level=level)
    if args.percentiles:
        return Percentiles(*args.percentiles)
    if args.full_range:
        return FULL_RANGE
    return Window.of_range(0, 255) if volume.array.dtype == np.uint8 else Percentiles()


def advice_on(args: argparse.Namespace, volume: Volume) -> list[str]:
    """Hounsfield units span far more than one structure: say that a window helps, if none was chosen."""
    if args.window or args.percentiles or args.full_range or volume.array.min() > LOWEST_WITHOUT_ADVICE:
        return []
    return [
        "this looks like a CT; --window 40,400 (soft tissue) or -600,1500 (lung) shows the model more than "
        "percentiles of the slice"
    ]


def _predicted(
    this: Run,
    predictor: Predictor,
    volume: Volume,
    requests: Sequence[SegmentRequest],
    intensity: Intensity,
    progress: Callable[[int, int], None],
    zoom: bool,
) -> Masks:
    """Predict all segments of all slices, slice by slice."""
    planes = list(dict.fromkeys(plane for one in requests for plane in one.prompts))
    predict = _zoomed if zoom else _whole
    masks: Masks = {}
    for start in range(0, len(planes), SLICES_AT_ONCE):
        batch = planes[start : start + SLICES_AT_ONCE]
        progress(start, len(planes))
        images = [rgb_from_slice(plane.extract(volume.array), intensity) for plane in batch]
        asked = [{n: one.prompts[plane] for n, one in enumerate(requests) if plane in one.prompts} for plane in batch]
        found = predict(this, predictor, images, asked)
        masks.update(zip(batch, found, strict=True))
    progress(len(planes), len(planes))
    return masks


def _whole(
    this: Run, predictor: Predictor, images: list[np.ndarray], asked: list[dict[int, Prompts]]
) -> list[list[tuple[int, Prediction | ZoomedPrediction]]]:
    """Encode slices as one batch, each once, and decode all segments of a slice in one call."""
    with this.step("embed"):
        embedding = predictor.embed(images)
    with this.step("predict"):
        found = [
            predictor.predict_many(one, list(prompts.values())) for one, prompts in zip(embedding, asked, strict=True)
        ]
    return [list(zip(prompts, answers, strict=True)) for prompts, answers in zip(asked, found, strict=True)]


def _zoomed(
    this: Run, predictor: Predictor, images: list[np.ndarray], asked: list[dict[int, Prompts]]
) -> list[list[tuple[int, Prediction | ZoomedPrediction]]]:
    """Predict every object on a crop around its prompts."""
    from ..zoom import predict_zoomed

    with this.step("embed and predict"):
        return [
            [(n, predict_zoomed(predictor, image, one)) for n, one in prompts.items()]
            for image, prompts in zip(images, asked, strict=True)
        ]


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
