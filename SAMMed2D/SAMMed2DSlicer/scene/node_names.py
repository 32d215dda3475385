"""Names of nodes that are safe to save."""

from __future__ import annotations

import re

# A node's file is named after it. Slicer writes file names into the scene without escaping "&", and such a scene never
# opens again; the others are no characters of XML, or of file names on some system.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f&<>\"'`/\\:*?|%]+")


def safe_name(text: str) -> str:
    """What to call a node after a text of the user's, such as the name of a segment; what is shown keeps the text."""
    return _UNSAFE.sub("_", text)
