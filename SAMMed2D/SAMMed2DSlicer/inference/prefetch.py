"""Slices beside the one that is worked on are encoded while the user pauses, the nearest first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.widgets.timers import single_shot

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

_PAUSE_MS = 250
_REACH = 8


class SlicePrefetcher:
    """Encodes one slice after the other until something else is to be done."""

    def __init__(
        self,
        service: InferenceService,
        current_plane: Callable[[], SlicePlane | None],
        image_of: Callable[[SlicePlane], np.ndarray],
        zoom: Callable[[], bool | None],
    ) -> None:
        """Prepare; nothing is done before `restart`.

        Args:
            service: encodes.
            current_plane: gives the slice that is worked on; None where there is nothing to prepare.
            image_of: gives the slice image that the model sees; a ValueError ends the work.
            zoom: tells whether crops are asked for, as in `Session.answer`.
        """
        self._service, self._current_plane, self._image_of, self._zoom = service, current_plane, image_of, zoom
        self._left: list[SlicePlane] = []
        self._timer = single_shot(_PAUSE_MS, self._begin)

    def restart(self) -> None:
        """Begin once the user has paused; called after everything that the user does."""
        self._left = []
        self._timer.start()

    def stop(self) -> None:
        """Encode nothing."""
        self._left = []
        self._timer.stop()

    def _begin(self) -> None:
        plane = self._current_plane()
        self._left = neighbours(plane, _REACH) if plane is not None else []
        self._next()

    def _next(self, result: Any = None) -> None:
        if not self._left or self._current_plane() is None:
            return
        try:
            image = self._image_of(self._left.pop(0))
        except ValueError:
            self._left = []
            return
        coarse = self._zoom() is not False  # on whole slices nothing is looked at coarsely
        self._service.prefetch(
            lambda session, should_stop: session.encode(image, should_stop, coarse=coarse), self._next, owner=self
        )


def neighbours(plane: SlicePlane, count: int) -> list[SlicePlane]:
    """A slice of the grid and those beside it, the nearest first; none for an oblique one."""
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.imaging.planes import grid_axis, is_on_grid

    if not is_on_grid(plane):
        return []
    axis = grid_axis(plane)
    index, last = int(plane.origin_ijk[axis]), plane.size_ijk[axis] - 1
    indices = [index, *(index + side * n for n in range(1, count + 1) for side in (1, -1))]
    return [SlicePlane.of_axis(plane.size_ijk, 2 - axis, i) for i in indices if 0 <= i <= last]
