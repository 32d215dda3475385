"""How numbers, counts and sizes are written in messages, notes and summaries."""

from __future__ import annotations

from collections.abc import Sequence


def listed(indices: Sequence[int]) -> str:
    """Rising numbers as words: "18, 22 to 46"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def times(size: Sequence[int]) -> str:
    """Words for a size: "48 x 40 x 12"."""
    return " x ".join(map(str, size))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: "1 slice", "2 slices"; `plural` where it does not end in s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
