"""The other segments of a segmentation: whether they give way to what is written, and what they lost by it.

Slicer's own default, "Overwrite all", lets them give way. The effect protects them, by an option of its own, until the
user chooses something in the Segment Editor's section *Masking*: the last choice holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from slicer.i18n import tr as _

# Parameters of the effect: whether other segments are protected, and Masking's choice when that was decided.
PROTECT, MASKING_SEEN = "ProtectOthers", "MaskingSeen"
# What Slicer begins with ("Overwrite all") is nobody's choice.
DEFAULTS = {PROTECT: 1, MASKING_SEEN: 0}


def follow_masking(effect: Any) -> None:
    """Protect no longer, once the user has chosen in *Masking* that other segments give way.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.
    """
    node = effect.parameterSetNode()
    mode = node.GetOverwriteMode()
    if mode == effect.integerParameter(MASKING_SEEN):
        return
    effect.setParameter(MASKING_SEEN, mode)
    if mode != node.OverwriteNone:
        effect.setParameter(PROTECT, 0)


def are_protected(effect: Any) -> bool:
    """Whether the effect protects other segments, whatever *Masking* says."""
    return bool(effect.integerParameter(PROTECT))


@contextmanager
def protected(effect: Any) -> Iterator[None]:
    """Let no other segment give way; the user's choice in the parameter node is the same before and after."""
    node = effect.parameterSetNode()
    chosen, modifying = node.GetOverwriteMode(), node.StartModify()
    node.SetOverwriteMode(node.OverwriteNone)
    try:
        yield
    finally:
        node.SetOverwriteMode(chosen)
        node.EndModify(modifying)


class Neighbours:
    """What other segments have within an extent, to tell afterwards what they have lost."""

    def __init__(self, segment_ids: Iterable[str], read: Callable[[str], np.ndarray]) -> None:
        """Look at them before something is written.

        Args:
            segment_ids: the other segments.
            read: the voxels of one within the extent, (K, J, I) bool.
        """
        self._read = read
        before = {name: read(name) for name in segment_ids}
        self._before = {name: mask for name, mask in before.items() if mask.any()}

    def lost(self) -> dict[str, int]:
        """How many voxels each has lost since; those that lost none are left out."""
        lost = {name: int((mask & ~self._read(name)).sum()) for name, mask in self._before.items()}
        return {name: count for name, count in lost.items() if count}


def losses_text(segmentation: Any, lost: Mapping[str, int]) -> str:
    """Who lost what, for the user: "B lost 120 voxels, C lost 3 voxels"."""
    parts = []
    for segment_id, count in lost.items():
        segment = segmentation.GetSegmentation().GetSegment(segment_id)
        name = segment.GetName() if segment is not None else segment_id
        words = _("{name} lost {count} voxel") if count == 1 else _("{name} lost {count} voxels")
        parts.append(words.format(name=name, count=f"{count:,}"))
    return ", ".join(parts)
