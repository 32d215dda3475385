"""Which candidates were taken between prompts, as text in an attribute of their nodes.

A choice is kept with the prompts that it was made after. Where these were moved or removed since, the masks that were
chosen among are no longer there, and the choice does not count.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts

# Positions go through several 4x4 products, and through files.
_SLACK_PX = 0.1


def choices_to_text(prompts: Prompts) -> str | None:
    """The choices of prompts, each with the prompts before it; None without any."""
    entries = [[_numbers(prompts.first(count)), number] for count, number in prompts.choices]
    return json.dumps(entries) if entries else None


def with_choices(prompts: Prompts, text: str | None) -> Prompts:
    """The same prompts with the choices of a text, as far as they were made after the same prompts."""
    for numbers, number in _entries(text):
        count = len(numbers[0])
        if count > len(prompts.labels) or not _are_same(numbers, _numbers(prompts.first(count))):
            continue
        prompts = replace(prompts, choices=(*prompts.choices, (count, number)))
    return prompts


def _entries(text: str | None) -> list[tuple[list[list[Any]], int]]:
    """Of each choice the points and the box before it, and its number; nothing where a text was not written here."""
    try:
        entries = [([list(points), list(box)], number) for (points, box), number in json.loads(text or "[]")]
        good = [entry for entry in entries if isinstance(entry[1], int) and entry[1] > 0]
        return sorted(good, key=lambda entry: len(entry[0][0]))
    except (TypeError, ValueError):
        return []


def _numbers(prompts: Prompts) -> tuple[list[list[float]], list[float]]:
    """Points with their labels, and the box, slice px."""
    points = np.column_stack([prompts.points_xy, prompts.labels])
    box = np.empty(0) if prompts.box_xyxy is None else prompts.box_xyxy
    return np.round(points, 3).tolist(), np.round(box, 3).tolist()


def _are_same(numbers: Any, others: Any) -> bool:
    try:
        pairs = [(np.array(one, float), np.array(other, float)) for one, other in zip(numbers, others, strict=True)]
    except (TypeError, ValueError):
        return False
    return all(a.shape == b.shape and bool((np.abs(a - b) <= _SLACK_PX).all()) for a, b in pairs)
