"""Items of combo boxes: their texts by value, filling a box, and reading it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.scene import volumes


def intensity_names() -> dict[str, str]:
    """Texts of the intensity rules, by `volumes.INTENSITIES`."""
    return {
        volumes.WINDOW: _("Window/level of the volume"),
        volumes.PERCENTILES: _("Automatic: 0.5 to 99.5 % of each slice"),
        volumes.FULL_RANGE: _("Full range of each slice"),
    }


def zoom_names() -> dict[str, str]:
    """Texts of the zoom modes, by `slice_task.ZOOMS`."""
    return {"auto": _("As the model was trained"), "on": _("On"), "off": _("Off")}


def overwrite_names() -> dict[str, str]:
    """Texts of the overwrite modes, by the values of `LogicTarget`."""
    return {
        "none": _("Keep them: segments may overlap"),
        "visible": _("Visible ones give way"),
        "all": _("All give way"),
    }


def candidate_names() -> dict[str, str]:
    """Texts of the masks that prompts may mean, by the values of `Parameters.candidate`."""
    return {"best": _("Automatic: the best one"), "1": _("1: the smallest one"), **{size: size for size in "2345"}}


def fill(box: Any, names: Mapping[str, str], value: str) -> None:
    """Show items in a combo box and select one of them, without emitting signals.

    Args:
        box: the QComboBox.
        names: the texts of the items, by their values.
        value: of the item to select.
    """
    blocked = box.blockSignals(True)
    if [(box.itemData(n), box.itemText(n)) for n in range(box.count)] != list(names.items()):
        box.clear()
        for name, text in names.items():
            box.addItem(text, name)
    box.setCurrentIndex(box.findData(value))
    box.blockSignals(blocked)


def current_value(box: Any) -> str:
    """The value of the item that a combo box shows; empty if it shows none."""
    return box.itemData(box.currentIndex) or ""
