"""Simulated users of the benchmark of strokes and seconds: what they count, and that their tools finish an object."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from annotating import cine_ways, editor_ways
from annotating.product_ways import BOX, OUTLINE, PropagatingUser, SliceUser
from annotating.tasks import Task
from annotating.work import SECONDS, Work

from SAMMed2DLib.imaging.intensity import Window
from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.session import MaskPrediction

SHAPE = (20, 48, 48)


def a_ball(radius: float = 12, centre: tuple[float, float, float] = (9, 24, 22)) -> np.ndarray:
    k, j, i = (axis - at for axis, at in zip(np.indices(SHAPE), centre, strict=True))
    return (k / 0.6) ** 2 + j**2 + i**2 < radius**2


def a_task(*objects: np.ndarray, target: float = 0.95) -> Task:
    rng = np.random.default_rng(0)
    grey = 60 + 80 * np.any(objects, axis=0) + rng.normal(0, 8, SHAPE)
    return Task(grey.astype(np.float32), objects, Window.of_range(0, 255), 1.0, target)


class Blind:
    """A model that finds nothing."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, image, prompts, mask=None) -> MaskPrediction:
        self.asked += 1
        return type("Found", (), {"mask": np.zeros(image.shape[:2], bool)})()


def test_strokes_are_counted_and_cost_what_the_table_says() -> None:
    work = Work(most=4)
    work.add("outline", 2)
    work.add("key")
    assert (work.total, work.is_over, work.human_s(SECONDS)) == (3, False, 16.5)
    assert work.human_s(SECONDS | {"outline": 20.0}) == 40.5
    work.add("click")
    assert work.is_over
    with pytest.raises(ValueError, match="no stroke 'klick'"):
        work.add("klick")


def test_what_the_model_does_not_find_in_three_clicks_is_drawn_by_hand() -> None:
    model, work, label = Blind(), Work(most=60), a_ball()[9]
    found = SliceUser(model, work, 0.9, 0.95).segment(np.zeros((48, 48, 3), np.uint8), label, BOX)
    np.testing.assert_array_equal(found, label)
    assert work.strokes == {"box": 1, "click": 3, "outline": 1} and model.asked == 4


@pytest.mark.parametrize(
    ("way", "most"),
    [
        (lambda task, work: PropagatingUser(task, None, work, OUTLINE).finish(), 6),
        (editor_ways.grown_from_seeds, 14),
        (editor_ways.filled_between_slices, 8),
        (editor_ways.thresholded, 3),
    ],
)
def test_each_tool_finishes_a_ball_with_few_strokes(way, most) -> None:
    task, work = a_task(a_ball()), Work(most=40)
    found = way(task, work)
    assert task.dice(found) >= 0.95 and 3 <= work.total <= most
    assert work.computing_s > 0


def test_by_hand_every_region_of_every_slice_is_an_outline() -> None:
    two = a_ball(6, (9, 24, 10)) | a_ball(6, (9, 24, 36))
    task, work = a_task(two), Work(most=60)
    assert task.dice(editor_ways.outlined(task, work)) == 1
    assert work.strokes == {"outline": 2 * int(two.any(axis=(1, 2)).sum())}


def test_the_user_gives_up_after_so_many_strokes_and_it_is_seen() -> None:
    noise = np.random.default_rng(1).random(SHAPE) < 0.2
    task, work = a_task(noise & a_ball(), target=0.999), Work(most=12)
    found = editor_ways.grown_from_seeds(task, work)
    assert 12 <= work.total <= 13 and task.dice(found) < 0.999


def test_a_beat_follows_from_two_frames_and_a_copy_is_worse() -> None:
    frames = [a_task(a_ball(radius)) for radius in (12, 11, 10, 9, 10, 11)]
    label = np.stack([frame.label for frame in frames])
    copy, work = Work(most=60), Work(most=60)
    copied = dice(cine_ways.copied(frames, copy), label)
    assert dice(cine_ways.through_time(frames, Blind(), work), label) >= 0.95 > copied
    by_hand = int(label.any(axis=(2, 3)).sum())
    assert copy.strokes["outline"] == label[0].any(axis=(1, 2)).sum() and work.strokes["outline"] < by_hand / 2
