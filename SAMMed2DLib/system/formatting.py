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


def shown(value: object, longest: int = 60) -> str:
    """A value that a file holds, of any kind, for a message: in one line, and cut short."""
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return f"a number of {value.bit_length()} bits"
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits inside it
        return f"something long ({type(value).__name__})"
    words = "".join(letter if letter.isprintable() else "?" for letter in words[: longest + 1])
    return words if len(words) <= longest else f"{words[:longest]}…"


def json_kind(value: object) -> str:
    """What a value of a JSON file is, in words."""
    if value is None:
        return "null"
    kinds = {bool: "true or false", str: "text", int: "number", float: "number", list: "list", dict: "object"}
    return kinds.get(type(value), "something else")


def times(size: Sequence[int]) -> str:
    """Words for a size: "48 x 40 x 12"."""
    return " x ".join(map(str, size))


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: "1 slice", "2 slices"; `plural` where it does not end in s.

    Args:
        count: how many.
        noun: for one.
        plural: for more; None adds an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
