"""What the Segment Editor shows below its effects while this one is chosen."""

from __future__ import annotations

from slicer.i18n import tr as _


def help_html() -> str:
    """How prompts are given, and what the keys do."""
    return (
        "<html>"
        + _(
            "Clicks and boxes give a mask<br>.<ul>"
            "<li><b>Click</b> on the structure; <b>Ctrl+click</b> where the mask goes too far.</li>"
            "<li><b>Drag</b> a box around the structure; with <b>Scribble</b> a line in it, with <b>Lasso</b> one "
            "around it; with <b>Ctrl</b> what is outside.</li>"
            "<li>Prompts are markups: drag them, or point at one and press <b>Delete</b>.</li>"
            "<li>A click may mean a part or the whole: <b>K</b> and <b>L</b>, or <b>Shift+wheel</b>, show the "
            "next smaller and larger mask.</li>"
            "<li><b>Enter</b> accepts, <b>Esc</b> clears the prompts. <b>H</b> hides "
            "them, <b>?</b> shows all keys.</li></ul>"
            "Masking works as for other effects; other segments are protected until you say otherwise. "
            "After accepting, the next point or box begins another object; Ctrl+click, or choose its row under "
            "<b>Prompts</b> and move its prompts, to correct what was accepted. "
            "<b>Propose objects</b> shows what the model takes for objects, and a click takes one. "
            "With <b>New segment each time</b> each click begins an object, and <b>Find similar</b> proposes more. "
            "<b>Propagate</b> carries a segment from the slices that you have segmented to the others.<p>"
            "Not a medical device: every mask needs a look."
        )
        + "</html>"
    )
