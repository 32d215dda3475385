"""The axis of a propagation: parallel slices of a volume (`SliceAxis`), or the frames of a sequence (`TimeAxis`).

An axis defines its positions, reads and writes the voxels of image and segment there, runs the model from keyframes to
other positions, and makes the undo.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.results import PropagationResult, PropagationSettings, SegmentRun
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DSlicer.propagation.keyframes import FrameSegment, PropagationState, SegmentKeyframes
    from SAMMed2DSlicer.propagation.segmentation_context import TargetOpener
    from SAMMed2DSlicer.propagation.undo import FrameUndo
    from SAMMed2DSlicer.scene.slice_stack import SliceStack

SLICES, TIME = "slices", "time"
BOTH = "both"

Steps = Iterator[Callable[[], None] | None]
OpenKeyframes = Callable[[str], "SegmentKeyframes"]


@dataclass(frozen=True, eq=False)
class SliceMask:
    """The predicted mask of a segment on a slice of a position.

    Attributes:
        run_index: of the segment, among the runs given to `PropagationAxis.propagate`.
        position: on the axis.
        slice_index: in the stack; along slices the position.
        mask_hw: (H, W) bool.
        confidence: 0 .. 1.
    """

    run_index: int
    position: int
    slice_index: int
    mask_hw: np.ndarray
    confidence: float


@dataclass(frozen=True)
class AxisTexts:
    """Messages for the user; some have fields, such as a position counted from 1."""

    title: str
    cleared: str
    unknown_direction: str
    no_range: str
    no_keyframe: str
    nothing_left: str
    one_filled: str
    many_filled: str
    only_lines: str = ""


class AxisImages(Protocol):
    """The voxels of the image at all positions, not copied; readable in any thread.

    Attributes:
        voxels: (K, J, I) or (K, J, I, C), by position, or one array for all.
    """

    voxels: list[np.ndarray]

    def are_unchanged(self) -> bool:
        """Whether the scene still has the same images; on the main thread."""


class RunWriter(Protocol):
    """Writes the results of a run to the segments."""

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write, on the main thread, in short steps; then add the segments to the result.

        Yields:
            A function to call in the worker thread before the next step; None if there is none.

        Raises:
            SceneError: see `PropagationAxis.check`.
        """


class PropagationAxis(ABC):
    """Positions, counted from 0, as they were in the scene when the axis was made.

    Attributes:
        kind: SLICES or TIME.
        directions: the names of backward, both and forward.
    """

    kind: str
    directions: tuple[str, str, str]  # backward, both, forward

    def __init__(
        self, volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, stack: SliceStack
    ) -> None:
        """Use `of` or `of_context`.

        Args:
            volume: the volume node that the scene shows.
            segmentation: the segmentation node that the scene shows.
            stack: the slices of each position, or those that are the positions.
        """
        self.volume, self.segmentation, self.stack = volume, segmentation, stack

    @property
    @abstractmethod
    def texts(self) -> AxisTexts:
        """Messages for the user."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many positions there are."""

    @property
    @abstractmethod
    def position(self) -> int:
        """The position that is shown; for a script, the one of its `plane`."""

    def range_to_fill(self, settings: PropagationSettings) -> tuple[int, int]:
        """The lowest and the highest position to fill.

        Raises:
            SceneError: there are none.
        """
        first = 0 if settings.first is None else settings.first
        last = self.count - 1 if settings.last is None else settings.last
        if settings.direction not in self.directions:
            raise SceneError(self.texts.unknown_direction.format(direction=repr(settings.direction)))
        if settings.every < 1 or not 0 <= first <= last < self.count:
            raise SceneError(self.texts.no_range.format(first=first + 1, last=last + 1, count=self.count))
        return first, last

    def filled_text(self, count: int) -> str:
        """How many positions were filled, for the user."""
        return self.texts.one_filled if count == 1 else self.texts.many_filled.format(count=count)

    # Segments

    @staticmethod
    @abstractmethod
    def is_drawn(
        volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str
    ) -> bool:
        """Whether a segment has voxels at any position.

        Args:
            volume: the volume node that the scene shows.
            segmentation: the segmentation node that the scene shows.
            segment_id: the segment.
        """

    @abstractmethod
    def keyframes(self, segment_id: str, chosen: Sequence[int] | None = None) -> SegmentKeyframes:
        """Prepare to read a segment, on the main thread.

        Args:
            segment_id: the segment.
            chosen: its keyframes, if a script names them; None to find them.
        """

    @abstractmethod
    def matches(self, state: PropagationState) -> bool:
        """Whether a propagation along this axis saved that."""

    @abstractmethod
    def targets(self, keyframes: SegmentKeyframes, outdated: set[int] | None, first: int, last: int) -> set[int]:
        """The positions of a range that a run fills.

        Args:
            keyframes: of the segment; they are not filled.
            outdated: positions to compute again; None for all. Others may have to be filled with them.
            first: lowest position of the range.
            last: highest position of the range.
        """

    @abstractmethod
    def cache_key(self, segment_id: str) -> Any:
        """A value that changes with the axis, and with what is saved of a segment; see `KeyframeReader`."""

    def unsaved_pairs(self, segment_ids: Iterable[str]) -> list[tuple[FrameSegment, FrameSegment]]:
        """Segments as the scene shows them and as the sequence stores them, where these may differ; not read yet."""
        return []

    # Images and the model

    @abstractmethod
    def images(self) -> AxisImages:
        """Hold references to the voxels of the image, on the main thread."""

    @abstractmethod
    def voxels_at(self, images: Any, position: int) -> np.ndarray:
        """The voxels of the volume at a position, (K, J, I) or (K, J, I, C)."""

    @abstractmethod
    def fixed_intensity_rule(self, rule: Any, images: Any) -> Any:
        """An intensity rule that is the same at all positions; may read all voxels, in the worker thread."""

    @abstractmethod
    def check_memory(self, session: Session | None, runs: Sequence[SegmentRun]) -> None:
        """Refuse a run that needs more memory than there is.

        Raises:
            PropagationError: the message says what to do.
        """

    @abstractmethod
    def propagate(
        self,
        session: Session | None,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill positions from their neighbours; in the worker thread.

        Args:
            session: the model; None where it is not asked.
            image: (position, slice) to the input of the model, (H, W, 3) uint8.
            runs: segments with the same range and the same outdated positions; they share image embeddings.
            settings: of the run.
            should_stop: called between predictions.
        """

    # Scene

    @abstractmethod
    def check(self, images: Any) -> None:
        """Check that the scene is still as it was when the run began.

        Raises:
            SceneError: the images or the segmentation were removed or replaced.
        """

    def _check_place(self) -> None:
        if not self.stack.is_in_place(self.volume, self.segmentation):
            raise SceneError(_("The image or the segmentation was moved: the propagation was given up."))

    @abstractmethod
    def new_undo(self) -> FrameUndo | None:
        """The undo of a run; None where the target of the run has it."""

    @abstractmethod
    def writer(
        self, target: Any, open_keyframes: OpenKeyframes, check: Callable[[], None], state_key: str
    ) -> RunWriter:
        """Make the writer of a run.

        Args:
            target: the `SegmentTarget` of the run; not used along time.
            open_keyframes: segment ID to its keyframes as they are then, not read yet.
            check: raises a SceneError when the scene has changed.
            state_key: saved as `PropagationState.settings`.
        """

    @abstractmethod
    def show(self, number: int, slice_node: Any) -> None:
        """Let the scene show a position; a slice in the view of `slice_node`."""

    @abstractmethod
    def clear(self, keyframes: SegmentKeyframes, number: int, open_target: TargetOpener) -> FrameUndo | None:
        """Empty a segment at a position, which then is no keyframe, as one undo step; on the main thread.

        Args:
            keyframes: the segment, as it was read.
            number: the position.
            open_target: opens the segment for writing; used along slices.

        Returns:
            The undo; None where the target has it.
        """


def require_geometry(labelmap: slicer.vtkOrientedImageData | None) -> slicer.vtkOrientedImageData:
    """Return the labelmap, which has the geometry of the segmentation.

    Raises:
        SceneError: it is None: the segmentation has no geometry.
    """
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    return labelmap
