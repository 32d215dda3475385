"""The training loop, from the first weights to the last file.

All randomness is derived from (seed, number of the step or item), so a resumed run draws what an uninterrupted one
would have drawn, and several processes draw what one would have.
"""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from SAMMed2DLib.training.config import TrainingConfig
from SAMMed2DLib.training.items import TrainingImages, TrainingItems
from SAMMed2DLib.training.optimisers import optimiser_of
from SAMMed2DLib.training.parallel import ShardedBatches, Team
from SAMMed2DLib.training.run.run_folder import Intervals, RunFolder, Scoring
from SAMMed2DLib.training.run.training_state import Origin, RunState
from SAMMed2DLib.training.start import build_start
from SAMMed2DLib.training.steps import (
    Batch,
    Interaction,
    PublishedPass,
    make_scaler,
    train_batch,
    train_batch_published,
)
from SAMMed2DLib.training.training_prompts import AccumulatedClicks, PromptSource, PublishedPrompts


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """How a run ended.

    Attributes:
        weights: those to use, averaged if there is an average.
        step: steps that are done.
        stopped: whether the user stopped it before its end; it can go on from here.
        best: the best validation score, None without validation.
        best_step: the steps after which it was reached; 0 if no weights were better than the first.
    """

    weights: dict[str, Tensor]
    step: int
    stopped: bool
    best: float | None
    best_step: int | None


def train(
    config: TrainingConfig,
    images: TrainingImages,
    folder: Path,
    *,
    start_from: Mapping[str, Tensor] | None = None,
    base: Mapping[str, Any] | None = None,
    validation: Scoring | None = None,
    team: Team | None = None,
    workers: int = 1,
    intervals: Intervals | None = None,
) -> TrainingResult:
    """Run or resume a training run in `folder`.

    The folder gets config.json, checkpoint.pt to resume from, last.pt and best.pt to predict with, log.csv,
    validation.csv and curves.png. Ctrl+C or SIGTERM saves a checkpoint after the step and ends.

    Args:
        config: the run; a folder with a run of another configuration is refused.
        images: what to learn from; may be empty if all items are synthetic.
        folder: created if missing.
        start_from: weights to begin with instead of random ones; a resumed run goes on with its own.
        base: where these came from, for the files.
        validation: decides which weights are best, those before the first step among them; without one the last
            are called the best.
        team: this process and its device among others; None for a single one on the CPU.
        workers: processes that draw items.
        intervals: how often what happens.

    Raises:
        TrainingError: the folder holds another run, or another process is training in it.
        NotFiniteError: the training broke down; the last checkpoint is from before.
        DatasetError: too many images cannot be used.
    """
    team, intervals = team or Team(torch.device("cpu")), intervals or Intervals()
    per_step = config.images_per_batch * config.accumulate * team.size
    origin = Origin(config, per_step, images.sha256, base or {})
    model = build_start(config, start_from).to(team.device)
    optimiser = optimiser_of(model, config)
    scaler = make_scaler(config.precision, team.device)
    ema = {name: value.clone() for name, value in model.state_dict().items()} if config.ema_decay else None
    run = RunState(model, optimiser, ema, scaler)
    files = RunFolder(folder, origin, run, team, intervals, sorted(set(images.datasets)))
    files.resume()
    module = team.wrap(
        PublishedPass(model, config.precision) if config.as_published else Interaction(model, config.precision)
    )
    # Processes that read images start before the folder's lock is taken: they would go on to hold it after a kill.
    batches = _batches(TrainingItems(images, config, config.steps * per_step), config, team, run.step, workers)
    with files, _stop_flag(insisting=team.size == 1) as stop_asked:
        if run.step == 0 and validation:
            files.validate(validation)
        began = time.monotonic() - run.seconds
        while run.step < config.steps:
            step = run.step
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate_at(step)
            parts = [next(batches) for _ in range(config.accumulate)]
            prompted = [(batch, _prompts(config, step, indices, model)) for indices, batch in parts]
            if config.as_published:
                loss = float(np.mean(train_batch_published(module, optimiser, *prompted[0], scaler)))
            else:
                loss = train_batch(module, optimiser, prompted, _rounds(config, step), scaler)
            run.average(config.ema_decay)
            run.recent.append(team.mean(loss))
            run.step, run.seconds = step + 1, time.monotonic() - began
            is_last = run.step == config.steps
            if run.step % intervals.log == 0 or is_last:
                files.log()
            if validation and (is_last or run.step % intervals.validate == 0):
                files.validate(validation)
                began = time.monotonic() - run.seconds
            stopped = team.any(bool(stop_asked))
            if run.step % intervals.save == 0 or is_last or stopped:
                files.save()
            if stopped:
                break
        files.finish()
    return TrainingResult(run.weights, run.step, run.step < config.steps, run.best, run.best_step)


def _rounds(config: TrainingConfig, step: int) -> int:
    """Rounds of prompting in a step."""
    return int(np.random.default_rng([config.seed, step, 2]).integers(1, config.max_rounds + 1))


def _prompts(config: TrainingConfig, step: int, indices: list[int], model: Any) -> PromptSource:
    """The prompts of a batch: what its objects share follows the step, what is their own follows their item."""
    shared = np.random.default_rng([config.seed, step, 1])
    each = [np.random.default_rng([config.seed, index, 4]) for index in indices]
    objects = [rng for rng in each for _ in range(config.masks_per_image)]
    if config.as_published:
        return PublishedPrompts(shared, objects)
    return AccumulatedClicks(
        shared,
        config.box_share,
        neighbour_share=config.neighbour_share,
        mask_size=model.prompt_encoder.mask_input_size,
        objects=objects,
    )


def _batches(
    items: TrainingItems, config: TrainingConfig, team: Team, step: int, workers: int
) -> Iterator[tuple[list[int], Batch]]:
    """The batches of this process from a step on, with the indices of their items; workers start at once."""
    loader = torch.utils.data.DataLoader(
        items,
        batch_sampler=ShardedBatches(config, team, step),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # the run's own state stays as it is
    )
    drawn = iter(loader)
    return (
        (indices.tolist(), Batch(views.float(), masks.flatten(0, 1)[:, None].float()))
        for indices, views, masks in drawn
    )


def _prepare_worker(_number: int) -> None:
    """Leave Ctrl+C to the loop, and tell of skipped images as the command line does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.formatwarning = lambda message, *_rest, **_more: f"note: {message}\n"


@contextmanager
def _stop_flag(insisting: bool) -> Iterator[list[int]]:
    """A list that is empty until the user wants to stop.

    Args:
        insisting: a second Ctrl+C stops at once; torchrun passes on one that its processes have had already.
    """
    signals_sent: list[int] = []

    def note(number: int, _frame: object) -> None:
        if signals_sent and insisting and number == signal.SIGINT:
            raise KeyboardInterrupt
        signals_sent.append(number)

    signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield signals_sent
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
