"""Searches in short steps, so that a caller may do something else between them, and may stop them."""

from __future__ import annotations

from collections.abc import Callable, Generator

from SAMMed2DLib.proposals.ranking import Proposal

OnProgress = Callable[[float], None]
ShouldStop = Callable[[], bool]
# Yields the share of the work that is done, 0 .. 1; returns what was found.
Steps = Generator[float, None, list[Proposal]]


def take_all(steps: Steps, on_progress: OnProgress) -> list[Proposal]:
    """Take all steps of a search.

    Args:
        steps: of the search; what they raise ends it.
        on_progress: told the share of the work after each step.
    """
    while True:
        try:
            on_progress(next(steps))
        except StopIteration as end:
            found: list[Proposal] = end.value
            return found
