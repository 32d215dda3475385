"""Labelled images against a model: each object by simulated prompts, one result after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.data.sa_med2d import MaskedImage
from SAMMed2DLib.evaluation.baselines import baseline_masks
from SAMMed2DLib.evaluation.evaluation_options import (
    CLICKS,
    REFERENCE,
    EvaluationError,
    EvaluationOptions,
    clicks_name,
)
from SAMMed2DLib.evaluation.prompt_file import PromptFile
from SAMMed2DLib.evaluation.protocols import reference_protocol, simulated_user_protocol
from SAMMed2DLib.evaluation.protocols.objects import Target, targets_of
from SAMMed2DLib.evaluation.saved_masks import MaskFolder
from SAMMed2DLib.evaluation.scores import ComparedModel, ObjectResult, Peer, ScoreSheet
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.session import Session


def evaluate(
    predictor: Predictor,
    images: Iterable[LabelledImage | MaskedImage],
    clicks: Sequence[int] = CLICKS,
    zoom: bool | None = None,
    box_jitter: float = 0.0,
    *,
    options: EvaluationOptions | None = None,
    peers: Sequence[Peer] = (),
) -> Iterator[ObjectResult]:
    """Segment every object of the images, one result after another.

    Args:
        predictor: the model.
        images: with their labels; see `objects.targets_of`.
        clicks: the numbers of clicks to score.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        box_jitter: also score boxes whose edges are moved by up to this share of the side, as "box ±10 %".
        options: all of that and more, instead of the three before.
        peers: other models, that get the same boxes.

    Raises:
        EvaluationError: what is asked for cannot be done.
    """
    jitters = (box_jitter,) if box_jitter else ()
    options = options or EvaluationOptions(clicks=tuple(clicks), zoom=zoom, box_jitters=jitters)
    for item in images:
        yield from evaluate_image(predictor, item, options, peers)


def evaluate_image(
    predictor: Predictor,
    item: LabelledImage | MaskedImage,
    options: EvaluationOptions,
    peers: Sequence[Peer] = (),
    done: Collection[str] = (),
    skipped: Callable[[Target, EvaluationError], None] | None = None,
    compared: Sequence[ComparedModel] = (),
    prompts: PromptFile | None = None,
    masks: MaskFolder | None = None,
) -> Iterator[ObjectResult]:
    """Segment the objects of one image.

    Args:
        predictor: the model.
        item: the image.
        options: how.
        peers: other models, that get the same boxes.
        done: names of masks that are left out.
        skipped: called with each object that cannot be scored; None raises instead.
        compared: other models, that are asked by the same protocol.
        prompts: the boxes and first clicks; None draws them.
        masks: keeps the masks that the model finds.

    Raises:
        EvaluationError: what is asked for cannot be done.
    """
    targets = [target for target in targets_of(item) if target.entry.mask not in done]
    if not targets:
        return
    if prompts is not None:
        targets = [prompts.given(target, options) for target in targets]
    session, seen = Session(predictor), [peer.embed(item.image) for peer in peers]
    others = [(model.name, Session(model.predictor), _asked_plainly(options, model)) for model in compared]
    for target in targets:
        try:
            sheet = ScoreSheet(target, options, masks)
            boxes, click = _score(sheet, session, item, target, options)
            for name, other, asked in others:
                own = ScoreSheet(target, asked)
                _score(own, other, item, target, asked)
                sheet.take(name, own)
        except reference_protocol.VanishedError as error:
            if skipped is None:
                raise
            skipped(target, error)
            continue
        for kind, mask in baseline_masks(item.image, boxes, click) if options.baselines else ():
            sheet.add(kind, mask)
        for peer, view in zip(peers, seen, strict=True):
            for kind, box in boxes.items():
                sheet.add(f"{peer.name} {kind}", peer.segment(view, box))
        yield sheet.result()


def _asked_plainly(options: EvaluationOptions, model: ComparedModel) -> EvaluationOptions:
    """The options for a model that is compared: boxes and clicks, without moved first clicks and curves."""
    return replace(options, zoom=model.zoom, click_jitters=(), most_clicks=0)


def _score(
    sheet: ScoreSheet,
    session: Session,
    item: LabelledImage | MaskedImage,
    target: Target,
    options: EvaluationOptions,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Score one object by the protocol asked for, and return its boxes and its first click, px."""
    if options.protocol == REFERENCE:
        (embedding,) = session.embed([item.image])
        reference_protocol.score(sheet, session.predictor, embedding, target, options)
        boxes = reference_protocol.slice_boxes_of(target, embedding, options)
        return boxes, reference_protocol.slice_click_of(target, embedding, options)
    simulated_user_protocol.score(sheet, session, item.image, target, options)
    click = simulated_user_protocol.first_clicks_of(target, options)[clicks_name(1)]
    return simulated_user_protocol.boxes_of(target, options), click
