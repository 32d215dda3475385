"""Writes masks to segments as Slicer's own effects do, with its masking, overwrite mode and undo.

All masks are written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.affines import ijk_from_ras
from SAMMed2DLib.imaging.planes import pixels_outside, voxels_of_mask
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DSlicer.scene.segment_reader import image_matrix, segment_array
from SAMMed2DSlicer.scene.volumes import SceneError, image_kji, world_from_ijk, world_from_local

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DSlicer.scene.segment_targets import SegmentTarget


@dataclass(frozen=True, eq=False)
class WriteResult:
    """The result of writing a mask.

    Attributes:
        voxels: how many voxels of the segmentation lie under the mask.
        changed: how many voxels of the segment changed.
        outside_px: how many pixels of the mask lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each other segment has lost, by its ID.
        edit: what later prompts can replace; None if no voxel lies under the mask.
        previous_edit_remains: whether the voxels that these prompts added before are still there, because the segment
            was changed otherwise since.
    """

    voxels: int
    changed: int
    outside_px: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    edit: SegmentEdit | None = None
    previous_edit_remains: bool = False


@dataclass(eq=False)
class SegmentEdit:
    """Voxels that a mask has added to a segment, and the segment around them before and after.

    Attributes:
        segmentation: the segmentation node.
        segment_id: the segment.
        added: the voxels.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
        before: (K, J, I) bool, the segment within the extent of `added`, before the mask was written.
        after: the same, after the mask was written.
    """

    segmentation: slicer.vtkMRMLSegmentationNode
    segment_id: str
    added: VoxelPatch
    geometry: vtk.vtkMatrix4x4
    before: np.ndarray
    after: np.ndarray

    def current(self) -> np.ndarray:
        """The segment within the extent of `added` as it is now, (K, J, I) bool."""
        return segment_array(self.segmentation, self.segment_id, self.added.extent, self.geometry)

    def contains(self, point_world: Sequence[float] | np.ndarray) -> bool:
        """Whether the voxel at a point of the scene, (3,) mm, was added."""
        grid = world_from_local(self.segmentation) @ slicer.util.arrayFromVTKMatrix(self.geometry)
        i, j, k = (int(value) for value in np.floor(ijk_from_ras(np.array([point_world]), grid)[0] + 0.5))
        return bool(voxel_patches.in_extent(self.added, (i, i, j, j, k, k)).any())

    def is_unchanged(self) -> bool:
        """Whether the segment was not painted on, erased or undone since."""
        return bool((self.current() == self.after).all())

    def is_undone(self) -> bool:
        """Whether the segment is again as it was before the edit, for example after undo."""
        return bool((self.before != self.after).any() and (self.current() == self.before).all())

    def is_applied(self) -> bool:
        """Whether the segment has all voxels that were added and none that were removed, for example after redo."""
        present, removed = self.current(), self.before & ~self.after
        return bool(present[self.added.mask_kji].all()) and not present[removed].any() and not self.is_undone()


def write_mask(
    target: SegmentTarget,
    mask_hw: np.ndarray,
    plane: SlicePlane,
    volume: slicer.vtkMRMLScalarVolumeNode,
    replaces: VoxelPatch | None = None,
    initial_mask_hw: np.ndarray | None = None,
) -> WriteResult:
    """Add a mask to a segment the way Slicer's own effects do, as one undo step.

    Slicer applies masking and the overwrite mode. An empty mask changes nothing, unless it corrects another one.

    Args:
        target: the segment.
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, of this volume.
        volume: the volume node.
        replaces: voxels to remove where the mask does not have them.
        initial_mask_hw: (H, W) bool, the mask of the segment on the slice that this one corrects: voxels that the new
            mask does not have are removed too, and only new ones are added.

    Raises:
        SceneError: the segmentation has no geometry, or is under a non-linear transform.
    """
    labelmap = target.default_labelmap()
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    geometry = image_matrix(labelmap)
    grid = world_from_local(target.segmentation) @ slicer.util.arrayFromVTKMatrix(geometry)
    place = (mask_hw, plane, world_from_ijk(volume), grid, labelmap.GetExtent())
    patch, outside_px = voxels_of_mask(*place), pixels_outside(*place)
    if initial_mask_hw is not None:
        replaces = voxel_patches.union([replaces, voxels_of_mask(initial_mask_hw, *place[1:])])
    if patch is None and (initial_mask_hw is None or replaces is None):
        return WriteResult(0, 0, outside_px)
    target.make_editable()
    written = _write_voxels(target, patch, replaces, geometry, only_new=initial_mask_hw is not None)
    return replace(written, outside_px=outside_px)


def _write_voxels(
    target: SegmentTarget,
    patch: VoxelPatch | None,
    replaces: VoxelPatch | None,
    geometry: vtk.vtkMatrix4x4,
    only_new: bool,
) -> WriteResult:
    """Write `patch` and remove the rest of `replaces`; not both are None. `only_new` adds only voxels it lacks."""
    extent = voxel_patches.union_extent([patch, replaces])
    before = segment_array(target.segmentation, target.segment_id, extent, geometry)
    adds = voxel_patches.without(patch, VoxelPatch(extent[::2], before)) if only_new else patch
    surplus = voxel_patches.without(replaces, patch)
    others = other_segments_of(target, [target.segment_id], extent, geometry)
    changes = [(voxels, is_added) for voxels, is_added in ((surplus, False), (adds, True)) if voxels is not None]
    has_all = all((before == is_added)[voxel_patches.in_extent(voxels, extent)].all() for voxels, is_added in changes)
    if target.overwrites or not has_all:  # else there would be an undo step without a change
        target.save_state()
        for voxels, is_added in changes:
            target.modify(labelmap_of(voxels, geometry), is_added)
    after = segment_array(target.segmentation, target.segment_id, extent, geometry)
    added = after & ~before
    if patch is not None and replaces is not None:  # voxels that are written again stay replaceable
        added |= after & voxel_patches.in_extent(patch, extent) & voxel_patches.in_extent(replaces, extent)
    edit = SegmentEdit(target.segmentation, target.segment_id, VoxelPatch(extent[::2], added), geometry, before, after)
    return WriteResult(voxel_patches.count(patch), int((after != before).sum()), lost=others.lost(), edit=edit)


def replace_segment(
    segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, patch: VoxelPatch | None, geometry: vtk.vtkMatrix4x4
) -> None:
    """Replace all voxels of a segment; for frames of a sequence, which a Segment Editor cannot edit.

    Without masking and undo; other segments are left as they are.

    Args:
        segmentation: the segmentation node, in the scene or of a sequence.
        segment_id: the segment.
        patch: its voxels; None for none.
        geometry: voxels of the patch to the segmentation's RAS.

    Raises:
        SceneError: Slicer refuses it.
    """
    labelmap = labelmap_of(patch or VoxelPatch((0, 0, 0), np.zeros((1, 1, 1), bool)), geometry)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(labelmap, segmentation, segment_id, logic.MODE_REPLACE):
        raise SceneError(_("Slicer could not write to {name}.").format(name=segmentation.GetName()))


def labelmap_of(patch: VoxelPatch, geometry: vtk.vtkMatrix4x4) -> slicer.vtkOrientedImageData:
    """A labelmap with the patch's extent only: the time of a write grows with the size of the labelmap."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*patch.extent)
    image.SetGeometryFromImageToWorldMatrix(geometry)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image_kji(image)[:] = patch.mask_kji
    return image


# Other segments


class OtherSegments:
    """The voxels of other segments within an extent before a write, to count afterwards what they lost."""

    def __init__(self, segment_ids: Iterable[str], read: Callable[[str], np.ndarray]) -> None:
        """Read the segments before something is written.

        Args:
            segment_ids: the other segments.
            read: segment ID to its voxels within the extent, (K, J, I) bool.
        """
        self._read = read
        before = {name: read(name) for name in segment_ids}
        self._before = {name: mask for name, mask in before.items() if mask.any()}

    def lost(self) -> dict[str, int]:
        """How many voxels each segment has lost since; without those that lost none."""
        lost = {name: int((mask & ~self._read(name)).sum()) for name, mask in self._before.items()}
        return {name: count for name, count in lost.items() if count}


def other_segments_of(
    target: SegmentTarget, written_ids: Sequence[str], extent: Sequence[int], geometry: vtk.vtkMatrix4x4
) -> OtherSegments:
    """Read the segments that may be overwritten within an extent; call `lost` after the write.

    Args:
        target: where is written.
        written_ids: the segments that are written, which are not looked at.
        extent: first and last voxel along i, j and k.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
    """
    ids = target.segmentation.GetSegmentation().GetSegmentIDs() if target.overwrites else ()
    others = [name for name in ids if name not in written_ids]
    return OtherSegments(others, lambda name: segment_array(target.segmentation, name, extent, geometry))


# Messages


def losses_text(segmentation: slicer.vtkMRMLSegmentationNode, lost: Mapping[str, int]) -> str:
    """The losses of other segments, for the user: "B lost 120 voxels, C lost 3 voxels"."""
    parts = []
    for segment_id, count in lost.items():
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        name = segment.GetName() if segment is not None else segment_id
        text = _("{name} lost {count} voxel") if count == 1 else _("{name} lost {count} voxels")
        parts.append(text.format(name=name, count=f"{count:,}"))
    return ", ".join(parts)


def outside_text(outside_px: int, shown_px: int) -> str:
    """The message for a mask that lies partly outside the segmentation's geometry."""
    text = _(
        "{outside} of {shown} px lie outside the segmentation's geometry and were not written: extend it with Specify "
        "geometry, beside the source volume."
    )
    return text.format(outside=f"{outside_px:,}", shown=f"{shown_px:,}")
