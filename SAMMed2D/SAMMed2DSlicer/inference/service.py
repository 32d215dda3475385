"""The model that is in use, and its one worker thread; shared by the effect, the module and scripts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.registry.built_in import BUILT_IN, current_name
from SAMMed2DSlicer.inference.worker import AHEAD, LATEST, TASK, Job, Worker
from SAMMed2DSlicer.setup import engines, pytorch
from SAMMed2DSlicer.widgets import messages

if TYPE_CHECKING:
    from SAMMed2DLib.inference.session import Session

_SETTINGS = "SAMMed2D/"
_cores: dict[str, int] = {}  # as each engine counts them at first

ShouldStop = Callable[[], bool]
Work = Callable[["Session", ShouldStop], Any]


@dataclass(frozen=True)
class ModelChoice:
    """Which model to use, and where.

    Attributes:
        model: the name of a known or added model, or the path of a weights file.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; "numpy" is the processor without PyTorch.
        cache_mib: the most that kept embeddings may take.
    """

    model: str = BUILT_IN
    device: str = "auto"
    cache_mib: int = 512

    @classmethod
    def of_settings(cls) -> ModelChoice:
        """The choice that the user made last, from the application's settings."""
        settings = slicer.app.settings()
        return cls(
            current_name(str(settings.value(_SETTINGS + "Model", cls.model))),
            str(settings.value(_SETTINGS + "Device", cls.device)),
            int(settings.value(_SETTINGS + "CacheMiB", cls.cache_mib)),
        )

    def remember(self) -> None:
        """Keep the choice in the application's settings."""
        settings = slicer.app.settings()
        for name, value in (("Model", self.model), ("Device", self.device), ("CacheMiB", self.cache_mib)):
            settings.setValue(_SETTINGS + name, value)


@dataclass(frozen=True)
class ServiceState:
    """What the service is doing.

    Attributes:
        name: "unloaded", "loading", "ready" or "failed".
        text: for the user, one line.
        device: where the model runs; empty until it does.
    """

    name: str
    text: str
    device: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return self.name == "ready"


class InferenceService:
    """Computes with the chosen model, which it loads with the first request."""

    def __init__(self) -> None:
        """Choose what the user chose last; nothing is loaded yet."""
        self.worker = Worker()
        self.choice = ModelChoice.of_settings()
        self.state = ServiceState("unloaded", "")
        self._loaded: tuple[ModelChoice, Session] | None = None  # of the worker thread
        self._load_seconds = 0.0
        self._listeners: list[Callable[[ServiceState], None]] = []

    def choose(self, choice: ModelChoice) -> None:
        """Use another model from the next request on; what runs is dropped."""
        if choice == self.choice:
            return
        choice.remember()
        self.choice = choice
        self.worker.cancel_all()
        self._set_state(ServiceState("unloaded", ""))

    def listen(self, listener: Callable[[ServiceState], None]) -> None:
        """Call this with every new state, on the main thread."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[ServiceState], None]) -> None:
        """Undo `listen`; unknown listeners are no error."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def prepare(self, on_ready: Callable[[], None] | None = None) -> None:
        """Load the model in the background, so that the first click does not wait for it."""
        if self.state.is_ready:
            if on_ready is not None:
                on_ready()
            return
        self.submit(lambda session, stop: None, lambda result: on_ready() if on_ready else None, kind=TASK)

    def cancel_loading(self) -> None:
        """Stop loading the model and drop the requests that wait for it; the next request loads it."""
        if self.state.name == "loading":
            self.worker.cancel_all()
            self._set_state(ServiceState("unloaded", ""))

    def submit(
        self,
        work: Work,
        on_done: Callable[[Any], None],
        on_error: Callable[[BaseException], None] | None = None,
        kind: str = LATEST,
        owner: object = None,
    ) -> Job:
        """Compute with the session in the background.

        Args:
            work: gets the session and a function that says whether to stop; runs in the worker thread, where MRML
                and Qt must not be touched.
            on_done: gets the result, on the main thread.
            on_error: gets the exception, on the main thread; without one only the state tells.
            kind: see `Job`.
            owner: see `Job`.
        """

        def done(result: tuple[Any, str]) -> None:
            self._became_ready(result[1])
            on_done(result[0])

        def failed(error: BaseException) -> None:
            loaded = self._loaded
            if loaded is not None and loaded[0] == self.choice:
                self._became_ready(_place_of(loaded[1]))
            else:
                self._set_state(ServiceState("failed", messages.capitalized(pytorch.explain_error(error))))
            if on_error is not None:
                on_error(error)

        if not self.state.is_ready and self.state.name != "loading":
            self._set_state(ServiceState("loading", _("Loading the model...")))
        return self.worker.submit(Job(self._with_session(self.choice, work), done, failed, kind, owner))

    def prefetch(self, work: Work, on_done: Callable[[Any], None], owner: object = None) -> Job:
        """Compute something that may be needed; any other request stops it.

        Args:
            work: see `submit`.
            on_done: see `submit`.
            owner: see `Job`.
        """
        return self.submit(work, on_done, kind=AHEAD, owner=owner)

    def call(self, work: Work) -> Any:
        """Compute with the session and wait for the result; for scripts.

        Raises:
            whatever loading the model or `work` raises.
        """
        result, device = self.worker.call(self._with_session(self.choice, work))
        self._became_ready(device)
        return result

    def _with_session(self, choice: ModelChoice, work: Work) -> Callable[[ShouldStop], tuple[Any, str]]:
        def run(should_stop: ShouldStop) -> tuple[Any, str]:
            session = self._session(choice)
            return work(session, should_stop), _place_of(session)

        return run

    def _session(self, choice: ModelChoice) -> Session:
        """The session of this choice; runs in the worker thread."""
        if self._loaded is None or self._loaded[0] != choice:
            from SAMMed2DLib.inference.predictor import load_predictor
            from SAMMed2DLib.inference.session import Session

            self._loaded = None  # the old model goes before the new one comes
            began = time.perf_counter()
            engine = engines.engine_of(choice.model, choice.device)
            device = "cpu" if choice.device == engines.NUMPY else choice.device
            predictor = load_predictor(choice.model, engine=engine, device=device)
            _leave_a_core_to_slicer(predictor.engine.name)
            self._loaded = choice, Session(predictor, choice.cache_mib * 1024**2)
            self._load_seconds = time.perf_counter() - began
        return self._loaded[1]

    def _became_ready(self, device: str) -> None:
        if not self.state.is_ready or self.state.device != device:
            text = _("Ready on {device}, loaded in {seconds} s.")
            self._set_state(
                ServiceState("ready", text.format(device=device, seconds=f"{self._load_seconds:.1f}"), device)
            )

    def _set_state(self, state: ServiceState) -> None:
        self.state = state
        for listener in list(self._listeners):
            listener(state)


def _place_of(session: Session) -> str:
    """Where a session computes, for people."""
    predictor = session.predictor
    is_numpy = getattr(getattr(predictor, "engine", None), "name", "") == "numpy"
    return engines.NUMPY_NAME if is_numpy else str(predictor.device)


def _leave_a_core_to_slicer(engine: str) -> None:
    """Let the network use one core less in this thread: see docs/decisions/one-core-for-slicer.md."""
    if engine == "numpy":
        from SAMMed2DLib.inference.numpy_engine import threads

        threads.set_threads(max(1, _cores.setdefault(engine, threads.threads()) - 1))
    else:
        import torch

        torch.set_num_threads(max(1, _cores.setdefault(engine, torch.get_num_threads()) - 1))


def shared() -> InferenceService:
    """The service of this application; made at the first call, ended with the application."""
    name = "sammed2dInferenceService"  # kept on slicer.modules, so that it outlives a reload of the module's files
    service = getattr(slicer.modules, name, None)
    if service is None:
        service = InferenceService()
        setattr(slicer.modules, name, service)
        slicer.app.connect("aboutToQuit()", service.worker.stop)
    return service
