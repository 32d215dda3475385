"""The model panel: the model in use, its device, and whether it is loaded."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService, ServiceState
from SAMMed2DSlicer.inference.worker import TASK
from SAMMed2DSlicer.setup import models
from SAMMed2DSlicer.widgets import combo_boxes, messages
from SAMMed2DSlicer.widgets.status_line import MODEL_LOADING, StatusLine


class ModelPanel:
    """Selectors of model and device, and the state of the inference service."""

    def __init__(self, widget: Any, service: InferenceService, status_line: StatusLine) -> None:
        """Connect the widgets.

        Args:
            widget: of Model.ui.
            service: the inference service whose model is chosen.
            status_line: of the module; shows that the model is being loaded.
        """
        self.widget, self._service, self._status_line = widget, service, status_line
        self.ui = slicer.util.childWidgetVariables(widget)
        self._loading_since: float | None = None
        self.ui.modelSelector.connect("activated(int)", self._choose)
        self.ui.deviceSelector.connect("activated(int)", self._choose)
        self.ui.loadButton.connect("clicked()", self._load)

    def enter(self, node: Any) -> None:
        """Show models and devices, and listen to the service; the parameter node is not used."""
        self._service.unlisten(self._service_changed)
        self._service.listen(self._service_changed)
        self.refresh()

    def exit(self) -> None:
        """Stop listening to the service."""
        self._service.unlisten(self._service_changed)

    def forget(self) -> None:
        """Do nothing: nothing here refers to the scene."""

    def cleanup(self) -> None:
        """Leave the panel."""
        self.exit()

    def refresh(self) -> None:
        """Show the models that can be chosen, and the state of the chosen one."""
        choice, is_ready = self._service.choice, self._service.state.is_ready
        combo_boxes.fill(self.ui.modelSelector, models.model_names(choice.model), choice.model)
        devices = models.device_names(choice.device, is_ready=is_ready)
        combo_boxes.fill(self.ui.deviceSelector, devices, choice.device)
        self._show_state(self._service.state)

    def _service_changed(self, state: ServiceState) -> None:
        self.refresh()

    def _show_state(self, state: ServiceState) -> None:
        label, is_loading = self.ui.stateLabel, state.name == "loading"
        if is_loading and self._loading_since is None:
            self._loading_since = time.perf_counter()
            tip = _("Wait for the model no longer; the next request loads it.")
            self._status_line.begin(MODEL_LOADING, _("Loading the model..."), self._service.cancel_loading, tip)
        if state.name == "failed":
            messages.show(label, state.text, messages.ERROR)
        elif state.is_ready:
            messages.show(label, self._ready_text(state))
        else:
            messages.show(label, _("Loading...") if is_loading else _("Loaded when needed."))
        if not is_loading:
            self._loading_since = None
            self._status_line.end(MODEL_LOADING)
        self.ui.loadButton.visible = state.name in ("unloaded", "failed")

    def _ready_text(self, state: ServiceState) -> str:
        if self._loading_since is None:
            return _("Ready on {device}.").format(device=state.device)
        seconds = time.perf_counter() - self._loading_since
        return _("Ready on {device} in {seconds} s.").format(device=state.device, seconds=f"{seconds:.1f}")

    def _choose(self, index: int) -> None:
        chosen = replace(
            self._service.choice,
            model=combo_boxes.current_value(self.ui.modelSelector),
            device=combo_boxes.current_value(self.ui.deviceSelector),
        )
        self._service.choose(chosen)

    def _load(self) -> None:
        self._service.submit(lambda session, stop: None, lambda result: None, self._load_failed, TASK)

    def _load_failed(self, error: BaseException) -> None:
        messages.show_error(self.ui.stateLabel, error)
