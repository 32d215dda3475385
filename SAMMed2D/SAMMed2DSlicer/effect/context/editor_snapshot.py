"""What the Segment Editor and its slice views show at one moment, read once for each event and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DLib.imaging.geometry import GeometryError
from SAMMed2DLib.imaging.planes import are_same_plane, is_on_grid, plane_of_view
from SAMMed2DSlicer.effect.context.parameters import EffectOptions
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
        color: of the selected segment, red, green and blue in 0..1.
        volume: the source volume, or None.
        item: the item of the sequence that the volume shows; -1 without one.
        size_ijk: voxels of the volume along i, j and k; None if it is empty, or bent by a transform.
        world_from_ijk: (4, 4), mm, its voxels to the scene; None likewise.
        options: what the user has chosen.
        widgets: the slice views of the layout, by name.
        planes: the slice of the volume that each view shows, by name; views that show none are left out.
        oblique: the names of those views whose slices are not the volume's own.
        place: what the user works on, with the slices that are shown: a status holds for these.
    """

    segmentation: Any
    segment_id: str
    color: tuple[float, float, float]
    volume: Any
    item: int
    size_ijk: tuple[int, int, int] | None
    world_from_ijk: np.ndarray | None
    options: EffectOptions
    widgets: Mapping[str, Any]
    planes: Mapping[str, SlicePlane]
    oblique: frozenset[str]
    place: tuple[Any, ...]

    def showing(self, plane: SlicePlane) -> list[Any]:
        """The widgets of the views that show a slice."""
        # Slices of the grid are the same if they are equal, which is soon found out for many prompt groups.
        return [
            self.widgets[name]
            for name, shown in self.planes.items()
            if shown == plane or (name in self.oblique and are_same_plane(shown, plane))
        ]

    def along(self, plane: SlicePlane, preferred: Any = None) -> Any:
        """A view whose slices run like this one, best the preferred one; None if there is none."""
        across = _normal_ijk(plane)
        like = [self.widgets[name] for name, shown in self.planes.items() if abs(_normal_ijk(shown) @ across) > 0.99]
        return preferred if preferred in like else next(iter(like), None)


@dataclass(frozen=True, eq=False)
class _ShownPlane:
    """The slice in a view, None if it shows none; whether it is oblique; and what it was computed of."""

    plane: SlicePlane | None
    is_oblique: bool
    computed_of: tuple[Any, ...]


class EditorReader:
    """Reads the Segment Editor; a plane is computed anew only if its view or the volume has moved."""

    def __init__(self, effect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
        """Read by a qSlicerSegmentEditorScriptedEffect."""
        self._effect = effect
        self._shown: dict[str, _ShownPlane] = {}

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
        return _selected_segment(self._effect.parameterSetNode())

    def take(self) -> EditorSnapshot:
        """Read everything, once for an event."""
        node, widgets = self._effect.parameterSetNode(), slice_widgets()
        segmentation: Any = node.GetSegmentationNode() if node is not None else None
        segment_id, volume = _selected_segment(node), node.GetSourceVolumeNode() if node is not None else None
        segment = segmentation.GetSegmentation().GetSegment(segment_id) if segmentation is not None else None
        shown = volumes.snapshot_of(volume)
        planes, oblique = self._planes_in(widgets, shown)
        return EditorSnapshot(
            segmentation=segmentation,
            segment_id=segment_id,
            color=segment.GetColor() if segment is not None else (0.0, 0.0, 0.0),
            volume=volume,
            item=shown.item,
            size_ijk=shown.size_ijk,
            world_from_ijk=shown.world_from_ijk,
            options=EffectOptions.of(self._effect),
            widgets=widgets,
            planes=planes,
            oblique=oblique,
            place=(segmentation, segment_id, volume, shown.item, tuple(planes.get(name) for name in widgets)),
        )

    def _planes_in(
        self, widgets: Mapping[str, Any], volume: volumes.VolumeSnapshot
    ) -> tuple[dict[str, SlicePlane], frozenset[str]]:
        """The slices that views show, by the views' names, and the names of those that are oblique."""
        if volume.world_from_ijk is None or volume.size_ijk is None:
            return {}, frozenset()
        known, self._shown = self._shown, {}
        for name, widget in widgets.items():
            view_to_world = slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetSliceToRAS())
            computed_of = (view_to_world.tobytes(), volume.world_from_ijk.tobytes(), volume.size_ijk)
            old = known.get(name)
            if old is None or old.computed_of != computed_of:
                plane = _plane_or_none(view_to_world, volume.world_from_ijk, volume.size_ijk)
                old = _ShownPlane(plane, plane is not None and not is_on_grid(plane), computed_of)
            self._shown[name] = old
        planes = {name: shown.plane for name, shown in self._shown.items() if shown.plane is not None}
        return planes, frozenset(name for name, shown in self._shown.items() if shown.is_oblique)


def _selected_segment(node: Any) -> str:
    """The segment that is selected in a parameter node; empty if there is none."""
    segmentation: Any = node.GetSegmentationNode() if node is not None else None
    selected = node.GetSelectedSegmentID() if segmentation is not None else None
    return selected if selected and segmentation.GetSegmentation().GetSegment(selected) else ""


def _plane_or_none(
    view_to_world: np.ndarray, world_from_ijk: np.ndarray, size_ijk: tuple[int, int, int]
) -> SlicePlane | None:
    try:
        return plane_of_view(view_to_world, world_from_ijk, size_ijk)
    except GeometryError:
        return None


def _normal_ijk(plane: SlicePlane) -> np.ndarray:
    steps = np.cross(plane.column_step_ijk, plane.row_step_ijk)
    return steps / np.linalg.norm(steps)
