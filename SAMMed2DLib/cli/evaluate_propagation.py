"""The command `sammed2d evaluate-propagation`: how good propagation is on labelled volumes, as Markdown and CSV."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.cli.common.console_report import ProgressLine
from SAMMed2DLib.cli.common.image_job import check_place, load
from SAMMed2DLib.cli.common.options import AXES, add_model
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, Percentiles, Window
from SAMMed2DLib.imaging.planes import slice_px
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import placed, read_segmentation
from SAMMed2DLib.io.volume_io import Volume, read_volume

if TYPE_CHECKING:
    from SAMMed2DLib.evaluation.volumes import LabelledVolume, ObjectScores
    from SAMMed2DLib.propagation.estimate import Weights

# Slices are thick along an axis if they are so much thicker than along the others.
_THICKER = 1.01
_SOURCES = ("true", "clicks", "box")

DESCRIPTION = """\
Measure propagation on labelled volumes. Each object with 7 slices or more is carried from one keyframe (its
largest slice) and from three (at 10, 50 and 90 % of its extent) to all slices, and compared with its label, as
are a copy of the one keyframe over the object's extent, and the interpolation of the three. Keyframes are the
label's own slices (true), or the model's masks after a box and up to three clicks (clicks); they count in all
measures. From a box in space around the object (box) are measured what `sammed2d segment --whole` finds in it, the
ellipsoid in it, and the filled box.

examples:
  sammed2d evaluate-propagation --volume liver ct.nrrd labels.nrrd --csv objects.csv
  sammed2d evaluate-propagation --volumes volumes.tsv --ask-model

The file of --volumes has tab-separated columns name, image, labels, and may have axis, window (centre,width)
and note; its paths are relative to it."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d evaluate-propagation`."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "--volume", nargs=3, action="append", metavar=("NAME", "IMAGE", "LABELS"), help="may be repeated"
    )
    parser.add_argument("--volumes", metavar="FILE", help="table of volumes, tab-separated, see above")
    parser.add_argument("--keyframes", choices=_SOURCES, help="only these keyframes (default all)")
    parser.add_argument(
        "--without",
        action="append",
        choices=("shape", "grey", "model"),
        help="leave out what says where an object is; may be repeated",
    )
    parser.add_argument(
        "--ask-model", action="store_true", help="hear the model too, as `sammed2d propagate --ask-model`"
    )
    parser.add_argument(
        "--ask-everywhere",
        action="store_true",
        help="ask the model on every slice, also where the others leave it nothing to decide",
    )
    parser.add_argument("--most", type=int, metavar="N", help="objects of each volume at most, spread over its labels")
    parser.add_argument("--csv", metavar="FILE", help="every object in every way")
    parser.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")
    add_model(parser)


@dataclass(frozen=True)
class Entry:
    """One line of the table of volumes."""

    name: str
    image: str
    labels: str
    axis: str = ""
    window: str = ""
    note: str = ""


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d evaluate-propagation` was asked for.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    from SAMMed2DLib.evaluation.volumes import evaluate_volumes, without

    listed = entries(args)
    if args.csv:
        check_place(args.csv)
    predictor = load(args)
    found = evaluate_volumes(
        predictor,
        (labelled_volume(entry) for entry in listed),
        sources=_SOURCES if args.keyframes is None else (args.keyframes,),
        weights=_weights(without(args.without or ()), args),
        zoom=args.zoom,
        most=args.most,
    )
    results = list(_shown(args, found))
    print(_report(listed, results))
    if args.csv:
        _write_csv(Path(args.csv), results)


def entries(args: argparse.Namespace) -> list[Entry]:
    """The volumes that the options name.

    Raises:
        RequestError: there are none, or the table cannot be used.
    """
    listed = [Entry(*words) for words in args.volume or ()]
    if args.volumes:
        listed += _table(Path(args.volumes))
    if not listed:
        raise RequestError("which volumes? give --volume NAME IMAGE LABELS, or --volumes FILE")
    return listed


def _table(path: Path) -> list[Entry]:
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t")
        missing = {"name", "image", "labels"} - set(reader.fieldnames or ())
        if missing:
            raise RequestError(f"{path}: lacks the columns {', '.join(sorted(missing))}; separate them by tabs")
        rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
    return [
        Entry(
            row["name"],
            str(path.parent / row["image"]),
            str(path.parent / row["labels"]),
            *(row.get(key, "") for key in ("axis", "window", "note")),
        )
        for row in rows
    ]


def labelled_volume(entry: Entry) -> LabelledVolume:
    """Read one volume with its labels.

    Raises:
        ValueError: a file cannot be used, in one of the library's own classes.
    """
    from SAMMed2DLib.evaluation.volumes import LabelledVolume

    volume = read_volume(entry.image)
    notes = list(volume.notes)
    labels = placed(entry.labels, read_segmentation(entry.labels), volume, notes)
    for note in notes:
        print(f"sammed2d: note: {entry.name}: {note}", file=sys.stderr)
    axis = _axis(entry, volume)
    distance_px = slice_px(SlicePlane.of_axis(volume.size_ijk, axis, 0), volume.ijk_to_ras)
    return LabelledVolume(
        entry.name, volume.array, _objects(labels), axis, _intensity(entry, volume), distance_px, entry.note
    )


def _objects(labels: Segmentation) -> Iterator[tuple[str, np.ndarray]]:
    for segment, (layer, value) in zip(labels.segments, labels.places, strict=True):
        yield segment.name, labels.layers_lkji[layer] == value


def _axis(entry: Entry, volume: Volume) -> int:
    """The axis asked for, else the one of the thickest slices, else axial."""
    builder = RequestBuilder(volume)
    if entry.axis and entry.axis not in AXES:
        raise RequestError(f"{entry.name}: there is no axis {entry.axis!r}; choose one of {', '.join(AXES)}")
    spacing = volume.spacing_mm
    if not entry.axis and spacing.max() > _THICKER * np.median(spacing):
        return 2 - int(spacing.argmax())
    return builder.array_axis(entry.axis or "axial")


def _intensity(entry: Entry, volume: Volume) -> Intensity:
    """The window asked for, else percentiles of the volume."""
    if not entry.window:
        return Window.of_range(*Percentiles().limits(volume.array))
    try:
        level, width = (float(word) for word in entry.window.split(","))
    except ValueError:
        raise RequestError(f"{entry.name}: the window {entry.window!r} must be centre,width") from None
    return Window(level=level, width=width)


def _weights(weights: Weights, args: argparse.Namespace) -> Weights:
    """The weights with the model where it is to be asked."""
    if not (args.ask_model or args.ask_everywhere) or "model" in (args.without or ()):
        return weights
    heard = weights.with_model()
    return replace(heard, open_share=0.0) if args.ask_everywhere else heard


def _shown(args: argparse.Namespace, results: Iterable[ObjectScores]) -> Iterator[ObjectScores]:
    """The same results; progress is shown as they pass."""
    with ProgressLine(args) as line:
        for count, result in enumerate(results, 1):
            line.show(f"{count} objects, {result.volume}")
            yield result


def _report(listed: list[Entry], results: list[ObjectScores]) -> str:
    from SAMMed2DLib.evaluation.report.volume_tables import losers, table_of_losers, table_of_volumes, table_of_ways

    parts = ["Volume Dice:", table_of_volumes(results), "All measures, means over objects:", table_of_ways(results)]
    for source in _SOURCES:
        if losers(results, source):
            parts += [f"Less well than interpolation, 3 keyframes ({source}):", table_of_losers(results, source)]
    notes = [f"- {entry.name}: {entry.note}" for entry in listed if entry.note]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _write_csv(path: Path, results: list[ObjectScores]) -> None:
    from SAMMed2DLib.evaluation.report.volume_tables import csv_rows
    from SAMMed2DLib.system.files import StagedFiles

    with StagedFiles() as staged, staged.place(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(csv_rows(results))
