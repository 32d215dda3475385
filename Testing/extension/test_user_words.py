"""What users read in panels, tool tips and messages has no words that only makers of networks know."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "SAMMed2D"
JARGON = re.compile(
    r"\biou\b|logit|embedding|\bencod|\bdecod|tensor|checkpoint|inference|prompt group|labelmap_|\bmrml|state.?dict|"
    r"forward pass|low.res|backbone|\bepoch",
    re.IGNORECASE,
)
SHOWN = {"text", "toolTip", "title", "windowTitle", "specialValueText", "placeholderText", "statusTip"}


def translated(source: str) -> Iterator[str]:
    """The texts that a Python file hands to `_`, which is all that users read."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_" and node.args:
            yield ast.literal_eval(node.args[0])


def of_form(source: str) -> Iterator[str]:
    """The texts that a .ui file shows."""
    for prop in ElementTree.fromstring(source).iter("property"):
        if prop.get("name") in SHOWN:
            yield prop.findtext("string") or ""


def all_texts() -> dict[str, list[str]]:
    found = {}
    for path in sorted(MODULE.rglob("*.py")):
        found[path.name] = list(translated(path.read_text(encoding="utf-8")))
    for path in sorted(MODULE.rglob("*.ui")):
        found[path.name] = list(of_form(path.read_text(encoding="utf-8")))
    return found


def test_the_texts_are_found():
    texts = all_texts()
    assert "Inside" in texts["SAMMed2DEffect.ui"] and any("Cancelled" in text for text in texts["controller.py"])
    assert sum(map(len, texts.values())) > 300


def test_no_text_for_users_has_jargon():
    found = {file: [text for text in texts if JARGON.search(text)] for file, texts in all_texts().items()}
    assert {file: texts for file, texts in found.items() if texts} == {}


def test_jargon_is_recognised():
    for text in ("predicted IoU 0.51", "the logits", "Encoding the slice", "An embedding", "a checkpoint"):
        assert JARGON.search(text), text
    assert not JARGON.search("Enter accepts, Esc clears.")
