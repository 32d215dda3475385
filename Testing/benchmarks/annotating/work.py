"""What a user does until an object is finished: strokes by their kind, and the computing that is waited for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

# Assumed, not measured: what a practised user needs for one of each, with looking, aiming and going to the slice.
SECONDS: dict[str, float] = {
    "click": 1.5,
    "box": 3.0,
    "outline": 8.0,  # drawn along the border of one region on one slice, whatever its length
    "paint": 4.0,  # one brush stroke, or a coarse line around an object
    "number": 4.0,  # a threshold or a range, set with a slider
    "key": 0.5,  # or a button
}


@dataclass
class Work:
    """The work on one case with one way.

    Attributes:
        most: strokes after which the user gives up.
        strokes: how many of each kind; keys and buttons count.
        computing_s: processor time of one thread that was waited for, s.
    """

    most: int
    strokes: Counter[str] = field(default_factory=Counter)
    computing_s: float = 0.0

    @property
    def total(self) -> int:
        """All strokes."""
        return self.strokes.total()

    @property
    def is_over(self) -> bool:
        """Whether the user gives up."""
        return self.total >= self.most

    def add(self, kind: str, count: int = 1) -> None:
        """Count strokes of a kind of `SECONDS`."""
        if kind not in SECONDS:
            raise ValueError(f"there is no stroke {kind!r}; choose of {', '.join(SECONDS)}")
        self.strokes[kind] += count

    def include(self, other: Work) -> None:
        """Count another work, too."""
        self.strokes += other.strokes
        self.computing_s += other.computing_s

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Time what is done meanwhile."""
        began = time.process_time()
        try:
            yield
        finally:
            self.computing_s += time.process_time() - began

    def human_s(self, seconds: Mapping[str, float]) -> float:
        """What the strokes take, s, by what one of each kind takes."""
        return sum(seconds[kind] * count for kind, count in self.strokes.items())


@dataclass(frozen=True)
class Finished:
    """How a way ended.

    Attributes:
        case: name of the case.
        way: name of the way.
        work: that it took.
        dice: of the whole case, 0 .. 1.
        target: that was aimed at.
    """

    case: str
    way: str
    work: Work
    dice: float
    target: float

    @property
    def is_reached(self) -> bool:
        """Whether the target was reached."""
        return self.dice >= self.target
