"""The protocol of the simulated user ("careful"): exact boxes, and clicks on the object and on its errors.

The first click is in the middle of the object, each further one in the middle of the largest error.
Prompts are answered as everywhere in the product, by `Session.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from SAMMed2DLib.data.simulated_user import centre_error_point, centre_point, first_point
from SAMMed2DLib.evaluation.evaluation_options import (
    BOX,
    CLICK_ANYWHERE,
    FILLED_BOX,
    EvaluationOptions,
    clicks_name,
    jittered_name,
)
from SAMMed2DLib.evaluation.protocols.objects import Target, filled, jittered_click, moved_box
from SAMMed2DLib.evaluation.scores import ScoreSheet
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session

# From prompts to a mask, (H, W) bool.
Segment = Callable[[Prompts], np.ndarray]


def boxes_of(target: Target, options: EvaluationOptions) -> dict[str, np.ndarray]:
    """The object's box and the moved ones: (4,) float64 each, px, half-open."""
    box, size_hw = target.extent_xyxy, target.mask.shape
    if target.given is not None:
        kinds = [BOX, *(jittered_name(BOX, share) for share in options.box_jitters)]
        return {kind: target.given[kind] for kind in kinds}
    moved = {
        name: moved_box(box, size_hw, share, target.rng(options.seed, name))
        for share, name in ((share, jittered_name(BOX, share)) for share in options.box_jitters)
    }
    return {BOX: box, **moved}


def score(
    sheet: ScoreSheet,
    session: Session,
    image: np.ndarray,
    target: Target,
    options: EvaluationOptions,
) -> None:
    """Prompt one object in all ways.

    Args:
        sheet: takes the scores.
        session: the model, and what it has seen.
        image: (H, W, 3) uint8.
        target: the object.
        options: which ways.
    """
    image = image.copy()
    image.flags.writeable = False  # a session reads such an image once

    def found(prompts: Prompts) -> np.ndarray:
        return session.answer(image, prompts, zoom=options.zoom).mask

    boxes = boxes_of(target, options)
    sheet.add(FILLED_BOX, filled(boxes[BOX], target.mask.shape))
    for kind, box in boxes.items():
        sheet.add(kind, found(Prompts.of(box=box)))
    clicks = first_clicks_of(target, options)
    first_xy = clicks.pop(clicks_name(1))
    for count, mask, _ in click_by_click(found, target.mask, options.last_click, first_xy):
        if count in options.clicks:
            sheet.add(clicks_name(count), mask)
        if count <= options.most_clicks:
            sheet.add_to_curve(mask)
    for kind, point in clicks.items():
        sheet.add(kind, found(Prompts.of(positive=[point])))


def click_by_click(
    found: Segment, mask: np.ndarray, count: int, first_xy: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray, Prompts]]:
    """Add one click after another: their number, the mask found and all clicks so far.

    Where nothing is wrong any more, the last clicks are repeated.

    Args:
        found: gives the mask, (H, W) bool, of prompts.
        mask: the object, (H, W) bool, not empty.
        count: of clicks.
        first_xy: the first click, (2,) float64, px; None: in the middle of the object.
    """
    prompts = Prompts().with_point(centre_point(mask) if first_xy is None else first_xy, 1)
    for number in range(1, count + 1):
        answer = found(prompts)
        yield number, answer, prompts
        correction = centre_error_point(answer, mask) if number < count else None
        if correction is not None:
            prompts = prompts.with_point(*correction)


def first_clicks_of(target: Target, options: EvaluationOptions) -> dict[str, np.ndarray]:
    """The click in the middle of the object and the moved ones: (2,) float64 each, px."""
    moved = {jittered_name(clicks_name(1), share): share for share in options.click_jitters}
    if target.given is not None:
        kinds = [clicks_name(1), *moved, *([CLICK_ANYWHERE] if moved else [])]
        return {kind: target.given[kind] for kind in kinds}
    clicks = {clicks_name(1): centre_point(target.mask)}
    for kind, share in moved.items():
        clicks[kind] = jittered_click(target.mask, share, target.rng(options.seed, kind))
    if moved:
        clicks[CLICK_ANYWHERE] = first_point(target.mask, target.rng(options.seed, CLICK_ANYWHERE))[0]
    return clicks
