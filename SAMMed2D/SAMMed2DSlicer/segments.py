"""The one way in which masks get into segments: Slicer's own, with its masking, overwriting and undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import slicer
import vtk
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene import SceneError, world_from_ijk, world_from_local

if TYPE_CHECKING:
    import numpy as np

    from SAMMed2DLib.geometry import SlicePlane
    from SAMMed2DLib.planes import VoxelPatch

_OVERWRITE = {"none": "OverwriteNone", "visible": "OverwriteVisibleSegments", "all": "OverwriteAllSegments"}


class SegmentTarget(Protocol):
    """The Segment Editor as the writer needs it: an effect (`EffectTarget`), or its logic (`LogicTarget`)."""

    segmentation: Any
    segment_id: str

    def save_state(self) -> None:
        """Begin an undo step."""

    def default_labelmap(self) -> Any:
        """An empty labelmap in the geometry to write in, or None."""

    def modify(self, labelmap: Any, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it, by the editor's rules."""

    @property
    def overwrites(self) -> bool:
        """Whether other segments give way to what is added."""


@dataclass(frozen=True, eq=False)
class EffectTarget:
    """The selected segment of a Segment Editor, written through an effect."""

    effect: Any  # qSlicerSegmentEditorScriptedEffect

    @property
    def segmentation(self) -> Any:
        """The segmentation node."""
        return self.effect.parameterSetNode().GetSegmentationNode()

    @property
    def segment_id(self) -> str:
        """The selected segment."""
        return self.effect.parameterSetNode().GetSelectedSegmentID() or ""

    @property
    def overwrites(self) -> bool:
        """Whether other segments give way to what is added."""
        node = self.effect.parameterSetNode()
        return node.GetOverwriteMode() != node.OverwriteNone

    def save_state(self) -> None:
        """Begin an undo step."""
        self.effect.saveStateForUndo()

    def default_labelmap(self) -> Any:
        """An empty labelmap in the editor's geometry."""
        return self.effect.defaultModifierLabelmap()

    def modify(self, labelmap: Any, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it, by the editor's rules."""
        modes = slicer.qSlicerSegmentEditorAbstractEffect
        mode = modes.ModificationModeAdd if adds else modes.ModificationModeRemove
        if segment_id not in (None, self.segment_id):
            self.effect.modifySegmentByLabelmap(self.segmentation, segment_id, labelmap, mode)
            return
        self.effect.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()))


class LogicTarget:
    """Any segment, written through Slicer's segment editor logic without a Segment Editor; for scripts."""

    def __init__(self, volume: Any, segmentation: Any, segment_id: str, overwrite: str = "none") -> None:
        """Prepare to write.

        Args:
            volume: gives the geometry where the segmentation has none yet.
            segmentation: the segmentation node.
            segment_id: of an existing segment.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.

        Raises:
            SceneError: there is no such segment, or no such way to overwrite.
        """
        if not segmentation.GetSegmentation().GetSegment(segment_id):
            raise SceneError(
                _("{name} has no segment {id}: add it first.").format(name=segmentation.GetName(), id=repr(segment_id))
            )
        if overwrite not in _OVERWRITE:
            raise SceneError(_("Unknown overwrite mode {mode}: choose none, visible or all.").format(mode=overwrite))
        self.segmentation, self.segment_id = segmentation, segment_id
        self._node = slicer.vtkMRMLSegmentEditorNode()
        self._node.SetOverwriteMode(getattr(self._node, _OVERWRITE[overwrite]))
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(slicer.mrmlScene)
        slicer.mrmlScene.AddNode(self._node)
        self._logic.SetSegmentEditorNode(self._node)
        self._logic.SetSegmentationNode(segmentation)
        self._logic.SetSourceVolumeNode(volume)
        self._node.SetSelectedSegmentID(segment_id)

    def __enter__(self) -> LogicTarget:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take the helper node out of the scene."""
        self._logic.SetSegmentEditorNode(None)
        slicer.mrmlScene.RemoveNode(self._node)

    @property
    def overwrites(self) -> bool:
        """Whether other segments give way to what is added."""
        return self._node.GetOverwriteMode() != self._node.OverwriteNone

    def save_state(self) -> None:
        """Nothing: undo belongs to a Segment Editor."""

    def default_labelmap(self) -> Any:
        """An empty labelmap in the segmentation's geometry."""
        return self._logic.GetModifierLabelmap() if self._logic.ResetModifierLabelmapToDefault() else None

    def modify(self, labelmap: Any, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it."""
        mode = self._logic.ModificationModeAdd if adds else self._logic.ModificationModeRemove
        self._logic.ModifySegmentByLabelmap(
            self.segmentation, segment_id or self.segment_id, labelmap, mode, list(labelmap.GetExtent()), True, False
        )


class UndoStep:
    """Saves the state before the first of several changes, once."""

    def __init__(self, target: SegmentTarget) -> None:
        """Nothing is saved yet."""
        self._target, self._is_saved = target, False

    def begin(self) -> None:
        """A change follows."""
        if not self._is_saved:
            self._is_saved = True
            self._target.save_state()


@dataclass(frozen=True, eq=False)
class Written:
    """What came of writing a mask.

    Attributes:
        voxels: how many voxels the mask means.
        changed: how many voxels of the segment changed.
        addition: what can be taken back later; None if the mask means no voxel.
        left_surplus: the segment was changed by somebody else since these prompts were written last, so that what they
            had added then was not taken back.
    """

    voxels: int
    changed: int
    addition: Addition | None = None
    left_surplus: bool = False


@dataclass(eq=False)
class Addition:
    """Voxels that a mask has added to a segment, and how it left the segment around them.

    Attributes:
        segmentation: the segmentation node.
        segment_id: the segment.
        added: the voxels.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
        before: (K, J, I) bool, the segment within the extent of `added`, as it was found.
        left: the same, as it was left.
    """

    segmentation: Any
    segment_id: str
    added: VoxelPatch
    geometry: Any
    before: np.ndarray
    left: np.ndarray

    def present(self) -> np.ndarray:
        """The segment within the extent, as it is now."""
        return segment_in(self.segmentation, self.segment_id, self.added.extent, self.geometry)

    def is_untouched(self) -> bool:
        """Whether the segment is as it was left: not painted on, erased or undone since."""
        return bool((self.present() == self.left).all())

    def is_undone(self) -> bool:
        """Whether the segment is again as it was before."""
        return bool((self.before != self.left).any() and (self.present() == self.before).all())

    def is_there(self) -> bool:
        """Whether the segment has all of the voxels, and not as before."""
        return bool(self.present()[self.added.mask_kji].all()) and not self.is_undone()


class Ledger:
    """What each set of prompts has added, so that corrected prompts can take it back, and nothing else."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._additions: dict[Any, Addition] = {}

    def write(self, key: Any, target: SegmentTarget, mask_hw: np.ndarray, plane: SlicePlane, volume: Any) -> Written:
        """Write a mask in place of what the same prompts had added; arguments and errors as in `write_mask`."""
        self._forget_closed()
        untouched = [one for one in self._of(target) if one.is_untouched()]
        before = self._additions.get(key)
        replaces = before.added if before in untouched else None
        was_undone = before is not None and before.is_undone()
        written = write_mask(target, mask_hw, plane, volume, replaces)
        for one in untouched:
            one.left = one.present()  # what is written here is no touch of somebody else
        if written.addition is not None:
            self._additions[key] = written.addition
        left_surplus = before is not None and replaces is None and not was_undone
        return replace(written, left_surplus=left_surplus)

    def addition(self, key: Any) -> Addition | None:
        """What a set has added last, as far as it is known."""
        return self._additions.get(key)

    def forget(self, key: Any) -> None:
        """Take nothing back for a set any more."""
        self._additions.pop(key, None)

    def clear(self) -> None:
        """Forget everything; for another scene."""
        self._additions.clear()

    def _forget_closed(self) -> None:
        """Hold no segmentation that was removed."""
        kept = {key: one for key, one in self._additions.items() if one.segmentation.GetScene() is not None}
        self._additions = kept

    def _of(self, target: SegmentTarget) -> list[Addition]:
        ours = (target.segmentation, target.segment_id)
        return [one for one in self._additions.values() if (one.segmentation, one.segment_id) == ours]


_shared = Ledger()


def shared_ledger() -> Ledger:
    """The one of all Segment Editors: what one has accepted, another one may correct."""
    return _shared


def write_mask(
    target: SegmentTarget, mask_hw: np.ndarray, plane: SlicePlane, volume: Any, replaces: VoxelPatch | None = None
) -> Written:
    """Add a mask to a segment the way Slicer's own effects do, as one undo step.

    Masking, overwriting and hidden segments are Slicer's business. An empty mask changes nothing.

    Args:
        target: the segment.
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, of this volume.
        volume: the volume node.
        replaces: voxels to take away first, where the mask has them no more.

    Raises:
        SceneError: the segmentation has no geometry, or is under a non-linear transform.
    """
    from SAMMed2DLib.planes import VoxelPatch, voxels_of_mask

    labelmap = target.default_labelmap()
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    geometry = image_matrix(labelmap)
    grid = world_from_local(target.segmentation) @ slicer.util.arrayFromVTKMatrix(geometry)
    patch = voxels_of_mask(mask_hw, plane, world_from_ijk(volume), grid, labelmap.GetExtent())
    if patch is None:
        return Written(0, 0)
    extent = patch.extent if replaces is None else around(patch.extent, replaces.extent)
    before = segment_in(target.segmentation, target.segment_id, extent, geometry)
    target.save_state()
    surplus = None if replaces is None else _without(replaces, patch)
    if surplus is not None:
        target.modify(labelmap_of(surplus, geometry), adds=False)
    target.modify(labelmap_of(patch, geometry), adds=True)
    after = segment_in(target.segmentation, target.segment_id, extent, geometry)
    added = after & ~before
    if replaces is not None:  # what this writes again is still not the user's own
        added |= after & in_extent(patch, extent) & in_extent(replaces, extent)
    addition = Addition(
        target.segmentation, target.segment_id, VoxelPatch(extent[::2], added), geometry, before, after
    )
    return Written(int(patch.mask_kji.sum()), int((after != before).sum()), addition)


def segment_in(segmentation: Any, segment_id: str, extent: Sequence[int], geometry: Any) -> np.ndarray:
    """Read a segment within an extent of a geometry: (K, J, I) bool.

    Args:
        segmentation: the segmentation node.
        segment_id: the segment; one without a labelmap is empty.
        extent: first and last voxel along i, j and k.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
    """
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    found = np.zeros(_shape(extent), bool)
    image = voxels_of(segmentation, segment_id)
    if image is None:
        return found
    shift = _whole_shift(image, geometry)
    if shift is None:
        image = _resampled(image, geometry, extent)
        shift = (0, 0, 0)
    own_extent = image.GetExtent()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(_shape(own_extent))
    shifted = [end + shift[n // 2] for n, end in enumerate(own_extent)]
    overlap = _overlap(extent, shifted)
    if overlap is not None:
        found[overlap[0]] = values[overlap[1]] == segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    return found


def voxels_of(segmentation: Any, segment_id: str) -> Any:
    """The binary labelmap of a segment, a vtkOrientedImageData; None if there is no such segment, or it is empty."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name) if segment is not None else None
    return None if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None else image


def extent_of(segmentation: Any, segment_id: str, geometry: Any, within: Sequence[int]) -> tuple[int, ...] | None:
    """Where in a geometry the voxels of a segment can be, not beyond an extent; None for a segment without voxels."""
    image = voxels_of(segmentation, segment_id)
    if image is None:
        return None
    shift = _whole_shift(image, geometry)
    if shift is None:
        return tuple(within)
    own = [end + shift[n // 2] for n, end in enumerate(image.GetExtent())]
    found = tuple((min if n % 2 else max)(own[n], within[n]) for n in range(6))
    return found if all(found[n] <= found[n + 1] for n in (0, 2, 4)) else None


def _whole_shift(image: Any, geometry: Any) -> tuple[int, int, int] | None:
    """How many voxels `geometry` is shifted against an image of the same grid; None for another grid."""
    import numpy as np

    own = slicer.util.arrayFromVTKMatrix(image_matrix(image))
    to_grid = np.linalg.inv(slicer.util.arrayFromVTKMatrix(geometry)) @ own
    shift = np.round(to_grid[:3, 3])
    same = np.abs(to_grid[:3, :3] - np.eye(3)).max() < 1e-4 and np.abs(to_grid[:3, 3] - shift).max() < 1e-2
    return tuple(int(value) for value in shift) if same else None


def _resampled(image: Any, geometry: Any, extent: Sequence[int]) -> Any:
    reference = _empty_image(extent, geometry)
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, reference, resampled)
    return resampled


def labelmap_of(patch: VoxelPatch, geometry: Any) -> Any:
    """A small labelmap with the patch's extent: Slicer's cost goes by the size of what it is given."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = _empty_image(patch.extent, geometry)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = patch.mask_kji.ravel()
    return image


def _empty_image(extent: Sequence[int], geometry: Any) -> Any:
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent)
    image.SetGeometryFromImageToWorldMatrix(geometry)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(0)
    return image


def image_matrix(image: Any) -> Any:
    """The vtkMatrix4x4 from an image's voxels to its RAS."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return matrix


def _without(patch: VoxelPatch, other: VoxelPatch) -> VoxelPatch | None:
    """The patch without what the other one has."""
    from SAMMed2DLib.planes import VoxelPatch

    rest = patch.mask_kji & ~in_extent(other, patch.extent)
    return VoxelPatch(patch.start_ijk, rest) if rest.any() else None


def union(patches: Sequence[VoxelPatch | None]) -> VoxelPatch | None:
    """All voxels of some patches, as a new one; None if there are none."""
    import numpy as np

    from SAMMed2DLib.planes import VoxelPatch

    found = [one for one in patches if one is not None]
    if not found:
        return None
    extent: Sequence[int] = found[0].extent
    for one in found:
        extent = around(extent, one.extent)
    i0, _i1, j0, _j1, k0, _k1 = extent
    mask = np.zeros(_shape(extent), bool)
    for one in found:
        start = [a - b for a, b in zip(one.start_ijk[::-1], (k0, j0, i0), strict=True)]
        mask[tuple(slice(a, a + n) for a, n in zip(start, one.mask_kji.shape, strict=True))] |= one.mask_kji
    return VoxelPatch((i0, j0, k0), mask)


def in_extent(patch: VoxelPatch, extent: Sequence[int]) -> np.ndarray:
    """The part of a patch within an extent, (K, J, I) bool of that extent."""
    import numpy as np

    found = np.zeros(_shape(extent), bool)
    overlap = _overlap(extent, patch.extent)
    if overlap is not None:
        found[overlap[0]] = patch.mask_kji[overlap[1]]
    return found


def _shape(extent: Sequence[int]) -> tuple[int, int, int]:
    """(K, J, I) of an extent."""
    i0, i1, j0, j1, k0, k1 = extent
    return (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)


def around(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """The smallest extent with both in it."""
    return tuple((max if n % 2 else min)(one[n], other[n]) for n in range(6))


def _overlap(one: Sequence[int], other: Sequence[int]) -> tuple[Any, Any] | None:
    """What two extents share, as indices into the (K, J, I) array of each; None if they share nothing."""
    first = [max(one[n], other[n]) for n in (4, 2, 0)]
    last = [min(one[n], other[n]) for n in (5, 3, 1)]
    if any(a > b for a, b in zip(first, last, strict=True)):
        return None

    def index_in(extent: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(a - extent[n], b - extent[n] + 1) for a, b, n in zip(first, last, (4, 2, 0), strict=True))

    return index_in(one), index_in(other)
