"""The command `sammed2d show`: a slice as a PNG file, with rulers to read the coordinates of prompts off."""

from __future__ import annotations

import argparse

from SAMMed2DLib.cli.common.console_report import print_notes
from SAMMed2DLib.cli.common.image_job import ImageJob, check_files, intensity_of, notes_on_window
from SAMMed2DLib.cli.common.options import AXES, add_image, add_intensities, slice_number
from SAMMed2DLib.cli.common.prompt_options import PromptFrame, RequestBuilder, legend_of
from SAMMed2DLib.imaging.intensity import rgb_from_slice
from SAMMed2DLib.io.volume_io import read_volume
from SAMMed2DLib.plots.overlay import draw_slice, write_png
from SAMMed2DLib.plots.rulers import RULED_PX, with_rulers
from SAMMed2DLib.plots.slice_view import SliceView
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.system.formatting import times

DESCRIPTION = """\
Draw a slice with rulers: its columns X and rows Y, as --point X,Y and --box X0,Y0,X1,Y1 of `sammed2d segment` count
them. The slice lies as in 3D Slicer, so its numbers may run from right to left, or from bottom to top.

examples:
  sammed2d show ct.nii.gz --slice 40 --window 40,400 -o slice.png
  sammed2d show ct.nii.gz --axis coronal --slice mid -o slice.png
  sammed2d show photo.jpg -o rulers.png"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d show`."""
    parser.set_defaults(run=run)
    add_image(parser, "picture, .png")
    parser.add_argument("--axis", choices=AXES, help="slices: by the patient, or stored along k, j, i (default axial)")
    parser.add_argument("--slice", type=slice_number, default="mid", metavar="N|mid", help="its number, from 0 (mid)")
    add_intensities(parser.add_argument_group("grey values"), "the slice")


def run(args: argparse.Namespace) -> None:
    """Do what `sammed2d show` was asked for.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    rules = {name: getattr(args, name) for name in ("window", "percentiles", "full_range")}
    job = ImageJob(image=args.image, output="", png=args.output, frame=args.frame, series=args.series, **rules)
    check_files(job)
    volume = read_volume(job.image, frame=job.frame, series=job.series)
    plane = RequestBuilder(volume).plane(PromptFrame("xy", args.axis, args.slice))
    view = SliceView.of(plane, volume.ijk_to_ras, RULED_PX)
    pixels = rgb_from_slice(plane.extract(volume.array), intensity_of(job, volume))
    image = draw_slice(pixels, view, letters=min(volume.size_ijk) > 1)
    legend = legend_of(plane, volume)
    with StagedFiles() as staged:
        write_png(staged.place(args.output), with_rulers(image, view, legend))
    print_notes([*volume.notes, *notes_on_window(job, volume)])
    print(f"{args.output} written: {legend}, {times(plane.size_hw[::-1])} px")
