"""A search for objects like those that were accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from SAMMed2DLib.proposals.names import base_name
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
from SAMMed2DSlicer.effect.objects.search_task import SearchTask, add_mask
from SAMMed2DSlicer.scene.segmentations import segment_names

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.session import Session

# Slices of objects by which others are judged: those that are nearest.
_MOST_EXAMPLES = 5


class SimilarTask(SearchTask):
    """Looks for objects like those of the selected segment, or of all segments of its name."""

    def __init__(
        self,
        now: EditorSnapshot,
        plane: SlicePlane,
        labelmap: Any,
        pending: Sequence[tuple[SlicePlane, np.ndarray]],
    ) -> None:
        """Prepare, on the main thread; arguments and errors as of `SearchTask`.

        Args:
            now: see there.
            plane: see there.
            labelmap: see there.
            pending: see there.
        """
        super().__init__(now, plane, labelmap, pending)
        names = segment_names(now.segmentation)
        base = base_name(names[now.segment_id])
        is_family = now.options.new_segments
        self._like = {n for n, name in names.items() if (base_name(name) == base if is_family else n == now.segment_id)}
        self._slices = range(len(self.planes)) if now.options.similar_in_volume else [self._position]

    @property
    def working_text(self) -> str:
        """What the user is told while it goes on."""
        return _("Looking for similar objects...")

    @property
    def nothing_text(self) -> str:
        """What the user is told when nothing was found."""
        return _("No further object like these was found here.")

    def _search(self, session: Session) -> Iterator[float]:
        from SAMMed2DLib.proposals.similar import ExampleObjects, similar_steps

        known, like = dict(self._pending), dict[int, np.ndarray]()
        for segment_id, slices in self._segments.items():
            slices.read()
            yield 0.0
            for number in slices.numbers:
                mask_hw = slices.mask(number)
                add_mask(known, number, mask_hw)
                if segment_id in self._like:
                    add_mask(like, number, mask_hw)
        nearest = sorted(like, key=lambda number: abs(number - self._position))[:_MOST_EXAMPLES]
        examples = [ExampleObjects(number, like[number]) for number in nearest]
        self.found = yield from similar_steps(
            session, self._image, examples, self._slices, known=known, **self._options()
        )
