"""The models that visitors share, in one thread: whoever asks waits for those before, and nobody stops another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from SAMMed2DLib.inference.prompts import Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor
    from SAMMed2DLib.inference.session import MaskPrediction, Session

# What each visitor's model keeps of the slices that were looked at.
_CACHE_BYTES = 128 * 1024**2


class ModelShelf:
    """Models by name, loaded when they are first asked, and a session with one of them for each visitor."""

    def __init__(self, device: str = "auto") -> None:
        """Start without a model.

        Args:
            device: of all models, as `load_predictor` takes it.
        """
        self.device = device
        self._predictors: dict[str, Predictor] = {}
        self._sessions: WeakKeyDictionary[Any, tuple[str, Session]] = WeakKeyDictionary()
        self._thread = ThreadPoolExecutor(1, "model")
        self._waiting = 0
        self._waiting_for: object = None
        self._ahead_for: object = None
        self._count = threading.Lock()

    @staticmethod
    def names() -> list[str]:
        """The models that are installed, the built-in one first."""
        from SAMMed2DLib.registry.built_in import BUILT_IN
        from SAMMed2DLib.registry.store import stored_models

        names = [model.name for model in stored_models() if model.is_installed]
        return sorted(names, key=lambda name: name != BUILT_IN)

    def predictor(self, name: str) -> Predictor:
        """A model, loaded if need be.

        Raises:
            RegistryError, CheckpointError: it cannot be had.
        """
        return self._asked(None, lambda: self._loaded(name))

    def answer(
        self, visitor: object, model: str, image: np.ndarray, prompts: Prompts, *, candidates: bool = False
    ) -> MaskPrediction:
        """Answer prompts.

        Args:
            visitor: whose session it is.
            model: name.
            image: (H, W, 3) uint8.
            prompts: slice px.
            candidates: also draw the other masks that they may mean.

        Raises:
            PromptError: the prompts contradict each other.
        """
        return self._asked(
            visitor, lambda: self._session(visitor, model).answer(image, prompts, candidates=candidates)
        )

    def encode_ahead(self, visitor: object, model: str, image: Callable[[], np.ndarray]) -> None:
        """Encode an image unless somebody else asks for something; another call ends the one before.

        Args:
            visitor: whose session it is.
            model: name.
            image: makes the image, (H, W, 3) uint8.
        """
        from SAMMed2DLib.inference.session import Stopped

        token = object()

        def should_stop() -> bool:
            return self._ahead_for is not token or (self._waiting > 0 and self._waiting_for is not visitor)

        def encode() -> None:
            if not should_stop():
                with suppress(Stopped):
                    self._session(visitor, model).encode(image(), should_stop)

        self._ahead_for = token
        self._thread.submit(encode)

    def forget(self, visitor: object) -> None:
        """Free what was kept for a visitor."""
        self._ahead_for = None
        with suppress(RuntimeError):  # the program ends, and the thread has ended
            self._asked(None, lambda: self._sessions.pop(visitor, None))

    def close(self) -> None:
        """End the thread."""
        self._ahead_for = None
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _asked(self, visitor: object, work: Callable[[], Any]) -> Any:
        """Do something in the models' thread, and wait for it."""
        with self._count:
            self._waiting += 1
            self._waiting_for = visitor
        try:
            return self._thread.submit(work).result()
        finally:
            with self._count:
                self._waiting -= 1

    def _loaded(self, name: str) -> Predictor:
        from SAMMed2DLib.inference.predictor import load_predictor

        if name not in self._predictors:
            self._predictors[name] = load_predictor(name, device=self.device)
        return self._predictors[name]

    def _session(self, visitor: Any, model: str) -> Session:
        """The visitor's session with this model; one with another model goes."""
        from SAMMed2DLib.inference.session import Session

        kept = self._sessions.get(visitor)
        if kept is None or kept[0] != model:
            kept = self._sessions[visitor] = (model, Session(self._loaded(model), _CACHE_BYTES))
        return kept[1]
