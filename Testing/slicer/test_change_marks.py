"""Between two answers the preview marks for a moment what was added to the mask, and what was dropped from it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import slicer
from editor_fixture import CORRECTED_PX, INSIDE, EditorFixture

K = INSIDE[2]
WHOLE, HALF = ((47, 3, K), (3, 38, K)), ((5, 5, K), (28, 35, K))  # from corners that are no handles of the other
LEFT, RIGHT = (18, 24, K), (34, 24, K)  # in both boxes, and in the larger one only
MARKED_MS = 250
COLOR = (0.2, 0.4, 0.8)


@pytest.fixture
def fixture(model, monkeypatch) -> EditorFixture:
    from SAMMed2DSlicer.effect import change_marks

    monkeypatch.setattr(change_marks, "MARKED_MS", MARKED_MS)
    fixture = EditorFixture(model)
    fixture.segmentation.GetSegmentation().GetSegment("A").SetColor(*COLOR)
    fixture.pump(0.05)
    return fixture


def around(fixture, ijk, image=None) -> np.ndarray:
    """The pixels of the view around a voxel, (N, 3)."""
    image = fixture.image() if image is None else image
    x, y = fixture.xy(ijk)
    row = image.shape[0] - 1 - y
    return image[row - 5 : row + 6, x - 5 : x + 6].reshape(-1, 3)


def later(fixture):
    fixture.pump(MARKED_MS / 1000 + 0.1)


def test_what_an_answer_adds_is_brighter_for_a_moment(fixture):
    fixture.drag(*HALF)
    left = around(fixture, LEFT)
    fixture.drag(*WHOLE)
    marked, kept = around(fixture, RIGHT), around(fixture, LEFT)
    np.testing.assert_array_equal(kept, left)
    later(fixture)
    unmarked = around(fixture, RIGHT)
    bright = 255 * (np.array(COLOR) + 0.5 * (1 - np.array(COLOR)))
    assert np.abs(marked - bright).mean() < 0.5 * np.abs(unmarked - bright).mean()
    np.testing.assert_array_equal(around(fixture, LEFT), left)


def test_what_an_answer_drops_is_hatched_for_a_moment(fixture):
    plain = around(fixture, RIGHT)
    fixture.drag(*WHOLE)
    later(fixture)
    fixture.drag(*HALF)
    marked = around(fixture, RIGHT)
    assert (marked.max(axis=1) < 5).sum() > 10  # dark stripes
    assert (np.abs(marked - plain).sum(axis=1) == 0).sum() > 10  # and the image between them
    later(fixture)
    np.testing.assert_array_equal(around(fixture, RIGHT), plain)


def test_the_first_answer_and_an_equal_one_are_not_marked(fixture):
    fixture.click()
    marked = fixture.image()
    later(fixture)
    np.testing.assert_array_equal(fixture.image(), marked)
    fixture.click((20, 24, K))  # the same mask
    marked = around(fixture, RIGHT)
    later(fixture)
    np.testing.assert_array_equal(around(fixture, RIGHT), marked)


def test_a_correction_marks_what_it_adds_to_the_mask_that_was_there(fixture):
    mask = np.zeros(fixture.structure.shape, np.uint8)
    mask[K, 10:40, 10:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, fixture.segmentation, "A", fixture.volume)
    fixture.pump(0.05)
    fixture.click((31, 25, K))
    at = (31 + CORRECTED_PX - 2, 25, K)
    marked = around(fixture, at).mean(axis=0)
    later(fixture)
    assert np.abs(around(fixture, at).mean(axis=0) - marked).max() > 10


def test_each_answer_is_marked_against_the_one_before_it(fixture):
    fixture.drag(*WHOLE)
    fixture.drag(*HALF)
    fixture.drag(*WHOLE)  # before the first marks are gone
    marked = around(fixture, RIGHT)
    later(fixture)
    assert np.abs(around(fixture, RIGHT) - marked).max() > 10


def test_marks_end_with_the_mask_and_with_the_effect(fixture):
    fixture.drag(*HALF)
    fixture.drag(*WHOLE)
    fixture.accept()
    accepted = fixture.image()
    later(fixture)
    np.testing.assert_array_equal(fixture.image(), accepted)
    fixture.click((50, 44, K), control=True)
    fixture.editor.setActiveEffect(None)
    later(fixture)  # an error of the timer would fail the test
    assert fixture.controller is None


def test_a_preview_at_512_px_is_drawn_in_less_than_a_frame_of_50_ms(model):
    """With all marks, over a mask that is corrected, in a large view; processor time, since machines are shared."""
    y, x = np.mgrid[:512, :512]
    disc = (x - 250) ** 2 + (y - 260) ** 2 < 150**2
    fixture = EditorFixture(model, volume_kji=np.where(disc, 160, 40).astype(np.uint8)[None].repeat(12, axis=0))
    there = ((x - 260) ** 2 + (y - 250) ** 2 < 150**2)[None].repeat(12, axis=0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(there, fixture.segmentation, "A", fixture.volume)
    fixture.widget.sliceView().resize_view(800, 700)
    fixture.show(2, K)
    fixture.click((120, 250, K), control=True)
    fixture.click((395, 180, K))
    display, times = fixture.controller.display, []
    (group,) = fixture.controller.pending
    assert display.changes.of(group).added_hw.any()
    for _ in range(6):
        display.begin()
        fixture.controller.acceptance.masking_changed()
        began = time.process_time()
        display.draw()
        times.append(time.process_time() - began)
    assert min(times) < 0.05
