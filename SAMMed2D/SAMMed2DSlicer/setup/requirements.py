"""The packages that Slicer's Python does not bring, as Resources/requirements.txt names them."""

from __future__ import annotations

import os
import re
from functools import lru_cache

from SAMMed2DSlicer import resources

_PATH = os.path.join(resources.MODULE_DIR, "Resources", "requirements.txt")


@lru_cache(maxsize=1)
def oldest_torch() -> str:
    """The oldest version of PyTorch that is supported."""
    return specifiers()["torch"].removeprefix(">=")


def specifiers() -> dict[str, str]:
    """What versions are needed of each package, ">=2.1.2", by its name; nothing is imported or installed.

    Equal to what slicer.packaging reads, whose import would hold the window up when the effect is chosen first.
    """
    with open(_PATH, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    found = [re.fullmatch(r"([\w.-]+)\s*(.*)", line) for line in lines if line]
    return {match[1]: match[2] for match in found if match}


def specifier_to_install(package: str) -> str:
    """What versions of a package may be installed, ">=2.1.2", as slicer.packaging reads it where it is there.

    Only for an installation, which a user has asked for: see `specifiers`.
    """
    try:
        from slicer.packaging import load_requirements
    except ImportError:  # before Slicer 5.11
        return specifiers()[package]
    return next(str(wanted.specifier) for wanted in load_requirements(_PATH) if wanted.name == package)
