"""Axes of charts: round numbers, how they are written, and where a value lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        low: value at its beginning.
        high: value at its end.
        ticks: values that are marked, rising.
        texts: how they are written.
        log: whether decades are equally long.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    texts: tuple[str, ...]
    log: bool = False

    def share(self, values: np.ndarray) -> np.ndarray:
        """Where values lie, 0 at the beginning and 1 at the end of the axis."""
        values = np.asarray(values, np.float64)
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        exponents = np.log10(np.maximum(values, 1e-300))
        return (exponents - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))


def axis_for(
    values: Iterable[np.ndarray],
    *,
    limits: tuple[float, float] | None = None,
    from_zero: bool = False,
    rounded: bool = True,
    log: bool = False,
    ticks: int = 6,
) -> Axis:
    """The axis that shows values.

    Args:
        values: arrays; NaN and infinity do not count, nor on a logarithmic axis what is not positive.
        limits: its ends, None for those of the values.
        from_zero: 0 is on it; a logarithmic one begins well below the values, for bars to be seen.
        rounded: it ends at round numbers.
        log: decades are equally long; it ends at powers of ten.
        ticks: about how many marks.
    """
    low, high = limits or _limits(values, log)
    if log:
        return _log_axis(low / 2 if from_zero and limits is None else low, high)
    if from_zero and limits is None:
        low, high = min(low, 0.0), max(high, 0.0)
    if not low < high:
        margin = abs(low) * 0.1 or 0.5
        low, high = (low, low + 2 * margin) if from_zero else (low - margin, high + margin)
    step = round_step((high - low) / max(ticks - 1, 1))
    if rounded and limits is None:
        low, high = (math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    marks = tuple(n * step for n in range(first, last + 1))
    return Axis(low, high, marks, tuple(number_text(mark, step, max(abs(low), abs(high))) for mark in marks))


def _limits(values: Iterable[np.ndarray], log: bool) -> tuple[float, float]:
    arrays = [np.asarray(one, np.float64).ravel() for one in values]
    known = np.concatenate(arrays) if arrays else np.zeros(0)
    known = known[np.isfinite(known) & ((known > 0) | (not log))]
    if not known.size:
        return (1.0, 10.0) if log else (0.0, 1.0)
    return float(known.min()), float(known.max())


def _log_axis(low: float, high: float) -> Axis:
    first = math.floor(math.log10(low) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(high) - 1e-9))
    step = math.ceil((last - first) / 8)
    marks = tuple(10.0**n for n in range(first, last + 1, step))
    return Axis(10.0**first, 10.0**last, marks, tuple(number_text(mark, mark) for mark in marks), log=True)


def round_step(step: float) -> float:
    """The smallest of 1, 2, 2.5 or 5 times a power of ten that is not less than a number."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))


def number_text(value: float, step: float, largest: float | None = None) -> str:
    """A number with as many digits as a step needs; thousands as K, millions as M.

    Args:
        value: the number.
        step: neighbouring numbers differ by so much.
        largest: of the numbers that are written together, which decides on K and M; None for the number itself.
    """
    largest = abs(value) if largest is None else largest
    if abs(value) < step * 1e-6:
        return "0"
    if largest < 1e-4 or largest >= 1e10:
        return f"{value:.2g}"
    for unit, letter in ((1e6, "M"), (1e3, "K")):
        if largest >= 10 * unit:
            return f"{value / unit:.{_digits(step / unit)}f}{letter}"
    return f"{value:.{_digits(step)}f}"


def _digits(step: float) -> int:
    """Decimal places that tell multiples of a step apart."""
    return next((n for n in range(6) if abs(step * 10**n - round(step * 10**n)) < 1e-6 * step * 10**n), 6)
