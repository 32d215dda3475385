"""One process or several: who this process is, and how its model is wrapped.

`torchrun` starts the processes and tells each of them who it is by environment variables; without these variables
nothing of torch.distributed is touched.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from SAMMed2DLib.inference.devices import choose_device
from SAMMed2DLib.training.config import TrainingConfig

_PATIENCE = timedelta(hours=6)  # others wait for as long while the first process validates


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them.

    Attributes:
        device: of this process.
        rank: number of this process; only the first, 0, writes and validates.
        size: number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Let the gradients of a module be averaged over all processes."""
        if self.size == 1:
            return module
        # Which weights a round reaches depends on its prompts.
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True, broadcast_buffers=False)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return bool(told.item())

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.any(False)

    def mean(self, value: float) -> float:
        """Mean of a number over all processes."""
        if self.size == 1:
            return value
        told = torch.tensor(value, dtype=torch.float32, device=self.device)
        distributed.all_reduce(told)
        return told.item() / self.size


@contextmanager
def team(device: str = "auto") -> Iterator[Team]:
    """Join the processes that torchrun started; outside of torchrun, be alone.

    Args:
        device: as in `devices.choose_device`; on CUDA each process of a computer takes a card of its own.

    Raises:
        DeviceError: there is no such device.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Team(choose_device(device))
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(chosen, rank, size)
    finally:
        # A wrapped module lives in a cycle of references. One that outlives its group is torn down as the process ends.
        gc.collect()
        distributed.destroy_process_group()


class ShardedBatches:
    """Indices of the items of each pass of one process; all processes together see every item of a step once."""

    def __init__(self, config: TrainingConfig, team: Team, first_step: int) -> None:
        """Begin with a step of the run.

        Args:
            config: says how many images a step has, and how many a batch.
            team: who this process is.
            first_step: to draw for, from 0.
        """
        self._config, self._team, self._first = config, team, first_step

    def __len__(self) -> int:
        """Passes that are left."""
        return (self._config.steps - self._first) * self._config.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        """Pass after pass."""
        size, passes = self._config.images_per_batch, self._config.accumulate
        for step in range(self._first, self._config.steps):
            for number in range(passes):
                begin = ((step * self._team.size + self._team.rank) * passes + number) * size
                yield list(range(begin, begin + size))
