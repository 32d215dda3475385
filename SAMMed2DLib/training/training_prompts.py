"""Prompts for training: those of a simulated user, and those of the reference protocol.

What the objects of a step have in common (box or click, rounds) comes from one generator, what is drawn for an
object from its image's own. So the draws depend neither on how a step is cut into batches nor on who computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from SAMMed2DLib.data.simulated_user import centre_error_point, error_points
from SAMMed2DLib.inference.prompts import box_of_mask, shift_box

LOOSE_SHARE = 0.5  # of the boxes taken from a neighbouring slice; a box alone is not too large, it would be distrusted
# How far each edge of a box is moved at most, as a share of the side, and how often. What is drawn by hand is off by
# a few per cent; a model that sees mostly worse boxes does not take a good one at its word.
BOX_MOVES = (0.0, 0.025, 0.05, 0.1)
BOX_MOVE_SHARES = (0.4, 0.15, 0.25, 0.2)
PUBLISHED_ITERATIONS = 8
PUBLISHED_POINT_COUNTS = (1, 3, 5, 9)

# One generator for all objects, or one for each of them.
Rngs = np.random.Generator | Sequence[np.random.Generator]


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
    """Draws the prompts of one batch, round by round; all tensors are on the CPU."""

    def first(self, masks: Tensor) -> RoundPrompts:
        """Prompts before anything was predicted; masks (N, 1, S, S)."""

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """Prompts that answer the errors of logits (N, 1, h, w); masks (N, 1, S, S)."""


class PublishedPrompts:
    """The draws of the reference protocol: a box or a point first, then 1, 3, 5 or 9 fresh error pixels, twice none."""

    def __init__(self, rng: np.random.Generator, objects: Rngs | None = None) -> None:
        """Draw the round without points; the last round never has any.

        Args:
            rng: draws what all objects have in common.
            objects: draw what is each object's own; None for `rng`.
        """
        self._rng = rng
        self._objects: Rngs = rng if objects is None else objects
        self._round = 0
        self._without_points = {int(rng.integers(1, PUBLISHED_ITERATIONS - 1)), PUBLISHED_ITERATIONS - 1}

    def first(self, masks: Tensor) -> RoundPrompts:
        """Noisy boxes with probability one half, else one random point in each object."""
        if self._rng.random() > 0.5:
            return RoundPrompts(boxes=boxes_of(masks, self._objects, published=True))
        return RoundPrompts(points=error_clicks(torch.zeros_like(masks).bool(), masks > 0.5, 1, self._objects))

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """Fresh error pixels together with the mask, or the mask alone."""
        this_round, self._round = self._round, self._round + 1
        if this_round in self._without_points:
            return RoundPrompts(use_mask=True)
        count = int(self._rng.choice(PUBLISHED_POINT_COUNTS))
        return RoundPrompts(points=error_clicks(logits > 0, masks > 0.5, count, self._objects), use_mask=True)


class AccumulatedClicks:
    """Prompts as a user gives them: a box, a click or both, then one corrective click after another.

    Some steps begin with the mask of a neighbouring slice besides, as when an outline is carried through a volume.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        box_share: float = 0.5,
        both_share: float = 0.1,
        *,
        neighbour_share: float = 0.0,
        mask_size: int = 0,
        objects: Rngs | None = None,
    ) -> None:
        """Draw how the step begins.

        Args:
            rng: draws what all objects have in common.
            box_share: share of the steps that begin with a box alone.
            both_share: share that begins with a box and a click.
            neighbour_share: share that begins with a neighbour's mask too; its box is then the neighbour's.
            mask_size: side of the mask prompt, px.
            objects: draw what is each object's own; None for `rng`.
        """
        self._rng = rng
        self._objects: Rngs = rng if objects is None else objects
        self._kind = rng.random()
        self._shares = (box_share, box_share + both_share)
        self._mask_size = mask_size if rng.random() < neighbour_share else 0
        self._points: tuple[Tensor, Tensor] | None = None
        self._boxes: Tensor | None = None

    def first(self, masks: Tensor) -> RoundPrompts:
        """A box, a click, or both; at times with a neighbour's mask."""
        seen = neighbours_of(masks, self._objects) if self._mask_size else masks
        if self._kind < self._shares[1]:
            loose = LOOSE_SHARE if self._mask_size else 0.0
            self._boxes = boxes_of(seen, self._objects, published=False, loose=loose)
        if self._kind >= self._shares[0]:
            self._points = user_clicks(torch.zeros_like(masks).bool(), masks > 0.5, self._objects)
        known = as_logits(seen, self._mask_size, self._rng) if self._mask_size else None
        return RoundPrompts(self._points, self._boxes, known_mask=known)

    def following(self, logits: Tensor, masks: Tensor) -> RoundPrompts:
        """All prompts so far, one more click, and in most rounds the mask."""
        size = logits.shape[-1]
        small = functional.adaptive_avg_pool2d(masks, size) > 0.5
        points, labels = user_clicks(logits > 0, small, self._objects)
        scale = masks.shape[-1] / size
        placed = ((points + 0.5) * scale - 0.5, labels)
        earlier = self._points
        self._points = (
            placed
            if earlier is None
            else (torch.cat([earlier[0], placed[0]], 1), torch.cat([earlier[1], placed[1]], 1))
        )
        return RoundPrompts(self._points, self._boxes, use_mask=self._rng.random() < 0.8)


def error_clicks(predicted: Tensor, masks: Tensor, count: int, rng: Rngs) -> tuple[Tensor, Tensor]:
    """Draw clicks on wrong pixels as the reference protocol does, each pixel as likely.

    Args:
        predicted: (N, 1, h, w) bool.
        masks: (N, 1, h, w) bool, the objects.
        count: clicks for each object.
        rng: source of random numbers, or one for each object.

    Returns:
        (N, count, 2) float32 (x, y) in px of the masks; (N, count) int64 labels, -1 where nothing is wrong.
    """
    triples = zip(predicted[:, 0].numpy(), masks[:, 0].numpy(), _each(rng, len(masks)), strict=True)
    return _stacked([error_points(guess, mask, count, own_rng) for guess, mask, own_rng in triples])


def user_clicks(predicted: Tensor, masks: Tensor, rng: Rngs) -> tuple[Tensor, Tensor]:
    """One click for each object: half of them in the middle of the largest error, half on any wrong pixel.

    Arguments and results as in `error_clicks`, with one click each.

    Args:
        predicted: (N, 1, S, S) bool.
        masks: (N, 1, S, S), the objects.
        rng: one for all, or one for each object.
    """
    clicks = []
    triples = zip(predicted[:, 0].numpy(), masks[:, 0].numpy(), _each(rng, len(masks)), strict=True)
    for guess, mask, own_rng in triples:
        centre = centre_error_point(guess, mask) if own_rng.random() < 0.5 else None
        if centre is None:
            clicks.append(error_points(guess, mask, 1, own_rng))
        else:
            clicks.append((centre[0][None], np.array([centre[1]])))
    return _stacked(clicks)


def _each(rng: Rngs, count: int) -> list[np.random.Generator]:
    return list(repeat(rng, count)) if isinstance(rng, np.random.Generator) else list(rng)


def _stacked(clicks: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor]:
    points = torch.from_numpy(np.stack([points for points, _ in clicks])).float()
    return points, torch.from_numpy(np.stack([labels for _, labels in clicks])).long()


def neighbours_of(masks: Tensor, rng: Rngs) -> Tensor:
    """Masks as the neighbouring slice has them: moved, resized, their border smoothed, grown or shrunk.

    Args:
        masks: (N, 1, S, S) float32, 0/1, none of them empty.
        rng: source of random numbers, or one for each object.

    Returns:
        (N, 1, S, S) float32, 0/1; where nothing would be left, the mask itself.
    """
    pairs = zip(masks, _each(rng, len(masks)), strict=True)
    return torch.stack([_neighbour_of(mask, own_rng) for mask, own_rng in pairs])


def _neighbour_of(mask: Tensor, rng: np.random.Generator) -> Tensor:
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
    return found if found.any() else mask


def as_logits(masks: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Masks (N, 1, S, S) as mask prompts (N, 1, size, size): logits of a random steepness, the same for all.

    Args:
        masks: 0/1.
        size: side of the mask prompts, px.
        rng: source of the draw.
    """
    return (2 * functional.adaptive_avg_pool2d(masks, size) - 1) * float(rng.uniform(2, 10))


def boxes_of(masks: Tensor, rng: Rngs, published: bool, loose: float = 0.0) -> Tensor:
    """Boxes around the objects, moved as in the reference protocol or by up to a tenth of the side at each edge.

    Args:
        masks: (N, 1, S, S), none of them empty.
        rng: source of random numbers, or one for each object.
        published: the largest component's box, shifted as a whole; else all of the mask, edge by edge.
        loose: share of boxes that are too large besides, by up to half of the side.

    Returns:
        (N, 4) float32, (x0, y0, x1, y1), half-open.
    """
    pairs = zip(masks[:, 0].numpy() > 0.5, _each(rng, len(masks)), strict=True)
    boxes = [
        shift_box(box_of_mask(mask), own_rng) if published else _moved_box(mask, own_rng, loose)
        for mask, own_rng in pairs
    ]
    return torch.from_numpy(np.stack(boxes)).float()


def _moved_box(mask: np.ndarray, rng: np.random.Generator, loose: float) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)
    side = np.tile(box[2:] - box[:2], 2)
    moved = box + rng.uniform(-1, 1, 4) * rng.choice(BOX_MOVES, p=BOX_MOVE_SHARES) * side
    if rng.random() < loose:
        moved += rng.uniform(0, 0.25) * side * np.array([-1, -1, 1, 1])
    return np.clip(moved, 0, mask.shape[0])
