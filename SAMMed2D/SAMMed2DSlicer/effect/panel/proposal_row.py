"""The rows of *Propose objects* and *Find similar* in the effect's panel, and their progress in the status line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from SAMMed2DSlicer.widgets.status_line import PROPOSALS, StatusLine

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.display import EffectState


class ProposalRow:
    """Buttons that begin a search, and where it looks.

    Attributes:
        widget: the row.
        in_volume: a check box, for the parameter of this name.
    """

    def __init__(self, status_line: StatusLine, call: Callable[[str], None]) -> None:
        """Make the widgets; `call` gets "search_similar", "search_all" or "cancel"."""
        self._line, self._call = status_line, call
        self.widget = qt.QWidget()
        self.widget.objectName = "proposalRow"
        self._layout = qt.QGridLayout(self.widget)  # one row of all would be cut on a small screen
        self._layout.setContentsMargins(0, 0, 0, 0)
        everything_tip = _("Propose all objects of this slice (J). A click takes one; nothing is written.")
        similar_tip = _("Propose more objects like the accepted ones (M). A click takes one; nothing is written.")
        self._buttons = [
            self._button("everythingButton", _("Propose objects"), everything_tip, "search_all"),
            self._button("similarButton", _("Find similar"), similar_tip, "search_similar"),
        ]
        self.in_volume = qt.QCheckBox(_("All slices"))
        self.in_volume.objectName = "similarInVolumeCheckBox"
        self.in_volume.setToolTip(_("Find similar: search all slices parallel to the one that is shown."))
        self._layout.addWidget(self._buttons[0], 0, 1)
        self._layout.addWidget(self._buttons[1], 1, 0)
        self._layout.addWidget(self.in_volume, 1, 1)

    def add_before(self, button: Any) -> None:
        """Put another button before the others."""
        self._layout.addWidget(button, 0, 0)

    def show(self, state: EffectState) -> None:
        """Show whether a search is going on, and how far it is."""
        share = state.search_share
        for button in self._buttons:
            button.setEnabled(share is None)
        if share is None:
            self._line.end(PROPOSALS)
            return
        if not self._line.is_working(PROPOSALS):
            tip = _("Search no more; nothing was changed.")
            self._line.begin(PROPOSALS, state.search_text, partial(self._call, "cancel"), tip)
        self._line.update(PROPOSALS, state.search_text, round(100 * share), 100)

    def _button(self, name: str, text: str, tip: str, action: str) -> Any:
        button = qt.QPushButton(text)
        button.objectName = name
        button.setToolTip(tip)
        button.connect("clicked()", partial(self._call, action))
        return button
