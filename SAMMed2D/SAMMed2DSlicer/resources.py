"""Where the files of the module lie that are no code: forms and icons."""

from __future__ import annotations

import os

MODULE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def ui_path(name: str) -> str:
    """The file of a form, named without its suffix."""
    return os.path.join(MODULE_DIR, "Resources", "UI", name + ".ui")


def icon_path(name: str) -> str:
    """The file of an icon, named without its suffix."""
    return os.path.join(MODULE_DIR, "Resources", "Icons", name + ".png")
