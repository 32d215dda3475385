"""What a predictor asks of the program that computes its network, and the choice of that program."""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from SAMMed2DLib.model.config.model_config import ModelConfig, Preprocessing

EngineName = Literal["auto", "torch", "numpy"]
ENGINES: tuple[EngineName, ...] = ("auto", "torch", "numpy")


class EngineError(ValueError):
    """The chosen engine is not here, or cannot compute this model; the message says what to do."""


@dataclass(frozen=True, eq=False)
class EncodedPrompts:
    """Prompts of B objects, of one kind, as a decoder takes them.

    Attributes:
        points: (B, n, 2) float32 coordinates, px of the frame that prompts are counted in, and (B, n) int64 labels.
        boxes: (B, 2, 2) float32 corners, likewise.
        logits: (B, L, L) float32, of earlier predictions.
    """

    points: tuple[np.ndarray, np.ndarray] | None = None
    boxes: np.ndarray | None = None
    logits: np.ndarray | None = None


class Engine(ABC):
    """A network with its weights, ready to compute; to be used from one thread at a time.

    Attributes:
        name: "torch" or "numpy".
        device: where it computes; `str` of it is for people.
        precision: of the image encoder; `str` of it is for people.
        image_size: side of the model frame, px.
        prompt_size: side of the frame that points and boxes are counted in, px.
        mask_input_size: side of a mask prompt, px.
        preprocessing: how pixels come into the model frame, see `ModelConfig`.
        embedding_bytes: memory of the features of one image.
    """

    name: str
    device: Any
    precision: Any
    image_size: int
    prompt_size: int
    mask_input_size: int
    preprocessing: Preprocessing
    embedding_bytes: int

    @property
    @abstractmethod
    def has_refiner(self) -> bool:
        """Whether the network draws outlines at a higher resolution itself."""

    @property
    @abstractmethod
    def most_at_once(self) -> int:
        """Images that are encoded as one batch."""

    @abstractmethod
    def working_bytes(self, images: int) -> int:
        """Forecast the main memory that encoding so many images at once takes while it lasts, bytes, about."""

    @abstractmethod
    def encode(self, inputs: Sequence[np.ndarray]) -> Any:
        """Encode images (3, S, S) float32 of one size, normalised: features (B, C, g, g), the engine's own arrays."""

    @abstractmethod
    def decode(self, features: Sequence[Any], prompts: EncodedPrompts, best: bool) -> tuple[np.ndarray, np.ndarray]:
        """Decode prompts of one kind.

        Args:
            features: (1, C, g, g) each: of one image that all objects are on, or of one image for each object.
            prompts: of B objects.
            best: return, for each object, only the mask with the largest predicted IoU.

        Returns:
            logits (B, M, L, L) float32 and predicted IoU (B, M); M is 1 or 3.
        """

    @abstractmethod
    def refine(self, image: np.ndarray, low_res: np.ndarray, prompts: EncodedPrompts) -> np.ndarray:
        """Draw an outline anew at twice its resolution; only where `has_refiner`.

        Args:
            image: (3, 2L, 2L) float32 in 0..1.
            low_res: (L, L) float32, logits of the decoder.
            prompts: of one object.

        Returns:
            (2L, 2L) float32, logits.
        """

    @abstractmethod
    def checking(self, check: Callable[[], None]) -> AbstractContextManager[None]:
        """Call this before every block of the encoder, within the context; it raises to end the work."""


def has_torch() -> bool:
    """Whether PyTorch is installed, without importing it; it may still not work."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):
        return False


def is_for_numpy(config: ModelConfig) -> bool:
    """Whether the NumPy engine computes networks of these sizes: those of the built-in model's kind."""
    return config.tiny_vit is not None


def chosen_engine(
    engine: EngineName, config: ModelConfig, name: str, *, needs_torch: str = ""
) -> Literal["torch", "numpy"]:
    """Choose what computes a model: PyTorch where it works, else NumPy, if it can.

    Args:
        engine: "auto", "torch" or "numpy".
        config: sizes of the model.
        name: of the model, for messages.
        needs_torch: what else was asked for that only PyTorch does; empty for nothing.

    Raises:
        EngineError: an unknown engine, one that is not here, or one that cannot compute this model.
    """
    if engine not in ENGINES:
        raise EngineError(f"unknown engine {engine!r}: choose one of {', '.join(ENGINES)}")
    reason = needs_torch or ("" if is_for_numpy(config) else f"the model {name!r}")
    if engine == "numpy" and reason:
        raise EngineError(f"{reason} needs PyTorch: choose the engine torch, or the built-in model on the CPU")
    if engine == "numpy":
        return "numpy"
    trouble = trouble_with_torch()
    if trouble is None:
        return "torch"
    if engine == "auto" and not reason:
        return "numpy"
    raise EngineError(f"{reason or 'the engine torch'} needs PyTorch, and {trouble[0]}") from trouble[1]


def trouble_with_torch() -> tuple[str, Exception | None] | None:
    """What is wrong with PyTorch, in words and by its error; None for nothing. It is imported here."""
    missing = "it is not installed: pip install torch"
    if not has_torch():
        return missing, None
    try:
        import torch  # noqa: F401
    except Exception as error:  # libraries that are missing or do not fit raise what they like
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            return missing, error
        words = str(error).splitlines()[0] if str(error) else repr(error)
        return f"it does not work here ({words}); `sammed2d doctor` says what to do", error
    return None
