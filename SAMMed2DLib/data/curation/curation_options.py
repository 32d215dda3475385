"""How volumes become slice images: the user's options, and the limits of SA-Med2D."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from SAMMed2DLib.data.curation.sources.cases import Case, CurationError
from SAMMed2DLib.data.sa_med2d import SPLITS
from SAMMed2DLib.imaging.intensity import FULL_RANGE, Intensity, Percentiles, Window

PUBLISHED_MASK_SHARE = 100 / 256**2  # of the frame
PUBLISHED_SIDES = 0.5  # short to long side
MOST_ANISOTROPIC = 3.0  # outlines across thicker slices are stairs
DEFAULT_SHARES = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class CurationOptions:
    """What decides on the slice images of a case.

    Attributes:
        axes: of the volume along which slices are cut, some of "i", "j", "k".
        all_axes: also across slices more than `MOST_ANISOTROPIC` times as thick as their pixels.
        window: centre and width of the intensities shown, where a case has none of its own.
        percentiles: of the volume, shown as 0 and 255.
        full_range: instead, its smallest and largest value.
        max_slices: along each axis of a volume; 0 for all.
        min_share: of the frame that a mask covers.
        min_sides: short to long side of a slice of a volume.
        similar: slices that differ by less than this from the last one kept are dropped; 0 keeps all.
        names: of classes, by value or by the name found.
    """

    axes: str = "kji"
    all_axes: bool = False
    window: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    full_range: bool = False
    max_slices: int = 0
    min_share: float = PUBLISHED_MASK_SHARE
    min_sides: float = PUBLISHED_SIDES
    similar: float = 0.02
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not self.axes or set(self.axes) - set("ijk"):
            raise CurationError("axes must be some of i, j and k, as in kji")
        for name, low, high in (("min_share", 0, 1), ("min_sides", 0, 1), ("similar", 0, 1)):
            if not low <= getattr(self, name) < high:
                raise CurationError(f"{name.replace('_', '-')} {getattr(self, name)} must be from 0 to less than 1")
        if self.max_slices < 0:
            raise CurationError(f"max-slices {self.max_slices} must be 1 or more, or 0 for all")

    def rule(self, case: Case, is_eight_bit: bool) -> Intensity:
        """The intensities of a case; 8-bit images stay as they are where nothing was asked for."""
        window = case.window or self.window
        if window:
            return Window(level=window[0], width=window[1])
        if self.full_range:
            return FULL_RANGE
        if self.percentiles:
            return Percentiles(*self.percentiles)
        return Window.of_range(0, 255) if is_eight_bit else Percentiles()


@dataclass(frozen=True)
class Shares:
    """How cases are divided.

    Attributes:
        shares: of cases in train, validation and test; they add up to 1.
        seed: another text divides them in another way.
    """

    shares: tuple[float, ...] = DEFAULT_SHARES
    seed: str = ""

    @classmethod
    def of(cls, numbers: tuple[float, ...], seed: str = "") -> Shares:
        """From numbers in any unit, such as percent.

        Raises:
            CurationError: they are no three numbers of 0 or more, or all 0.
        """
        if len(numbers) != len(SPLITS) or min(numbers) < 0 or not 0 < sum(numbers) < float("inf"):
            raise CurationError("--split takes three shares, for train, validation and test, as in 80,10,10")
        return cls(tuple(number / sum(numbers) for number in numbers), seed)

    def split_of(self, dataset: str, case: str) -> str:
        """The split of a case, by its name alone: more cases do not move it."""
        place = self.place_of(dataset, case)
        for split, share in zip(SPLITS, self.shares, strict=True):
            if place < share:
                return split
            place -= share
        return next(split for split, share in zip(reversed(SPLITS), reversed(self.shares), strict=True) if share)

    def place_of(self, dataset: str, case: str) -> float:
        """Where a case stands between train, 0, and test, 1, by its name alone."""
        text = "\n".join((self.seed, dataset, case))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64

    def share_of(self, split: str) -> float:
        """The share of a split."""
        return self.shares[SPLITS.index(split)]
