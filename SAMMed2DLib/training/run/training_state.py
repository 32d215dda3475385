"""What a run can go on from after it stopped: everything that its next step depends on, and what made it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from SAMMed2DLib.checkpoints.torch_write import write_torch_file
from SAMMed2DLib.system.files import StagedFiles
from SAMMed2DLib.training.config import TrainingConfig, TrainingError

FORMAT, VERSION = "sammed2d-training", 1
# What may differ on resuming: the run's length, and how a step is cut into batches.
_FREE = ("steps", "images_per_batch", "accumulate")


@dataclass(eq=False)
class RunState:
    """The moving parts of a run.

    Attributes:
        model: the network.
        optimiser: with its moments.
        ema: averaged weights by name; None if nothing is averaged.
        scaler: a GradScaler, for fp16.
        step: steps that are done.
        recent: losses since the last line of the log.
        best: the best validation score; None before the first.
        best_step: the steps after which it was reached.
        seconds: spent in training so far.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    ema: dict[str, Tensor] | None = None
    scaler: Any = None
    step: int = 0
    recent: list[float] = field(default_factory=list)
    best: float | None = None
    best_step: int | None = None
    seconds: float = 0.0

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights to use: averaged, if there is an average."""
        return self.model.state_dict() if self.ema is None else self.ema

    @torch.no_grad()
    def average(self, decay: float) -> None:
        """Follow the model's weights, faster in the first steps."""
        if self.ema is not None:
            now = min(decay, (self.step + 1) / (self.step + 10))
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.ema[name].lerp_(value, 1 - now)


@dataclass(frozen=True)
class Origin:
    """What a run is made of; a checkpoint belongs to no other.

    Attributes:
        config: of the run.
        images_per_step: of all processes and passes together.
        data_sha256: checksum of the data.
        base: where the first weights came from, plain JSON types; empty for random ones.
    """

    config: TrainingConfig
    images_per_step: int
    data_sha256: str
    base: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "config": self.config.to_dict(),
            "images_per_step": self.images_per_step,
            "data_sha256": self.data_sha256,
            "base": dict(self.base),
        }


def save_run(path: Path, state: RunState, origin: Origin) -> None:
    """Write beside and rename, so that a run cut off while saving keeps its last checkpoint.

    Args:
        path: of the checkpoint.
        state: the moving parts.
        origin: what the run was made from.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **origin.to_dict(),
        "step": state.step,
        "schedule": {"learning_rate": origin.config.learning_rate_at(state.step), "of_steps": origin.config.steps},
        "model": state.model.state_dict(),
        "ema": state.ema,
        "optimiser": state.optimiser.state_dict(),
        "scaler": state.scaler.state_dict() if state.scaler else None,
        "rng": {"torch": torch.get_rng_state(), "items": "from (seed, index)"},
        "recent": state.recent,
        "best": state.best,
        "best_step": state.best_step,
        "seconds": state.seconds,
        "torch_version": str(torch.__version__),
    }
    with StagedFiles() as staged:
        write_torch_file(staged.place(path), record)


def resume_run(path: Path, state: RunState, origin: Origin) -> bool:
    """Load a checkpoint into the moving parts of a run.

    Args:
        path: of the checkpoint.
        state: takes what it holds, in place.
        origin: what the run at hand is made from.

    Returns:
        Whether there was one.

    Raises:
        TrainingError: it belongs to another run, or is damaged.
    """
    if not path.exists():
        return False
    try:
        record = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is damaged; remove it to begin this run anew, or restore it") from error
    check_same(path, record, origin)
    state.model.load_state_dict(record["model"])
    if state.ema is not None:
        for name, value in record["ema"].items():
            state.ema[name].copy_(value)
    state.optimiser.load_state_dict(record["optimiser"])
    if state.scaler:
        state.scaler.load_state_dict(record["scaler"])
    torch.set_rng_state(record["rng"]["torch"])
    state.step, state.recent, state.best = record["step"], list(record["recent"]), record["best"]
    state.best_step, state.seconds = record.get("best_step"), record["seconds"]
    return True


def check_same(path: Path, record: Mapping[str, Any], origin: Origin) -> None:
    """Refuse what was written by a run with another configuration, data or starting weights.

    Args:
        path: the file, to name it.
        record: what is in it.
        origin: of the run that is to begin.

    Raises:
        TrainingError: the message names what differs.
    """
    known = isinstance(record, Mapping) and (record.get("format", FORMAT), record.get("version", VERSION))
    if known != (FORMAT, VERSION):
        raise TrainingError(f"{path} is no checkpoint of a training run of this version; choose another folder")
    old, base = ({**part} if isinstance(part := record.get(name), Mapping) else {} for name in ("config", "base"))
    new = origin.config.to_dict()
    differing = [name for name in new if name not in _FREE and old.get(name) != new[name]]
    told = [f"{name.replace('_', ' ')} ({_short(old.get(name))} there, {_short(new[name])} here)" for name in differing]
    if record.get("images_per_step") != origin.images_per_step:
        told.append(f"images per step ({record.get('images_per_step')} there, {origin.images_per_step} here)")
    if record.get("data_sha256") != origin.data_sha256:
        told.append("the data")
    if base.get("file_sha256") != origin.base.get("file_sha256"):
        told.append("the weights to begin with")
    if told:
        raise TrainingError(
            f"{path.parent} holds a run of another configuration: {', '.join(told)}; give the same options to go on "
            "with it, or choose another folder"
        )


def _short(value: object) -> str:
    return "other sizes" if isinstance(value, dict) else str(value)
