"""Proposals in the order of how likely they are, each object once.

Where they come from does not matter: peaks of likeness, or a grid of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.components import label_components
from SAMMed2DLib.inference.prompts import Prompts

# Two masks that share this much of the smaller one are of the same object.
SAME_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Proposal:
    """An object that may be there.

    Attributes:
        slice_index: the slice that it is on.
        prompts: slice px; a session answers them with the mask.
        mask: (H, W) bool, on the slice.
        score: the IoU that the mask probably has.
        rank: how likely it is what was looked for; grows with likelihood.
    """

    slice_index: int
    prompts: Prompts
    mask: np.ndarray
    score: float
    rank: float


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
