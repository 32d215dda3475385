"""`sammed2d propagate --along time`: the frames of a 4D image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog, note_overlap, sizes
from SAMMed2DLib.cli.common.image_job import advice_on, check_outputs, intensity_of
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError, along
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.propagation.keyframes import chosen_masks, slices_shown
from SAMMed2DLib.cli.propagation.series import CarriedSegment, FilledSlice, PropagationSeries
from SAMMed2DLib.imaging.intensity import Intensity, for_all_slices
from SAMMed2DLib.io.seg_nrrd import Segmentation
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    check_output_fits,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import Volume, VolumeSequence, read_frames
from SAMMed2DLib.propagation.time_series import FrameAndSlice, confidence_of_frame
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import listed

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session


@dataclass(eq=False)
class DynamicSegment(CarriedSegment):
    """A segment on its way through time.

    Attributes:
        segment: its name and colour.
        keyframes: masks (K, J, I) bool by frame, none of them empty: these frames are not altered.
        found: what was filled, by frame and slice.
    """

    segment: Segment
    keyframes: dict[int, np.ndarray] = field(default_factory=dict)
    found: dict[int, dict[int, FilledSlice]] = field(default_factory=dict)

    def slices(self, axis: int) -> list[int]:
        """The slices along an array axis on which it is drawn in some frame."""
        shown = [slices_shown(mask, axis) for mask in self.keyframes.values()]
        return [int(index) for index in np.flatnonzero(np.logical_or.reduce(shown))] if shown else []

    def confidence(self, frame: int) -> float | None:
        """How sure it is, 0 .. 1, in a frame that was filled; None for others."""
        slices = self.found.get(frame)
        return confidence_of_frame((part.pixels, part.confidence) for part in slices.values()) if slices else None

    @property
    def confidences(self) -> dict[int, float]:
        """How sure it is, 0 .. 1, in each frame that was filled, in their order."""
        found = {frame: self.confidence(frame) for frame in sorted(self.found)}
        return {frame: confidence for frame, confidence in found.items() if confidence is not None}


@dataclass(eq=False)
class TimeSeries(PropagationSeries[DynamicSegment]):
    """The frames of a 4D image, each as slices along one axis; see `PropagationSeries`."""

    noun: ClassVar[str] = "frame"
    undrawn: ClassVar[str] = "drawn in no frame"
    drawn_everywhere: ClassVar[str] = ""
    stopped: ClassVar[str] = "stopped: the slices that were finished are written, in the frames that have any"

    job: PropagateJob
    frames: VolumeSequence
    volume: Volume
    axis: int
    intensity: Intensity
    first: int
    last: int
    segments: Sequence[DynamicSegment]

    @classmethod
    def read(cls, job: PropagateJob, log: CommandLog) -> Self:
        """Read the image and the keyframes.

        Raises:
            ValueError: bad input, in one of the library's own classes.
        """
        _check_job(job)
        with log.step("read"):
            frames = read_frames(job.image)
            volume = frames.volume(0)
            check_output_fits(job.output, volume)
            _check_masks(job, len(frames))
            first, last = _range(job, len(frames))
            job = replace(job, frames=range(first, last + 1))
            check_outputs(job)
            segments = _segments(job, log, frames)
        log.notes += advice_on(job, volume)
        axis = _axis(job, log, volume)
        # Slices come first, because of a large image only some of them are looked at, but then in all frames.
        intensity = for_all_slices(intensity_of(job, volume), frames.array.swapaxes(0, 1))
        return cls(job, frames, volume, axis, intensity, first, last, segments)

    def array(self, position: int) -> np.ndarray:
        """The voxels of a frame, (K, J, I) or (K, J, I, 3)."""
        return self.frames.array[position]

    @property
    def nothing_to_fill(self) -> str:
        """What is said where no segment can be filled."""
        return f"every frame from {self.first} to {self.last} has a mask, there is nothing to fill; check --range"

    @property
    def most_slices(self) -> int:
        """How many slices can be filled at most, all frames and segments together."""
        return len(self.positions) * sum(len(carried.slices(self.axis)) for carried in self.incomplete)

    def check_memory(self, session: Session | None) -> None:
        """Refuse a run that would take more memory than there is; see `propagation.time_series.check_memory`."""
        from SAMMed2DLib.propagation.time_series import check_memory

        slices = [len(carried.slices(self.axis)) for carried in self.incomplete]
        check_memory(session, self.plane(0).size_hw, len(self.positions), max(slices), len(slices))

    def fill(self, session: Session | None) -> Iterator[None]:
        """Fill slice by slice, each in all frames."""
        from SAMMed2DLib.propagation.time_series import propagate_in_time

        segments = self.incomplete
        for result in propagate_in_time(
            session,
            lambda frame, indices: [self.image(frame, index) for index in indices],
            [self._keyframes(carried) for carried in segments],
            self.first,
            self.last,
            period=len(self.frames) if self.job.loop else None,
            zoom=self.job.zoom,
            every=self.job.every,
            asks_model=self.job.ask_model,
        ):
            segments[result.number].found.setdefault(result.frame, {})[result.index] = FilledSlice.of(result)
            yield

    def _keyframes(self, carried: DynamicSegment) -> dict[FrameAndSlice, np.ndarray]:
        """Masks (H, W) bool by frame and slice: a frame in which it is drawn also says where it is not."""
        slices = carried.slices(self.axis)
        return {(frame, n): self.plane(n).extract(mask) for frame, mask in carried.keyframes.items() for n in slices}

    def keep_finished(self) -> None:
        """Write only the frames that have something; an empty file would say that there is no object."""
        known = [frame for frame in self.job.frames if any(carried.is_known(frame) for carried in self.incomplete)]
        self.job = replace(self.job, frames=known)

    def note_gaps(self, log: CommandLog) -> None:
        """Say in which frames segments were not found."""
        for carried in self.incomplete:
            pixels = {frame: sum(part.pixels for part in parts.values()) for frame, parts in carried.found.items()}
            lost = [frame for frame in self.job.frames if frame not in carried.keyframes and not pixels.get(frame)]
            if lost:
                log.notes.append(f"{carried.segment.name} was not found in the frames {listed(lost)}")

    def write(self, log: CommandLog, staged: StagedFiles) -> list[list[int]]:
        """Write a file for each frame; the voxels of each segment in each of them."""
        voxels: list[list[int]] = [[] for _ in self.segments]
        segments = [carried.segment for carried in self.segments]
        with log.step("write"):
            lost = 0
            for frame in self.job.frames:
                masks = self._masks(frame, voxels)
                lost += write_segmentation(staged.place(self.job.file_of(frame)), masks, self.volume, segments)
            note_overlap(log, lost)
        return voxels

    def _masks(self, frame: int, voxels: Sequence[list[int]]) -> Iterator[np.ndarray]:
        """One (K, J, I) bool array after the other; their numbers of voxels are appended as they pass."""
        for carried, counts in zip(self.segments, voxels, strict=True):
            mask = self._whole(carried, frame)
            counts.append(int(mask.sum()))
            yield mask

    def _whole(self, carried: DynamicSegment, frame: int) -> np.ndarray:
        """(K, J, I) bool of a frame; empty where nothing is known."""
        if frame in carried.keyframes:
            return carried.keyframes[frame]
        whole = np.zeros(self.frames.array.shape[1:], bool)
        for index, part in carried.found.get(frame, {}).items():
            plane = self.plane(index)
            plane.insert(whole, part.mask(plane.size_hw), True)
        return whole

    def mask(self, carried: DynamicSegment, position: int, index: int) -> np.ndarray:
        """What is known of a segment on a slice of a frame, (H, W) bool."""
        return self.plane(index).extract(self._whole(carried, position))

    def slice_at(self, position: int) -> int:
        """The slice on which most is drawn, the same for all frames."""
        return self._largest_slice

    @cached_property
    def _largest_slice(self) -> int:
        others = tuple(axis for axis in range(3) if axis != self.axis)
        drawn = [mask.sum(axis=others) for carried in self.segments for mask in carried.keyframes.values()]
        return int(np.argmax(np.sum(drawn, axis=0)))

    @property
    def shown(self) -> list[int]:
        """The frames that are written."""
        return list(self.job.frames)

    def files_entry(self) -> dict[str, Any]:
        """For a report: the files with keyframes, and those written, by frame."""
        return {
            "along": "time",
            "masks": {str(frame): path for frame, path in self.job.masks},
            "outputs": {str(frame): self.job.file_of(frame) for frame in self.job.frames},
        }

    def extent_entry(self, carried: DynamicSegment) -> dict[str, Any]:
        """For a report: how many frames were filled."""
        return {"filled": len(carried.confidences)}

    def parts_entry(self, carried: DynamicSegment, voxels: Sequence[int]) -> dict[str, Any]:
        """For a report: the frames written, with the segment's sizes and the slices filled."""
        return {
            "frames": [
                {"frame": frame, **sizes(self.volume, count), **_frame_entry(carried, frame)}
                for frame, count in zip(self.job.frames, voxels, strict=True)
            ]
        }


def _frame_entry(carried: DynamicSegment, frame: int) -> dict[str, Any]:
    confidence = carried.confidence(frame)
    return {
        "is_keyframe": frame in carried.keyframes,
        "confidence": None if confidence is None else round(confidence, 4),
        "slices": [{"slice": index, **part.entry} for index, part in sorted(carried.found.get(frame, {}).items())],
    }


def _check_job(job: PropagateJob) -> None:
    if not job.names_frames:
        raise RequestError(
            f"{job.output}: every frame becomes a file of its own; put {{frame}} into the name, "
            "as in out_{frame}.seg.nrrd"
        )
    if job.every < 1:
        raise RequestError(f"--every {job.every}: give 1 or more")
    if job.series is not None:
        raise RequestError("--series: time series are read from one 4D file, not from DICOM folders")


def _check_masks(job: PropagateJob, count: int) -> None:
    for frame, path in job.masks:
        if not 0 <= frame < count:
            raise RequestError(f"{path}: there is no frame {frame}, {job.image} has the frames 0 to {count - 1}")


def _range(job: PropagateJob, count: int) -> tuple[int, int]:
    first, last = job.range or (0, count - 1)
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: there are the frames 0 to {count - 1}, lowest first")
    return first, last


def _segments(job: PropagateJob, log: CommandLog, frames: VolumeSequence) -> list[DynamicSegment]:
    """The segments of all masks; those of one name are the same one, at several times."""
    segments: dict[str, DynamicSegment] = {}
    for frame, path in job.masks:
        drawn = placed(path, read_segmentation(path), frames.volume(frame), log.notes)
        _check_names(drawn, path)
        for n, mask in chosen_masks(drawn, job.segment, path).items():
            carried = segments.setdefault(drawn.segments[n].name, DynamicSegment(drawn.segments[n]))
            if mask.any():
                carried.keyframes[frame] = mask
    colored = with_colors([carried.segment for carried in segments.values()])
    return [replace(carried, segment=segment) for carried, segment in zip(segments.values(), colored, strict=True)]


def _check_names(drawn: Segmentation, path: str) -> None:
    names = [segment.name for segment in drawn.segments]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RequestError(f"{path}: two segments are named {twice[0]!r}; frames are matched by names, rename one")


def _axis(job: PropagateJob, log: CommandLog, volume: Volume) -> int:
    single = [axis for axis, count in enumerate(volume.array.shape) if count == 1]
    axis = RequestBuilder(volume).array_axis(job.axis or ("kji"[single[0]] if single else "k"))
    if job.axis is None and not single:
        log.notes.append(f"slices {along(axis, volume)}, as they are stored; --axis chooses others")
    return axis
