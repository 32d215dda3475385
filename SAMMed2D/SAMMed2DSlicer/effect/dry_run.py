"""What accepting a mask would do to its segment, by Slicer's own masking; looked at on the slice only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from SAMMed2DLib.imaging import voxel_patches
from SAMMed2DLib.imaging.planes import voxels_of_mask
from SAMMed2DLib.imaging.slice_voxels import nearest_voxels
from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DSlicer.scene import overwrite_mode, segment_reader, segment_writer, volumes
from SAMMed2DSlicer.scene.volumes import SceneError, world_from_local

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

# Beyond any volume: voxels that a mask means, wherever the segmentation's geometry ends.
_EVERYWHERE = (-(10**6), 10**6) * 3


@dataclass(frozen=True, eq=False)
class DryRun:
    """What would be written.

    Attributes:
        meant: how many voxels of the segmentation's grid the mask means.
        inside: how many of these are in its geometry.
        editable: how many of these are in the editable area, too.
        in_range: how many of these have an editable intensity, too; these would be written.
        added: how many of these the segment does not have yet.
        removed: how many voxels the segment would lose, since corrected prompts take back what they had added.
        corrects: whether it would be written in place of something.
        blocked_hw: (H, W) bool, pixels of the mask that would not be written; None where all would.
        removed_hw: (H, W) bool, pixels where the segment loses something; None where it loses nothing.
        lost: how many voxels each other segment would lose, by its ID.
        is_nothing: whether masking or the geometry lets nothing be written.
    """

    meant: int
    inside: int
    editable: int
    in_range: int
    added: int
    removed: int
    corrects: bool = False
    blocked_hw: np.ndarray | None = None
    removed_hw: np.ndarray | None = None
    lost: Mapping[str, int] = field(default_factory=dict)
    is_nothing: bool = field(init=False)

    def __post_init__(self) -> None:
        """Tell whether anything would come of it."""
        object.__setattr__(self, "is_nothing", self.meant > 0 and not (self.in_range or self.removed))


def dry_run(
    effect: slicer.qSlicerSegmentEditorScriptedEffect,
    mask_hw: np.ndarray,
    plane: SlicePlane,
    volume: slicer.vtkMRMLScalarVolumeNode,
    replaces: VoxelPatch | None = None,
    initial_mask_hw: np.ndarray | None = None,
    world_from_volume: np.ndarray | None = None,
    segment_id: str | None = None,
) -> DryRun:
    """Find out what writing a mask to a segment of a Segment Editor would do.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, of this volume.
        volume: the volume node.
        replaces: voxels that are taken away, where the mask has them no more.
        initial_mask_hw: (H, W) bool, the mask that this one corrects; likewise.
        world_from_volume: (4, 4), mm, the volume's voxels to the scene, from whoever has it.
        segment_id: the segment; None for the selected one.

    Raises:
        SceneError: the segmentation has no geometry, or is under a non-linear transform.
    """
    labelmap = effect.referenceGeometryImage()
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    node: Any = overwrite_mode.segment_editor_node(effect)
    segmentation, geometry = node.GetSegmentationNode(), segment_reader.image_matrix(labelmap)
    segment_id = segment_id or node.GetSelectedSegmentID() or ""
    world = volumes.world_from_ijk(volume) if world_from_volume is None else world_from_volume
    grid = world_from_local(segmentation) @ slicer.util.arrayFromVTKMatrix(geometry)
    meant = voxels_of_mask(mask_hw, plane, world, grid, _EVERYWHERE)
    limit = labelmap.GetExtent()
    if initial_mask_hw is not None:
        replaces = voxel_patches.union([replaces, voxels_of_mask(initial_mask_hw, plane, world, grid, limit)])
    around = _around(meant, replaces)
    if around is None:
        return DryRun(0, 0, 0, 0, 0, 0)
    in_mask, extent = around.mask_kji, around.extent
    in_geometry = _within(extent, limit)
    in_area = _in_area(node, segment_id, around, geometry)
    allowed = in_geometry & in_area & _in_range(node, around, geometry, volume, world)
    before = segment_reader.segment_array(segmentation, segment_id, extent, geometry)
    lost = None
    if replaces is not None:
        lost = voxel_patches.in_extent(replaces, extent) & before & ~(in_mask & in_geometry) & allowed
    written = in_mask & allowed

    def on_slice(voxels: np.ndarray) -> np.ndarray:
        return _pixels_of(voxels, extent, plane, world, grid)

    return DryRun(
        meant=int(in_mask.sum()),
        inside=int((in_mask & in_geometry).sum()),
        editable=int((in_mask & in_geometry & in_area).sum()),
        in_range=int(written.sum()),
        added=int((written & ~before).sum()),
        removed=0 if lost is None else int(lost.sum()),
        corrects=replaces is not None,
        blocked_hw=mask_hw & on_slice(in_mask & ~allowed) if (in_mask & ~allowed).any() else None,
        removed_hw=on_slice(lost) if lost is not None and lost.any() else None,
        lost=_lost_by_others(
            effect, segment_id, written & ~before if initial_mask_hw is not None else written, extent, geometry
        ),
    )


def _lost_by_others(
    effect: slicer.qSlicerSegmentEditorScriptedEffect,
    written_id: str,
    written: np.ndarray,
    extent: Sequence[int],
    geometry: vtk.vtkMatrix4x4,
) -> dict[str, int]:
    """How many voxels other segments would lose to those that are written, (K, J, I) bool within an extent, by ID."""
    if not overwrite_mode.overwrites(effect):
        return {}
    node: Any = overwrite_mode.segment_editor_node(effect)
    segmentation = node.GetSegmentationNode()
    display, visible_only = segmentation.GetDisplayNode(), node.GetOverwriteMode() == node.OverwriteVisibleSegments
    lost = {}
    for segment_id in segmentation.GetSegmentation().GetSegmentIDs():
        is_kept = visible_only and display is not None and not display.GetSegmentVisibility(segment_id)
        if segment_id == written_id or is_kept:
            continue
        there = segment_reader.segment_array(segmentation, segment_id, extent, geometry)
        count = int(np.count_nonzero(there & written))
        if count:
            lost[segment_id] = count
    return lost


def is_unmasked(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> bool:
    """Whether the Segment Editor allows to write everywhere, and nothing is taken from other segments."""
    node: Any = overwrite_mode.segment_editor_node(effect)
    is_everywhere = node.GetMaskMode() == node.GetSegmentationNode().EditAllowedEverywhere
    return is_everywhere and not node.GetSourceVolumeIntensityMask() and not overwrite_mode.overwrites(effect)


def _around(meant: VoxelPatch | None, replaces: VoxelPatch | None) -> VoxelPatch | None:
    """The voxels that a mask means, in a block that has those that it replaces, too; None if there are none."""
    if replaces is None:
        return meant
    extent = voxel_patches.union_extent([meant, replaces])
    in_mask = voxel_patches.in_extent(meant or VoxelPatch(extent[::2], np.zeros((1, 1, 1), bool)), extent)
    return VoxelPatch(extent[::2], in_mask)


def _within(extent: Sequence[int], limit: Sequence[int]) -> np.ndarray:
    """Which voxels of an extent are within another one, (K, J, I) bool."""
    k, j, i = (np.arange(extent[a], extent[a + 1] + 1) for a in (4, 2, 0))
    inside = [(at >= limit[a]) & (at <= limit[a + 1]) for at, a in ((k, 4), (j, 2), (i, 0))]
    return inside[0][:, None, None] & inside[1][:, None] & inside[2]


def _in_area(node: Any, segment_id: str, around: VoxelPatch, geometry: vtk.vtkMatrix4x4) -> np.ndarray:
    """Where Slicer's editable area allows to write to a segment, (K, J, I) bool.

    As vtkMRMLSegmentationNode::GenerateEditMask, which goes through the whole volume: too long for a click.
    """
    modes, mode = slicer.vtkMRMLSegmentationNode, node.GetMaskMode()
    if mode == modes.EditAllowedEverywhere:
        return np.ones_like(around.mask_kji)
    segmentation = node.GetSegmentationNode()
    ids = list(segmentation.GetSegmentation().GetSegmentIDs())
    display = segmentation.GetDisplayNode()
    if mode in (modes.EditAllowedInsideVisibleSegments, modes.EditAllowedOutsideVisibleSegments):
        ids = [name for name in ids if display is None or display.GetSegmentVisibility(name)]
    if mode == modes.EditAllowedInsideSingleSegment:
        ids = [node.GetMaskSegmentID()]
    is_outside = mode in (modes.EditAllowedOutsideAllSegments, modes.EditAllowedOutsideVisibleSegments)
    if is_outside:  # the segment itself is always editable
        ids = [name for name in ids if name != segment_id]
    union = np.zeros_like(around.mask_kji)
    for segment_id in ids:
        union |= segment_reader.segment_array(segmentation, segment_id, around.extent, geometry)
    return ~union if is_outside else union


def _in_range(
    node: Any,
    around: VoxelPatch,
    geometry: vtk.vtkMatrix4x4,
    volume: slicer.vtkMRMLScalarVolumeNode,
    world: np.ndarray,
) -> np.ndarray:
    """Where Slicer's editable intensity range allows to write, (K, J, I) bool."""
    if not node.GetSourceVolumeIntensityMask():
        return np.ones_like(around.mask_kji)
    source, found = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    image = volume.GetImageData()
    if image is not None:
        source.ShallowCopy(image)
    ras_from_ijk = np.linalg.inv(world_from_local(node.GetSegmentationNode())) @ world
    source.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ras_from_ijk))
    reference = segment_writer.labelmap_of(around, geometry)
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(source, reference, found, True)
    values = volumes.image_kji(found)
    values = values if values.ndim == 3 else values[..., 0]
    low, high = node.GetSourceVolumeIntensityMaskRange()
    return (values >= low) & (values <= high)


def _pixels_of(
    voxels: np.ndarray, extent: Sequence[int], plane: SlicePlane, plane_world: np.ndarray, grid: np.ndarray
) -> np.ndarray:
    """The pixels of a slice whose middle is in some voxels of a grid, (H, W) bool.

    Args:
        voxels: (K, J, I) bool, within the extent.
        extent: first and last voxel of the grid along i, j and k.
        plane: the slice.
        plane_world: (4, 4), the slice's voxels to the scene.
        grid: (4, 4), the grid's voxels to the scene.
    """
    inside, at = nearest_voxels(plane, np.linalg.inv(grid) @ plane_world, extent)
    return inside & voxels[at]
