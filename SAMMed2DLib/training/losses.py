"""Training losses: that of SAM-Med2D (sums over the whole batch), and the default one (object by object)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss (alpha 0.25, gamma 2), mean over all pixels of the batch; shapes equal, target 0/1."""
    p = logits.sigmoid()
    positive = -0.25 * target * (1 - p) ** 2 * torch.log(p + 1e-12)
    negative = -0.75 * (1 - target) * p**2 * torch.log(1 - p + 1e-12)
    return (positive + negative).sum() / (logits.numel() + 1e-12)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice of the batch taken as one image; shapes equal, target 0/1."""
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def iou_loss(logits: Tensor, target: Tensor, iou: Tensor) -> Tensor:
    """Squared error of the predicted IoU against the soft IoU of the whole batch.

    The soft IoU is not detached, so this term also moves the masks, as published.

    Args:
        logits: (N, 1, H, W).
        target: (N, 1, H, W), 0/1.
        iou: (N, 1), predicted.
    """
    p = logits.sigmoid()
    both = (p * target).sum()
    soft_iou = (both + 1e-7) / (p.sum() + target.sum() - both + 1e-7)
    return (soft_iou - iou).square().mean()


def published_loss(logits: Tensor, target: Tensor, iou: Tensor) -> Tensor:
    """Return the published total, 20 * focal + dice + iou; shapes as in `iou_loss`.

    Args:
        logits: of the masks.
        target: the masks, 0/1.
        iou: predicted by the model.
    """
    return 20 * focal_loss(logits, target) + dice_loss(logits, target) + iou_loss(logits, target, iou)


def object_loss(logits: Tensor, target: Tensor, iou: Tensor) -> Tensor:
    """Loss of every object by itself, with all masks of the decoder in play.

    Each object is charged for its best mask, plus a tenth of the mean over its masks, so that no mask is
    left behind; every predicted IoU is held against the IoU of its own mask.

    Args:
        logits: (N, M, h, w), the decoder's masks.
        target: (N, 1, h, w), share of each pixel that the object covers, 0..1.
        iou: (N, M), predicted.

    Returns:
        Scalar, mean over objects.
    """
    p = logits.sigmoid()
    cross_entropy = functional.binary_cross_entropy_with_logits(
        logits, target.expand_as(logits), reduction="none"
    ).mean(dim=(2, 3))
    overlap = (p * target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (p.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    mask_loss = cross_entropy + dice
    score_loss = (iou - hard_iou(logits, target)).square().mean(dim=1)
    return (mask_loss.min(dim=1).values + 0.1 * mask_loss.mean(dim=1) + score_loss).mean()


@torch.no_grad()
def hard_iou(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded masks, (N, M); shapes as in `object_loss`."""
    mask, truth = logits > 0, target > 0.5
    both = (mask & truth).sum(dim=(2, 3))
    either = (mask | truth).sum(dim=(2, 3))
    return both / either.clamp(min=1)
