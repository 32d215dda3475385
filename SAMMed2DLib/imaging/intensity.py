"""From the intensities of a slice to the three 8-bit channels that the model sees.

A rule (`Window`, `Percentiles` or `FullRange`) gives two limits, low and high. What is between them goes
linearly to 0 .. 255, rounded to the nearest; the rest is clipped. NaN and -infinity become 0, +infinity
becomes 255, and none of them takes part in finding the limits. A slice of one single value becomes 0 where
a rule finds its limits in the slice itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# Samples converted at a time: their float64 working copy stays in the cache, whatever the size of the slice.
_BLOCK_SAMPLES = 1 << 15
# Percentiles of a volume are those of about so many values.
_MOST_VALUES = 1 << 25


class ImageError(ValueError):
    """An array that is not a slice, or intensity limits that make no sense."""


class Intensity(Protocol):
    """A rule that finds the intensities to show as 0 and as 255."""

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """Find the limits for these values.

        Args:
            values: any shape, booleans, integers or floats; NaN and infinity are allowed.

        Returns:
            low and high, low <= high, in the unit of `values`.
        """


@dataclass(frozen=True, kw_only=True)
class Window:
    """The same limits for every slice, as the window and level of a viewer.

    The limits are level - width / 2 and level + width / 2, as in 3D Slicer. `Window.of_range(0, 255)` leaves
    8-bit values as they are.

    Attributes:
        width: more than 0, intensity.
        level: the middle, intensity.

    Raises:
        ImageError: a number is not finite, or the width is not more than 0.
    """

    width: float
    level: float

    def __post_init__(self) -> None:
        """Refuse what is no window."""
        if not (math.isfinite(self.width) and math.isfinite(self.level) and self.width > 0):
            raise ImageError(
                f"a window needs a finite level and a finite width of more than 0, not level {self.level} "
                f"and width {self.width}; to invert a slice, negate it"
            )

    @classmethod
    def of_range(cls, low: float, high: float) -> Window:
        """Build the window from the intensities shown as 0 and as 255.

        Raises:
            ImageError: `low` is not less than `high`, or one of them is not finite.
        """
        return cls(width=high - low, level=low + (high - low) / 2)

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """Return the ends of the window, whatever the values."""
        return self.level - self.width / 2, self.level + self.width / 2


@dataclass(frozen=True)
class Percentiles:
    """Limits from the slice's own values, so that a few extreme ones do not count.

    The limits are values that occur. Where both would be the same value, as in a slice that is nearly all
    background, the full range is taken instead: a small bright object must stay visible.

    Attributes:
        low: 0 .. 100, percent of the values below the low end.
        high: 0 .. 100, more than `low`.

    Raises:
        ImageError: the two are not 0 <= low < high <= 100.
    """

    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        """Refuse what are no percentiles."""
        if not 0 <= self.low < self.high <= 100:
            raise ImageError(f"percentiles must be 0 <= low < high <= 100, not {self.low} and {self.high}")

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """Find the percentiles of the finite values; (0, 0) if there are none."""
        finite = _finite(values).ravel()
        last = finite.size - 1
        if last < 0:
            return 0.0, 0.0
        low_rank, high_rank = math.floor(last * self.low / 100), math.ceil(last * self.high / 100)
        ordered = np.partition(finite, (low_rank, high_rank))
        low, high = float(ordered[low_rank]), float(ordered[high_rank])
        return (low, high) if low < high else (float(finite.min()), float(finite.max()))


@dataclass(frozen=True)
class FullRange:
    """Limits from the smallest and the largest finite value of the slice."""

    def limits(self, values: np.ndarray) -> tuple[float, float]:
        """Find the range of the finite values; (0, 0) if there are none."""
        finite = _finite(values)
        return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


FULL_RANGE = FullRange()


def for_all_slices(rule: Intensity, volume: np.ndarray) -> Intensity:
    """Fix the limits that a rule finds in a whole volume, for slices whose grey values are compared.

    Args:
        rule: a window stays as it is; percentiles are those of every n-th slice of a large volume.
        volume: (K, J, I) or (K, J, I, C).
    """
    if isinstance(rule, Window):
        return rule
    step = max(1, volume.size // _MOST_VALUES) if isinstance(rule, Percentiles) else 1
    low, high = rule.limits(volume[::step])
    return Window.of_range(low, high) if low < high else rule


def rgb_from_slice(slice_hw: np.ndarray, intensity: Intensity = FULL_RANGE) -> np.ndarray:
    """Convert a slice to the three channels that the model sees.

    8-bit colour is passed through, whatever the rule. Colour of another dtype is scaled with one pair of
    limits for its three channels together, which keeps the hue. Alpha is dropped and does not count.

    Args:
        slice_hw: (H, W) or (H, W, 1) intensities, or (H, W, 3) or (H, W, 4) colour; booleans, integers or
            floats of any size and byte order.
        intensity: the rule that finds the limits.

    Returns:
        (H, W, 3) uint8, a new C-contiguous array.

    Raises:
        ImageError: the slice is empty, has another shape, or holds complex numbers or no numbers; the rule's
            limits are not finite or not in order.
    """
    samples = _samples(slice_hw)
    if samples.shape[2] == 3 and samples.dtype == np.uint8:
        return np.array(samples, order="C")
    low, high = intensity.limits(samples)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ImageError(f"{intensity} gives the limits {low} and {high}; they must be finite and in order")
    return _rgb(samples, low, high)


def _samples(slice_hw: np.ndarray) -> np.ndarray:
    """Check a slice and return it as (H, W, 1) or (H, W, 3)."""
    values = np.asarray(slice_hw)
    if values.dtype.kind == "c":
        raise ImageError("a slice of complex numbers has no intensities; take np.abs of it first")
    if values.dtype.kind not in "biuf":
        raise ImageError(f"a slice holds booleans, integers or floats, not {values.dtype}; convert it first")
    if values.ndim == 2:
        values = values[:, :, np.newaxis]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"an image of {' x '.join(map(str, np.shape(slice_hw)))} values is no slice: that has rows and columns, "
            "and in colour 3 or 4 values per pixel; take one slice, time point or component of it first"
        )
    if values.size == 0:
        size = " x ".join(map(str, np.shape(slice_hw)))
        raise ImageError(f"a slice of {size} values is empty; choose one that has pixels")
    return values[:, :, :3]


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def _rgb(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    height, width, channels = samples.shape
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BLOCK_SAMPLES // (width * channels))
    for start in range(0, height, rows):
        block = _eight_bit(samples[start : start + rows], low, high)
        for channel in range(3):  # three strided copies take half the time of one broadcast
            rgb[start : start + rows, :, channel] = block[:, :, channel % channels]
    return rgb


def _eight_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:  # one single value, or a window too narrow for float64: a step instead of a slope
        return np.where(values > high, np.uint8(255), np.uint8(0))
    # 255 times the width must not overflow; powers of two are exact.
    factor = 2.0**-12 if high - low > 1e300 else 1.0
    scaled = np.fmax(values, low, dtype=np.float64)  # unlike maximum, fmax prefers the number to NaN
    np.minimum(scaled, high, out=scaled)
    if factor != 1:
        scaled *= factor
    scaled -= low * factor
    scaled *= 255  # before the division: with whole numbers this keeps halves exact, and they round up
    scaled /= high * factor - low * factor
    scaled += 0.5
    return scaled.astype(np.uint8)


def is_grey(image: np.ndarray) -> bool:
    """Return whether the three channels of an (H, W, 3) image are equal."""
    first = image[..., 0]
    return bool(np.array_equal(first, image[..., 1]) and np.array_equal(first, image[..., 2]))


def smoothed_histogram(counts: np.ndarray, sigma: float) -> np.ndarray:
    """Blur a histogram, (256,), by a normal distribution; its ends are taken to go on as they are: (256,) float64."""
    reach = int(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(counts, reach, mode="edge"), kernel / kernel.sum(), mode="valid")
