"""A stack of slices: the model looks at one region of them, so that objects share their encodings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.session import Session, ShouldStop, Stopped
from SAMMed2DLib.propagation.estimate import (
    TOGETHER,
    WEIGHTS,
    ModelPrediction,
    ModelQuery,
    SliceImage,
    Weights,
)
from SAMMed2DLib.propagation.schedule import PropagationError, propagate
from SAMMed2DLib.propagation.tracks import PropagatedSlice
from SAMMed2DLib.system.formatting import counted, times
from SAMMed2DLib.system.memory import available_memory, in_gib

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prediction import Prediction
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.zoom import Crop

# Slices encoded in one batch; those beyond what is asked are encoded ahead.
_AT_ONCE = 8
# Slice images that are kept, since several objects and steps look at them.
_KEPT_IMAGES = 32
# What a run takes besides what is counted: what torch keeps, and Python.
_OVERHEAD_BYTES = 64 * 1024**2

Keyframes = Mapping[int, np.ndarray]


def propagate_stack(
    session: Session | None,
    slice_image: SliceImage,
    objects: Sequence[Keyframes],
    first: int,
    last: int,
    *,
    zoom: bool | None = None,
    every: int = 1,
    only: Collection[int] | None = None,
    asks_model: bool = False,
    weights: Weights = WEIGHTS,
    slice_px: float = 1.0,
    should_stop: ShouldStop | None = None,
) -> Iterator[PropagatedSlice]:
    """Carry objects from their keyframes through a stack of slices with a model; see `schedule.propagate`.

    Args:
        session: the model; None where it is not asked.
        slice_image: returns a slice, (H, W, 3) uint8, by its number.
        objects: keyframes of each object.
        first: lowest slice to fill.
        last: highest slice to fill.
        zoom: look at a crop around all objects instead of whole slices; None does what the weights were trained for.
        every: every n-th slice is found, and those between are interpolated.
        asks_model: whether the model is heard too; else shape and grey values decide.
        only: spans without any of these slices are left out.
        weights: of the evidence terms.
        slice_px: how far slices are from each other, in pixels of a slice.
        should_stop: asked all the time; ends the iteration with `session.Stopped`. What came before is final.

    Raises:
        PropagationError: see `schedule.propagate`; or the model is to be asked, and there is none.
    """
    kept: Callable[[int], np.ndarray] = lru_cache(_KEPT_IMAGES)(slice_image)
    weights = weights.with_model() if asks_model else weights
    model = StackModel(needed_session(session, weights), kept, zoom, objects, should_stop)
    return propagate(
        model.slice_image, model, objects, first, last, every=every, only=only, weights=weights, slice_px=slice_px
    )


def needed_session(session: Session | None, weights: Weights) -> Session | None:
    """The session of a run; None where its weights ask no model.

    Raises:
        PropagationError: the model is to be asked, and there is none.
    """
    if not weights.model:
        return None
    if session is None:
        raise PropagationError("the model is to be asked: give a session with one")
    return session


def memory_of_run(
    session: Session | None, size_hw: tuple[int, int], slices: int, objects: int, mask_bytes: float = 1.0
) -> int:
    """Forecast what a run takes besides the model and the volume, bytes.

    Args:
        session: the model, and the most that kept embeddings take; None where it is not asked.
        size_hw: of the slices, px.
        slices: how many there are to fill.
        objects: how many objects are filled.
        mask_bytes: what the results take that the caller keeps, for each pixel.
    """
    height, width = size_hw
    masks = mask_bytes * slices * objects
    images = 3 * 2 * min(slices, _KEPT_IMAGES)  # as they are, and what the model sees of them
    logits = 4 * 2 * max(TOGETHER, 2 * objects)  # expected and found, of all that is asked at once
    needed = int(height * width * (masks + images + logits)) + _OVERHEAD_BYTES
    if session is None:
        return needed
    embeddings = min(session.cache_bytes, slices * session.predictor.embedding_bytes)
    return needed + embeddings + session.predictor.working_bytes(_AT_ONCE)


def check_memory(session: Session | None, size_hw: tuple[int, int], slices: int, objects: int) -> None:
    """Refuse a run before it begins where it would take more memory than there is; see `memory_of_run`.

    Args:
        session: the model; None where it is not asked.
        size_hw: of a slice, px.
        slices: how many there are.
        objects: how many are filled.

    Raises:
        PropagationError: the message says what to do.
    """
    needed = memory_of_run(session, size_hw, slices, objects)
    refuse_beyond_memory(needed, f"{counted(slices, 'slice')} of {times(size_hw[::-1])} px", objects)


def refuse_beyond_memory(needed_bytes: int, what: str, objects: int) -> None:
    """Refuse a run where there is less memory than it needs.

    Args:
        needed_bytes: what the run takes.
        what: is filled, for the message.
        objects: how many are filled.

    Raises:
        PropagationError: the message says what to do.
    """
    available = available_memory()
    if available is not None and needed_bytes > available:
        raise PropagationError(
            f"Filling {what} for {counted(objects, 'segment')} takes about {in_gib(needed_bytes)} of memory, and "
            f"{in_gib(available)} are free. Choose a smaller range or fewer segments, or close other programs."
        )


class StackModel:
    """Predicts what `schedule.propagate` asks for, on one view of all slices; to be used from one thread at a time."""

    def __init__(
        self,
        session: Session | None,
        slice_image: SliceImage,
        zoom: bool | None,
        objects: Sequence[Keyframes],
        should_stop: ShouldStop | None = None,
    ) -> None:
        """Choose what the model sees of all slices: the slice, or with `zoom` a crop around all objects.

        Args:
            session: the model, and its cache of embeddings; None for a run that does not ask it.
            slice_image: returns a slice, (H, W, 3) uint8, by its number.
            zoom: whether to look at a crop; None does what the weights were trained for.
            objects: keyframes of each object.
            should_stop: asked for every slice image and within every block of the network; ends the work with
                `session.Stopped`.
        """
        self._session, self._slice_image, self._should_stop = session, slice_image, should_stop
        self._keyframes = objects
        self._zoom = session.predictor.prefers_zoom if session is not None and zoom is None else bool(zoom)
        self._sent: set[int] = set()  # slices that the session has got
        self._seen = lru_cache(_KEPT_IMAGES)(self._cut)  # the session need not read these again

    def slice_image(self, index: int) -> np.ndarray:
        """A whole slice; this is where a run can be stopped that has nothing to ask."""
        if self._should_stop is not None and self._should_stop():
            raise Stopped
        return self._slice_image(index)

    @property
    def _asked_session(self) -> Session:
        if self._session is None:
            raise PropagationError("the model is to be asked: give a session with one")
        return self._session

    @cached_property
    def _view(self) -> Crop:
        """One view for all slices costs no quality against one for each (docs/decisions/propagation.md)."""
        from SAMMed2DLib.inference.zoom import Crop

        masks = [mask != 0 for keyframes in self._keyframes for mask in keyframes.values()]
        union = np.logical_or.reduce(masks)
        height, width = union.shape
        whole = Crop(0, 0, width, height, (height, width))
        if not self._zoom:
            return whole
        rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
        view = Crop.around(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]), (height, width))
        return whole if view.is_whole else view

    def __call__(self, queries: Sequence[ModelQuery]) -> list[ModelPrediction]:
        """One prediction for each query, in their order; logits of 0 for objects outside the view."""
        session = self._asked_session
        seen = [query for query in queries if self._view.holds(query.prompts)]
        images = self._images(query.index for query in seen)
        pairs = [(images[query.index], self._prompts(query)) for query in seen]
        soon = self._images(self._ahead(seen))
        self._sent |= images.keys() | soon.keys()
        found = session.answer_pairs(pairs, ahead=list(soon.values()), should_stop=self._should_stop)
        predictions = {id(query): self._whole(prediction) for query, prediction in zip(seen, found, strict=True)}
        nothing = ModelPrediction(np.zeros(self._view.size_hw, np.float32), float("nan"))
        return [predictions.get(id(query), nothing) for query in queries]

    def _ahead(self, queries: Sequence[ModelQuery]) -> list[int]:
        """Slices to encode with those of the queries, if any of these must be encoded."""
        asked = {query.index for query in queries}
        if asked <= self._sent:
            return []
        ahead = dict.fromkeys(index for query in queries for index in query.ahead)
        return [index for index in ahead if index not in self._sent | asked][: max(_AT_ONCE - len(asked), 0)]

    def _images(self, indices: Iterable[int]) -> dict[int, np.ndarray]:
        """What the model sees of slices, the same array for all objects of one."""
        return {index: self._seen(index) for index in dict.fromkeys(indices)}

    def _cut(self, index: int) -> np.ndarray:
        image = self._view.cut(self._slice_image(index)).copy()
        image.flags.writeable = False
        return image

    def _prompts(self, query: ModelQuery) -> Prompts:
        prompts = self._view.prompts(query.prompts)
        if query.expected is None:
            return prompts
        return prompts.with_low_res_logits(self._asked_session.predictor.mask_prompt(self._view.cut(query.expected)))

    def _whole(self, part: Prediction) -> ModelPrediction:
        whole = np.zeros(self._view.size_hw, np.float32)
        self._view.cut(whole)[...] = part.logits()
        return ModelPrediction(whole, part.score)
