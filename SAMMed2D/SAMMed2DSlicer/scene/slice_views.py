"""The slice views of the layout: which slice of a volume each shows, and in which orientation."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane



def renders_once(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method that changes several nodes: views are rendered once, after it."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with slicer.util.RenderBlocker():
            return method(*args, **kwargs)

    return call


def slice_widgets() -> dict[str, Any]:
    """The slice views of the present layout, by name; none where there is no window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return {}
    return {name: manager.sliceWidget(name) for name in manager.sliceViewNames()}


def oriented_as_in_view(
    image: np.ndarray, plane: SlicePlane, world_from_ijk: np.ndarray, slice_node: slicer.vtkMRMLSliceNode
) -> tuple[np.ndarray, tuple[float, float]]:
    """Rotate by quarter turns and mirror an image of a slice to the orientation of a view.

    Args:
        image: (H, W, ...), pixels of the slice or of a part of it.
        plane: the slice.
        world_from_ijk: (4, 4), mm, of its volume.
        slice_node: the view, which shows the slice.

    Returns:
        the image, and how wide and high it is in the scene, mm.
    """
    view_from_world = np.linalg.inv(slicer.util.arrayFromVTKMatrix(slice_node.GetXYToRAS()))[:2, :3]
    steps_world = [world_from_ijk[:3, :3] @ np.array(step) for step in (plane.column_step_ijk, plane.row_step_ijk)]
    width_mm, height_mm = (
        float(np.linalg.norm(step) * n) for step, n in zip(steps_world, image.shape[1::-1], strict=True)
    )
    right, down = (view_from_world @ step for step in steps_world)
    right, down = right / np.linalg.norm(right), down / np.linalg.norm(down)
    if abs(right[1]) + abs(down[0]) > abs(right[0]) + abs(down[1]):
        image, right, down = np.swapaxes(image, 0, 1), down, right
        width_mm, height_mm = height_mm, width_mm
    image = image[:: -1 if down[1] > 0 else 1, :: -1 if right[0] < 0 else 1]  # y goes up in a view
    return image, (width_mm, height_mm)


def is_over_handle(slice_node: slicer.vtkMRMLSliceNode) -> bool:
    """Whether the mouse is over a point or handle of a markup, which a press would drag."""
    display = slicer.vtkMRMLMarkupsDisplayNode
    handles = (display.ComponentControlPoint, display.ComponentScaleHandle, display.ComponentTranslationHandle)
    return any(
        node.GetActiveComponentType() in handles
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsDisplayNode")
        if node.IsDisplayableInView(slice_node.GetID())
    )


def is_placing() -> bool:
    """Whether the user places markups with Slicer's own tools."""
    node = slicer.app.applicationLogic().GetInteractionNode()
    return node is not None and node.GetCurrentInteractionMode() == node.Place


def is_for_prompts(interactor: Any, widget: Any) -> bool:
    """Whether a press in a slice view belongs to prompts: not to panning, and not to a markup that it would drag."""
    is_panning = interactor.GetShiftKey() and not interactor.GetControlKey()  # with both, see `effect.hover`
    if is_panning or interactor.GetAltKey():
        return False
    return not is_over_handle(widget.mrmlSliceNode())
