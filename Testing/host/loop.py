"""The event loop for tests, and the mode that holds threads back as the desktop does.

In the desktop the main thread keeps Python's interpreter lock while Qt's event loop runs: PythonQt calls into Python
with the lock in hand, and nobody lets go of it in between. A Python thread runs only while a slot on the main thread
waits or works without the lock (time.sleep, NumPy, torch), or when a slot runs Python for more than the switch interval
(5 ms). PySide6 lets go of the lock around its own loop, so on the host a thread would run freely and a test could not
see that it starves in the desktop.

``with starving():`` runs Qt's loop through ctypes.PyDLL, which calls C++ WITHOUT letting go of the lock: the same
situation as in the desktop, with the same rules. It covers pump() and slicer.app.processEvents(). Limits: Linux only
(it calls Qt's symbols by name); loops inside Qt's own exec() (dialogs, menus, drags) still let threads run; so do the
few PySide6 calls that let go of the lock where PythonQt's do not; Python between two calls of pump() gives threads
their turns of 5 ms, as anywhere in Python.
"""

import contextlib
import ctypes
import sys
import time

import shiboken6
from PySide6 import QtCore

QUIT, POLL_MS = QtCore.SLOT("quit()"), 50
_PROCESS_EVENTS = "_ZN16QCoreApplication13processEventsE6QFlagsIN10QEventLoop17ProcessEventsFlagEE"
_EXEC = "_ZN10QEventLoop4execE6QFlagsINS_17ProcessEventsFlagEE"
_state = {"starving": False}


def is_starving():
    """True inside ``with starving():``."""
    return _state["starving"]


@contextlib.contextmanager
def starving():
    """Hold Python's threads back, as the desktop does, while the event loop runs.

    Raises:
        NotImplementedError: not on Linux.
    """
    if not sys.platform.startswith("linux"):
        raise NotImplementedError("starving threads needs Linux: it calls Qt's symbols by name")
    before, _state["starving"] = _state["starving"], True
    try:
        yield
    finally:
        _state["starving"] = before


def _qt_core():
    return ctypes.PyDLL("libQt6Core.so.6")  # loaded already, by PySide6


def process_events_holding_the_lock():
    """QCoreApplication::processEvents(AllEvents) with the interpreter lock in hand."""
    function = getattr(_qt_core(), _PROCESS_EVENTS)
    function.argtypes, function.restype = [ctypes.c_int], None
    function(0)


def pump(seconds, until=None):
    """Run the event loop for so long, or until the function is true; give what it gave last.

    While threads starve ``until`` is asked every 50 ms only, because asking gives them a turn of up to 5 ms.
    """
    if _state["starving"]:
        _pump_holding_the_lock(seconds, until)
    else:
        _pump_freely(seconds, until)
    return bool(until()) if until else None


def _pump_freely(seconds, until):
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends and not (until and until()):
        QtCore.QCoreApplication.processEvents(QtCore.QEventLoop.AllEvents, 5)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)
        time.sleep(0.001)


def _pump_holding_the_lock(seconds, until):
    """QEventLoop::exec, ended by a timer whose connection is C++ to C++: no Python runs but the product's."""
    loop, ending = QtCore.QEventLoop(), QtCore.QTimer()
    ending.setSingleShot(True)
    QtCore.QObject.connect(ending, QtCore.SIGNAL("timeout()"), loop, QUIT)
    polling = _poll(loop, until) if until else None
    ending.start(max(0, round(1000 * seconds)))
    function = getattr(_qt_core(), _EXEC)
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    function(shiboken6.getCppPointer(loop)[0], 0)
    if polling:
        polling.stop()


def _poll(loop, until):
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: loop.quit() if until() else None)
    timer.start(POLL_MS)
    return timer
