"""How further objects of one kind are named."""

from __future__ import annotations

from collections.abc import Collection


def base_name(name: str) -> str:
    """The name that segments of several objects share: "lesion" of "lesion #2"."""
    return name.rsplit(" #", 1)[0]


def numbered_names(first: str, taken: Collection[str], count: int) -> list[str]:
    """Names for further objects, as "lesion #2" and "lesion #3" beside "lesion".

    Args:
        first: name of one of the objects.
        taken: names that are in use.
        count: how many names are wanted.
    """
    base = base_name(first)
    free = (name for n in range(2, len(taken) + count + 2) if (name := f"{base} #{n}") not in taken)
    return [next(free) for _ in range(count)]
