"""What a visitor has done so far, as frozen values, so that each step can be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from SAMMed2DLib.cli.common.prompt_options import axis_and_index
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.io.segmentation_io import SEGMENT_COLORS


@dataclass(frozen=True, eq=False)
class AcceptedMask:
    """A mask that the visitor accepted, and the prompts that give it.

    Attributes:
        prompts: slice px.
        mask: (H, W) bool.
    """

    prompts: Prompts
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class CarriedMask:
    """A mask that propagation found.

    Attributes:
        mask: (H, W) bool.
        confidence: 0..1, see `PropagatedSlice`.
    """

    mask: np.ndarray
    confidence: float


@dataclass(frozen=True, eq=False)
class DraftSegment:
    """One segment: masks are accepted, carried from those, or still a draft.

    Attributes:
        name: shown, and written to files.
        color: red, green, blue in 0..1.
        drafts: prompts by slice whose mask is not accepted yet.
        accepted: by slice.
        carried: by slice; from the accepted masks as they are.
        whole: the accepted masks were followed through the slices; `carried` is what was found.
    """

    name: str
    color: tuple[float, float, float]
    drafts: Mapping[SlicePlane, Prompts] = field(default_factory=dict)
    accepted: Mapping[SlicePlane, AcceptedMask] = field(default_factory=dict)
    carried: Mapping[SlicePlane, CarriedMask] = field(default_factory=dict)
    whole: bool = False

    def prompts_on(self, plane: SlicePlane) -> Prompts:
        """The draft of a slice, or else the prompts of its accepted mask."""
        if plane in self.drafts:
            return self.drafts[plane]
        return self.accepted[plane].prompts if plane in self.accepted else Prompts.of()

    def mask_on(self, plane: SlicePlane) -> np.ndarray | None:
        """The mask on a slice as far as it is no draft; None for nothing."""
        if plane in self.accepted:
            return self.accepted[plane].mask
        return self.carried[plane].mask if plane in self.carried else None

    def volume_mask(self, shape_kji: tuple[int, ...]) -> np.ndarray:
        """All that is no draft, (K, J, I) bool; where slices cross, the one that was accepted last counts."""
        whole = np.zeros(shape_kji, bool)
        for plane, carried in self.carried.items():
            plane.insert(whole, carried.mask, True)
        for plane, accepted in self.accepted.items():
            plane.insert(whole, ~accepted.mask, False)
            plane.insert(whole, accepted.mask, True)
        return whole

    def with_draft(self, plane: SlicePlane, prompts: Prompts | None) -> DraftSegment:
        """The same segment with this draft on a slice; None for no draft there."""
        others = {other: given for other, given in self.drafts.items() if other != plane}
        return replace(self, drafts=others if prompts is None else {**others, plane: prompts})

    def with_accepted(self, plane: SlicePlane, mask: AcceptedMask | None) -> DraftSegment:
        """The same segment with this mask on a slice, without what was carried from the masks before."""
        others = {other: kept for other, kept in self.accepted.items() if other != plane}
        accepted = others if mask is None else {**others, plane: mask}
        return replace(self.with_draft(plane, None), accepted=accepted, carried={}, whole=False)

    def axes(self) -> set[int]:
        """The array axes of the slices with accepted masks."""
        return {axis_and_index(plane)[0] for plane in self.accepted}


@dataclass(frozen=True, eq=False)
class Draft:
    """All segments.

    Attributes:
        segments: one at least.
        selected: the number of the one that prompts are for.
        rule: the intensities that the accepted masks were made with; None while there are none.
        model: the name of the model that they were made with; None while there are none.
    """

    segments: tuple[DraftSegment, ...]
    selected: int = 0
    rule: Intensity | None = None
    model: str | None = None

    @property
    def segment(self) -> DraftSegment:
        """The selected one."""
        return self.segments[self.selected]

    @property
    def written(self) -> list[DraftSegment]:
        """The segments that have accepted masks."""
        return [segment for segment in self.segments if segment.accepted]

    def with_segment(self, segment: DraftSegment) -> Draft:
        """The same with another selected segment."""
        before, after = self.segments[: self.selected], self.segments[self.selected + 1 :]
        return self._loosened(replace(self, segments=(*before, segment, *after)))

    def with_new(self, name: str) -> Draft:
        """The same with one more segment, which is selected."""
        used = {segment.color for segment in self.segments}
        free = [color for color in SEGMENT_COLORS if color not in used]
        color = free[0] if free else SEGMENT_COLORS[len(self.segments) % len(SEGMENT_COLORS)]
        return replace(self, segments=(*self.segments, DraftSegment(name, color)), selected=len(self.segments))

    def without_selected(self) -> Draft:
        """The same without the selected segment; the last one is emptied instead."""
        if len(self.segments) == 1:
            return self.with_segment(DraftSegment(self.segment.name, self.segment.color))
        rest = self.segments[: self.selected] + self.segments[self.selected + 1 :]
        return self._loosened(replace(self, segments=rest, selected=max(0, self.selected - 1)))

    @staticmethod
    def _loosened(draft: Draft) -> Draft:
        """Nothing is accepted any more: the window and the model are free again."""
        return draft if draft.written else replace(draft, rule=None, model=None)
