"""What the propagation panel says along slices, and along time."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.propagation.time_axis import TimeAxis


def hint(axis_type: type[SliceAxis | TimeAxis]) -> str:
    """What the user has to do first."""
    if axis_type is TimeAxis:
        return _("Segment the object in two or three frames first, each time on all its slices.")
    return _("Segment two or three slices first; they are the keyframes.")


def of_slices(ui: Any) -> dict[str, tuple[str, str]]:
    """Text and tool tip, along slices, of the widgets in `_time_texts`; no text where that has none."""
    return {
        name: (getattr(ui, name).text if text else "", getattr(ui, name).toolTip)
        for name, (text, _tip) in of_time().items()
    }


def of_time() -> dict[str, tuple[str, str]]:
    """Text and tool tip, along time, of widgets by name; no text for those that have none."""
    return {
        "downButton": (_("Earlier"), _("Fill the frames before the last keyframe.")),
        "bothButton": (_("Both ways"), _("Fill the frames between the keyframes, before and after them.")),
        "upButton": (_("Later"), _("Fill the frames after the first keyframe.")),
        "worstButton": (_("Worst frame"), _("Show the propagated frame that is least sure.")),
        "keyframeButton": (_("Next keyframe"), _("Show the next keyframe; after the last one, the first.")),
        "clearSliceButton": (
            _("Clear frame"),
            _(
                "Take the segment out of the frame shown, on all slices. It is no keyframe then, and the next "
                "propagation fills it anew. (A propagated frame that you erase by hand says instead that the object is "
                "not there.)"
            ),
        ),
        "undoButton": (
            _("Undo"),
            _("Take the last propagation along time, or cleared frame, back in all frames but those changed since."),
        ),
        "firstLabel": (_("Frames:"), ""),
        "lastLabel": (_("to"), ""),
        "everyLabel": (_("every"), ""),
        "firstSpinBox": ("", _("Earliest frame to fill, counted from 1.")),
        "lastSpinBox": ("", _("Latest frame to fill, counted from 1.")),
        "everySpinBox": (
            "",
            _("Every n-th frame is found; those between are interpolated, which is faster."),
        ),
        "allCheckBox": (
            _("All visible segments"),
            _("Propagate every visible segment that is drawn in some frame, not only the selected one."),
        ),
        "keyframeComboBox": ("", _("The frames that you have segmented or corrected. Choose one to see it.")),
        "stripLabel": (
            "",
            _(
                "The frames from the first to the last; click to see one. White bars: keyframes, which stay as they "
                "are; hollow: emptied ones. From blue to yellow: how sure a propagated frame is. Grey: nothing there. "
                "Red, below: the frame shown."
            ),
        ),
    }
