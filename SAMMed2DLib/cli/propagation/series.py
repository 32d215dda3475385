"""What slices of a volume and frames of a 4D image have in common where segments are carried along them.

A position is the number of a slice, or of a frame; `SliceSeries` and `TimeSeries` say what lies there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog
from SAMMed2DLib.cli.common.prompt_options import RequestError
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.system.files import StagedFiles

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.propagation.time_series import FrameResult
    from SAMMed2DLib.propagation.tracks import PropagatedSlice


@dataclass(frozen=True, eq=False)
class FilledSlice:
    """A slice that was filled; its mask in bits, because there are many.

    Attributes:
        bits: of the mask, (H, W), row by row.
        pixels: of the mask.
        confidence: 0 .. 1.
        score: IoU that the model predicts; NaN where it was not asked.
    """

    bits: np.ndarray
    pixels: int
    confidence: float
    score: float

    @classmethod
    def of(cls, result: PropagatedSlice | FrameResult) -> FilledSlice:
        """Take over what was found."""
        return cls(np.packbits(result.mask), int(result.mask.sum()), result.confidence, result.score)

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) bool."""
        height, width = size_hw
        return np.unpackbits(self.bits, count=height * width).reshape(size_hw).astype(bool)

    @property
    def entry(self) -> dict[str, Any]:
        """For a report, of plain types."""
        return {
            "confidence": round(self.confidence, 4),
            "score": None if np.isnan(self.score) else round(self.score, 4),
            "pixels": self.pixels,
        }


class CarriedSegment(ABC):
    """A segment on its way along a series.

    Attributes:
        segment: its name and colour.
        keyframes: masks, bool, by the position where they are drawn; they are not altered.
        found: what was filled, by position.
    """

    segment: Segment
    keyframes: dict[int, np.ndarray]
    found: dict[int, Any]

    @property
    @abstractmethod
    def confidences(self) -> dict[int, float]:
        """How sure it is, 0 .. 1, at each position that was filled."""

    @property
    def worst(self) -> int | None:
        """The position of the lowest confidence; None if none was filled."""
        confidences = self.confidences
        return min(confidences, key=lambda position: confidences[position], default=None)

    def is_known(self, position: int) -> bool:
        """Whether it is drawn or was filled there."""
        return position in self.keyframes or position in self.found


SegmentT = TypeVar("SegmentT", bound=CarriedSegment)


class PropagationSeries(ABC, Generic[SegmentT]):
    """Slices or frames that follow one another, and segments that are drawn on some of them.

    Attributes:
        noun: what a position is called, "slice" or "frame".
        undrawn: what is said of a segment without a keyframe.
        drawn_everywhere: what is said of a segment with nothing to fill; empty where that needs no word.
        stopped: what is said where the user stops.
        job: what was asked for.
        volume: the image, or one frame of it, for what all have in common.
        axis: array axis of the slices.
        intensity: the same rule for all slices and frames.
        first: lowest position to fill.
        last: highest position to fill.
        segments: all that were asked for.
    """

    noun: ClassVar[str]
    undrawn: ClassVar[str]
    drawn_everywhere: ClassVar[str]
    stopped: ClassVar[str]

    job: PropagateJob
    volume: Volume
    axis: int
    intensity: Intensity
    first: int
    last: int
    segments: Sequence[SegmentT]

    @property
    def positions(self) -> range:
        """Those to fill."""
        return range(self.first, self.last + 1)

    def plane(self, index: int) -> SlicePlane:
        """A slice by its number."""
        return SlicePlane.of_axis(self.volume.size_ijk, self.axis, index)

    def image(self, position: int, index: int) -> np.ndarray:
        """A slice at a position, (H, W, 3) uint8."""
        return rgb_from_slice(self.plane(index).extract(self.array(position)), self.intensity)

    @property
    def incomplete(self) -> list[SegmentT]:
        """The segments to fill: those that have keyframes, and positions without."""
        wanted = set(self.positions)
        return [carried for carried in self.segments if carried.keyframes and wanted - set(carried.keyframes)]

    def check_segments(self, log: CommandLog) -> None:
        """Say which segments are left as they are.

        Raises:
            RequestError: all are.
        """
        incomplete = self.incomplete
        empty = [carried.segment.name for carried in self.segments if not carried.keyframes]
        complete = [
            carried.segment.name for carried in self.segments if carried.keyframes and carried not in incomplete
        ]
        if empty:
            log.notes.append(f"{self.undrawn}, left empty: {', '.join(empty)}")
        if not incomplete:
            raise RequestError(self.nothing_to_fill)
        if complete and self.drawn_everywhere:
            log.notes.append(f"{self.drawn_everywhere}, left as it is: {', '.join(complete)}")

    @abstractmethod
    def array(self, position: int) -> np.ndarray:
        """The voxels at a position, (K, J, I) or (K, J, I, 3)."""

    @property
    @abstractmethod
    def nothing_to_fill(self) -> str:
        """What is said where no segment can be filled."""

    @property
    @abstractmethod
    def most_slices(self) -> int:
        """How many slices can be filled at most, all segments together."""

    @abstractmethod
    def check_memory(self, session: Session | None) -> None:
        """Refuse a run before it begins where it would take more memory than there is.

        Args:
            session: the model; None where it is not asked.

        Raises:
            PropagationError: the message says what to do.
        """

    @abstractmethod
    def fill(self, session: Session | None) -> Iterator[None]:
        """Fill the incomplete segments; each step is one slice of one of them, and final.

        Args:
            session: the model; None where it is not asked.
        """

    @abstractmethod
    def keep_finished(self) -> None:
        """Write only what is known, since the user stopped."""

    @abstractmethod
    def note_gaps(self, log: CommandLog) -> None:
        """Say where segments were not found."""

    @abstractmethod
    def write(self, log: CommandLog, staged: StagedFiles) -> list[list[int]]:
        """Write the segmentation.

        Returns:
            the voxels of each segment in each file.
        """

    @abstractmethod
    def mask(self, carried: SegmentT, position: int, index: int) -> np.ndarray:
        """Return what is known of a segment on a slice at a position, (H, W) bool.

        Args:
            carried: the segment.
            position: a slice or a frame of the series.
            index: the slice; along slices it is the position.
        """

    @abstractmethod
    def slice_at(self, position: int) -> int:
        """The slice that a sheet shows of a position."""

    @property
    @abstractmethod
    def shown(self) -> list[int]:
        """The positions that a sheet may show, from low to high."""

    @abstractmethod
    def files_entry(self) -> dict[str, Any]:
        """For a report: the files with keyframes, and those written."""

    @abstractmethod
    def extent_entry(self, carried: SegmentT) -> dict[str, Any]:
        """For a report: how much of a segment was filled."""

    @abstractmethod
    def parts_entry(self, carried: SegmentT, voxels: Sequence[int]) -> dict[str, Any]:
        """For a report: what a segment is at each position, and its sizes in each file."""
