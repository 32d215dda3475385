"""The steps of an interaction: a box and points as they were given, and what each changes about the mask before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.mask_correction import anchored, untouched, within_reach
from SAMMed2DLib.inference.point_constraints import corrected, held, within_lassos
from SAMMed2DLib.inference.prompt_parts.given import given_to_model
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import PromptError, Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.zoom import ViewPrediction


@dataclass(eq=False)
class Step:
    """A step of a chain of prompts: the prompts so far, what was found, and the masks that may be meant."""

    prompts: Prompts
    found: ViewPrediction
    candidates: tuple[ViewPrediction, ...] = ()

    def is_of(self, prompts: Prompts) -> bool:
        """Whether these prompts are the same but for the candidate that is taken after them."""
        return self.prompts.with_candidate(None) == prompts.with_candidate(None)

    @property
    def taken(self) -> ViewPrediction:
        """What the next step goes on from."""
        from SAMMed2DLib.inference.candidates import taken

        number = self.prompts.candidate
        return self.found if number is None else taken(self.candidates, number)


def prompt_steps(prompts: Prompts, has_mask: bool) -> Iterator[Prompts]:
    """The prompts as they grew: the box, then point after point; the first step says where the object is."""
    if prompts.box_xyxy is not None:
        count = 0
    elif has_mask:
        count = 1
    elif says_where(prompts):
        count = _labels(prompts).index(1) + 1
    else:
        raise PromptError("there are negative points only: add a point on the object, or a box around it")
    for n in range(count, prompts.count + 1):
        yield prompts.first(n)


def taken_over(
    before: ViewPrediction | None, prompts: Prompts, fixed_hw: np.ndarray | None, found: ViewPrediction
) -> ViewPrediction:
    """What the newest prompt changes about the mask before it; the rest stays.

    Args:
        before: the mask; None for the first prompt.
        prompts: all so far, the newest one last.
        fixed_hw: (H, W) bool, see `fixed_mask`.
        found: with these prompts.
    """
    if before is None:
        return replace(found, mask=held(within_lassos(found.mask, prompts), prompts)) if prompts.strokes else found
    seen = before.mask.copy()
    found.view.cut(seen)[...] = found.view.cut(found.mask)
    seen = within_lassos(seen, prompts) | (seen & before.mask)
    if fixed_hw is not None or (prompts.count and isinstance(prompts.in_order[-1], Stroke)):
        seen = within_reach(before.mask, seen, prompts)
    if fixed_hw is not None:
        seen |= untouched(fixed_hw & before.mask, prompts)
    return replace(found, mask=held(corrected(before.mask, seen, prompts), prompts))


def fixed_mask(steps: Sequence[Step], prompts: Prompts, known_hw: np.ndarray | None) -> np.ndarray | None:
    """The mask that the newest prompt corrects: it changes that near itself only.

    Args:
        steps: those before that prompt.
        prompts: all so far.
        known_hw: (H, W) bool, the mask that was there before the first prompt, or None.
    Returns:
        (H, W) bool, the mask that was accepted last, or else was there before; None while an object is begun.
    """
    accepted = (step.taken.mask for step in reversed(steps) if step.prompts.count in prompts.accepted)
    return next(accepted, known_hw)


def says_where(prompts: Prompts) -> bool:
    """Whether the prompts tell where an object is: a box, or a positive point or stroke."""
    return prompts.box_xyxy is not None or 1 in _labels(prompts)


def _labels(prompts: Prompts) -> list[int]:
    """The labels of points and strokes in their order."""
    return [each.label if isinstance(each, Stroke) else int(prompts.labels[each]) for each in prompts.in_order]


def model_request(
    before: ViewPrediction | None, prompts: Prompts, is_correction: bool, size_hw: tuple[int, int]
) -> tuple[Prompts, ViewPrediction | None]:
    """What the model is given for the newest prompt, and what it refines; None for nothing.

    Args:
        before: the mask so far; None for the first prompt.
        prompts: all so far, the newest one last.
        is_correction: of a mask that was there before the first prompt.
        size_hw: of the slice, px.
    """
    from SAMMed2DLib.inference.zoom import ViewPrediction

    given = given_to_model(prompts, size_hw, None if before is None else before.mask)
    newest = prompts.in_order[-1] if prompts.count else None
    if isinstance(newest, Stroke) and newest.label and (newest.is_closed or before is None):
        about = newest.object_mask(size_hw)
        return given, ViewPrediction.of_mask(about if before is None else about | before.mask)
    if is_correction and before is not None:
        return correction_of(before, prompts, given)
    return given, before


def correction_of(before: ViewPrediction, prompts: Prompts, given: Prompts) -> tuple[Prompts, ViewPrediction | None]:
    """Return prompts for the correction of a mask that was there before, and what they refine; None for nothing.

    Args:
        before: the mask.
        prompts: all so far, the newest one last.
        given: the same, as `given_to_model` makes them.
    """
    if not before.mask.any():
        return given, None
    completed = anchored(before.mask, given)
    if completed is not None:
        return completed, before
    if not prompts.count:
        return given, None
    # The newest prompt is about something beside the mask, which the positive ones before it say nothing about.
    *earlier, newest = zip(prompts.in_order, _labels(prompts), strict=True)
    kept = prompts.of_those([each for each, label in earlier if label == 0] + [newest[0]])
    size_hw = (before.mask.shape[0], before.mask.shape[1])
    return given_to_model(replace(kept, box_xyxy=None), size_hw), None
