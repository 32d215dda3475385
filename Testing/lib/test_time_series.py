"""Segments along time: slices on their own, keyframes that stay, cycles, shared encodings, stopping, a beating ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_network import CONFIG

from SAMMed2DLib.imaging.metrics import dice
from SAMMed2DLib.inference.predictor import Predictor, load_predictor
from SAMMed2DLib.inference.session import Session, Stopped
from SAMMed2DLib.model.build import build_model
from SAMMed2DLib.propagation import time_series
from SAMMed2DLib.propagation.estimate import MODEL_WEIGHT
from SAMMed2DLib.propagation.schedule import PropagationError
from SAMMed2DLib.propagation.time_series import FrameResult, confidence_of_frame, propagate_in_time, shown_slices
from SAMMed2DLib.registry.built_in import BUILT_IN

SIZE = 48
# The model of these tests fails on the keyframes, so by itself it would not be asked.
ASK_EVERYWHERE = replace(time_series.WEIGHTS, model=MODEL_WEIGHT, open_share=0)


@pytest.fixture
def session() -> Session:
    torch.manual_seed(0)
    return Session(Predictor(build_model(CONFIG), device="cpu", precision="float32"))


def disc(radius: float, x: float = 24.0, y: float = 24.0) -> np.ndarray:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


NOTHING = disc(0)


class Cine:
    """Bright discs that beat, on every slice; remembers which frames were read, and which slices of them."""

    def __init__(self, frames: int = 8, slices: int = 3) -> None:
        noise = np.random.default_rng(0).integers(0, 40, (frames, slices, SIZE, SIZE, 1), np.uint8)
        self.masks = [[self.truth(t / frames, k) for k in range(slices)] for t in range(frames)]
        self.pictures = np.repeat(noise + np.where(self.masks, 150, 60)[..., None].astype(np.uint8), 3, axis=-1)
        self.read: list[tuple[int, list[int]]] = []

    @staticmethod
    def truth(phase: float, index: int) -> np.ndarray:
        return disc(12 - index - 4 * np.sin(np.pi * phase) ** 2, 24 + 2 * np.sin(2 * np.pi * phase))

    def __call__(self, frame: int, slices: Sequence[int]) -> list[np.ndarray]:
        self.read.append((frame, list(slices)))
        return [self.pictures[frame, index] for index in slices]

    def keys(self, frames: Sequence[int], slices: Sequence[int]) -> dict[tuple[int, int], np.ndarray]:
        return {(frame, index): self.masks[frame][index] for frame in frames for index in slices}


def by_place(found: Sequence[FrameResult]) -> dict[tuple[int, int, int], FrameResult]:
    places = {(one.number, one.frame, one.index): one for one in found}
    assert len(places) == len(found), "a place came twice"
    return places


def test_each_slice_is_filled_in_all_frames_that_are_no_keyframes(session: Session) -> None:
    cine = Cine()
    found = by_place(list(propagate_in_time(session, cine, [cine.keys([0, 4], [0, 2])], 0, 5)))
    assert set(found) == {(0, frame, index) for frame in (1, 2, 3, 5) for index in (0, 2)}
    for (_, frame, index), one in found.items():
        assert dice(one.mask, cine.masks[frame][index]) > 0.9


def test_slices_are_carried_by_themselves(session: Session) -> None:
    cine = Cine()
    together = by_place(list(propagate_in_time(session, cine, [cine.keys([0, 4], [0, 2])], 0, 7)))
    alone = by_place(list(propagate_in_time(session, cine, [cine.keys([0, 4], [2])], 0, 7)))
    for place, one in alone.items():
        np.testing.assert_array_equal(together[place].mask, one.mask)


def test_an_empty_keyframe_ends_the_object_on_its_slice(session: Session) -> None:
    cine = Cine()
    keys = cine.keys([0, 4], [0]) | {(0, 1): cine.masks[0][1], (4, 1): NOTHING}
    found = by_place(list(propagate_in_time(session, cine, [keys], 0, 7)))
    assert (0, 6, 0) in found
    assert not [frame for _, frame, index in found if index == 1 and frame >= 4]


def test_objects_share_encodings_and_each_is_carried_where_it_is_drawn(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_series, "WEIGHTS", ASK_EVERYWHERE)
    cine = Cine(frames=6, slices=2)
    both, one = cine.keys([0, 5], [0, 1]), cine.keys([0, 5], [1])
    found = by_place(list(propagate_in_time(session, cine, [both, one], 0, 5)))
    assert {index for number, _, index in found if number == 1} == {1}
    assert len(found) == 4 * 3
    assert session.encoded == 6 * 2


def test_in_a_cycle_the_last_frame_leads_to_the_first(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_series, "WEIGHTS", ASK_EVERYWHERE)
    cine = Cine(frames=8, slices=1)
    found = by_place(list(propagate_in_time(session, cine, [cine.keys([2, 5], [0])], 0, 7, period=8)))
    assert set(found) == {(0, frame, 0) for frame in (0, 1, 3, 4, 6, 7)}
    assert all(dice(one.mask, cine.masks[frame][0]) > 0.9 for (_, frame, _), one in found.items())
    assert session.encoded == 8  # those of the turns before and after are the same pictures


def test_in_a_cycle_only_the_span_across_its_end_is_filled_when_asked(session: Session) -> None:
    cine = Cine(frames=8, slices=1)
    found = propagate_in_time(session, cine, [cine.keys([2, 5], [0])], 0, 7, period=8, only=[7])
    assert sorted(one.frame for one in found) == [0, 1, 6, 7]


def test_a_frame_is_read_once_for_all_slices_that_may_be_kept(session: Session) -> None:
    cine = Cine(frames=5, slices=3)
    list(propagate_in_time(session, cine, [cine.keys([0, 4], [0, 1, 2])], 0, 4))
    assert sorted(cine.read) == [(frame, [0, 1, 2]) for frame in range(5)]


def test_with_little_memory_slices_are_read_one_by_one_and_the_result_is_the_same(session: Session) -> None:
    cine = Cine(frames=5, slices=3)
    keys = cine.keys([0, 4], [0, 1, 2])
    all_at_once = by_place(list(propagate_in_time(session, cine, [keys], 0, 4)))
    cine.read.clear()
    one_by_one = by_place(list(propagate_in_time(session, cine, [keys], 0, 4, kept_bytes=0)))
    assert sorted(cine.read) == sorted((frame, [index]) for frame in range(5) for index in range(3))
    for place, one in all_at_once.items():
        np.testing.assert_array_equal(one_by_one[place].mask, one.mask)


def test_stopping_keeps_the_slices_that_were_yielded(session: Session) -> None:
    cine = Cine(frames=6, slices=3)
    found: list[FrameResult] = []
    with pytest.raises(Stopped):
        for one in propagate_in_time(
            session, cine, [cine.keys([0, 5], [0, 1, 2])], 0, 5, should_stop=lambda: len(found) >= 4
        ):
            found.append(one)
    assert {one.frame for one in found if one.index == 0} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        ({}, {}, "no keyframe that shows an object"),
        ({(0, 0): NOTHING}, {}, "no keyframe that shows an object"),
        ({(0, 0): disc(9), (3, 0): disc(9)[:40]}, {}, "masks of one size"),
        ({(0, 0): disc(9)}, {"period": 5}, "frames 0 to 5 are not within a cycle of 5 frames"),
    ],
)
def test_what_cannot_be_carried_is_refused(session: Session, keys: dict, options: dict, message: str) -> None:
    with pytest.raises(PropagationError, match=message):
        list(propagate_in_time(session, Cine(), [keys], 0, 5, **options))


def test_shown_slices_are_those_with_a_mask_in_some_frame() -> None:
    assert shown_slices([{(0, 4): disc(3), (1, 5): NOTHING}, {(7, 2): disc(3)}]) == [2, 4]


def test_the_confidence_of_a_frame_is_weighed_by_area() -> None:
    assert confidence_of_frame([(300, 0.9), (100, 0.5)]) == pytest.approx(0.8)
    assert confidence_of_frame([(0, 0.4)]) == pytest.approx(0.4)
    assert confidence_of_frame([]) == 1.0


class Heart:
    """A ring that beats and moves, in noise, with a bright cavity: what a short-axis cine looks like, roughly."""

    frames, size = 20, 96

    def ring(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.mgrid[: self.size, : self.size]
        squeeze = np.sin(np.pi * frame / self.frames) ** 2
        radius = np.hypot(columns - 48 - 4 * np.sin(2 * np.pi * frame / self.frames), rows - 46 - 3 * squeeze)
        cavity = radius < 18 - 8 * squeeze
        return (radius < 28 - 5 * squeeze) & ~cavity, cavity

    def __call__(self, frame: int, slices: Sequence[int]) -> list[np.ndarray]:
        wall, cavity = self.ring(frame)
        columns = np.arange(self.size)[None]
        values = np.where(cavity, 190, np.where(wall, 110, 60 + 20 * np.sin(columns / 9)))
        values = values + np.random.default_rng(frame).normal(0, 25, values.shape)
        return [np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)]


@pytest.mark.parametrize("period", [None, Heart.frames])
def test_two_keyframes_of_a_beating_ring_give_more_than_copies_of_the_nearest(period: int | None) -> None:
    heart, keys = Heart(), (0, 9)
    objects = [{(frame, 0): heart.ring(frame)[part] for frame in keys} for part in (0, 1)]
    session = Session(load_predictor(BUILT_IN, device="cpu"))
    found = by_place(list(propagate_in_time(session, heart, objects, 0, heart.frames - 1, period=period)))
    for part in (0, 1):
        ours, copies = [], []
        for frame in set(range(heart.frames)) - set(keys):
            nearest = min(keys, key=lambda key: _away(frame, key, period))
            ours.append(dice(found[part, frame, 0].mask, heart.ring(frame)[part]))
            copies.append(dice(heart.ring(nearest)[part], heart.ring(frame)[part]))
        assert np.mean(ours) > np.mean(copies) + 0.07, (part, np.mean(ours), np.mean(copies))


def _away(frame: int, key: int, period: int | None) -> int:
    away = abs(frame - key)
    return away if period is None else min(away, period - away)
