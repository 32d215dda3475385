"""What a propagation finds, taken over in the worker thread piece by piece, so that clicks are answered in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session

# A piece of the work takes about this long.
PIECE_S = 0.25


class Totals:
    """What became of all segments of a run.

    Attributes:
        segments: what became of each, by their IDs.
        outside_px: how many pixels of what was found lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each other segment has lost, by its ID; none, where the run does not let any give way.
    """

    segments: Mapping[str, Any]
    outside_px: int = 0
    lost: Mapping[str, int] = MappingProxyType({})

    @property
    def changed(self) -> int:
        """How many voxels changed, of all segments."""
        return sum(one.changed for one in self.segments.values())

    @property
    def found(self) -> int:
        """On how many slices, or in how many frames, objects were found, of all segments."""
        return sum(one.found for one in self.segments.values())


class InPieces:
    """A run that is computed with the model; along what, its heirs say."""

    def __init__(self) -> None:
        """Begin with nothing found."""
        self.is_stopped = False
        self.is_finished = False
        self.outside_px = 0  # of what was found
        self._found: Iterator[Any] | None = None
        self._session: Any = None

    def _propagated(self, session: Session) -> Iterator[Any]:
        """Find what there is, one slice after the other."""
        raise NotImplementedError

    def _take(self, found: Any) -> None:
        """Keep what was found."""
        raise NotImplementedError

    def stop(self) -> None:
        """Find no more; what was found stays."""
        self.is_stopped = True

    def advance(self, session: Session, should_stop: Callable[[], bool]) -> bool:
        """Work on for a moment; in the worker thread.

        Returns:
            Whether more is to be done.

        Raises:
            PropagationError: nothing can be propagated from the keyframes.
        """
        from SAMMed2DLib.inference.session import Stopped

        if self._found is None:
            self._session, self._found = session, self._propagated(session)
        if session is not self._session:
            self.stop()  # another model: its masks would not go with these
        ends = time.perf_counter() + PIECE_S
        try:
            while not (self.is_stopped or should_stop()):
                found = next(self._found, None)
                if found is None:
                    self.is_finished = True
                    return False
                self._take(found)
                if time.perf_counter() > ends:
                    return True
        except Stopped:
            pass
        return False
