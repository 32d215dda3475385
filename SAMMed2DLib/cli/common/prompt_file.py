"""The JSON file of prompts, for several slices and segments in one call.

Keys that are not listed here are refused, so that a slip of the pen is not a lost prompt:

    {"coordinates": "xy",                                   xy (default), ijk or ras
     "axis": "axial",                                       default of the prompts below; else --axis
     "segments": [
       {"name": "liver", "color": [0.8, 0.4, 0.3],          color may be left out
        "prompts": [
          {"slice": 40, "axis": "axial",                    slice: number or "mid"; not needed with ijk, ras
           "points": [[120, 88, 1], [10, 12, 0], [118, 90, 1]],    in their order: 1 on the object, 0 beside it
           "box": [80, 60, 180, 140]}]}]}

Points and boxes are as on the command line, see the head of `cli.prompts`. Points whose order does not matter may be
given as "positive": [[120, 88]] and "negative": [[10, 12], [30, 31]]; they come before those of "points", the positive
ones first. "candidates": [[1, 2], [3, 1]] takes the second of the candidates after one point, the first after three.
"accepted": [2] accepts the mask after two points and strokes: later ones change it near themselves only.
"strokes" are scribbles and lassos: {"points": [[100, 80], [130, 85]], "inside": true, "closed": false, "after": 1}, the
corners of a line, drawn after the first point; what is left out is as here, and it comes after all points. A segment
with "whole": true is followed from the masks of its prompts through the other slices until it ends.

The report that `sammed2d segment --json` writes is such a file too, see `cli.common.provenance`; what is no prompt
there is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from SAMMed2DLib.cli.common.markups_options import add_stroke, strokes_of
from SAMMed2DLib.cli.common.prompt_options import COORDINATES, PromptFrame, RequestBuilder, RequestError, SegmentRequest
from SAMMed2DLib.cli.common.provenance import report_in
from SAMMed2DLib.imaging.geometry import GeometryError
from SAMMed2DLib.inference.prompts import PromptError
from SAMMed2DLib.io.segmentation_io import LABELMAP_SUFFIXES
from SAMMed2DLib.system.files import read_json, suffix_of
from SAMMed2DLib.system.formatting import json_kind, shown

_LARGEST = 1e12  # of a coordinate
_PROMPT_KINDS: dict[str, Any] = {
    "slice": (int, str),
    "axis": str,
    "positive": list,
    "negative": list,
    "points": list,
    "box": list,
    "candidates": list,
    "accepted": list,
    "strokes": list,
}
_STROKE_KINDS: dict[str, Any] = {"points": list, "inside": bool, "closed": bool, "after": int}


def add_json(builder: RequestBuilder, path: Path, place: PromptFrame) -> None:
    """Add the segments of a prompts file (its structure: the head of this module).

    Args:
        builder: takes the segments.
        path: of the file.
        place: frame, axis and slice of prompts that name none themselves.

    Raises:
        RequestError: the file is missing, no JSON, or has another structure; the message says where.
        GeometryError: a prompt is not in the image.
    """
    report = report_in(path)
    if report is None:
        content = _read(path)
        if isinstance(content, dict) and "markups" in content:
            raise RequestError(f"{path}: holds markups of 3D Slicer; give points with --markups, and an ROI with --roi")
    else:
        content = {"segments": [_prompts_of(segment) for segment in _listed(report.get("segments"))]}
    top = _object(content, f"{path}", {"coordinates": str, "axis": str, "segments": list})
    coordinates = top.get("coordinates", "xy")
    if coordinates not in COORDINATES:
        raise RequestError(f"{path}: coordinates must be one of {', '.join(COORDINATES)}, not {shown(coordinates)}")
    place = PromptFrame(coordinates, top.get("axis", place.axis), place.slice)
    for number, entry in enumerate(top.get("segments", [])):
        _add_json_segment(builder, entry, f"{path}: segments[{number}]", place)


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise RequestError(f"{path}: cannot be opened: {error.strerror}") from error
    except ValueError as error:
        mask = "; a mask goes with --mask" if suffix_of(path) in LABELMAP_SUFFIXES else ""
        raise RequestError(f"{path}: is no JSON: {error}{mask}") from error


def _prompts_of(entry: Any) -> Any:
    """A segment of a report without what is no prompt."""
    if not isinstance(entry, dict):
        return entry
    prompts = [
        {key: prompt[key] for key in _PROMPT_KINDS if key in prompt} if isinstance(prompt, dict) else prompt
        for prompt in _listed(entry.get("prompts"))
    ]
    return {key: entry[key] for key in ("name", "color", "whole") if key in entry} | {"prompts": prompts}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _add_json_segment(builder: RequestBuilder, entry: Any, where: str, place: PromptFrame) -> None:
    fields = _object(entry, where, {"name": str, "color": list, "prompts": list, "whole": bool})
    if "name" not in fields:
        raise RequestError(f"{where}: needs a name")
    if not fields.get("prompts", [None]):  # a segment of a report that was only carried along
        return
    segment = builder.segment(fields["name"], _color(fields.get("color"), where))
    segment.whole = segment.whole or fields.get("whole", False)
    for number, prompt in enumerate(fields.get("prompts", [])):
        inner = f"{where}.prompts[{number}]"
        given = _object(prompt, inner, _PROMPT_KINDS)
        at = PromptFrame(place.coordinates, given.get("axis", place.axis), given.get("slice", place.slice))
        if isinstance(at.slice, str) and at.slice != "mid":
            raise RequestError(f'{inner}: slice is a number or "mid", not {shown(at.slice)}')
        with _named(inner):
            _add_json_prompt(builder, segment, given, at)


def _add_json_prompt(
    builder: RequestBuilder, segment: SegmentRequest, given: Mapping[str, Any], at: PromptFrame
) -> None:
    for key, label in (("positive", 1), ("negative", 0)):
        points = [_number_list(point, key) for point in given.get(key, [])]
        builder.add_points(segment, points, [label] * len(points), at)
    ordered = [_labelled(point) for point in given.get("points", [])]
    builder.add_points(segment, [numbers for numbers, _ in ordered], [label for _, label in ordered], at)
    if "box" in given:
        builder.add_box(segment, _number_list(given["box"], "box"), at)
    count = sum(len(given.get(key, [])) for key in ("positive", "negative", "points"))
    strokes = [_stroke(entry) for entry in given.get("strokes", [])]
    for stroke in strokes_of(strokes, count):
        add_stroke(builder, segment, stroke, at)
    if given.get("candidates"):
        builder.set_choices(segment, [_choice(pair) for pair in given["candidates"]], at)
    if given.get("accepted"):
        builder.set_accepted(segment, given["accepted"], at)


def _stroke(entry: Any) -> dict[str, Any]:
    """A scribble or lasso of "strokes", with its points as numbers."""
    fields = _object(entry, "strokes", _STROKE_KINDS)
    points = [_number_list(point, "strokes") for point in fields.get("points", [])]
    if not points or len({len(point) for point in points}) != 1 or len(points[0]) not in (2, 3):
        raise RequestError(f"the points of strokes are lists of as many numbers each, not {shown(entry)}")
    return {**fields, "points": points}


def _choice(pair: Any) -> tuple[int, int]:
    """After how many points which candidate is taken."""
    numbers = _number_list(pair, "candidates")
    if len(numbers) != 2 or not all(number.is_integer() for number in numbers):
        raise RequestError(f"candidates are pairs of a number of points and a candidate's number, not {shown(pair)}")
    return int(numbers[0]), int(numbers[1])


def _labelled(point: Any) -> tuple[list[float], int]:
    """The coordinates of a point of "points", and its side."""
    numbers = _number_list(point, "points")
    if not numbers or numbers[-1] not in (0, 1):
        found = shown(point)
        raise RequestError(f"the last number of each of the points is 1 on the object or 0 beside it, not {found}")
    return numbers[:-1], int(numbers[-1])


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say where in the file the trouble is."""
    try:
        yield
    except (RequestError, GeometryError, PromptError) as error:
        raise RequestError(f"{where}: {error}") from error


def _object(value: Any, where: str, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with none but these keys, of these types."""
    if not isinstance(value, dict):
        raise RequestError(f"{where}: must be an object with the keys {', '.join(kinds)}")
    for key, item in value.items():
        if key not in kinds:
            raise RequestError(f"{where}: unknown key {shown(key)}; known are {', '.join(kinds)}")
        if not isinstance(item, kinds[key]) or (isinstance(item, bool) and kinds[key] is not bool):
            raise RequestError(f"{where}.{key}: has the wrong type ({json_kind(item)})")
    return value


def _number_list(value: Any, what: str) -> list[float]:
    is_list = isinstance(value, list)
    if not is_list or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in value):
        raise RequestError(f"{what} must hold lists of numbers, not {shown(value)}")
    if any(abs(n) > _LARGEST for n in value):
        raise RequestError(f"{what} must hold numbers that mean something, not {shown(value)}")
    return [float(n) for n in value]


def _color(value: Any, where: str) -> tuple[float, float, float] | None:
    if value is None:
        return None
    numbers = _number_list(value, f"{where}.color")
    if len(numbers) != 3 or not all(0 <= n <= 1 for n in numbers):
        raise RequestError(f"{where}.color: is three numbers from 0 to 1, not {shown(value)}")
    return numbers[0], numbers[1], numbers[2]
