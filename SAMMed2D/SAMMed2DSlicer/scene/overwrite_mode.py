"""Whether other segments give way to what the effect writes.

Slicer's own default, "Overwrite all", lets them give way. The effect protects them, by an option of its own, until the
user chooses something in the Segment Editor's section *Masking*: the last choice holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene.volumes import SceneError

# Parameters of the effect: whether other segments are protected, and Masking's choice when that was decided.
PROTECT, MASKING_SEEN = "ProtectOthers", "MaskingSeen"
# What Slicer begins with ("Overwrite all") is nobody's choice.
DEFAULTS = {PROTECT: 1, MASKING_SEEN: 0}


def segment_editor_node(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> slicer.vtkMRMLSegmentEditorNode:
    """What is chosen in the effect's Segment Editor.

    Raises:
        SceneError: the editor is not set up, or goes.
    """
    node = effect.parameterSetNode()
    if node is None:
        raise SceneError(_("The Segment Editor is closed: open it again."))
    return node


def apply_masking_choice(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> None:
    """Protect no longer, once the user has chosen in *Masking* that other segments give way.

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


@contextmanager
def overwriting_disabled(effect: slicer.qSlicerSegmentEditorScriptedEffect) -> Iterator[None]:
    """Let no other segment give way; the user's choice in the parameter node is the same before and after."""
    node = segment_editor_node(effect)
    chosen, modifying = node.GetOverwriteMode(), node.StartModify()
    node.SetOverwriteMode(node.OverwriteNone)
    try:
        yield
    finally:
        node.SetOverwriteMode(chosen)
        node.EndModify(modifying)
