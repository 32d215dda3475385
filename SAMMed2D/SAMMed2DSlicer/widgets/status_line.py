"""The one line of a panel that says what is going on, with a bar and Cancel, or what was done last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.busy_bar import BusyBar
from SAMMed2DSlicer.widgets.timers import single_shot

# What is over sooner shows no bar: it would only flicker.
_SOON_MS = 300
# Names of work, the most important first: its text is shown, and Cancel is for it.
RUN, MODEL, ANSWER = "run", "model", "answer"
_WORKS = (RUN, MODEL, ANSWER)


@dataclass
class _Work:
    """Something that is going on: what to call it, how far it is (of `total`, 0: unknown), how to end it."""

    text: str
    cancel: Callable[[], None] | None
    tip: str
    done: int = 0
    total: int = 0
    is_shown: bool = False


class StatusLine:
    """A text of two lines, a thin bar, and Cancel; what was said goes when work begins, or the place changes."""

    def __init__(self) -> None:
        """Make the widgets; `widget` is to be put on top of a panel."""
        self.widget = slicer.util.loadUI(resources.ui_path("StatusLine"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.hint = ""
        self._text, self._level = "", messages.INFO
        self._holds: Callable[[], bool] | None = None
        self._place: Any = None
        self._is_settled = True  # whether what was said belongs to this place
        self._works: dict[str, _Work] = {}
        self._busy = BusyBar(self.ui.progressBar)
        self._soon = single_shot(_SOON_MS, self._show_work)
        self._settling = single_shot(_SOON_MS, self._settle)
        self.ui.cancelButton.connect("clicked()", self._cancel)
        self._show()

    @property
    def text(self) -> str:
        """What is shown."""
        return str(self.ui.statusLabel.text).replace(messages.BREAK, "")

    @property
    def said(self) -> str:
        """What was said last and still holds; empty for nothing."""
        return self._text

    @property
    def is_busy(self) -> bool:
        """Whether a bar is shown."""
        return any(work.is_shown for work in self._works.values())

    # What is said

    def say(self, text: str, level: str = messages.INFO, holds: Callable[[], bool] | None = None) -> None:
        """Say what has happened; it holds until `be_at` tells of another place.

        What happens often changes the place, too, which is told a moment later: that is then the place of it.

        Args:
            text: one line for the user.
            level: one of `messages`.
            holds: tells whether it is still so, where that can end at the same place; asked by `be_at`.
        """
        self._text, self._level, self._is_settled, self._holds = text, level, False, holds
        self._settling.start()
        self._show()
        if level != messages.INFO:
            self.bring_into_sight()

    def be_at(self, place: Any) -> bool:
        """Work goes on at a place, any value: what was said of another one is no longer true. Tells if it is new."""
        # What was said before anybody told of a place is of the first one.
        is_new, was_settled = self._place is not None and place != self._place, self._is_settled
        self._place, self._is_settled = place, True
        is_over = self._holds is not None and not self._holds()
        if not is_over and (not is_new or not was_settled):
            return False
        self._text, self._level, self._holds = "", messages.INFO, None
        self._show()
        return True

    def _settle(self) -> None:
        self._is_settled = True

    def suggest(self, hint: str) -> None:
        """What to do next, where nothing else is to be said."""
        if hint != self.hint:
            self.hint = hint
            self._show()

    # What is going on

    def begin(
        self, name: str, text: str, cancel: Callable[[], None] | None = None, tip: str = "", *, soon: bool = False
    ) -> None:
        """Show that something is going on; what was said before goes.

        Args:
            name: RUN, MODEL or ANSWER; work of the same name is replaced.
            text: one line for the user.
            cancel: what Cancel does.
            tip: what Cancel says that it does.
            soon: it is probably over in a moment; nothing is shown until then.
        """
        self._works[name] = _Work(text, cancel, tip)
        if soon:
            self._soon.start()
        else:
            self._show_work()

    def go_on(self, name: str, text: str, done: int = 0, total: int = 0) -> None:
        """Show how far it is; nothing, if it is over.

        Args:
            name: as given to `begin`.
            text: one line for the user.
            done: how much is done.
            total: of how much; 0 where that is unknown.
        """
        work = self._works.get(name)
        if work is not None:
            work.text, work.done, work.total = text, done, total
            self._show()

    def is_going_on(self, name: str) -> bool:
        """Whether it has begun and not ended."""
        return name in self._works

    def end(self, name: str) -> None:
        """It is over."""
        if self._works.pop(name, None) is not None:
            self._show()

    def bring_into_sight(self) -> None:
        """Scroll the panel, if the text is not to be seen, or not all of it."""
        widget, label = self.widget, self.ui.statusLabel
        if not widget.isVisible() or label.visibleRegion().boundingRect().height() >= label.height:
            return
        parent = widget.parentWidget()
        while parent is not None and not parent.inherits("QScrollArea"):
            parent = parent.parentWidget()
        if parent is not None:
            parent.ensureWidgetVisible(widget, 0, 4)

    def close(self) -> None:
        """Nothing goes on any more."""
        self._soon.stop()
        self._settling.stop()
        self._works.clear()
        self._text, self._holds, self._place = "", None, None
        self._show()

    # Showing

    def _show_work(self) -> None:
        """Show what goes on; what was said before is over, unless it was said meanwhile."""
        fresh = [work for work in self._works.values() if not work.is_shown]
        for work in fresh:
            work.is_shown = True
        if fresh:
            self._text, self._level = "", messages.INFO
        self._show()

    def _cancel(self) -> None:
        work = self._first()
        if work is not None and work.cancel is not None:
            work.cancel()

    def _first(self) -> _Work | None:
        """The work that is shown."""
        return next((self._works[name] for name in _WORKS if name in self._works and self._works[name].is_shown), None)

    def _show(self) -> None:
        work = self._first()
        text = self._text if work is None else " ".join(filter(None, (work.text, self._text)))
        messages.show(self.ui.statusLabel, text or self.hint, self._level)
        self.ui.statusLabel.visible = True  # keeps its place: the panel must not jump
        self._show_bar(work)
        self.ui.cancelButton.visible = work is not None and work.cancel is not None
        self.ui.cancelButton.toolTip = work.tip if work is not None else ""

    def _show_bar(self, work: _Work | None) -> None:
        bar = self.ui.progressBar
        if work is None:
            self._busy.stop()
        elif work.total:
            self._busy.stop()
            bar.setRange(0, work.total)
            bar.value = min(work.done, work.total)
            bar.visible = True
        elif not self._busy.is_moving:
            self._busy.start()


def running_text(text: str, done: int, total: int) -> str:
    """What is going on, with how many slices are done.

    Args:
        text: what is going on.
        done: how many slices are done.
        total: of how many; 0 where that is unknown, which gives the text alone.
    """
    if not total:
        return text
    return _("{text} {done} of {total} slices").format(text=text, done=f"{done:,}", total=f"{total:,}")
