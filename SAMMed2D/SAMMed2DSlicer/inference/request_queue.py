"""The queue of requests to the model: one runs at a time, the newest or the oldest first, and none is made twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.session import MaskPrediction, Session, ShouldStop


@dataclass(frozen=True, eq=False)
class Request:
    """What the model is to predict.

    Attributes:
        group: the prompt group that it is for.
        prompts: its prompts, in slice px.
        image: (H, W, 3) uint8, the slice image that the model sees.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        initial_mask_hw: (H, W) bool, the mask that is to be corrected; None for a new one.
    """

    group: PromptGroup
    prompts: Prompts
    image: np.ndarray
    zoom: bool | None
    initial_mask_hw: np.ndarray | None = None

    def is_same(self, other: Request) -> bool:
        """Whether another request is for the same prediction."""
        same = self.group is other.group and self.prompts == other.prompts and self.zoom == other.zoom
        return same and self.initial_mask_hw is other.initial_mask_hw and np.array_equal(self.image, other.image)


@dataclass(frozen=True, eq=False)
class PendingPrediction:
    """A prediction that is shown and not accepted yet, and its request."""

    result: MaskPrediction
    request: Request

    def with_candidate(self, number: int) -> PendingPrediction:
        """The same with another one of its candidates, from 1, as it would be answered."""
        candidates = self.result.candidates
        result = replace(candidates[number - 1], candidates=candidates, candidate=number)
        return PendingPrediction(result, replace(self.request, prompts=self.request.prompts.with_candidate(number)))


@dataclass(frozen=True, eq=False)
class CoarseMask:
    """What a first look has found, (H, W) bool, to be seen until the answer of its request is there; nothing more."""

    mask_hw: np.ndarray
    request: Request


class RequestQueue:
    """Predicts the prompt group that changed last; what it interrupts is predicted afterwards.

    Attributes:
        in_order: predict the prompt group that changed first, and interrupt nothing, for many objects at once.
        running: what is being predicted.
    """

    def __init__(
        self,
        service: InferenceService,
        request_of: Callable[[PromptGroup], Request | None],
        on_predicted: Callable[[PendingPrediction], None],
        on_error: Callable[[PromptGroup, BaseException], None],
        on_coarse: Callable[[], None],
    ) -> None:
        """Begin with no request.

        Args:
            service: predicts.
            request_of: makes the request of a prompt group, or gives None; a ValueError goes to `on_error`.
            on_predicted: called with each prediction that is still wanted.
            on_error: called with what went wrong, and the prompt group for which it did.
            on_coarse: called when there is a coarse mask, see `coarse`.
        """
        self._service, self._request_of = service, request_of
        self._on_predicted, self._on_error, self._on_coarse = on_predicted, on_error, on_coarse
        self._waiting: list[PromptGroup] = []
        self._coarse: CoarseMask | None = None
        self.in_order = False
        self.running: Request | None = None

    @property
    def coarse(self) -> CoarseMask | None:
        """The coarse mask of what is being predicted; None before it is there, and where there is none."""
        found = self._coarse
        return found if found is not None and found.request is self.running else None

    def add(self, group: PromptGroup) -> None:
        """Predict a prompt group, before those that wait; in order after them."""
        if not self.in_order:
            self._waiting = [other for other in self._waiting if other is not group] + [group]
        elif not any(other is group for other in self._waiting):
            self._waiting.insert(0, group)

    def forget(self, group: PromptGroup) -> None:
        """Predict a prompt group no more, and take nothing over for it."""
        self._waiting = [other for other in self._waiting if other is not group]
        if self.running is not None and self.running.group is group:
            self.running = None

    def drop(self) -> None:
        """Predict nothing, and take nothing over."""
        self._waiting, self.running = [], None

    def submit_next(self, predicted: dict[PromptGroup, PendingPrediction]) -> None:
        """Predict the next prompt group, the newest one if not in order, unless that is going on, or was done."""
        while self._waiting:
            group = self.running.group if self.in_order and self.running is not None else self._waiting[-1]
            try:
                request = self._request_of(group)
            except ValueError as error:  # of the library or the scene: all say what to do
                self.forget(group)
                self._on_error(group, error)
                continue
            if self.running is not None and request is not None and self.running.is_same(request):
                return
            if request is None or (group in predicted and predicted[group].request.is_same(request)):
                self.forget(group)
                continue
            self._submit(request)
            return

    def request_candidates(self, pending: PendingPrediction, on_found: Callable[[PendingPrediction], None]) -> None:
        """Have the other masks drawn that the prompts of a prediction may mean, unless another request comes."""
        if self.running is not None or self._waiting:
            return
        self._service.submit(
            partial(predict, pending.request, candidates=True),
            lambda result: on_found(PendingPrediction(result, pending.request)),
            lambda error: None,  # the prediction is there, and what is wrong now is told with the next one
            owner=self,
        )

    def _submit(self, request: Request) -> None:
        self.running = request
        self._service.submit(
            partial(predict, request, on_coarse=partial(self._tell, request)),
            partial(self._predicted, request),
            partial(self._failed, request),
            owner=self,
        )

    def _tell(self, request: Request, mask_hw: np.ndarray) -> None:
        """Hand a coarse mask over to the main thread; called in the worker thread."""
        self._service.worker.tell(partial(self._looked, CoarseMask(mask_hw, request)))

    def _looked(self, found: CoarseMask) -> None:
        if found.request is self.running:
            self._coarse = found
            self._on_coarse()

    def _predicted(self, request: Request, result: Any) -> None:
        if self._is_wanted(request):
            self.forget(request.group)
            self._on_predicted(PendingPrediction(result, request))

    def _failed(self, request: Request, error: BaseException) -> None:
        if request is self.running:
            self.forget(request.group)
            self._on_error(request.group, error)

    def _is_wanted(self, request: Request) -> bool:
        """Whether it runs; or its result came just when another group was submitted, and is still of use."""
        if request is self.running:
            return True
        if not any(request.group is group for group in self._waiting):
            return False
        try:
            now = self._request_of(request.group)
        except ValueError:  # it is shown when its turn comes
            return False
        return now is not None and now.is_same(request)


def predict(request: Request, session: Session, should_stop: ShouldStop, **options: Any) -> MaskPrediction:
    """Predict with the session; a candidate that another model does not have counts as none.

    Args:
        request: what to predict.
        session: of the inference service; called in its thread.
        should_stop: whether to give up.
        options: `candidates` and `on_coarse` of `Session.answer`.
    """
    from SAMMed2DLib.inference.candidates import CandidateError

    known = request.initial_mask_hw
    try:
        return session.answer(
            request.image, request.prompts, mask=known, zoom=request.zoom, should_stop=should_stop, **options
        )
    except CandidateError:
        prompts = replace(request.prompts, choices=())
        return session.answer(request.image, prompts, mask=known, zoom=request.zoom, should_stop=should_stop, **options)
