"""`sammed2d batch --scheduler`: a real scheduler and workers; whatever dies, each case is done once in the table."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from cluster_cases import HALF, SLOW, do_and_stop

from SAMMed2DLib.__main__ import FAILURE, OK, main
from SAMMed2DLib.batch_run import BatchCase, CaseOutcome, CaseResult, run_cases
from SAMMed2DLib.cli import batch as batch_command
from SAMMed2DLib.cli.common import cluster
from SAMMed2DLib.io.segmentation_io import read_segmentation

pytest.importorskip("distributed")
LIB = Path(__file__).parent
LONGEST_WAIT_S = 300
NAMES = ("first", SLOW, "second", "third", "fourth", "fifth")


def wait_for(condition: Callable[[], Any], words: str) -> Any:
    """What the condition gives, once it gives something."""
    end = time.monotonic() + LONGEST_WAIT_S
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {words}"
        time.sleep(0.02)
    return found


class Cluster:
    """A scheduler and two workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = wait_for(self._address, "the scheduler")
        self.workers = [self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]

    def _start(self, kind: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(self._file), *words]
        paths = os.pathsep.join([str(LIB), str(LIB.parents[1])])
        with (self._folder / f"{kind}.log").open("ab") as log:
            environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
            return subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log)

    def _address(self) -> str | None:
        try:
            return json.loads(self._file.read_text())["address"]
        except (OSError, ValueError):
            return None

    def wait_for_workers(self) -> None:
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=LONGEST_WAIT_S)

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "dask"
    folder.mkdir()
    running = Cluster(folder)
    yield running
    running.stop()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Cases, each with its own image and output, and one prompts file."""
    volume = np.random.default_rng(0).integers(0, 500, (4, 30, 40)).astype(np.int16)
    prompts = {"segments": [{"name": "ball", "prompts": [{"slice": 2, "box": [5, 5, 30, 25]}]}]}
    (tmp_path / "p.json").write_text(json.dumps(prompts))
    lines = ["case,image,output,prompts"]
    for name in NAMES:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume), str(tmp_path / f"{name}.nrrd"))
        lines.append(f"{name},{name}.nrrd,out/{name}.seg.nrrd,p.json")
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cases.csv"


def rows_of(table: Path) -> list[dict[str, str]]:
    results = table.with_name("results.csv")
    return list(csv.DictReader(results.read_text().splitlines())) if results.exists() else []


def begun_in(signs: Path) -> list[list[str]]:
    """Name and process of each begun case."""
    return [line.split() for line in (signs / "begun").read_text().splitlines()]


def batch(table: Path, model: Path, address: str, *words: str) -> int:
    return main(["batch", str(table), "--model", str(model), "--device", "cpu", "--scheduler", address, *words])


def test_a_worker_that_is_killed_on_a_case_leaves_each_case_done_once_and_every_output_whole(
    table: Path, tiny_model: Path, processes: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = table.parent / "signs"
    signs.mkdir()
    monkeypatch.setattr(batch_command, "do_remotely", partial(do_and_stop, folder=signs))
    processes.wait_for_workers()
    killed: list[int] = []

    def kill() -> None:
        try:
            wait_for((signs / "pid").exists, "the slow case")
            slow = (signs / "pid").read_text()
            before = {name for name, pid in begun_in(signs) if pid == slow} - {SLOW}
            wait_for(lambda: before <= {row["case"] for row in rows_of(table)}, "what the worker did before")
            assert next((table.parent / "out").glob(f".*{SLOW}*")).read_bytes() == HALF
            killed.append(int(slow))
            os.kill(killed[0], signal.SIGKILL)
        finally:
            (signs / "killed").touch()

    killing = threading.Thread(target=kill)
    killing.start()
    assert batch(table, tiny_model, processes.address) == OK
    killing.join()

    assert [process.pid for process in processes.workers if process.poll() == -signal.SIGKILL] == killed
    assert sorted(name for name, _ in begun_in(signs)) == sorted([*NAMES, SLOW]), (
        "the slow case was begun twice, the others once"
    )
    rows = rows_of(table)
    assert sorted(row["case"] for row in rows) == sorted(NAMES)
    assert {row["status"] for row in rows} == {"done"}
    for row in rows:
        found = read_segmentation(table.parent / "out" / f"{row['case']}.seg.nrrd").mask("ball")
        assert row["voxels"] == f"ball={found.sum()}" and found.any()
    assert sorted(os.listdir(table.parent / "out")) == sorted(f"{name}.seg.nrrd" for name in NAMES)


@pytest.fixture
def threads() -> Iterator[str]:
    """The address of a scheduler with one worker, both in this process."""
    from distributed import LocalCluster

    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=False, protocol="tcp", host="127.0.0.1", **options) as running:
        yield running.scheduler_address


def cases_of(folder: Path, names: Sequence[str]) -> list[BatchCase]:
    return [BatchCase(name, name, (folder / name,)) for name in names]


def one_then_wait(case: BatchCase) -> CaseOutcome:
    if case.name != "a":
        wait_for(case.outputs[0].with_name("go").exists, "the end of the first call")
    return write_name(case)


def of_no_use(case: BatchCase) -> CaseOutcome:
    raise batch_command.OtherWeightsError("these are other weights")


def count_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


def count_ready(dask_worker: Any) -> int:
    return sum(task.state != "executing" and task.state != "cancelled" for task in dask_worker.state.tasks.values())


def write_name(case: BatchCase) -> CaseOutcome:
    case.outputs[0].write_text(case.request)
    return CaseOutcome(case.name, "done", result=CaseResult({"voxels": 1}))


def test_a_stop_gives_up_what_waits_and_keeps_what_is_finished(tmp_path: Path, threads: str) -> None:
    from distributed import Client

    def stop(*told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cases(cases_of(tmp_path, "abcd"), cluster.on_cluster(threads, one_then_wait), tmp_path / "r.csv", told=stop)
    text = (tmp_path / "r.csv").read_text()
    assert [line.split(",")[:2] for line in text.splitlines()[1:]] == [["a", "done"]]
    with Client(threads, set_as_default=False) as client:
        wait_for(lambda: not client.run_on_scheduler(count_tasks), "no task")
        wait_for(lambda: not any(client.run(count_ready).values()), "no task at the worker")
    (tmp_path / "go").touch()
    assert not {"c", "d"} & set(os.listdir(tmp_path)), "these had not begun"
    told: list[str] = []
    work = cluster.on_cluster(threads, write_name)
    run_cases(cases_of(tmp_path, "abcd"), work, tmp_path / "r.csv", told=lambda case, *more: told.append(case.name))
    assert sorted(told) == ["b", "c", "d"]


def test_a_worker_that_can_do_no_case_ends_the_call_and_fails_no_case(tmp_path: Path, threads: str) -> None:
    with pytest.raises(cluster.ClusterError, match="a worker can do no case: these are other weights"):
        run_cases(cases_of(tmp_path, "ab"), cluster.on_cluster(threads, of_no_use), tmp_path / "r.csv")
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 1


def test_a_case_that_kills_its_workers_has_failed(tmp_path: Path) -> None:
    from distributed import KilledWorker

    class Killed:
        def result(self) -> None:
            raise KilledWorker("key", None, 3)

    (case,) = cases_of(tmp_path, "a")
    outcome = cluster._outcome(case, Killed(), 1)
    assert (outcome.status, outcome.error[:16]) == ("failed", "its workers died")


def test_a_bad_case_on_a_cluster_does_not_stop_the_others(
    table: Path, tiny_model: Path, threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (table.parent / "second.nrrd").write_bytes(b"no image")
    assert batch(table, tiny_model, threads) == FAILURE
    assert {row["case"]: row["status"] for row in rows_of(table)} == dict.fromkeys(NAMES, "done") | {"second": "failed"}
    assert "6 cases: 5 done, 1 failed" in capsys.readouterr().out


def test_a_scheduler_that_does_not_answer_is_told(
    table: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    assert batch(table, tiny_model, "tcp://127.0.0.1:1") == FAILURE
    assert "tcp://127.0.0.1:1: no Dask scheduler answers there" in capsys.readouterr().err
    assert rows_of(table) == []


def test_a_missing_package_is_told_with_the_way_to_get_it(
    table: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert batch(table, tiny_model, "tcp://127.0.0.1:1") == FAILURE
    assert "pip install 'sammed2d[cluster]'" in capsys.readouterr().err
