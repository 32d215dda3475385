"""The keys of the effect and what they do: one table, for the shortcuts and for what tells the user of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from slicer.i18n import tr as _


class KeyTarget(Protocol):
    """What keys act on: the effect."""

    def accept(self) -> None:
        """Write what is shown to the segment."""

    def remove_last(self) -> None:
        """Take the last prompt back."""

    def on_propose(self, action: str) -> None:
        """Act on objects that the model proposes: "search_similar", "search_all", "take" or "refuse"."""

    def choose_tool(self, tool: str) -> None:
        """Choose what a click is taken for, one of `context.parameters`."""

    def take_candidate(self, steps: int) -> None:
        """Show a larger mask, for 1, or a smaller one, for -1."""


    def segment_whole(self) -> None:
        """Find the whole object of the slice that is accepted, or of an ROI."""

    def toggle_prompts(self) -> None:
        """Hide the prompts, or show them again."""

    def toggle_keys(self) -> None:
        """Show the sheet of keys, or hide it."""


@dataclass(frozen=True)
class KeyAction:
    """Keys that do the same.

    Attributes:
        keys: as Qt writes them, such as "Return" or "Ctrl+Z".
        call: what they do.
        text: the same for the user, in a few words.
        shown: how they are written for the user; empty: as Qt writes them.
    """

    keys: tuple[str, ...]
    call: Callable[[], None]
    text: str
    shown: str = ""


def key_actions(target: KeyTarget) -> list[KeyAction]:
    """All keys of the effect but Esc, in the order in which the user reads of them."""
    return [
        KeyAction(("Return", "Enter"), target.accept, _("accept what is shown"), "Enter"),
        # In slice views the key deletes a markup that the mouse is over, so it is no shortcut.
        KeyAction((), target.remove_last, _("take the last prompt back"), "Backspace"),
        KeyAction(("P",), partial(target.choose_tool, "positive"), _("points inside")),
        KeyAction(("N",), partial(target.choose_tool, "negative"), _("points outside")),
        KeyAction(("X",), partial(target.choose_tool, "box"), _("box")),
        KeyAction(("C",), partial(target.choose_tool, "scribble"), _("scribble: draw inside, or outside with Ctrl")),
        KeyAction(("O",), partial(target.choose_tool, "lasso"), _("lasso: draw around, or what is outside with Ctrl")),
        KeyAction(("L",), partial(target.take_candidate, 1), _("next larger mask")),
        KeyAction(("K",), partial(target.take_candidate, -1), _("next smaller mask")),
        KeyAction(("J",), partial(target.on_propose, "search_all"), _("propose all objects of this slice")),
        KeyAction(("M",), partial(target.on_propose, "search_similar"), _("find more objects like the accepted ones")),
        KeyAction(("A",), partial(target.on_propose, "take"), _("take the marked proposal")),
        KeyAction(("D",), partial(target.on_propose, "refuse"), _("refuse the marked proposal")),
        KeyAction(("E",), target.segment_whole, _("whole object, from this slice or an ROI")),
        KeyAction(("H",), target.toggle_prompts, _("hide or show the prompts")),
        KeyAction(("?", "F1"), target.toggle_keys, _("hide or show this sheet"), "? or F1"),
    ]


def mouse_gestures() -> list[tuple[str, str]]:
    """What the mouse does in a slice view: gestures and their meaning, for the user."""
    return [
        (_("Click"), _("a point on the structure")),
        (_("Ctrl+click"), _("a point where the mask goes too far")),
        (_("Drag"), _("a box around the structure; with Scribble or Lasso a line")),
        (_("Ctrl+drag"), _("with Scribble or Lasso: what is outside")),
        (_("Shift+wheel"), _("next larger, smaller mask")),
        (_("Ctrl+Shift"), _("held: the mask that a click would give at the mouse; a click gives it")),
    ]


def shortcuts(actions: Iterable[KeyAction]) -> dict[str, Callable[[], None]]:
    """What each key does, for `ExclusiveShortcuts`."""
    return {key: action.call for action in actions for key in action.keys}
