"""What the user asks for on the command line: from options and files to prompts per segment and slice.

Coordinates of points and boxes:

- slice px (the default): X,Y = column and row of the slice, integer = pixel centre, slice from --slice;
  a box X0,Y0,X1,Y1 is half-open: it holds the columns X0 .. X1 - 1 and the rows Y0 .. Y1 - 1.
- --ijk: voxel indices I,J,K; the slice is the one that the point is on. A box I0,J0,K0,I1,J1,K1 holds both of
  its corner voxels.
- --ras: patient position R,A,S in mm; a box R0,A0,S0,R1,A1,S1 is the space between its corners.

A box in space gives a box on every slice that it crosses, or on --slice alone if that is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np

from SAMMed2DLib.cli.common.options import AXES
from SAMMed2DLib.imaging.affines import array_axis_of, ijk_from_ras, name_of_axis, ras_from_ijk
from SAMMed2DLib.imaging.geometry import OutsidePlaneError, OutsideVolumeError, SlicePlane, nearest_index
from SAMMed2DLib.inference.interaction import says_where
from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.io.markups import box_on_slice, read_fiducials, read_rois
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.system.formatting import shown, times

COORDINATES = ("xy", "ijk", "ras")
_STORED_AXES: dict[str, int] = {"k": 0, "j": 1, "i": 2}


class RequestError(ValueError):
    """What was asked for is incomplete or contradicts itself; the message says what to change."""


@dataclass
class SegmentRequest:
    """One segment and its prompts on each of its slices.

    Attributes:
        name: of the segment.
        color: red, green, blue in 0..1, or None for the next free one.
        prompts: by slice, in the order in which they were given.
        whole: their masks are keyframes, from which the object is followed through the other slices.
    """

    name: str
    color: tuple[float, float, float] | None = None
    prompts: dict[SlicePlane, Prompts] = field(default_factory=dict)
    whole: bool = False


@dataclass(frozen=True)
class PromptFrame:
    """Where prompts are meant to be.

    Attributes:
        coordinates: one of COORDINATES.
        axis: one of AXES, or None for the default.
        slice: its number, "mid", or None.
    """

    coordinates: str = "xy"
    axis: str | None = None
    slice: int | str | None = None


class RequestBuilder:
    """Collects prompts into segments.

    Attributes:
        volume: the image that will be segmented.
        segments: by their names.
        notes: what a user should know about the prompts.
    """

    def __init__(self, volume: Volume) -> None:
        """Start without segments.

        Args:
            volume: the image that will be segmented.
        """
        self.volume = volume
        self.segments: dict[str, SegmentRequest] = {}
        self.notes: list[str] = []

    def segment(self, name: str, color: tuple[float, float, float] | None = None) -> SegmentRequest:
        """The segment of this name, made if it is new."""
        if not name.strip():
            raise RequestError("a segment needs a name; give one after --segment")
        found = self.segments.setdefault(name, SegmentRequest(name))
        found.color = color if color is not None else found.color
        return found

    def finished(self, masks: Mapping[str, np.ndarray] | None = None) -> list[SegmentRequest]:
        """All segments, with their prompts checked against their slices.

        Args:
            masks: (K, J, I) bool by the names of segments that are there already, to be corrected.

        Raises:
            RequestError: a segment has no prompt, or only negative points on a slice.
            PromptError: prompts that do not fit their slice; the message names segment and slice.
        """
        if not any(segment.prompts for segment in self.segments.values()):
            raise RequestError("nothing to segment: give --point, --box, --prompts, --markups or --roi")
        for segment in self.segments.values():
            if not segment.prompts:
                raise RequestError(f"segment {segment.name!r} has no prompt; give --point or --box after it")
            segment.prompts = {
                plane: _checked(segment, plane, prompts, (masks or {}).get(segment.name))
                for plane, prompts in segment.prompts.items()
            }
        return list(self.segments.values())

    def add_points(
        self, segment: SegmentRequest, points: Sequence[Sequence[float]], labels: Iterable[int], place: PromptFrame
    ) -> None:
        """Add points, each on its slice.

        Args:
            segment: that they are of.
            points: each (x, y), px, or three coordinates in the frame of `place`.
            labels: 1 inside, 0 outside the object, one for each point.
            place: frame of the coordinates, axis and slice.

        Raises:
            RequestError, GeometryError: a point has the wrong number of coordinates, or is not in the image.
        """
        for point, label in zip(points, labels, strict=True):
            plane, xy = self._located(segment, _coordinates(point, place, 1), place)
            before = segment.prompts.get(plane, Prompts.of())
            segment.prompts[plane] = before.with_point(xy, label)

    def add_box(self, segment: SegmentRequest, box: Sequence[float], place: PromptFrame) -> None:
        """Add a box, on one slice or on all that it crosses.

        Args:
            segment: that it is of.
            box: (x0, y0, x1, y1), px, half-open, or two opposite corners of three coordinates in the frame of `place`;
                in "ijk" both corners' voxels lie inside.
            place: frame of the coordinates, axis and slice.

        Raises:
            RequestError, GeometryError: the box has the wrong number of coordinates, or is not in the image.
        """
        numbers = _coordinates(box, place, 2)
        if place.coordinates == "xy":
            plane = self.plane(place)
            self._set_box(segment, plane, numbers)
            size_xy = plane.size_hw[::-1]
            if (numbers < 0).any() or (numbers.reshape(2, 2) > size_xy).any():
                where = f"the slice of {times(size_xy)} px, and is cut at its edge"
                self.notes.append(f"segment {segment.name!r}: the box {_text(numbers)} reaches beyond {where}")
            return
        low, high = numbers.reshape(2, 3)
        if place.coordinates == "ijk":
            low, high = np.minimum(low, high) - 0.5, np.maximum(low, high) + 0.5
        corners = np.array([[(low, high)[end][axis] for axis, end in enumerate(c)] for c in product((0, 1), repeat=3)])
        self._add_box_in_space(segment, self._ijk(corners, place), place, "the box")

    def add_fiducials(self, segment: SegmentRequest, path: Path, place: PromptFrame, *, negative: bool = False) -> None:
        """Add the points of a markups file, each on its slice; with --slice only that slice's points fit.

        Args:
            segment: that they are of.
            path: of the markups file.
            place: axis, and the slice that points must lie on if it names one.
            negative: take all points as outside the object.

        Raises:
            MarkupsError: the file cannot be used.
            GeometryError: a point is not in the image.
        """
        fiducials = read_fiducials(path, negative=negative)
        self.add_points(segment, fiducials.points_ras.tolist(), fiducials.labels.tolist(), _in_ras(place))

    def add_rois(self, segment: SegmentRequest, path: Path, place: PromptFrame) -> None:
        """Add the ROI boxes of a markups file.

        Args:
            segment: that they are of.
            path: of the markups file.
            place: axis, and the slice if it names one.

        Raises:
            MarkupsError: the file cannot be used.
            GeometryError: a box is not in the image.
        """
        for roi in read_rois(path):
            corners_ijk = ijk_from_ras(roi.corners_ras, self.volume.ijk_to_ras)
            self._add_box_in_space(segment, corners_ijk, _in_ras(place), f"the ROI of {path}")

    def take_candidate(self, segment: SegmentRequest, number: int) -> None:
        """Take a candidate after the prompts that a segment has so far, on each of its slices.

        Raises:
            RequestError: there are no prompts yet.
            PromptError: the number is not one from 1 on.
        """
        if not segment.prompts:
            raise RequestError(f"segment {segment.name!r}: give the prompts first, then --candidate {number}")
        segment.prompts = {plane: prompts.with_candidate(number) for plane, prompts in segment.prompts.items()}

    def set_choices(self, segment: SegmentRequest, choices: Sequence[tuple[int, int]], place: PromptFrame) -> None:
        """Take candidates on one slice.

        Args:
            segment: has prompts on the slice; they are changed.
            choices: (number of points before it, number of the candidate, from 1) each.
            place: names the slice.

        Raises:
            RequestError: the slice is not named, or has no prompts.
            PromptError: a number is not one from 1 on.
        """
        plane = self._slice_with_prompts(segment, place, "candidates")
        segment.prompts[plane] = replace(segment.prompts[plane], choices=tuple(choices))

    def set_accepted(self, segment: SegmentRequest, counts: Sequence[int], place: PromptFrame) -> None:
        """Accept the mask on one slice after some of its prompts; arguments as of `set_choices`.

        Args:
            segment: has prompts on the slice; they are changed.
            counts: numbers of points and strokes before that.
            place: names the slice.

        Raises:
            RequestError: the slice is not named, or has no prompts.
            PromptError: a number is not a whole one from 0 on.
        """
        plane = self._slice_with_prompts(segment, place, "accepted masks")
        segment.prompts[plane] = replace(segment.prompts[plane], accepted=tuple(counts))

    def _slice_with_prompts(self, segment: SegmentRequest, place: PromptFrame, what: str) -> SlicePlane:
        plane = self.plane(place)
        if plane not in segment.prompts:
            raise RequestError(f"segment {segment.name!r}: {what} without prompts on {slice_text(plane)}")
        return plane

    def plane(self, place: PromptFrame) -> SlicePlane:
        """The slice that a place names.

        Raises:
            RequestError: it names none.
        """
        axis = self.array_axis(place.axis)
        count = self.volume.array.shape[axis]
        index = place.slice
        if index is None and count > 1:
            raise RequestError(f"which of the {count} slices? give --slice 0 to {count - 1}, or --slice mid")
        return self._plane_at(axis, count // 2 if index in (None, "mid") else int(index or 0))

    def array_axis(self, axis: str | None) -> int:
        """The array axis of the slices; without a choice the one with a single slice, else axial."""
        if axis is None:
            single = [n for n, count in enumerate(self.volume.array.shape[:3]) if count == 1]
            return single[0] if len(single) == 1 else array_axis_of("axial", self.volume.ijk_to_ras)
        if axis not in AXES:
            raise RequestError(f"there is no axis {shown(axis)}; choose one of {', '.join(AXES)}")
        return array_axis_of(_STORED_AXES.get(axis, axis), self.volume.ijk_to_ras)

    def _plane_at(self, axis: int, index: int) -> SlicePlane:
        return SlicePlane.of_axis(self.volume.size_ijk, axis, index, self.volume.ijk_to_ras)

    def _ijk(self, points: np.ndarray, place: PromptFrame) -> np.ndarray:
        return ijk_from_ras(points, self.volume.ijk_to_ras) if place.coordinates == "ras" else points

    def _located(self, segment: SegmentRequest, point: np.ndarray, place: PromptFrame) -> tuple[SlicePlane, np.ndarray]:
        """The slice that a point is on, and its place there."""
        if place.coordinates == "xy":
            return self.plane(place), point
        point_ijk = self._ijk(point[None], place)
        axis = self.array_axis(place.axis)
        count = self.volume.array.shape[axis]
        nearest = int(np.clip(nearest_index(point_ijk[0, 2 - axis]), 0, count - 1))
        plane = self._plane_at(axis, nearest) if place.slice is None else self.plane(place)
        try:
            return plane, plane.xy_from_ijk(point_ijk)[0]
        except OutsideVolumeError as error:
            where = f"is outside the image: {self._bounds(place)}"
            raise RequestError(f"segment {segment.name!r}: the point {_text(point)} {where}") from error
        except OutsidePlaneError as error:
            where = f"is not on {slice_text(plane)}, it is on {slice_text(self._plane_at(axis, nearest))}"
            raise RequestError(
                f"segment {segment.name!r}: the point {_text(point)} {where}; choose that one, or leave --slice out, "
                "so that each point finds its own slice"
            ) from error

    def _bounds(self, place: PromptFrame) -> str:
        """Words for what coordinates the image has."""
        size = np.array(self.volume.size_ijk)
        corners = np.array(list(product(*((-0.5, n - 0.5) for n in size))))
        if place.coordinates == "ras":
            corners = ras_from_ijk(corners, self.volume.ijk_to_ras)
            ends = [f"{low:.1f} to {high:.1f} mm" for low, high in zip(corners.min(0), corners.max(0), strict=True)]
        else:
            ends = [f"0 to {n - 1}" for n in size]
        names = "RAS" if place.coordinates == "ras" else "IJK"
        return ", ".join(f"{name} goes from {end}" for name, end in zip(names, ends, strict=True))

    def _add_box_in_space(
        self, segment: SegmentRequest, corners_ijk: np.ndarray, place: PromptFrame, words: str
    ) -> None:
        axis = self.array_axis(place.axis)
        if place.slice is None:
            along = corners_ijk[:, 2 - axis]
            first = max(0, int(np.floor(along.min())))
            last = min(self.volume.array.shape[axis] - 1, int(np.ceil(along.max())))
            planes = [self._plane_at(axis, index) for index in range(first, last + 1)]
        else:
            planes = [self.plane(place)]
        boxes = [(plane, box_on_slice(*plane.project(corners_ijk))) for plane in planes]
        inside = [(plane, box) for plane, box in boxes if box is not None and _meets(plane, box)]
        if not inside:
            where = "slice of the image" if place.slice is None else f"part of slice {place.slice}"
            raise RequestError(f"segment {segment.name!r}: {words} is in no {where}; check its place and --axis")
        for plane, box in inside:
            self._set_box(segment, plane, box)

    def _set_box(self, segment: SegmentRequest, plane: SlicePlane, box: np.ndarray) -> None:
        before = segment.prompts.get(plane, Prompts.of())
        if before.box_xyxy is not None:
            raise RequestError(
                f"segment {segment.name!r} has two boxes on {slice_text(plane)}; give each its own --segment"
            )
        segment.prompts[plane] = before.with_box(box)


def along(axis: int, volume: Volume) -> str:
    """Words for an axis: "along k (axial)"."""
    return f"along {'kji'[axis]} ({name_of_axis(axis, volume.ijk_to_ras)})"


def slice_text(plane: SlicePlane) -> str:
    """Words for a slice: "slice 40 (k)"."""
    axis, index = axis_and_index(plane)
    return f"slice {index} ({'kji'[axis]})"


def legend_of(plane: SlicePlane, volume: Volume) -> str:
    """Words for a slice and where it is: "axial slice 40 of 0 to 59"; of a picture "the only slice"."""
    axis, index = axis_and_index(plane)
    if volume.array.shape[axis] == 1:
        return "the only slice"
    return f"{name_of_axis(axis, volume.ijk_to_ras)} slice {index} of 0 to {volume.array.shape[axis] - 1}"


def axis_and_index(plane: SlicePlane) -> tuple[int, int]:
    """Array axis and number of one of the volume's own slices."""
    normal = int(np.abs(np.cross(plane.column_step_ijk, plane.row_step_ijk)).argmax())
    return 2 - normal, int(plane.origin_ijk[normal])


def _checked(segment: SegmentRequest, plane: SlicePlane, prompts: Prompts, mask: np.ndarray | None) -> Prompts:
    where = f"segment {segment.name!r}, {slice_text(plane)}"
    try:
        checked = prompts.checked(plane.size_hw)
    except PromptError as error:
        raise RequestError(f"{where}: {error}") from error
    is_there = mask is not None and plane.extract(mask).any()
    if not says_where(checked) and not is_there:
        raise RequestError(f"{where}: has only negative points; add a positive point or a box there")
    return checked


def _coordinates(numbers: Sequence[float], place: PromptFrame, corners: int) -> np.ndarray:
    """The numbers of a point (1 corner) or a box (2), in the right count and finite."""
    names = {"xy": "X,Y", "ijk": "I,J,K", "ras": "R,A,S"}[place.coordinates]
    array = np.array(numbers, dtype=np.float64)
    if array.shape != ((names.count(",") + 1) * corners,):
        thing = "a point" if corners == 1 else "a box"
        wanted = names if corners == 1 else ",".join(f"{n}{end}" for end in (0, 1) for n in names.split(","))
        raise RequestError(f"{thing} in {place.coordinates} coordinates is {wanted}, not {_text(numbers)}")
    if not np.isfinite(array).all():
        raise RequestError(f"coordinates must be finite numbers, not {_text(numbers)}")
    return array


def _meets(plane: SlicePlane, box: np.ndarray) -> bool:
    height, width = plane.size_hw
    return bool(box[2] > 0 and box[3] > 0 and box[0] < width and box[1] < height)


def _in_ras(place: PromptFrame) -> PromptFrame:
    return PromptFrame("ras", place.axis, place.slice)


def _text(numbers: Iterable[float]) -> str:
    return ",".join(f"{n:g}" for n in numbers)
