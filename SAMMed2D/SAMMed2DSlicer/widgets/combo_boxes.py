"""What can be chosen from lists, in the user's words; and filling combo boxes with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from SAMMed2DSlicer.inference.service import Engine
from SAMMed2DSlicer.scene import volumes


def intensity_names() -> dict[str, str]:
    """What the model can see of a slice."""
    return {
        volumes.WINDOW: _("Window/level of the volume"),
        volumes.PERCENTILES: _("Automatic: 0.5 to 99.5 % of each slice"),
        volumes.FULL_RANGE: _("Full range of each slice"),
    }


def zoom_names() -> dict[str, str]:
    """Whether the model looks at crops."""
    return {"auto": _("Automatic: as the model was trained"), "on": _("On"), "off": _("Off")}


def overwrite_names() -> dict[str, str]:
    """Whether other segments give way."""
    return {
        "none": _("Keep them: segments may overlap"),
        "visible": _("Visible ones give way"),
        "all": _("All give way"),
    }


def device_names(engine: Engine) -> dict[str, str]:
    """Where a model can run: what is there, as far as that is known before PyTorch is loaded, and what is chosen."""
    names = {"auto": _("Automatic"), "cpu": _("Processor (CPU)")}
    if engine.state.is_ready and "torch" in sys.modules:
        from SAMMed2DLib.inference.devices import available_devices

        names |= {name: f"{what} ({name})" for name, what in available_devices().items() if name != "cpu"}
    names.setdefault(engine.choice.device, engine.choice.device)
    return names


def model_names(engine: Engine) -> dict[str, str]:
    """The models that are installed, and the one that is chosen."""
    from SAMMed2DLib.registry.store import stored_models

    known = {model.name: model for model in stored_models()}
    names = {name: model.title if model.entry else name for name, model in known.items() if model.is_installed}
    chosen = engine.choice.model
    if chosen in known and chosen not in names:
        names[chosen] = _("{title} (not installed)").format(title=known[chosen].title)
    names.setdefault(chosen, os.path.basename(chosen))
    return names


def fill(box: Any, names: Mapping[str, str], value: str) -> None:
    """Show these items in a combo box, and choose one by its value, without telling anyone."""
    blocked = box.blockSignals(True)
    if [(box.itemData(n), box.itemText(n)) for n in range(box.count)] != list(names.items()):
        box.clear()
        for one, text in names.items():
            box.addItem(text, one)
    box.setCurrentIndex(box.findData(value))
    box.blockSignals(blocked)


def chosen(box: Any) -> str:
    """The value of the item that a combo box shows; empty if it shows none."""
    return box.itemData(box.currentIndex) or ""
