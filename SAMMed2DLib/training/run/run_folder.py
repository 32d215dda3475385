"""The folder of a run: what is written when, and where a run goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from SAMMed2DLib import __version__
from SAMMed2DLib.checkpoints.inference_checkpoint import save_inference_checkpoint
from SAMMed2DLib.system.files import StagedFiles, remove_leftovers
from SAMMed2DLib.system.locks import FileBusyError, sole_use
from SAMMed2DLib.training.config import TrainingConfig, TrainingError
from SAMMed2DLib.training.parallel import Team
from SAMMed2DLib.training.run.run_log import TABLES_AND_CURVES, RunLog
from SAMMed2DLib.training.run.training_state import Origin, RunState, check_same, resume_run, save_run

CONFIG, CHECKPOINT, BEST, LAST = "config.json", "checkpoint.pt", "best.pt", "last.pt"


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: steps that are done.
        loss: mean since the last report.
        rate: learning rate.
        seconds: spent in training so far, over all resumptions.
        scores: of a validation just made, if there was one.
    """

    step: int
    loss: float
    rate: float
    seconds: float
    scores: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Intervals:
    """How often things happen, in steps, and who is told; nothing here changes a number of the run.

    Attributes:
        save: between checkpoints.
        log: between rows of the log.
        validate: between validations; there is one at the end, and before the first step of known weights.
        report: called with every row of the log and every validation.
        tensorboard: write TensorBoard's files too.
    """

    save: int = 250
    log: int = 50
    validate: int = 250
    report: Callable[[Progress], None] | None = None
    tensorboard: bool = False


class Scoring(Protocol):
    """Scores weights; see `validation.Validation`."""

    @property
    def is_seen(self) -> bool:
        """Whether it is done on images that are trained on, so that the scores are too good."""

    def scores(self, config: TrainingConfig, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Numbers by name, and as "score" the one that decides."""


class RunFolder:
    """What the first process of a run writes, and where a run goes on from."""

    def __init__(
        self, folder: Path, origin: Origin, run: RunState, team: Team, intervals: Intervals, datasets: list[str]
    ) -> None:
        """Prepare; nothing is read before `resume` or written before the block begins.

        Args:
            folder: of the run; made if it is not there.
            origin: what the run was made from; a folder of another one is refused.
            run: the moving parts, which are saved and restored.
            team: who this process is; only the first one writes.
            intervals: steps between records, checkpoints and validations.
            datasets: names of the sets that are trained on.
        """
        self._folder, self._origin, self._run, self._team = folder, origin, run, team
        self._intervals, self._datasets = intervals, datasets
        self._log: RunLog | None = None
        self._held = ExitStack()

    def resume(self) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            TrainingError: the folder holds another run.
        """
        path = self._folder / CONFIG
        if path.exists():
            check_same(path, _content_of(path), self._origin)
        resume_run(self._folder / CHECKPOINT, self._run, self._origin)

    def __enter__(self) -> RunFolder:
        """Begin to write.

        Raises:
            TrainingError: another process is training in this folder.
        """
        self._team.wait()  # all have read the files before one writes them
        if self._team.is_first:
            log = RunLog(self._folder, tensorboard=self._intervals.tensorboard)
            self._folder.mkdir(parents=True, exist_ok=True)
            with ExitStack() as held:
                self._hold(held)
                with StagedFiles() as staged:
                    text = json.dumps(self._origin.to_dict(), indent=1) + "\n"
                    staged.place(self._folder / CONFIG).write_text(text, encoding="utf-8")
                log.rewind(self._run.step)
                self._log, self._held = log, held.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the folder to others."""
        if self._log:
            self._log.close()
        self._held.close()

    def _hold(self, held: ExitStack) -> None:
        """Keep other runs out of the folder, and remove what a killed one was about to write."""
        try:
            is_sole = held.enter_context(sole_use(self._folder / CHECKPOINT))
        except FileBusyError as error:
            raise TrainingError(
                f"{self._folder}: another process is training in it; wait for it or stop it, or choose another folder"
            ) from error
        if is_sole:
            remove_leftovers(*(self._folder / name for name in (CONFIG, CHECKPOINT, BEST, LAST, *TABLES_AND_CURVES)))

    def log(self) -> None:
        """A row of the log."""
        run = self._run
        loss = float(np.mean(run.recent))
        run.recent.clear()
        if self._log:
            rate = self._origin.config.learning_rate_at(run.step - 1)
            row = {"step": run.step, "loss": loss, "learning_rate": rate, "seconds": run.seconds}
            self._log.training(row | {"images_per_second": self._origin.images_per_step * run.step / run.seconds})
            self._report(Progress(run.step, loss, rate, run.seconds))

    def validate(self, validation: Scoring) -> None:
        """Score the weights; keep them if they are the best so far."""
        if self._log:
            scores = validation.scores(self._origin.config, self._run.weights)
            self._log.validation({"step": self._run.step, **scores})
            self._report(Progress(self._run.step, float("nan"), 0.0, self._run.seconds, scores))
            if self._run.best is None or scores["score"] > self._run.best:
                self._run.best, self._run.best_step = scores["score"], self._run.step
                self._export(BEST, {"validation_on_seen" if validation.is_seen else "validation": scores})
            self._log.draw()
        self._team.wait()

    def save(self) -> None:
        """Write the weights by themselves, and then the checkpoint: whoever goes on from it has them already."""
        if self._log:
            self._export(LAST, {})
            save_run(self._folder / CHECKPOINT, self._run, self._origin)

    def finish(self) -> None:
        """Where nothing was ever validated, the last weights of a finished run are called the best."""
        if self._log:
            if self._run.best is None and self._run.step == self._origin.config.steps:
                self._export(BEST, {})
            self._log.draw()

    def _report(self, progress: Progress) -> None:
        if self._intervals.report:
            self._intervals.report(progress)

    def _export(self, name: str, facts: Mapping[str, Mapping[str, float]]) -> None:
        config = self._origin.config
        provenance = {
            "name": self._folder.resolve().name,
            "made_by": f"sammed2d train {__version__}",
            "prefers_zoom": config.prefers_zoom,
            "click_scales": list(config.click_scales),
            "coarse_size": config.coarse_size,
            "steps": self._run.step,
            "data_sets": self._datasets,
            "data_sha256": self._origin.data_sha256,
            "training": {**config.to_dict(), "images_per_step": self._origin.images_per_step},
        }
        if self._origin.base:
            provenance["base"] = dict(self._origin.base)
        provenance |= {kind: dict(scores) for kind, scores in facts.items()}
        save_inference_checkpoint(self._folder / name, self._run.weights, config.model.to_dict(), provenance)


def _content_of(path: Path) -> Any:
    """What is in a JSON file.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} is damaged; restore it, or remove it to go on by the checkpoint alone") from error
