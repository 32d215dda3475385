"""The command `sammed2d train`: fine-tunes a model on a curated folder, or trains a new one."""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from SAMMed2DLib.cli.common import train_options
from SAMMed2DLib.cli.common.train_options import AUTO, DESCRIPTION, NONE
from SAMMed2DLib.data.sa_med2d import JSON_OF_SPLIT, TRAIN, VALIDATION, DatasetError, ImageEntry, read_layout
from SAMMed2DLib.plots.figure import missing
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from SAMMed2DLib.training import Progress, StartingPoint, Team, TrainingConfig, TrainingResult

__all__ = ["DESCRIPTION", "add_options", "run"]

CANCELLED = 130
_NEVER = 1 << 40  # a step that no run reaches
_ROWS = 60  # in the log, about


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sammed2d train`, and what it does."""
    parser.set_defaults(run=run)
    train_options.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do what `sammed2d train` was asked for.

    Returns:
        the exit code: 0, or 130 if it was stopped and can go on.

    Raises:
        ValueError: bad input, in one of the library's own classes.
    """
    from SAMMed2DLib.training import team

    with _plain_warnings(), team(args.device) as this:
        return _run(args, this, _print_line if this.is_first else _print_nothing)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings of skipped images in one line."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_rest, **_more: f"note: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _print_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print_nothing(text: str) -> None:
    """All but the first process keep quiet."""


def _run(args: argparse.Namespace, team: Team, notify: Callable[[str], None]) -> int:
    from SAMMed2DLib.training import Intervals, LayoutImages, train
    from SAMMed2DLib.training.validation import Validation

    data = _read_data(args, notify)
    start = _start(args)
    config = _config(args, start, len(data.train), team.size)
    notify(
        f"{counted(len(data.train), 'image')} to train on, {len(data.validation)} {_kind(data)}; "
        f"{counted(config.steps, 'step')} of {config.images_per_batch * config.accumulate * team.size} images; "
        f"training {_description_of(config)}"
    )
    if reason := missing():
        notify(f"note: curves.png is left out: {reason}")
    outcome = train(
        config,
        LayoutImages(data.train),
        args.output,
        start_from=start.state or None,
        base=start.base,
        validation=Validation(data.validation, team.device, data.is_seen) if data.validation else None,
        team=team,
        workers=args.workers,
        intervals=Intervals(
            save=args.save_every,
            log=max(1, config.steps // _ROWS),
            validate=args.validate_every or max(1, math.ceil(config.steps / 5)),
            report=lambda progress: notify(_line(progress, config, data)),
            tensorboard=args.tensorboard,
        ),
    )
    if outcome.stopped:
        notify(f"stopped after step {outcome.step} of {config.steps}; the same command goes on from there")
        return CANCELLED
    notify(f"{args.output / 'best.pt'}: {_best(outcome)}; try them with `sammed2d segment --model` or in 3D Slicer")
    return 0


def _kind(data: _Data) -> str:
    """Words for the images that weights are scored on."""
    return "of them to choose the best weights by" if data.is_seen else "to validate on"


def _best(outcome: TrainingResult) -> str:
    """Which weights best.pt holds."""
    if outcome.best is None:
        return f"the weights after the last step, {outcome.step}, which were not validated"
    if outcome.best_step == 0:
        return (
            f"the weights that it began with, score {outcome.best:.3f}, as no later ones were better (these are in "
            "last.pt; more cases, more --steps or a smaller --lr may help)"
        )
    return f"the best weights, those after step {outcome.best_step}, score {outcome.best:.3f}"


# --- the data -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The images of both splits, and whether those to score on are trained on too."""

    train: Sequence[ImageEntry]
    validation: Sequence[ImageEntry] = ()
    is_seen: bool = False


def _read_data(args: argparse.Namespace, notify: Callable[[str], None]) -> _Data:
    from SAMMed2DLib.training import usable
    from SAMMed2DLib.training.validation import spread

    train = usable([entry for folder in args.data for entry in read_layout(folder, TRAIN, args.root)], notify)
    if not args.most_validation:
        notify("note: nothing is validated, so best.pt will hold the last weights, whether or not they are the best")
        return _Data(train)
    there = [folder for folder in args.data if (folder / JSON_OF_SPLIT[VALIDATION]).is_file()]
    held_out = [entry for folder in there for entry in read_layout(folder, VALIDATION, args.root)]
    _note_shared_cases(train, held_out, notify)
    if chosen := [entry for entry in spread(held_out, args.most_validation) if _is_readable(entry, notify)]:
        return _Data(train, chosen)
    notify(
        "note: there is nothing to validate on, so the best weights are chosen by their scores on images that are "
        "trained on, which are too good; curate more cases for a validation split"
    )
    chosen = [entry for entry in spread(train, args.most_validation) if _is_readable(entry, notify)]
    return _Data(train, chosen, is_seen=True)


def _is_readable(entry: ImageEntry, notify: Callable[[str], None]) -> bool:
    try:
        entry.read()
    except DatasetError as error:
        notify(f"note: left out {entry.image}: {error}")
        return False
    return True


def _note_shared_cases(
    train: Sequence[ImageEntry], held_out: Sequence[ImageEntry], notify: Callable[[str], None]
) -> None:
    """A case on both sides makes the scores too good."""
    known = {(mask.dataset, mask.case) for entry in train for mask in entry.masks}
    shared = {(mask.dataset, mask.case) for entry in held_out for mask in entry.masks} & known
    if shared:
        dataset, case = min(shared)
        notify(
            f"note: {counted(len(shared), 'case is', 'cases are')} in train and in validation (one is {case} of "
            f"{dataset}), so the scores are too good; curate with a split by case"
        )


# --- the run ------------------------------------------------------------------------------------------------


def _start(args: argparse.Namespace) -> StartingPoint:
    from SAMMed2DLib.training import TrainingError, fresh_start, known_start

    if args.start == NONE:
        return fresh_start(args.sizes or "small", args.image_size)
    if args.sizes:
        raise TrainingError("--sizes are those of a new model: leave them out, or give --from none")
    return known_start(args.start, args.image_size, add_adapters=args.add_adapters, reset_heads=args.as_published)


def _config(args: argparse.Namespace, start: StartingPoint, images: int, processes: int) -> TrainingConfig:
    from SAMMed2DLib.training import PUBLISHED_WIDTH, TrainingConfig

    has_frozen_encoder = start.model.tiny_vit is not None
    is_large, is_new = has_frozen_encoder or start.model.embed_dim >= PUBLISHED_WIDTH, not start.state
    trained: dict[str, Any] = {"trained": args.trained}
    if args.trained == AUTO:
        trained["trained"] = "adapters" if is_large and start.model.adapter and not is_new else "all"
        if has_frozen_encoder and not is_new:
            trained["trained"] = "decoder"
    zoom = start.prefers_zoom if args.zoom is None else args.zoom
    per_step = args.batch * args.accumulate * processes
    steps = args.steps if args.epochs is None else math.ceil(args.epochs * images / max(1, per_step))
    return TrainingConfig(
        start.model,
        steps=steps,
        images_per_batch=args.batch,
        masks_per_image=args.masks,
        accumulate=args.accumulate,
        as_published=args.as_published,
        precision=args.precision,
        max_rounds=args.rounds,
        learning_rate=_rate(args.as_published, is_large, is_new) if args.lr is None else args.lr,
        warmup_steps=300 if is_new else 50,
        ema_decay=(0.0 if args.as_published else 0.999) if args.ema is None else args.ema,
        balance=args.balance,
        synthetic_share=args.synthetic,
        focus_step=0 if zoom else _NEVER,
        click_scales=start.click_scales,
        coarse_size=start.coarse_size,
        seed=args.seed,
        **trained,
    )


def _rate(as_published: bool, is_large: bool, is_new: bool) -> float:
    """The learning rate that nobody chose."""
    if as_published:
        return 1e-4
    if is_new:
        return 2e-4 if is_large else 8e-4
    return 1e-4 if is_large else 2e-4


def _description_of(config: TrainingConfig) -> str:
    if config.as_published:
        return "adapters, prompt encoder and decoder as published"
    heads = "prompt encoder and decoder" if config.model.refiner_dim is None else "prompt encoder, decoder and refiner"
    return {"all": "the whole model", "adapters": f"adapters, {heads}"}.get(config.trained, heads)


def _line(progress: Progress, config: TrainingConfig, data: _Data) -> str:
    if progress.scores is not None:
        kind = "images that are trained on" if data.is_seen else "validation"
        told = ", ".join(f"{kind} {value:.3f}" for kind, value in progress.scores.items() if kind != "objects")
        return f"{kind} after step {progress.step}, Dice: {told}"
    left = progress.seconds / progress.step * (config.steps - progress.step)
    return (
        f"step {progress.step} of {config.steps}  loss {progress.loss:.4f}  {progress.seconds:.0f} s, {left:.0f} s left"
    )
