"""What `sammed2d propagate` is asked for: an image, files with keyframes, slices or frames to fill."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from SAMMed2DLib.cli.common.image_job import ImageJob
from SAMMed2DLib.cli.common.prompt_options import RequestError

_FRAME_AND_FILE = re.compile(r"(-?\d+)=(.+)")
_PLACEHOLDER = re.compile(r"\{frame(:0?\d+)?\}")


@dataclass(frozen=True, kw_only=True)
class PropagateJob(ImageJob):
    """An image and segments on some of its slices, or in some of its frames.

    Attributes:
        masks: files with the keyframes, each with its frame; along slices one, whose frame does not count.
        along: "slices" or "time".
        range: first and last slice (frame) to fill; None for all.
        every: find every n-th of them, and interpolate those between.
        ask_model: whether the model is heard too.
        segment: names of the segments to carry; None for all.
        loop: along time, whether the last frame is followed by the first.
        frames: along time, those that will be written.
    """

    masks: Sequence[tuple[int, str]]
    along: str = "slices"
    range: tuple[int, int] | None = None
    every: int = 1
    ask_model: bool = False
    segment: Sequence[str] | None = None
    loop: bool = False
    frames: Sequence[int] = ()

    @classmethod
    def of(cls, args: argparse.Namespace) -> Self:
        """Take over the options of the same names; `mask` becomes `masks`.

        Raises:
            RequestError: masks that do not fit what is carried along.
        """
        masks = frame_masks(args.mask, args.frame) if args.along == "time" else [(0, slice_mask(args))]
        return super().of(argparse.Namespace(**vars(args), masks=masks, frames=()))

    @property
    def asks_model(self) -> bool:
        """Whether the model is heard; else the shape and the grey values of the keyframes are enough."""
        return self.ask_model

    @property
    def also_read(self) -> Sequence[str]:
        """The files with the keyframes."""
        return [path for _, path in self.masks]

    @property
    def outputs(self) -> list[str]:
        """All files that will be written."""
        if self.along != "time":
            return super().outputs
        others = [path for path in (self.png, self.json) if path and path != "-"]
        return [*map(self.file_of, self.frames), *others]

    @property
    def names_frames(self) -> bool:
        """Whether the output's name has a place for the frame's number."""
        return _PLACEHOLDER.search(self.output) is not None

    def file_of(self, frame: int) -> str:
        """The output file of a frame."""
        return _PLACEHOLDER.sub(lambda found: found[0].format(frame=frame), self.output)


def slice_mask(args: argparse.Namespace) -> str:
    """The one file with keyframes on slices.

    Raises:
        RequestError: there are several, or options that only frames have.
    """
    words: list[str] = args.mask
    if args.loop:
        raise RequestError("--loop: only frames can follow one another in a circle; add --along time")
    is_of_frame = _FRAME_AND_FILE.fullmatch(words[0]) is not None
    if len(words) > 1 or (is_of_frame and not Path(words[0]).exists()):
        raise RequestError(f"--mask {words[-1]}: several masks, and N=FILE, are of frames; add --along time")
    return words[0]


def frame_masks(words: Sequence[str], frame: int | None) -> list[tuple[int, str]]:
    """Frames and files from N=FILE, by frame; a single FILE is of `frame`.

    Raises:
        RequestError: a file without a frame, or two for one.
    """
    if len(words) == 1 and _FRAME_AND_FILE.fullmatch(words[0]) is None and frame is not None:
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
