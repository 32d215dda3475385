"""The slice views of the layout: which slice of a volume each one shows, and what is drawn into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DSlicer.effect.preview import ShownMask, ViewPreview
from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane


def drawn_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that changes several nodes: the views are drawn once, after it, and not for each of them."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with slicer.util.RenderBlocker():
            return method(*args, **kwargs)

    return call


class SliceViews:
    """Previews in all slice views, and a look at what they show."""

    def __init__(self, effect: Any) -> None:
        """Prepare; `effect` is the qSlicerSegmentEditorScriptedEffect that draws."""
        self._effect = effect
        self._previews: dict[str, ViewPreview] = {}
        self._planes: dict[str, SlicePlane] = {}
        self._widgets: dict[str, Any] = {}
        self._oblique: set[str] = set()
        self._masks: Sequence[ShownMask] = ()

    def open(self) -> None:
        """Draw into the views of the present layout."""
        self.close()
        self._previews = {name: ViewPreview(self._effect, widget) for name, widget in slice_widgets().items()}

    def close(self) -> None:
        """Leave the views as they were."""
        for preview in self._previews.values():
            preview.close()
        self._previews, self._planes, self._widgets, self._masks = {}, {}, {}, ()

    def preview(self, widget: Any) -> ViewPreview | None:
        """What is drawn into a view."""
        return self._previews.get(widget.mrmlSliceNode().GetLayoutName())

    def draw(self, masks: Sequence[ShownMask]) -> None:
        """Draw these masks in all views."""
        if not masks and not self._masks:
            return
        self._masks = masks
        for preview in self._previews.values():
            preview.show(masks)

    def look(self, volume: Any) -> None:
        """See which slices of a volume are shown; what follows goes by this look."""
        from SAMMed2DLib.imaging.planes import is_on_grid

        self._widgets = slice_widgets()
        planes = {name: plane_in(widget, volume) for name, widget in self._widgets.items()}
        self._planes = {name: plane for name, plane in planes.items() if plane is not None}
        self._oblique = {name for name, plane in self._planes.items() if not is_on_grid(plane)}

    def showing(self, plane: SlicePlane) -> list[Any]:
        """The widgets of the views that show a slice."""
        from SAMMed2DLib.imaging.planes import are_same_plane

        def is_same(name: str, shown: SlicePlane) -> bool:
            # Slices of the grid are the same if they are equal, which is soon found out for many sets.
            return shown == plane or (name in self._oblique and are_same_plane(shown, plane))

        return [self._widgets[name] for name, shown in self._planes.items() if is_same(name, shown)]

    def along(self, plane: SlicePlane, preferred: Any = None) -> Any:
        """A view whose slices run like this one, best the preferred one; None if there is none."""
        def normal(of: SlicePlane) -> np.ndarray:
            steps = np.cross(of.column_step_ijk, of.row_step_ijk)
            return steps / np.linalg.norm(steps)

        across = normal(plane)
        like = [self._widgets[name] for name, shown in self._planes.items() if abs(normal(shown) @ across) > 0.99]
        return preferred if preferred in like else next(iter(like), None)


def slice_widgets() -> dict[str, Any]:
    """The slice views of the present layout, by name; none where there is no window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return {}
    return {name: manager.sliceWidget(name) for name in manager.sliceViewNames()}


def as_seen(image: np.ndarray, plane: SlicePlane, volume: Any, slice_node: Any) -> np.ndarray:
    """An image of a slice, turned and mirrored to lie as a view shows it, as nearly as quarter turns do.

    Args:
        image: (H, W, ...), pixels of the slice or of a part of it.
        plane: the slice, of this volume.
        volume: the volume node.
        slice_node: the view, which shows the slice.
    """
    view_from_world = np.linalg.inv(slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS()))[:2, :3]
    view_from_ijk = view_from_world @ volumes.world_from_ijk(volume)[:3, :3]
    right, down = (view_from_ijk @ np.array(step) for step in (plane.column_step_ijk, plane.row_step_ijk))
    right, down = right / np.linalg.norm(right), down / np.linalg.norm(down)
    if abs(right[1]) + abs(down[0]) > abs(right[0]) + abs(down[1]):
        image, right, down = np.swapaxes(image, 0, 1), down, right
    return image[:: -1 if down[1] > 0 else 1, :: -1 if right[0] < 0 else 1]  # y goes up in a view


def plane_in(widget: Any, volume: Any) -> SlicePlane | None:
    """The slice of a volume in a view; None if it shows none."""
    from SAMMed2DLib.imaging.geometry import GeometryError

    try:
        return volumes.plane_shown(widget.mrmlSliceNode(), volume) if volume is not None else None
    except (volumes.SceneError, GeometryError):
        return None
