"""The models that visitors share, in one thread: whoever asks waits for those before, and nobody stops another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from SAMMed2DLib.inference.prompts import Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.predictor import Predictor
    from SAMMed2DLib.inference.session import MaskPrediction, Session, ShouldStop

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
        self._thread = ThreadPoolExecutor(1, "model", _leave_a_core)
        self._waiting = 0
        self._token: object = None
        self._asked_by: object = None
        self._asked_prompts: Prompts | None = None
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
        self,
        visitor: object,
        model: str,
        image: np.ndarray,
        prompts: Prompts,
        *,
        candidates: bool = False,
        gives_way: bool = False,
    ) -> MaskPrediction:
        """Answer prompts.

        Args:
            visitor: whose session it is.
            model: name.
            image: (H, W, 3) uint8.
            prompts: slice px.
            candidates: also draw the other masks that they may mean.
            gives_way: stop when somebody asks for something else meanwhile.

        Raises:
            Stopped: somebody did.
            PromptError: the prompts contradict each other.
        """
        def work() -> MaskPrediction:
            should_stop = (lambda: self._waiting > 1) if gives_way else None
            session = self._session(visitor, model)
            return session.answer(image, prompts, candidates=candidates, should_stop=should_stop)

        return self._asked(visitor, work, prompts)

    def encode_ahead(self, visitor: object, model: str, image: Callable[[], np.ndarray]) -> None:
        """Encode an image unless somebody else asks for something; another call ends the one before.

        Args:
            visitor: whose session it is.
            model: name.
            image: makes the image, (H, W, 3) uint8.
        """
        self._ahead(
            visitor, None, lambda should_stop: self._session(visitor, model).encode(image(), should_stop)
        )

    def answer_ahead(
        self, visitor: object, model: str, image: np.ndarray, prompts: Prompts
    ) -> Future[np.ndarray | None]:
        """Answer prompts that will probably come, unless something else is asked; another call ends the one before.

        Args:
            visitor: whose session it is.
            model: name.
            image: (H, W, 3) uint8.
            prompts: slice px.

        Returns:
            a coarse mask, (H, W) bool, that is there before the answer; None where the answer is there, or given up.
        """
        coarse: Future[np.ndarray | None] = Future()

        def answer(should_stop: ShouldStop) -> None:
            self._session(visitor, model).answer(
                image, prompts, should_stop=should_stop, on_coarse=coarse.set_result
            )

        def end(_: Future[None]) -> None:
            if not coarse.done():
                coarse.set_result(None)

        self._ahead(visitor, prompts, answer).add_done_callback(end)
        return coarse

    def _ahead(self, visitor: object, wanted: Prompts | None, work: Callable[[ShouldStop], object]) -> Future[None]:
        """Do something in the models' thread that nobody waits for yet, while it helps what is asked next.

        Args:
            visitor: whose it is.
            wanted: the only prompts that it helps; None for all of this visitor's.
            work: takes what ends it.
        """
        from SAMMed2DLib.inference.session import Stopped

        token = object()

        def should_stop() -> bool:
            helps = self._asked_by is visitor and wanted in (None, self._asked_prompts)
            return self._token is not token or (self._waiting > 0 and not helps)

        def run() -> None:
            if not should_stop():
                with suppress(Stopped):
                    work(should_stop)

        self._token = token
        return self._thread.submit(run)

    def forget(self, visitor: object) -> None:
        """Free what was kept for a visitor."""
        self._token = None
        with suppress(RuntimeError):  # the program ends, and the thread has ended
            self._asked(None, lambda: self._sessions.pop(visitor, None))

    def close(self) -> None:
        """End the thread."""
        self._token = None
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _asked(self, visitor: object, work: Callable[[], Any], prompts: Prompts | None = None) -> Any:
        """Do something in the models' thread, and wait for it."""
        with self._count:
            self._waiting += 1
            self._asked_by, self._asked_prompts = visitor, prompts
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


def _leave_a_core() -> None:
    """Give this thread one core less than there are: the browser, if it is here, and the server need one, too.

    Threads of torch spin while they wait for each other; docs/decisions/one-core-for-slicer.md has the measurements.
    """
    from SAMMed2DLib.inference.engines.engine import trouble_with_torch
    from SAMMed2DLib.inference.numpy_engine import threads

    threads.set_threads(min(threads.threads(), threads.cores() - 1))
    if trouble_with_torch() is None:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() - 1))
