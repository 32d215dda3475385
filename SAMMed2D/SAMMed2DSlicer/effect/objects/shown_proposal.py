"""A proposal as it is drawn into slice views, and as it is given to a prompt group when the user takes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.imaging.affines import ras_from_ijk
from SAMMed2DSlicer.effect import mask_drawing
from SAMMed2DSlicer.prompts.prompt_history import take_candidate

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.proposals.ranking import Proposal
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

_COLOR = (1.0, 0.9, 0.2)  # of proposals: no segment of Slicer's first ones has it


@dataclass(frozen=True, eq=False)
class ShownProposal:
    """A proposal as it is drawn: an outline.

    Attributes:
        proposal: what was found.
        plane: its slice.
        world_from_ijk: (4, 4), mm, the voxels of the volume to the scene.
        is_marked: whether keys are about this one.
        color: red, green and blue in 0..1.
    """

    proposal: Proposal
    plane: SlicePlane
    world_from_ijk: np.ndarray
    is_marked: bool = False
    color: tuple[float, float, float] = _COLOR

    @cached_property
    def labels_hw(self) -> np.ndarray:
        """Its mask, (H, W) uint8, see `mask_drawing`."""
        label = mask_drawing.MARKED if self.is_marked else mask_drawing.PROPOSED
        return np.where(self.proposal.mask, np.uint8(label), np.uint8(0))

    @cached_property
    def area_px(self) -> int:
        """How large it is, pixels."""
        return int(np.count_nonzero(self.proposal.mask))

    @property
    def side(self) -> bool | None:
        """The side of its prompt, as `GroupChooser.choose` takes it: None for a box."""
        return True if self.proposal.prompts.box_xyxy is None else None

    @property
    def points_world(self) -> np.ndarray:
        """Its click, or two corners of its box: (1 or 2, 3) mm in the scene."""
        prompts = self.proposal.prompts
        # Pixel 0 begins at 0 in a box, and at -0.5 on the slice.
        xy = prompts.points_xy[:1] if prompts.box_xyxy is None else prompts.box_xyxy.reshape(2, 2) - 0.5
        return ras_from_ijk(self.plane.ijk_from_xy(xy), self.world_from_ijk)

    def give_to(self, group: PromptGroup) -> None:
        """Give its prompt to a prompt group, and the candidate that was meant."""
        points = self.points_world
        if self.side is None:
            group.set_box(points[0], points[1])
        else:
            group.add_point(points[0], True)
        candidate = self.proposal.prompts.candidate
        if candidate is not None:
            take_candidate(group, candidate)
