"""The protocol "careful": exact boxes, and clicks in the middle of the object and then of the largest error.

All clicks are given together with the last logits, as the product does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ..predictor import Embedding, Predictor
from ..prompts import Prompts
from ..simulation import centre_error_point, centre_point, first_point
from ..zoom import ObjectPredictor
from .objects import Target, filled, jittered_click, moved_box
from .options import (
    BOX,
    CLICK_ANYWHERE,
    FILLED_BOX,
    Options,
    clicks_name,
    jittered_name,
)
from .scores import ScoreSheet


def boxes_of(target: Target, options: Options) -> dict[str, np.ndarray]:
    """The object's box and the moved ones: (4,) float64 each, px, half-open."""
    box, size_hw = target.extent_xyxy, target.mask.shape
    moved = {
        name: moved_box(box, size_hw, share, target.rng(options.seed, name))
        for share, name in ((share, jittered_name(BOX, share)) for share in options.box_jitters)
    }
    return {BOX: box, **moved}


def score(
    sheet: ScoreSheet,
    predictor: Predictor,
    image: np.ndarray,
    embedding: Embedding,
    target: Target,
    options: Options,
) -> None:
    """Prompt one object in all ways.

    Args:
        sheet: takes the scores.
        predictor: the model.
        image: (H, W, 3) uint8.
        embedding: of the image.
        target: the object.
        options: which ways.
    """
    user = partial(ObjectPredictor, predictor, image, embedding=embedding, zoom=options.zoom)
    boxes = boxes_of(target, options)
    sheet.add(FILLED_BOX, filled(boxes[BOX], target.mask.shape))
    for kind, box in boxes.items():
        sheet.add(kind, user().predict(Prompts.of(box=box)).mask)
    for count, mask, _ in click_by_click(user(), target.mask, options.last_click):
        if count in options.clicks:
            sheet.add(clicks_name(count), mask)
        if count <= options.most_clicks:
            sheet.add_to_curve(mask)
    for kind, point in _other_first_clicks(target, options):
        sheet.add(kind, user().predict(Prompts.of(positive=[point])).mask)


def click_by_click(user: ObjectPredictor, mask: np.ndarray, count: int) -> Iterator[tuple[int, np.ndarray, Prompts]]:
    """Give an object one click after another: their number, the mask found and all clicks so far.

    Where nothing is wrong any more, the last clicks are given again.
    """
    prompts = Prompts().with_point(centre_point(mask), 1)
    for number in range(1, count + 1):
        found = user.predict(prompts).mask
        yield number, found, prompts
        correction = centre_error_point(found, mask) if number < count else None
        if correction is not None:
            prompts = prompts.with_point(*correction)


def _other_first_clicks(target: Target, options: Options) -> Iterator[tuple[str, np.ndarray]]:
    for share in options.click_jitters:
        kind = jittered_name(clicks_name(1), share)
        yield kind, jittered_click(target.mask, share, target.rng(options.seed, kind))
    if options.click_jitters:
        yield CLICK_ANYWHERE, first_point(target.mask, target.rng(options.seed, CLICK_ANYWHERE))[0]
