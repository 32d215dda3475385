"""A search for all objects of the slice that is shown, of whatever kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from SAMMed2DSlicer.effect.objects.search_task import SearchTask

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session


class EverythingTask(SearchTask):
    """Looks for whatever the model takes for an object on a slice."""

    @property
    def working_text(self) -> str:
        """What the user is told while it goes on."""
        return _("Looking for objects...")

    @property
    def nothing_text(self) -> str:
        """What the user is told when nothing was found."""
        return _("The model finds no object here that is not segmented yet: click on the structure, or draw a box.")

    def _search(self, session: Session) -> Iterator[float]:
        from SAMMed2DLib.proposals.everything import everything_steps

        known = [self._pending[self._position]] if self._position in self._pending else []
        for slices in self._segments.values():
            slices.read()
            yield 0.0
            if self._position in slices.numbers:
                known.append(slices.mask(self._position))
        image = self._image(self._position)
        self.found = yield from everything_steps(
            session, image, slice_index=self._position, known=known, **self._options()
        )
