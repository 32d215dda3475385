"""The module's button for a whole object, from a segment's slices or in the box of an ROI; it is written when found."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.panel.propagation_panel import ModulePropagation
from SAMMed2DSlicer.propagation.panel.whole_object import WholeObject
from SAMMed2DSlicer.propagation.results import UnwrittenResults
from SAMMed2DSlicer.propagation.segmentation_context import ModuleContext
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.status_line import StatusLine


class WholeObjectButton:
    """One of the module's panels, without a widget of its own."""

    def __init__(
        self, button: Any, context: ModuleContext, status_line: StatusLine, propagation: ModulePropagation
    ) -> None:
        """Connect the button.

        Args:
            button: of SAMMed2D.ui.
            context: has the selection, and the undo.
            status_line: of the module.
            propagation: the panel that has the button for the undo; nothing is looked for while it is at work.
        """
        self.widget = button
        self._context, self._status_line, self._propagation = context, status_line, propagation
        self._whole = WholeObject(context, status_line, lambda preview: None)
        propagation.is_other_running = lambda: self.is_running
        button.connect("clicked()", self.segment)

    @property
    def is_running(self) -> bool:
        """Whether an object is looked for, or written."""
        return self._whole.is_open

    def segment(self) -> None:
        """Find the object of the selected segment, and write it."""
        if self._propagation.is_running or not self._context.is_open:
            return
        text = self._problem()
        if text:
            self._status_line.show_message(text, messages.WARNING)
            return
        self._whole.start()
        if self._whole.is_open:
            self._whole.accept()  # as soon as it is found

    def _problem(self) -> str:
        if self._context.volume is None:
            return _("There is no image: select a volume.")
        if not self._context.segment_id:
            return _("There is no segment: add one first.")
        return ""

    def unwritten(self) -> UnwrittenResults | None:
        """What was found and is not written yet, here or by a propagation; None if there is nothing."""
        return self._whole.unwritten() or self._propagation.unwritten()

    # As the module's other panels

    def enter(self, node: Any) -> None:
        """Nothing is to be shown."""

    def exit(self) -> None:
        """Let a run go on; it is written."""

    def refresh(self) -> None:
        """Nothing is to be shown."""

    def forget(self) -> None:
        """End a run without writing: the scene is being closed."""
        self._whole.discard()

    def cleanup(self) -> None:
        """End everything."""
        self.forget()
