"""Local zoom: predict on a crop around the prompts, where a small object fills the model's frame.

The model sees a slice at 256 px, whatever its size, so a nodule of 10 px in a slice of 512 px is 5 px to
it. A crop that follows the object gives every object about the same size, at the price of one encoding
for each object. The outline is then fitted to the grey values of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from .outline import fitted_mask
from .predictor import Embedding, Prediction, Predictor
from .prompts import Prompts, box_of_mask

# The share of the crop's side that the object takes: training zooms to 35 to 85 %.
OBJECT_SHARE = 0.6
# A crop of more than this share of the slice, along both sides, is not worth an encoding.
LARGEST_SHARE = 0.75
SMALLEST_CROP_PX = 32


class Model(Protocol):
    """What zooming needs of a model: a `Predictor`, or a `Session`, which remembers what it has seen."""

    def embed(self, images: Sequence[np.ndarray]) -> Embedding:
        """Encode slices, (H, W, 3) uint8."""

    def predict(self, embedding: Embedding, prompts: Prompts) -> Prediction:
        """Segment one object on an embedded slice."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of a slice, px: columns x0 .. x1 - 1 and rows y0 .. y1 - 1 of a slice of `size_hw`."""

    x0: int
    y0: int
    x1: int
    y1: int
    size_hw: tuple[int, int]

    @classmethod
    def around(cls, region_xyxy: np.ndarray, size_hw: tuple[int, int]) -> Crop:
        """Choose the crop in which a region (x0, y0, x1, y1; slice px, half-open) takes `OBJECT_SHARE`.

        The crop is square where the slice allows it, and is moved rather than cut at the slice's border.
        """
        region = np.asarray(region_xyxy, dtype=np.float64)
        side = max(float((region[2:] - region[:2]).max()) / OBJECT_SHARE, SMALLEST_CROP_PX)
        spans = []
        for low, high, size in zip(region[:2], region[2:], size_hw[::-1], strict=True):
            length = min(int(np.ceil(side)), size)
            start = int(np.floor((low + high - length) / 2 + 0.5))
            spans.append((min(max(start, 0), size - length), length))
        (x0, width), (y0, height) = spans
        return cls(x0, y0, x0 + width, y0 + height, size_hw)

    @property
    def is_whole(self) -> bool:
        """Whether the crop shows so much of the slice that the slice itself may be used."""
        height, width = self.size_hw
        return self.x1 - self.x0 > LARGEST_SHARE * width and self.y1 - self.y0 > LARGEST_SHARE * height

    def holds(self, prompts: Prompts) -> bool:
        """Whether all points lie in the crop, and the box, if there is one."""
        corners = [] if prompts.box_xyxy is None else [prompts.box_xyxy[:2], prompts.box_xyxy[2:] - 1]
        points = np.vstack([prompts.points_xy, *corners])
        inside = (points > (self.x0 - 0.5, self.y0 - 0.5)) & (points < (self.x1 - 0.5, self.y1 - 0.5))
        return bool(inside.all())

    def cut(self, slice_hw: np.ndarray) -> np.ndarray:
        """Return the crop's part of an image or mask (H, W, ...)."""
        return slice_hw[self.y0 : self.y1, self.x0 : self.x1]

    def prompts(self, prompts: Prompts) -> Prompts:
        """Move prompts from slice px to the crop's px; logits stay, they must be of this crop."""
        if (self.x0, self.y0) == (0, 0):
            return prompts
        offset = np.array([self.x0, self.y0], dtype=np.float64)
        box = None if prompts.box_xyxy is None else prompts.box_xyxy - np.tile(offset, 2)
        return replace(prompts, points_xy=prompts.points_xy - offset, box_xyxy=box)

    def whole_mask(self, mask_hw: np.ndarray) -> np.ndarray:
        """Put a mask of the crop into the slice: (H, W) bool, False outside the crop."""
        whole = np.zeros(self.size_hw, dtype=bool)
        whole[self.y0 : self.y1, self.x0 : self.x1] = mask_hw
        return whole


@dataclass(frozen=True, eq=False)
class ZoomedPrediction:
    """One object on one slice, predicted on a crop.

    Attributes:
        mask: (H, W) bool, at slice size.
        score: IoU that the model predicts for it.
        low_res_logits: (L, L) float32, of the crop: they refine the object only together with `view`.
        view: the crop; the whole slice where a crop would not have shown less.
        embedding: of the crop.
    """

    mask: np.ndarray
    score: float
    low_res_logits: np.ndarray
    view: Crop
    embedding: Embedding


class ObjectPredictor:
    """Predicts one object on one slice, again with every prompt that is added, with or without zoom."""

    def __init__(
        self,
        predictor: Predictor,
        image: np.ndarray,
        *,
        embedding: Embedding | None = None,
        zoom: bool | None = None,
    ) -> None:
        """Begin with an object that has no prompts yet.

        Args:
            predictor: the model.
            image: (H, W, 3) uint8, the slice.
            embedding: of the whole slice, if it is there already.
            zoom: predict on crops around the prompts; None does what the weights were trained for.
        """
        self._predictor, self._image, self._embedding = predictor, image, embedding
        self._zoom = predictor.prefers_zoom if zoom is None else zoom
        self._last: Prediction | ZoomedPrediction | None = None

    def predict(self, prompts: Prompts) -> Prediction | ZoomedPrediction:
        """Segment from all prompts so far, refining the last prediction; its logits are added here.

        Raises:
            PromptError: the prompts do not fit the slice or contradict each other.
        """
        if self._zoom:
            previous = self._last if isinstance(self._last, ZoomedPrediction) else None
            self._last = predict_zoomed(
                self._predictor, self._image, prompts, embedding=self._embedding, previous=previous
            )
            return self._last
        if self._embedding is None:
            self._embedding = self._predictor.embed([self._image])
        logits = self._last.low_res_logits if self._last is not None else None
        self._last = self._predictor.predict(self._embedding, prompts.with_low_res_logits(logits))
        return self._last


def predict_zoomed(
    predictor: Model,
    image: np.ndarray,
    prompts: Prompts,
    *,
    embedding: Embedding | None = None,
    previous: ZoomedPrediction | None = None,
) -> ZoomedPrediction:
    """Segment one object on a crop around it, its outline fitted to the grey values there.

    A box tells where the object is. Without one, a first pass over the whole slice does. While the user
    corrects, the crop of the previous prediction is kept, with its embedding and its logits, as long as the
    new prompts and the object lie within it.

    Args:
        predictor: encodes and decodes.
        image: (H, W, 3) uint8, the slice.
        prompts: in slice px, all that the object has got so far; their logits are those of `previous`.
        embedding: of the whole slice, if it is there already.
        previous: what this object's earlier prompts gave.

    Raises:
        PromptError: the prompts do not fit the slice or contradict each other.
    """
    size_hw = (image.shape[0], image.shape[1])
    prompts = replace(prompts, low_res_logits=None).checked(size_hw)
    if previous is not None and previous.view.holds(prompts) and not _touches_border(previous):
        refined = prompts.with_low_res_logits(previous.low_res_logits)
        return _predict_in(predictor, previous.embedding, image, previous.view, refined)
    known = previous.mask if previous is not None else None
    if known is None and prompts.box_xyxy is None:
        embedding = predictor.embed([image]) if embedding is None else embedding
        known = predictor.predict(embedding, prompts).mask
    view = Crop.around(_region_of(known, prompts), size_hw)
    if not view.is_whole:
        return _predict_in(predictor, predictor.embed([view.cut(image)]), image, view, prompts)
    embedding = predictor.embed([image]) if embedding is None else embedding
    return _predict_in(predictor, embedding, image, Crop(0, 0, *size_hw[::-1], size_hw), prompts)


def _predict_in(
    predictor: Model, embedding: Embedding, image: np.ndarray, view: Crop, prompts: Prompts
) -> ZoomedPrediction:
    found = predictor.predict(embedding, view.prompts(prompts))
    mask = fitted_mask(found.logits(), view.cut(image))
    return ZoomedPrediction(view.whole_mask(mask), found.score, found.low_res_logits, view, embedding)


def _region_of(mask_hw: np.ndarray | None, prompts: Prompts) -> np.ndarray:
    """The smallest half-open box around the mask's largest part, all points, and the box."""
    boxes = [np.concatenate([point, point + 1]) for point in prompts.points_xy]
    if prompts.box_xyxy is not None:
        boxes.append(prompts.box_xyxy)
    if mask_hw is not None and mask_hw.any():
        boxes.append(box_of_mask(mask_hw))
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])


def _touches_border(found: ZoomedPrediction) -> bool:
    """Whether the mask reaches a border of its crop that is not the slice's: the object may go on beyond."""
    view, inside = found.view, found.view.cut(found.mask)
    height, width = view.size_hw
    edges = [
        (view.y0 > 0, inside[0]),
        (view.y1 < height, inside[-1]),
        (view.x0 > 0, inside[:, 0]),
        (view.x1 < width, inside[:, -1]),
    ]
    return any(cut_off and bool(edge.any()) for cut_off, edge in edges)
