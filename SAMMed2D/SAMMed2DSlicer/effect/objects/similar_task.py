"""A search for objects like those that were accepted: set up on the main thread, computed in the worker in pieces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.imaging.planes import slice_image_of
from SAMMed2DSlicer.effect.context.editor_snapshot import EditorSnapshot
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.segmentations import segment_names
from SAMMed2DSlicer.scene.slice_stack import SegmentSlices, SliceStack
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.proposals.ranking import Proposal

# `advance` returns after about this long: clicks are answered in between.
_PIECE_S = 0.25
# Slices of objects by which others are judged: those that are nearest.
_MOST_EXAMPLES = 5


class SimilarTask:
    """One search.

    Attributes:
        planes: the slices that proposals are on, by their `slice_index`.
        world_from_ijk: (4, 4), mm, the voxels of the volume to the scene.
        share: how much of the work is done, 0 .. 1.
        found: the proposals, the most likely first; complete when `advance` returns False.
    """

    def __init__(
        self,
        now: EditorSnapshot,
        plane: SlicePlane,
        labelmap: Any,
        pending: Sequence[tuple[SlicePlane, np.ndarray]],
    ) -> None:
        """Prepare, on the main thread.

        Args:
            now: the context.
            plane: the slice that is shown.
            labelmap: has the grid of the segmentation.
            pending: slices and masks, (H, W) bool, that are shown and not accepted: these objects are known.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        stack = SliceStack.of(now.volume, plane, now.segmentation, labelmap)
        names = segment_names(now.segmentation)
        base = base_name(names[now.segment_id])
        is_family = now.options.new_segments
        self._segments = [
            (SegmentSlices(stack, now.segmentation, n), base_name(name) == base if is_family else n == now.segment_id)
            for n, name in names.items()
        ]
        self._voxels = volumes.volume_kji(now.volume)
        self._rule = volumes.intensity_rule(now.volume, now.options.intensity)
        self._pending: dict[int, np.ndarray] = {}
        for of_mask, mask_hw in pending:
            if of_mask in stack.planes:
                _add(self._pending, stack.planes.index(of_mask), mask_hw)
        self._size_ijk, self._volume = now.size_ijk, now.volume
        self.world_from_ijk = stack.world_from_ijk
        self.planes, self._position, self._zoom = stack.planes, stack.position, now.options.zoom
        self._slices = range(len(stack.planes)) if now.options.similar_in_volume else [stack.position]
        self._steps: Iterator[float] | None = None
        self._stops: Callable[[], bool] = lambda: False  # whether the present piece is to end
        self.share = 0.0
        self.found: list[Proposal] = []

    def check(self) -> None:
        """Raise a SceneError if the image is no longer that of the search."""
        if self._volume.GetScene() is None or volumes.size_ijk(self._volume) != self._size_ijk:
            raise SceneError(_("The image was changed: the search was given up."))

    def advance(self, session: Session, should_stop: Callable[[], bool]) -> bool:
        """Search on for a moment, in the worker thread; False when all is done.

        Raises:
            PromptError: there is no object like which others could be.
        """
        self._stops = should_stop
        if self._steps is None:
            self._steps = self._search(session)
        ends = time.perf_counter() + _PIECE_S
        while time.perf_counter() < ends:
            try:
                self.share = next(self._steps)
            except StopIteration:
                return False
        return True

    def _search(self, session: Session) -> Iterator[float]:
        from SAMMed2DLib.proposals.similar import ExampleObjects, similar_steps

        known, like = dict(self._pending), dict[int, np.ndarray]()
        for slices, is_like in self._segments:
            slices.read()
            yield 0.0
            for number in slices.numbers:
                mask_hw = slices.mask(number)
                _add(known, number, mask_hw)
                if is_like:
                    _add(like, number, mask_hw)
        nearest = sorted(like, key=lambda number: abs(number - self._position))[:_MOST_EXAMPLES]
        examples = [ExampleObjects(number, like[number]) for number in nearest]
        options: Mapping[str, Any] = {"known": known, "zoom": self._zoom, "should_stop": lambda: self._stops()}
        self.found = yield from similar_steps(session, self._image, examples, self._slices, **options)

    def _image(self, number: int) -> np.ndarray:
        return rgb_from_slice(slice_image_of(self.planes[number], self._voxels), self._rule)


def base_name(name: str) -> str:
    """The name that segments of several objects share: "lesion" of "lesion #2"."""
    return name.rsplit(" #", 1)[0]


def _add(masks: dict[int, np.ndarray], number: int, mask_hw: np.ndarray) -> None:
    masks[number] = masks[number] | mask_hw if number in masks else mask_hw
