"""How well one object was found under every kind of prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from SAMMed2DLib.data.sa_med2d import MaskEntry
from SAMMed2DLib.evaluation.evaluation_options import FILLED_BOX, FRAME_PX, EvaluationOptions
from SAMMed2DLib.evaluation.protocols.objects import Target
from SAMMed2DLib.evaluation.saved_masks import MaskFolder
from SAMMed2DLib.imaging.metrics import dice, iou, normalised_surface_distance
from SAMMed2DLib.inference.predictor import Predictor

METRICS = ("dice", "iou", "nsd")


class Peer(Protocol):
    """Another model, that segments from boxes."""

    name: str

    def embed(self, image: np.ndarray) -> Any:
        """See a slice, (H, W, 3) uint8."""

    def segment(self, embedding: Any, box_xyxy: np.ndarray) -> np.ndarray:
        """The mask, (H, W) bool, in a box (x0, y0, x1, y1), px, half-open, of the slice that was embedded."""


@dataclass(frozen=True, eq=False)
class ComparedModel:
    """Another model that is asked by the same protocol as the one that is evaluated.

    Attributes:
        name: in results.
        predictor: the model.
        zoom: as in `EvaluationOptions`.
    """

    name: str
    predictor: Predictor
    zoom: bool | None = None


@dataclass(frozen=True)
class ObjectResult:
    """How well one object was found.

    Attributes:
        dataset: the data set it is from.
        image: the image's name.
        label: its class in the label map, 0 where there is none.
        area_px: its size.
        dice: "filled box" (the box itself taken as a mask), "box", "1 click", "3 clicks" and so on.
        iou: the same kinds.
        nsd: normalised surface distance, the same kinds; empty if it was not measured.
        curve: Dice after 1, 2, … clicks; empty if it was not noted.
        area_share: of the image.
        entry: what else is known.
    """

    dataset: str
    image: str
    label: int
    area_px: int
    dice: dict[str, float]
    iou: dict[str, float] = field(default_factory=dict)
    nsd: dict[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    area_share: float = float("nan")
    entry: MaskEntry = field(default_factory=lambda: MaskEntry("", "", ""))

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.dataset, self.image, self.entry.mask

    @property
    def patient(self) -> tuple[str, str]:
        """Data set and case, or image where the case is not known: objects that are not independent."""
        return self.dataset, self.entry.case or self.image

    def clicks_to(self, target: float) -> int | None:
        """The first number of clicks with this Dice; None if it was never reached."""
        reached = np.flatnonzero(np.array(self.curve) >= target)
        return int(reached[0]) + 1 if len(reached) else None


class ScoreSheet:
    """Collects the scores of one object."""

    def __init__(self, target: Target, options: EvaluationOptions, masks: MaskFolder | None = None) -> None:
        """Begin with none.

        Args:
            target: the object.
            options: how it is scored.
            masks: keeps the masks that are scored; None keeps none.
        """
        self._masks = masks
        self._target, self._tolerance = target, options.tolerance_px
        self._spacing = FRAME_PX / max(target.mask.shape)
        self.dice: dict[str, float] = {}
        self.iou: dict[str, float] = {}
        self.nsd: dict[str, float] = {}
        self.curve: list[float] = []

    def add(self, kind: str, mask: np.ndarray) -> None:
        """Score a mask that one kind of prompt gave.

        Raises:
            EvaluationError: it cannot be written where masks are kept.
        """
        if self._masks is not None:
            self._masks.save(self._target.entry, kind, mask)
        self.dice[kind], self.iou[kind] = dice(mask, self._target.mask), iou(mask, self._target.mask)
        if self._tolerance:
            self.nsd[kind] = normalised_surface_distance(mask, self._target.mask, self._tolerance, self._spacing)

    def take(self, name: str, other: ScoreSheet) -> None:
        """Take over the scores of another model, under its name."""
        for own, theirs in ((self.dice, other.dice), (self.iou, other.iou), (self.nsd, other.nsd)):
            own.update({f"{name} {kind}": score for kind, score in theirs.items() if kind != FILLED_BOX})

    def add_to_curve(self, mask: np.ndarray) -> None:
        """Score the mask after one click more."""
        self.curve.append(dice(mask, self._target.mask))

    def result(self) -> ObjectResult:
        """All scores, with what is known about the object."""
        entry, area = self._target.entry, int(self._target.mask.sum())
        return ObjectResult(
            entry.dataset,
            entry.image,
            self._target.label,
            area,
            self.dice,
            self.iou,
            self.nsd,
            tuple(self.curve),
            area / self._target.mask.size,
            entry,
        )
