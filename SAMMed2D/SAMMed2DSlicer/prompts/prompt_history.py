"""What was decided between prompts, as text in attributes of their nodes: candidates that were taken, and acceptances.

A decision is kept with the prompts that it was made after. Where these were moved or removed since, the masks that it
was about are no longer there, and it does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.prompts.prompt_nodes import ACCEPTANCES, CHOICES

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

# Positions go through several 4x4 products, and through files.
_SLACK_PX = 0.1


def take_candidate(group: PromptGroup, number: int) -> None:
    """Take another one of the masks that the prompts of a group may mean, from 1; prompts after them go on from it."""
    prompts = group.prompts().with_candidate(number)
    _keep(group, CHOICES, _to_text(prompts, prompts.choices))


def note_acceptance(group: PromptGroup, is_accepted: bool) -> None:
    """Keep that the mask of a group's present prompts was accepted, or is no longer: it is locked for later prompts."""
    try:
        prompts = group.prompts()  # with the acceptances before that of the present prompts
    except ValueError:  # they cannot be read now, so that nothing is known to be locked
        return
    counts = (*prompts.accepted, *([prompts.count] if is_accepted else []))
    _keep(group, ACCEPTANCES, _to_text(prompts, [(count, 1) for count in counts]))


def with_history(prompts: Prompts, nodes: Sequence[Any]) -> Prompts:
    """Prompts of nodes with what was decided between them, as far as the prompts before it are the same."""
    if not nodes:
        return prompts
    choices = tuple(_decisions(prompts, _attribute(nodes, CHOICES)))
    counts = tuple(count for count, _ in _decisions(prompts, _attribute(nodes, ACCEPTANCES)))
    return replace(prompts, choices=choices, accepted=counts).first(prompts.count)


def _keep(group: PromptGroup, attribute: str, text: str | None) -> None:
    for node in group.nodes:
        if node.GetAttribute(attribute) != text:
            node.SetAttribute(attribute, text)


def _attribute(nodes: Sequence[Any], name: str) -> str | None:
    return next((text for node in nodes if (text := node.GetAttribute(name))), None)


def _to_text(prompts: Prompts, decisions: Sequence[tuple[int, int]]) -> str | None:
    """Decisions, each a number of prompts and another number, with the prompts before them; None without any."""
    entries = [[_numbers(prompts.first(count)), number] for count, number in decisions]
    return json.dumps(entries) if entries else None


def _decisions(prompts: Prompts, text: str | None) -> Iterator[tuple[int, int]]:
    """The decisions of a text that were made after the same prompts."""
    for numbers, number in _entries(text):
        count = _count(numbers)
        if count <= prompts.count and _are_same(numbers, _numbers(prompts.first(count))):
            yield count, number


def _entries(text: str | None) -> list[tuple[list[list[Any]], int]]:
    """Of each decision the prompts before it, and its number; nothing where a text was not written here."""
    try:
        entries = [([list(numbers) for numbers in before], number) for before, number in json.loads(text or "[]")]
        good = [entry for entry in entries if isinstance(entry[1], int) and entry[1] > 0 and len(entry[0]) >= 2]
        return sorted(good, key=lambda entry: _count(entry[0]))
    except (TypeError, ValueError):
        return []


def _count(numbers: Sequence[Sequence[Any]]) -> int:
    """How many points and strokes numbers of `_numbers` are of."""
    return len(numbers[0]) + len(numbers) - 2


def _numbers(prompts: Prompts) -> list[list[Any]]:
    """Points with their labels, the box, and each stroke with what it is, slice px."""
    points = np.column_stack([prompts.points_xy, prompts.labels])
    box = np.empty(0) if prompts.box_xyxy is None else prompts.box_xyxy
    strokes = [
        [stroke.after, stroke.label, stroke.is_closed, *np.round(stroke.points_xy, 3).ravel().tolist()]
        for stroke in prompts.strokes
    ]
    return [np.round(points, 3).tolist(), np.round(box, 3).tolist(), *strokes]


def _are_same(numbers: Any, others: Any) -> bool:
    try:
        pairs = [(np.array(one, float), np.array(other, float)) for one, other in zip(numbers, others, strict=True)]
    except (TypeError, ValueError):
        return False
    return all(a.shape == b.shape and bool((np.abs(a - b) <= _SLACK_PX).all()) for a, b in pairs)
