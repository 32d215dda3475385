"""One step of training on a batch: the default one, and that of SAM-Med2D.

`train_batch_published` repeats the published procedure: nine optimiser steps a batch, new clicks only, the prompt
encoder mostly left alone. `train_batch` is the default: the clicks add up as they do for a user, all rounds
of a batch end in one optimiser step that reaches every part of the network, and objects are weighed one by one.

The modules here do what one backward pass needs in one forward call, so that DistributedDataParallel can wrap them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from SAMMed2DLib.model.mask_decoder import select_best
from SAMMed2DLib.model.preprocessing import denormalised, stretched_each
from SAMMed2DLib.model.refiner import prompt_maps
from SAMMed2DLib.model.sam import Sam
from SAMMed2DLib.training.config import TrainingError
from SAMMed2DLib.training.losses import hard_iou, object_loss, published_loss
from SAMMed2DLib.training.training_prompts import PUBLISHED_ITERATIONS, PromptSource, RoundPrompts

_AUTOCAST = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
GRADIENT_NORM = 1.0  # gradients are scaled down to it
# The scaler halves its factor at every overflow; below this the gradients are broken, not small.
_SMALLEST_SCALE = 2.0**-10


@dataclass(frozen=True)
class Batch:
    """B images with M objects each, on the CPU; N = B * M, image-major.

    Attributes:
        images: (B, 3, S, S) float32, normalised as published whatever the model's preprocessing.
        masks: (N, 1, S, S) float32, 0/1.
    """

    images: Tensor
    masks: Tensor

    @property
    def masks_per_image(self) -> int:
        """M."""
        return len(self.masks) // len(self.images)


class NotFiniteError(RuntimeError):
    """Loss or gradients are not finite; the weights stay as they were."""


class Interaction(nn.Module):
    """The mean loss of some rounds of prompting on one batch."""

    def __init__(self, model: Sam, precision: str = "float32") -> None:
        """Wrap a model; `precision` is that of its image encoder."""
        super().__init__()
        self.model = model
        self.autocast = _AUTOCAST[precision]

    def forward(self, batch: Batch, prompts: PromptSource, rounds: int) -> Tensor:
        """Encode the images once, then let each round answer the errors of the one before.

        Args:
            batch: images and masks.
            prompts: draws the prompts of the first round, and those that answer errors.
            rounds: how many there are, at least one.

        Returns:
            the loss, a scalar, mean over the rounds.
        """
        device = _device_of(self.model)
        features = _encode(self.model, batch, self.autocast)  # (N, dim, g, g)
        masks = batch.masks.to(device)
        target: Tensor | None = None
        low_res: Tensor | None = None
        losses = []
        for _ in range(rounds):
            current = prompts.first(batch.masks) if low_res is None else prompts.following(low_res.cpu(), batch.masks)
            sparse, dense = _encode_prompts(self.model, current, low_res)
            logits, iou = self.model.mask_decoder(features, self.model.prompt_encoder.dense_pe(), sparse, dense)
            if target is None:
                target = functional.adaptive_avg_pool2d(masks, logits.shape[-2:])
            losses.append(object_loss(logits, target, iou))
            low_res = select_best(logits, iou)[0].detach()
        loss = torch.stack(losses).mean()
        return loss if low_res is None else loss + _refiner_loss(self.model, batch, current, low_res)


def _refiner_loss(model: Sam, batch: Batch, prompts: RoundPrompts, low_res: Tensor) -> Tensor:
    """Loss of the refined masks of the last round; 0 without a refiner."""
    if model.refiner is None:
        return low_res.new_zeros(())
    side, device = low_res.shape[-1], low_res.device
    images = stretched_each(denormalised(batch.images), 2 * side).repeat_interleave(batch.masks_per_image, dim=0)
    maps = prompt_maps(prompts.points, prompts.boxes, side, model.prompt_encoder.image_size, len(low_res))
    fine = model.refiner(images.to(device), low_res, maps.to(device))
    target = functional.adaptive_avg_pool2d(batch.masks.to(device), fine.shape[-2:])
    return object_loss(fine, target, hard_iou(fine, target))


def train_batch(
    interaction: nn.Module,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[tuple[Batch, PromptSource]],
    rounds: int,
    scaler: Any = None,
) -> float:
    """Take one optimiser step on the mean gradient of all parts.

    Args:
        interaction: an `Interaction`, or one that is trained on several devices.
        optimiser: of its weights.
        parts: batches of equal size with their prompts.
        rounds: of prompting.
        scaler: a GradScaler, for fp16.

    Returns:
        The mean loss.

    Raises:
        NotFiniteError: loss or gradients are not finite.
    """
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for number, (batch, prompts) in enumerate(parts, 1):
        with _no_sync(interaction) if number < len(parts) else nullcontext():
            loss = interaction(batch, prompts, rounds) / len(parts)
            (scaler.scale(loss) if scaler else loss).backward()
        total += loss.item()
    take_step(interaction, optimiser, total, scaler)
    return total


def take_step(module: nn.Module, optimiser: torch.optim.Optimizer, loss: float, scaler: Any) -> None:
    """Clip the gradients and step; one broken batch must not reach the weights, it would spoil them for good.

    Args:
        module: whose gradients are clipped.
        optimiser: of its parameters.
        loss: of this step; only whether it is finite counts.
        scaler: torch's GradScaler in fp16, else None.

    Raises:
        NotFiniteError: loss or gradients are not finite; with a scaler gradients may overflow now and then.
    """
    if not math.isfinite(loss):
        raise NotFiniteError(f"the loss is {loss}, not finite: lower the learning rate, or train in float32 or bf16")
    if scaler:
        scaler.unscale_(optimiser)
    norm = nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
    if scaler:
        scaler.step(optimiser)
        scaler.update()
        if scaler.get_scale() < _SMALLEST_SCALE:
            raise NotFiniteError("fp16 overflows at every step: train in float32 or bf16")
    elif not torch.isfinite(norm):
        raise NotFiniteError("the gradients are not finite: lower the learning rate")
    else:
        optimiser.step()


class PublishedPass(nn.Module):
    """One of the nine passes of the published step: an image pass, or a decoder pass on features given."""

    def __init__(self, model: Sam, precision: str = "float32") -> None:
        """Wrap a model; `precision` is that of its image encoder."""
        super().__init__()
        self.model = model
        self.autocast = _AUTOCAST[precision]

    def forward(
        self, batch: Batch, prompts: RoundPrompts, features: Tensor | None = None, low_res: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, and without gradients the features (N, dim, g, g) and the selected logits (N, 1, 4g, 4g).

        Args:
            batch: images and masks (N, 1, S, S).
            prompts: of this pass.
            features: (N, dim, g, g), from the image pass; None makes this the image pass.
            low_res: (N, 1, 4g, 4g) logits of the pass before; None in the first.
        """
        is_image_pass = features is None
        if features is None:
            features = _encode(self.model, batch, self.autocast)
        # After the image pass the published code encodes prompts without gradients.
        with torch.set_grad_enabled(is_image_pass and torch.is_grad_enabled()):
            sparse, dense = _encode_prompts(self.model, prompts, low_res)
        logits, iou = self.model.mask_decoder(features, self.model.prompt_encoder.dense_pe(), sparse, dense)
        selected, selected_iou = select_best(logits, iou)
        masks = batch.masks.to(features.device)
        loss = published_loss(self.model.upscale(selected), masks, selected_iou)
        return loss, features.detach(), selected.detach()


def train_batch_published(
    one_pass: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    prompts: PromptSource,
    scaler: Any = None,
) -> list[float]:
    """Train on one batch as published: one image pass, then eight decoder passes, a step after each.

    Absent gradients stay absent (torch 2): in the eight later steps Adam leaves the adapters alone.

    Args:
        one_pass: a `PublishedPass`, or one that is trained on several devices.
        optimiser: of its weights.
        batch: images and masks.
        prompts: draws the prompts.
        scaler: a GradScaler, for fp16.

    Returns:
        The nine losses.

    Raises:
        NotFiniteError: a loss is not finite.
    """
    features: Tensor | None = None
    low_res: Tensor | None = None
    current = prompts.first(batch.masks)
    losses = []
    for _ in range(1 + PUBLISHED_ITERATIONS):
        if low_res is not None:
            shown = functional.interpolate(low_res, batch.images.shape[-2:], mode="bilinear", align_corners=False)
            current = prompts.following(shown.cpu(), batch.masks)
        loss, features, low_res = one_pass(batch, current, features, low_res)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise NotFiniteError(f"the loss is {losses[-1]}, not finite: lower the learning rate")
        (scaler.scale(loss) if scaler else loss).backward()
        scaler.step(optimiser) if scaler else optimiser.step()
        if scaler:
            scaler.update()
        optimiser.zero_grad(set_to_none=True)
    return losses


def make_scaler(precision: str, device: torch.device) -> Any:
    """A GradScaler for fp16, None for other precisions.

    Raises:
        TrainingError: this torch has none for the device.
    """
    if precision != "fp16":
        return None
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(device.type)
    if device.type != "cuda":
        raise TrainingError(f"fp16 on {device.type} needs torch 2.3 or newer: update it, or train in bf16 or float32")
    return torch.cuda.amp.GradScaler()


def _no_sync(module: nn.Module) -> AbstractContextManager[Any]:
    """Keep gradients to this process until the last part."""
    return module.no_sync() if isinstance(module, nn.parallel.DistributedDataParallel) else nullcontext()


def _device_of(model: Sam) -> torch.device:
    return next(model.parameters()).device


def _encode(model: Sam, batch: Batch, autocast: torch.dtype | None) -> Tensor:
    """Features of the images, repeated for each object: (N, dim, g, g) float32."""
    device, images = _device_of(model), batch.images
    if model.preprocessing == "min-max":
        images = stretched_each(denormalised(images), model.image_size)
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        features = model.image_encoder(images.to(device))
    return features.float().repeat_interleave(batch.masks_per_image, dim=0)


def _encode_prompts(model: Sam, prompts: RoundPrompts, low_res: Tensor | None) -> tuple[Tensor, Tensor]:
    device = _device_of(model)
    earlier = low_res if prompts.use_mask else prompts.known_mask
    points = None if prompts.points is None else (prompts.points[0].to(device), prompts.points[1].to(device))
    boxes = None if prompts.boxes is None else prompts.boxes.to(device)
    return model.prompt_encoder(points, boxes, None if earlier is None else earlier.to(device).sigmoid())
