"""Rings that are drawn into training views, so that the embedded model learns to leave a hole open."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def ring_view(view: Tensor, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Draw a ring over a view, and choose what of it is to be segmented.

    Args:
        view: (3, V, V) in 0..255.
        rng: source of random numbers.
        count: masks that are wanted, at most 4.

    Returns:
        the view, (3, V, V), and masks (count, 1, V, V): the ring, its hole, or both.
    """
    shape, ring, inner = _drawn_shapes(view.shape[-1], rng)
    grey = view.mean(dim=0).numpy()
    base = float(np.median(grey[ring]))
    noise = torch.from_numpy(rng.normal(size=(1, 1, *grey.shape)).astype(np.float32))
    texture = rng.uniform(10, 70) * functional.avg_pool2d(noise, 5, 1, 2)[0, 0].numpy()
    contrast = rng.uniform(20, 110) * rng.choice([-1, 1])
    painted = np.where(ring, 0.3 * grey + 0.7 * base + contrast + texture, grey)
    if rng.random() < 0.7:  # the hole is of the same kind throughout
        painted = np.where(inner, 0.3 * grey + 0.7 * (base + rng.uniform(-40, 40)) + texture, painted)
    soft = functional.avg_pool2d(torch.from_numpy(painted.astype(np.float32))[None, None], 3, 1, 1)[0, 0]
    kinds = [ring, ring, inner if inner.sum() > 40 else ring, shape]
    chosen = np.stack([kinds[i] for i in rng.permutation(len(kinds))[:count]])
    return soft.clamp(0, 255).expand(3, -1, -1).clone(), torch.from_numpy(chosen).float()[:, None]


def _drawn_shapes(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A wavy ellipse, the ring along its border, and the hole: (size, size) bool each."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    radius = float(np.exp(rng.uniform(np.log(14), np.log(95))))
    margin = min(0.7 * radius, 80)
    centre = rng.uniform(margin, size - margin, size=2)
    turn, aspect = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    along = (x - centre[0]) * np.cos(turn) + (y - centre[1]) * np.sin(turn)
    across = ((y - centre[1]) * np.cos(turn) - (x - centre[0]) * np.sin(turn)) / aspect
    angle, distance = np.arctan2(across, along), np.hypot(along, across) / radius
    border = 1 + sum(rng.uniform(0, 0.08) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4))
    thickness = float(np.exp(rng.uniform(np.log(max(0.06, 3 / radius)), np.log(0.55))))
    wall = thickness * (1 + 0.3 * thickness * np.cos(angle + rng.uniform(0, 6.3)))
    shape, inner = distance < border, distance < border * (1 - wall)
    return shape, shape & ~inner, inner
