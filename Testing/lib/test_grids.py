"""Arrays of one grid of voxels come to the same places of the patient in another grid of the same voxels."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from SAMMed2DLib.imaging.grids import alignment
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import Segment, SegmentationError, placed
from SAMMed2DLib.io.volume_io import Volume

SIZE_IJK = (5, 4, 3)
SHEARED = np.array([[0.5, 0, 0.6, -10], [0, -0.75, 0.2, 5], [0.1, 0, 2, 7], [0, 0, 0, 1]])
RNG = np.random.default_rng(3)


def by_points(source_kji: np.ndarray, source: np.ndarray, size_ijk: tuple[int, ...], target: np.ndarray) -> np.ndarray:
    """Each voxel of the target by itself: the value of the source at its place, or 0."""
    result = np.zeros(size_ijk[::-1], source_kji.dtype)
    for kji in np.ndindex(result.shape):
        ijk = np.rint(np.linalg.solve(source, target @ [*kji[::-1], 1]))[:3].astype(int)
        if (ijk >= 0).all() and (ijk < source_kji.shape[::-1]).all():
            result[kji] = source_kji[tuple(ijk[::-1])]
    return result


def stored_otherwise(axes: tuple[int, ...], signs: tuple[int, ...], first_ijk: tuple[int, ...]) -> np.ndarray:
    """A matrix whose axes are those of SHEARED in another order and direction, from another voxel on."""
    step = np.eye(4)
    step[:3, :3] = (np.eye(3) * signs)[:, axes]
    step[:3, 3] = first_ijk
    return SHEARED @ step


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
@pytest.mark.parametrize(
    ("first_ijk", "own_ijk"), [((0, 0, 0), (5, 4, 3)), ((2, 1, -1), (2, 3, 4)), ((4, 3, 2), (9, 8, 7))]
)
def test_a_grid_in_another_order_direction_or_frame_is_placed_voxel_by_voxel(axes, signs, first_ijk, own_ijk) -> None:
    source = stored_otherwise(axes, signs, first_ijk)
    values = RNG.integers(1, 99, own_ijk[::-1])
    found = alignment(own_ijk, source, SHEARED)
    assert found is not None
    np.testing.assert_array_equal(found.place(values, SIZE_IJK), by_points(values, source, SIZE_IJK, SHEARED))


def test_the_same_grid_is_left_as_it_is() -> None:
    values = np.ones((3, 4, 5))
    found = alignment(SIZE_IJK, SHEARED + 1e-6, SHEARED)
    assert found is not None and found.is_identity and found.place(values, SIZE_IJK) is values


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize(
    "change",
    [
        np.diag([1, 1, 2.0, 1]),
        np.diag([1, 1.02, 1, 1]),
        np.array([[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1, 0.05, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ],
    ids=["thicker", "stretched", "between voxels", "sheared"],
)
def test_other_voxels_are_not_taken_for_the_same(change: np.ndarray, scale: float) -> None:
    target = np.diag([scale, scale, scale, 1]) @ SHEARED
    assert alignment((9, 9, 9), target @ change, target) is None


def test_the_thickness_of_a_single_slice_does_not_count() -> None:
    source = stored_otherwise((0, 1, 2), (1, 1, 1), (0, 0, 2)) @ np.diag([1, 1, 0.3, 1])
    found = alignment((5, 4, 1), source, SHEARED)
    assert found is not None and found.offset_ijk == (0, 0, 2)


def a_segmentation(values_kji: np.ndarray, matrix: np.ndarray) -> Segmentation:
    return Segmentation((Segment("a"),), values_kji[np.newaxis], ((0, 1),), matrix)


def test_a_mask_beyond_the_edge_is_cut_with_a_note() -> None:
    volume, notes = Volume(np.zeros((3, 4, 5)), SHEARED, False, "v"), []
    drawn = a_segmentation(np.ones((3, 4, 5), np.uint8), stored_otherwise((0, 1, 2), (1, 1, 1), (0, 0, -1)))
    cut = placed("m.nrrd", drawn, volume, notes)
    np.testing.assert_array_equal(cut.mask("a").sum(axis=(1, 2)), [20, 20, 0])
    np.testing.assert_array_equal(cut.ijk_to_ras, SHEARED)
    assert notes == [
        "m.nrrd: has the image's size but begins at its voxel (0, 0, -1), where it is placed",
        "m.nrrd: 20 voxels beyond the edge of the image left out",
    ]


def test_a_mask_that_is_turned_a_little_is_refused() -> None:
    turned = SHEARED.copy()
    turned[:3, :3] = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ turned[:3, :3]
    volume = Volume(np.zeros((3, 4, 5)), SHEARED, False, "v")
    with pytest.raises(SegmentationError, match="its axes are turned against those of the image; give the image that"):
        placed("m.nrrd", a_segmentation(np.ones((3, 4, 5), np.uint8), turned), volume, [])


def test_a_picture_is_a_mask_of_an_image_of_its_size_whatever_the_spacing() -> None:
    volume = Volume(np.zeros((1, 4, 5)), np.diag([-0.2, -0.2, 1, 1.0]), False, "v")
    drawn = a_segmentation(np.ones((1, 4, 5), np.uint8), np.diag([-1, -1, 1, 1.0]))
    on_image = placed("m.png", drawn, volume, [])
    assert on_image.layers_lkji is drawn.layers_lkji
    np.testing.assert_array_equal(on_image.ijk_to_ras, volume.ijk_to_ras)
    smaller = a_segmentation(np.ones((1, 4, 4), np.uint8), volume.ijk_to_ras)
    with pytest.raises(
        SegmentationError, match=r"m.png: is 4 x 4 px and the image 5 x 4 x 1; give a mask of the image's"
    ):
        placed("m.png", smaller, volume, [])
