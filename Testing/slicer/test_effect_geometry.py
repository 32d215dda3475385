"""The mask is where the click was: every plane, direction, spacing, transform and segmentation geometry."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk
from editor_fixture import GEOMETRIES, INSIDE, SIZE, EditorFixture, a_volume, affine, structure_kji, turned


def only_slice(structure: np.ndarray, axis: int, index: int) -> np.ndarray:
    """The structure in one slice along volume axis `axis` (0 = i)."""
    expected = np.zeros_like(structure)
    place = [slice(None)] * 3
    place[2 - axis] = index
    expected[tuple(place)] = structure[tuple(place)]
    return expected


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_click_segments_the_slice_that_is_shown(model, geometry, axis):
    fixture = EditorFixture(model, GEOMETRIES[geometry])
    fixture.show(axis, INSIDE[axis])
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(fixture.segment(), only_slice(fixture.structure, axis, INSIDE[axis]))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_points_reach_the_model_in_the_slices_own_pixels(model, geometry):
    fixture = EditorFixture(model, GEOMETRIES[geometry])
    fixture.show(1, INSIDE[1], spin_deg=30)
    fixture.click((27, INSIDE[1], 12))
    fixture.click((22, INSIDE[1], 9), control=True)
    prompts, image, _ = model.asked[-1]
    half_view_px = 0.5 * np.linalg.norm(slicer.util.arrayFromVTKMatrix(fixture.slice_node.GetXYToRAS())[:3, 0])
    np.testing.assert_allclose(prompts.points_xy, [(27, 12), (22, 9)], atol=1.5 * half_view_px / 0.7 + 0.01)
    assert prompts.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(image[..., 0] > 127, fixture.structure[:, INSIDE[1]])


@pytest.mark.parametrize(
    ("volume_deg", "segmentation_deg"),
    [(20, 20), (20, None), (None, -15), (20, -15)],
    ids=["both", "volume", "segmentation", "each its own"],
)
@pytest.mark.parametrize("geometry", ["plain", "turned"])
def test_parent_transforms_are_followed(model, geometry, volume_deg, segmentation_deg):
    def moved(degrees):
        if degrees is None:
            return None
        middle = affine(origin=(GEOMETRIES[geometry] @ [*INSIDE, 1])[:3])
        return middle @ turned(degrees, 10, 15) @ affine(origin=(2, 1, -1)) @ np.linalg.inv(middle)

    same = volume_deg == segmentation_deg
    fixture = EditorFixture(
        model,
        GEOMETRIES[geometry],
        volume_matrix=moved(volume_deg),
        segmentation_matrix=moved(segmentation_deg),
    )
    fixture.click()
    fixture.accept()
    expected = only_slice(fixture.structure, 2, INSIDE[2])
    if same:
        np.testing.assert_array_equal(fixture.segment(), expected)
    else:
        assert_voxels_lie_in(fixture, expected)


def assert_voxels_lie_in(fixture: EditorFixture, expected: np.ndarray):
    """Voxels of the segment in its own turned grid: all within the slice's structure, and enough of them."""
    points = segment_points_world(fixture)
    assert len(points) > 100
    ijk = (points - fixture.ijk_to_world[:3, 3]) @ np.linalg.inv(fixture.ijk_to_world[:3, :3]).T
    i, j = np.floor(ijk[:, :2] + 0.5).astype(int).T
    assert expected[INSIDE[2], j, i].all()
    grid = slicer.util.arrayFromVTKMatrix(_segment_matrix(fixture))
    reach = np.abs(np.linalg.inv(fixture.ijk_to_world[:3, :3]) @ (_parent(fixture) @ grid)[:3, :3])[2].sum() / 2
    assert np.abs(ijk[:, 2] - INSIDE[2]).max() <= max(reach, 0.5) + 1e-4
    pixels = {tuple(p) for p in np.column_stack([i, j]).tolist()}
    wanted = {tuple(p) for p in np.argwhere(expected[INSIDE[2]])[:, ::-1].tolist()}
    assert len(wanted - pixels) < 0.35 * len(wanted)  # a coarser, turned grid has no voxel for every pixel


def _segment_matrix(fixture: EditorFixture):
    matrix = vtk.vtkMatrix4x4()
    _labelmap(fixture).GetImageToWorldMatrix(matrix)
    return matrix


def _labelmap(fixture: EditorFixture):
    segment = fixture.segmentation.GetSegmentation().GetSegment(fixture.segment_id)
    return segment.GetRepresentation("Binary labelmap")


def _parent(fixture: EditorFixture) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    if fixture.segmentation.GetParentTransformNode() is not None:
        fixture.segmentation.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def segment_points_world(fixture: EditorFixture) -> np.ndarray:
    from vtk.util.numpy_support import vtk_to_numpy

    image = _labelmap(fixture)
    extent = image.GetExtent()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(
        [b - a + 1 for a, b in zip(extent[::2], extent[1::2], strict=True)][::-1]
    )
    k, j, i = np.nonzero(values)
    ijk = np.column_stack([i, j, k]) + np.array(extent[::2])
    matrix = _parent(fixture) @ slicer.util.arrayFromVTKMatrix(_segment_matrix(fixture))
    return ijk @ matrix[:3, :3].T + matrix[:3, 3]


def test_a_finer_segmentation_is_filled_without_gaps(model):
    fixture = EditorFixture(model, GEOMETRIES["anisotropic and offset"])
    fixture.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(None)
    fine = a_volume(
        np.zeros([2 * n for n in SIZE[::-1]], np.uint8), fixture.ijk_to_ras @ affine((0.5,) * 3, (-0.25,) * 3)
    )
    fixture.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(fine)
    for k in (9, 10):
        fixture.show(2, k)
        fixture.click((25, 22, k))
        fixture.accept()
    found = slicer.util.arrayFromSegmentBinaryLabelmap(fixture.segmentation, fixture.segment_id, fine).astype(bool)
    expected = np.zeros_like(fixture.structure)
    expected[9:11] = fixture.structure[9:11]
    np.testing.assert_array_equal(found, expected.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_an_oblique_view_fills_the_voxels_that_it_passes_through(model):
    fixture = EditorFixture(model, GEOMETRIES["anisotropic and offset"])
    view = turned(25, 35, 10)
    view[:3, 3] = fixture.world(INSIDE)
    fixture.show_plane(view)
    fixture.click()
    fixture.accept()
    points, found = segment_points_world(fixture), fixture.segment()
    normal = view[:3, 2]
    reach = np.abs(normal @ fixture.ijk_to_world[:3, :3]).sum() / 2
    assert np.abs((points - view[:3, 3]) @ normal).max() <= reach + 1e-6
    k, j, i = np.nonzero(fixture.structure)
    world = np.column_stack([i, j, k]) @ fixture.ijk_to_world[:3, :3].T + fixture.ijk_to_world[:3, 3]
    crossed = np.abs((world - view[:3, 3]) @ normal) < reach
    near = found[k[crossed], j[crossed], i[crossed]]
    assert near.mean() > 0.85 and found.sum() < 1.3 * crossed.sum()  # the border is where the resampled picture says


def test_a_two_dimensional_image_works_as_a_slice(model):
    stripe = np.where(np.arange(60) > 30, 160, 40).astype(np.uint8) * np.ones((1, 50, 1), np.uint8)
    fixture = EditorFixture(model, volume_kji=stripe, size_ijk=(60, 50, 1))
    fixture.show(2, 0)
    fixture.click((45, 20, 0))
    fixture.accept()
    assert fixture.segment().sum() == 50 * 29


def test_colour_images_are_seen_in_colour(model):
    values = np.where(structure_kji()[..., None], [200, 30, 10], [40, 90, 220]).astype(np.uint8)
    fixture = EditorFixture(model, GEOMETRIES["flipped"], volume_kji=values)
    fixture.click()
    fixture.accept()
    np.testing.assert_array_equal(np.unique(model.asked[-1][1].reshape(-1, 3), axis=0), [[40, 90, 220], [200, 30, 10]])
    np.testing.assert_array_equal(fixture.segment(), only_slice(fixture.structure, 2, INSIDE[2]))


def test_a_non_linear_transform_gives_a_clear_message_and_changes_nothing(model):
    fixture = EditorFixture(model)
    bend = vtk.vtkThinPlateSplineTransform()
    bend.SetSourceLandmarks(vtk.vtkPoints())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
    node.SetAndObserveTransformToParent(bend)
    fixture.volume.SetAndObserveTransformNodeID(node.GetID())
    fixture.click()
    assert "non-linear" in fixture.status.text and fixture.status.level == "warning"
    assert fixture.controller.groups == [] and not fixture.segment().any()


def test_a_preview_has_a_dark_line_on_bright_structures_and_a_bright_one_within(model):
    fixture = EditorFixture(model, volume_kji=np.full(SIZE[::-1], 250, np.int16))
    fixture.segmentation.GetSegmentation().GetNthSegment(0).SetColor(0.5, 0.7, 0.5)  # else one by chance
    fixture.click()  # the mask is the whole image
    row = fixture.image().sum(axis=2)[-1 - fixture.xy((10, 10, 10))[1]]
    first = int((row > 100).argmax())
    assert row[first] < 300 and row[first + 1 : first + 3].min() > 450


def test_what_is_shown_is_what_is_written(model):
    fixture = EditorFixture(model, GEOMETRIES["turned"])
    fixture.show(2, INSIDE[2], spin_deg=25)
    before = fixture.image()
    fixture.click()
    inside = fixture.xy((20, 24, 10))
    outside = fixture.xy((25, 40, 10))
    after = fixture.image()
    changed = np.abs(after - before).sum(axis=2) > 20
    height = changed.shape[0]
    assert changed[height - 1 - inside[1], inside[0]]
    assert not changed[height - 1 - outside[1], outside[0]]
