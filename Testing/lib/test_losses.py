"""The published loss against its reference values, and what ours must do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from SAMMed2DLib.training import losses

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "golden" / "pieces.npz")


def _golden_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    pred, iou = (torch.from_numpy(GOLDEN[f"loss.{k}"]).requires_grad_() for k in ("pred", "pred_iou"))
    return pred, torch.from_numpy(GOLDEN["loss.gt"]), iou


def test_the_published_loss_and_its_gradients_match_the_reference():
    pred, target, iou = _golden_inputs()
    assert losses.focal_loss(pred, target).item() == pytest.approx(GOLDEN["loss.focal"].item(), abs=1e-6)
    assert losses.dice_loss(pred, target).item() == pytest.approx(GOLDEN["loss.dice"].item(), abs=1e-6)
    assert losses.iou_loss(pred, target, iou).item() == pytest.approx(GOLDEN["loss.iou"].item(), abs=1e-6)
    total = losses.published_loss(pred, target, iou)
    total.backward()
    assert total.item() == pytest.approx(GOLDEN["loss.total"].item(), abs=1e-5)
    np.testing.assert_allclose(pred.grad, GOLDEN["loss.grad_pred"], atol=1e-5)
    np.testing.assert_allclose(iou.grad, GOLDEN["loss.grad_iou"], atol=1e-5)


def _square(size: int = 16) -> torch.Tensor:
    target = torch.zeros(1, 1, size, size)
    target[..., 4:12, 4:12] = 1
    return target


def test_a_right_mask_costs_less_than_a_wrong_one():
    target = _square()
    right, wrong = (2 * target - 1) * 8, (1 - 2 * target) * 8
    score = torch.ones(1, 1)
    assert losses.object_loss(right, target, score) < 0.02 < losses.object_loss(wrong, target, score)


def test_an_object_is_charged_mainly_for_its_best_mask():
    target = _square()
    right, wrong = (2 * target - 1) * 8, (1 - 2 * target) * 8
    mixed = torch.cat([wrong, right, wrong], dim=1)
    score = losses.hard_iou(mixed, target)
    all_wrong = torch.cat([wrong] * 3, dim=1)
    assert score.tolist() == [[0.0, 1.0, 0.0]]
    mixed_loss = losses.object_loss(mixed, target, score)
    assert mixed_loss < 0.2 * losses.object_loss(all_wrong, target, losses.hard_iou(all_wrong, target))


def test_small_and_large_objects_weigh_the_same():
    small, large = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    small[..., :2, :2] = 1
    empty = torch.full((1, 1, 64, 64), -12.0)
    assert losses.object_loss(empty, small, torch.zeros(1, 1)) > 0.7
    both = losses.object_loss(
        torch.cat([empty, -empty]), torch.cat([small, large]), torch.tensor([[0.0], [1.0]])
    )
    assert both == pytest.approx(losses.object_loss(empty, small, torch.zeros(1, 1)).item() / 2, abs=1e-3)
