"""The command `sammed2d propagate`: segments drawn on a few slices of an image are carried to the others."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import StagedFiles, suffix_of
from ..geometry import SlicePlane, array_axis_of
from ..image import Intensity, for_all_slices, rgb_from_slice
from ..pictures.overlay import MaskLayer, contact_sheet, draw_slice, write_png
from ..pictures.slice_view import SliceView
from ..propagation import Propagated, spans_of
from ..segmentation_io import Segment, Segmentation, read_segmentation, with_colors, write_segmentation
from ..volume_io import Volume, read_volume
from . import segment as segment_command
from .prompts import AXES, RequestBuilder, RequestError
from .report import Run, rounded, tell, written
from .segment import advice_on, check_outputs, intensity_of

if TYPE_CHECKING:
    from ..predictor import Predictor

CANCELLED = 130
PICTURES = 9
# Two geometries are the same if no corner is farther off than this share of the smallest voxel side.
_SAME_GEOMETRY = 0.05

DESCRIPTION = """\
Carry segments from the slices on which they are drawn to all others. Every slice on which a segment is not
empty is a keyframe and stays as it is; the slices between keyframes are filled, and beyond them the segment
is followed until it ends.

examples:
  sammed2d propagate ct.nii.gz --mask key.seg.nrrd -o liver.seg.nrrd --window 40,400
  sammed2d propagate ct.nrrd --mask key.seg.nrrd --segment liver --axis coronal --range 40,90 -o out.seg.nrrd \\
      --json report.json --png slices.png

Ctrl+C writes the slices that are finished, and ends with exit code 130."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d propagate`, without those about the model."""
    parser.set_defaults(run=run)
    parser.add_argument("image", metavar="IMAGE", help="NIfTI, NRRD, MHA, …, or a DICOM folder")
    parser.add_argument(
        "--mask", required=True, metavar="FILE", help="segments on keyframes: .seg.nrrd, or a label map like the image"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help=".seg.nrrd, or a label map .nii.gz, .nrrd"
    )
    parser.add_argument("--frame", type=int, metavar="N", help="which volume of a 4D image, from 0")
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder: its number or UID")
    where = parser.add_argument_group("what is filled")
    where.add_argument(
        "--axis", choices=AXES, help="slices: by the patient, or stored along k, j, i (default: fewest keyframes)"
    )
    where.add_argument("--range", type=_range, metavar="A,B", help="first and last slice to fill, from 0")
    where.add_argument("--every", type=int, default=1, metavar="N", help="ask the model on every N-th slice (1)")
    where.add_argument("--segment", action="append", metavar="NAME", help="only this segment; may be repeated")
    results = parser.add_argument_group("results")
    results.add_argument("--png", metavar="FILE", help="picture of some slices with masks")
    results.add_argument("--json", metavar="FILE", help="report with slices, confidences and times; - is stdout")
    results.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")


@dataclass(eq=False)
class Tracked:
    """A segment on its way through the slices.

    Attributes:
        segment: its name and colour.
        mask: (K, J, I) bool, its keyframes.
        keyframes: masks (H, W) bool by slice.
        found: what was filled, by slice.
    """

    segment: Segment
    mask: np.ndarray
    keyframes: dict[int, np.ndarray]
    found: dict[int, Propagated] = field(default_factory=dict)

    def on(self, index: int) -> np.ndarray | None:
        """(H, W) bool of a slice; None where there is nothing."""
        if index in self.keyframes:
            return self.keyframes[index]
        return self.found[index].mask if index in self.found else None

    @property
    def worst(self) -> int | None:
        """The slice of the lowest confidence; None if none was filled."""
        return min(self.found, key=lambda index: self.found[index].confidence, default=None)


@dataclass(frozen=True, eq=False)
class Stack:
    """An image as slices along one axis.

    Attributes:
        volume: the image.
        axis: array axis of the slices.
        intensity: the same rule for all slices.
        first: lowest slice to fill.
        last: highest slice to fill.
    """

    volume: Volume
    axis: int
    intensity: Intensity
    first: int
    last: int

    def plane(self, index: int) -> SlicePlane:
        """A slice by its number."""
        return SlicePlane.of_axis(self.volume.size_ijk, self.axis, index)

    def picture(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8."""
        return rgb_from_slice(self.plane(index).extract(self.volume.array), self.intensity)


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d propagate` was asked for; no output file is touched unless there is a result.

    Returns:
        the exit code: 0, or 130 if it was stopped and wrote what was finished.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: it was stopped before anything was finished.
    """
    check_outputs(args, inputs=[args.mask])
    this = Run()
    with this.step("read"):
        volume = read_volume(args.image, frame=args.frame, series=args.series)
        drawn = read_segmentation(args.mask)
    this.notes += [*volume.notes, *advice_on(args, volume)]
    check_geometry(args.mask, drawn, volume)
    masks = chosen_masks(drawn, args.segment, args.mask)
    stack = _stack(args, this, volume, list(masks.values()))
    tracked = _tracked(drawn, masks, stack)
    objects = _to_fill(this, tracked, stack)
    zoom, predictor, stopped = _fill(args, this, stack, objects)
    if stopped and not any(one.found for one in objects):
        raise KeyboardInterrupt
    _note_gaps(this, objects)
    with StagedFiles() as staged:
        with this.step("write"):
            voxels: list[int] = []
            whole = _whole(stack, tracked, voxels)
            segments = [one.segment for one in tracked]
            lost = write_segmentation(staged.place(args.output), whole, volume, segments)
        _note_label_map(args, this, segments, [drawn.places[n][1] for n in masks], lost)
        if args.png:
            with this.step("draw"):
                write_png(staged.place(args.png), _pictures(stack, tracked))
        report = _report(args, this, predictor, zoom, stack, tracked, voxels, stopped)
        if args.json and args.json != "-":
            staged.place(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    tell(args, report, _summary(report))
    return CANCELLED if stopped else 0


# --- what is asked for --------------------------------------------------------------------------------------


def check_geometry(path: str, drawn: Segmentation, volume: Volume) -> None:
    """Refuse masks of another geometry than the image's.

    Raises:
        RequestError: the message says what to do.
    """
    advice = (
        "give the image that it was drawn on, or resample it to this image (in 3D Slicer: Segmentations, export "
        "to a labelmap with this image as reference volume)"
    )
    size = drawn.layers_lkji.shape[:0:-1]
    if size != volume.size_ijk:
        raise RequestError(
            f"{path}: has {_times(size)} voxels and the image {_times(volume.size_ijk)}, so it is of another "
            f"image; {advice}"
        )
    corners = np.array([[*np.array(c) * (np.array(size) - 1), 1] for c in np.ndindex(2, 2, 2)], float)
    off = np.linalg.norm(corners @ (drawn.ijk_to_ras - volume.ijk_to_ras).T, axis=1).max()
    if off > _SAME_GEOMETRY * volume.spacing_mm.min():
        raise RequestError(f"{path}: lies up to {off:.3g} mm away from the image; {advice}")


def chosen_masks(drawn: Segmentation, names: Sequence[str] | None, path: str) -> dict[int, np.ndarray]:
    """Masks (K, J, I) bool of the segments of these names, None for all, by their position in the file.

    Raises:
        RequestError: a name is not there, or every segment is empty.
    """
    there = [one.name for one in drawn.segments]
    missing = [name for name in names or () if name not in there]
    if missing:
        raise RequestError(f"{path}: no segment {missing[0]!r}; there are: {', '.join(there)}")
    masks = {
        n: drawn.layers_lkji[layer] == value
        for n, (layer, value) in enumerate(drawn.places)
        if names is None or there[n] in names
    }
    if not any(mask.any() for mask in masks.values()):
        raise RequestError(f"{path}: there is no keyframe, all segments are empty; segment one slice at least")
    return masks


def _stack(args: argparse.Namespace, this: Run, volume: Volume, masks: Sequence[np.ndarray]) -> Stack:
    axis = RequestBuilder(volume).array_axis(args.axis) if args.axis else fewest_slices(masks, volume.spacing_mm)
    count = volume.array.shape[axis]
    if count == 1:
        raise RequestError(f"{args.image}: has one slice {_along(axis, volume)}, there is nothing to propagate to")
    if args.axis is None:
        this.notes.append(f"slices {_along(axis, volume)}, where the fewest have a mask; --axis chooses others")
    first, last = args.range or (0, count - 1)
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: {_along(axis, volume)} are slices 0 to {count - 1}, lowest first")
    if args.every < 1:
        raise RequestError(f"--every {args.every}: give 1 or more")
    return Stack(volume, axis, for_all_slices(intensity_of(args, volume), volume.array), first, last)


def fewest_slices(masks: Sequence[np.ndarray], spacing_mm: np.ndarray) -> int:
    """The array axis along which the fewest slices have a mask; of several the one with the thickest slices."""
    counts = [sum(int(_shown(mask, axis).sum()) for mask in masks) for axis in range(3)]
    return min(range(3), key=lambda axis: (counts[axis], -float(spacing_mm[2 - axis])))


def _shown(mask_kji: np.ndarray, axis: int) -> np.ndarray:
    """(N,) bool: the slices along an array axis that are not empty."""
    return np.asarray(mask_kji.any(axis=tuple(a for a in range(3) if a != axis)))


def _tracked(drawn: Segmentation, masks: dict[int, np.ndarray], stack: Stack) -> list[Tracked]:
    colored = with_colors([drawn.segments[n] for n in masks])
    return [
        Tracked(
            segment,
            mask,
            {int(n): stack.plane(int(n)).extract(mask) for n in np.flatnonzero(_shown(mask, stack.axis))},
        )
        for segment, mask in zip(colored, masks.values(), strict=True)
    ]


def _to_fill(this: Run, tracked: Sequence[Tracked], stack: Stack) -> list[Tracked]:
    """Those that have keyframes, and slices without."""
    empty = [one.segment.name for one in tracked if not one.keyframes]
    if empty:
        this.notes.append(f"no keyframe, left empty: {', '.join(empty)}")
    shown = [one for one in tracked if one.keyframes]
    objects = [one for one in shown if spans_of(one.keyframes, stack.first, stack.last)]
    if not objects:
        raise RequestError(
            f"every slice from {stack.first} to {stack.last} has a mask {_along(stack.axis, stack.volume)}, there is "
            "nothing to fill; check --axis and --range"
        )
    full = [one.segment.name for one in shown if one not in objects]
    if full:
        this.notes.append(f"every slice is a keyframe, left as it is: {', '.join(full)}")
    return objects


# --- the work -----------------------------------------------------------------------------------------------


def _fill(
    args: argparse.Namespace, this: Run, stack: Stack, objects: Sequence[Tracked]
) -> tuple[bool, Predictor, bool]:
    """Fill slices until all are done or the user stops; whether with zoom, the model, and whether stopped."""
    from ..session import DEFAULT_CACHE_BYTES, Session
    from ..stack import check_memory, propagate_stack

    slices = stack.last - stack.first + 1
    check_memory(stack.plane(0).size_hw, slices, len(objects), DEFAULT_CACHE_BYTES)
    with this.step("load"):
        predictor = segment_command.load(args)
    zoom = predictor.prefers_zoom if args.zoom is None else args.zoom
    show = _progress(args, slices * len(objects))
    stopped = False
    with this.step("propagate"):
        try:
            for one in propagate_stack(
                Session(predictor),
                stack.picture,
                [one.keyframes for one in objects],
                stack.first,
                stack.last,
                zoom=zoom,
                every=args.every,
            ):
                objects[one.number].found[one.index] = one
                show(sum(len(each.found) for each in objects))
        except KeyboardInterrupt:
            stopped = True
    if args.progress or sys.stderr.isatty():
        print(file=sys.stderr)
    if stopped:
        this.notes.append("stopped: the slices that were finished are written, the others are empty")
    return zoom, predictor, stopped


def _progress(args: argparse.Namespace, most: int) -> Callable[[int], None]:
    if not (args.progress or sys.stderr.isatty()):
        return lambda done: None
    return lambda done: print(f"\rpropagating: {done} of at most {most} slices", end="", file=sys.stderr, flush=True)


def _note_gaps(this: Run, objects: Sequence[Tracked]) -> None:
    for one in objects:
        lost = sorted(index for index, found in one.found.items() if not found.mask.any())
        if lost:
            this.notes.append(f"{one.segment.name} was not found between keyframes, on {_listed(lost)}")


def _note_label_map(
    args: argparse.Namespace, this: Run, segments: Sequence[Segment], values: Sequence[int], lost: int
) -> None:
    """Say what a label map changes: voxels in two segments, and values."""
    if lost:
        this.notes.append(f"segments overlap: {lost} voxels went to the later one; .seg.nrrd keeps both")
    if suffix_of(args.output) != ".seg.nrrd" and list(values) != list(range(1, len(values) + 1)):
        words = ", ".join(f"{n} is {one.name}" for n, one in enumerate(segments, 1))
        this.notes.append(f"the label map counts its segments from 1: {words}")


def _whole(stack: Stack, tracked: Sequence[Tracked], voxels: list[int]) -> Iterator[np.ndarray]:
    """One (K, J, I) bool array after the other; their numbers of voxels are appended as they pass."""
    for one in tracked:
        whole = one.mask.copy()
        for index, found in one.found.items():
            stack.plane(index).insert(whole, found.mask, True)
        voxels.append(int(whole.sum()))
        yield whole


# --- what is told -------------------------------------------------------------------------------------------


def _report(
    args: argparse.Namespace,
    this: Run,
    predictor: Predictor,
    zoom: bool,
    stack: Stack,
    tracked: Sequence[Tracked],
    voxels: Sequence[int],
    stopped: bool,
) -> dict[str, Any]:
    """Everything about one call, of plain types."""
    voxel_ml = abs(float(np.linalg.det(stack.volume.ijk_to_ras[:3, :3]))) / 1000
    return {
        "image": str(args.image),
        "mask": str(args.mask),
        "output": str(args.output),
        "model": str(args.model),
        "zoom": zoom,
        "device": str(getattr(predictor, "device", "")),
        "precision": str(getattr(predictor, "precision", "")).removeprefix("torch."),
        "axis": "kji"[stack.axis],
        "range": [stack.first, stack.last],
        "every": args.every,
        "stopped": stopped,
        "segments": [
            _entry(one) | {"voxels": count, "volume_ml": count * voxel_ml}
            for one, count in zip(tracked, voxels, strict=True)
        ],
        "seconds": {name: round(value, 4) for name, value in this.seconds.items()},
        "notes": this.notes,
    }


def _entry(one: Tracked) -> dict[str, Any]:
    filled = {index: found for index, found in sorted(one.found.items()) if found.mask.any()}
    shown = [*one.keyframes, *filled]
    confidences = [found.confidence for found in one.found.values()]
    return {
        "name": one.segment.name,
        "color": list(one.segment.color or ()),
        "keyframes": sorted(one.keyframes),
        "filled": len(filled),
        "slice_range": [min(shown), max(shown)] if shown else None,
        "mean_confidence": round(float(np.mean(confidences)), 4) if confidences else None,
        "worst_confidence": round(min(confidences), 4) if confidences else None,
        "worst_slice": one.worst,
        "slices": [
            {
                "slice": index,
                "confidence": round(found.confidence, 4),
                "score": None if np.isnan(found.score) else round(found.score, 4),
                "pixels": int(found.mask.sum()),
            }
            for index, found in filled.items()
        ],
    }


def _summary(report: dict[str, Any]) -> Iterable[str]:
    for entry in report["segments"]:
        keyframes, filled = len(entry["keyframes"]), entry["filled"]
        text = f"{entry['name']}: {_counted(keyframes, 'keyframe')}, {_counted(filled, 'slice')} filled"
        if entry["slice_range"]:
            low, high = entry["slice_range"]
            text += f", slices {low} to {high}"
        if entry["worst_slice"] is not None:
            text += (
                f", confidence {entry['mean_confidence']:.2f}, lowest {entry['worst_confidence']:.2f} on slice "
                f"{entry['worst_slice']}"
            )
        yield f"{text}; {entry['voxels']} voxels, {rounded(entry['volume_ml'])} ml"
    yield written(report)


def _pictures(stack: Stack, tracked: Sequence[Tracked]) -> np.ndarray:
    """A sheet of slices: keyframes, the least certain ones, the ends, and some between."""
    pictures, captions = [], []
    for index in shown_slices(tracked):
        there = [(one, mask) for one in tracked if (mask := one.on(index)) is not None]
        layers = [MaskLayer(mask, one.segment.color or (1.0, 0.0, 0.0)) for one, mask in there]
        view = SliceView.of(stack.plane(index), stack.volume.ijk_to_ras, 320)
        pictures.append(draw_slice(stack.picture(index), view, layers))
        words = [_caption(one, index) for one, _ in there]
        captions.append("\n".join([f"slice {index} ({'kji'[stack.axis]})", *words]))
    return contact_sheet(pictures, captions)


def _caption(one: Tracked, index: int) -> str:
    if index in one.keyframes:
        return f"{one.segment.name}: keyframe"
    worst = " (lowest)" if index == one.worst else ""
    return f"{one.segment.name}: {one.found[index].confidence:.2f}{worst}"


def shown_slices(tracked: Sequence[Tracked], most: int = PICTURES) -> list[int]:
    """The slices of a sheet: the least certain ones first, then keyframes and ends, then an even choice."""
    everything = sorted({index for one in tracked for index in (*one.keyframes, *one.found)})
    wanted = [one.worst for one in tracked if one.worst is not None]
    wanted += [*_spread(sorted({n for one in tracked for n in one.keyframes}), 3), everything[0], everything[-1]]
    wanted = list(dict.fromkeys(wanted))[:most]
    return sorted({*wanted, *_spread([n for n in everything if n not in wanted], most - len(wanted))})


def _spread(items: Sequence[int], count: int) -> list[int]:
    """At most `count` of the items, evenly."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[round(place)] for place in places]


def _along(axis: int, volume: Volume) -> str:
    """Words for an axis: "along k (axial)"."""
    names = [name for name in ("axial", "coronal", "sagittal") if array_axis_of(name, volume.ijk_to_ras) == axis]
    return f"along {'kji'[axis]}" + (f" ({names[0]})" if names else "")


def _listed(indices: Sequence[int]) -> str:
    """Rising numbers as words: "18, 22 to 46"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _range(text: str) -> tuple[int, int]:
    try:
        first, last = (int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be two slices with a comma between them") from None
    return first, last
