"""Interactive training: one image, several objects, prompts that answer the model's own errors.

Two recipes share the file. `train_batch_published` repeats the published procedure: nine optimiser steps
a batch, new clicks only, the prompt encoder mostly left alone. `train_batch` is ours and the default: the
clicks add up as they do for a user, all rounds of a batch end in one optimiser step that reaches every
part of the network, and objects are weighed one by one.

All randomness is derived from (seed, index of the step or item), so a resumed run draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .dataset import LabelledImage, make_training_item
from .losses import object_loss, published_loss
from .model.build import ModelConfig, build_model
from .model.mask_decoder import select_best
from .model.sam import Sam
from .prompts import box_of_mask, shift_box
from .simulation import centre_error_point, error_points
from .synthetic import lesions_on, synthetic_item

LOOSE_SHARE = 0.5  # of the boxes taken from a neighbouring slice; a box alone is not too large, it would be distrusted
PUBLISHED_ITERATIONS = 8
PUBLISHED_POINT_COUNTS = (1, 3, 5, 9)
# The published forward replaces these by new tensors at every use: their optimiser only moves orphans.
PUBLISHED_ORPHANS = tuple(
    f"prompt_encoder.{name}.weight" for name in ("point_embeddings.0", "point_embeddings.1", "not_a_point_embed")
)


@dataclass(frozen=True)
class Batch:
    """B images with M objects each; N = B * M, image-major.

    Attributes:
        images: (B, 3, S, S) float32, normalised.
        masks: (N, 1, S, S) float32, 0/1.
    """

    images: Tensor
    masks: Tensor

    @property
    def masks_per_image(self) -> int:
        """M."""
        return len(self.masks) // len(self.images)


@dataclass(frozen=True)
class RoundPrompts:
    """What the N objects are prompted with in one round, model px.

    `use_mask` stands for the mask of the round before; `known_mask` is a mask from elsewhere, logits (N, 1, h, w).
    """

    points: tuple[Tensor, Tensor] | None = None
    boxes: Tensor | None = None
    use_mask: bool = False
    known_mask: Tensor | None = None


class PromptSource(Protocol):
    """Draws the prompts of one batch, round by round."""

    def first(self, masks: Tensor) -> RoundPrompts:
        """Prompts before anything was predicted; masks (N, 1, S, S)."""

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """Prompts that answer the errors of logits (N, 1, h, w); masks (N, 1, S, S)."""


def train_batch_published(
    model: Sam, optimiser: torch.optim.Optimizer, batch: Batch, prompts: PromptSource
) -> list[float]:
    """Train on one batch as published: one image pass, then eight decoder passes, a step after each.

    Absent gradients stay absent (torch 2): in the eight later steps Adam leaves the adapters alone.

    Returns:
        The nine losses.
    """
    features = model.image_encoder(batch.images).repeat_interleave(batch.masks_per_image, dim=0)
    current = prompts.first(batch.masks)
    low_res: Tensor | None = None
    losses = []
    for iteration in range(1 + PUBLISHED_ITERATIONS):
        if low_res is not None:
            features = features.detach()
            current = prompts.following(model.upscale(low_res), batch.masks)
        # After the image pass the published code encodes prompts without gradients.
        with torch.set_grad_enabled(iteration == 0):
            sparse, dense = _encode_prompts(model, current, low_res)
        logits, iou = model.mask_decoder(features, model.prompt_encoder.dense_pe(), sparse, dense)
        selected, selected_iou = select_best(logits, iou)
        loss = published_loss(model.upscale(selected), batch.masks, selected_iou)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        low_res = selected.detach()
        losses.append(loss.item())
    return losses


def train_batch(
    model: Sam, optimiser: torch.optim.Optimizer, batch: Batch, prompts: PromptSource, rounds: int, bf16: bool
) -> float:
    """Train on one batch: `rounds` of prompting, one backward pass, one optimiser step.

    Returns:
        The mean loss of the rounds.

    Raises:
        RuntimeError: the gradients are not finite; the weights stay as they were.
    """
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bf16):
        features = model.image_encoder(batch.images)
    features = features.float().repeat_interleave(batch.masks_per_image, dim=0)
    target: Tensor | None = None
    low_res: Tensor | None = None
    losses = []
    current = prompts.first(batch.masks)
    for _ in range(rounds):
        if low_res is not None:
            current = prompts.following(low_res, batch.masks)
        sparse, dense = _encode_prompts(model, current, low_res)
        logits, iou = model.mask_decoder(features, model.prompt_encoder.dense_pe(), sparse, dense)
        if target is None:
            target = functional.adaptive_avg_pool2d(batch.masks, logits.shape[-2:])
        losses.append(object_loss(logits, target, iou))
        low_res = select_best(logits, iou)[0].detach()
    loss = torch.stack(losses).mean()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    # One broken batch must not reach the weights: it would spoil them and their average for good.
    nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
    optimiser.step()
    return loss.item()


def _encode_prompts(model: Sam, prompts: RoundPrompts, low_res: Tensor | None) -> tuple[Tensor, Tensor]:
    earlier = low_res if prompts.use_mask else prompts.known_mask
    return model.prompt_encoder(prompts.points, prompts.boxes, None if earlier is None else earlier.sigmoid())


class PublishedPrompts:
    """The published draws: a box or a point first, then 1, 3, 5 or 9 fresh error pixels, twice none."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the round without points; the last round never has any."""
        self._rng = rng
        self._round = 0
        self._without_points = {int(rng.integers(1, PUBLISHED_ITERATIONS - 1)), PUBLISHED_ITERATIONS - 1}

    def first(self, masks: Tensor) -> RoundPrompts:
        """Noisy boxes with probability one half, else one random point in each object."""
        if self._rng.random() > 0.5:
            return RoundPrompts(boxes=boxes_of(masks, self._rng, published=True))
        return RoundPrompts(points=error_clicks(torch.zeros_like(masks).bool(), masks > 0.5, 1, self._rng))

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """Fresh error pixels together with the mask, or the mask alone."""
        this_round, self._round = self._round, self._round + 1
        if this_round in self._without_points:
            return RoundPrompts(use_mask=True)
        count = int(self._rng.choice(PUBLISHED_POINT_COUNTS))
        return RoundPrompts(points=error_clicks(logits > 0, masks > 0.5, count, self._rng), use_mask=True)


class AccumulatedClicks:
    """Prompts as a user gives them: a box, a click or both, then one corrective click after another.

    Some batches begin with the mask of a neighbouring slice besides, as when an outline is carried through a volume.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        box_share: float = 0.5,
        both_share: float = 0.1,
        *,
        neighbour_share: float = 0.0,
        mask_size: int = 0,
    ) -> None:
        """Draw how the batch begins.

        Args:
            rng: source of random numbers.
            box_share: share of the batches that begin with a box alone.
            both_share: share that begins with a box and a click.
            neighbour_share: share that begins with a neighbour's mask too; its box is then the neighbour's.
            mask_size: side of the mask prompt, px.
        """
        self._rng = rng
        self._kind = rng.random()
        self._shares = (box_share, box_share + both_share)
        self._mask_size = mask_size if rng.random() < neighbour_share else 0
        self._points: tuple[Tensor, Tensor] | None = None
        self._boxes: Tensor | None = None

    def first(self, masks: Tensor) -> RoundPrompts:
        """A box, a click, or both; at times with a neighbour's mask."""
        seen = neighbours_of(masks, self._rng) if self._mask_size else masks
        if self._kind < self._shares[1]:
            loose = LOOSE_SHARE if self._mask_size else 0.0
            self._boxes = boxes_of(seen, self._rng, published=False, loose=loose)
        if self._kind >= self._shares[0]:
            self._points = user_clicks(torch.zeros_like(masks).bool(), masks > 0.5, self._rng)
        known = as_logits(seen, self._mask_size, self._rng) if self._mask_size else None
        return RoundPrompts(self._points, self._boxes, known_mask=known)

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """All prompts so far, one more click, and in most rounds the mask."""
        size = logits.shape[-1]
        small = functional.adaptive_avg_pool2d(masks, size) > 0.5
        clicks = user_clicks(logits > 0, small, self._rng)
        scale = masks.shape[-1] / size
        placed = ((clicks[0] + 0.5) * scale - 0.5, clicks[1])
        earlier = self._points
        self._points = (
            placed
            if earlier is None
            else (torch.cat([earlier[0], placed[0]], 1), torch.cat([earlier[1], placed[1]], 1))
        )
        return RoundPrompts(self._points, self._boxes, use_mask=self._rng.random() < 0.8)


def error_clicks(
    predicted: Tensor, masks: Tensor, count: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw clicks on wrong pixels as published, each pixel as likely.

    Args:
        predicted: (N, 1, h, w) bool.
        masks: (N, 1, h, w) bool, the objects.
        count: clicks for each object.
        rng: source of random numbers.

    Returns:
        (N, count, 2) float32 (x, y) in px of the masks; (N, count) int64 labels, -1 where nothing is wrong.
    """
    pairs = zip(predicted[:, 0].numpy(), masks[:, 0].numpy(), strict=True)
    return _stacked([error_points(guess, mask, count, rng) for guess, mask in pairs])


def user_clicks(predicted: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One click for each object: half of them in the middle of the largest error, half on any wrong pixel.

    Arguments and results as in `error_clicks`, with one click each.
    """
    clicks = []
    for guess, mask in zip(predicted[:, 0].numpy(), masks[:, 0].numpy(), strict=True):
        centre = centre_error_point(guess, mask) if rng.random() < 0.5 else None
        if centre is None:
            clicks.append(error_points(guess, mask, 1, rng))
        else:
            clicks.append((centre[0][None], np.array([centre[1]])))
    return _stacked(clicks)


def _stacked(clicks: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    points = torch.from_numpy(np.stack([points for points, _ in clicks])).float()
    return points, torch.from_numpy(np.stack([labels for _, labels in clicks])).long()


def neighbours_of(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks as the neighbouring slice has them: moved, resized, their border smoothed, grown or shrunk.

    Args:
        masks: (N, 1, S, S) float32, 0/1, none of them empty.
        rng: source of random numbers.

    Returns:
        (N, 1, S, S) float32, 0/1; where nothing would be left, the mask itself.
    """
    near = []
    for mask in masks:
        area = mask.mean().item() ** 0.5  # of the frame's side: small objects move little
        scale = torch.from_numpy(np.exp(-rng.normal(0, 0.12, 2)))
        shift = torch.from_numpy(rng.normal(0, 0.12, 2) * area)
        rows, columns = torch.nonzero(mask[0], as_tuple=True)
        centre = torch.stack([columns.double().mean(), rows.double().mean()]) / (mask.shape[-1] / 2) - 1
        theta = torch.column_stack([torch.diag(scale), centre * (1 - scale) - shift]).float()
        grid = functional.affine_grid(theta[None], [1, 1, *mask.shape[1:]], align_corners=False)
        moved = functional.grid_sample(mask[None], grid, align_corners=False)
        width = 1 + 2 * int(rng.integers(0, 1 + max(1, round(area * mask.shape[-1] / 8))))
        smooth = functional.avg_pool2d(moved, width, 1, width // 2)
        found = (smooth > rng.uniform(0.25, 0.75)).float()[0]
        near.append(found if found.any() else mask)
    return torch.stack(near)


def as_logits(masks: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Masks (N, 1, S, S) as mask prompts (N, 1, size, size): logits of a random steepness for the batch."""
    return (2 * functional.adaptive_avg_pool2d(masks, size) - 1) * float(rng.uniform(2, 10))


def boxes_of(masks: Tensor, rng: np.random.Generator, published: bool, loose: float = 0.0) -> Tensor:
    """Boxes around the objects, moved as published or by up to a tenth of the side at each edge.

    Args:
        masks: (N, 1, S, S), none of them empty.
        rng: source of random numbers.
        published: the largest component's box, shifted as a whole; else all of the mask, edge by edge.
        loose: share of boxes that are too large besides, by up to half of the side.

    Returns:
        (N, 4) float32, (x0, y0, x1, y1), half-open.
    """
    boxes = []
    for mask in masks[:, 0].numpy() > 0.5:
        if published:
            boxes.append(shift_box(box_of_mask(mask), rng))
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
        side = np.tile(box[2:] - box[:2], 2)
        moved = box + rng.uniform(-1, 1, 4) * rng.choice([0.0, 0.05, 0.1]) * side
        if rng.random() < loose:
            moved += rng.uniform(0, 0.25) * side * np.array([-1, -1, 1, 1])
        boxes.append(np.clip(moved, 0, mask.shape[0]))
    return torch.from_numpy(np.stack(boxes)).float()


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        model: sizes of the network.
        steps: optimiser steps of the whole run; a run may be resumed with another number.
        images_per_batch: B.
        masks_per_image: M.
        max_rounds: rounds of prompting are drawn from 1 to this.
        learning_rate: of AdamW, after the warm-up; falls linearly to 0 over the last `cooldown`.
        warmup_steps: steps of linear rise.
        cooldown: share of the run.
        weight_decay: of the matrices.
        ema_decay: of the averaged weights, which are the ones to use.
        synthetic_share: share of items that are synthetic.
        lesion_share: share of items that are real images with lumps added, which become objects too.
        box_share: share of batches that begin with a box alone; a tenth begins with a box and a click.
        neighbour_share: share of batches that begin with the mask of a neighbouring slice too.
        focus_step: from this step on, views zoom in on objects, as the product does around its prompts.
        bf16: encode in bfloat16.
        seed: root of all random numbers.
    """

    model: ModelConfig
    steps: int
    images_per_batch: int = 4
    masks_per_image: int = 5
    max_rounds: int = 4
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    cooldown: float = 0.6
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    synthetic_share: float = 0.4
    lesion_share: float = 0.12
    box_share: float = 0.5
    neighbour_share: float = 0.0
    focus_step: int = 4250
    bf16: bool = False
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        left = (self.steps - step) / max(1.0, self.cooldown * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps), left)


class TrainingItems(torch.utils.data.Dataset):
    """Item i of a run: a real or synthetic image and M of its objects, drawn from (seed, i) alone."""

    def __init__(self, images: Sequence[LabelledImage], config: TrainingConfig) -> None:
        """Keep the images by data set: sets are drawn by the square root of their size, of at most 40 images."""
        self._sets: dict[str, list[LabelledImage]] = {}
        for image in images:
            self._sets.setdefault(image.dataset, []).append(image)
        self._names = sorted(self._sets)
        weight = np.sqrt([min(len(self._sets[name]), 40) for name in self._names])
        self._share = weight / weight.sum() if self._names else weight
        self._config = config

    def __len__(self) -> int:
        """Items of the whole run."""
        return self._config.steps * self._config.images_per_batch

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Image (3, S, S) float32 and masks (M, S, S) uint8."""
        config = self._config
        rng = np.random.default_rng([config.seed, index])
        image, label = self._source(rng)
        focused = index >= config.focus_step * config.images_per_batch
        size, count = config.model.image_size, config.masks_per_image
        view, masks = make_training_item(rng, image, label, size, count, focused)
        return torch.from_numpy(view), torch.from_numpy(masks)

    def _source(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A synthetic image, a real one, or a square of a real one with lumps, each with its label map."""
        kind = rng.random() if self._names else 0.0
        if kind < self._config.synthetic_share:
            return synthetic_item(rng, self._config.model.image_size)
        images = self._sets[self._names[rng.choice(len(self._names), p=self._share)]]
        chosen = images[rng.integers(len(images))]
        if kind < self._config.synthetic_share + self._config.lesion_share:
            side = min(chosen.label.shape)
            top, left = (int(rng.integers(size - side + 1)) for size in chosen.label.shape)
            square = (slice(top, top + side), slice(left, left + side))
            image, label = lesions_on(rng, chosen.image[square], chosen.label[square])
            if label.any():
                return image, label
        return chosen.image, chosen.label


def start_from_identity(model: Sam) -> None:
    """Scale the adapters' last norm to 0, so that a new adapter adds nothing, and spread the positions."""
    for name, parameter in model.named_parameters():
        if name.endswith("Adapter.norm.weight"):
            nn.init.zeros_(parameter)
        elif name.endswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)


def make_optimiser(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW; position tables, embeddings, the patch projection, biases and norms do not decay."""
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and "embed" not in n and "rel_pos" not in n]
    known = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))


def published_optimiser(model: Sam, learning_rate: float = 1e-4) -> torch.optim.Adam:
    """Adam as published: the encoder's body is frozen, and the orphaned point embeddings never move."""
    for name, parameter in model.image_encoder.named_parameters():
        parameter.requires_grad_("Adapter" in name)
    return torch.optim.Adam(
        [p for n, p in model.named_parameters() if p.requires_grad and n not in PUBLISHED_ORPHANS],
        lr=learning_rate,
    )


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    loss: float
    seconds: float


def train(
    config: TrainingConfig,
    images: Sequence[LabelledImage],
    folder: Path,
    *,
    start_from: Mapping[str, Tensor] | None = None,
    workers: int = 1,
    save_every: int = 250,
    report: Callable[[Progress], None] | None = None,
) -> dict[str, Tensor]:
    """Run or resume a training run in `folder`, and return the averaged weights.

    `folder` holds `checkpoint.pt` (weights, averaged weights, optimiser, step, configuration) and `log.csv`.

    Args:
        config: the run; a checkpoint of another configuration is refused.
        images: real images; may be empty.
        folder: created if missing.
        start_from: weights to begin with instead of random ones; a resumed run goes on with its own.
        workers: processes that draw items.
        save_every: steps between checkpoints.
        report: called every 50 steps.

    Raises:
        ValueError: the folder holds a run of another configuration.
    """
    torch.manual_seed(config.seed)
    model = build_model(config.model)
    start_from_identity(model)
    if start_from is not None:
        model.load_state_dict({name: value.float() for name, value in start_from.items()})
    model.train()
    ema = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = make_optimiser(model, config)
    folder.mkdir(parents=True, exist_ok=True)
    start = _resume(folder / "checkpoint.pt", config, model, ema, optimiser)
    began, recent = time.monotonic(), []
    for step, batch in _batches(config, images, start, workers):
        for group in optimiser.param_groups:
            group["lr"] = config.rate(step)
        rng = np.random.default_rng([config.seed, step, 1])
        rounds = int(rng.integers(1, config.max_rounds + 1))
        prompts = AccumulatedClicks(
            rng,
            config.box_share,
            neighbour_share=config.neighbour_share,
            mask_size=model.prompt_encoder.mask_input_size,
        )
        recent.append(train_batch(model, optimiser, batch, prompts, rounds, config.bf16))
        _average(ema, model, min(config.ema_decay, (step + 1) / (step + 10)))
        done = step + 1
        if done % 50 == 0 or done == config.steps:
            progress = Progress(done, float(np.mean(recent)), time.monotonic() - began)
            _log(folder / "log.csv", progress)
            recent.clear()
            if report:
                report(progress)
        if done % save_every == 0 or done == config.steps:
            _save(folder / "checkpoint.pt", config, model, ema, optimiser, done)
    return ema


def _batches(
    config: TrainingConfig, images: Sequence[LabelledImage], start: int, workers: int
) -> Iterator[tuple[int, Batch]]:
    items = TrainingItems(images, config)
    first = start * config.images_per_batch
    loader = torch.utils.data.DataLoader(
        items,
        batch_size=config.images_per_batch,
        sampler=range(first, len(items)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    for step, (views, masks) in enumerate(loader, start):
        yield step, Batch(views.float(), masks.flatten(0, 1)[:, None].float())


@torch.no_grad()
def _average(ema: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    for name, value in model.state_dict().items():
        ema[name].lerp_(value, 1 - decay)


def _save(
    path: Path,
    config: TrainingConfig,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    """Write beside and rename, so that a run cut off while saving keeps its last checkpoint."""
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "ema": ema,
        "optimiser": optimiser.state_dict(),
        "step": step,
        "config": _plain(config),
    }
    beside = path.with_suffix(".new")
    torch.save(state, beside)
    os.replace(beside, path)


def _resume(
    path: Path,
    config: TrainingConfig,
    model: nn.Module,
    ema: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> int:
    """Load a checkpoint into the given objects and return the number of steps already done."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["config"] != _plain(config):
        raise ValueError(f"{path} belongs to a run of another configuration: choose another folder")
    model.load_state_dict(state["model"])
    ema.update(state["ema"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _plain(config: TrainingConfig) -> dict[str, Any]:
    return {**asdict(config), "model": config.model.to_dict(), "steps": None}


def _log(path: Path, progress: Progress) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "seconds"])
        writer.writerow([progress.step, f"{progress.loss:.5f}", f"{progress.seconds:.1f}"])
