"""What a predictor returns: embeddings of slice images, and masks of objects on them."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from SAMMed2DLib.model.preprocessing import ResizeTransform


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the image encoder saw in a batch of slices; a value, to be kept and used for any prompts.

    Attributes:
        features: (B, C, g, g) float32, of the engine: a tensor on its device without gradients, or an array.
        frames: how each slice lies in the model frame.
        model_name: the weights that made it; others cannot read it.
    """

    features: Any
    frames: tuple[ResizeTransform, ...]
    model_name: str

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.frames)

    def __getitem__(self, index: int) -> Embedding:
        """Embedding of one slice; it shares memory with the batch."""
        frame = self.frames[operator.index(index)]  # raises IndexError, which ends iteration
        return Embedding(self.features[index][None], (frame,), self.model_name)

    def __iter__(self) -> Iterator[Embedding]:
        """One embedding for each slice."""
        return (self[i] for i in range(len(self)))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size of the slice, px; of the first one in a batch."""
        return self.frames[0].size_hw

    @property
    def array(self) -> np.ndarray:
        """The features as an array, float32, in main memory."""
        return self.features if isinstance(self.features, np.ndarray) else self.features.float().cpu().numpy()

    @property
    def nbytes(self) -> int:
        """Memory of the features, for bounded caches."""
        return int(self.features.nbytes)


@dataclass(frozen=True, eq=False)
class Prediction:
    """One object on one slice.

    Attributes:
        score: IoU that the model predicts for it; mostly, but not strictly, within 0..1.
        low_res_logits: (L, L) float32; as `Prompts.low_res_logits` they refine the object further.
        frame: how the slice lies in the model frame.
    """

    score: float
    low_res_logits: np.ndarray
    frame: ResizeTransform

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool; made when it is asked for."""
        return self.logits() > 0

    def logits(self) -> np.ndarray:
        """Logits at slice size, (H, W) float32; positive inside the mask."""
        return self.frame.slice_logits(self.low_res_logits[None, None])[0, 0]
