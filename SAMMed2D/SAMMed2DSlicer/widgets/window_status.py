"""The status bar of Slicer's window: in sight wherever a panel is scrolled to, with progress and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.widgets.busy_bar import BusyBar
from SAMMed2DSlicer.widgets.timers import single_shot

_LONG_MS = 1000  # work that ends sooner shows no bar
_BAR_PX = (140, 12)


@dataclass(frozen=True)
class WindowProgress:
    """How far work is.

    Attributes:
        done: how many steps are done.
        total: of how many; 0 if unknown.
        cancel: ends it; None where that is not possible.
        tip: what that means.
    """

    done: int = 0
    total: int = 0
    cancel: Callable[[], None] | None = None
    tip: str = ""


class WindowStatus:
    """What one panel says in the status bar; nothing where there is no window."""

    def __init__(self) -> None:
        """Say nothing yet; widgets are made when work lasts long enough."""
        self._text = ""
        self._progress: WindowProgress | None = None
        self._row: _ProgressRow | None = None
        self._long = single_shot(_LONG_MS, self._show_row)

    def show(self, text: str, progress: WindowProgress | None = None) -> None:
        """Show a text, and the progress of work once it has lasted for a second.

        Args:
            text: for the user; an empty one leaves what others say.
            progress: of the work that is going on; None for none.
        """
        self._show_text(text)
        self._progress = progress
        if progress is None:
            self._long.stop()
            if self._row is not None:
                self._row.close()
                self._row = None
        elif self._row is not None:
            self._row.show(progress)
        elif not self._long.isActive():
            self._long.start()

    def close(self) -> None:
        """Take back what is shown."""
        self.show("")

    def _show_text(self, text: str) -> None:
        if text == self._text:
            return
        bar = _status_bar()  # looked for among all windows, which takes a while
        if bar is None:
            return
        if text:
            bar.showMessage(text)
        elif bar.currentMessage() == self._text:
            bar.clearMessage()
        self._text = text

    def _show_row(self) -> None:
        bar = _status_bar()
        if bar is not None and self._progress is not None:
            self._row = _ProgressRow(bar, self._cancel)
            self._row.show(self._progress)

    def _cancel(self) -> None:
        if self._progress is not None and self._progress.cancel is not None:
            self._progress.cancel()


class _ProgressRow:
    """A progress bar and Cancel at the right of the status bar."""

    def __init__(self, status_bar: Any, on_cancel: Callable[[], None]) -> None:
        self._status_bar = status_bar
        self._bar, self._button = qt.QProgressBar(), qt.QPushButton(_("Cancel"))
        self._bar.objectName, self._button.objectName = "SAMMed2DProgress", "SAMMed2DCancel"
        self._bar.setFixedSize(*_BAR_PX)
        self._bar.textVisible = False
        self._busy = BusyBar(self._bar)
        self._button.connect("clicked()", on_cancel)
        for widget in (self._bar, self._button):
            status_bar.addPermanentWidget(widget)
            widget.visible = True

    def show(self, progress: WindowProgress) -> None:
        """Show how far the work is."""
        if progress.total:
            self._busy.stop()
            self._bar.setRange(0, progress.total)
            self._bar.value = min(progress.done, progress.total)
            self._bar.visible = True
        elif not self._busy.is_moving:
            self._busy.start()
        self._button.visible = progress.cancel is not None
        self._button.toolTip = progress.tip

    def close(self) -> None:
        """Take the widgets away."""
        self._busy.stop()
        for widget in (self._bar, self._button):
            self._status_bar.removeWidget(widget)
            widget.deleteLater()


def _status_bar() -> Any:
    """The status bar of Slicer's window; None without a window."""
    window: Any = slicer.util.mainWindow()
    return window.statusBar() if window is not None else None
