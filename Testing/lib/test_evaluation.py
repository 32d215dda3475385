"""Evaluation with a stand-in predictor whose answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from other_model import LeftHalf

from SAMMed2DLib import evaluation
from SAMMed2DLib.data.dataset import LabelledImage
from SAMMed2DLib.data.sa_med2d import MaskedImage, MaskEntry
from SAMMed2DLib.data.simulated_user import centre_point
from SAMMed2DLib.evaluation.protocols import objects


class _Answer:
    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.score = 0.5
        self.low_res_logits = np.zeros((16, 16), np.float32)

    def logits(self) -> np.ndarray:
        return np.where(self.mask, np.float32(20), np.float32(-20))


class _Embeddings(list):
    """The sizes of images, as what was seen of them."""

    nbytes = 0


class _RowsOfClicks:
    """Marks the rows of the positive clicks within 2 px; for a box, the box without its right half."""

    prefers_zoom = False
    has_refiner = False
    click_scales = (1.0,)
    coarse_size = None
    score_calibration = None

    def __init__(self) -> None:
        self.seen: list = []

    def embed(self, images, coarse=False):
        return _Embeddings(image.shape[:2] for image in images)

    def predict(self, embedding, prompts):
        self.seen.append(prompts)
        mask = np.zeros(embedding, bool)
        if prompts.box_xyxy is not None:
            x0, y0, x1, y1 = prompts.box_xyxy.astype(int)
            mask[y0:y1, x0 : (x0 + x1) // 2] = True
        for (_, y), label in zip(prompts.points_xy, prompts.labels, strict=True):
            if label:
                mask[int(y) - 2 : int(y) + 3, 10:30] = True
        return _Answer(mask)


@pytest.fixture
def rectangle() -> LabelledImage:
    label = np.zeros((40, 40), np.uint8)
    label[4:36, 10:30] = 3
    return LabelledImage(np.zeros((40, 40, 3), np.uint8), label, "case", "set", "CT")


def test_scores_of_box_and_clicks_are_those_of_the_masks(rectangle):
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle])
    assert (result.dataset, result.label, result.area_px) == ("set", 3, 32 * 20)
    assert result.dice["filled box"] == pytest.approx(1)
    assert result.dice["box"] == pytest.approx(2 / 3, abs=1e-6)
    assert result.dice["1 click"] < result.dice["3 clicks"] < result.dice["5 clicks"] < 1


def test_jitter_scores_a_moved_box_besides_the_exact_one(rectangle):
    (exact,) = evaluation.evaluate(_RowsOfClicks(), [rectangle])
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle], box_jitter=0.1)
    moved = dict(result.dice)
    assert list(moved) == ["filled box", "box", "box ±10 %", "1 click", "3 clicks", "5 clicks"]
    assert moved.pop("box ±10 %") != moved["box"]
    assert moved == exact.dice


def test_a_jittered_box_stays_near_the_object_and_in_the_image():
    mask = np.zeros((30, 50), bool)
    mask[0:10, 20:40] = True
    rng = np.random.default_rng(0)
    boxes = np.stack([evaluation.jittered_box(mask, 0.1, rng) for _ in range(100)])
    assert np.abs(boxes - [20, 0, 40, 10]).max(axis=0) == pytest.approx([2, 1, 2, 1], rel=0.1)
    assert (boxes >= 0).all() and (boxes[:, :2] + 1 <= boxes[:, 2:]).all()


def test_clicks_answer_the_largest_error_and_all_are_kept(rectangle):
    predictor = _RowsOfClicks()
    list(evaluation.evaluate(predictor, [rectangle]))
    clicks = predictor.seen[1:]
    assert [len(p.labels) for p in clicks] == [1, 2, 3, 4, 5]
    assert all(p.labels.all() for p in clicks)
    assert clicks[0].low_res_logits is None and clicks[1].low_res_logits is not None
    np.testing.assert_array_equal(clicks[4].points_xy[:4], clicks[3].points_xy)


def test_specks_are_left_out():
    label = np.zeros((100, 100), np.uint8)
    label[5:7, 5:7] = 1
    label[20:40, 20:40] = 2
    assert [kind for kind, _ in evaluation.single_objects(label)] == [2]


def test_the_macro_mean_weighs_data_sets_not_objects():
    def result(dataset: str, value: float) -> evaluation.ObjectResult:
        return evaluation.ObjectResult(dataset, "image", 1, 10, {"box": value})

    by_dataset = evaluation.mean_by_dataset([result("a", 1.0), result("a", 0.8), result("b", 0.5)])
    assert evaluation.macro_mean(by_dataset) == {"objects": 3, "box": pytest.approx(0.7)}
    assert evaluation.markdown_table(by_dataset).splitlines()[-1] == "| **macro mean** | 3 | 0.700 |"


def test_a_table_of_nothing_says_why():
    with pytest.raises(ValueError, match="large enough"):
        evaluation.markdown_table({})


# What is asked for besides

EVERYTHING = evaluation.EvaluationOptions(
    box_jitters=(0.05, 0.2), click_jitters=(0.1,), most_clicks=7, tolerance_px=2.0, clicks=(1, 2)
)


def two_masks() -> MaskedImage:
    """Overlapping masks; the second one has two parts."""
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 4:36, 10:30] = True
    masks[1, 6:12, 12:20] = masks[1, 20:30, 15:28] = True
    entries = [
        MaskEntry(f"masks/{n}.png", "images/a.png", "test", "set", "CT", anatomy, "patient 1", area_px=1)
        for n, anatomy in enumerate(("liver", "lesion"))
    ]
    return MaskedImage(np.zeros((40, 40, 3), np.uint8), masks, tuple(entries))


def test_the_plain_call_measures_neither_surfaces_nor_curves(rectangle):
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle])
    assert result.nsd == {} and result.curve == ()
    assert result.iou["box"] == pytest.approx(0.5, abs=1e-6)
    assert result.area_share == pytest.approx(32 * 20 / 1600)


def test_every_kind_of_prompt_that_the_options_name_is_scored(rectangle):
    (result,) = evaluation.evaluate(_RowsOfClicks(), [rectangle], options=EVERYTHING, peers=[LeftHalf()])
    kinds = EVERYTHING.kinds(["other"])
    assert kinds[:3] == ["filled box", "box", "box ±5 %"] and kinds[-1] == "1 click anywhere"
    assert set(result.dice) == set(result.iou) == set(result.nsd) == set(kinds)
    assert result.dice["other box"] == result.dice["box"]
    assert len(result.curve) == 7 and result.curve[:2] == (result.dice["1 click"], result.dice["2 clicks"])


def test_another_model_gets_the_boxes_of_the_model(rectangle):
    peer, predictor = LeftHalf(), _RowsOfClicks()
    list(evaluation.evaluate(predictor, [rectangle], options=EVERYTHING, peers=[peer]))
    given = [prompts.box_xyxy for prompts in predictor.seen if prompts.box_xyxy is not None]
    np.testing.assert_array_equal(given, peer.boxes)


def test_masks_that_overlap_are_scored_each_and_boxed_whole():
    predictor = _RowsOfClicks()
    first, second = evaluation.evaluate(predictor, [two_masks()], clicks=(1,))
    assert (first.entry.anatomy, second.entry.anatomy) == ("liver", "lesion")
    assert second.patient == ("set", "patient 1") and second.area_px == 48 + 130
    boxes = [prompts.box_xyxy.tolist() for prompts in predictor.seen if prompts.box_xyxy is not None]
    assert boxes == [[10, 4, 30, 36], [12, 6, 28, 30]]


def test_what_else_is_evaluated_does_not_change_a_result(rectangle):
    images = [two_masks(), rectangle]
    there, back = (
        {one.key: one for one in evaluation.evaluate(_RowsOfClicks(), order, options=EVERYTHING)}
        for order in (images, images[::-1])
    )
    assert there == back and len(there) == 3
    (other,) = evaluation.evaluate(_RowsOfClicks(), [rectangle], options=replace(EVERYTHING, seed=1))
    assert other.dice["box ±20 %"] != there[other.key].dice["box ±20 %"]


def test_a_jittered_click_is_on_the_object_and_near_its_middle():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 10:70] = True
    mask[12:48, 45:68] = False  # its middle is off the middle of the box
    rng = np.random.RandomState(0)
    points = np.array([objects.jittered_click(mask, 0.1, rng) for _ in range(60)]).astype(int)
    assert mask[points[:, 1], points[:, 0]].all()
    reach = np.abs(points - centre_point(mask)).max(axis=0)
    assert (reach <= [6, 4]).all() and (reach >= [5, 3]).all()


@pytest.mark.parametrize(("target", "expected"), [(0.5, 1), (0.8, 3), (0.9, None)])
def test_clicks_needed_are_counted_to_the_first_success(target, expected):
    result = evaluation.ObjectResult("set", "image", 1, 10, {}, curve=(0.6, 0.7, 0.85, 0.4, 0.8))
    assert result.clicks_to(target) == expected


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"protocol": "other"}, "careful, published"),
        ({"clicks": ()}, "from 1"),
        ({"clicks": (0, 1)}, "from 1"),
        ({"box_jitters": (10,)}, "between 0 and 1"),
        ({"most_clicks": -1}, "0 or more"),
        ({"tolerance_px": float("nan")}, "0 or more"),
        ({"protocol": "published", "zoom": True}, "neither zoom"),
    ],
)
def test_impossible_options_are_refused(wrong, words):
    with pytest.raises(evaluation.EvaluationError, match=words):
        evaluation.EvaluationOptions(**wrong)
