"""How good a mask probably is: a word, a short bar, and what they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

# Dark to light, from the masks that need a look to those that do not: colour-blind readers tell them apart, too.
_COLORS = {"check": "#283ca0", "fair": "#a0788c", "good": "#fadc3c"}
_NO_GRADE = "#8c8c8c"
_STYLE = (
    "QProgressBar {{ border: 1px solid #808080; background-color: #ffffff; }}"
    "QProgressBar::chunk {{ background-color: {color}; }}"
)


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
            text = _("The model expects an overlap (IoU) of {share} with the true outline; it may be far off.")
            return text.format(share=share)
        meanings = {
            "good": _("Nearly all masks that are called good need little correction."),
            "fair": _("Of the masks that are called fair, more than half need little correction."),
            "check": _("Many masks with such a score are wrong: look at the outline, and add a click."),
        }
        text = _("Masks like this one overlap with the true outline by {share} on average (IoU). {meaning}")
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
        color = _COLORS.get(score.grade or "", _NO_GRADE)
        bar.styleSheet = _STYLE.format(color=color)
