"""The mask that a segment has on a slice, of whatever origin: painted, loaded, propagated, accepted."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DSlicer.scene import segments, volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

# A click counts as one on a mask up to so far beside it: px, and a share of the longer side of that part of the mask.
_BESIDE_PX, _BESIDE_SHARE = 2.0, 0.1


def mask_on_slice(volume: Any, plane: SlicePlane, segmentation: Any, segment_id: str) -> np.ndarray:
    """Read a segment on a slice, in its pixels: each has the segment's voxel that is nearest to its centre.

    Args:
        volume: the volume node.
        plane: a slice of it.
        segmentation: the segmentation node; it may have another geometry and transform.
        segment_id: the segment; one without voxels is empty.

    Returns:
        (H, W) bool.

    Raises:
        SceneError: one of them is under a non-linear transform.
    """
    image, size_hw = segments.voxels_of(segmentation, segment_id), plane.size_hw
    if image is None:
        return np.zeros(size_hw, bool)
    own_world = volumes.world_from_local(segmentation) @ slicer.util.arrayFromVTKMatrix(segments.image_matrix(image))
    to_own = np.linalg.inv(own_world) @ volumes.world_from_ijk(volume)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    centers = plane.ijk_from_xy(np.column_stack([columns.ravel(), rows.ravel()]))
    extent = np.array(image.GetExtent()).reshape(3, 2)
    ijk = np.floor(centers @ to_own[:3, :3].T + to_own[:3, 3] + 0.5).astype(int)
    inside = ((ijk >= extent[:, 0]) & (ijk <= extent[:, 1])).all(axis=1)
    i, j, k = (ijk[inside] - extent[:, 0]).T
    values = volumes.image_kji(image)
    found = np.zeros(len(ijk), bool)
    found[inside] = values[k, j, i] == segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    return found.reshape(size_hw)


def is_on_mask(mask_hw: np.ndarray, xy: Sequence[float], *, widely: bool = False) -> bool:
    """Whether a click is meant for a mask: on it, or just beside it.

    Args:
        mask_hw: (H, W) bool, on the slice.
        xy: the click, slice px.
        widely: whether beside is more for a large mask.
    """
    from SAMMed2DLib.imaging.components import label_components

    pixels_yx = np.argwhere(mask_hw)
    if not len(pixels_yx):
        return False
    distances_px = np.hypot(*(pixels_yx - np.array([xy[1], xy[0]])).T)
    nearest = int(distances_px.argmin())
    beside_px = _BESIDE_PX
    if widely:
        parts = label_components(mask_hw).index_hw
        part_yx = np.argwhere(parts == parts[tuple(pixels_yx[nearest])])
        beside_px = max(beside_px, _BESIDE_SHARE * float((np.ptp(part_yx, axis=0) + 1).max()))
    return bool(distances_px[nearest] <= beside_px)


def mask_to_text(mask_hw: np.ndarray) -> str:
    """A mask, (H, W) bool, for a node's attribute."""
    return base64.b64encode(zlib.compress(np.packbits(mask_hw).tobytes(), 9)).decode()


def mask_of_text(text: str, size_hw: tuple[int, int]) -> np.ndarray | None:
    """The mask, (H, W) bool, from such a text; None if it is not one of this size."""
    size = -(-size_hw[0] * size_hw[1] // 8)
    try:
        packed = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)  # not more than that
    except (ValueError, zlib.error):
        return None
    if len(packed) != size:
        return None
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=size_hw[0] * size_hw[1])
    return bits.astype(bool).reshape(size_hw)
