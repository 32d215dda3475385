"""Who has the page open: a workspace and a folder for each, freed when the page is closed or was left."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from SAMMed2DLib.demo_page.model_shelf import ModelShelf
from SAMMed2DLib.demo_page.opening import Limits
from SAMMed2DLib.demo_page.workspace import DemoError, Workspace
from SAMMed2DLib.registry.built_in import BUILT_IN


@dataclass(eq=False)
class Visitor:
    """One open page.

    Attributes:
        workspace: what is worked on.
        folder: files for this visitor alone.
        seen_s: when it was last heard of, seconds of `time.monotonic`.
    """

    workspace: Workspace
    folder: Path
    seen_s: float = field(default_factory=time.monotonic)


class Visitors:
    """All open pages, by the names of their sessions."""

    def __init__(self, shelf: ModelShelf, folder: Path, limits: Limits, model: str = BUILT_IN) -> None:
        """Start with nobody.

        Args:
            shelf: the models.
            folder: takes a folder for each visitor.
            limits: how many, and how long.
            model: that is asked at first.
        """
        self.shelf, self.folder, self.limits, self.model = shelf, folder, limits, model
        self._open: dict[str, Visitor] = {}
        self._left: deque[str] = deque(maxlen=1000)  # what they had asked before may come later
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def of(self, session: str | None) -> Visitor:
        """The visitor of a session, a new one if need be.

        Raises:
            DemoError: there are too many, or this one has left.
        """
        if not session:
            raise DemoError("This page works in a browser only.")
        self.close_idle()
        with self._lock:
            if session in self._left:
                raise DemoError("This page was left, and what was on it is gone: load it again.")
            if session not in self._open:
                if len(self._open) >= self.limits.visitors:
                    raise DemoError("Too many people have this page open: try again later.")
                folder = self.folder / uuid4().hex
                folder.mkdir(mode=0o700)
                self._open[session] = Visitor(Workspace(self.shelf, self.model), folder)
            visitor = self._open[session]
        visitor.seen_s = time.monotonic()
        return visitor

    def close(self, session: str | None) -> None:
        """Free all that a session has."""
        with self._lock:
            visitor = self._open.pop(session or "", None)
            self._left.append(session or "")
        if visitor is not None:
            visitor.workspace.is_cancelled.set()
            with visitor.workspace.lock:
                visitor.workspace.close()
            shutil.rmtree(visitor.folder, ignore_errors=True)

    def close_idle(self) -> None:
        """Free what nobody used for long."""
        oldest = time.monotonic() - 60 * self.limits.idle_minutes
        for session in [session for session, visitor in list(self._open.items()) if visitor.seen_s < oldest]:
            self.close(session)

    def close_all(self) -> None:
        """Free everything."""
        for session in list(self._open):
            self.close(session)
