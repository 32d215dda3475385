"""Along what segments are carried: the slices of a volume that are parallel to one, or the frames of a sequence.

An axis says what a position is, how many there are, where the voxels of an image and of a segment are read and written,
how the model fills positions from their neighbours, and what can be taken back.
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
    from SAMMed2DSlicer.propagation.frame_axis import FrameUndo
    from SAMMed2DSlicer.propagation.keyframes import PropagationState, SegmentInFrame, SegmentKeyframes
    from SAMMed2DSlicer.propagation.segmentation_context import Writer
    from SAMMed2DSlicer.propagation.slice_stack import SliceStack

SLICES, TIME = "slices", "time"
BOTH = "both"

Steps = Iterator[Callable[[], None] | None]
Look = Callable[[str], "SegmentKeyframes"]


@dataclass(frozen=True, eq=False)
class SliceMask:
    """What was found of a segment on a slice of a position.

    Attributes:
        number: the segment, its place among those asked about.
        position: the position on the axis.
        index: the slice of the stack; along slices the position.
        mask_hw: (H, W) bool.
        confidence: 0 .. 1.
    """

    number: int
    position: int
    index: int
    mask_hw: np.ndarray
    confidence: float


@dataclass(frozen=True)
class AxisTexts:
    """What people are told; each may have fields, such as a position counted from 1."""

    title: str
    cleared: str
    unknown_direction: str
    no_range: str
    no_keyframe: str
    nothing_left: str
    one_filled: str
    many_filled: str


class HeldImages(Protocol):
    """The voxels of the image at all positions, to be read in any thread; copies of nothing."""

    voxels: list[np.ndarray]

    def are_unchanged(self) -> bool:
        """Whether the scene has still the same images; on the main thread."""


class RunWriter(Protocol):
    """Writes what a run has found."""

    def steps(self, runs: Sequence[SegmentRun], result: PropagationResult) -> Steps:
        """Write, on the main thread, in short steps; then add to the result what became of the segments.

        Yields:
            What is to be done in the worker thread before the next step; None for nothing.

        Raises:
            SceneError: see `PropagationAxis.check`.
        """


class PropagationAxis(ABC):
    """A line of positions, counted from 0, as they are in the scene now."""

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
        """What people are told."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many positions there are."""

    @property
    @abstractmethod
    def position(self) -> int:
        """The position that is shown, or was asked for."""

    def range_in(self, settings: PropagationSettings) -> tuple[int, int]:
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
        """How many positions were filled, for people."""
        return self.texts.one_filled if count == 1 else self.texts.many_filled.format(count=count)

    # Segments

    @abstractmethod
    def keyframes(self, segment_id: str, chosen: Sequence[int] | None = None) -> SegmentKeyframes:
        """Take hold of a segment, on the main thread; `chosen` are its keyframes, where a script says which."""

    @abstractmethod
    def is_of(self, state: PropagationState) -> bool:
        """Whether a propagation along this axis has left that."""

    @abstractmethod
    def targets(self, keyframes: SegmentKeyframes, wanted: set[int] | None, first: int, last: int) -> set[int]:
        """All positions of a range that a run with these wanted ones fills."""

    @abstractmethod
    def identity(self, segment_id: str) -> Any:
        """What tells the axis, and what it remembers of a segment, from others."""

    def unsaved_checks(self, segment_ids: Iterable[str]) -> list[tuple[SegmentInFrame, SegmentInFrame]]:
        """Segments as they are shown and as they are kept, where these may differ; read by the task."""
        return []

    # Images and the model

    @abstractmethod
    def images(self) -> HeldImages:
        """Take hold of what the model sees, on the main thread."""

    @abstractmethod
    def voxels_at(self, images: Any, position: int) -> np.ndarray:
        """The voxels of the volume that the slices of a position cut, (K, J, I) or (K, J, I, C)."""

    @abstractmethod
    def fixed_rule(self, rule: Any, images: Any) -> Any:
        """The intensity rule that makes all positions alike; it may look at all voxels, in the worker thread."""

    @abstractmethod
    def check_memory(self, session: Session, runs: Sequence[SegmentRun]) -> None:
        """Refuse what would take more memory than there is.

        Raises:
            PropagationError: the message says what to do.
        """

    @abstractmethod
    def propagated(
        self,
        session: Session,
        image: Callable[[int, int], np.ndarray],
        runs: Sequence[SegmentRun],
        settings: PropagationSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[SliceMask]:
        """Fill positions from their neighbours; in the worker thread.

        Args:
            session: the model.
            image: gets a position and a slice, and gives what the model sees there, (H, W, 3) uint8.
            runs: segments with the same range and the same wanted positions; they share what the model encodes.
            settings: what the user has chosen.
            should_stop: asked all the time.
        """

    # Scene

    @abstractmethod
    def check(self, images: Any) -> None:
        """See that the scene is still as it was when the run began.

        Raises:
            SceneError: the images or the segmentation are gone, or others.
        """

    def _check_place(self) -> None:
        if not self.stack.is_in_place(self.volume, self.segmentation):
            raise SceneError(_("The image or the segmentation was moved: the propagation was given up."))

    @abstractmethod
    def new_undo(self) -> FrameUndo | None:
        """What takes a run back; None where the target of the run does."""

    @abstractmethod
    def writer(
        self, target: Any, look: Callable[[str], SegmentKeyframes], check: Callable[[], None], state_key: str
    ) -> RunWriter:
        """What writes a run.

        Args:
            target: the `SegmentTarget` of the run; of no meaning along time.
            look: takes hold of a segment anew.
            check: raises a SceneError when the scene has changed.
            state_key: what the results depend on, to be remembered.
        """

    @abstractmethod
    def show(self, number: int, slice_node: Any) -> None:
        """Let the scene show a position; slices in the view of this node."""

    @abstractmethod
    def clear(self, now: SegmentKeyframes, number: int, writer: Writer) -> FrameUndo | None:
        """Take a segment off a position, which then is no keyframe, as one undo step; on the main thread.

        Args:
            now: the segment, as it was read.
            number: the position.
            writer: opens the segment for writing; used along slices.

        Returns:
            What takes it back, where that is not the writer's.
        """


def with_geometry(labelmap: slicer.vtkOrientedImageData | None) -> slicer.vtkOrientedImageData:
    """The labelmap of a segmentation.

    Raises:
        SceneError: it has none.
    """
    if labelmap is None:
        raise SceneError(_("The segmentation has no geometry: select a source volume for it."))
    return labelmap
