"""Whether the effect may overwrite other segments.

Slicer's default is "Overwrite all". The effect protects other segments, by an option of its own, until the user chooses
an overwrite mode in the Segment Editor's section *Masking*: of the two, the last choice counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError

# Parameters of the effect: whether other segments are protected, and the overwrite mode when that was decided.
PROTECT, MASKING_SEEN = "ProtectOthers", "MaskingSeen"
# Slicer's default ("Overwrite all") is not a choice of the user.
DEFAULTS = {PROTECT: 1, MASKING_SEEN: 0}


def segment_editor_node(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> slicer.vtkMRMLSegmentEditorNode:
    """The parameter set node of the effect's Segment Editor.

    Raises:
        SceneError: the editor is not set up, or is being closed.
    """
    node = effect.parameterSetNode()
    if node is None:
        raise SceneError(_("The Segment Editor is closed: open it again."))
    return node


def apply_masking_choice(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
    """Stop protecting other segments once the user has chosen in *Masking* to overwrite them.

    Args:
        effect: the qSlicerSegmentEditorScriptedEffect.
    """
    node = segment_editor_node(effect)
    mode = node.GetOverwriteMode()
    if mode == effect.integerParameter(MASKING_SEEN):
        return
    effect.setParameter(MASKING_SEEN, mode)
    if mode != node.OverwriteNone:
        effect.setParameter(PROTECT, 0)


def protects_others(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> bool:
    """Whether the effect protects other segments, whatever *Masking* says."""
    return bool(effect.integerParameter(PROTECT))


def overwrites(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> bool:
    """Whether voxels that are written are taken from other segments."""
    node = segment_editor_node(effect)
    return node.GetOverwriteMode() != node.OverwriteNone and not protects_others(effect)


def rule_text(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> str:
    """What becomes of other segments where the selected one is written, for the user."""
    node = segment_editor_node(effect)
    if protects_others(effect):
        return _("Protect other segments (they may overlap)")
    rules = {
        node.OverwriteAllSegments: _("Protect other segments (off: all give way)"),
        node.OverwriteVisibleSegments: _("Protect other segments (off: visible ones give way)"),
    }
    return rules.get(node.GetOverwriteMode(), _("Protect other segments (off, but Masking lets them overlap)"))


@contextmanager
def overwriting_disabled(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> Iterator[None]:
    """Set the overwrite mode to none inside a with block; restores the user's choice after it."""
    node = segment_editor_node(effect)
    chosen, modifying = node.GetOverwriteMode(), node.StartModify()
    node.SetOverwriteMode(node.OverwriteNone)
    try:
        yield
    finally:
        node.SetOverwriteMode(chosen)
        node.EndModify(modifying)
