"""Simulated users of this product: prompts on slices, Propagate, Whole object, and corrections of the worst slice."""

from __future__ import annotations

import numpy as np

from annotating.tasks import Task, regions, worst_slice
from annotating.work import Work
from SAMMed2DLib.data.simulated_user import centre_error_point, centre_point
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.prompts import Prompts, box_of_mask
from SAMMed2DLib.inference.session import Session
from SAMMed2DLib.propagation.schedule import PropagationError
from SAMMed2DLib.propagation.stack import propagate_stack
from SAMMed2DLib.propagation.whole_object import segment_object

# Clicks after which the user draws the outline of a slice by hand.
CLICKS = 3
BOX, CLICK, OUTLINE = "box", "click", "outline"


class SliceUser:
    """Segments and corrects single slices with the model."""

    def __init__(self, session: Session, work: Work, target: float, enough: float) -> None:
        """Prepare.

        Args:
            session: the model.
            work: counts the strokes.
            target: Dice with which a slice is accepted, once the clicks are used up.
            enough: Dice with which no further click is made.
        """
        self._session, self._work, self._target, self._enough = session, work, target, enough

    def segment(self, image: np.ndarray, label_hw: np.ndarray, first: str) -> np.ndarray:
        """What is accepted on a slice, (H, W) bool.

        Args:
            image: (H, W, 3) uint8.
            label_hw: (H, W) bool, the object, not empty.
            first: the first prompt, `BOX` or `CLICK`; or `OUTLINE`, without the model.
        """
        if first == OUTLINE:
            return self._outlined(label_hw)
        of_box = first == BOX
        prompts = Prompts.of(box=box_of_mask(label_hw)) if of_box else Prompts().with_point(centre_point(label_hw), 1)
        self._work.add("box" if of_box else "click")
        return self._clicked(image, label_hw, prompts, None, self._answer(image, prompts, None))

    def correct(self, image: np.ndarray, label_hw: np.ndarray, mask_hw: np.ndarray) -> np.ndarray:
        """Correct a mask that is there by clicks, or by hand; arguments and result as of `segment`."""
        if not label_hw.any():
            raise ValueError("an object that is not on the slice cannot be corrected there")
        if not mask_hw.any():
            return self.segment(image, label_hw, BOX)
        return self._clicked(image, label_hw, Prompts(), mask_hw, mask_hw)

    def _clicked(
        self, image: np.ndarray, label_hw: np.ndarray, prompts: Prompts, before: np.ndarray | None, mask: np.ndarray
    ) -> np.ndarray:
        best = mask
        for _ in range(CLICKS):
            point = centre_error_point(mask, label_hw)
            if point is None or dice(mask, label_hw) >= self._enough:
                break
            prompts = prompts.with_point(*point)
            self._work.add("click")
            mask = self._answer(image, prompts, before)
            best = max(best, mask, key=lambda shown: dice(shown, label_hw))
        if dice(best, label_hw) < self._target:
            return self._outlined(label_hw)
        self._work.add("key")  # Enter
        return best

    def _answer(self, image: np.ndarray, prompts: Prompts, before: np.ndarray | None) -> np.ndarray:
        with self._work.computing():
            return self._session.answer(image, prompts, mask=before).mask

    def _outlined(self, label_hw: np.ndarray) -> np.ndarray:
        self._work.add("outline", regions(label_hw))
        return label_hw


class PropagatingUser:
    """Segments some slices of each object, propagates, and corrects the worst slice until the target is reached."""

    def __init__(self, task: Task, session: Session, work: Work, first: str, *, from_one: bool = False) -> None:
        """Prepare.

        Args:
            task: what is to be done.
            session: the model.
            work: counts.
            first: prompt of `SliceUser.segment`; with `OUTLINE` no model is asked at all.
            from_one: begin on the largest slice of each object only.
        """
        self._task, self._work, self._first, self._from_one = task, work, first, from_one
        self._user = SliceUser(session, work, task.target, task.slice_target)
        self._keyframes: list[dict[int, np.ndarray]] = [{} for _ in task.objects]
        self._ranges = [(0, len(task.grey) - 1) for _ in task.objects]
        self.found = [np.zeros_like(label) for label in task.objects]

    def finish(self) -> list[np.ndarray]:
        """Work until the target is reached, or the user gives up: one (N, H, W) bool for each object."""
        task = self._task
        for number, label in enumerate(task.objects):
            for index in self._starts(number):
                self._keyframes[number][index] = self._user.segment(task.image(index), label[index], self._first)
        self._work.add("key")  # Propagate, or Whole object
        for number in range(len(task.objects)):
            self._fill(number)
        while task.dice(self.found) < task.target and not self._work.is_over:
            if not self._correct_worst():
                break
        return self.found

    def _starts(self, number: int) -> list[int]:
        starts = self._task.starting_slices(number)
        return [int(self._task.objects[number].sum(axis=(1, 2)).argmax())] if self._from_one else starts

    def _fill(self, number: int) -> None:
        found = np.zeros_like(self.found[number])
        keyframes, (first, last) = self._keyframes[number], self._ranges[number]
        task = self._task
        with self._work.computing():
            for result in propagate_stack(None, task.image, [keyframes], first, last, slice_px=task.slice_px):
                found[result.index] = result.mask
        for index, mask in keyframes.items():
            found[index] = mask
        self.found[number] = found

    def _correct_worst(self) -> bool:
        """Correct the worst slice of all objects and propagate again; whether there was one."""
        pairs = list(zip(self.found, self._task.objects, self._keyframes, strict=True))
        worst = [worst_slice(*pair) for pair in pairs]
        wrong = [
            np.count_nonzero(found[index] != label[index]) if index >= 0 else 0
            for index, (found, label, _) in zip(worst, pairs, strict=True)
        ]
        number = int(np.argmax(wrong))
        if not wrong[number]:
            return False
        index, label = worst[number], self._task.objects[number]
        if label[index].any():
            mask = self.found[number][index]
            self._keyframes[number][index] = self._redone(index, label[index], mask)
        else:  # it runs on beyond the object's end: undo, set the range
            used = np.flatnonzero(label.any(axis=(1, 2)))
            first, last = self._ranges[number]
            self._ranges[number] = (int(used[0]), last) if index < used[0] else (first, int(used[-1]))
            self._work.add("key")
            self._work.add("number")
        self._work.add("key")  # Propagate
        self._fill(number)
        return True

    def _redone(self, index: int, label_hw: np.ndarray, mask_hw: np.ndarray) -> np.ndarray:
        image = self._task.image(index)
        if self._first == OUTLINE:
            return self._user.segment(image, label_hw, OUTLINE)
        return self._user.correct(image, label_hw, mask_hw)


def whole_objects_in_boxes(task: Task, session: Session, work: Work) -> list[np.ndarray]:
    """A box in space around each object, Whole object, and clicks on the worst slices: (N, H, W) bool each."""
    user = SliceUser(session, work, task.target, task.slice_target)
    objects = []
    for label in task.objects:
        ends = [np.flatnonzero(label.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
        (first, last), (y0, y1), (x0, x1) = [(int(low), int(high)) for low, high in ends]
        boxes = {index: np.array([x0, y0, x1 + 1, y1 + 1], float) for index in range(first, last + 1)}
        work.add("box", 2)  # in one view, and its depth in another
        work.add("key")  # Whole object
        corrections: dict[int, np.ndarray] = {}
        found = _in_boxes(task, session, boxes, corrections, work)
        while dice(found, label) < task.target and not work.is_over:
            index = worst_slice(found, label, corrections)
            if index < 0:
                break
            corrections[index] = user.correct(task.image(index), label[index], found[index])
            found = _in_boxes(task, session, boxes, corrections, work)
        work.add("key")  # Enter
        objects.append(found)
    return objects


def _in_boxes(
    task: Task, session: Session, boxes: dict[int, np.ndarray], corrections: dict[int, np.ndarray], work: Work
) -> np.ndarray:
    found = np.zeros(task.grey.shape, bool)
    with work.computing():
        results = segment_object(
            None if corrections else session,
            task.image,
            0,
            len(found) - 1,
            keyframes=corrections,
            boxes=boxes,
            slice_px=task.slice_px,
        )
        try:
            for result in results:
                found[result.index] = result.mask
        except PropagationError:  # the model finds nothing in the box
            pass
    for index, mask in corrections.items():
        found[index] = mask
    return found
