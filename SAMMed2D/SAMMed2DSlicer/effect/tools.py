"""The tool that a click in a slice view is taken by: the effect's parameter and its values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TOOL = "Tool"
POSITIVE, NEGATIVE, BOX = "positive", "negative", "box"


def begin_inside(effect: Any, unless: Callable[[], bool] = lambda: False) -> None:
    """Let the next click be a point inside, unless boxes are drawn; of a new object there is nothing to take away.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.
        unless: asked only where it matters, whether there is something to take away all the same.
    """
    if effect.parameter(TOOL) == NEGATIVE and not unless():
        effect.setParameter(TOOL, POSITIVE)
