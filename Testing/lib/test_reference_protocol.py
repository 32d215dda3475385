"""The reference protocol, on a small untrained network: which prompts it gives, in which frame, and that it repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from other_model import LeftHalf
from tiny_network import CONFIG

from SAMMed2DLib.data.sa_med2d import MaskedImage, MaskEntry
from SAMMed2DLib.evaluation import EvaluationError, EvaluationOptions, evaluate, evaluate_image
from SAMMed2DLib.evaluation.protocols import reference_protocol
from SAMMed2DLib.evaluation.protocols.objects import targets_of
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.model.build import build_model

AS_PUBLISHED = EvaluationOptions("published", clicks=(1, 3), box_jitters=(0.1,), most_clicks=4)
SIDE = CONFIG.image_size


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(build_model(CONFIG), "tiny", device="cpu", fit="pad")


def an_image(height: int, width: int, *parts: tuple[slice, slice]) -> MaskedImage:
    mask = np.zeros((height, width), bool)
    for part in parts:
        mask[part] = True
    image = np.random.default_rng(0).integers(0, 200, (height, width, 3)).astype(np.uint8)
    return MaskedImage(image, mask[None], (MaskEntry("mask.png", "image.png", "test", "set"),))


class _Spy:
    """Notes what the decoder is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> None:
        self.calls: list[tuple] = []
        decode = predictor.model.decode

        def noted(features, points=None, boxes=None, masks=None):
            self.calls.append((points, boxes, masks))
            return decode(features, points, boxes, masks)

        monkeypatch.setattr(predictor.model, "decode", noted)


def test_clicks_are_accumulated_with_the_probabilities_of_the_last_mask(predictor, monkeypatch):
    spy = _Spy(monkeypatch, predictor)
    list(evaluate(predictor, [an_image(SIDE, SIDE, np.s_[10:40, 20:50])], options=AS_PUBLISHED))
    boxes, clicks = spy.calls[:2], spy.calls[2:]
    assert [call[1].flatten().tolist() for call in boxes[:1]] == [[20, 10, 50, 40]]
    assert all(points is None and masks is None for points, _, masks in boxes)
    assert [call[0][0].shape[1] for call in clicks] == [1, 2, 3, 4]
    assert [call[2] is None for call in clicks] == [True, False, False, False]
    assert all(call[2].min() >= 0 and call[2].max() <= 1 for call in clicks[1:])
    assert all(call[1] is None for call in clicks)
    first, last = clicks[0][0], clicks[-1][0]
    assert torch.equal(last[0][:, :1], first[0]) and first[1].tolist() == [[1]]
    x, y = first[0][0, 0].int().tolist()
    assert 20 <= x < 50 and 10 <= y < 40


def test_a_box_is_that_of_the_largest_part_and_equals_the_predictor(predictor):
    item = an_image(SIDE, SIDE, np.s_[10:40, 20:50], np.s_[50:56, 2:8])
    (result,) = evaluate(predictor, [item], options=AS_PUBLISHED)
    found = predictor.predict(predictor.embed([item.image]), Prompts.of(box=(20, 10, 50, 40))).mask
    both = np.count_nonzero(found & item.masks[0])
    assert result.dice["box"] == pytest.approx(2 * both / (found.sum() + item.masks[0].sum()), abs=1e-6)


@pytest.mark.parametrize("size", [(20, 30), (100, 40), (64, 65), (150, 90)], ids=str)
def test_slices_of_all_sizes_are_scored_at_their_own_size_and_repeat(predictor, size):
    item = an_image(*size, np.s_[3 : size[0] // 2, 2 : size[1] // 2])
    (first,), (second,) = (list(evaluate(predictor, [item], options=AS_PUBLISHED)) for _ in range(2))
    assert first == second
    assert list(first.dice) == AS_PUBLISHED.kinds() and len(first.curve) == 4
    assert min(first.dice.values()) >= 0 and max(first.dice.values()) <= 1


def test_a_padded_slice_lies_in_the_middle_of_the_frame(predictor, monkeypatch):
    spy = _Spy(monkeypatch, predictor)
    peer = LeftHalf()
    list(evaluate(predictor, [an_image(20, 30, np.s_[5:15, 10:22])], options=AS_PUBLISHED, peers=[peer]))
    assert spy.calls[0][1].flatten().tolist() == [10 + 17, 5 + 22, 22 + 17, 15 + 22]
    np.testing.assert_allclose(peer.boxes[0], [10, 5, 22, 15])


def test_where_nothing_is_wrong_a_point_that_says_nothing_is_added(predictor, monkeypatch):
    item = an_image(SIDE, SIDE, np.s_[10:40, 20:50])
    perfect = reference_protocol.ProtocolPrediction(
        item.masks[0], item.masks[0], torch.zeros(1, 1, SIDE // 4, SIDE // 4)
    )
    monkeypatch.setattr(reference_protocol.FramePredictor, "predict", lambda *args, **more: perfect)
    embedding = predictor.embed([item.image])
    target = next(targets_of(item))
    user = reference_protocol.FramePredictor(predictor, embedding)
    *_, (_, points, labels) = reference_protocol.click_by_click(user, target, embedding, AS_PUBLISHED)
    assert labels.tolist() == [1, -1, -1, -1] and points.shape == (4, 2)


def test_a_mask_of_which_nothing_is_left_in_the_frame_is_told_and_left_out(predictor):
    item = an_image(400, 400, np.s_[1:2, 1:2])
    told: list = []
    found = evaluate_image(predictor, item, AS_PUBLISHED, skipped=lambda target, error: told.append(str(error)))
    assert list(found) == [] and "nothing of it is left" in told[0]
    with pytest.raises(EvaluationError, match="nothing of it is left"):
        list(evaluate(predictor, [item], options=AS_PUBLISHED))


def test_slices_that_are_stretched_are_not_the_reference_protocol():
    stretching = Predictor(build_model(CONFIG), "tiny", device="cpu")
    with pytest.raises(EvaluationError, match="pad"):
        list(evaluate(stretching, [an_image(20, 30, np.s_[5:15, 10:22])], options=AS_PUBLISHED))
