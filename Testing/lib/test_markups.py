"""Slicer's point lists and ROI boxes become prompts at the right place with the right sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.io.markups import MarkupsError, box_on_slice, kind_of, read_curves, read_fiducials, read_rois

LPS_IDENTITY = [-1.0, -0.0, -0.0, -0.0, -1.0, -0.0, 0.0, 0.0, 1.0]


def a_point(position: Any, label: str = "F-1", description: str = "", status: str = "defined") -> dict[str, Any]:
    return {
        "id": "1",
        "label": label,
        "description": description,
        "position": position,
        "orientation": LPS_IDENTITY,
        "positionStatus": status,
    }


def a_list(folder: Path, *points: dict[str, Any], name: str = "F.mrk.json", system: Any = "LPS") -> Path:
    markup = {
        "type": "Fiducial",
        "coordinateSystem": system,
        "coordinateUnits": "mm",
        "controlPoints": list(points),
    }
    return a_json(folder, {"@schema": "…/markups-schema-v1.0.4.json#", "markups": [markup]}, name)


def an_roi(folder: Path, **changes: Any) -> Path:
    markup = {
        "type": "ROI",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "roiType": "Box",
        "center": [-1.0, -2.0, 3.0],
        "orientation": LPS_IDENTITY,
        "size": [10.0, 20.0, 30.0],
        "insideOut": False,
    }
    return a_json(folder, {"markups": [{**markup, **changes}]}, "R.mrk.json")


def a_json(folder: Path, content: Any, name: str) -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("system", ["LPS", "RAS", 0, 1])
def test_the_coordinate_system_of_the_file_is_honoured(tmp_path: Path, system: Any) -> None:
    points = read_fiducials(a_list(tmp_path, a_point([1.0, 2.0, 3.0]), system=system)).points_ras
    expected = [[1.0, 2.0, 3.0]] if system in ("RAS", 0) else [[-1.0, -2.0, 3.0]]
    np.testing.assert_array_equal(points, expected)


def test_a_file_without_a_coordinate_system_is_in_lps_as_in_slicer(tmp_path: Path) -> None:
    path = a_json(tmp_path, {"markups": [{"type": "Fiducial", "controlPoints": [a_point([1, 2, 3])]}]}, "F.json")
    np.testing.assert_array_equal(read_fiducials(path).points_ras, [[-1.0, -2.0, 3.0]])


@pytest.mark.parametrize(
    ("name", "label", "description", "expected"),
    [
        ("F", "F-1", "", 1),
        ("F", "liver negative-7", "", 0),
        ("F", "Neg", "", 0),
        ("F", "-", "", 0),
        ("F", "- vessel", "", 0),
        ("F", "+", "negative", 0),
        ("F", "liver-negative-3", "positive", 1),
        ("F", "renegade-1", "", 1),
        ("F", "negative margin-1", "", 1),
        ("liver_negative", "F-1", "", 0),
        ("liver_negative", "pos", "", 1),
        ("liver_negative_2", "F-1", "", 0),
        ("negative_control", "F-1", "", 1),
    ],
)
def test_the_sign_of_a_point_is_by_its_description_its_label_and_its_file(
    tmp_path: Path, name: str, label: str, description: str, expected: int
) -> None:
    path = a_list(tmp_path, a_point([0, 0, 0], label, description), name=f"{name}.mrk.json")
    assert read_fiducials(path).labels.tolist() == [expected]


def test_a_file_given_as_negative_has_only_negative_points(tmp_path: Path) -> None:
    path = a_list(tmp_path, a_point([0, 0, 0], "+"), a_point([1, 0, 0], "F-2"))
    assert read_fiducials(path, negative=True).labels.tolist() == [0, 0]


def test_points_that_were_not_placed_are_left_out(tmp_path: Path) -> None:
    path = a_list(tmp_path, a_point("", status="undefined"), a_point([1, 2, 3]), a_point([9, 9, 9], status="preview"))
    np.testing.assert_array_equal(read_fiducials(path).points_ras, [[-1, -2, 3]])


def test_an_roi_has_the_corners_that_slicer_gives_it(tmp_path: Path) -> None:
    corners = read_rois(an_roi(tmp_path))[0].corners_ras
    np.testing.assert_allclose(corners.min(axis=0), [-4, -8, -12])
    np.testing.assert_allclose(corners.max(axis=0), [6, 12, 18])


def test_a_rotated_roi_has_the_bounds_that_slicer_gives_it(tmp_path: Path) -> None:
    orientation = [
        *(-0.8660254037844386, 0.4698463103929541, -0.1710100716628343),
        *(-0.4999999999999999, -0.8137976813493737, 0.2961981327260238),
        *(0.0, 0.34202014332566866, 0.9396926207859083),
    ]
    corners = read_rois(an_roi(tmp_path, orientation=orientation))[0].corners_ras
    np.testing.assert_allclose(corners.min(axis=0), [-10.59374119779425, -13.080948804384093, -14.51559074504531])
    np.testing.assert_allclose(corners.max(axis=0), [12.59374119779425, 17.080948804384093, 20.51559074504531])


def corners_of(low: tuple[float, float, float], high: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[(low, high)[b][a] for a, b in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    return corners[:, :2], corners[:, 2]


def test_a_box_across_the_slice_covers_the_pixels_that_it_contains() -> None:
    # From the left edge of column 3 to the right edge of column 5: half-open 3..6.
    xy, distances = corners_of((2.5, 0.5, -4.0), (5.5, 9.5, 4.0))
    box = box_on_slice(xy, distances)
    assert box is not None
    np.testing.assert_allclose(box, [3, 1, 6, 10])


@pytest.mark.parametrize(
    ("low", "high", "is_there"),
    [
        (-1.0, 0.0, True),  # its face lies in the slice
        (0.0, 0.0, True),  # flat, in the slice
        (0.1, 0.3, True),  # thinner than a slice, nearest to this one
        (0.6, 0.9, False),  # nearest to the next one
        (0.1, 1.0, False),  # reaches the next slice
        (0.5, 2.0, False),
        (-3.0, -1.0, False),
    ],
)
def test_a_box_is_on_the_slices_whose_middle_it_reaches(low: float, high: float, is_there: bool) -> None:
    box = box_on_slice(*corners_of((0.0, 0.0, low), (4.0, 4.0, high)))
    assert (box is not None) == is_there


@pytest.mark.parametrize("signs", ["----++++", "--++--++", "-+-+-+-+", "-++++++-"])
def test_a_flat_box_in_the_slice_keeps_its_corners_whatever_the_rounding(signs: str) -> None:
    # A flat ROI has its corners in the slice up to the last bits, some above and some below it.
    xy, distances = corners_of((2.5, 0.5, 0.0), (5.5, 9.5, 0.0))
    box = box_on_slice(xy, distances + [1e-14 if sign == "+" else -1e-14 for sign in signs])
    assert box is not None
    np.testing.assert_allclose(box, [3, 1, 6, 10])


@given(angle=st.floats(0, np.pi), offset=st.floats(-3, 3), depth=st.floats(0.5, 5))
@settings(max_examples=50, deadline=None)
def test_a_tilted_box_is_cut_exactly(angle: float, offset: float, depth: float) -> None:
    xy, distances = corners_of((-4.0, -2.0, -depth), (4.0, 2.0, depth))
    x = xy[:, 0] * np.cos(angle) - distances * np.sin(angle)
    z = xy[:, 0] * np.sin(angle) + distances * np.cos(angle) + offset
    box = box_on_slice(np.column_stack([x, xy[:, 1]]), z)
    if z.min() > -0.05 or z.max() < 0.05:
        return  # the slice misses the box or only grazes it
    # The ends of the cut lie on the box's four sides: solve "height = 0" along each of them.
    sine, cosine = np.sin(angle), np.cos(angle)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ends = [(-(side * cosine + offset) / sine, side) for side in (-depth, depth)]
        ends += [(side, -(side * sine + offset) / cosine) for side in (-4.0, 4.0)]
    across = [a * cosine - b * sine for a, b in ends if abs(a) <= 4 + 1e-9 and abs(b) <= depth + 1e-9]
    assert box is not None and len(across) >= 2
    np.testing.assert_allclose(box - 0.5, [min(across), -2, max(across), 2], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "not JSON"),
        ("[1, 2]", "not of Slicer's markups"),
        ('{"markups": []}', "not of Slicer's markups"),
        ('{"markups": [{"type": "Line", "controlPoints": []}]}', "holds a Line, where a point list"),
        ('{"markups": [{"type": "Fiducial", "controlPoints": []}]}', "no placed point"),
        ('{"markups": [{"type": "Fiducial", "coordinateSystem": "XYZ"}]}', "unknown coordinate system 'XYZ'"),
        ('{"markups": [{"type": "Fiducial", "coordinateUnits": "um"}]}', "save it in mm"),
        (
            '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": [1, 2]}]}]}',
            "position must be 3 finite",
        ),
        (
            '{"markups": [{"type": "Fiducial", "controlPoints": [{"position": [1, 2, NaN]}]}]}',
            "position must be 3 finite",
        ),
    ],
)
def test_a_bad_point_list_is_refused_with_the_reason(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "F.mrk.json"
    path.write_text(content)
    with pytest.raises(MarkupsError, match=words):
        read_fiducials(path)


def test_a_missing_file_and_a_wrong_roi_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MarkupsError, match="cannot be opened"):
        read_fiducials(tmp_path / "nothing.mrk.json")
    with pytest.raises(MarkupsError, match="its ROI is a Sphere; use a box"):
        read_rois(an_roi(tmp_path, roiType="Sphere"))
    with pytest.raises(MarkupsError, match="size must be 3 finite numbers"):
        read_rois(an_roi(tmp_path, size=[1.0, "x", 2.0]))
    with pytest.raises(MarkupsError, match=r"where an ROI \(type ROI\) is needed"):
        read_rois(a_list(tmp_path, a_point([0, 0, 0])))


@pytest.mark.parametrize(("kind", "is_closed"), [("Curve", False), ("ClosedCurve", True)])
def test_a_curve_is_read_with_its_side_and_its_points(tmp_path: Path, kind: str, is_closed: bool) -> None:
    points = [a_point([1, 2, 3], description="negative"), a_point([4, 5, 6]), a_point([7, 8, 9], status="undefined")]
    markup = {"type": kind, "coordinateSystem": "LPS", "controlPoints": points}
    path = a_json(tmp_path, {"markups": [markup, {**markup, "controlPoints": points[1:]}]}, "C.mrk.json")
    first, second = read_curves(path)
    np.testing.assert_array_equal(first.points_ras, [(-1, -2, 3), (-4, -5, 6)])
    assert (first.label, first.is_closed, second.label) == (0, is_closed, 1)
    assert [curve.label for curve in read_curves(path, negative=True)] == [0, 0]
    assert kind_of(path) == kind


def test_a_curve_without_a_point_is_refused(tmp_path: Path) -> None:
    path = a_json(tmp_path, {"markups": [{"type": "Curve", "controlPoints": []}]}, "C.mrk.json")
    with pytest.raises(MarkupsError, match="a curve without a placed point; draw it in Slicer"):
        read_curves(path)
    with pytest.raises(MarkupsError, match="holds a Fiducial, where a curve"):
        read_curves(a_list(tmp_path, a_point([1, 2, 3])))
