"""Scores of a run's weights by the protocol of `evaluation`: the same simulated user, on images kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from SAMMed2DLib.data.dataset import DatasetError, LabelledImage
from SAMMed2DLib.data.sa_med2d import ImageEntry, MaskedImage
from SAMMed2DLib.evaluation import evaluate, macro_mean, mean_by_dataset
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.model.build import build_empty
from SAMMed2DLib.training.config import TrainingConfig, TrainingError

CLICKS = (1, 3, 5)
SCORED = ("box", "1 click", "3 clicks", "5 clicks")


@dataclass(frozen=True, eq=False)
class Validation:
    """Images to score weights on.

    Attributes:
        images: in memory or on disk; those that cannot be read are left out.
        device: where the predictor runs.
        is_seen: whether these images are trained on too.
    """

    images: Sequence[LabelledImage | ImageEntry]
    device: str | torch.device = "cpu"
    is_seen: bool = False

    def scores(self, config: TrainingConfig, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Macro means of Dice by kind of prompt, the number of objects, and as "score" the mean of `SCORED`.

        Raises:
            TrainingError: the images show no object that counts.
        """
        means = _means(predictor_of(config, weights, str(self.device)), self._read())
        return {"score": float(np.mean([means[kind] for kind in SCORED])), **means}

    def _read(self) -> Iterator[LabelledImage | MaskedImage]:
        for image in self.images:
            if isinstance(image, LabelledImage):
                yield image
                continue
            try:
                yield image.read()
            except DatasetError:
                continue  # told once at the start by whoever chose the images


def predictor_of(config: TrainingConfig, weights: Mapping[str, Tensor], device: str) -> Predictor:
    """A predictor of a copy of the weights, which shows images as they were shown in training.

    Args:
        config: of the run; says how images are shown.
        weights: the state dict.
        device: "cpu", "cuda" or "mps".
    """
    model = build_empty(config.model)
    model.load_state_dict({name: value.detach().clone() for name, value in weights.items()}, assign=True)
    return Predictor(
        model,
        "in training",
        device=device,
        precision="float32",
        fit="pad" if config.as_published else "stretch",
        channel_order="bgr" if config.as_published else "rgb",
        prefers_zoom=config.prefers_zoom,
        click_scales=config.click_scales,
        coarse_size=config.coarse_size,
    )


def _means(predictor: Predictor, images: Iterable[LabelledImage | MaskedImage]) -> dict[str, float]:
    by_dataset = mean_by_dataset(evaluate(predictor, images, CLICKS))
    if not by_dataset:
        raise TrainingError("the validation images show no object that is large enough to count; choose others")
    return {kind: value for kind, value in macro_mean(by_dataset).items() if kind in ("objects", *SCORED)}


def spread(images: Sequence[ImageEntry], most: int) -> list[ImageEntry]:
    """At most so many of the images, evenly along their order."""
    chosen = np.unique(np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int))
    return [images[number] for number in chosen]
