"""The options of the command `sammed2d segment`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from SAMMed2DLib.cli.common.options import (
    AXES,
    Once,
    add_files,
    add_results,
    add_seeing,
    number_list,
    point,
    slice_number,
)

DESCRIPTION = """\
Segment an image from prompts. Several segments in one call: prompts belong to the --segment before them.

examples:
  sammed2d segment ct.nii.gz --slice 40 --point 120,88 -o liver.seg.nrrd
  sammed2d segment ct.nrrd --slice mid --segment liver --box 80,60,180,140 \\
      --segment spleen --point 200,90 --point 210,60,- -o organs.seg.nrrd --png organs.png
  sammed2d segment dicom_folder --markups F.mrk.json --roi R.mrk.json -o lesion.seg.nrrd
  sammed2d segment ct.nrrd --mask organs.seg.nrrd --segment liver --slice 40 --point 120,88,- -o better.seg.nrrd"""

EPILOG = """\
coordinates:
  slice px (default)  X,Y = column and row of the slice as it is stored, from 0; needs --slice. A box
                      X0,Y0,X1,Y1 holds the columns X0 .. X1 - 1 and the rows Y0 .. Y1 - 1.
  --ijk               voxel indices I,J,K, from 0; a box I0,J0,K0,I1,J1,K1 holds both corner voxels.
  --ras               patient position R,A,S in mm, as Slicer shows it; a box is the space between corners.
  With --ijk, --ras and markups each point finds its own slice, and a box covers all slices that it crosses;
  --slice restricts it to one. A curve lies on one slice: what a scribble runs over is inside the mask whatever the
  model says; a closed curve around the object is a box with a mask in it. A negative curve runs over, or goes around,
  what is outside. A markups point, or a curve by its first point, is negative if its label or description begins
  with "-" or ends in "negative", or if its file is given with --negative.

JSON file of --prompts:
  {"coordinates": "xy", "axis": "axial", "segments": [{"name": "liver", "color": [0.8, 0.4, 0.3], "prompts": [
    {"slice": 40, "points": [[120, 88, 1], [10, 12, 0]], "box": [80, 60, 180, 140]}]}]}
  A point is X,Y (or I,J,K; R,A,S) and 1 on the object, 0 beside it. On each slice the box comes first, then the
  points in their order, each refining what was found before it. "strokes": [{"points": [[100, 80], [130, 85]]}] are
  scribbles on the object; with "inside": false beside it, with "closed": true lassos.

whole objects:
  With --whole the masks that the prompts give are keyframes: each object is followed from them through the other slices
  of their axis until it ends. A box in space (--roi, or --box with --ijk or --ras) is enough: the model is asked on
  some of its slices, the best mask is the keyframe, and the object goes as far as the box. In a file of --prompts,
  "whole": true in a segment does it for that one.

candidates:
  Prompts may mean a part, the whole or a larger whole. --candidate 1 takes the smallest of up to five different masks,
  --candidate 2 the next larger one, and so on, on each slice of the segment; prompts after it go on from that mask. A
  number that is too large is refused with how many there are. In a file of --prompts, "candidates": [[1, 2]] takes
  the second one after the first point; "accepted": [2] accepts the mask after two, and later ones change it near
  themselves only.

the same masks again:
  A report of --json and the header of a .seg.nrrd hold the prompts, the model, its checksum, and all that the model
  saw. With --prompts REPORT.json or --prompts FILE.seg.nrrd the same masks come out, bit for bit on the same kind of
  computer; options that are given count for more. What is not as recorded is told in a note."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d segment`."""
    parser.set_defaults(run=_run, events=None)
    add_files(parser)
    where = parser.add_argument_group("prompts")
    where.add_argument(
        "--axis", action=Once, choices=AXES, help="slices: by the patient, or stored along k, j, i (default axial)"
    )
    where.add_argument("--slice", action=Once, type=slice_number, metavar="N|mid", help="number of the slice, from 0")
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
    _add_event(where, "markups", str, "FILE", "points of a Slicer .mrk.json, or curves: scribbles and lassos")
    _add_event(where, "negative", str, "FILE", "the same, all beside the object")
    _add_event(where, "roi", str, "FILE", "box of a Slicer .mrk.json ROI")
    _add_event(where, "candidate", int, "N", "take the Nth of the masks that the prompts before it may mean, see below")
    where.add_argument(
        "--prompts", action=Once, metavar="FILE", help="JSON of several slices and segments, or a report, see below"
    )
    where.add_argument(
        "--mask", action=Once, metavar="FILE", help="segmentation of the image whose segments the prompts correct"
    )
    where.add_argument(
        "--whole", action="store_true", help="follow each object through the slices until it ends, or its box does"
    )
    add_seeing(parser)
    results = add_results(parser, "the slices with masks and prompts", "scores, volumes and times")
    results.add_argument("--rulers", action="store_true", help="--png with rulers that count as X,Y of prompts do")


class _Event(argparse.Action):
    """Keeps options in the order in which they were given: prompts belong to the segment before them."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        namespace.events = [*(namespace.events or ()), (self.dest, values)]


def _add_event(
    group: argparse._ArgumentGroup, name: str, kind: Callable[[str], object], metavar: str, text: str
) -> None:
    group.add_argument(f"--{name}", type=kind, action=_Event, metavar=metavar, help=text)


def _run(args: argparse.Namespace) -> None:
    from SAMMed2DLib.cli.segment import run

    run(args)
