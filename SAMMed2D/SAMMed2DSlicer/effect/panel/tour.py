"""A tour of four pictures for the first use: shown once, and again whenever the user wants it."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources

_SEEN = "SAMMed2D/TourSeen"  # in the application's settings
_WIDTH_PX = 360  # of the pictures


def pages() -> list[tuple[str, str]]:
    """The pictures, by name in `Resources/Tour`, and what is said below each."""
    return [
        ("click", _("<b>Click</b> on a structure, or drag a box around it. The outline shows what was found.")),
        (
            "correct",
            _("<b>Ctrl+click</b> where it goes too far, click where something is missing: as often as needed."),
        ),
        ("accept", _("<b>Enter</b> writes it to the segment. <b>Esc</b> clears the prompts, <b>Ctrl+Z</b> undoes.")),
        (
            "propagate",
            _(
                "<b>Propagate</b> carries it to the other slices; the strip tells how sure each is. Correct some, and "
                "propagate again. <b>?</b> shows all keys."
            ),
        ),
    ]


class Tour:
    """A window beside the work: it asks for nothing, and the effect can be used meanwhile."""

    def __init__(self) -> None:
        """Prepare; widgets are made when the tour is shown."""
        self._dialog: Any = None
        self._page = 0

    @property
    def is_shown(self) -> bool:
        """Whether the window is seen."""
        return self._dialog is not None and bool(self._dialog.isVisible())

    def show_once(self) -> None:
        """Show the tour to those who have never seen it, if there is a window and no automatic test."""
        window = slicer.util.mainWindow()
        is_seen = bool(int(slicer.app.settings().value(_SEEN, 0)))
        if window is not None and window.isVisible() and not slicer.app.testingEnabled() and not is_seen:
            self.show()

    def show(self) -> None:
        """Show the tour from its first page."""
        slicer.app.settings().setValue(_SEEN, 1)
        self.close()
        self._page = 0
        self._make()
        self._show_page()
        self._dialog.show()

    def close(self) -> None:
        """Show the tour no more."""
        if self._dialog is not None:
            self._dialog.hide()
            self._dialog.deleteLater()
            self._dialog = None

    def _make(self) -> None:
        self._dialog = dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.objectName = "SAMMed2DTour"
        dialog.setAttribute(qt.Qt.WA_ShowWithoutActivating)  # keys are for the effect
        dialog.windowTitle = _("SAM-Med2D in four pictures")
        self._picture, self._text, self._number = qt.QLabel(), qt.QLabel(), qt.QLabel()
        self._text.wordWrap = True
        self._text.setFixedWidth(_WIDTH_PX)
        self._skip, self._back, self._next = (qt.QPushButton(text) for text in (_("Skip"), _("Back"), _("Next")))
        for button, call in ((self._skip, self.close), (self._back, self._go_back), (self._next, self._go_on)):
            button.connect("clicked()", call)
            button.autoDefault = False  # Enter is for accepting
        row, layout = qt.QHBoxLayout(), qt.QVBoxLayout(dialog)
        for widget in (self._number, self._skip, self._back, self._next):
            row.addWidget(widget)
        layout.addWidget(self._picture)
        layout.addWidget(self._text)
        layout.addLayout(row)

    def _show_page(self) -> None:
        shown = pages()
        name, text = shown[self._page]
        is_last = self._page == len(shown) - 1
        self._picture.setPixmap(qt.QPixmap(resources.tour_path(name)))
        self._text.setText(text)
        self._number.setText(_("{number} of {count}").format(number=self._page + 1, count=len(shown)))
        self._back.setEnabled(self._page > 0)
        self._skip.setVisible(not is_last)
        self._next.setText(_("Start") if is_last else _("Next"))

    def _go_back(self) -> None:
        self._page -= 1
        self._show_page()

    def _go_on(self) -> None:
        self._page += 1
        if self._page < len(pages()):
            self._show_page()
        else:
            self.close()
