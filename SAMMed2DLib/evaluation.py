"""How good the masks are: simulated prompts on labelled images, Dice for each object.

The box is the object's own; on request it is scored once more with its edges moved. Clicks are those of a careful
user: the first in the middle of the object, each further one in the middle of the largest error, all of them given
together with the last logits. All are deterministic, so two evaluations of the same weights agree to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .components import label_components
from .dataset import MIN_OBJECT_FRACTION, LabelledImage
from .metrics import dice
from .predictor import Predictor
from .prompts import Prompts, box_of_mask
from .simulation import centre_error_point, centre_point
from .zoom import ObjectPredictor

CLICKS = (1, 3, 5)


@dataclass(frozen=True)
class ObjectResult:
    """Dice of one object under every kind of prompt.

    Attributes:
        dataset: the data set it is from.
        image: the image's name.
        label: its class in the label map.
        area_px: its size.
        dice: "filled box" (the box itself taken as a mask), "box", "1 click", "3 clicks" and so on.
    """

    dataset: str
    image: str
    label: int
    area_px: int
    dice: dict[str, float]


def evaluate(
    predictor: Predictor,
    images: Iterable[LabelledImage],
    clicks: Sequence[int] = CLICKS,
    zoom: bool | None = None,
    box_jitter: float = 0.0,
) -> Iterator[ObjectResult]:
    """Segment every connected object of the images, one result after another.

    Objects under 0.153 % of the frame are left out, as in the published data.

    Args:
        predictor: the model.
        images: with their labels.
        clicks: the numbers of clicks to score.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        box_jitter: also score boxes whose edges are moved by up to this share of the side, as "box ±10 %".
    """
    rng = np.random.default_rng(0)
    for item in images:
        masks = list(single_objects(item.label))
        if not masks:
            continue
        embedding = predictor.embed([item.image])
        for label, mask in masks:
            user = partial(ObjectPredictor, predictor, item.image, embedding=embedding, zoom=zoom)
            scores = _box_scores(user(), mask)
            if box_jitter:
                moved = user().predict(Prompts.of(box=jittered_box(mask, box_jitter, rng)))
                scores[f"box ±{box_jitter:.0%}".replace("%", " %")] = dice(moved.mask, mask)
            scores |= _click_scores(user(), mask, clicks)
            yield ObjectResult(item.dataset, item.name, label, int(mask.sum()), scores)


def single_objects(label_hw: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Class and mask (H, W) bool of each connected region that is large enough to be counted."""
    parts = label_components(label_hw)
    for number in np.flatnonzero(parts.area_px >= MIN_OBJECT_FRACTION * label_hw.size):
        yield int(parts.label[number]), parts.mask(int(number) + 1)


def jittered_box(mask: np.ndarray, jitter: float, rng: np.random.Generator) -> np.ndarray:
    """Return the object's box, each edge moved by up to `jitter` of the side, within the image.

    Args:
        mask: (H, W) bool, not empty.
        jitter: 0.1 moves an edge by up to a tenth of the box's width or height, either way.
        rng: source of random numbers; four draws.
    Returns:
        (4,) float64, (x0, y0, x1, y1), half-open, at least 1 px wide and high.
    """
    box = box_of_mask(mask).astype(np.float64)
    moved = box + rng.uniform(-jitter, jitter, 4) * np.tile(box[2:] - box[:2], 2)
    size_xy = np.array(mask.shape[::-1], dtype=np.float64)
    low = np.clip(moved[:2], 0, size_xy - 1)
    return np.concatenate([low, np.clip(moved[2:], low + 1, size_xy)])


def _box_scores(user: ObjectPredictor, mask: np.ndarray) -> dict[str, float]:
    box = box_of_mask(mask)
    x0, y0, x1, y1 = box.astype(int)
    filled = np.zeros_like(mask)
    filled[y0:y1, x0:x1] = True
    found = user.predict(Prompts.of(box=box))
    return {"filled box": dice(filled, mask), "box": dice(found.mask, mask)}


def _click_scores(user: ObjectPredictor, mask: np.ndarray, clicks: Sequence[int]) -> dict[str, float]:
    prompts = Prompts().with_point(centre_point(mask), 1)
    scores = {}
    for count in range(1, max(clicks) + 1):
        found = user.predict(prompts).mask
        if count in clicks:
            scores[f"{count} click{'s' if count > 1 else ''}"] = dice(found, mask)
        correction = centre_error_point(found, mask)
        if correction is not None:
            prompts = prompts.with_point(*correction)
    return scores


def mean_by_dataset(results: Iterable[ObjectResult]) -> dict[str, dict[str, float]]:
    """Mean Dice over the objects of each data set, with their number under "objects"."""
    grouped: dict[str, list[ObjectResult]] = {}
    for result in results:
        grouped.setdefault(result.dataset, []).append(result)
    return {
        name: {"objects": len(group)}
        | {kind: float(np.mean([one.dice[kind] for one in group])) for kind in group[0].dice}
        for name, group in sorted(grouped.items())
    }


def macro_mean(by_dataset: dict[str, dict[str, float]]) -> dict[str, float]:
    """Mean over data sets, each counting the same; "objects" is their sum."""
    rows = list(by_dataset.values())
    kinds = [kind for kind in rows[0] if kind != "objects"]
    means = {kind: float(np.mean([row[kind] for row in rows])) for kind in kinds}
    return {"objects": sum(row["objects"] for row in rows), **means}


def markdown_table(by_dataset: dict[str, dict[str, float]]) -> str:
    """Render a table with one row for each data set and the macro mean below.

    Raises:
        ValueError: there is no data set.
    """
    if not by_dataset:
        raise ValueError("nothing was evaluated: no labelled object was large enough; check the images' labels")
    kinds = list(next(iter(by_dataset.values())))
    rows = {**by_dataset, "**macro mean**": macro_mean(by_dataset)}
    lines = ["| data set | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
    for name, row in rows.items():
        values = [f"{row[kind]:.0f}" if kind == "objects" else f"{row[kind]:.3f}" for kind in kinds]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)
