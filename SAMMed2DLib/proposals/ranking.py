"""Proposals in the order of how likely they are, each object once.

Where they come from does not matter: peaks of likeness, or a grid of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.inference.prompts import Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.scoring.calibration import Grade

# Two masks that share this much of the smaller one are of the same object.
SAME_SHARE = 0.5
# Where an object may lie within another one, such masks are of the same, by intersection over union.
SAME_IOU = 0.5


@dataclass(frozen=True, eq=False)
class Proposal:
    """An object that may be there.

    Attributes:
        slice_index: the slice that it is on.
        prompts: slice px; a session answers them with the mask.
        mask: (H, W) bool, on the slice.
        score: the IoU that the mask probably has.
        rank: how likely it is what was looked for; grows with likelihood.
        stability: the share of the mask that stays if more certainty is asked for, 0 .. 1.
        grade: what a calibrated score means: "good", "fair" or "check"; None where scores are not calibrated.
    """

    slice_index: int
    prompts: Prompts
    mask: np.ndarray
    score: float
    rank: float
    stability: float = float("nan")
    grade: Grade | None = None


def ranked(
    proposals: Iterable[Proposal], known: Mapping[int, np.ndarray] | None = None, most: int | None = None
) -> list[Proposal]:
    """Sort proposals, the best first, without those that are the same object as a better one or one that is known.

    Args:
        proposals: of any slices; without a pixel they are left out.
        known: (H, W) bool each, objects that are there already, by slice; regions that touch count as one object.
        most: how many to return.
    """
    taken = {index: _Taken.of_known(mask) for index, mask in (known or {}).items()}
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda proposal: -proposal.rank):
        if most is not None and len(kept) >= most:
            break
        there = taken.setdefault(proposal.slice_index, _Taken(proposal.mask.shape))
        if proposal.mask.any() and there.add_unless_same(proposal.mask):
            kept.append(proposal)
    return kept


def one_per_object(proposals: Iterable[Proposal], known: Mapping[int, np.ndarray] | None = None) -> list[Proposal]:
    """Keep the best proposal of each object that was found on several neighbouring slices.

    Args:
        proposals: any slices, each object once on each, see `ranked`.
        known: (H, W) bool each, by slice; what continues one of these objects on a neighbouring slice is left out.

    Returns:
        the best first.
    """
    remaining = sorted(proposals, key=lambda proposal: -proposal.rank)
    by_slice: dict[int, list[Proposal]] = {}
    for proposal in remaining:
        by_slice.setdefault(proposal.slice_index, []).append(proposal)
    gone: set[int] = set()
    for index, mask in (known or {}).items():
        parts = label_components(mask)
        for number in range(1, len(parts) + 1):
            _follow(parts.mask(number), index, by_slice, gone)
    kept = []
    for proposal in remaining:
        if id(proposal) in gone:
            continue
        kept.append(proposal)
        gone.add(id(proposal))
        _follow(proposal.mask, proposal.slice_index, by_slice, gone)
    return kept


def shared(mask_hw: np.ndarray, other_hw: np.ndarray) -> float:
    """What two masks share, of the smaller one's pixels; 0 if one is empty."""
    smaller = min(np.count_nonzero(mask_hw), np.count_nonzero(other_hw))
    return float(np.count_nonzero(mask_hw & other_hw) / smaller) if smaller else 0.0


def _follow(mask_hw: np.ndarray, index: int, by_slice: Mapping[int, list[Proposal]], gone: set[int]) -> None:
    """Mark what continues a mask from slice to slice."""
    found = [(mask_hw, index)]
    while found:
        mask, at = found.pop()
        for neighbour in (at - 1, at + 1):
            for proposal in by_slice.get(neighbour, ()):
                if id(proposal) not in gone and shared(mask, proposal.mask) >= SAME_SHARE:
                    gone.add(id(proposal))
                    found.append((proposal.mask, neighbour))


class _Taken:
    """Which pixels of a slice belong to which object."""

    def __init__(self, size_hw: tuple[int, ...]) -> None:
        self._owner = np.zeros(size_hw, np.int32)
        self._areas = [0]

    @classmethod
    def of_known(cls, mask_hw: np.ndarray) -> _Taken:
        parts = label_components(mask_hw)
        taken = cls(mask_hw.shape)
        taken._owner[...] = parts.index_hw
        taken._areas += parts.area_px.tolist()
        return taken

    def add_unless_same(self, mask_hw: np.ndarray) -> bool:
        """Add an object; False if it is one of those that are there."""
        owners = self._owner[mask_hw]
        area, shares = len(owners), np.bincount(owners, minlength=len(self._areas))
        smaller = np.minimum(self._areas, area)
        if (shares[1:] >= SAME_SHARE * smaller[1:]).any():
            return False
        self._owner[mask_hw & (self._owner == 0)] = len(self._areas)
        self._areas.append(area)
        return True


class NestedMasks:
    """Masks of a slice that are of different objects, of which one may lie within another."""

    def __init__(self, known: Iterable[np.ndarray] = ()) -> None:
        """Begin with masks, (H, W) bool, that are there already: each, and its separate regions, is an object."""
        self._kept: list[tuple[np.ndarray, np.ndarray, int]] = []  # box, the mask within it, its area
        for mask_hw in known:
            parts = label_components(mask_hw)
            for part in (mask_hw, *(parts.mask(number) for number in range(1, len(parts) + 1) if len(parts) > 1)):
                self.add_unless_same(part)

    def add_unless_same(self, mask_hw: np.ndarray) -> bool:
        """Add a mask, (H, W) bool; False if it is empty, or of an object that is there."""
        if not mask_hw.any():
            return False
        box = _bounds(mask_hw)
        cut, area = _cut(mask_hw, box), int(np.count_nonzero(mask_hw))
        for other_box, other, other_area in self._kept:
            low, high = np.maximum(box[:2], other_box[:2]), np.minimum(box[2:], other_box[2:])
            if (low >= high).any() or min(area, other_area) < SAME_IOU * max(area, other_area):
                continue
            shared_box = np.concatenate([low, high])
            both = np.count_nonzero(_cut(cut, shared_box, box) & _cut(other, shared_box, other_box))
            if both >= SAME_IOU * (area + other_area - both):
                return False
        self._kept.append((box, cut.copy(), area))
        return True


def _bounds(mask_hw: np.ndarray) -> np.ndarray:
    """The box of all pixels of a mask, which has some: (4,) int, half-open."""
    columns, rows = np.flatnonzero(mask_hw.any(axis=0)), np.flatnonzero(mask_hw.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _cut(mask_hw: np.ndarray, box_xyxy: np.ndarray, first_xy: Sequence[int] | np.ndarray = (0, 0)) -> np.ndarray:
    """The part of a mask in a box; the mask's own first pixel is at `first_xy`."""
    x0, y0, x1, y1 = box_xyxy - np.tile(np.asarray(first_xy[:2]), 2)
    return mask_hw[y0:y1, x0:x1]
