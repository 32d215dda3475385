"""Local zoom: predict on a crop around the prompts, where a small object fills the model's frame.

The model sees a slice at 256 px, whatever its size, so a nodule of 10 px in a slice of 512 px is 5 px to
it. A crop that follows the object gives every object about the same size, at the price of one encoding
for each object. The outline is then fitted to the grey values of the crop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from SAMMed2DLib.inference.outlines.outline import constrained, outlined
from SAMMed2DLib.inference.point_constraints import region_of
from SAMMed2DLib.inference.prediction import Embedding, Prediction
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask

# The share of the crop's side that the object takes: training zooms to 35 to 85 %.
OBJECT_SHARE = 0.6
# A crop of more than this share of the slice, along both sides, is not worth an encoding.
LARGEST_SHARE = 0.75
SMALLEST_CROP_PX = 32
# Where first clicks are answered at several scales, a new crop is cut of an object that takes less of its crop's side,
# and at the first click of one that takes more than the larger share.
SMALL_SHARE = 0.3
LARGE_SHARE = 0.8
# A mask that is there already is given to the model as logits of this size, as in its training.
_MASK_LOGIT = 6.0


class Model(Protocol):
    """What is needed of a model: a `Session`, which remembers what it has seen, or a `Predictor`."""

    @property
    def has_refiner(self) -> bool:
        """Whether the network draws outlines itself; else they are fitted to the grey values."""

    @property
    def click_scales(self) -> tuple[float, ...]:
        """Sides of the crops on which a first click is answered, of the slice's longer side."""

    @property
    def coarse_size(self) -> int | None:
        """Side of the frame in which those crops are seen, px; None: the full frame."""

    def refine(self, prediction: Prediction, image: np.ndarray, prompts: Prompts) -> np.ndarray:
        """Draw an outline by the network's refiner.

        Args:
            prediction: on the image, of this model.
            image: (H, W, 3) uint8, the slice or a crop of it.
            prompts: px of the image.

        Returns:
            (H, W) float32, logits.
        """

    def embed(self, images: Sequence[np.ndarray], *, coarse: bool = False) -> Iterable[Embedding]:
        """Encode slices, (H, W, 3) uint8, in the full frame or in the coarse one: an embedding of each."""

    def predict(self, embedding: Embedding, prompts: Prompts) -> Prediction:
        """Segment one object on an embedded slice."""

    def decode_pairs(self, pairs: Sequence[tuple[Embedding, Prompts]]) -> list[Prediction]:
        """Segment an object on each of several embedded slices."""

    def predict_all(self, embedding: Embedding, prompts: Prompts) -> list[Prediction]:
        """All masks that the network draws of one object."""

    def mask_prompt(self, logits_hw: np.ndarray) -> np.ndarray:
        """Turn logits of a slice into a mask prompt."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of a slice, px: columns x0 .. x1 - 1 and rows y0 .. y1 - 1 of a slice of `size_hw`."""

    x0: int
    y0: int
    x1: int
    y1: int
    size_hw: tuple[int, int]

    @classmethod
    def of_slice(cls, slice_hw: np.ndarray) -> Crop:
        """All of a slice, (H, W, ...)."""
        height, width = slice_hw.shape[:2]
        return cls(0, 0, width, height, (height, width))

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

    @classmethod
    def shown_around(cls, region_xyxy: np.ndarray, size_hw: tuple[int, int]) -> Crop:
        """Choose as `around` does; the whole slice where that would not show much less."""
        view = cls.around(region_xyxy, size_hw)
        return cls(0, 0, size_hw[1], size_hw[0], size_hw) if view.is_whole else view

    @classmethod
    def centred(cls, point_xy: np.ndarray, share: float, size_hw: tuple[int, int]) -> Crop:
        """Choose a square around a point; it is moved rather than cut at the slice's border.

        Args:
            point_xy: (2,), slice px.
            share: side of the square over the longer side of the slice.
            size_hw: of the slice, px.
        """
        side = max(round(share * max(size_hw)), SMALLEST_CROP_PX)
        spans = []
        for centre, size in zip(point_xy, size_hw[::-1], strict=True):
            length = min(side, size)
            start = int(np.clip(round(float(centre) - length / 2), 0, size - length))
            spans.append((start, start + length))
        (x0, x1), (y0, y1) = spans
        return cls(x0, y0, x1, y1, size_hw)

    @property
    def is_whole(self) -> bool:
        """Whether the crop shows so much of the slice that the slice itself may be used."""
        height, width = self.size_hw
        return self.x1 - self.x0 > LARGEST_SHARE * width and self.y1 - self.y0 > LARGEST_SHARE * height

    def holds(self, prompts: Prompts) -> bool:
        """Whether all points and strokes lie in the crop, and the box, if there is one."""
        low, high = np.split(region_of(None, prompts, self.size_hw) - (0, 0, 1, 1), 2)
        return bool((low > (self.x0 - 0.5, self.y0 - 0.5)).all() and (high < (self.x1 - 0.5, self.y1 - 0.5)).all())

    def shown(self, prompts: Prompts) -> Prompts:
        """The same prompts, slice px, without the points that lie outside the crop."""
        xy = prompts.points_xy
        inside = ((xy > (self.x0 - 0.5, self.y0 - 0.5)) & (xy < (self.x1 - 0.5, self.y1 - 0.5))).all(axis=1)
        seen = [stroke for stroke in prompts.strokes if self.cut(stroke.mask(self.size_hw)).any()]
        return replace(prompts, points_xy=xy[inside], labels=prompts.labels[inside], strokes=tuple(seen))

    def cut(self, slice_hw: np.ndarray) -> np.ndarray:
        """Return the crop's part of an image or mask (H, W, ...)."""
        return slice_hw[self.y0 : self.y1, self.x0 : self.x1]

    def prompts(self, prompts: Prompts) -> Prompts:
        """Move prompts from slice px to the crop's px; logits stay, they must be of this crop."""
        if (self.x0, self.y0) == (0, 0):
            return prompts
        offset = np.array([self.x0, self.y0], dtype=np.float64)
        box = None if prompts.box_xyxy is None else prompts.box_xyxy - np.tile(offset, 2)
        strokes = tuple(stroke.moved(-offset) for stroke in prompts.strokes)
        return replace(prompts, points_xy=prompts.points_xy - offset, box_xyxy=box, strokes=strokes)

    def whole_mask(self, mask_hw: np.ndarray) -> np.ndarray:
        """Put a mask of the crop into the slice: (H, W) bool, False outside the crop."""
        whole = np.zeros(self.size_hw, dtype=bool)
        whole[self.y0 : self.y1, self.x0 : self.x1] = mask_hw
        return whole


@dataclass(frozen=True, eq=False)
class ViewPrediction:
    """One object on one slice, predicted on the slice or on a crop of it.

    Attributes:
        mask: (H, W) bool, at slice size; every point is on its side.
        score: IoU that the model predicts for it.
        view: the crop; the whole slice where a crop would not have shown less.
        low_res_logits: (L, L) float32, of the view: they refine the object only together with it. None for a mask that
            the model did not make.
        embedding: of the view; None for a mask that the model did not make.
        prompts: what the model was given, px of the view; None for a mask that the model did not make.
        earlier: what other views gave on the way to this one.
    """

    mask: np.ndarray
    score: float
    view: Crop
    low_res_logits: np.ndarray | None = None
    embedding: Embedding | None = None
    prompts: Prompts | None = None
    earlier: tuple[ViewPrediction, ...] = ()

    @classmethod
    def in_view(
        cls, view: Crop, mask_hw: np.ndarray, found: Prediction, embedding: Embedding, prompts: Prompts
    ) -> ViewPrediction:
        """What the model found on a view, with the mask that was made of it.

        Args:
            view: the crop, or the whole slice.
            mask_hw: (h, w) bool, of the view.
            found: on the view.
            embedding: of the view.
            prompts: what the model was given, px of the view.
        """
        return cls(view.whole_mask(mask_hw), found.score, view, found.low_res_logits, embedding, prompts)

    @classmethod
    def of_mask(cls, mask_hw: np.ndarray) -> ViewPrediction:
        """A mask that is there already, (H, W) bool, to be corrected."""
        return cls(mask_hw, float("nan"), Crop.of_slice(mask_hw))


def predict_whole(
    model: Model, image: np.ndarray, prompts: Prompts, previous: ViewPrediction | None = None
) -> ViewPrediction:
    """Segment one object on the whole slice, its outline as the network draws it.

    Args:
        model: see `predict_zoomed`.
        image: see `predict_zoomed`.
        prompts: see `predict_zoomed`.
        previous: see `predict_zoomed`.

    Raises:
        PromptError: the prompts do not fit the slice or contradict each other.
    """
    view = Crop.of_slice(image)
    (embedding,) = model.embed([image])
    logits = None if previous is None else previous.low_res_logits
    if previous is not None and previous.embedding is None:
        logits = _mask_prompt(model, previous.mask)
    given = replace(prompts, low_res_logits=logits).checked(view.size_hw)
    found = model.predict(embedding, given)
    mask = constrained(found.logits(), prompts, previous)
    return ViewPrediction(mask, found.score, view, found.low_res_logits, embedding, given)


def predict_zoomed(
    model: Model,
    image: np.ndarray,
    prompts: Prompts,
    previous: ViewPrediction | None = None,
    on_coarse: Callable[[ViewPrediction], None] | None = None,
) -> ViewPrediction:
    """Segment one object on a crop around it, its outline fitted to the grey values there.

    A box tells where the object is. Without one, a first pass over the whole slice does. While the user corrects, the
    crop of the previous prediction is kept, with its embedding and its logits, as long as the new prompts and the
    object lie within it; a new crop gets its mask instead of its logits.

    Args:
        model: encodes and decodes.
        image: (H, W, 3) uint8, the slice.
        prompts: in slice px, all that the object has got so far; logits are not taken.
        previous: what this object's earlier prompts gave, or a mask that is there already.
        on_coarse: is given what a first click found on coarse crops, before one more crop is seen.

    Raises:
        PromptError: the prompts do not fit the slice or contradict each other.
    """
    prompts = replace(prompts, low_res_logits=None).checked((image.shape[0], image.shape[1]))
    is_shown_well = previous is None or len(model.click_scales) == 1 or not _is_small(previous)
    if previous is not None and previous.embedding is not None and is_shown_well and _still_fits(previous, prompts):
        refined = prompts.with_low_res_logits(previous.low_res_logits)
        return _predict_in(model, previous.embedding, image, previous.view, refined, previous)
    earlier: tuple[ViewPrediction, ...] = ()
    known = None if previous is None or previous.embedding is None else previous
    if previous is None and prompts.box_xyxy is None and len(model.click_scales) > 1:
        known, others = _first_click(model, image, prompts)
        previous, earlier = known, (known, *others)
        if model.coarse_size is None and _is_shown_well(known, prompts):
            return replace(known, earlier=others)
        if on_coarse is not None:
            on_coarse(known)
    elif known is None and prompts.box_xyxy is None:
        known = _first_pass(model, image, prompts)
        earlier = (known,)
    view = _view_for(image, prompts, known)
    (embedding,) = model.embed([image if view.is_whole else view.cut(image)])
    if previous is not None:
        prompts = prompts.with_low_res_logits(_mask_prompt(model, view.cut(previous.mask)))
    return replace(_predict_in(model, embedding, image, view, prompts, previous), earlier=earlier)


def _view_for(image: np.ndarray, prompts: Prompts, known: ViewPrediction | None) -> Crop:
    """The crop around the object as far as it is known; the whole slice where that would not show much less."""
    region = region_of(None if known is None else known.mask, prompts, image.shape)
    return Crop.shown_around(region, (image.shape[0], image.shape[1]))


def _first_pass(model: Model, image: np.ndarray, prompts: Prompts) -> ViewPrediction:
    """What the model finds on the whole slice, to tell about where the object is."""
    (embedding,) = model.embed([image])
    found = model.predict(embedding, prompts)
    return ViewPrediction(found.mask, found.score, Crop.of_slice(image), found.low_res_logits, embedding, prompts)


def _mask_prompt(model: Model, mask_hw: np.ndarray) -> np.ndarray | None:
    """A mask as logits for the model; None for an empty one."""
    if not mask_hw.any():
        return None
    return model.mask_prompt(np.where(mask_hw, np.float32(_MASK_LOGIT), np.float32(-_MASK_LOGIT)))


def _predict_in(
    model: Model,
    embedding: Embedding,
    image: np.ndarray,
    view: Crop,
    prompts: Prompts,
    previous: ViewPrediction | None,
) -> ViewPrediction:
    inside = view.prompts(prompts)
    found = model.predict(embedding, inside)
    mask = outlined(model, found, view.cut(image), inside, previous)
    return ViewPrediction.in_view(view, mask, found, embedding, inside)


def _first_click(
    model: Model, image: np.ndarray, prompts: Prompts
) -> tuple[ViewPrediction, tuple[ViewPrediction, ...]]:
    """The surest mask on crops of several scales around the click or scribble, outlined, and the others, as drawn."""
    size_hw = (image.shape[0], image.shape[1])
    points = np.flatnonzero(prompts.labels == 1)[:1] if prompts.labels.any() else np.arange(len(prompts.labels))[:1]
    first = prompts.of_those([*points, *prompts.strokes])
    around = region_of(None, first, size_hw)
    middle = (around[:2] + around[2:] - 1) / 2 if prompts.strokes else first.points_xy[0]
    views = [Crop.centred(middle, scale, size_hw) for scale in model.click_scales]
    views = [view for view in views if not prompts.strokes or view.holds(first)] or [Crop.of_slice(image)]
    embeddings = model.embed([view.cut(image) for view in views], coarse=True)
    pairs = [(each, view.prompts(view.shown(prompts))) for view, each in zip(views, embeddings, strict=True)]
    found = model.decode_pairs(pairs)
    looks = [
        ViewPrediction.in_view(view, constrained(drawn.logits(), inside), drawn, embedding, inside)
        for view, (embedding, inside), drawn in zip(views, pairs, found, strict=True)
    ]
    number = max(range(len(looks)), key=lambda n: rank(looks[n]))
    surest = looks.pop(number)
    mask = outlined(model, found[number], surest.view.cut(image), pairs[number][1])
    return replace(surest, mask=surest.view.whole_mask(mask)), tuple(looks)


def rank(found: ViewPrediction) -> float:
    """What a mask is chosen by: the predicted IoU; one that is cut off or empty is the last."""
    return found.score - touches_border(found) - (not found.mask.any())


def _is_small(found: ViewPrediction) -> bool:
    """Whether a crop around the mask would show it much larger."""
    return bool(found.mask.any()) and _share_of_view(found) < SMALL_SHARE


def _is_shown_well(found: ViewPrediction, prompts: Prompts) -> bool:
    """Whether a crop around the mask would show about what the one does in which it was found."""
    is_whole = bool(found.mask.any()) and _still_fits(found, prompts)
    return is_whole and SMALL_SHARE <= _share_of_view(found) <= LARGE_SHARE


def _share_of_view(found: ViewPrediction) -> float:
    """The longer side of the mask's box, of the longer side of its crop."""
    box, view = box_of_mask(found.mask), found.view
    return float(max(box[2:] - box[:2]) / max(view.x1 - view.x0, view.y1 - view.y0))


def _still_fits(found: ViewPrediction, prompts: Prompts) -> bool:
    return found.view.holds(prompts) and not touches_border(found)


def touches_border(found: ViewPrediction) -> bool:
    """Whether the mask reaches a border of its crop that is not the slice's: the object may go on beyond."""
    return is_cut_off(found.view.cut(found.mask), found.view)


def is_cut_off(mask_hw: np.ndarray, view: Crop) -> bool:
    """The same of a mask of all of a view, (h, w) bool, of any size."""
    height, width = view.size_hw
    edges = [
        (view.y0 > 0, mask_hw[0]),
        (view.y1 < height, mask_hw[-1]),
        (view.x0 > 0, mask_hw[:, 0]),
        (view.x1 < width, mask_hw[:, -1]),
    ]
    return any(cut_off and bool(edge.any()) for cut_off, edge in edges)


def coarse_size_of(provenance: Mapping[str, object], takes_size: Callable[[int], bool]) -> int | None:
    """What a file says of its weights, px; None where it says nothing, or what its network does not take."""
    recorded = provenance.get("coarse_size")
    return recorded if isinstance(recorded, int) and takes_size(recorded) else None


def click_scales_of(provenance: Mapping[str, object]) -> tuple[float, ...]:
    """What a file says of its weights; the whole slice alone where it says nothing, or what is no share of a slice."""
    recorded = provenance.get("click_scales")
    scales = recorded if isinstance(recorded, list) else []
    shares = tuple(float(scale) for scale in scales if isinstance(scale, int | float) and 0 < scale <= 1)
    return shares or (1.0,)
