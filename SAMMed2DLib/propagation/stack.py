"""A stack of slices: the model looks at one region of them, so that objects share their encodings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.inference.session import Session, ShouldStop, Stopped
from SAMMed2DLib.inference.zoom import Crop
from SAMMed2DLib.propagation.estimate import (
    TOGETHER,
    WEIGHTS,
    Found,
    Picture,
    Propagated,
    PropagationError,
    Question,
    Weights,
    propagate,
)
from SAMMed2DLib.system.formatting import counted, times
from SAMMed2DLib.system.memory import available_memory, in_gib

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Prediction
    from SAMMed2DLib.inference.prompts import Prompts

# Slices encoded in one batch; those beyond what is asked are encoded ahead.
_AT_ONCE = 8
# Pictures that are kept, since several objects and steps look at them.
_KEPT_PICTURES = 32
# What a run takes besides what is counted: what torch keeps, and Python.
_OVERHEAD_BYTES = 64 * 1024**2

Keyframes = Mapping[int, np.ndarray]


def propagate_stack(
    session: Session,
    picture: Picture,
    objects: Sequence[Keyframes],
    first: int,
    last: int,
    *,
    zoom: bool | None = None,
    every: int = 1,
    only: Collection[int] | None = None,
    weights: Weights = WEIGHTS,
    should_stop: ShouldStop | None = None,
) -> Iterator[Propagated]:
    """Carry objects from their keyframes through a stack of slices with a model; see `propagation.propagate`.

    Args:
        session: the model.
        picture: returns a slice, (H, W, 3) uint8, by its number.
        objects: keyframes of each object.
        first: lowest slice to fill.
        last: highest slice to fill.
        zoom: look at a crop around all objects instead of whole slices; None does what the weights were trained for.
        every: the model is asked on every n-th slice.
        only: spans without any of these slices are left out.
        weights: of the witnesses.
        should_stop: asked all the time; ends the iteration with `session.Stopped`. What came before is final.

    Raises:
        PropagationError: see `propagation.propagate`; or the memory is not enough.
    """
    kept: Callable[[int], np.ndarray] = lru_cache(_KEPT_PICTURES)(picture)
    zoomed = session.predictor.prefers_zoom if zoom is None else zoom
    model = StackModel(session, kept, zoomed, objects, should_stop)
    return propagate(model.picture, model, objects, first, last, every=every, only=only, weights=weights)


def memory_of_run(
    session: Session, size_hw: tuple[int, int], slices: int, objects: int, mask_bytes: float = 1.0
) -> int:
    """Forecast what a run takes besides the model and the volume, bytes.

    Args:
        session: the model, and the most that kept embeddings take.
        size_hw: of the slices, px.
        slices: how many there are to fill.
        objects: how many objects are filled.
        mask_bytes: what the results take that the caller keeps, for each pixel.
    """
    height, width = size_hw
    masks = mask_bytes * slices * objects
    pictures = 3 * 2 * min(slices, _KEPT_PICTURES)  # as they are, and what the model sees of them
    logits = 4 * 2 * max(TOGETHER, 2 * objects)  # expected and found, of all that is asked at once
    embeddings = min(session.cache_bytes, slices * session.predictor.embedding_bytes)
    working = session.predictor.working_bytes(_AT_ONCE)
    return int(height * width * (masks + pictures + logits)) + embeddings + working + _OVERHEAD_BYTES


def check_memory(session: Session, size_hw: tuple[int, int], slices: int, objects: int) -> None:
    """Refuse a run before it begins where it would take more memory than there is; see `memory_of_run`.

    Raises:
        PropagationError: the message says what to do.
    """
    needed = memory_of_run(session, size_hw, slices, objects)
    refuse_beyond_memory(needed, f"{counted(slices, 'slice')} of {times(size_hw[::-1])} px", objects)


def refuse_beyond_memory(needed_bytes: int, what: str, objects: int) -> None:
    """Refuse to fill `what` for so many objects where there is less memory than it needs.

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
    """Answers what `propagation.propagate` asks; to be used from one thread at a time."""

    def __init__(
        self,
        session: Session,
        picture: Picture,
        zoom: bool,
        objects: Sequence[Keyframes],
        should_stop: ShouldStop | None = None,
    ) -> None:
        """Choose what the model sees of all slices: the slice, or with `zoom` a crop around all objects.

        Args:
            session: the model, and its cache of embeddings.
            picture: returns a slice, (H, W, 3) uint8, by its number.
            zoom: whether to look at a crop.
            objects: keyframes of each object.
            should_stop: asked for every picture and within every block of the network; ends the work with
                `session.Stopped`.
        """
        self._session, self._picture, self._should_stop = session, picture, should_stop
        self._keyframes, self._zoom = objects, zoom
        self._sent: set[int] = set()  # slices that the session has got
        self._seen = lru_cache(_KEPT_PICTURES)(self._cut)  # the session need not read these again

    def picture(self, index: int) -> np.ndarray:
        """A whole slice; this is where a run can be stopped that has nothing to ask."""
        if self._should_stop is not None and self._should_stop():
            raise Stopped
        return self._picture(index)

    @cached_property
    def _view(self) -> Crop:
        """One view for all slices costs no quality against one for each (docs/decisions/propagation.md)."""
        masks = [mask != 0 for keyframes in self._keyframes for mask in keyframes.values()]
        union = np.logical_or.reduce(masks)
        height, width = union.shape
        whole = Crop(0, 0, width, height, (height, width))
        if not self._zoom:
            return whole
        rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
        view = Crop.around(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]), (height, width))
        return whole if view.is_whole else view

    def __call__(self, questions: Sequence[Question]) -> list[Found]:
        """Answer questions; about objects outside the view with logits of 0."""
        seen = [one for one in questions if self._view.holds(one.prompts)]
        pictures = self._pictures(one.index for one in seen)
        pairs = [(pictures[one.index], self._prompts(one)) for one in seen]
        soon = self._pictures(self._ahead(seen))
        self._sent |= pictures.keys() | soon.keys()
        found = self._session.answer_pairs(pairs, ahead=list(soon.values()), should_stop=self._should_stop)
        answers = {id(one): self._whole(answer) for one, answer in zip(seen, found, strict=True)}
        nothing = Found(np.zeros(self._view.size_hw, np.float32), float("nan"))
        return [answers.get(id(one), nothing) for one in questions]

    def _ahead(self, questions: Sequence[Question]) -> list[int]:
        """Slices to encode with those of the questions, if any of these must be encoded."""
        asked = {one.index for one in questions}
        if asked <= self._sent:
            return []
        ahead = dict.fromkeys(index for one in questions for index in one.ahead)
        return [index for index in ahead if index not in self._sent | asked][: max(_AT_ONCE - len(asked), 0)]

    def _pictures(self, indices: Iterable[int]) -> dict[int, np.ndarray]:
        """What the model sees of slices, the same array for all objects of one."""
        return {index: self._seen(index) for index in dict.fromkeys(indices)}

    def _cut(self, index: int) -> np.ndarray:
        picture = self._view.cut(self._picture(index)).copy()
        picture.flags.writeable = False
        return picture

    def _prompts(self, question: Question) -> Prompts:
        prompts = self._view.prompts(question.prompts)
        if question.expected is None:
            return prompts
        return prompts.with_low_res_logits(self._session.predictor.mask_prompt(self._view.cut(question.expected)))

    def _whole(self, found: Prediction) -> Found:
        whole = np.zeros(self._view.size_hw, np.float32)
        self._view.cut(whole)[...] = found.logits()
        return Found(whole, found.score)
