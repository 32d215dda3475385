"""Questions to the model: one at a time, the newest first, and none that was answered already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.session import MaskPrediction


@dataclass(frozen=True, eq=False)
class Request:
    """A question: the prompts of a set, the picture that the model sees, whether it zooms, and what is corrected."""

    of: PromptGroup
    prompts: Prompts
    image: np.ndarray
    zoom: bool | None
    known_hw: np.ndarray | None = None

    def is_same(self, other: Request) -> bool:
        """Whether the other one asks the same."""
        same = self.of is other.of and self.prompts == other.prompts and self.zoom == other.zoom
        return same and self.known_hw is other.known_hw and np.array_equal(self.image, other.image)


@dataclass(frozen=True, eq=False)
class PendingPrediction:
    """An answer that is shown and not accepted yet, and what was asked."""

    answer: MaskPrediction
    request: Request


class RequestQueue:
    """Asks for the set that changed last; what it replaces is asked for again afterwards."""

    def __init__(
        self,
        service: InferenceService,
        make: Callable[[PromptGroup], Request | None],
        on_answer: Callable[[PendingPrediction], None],
        on_error: Callable[[PromptGroup, BaseException], None],
    ) -> None:
        """Begin with nothing to ask.

        Args:
            service: answers.
            make: the question of a set as it is now, None if it has none; a ValueError is handed to `on_error`.
            on_answer: gets each answer that is still wanted.
            on_error: gets what went wrong, and for which set.
        """
        self._service, self._make, self._on_answer, self._on_error = service, make, on_answer, on_error
        self._waiting: list[PromptGroup] = []
        self.asked: Request | None = None  # what is being answered

    def add(self, one: PromptGroup) -> None:
        """Ask for a set, before those that wait."""
        self._waiting = [other for other in self._waiting if other is not one] + [one]

    def forget(self, one: PromptGroup) -> None:
        """Ask for a set no more, and take nothing over for it."""
        self._waiting = [other for other in self._waiting if other is not one]
        if self.asked is not None and self.asked.of is one:
            self.asked = None

    def drop(self) -> None:
        """Ask for nothing, and take nothing over."""
        self._waiting, self.asked = [], None

    def go_on(self, answered: dict[PromptGroup, PendingPrediction]) -> None:
        """Ask for the newest set, unless that is going on, or it is answered already."""
        while self._waiting:
            one = self._waiting[-1]
            try:
                request = self._make(one)
            except ValueError as error:  # of the library or the scene: all say what to do
                self.forget(one)
                self._on_error(one, error)
                continue
            if self.asked is not None and request is not None and self.asked.is_same(request):
                return
            if request is None or (one in answered and answered[one].request.is_same(request)):
                self.forget(one)
                continue
            self._ask(request)
            return

    def _ask(self, request: Request) -> None:
        self.asked = request
        self._service.submit(
            lambda session, should_stop: session.answer(
                request.image, request.prompts, mask=request.known_hw, zoom=request.zoom, should_stop=should_stop
            ),
            partial(self._answered, request),
            partial(self._failed, request),
            owner=self,
        )

    def _answered(self, request: Request, answer: Any) -> None:
        if self._is_wanted(request):
            self.forget(request.of)
            self._on_answer(PendingPrediction(answer, request))

    def _failed(self, request: Request, error: BaseException) -> None:
        if request is self.asked:
            self.forget(request.of)
            self._on_error(request.of, error)

    def _is_wanted(self, request: Request) -> bool:
        """Whether it was asked last; or its answer came just when another set was asked for, and is still of use."""
        if request is self.asked:
            return True
        if not any(request.of is one for one in self._waiting):
            return False
        try:
            now = self._make(request.of)
        except ValueError:  # told when its turn comes
            return False
        return now is not None and now.is_same(request)
