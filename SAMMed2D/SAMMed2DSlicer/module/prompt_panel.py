"""The prompt panel: volume, segment, prompts and slice, and the button that segments the slice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.inference import slice_task
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.module.parameter_observer import ParameterObserver
from SAMMed2DSlicer.module.parameter_widgets import ParameterWidgets
from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.module.prompt_placement import PromptPlacement
from SAMMed2DSlicer.module.registration import open_segment_editor, propose_objects
from SAMMed2DSlicer.module.segment_controller import SegmentController
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.scene import segmentations
from SAMMed2DSlicer.setup import engines
from SAMMed2DSlicer.setup.pytorch import TorchState
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.status_line import StatusLine


class PromptPanel:
    """Shows the parameters, and runs the segmentation of a slice."""

    def __init__(
        self, widget: Any, service: InferenceService, status_line: StatusLine, on_install: Callable[[], None]
    ) -> None:
        """Connect the widgets; nothing is observed before `enter`.

        Args:
            widget: of SAMMed2D.ui.
            service: the inference service.
            status_line: of the module.
            on_install: installs PyTorch.
        """
        self.widget, self.status_line, self._service = widget, status_line, service
        self.ui = slicer.util.childWidgetVariables(widget)
        self.on_refreshed: Callable[[], None] = lambda: None  # another panel may depend on the selection
        self._inputs = ParameterWidgets(self.ui)
        self._placement = PromptPlacement(self.ui, self._inputs)
        self.observer = ParameterObserver(self.refresh)
        self._segmenting = SegmentController(service, status_line, self._request_changed)
        self._connect(on_install)

    @property
    def parameters(self) -> Parameters | None:
        """The parameters; None while the module is not shown."""
        return self._inputs.parameters

    @property
    def is_running(self) -> bool:
        """Whether a prediction is going on."""
        return self._segmenting.is_running

    # Lifetime

    def enter(self, node: Any) -> None:
        """Show and observe the parameters in a node."""
        parameters = self._inputs.parameters = Parameters(node)
        parameters.choose_defaults()
        self.observer.start()
        self.refresh()

    def exit(self) -> None:
        """Stop observing the scene; a prediction that is going on is still written."""
        self.observer.stop()
        self._inputs.parameters = None

    def forget(self) -> None:
        """Cancel the prediction: the scene is being closed."""
        if self.is_running:
            self._segmenting.cancel()

    def cleanup(self) -> None:
        """Cancel the prediction and stop observing."""
        self.forget()
        self.exit()

    # Showing

    def refresh(self) -> None:
        """Show the parameters, and why the slice cannot be segmented."""
        parameters = self.parameters
        if parameters is None:
            return
        self.observer.observe(parameters)
        self._inputs.show(parameters)
        self._show_torch()
        self.status_line.set_context(_context_of(parameters))
        self._show_action()
        self.on_refreshed()

    def problem(self) -> str:
        """Why the slice cannot be segmented now, and what to do; empty if it can."""
        parameters = self.parameters
        missing = self._missing_torch()
        if missing is not None:
            return missing.text
        if parameters is None or parameters.volume is None:
            return _("Select the volume to segment.")
        if parameters.segmentation is None:
            return _("Select or create a segmentation for the result.")
        try:
            plane = parameters.plane()
            slice_task.check_segment(parameters.segmentation, parameters.segment_id)
            is_correction = parameters.is_correction
            segment = (parameters.segmentation, parameters.segment_id)
            if is_correction and segmentations.has_labelmaps(parameters.segmentation):
                slice_task.mask_to_correct(parameters.volume, plane, *segment)
            slice_prompts.prompts_on(plane, parameters.volume, **parameters.prompts, is_correction=is_correction)
        except ValueError as error:
            return messages.error_text(error)
        return ""

    def _show_torch(self) -> None:
        missing = self._missing_torch()
        self.ui.installRow.visible = missing is not None
        self.ui.installLabel.text = "" if missing is None else missing.text

    def _missing_torch(self) -> TorchState | None:
        choice = self._service.choice
        return engines.missing_torch(choice.model, choice.device)

    def _show_action(self) -> None:
        if self.parameters is None:
            return
        problem = "" if self.is_running else self.problem()
        button = self.ui.segmentButton
        is_correction = self.parameters.is_correction
        action = _("Correct this slice") if is_correction else _("Segment this slice")
        tip = _("Add the structure that the prompts show, on this slice, to the segment.")
        if is_correction:
            tip = _("Replace the segment's mask on this slice by the corrected one.")
        button.text = _("Cancel") if self.is_running else action
        button.enabled = not problem
        button.toolTip = problem or tip
        self.status_line.set_hint(problem if self._missing_torch() is None else "")

    def _request_changed(self) -> None:
        self._show_action()
        self.observer.notify_later()  # also if no voxel was changed: sets the context of the message

    # Actions

    def segment(self) -> None:
        """Predict the slice that is shown, in the background, and write the mask."""
        if self.parameters is not None:
            self._segmenting.start(self.parameters)

    def _segment_clicked(self) -> None:
        if self.is_running:
            self._segmenting.cancel()
        else:
            self.segment()

    def _segmentation_made(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        segmentations.set_up(segmentation, self.parameters.volume if self.parameters is not None else None)
        segmentations.add_segment(segmentation)

    def _add_segment(self) -> None:
        if self.parameters is not None and self.parameters.segmentation is not None:
            self.parameters.segment_id = segmentations.add_segment(self.parameters.segmentation)
            self.refresh()

    def _open_editor(self) -> None:
        parameters = self.parameters
        if parameters is None:
            return
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            open_segment_editor(parameters.volume, parameters.segmentation, parameters.segment_id)

    def _propose(self) -> None:
        parameters = self.parameters
        if parameters is None:
            return
        if parameters.volume is None or parameters.segmentation is None or not parameters.segment_id:
            text = _("Select a volume and a segment first: what you take goes into it.")
            self.status_line.show_message(text, messages.WARNING)
            return
        chosen = (parameters.volume, parameters.segmentation, parameters.segment_id)
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            propose_objects(*chosen, parameters.view)

    # Widgets

    def _connect(self, on_install: Callable[[], None]) -> None:
        ui = self.ui
        ui.segmentationSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._segmentation_made)
        ui.addSegmentButton.connect("clicked()", self._add_segment)
        ui.segmentButton.connect("clicked()", self._segment_clicked)
        ui.editorButton.icon = qt.QIcon(resources.icon_path("SAMMed2D"))
        ui.editorButton.connect("clicked()", self._open_editor)
        ui.proposeButton.connect("clicked()", self._propose)
        ui.installButton.connect("clicked()", on_install)


def _context_of(parameters: Parameters) -> Any:
    """What the user works on; a message of the status line is valid for it."""
    plane = None
    if parameters.volume is not None:
        with suppress(ValueError):  # the view shows none of it
            plane = parameters.plane()
    return parameters.volume, parameters.segmentation, parameters.segment_id, plane
