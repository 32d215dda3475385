"""The masks that a prompt may mean, part, whole and larger whole: which there are, and going to the next one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from SAMMed2DSlicer.inference.request_queue import PendingPrediction, Request, RequestQueue
from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
from SAMMed2DSlicer.prompts.prompt_history import take_candidate


class CandidateChooser:
    """Knows the candidates of the latest prediction of each prompt group; they are drawn after it is shown."""

    def __init__(
        self,
        requests: RequestQueue,
        request_of: Callable[[PromptGroup], Request | None],
        on_found: Callable[[PendingPrediction, PendingPrediction], None],
        on_chosen: Callable[[PendingPrediction], None],
    ) -> None:
        """Begin without candidates.

        Args:
            requests: has them drawn.
            request_of: the request of a group as it is now; a ValueError tells that there is none.
            on_found: gets a prediction, and the same one with its candidates.
            on_chosen: gets the prediction that is to be shown.
        """
        self._requests, self._request_of, self._on_found, self._on_chosen = requests, request_of, on_found, on_chosen
        self._latest: dict[PromptGroup, PendingPrediction] = {}
        self._steps_ahead: dict[PromptGroup, int] = {}  # wanted before the candidates were there

    def request(self, shown: PendingPrediction) -> None:
        """Take over a prediction that is shown, and have its candidates drawn."""
        self._latest[shown.request.group] = shown
        if not shown.result.candidates:
            self._requests.request_candidates(shown, partial(self._found, shown))

    def forget(self, group: PromptGroup) -> None:
        """Know nothing of a group."""
        self._latest.pop(group, None)
        self._steps_ahead.pop(group, None)

    def clear(self) -> None:
        """Know nothing."""
        self._latest.clear()
        self._steps_ahead.clear()

    def step(self, groups: Collection[PromptGroup], steps: int) -> PendingPrediction | None:
        """Choose a larger mask of the last of some groups, or a smaller one; at once, or as soon as they are known.

        Args:
            groups: those of the selected segment, in view, that the user is not done with.
            steps: 1 for the next larger one, -1 for the next smaller one.

        Returns:
            the prediction where there is no such mask; else None.
        """
        group = next((group for group in reversed(list(groups)) if group in self._latest), None)
        if group is None:
            return None
        latest = self._latest[group]
        if not latest.result.candidates or self._requests.running is not None or not self._is_present(latest):
            self._steps_ahead[group] = self._steps_ahead.get(group, 0) + steps
            self.request(latest)  # again, where something else came in between
            return None
        number = min(max(latest.result.candidate + steps, 1), len(latest.result.candidates))
        if number == latest.result.candidate:
            return latest
        take_candidate(group, number)
        self._on_chosen(latest.with_candidate(number))
        return None

    def _found(self, shown: PendingPrediction, prediction: PendingPrediction) -> None:
        group = prediction.request.group
        if self._latest.get(group) is not shown or not self._is_present(prediction):
            return
        self._latest[group] = prediction
        self._on_found(shown, prediction)
        steps = self._steps_ahead.pop(group, 0)
        if steps:
            self.step([group], steps)

    def _is_present(self, prediction: PendingPrediction) -> bool:
        """Whether the request of a prediction is what it would be now."""
        try:
            now = self._request_of(prediction.request.group)
        except ValueError:
            return False
        return now is not None and now.is_same(prediction.request)
