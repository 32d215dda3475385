"""A host for Slicer modules and Segment Editor effects, without the Slicer desktop.

``start()`` returns ``slicer.app``; from then on ``slicer``, ``qt``, ``ctk`` and the rest can be imported as in Slicer.
Slicer's own code: everything in VTK and MRML (package slicer-core). Stand-ins, in this folder: PythonQt, CTK, the qMRML
widgets, the application, and the few Python files of Slicer that are in no package. See README.md.
"""

import os
import sys
from pathlib import Path

SLICER_TESTS = Path(__file__).parents[1] / "slicer"


def start():
    """Start the host, once a process; later calls return the same application."""
    from . import requirements

    requirements.check()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    slicer = _import_slicer()
    if getattr(slicer, "app", None) is None:
        from .application import starting

        starting.start()
    return slicer.app


def _import_slicer():
    """Import slicer-core's package, without the folder of our tests of the same name.

    The package adds every folder called "slicer" on sys.path to itself, and runs the modules in it.
    """
    paths = list(sys.path)
    sys.path[:] = [path for path in paths if (Path(path or ".") / "slicer").resolve() != SLICER_TESTS]
    try:
        import slicer
    finally:
        sys.path[:] = paths
    return slicer


def begin():
    """What every test begins with; see cleaning.begin."""
    from .cleaning import begin

    begin()


def clean_up():
    """What every test ends with; see cleaning.clean_up."""
    from .cleaning import clean_up

    clean_up()


def grab(widget, path=None, **options):
    """A picture of a Qt widget; see screenshots.grab."""
    from .screenshots import grab

    return grab(widget, path, **options)


def montage(path=None, **options):
    """One picture of a module's panel beside the slice views; see screenshots.montage."""
    from .screenshots import montage

    return montage(path, **options)


def pump(seconds, until=None):
    """Run the event loop for a while; see loop.pump."""
    from .loop import pump

    return pump(seconds, until)


def starving():
    """Hold Python's threads back as the desktop does; see loop.starving."""
    from .loop import starving

    return starving()


def press(keys, view=None):
    """Press keys in the main window: "Ctrl+Z", "Esc", "1"; see keys.press."""
    from .keys import press

    return press(keys, view)
