"""What is written is what was shown, or it is said what was not and why: geometry, surfaces, neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from editor_fixture import GEOMETRIES, INSIDE, EditorFixture, a_volume, affine
from module_kit import a_case, on_slice


def small_geometry(segmentation, ijk_to_ras, origin=(20, 15, 5), size_kji=(10, 10, 10)):
    """Let a segmentation reach to a part of its volume only."""
    small = a_volume(np.zeros(size_kji, np.uint8), ijk_to_ras @ affine(origin=origin))
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(small)
    slicer.mrmlScene.RemoveNode(small)


def within(structure: np.ndarray, origin=(20, 15, 5), size=10) -> np.ndarray:
    found = np.zeros_like(structure)
    i, j, k = origin
    at = np.s_[k : k + size, j : j + size, i : i + size]
    found[at] = structure[at]
    return found


def neighbour(case, segment_id="B") -> np.ndarray:
    """The left half of the structure as another segment."""
    half = case.structure.copy()
    half[:, :, 25:] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(half.astype(np.uint8), case.segmentation, segment_id, case.volume)
    return half


def surface_segment(segmentation, middle_ras, radius_mm=4.0, name="S") -> str:
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*middle_ras)
    sphere.SetRadius(radius_mm)
    sphere.SetThetaResolution(40)
    sphere.SetPhiResolution(40)
    sphere.Update()
    return segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), name, [1, 0, 0])


def of_surfaces(case) -> str:
    """Make the case's segmentation one of a single surface, a ball beside the structure."""
    segments = case.segmentation.GetSegmentation()
    segments.RemoveAllSegments()
    segments.SetSourceRepresentationName("Closed surface")
    return surface_segment(case.segmentation, case.world((48, 38, 10))[0])


def ball(case) -> np.ndarray:
    k, j, i = np.mgrid[tuple(slice(0, n) for n in case.structure.shape)]
    return (i - 48) ** 2 + (j - 38) ** 2 + (k - 10) ** 2 < 3**2


# Geometry


@pytest.mark.parametrize("geometry", ["plain", "turned"])
def test_the_effect_says_what_the_geometry_of_the_segmentation_cuts(model, geometry):
    fixture = EditorFixture(model, GEOMETRIES[geometry])
    small_geometry(fixture.segmentation, fixture.ijk_to_ras)
    fixture.click()
    fixture.accept()
    shown, kept = fixture.structure[10], within(fixture.structure)[10]
    np.testing.assert_array_equal(fixture.segment()[10], kept)
    words = f"Accepted: {kept.sum()} voxels changed. {shown.sum() - kept.sum()} of {shown.sum()} px lie outside"
    assert (
        words in fixture.status.text and "Specify geometry" in fixture.status.text and fixture.status.level == "warning"
    )


def test_where_the_geometry_does_not_reach_at_all_the_effect_says_so(model):
    fixture = EditorFixture(model)
    small_geometry(fixture.segmentation, fixture.ijk_to_ras, origin=(0, 0, 15), size_kji=(5, 10, 10))
    fixture.click()
    fixture.accept()
    assert not fixture.segment().any()
    assert "370 of 370 px lie outside the segmentation's geometry" in fixture.status.text and len(fixture.shown) == 1


def test_python_says_how_much_lies_outside(logic):
    case = a_case()
    small_geometry(case.segmentation, np.eye(4))
    found = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    kept = int(within(case.structure)[10].sum())
    assert (found.voxels, found.changed) == (kept, kept)
    assert found.outside_px == found.mask.sum() - kept > 0


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_finer_or_coarser_geometry_of_the_whole_volume_cuts_nothing(logic, factor):
    case = a_case()
    size = [int(np.ceil(n / factor)) for n in case.structure.shape]
    other = a_volume(np.zeros(size, np.uint8), affine([factor] * 3, [(factor - 1) / 2] * 3))
    case.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    found = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    assert found.outside_px == 0 and found.changed == found.voxels > 0


def test_a_propagation_says_what_the_geometry_cuts(logic):
    case = a_case()
    small_geometry(case.segmentation, np.eye(4), origin=(0, 0, 8), size_kji=(4, 50, 60))
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    inside = logic.propagate(case.volume, case.segmentation, "A", ("k", 10), first=8, last=11)
    assert inside.outside_px == 0
    result = logic.propagate(case.volume, case.segmentation, "A", ("k", 10), first=6, last=13)
    assert result.outside_px > 100


# Surfaces


def test_a_segment_that_came_from_a_surface_is_added_to(logic):
    case = a_case()
    name = of_surfaces(case)
    found = logic.segmentSlice(case.volume, case.segmentation, name, ("k", 10), positive=case.world(INSIDE))
    assert found.changed == found.voxels == case.structure[10].sum()
    written = case.segment(name)
    assert written[ball(case)].all()  # what it was before
    np.testing.assert_array_equal(written[10] & ~_around(ball(case))[10], case.structure[10])
    assert case.segmentation.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"


def _around(mask: np.ndarray) -> np.ndarray:
    return np.any([np.roll(mask, (a, b), axis=(1, 2)) for a in (-2, -1, 0, 1, 2) for b in (-2, -1, 0, 1, 2)], axis=0)


def test_a_new_segment_beside_surfaces_is_written_and_they_stay(logic):
    case = a_case()
    name = of_surfaces(case)
    case.segmentation.GetSegmentation().AddEmptySegment("A", "A")
    found = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    np.testing.assert_array_equal(case.segment("A"), on_slice(case.structure, 2, 10))
    assert found.changed == 370 and case.segment(name)[ball(case)].all()


def test_a_segment_that_has_lost_all_that_it_was_made_of_is_written_anew(logic):
    case = a_case()
    case.segmentation.GetSegmentation().SetSourceRepresentationName("Closed surface")  # Slicer drops the labelmaps
    found = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    np.testing.assert_array_equal(case.segment("A"), on_slice(case.structure, 2, 10))
    assert found.changed == 370


def test_an_empty_answer_converts_nothing(logic):
    case = a_case()
    name = of_surfaces(case)
    logic.session.finds_nothing = True
    assert logic.segmentSlice(case.volume, case.segmentation, name, ("k", 10), positive=case.world(INSIDE)).changed == 0
    assert case.segmentation.GetSegmentation().GetSourceRepresentationName() == "Closed surface"


def test_surfaces_are_keyframes_of_a_propagation(logic):
    case = a_case()
    of_surfaces(case)
    case.segmentation.GetSegmentation().RemoveAllSegments()
    name = surface_segment(case.segmentation, case.world(INSIDE)[0], 3.0)
    result = logic.propagate(case.volume, case.segmentation, name, ("k", 10), first=6, last=14)
    assert {8, 9, 10, 11, 12} <= {found.index for found in result.segments[name].slices if found.is_keyframe}


# Neighbours


def test_python_protects_other_segments_and_says_what_they_lost_where_they_may_give_way(logic):
    case = a_case()
    before = neighbour(case)
    ask = (case.volume, case.segmentation, "A", ("k", 10))
    assert logic.segmentSlice(*ask, positive=case.world(INSIDE)).lost == {}
    np.testing.assert_array_equal(case.segment("B"), before)
    other_slice = case.world((*INSIDE[:2], 11))
    found = logic.segmentSlice(*ask[:3], ("k", 11), positive=other_slice, overwrite="all")
    assert found.lost == {"B": int((before & ~case.segment("B")).sum())} and found.lost["B"] == before[11].sum()


def test_a_propagation_says_what_others_lost(logic):
    case = a_case()
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    before = neighbour(case)
    ask = (case.volume, case.segmentation, "A", ("k", 10))
    assert logic.propagate(*ask, first=8, last=9).lost == {}
    np.testing.assert_array_equal(case.segment("B"), before)
    result = logic.propagate(*ask, first=11, last=12, overwrite="all")
    assert result.lost == {"B": int((before & ~case.segment("B")).sum())} and result.lost["B"] > 0


def test_a_propagation_of_the_effect_protects_other_segments_unless_told_otherwise(model):
    fixture = EditorFixture(model)
    fixture.click()
    fixture.accept()
    fixture.add_segment("B")
    before = neighbour(fixture)
    panel = fixture.effect.propagation

    def propagate():
        panel.propagate("both")
        fixture.wait(lambda: not panel.is_running)

    propagate()
    np.testing.assert_array_equal(fixture.segment("B"), before)
    fixture.editor.undo()
    fixture.set(ProtectOthers=0)
    propagate()
    lost = int((before & ~fixture.segment("B")).sum())
    assert lost > 0 and f"B lost {lost:,} voxels" in panel.status_line.text
    fixture.editor.undo()
    np.testing.assert_array_equal(fixture.segment("B"), before)
