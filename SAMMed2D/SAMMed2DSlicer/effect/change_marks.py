"""What the last prompt has changed about the mask that is shown: marked for a moment, so that nobody overlooks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.widgets.timers import single_shot

# Long enough to be seen from the corner of one's eye, short enough not to be in the way of the next click.
MARKED_MS = 900


@dataclass(frozen=True, eq=False)
class MaskChange:
    """What is different between two masks of a prompt group.

    Attributes:
        added_hw: (H, W) bool, pixels of the new mask only.
        dropped_hw: (H, W) bool, pixels of the mask before it only.
    """

    added_hw: np.ndarray
    dropped_hw: np.ndarray


class ChangeMarks:
    """Knows the mask of each prompt group that was shown last, and for a moment what is new about it."""

    def __init__(self, on_expired: Callable[[], None]) -> None:
        """Begin without masks; `on_expired` is called when what is marked is to be drawn without marks."""
        self._on_expired = on_expired
        self._last: dict[PromptGroup, np.ndarray] = {}
        self._changes: dict[PromptGroup, MaskChange] = {}
        self._timer = single_shot(MARKED_MS, self._expire)

    def note(self, group: PromptGroup, mask_hw: np.ndarray) -> None:
        """Take over the mask of a prompt group that is shown from now on, and mark what it changes.

        Args:
            group: its prompt group; of one that corrects a mask, that mask was before its first one.
            mask_hw: (H, W) bool.
        """
        before = self._last.get(group, group.initial_mask_hw)
        self._last[group] = mask_hw
        self._changes.pop(group, None)
        if before is None or before.shape != mask_hw.shape or np.array_equal(before, mask_hw):
            return
        self._changes[group] = MaskChange(mask_hw & ~before, before & ~mask_hw)
        self._timer.start()

    def of(self, group: PromptGroup) -> MaskChange | None:
        """What is marked of the mask of a prompt group; None for nothing."""
        return self._changes.get(group)

    def forget(self, group: PromptGroup) -> None:
        """Know nothing of a group."""
        self._last.pop(group, None)
        self._changes.pop(group, None)

    def clear(self) -> None:
        """Know nothing, and mark nothing any more."""
        self._timer.stop()
        self._last.clear()
        self._changes.clear()

    def _expire(self) -> None:
        self._changes.clear()
        self._on_expired()
