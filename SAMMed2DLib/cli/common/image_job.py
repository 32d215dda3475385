"""One image to be done: what `sammed2d segment`, `propagate` and `batch` have in common before and around the work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from SAMMed2DLib.cli.common.prompt_options import RequestError
from SAMMed2DLib.imaging.intensity import FULL_RANGE, Intensity, Percentiles, Window
from SAMMed2DLib.io.segmentation_io import check_output_suffix
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.plots.figure import require
from SAMMed2DLib.system.files import suffix_of
from SAMMed2DLib.system.formatting import times
from SAMMed2DLib.system.memory import available_memory, in_gib

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor

LOWEST_WITHOUT_ADVICE = -900  # air has about -1000 Hounsfield units
LOWEST_OF_CT = -32768

# Called only once it is clear that there is something to ask the model.
Load = Callable[[], "Predictor"]


@dataclass(frozen=True, kw_only=True)
class ImageJob:
    """What both kinds of work need to know; plain values, that can be sent to another computer.

    Attributes:
        image: file or DICOM folder.
        output: .seg.nrrd or a label map.
        frame: which volume of a 4D image.
        series: which series of a DICOM folder.
        axis: of the slices; None for the default.
        window: centre and width.
        percentiles: lowest and highest.
        full_range: smallest to largest value.
        zoom: whether the model sees crops; None for what the weights were trained for.
        model: name or file, for the report.
        png: picture to write, or None.
        json: report to write; "-" is stdout, None none.
    """

    image: str
    output: str
    frame: int | None = None
    series: str | None = None
    axis: str | None = None
    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    full_range: bool = False
    zoom: bool | None = None
    model: str = ""
    png: str | None = None
    json: str | None = None

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Take over the options of the same names."""
        return cls(**{field.name: getattr(args, field.name) for field in fields(cls)})

    @property
    def outputs(self) -> list[str]:
        """All files that will be written."""
        return [path for path in (self.output, self.png, self.json) if path and path != "-"]

    @property
    def also_read(self) -> Sequence[str]:
        """Files that are read besides the image."""
        return ()

    @property
    def asks_model(self) -> bool:
        """Whether the work needs the model."""
        return True

    @property
    def has_rule(self) -> bool:
        """Whether a rule for intensities was chosen."""
        return bool(self.window or self.percentiles or self.full_range)


def load(args: argparse.Namespace) -> Predictor:
    """Load the model that the options name: a known one, one that the user added, or a file."""
    from SAMMed2DLib.inference.predictor import load_predictor

    return load_predictor(
        args.model, engine=args.engine, device=args.device, precision=args.precision, fit=args.fit
    )


def check_outputs(job: ImageJob) -> None:
    """Find out before any work what would fail after it.

    Raises:
        SegmentationError, RequestError: an output cannot be written, or would replace what is read.
    """
    check_output_suffix(job.output)
    check_files(job)


def check_files(job: ImageJob) -> None:
    """Find out before any work whether the picture and the report can be written, and nothing that is read is lost.

    Raises:
        RequestError: an output cannot be written, or would replace what is read.
        PlotsError: a picture is wanted, and there is no matplotlib.
    """
    if job.png and suffix_of(job.png) != ".png":
        raise RequestError(f"{job.png}: the picture is a PNG; end the name with .png")
    named = job.outputs
    if len({os.path.abspath(path) for path in named}) < len(named):
        raise RequestError("two outputs have the same name; give each its own")
    for path in named:
        check_place(path)
        if _is_same(path, job.image):
            raise RequestError(f"{path}: is the image itself; give the output another name")
        if any(_is_same(path, read) for read in job.also_read):
            raise RequestError(f"{path}: is also read; give the output another name")
    if job.png:
        require()


def check_place(path: str) -> None:
    """Find out before any work whether a file can be written.

    Raises:
        RequestError: it cannot; the message says why.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise RequestError(f"{path}: there is no folder {folder}; make it first")
    if Path(path).is_dir():
        raise RequestError(f"{path}: is a folder; give the name of a file")
    if Path(path).exists() and not Path(path).is_file():  # moving a file there would put it in the device's place
        raise RequestError(f"{path}: is a device, no file; give the name of a file (--json - writes to the terminal)")
    if not os.access(folder, os.W_OK):
        raise RequestError(f"{path}: the folder {folder} cannot be written to; choose another one")


def _is_same(path: str, other: str) -> bool:
    return Path(path).exists() and Path(other).exists() and os.path.samefile(path, other)


def check_memory(job: ImageJob, volume: Volume, needed_bytes: int) -> None:
    """Refuse work before it begins where it would take more memory than there is.

    Args:
        job: names the image in the message.
        volume: the image.
        needed_bytes: what the work takes, beside the image itself.

    Raises:
        RequestError: the message says what to do.
    """
    free = available_memory()
    if free is not None and needed_bytes > free:
        size = times([n for n in volume.size_ijk if n > 1])
        raise RequestError(
            f"{job.image}: segmenting this image of {size} takes about {in_gib(needed_bytes)} of memory, and "
            f"{in_gib(free)} are free; crop or downsample it, or close other programs"
        )


def intensity_of(job: ImageJob, volume: Volume) -> Intensity:
    """The rule asked for; else 8-bit values as they are, and percentiles for all others."""
    if job.window:
        level, width = job.window
        return Window(width=width, level=level)
    if job.percentiles:
        return Percentiles(*job.percentiles)
    if job.full_range:
        return FULL_RANGE
    return Window.of_range(0, 255) if volume.array.dtype == np.uint8 else Percentiles()


def notes_on_window(job: ImageJob, volume: Volume) -> list[str]:
    """Say that a window shows nothing, where all values of a grey image lie below or above it."""
    if not job.window or volume.is_colour:
        return []
    level, width = job.window
    known = [piece[np.isfinite(piece)] for piece in volume.array]  # slice by slice: no second copy of the image
    low = min((float(piece.min()) for piece in known if piece.size), default=level)
    high = max((float(piece.max()) for piece in known if piece.size), default=level)
    if low < level + width / 2 and high > level - width / 2:
        return []
    return [
        f"--window {level:g},{width:g} shows nothing of this image, it is one grey all over: its values go from "
        f"{low:g} to {high:g}; choose a centre among them"
    ]


def advice_on(job: ImageJob, volume: Volume) -> list[str]:
    """What the user should know about the grey values: that the window shows nothing, or that one would help.

    Hounsfield units span far more than one structure, so a window is advised where no rule was chosen.
    """
    if job.window:
        return notes_on_window(job, volume)
    if job.has_rule or not _has_air(volume.array):
        return []
    return [
        "this looks like a CT; --window 40,400 (soft tissue) or -600,1500 (lung) shows the model more than "
        "percentiles of the slice"
    ]


def _has_air(array: np.ndarray) -> bool:
    """Whether a value is as low as that of air in a CT; NaN or infinity, as beside an image that was turned, is not."""
    return any(bool(((plane >= LOWEST_OF_CT) & (plane <= LOWEST_WITHOUT_ADVICE)).any()) for plane in array)
