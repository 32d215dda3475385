"""Cases on the workers of a Dask cluster. Workers see the same files under the same paths, and write the outputs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from SAMMed2DLib.batch_run import FAILED, BatchCase, CaseOutcome, Work
from SAMMed2DLib.cli.common.errors import message_of
from SAMMed2DLib.system.formatting import counted

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_S = 10


class ClusterError(RuntimeError):
    """The cluster cannot be used, or not any more; the message says what to do."""


def on_cluster(address: str, do_one: Callable[[BatchCase], CaseOutcome]) -> Work:
    """Work of a cluster's workers.

    A case whose worker dies is done again by another; each yields one outcome all the same.

    Args:
        address: of the scheduler, "tcp://host:port".
        do_one: does a case on a worker; what it raises means that the worker can do no case at all.

    Raises:
        ClusterError: the package is missing; or, during the work, the scheduler cannot be reached or a worker is
            of no use.
    """
    _check_installed()

    def work(cases: Sequence[BatchCase]) -> Iterator[tuple[BatchCase, CaseOutcome]]:
        with _connected(address) as client:
            yield from _done(client, do_one, cases)

    return work


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ClusterError(
            f"--scheduler needs the package distributed ({error}): pip install 'sammed2d[cluster]'"
        ) from (error)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{address}: no Dask scheduler answers there: {message_of(error)}") from error
    try:
        if not client.scheduler_info()["workers"]:
            print(f"sammed2d: note: {address} has no worker yet; waiting for one", file=sys.stderr)
        yield client
    finally:
        client.close()


def _done(
    client: Client, do_one: Callable[[BatchCase], CaseOutcome], cases: Sequence[BatchCase]
) -> Iterator[tuple[BatchCase, CaseOutcome]]:
    from distributed import as_completed

    call = uuid4().hex[:12]  # the scheduler must not take a case for the one of an earlier call
    waiting = {
        client.submit(do_one, case, key=f"sammed2d-{call}-{number}", pure=False): case
        for number, case in enumerate(cases)
    }
    try:
        for future in as_completed(list(waiting), loop=client.loop):
            case = waiting[future]
            outcome = _outcome(case, future, len(waiting))
            del waiting[future]
            future.release()  # or the scheduler keeps all of them
            yield case, outcome
    except KeyboardInterrupt:
        finished = [future for future in waiting if future.status == "finished"]
        client.cancel([future for future in waiting if future not in finished])
        for future in finished:
            yield waiting.pop(future), future.result()
        raise
    finally:
        client.cancel(list(waiting))


def _outcome(case: BatchCase, future: Future, left: int) -> CaseOutcome:
    """What came of a case; if its worker died with the answer, this waits for another one's."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return CaseOutcome(case.name, FAILED, "its workers died one after the other; has each enough memory?")
    except (CancelledError, asyncio.CancelledError) as error:
        raise ClusterError(
            f"the scheduler is gone, {counted(left, 'case is', 'cases are')} not done; the same call goes on with them"
        ) from error
    except Exception as error:
        raise ClusterError(f"a worker can do no case: {message_of(error)}") from error
