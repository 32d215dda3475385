"""What the workers of a test's cluster do: cases, one of which stops in the middle of its output."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from SAMMed2DLib.batch_run import BatchCase, CaseOutcome
from SAMMed2DLib.cli import segment
from SAMMed2DLib.cli.batch import ModelSettings, do_remotely

SLOW = "slow"
HALF = b"NRRD0004\n# half of a"


def do_and_stop(case: BatchCase, settings: ModelSettings, folder: Path) -> CaseOutcome:
    """Do a case; the slow one tells its process in folder/pid and stops half-way, until folder/killed is there."""
    if case.name == SLOW and not (folder / "killed").exists():
        segment.write_segmentation = _half_of(folder)
    with (folder / "begun").open("a") as file:
        file.write(f"{case.name} {os.getpid()}\n")
    return do_remotely(case, settings)


def _half_of(folder: Path) -> Any:
    def write(path: Path, *rest: object) -> int:
        path.write_bytes(HALF)
        (folder / "pid.new").write_text(str(os.getpid()))
        os.replace(folder / "pid.new", folder / "pid")
        while not (folder / "killed").exists():
            time.sleep(0.02)
        raise AssertionError("this process was to be killed")

    return write
