"""The configuration of a training run: frozen, plain JSON, and all that its numbers depend on besides the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from SAMMed2DLib.model.config.model_config import ModelConfig

PRECISIONS = ("float32", "bf16", "fp16")
TRAINED = ("adapters", "decoder", "all")
BALANCES = ("images", "datasets")


class TrainingError(ValueError):
    """A training run that cannot begin or go on as asked; the message says why and what to do."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        model: sizes of the network.
        steps: optimiser steps of the whole run, as published batches of nine steps each; a run may be resumed
            with another number.
        images_per_batch: B, of one process in one pass.
        masks_per_image: M.
        accumulate: passes whose gradients are added up before a step.
        trained: "all"; "adapters" leaves the encoder's body as it is, "decoder" the whole encoder. The prompt
            encoder and the decoder are always trained.
        as_published: the recipe of SAM-Med2D instead of the default one: its prompts, loss, steps, optimiser and
            loader; what is trained, rounds, rates over time and shares below then have no meaning.
        precision: of the image encoder, one of `PRECISIONS`; all else runs in float32, as in use.
        max_rounds: rounds of prompting are drawn from 1 to this.
        learning_rate: of AdamW, after the warm-up; falls linearly to 0 over the last `cooldown`.
        warmup_steps: steps of linear rise.
        cooldown: share of the run.
        weight_decay: of the matrices.
        ema_decay: of the averaged weights, which are then the ones to use; 0 averages nothing.
        balance: "images" shows each image once in turn; "datasets" draws small sets more often than large ones.
        synthetic_share: share of items that are synthetic.
        lesion_share: share of items that are label maps with synthetic lesions added, which become objects too.
        box_share: share of steps that begin with a box alone; a tenth begins with a box and a click.
        neighbour_share: share of steps that begin with the mask of a neighbouring slice too.
        focus_step: from this step on, views zoom in on objects, as the product does around its prompts.
        click_scales: what the weights answer first clicks on, see `Predictor`; training does not depend on it.
        coarse_size: in which frame, see `Predictor`; training does not depend on it either.
        seed: root of all random numbers.
    """

    model: ModelConfig
    steps: int
    images_per_batch: int = 4
    masks_per_image: int = 5
    accumulate: int = 1
    trained: str = "all"
    as_published: bool = False
    precision: str = "float32"
    max_rounds: int = 4
    learning_rate: float = 5e-4
    warmup_steps: int = 200
    cooldown: float = 0.6
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    balance: str = "images"
    synthetic_share: float = 0.0
    lesion_share: float = 0.0
    box_share: float = 0.5
    neighbour_share: float = 0.0
    focus_step: int = 0
    click_scales: tuple[float, ...] = (1.0,)
    coarse_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run can be.

        Raises:
            TrainingError: the message names the option.
        """
        for name in ("steps", "images_per_batch", "masks_per_image", "accumulate", "max_rounds"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name.replace('_', ' ')} must be 1 or more, not {getattr(self, name)}")
        for name, known in (("precision", PRECISIONS), ("trained", TRAINED), ("balance", BALANCES)):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        if not 0 <= self.ema_decay < 1:
            raise TrainingError(f"the decay of the averaged weights must be in 0..1, not {self.ema_decay}")
        if self.as_published and self.accumulate > 1:
            raise TrainingError("as published every pass is followed by a step, so nothing can be accumulated")
        if self.as_published and self.model.preprocessing != "published":
            raise TrainingError("the model sees images in another way than the published one: leave out --as-published")
        if (self.trained == "adapters" or self.as_published) and not self.model.adapter:
            raise TrainingError("the model has no adapters to train: add them, or train the decoder or all of it")

    @property
    def prefers_zoom(self) -> bool:
        """Whether the weights learn to see crops around their prompts."""
        return self.focus_step < self.steps and not self.as_published

    @property
    def view_size(self) -> int:
        """Side of the views that are drawn, px: that of the frame in which the network counts prompts."""
        return self.model.prompt_size or self.model.image_size

    def learning_rate_at(self, step: int) -> float:
        """The schedule: warm-up, a constant rate, and a linear fall to 0 at the end."""
        if self.as_published:
            return self.learning_rate
        left = (self.steps - step) / max(1.0, self.cooldown * self.steps)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warmup_steps), left)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, for `from_dict`; how first clicks are answered only where it is said."""
        values = {**asdict(self), "model": self.model.to_dict(), "click_scales": list(self.click_scales)}
        unsaid = [name for name in ("click_scales", "coarse_size") if getattr(self, name) == getattr(type(self), name)]
        return {name: value for name, value in values.items() if name not in unsaid}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Read what `to_dict` wrote.

        Raises:
            TrainingError: it holds something else.
            ConfigError: so do its sizes of the network.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown or "model" not in values:
            what = f"it has {', '.join(sorted(unknown))}" if unknown else "it has no model"
            raise TrainingError(f"this is no configuration of a training run: {what}")
        scales = tuple(values.get("click_scales", cls.click_scales))
        return cls(**{**values, "model": ModelConfig.from_dict(values["model"]), "click_scales": scales})
