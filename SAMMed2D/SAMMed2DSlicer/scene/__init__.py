"""MRML and VTK to numpy and back: volumes, views, sequences, segmentations, and the one writer to segments."""
