"""The command `sammed2d evaluate`: how good the model's masks are on a folder of labelled images."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMMed2DLib import __version__
from SAMMed2DLib.cli.common.console_report import ProgressLine
from SAMMed2DLib.cli.common.image_job import check_place, load
from SAMMed2DLib.cli.common.options import ROOT_HELP, add_model, at_least, number_list, output_folder
from SAMMed2DLib.cli.common.prompt_options import RequestError
from SAMMed2DLib.plots.figure import missing
from SAMMed2DLib.system.formatting import counted
from SAMMed2DLib.system.locks import FileBusyError

if TYPE_CHECKING:
    from SAMMed2DLib.evaluation.evaluation_options import EvaluationOptions
    from SAMMed2DLib.evaluation.evaluation_run import EvaluationRun
    from SAMMed2DLib.evaluation.prompt_file import PromptFile
    from SAMMed2DLib.evaluation.saved_masks import MaskFolder
    from SAMMed2DLib.evaluation.scores import ComparedModel
    from SAMMed2DLib.inference.predictor import Predictor

OK, FAILURE, CANCELLED = 0, 1, 130
_PROTOCOLS = ("careful", "published")

DESCRIPTION = """\
Measure a model on labelled images: each mask is asked for by its box and by 1, 3 and 5 clicks, and compared with
what the model finds. The folder is one that `sammed2d curate` wrote, or other data in SAM-Med2D's layout.

examples:
  sammed2d evaluate DATA -o report
  sammed2d evaluate DATA --model sam-med2d_b --protocol published -o report-published
  sammed2d evaluate DATA --compare lite.pt --save-masks found -o report
  sammed2d evaluate DATA --most 50 --jitter 5,10,20 --most-clicks 20 -o report

protocols:
  careful    the simulated user: exact boxes around the whole object; clicks in the middle of the object and then of
             the largest error, with all that the product has (local zoom, if the weights were trained for it)
  published  the reference protocol, that of SAM-Med2D: boxes of the largest part, clicks at random where the mask is
             wrong, no zoom

The report: report.md, masks.csv (every mask), summary.csv, summary.json, and pictures. What is stopped goes on with
the same command. Exit codes: 0 all done, 1 some images or masks could not be used (the report lists them), 130
stopped; the report is then of what is done."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d evaluate`."""
    parser.set_defaults(run=run)
    parser.add_argument("data", metavar="DATA_FOLDER", help="images, masks and the JSON files that pair them")
    parser.add_argument(
        "-o", "--output", required=True, type=output_folder, metavar="REPORT_FOLDER", help="made if it is not there"
    )
    parser.add_argument("--root", metavar="FOLDER", help=ROOT_HELP)
    parser.add_argument("--split", default="test", choices=("test", "validation", "train"), help="(%(default)s)")
    parser.add_argument("--protocol", default="careful", choices=_PROTOCOLS, help="how it is asked (%(default)s)")
    parser.add_argument("--most", type=at_least(1), metavar="N", help="images of each data set at most, spread evenly")
    parser.add_argument("--restart", action="store_true", help="discard the results that the folder holds")
    parser.add_argument("--progress", action="store_true", help="show progress also where stderr is no terminal")
    add_measures(parser.add_argument_group("what is measured"))
    add_model(parser)


def add_measures(group: argparse._ArgumentGroup) -> None:
    """The options about prompts and measures, and what is compared and kept."""
    group.add_argument("--clicks", type=_counts, default=(1, 3, 5), metavar="N,N", help="numbers of clicks (1,3,5)")
    group.add_argument(
        "--jitter",
        type=_shares,
        default=(0.05, 0.1, 0.2),
        metavar="%,%",
        help="move the edges of the box by up to so many per cent of its side, and the first click off the middle by "
        "as much (5,10,20; 0 for none)",
    )
    group.add_argument(
        "--most-clicks",
        type=at_least(0),
        default=10,
        metavar="N",
        help="clicks given to reach a Dice of 0.8 and 0.9 (10)",
    )
    group.add_argument(
        "--tolerance",
        type=float,
        default=2.0,
        metavar="PX",
        help="of the surface distance, px of an image whose longer side is 256 px (2; 0 leaves it out)",
    )
    group.add_argument(
        "--baselines",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="score also what needs no network, with the gain over it: the filled box, the ellipse in it, plain and "
        "fitted to the grey values, and a fitted disc around the first click (default yes)",
    )
    group.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="MODEL",
        help="a second model, name or weights file, asked by the same protocol with and without zoom; may be repeated",
    )
    group.add_argument(
        "--prompts-file",
        type=Path,
        metavar="FILE",
        help="boxes and first clicks of all objects: read from this file, which is written first where it is missing",
    )
    group.add_argument(
        "--save-masks",
        type=output_folder,
        metavar="FOLDER",
        help="keep the model's masks as PNG files, a folder for each kind of prompt; a new or empty folder",
    )
    group.add_argument("--seed", type=at_least(0), default=0, help="of the random draws (%(default)s)")


def _counts(text: str) -> tuple[int, ...]:
    return tuple(at_least(1)(word) for word in text.split(","))


def _shares(text: str) -> tuple[float, ...]:
    numbers = set(number_list(text)) - {0.0}
    if any(not 1 <= number < 100 for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} must be per cent from 1 to 99, for example 5,10,20, or 0")
    return tuple(sorted(number / 100 for number in numbers))


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d evaluate` was asked for.

    Returns:
        the exit code.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    from SAMMed2DLib.data.sa_med2d import read_layout
    from SAMMed2DLib.evaluation.evaluation_run import Source, thinned

    if args.output.resolve() == Path(args.data).resolve():
        raise RequestError(f"{args.output}: the data lie there, whose report.md would be lost; choose another folder")
    entries = read_layout(args.data, args.split, args.root)
    sources = thinned([Source.of_entry(entry) for entry in entries], args.most)
    data = {"data": Path(args.data).resolve().name, "split": args.split, "images of each data set": args.most or "all"}
    return evaluate_sources(args, sources, data)


def evaluate_sources(args: argparse.Namespace, sources: Any, data: dict[str, Any], peers: Any = ()) -> int:
    """Evaluate images into a report folder, show how far it is, and say where the report is.

    Args:
        args: the options of this command and of the model.
        sources: the images.
        data: what is said about them in the report; other words are another evaluation.
        peers: other models, that get the same boxes.

    Returns:
        the exit code.
    """
    options = options_of(args)
    args.fit = "pad" if args.protocol == "published" else args.fit
    with _held(Path(args.output)) as folder:
        return _evaluate(args, options, folder, sources, data, peers)


def compared_models(args: argparse.Namespace) -> list[ComparedModel]:
    """The models of --compare, each with and without zoom; the reference protocol has none.

    Raises:
        RequestError: two have the same name.
        ValueError: one cannot be loaded, in one of the library's own classes.
    """
    from SAMMed2DLib.evaluation.scores import ComparedModel

    named = {_name_of(model): model for model in args.compare}
    if len(named) < len(args.compare):
        raise RequestError("two models of --compare have the same name; rename a file, or compare each once")
    ways = {"": None} if args.protocol == "published" else {" (zoom)": True, " (whole)": False}
    found = []
    for name, model in named.items():
        predictor = load(argparse.Namespace(**{**vars(args), "model": model}))
        found += [ComparedModel(name + words, predictor, zoom) for words, zoom in ways.items()]
    return found


def _name_of(model: str) -> str:
    return Path(model).stem if Path(model).suffix else model


def _evaluate(
    args: argparse.Namespace, options: EvaluationOptions, folder: Path, sources: Any, data: dict[str, Any], peers: Any
) -> int:
    from SAMMed2DLib.evaluation.evaluation_run import EvaluationRun, discard
    from SAMMed2DLib.evaluation.report.evaluation_report import write_report

    if reason := missing():
        print(f"sammed2d: note: the report has no pictures: {reason}", file=sys.stderr)
    predictor, compared = load(args), compared_models(args)
    if args.protocol == "published":
        _ = predictor.model  # or it would be refused for each image
    others = [other.name for other in (*peers, *compared)]
    masks, prompts = _mask_folder(args, folder, options), _prompts(args, options, sources)
    if args.restart:
        discard(folder)
    settings = _settings(args, options, data, predictor, [peer.name for peer in peers], prompts)
    run = EvaluationRun(folder, options, settings, prompts=prompts, masks=masks)
    with ProgressLine(args) as line:
        finished = run.go(predictor, sources, peers, _progress(line, run), compared)
    report = write_report(run, predictor, sources, others, finished)
    if run.problems:
        print(f"sammed2d: {_left_out(run)}, see {report}", file=sys.stderr)
    print(report)
    if not finished:
        print("sammed2d: stopped; what is done is kept and in the report, the same command goes on", file=sys.stderr)
    return CANCELLED if not finished else FAILURE if run.problems or not run.results else OK


def options_of(args: argparse.Namespace) -> EvaluationOptions:
    """What the options ask for.

    Raises:
        EvaluationError: they contradict each other.
    """
    from SAMMed2DLib.evaluation.evaluation_options import SIMULATED_USER, EvaluationOptions

    return EvaluationOptions(
        protocol=args.protocol,
        clicks=tuple(args.clicks),
        zoom=args.zoom,
        box_jitters=args.jitter,
        click_jitters=args.jitter if args.protocol == SIMULATED_USER else (),
        most_clicks=args.most_clicks,
        tolerance_px=args.tolerance,
        baselines=args.baselines,
        seed=args.seed,
    )


def _mask_folder(args: argparse.Namespace, report: Path, options: EvaluationOptions) -> MaskFolder | None:
    """Where masks are kept; files that an earlier evaluation or the user put there are not mixed with new ones.

    Raises:
        RequestError: there are such files.
    """
    from SAMMed2DLib.evaluation.evaluation_run import SETTINGS_FILE
    from SAMMed2DLib.evaluation.saved_masks import MaskFolder

    folder: Path | None = args.save_masks
    if folder is None:
        return None
    goes_on = (report / SETTINGS_FILE).is_file() and not args.restart
    if not goes_on and folder.is_dir() and any(path for path in folder.iterdir() if path.resolve() != report.resolve()):
        raise RequestError(f"{folder}: holds files already; give a new or empty folder for the masks, or empty it")
    return MaskFolder(folder, options)


def _prompts(args: argparse.Namespace, options: EvaluationOptions, sources: Any) -> PromptFile | None:
    """The prompts of the file that is named, which is written first where it is missing.

    Raises:
        RequestError: it cannot be written, or the protocol takes none.
        EvaluationError: it holds no prompts.
    """
    from SAMMed2DLib.evaluation.prompt_file import PromptFile, write_prompts

    path: Path | None = args.prompts_file
    if path is None:
        return None
    if args.protocol == "published":
        raise RequestError("the published protocol draws prompts in the model's frame; leave --prompts-file out")
    if not path.exists():
        check_place(str(path))
        write_prompts(path, [partial(source.read, lambda problem: None) for source in sources], options)
    return PromptFile(path)


def _settings(
    args: argparse.Namespace,
    options: EvaluationOptions,
    data: dict[str, Any],
    predictor: Predictor,
    peers: list[str],
    prompts: PromptFile | None,
) -> dict[str, Any]:
    """All that decides about the results."""
    from SAMMed2DLib.registry.known_models import weights_path

    weights, *compared = (
        hashlib.sha256(weights_path(model).read_bytes()).hexdigest() for model in (args.model, *args.compare)
    )
    zoom = predictor.prefers_zoom if options.zoom is None else options.zoom
    asked = asdict(options) | {"zoom": zoom and options.protocol != "published"}
    named: dict[str, Any] = {"model": _name_of(args.model), "weights (SHA-256)": weights}
    others = [f"{_name_of(model)}, {digest}" for model, digest in zip(args.compare, compared, strict=True)]
    told = {key.replace("_", " "): list(value) if isinstance(value, tuple) else value for key, value in asked.items()}
    precision = str(predictor.precision).removeprefix("torch.")
    network = {"engine": predictor.engine.name, "fit": args.fit, "precision": precision}
    kept = {} if prompts is None else {"prompts file": f"{prompts.path.name}, {prompts.digest}"}
    kept |= {} if args.save_masks is None else {"masks saved in": str(args.save_masks)}
    others_named = {"peers": peers, "compared with": others}
    return {**named, **data, **told, **network, **others_named, **kept, "version": __version__}


@contextmanager
def _held(folder: Path) -> Iterator[Path]:
    """The report folder, made if it is not there, which no other evaluation uses meanwhile.

    Raises:
        RequestError: it cannot be made, or another evaluation is using it.
    """
    from SAMMed2DLib.evaluation.evaluation_run import hold

    with ExitStack() as held:
        try:
            held.enter_context(hold(folder))
        except FileBusyError as error:
            raise RequestError(
                f"{folder}: another evaluation is writing there; wait for it or stop it, or choose another folder"
            ) from error
        except OSError as error:
            raise RequestError(f"{folder}: cannot be written to ({error.strerror}); choose another folder") from error
        yield folder


def _left_out(run: EvaluationRun) -> str:
    return counted(len(run.problems), "image or mask was", "images or masks were") + " left out"


def _progress(line: ProgressLine, run: EvaluationRun) -> Callable[[int, int], None]:
    start, first = time.monotonic(), [-1]

    def show(done: int, total: int) -> None:
        first[0] = done if first[0] < 0 else first[0]
        left = (time.monotonic() - start) / max(done - first[0], 1) * (total - done) / 60
        about = f", about {left:.0f} min left" if done > first[0] else ""
        masks = counted(len(run.results), "mask")
        line.show(f"image {done} of {total}, {masks}, {len(run.problems)} left out{about}")

    return show
