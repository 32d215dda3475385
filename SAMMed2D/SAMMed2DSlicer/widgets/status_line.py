"""The status line of a panel: what is going on, with a progress bar and Cancel, or the last message."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.widgets import messages
from SAMMed2DSlicer.widgets.busy_bar import BusyBar
from SAMMed2DSlicer.widgets.scrolling import scroll_into_view
from SAMMed2DSlicer.widgets.timers import single_shot
from SAMMed2DSlicer.widgets.window_status import WindowProgress, WindowStatus

# Work that ends sooner shows no bar, which would flicker.
_SOON_MS = 300
# Kinds of work. If several go on, the first of them is shown, and Cancel is for it.
PROPAGATION, PROPOSALS, MODEL_LOADING, PREDICTION = "run", "proposals", "model", "answer"
_WORKS = (PROPAGATION, PROPOSALS, MODEL_LOADING, PREDICTION)
# Dark to light, from the masks that need a look to those that do not: colour-blind readers tell them apart, too.
_GRADE_COLORS = {"check": "#283ca0", "fair": "#a0788c", "good": "#fadc3c"}
_NO_GRADE = "#8c8c8c"
_SCORE_STYLE = (
    "QProgressBar {{ border: 1px solid #808080; background-color: #ffffff; }}"
    "QProgressBar::chunk {{ background-color: {color}; }}"
)


@dataclass
class _Work:
    """Work that is going on: its text, its progress (`total` 0: unknown), and what Cancel does."""

    text: str
    cancel: Callable[[], None] | None
    tip: str
    done: int = 0
    total: int = 0
    is_shown: bool = False


@dataclass(frozen=True)
class MaskScore:
    """The score of a mask that is shown.

    Attributes:
        value: the IoU that the mask probably has.
        grade: "good", "fair" or "check"; None for a model whose scores are not calibrated.
    """

    value: float
    grade: str | None = None

    @property
    def word(self) -> str:
        """The grade for the user; empty without one."""
        return {"good": _("good"), "fair": _("fair"), "check": _("check this")}.get(self.grade or "", "")

    @property
    def share(self) -> float:
        """The value, 0 .. 1."""
        return 0.0 if math.isnan(self.value) else min(max(self.value, 0.0), 1.0)

    @property
    def tip(self) -> str:
        """What the bar means."""
        share = f"{self.share:.2f}"
        if self.grade is None:
            text = _("The model expects an overlap of {share} with the true outline (1 is all); it may be far off.")
            return text.format(share=share)
        meanings = {
            "good": _("Nearly all masks that are called good need little correction."),
            "fair": _("Of the masks that are called fair, more than half need little correction."),
            "check": _("Many masks with such a score are wrong: look at the outline, and add a click."),
        }
        text = _("Masks like this one overlap with the true outline by {share} on average (1 is all). {meaning}")
        return text.format(share=share, meaning=meanings[self.grade])


class ScoreBar:
    """Shows a score in a QProgressBar; what it means is the tool tip, also of the text beside it."""

    def __init__(self, bar: Any, label: Any) -> None:
        """Hide the bar until `show`."""
        self._bar, self._label = bar, label
        self._shown: MaskScore | None = None
        bar.setRange(0, 100)
        bar.visible = False

    def show(self, score: MaskScore | None) -> None:
        """Show a score; None shows nothing."""
        if score == self._shown:
            return
        self._shown, bar = score, self._bar
        bar.visible = score is not None
        self._label.toolTip = "" if score is None else score.tip
        if score is None:
            return
        bar.value = round(100 * score.share)
        bar.toolTip = score.tip
        color = _GRADE_COLORS.get(score.grade or "", _NO_GRADE)
        bar.styleSheet = _SCORE_STYLE.format(color=color)


class StatusLine:
    """A text of two lines, a thin bar, and Cancel; Slicer's status bar says the same.

    A message is shown until work begins, or until the context changes: what the user works on.

    Attributes:
        widget: the caller puts it on top of a panel.
        hint: shown while there is no message and no work.
    """

    def __init__(self) -> None:
        """Make the widgets."""
        self.widget = slicer.util.loadUI(resources.ui_path("StatusLine"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.hint = ""
        self._text, self._level = "", messages.INFO
        self._shown_text: tuple[str, str] | None = None  # with its level, as the label has it
        self._score: MaskScore | None = None
        self._is_valid: Callable[[], bool] | None = None
        self._context: Any = None
        self._is_settled = True  # whether the message belongs to this context
        self._lasts = False  # whether it holds in others, too
        self._works: dict[str, _Work] = {}
        self._busy = BusyBar(self.ui.progressBar)
        self._window = WindowStatus()
        self._has_bar = False
        self._score_bar = ScoreBar(self.ui.scoreBar, self.ui.statusLabel)
        self._soon = single_shot(_SOON_MS, self._show_work)
        self._settling = single_shot(_SOON_MS, self._settle)
        self.ui.cancelButton.connect("clicked()", self._cancel)
        self._show()

    @property
    def text(self) -> str:
        """The text that is shown."""
        return str(self.ui.statusLabel.text).replace(messages.ZERO_WIDTH_SPACE, "")

    @property
    def message(self) -> str:
        """The last message that is still valid; empty for none."""
        return self._text

    @property
    def is_busy(self) -> bool:
        """Whether a bar is shown."""
        return any(work.is_shown for work in self._works.values())

    # Messages

    def show_message(
        self,
        text: str,
        level: str = messages.INFO,
        is_valid: Callable[[], bool] | None = None,
        score: MaskScore | None = None,
        *,
        lasts: bool = False,
    ) -> None:
        """Show a message until `set_context` is called with another context.

        What a message reports often changes the context, too. So the first call of `set_context` within `_SOON_MS` sets
        the context of the message and does not end it.

        Args:
            text: one line for the user.
            level: INFO, WARNING or ERROR of `messages`.
            is_valid: whether the message is still true, if that can end in the same context; called by `set_context`.
            score: of the mask that the text is about, for the short bar.
            lasts: whether it holds in other contexts, too, until there is another message, or work.
        """
        self._text, self._level, self._is_settled, self._is_valid = text, level, False, is_valid
        self._score, self._lasts = score, lasts
        self._settling.start()
        self._show()
        if level != messages.INFO:
            self.ensure_visible()

    def set_context(self, context: Any) -> bool:
        """Tell what the user works on, any value; drops the message of another context.

        Returns:
            Whether a message was dropped.
        """
        # A message from before the first call belongs to the first context.
        is_new, was_settled = self._context is not None and context != self._context, self._is_settled
        self._context, self._is_settled = context, True
        is_over = self._is_valid is not None and not self._is_valid()
        if not is_over and (self._lasts or not is_new or not was_settled):
            return False
        self._text, self._level, self._is_valid, self._score = "", messages.INFO, None, None
        self._show()
        return True

    def show_in_context(
        self, context: Any, text: str, level: str, is_new: bool, score: MaskScore | None = None
    ) -> bool:
        """Work goes on in a context: show a message there, if it or the context is new. Tells whether it was shown.

        Args:
            context: as for `set_context`.
            text: one line for the user.
            level: one of `messages`.
            is_new: whether it is to be shown also if the context is the same.
            score: as for `show_message`.
        """
        if not (self.set_context(context) or is_new):
            return False
        self.show_message(text, level, score=score)
        self.set_context(context)
        return True

    def _settle(self) -> None:
        self._is_settled = True

    def set_hint(self, hint: str) -> None:
        """Show what to do next, while there is no message and no work."""
        if hint != self.hint:
            self.hint = hint
            self._show()

    # Work

    def begin(
        self, name: str, text: str, cancel: Callable[[], None] | None = None, tip: str = "", *, soon: bool = False
    ) -> None:
        """Show work that has begun; drops the message.

        Args:
            name: PROPAGATION, PROPOSALS, MODEL_LOADING or PREDICTION; work of the same name is replaced.
            text: one line for the user.
            cancel: what Cancel does.
            tip: tool tip of Cancel.
            soon: whether it probably ends within `_SOON_MS`; it is shown only after that time.
        """
        self._works[name] = _Work(text, cancel, tip)
        if soon:
            self._soon.start()
        else:
            self._show_work()

    def update(self, name: str, text: str, done: int = 0, total: int = 0) -> None:
        """Show the progress of work; does nothing if it has ended.

        Args:
            name: as given to `begin`.
            text: one line for the user.
            done: how many steps are done.
            total: of how many; 0 if unknown.
        """
        work = self._works.get(name)
        if work is not None:
            work.text, work.done, work.total = text, done, total
            self._show()

    def is_working(self, name: str) -> bool:
        """Whether work of this name has begun and not ended."""
        return name in self._works

    def end(self, name: str) -> None:
        """Show that work has ended."""
        if self._works.pop(name, None) is not None:
            self._show()

    def ensure_visible(self) -> None:
        """Scroll the panel if the text is not, or not fully, visible."""
        widget, label = self.widget, self.ui.statusLabel
        if not widget.isVisible() or label.visibleRegion().boundingRect().height() >= label.height:
            return
        scroll_into_view(widget)

    def close(self) -> None:
        """Drop all work and the message, and stop the timers."""
        self._soon.stop()
        self._settling.stop()
        self._works.clear()
        self._text, self._is_valid, self._context, self._score, self._lasts = "", None, None, None, False
        self._show()

    # Showing

    def _show_work(self) -> None:
        """Show work that has begun; drops an older message."""
        fresh = [work for work in self._works.values() if not work.is_shown]
        for work in fresh:
            work.is_shown = True
        if fresh:
            self._text, self._level, self._score, self._lasts = "", messages.INFO, None, False
        self._show()

    def _cancel(self) -> None:
        work = self._shown_work()
        if work is not None and work.cancel is not None:
            work.cancel()

    def _shown_work(self) -> _Work | None:
        """The work that is shown."""
        return next((self._works[name] for name in _WORKS if name in self._works and self._works[name].is_shown), None)

    def _show(self) -> None:
        work = self._shown_work()
        text = self._text if work is None else " ".join(filter(None, (work.text, self._text)))
        shown = (text or self.hint, self._level)
        if shown != self._shown_text:
            self._shown_text = shown
            messages.show(self.ui.statusLabel, *shown)
            self.ui.statusLabel.visible = True  # keeps its height: the panel must not jump
        self._show_bar(work)
        self._window.show(text, None if work is None else WindowProgress(work.done, work.total, work.cancel, work.tip))
        self._score_bar.show(self._score if work is None else None)
        self.ui.cancelButton.visible = work is not None and work.cancel is not None
        self.ui.cancelButton.toolTip = work.tip if work is not None else ""

    def _show_bar(self, work: _Work | None) -> None:
        bar = self.ui.progressBar
        if work is None:
            if self._has_bar:
                self._busy.stop()
        elif work.total:
            self._busy.stop()
            bar.setRange(0, work.total)
            bar.value = min(work.done, work.total)
            bar.visible = True
        elif not self._busy.is_moving:
            self._busy.start()
        self._has_bar = work is not None


def running_text(text: str, done: int, total: int) -> str:
    """A text with its progress, for the user: "Propagating... 3 of 20 slices".

    Args:
        text: what is going on.
        done: how many slices are done.
        total: of how many; 0 if unknown, which gives the text alone.
    """
    if not total:
        return text
    return _("{text} {done} of {total} slices").format(text=text, done=f"{done:,}", total=f"{total:,}")
