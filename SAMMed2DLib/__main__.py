"""The command line: `sammed2d segment | propagate | models | doctor | …`, also as `python -m SAMMed2DLib`.

Exit codes: 0 all went well, 1 it failed, 2 wrong usage or bad input, 130 cancelled. Errors are one line on
stderr.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from SAMMed2DLib import __version__
from SAMMed2DLib.cli.common.errors import is_bad_input, message_of

OK, FAILURE, BAD_INPUT, CANCELLED = 0, 1, 2, 130
# What follows these may begin with a minus, which argparse would take for another option.
_NUMBER_OPTIONS = ("--point", "--box", "--window", "--range")

# Commands by name: the module that has their options, and what they do. A module has `add_options`, and may have a
# DESCRIPTION and an EPILOG; it is imported only if its command is meant, so that help comes at once and needs no torch.
COMMANDS = {
    "segment": ("cli.common.segment_options", "segment an image from prompts"),
    "everything": ("cli.proposals.everything", "propose all objects of a slice"),
    "similar": ("cli.proposals.similar", "propose further objects like those of a segmentation"),
    "show": ("cli.show", "draw a slice with rulers, to read the coordinates of prompts off"),
    "propagate": ("cli.propagate", "carry segments from a few slices to all others"),
    "batch": ("cli.batch", "segment many cases that a table lists, also on a cluster"),
    "curate": ("cli.curate", "make 2D training data of labelled volumes and pictures"),
    "train": ("cli.train", "fine-tune a model on a curated folder, or train a new one"),
    "evaluate": ("cli.evaluate", "measure a model on labelled images"),
    "evaluate-propagation": ("cli.evaluate_propagation", "measure propagation on labelled volumes"),
    "export": ("cli.export", "write a model as ONNX files, or as a checkpoint for the original code"),
    "demo": ("demo_page.command", "open a page in the browser to try a model on"),
    "models": ("cli.models", "list, download, add and remove weights"),
    "doctor": ("doctor", "check the installation and say what to do"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: without the program's name; None takes those of the process.

    Returns:
        the exit code.
    """
    if argv is None:
        for stream in (sys.stdout, sys.stderr):  # a console that lacks a letter of a name is no reason to fail
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
    words = _joined(sys.argv[1:] if argv is None else argv)
    try:
        parser = make_parser(words)
        args, unknown = parser.parse_known_args(words)
        if unknown:
            spaced = "; numbers have commas between them, and no spaces" if _are_numbers(unknown) else ""
            parser.prog += f" {args.command}"
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{spaced}")
        return args.run(args) or OK
    except SystemExit as end:  # argparse: help, version, usage
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        print("\nsammed2d: cancelled", file=sys.stderr)
        return CANCELLED
    except Exception as error:  # a traceback helps no user; SAMMED2D_TRACEBACK=1 shows it
        if os.environ.get("SAMMED2D_TRACEBACK"):
            raise
        print(f"sammed2d: error: {message_of(error)}", file=sys.stderr)
        return BAD_INPUT if is_bad_input(error) else FAILURE


def make_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser that knows all commands, and the options of the one that these words name."""
    parser = _Parser(
        prog="sammed2d",
        description="Segment structures on slices of medical images from clicks and boxes.",
        epilog="`sammed2d COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 bad input, 130 stopped",
    )
    parser.add_argument("--version", action="version", version=f"sammed2d {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True, parser_class=_Parser)
    meant = next((word for word in argv if not word.startswith("-")), "")
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == meant:
            described = importlib.import_module(f"{__package__}.{module}")
            command.description = getattr(described, "DESCRIPTION", None)
            command.epilog = getattr(described, "EPILOG", None)
            described.add_options(command)
    return parser


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read more."""
        self.exit(BAD_INPUT, f"sammed2d: error: {message}; see {self.prog} --help\n")


def _are_numbers(words: Sequence[str]) -> bool:
    """Whether all are numbers, also with commas or a sign of a point beside them."""
    return all(re.fullmatch(r"[-+\d.,]+", word) for word in words)


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
