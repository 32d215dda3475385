"""Work in progress is kept in a file, at most every minute and only after changes.

The file is removed once the scene is saved or closed, or Slicer ends: what is left was left by a crash.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import slicer

from SAMMed2DLib.io.saved_work import PackedVoxels, write_work
from SAMMed2DSlicer.inference import service
from SAMMed2DSlicer.inference.worker import AHEAD, TASK, Job
from SAMMed2DSlicer.recovery.recovery_files import RecoveryFile
from SAMMed2DSlicer.recovery.work_reader import Interrupted, Unwritten, WorkReader, change_key, has_work, newest
from SAMMed2DSlicer.widgets.timers import repeating

# So long after a change work is kept; looking for changes takes about a millisecond.
INTERVAL_S, _LOOK_MS = 50.0, 5000
# Keeping work gives way to everything else so often, and then takes its turn.
_MOST_INTERRUPTIONS = 3


@dataclass(eq=False)
class _Followed:
    """A segmentation in progress.

    Attributes:
        segmentation: the segmentation node.
        volume: what is segmented; None for nothing.
        saved_key: see `change_key`, of what is saved; None before the first look.
        changed_at: when a change was seen that is not saved; None for no change.
        file: where it is kept.
        packed: voxels that were read before, see `WorkReader`.
        interruptions: how often keeping it gave way to something else.
        find_unwritten: the method that gives `unwritten`.
    """

    segmentation: Any
    volume: Any
    saved_key: Any = None
    changed_at: float | None = None
    file: RecoveryFile = field(default_factory=RecoveryFile)
    packed: dict[str, tuple[int, PackedVoxels | None]] = field(default_factory=dict)
    interruptions: int = 0
    find_unwritten: weakref.WeakMethod[Callable[[], Unwritten | None]] | None = None

    def unwritten(self) -> Unwritten | None:
        """What a run has found and not written yet; None where none is going on."""
        find = None if self.find_unwritten is None else self.find_unwritten()
        return None if find is None else find()


class Autosave:
    """Keeps the segmentations that are worked on, with their prompts."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        """Prepare; nothing is followed yet.

        Args:
            interval_s: how long changes may wait.
        """
        self._interval_s = interval_s
        self._followed: dict[str, _Followed] = {}
        self._job: Job | None = None
        self._timer = repeating(min(_LOOK_MS, max(1, int(1000 * interval_s / 4))), self.look)
        self._tags: list[int] = []
        self._stored_at = 0  # VTK's time of the last save of the scene that is known

    def follow(self, segmentation: Any, volume: Any, find_unwritten: Callable[[], Unwritten | None]) -> None:
        """Keep a segmentation from now on, until the scene is closed; what it has now counts as saved.

        Args:
            segmentation: the segmentation node; nothing is done for None.
            volume: what is segmented; None to keep to the last one.
            find_unwritten: a method that gives what a run has found and not written yet; None where none is going on.
        """
        if segmentation is None or segmentation.GetScene() is None:
            return
        followed = self._followed.get(segmentation.GetID())
        if followed is None or followed.segmentation is not segmentation:
            followed = _Followed(segmentation, volume, change_key(segmentation))
            self._followed[segmentation.GetID()] = followed
        followed.volume = volume or followed.volume
        followed.find_unwritten = weakref.WeakMethod(find_unwritten)
        if not self._tags:
            self._stored_at = slicer.mrmlScene.GetStoredTime()
            self._observe()
            self._timer.start()

    def look(self) -> None:
        """Look for changes, and keep them if it is time."""
        if self._job is not None:
            if not self._job.finished.is_set() or not (self._job.is_cancelled or self._job.has_stopped):
                return
            self._job = None  # it gave way to something else
        for node_id, followed in list(self._followed.items()):
            if followed.segmentation.GetScene() is None:  # removed by the user
                followed.file.remove()
                del self._followed[node_id]
        if slicer.mrmlScene.GetStoredTime() != self._stored_at:
            self._stored_at = slicer.mrmlScene.GetStoredTime()
            self._saved()
        now = time.monotonic()
        for followed in self._followed.values():
            if followed.changed_at is None and self._has_changed(followed):
                followed.changed_at = now
        due = [one for one in self._followed.values() if one.changed_at is not None]
        for followed in due:
            if self._job is None and now - (followed.changed_at or now) >= self._interval_s:
                self._keep(followed)

    def _has_changed(self, followed: _Followed) -> bool:
        return change_key(followed.segmentation) != followed.saved_key or followed.unwritten() is not None

    def _keep(self, followed: _Followed) -> None:
        segmentation = followed.segmentation
        key, began, unwritten = change_key(segmentation), time.monotonic(), followed.unwritten()
        if not has_work(segmentation) and unwritten is None:
            followed.file.remove()
            followed.saved_key, followed.changed_at = key, None
            return
        try:
            path = followed.file.place()
        except OSError as error:
            self._failed(followed, error)
            return
        reader = WorkReader(segmentation, followed.volume, followed.packed, unwritten)

        def work(should_stop: Callable[[], bool]) -> None:
            saved = reader.read(should_stop)
            if should_stop():
                raise Interrupted
            write_work(path, saved)

        def done(result: Any) -> None:
            self._job = None
            followed.saved_key, followed.interruptions = key, 0
            followed.changed_at = None if change_key(segmentation) == key else began

        def failed(error: BaseException) -> None:
            self._job = None
            if not isinstance(error, Interrupted):
                self._failed(followed, error)

        kind = AHEAD if followed.interruptions < _MOST_INTERRUPTIONS else TASK
        followed.interruptions += 1
        self._job = service.shared().worker.submit(Job(work, done, failed, kind, self))

    def _failed(self, followed: _Followed, error: BaseException) -> None:
        """Try again after the next interval."""
        followed.changed_at = time.monotonic()
        logging.warning("SAMMed2D: work in progress could not be kept for the case of a crash: %s", error)

    # What ends it

    def _saved(self) -> None:
        """Forget what was kept: the scene has been saved; what was changed since is kept anew."""
        self._stop_job()
        for followed in self._followed.values():
            key = change_key(followed.segmentation)
            followed.saved_key = key if newest(key) <= self._stored_at else None
            followed.changed_at = None
            followed.file.remove()

    def close(self) -> None:
        """Forget everything: the scene is closed, or Slicer ends."""
        self._timer.stop()
        self._stop_job()
        for followed in self._followed.values():
            followed.file.remove()
        self._followed.clear()
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []

    def _stop_job(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job.finished.wait(10)  # or it would write its file after it was removed
            self._job = None

    def _observe(self) -> None:
        scene = slicer.mrmlScene
        self._tags = [
            scene.AddObserver(scene.EndSaveEvent, lambda caller, event: self.look()),  # does not come in all cases
            scene.AddObserver(scene.StartCloseEvent, lambda caller, event: self.close()),
        ]


def shared() -> Autosave:
    """The one of this application; made at the first call."""
    name = "sammed2dAutosave"  # kept on slicer.modules, so that it outlives a reload of the module's files
    autosave = getattr(slicer.modules, name, None)
    if autosave is None:
        autosave = Autosave()
        setattr(slicer.modules, name, autosave)
        slicer.app.connect("aboutToQuit()", autosave.close)
    return autosave
