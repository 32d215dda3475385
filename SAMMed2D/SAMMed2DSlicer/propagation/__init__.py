"""Segments carried along slices or time: task, keyframes, panel, strip, undo."""
