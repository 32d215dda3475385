"""How like given objects each place of a slice is, by half what the image encoder sees there, by half the colour.

The direction from all places to the objects' mean is whitened by how places differ among themselves, so that what
varies everywhere counts little. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.proposals.tiles import FeatureMap

# Of the mean variance, added to that of each direction: few examples say little about directions of small variance.
_SHRINKAGE = 3.0


@dataclass(frozen=True, eq=False)
class ObjectLikeness:
    """How like objects places are, by their features and by their colours."""

    by_features: Likeness
    by_colors: Likeness

    @classmethod
    def of(cls, maps: Sequence[FeatureMap], inside: Sequence[np.ndarray]) -> ObjectLikeness:
        """Measure by objects; arguments as of `Likeness.of`, for each map."""
        features, colors = [seen.values for seen in maps], [seen.colors for seen in maps]
        return cls(Likeness.of(features, inside), Likeness.of(colors, inside))

    def map(self, seen: FeatureMap) -> np.ndarray:
        """How like the objects each place is, (h, w) float32; about 1 for the objects themselves."""
        return (self.by_features.map(seen.values) + self.by_colors.map(seen.colors)) / 2


@dataclass(frozen=True, eq=False)
class Likeness:
    """A linear measure: 0 for places as they are on average, 1 for the mean of the objects.

    Attributes:
        mean: (C,) of all places.
        scale: (C,) standard deviations of all places.
        weights: (C,) of the scaled differences.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, features: Sequence[np.ndarray], inside: Sequence[np.ndarray]) -> Likeness:
        """Measure by objects.

        Args:
            features: (C, h, w) float32 each, of some slices.
            inside: (h, w) float32 each, how much of each place is within the objects, 0 .. 1; not all 0.
        """
        places = np.concatenate([values.reshape(len(values), -1).T for values in features]).astype(np.float64)
        share = np.concatenate([part.ravel() for part in inside]).astype(np.float64)
        mean, scale = places.mean(axis=0), places.std(axis=0) + 1e-6
        scaled = (places - mean) / scale
        direction = share @ scaled / share.sum()
        covariance = scaled.T @ scaled / len(scaled)
        covariance[np.diag_indices_from(covariance)] += _SHRINKAGE * np.trace(covariance) / len(covariance)
        weights = np.linalg.solve(covariance, direction)
        return cls(mean, scale, weights / (weights @ direction))

    def map(self, features: np.ndarray) -> np.ndarray:
        """How like the objects each place is: (C, h, w) to (h, w) float32."""
        weights = (self.weights / self.scale).astype(np.float32)
        offset = float(self.mean @ (self.weights / self.scale))
        return np.tensordot(weights, features, axes=1) - np.float32(offset)


def peaks(likeness_hw: np.ndarray, radius: float, most: int, least: float) -> list[tuple[int, int]]:
    """Find the places (row, column) that are most like, the best first, none closer than a radius to a better one.

    Args:
        likeness_hw: (h, w) float; -inf where none is to be found.
        radius: in places.
        most: how many.
        least: none that is less like.
    """
    remaining = likeness_hw.astype(np.float64)
    rows, columns = np.ogrid[: remaining.shape[0], : remaining.shape[1]]
    found: list[tuple[int, int]] = []
    while len(found) < most:
        row, column = divmod(int(remaining.argmax()), remaining.shape[1])
        if remaining[row, column] < least:
            break
        found.append((row, column))
        remaining[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = -np.inf
    return found
