"""`sammed2d propagate --along time`: segments drawn in a few frames of a 4D image are carried to the others."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from SAMMed2DLib.cli.common.console_report import (
    CommandLog,
    Progress,
    no_progress,
    note_overlap,
    progress_line,
    tell,
    write_report,
)
from SAMMed2DLib.cli.common.image_job import ImageJob, Load, advice_on, check_outputs, intensity_of, load
from SAMMed2DLib.cli.common.prompt_options import RequestBuilder, RequestError, along
from SAMMed2DLib.cli.common.provenance import record_of
from SAMMed2DLib.cli.propagation.frame_report import report_of, sheet_of, summary
from SAMMed2DLib.cli.propagation.frames import Cine, Filled, Moving
from SAMMed2DLib.cli.propagation.keyframes import chosen_masks
from SAMMed2DLib.imaging.intensity import for_all_slices
from SAMMed2DLib.io.segmentation_io import (
    Segmentation,
    check_output_fits,
    placed,
    read_segmentation,
    with_colors,
    write_segmentation,
)
from SAMMed2DLib.io.volume_io import VolumeSequence, read_frames
from SAMMed2DLib.plots.overlay import write_png
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import listed

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

_FRAME_AND_FILE = re.compile(r"(-?\d+)=(.+)")
_PLACEHOLDER = re.compile(r"\{frame(:0?\d+)?\}")


@dataclass(frozen=True, kw_only=True)
class TimeJob(ImageJob):
    """A 4D image and segments in some of its frames.

    Attributes:
        masks: frames and the files with the segments drawn in them.
        range: first and last frame to fill; None for all.
        every: ask the model in every n-th frame.
        segment: names of the segments to carry; None for all.
        loop: whether the last frame is followed by the first.
        frames: those that will be written.
    """

    masks: Sequence[tuple[int, str]]
    range: tuple[int, int] | None = None
    every: int = 1
    segment: Sequence[str] | None = None
    loop: bool = False
    frames: Sequence[int] = ()

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Take over the options of the same names; `mask` becomes files by frame."""
        masks = keyframe_files(args.mask, args.frame)
        return super().of(argparse.Namespace(**vars(args), masks=masks, frames=()))

    @property
    def also_read(self) -> Sequence[str]:
        """The files with the keyframes."""
        return [path for _, path in self.masks]

    @property
    def outputs(self) -> list[str]:
        """All files that will be written."""
        others = [path for path in (self.png, self.json) if path and path != "-"]
        return [*map(self.file_of, self.frames), *others]

    def file_of(self, frame: int) -> str:
        """The output file of a frame."""
        return _PLACEHOLDER.sub(lambda found: found[0].format(frame=frame), self.output)


def is_of_frame(word: str) -> bool:
    """Whether a mask is given as N=FILE."""
    return _FRAME_AND_FILE.fullmatch(word) is not None


def keyframe_files(words: Sequence[str], frame: int | None) -> list[tuple[int, str]]:
    """Frames and files from N=FILE; a single FILE is of `frame`.

    Raises:
        RequestError: a file without a frame, or two for one.
    """
    if len(words) == 1 and not is_of_frame(words[0]) and frame is not None:
        return [(frame, words[0])]
    if frame is not None:
        raise RequestError(f"--frame {frame}: along time the masks name their frames, --mask N=FILE; leave it out")
    masks: dict[int, str] = {}
    for word in words:
        found = _FRAME_AND_FILE.fullmatch(word)
        if found is None:
            raise RequestError(f"--mask {word}: say in which frame it is drawn: --mask N={word}, N from 0")
        number, path = int(found[1]), found[2]
        if number in masks:
            raise RequestError(f"two masks for frame {number}: {masks[number]} and {path}; give one")
        masks[number] = path
    return sorted(masks.items())


def run_in_time(args: argparse.Namespace) -> bool:
    """Do what `sammed2d propagate --along time` was asked for.

    Returns:
        whether the user stopped it.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: it was stopped before anything was finished.
    """
    job = TimeJob.of(args)
    with progress_line(args, "propagating, slices in time: {done} of at most {total}") as progress:
        report = propagate_series(job, lambda: load(args), progress)
    tell(report, args.json, summary(report))
    return bool(report["stopped"])


def propagate_series(job: TimeJob, load: Load, progress: Progress = no_progress) -> dict[str, Any]:
    """Fill the frames of one 4D image and write a file for each; none is touched unless there is a result.

    Args:
        job: what to do.
        load: gives the model; called once the image and the masks were found to be good.
        progress: called with how many slices of frames are done, and how many there are at most.

    Returns:
        the report; its "stopped" is whether the user stopped.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: the user stopped before anything was finished.
    """
    _check_job(job)
    this = CommandLog()
    with this.step("read"):
        frames = read_frames(job.image)
        check_output_fits(job.output, frames.volume(0))
        _check_masks(job, len(frames))
        first, last = _range(job, len(frames))
        job = replace(job, frames=range(first, last + 1))
        check_outputs(job)
        moving = _moving(job, this, frames)
    this.notes += advice_on(job, frames.volume(0))
    cine = _cine(job, this, frames, first, last)
    objects = _to_fill(this, moving, cine)
    zoom, predictor, stopped = _fill(job, this, cine, objects, load, progress)
    if stopped:
        job = _finished_part(job, this, objects)
    _note_lost(job, this, objects)
    with StagedFiles() as staged:
        voxels = _write(job, this, cine, moving, staged)
        if job.png:
            with this.step("draw"):
                write_png(staged.place(job.png), sheet_of(cine, moving, job.frames))
        head = record_of(job, predictor, zoom)
        report = report_of(job, this, head, cine, moving, voxels, stopped)
        write_report(staged, job, report)
    return report


# --- what is asked for --------------------------------------------------------------------------------------


def _check_job(job: TimeJob) -> None:
    if not _PLACEHOLDER.search(job.output):
        raise RequestError(
            f"{job.output}: every frame becomes a file of its own; put {{frame}} into the name, "
            "as in out_{frame}.seg.nrrd"
        )
    if job.every < 1:
        raise RequestError(f"--every {job.every}: give 1 or more")
    if job.series is not None:
        raise RequestError("--series: time series are read from one 4D file, not from DICOM folders")


def _check_masks(job: TimeJob, count: int) -> None:
    for frame, path in job.masks:
        if not 0 <= frame < count:
            raise RequestError(f"{path}: there is no frame {frame}, {job.image} has the frames 0 to {count - 1}")


def _range(job: TimeJob, count: int) -> tuple[int, int]:
    first, last = job.range or (0, count - 1)
    if not 0 <= first <= last < count:
        raise RequestError(f"--range {first},{last}: there are the frames 0 to {count - 1}, lowest first")
    return first, last


def _moving(job: TimeJob, this: CommandLog, frames: VolumeSequence) -> list[Moving]:
    """The segments of all masks; those of one name are the same one, at several times."""
    moving: dict[str, Moving] = {}
    for frame, path in job.masks:
        drawn = placed(path, read_segmentation(path), frames.volume(frame), this.notes)
        _check_names(drawn, path)
        for n, mask in chosen_masks(drawn, job.segment, path).items():
            one = moving.setdefault(drawn.segments[n].name, Moving(drawn.segments[n]))
            if mask.any():
                one.drawn[frame] = mask
    colored = with_colors([one.segment for one in moving.values()])
    return [replace(one, segment=segment) for one, segment in zip(moving.values(), colored, strict=True)]


def _check_names(drawn: Segmentation, path: str) -> None:
    names = [one.name for one in drawn.segments]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RequestError(f"{path}: two segments are named {twice[0]!r}; frames are matched by names, rename one")


def _cine(job: TimeJob, this: CommandLog, frames: VolumeSequence, first: int, last: int) -> Cine:
    volume = frames.volume(0)
    single = [axis for axis, count in enumerate(volume.array.shape) if count == 1]
    axis = RequestBuilder(volume).array_axis(job.axis or ("kji"[single[0]] if single else "k"))
    if job.axis is None and not single:
        this.notes.append(f"slices {along(axis, volume)}, as they are stored; --axis chooses others")
    # Slices come first, because of a large image only some of them are looked at, but then in all frames.
    intensity = for_all_slices(intensity_of(job, volume), frames.array.swapaxes(0, 1))
    return Cine(frames, axis, intensity, first, last)


def _to_fill(this: CommandLog, moving: Sequence[Moving], cine: Cine) -> list[Moving]:
    """Those that are drawn in some frame, and not in all of the range."""
    empty = [one.segment.name for one in moving if not one.drawn]
    if empty:
        this.notes.append(f"drawn in no frame, left empty: {', '.join(empty)}")
    wanted = set(range(cine.first, cine.last + 1))
    objects = [one for one in moving if one.drawn and wanted - set(one.drawn)]
    if not objects:
        raise RequestError(
            f"every frame from {cine.first} to {cine.last} has a mask, there is nothing to fill; check --range"
        )
    return objects


# --- the work -----------------------------------------------------------------------------------------------


def _fill(
    job: TimeJob, this: CommandLog, cine: Cine, objects: Sequence[Moving], load: Load, progress: Progress
) -> tuple[bool, Predictor, bool]:
    """Fill slices of frames until all are done or the user stops; whether with zoom, the model, and whether stopped."""
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.propagation.time_series import check_memory, propagate_in_time

    slices = [len(one.slices(cine.axis)) for one in objects]
    total, done = len(job.frames) * sum(slices), 0
    with this.step("load"):
        predictor = load()
    session = Session(predictor)
    check_memory(session, cine.plane(0).size_hw, len(job.frames), max(slices), len(objects))
    zoom = predictor.prefers_zoom if job.zoom is None else job.zoom
    with this.step("propagate"):
        try:
            for one in propagate_in_time(
                session,
                lambda frame, indices: [cine.picture(frame, index) for index in indices],
                [one.keyframes(cine) for one in objects],
                cine.first,
                cine.last,
                period=len(cine.frames) if job.loop else None,
                zoom=zoom,
                every=job.every,
            ):
                objects[one.number].found.setdefault(one.frame, {})[one.index] = Filled.of(one)
                done += 1
                progress(done, total)
        except KeyboardInterrupt:
            return zoom, predictor, True
    return zoom, predictor, False


def _finished_part(job: TimeJob, this: CommandLog, objects: Sequence[Moving]) -> TimeJob:
    """Only the frames that have something; an empty file would say that there is no object.

    Raises:
        KeyboardInterrupt: nothing is finished.
    """
    if not any(one.found for one in objects):
        raise KeyboardInterrupt
    known = [frame for frame in job.frames if any(frame in one.drawn or frame in one.found for one in objects)]
    this.notes.append("stopped: the slices that were finished are written, in the frames that have any")
    return replace(job, frames=known)


def _note_lost(job: TimeJob, this: CommandLog, objects: Sequence[Moving]) -> None:
    for one in objects:
        pixels = {frame: sum(filled.pixels for filled in found.values()) for frame, found in one.found.items()}
        lost = [frame for frame in job.frames if frame not in one.drawn and not pixels.get(frame)]
        if lost:
            this.notes.append(f"{one.segment.name} was not found in the frames {listed(lost)}")


def _write(
    job: TimeJob, this: CommandLog, cine: Cine, moving: Sequence[Moving], staged: StagedFiles
) -> list[list[int]]:
    """A file for each frame; the voxels of each segment in each of them."""
    voxels: list[list[int]] = [[] for _ in moving]
    segments = [one.segment for one in moving]
    with this.step("write"):
        lost = 0
        for frame in job.frames:
            masks = _masks(cine, moving, frame, voxels)
            lost += write_segmentation(staged.place(job.file_of(frame)), masks, cine.volume, segments)
        note_overlap(this, lost)
    return voxels


def _masks(cine: Cine, moving: Sequence[Moving], frame: int, voxels: Sequence[list[int]]) -> Iterator[Any]:
    """One (K, J, I) bool array after the other; their numbers of voxels are appended as they pass."""
    for one, counts in zip(moving, voxels, strict=True):
        mask = one.mask(cine, frame)
        counts.append(int(mask.sum()))
        yield mask
