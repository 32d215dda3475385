"""Watches the scene while the effect is active: notes what has changed, and asks for a look at it once per turn."""

from __future__ import annotations

from typing import Any, Protocol

import slicer
import vtk
from slicer.util import VTKObservationMixin

from SAMMed2DSlicer.effect.context.editor_snapshot import EditorReader, EditorSnapshot
from SAMMed2DSlicer.effect.context.group_state import PromptGroupState
from SAMMed2DSlicer.effect.context.parameters import begin_inside
from SAMMed2DSlicer.prompts import prompt_groups, prompt_nodes
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.scene import overwrite_mode
from SAMMed2DSlicer.scene.segment_reader import has_voxels
from SAMMed2DSlicer.widgets.timers import single_shot


class SceneListener(Protocol):
    """What a `SceneObserver` calls."""

    def refresh(self) -> None:
        """Called when the scene, or what the views show, has changed."""

    def look_at_changes(self) -> None:
        """Called when prompts have changed."""

    def image_changed(self) -> None:
        """Called when the image of the volume has changed."""

    def display_changed(self) -> bool:
        """Called when other segments are visible; returns whether that may change what is shown."""

    def remove(self, group: PromptGroup) -> None:
        """Called for each group whose segmentation or volume is removed."""

    def close(self) -> None:
        """Called when the scene closes."""


class SceneObserver(VTKObservationMixin):
    """The observers and timers of the effect."""

    def __init__(
        self,
        effect: slicer.qSlicerSegmentEditorScriptedEffect,
        editor: EditorReader,
        groups: PromptGroupState,
        listener: SceneListener,
    ) -> None:
        """Prepare; nothing is observed before `start`.

        Args:
            effect: the qSlicerSegmentEditorScriptedEffect.
            editor: reads the Segment Editor.
            groups: the prompt groups, which are told of their nodes.
            listener: is told of everything else.
        """
        VTKObservationMixin.__init__(self)
        self._effect, self._editor, self._groups, self._listener = effect, editor, groups, listener
        self.is_active = False
        self.is_stale = self.is_segment_stale = True
        self._selected, self._protects_others = "", True
        self._changed_nodes: list[Any] = []
        self._image_mtime = 0
        self._changes_timer = single_shot(0, listener.look_at_changes)
        self._refresh_timer = single_shot(0, listener.refresh)

    def start(self) -> None:
        """Watch the scene."""
        self.is_active = True
        scene = slicer.mrmlScene
        for event, call in (
            (scene.NodeAddedEvent, self._node_added),
            (scene.NodeRemovedEvent, self._node_removed),
            (scene.StartCloseEvent, self._scene_closes),
            (scene.EndImportEvent, self.schedule_refresh),
        ):
            self.addObserver(scene, event, call)
        # Before the Segment Editor, which ends the effect then.
        self.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self._node_goes, priority=10.0)
        node = self._editor.open_node
        self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self._editor_modified)
        self.addObserver(node, node.EffectParameterModified, self._parameter_modified)
        overwrite_mode.apply_masking_choice(self._effect)
        self._protects_others = overwrite_mode.protects_others(self._effect)
        self._selected = self._editor.segment_id

    def stop(self) -> None:
        """Watch nothing."""
        self.is_active = False
        for timer in (self._changes_timer, self._refresh_timer):
            timer.stop()
        self._changed_nodes = []
        self.removeObservers()

    def schedule_refresh(self, caller: Any = None, event: Any = None) -> None:
        """Refresh everything in the next turn of the event loop."""
        if self.is_active:
            self.is_stale = True
            self._refresh_timer.start()

    def schedule_redraw(self) -> None:
        """Refresh the views in the next turn of the event loop."""
        if self.is_active:
            self._refresh_timer.start()

    def take_changed_nodes(self) -> list[Any]:
        """Return the nodes of prompts that have changed since the last call, once for each change."""
        self._changes_timer.stop()
        nodes, self._changed_nodes = self._changed_nodes, []
        return nodes

    def refresh_begins(self) -> None:
        """Cancel the scheduled refresh, since one begins."""
        self._refresh_timer.stop()

    def observe_group(self, group: PromptGroup) -> None:
        """Watch the nodes of a prompt group."""
        for node in group.nodes:
            points = (node.PointModifiedEvent, node.PointRemovedEvent, node.PointPositionDefinedEvent)
            for event in (vtk.vtkCommand.ModifiedEvent, *points):
                self._observe(node, event, self._prompts_modified)
            if node.IsA("vtkMRMLMarkupsROINode"):
                self._observe(node, node.PointStartInteractionEvent, self._box_drag_begins)
                self._observe(node, node.PointEndInteractionEvent, self._box_drag_ends)

    def observe_context(self, now: EditorSnapshot) -> None:
        """Watch the volume and the segmentation that are worked on."""
        volume, segmentation = now.volume, now.segmentation
        if volume is not None:
            self._observe(volume, volume.ImageDataModifiedEvent, self._image_changed)
            self._observe(volume, volume.TransformModifiedEvent, self._image_changed)
            if volume.GetDisplayNode() is not None:
                self._observe(volume.GetDisplayNode(), vtk.vtkCommand.ModifiedEvent, self._image_changed)
            self._image_mtime = _image_mtime(volume)
            self._observe(volume, vtk.vtkCommand.ModifiedEvent, self._volume_modified)
        if segmentation is not None:
            for event in (slicer.vtkSegmentation.SegmentRemoved, slicer.vtkSegmentation.SegmentModified):
                self._observe(segmentation, event, self._segment_modified)
            self._observe(segmentation, segmentation.DisplayModifiedEvent, self._display_modified)

    def _observe(self, node: Any, event: Any, call: Any) -> None:
        if not self.hasObserver(node, event, call):
            self.addObserver(node, event, call)

    # Prompts

    def _prompts_modified(self, caller: Any, event: Any) -> None:
        self._changed_nodes.append(caller)
        self._changes_timer.start()

    def _box_drag_begins(self, caller: Any, event: Any) -> None:
        self._listener.look_at_changes()  # what it is now is what it goes back to
        self._groups.boxes.begin_drag(caller)

    def _box_drag_ends(self, caller: Any, event: Any) -> None:
        self._groups.boxes.end_drag()
        self._prompts_modified(caller, event)

    # The scene

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_added(self, caller: Any, event: Any, node: Any) -> None:
        if prompt_nodes.is_prompt_node(node):
            self.schedule_refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_removed(self, caller: Any, event: Any, node: Any) -> None:
        if prompt_nodes.is_prompt_node(node) and not slicer.mrmlScene.IsClosing():
            self._groups.lose_node(node)
            self._changes_timer.start()
        elif node.IsA("vtkMRMLSegmentationNode") or node.IsA("vtkMRMLVolumeNode"):
            self.schedule_refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, caller: Any, event: Any, node: Any) -> None:
        """Remove the prompts of a segmentation or a volume that is removed."""
        is_volume = node.IsA("vtkMRMLVolumeNode")
        if slicer.mrmlScene.IsClosing() or not (is_volume or node is self._editor.segmentation):
            return
        for group in [group for group in self._groups.groups if node is group.segmentation or node is group.volume]:
            self._listener.remove(group)
        for group in prompt_groups.groups_on(node):  # of other segmentations
            group.remove()

    def _scene_closes(self, caller: Any, event: Any) -> None:
        self._listener.close()

    def _editor_modified(self, caller: Any, event: Any) -> None:
        overwrite_mode.apply_masking_choice(self._effect)
        segment_id = self._editor.segment_id
        if segment_id != self._selected:
            self._selected = segment_id
            begin_inside(self._effect, unless=lambda: self._has_something(segment_id))
        self.schedule_refresh()

    def _has_something(self, segment_id: str) -> bool:
        """Whether there is something to take away: voxels of a segment, or a mask that is not accepted."""
        has_prompts = any(group.segment_id == segment_id for group in self._groups.groups)
        return has_prompts or has_voxels(self._editor.segmentation, segment_id)

    def _parameter_modified(self, caller: Any, event: Any) -> None:
        protects_others = overwrite_mode.protects_others(self._effect)
        if protects_others != self._protects_others:  # what would be taken from them is another share
            self._protects_others = protects_others
            self.schedule_refresh()

    # What is worked on

    def _segment_modified(self, caller: Any, event: Any) -> None:
        self.is_segment_stale = True
        self.schedule_refresh()

    def _display_modified(self, caller: Any, event: Any) -> None:
        if self._listener.display_changed():
            self._refresh_timer.start()

    def _volume_modified(self, caller: Any, event: Any) -> None:
        """Notice voxels that were changed in place, for which there is no event of their own."""
        if caller is self._editor.volume and _image_mtime(caller) != self._image_mtime:
            self._image_mtime = _image_mtime(caller)
            self._image_changed(caller, event)

    def _image_changed(self, caller: Any, event: Any) -> None:
        self._listener.image_changed()
        self.schedule_refresh()
        self._changes_timer.start()


def _image_mtime(volume: Any) -> int:
    image = volume.GetImageData()
    return image.GetMTime() if image is not None else 0
