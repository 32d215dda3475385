"""The name of the model that comes with the program, and the names of those whose place it took."""

from __future__ import annotations

BUILT_IN = "sam-med2d-tiny"
# Scenes, scripts and reports may still say them.
FORMER_NAMES = ("sam-med2d-small",)


def current_name(model: str) -> str:
    """The name of a model today: that of the built-in one for a former name of it, any other as it is."""
    return BUILT_IN if model in FORMER_NAMES else model
