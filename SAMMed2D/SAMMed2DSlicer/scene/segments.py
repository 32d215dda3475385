"""The one way in which masks get into segments: Slicer's own, with its masking, overwriting and undo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene import protection, representations
from SAMMed2DSlicer.scene.geometry_reach import pixels_outside
from SAMMed2DSlicer.scene.volumes import SceneError, image_kji, world_from_ijk, world_from_local

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.planes import VoxelPatch

# A segment is read in pieces of about so many voxels, each a few milliseconds.
_SLAB_VOXELS = 1_000_000
Extent = tuple[int, int, int, int, int, int]  # first and last voxel along i, j and k
_OVERWRITE = {"none": "OverwriteNone", "visible": "OverwriteVisibleSegments", "all": "OverwriteAllSegments"}


class SegmentTarget(Protocol):
    """The Segment Editor as the writer needs it: an effect (`EffectTarget`), or its logic (`LogicTarget`)."""

    @property
    def segmentation(self) -> Any:
        """The segmentation node."""

    @property
    def segment_id(self) -> str:
        """The segment that is written to."""

    def make_editable(self) -> None:
        """Let the segments be made of labelmaps, before they are written to."""

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
        return node.GetOverwriteMode() != node.OverwriteNone and not protection.are_protected(self.effect)

    def make_editable(self) -> None:
        """Nothing: the Segment Editor has done so when the effect became active."""

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
        with nullcontext() if self.overwrites else protection.protected(self.effect):
            if segment_id not in (None, self.segment_id):
                self.effect.modifySegmentByLabelmap(self.segmentation, segment_id, labelmap, mode)
            else:
                self.effect.modifySelectedSegmentByLabelmap(labelmap, mode, list(labelmap.GetExtent()))


class LogicTarget:
    """Any segment, written through Slicer's segment editor logic without a Segment Editor; for scripts."""

    def __init__(
        self, volume: Any, segmentation: Any, segment_id: str, overwrite: str = "none", *, keeps_undo: bool = False
    ) -> None:
        """Prepare to write.

        Args:
            volume: gives the geometry where the segmentation has none yet.
            segmentation: the segmentation node.
            segment_id: of an existing segment.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            keeps_undo: whether the last step can be taken back, as long as this object is open.

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
        self._keeps_undo = keeps_undo
        self._left: dict[str, int] = {}  # when the segments that were changed were left
        self._node = slicer.vtkMRMLSegmentEditorNode()
        self._node.SetSaveWithScene(False)
        self._node.SetHideFromEditors(True)
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
        self.close()

    def close(self) -> None:
        """Take the helper node out of the scene, where that was not closed itself."""
        self._logic.SetSegmentEditorNode(None)
        if self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node)

    @property
    def overwrites(self) -> bool:
        """Whether other segments give way to what is added."""
        return self._node.GetOverwriteMode() != self._node.OverwriteNone

    def make_editable(self) -> None:
        """Let the segments be made of labelmaps; see `representations.make_editable`."""
        representations.make_editable(self._logic, self.segmentation)

    def save_state(self) -> None:
        """Begin an undo step, if that was asked for."""
        if self._keeps_undo:
            self._logic.SaveStateForUndo()

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back, and nobody else has changed its segments since."""
        if self._node.GetScene() is None or self.segmentation.GetScene() is None or not self._logic.CanUndo():
            return False
        return all(_time_of(voxels_of(self.segmentation, name)) == time for name, time in self._left.items())

    def undo(self) -> None:
        """Take the last step back."""
        self._logic.Undo()

    def default_labelmap(self) -> Any:
        """An empty labelmap in the segmentation's geometry."""
        return self._logic.GetModifierLabelmap() if self._logic.ResetModifierLabelmapToDefault() else None

    def modify(self, labelmap: Any, adds: bool, segment_id: str | None = None) -> None:
        """Add to the segment, or to another one, or remove from it."""
        mode = self._logic.ModificationModeAdd if adds else self._logic.ModificationModeRemove
        self._logic.ModifySegmentByLabelmap(
            self.segmentation, segment_id or self.segment_id, labelmap, mode, list(labelmap.GetExtent()), True, False
        )
        changed = {*self._left, segment_id or self.segment_id}
        self._left = {name: _time_of(voxels_of(self.segmentation, name)) for name in changed}


def emptied(segmentation: Any) -> Any:
    """A segmentation node like another one, all of whose segments are empty; in no scene."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(segmentation.GetName())
    ours, theirs = copy.GetSegmentation(), segmentation.GetSegmentation()
    ours.SetSourceRepresentationName(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
    ours.CopyConversionParameters(theirs)
    for segment_id in theirs.GetSegmentIDs():
        add_like(copy, segmentation, segment_id)
    return copy


def add_like(segmentation: Any, other: Any, segment_id: str) -> None:
    """Add an empty segment with the name, colour and terminology that it has in another segmentation node."""
    source = other.GetSegmentation().GetSegment(segment_id)
    ours = segmentation.GetSegmentation()
    segment = ours.GetSegment(ours.AddEmptySegment(segment_id, source.GetName(), source.GetColor()))
    segment.SetTerminology(source.GetTerminology())


def replace_segment(segmentation: Any, segment_id: str, patch: VoxelPatch | None, geometry: Any) -> None:
    """Let a segment have these voxels, and no others; for frames of a sequence, which no Segment Editor can edit.

    Masking and undo are those of the caller; other segments are left as they are.

    Raises:
        SceneError: Slicer refuses it.
    """
    from SAMMed2DLib.imaging.planes import VoxelPatch

    labelmap = labelmap_of(patch or VoxelPatch((0, 0, 0), np.zeros((1, 1, 1), bool)), geometry)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(labelmap, segmentation, segment_id, logic.MODE_REPLACE):
        raise SceneError(_("Slicer could not write to {name}.").format(name=segmentation.GetName()))


class UndoStep:
    """Saves the state before the first of several changes, once."""

    def __init__(self, target: SegmentTarget) -> None:
        """Nothing is saved yet."""
        self._target, self._is_saved = target, False

    def begin(self) -> bool:
        """A change follows; tell whether it is the first one."""
        if self._is_saved:
            return False
        self._is_saved = True
        self._target.save_state()
        return True


class OneStep:
    """A target to which several masks are written as one step of undo."""

    def __init__(self, target: SegmentTarget) -> None:
        """Nothing is saved before the first change."""
        self._target, self._step = target, UndoStep(target)
        self.segmentation, self.segment_id = target.segmentation, target.segment_id

    def save_state(self) -> None:
        """Begin the undo step, if that was not done."""
        self._step.begin()

    def __getattr__(self, name: str) -> Any:
        """All else is the target's."""
        return getattr(self._target, name)


@dataclass(frozen=True, eq=False)
class Written:
    """What came of writing a mask.

    Attributes:
        voxels: how many voxels the mask means.
        changed: how many voxels of the segment changed.
        outside_px: how many pixels of the mask lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each other segment that gave way has lost, by its ID.
        addition: what can be taken back later; None if the mask means no voxel.
        left_surplus: the segment was changed by somebody else since these prompts were written last, so that what they
            had added then was not taken back.
    """

    voxels: int
    changed: int
    outside_px: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
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

    def has(self, point_world: Sequence[float] | np.ndarray) -> bool:
        """Whether it added the voxel at (3,) mm in the scene."""
        from SAMMed2DLib.imaging.geometry import ijk_from_ras

        grid = world_from_local(self.segmentation) @ slicer.util.arrayFromVTKMatrix(self.geometry)
        i, j, k = (int(value) for value in np.floor(ijk_from_ras(np.array([point_world]), grid)[0] + 0.5))
        return bool(in_extent(self.added, (i, i, j, j, k, k)).any())

    def is_untouched(self) -> bool:
        """Whether the segment is as it was left: not painted on, erased or undone since."""
        return bool((self.present() == self.left).all())

    def is_undone(self) -> bool:
        """Whether the segment is again as it was before."""
        return bool((self.before != self.left).any() and (self.present() == self.before).all())

    def is_there(self) -> bool:
        """Whether the segment has all that was added and nothing that was removed, and not as before."""
        present, removed = self.present(), self.before & ~self.left
        return bool(present[self.added.mask_kji].all()) and not present[removed].any() and not self.is_undone()


class Ledger:
    """What each set of prompts has added, so that corrected prompts can take it back, and nothing else."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._additions: dict[Any, Addition] = {}

    def write(
        self,
        key: Any,
        target: SegmentTarget,
        mask_hw: np.ndarray,
        plane: SlicePlane,
        volume: Any,
        known_hw: np.ndarray | None = None,
    ) -> Written:
        """Write a mask in place of what the same prompts had added; arguments and errors as in `write_mask`."""
        self._forget_closed()
        untouched = [one for one in self._of(target) if one.is_untouched()]
        before, replaces = self._additions.get(key), self.to_replace(key)
        was_undone = before is not None and before.is_undone()
        written = write_mask(target, mask_hw, plane, volume, replaces, known_hw)
        for one in untouched:
            one.left = one.present()  # what is written here is no touch of somebody else
        is_same = written.changed == 0 and replaces is not None  # what was added before is still what undo takes back
        if written.addition is not None and not is_same:
            self._additions[key] = written.addition
        left_surplus = before is not None and replaces is None and not was_undone
        return replace(written, left_surplus=left_surplus)

    def to_replace(self, key: Any) -> VoxelPatch | None:
        """What the prompts of a set would take back, if they were accepted again now; None for nothing."""
        before = self._additions.get(key)
        return before.added if before is not None and before.is_untouched() else None

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
    target: SegmentTarget,
    mask_hw: np.ndarray,
    plane: SlicePlane,
    volume: Any,
    replaces: VoxelPatch | None = None,
    known_hw: np.ndarray | None = None,
) -> Written:
    """Add a mask to a segment the way Slicer's own effects do, as one undo step.

    Masking, overwriting and hidden segments are Slicer's business. An empty mask changes nothing, unless it corrects
    another one.

    Args:
        target: the segment.
        mask_hw: (H, W) bool, on the slice.
        plane: the slice, of this volume.
        volume: the volume node.
        replaces: voxels to take away first, where the mask has them no more.
        known_hw: (H, W) bool, the mask of the segment on the slice that this one corrects: what it has no more is taken
            away too, and only what is new is added.

    Raises:
        SceneError: the segmentation has no geometry, or is under a non-linear transform.
    """
    from SAMMed2DLib.imaging.planes import voxels_of_mask

    labelmap = target.default_labelmap()
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    geometry = image_matrix(labelmap)
    grid = world_from_local(target.segmentation) @ slicer.util.arrayFromVTKMatrix(geometry)
    place = (mask_hw, plane, world_from_ijk(volume), grid, labelmap.GetExtent())
    patch, outside_px = voxels_of_mask(*place), pixels_outside(*place)
    if known_hw is not None:
        replaces = union([replaces, voxels_of_mask(known_hw, *place[1:])])
    if patch is None and (known_hw is None or replaces is None):
        return Written(0, 0, outside_px)
    target.make_editable()
    written = _write_voxels(target, patch, replaces, geometry, only_new=known_hw is not None)
    return replace(written, outside_px=outside_px)


def _write_voxels(
    target: SegmentTarget, patch: VoxelPatch | None, replaces: VoxelPatch | None, geometry: Any, only_new: bool
) -> Written:
    """Put voxels in place of others, one of both at least; `only_new`: those that the segment has are not added."""
    from SAMMed2DLib.imaging.planes import VoxelPatch

    extent = union_extent([patch, replaces])
    before = segment_in(target.segmentation, target.segment_id, extent, geometry)
    adds = _without(patch, VoxelPatch(extent[::2], before)) if only_new else patch
    surplus = _without(replaces, patch)
    others = neighbours_of(target, [target.segment_id], extent, geometry)
    changes = [(voxels, is_added) for voxels, is_added in ((surplus, False), (adds, True)) if voxels is not None]
    has_all = all((before == is_added)[in_extent(voxels, extent)].all() for voxels, is_added in changes)
    if target.overwrites or not has_all:  # no step of undo for nothing
        target.save_state()
        for voxels, is_added in changes:
            target.modify(labelmap_of(voxels, geometry), is_added)
    after = segment_in(target.segmentation, target.segment_id, extent, geometry)
    added = after & ~before
    if patch is not None and replaces is not None:  # what this writes again is still not the user's own
        added |= after & in_extent(patch, extent) & in_extent(replaces, extent)
    addition = Addition(target.segmentation, target.segment_id, VoxelPatch(extent[::2], added), geometry, before, after)
    return Written(count(patch), int((after != before).sum()), lost=others.lost(), addition=addition)


def neighbours_of(
    target: SegmentTarget, written_ids: Sequence[str], extent: Sequence[int], geometry: Any
) -> protection.Neighbours:
    """What segments that may give way have within an extent; to be asked after something was written.

    Args:
        target: where is written.
        written_ids: the segments that are written, which are not looked at.
        extent: first and last voxel along i, j and k.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
    """
    ids = target.segmentation.GetSegmentation().GetSegmentIDs() if target.overwrites else ()
    others = [name for name in ids if name not in written_ids]
    return protection.Neighbours(others, lambda name: segment_in(target.segmentation, name, extent, geometry))


def segment_in(segmentation: Any, segment_id: str, extent: Sequence[int], geometry: Any) -> np.ndarray:
    """Read a segment within an extent of a geometry: (K, J, I) bool.

    Args:
        segmentation: the segmentation node.
        segment_id: the segment; one without a labelmap is empty.
        extent: first and last voxel along i, j and k.
        geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
    """
    return SegmentReader(segmentation, segment_id, geometry).within(extent)


class SegmentReader:
    """A segment's voxels in a geometry, to be read in any thread while the segment may be changed in another one.

    Slicer gives a labelmap that it enlarges new voxels, and leaves those that somebody holds as they are; what it
    changes in place is noticed by `is_stale`.
    """

    def __init__(self, segmentation: Any, segment_id: str, geometry: Any) -> None:
        """Take hold of the voxels, on the main thread; nothing is read yet.

        Args:
            segmentation: the segmentation node.
            segment_id: the segment; one without a labelmap is empty.
            geometry: vtkMatrix4x4, voxels to the segmentation's RAS.
        """
        self._of = segmentation, segment_id
        image = voxels_of(segmentation, segment_id)
        self._time = _time_of(image)
        self.is_empty = image is None
        if image is None:
            return
        self._extent, self._to_own = image.GetExtent(), _to_grid(geometry, image_matrix(image))
        self._shift = _whole_shift(self._to_own)
        self._values = image_kji(image)
        self._label = segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()

    def is_stale(self) -> bool:
        """Whether the segment was changed since; on the main thread."""
        return _time_of(voxels_of(*self._of)) != self._time

    def reach(self, within: Sequence[int]) -> tuple[int, ...] | None:
        """Where in the geometry the voxels can be, not beyond an extent; None where there are none."""
        if self.is_empty or self._shift is None:
            return None if self.is_empty else tuple(within)
        own = [end - self._shift[n // 2] for n, end in enumerate(self._extent)]
        found = tuple((min if n % 2 else max)(own[n], within[n]) for n in range(6))
        return found if all(found[n] <= found[n + 1] for n in (0, 2, 4)) else None

    def slabs(self, within: Sequence[int]) -> Iterator[VoxelPatch]:
        """The voxels within an extent in small pieces, so that other threads get their turn."""
        from SAMMed2DLib.imaging.planes import VoxelPatch

        reach = self.reach(within)
        if reach is None:
            return
        i0, i1, j0, j1, first, last = reach
        thick = max(1, _SLAB_VOXELS // ((i1 - i0 + 1) * (j1 - j0 + 1)))
        for k in range(first, last + 1, thick):
            yield VoxelPatch((i0, j0, k), self.within((i0, i1, j0, j1, k, min(k + thick - 1, last))))

    def within(self, extent: Sequence[int]) -> np.ndarray:
        """The voxels within an extent of the geometry, (K, J, I) bool."""
        found = np.zeros(_shape(extent), bool)
        if self.is_empty:
            return found
        if self._shift is None:
            return self._nearest(extent)
        shifted = [end - self._shift[n // 2] for n, end in enumerate(self._extent)]
        overlap = _overlap(extent, shifted)
        if overlap is not None:
            found[overlap[0]] = self._values[overlap[1]] == self._label
        return found

    def _nearest(self, extent: Sequence[int]) -> np.ndarray:
        """The same where the segment has another grid: its voxel that is nearest to each voxel's centre."""
        i0, i1, j0, j1, k0, k1 = extent
        k, j, i = np.ogrid[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
        inside = np.ones(_shape(extent), bool)
        at = []
        for axis in (2, 1, 0):
            step = self._to_own[axis]
            index = np.floor(step[0] * i + step[1] * j + step[2] * k + step[3] + 0.5).astype(np.int32)
            inside &= (index >= self._extent[2 * axis]) & (index <= self._extent[2 * axis + 1])
            at.append(np.clip(index, *self._extent[2 * axis : 2 * axis + 2]) - self._extent[2 * axis])
        return inside & (self._values[tuple(at)] == self._label)


def voxels_of(segmentation: Any, segment_id: str) -> Any:
    """The binary labelmap of a segment, a vtkOrientedImageData; None if there is no such segment, or it is empty."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name) if segment is not None else None
    return None if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None else image


def has_voxels(segmentation: Any, segment_id: str) -> bool:
    """Whether a segment has any voxel; a new one shares the labelmap of others."""
    image = voxels_of(segmentation, segment_id)
    if image is None:
        return False
    label = segmentation.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    values = image_kji(image).reshape(-1)
    pieces = (values[start : start + _SLAB_VOXELS] for start in range(0, len(values), _SLAB_VOXELS))
    return any((piece == label).any() for piece in pieces)


def changed_at(segmentation: Any, segment_id: str) -> int:
    """When the voxels of a segment were changed last, a number that grows; 0 for none."""
    return _time_of(voxels_of(segmentation, segment_id))


def _time_of(image: Any) -> int:
    """When an image was changed last; 0 for none."""
    return 0 if image is None else image.GetMTime()


def _to_grid(geometry: Any, other: Any) -> np.ndarray:
    """(4, 4): voxels of a geometry to those of another one; both vtkMatrix4x4."""
    return np.linalg.inv(slicer.util.arrayFromVTKMatrix(other)) @ slicer.util.arrayFromVTKMatrix(geometry)


def _whole_shift(to_own: np.ndarray) -> tuple[int, int, int] | None:
    """How many voxels two geometries are shifted, if nothing else tells them apart; None otherwise."""
    shift = np.round(to_own[:3, 3])
    same = np.abs(to_own[:3, :3] - np.eye(3)).max() < 1e-4 and np.abs(to_own[:3, 3] - shift).max() < 1e-2
    return (int(shift[0]), int(shift[1]), int(shift[2])) if same else None


def labelmap_of(patch: VoxelPatch, geometry: Any) -> Any:
    """A small labelmap with the patch's extent: Slicer's cost goes by the size of what it is given."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*patch.extent)
    image.SetGeometryFromImageToWorldMatrix(geometry)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image_kji(image)[:] = patch.mask_kji
    return image


def image_matrix(image: Any) -> Any:
    """The vtkMatrix4x4 from an image's voxels to its RAS."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return matrix


def _without(patch: VoxelPatch | None, other: VoxelPatch | None) -> VoxelPatch | None:
    """The patch without what the other one has; None if nothing is left."""
    from SAMMed2DLib.imaging.planes import VoxelPatch

    if patch is None or other is None:
        return patch
    rest = patch.mask_kji & ~in_extent(other, patch.extent)
    return VoxelPatch(patch.start_ijk, rest) if rest.any() else None


def union(patches: Sequence[VoxelPatch | None]) -> VoxelPatch | None:
    """All voxels of some patches, as a new one; None if there are none."""
    from SAMMed2DLib.imaging.planes import VoxelPatch

    found = [one for one in patches if one is not None]
    if not found:
        return None
    extent = union_extent(found)
    i0, _i1, j0, _j1, k0, _k1 = extent
    mask = np.zeros(_shape(extent), bool)
    for one in found:
        start = [a - b for a, b in zip(one.start_ijk[::-1], (k0, j0, i0), strict=True)]
        mask[tuple(slice(a, a + n) for a, n in zip(start, one.mask_kji.shape, strict=True))] |= one.mask_kji
    return VoxelPatch((i0, j0, k0), mask)


def union_extent(patches: Sequence[VoxelPatch | None]) -> Extent:
    """The smallest extent with all of some patches, one at least, in it."""
    i0, i1, j0, j1, k0, k1 = zip(*(patch.extent for patch in patches if patch is not None), strict=True)
    return min(i0), max(i1), min(j0), max(j1), min(k0), max(k1)


def cropped(patch: VoxelPatch) -> VoxelPatch | None:
    """The smallest patch with all voxels of this one; None if there are none."""
    from SAMMed2DLib.imaging.planes import VoxelPatch

    mask = patch.mask_kji
    filled = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not len(filled[0]):
        return None
    i, j, k = (int(patch.start_ijk[axis] + filled[2 - axis][0]) for axis in range(3))
    return VoxelPatch((i, j, k), np.ascontiguousarray(mask[tuple(slice(one[0], one[-1] + 1) for one in filled)]))


def count(patch: VoxelPatch | None) -> int:
    """How many voxels a patch has; 0 for none."""
    return 0 if patch is None else int(patch.mask_kji.sum())


def difference(one: VoxelPatch | None, other: VoxelPatch | None) -> int:
    """How many voxels only one of the two has."""
    if one is None or other is None:
        return count(one) + count(other)
    shared = int((in_extent(one, other.extent) & other.mask_kji).sum())
    return count(one) + count(other) - 2 * shared


def in_extent(patch: VoxelPatch, extent: Sequence[int]) -> np.ndarray:
    """The part of a patch within an extent, (K, J, I) bool of that extent."""
    found = np.zeros(_shape(extent), bool)
    overlap = _overlap(extent, patch.extent)
    if overlap is not None:
        found[overlap[0]] = patch.mask_kji[overlap[1]]
    return found


def _shape(extent: Sequence[int]) -> tuple[int, int, int]:
    """(K, J, I) of an extent."""
    i0, i1, j0, j1, k0, k1 = extent
    return (k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)


def around(one: Extent, other: Extent) -> Extent:
    """The smallest extent with both in it."""
    i0, i1, j0, j1, k0, k1 = zip(one, other, strict=True)
    return min(i0), max(i1), min(j0), max(j1), min(k0), max(k1)


def _overlap(one: Sequence[int], other: Sequence[int]) -> tuple[Any, Any] | None:
    """What two extents share, as indices into the (K, J, I) array of each; None if they share nothing."""
    first = [max(one[n], other[n]) for n in (4, 2, 0)]
    last = [min(one[n], other[n]) for n in (5, 3, 1)]
    if any(a > b for a, b in zip(first, last, strict=True)):
        return None

    def index_in(extent: Sequence[int]) -> tuple[slice, ...]:
        return tuple(slice(a - extent[n], b - extent[n] + 1) for a, b, n in zip(first, last, (4, 2, 0), strict=True))

    return index_in(one), index_in(other)
