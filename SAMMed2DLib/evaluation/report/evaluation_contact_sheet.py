"""The contact sheet of the best, median and worst objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.data.sa_med2d import MaskedImage
from SAMMed2DLib.evaluation.evaluation_options import BOX, REFERENCE, EvaluationOptions, clicks_name
from SAMMed2DLib.evaluation.evaluation_run import Source
from SAMMed2DLib.evaluation.prompt_file import PromptFile
from SAMMed2DLib.evaluation.protocols import reference_protocol, simulated_user_protocol
from SAMMed2DLib.evaluation.protocols.objects import Target, extent_of, targets_of
from SAMMed2DLib.evaluation.scores import ObjectResult
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.inference.zoom import Crop
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView

ACROSS = 4
FOUND_COLOR, LABEL_COLOR = (1.00, 0.50, 0.00), (1.00, 1.00, 1.00)
_MARGIN = 1.5  # of the shown part's side over the object's


@dataclass(frozen=True)
class Chosen:
    """An object of the contact sheet: where it stands, by which prompts, and its result."""

    place: str
    kind: str
    result: ObjectResult


def choose(results: Sequence[ObjectResult], kind: str, across: int = ACROSS) -> list[Chosen]:
    """The best, the median and the worst objects, of as many data sets and images as there are.

    Args:
        results: of all objects.
        kind: of prompt, whose Dice counts.
        across: how many of each.
    """
    scores = np.array([result.dice[kind] for result in results])
    orders = {"best": -scores, "median": np.abs(scores - np.median(scores)), "worst": scores}
    return [
        Chosen(place, kind, result)
        for place, order in orders.items()
        for result in _varied([results[i] for i in np.argsort(order, kind="stable")], across)
    ]


def _varied(ranked: Sequence[ObjectResult], count: int) -> list[ObjectResult]:
    """The first ones, each of another data set; then, if they do not suffice, each of another image."""
    chosen: list[ObjectResult] = []
    for length in (1, 2, 3):
        for result in ranked:
            if len(chosen) < count and result.key[:length] not in (other.key[:length] for other in chosen):
                chosen.append(result)
    return sorted(chosen, key=ranked.index)


def draw_contact_sheet(
    predictor: Predictor,
    sources: Iterable[Source],
    results: Sequence[ObjectResult],
    options: EvaluationOptions,
    side_px: int = 480,
    prompts: PromptFile | None = None,
) -> np.ndarray:
    """Draw the chosen objects of a box and of the most clicks that are scored; the model is asked again.

    Args:
        predictor: the model.
        sources: the images; only those that are shown are read.
        results: of all objects.
        options: by which they were found.
        side_px: longer side of each panel.
        prompts: the boxes and first clicks; None draws them.

    Returns:
        (H, W, 3) uint8.
    """
    last = max(options.clicks)
    chosen = choose(results, BOX) + choose(results, clicks_name(last))
    by_image: dict[tuple[str, str], list[int]] = {}
    for number, shown in enumerate(chosen):
        by_image.setdefault((shown.result.dataset, shown.result.image), []).append(number)
    panels, captions = {}, {}
    for source in sources:
        numbers = by_image.get((source.dataset, source.image), ())
        if numbers and (item := source.read(lambda problem: None)) is not None:
            for n in numbers:
                panels[n], captions[n] = _drawn(predictor, item, chosen[n], options, side_px, prompts)
    return contact_sheet([panels[n] for n in sorted(panels)], [captions[n] for n in sorted(panels)], ACROSS)


def _drawn(
    predictor: Predictor,
    item: LabelledImage | MaskedImage,
    chosen: Chosen,
    options: EvaluationOptions,
    side_px: int,
    given: PromptFile | None,
) -> tuple[np.ndarray, str]:
    """The panel of an object and its caption."""
    target = next(target for target in targets_of(item) if target.entry.mask == chosen.result.entry.mask)
    if given is not None:
        target = given.given(target, options)
    predict = _predict_in_reference_protocol if options.protocol == REFERENCE else _predict_as_simulated_user
    found, prompts = predict(predictor, item.image, target, chosen.kind, options)
    crop = _shown_part(found | target.mask)
    layers = [MaskLayer(crop.cut(found), FOUND_COLOR, 0.3), MaskLayer(crop.cut(target.mask), LABEL_COLOR, 0.0)]
    image = np.ascontiguousarray(crop.cut(item.image))
    panel = draw_slice(image, _view_of(image, side_px), layers, [crop.prompts(prompts)], letters=False)
    what = chosen.result.entry.anatomy or chosen.result.entry.modality
    return panel, f"{chosen.kind}, {chosen.place}: {dice(found, target.mask):.3f}\n{chosen.result.dataset}\n{what}"


def _predict_as_simulated_user(
    predictor: Predictor, image: np.ndarray, target: Target, kind: str, options: EvaluationOptions
) -> tuple[np.ndarray, Prompts]:
    session = Session(predictor)

    def answer(prompts: Prompts) -> np.ndarray:
        return session.answer(image, prompts, zoom=options.zoom).mask

    if kind == BOX:
        prompts = Prompts.of(box=simulated_user_protocol.boxes_of(target, options)[BOX])
        return answer(prompts), prompts
    first_xy = simulated_user_protocol.first_clicks_of(target, options)[clicks_name(1)]
    steps = simulated_user_protocol.click_by_click(answer, target.mask, max(options.clicks), first_xy)
    *_, (_, found, prompts) = steps
    return found, prompts


def _predict_in_reference_protocol(
    predictor: Predictor, image: np.ndarray, target: Target, kind: str, options: EvaluationOptions
) -> tuple[np.ndarray, Prompts]:
    embedding = predictor.embed([image])
    user, frame = reference_protocol.FramePredictor(predictor, embedding), embedding.frames[0]
    if kind == BOX:
        box = reference_protocol.boxes_of(target, embedding, options)[BOX]
        shown = Prompts.of(box=reference_protocol.slice_boxes_of(target, embedding, options)[BOX])
        return user.predict(box_xyxy=box).slice_hw, shown
    steps = reference_protocol.click_by_click(user, target, embedding, options)
    found, points, labels = next(islice(steps, max(options.clicks) - 1, None))
    points_xy = (points[labels >= 0] - frame.offset_xy) / frame.scale_xy
    return found.slice_hw, Prompts(points_xy, labels[labels >= 0])


def _shown_part(mask: np.ndarray) -> Crop:
    """A square around a mask, moved rather than cut at the border of the image."""
    region = extent_of(mask)
    side = int(np.ceil((region[2:] - region[:2]).max() * _MARGIN))
    spans = []
    for low, high, size in zip(region[:2], region[2:], mask.shape[::-1], strict=True):
        length = min(side, size)
        start = min(max(int((low + high - length) / 2), 0), size - length)
        spans.append((start, start + length))
    (x0, x1), (y0, y1) = spans
    return Crop(x0, y0, x1, y1, (mask.shape[0], mask.shape[1]))


def _view_of(image: np.ndarray, side_px: int) -> SliceView:
    """The view of an image that has no orientation."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    size_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    return SliceView(False, (False, False), (size_hw[1] / width, size_hw[0] / height), size_hw, ("", ""))
