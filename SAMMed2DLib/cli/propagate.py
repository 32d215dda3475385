"""The command `sammed2d propagate`: segments drawn on a few slices of an image are carried to the others."""

from __future__ import annotations

import argparse
import sys

from SAMMed2DLib.cli.common.console_report import print_report, progress_line
from SAMMed2DLib.cli.common.image_job import load
from SAMMed2DLib.cli.common.options import AXES, Unstated, add_files, add_results, add_seeing, slice_range
from SAMMed2DLib.cli.propagation.case import propagate_case
from SAMMed2DLib.cli.propagation.job import PropagateJob
from SAMMed2DLib.cli.propagation.report import summary

CANCELLED = 130

DESCRIPTION = """\
Carry segments from the slices on which they are drawn to all others. Every slice on which a segment is not
empty is a keyframe and stays as it is; the slices between keyframes are filled, and beyond them the segment
is followed until it ends.

examples:
  sammed2d propagate ct.nii.gz --mask key.seg.nrrd -o liver.seg.nrrd --window 40,400
  sammed2d propagate ct.nrrd --mask key.seg.nrrd --segment liver --axis coronal --range 40,90 -o out.seg.nrrd \\
      --json report.json --png slices.png
  sammed2d propagate cine.seq.nrrd --along time --mask 0=ed.seg.nrrd --mask 9=es.seg.nrrd --loop \\
      -o 'out_{frame}.seg.nrrd'

Along time the slices stay where they are and the frames of a 4D image (NIfTI, NRRD and Slicer's .seq.nrrd, MHA)
follow one another. A mask that shows a segment says all about it in its frame, and stays as it is; each slice on
which the segment is drawn in some frame is carried to the others by itself. Every frame becomes a file of its own.

Ctrl+C writes the slices that are finished, and ends with exit code 130."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d propagate`."""
    parser.set_defaults(run=run)
    add_files(parser)
    parser.add_argument(
        "--mask",
        required=True,
        action="append",
        metavar="FILE",
        help="segments on keyframes: .seg.nrrd, DICOM SEG or a label map; along time N=FILE for each frame N",
    )
    where = parser.add_argument_group("what is filled")
    where.add_argument(
        "--along", choices=("slices", "time"), default="slices", help="carry through the slices, or the frames"
    )
    where.add_argument("--loop", action="store_true", help="along time: the last frame is followed by the first")
    where.add_argument(
        "--axis",
        choices=AXES,
        help="slices: by the patient, or stored along k, j, i (default: fewest keyframes; along time as stored)",
    )
    where.add_argument("--range", type=slice_range, metavar="A,B", help="first and last slice (frame) to fill, from 0")
    where.add_argument("--every", type=int, default=1, metavar="N", help="find every N-th, interpolate the others (1)")
    where.add_argument(
        "--ask-model", action="store_true", help="hear the model too, not only shape and grey values: far slower"
    )
    where.add_argument("--segment", action="append", metavar="NAME", help="only this segment; may be repeated")
    add_seeing(parser, "the volume")
    add_results(parser, "some slices with masks", "slices, confidences and times")


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d propagate` was asked for; no output file is touched unless there is a result.

    Returns:
        the exit code: 0, or 130 if it was stopped and wrote what was finished.

    Raises:
        ValueError: bad input, in one of the library's own classes.
        KeyboardInterrupt: it was stopped before anything was finished.
    """
    job = PropagateJob.of(args)
    what = "slices in time" if job.along == "time" else "slices"
    with progress_line(args, f"propagating, {what}: {{done}} of at most {{total}}") as progress:
        report = propagate_case(job, lambda: load(args), progress, keeps_part=True)
    print_report(report, args.json, summary(report))
    if not (args.ask_model or isinstance(args.model, Unstated)):
        print("sammed2d: note: --model is not used, since the model is heard with --ask-model only", file=sys.stderr)
    return CANCELLED if report["stopped"] else 0
