"""What the Segment Editor and its slice views show at one moment, read once for each event and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DSlicer.effect.parameters import EffectOptions
from SAMMed2DSlicer.scene import overwrite_mode, volumes
from SAMMed2DSlicer.scene.slice_views import slice_widgets

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane


@dataclass(frozen=True, eq=False)
class EditorSnapshot:
    """The context of one event.

    Attributes:
        segmentation: the segmentation that is edited, or None.
        segment_id: the selected segment; empty if there is none.
        volume: the source volume, or None.
        item: the item of the sequence that the volume shows; -1 without one.
        options: what the user has chosen.
        widgets: the slice views of the layout, by name.
        planes: the slice of the volume that each view shows, by name; views that show none are left out.
    """

    segmentation: Any
    segment_id: str
    volume: Any
    item: int
    options: EffectOptions
    widgets: Mapping[str, Any]
    planes: Mapping[str, SlicePlane]

    @property
    def place(self) -> Any:
        """What the user works on, with the slices that are shown: a status holds for these."""
        planes = tuple(self.planes.get(name) for name in self.widgets)
        return self.segmentation, self.segment_id, self.volume, self.item, planes

    def plane_of(self, widget: Any) -> SlicePlane | None:
        """The slice that a view shows; None if it shows none."""
        return next((plane for name, plane in self.planes.items() if self.widgets[name] is widget), None)


class EditorReader:
    """Reads the Segment Editor; a plane is computed anew only if its view or the volume has moved."""

    def __init__(self, effect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
        """Read by a qSlicerSegmentEditorScriptedEffect."""
        self._effect = effect
        self._planes: dict[str, tuple[Any, SlicePlane | None]] = {}

    @property
    def node(self) -> Any:
        """The editor's parameter node, or None."""
        return self._effect.parameterSetNode()

    @property
    def open_node(self) -> slicer.vtkMRMLSegmentEditorNode:
        """The same, of an editor that is open.

        Raises:
            SceneError: it is gone.
        """
        return overwrite_mode.segment_editor_node(self._effect)

    @property
    def segmentation(self) -> Any:
        """The segmentation that is edited, or None."""
        node = self._effect.parameterSetNode()
        return node.GetSegmentationNode() if node is not None else None

    @property
    def volume(self) -> Any:
        """The volume that is looked at, or None."""
        node = self._effect.parameterSetNode()
        return node.GetSourceVolumeNode() if node is not None else None

    @property
    def segment_id(self) -> str:
        """The selected segment; empty if there is none."""
        segmentation = self.segmentation
        selected = self.open_node.GetSelectedSegmentID() if segmentation is not None else None
        return selected if selected and segmentation.GetSegmentation().GetSegment(selected) else ""

    def take(self) -> EditorSnapshot:
        """Read everything, once for an event."""
        volume, widgets = self.volume, slice_widgets()
        item, options = volumes.sequence_item(volume), EffectOptions.of(self._effect)
        planes = self._planes_in(widgets, volume)
        return EditorSnapshot(self.segmentation, self.segment_id, volume, item, options, widgets, planes)

    def _planes_in(self, widgets: Mapping[str, Any], volume: Any) -> dict[str, SlicePlane]:
        if volume is None:
            return {}
        try:
            world_from_ijk, size_ijk = volumes.world_from_ijk(volume), volumes.size_ijk(volume)
        except volumes.SceneError:
            return {}
        frame, known, self._planes = (world_from_ijk.tobytes(), size_ijk), self._planes, {}
        for name, widget in widgets.items():
            view_to_world = slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetSliceToRAS())
            key = (view_to_world.tobytes(), frame)
            old = known.get(name)
            if old is not None and old[0] == key:
                self._planes[name] = old
            else:
                self._planes[name] = key, _plane_or_none(view_to_world, world_from_ijk, size_ijk)
        return {name: plane for name, (_key, plane) in self._planes.items() if plane is not None}


def _plane_or_none(
    view_to_world: np.ndarray, world_from_ijk: np.ndarray, size_ijk: tuple[int, int, int]
) -> SlicePlane | None:
    from SAMMed2DLib.imaging.geometry import GeometryError
    from SAMMed2DLib.imaging.planes import plane_of_view

    try:
        return plane_of_view(view_to_world, world_from_ijk, size_ijk)
    except GeometryError:
        return None
