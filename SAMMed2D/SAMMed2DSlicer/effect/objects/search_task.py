"""A search for objects on slices: set up on the main thread, computed in the worker thread in short pieces."""

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


class SearchTask:
    """One search; what is looked for is up to the classes that extend it, by `_search`.

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
        self._segments = {
            segment_id: SegmentSlices(stack, now.segmentation, segment_id)
            for segment_id in segment_names(now.segmentation)
        }
        self._voxels = volumes.volume_kji(now.volume)
        self._rule = volumes.intensity_rule(now.volume, now.options.intensity)
        self._pending: dict[int, np.ndarray] = {}
        for of_mask, mask_hw in pending:
            if of_mask in stack.planes:
                add_mask(self._pending, stack.planes.index(of_mask), mask_hw)
        self._size_ijk, self._volume = now.size_ijk, now.volume
        self.world_from_ijk = stack.world_from_ijk
        self.planes, self._position, self._zoom = stack.planes, stack.position, now.options.zoom
        self._steps: Iterator[float] | None = None
        self._stops: Callable[[], bool] = lambda: False  # whether the present piece is to end
        self.share = 0.0
        self.found: list[Proposal] = []

    @property
    def working_text(self) -> str:
        """What the user is told while it goes on."""
        raise NotImplementedError

    @property
    def nothing_text(self) -> str:
        """What the user is told when nothing was found."""
        raise NotImplementedError

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
        """Find proposals in short steps, in the worker thread: yields the share of the work, and sets `found`."""
        raise NotImplementedError

    def _options(self) -> Mapping[str, Any]:
        """What all searches of the library take."""
        return {"zoom": self._zoom, "should_stop": lambda: self._stops()}

    def _image(self, number: int) -> np.ndarray:
        """A slice as the model sees it, (H, W, 3) uint8."""
        return rgb_from_slice(slice_image_of(self.planes[number], self._voxels), self._rule)


def add_mask(masks: dict[int, np.ndarray], number: int, mask_hw: np.ndarray) -> None:
    """Join a mask, (H, W) bool, with what is there of a slice.

    Args:
        masks: by slice.
        number: of the slice.
        mask_hw: the mask.
    """
    masks[number] = masks[number] | mask_hw if number in masks else mask_hw
