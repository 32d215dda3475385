"""Which prompt group a click or a box belongs to: one that is there, or a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging.masks import is_on_mask, without_lines
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.edit_history import EditHistory
from SAMMed2DSlicer.scene.segment_reader import mask_on_slice

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DSlicer.effect.objects.object_segments import ObjectSegments
    from SAMMed2DSlicer.inference.request_queue import PendingPrediction

# No click is beside a mask that is farther off: px, and a share of the longer side of the slice; see `is_on_mask`.
_LEAST_REACH_PX, _REACH_SHARE = 4, 0.1


class ShownObject(Protocol):
    """A whole object that waits to be accepted."""

    def mask_on(self, plane: SlicePlane) -> np.ndarray:
        """What it has on a slice of the volume, (H, W) bool."""


class GroupChooser:
    """Finds the prompt group for prompts that the user gives.

    Attributes:
        whole_object: one that waits to be accepted, and is corrected by clicks on it; None for none.
    """

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        groups: PromptGroupState,
        edit_history: EditHistory,
        segments: ObjectSegments,
        predictions: Mapping[PromptGroup, PendingPrediction],
    ) -> None:
        """Prepare.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            groups: the groups that are there.
            edit_history: what each has added to its segment.
            segments: makes segments where each object gets one of its own.
            predictions: those that are shown.
        """
        self._effect, self._groups, self._edit_history = effect, groups, edit_history
        self._segments, self._predictions = segments, predictions
        self.whole_object: ShownObject | None = None

    def choose(
        self,
        now: EditorSnapshot,
        widget: Any,
        points_world: Sequence[np.ndarray] | np.ndarray,
        positive: bool | None = None,
        begins_object: bool = False,
    ) -> PromptGroup:
        """The prompt group to which prompts in a view belong.

        It is the one that is not accepted yet; else, for a point that takes away, the one whose mask is there;
        else a new one, because what was accepted must not be lost to the next object. A new one corrects the mask that
        the segment has on the slice, of whatever origin, where a point is on it (for lines see `_mask_to_correct`).
        With a segment for each object, each prompt begins another one, unless it is on a mask that is shown and not
        accepted.

        Args:
            now: the context.
            widget: the slice view.
            points_world: (3,) mm each: a point, the path of a stroke, or corners of a box.
            positive: the side of the point or stroke; None for a box, and a lasso around the object.
            begins_object: whether it begins another object, whatever is there.

        Raises:
            SceneError, GeometryError: there can be no prompt; the message says what to do.
        """
        _check_context(now)
        slice_node = widget.mrmlSliceNode()
        world_from_ijk = volumes.world_from_ijk(now.volume) if now.world_from_ijk is None else now.world_from_ijk
        plane = now.planes.get(slice_node.GetLayoutName()) or volumes.plane_shown(slice_node, now.volume)
        xy = plane.project_ras(np.array(points_world), world_from_ijk)[0]
        size_xy = np.array(plane.size_hw[::-1])
        if (xy.max(axis=0) < -0.5).any() or (xy.min(axis=0) > size_xy - 0.5).any():
            raise volumes.SceneError(_("That is outside the image: click inside it."))
        if not self._is_segment_visible(now):
            raise volumes.SceneError(_("The segment is hidden: show it first."))
        segment_id = now.segment_id
        if now.options.new_segments and not begins_object:
            shown = self._shown_at(now, plane, xy, positive)
            if shown is not None:
                self._segments.select(shown.segment_id)
                return shown
        if positive is not False:
            segment_id = self._segments.of_next_object(now) if now.options.new_segments else segment_id
            self._groups.starts_object = False
        self._groups.reopened = None
        owner = (now.segmentation, segment_id, now.volume, plane, now.item)
        here = [group for group in self._groups.groups if group.belongs_to(*owner)]
        still_open = next((group for group in here if not group.is_accepted), None)
        if still_open is not None and not begins_object:
            return still_open
        initial_mask_hw = None
        if positive is not None and not begins_object:
            found = self.whole_object
            mask_hw = _mask_to_correct(now, plane, segment_id, positive)
            if found is not None and not mask_hw.any():
                mask_hw = found.mask_on(plane)
            first = next((n for n, on in enumerate(_are_on(mask_hw, xy)) if on), 0)  # of a stroke, that is on the mask
            is_on = is_on_mask(mask_hw, xy[first], widely=positive)
            accepted = None if positive else self._accepted_at(here, points_world[first], is_on)
            if accepted is not None:
                return accepted
            if not positive and mask_hw.any() and not is_on:
                raise volumes.SceneError(_("There is nothing to take away: click where the mask goes too far."))
            initial_mask_hw = mask_hw if is_on else None
        number = 1 + max((group.number for group in here), default=0)
        group = PromptGroup(*owner, number=number, initial_mask_hw=initial_mask_hw)
        group.show_in([slice_node.GetID()])
        return group

    def group_at(self, now: EditorSnapshot, widget: Any, point_world: np.ndarray, positive: bool) -> PromptGroup:
        """The prompt group to which a click would belong, as `choose` has it; nothing is changed.

        Args:
            now: the context.
            widget: the slice view.
            point_world: (3,) mm.
            positive: the side of the point.

        Raises:
            SceneError, GeometryError: there can be no prompt.
        """
        _check_context(now)
        slice_node = widget.mrmlSliceNode()
        world_from_ijk = volumes.world_from_ijk(now.volume) if now.world_from_ijk is None else now.world_from_ijk
        plane = now.planes.get(slice_node.GetLayoutName()) or volumes.plane_shown(slice_node, now.volume)
        xy = plane.project_ras(np.array([point_world]), world_from_ijk)[0]
        if (xy < -0.5).any() or (xy > np.array(plane.size_hw[::-1]) - 0.5).any():
            raise volumes.SceneError(_("That is outside the image: click inside it."))
        owner = (now.segmentation, now.segment_id, now.volume, plane, now.item)
        if now.options.new_segments:
            shown = self._shown_at(now, plane, xy, positive)
            if shown is not None:
                return shown
            if positive and self._segments.begins_another(now):
                return PromptGroup(*owner, number=0)
        here = [group for group in self._groups.groups if group.belongs_to(*owner)]
        still_open = next((group for group in here if not group.is_accepted), None)
        if still_open is not None:
            return still_open
        mask_hw = _mask_to_correct(now, plane, now.segment_id, positive)
        is_on = is_on_mask(mask_hw, xy[0], widely=positive)
        accepted = None if positive else self._accepted_at(here, point_world, is_on)
        if accepted is None and not positive and not is_on:
            raise volumes.SceneError(_("There is nothing to take away: click where the mask goes too far."))
        return accepted or PromptGroup(*owner, number=0, initial_mask_hw=mask_hw if is_on else None)

    def _shown_at(
        self, now: EditorSnapshot, plane: SlicePlane, xy: np.ndarray, positive: bool | None
    ) -> PromptGroup | None:
        """The newest group, not accepted, whose mask a point or stroke is on or beside, or the middle of a box on."""
        here = [
            (group, prediction.result.mask)
            for group, prediction in reversed(list(self._predictions.items()))
            if not group.is_accepted
            and group.belongs_to(now.segmentation, group.segment_id, now.volume, plane, now.item)
        ]
        places = xy if positive is not None else xy.mean(axis=0)[None]
        on = next((group for group, mask_hw in here if _are_on(mask_hw, places).any()), None)
        if on is not None or positive is None:
            return on
        reach = round(max(_LEAST_REACH_PX, _REACH_SHARE * max(plane.size_hw)))  # what is farther off is not looked at
        x, y = (int(value) for value in np.floor(places[0] + 0.5))
        window = (slice(max(y - reach, 0), max(y + reach, 0)), slice(max(x - reach, 0), max(x + reach, 0)))
        near = ((group, mask_hw) for group, mask_hw in here if mask_hw[window].any())
        return next((group for group, mask_hw in near if is_on_mask(mask_hw, places[0], widely=positive)), None)

    def _accepted_at(self, groups: Sequence[PromptGroup], point_world: np.ndarray, is_on: bool) -> PromptGroup | None:
        """The accepted group that a point outside, (3,) mm, is about; None if it is about a mask of another origin.

        Beside all masks it is the nearest group; on a mask the one that wrote it, if that is as it was accepted.
        """
        if not is_on:
            return min(
                groups, key=lambda group: float(np.linalg.norm(group.middle_world() - point_world)), default=None
            )
        edits = ((group, self._edit_history.last_edit(group.key)) for group in groups)
        written = ((group, edit) for group, edit in edits if edit is not None and edit.contains(point_world))
        return next((group for group, edit in written if edit.is_unchanged()), None)

    def _is_segment_visible(self, now: EditorSnapshot) -> bool:
        display = now.segmentation.GetDisplayNode()
        if display is not None and not display.GetVisibility():
            return False
        return self._effect.confirmCurrentSegmentVisible() != self._effect.NotConfirmed


def _mask_to_correct(now: EditorSnapshot, plane: SlicePlane, segment_id: str, positive: bool) -> np.ndarray:
    """The mask that the segment has on a slice, (H, W) bool, as far as a point may be meant to correct it.

    What was written on slices of other directions crosses this one as lines. A point inside, on or beside such a line
    is meant for the structure, of which nothing is written on this slice, and a larger line is no answer to it.
    """
    mask_hw = mask_on_slice(now.volume, plane, now.segmentation, segment_id)
    return without_lines(mask_hw) if positive else mask_hw


def _are_on(mask_hw: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Which places, (N, 2) slice px, are on a mask: (N,) bool."""
    pixels = np.floor(xy + 0.5).astype(int)
    last_xy = np.array(mask_hw.shape[::-1]) - 1
    x, y = np.clip(pixels, 0, last_xy).T
    is_inside: np.ndarray = np.all((pixels >= 0) & (pixels <= last_xy), axis=1)
    return is_inside & mask_hw[y, x]


def _check_context(now: EditorSnapshot) -> None:
    if now.volume is None or now.volume.GetImageData() is None:
        raise volumes.SceneError(_("There is no image: select a source volume."))
    if now.segmentation is None or not now.segment_id:
        raise volumes.SceneError(_("There is no segment: add one first."))
