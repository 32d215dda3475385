"""Options that several commands have, and how their values are written."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

from SAMMed2DLib.registry.built_in import BUILT_IN, current_name

AXES = ("axial", "coronal", "sagittal", "k", "j", "i")
_SEEN = "what the model sees"
ROOT_HELP = "where the paths in the JSON files begin, if not beside them, in a folder above or in the working directory"


class Unstated(str):
    """The default of an option: a text like any other, by which it is known that the user did not choose."""


class Once(argparse.Action):
    """Refuses a second value, where users could believe that both count."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        """Keep the first value.

        Args:
            parser: not used.
            namespace: takes the value.
            values: what follows the option.
            option_string: not used.

        Raises:
            argparse.ArgumentError: the option was given before.
        """
        if getattr(namespace, self.dest) is not None:
            text = "is given twice, and only one counts; `--prompts FILE` takes many slices and segments"
            raise argparse.ArgumentError(self, text)
        setattr(namespace, self.dest, values)


def add_files(parser: argparse.ArgumentParser) -> None:
    """One image in, one segmentation out."""
    add_image(parser, ".seg.nrrd, or a label map .nii.gz, .nrrd, of a 2D image also .png")


def add_image(parser: argparse.ArgumentParser, output: str) -> None:
    """One image in, one file out."""
    parser.add_argument("image", metavar="IMAGE", help="NIfTI, NRRD, MHA, PNG, JPEG, …, or a DICOM folder")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=output)
    parser.add_argument("--frame", type=int, metavar="N", help="which volume of a 4D image or DICOM series, from 0")
    parser.add_argument("--series", metavar="N", help="which series of a DICOM folder: its number or UID")


def add_results(parser: argparse.ArgumentParser, picture: str, report: str) -> argparse._ArgumentGroup:
    """What is told besides the segmentation: `picture` and `report` say what is in them.

    Args:
        parser: of the command.
        picture: what is in the picture of `--png`.
        report: what is in the report of `--json`.

    Returns:
        the group, for options that only this command has.
    """
    results = parser.add_argument_group("results")
    results.add_argument("--png", metavar="FILE", help=f"picture of {picture}")
    results.add_argument("--json", metavar="FILE", help=f"report with {report}; - is stdout")
    results.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")
    return results


def add_seeing(parser: argparse.ArgumentParser, whose: str = "each slice", where: str = "") -> None:
    """The model, and the intensities that it sees: `whose` values percentiles are of, and `where` this holds.

    Args:
        parser: of the command.
        whose: values that percentiles are of, "each slice" or the like.
        where: for which segments it holds; empty for all.
    """
    group = parser.add_argument_group(_SEEN + where)
    _add_model(group)
    add_intensities(group, whose)


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model alone, of commands that choose the intensities themselves."""
    _add_model(parser.add_argument_group(_SEEN))


def add_intensities(group: argparse._ArgumentGroup, whose: str) -> None:
    """The rule for intensities; percentiles are those of `whose` values."""
    rules = group.add_mutually_exclusive_group()
    rules.add_argument("--window", type=pair, metavar="C,W", help="intensities shown: centre and width")
    rules.add_argument("--percentiles", type=pair, metavar="LO,HI", help=f"of {whose} (default 0.5,99.5)")
    rules.add_argument("--full-range", action="store_true", help=f"smallest to largest value of {whose}")


def _add_model(group: argparse._ArgumentGroup) -> None:
    built_in = Unstated(BUILT_IN)
    group.add_argument(
        "--model", type=current_name, default=built_in, metavar="NAME|FILE", help="weights (%(default)s)"
    )
    group.add_argument(
        "--engine",
        default=Unstated("auto"),
        choices=("auto", "torch", "numpy"),
        help="what computes; auto: PyTorch where it works, else NumPy, which does the built-in model (%(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    group.add_argument("--precision", default=Unstated("auto"), choices=("auto", "float32", "bfloat16", "float16"))
    group.add_argument(
        "--fit", default=Unstated("stretch"), choices=("stretch", "pad"), help="slice to model frame (%(default)s)"
    )
    group.add_argument(
        "--zoom",
        action=argparse.BooleanOptionalAction,
        help="predict each object on a crop around its prompts (default: what the weights were trained for)",
    )


def slice_number(text: str) -> int | str:
    """A slice: its number, or "mid".

    Raises:
        ArgumentTypeError: it is none.
    """
    if text == "mid":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no slice: give its number, or mid") from None


def at_least(lowest: int) -> Callable[[str], int]:
    """Reads a whole number that is not lower; anything else is an ArgumentTypeError."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"must be a whole number of {lowest} or more, not {text!r}")
        return int(text)

    return read


def number_in(lowest: float, highest: float, words: str) -> Callable[[str], float]:
    """Reads a number more than or equal to `lowest` and less than `highest`; anything else is an ArgumentTypeError.

    Args:
        lowest: that it may be.
        highest: that it may not be.
        words: what it must be, for the error.
    """

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not lowest <= number < highest:
            raise argparse.ArgumentTypeError(f"must be {words}, not {text!r}")
        return number

    return read


def output_folder(text: str) -> Path:
    """A folder to write into, which need not be there yet.

    Raises:
        ArgumentTypeError: it cannot be made or written to.
    """
    path = Path(text)
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is a file; give the name of a folder")
    if not os.access(there, os.W_OK):
        raise argparse.ArgumentTypeError(f"{there} cannot be written to; choose another folder")
    return path


def number_list(text: str) -> list[float]:
    """Numbers with commas between them.

    Raises:
        ArgumentTypeError: they are none.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        words = f"{text!r} is no list of numbers with commas, and no spaces, between them"
        raise argparse.ArgumentTypeError(words) from None


def point(text: str) -> tuple[list[float], int]:
    """The coordinates of a point and 1; or 0 if it is beside the object."""
    numbers, _, sign = text.rpartition(",")
    if sign in ("+", "-"):
        return number_list(numbers), int(sign == "+")
    return number_list(text), 1


def pair(text: str) -> tuple[float, float]:
    """Two numbers.

    Raises:
        ArgumentTypeError: there are more or fewer.
    """
    numbers = number_list(text)
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} must be two numbers with a comma between them")
    return numbers[0], numbers[1]


def slice_range(text: str) -> tuple[int, int]:
    """First and last slice.

    Raises:
        ArgumentTypeError: they are no two whole numbers.
    """
    try:
        first, last = (int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} must be two slices with a comma between them") from None
    return first, last
