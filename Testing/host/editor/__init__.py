"""The Segment Editor's Qt layer: effects, their factory, the editor widget.

Since Slicer 5.10 the C++ of all three is a thin Qt layer over vtkSlicerSegmentEditorLogic, which is in slicer-core:
geometry, masking, overwriting, undo and labelmaps here are Slicer's own code. Stricter than the desktop: what it
reports with qCritical() and goes on is an exception here. Methods that are neither slots nor Q_INVOKABLE are not here.
"""

from . import effect, factory, scripted_effect, widget


def exported():
    """Every stand-in by its Slicer name."""
    sources = (effect, factory, scripted_effect, widget)
    return {n: v for source in sources for n, v in vars(source).items() if n.startswith(("qMRML", "qSlicer"))}
