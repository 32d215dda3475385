"""The row of *Find similar* in the effect's panel, and its progress in the status line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.widgets.status_line import SIMILAR, StatusLine

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.display import EffectState


class SimilarRow:
    """A button that begins the search, and where it looks.

    Attributes:
        widget: the row.
        in_volume: a check box, for the parameter of this name.
    """

    def __init__(self, status_line: StatusLine, call: Callable[[str], None]) -> None:
        """Make the widgets; `call` gets "search" or "cancel"."""
        self._line, self._call = status_line, call
        self.widget = qt.QWidget()
        self.widget.objectName = "similarRow"
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self._button = qt.QPushButton(_("Find similar"))
        self._button.objectName = "similarButton"
        tip = _("Propose further objects like the accepted ones (M). A click takes a proposal; nothing is written.")
        self._button.setToolTip(tip)
        self._button.connect("clicked()", lambda: call("search"))
        self.in_volume = qt.QCheckBox(_("On all slices"))
        self.in_volume.objectName = "similarInVolumeCheckBox"
        self.in_volume.setToolTip(_("Search all slices parallel to the one that is shown, not only this one."))
        layout.addWidget(self._button)
        layout.addWidget(self.in_volume)

    def show(self, state: EffectState) -> None:
        """Show whether a search is going on, and how far it is."""
        share = state.search_share
        self._button.setEnabled(share is None)
        if share is None:
            self._line.end(SIMILAR)
            return
        text = _("Looking for similar objects...")
        if not self._line.is_working(SIMILAR):
            tip = _("Search no more; nothing was changed.")
            self._line.begin(SIMILAR, text, lambda: self._call("cancel"), tip)
        self._line.update(SIMILAR, text, round(100 * share), 100)
