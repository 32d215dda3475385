"""A training run that is killed at any moment goes on to what it would have become, and leaves nothing lying around."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from disk_states import Contents, contents, differing, full_disk, recorded, restore
from training_cases import TINY, tiny_config

from SAMMed2DLib import training
from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.system.locks import sole_use
from SAMMed2DLib.training.run import run_log

ROOT = Path(__file__).resolve().parents[2]
CONFIG = replace(
    tiny_config(steps=2, images_per_batch=1, masks_per_image=1, max_rounds=1, synthetic_share=0.0, ema_decay=0.0),
    model=replace(TINY, depth=1, global_blocks=(0,)),
)
OWN = {"best.pt", "checkpoint.pt", "config.json", "curves.png", "last.pt", "log.csv", "validation.csv"}
OF_THE_USER = {"notes.txt": b"mine", ".notes-0123456789ab.part.txt": b"mine too", "best-of-all.pt": b"mine as well"}


@pytest.fixture(autouse=True)
def small_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is what takes longest."""
    monkeypatch.setattr(run_log, "line_chart", lambda *rest: np.zeros((4, 4, 3), np.uint8))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Weight:
    """Scores weights by their sum, so that each validation tells other ones."""

    is_seen = False

    def scores(self, config, weights):
        total = sum(float(value.double().abs().sum()) for value in weights.values())
        return {"score": -total, "box": 0.5}


def a_label_map() -> training.LabelMaps:
    rows = np.arange(32, dtype=np.uint8)[:, None, None]
    return training.LabelMaps([LabelledImage(np.tile(rows, (1, 32, 3)), np.eye(32, dtype=np.uint8), "a", "drawn")])


def train(folder: Path, validation: object = None, config: training.TrainingConfig = CONFIG) -> training.TrainingResult:
    each = training.Intervals(save=1, log=1, validate=1)
    return training.train(config, a_label_map(), folder, validation=validation, workers=0, intervals=each)


def essence(state: Contents) -> dict[str, object]:
    """What must not depend on a kill: all but the seconds, and the checkpoint without its seconds."""
    told: dict[str, object] = {name: state[name] for name in state if name.endswith(("last.pt", "best.pt"))}
    for name in ("log.csv", "validation.csv"):
        lines = (state.get(name) or b"").decode().splitlines()
        told[name] = [line.split(",")[:3] for line in lines]
    return told


@pytest.mark.parametrize("validation", [None, Weight()], ids=["without validation", "with validation"])
def test_killed_at_any_operation_a_run_becomes_what_it_would_have_been(tmp_path: Path, validation: object) -> None:
    folder = tmp_path / "whole" / "run"
    restore(folder, dict(OF_THE_USER))
    with recorded(folder) as states:
        train(folder, validation)
    whole = contents(folder)
    assert whole.keys() == OF_THE_USER.keys() | (OWN if validation else OWN - {"validation.csv"})
    different = differing(states)
    assert len(different) > 20
    for number, state in enumerate(different):
        again = tmp_path / str(number) / "run"
        restore(again, state)
        train(again, validation)
        resumed = contents(again)
        assert resumed.keys() == whole.keys(), (number, state.keys())
        assert essence(resumed) == essence(whole), (number, state.keys())
        assert OF_THE_USER.items() <= resumed.items()


def test_on_a_full_disk_a_run_says_so_leaves_nothing_and_goes_on_later(tmp_path: Path) -> None:
    train(tmp_path / "whole" / "run")
    whole = essence(contents(tmp_path / "whole" / "run"))
    for free in range(9):
        folder = tmp_path / str(free) / "run"
        with full_disk(free), pytest.raises(OSError, match="No space left on device"):
            train(folder)
        assert not [name for name in contents(folder) if ".part" in name or ".lock" in name], free
        train(folder)
        assert essence(contents(folder)) == whole, free


def test_files_of_a_run_that_is_alive_are_left_alone(tmp_path: Path) -> None:
    train(tmp_path)
    part = tmp_path / ".last-0123456789ab.part.pt"
    part.write_bytes(b"on its way")
    with sole_use(tmp_path / "checkpoint.pt"):
        with pytest.raises(training.TrainingError, match="another process is training in it"):
            train(tmp_path)
        assert part.exists()
    train(tmp_path)
    assert not part.exists()


@pytest.mark.parametrize("name", ["config.json", "checkpoint.pt"])
def test_a_damaged_file_of_a_run_is_named(tmp_path: Path, name: str) -> None:
    train(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(training.TrainingError, match=f"{name} is damaged"):
        train(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from test_killed_training import CONFIG, a_label_map
from SAMMed2DLib import training

def kill(progress):
    if progress.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)

each = training.Intervals(save=1, log=1, report=kill)
training.train(CONFIG, a_label_map(), Path(sys.argv[1]), workers=1, intervals=each)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_run_whose_process_is_killed_goes_on_at_once(tmp_path: Path) -> None:
    train(tmp_path / "whole" / "run")
    folder = tmp_path / "killed" / "run"
    call = [sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parent)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, env=environment, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 1
    train(folder)
    assert essence(contents(folder)) == essence(contents(tmp_path / "whole" / "run"))


@pytest.mark.parametrize("content", ["[]", "5", "{}", '{"config": [], "base": 3}'])
def test_another_file_in_place_of_the_configuration_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(training.TrainingError, match="choose another folder"):
        train(tmp_path)
    assert (tmp_path / "config.json").read_text() == content


def test_a_log_that_was_changed_does_not_stop_a_run(tmp_path: Path) -> None:
    train(tmp_path)
    (tmp_path / "log.csv").write_bytes(b"step,loss\r\n\xff\xfe,1\r\none,2\r\n1\r\n1,0.5\r\n2,0.25\r\n")
    train(tmp_path)
    assert [row["step"] for row in run_log.read_rows(tmp_path / "log.csv")] == ["1", "2"]
