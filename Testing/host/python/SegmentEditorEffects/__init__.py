"""Stands for Slicer's package SegmentEditorEffects where its own files are not at hand: only its base classes."""

from .AbstractScriptedSegmentEditorEffect import *  # noqa: F403
from .AbstractScriptedSegmentEditorLabelEffect import *  # noqa: F403
