"""The effect's parameters, which scenes save: their names, first values and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import slicer

from SAMMed2DSlicer.inference.slice_task import ZOOMS
from SAMMed2DSlicer.scene import overwrite_mode, volumes

TOOL, INTENSITY, ZOOM = "Tool", "Intensity", "Zoom"
AT_ONCE, NEW_SEGMENTS, PREFETCH = "AcceptAtOnce", "NewSegments", "LookAhead"
SIMILAR_IN_VOLUME = "SimilarInVolume"
# What a click or a drag in a slice view is taken for.
POSITIVE, NEGATIVE, BOX, SCRIBBLE, LASSO = "positive", "negative", "box", "scribble", "lasso"
DEFAULTS: dict[str, str | int] = {
    TOOL: POSITIVE,
    INTENSITY: volumes.WINDOW,
    ZOOM: "auto",
    AT_ONCE: 0,
    NEW_SEGMENTS: 0,
    PREFETCH: 1,
    SIMILAR_IN_VOLUME: 0,
}
DEFAULTS |= overwrite_mode.DEFAULTS


@dataclass(frozen=True)
class EffectOptions:
    """What the user has chosen.

    Attributes:
        intensity: what the model sees, one of `volumes.INTENSITIES`.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        accepts_at_once: whether answers are written without asking.
        new_segments: whether each accepted object is followed by a new segment.
        prefetches: whether neighbouring slices are encoded while idle.
        similar_in_volume: whether similar objects are looked for on all slices.
    """

    intensity: str = volumes.WINDOW
    zoom: bool | None = None
    accepts_at_once: bool = False
    new_segments: bool = False
    prefetches: bool = True
    similar_in_volume: bool = False

    @classmethod
    def of(cls, effect: slicer.qSlicerSegmentEditorScriptedEffect) -> EffectOptions:
        """Read the parameters of a qSlicerSegmentEditorScriptedEffect."""
        return cls(
            intensity=effect.parameter(INTENSITY),
            zoom=ZOOMS.get(effect.parameter(ZOOM)),
            accepts_at_once=bool(effect.integerParameter(AT_ONCE)),
            new_segments=bool(effect.integerParameter(NEW_SEGMENTS)),
            prefetches=bool(effect.integerParameter(PREFETCH)),
            similar_in_volume=bool(effect.integerParameter(SIMILAR_IN_VOLUME)),
        )


def begin_inside(effect: slicer.qSlicerSegmentEditorScriptedEffect, unless: Callable[[], bool] = lambda: False) -> None:
    """Choose positive points if negative ones are chosen.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.
        unless: called only if negative points are chosen; True keeps them, since there is something to take away.
    """
    if effect.parameter(TOOL) == NEGATIVE and not unless():
        effect.setParameter(TOOL, POSITIVE)
