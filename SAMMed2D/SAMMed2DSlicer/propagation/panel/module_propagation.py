"""The propagation panel of the module, with its button for a whole object, which is written as soon as it is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.propagation.panel.propagation_panel import PropagationPanel
from SAMMed2DSlicer.propagation.panel.whole_object import WholeObject
from SAMMed2DSlicer.propagation.results import UnwrittenResults
from SAMMed2DSlicer.propagation.segmentation_context import ModuleContext
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.status_line import StatusLine


class ModulePropagation(PropagationPanel):
    """The propagation panel of the module, with the methods of the module's other panels."""

    def __init__(
        self, service: InferenceService, context: ModuleContext, status_line: StatusLine, whole_button: Any
    ) -> None:
        """Make the widgets.

        Args:
            service: has the model and the worker thread.
            context: has the selection, and the undo.
            status_line: of the module.
            whole_button: of SAMMed2D.ui, for a whole object.
        """
        self._whole = _WrittenObject(context, status_line, self.show)
        super().__init__(service, context, status_line)
        whole_button.connect("clicked()", self.segment_whole)

    @property
    def is_running(self) -> bool:
        """Whether a propagation is going on, or a whole object is looked for or written."""
        return super().is_running or self._whole.is_open

    def unwritten(self) -> UnwrittenResults | None:
        """What was found and is not written yet; None if there is nothing."""
        return self._whole.unwritten() or super().unwritten()

    def segment_whole(self) -> None:
        """Find the object of the selected segment, from its slices or in the box of an ROI, and write it."""
        if self.is_running or not self._context.is_open:
            return
        text = ""
        if self._context.volume is None:
            text = _("There is no image: select a volume.")
        elif not self._context.segment_id:
            text = _("There is no segment: add one first.")
        if text:
            self.status_line.show_message(text, messages.WARNING)
            return
        self._whole.start()
        self._whole.accept()  # as soon as it is found

    def stop(self) -> None:
        """End a run without writing."""
        self._whole.discard()
        super().stop()

    # As the module's other panels

    def enter(self, node: Any) -> None:
        """Show the selection."""
        self.show()

    def exit(self) -> None:
        """Stop following the selection; a run goes on, and is written."""
        self._refresh_timer.stop()
        self._reader.forget()

    def refresh(self) -> None:
        """Show the selection."""
        self.show()

    def forget(self) -> None:
        """End a run without writing: the scene is being closed."""
        self.stop()
        self._context.close()

    def cleanup(self) -> None:
        """End everything."""
        self.forget()


class _WrittenObject(WholeObject):
    """Tells when a run has ended."""

    def __init__(self, context: ModuleContext, status_line: StatusLine, on_ended: Callable[[], None]) -> None:
        super().__init__(context, status_line, lambda preview: None)
        self._on_ended = on_ended

    def _notify(self, text: str, level: str) -> None:
        super()._notify(text, level)
        if not self.is_open:
            self._on_ended()
