"""The shapes of the prompts' boxes: kept, so that a box that is dragged to nothing goes back to what it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

# A drag along a line gives a row of pixels; what is thinner was meant to be no box.
_THINNEST_PX = 0.5


@dataclass(frozen=True, eq=False)
class BoxShape:
    """How large a markups ROI is, and where.

    Attributes:
        size_mm: along its own three axes.
        object_to_node: (4, 4), its axes to its node's coordinates.
    """

    size_mm: tuple[float, ...]
    object_to_node: np.ndarray

    @classmethod
    def of(cls, roi: slicer.vtkMRMLMarkupsROINode) -> BoxShape:
        """The shape that a vtkMRMLMarkupsROINode has now."""
        return cls(tuple(roi.GetSize()), slicer.util.arrayFromVTKMatrix(roi.GetObjectToNodeMatrix()).copy())

    def give_to(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """Let a vtkMRMLMarkupsROINode have it, with one event."""
        modify = roi.StartModify()
        roi.SetSize(*self.size_mm)
        roi.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(self.object_to_node))
        roi.EndModify(modify)


class BoxShapes:
    """The shapes that boxes had before they were dragged."""

    def __init__(self) -> None:
        """Begin without shapes."""
        self._shapes: dict[PromptGroup, BoxShape] = {}
        self._dragged: Any = None

    def begin_drag(self, roi: slicer.vtkMRMLMarkupsROINode) -> None:
        """Note that the user drags a box from now on."""
        self._dragged = roi

    def end_drag(self) -> None:
        """Note that the user drags no box any more."""
        self._dragged = None

    def forget(self, group: PromptGroup) -> None:
        """Drop the shape of a prompt group that is removed."""
        self._shapes.pop(group, None)

    def settled(self, group: PromptGroup, prompts: Prompts) -> Prompts | None:
        """The prompts of a group, with the box as it was, if nothing is left of it; None while it is still held so."""
        is_held = group.box is not None and group.box is self._dragged
        if is_nothing(prompts.box_xyxy) and group in self._shapes:
            if is_held:
                return None
            self._shapes[group].give_to(group.box)
            return group.prompts()
        if prompts.box_xyxy is not None and not is_held:
            self._shapes[group] = BoxShape.of(group.box)
        return prompts


def is_nothing(box_xyxy: np.ndarray | None) -> bool:
    """Whether a box, (4,) slice px, has no area to speak of; no box is not one of these."""
    return box_xyxy is not None and bool((box_xyxy[2:] - box_xyxy[:2]).min() < _THINNEST_PX)
