"""Errors that the desktop prints and forgets are kept here, and fail the test.

Collected: exceptions in Qt slots, VTK observers, effects' callbacks and threads; errors of VTK and MRML
(vtkErrorMacro); Qt's critical messages (qCritical). ``app.errors`` is the list; a test that expects one takes it out.
"""

import contextlib
import sys
import threading

import vtk
from PySide6 import QtCore

# Slicer itself says this of every scene with a view that was turned freely, and opens it well.
_HARMLESS = "GetSliceOrientationPreset: invalid orientation preset name: Reformat"
_installed = {}


class VTKError(RuntimeError):
    """VTK or MRML reported an error; the desktop shows it in its error log."""


class QtCriticalError(RuntimeError):
    """Qt reported a critical error."""


def collect(errors):
    """From now on append every error to the list.

    Tracebacks are still printed.
    """
    _hooks(errors)
    _collect_vtk(errors)
    _collect_qt(errors)


def _hooks(errors):
    def record(kind, error, trace):
        errors.append(error)
        record.previous(kind, error, trace)

    def record_thread(arguments):
        errors.append(arguments.exc_value)
        threading.__excepthook__(arguments)

    _installed.update(record=record, record_thread=record_thread)
    hook_in()


def hook_in():
    """Install the hooks for exceptions; again where somebody (pytest, for threads) has put others over them."""
    record, record_thread = _installed["record"], _installed["record_thread"]
    if sys.excepthook is not record:
        record.previous, sys.excepthook = sys.excepthook, record
    if threading.excepthook is not record_thread:
        threading.excepthook = record_thread


def _collect_vtk(errors):
    window = vtk.vtkOutputWindow.GetInstance()
    window.SetDisplayModeToAlwaysStdErr()

    @vtk.calldata_type(vtk.VTK_STRING)
    def record(caller, event, text):
        if _HARMLESS not in text:
            errors.append(VTKError(text.strip()))

    window.AddObserver("ErrorEvent", record)


def _collect_qt(errors):
    def record(kind, context, text):
        if kind in (QtCore.QtMsgType.QtCriticalMsg, QtCore.QtMsgType.QtFatalMsg):
            errors.append(QtCriticalError(text))
        if "propagateSizeHints" not in text:  # the off-screen platform says this for every window
            print(f"Qt: {text}", file=sys.stderr)

    QtCore.qInstallMessageHandler(record)


@contextlib.contextmanager
def guard():
    """Errors inside are kept for the test and go no further, as where C++ calls Python in the desktop."""
    try:
        yield
    except Exception:
        sys.excepthook(*sys.exc_info())
