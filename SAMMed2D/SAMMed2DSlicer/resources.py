"""Where the parts of the module lie that are not beside its code: forms, icons, and the library."""

from __future__ import annotations

import os
import sys

MODULE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def ui_path(name: str) -> str:
    """The file of a form, named without its suffix."""
    return os.path.join(MODULE_DIR, "Resources", "UI", name + ".ui")


def icon_path(name: str) -> str:
    """The file of an icon, named without its suffix."""
    return os.path.join(MODULE_DIR, "Resources", "Icons", name + ".png")


def tour_path(name: str) -> str:
    """The file of a picture of the tour, named without its suffix."""
    return os.path.join(MODULE_DIR, "Resources", "Tour", name + ".png")


def make_library_importable() -> None:
    """Let Python find the library where the extension is used from its source tree: beside the module's folder."""
    root = os.path.dirname(MODULE_DIR)
    if os.path.isdir(os.path.join(root, "SAMMed2DLib")) and root not in sys.path:
        sys.path.append(root)
