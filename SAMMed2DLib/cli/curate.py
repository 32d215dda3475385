"""The command `sammed2d curate`: labelled volumes and pictures become 2D training data in the published layout."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from SAMMed2DLib.cli.common.console_report import ProgressLine
from SAMMed2DLib.cli.common.options import at_least, number_list, output_folder, pair
from SAMMed2DLib.data.curation.curation_options import (
    MOST_ANISOTROPIC,
    PUBLISHED_MASK_SHARE,
    PUBLISHED_SIDES,
    CurationOptions,
    Shares,
)
from SAMMed2DLib.data.curation.curation_report import left_out, notes, totals, write_report
from SAMMed2DLib.data.curation.curation_run import Curated, Told, curate
from SAMMed2DLib.data.curation.records import CASES, IMAGES, MASKS, REPORT, CaseRecord
from SAMMed2DLib.data.curation.sources.cases import Case, CurationError, check_names, read_cases, read_class_names
from SAMMed2DLib.data.curation.sources.discovery import DiscoveredCases, described, discover
from SAMMed2DLib.plots.figure import missing

OK, FAILURE, CANCELLED = 0, 1, 130
_SHOWN = 10
_BAR = 24

DESCRIPTION = """\
Turn labelled volumes and pictures into 2D training data in the layout of SA-Med2D: slices along all three axes with
square pixels and grey values 0..255, a mask for each class and for each of its separate parts, divided by case. A
second call does only what is new or has changed. docs/curation.md tells more.

what is found in a FOLDER, and in all folders in it:
  images/NAME.nii.gz + labels/NAME.nii.gz          also masks/ or segmentations/, or labels/NAME/STRUCTURE.nii.gz
  NAME.nii.gz + NAME.seg.nrrd                      also NAME_seg, NAME_labels, NAME_mask, label_NAME of any format
  CASE/image.nii.gz + CASE/label.nii.gz            also mask, seg, segmentation, gt beside one image, or t1, t2, …
  imagesTr/NAME_0000.nii.gz + labelsTr/NAME.nii.gz with the names of dataset.json (nnU-Net)
  CASE/ct.nii.gz + CASE/segmentations/*.nii.gz     (TotalSegmentator)
  sub-01/anat/sub-01_T1w.nii.gz + sub-01_T1w_label-lesion_mask.nii.gz, also in derivatives (BIDS)
An image is NIfTI, NRRD, MHA, PNG, JPEG, TIFF, …, or a folder with a DICOM series.

columns of a table for --cases (comma, tab or semicolon between them; its paths are relative to it):
  image, labels       labels: files with ; between them, or a folder with a file for each structure
  case, dataset, modality, window (40,400), classes (1=liver;2=spleen), split (train, validation or test)   if wanted

examples:
  sammed2d curate raw -o data --dry-run
  sammed2d curate raw -o data --modality CT --window 40,400 --jobs 8
  sammed2d curate --cases cases.csv --labels names.csv -o data"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d curate`."""
    parser.set_defaults(run=run)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="images and labels, found as told above")
    parser.add_argument("--cases", action="append", default=[], metavar="CSV", help="table of images and labels")
    parser.add_argument("-o", "--output", required=True, type=output_folder, metavar="FOLDER", help="where the data go")
    parser.add_argument("--dry-run", action="store_true", help="only tell what belongs together and what is left")
    about = parser.add_argument_group("what is known about the images")
    about.add_argument("--labels", metavar="CSV", help="names of classes: lines of value or found name, and name")
    about.add_argument("--modality", default="", metavar="NAME", help="where nothing else tells it")
    about.add_argument("--dataset", default="", metavar="NAME", help="name of the data set (default: the folder's)")
    _add_keeping(parser.add_argument_group("what is kept"))
    _add_rules(parser.add_argument_group("grey values"))
    work = parser.add_argument_group("work")
    work.add_argument("--split", type=number_list, default=[80, 10, 10], metavar="A,B,C", help="shares of cases in "
                      "train, validation and test (80,10,10)")  # fmt: skip
    work.add_argument("--seed", default="", metavar="TEXT", help="another text divides the cases in another way")
    work.add_argument(
        "--jobs", type=at_least(1), default=os.cpu_count() or 1, metavar="N", help="processes (%(default)s)"
    )
    work.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")


def _add_keeping(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--axes", default="kji", metavar="AXES", help="axes along which volumes are cut (%(default)s)")
    group.add_argument(
        "--all-axes",
        action="store_true",
        help=f"also across slices over {MOST_ANISOTROPIC:g} times as thick as a pixel",
    )
    group.add_argument(
        "--max-slices", type=at_least(0), default=0, metavar="N", help="along each axis of a volume (all)"
    )
    group.add_argument(
        "--min-share",
        type=float,
        default=PUBLISHED_MASK_SHARE,
        metavar="X",
        help="of the frame in a mask (%(default).5f)",
    )
    group.add_argument(
        "--min-sides", type=float, default=PUBLISHED_SIDES, metavar="X", help="short to long side (%(default)s)"
    )
    group.add_argument(
        "--similar", type=float, default=0.02, metavar="X", help="least change from slice to slice; 0 keeps all (0.02)"
    )


def _add_rules(group: argparse._ArgumentGroup) -> None:
    rules = group.add_mutually_exclusive_group()
    rules.add_argument("--window", type=pair, metavar="C,W", help="intensities shown: centre and width")
    rules.add_argument("--percentiles", type=pair, metavar="LO,HI", help="of the volume (0.5,99.5)")
    rules.add_argument("--full-range", action="store_true", help="smallest to largest value of the volume")


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d curate` was asked for.

    Returns:
        the exit code: 0 all is done, 1 some cases failed, 130 stopped.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    shares, options = Shares.of(tuple(args.split), args.seed), _options(args)
    found = _found(args)
    _check_output(args, found)
    check_names(found.cases)
    for line in described(found):
        print(line)
    if args.dry_run:
        _list_all(found)
        return OK
    _list_some(found.unpaired)
    if reason := missing():
        print(f"sammed2d: note: the report has no pictures: {reason}", file=sys.stderr)
    folder = args.output

    def report(curated: Curated) -> None:
        write_report(folder, curated, found.unpaired)

    try:
        with _progress(args) as told:
            curated = curate(found.cases, folder, options, shares, jobs=args.jobs, told=told, report=report)
    except KeyboardInterrupt:
        print("\nsammed2d: stopped; finished cases are kept, the same call goes on", file=sys.stderr)
        return CANCELLED
    _print_summary(curated, folder)
    return FAILURE if curated.failed else OK


def _options(args: argparse.Namespace) -> CurationOptions:
    names = read_class_names(Path(args.labels)) if args.labels else {}
    return CurationOptions(
        axes="".join(sorted(args.axes, reverse=True)),
        all_axes=args.all_axes,
        window=args.window,
        percentiles=args.percentiles,
        full_range=args.full_range,
        max_slices=args.max_slices,
        min_share=args.min_share,
        min_sides=args.min_sides,
        similar=args.similar,
        names=names,
    )


def _found(args: argparse.Namespace) -> DiscoveredCases:
    if not args.folders and not args.cases:
        raise CurationError("nothing to curate: give a folder, or a table with --cases")
    found = DiscoveredCases()
    for table in args.cases:
        found.add(f"in {table}", read_cases(Path(table), dataset=args.dataset, modality=args.modality))
    for folder in args.folders:
        of_folder = discover(Path(folder), dataset=args.dataset, modality=args.modality)
        found.cases += of_folder.cases
        found.unpaired += of_folder.unpaired
        for layout, count in of_folder.layouts.items():
            found.layouts[layout] = found.layouts.get(layout, 0) + count
    return found


def _check_output(args: argparse.Namespace, found: DiscoveredCases) -> None:
    """Keep what is read apart from what is written, and at times removed.

    Raises:
        CurationError: they are in the same folder.
    """
    folder = args.output.resolve()
    written = [folder / kind for kind in (CASES, IMAGES, MASKS)]
    read = [path.resolve() for case in found.cases for path in (case.image, *case.labels)]
    if folder in (Path(source).resolve() for source in args.folders) or any(
        path.is_relative_to(place) for path in read for place in written
    ):
        raise CurationError(f"{args.output}: what is read lies there; choose another folder for -o")


# --- what is told -------------------------------------------------------------------------------------------


def _list_all(found: DiscoveredCases) -> None:
    for case in found.cases:
        labels = ", ".join(path.name + ("/" if path.is_dir() else "") for path in case.labels)
        about = ", ".join(word for word in (case.modality, case.split) if word)
        print(f"{case.dataset} / {case.case}: {case.image} + {labels}{f' ({about})' if about else ''}")
    for line in found.unpaired:
        print(f"unpaired: {line}")


def _list_some(unpaired: Sequence[str]) -> None:
    for line in unpaired[:_SHOWN]:
        print(f"sammed2d: note: unpaired: {line}", file=sys.stderr)
    if len(unpaired) > _SHOWN:
        print(f"sammed2d: note: … and {len(unpaired) - _SHOWN} more; --dry-run lists all", file=sys.stderr)


@contextmanager
def _progress(args: argparse.Namespace) -> Iterator[Told]:
    """A bar on a terminal or when asked for, and a line for each case that fails."""
    began = time.monotonic()
    with ProgressLine(args) as line:

        def told(case: Case, record: CaseRecord, done: int, total: int) -> None:
            if record.error:
                print(f"{chr(13) * line.is_shown}sammed2d: error: {case.place}: {record.error}", file=sys.stderr)
            line.show(bar(done, total, time.monotonic() - began))

        yield told


def bar(done: int, total: int, seconds: float) -> str:
    """How far it is, in one line.

    Args:
        done: cases.
        total: cases.
        seconds: since the beginning.
    """
    filled = _BAR * done // max(total, 1)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{total} cases, {seconds:.0f} s"


def _print_summary(curated: Curated, folder: Path) -> None:
    print(totals(curated))
    if curated.finished_before:
        print(f"{curated.finished_before} of the cases were finished before")
    for reason, count in sorted(left_out(curated).items()):
        print(f"left out: {count} {reason}")
    told = notes(curated)
    for note in told[:_SHOWN]:
        print(f"sammed2d: note: {note}", file=sys.stderr)
    if len(told) > _SHOWN:
        print(f"sammed2d: note: … and {len(told) - _SHOWN} more in the report", file=sys.stderr)
    print(f"{folder / REPORT} written")
