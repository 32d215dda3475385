"""A press in a slice view and what becomes of it: a click, a box, a scribble or a lasso."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SAMMed2DLib.inference.prompts import BOX_COLOR, NEGATIVE_COLOR, POSITIVE_COLOR
from SAMMed2DSlicer.effect.context.parameters import BOX, LASSO, NEGATIVE, SCRIBBLE
from SAMMed2DSlicer.prompts.strokes import simplified
from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.controller import EffectController
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

# A press and a release closer than this, in view px, are a click.
_CLICK_PX = 5
# How far beside the image a stroke is followed, px: as far as it may be to go around a structure at the border.
_BESIDE_PX = 10.0


class MousePress:
    """What the mouse does from a press of its left button to the release; nothing is changed before that."""

    def __init__(self, controller: EffectController, widget: Any, xy: tuple[int, int], tool: str) -> None:
        """Begin.

        Args:
            controller: gets the prompt.
            widget: the slice view.
            xy: where, in px of the view.
            tool: what a click or a drag is taken for, of `context.parameters`.
        """
        self.widget = widget
        self._controller, self._tool = controller, tool
        self._path = [xy]
        self._is_drag = False
        self._preview: Any = None  # what shows the box or the line

    def move(self, xy: tuple[int, int], is_other_side: bool) -> None:
        """Follow the mouse, and show what it draws.

        Args:
            xy: where it is, in px of the view.
            is_other_side: whether a key is held that makes outside of inside.
        """
        is_stroke = self._tool in (SCRIBBLE, LASSO)
        is_far = math.dist(self._path[0], xy) >= _CLICK_PX
        self._is_drag = is_far or (is_stroke and self._is_drag)  # a lasso ends where it began
        if xy != self._path[-1]:
            self._path.append(xy)
        self._preview = self._controller.preview_in(self.widget)
        if not self._is_drag or self._preview is None:
            return
        if is_stroke:
            color = NEGATIVE_COLOR if is_other_side else POSITIVE_COLOR
            self._preview.show_band(self._path, color, is_closed=self._tool == LASSO)
        else:
            (x0, y0), (x1, y1) = self._path[0], xy
            self._preview.show_band(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), BOX_COLOR)

    def release(self, xy: tuple[int, int], is_other_side: bool) -> None:
        """Give the prompt that was drawn; arguments as of `move`."""
        self.move(xy, is_other_side)
        self.end()
        start, is_inside = self._path[0], (self._tool == NEGATIVE) == is_other_side
        if self._is_drag and self._tool in (SCRIBBLE, LASSO):
            self._draw_stroke(is_inside)
        elif self._is_drag:
            self._controller.set_box(self.widget, start, xy)
        elif self._tool != BOX:
            self._controller.add_point(self.widget, start, is_inside)

    def end(self) -> None:
        """Show nothing that is drawn any more."""
        if self._preview is not None:
            self._preview.hide_band()

    def _draw_stroke(self, is_inside: bool) -> None:
        slice_node, is_closed = self.widget.mrmlSliceNode(), self._tool == LASSO
        points_world = np.array([volumes.world_from_xy(slice_node, xy) for xy in self._path])
        positive = None if is_closed and is_inside else is_inside  # a lasso around an object is as a box
        with slicer.util.RenderBlocker():
            self._controller.add(
                self.widget,
                points_world,
                positive,
                lambda group: _add_stroke(group, points_world, is_inside, is_closed),
            )


def _add_stroke(group: PromptGroup, points_world: np.ndarray, is_inside: bool, is_closed: bool) -> None:
    """Draw a stroke of a few corners on a group's slice, along a path in its view.

    Args:
        group: the prompt group.
        points_world: (N, 3) mm, in the scene, the path.
        is_inside: whether it is inside the object, or a lasso around it.
        is_closed: whether it is a lasso.
    """
    from SAMMed2DLib.imaging.affines import ras_from_ijk

    world_from_ijk = volumes.world_from_ijk(group.volume)
    xy = group.plane.project_ras(points_world, world_from_ijk)[0]
    xy = np.clip(xy, -_BESIDE_PX, np.array(group.plane.size_hw[::-1]) + _BESIDE_PX)
    corners_xy = xy[simplified(xy)]
    group.add_stroke(ras_from_ijk(group.plane.ijk_from_xy(corners_xy), world_from_ijk), is_inside, is_closed)
