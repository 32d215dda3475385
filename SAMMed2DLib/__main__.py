"""The command line: `sammed2d segment | propagate | models | doctor | …`, also as `python -m SAMMed2DLib`.

Exit codes: 0 all went well, 1 it failed, 2 wrong usage or bad input, 130 cancelled. Errors are one line on
stderr.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import __version__
from .cli.errors import is_bad_input, words_of
from .cli.options import add_files, add_results, number_list, pair, point, slice_number
from .cli.prompts import AXES

OK, FAILURE, BAD_INPUT, CANCELLED = 0, 1, 2, 130
# What follows these may begin with a minus, which argparse would take for another option.
_NUMBER_OPTIONS = ("--point", "--box", "--window", "--range")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: without the program's name; None takes those of the process.

    Returns:
        the exit code.
    """
    try:
        args = make_parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
        return args.run(args) or OK
    except SystemExit as end:  # argparse: help, version, usage
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        print("\nsammed2d: cancelled", file=sys.stderr)
        return CANCELLED
    except Exception as error:  # a traceback helps no user; SAMMED2D_TRACEBACK=1 shows it
        if os.environ.get("SAMMED2D_TRACEBACK"):
            raise
        print(f"sammed2d: error: {words_of(error)}", file=sys.stderr)
        return BAD_INPUT if is_bad_input(error) else FAILURE


def make_parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    from . import doctor
    from .cli import batch, curate, evaluate, evaluate_propagation, models, propagate, train

    parser = _Parser(
        prog="sammed2d",
        description="Segment structures on slices of medical images from clicks and boxes.",
        epilog="`sammed2d COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped",
    )
    parser.add_argument("--version", action="version", version=f"sammed2d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_segment(
        commands.add_parser(
            "segment",
            help="segment an image from prompts",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            description=_SEGMENT_DESCRIPTION,
            epilog=_SEGMENT_EPILOG,
        )
    )
    propagated = _added(commands, "propagate", propagate, "carry segments from a few slices to all others")
    _add_seeing(propagated.add_argument_group(_SEEN), "the volume")
    of_batch = _added(commands, "batch", batch, "segment many cases that a table lists, also on a cluster")
    _add_seeing(of_batch.add_argument_group(f"{_SEEN}, in all cases"), "each slice or volume")
    _added(commands, "curate", curate, "make 2D training data of labelled volumes and pictures")
    _added(commands, "train", train, "fine-tune a model on a curated folder, or train a new one")
    evaluated = _added(commands, "evaluate", evaluate, "measure a model on labelled images")
    _add_model(evaluated.add_argument_group(_SEEN))
    carried = _added(commands, "evaluate-propagation", evaluate_propagation, "measure propagation on labelled volumes")
    _add_model(carried.add_argument_group(_SEEN))
    models.add_options(commands.add_parser("models", help="list, download, add and remove weights"))
    doctor.add_options(commands.add_parser("doctor", help="check the installation and say what to do"))
    return parser


_SEEN = "what the model sees"

_SEGMENT_DESCRIPTION = """\
Segment an image from prompts. Several segments in one call: prompts belong to the --segment before them.

examples:
  sammed2d segment ct.nii.gz --slice 40 --point 120,88 -o liver.seg.nrrd
  sammed2d segment ct.nrrd --slice mid --segment liver --box 80,60,180,140 \\
      --segment spleen --point 200,90 --point 210,60,- -o organs.seg.nrrd --png organs.png
  sammed2d segment dicom_folder --markups F.mrk.json --roi R.mrk.json -o lesion.seg.nrrd"""

_SEGMENT_EPILOG = """\
coordinates:
  slice px (default)  X,Y = column and row of the slice as it is stored, from 0; needs --slice. A box
                      X0,Y0,X1,Y1 holds the columns X0 .. X1 - 1 and the rows Y0 .. Y1 - 1.
  --ijk               voxel indices I,J,K, from 0; a box I0,J0,K0,I1,J1,K1 holds both corner voxels.
  --ras               patient position R,A,S in mm, as Slicer shows it; a box is the space between corners.
  With --ijk, --ras and markups each point finds its own slice, and a box covers all slices that it crosses;
  --slice restricts it to one. A markups point is negative if its label or description begins with "-" or ends
  in "negative", or if its file is given with --negative.

JSON file of --prompts:
  {"coordinates": "xy", "axis": "axial", "segments": [{"name": "liver", "color": [0.8, 0.4, 0.3], "prompts": [
    {"slice": 40, "positive": [[120, 88]], "negative": [[10, 12]], "box": [80, 60, 180, 140]}]}]}"""


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_segment, events=None)
    add_files(parser)
    where = parser.add_argument_group("prompts")
    where.add_argument("--axis", choices=AXES, help="slices: by the patient, or stored along k, j, i (default axial)")
    where.add_argument("--slice", type=slice_number, metavar="N|mid", help="number of the slice, from 0")
    systems = where.add_mutually_exclusive_group()
    systems.set_defaults(coordinates="xy")
    for system in ("ijk", "ras"):
        systems.add_argument(
            f"--{system}",
            action="store_const",
            const=system,
            dest="coordinates",
            help=f"coordinates are {system}",
        )
    _add_event(where, "segment", str, "NAME", "the prompts after it belong to this segment")
    _add_event(where, "point", point, "X,Y[,+|-]", "a point on the object, or with - beside it")
    _add_event(where, "box", number_list, "X0,Y0,X1,Y1", "a box around the object")
    _add_event(where, "markups", str, "FILE", "points of a Slicer .mrk.json")
    _add_event(where, "negative", str, "FILE", "points of a Slicer .mrk.json, all beside the object")
    _add_event(where, "roi", str, "FILE", "box of a Slicer .mrk.json ROI")
    where.add_argument("--prompts", metavar="FILE", help="JSON with several slices and segments, see below")
    _add_seeing(parser.add_argument_group(_SEEN))
    add_results(parser, "the slices with masks and prompts", "scores, volumes and times")


def _add_seeing(group: argparse._ArgumentGroup, whose: str = "each slice") -> None:
    """The model, and the intensities that it sees; percentiles are those of `whose` values."""
    _add_model(group)
    rules = group.add_mutually_exclusive_group()
    rules.add_argument("--window", type=pair, metavar="C,W", help="intensities shown: centre and width")
    rules.add_argument("--percentiles", type=pair, metavar="LO,HI", help=f"of {whose} (default 0.5,99.5)")
    rules.add_argument("--full-range", action="store_true", help=f"smallest to largest value of {whose}")


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", default="sam-med2d-small", metavar="NAME|FILE", help="weights (%(default)s)")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (%(default)s)")
    group.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    group.add_argument(
        "--fit", default="stretch", choices=("stretch", "pad"), help="slice to model frame (%(default)s)"
    )
    group.add_argument(
        "--zoom",
        action=argparse.BooleanOptionalAction,
        help="predict each object on a crop around its prompts (default: what the weights were trained for)",
    )


def _added(commands: Any, name: str, command: Any, text: str) -> argparse.ArgumentParser:
    """A command that its own module describes."""
    parser = commands.add_parser(
        name,
        help=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=command.DESCRIPTION,
    )
    command.add_options(parser)
    return parser


def _segment(args: argparse.Namespace) -> None:
    from .cli.segment import run

    run(args)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read more."""
        self.exit(BAD_INPUT, f"sammed2d: error: {message}; see {self.prog} --help\n")


class _Event(argparse.Action):
    """Keeps options in the order in which they were given: prompts belong to the segment before them."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        namespace.events = [*(namespace.events or ()), (self.dest, values)]


def _add_event(
    group: argparse._ArgumentGroup, name: str, kind: Callable[[str], object], metavar: str, text: str
) -> None:
    group.add_argument(f"--{name}", type=kind, action=_Event, metavar=metavar, help=text)


def _joined(argv: Sequence[str]) -> list[str]:
    """`--point -3,4` as `--point=-3,4`."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in _NUMBER_OPTIONS and re.match(r"-[\d.]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


if __name__ == "__main__":
    sys.exit(main())
