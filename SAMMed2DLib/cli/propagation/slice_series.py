"""`sammed2d propagate` along the slices of a volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from SAMMed2DLib.cli.common.console_report import CommandLog, note_overlap, sizes
from SAMMed2DLib.cli.common.image_job import advice_on, check_outputs, intensity_of
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError, along
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.propagation.keyframes import chosen_masks, fewest_slices, slices_shown
from SAMMed2DLib.cli.propagation.series import CarriedSegment, FilledSlice, PropagationSeries
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, for_all_slices
from SAMMed2DLib.imaging.planes import slice_px
from SAMMed2DLib.io.segmentation_io import (
    Segment,
    check_output_fits,
    label_values,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import Volume, read_volume
from SAMMed2DLib.system.files import StagedFiles, suffix_of
from SAMMed2DLib.system.formatting import listed

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session


@dataclass(eq=False)
class SliceSegment(CarriedSegment):
    """A segment on its way through the slices.

    Attributes:
        segment: its name and colour.
        mask_kji: (K, J, I) bool, its keyframes.
        label: its value in the file of the keyframes.
        keyframes: masks (H, W) bool by slice.
        found: what was filled, by slice.
    """

    segment: Segment
    mask_kji: np.ndarray
    label: int
    keyframes: dict[int, np.ndarray]
    found: dict[int, FilledSlice] = field(default_factory=dict)

    @property
    def confidences(self) -> dict[int, float]:
        """How sure it is, 0 .. 1, on each slice that was filled."""
        return {index: filled.confidence for index, filled in self.found.items()}


@dataclass(eq=False)
class SliceSeries(PropagationSeries[SliceSegment]):
    """The slices of a volume along one axis; see `PropagationSeries`."""

    noun: ClassVar[str] = "slice"
    undrawn: ClassVar[str] = "no keyframe"
    drawn_everywhere: ClassVar[str] = "every slice is a keyframe"
    stopped: ClassVar[str] = "stopped: the slices that were finished are written, the others are empty"

    job: PropagateJob
    volume: Volume
    axis: int
    intensity: Intensity
    first: int
    last: int
    segments: Sequence[SliceSegment]

    @classmethod
    def read(cls, job: PropagateJob, log: CommandLog) -> Self:
        """Read the image and the keyframes.

        Raises:
            ValueError: bad input, in one of the library's own classes.
        """
        check_outputs(job)
        path = job.also_read[0]
        with log.step("read"):
            volume = read_volume(job.image, frame=job.frame, series=job.series)
            drawn = placed(path, read_segmentation(path), volume, log.notes)
        check_output_fits(job.output, volume)
        log.notes += [*volume.notes, *advice_on(job, volume)]
        masks = chosen_masks(drawn, job.segment, path)
        axis = _axis(job, log, volume, list(masks.values()))
        first, last = _range(job, volume, axis)
        colored = with_colors([drawn.segments[n] for n in masks])
        segments = [
            SliceSegment(segment, mask, drawn.places[n][1], _keyframes(volume, axis, mask))
            for segment, (n, mask) in zip(colored, masks.items(), strict=True)
        ]
        return cls(job, volume, axis, for_all_slices(intensity_of(job, volume), volume.array), first, last, segments)

    def array(self, position: int) -> np.ndarray:
        """The voxels, (K, J, I) or (K, J, I, 3), the same for all slices."""
        return self.volume.array

    @property
    def nothing_to_fill(self) -> str:
        """What is said where no segment can be filled."""
        return (
            f"every slice from {self.first} to {self.last} has a mask {along(self.axis, self.volume)}, there is "
            "nothing to fill; check --axis and --range"
        )

    @property
    def most_slices(self) -> int:
        """How many slices can be filled at most, all segments together."""
        return len(self.positions) * len(self.incomplete)

    def check_memory(self, session: Session | None) -> None:
        """Refuse a run that would take more memory than there is; see `propagation.stack.check_memory`."""
        from SAMMed2DLib.propagation.stack import check_memory

        check_memory(session, self.plane(0).size_hw, len(self.positions), len(self.incomplete))

    def fill(self, session: Session | None) -> Iterator[None]:
        """Fill slice by slice."""
        from SAMMed2DLib.propagation.stack import propagate_stack

        segments = self.incomplete
        for result in propagate_stack(
            session,
            lambda index: self.image(index, index),
            [carried.keyframes for carried in segments],
            self.first,
            self.last,
            zoom=self.job.zoom,
            every=self.job.every,
            asks_model=self.job.ask_model,
            slice_px=slice_px(self.plane(0), self.volume.ijk_to_ras),
        ):
            segments[result.number].found[result.index] = FilledSlice.of(result)
            yield

    def keep_finished(self) -> None:
        """Nothing to do: slices that were not finished stay empty."""

    def note_gaps(self, log: CommandLog) -> None:
        """Say where segments were not found, or that nothing could be filled."""
        segments = self.incomplete
        if not any(carried.found for carried in segments):
            log.notes.append(
                "nothing was filled: no slice between keyframes is without a mask, and beyond them the segments end; "
                "check --axis, along which slices are filled"
            )
        for carried in segments:
            lost = sorted(index for index, filled in carried.found.items() if not filled.pixels)
            if lost:
                log.notes.append(f"{carried.segment.name} was not found between keyframes, on {listed(lost)}")

    def write(self, log: CommandLog, staged: StagedFiles) -> list[list[int]]:
        """Write one file; the voxels of each segment."""
        voxels: list[list[int]] = []
        segments = [carried.segment for carried in self.segments]
        with log.step("write"):
            place = staged.place(self.job.output)
            note_overlap(log, write_segmentation(place, self._masks(voxels), self.volume, segments))
        values = label_values(segments)
        if suffix_of(self.job.output) != ".seg.nrrd" and [carried.label for carried in self.segments] != values:
            words = ", ".join(f"{n} is {segment.name}" for n, segment in zip(values, segments, strict=True))
            log.notes.append(f"the label map counts its segments from 1: {words}")
        return voxels

    def _masks(self, voxels: list[list[int]]) -> Iterator[np.ndarray]:
        """One (K, J, I) bool array after the other; their numbers of voxels are appended as they pass."""
        for carried in self.segments:
            whole = carried.mask_kji.copy()
            for index, filled in carried.found.items():
                plane = self.plane(index)
                plane.insert(whole, filled.mask(plane.size_hw), True)
            voxels.append([int(whole.sum())])
            yield whole

    def mask(self, carried: SliceSegment, position: int, index: int) -> np.ndarray:
        """What is known of a segment on a slice, (H, W) bool."""
        if position in carried.keyframes:
            return carried.keyframes[position]
        return carried.found[position].mask(self.plane(index).size_hw)

    def slice_at(self, position: int) -> int:
        """The slice itself."""
        return position

    @property
    def shown(self) -> list[int]:
        """The slices on which something is known."""
        return sorted({index for carried in self.segments for index in (*carried.keyframes, *carried.found)})

    def files_entry(self) -> dict[str, Any]:
        """For a report: the file with keyframes."""
        return {"mask": self.job.also_read[0]}

    def extent_entry(self, carried: SliceSegment) -> dict[str, Any]:
        """For a report: how many slices have a mask that was filled, and where the segment lies."""
        filled = [index for index, part in carried.found.items() if part.pixels]
        known = [*carried.keyframes, *filled]
        return {"filled": len(filled), "slice_range": [min(known), max(known)] if known else None}

    def parts_entry(self, carried: SliceSegment, voxels: Sequence[int]) -> dict[str, Any]:
        """For a report: the slices filled, and the segment's size."""
        filled = [(index, part) for index, part in sorted(carried.found.items()) if part.pixels]
        return {"slices": [{"slice": index, **part.entry} for index, part in filled], **sizes(self.volume, voxels[0])}


def _axis(job: PropagateJob, log: CommandLog, volume: Volume, masks: Sequence[np.ndarray]) -> int:
    axis = RequestBuilder(volume).array_axis(job.axis) if job.axis else fewest_slices(masks, volume.spacing_mm)
    if volume.array.shape[axis] == 1:
        raise RequestError(f"{job.image}: has one slice {along(axis, volume)}, there is nothing to propagate to")
    if job.axis is None:
        log.notes.append(f"slices {along(axis, volume)}, where the fewest have a mask; --axis chooses others")
    return axis


def _range(job: PropagateJob, volume: Volume, axis: int) -> tuple[int, int]:
    count = volume.array.shape[axis]
    first, last = job.range or (0, count - 1)
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: {along(axis, volume)} are slices 0 to {count - 1}, lowest first")
    if job.every < 1:
        raise RequestError(f"--every {job.every}: give 1 or more")
    return first, last


def _keyframes(volume: Volume, axis: int, mask_kji: np.ndarray) -> dict[int, np.ndarray]:
    """Masks (H, W) bool by slice, where they show something."""
    indices = [int(n) for n in np.flatnonzero(slices_shown(mask_kji, axis))]
    return {n: SlicePlane.of_axis(volume.size_ijk, axis, n).extract(mask_kji) for n in indices}
