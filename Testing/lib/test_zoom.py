"""Crops around prompts: where they lie, and that prompts and masks find their way in and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SAMMed2DLib.inference.prompts import PromptError, Prompts
from SAMMed2DLib.inference.zoom import OBJECT_SHARE, SMALLEST_CROP_PX, Crop, coarse_size_of, predict_zoomed
from SAMMed2DLib.model.config.model_config import SMALL, TINY

SIZE = (100, 160)


@dataclass(frozen=True, eq=False)
class _SurePrediction:
    """A mask that leaves nothing to be fitted."""

    mask: np.ndarray
    score: float
    low_res_logits: np.ndarray

    def logits(self) -> np.ndarray:
        return np.where(self.mask, np.float32(20), np.float32(-20))


class _BrightPixels:
    """A stand-in model: the mask is what is bright in the image it is shown; counts what it is asked."""

    has_refiner = False
    click_scales = (1.0,)
    coarse_size = None

    def __init__(self) -> None:
        self.embedded: list[tuple[int, ...]] = []
        self.asked: list[Prompts] = []

    def embed(self, images, coarse=False):
        self.embedded += [image.shape for image in images]
        return list(images)

    def predict(self, embedding, prompts):
        self.asked.append(prompts.checked(embedding.shape[:2]))
        return _SurePrediction(embedding[..., 0] > 100, 0.5, np.full((16, 16), len(self.asked), np.float32))

    def decode_pairs(self, pairs):
        return [self.predict(embedding, prompts) for embedding, prompts in pairs]

    def mask_prompt(self, logits_hw):
        return np.full((16, 16), (logits_hw > 0).sum(), np.float32)


@pytest.fixture
def model() -> _BrightPixels:
    return _BrightPixels()


@pytest.fixture
def image() -> np.ndarray:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[40:52, 100:118] = 200
    return image


def test_a_box_is_segmented_on_a_crop_and_put_back_in_place(model, image):
    found = predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    assert model.embedded == [(32, 32, 3)]  # the smallest crop; a box needs no first pass
    np.testing.assert_array_equal(model.asked[0].box_xyxy, [7, 10, 25, 22])


def test_a_click_is_followed_by_a_crop_around_what_it_found(model, image):
    found = predict_zoomed(model, image, Prompts.of(positive=[(105, 45)]))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    assert model.embedded == [(*SIZE, 3), (32, 32, 3)]
    assert [len(asked.labels) for asked in model.asked] == [1, 1]


def test_a_first_click_at_several_scales_begins_with_the_surest_mask(model, image):
    class SurerWhenLarger(_BrightPixels):
        click_scales = (1.0, 0.5, 0.25)

        def predict(self, embedding, prompts):
            found = super().predict(embedding, prompts)
            return replace(found, score=float(found.mask.mean()))

    model = SurerWhenLarger()
    found = predict_zoomed(model, image, Prompts.of(positive=[(105, 45)]))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    # In the smallest crop the object takes nearly half of the side: there is no better one.
    assert model.embedded == [(*SIZE, 3), (80, 80, 3), (40, 40, 3)]


def test_a_first_click_on_what_all_its_crops_show_too_small_cuts_another_one(model, image):
    image[...] = 0
    image[40:46, 100:109] = 200
    model.click_scales = (1.0, 0.5)
    found = predict_zoomed(model, image, Prompts.of(positive=[(105, 43)]))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    assert model.embedded == [(*SIZE, 3), (80, 80, 3), (32, 32, 3)]
    assert (model.asked[-1].low_res_logits == found.mask.sum()).all()  # the crop around it begins with that mask


def test_points_beside_the_crop_of_a_first_click_wait_for_one_that_holds_them(image):
    class ManyScales(_BrightPixels):
        click_scales = (1.0, 0.25)

    model, points = ManyScales(), [(5, 5), (105, 45), (150, 90)]
    found = predict_zoomed(model, image, Prompts(np.array(points), np.array([0, 1, 0])))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    assert [len(asked.labels) for asked in model.asked] == [3, 1, 3]


def test_a_mask_that_is_cut_off_is_taken_only_where_there_is_no_other(image):
    class SurerWhenSmaller(_BrightPixels):
        click_scales = (1.0, 0.25)

        def predict(self, embedding, prompts):
            return replace(super().predict(embedding, prompts), score=1 - embedding.shape[0] / 200)

    image[10:90, 60:150] = 200  # larger than the smaller crop, whose mask would be the surer one
    model = SurerWhenSmaller()
    found = predict_zoomed(model, image, Prompts.of(positive=[(105, 45)]))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)


def test_a_refiner_draws_the_outline_instead_of_the_fit_and_flecks_go(image):
    class Refined(_BrightPixels):
        has_refiner = True

        def refine(self, prediction, image, prompts):
            logits = np.full(image.shape[:2], -1, np.float32)
            logits[5:20, 5:20] = logits[25, 25] = 1  # an object and a fleck
            return logits

    found = predict_zoomed(Refined(), image, Prompts.of(box=(100, 40, 118, 52)))
    view, expected = found.view, np.zeros(SIZE, bool)
    expected[view.y0 + 5 : view.y0 + 20, view.x0 + 5 : view.x0 + 20] = True
    np.testing.assert_array_equal(found.mask, expected)


def test_a_correction_keeps_crop_and_logits(model, image):
    first = predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    again = predict_zoomed(
        model, image, Prompts.of(negative=[(119, 45)], box=(100, 40, 118, 52)), previous=first
    )
    assert again.view == first.view and len(model.embedded) == 1
    np.testing.assert_array_equal(model.asked[1].low_res_logits, first.low_res_logits)


def test_a_click_outside_the_crop_makes_a_larger_one_with_the_mask_instead_of_the_old_logits(model, image):
    first = predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    again = predict_zoomed(
        model, image, Prompts.of(positive=[(80, 30)], box=(100, 40, 118, 52)), previous=first
    )
    assert again.view.holds(Prompts.of(positive=[(80, 30)])) and again.view.holds(Prompts.of(box=(100, 40, 118, 52)))
    assert (model.asked[-1].low_res_logits == first.mask.sum()).all()


def test_a_mask_that_reaches_the_border_of_its_crop_makes_a_larger_one(model, image):
    image[40:52, 60:150] = 200
    first = predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    again = predict_zoomed(
        model, image, Prompts.of(positive=[(110, 45)], box=(100, 40, 118, 52)), previous=first
    )
    assert again.view.x1 - again.view.x0 > first.view.x1 - first.view.x0


def test_a_large_object_is_segmented_on_the_slice_itself(model, image):
    found = predict_zoomed(model, image, Prompts.of(box=(10, 5, 150, 95)))
    assert model.embedded == [(*SIZE, 3)] and found.view == Crop(0, 0, 160, 100, SIZE)
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)


def test_prompts_outside_the_slice_are_refused(model, image):
    with pytest.raises(PromptError):
        predict_zoomed(model, image, Prompts.of(positive=[(200, 5)]))
    assert model.embedded == []


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
)
def test_a_crop_lies_in_the_slice_and_holds_its_region(size_hw, fractions):
    height, width = size_hw
    x0, x1 = sorted((int(fractions[0] * (width - 1)), int(fractions[1] * (width - 1))))
    y0, y1 = sorted((int(fractions[2] * (height - 1)), int(fractions[3] * (height - 1))))
    region = np.array([x0, y0, x1 + 1, y1 + 1], dtype=float)
    crop = Crop.around(region, size_hw)
    assert 0 <= crop.x0 <= x0 and x1 < crop.x1 <= width
    assert 0 <= crop.y0 <= y0 and y1 < crop.y1 <= height
    assert crop.holds(Prompts.of(positive=[(x0, y0)], box=region))
    wanted = max(SMALLEST_CROP_PX, int(np.ceil((region[2:] - region[:2]).max() / OBJECT_SHARE)))
    assert (crop.x1 - crop.x0, crop.y1 - crop.y0) == (min(wanted, width), min(wanted, height))


def test_masks_and_images_survive_the_way_through_a_crop():
    crop = Crop(3, 5, 30, 20, (40, 50))
    mask = np.zeros((40, 50), bool)
    mask[7:12, 9:29] = True
    np.testing.assert_array_equal(crop.whole_mask(crop.cut(mask)), mask)


def test_the_outline_is_fitted_to_the_grey_values_of_the_crop(model, image, monkeypatch):
    rough = np.zeros(SIZE, np.float32) - 6
    rough[38:50, 100:118] = 6  # two rows too high
    rough[36:56, 96:122] += 5

    class _Rough(_SurePrediction):
        def logits(self) -> np.ndarray:
            view = Crop.around(np.array([100, 40, 118, 52]), SIZE)
            return view.cut(rough)

    monkeypatch.setattr(model, "predict", lambda embedding, prompts: _Rough(None, 0.5, np.zeros((16, 16))))
    found = predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    np.testing.assert_array_equal(found.mask[50:52, 100:118], True)


def test_a_first_click_that_was_looked_at_coarsely_is_answered_on_a_crop_in_the_full_frame(image):
    class Coarse(_BrightPixels):
        click_scales, coarse_size = (1.0, 0.25), 56

        def __init__(self):
            super().__init__()
            self.was_coarse = []
            self.batches = []

        def embed(self, images, coarse=False):
            self.was_coarse += [coarse] * len(images)
            self.batches.append(len(images))
            return super().embed(images)

    model = Coarse()
    found = predict_zoomed(model, image, Prompts.of(positive=[(105, 45)]))
    np.testing.assert_array_equal(found.mask, image[..., 0] > 100)
    assert model.was_coarse == [True, True, False]
    assert model.batches == [2, 1]  # the coarse ones together
    assert len(found.earlier) == 2  # other candidates may come of them
    predict_zoomed(model, image, Prompts.of(positive=[(105, 45)], negative=[(118, 45)]), found)
    predict_zoomed(model, image, Prompts.of(box=(100, 40, 118, 52)))
    assert model.was_coarse == [True, True, False, False]  # a further click looks no more, a box once


@pytest.mark.parametrize("recorded", [57, 0, "56", 112, 224, None])
def test_a_coarse_frame_that_the_network_cannot_take_is_none(recorded):
    assert coarse_size_of({"coarse_size": recorded}, replace(TINY, image_size=112).takes_size) is None
    assert coarse_size_of({"coarse_size": 56}, replace(TINY, image_size=112).takes_size) == 56
    assert coarse_size_of({"coarse_size": 56}, SMALL.takes_size) is None  # its positions are a table
