"""The three places that describe the extension to others, each read the way that its readers read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "SAMMed2D"

S4EXT_FIELDS = (
    *("scm", "scmurl", "scmrevision", "depends", "recommends", "build_subdirectory", "homepage", "contributors"),
    *("category", "iconurl", "description", "screenshoturls", "enabled", "status", "tier"),
    *("dicom_support_rule", "keywords"),
)

# Slicer's schema 1.0.2 of catalogue entries: the type of each property, and which must be there.
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
JSON_PROPERTIES = {
    "$schema": str,
    "category": str,
    "scm_url": str,
    "scm_revision": str,
    "scm_type": str,
    "build_dependencies": list,
    "dicom_support_rule": str,
    "build_subdirectory": str,
    "enabled": bool,
    "tier": int,
}
JSON_REQUIRED = {"$schema", "category", "scm_url"}


def cmake_text(root: Path = ROOT) -> str:
    """The top CMakeLists.txt."""
    return (root / "CMakeLists.txt").read_text(encoding="utf-8")


def cmake_project(text: str) -> str:
    """The first thing in the text that looks like a project, in comments too: so the index finds the name."""
    found = re.search(r"project\s*\(\s*([^\s)]+)", text, re.IGNORECASE)
    return found.group(1).strip("\"'") if found else ""


def cmake_metadata(text: str) -> dict[str, list[str]]:
    """All values that each EXTENSION_ variable is set to as one quoted literal, the only form the index reads.

    Returns:
        By the variable's name without its beginning, in small letters.
    """
    values: dict[str, list[str]] = {}
    for name, value in re.findall(r'set\s*\(EXTENSION_(\w+)\s*"([^"]+)"\)', text, re.IGNORECASE):
        values.setdefault(name.lower(), []).append(value)
    return values


def s4ext_fields(root: Path = ROOT) -> list[tuple[str, str]]:
    """Keyword and value of each line that is no comment."""
    lines = (root / f"{NAME}.s4ext").read_text(encoding="utf-8").splitlines()
    parts = (line.partition(" ") for line in lines if line.strip() and not line.startswith("#"))
    return [(keyword, value.strip()) for keyword, _, value in parts]


def json_entry(root: Path = ROOT) -> dict[str, object]:
    """The entry for the catalogue of the Extensions Index."""
    entry: dict[str, object] = json.loads((root / "Resources" / f"{NAME}.json").read_text(encoding="utf-8"))
    return entry
