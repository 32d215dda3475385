"""Registers the effect with the Segment Editor, and sample data with Sample Data."""

from __future__ import annotations

import logging
import os

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.resources import MODULE_DIR
from SAMMed2DSlicer.scene.slice_views import slice_widgets

EFFECT_NAME = "SAM-Med2D"
_EFFECT_FILE = os.path.join(MODULE_DIR, "SegmentEditorSAMMed2DLib", "SegmentEditorEffect.py")
SAMPLE_CATEGORY = "SAMMed2D"
# Data sets that Slicer itself offers: name, node's name, file's name, SHA256, by which Slicer's data store names files.
_CHEST = "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e"
_HEAD = "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"
_TUMOR = "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"
_SAMPLES = (
    ("CT chest", "CTChest", "CT-chest.nrrd", _CHEST),
    ("MR head", "MRHead", "MR-head.nrrd", _HEAD),
    ("MR brain tumor", "MRBrainTumor1", "RegLib_C01_1.nrrd", _TUMOR),
)


def register_effect() -> bool:
    """Register the effect with the Segment Editor, unless it is registered.

    Returns:
        Whether it was registered now.
    """
    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
    if any(effect.name == EFFECT_NAME for effect in factory.registeredEffects()):
        return False
    effect = slicer.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(_EFFECT_FILE.replace("\\", "/"))
    if effect.self() is None:  # the reason is in the Python console
        logging.error("SAMMed2D: the Segment Editor effect could not be loaded")
        return False
    effect.self().register()
    return True


def open_segment_editor(
    volume: slicer.vtkMRMLScalarVolumeNode | None = None,
    segmentation: slicer.vtkMRMLSegmentationNode | None = None,
    segment_id: str = "",
) -> None:
    """Open the Segment Editor with the effect active; what is not given is left to the editor.

    Args:
        volume: to edit on.
        segmentation: to edit.
        segment_id: of the segment to select.
    """
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.SegmentEditorWidget.editor
    if segmentation is not None:
        editor.setSegmentationNode(segmentation)
    if volume is not None:
        editor.setSourceVolumeNode(volume)
    if segment_id:
        editor.setCurrentSegmentID(segment_id)
    editor.setActiveEffectByName(EFFECT_NAME)


def propose_objects(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str, view: str
) -> None:
    """Open the Segment Editor with the effect, which proposes all objects of a slice there.

    Args:
        volume: the image.
        segmentation: to edit.
        segment_id: of the segment that takes what the user takes.
        view: the name of the slice view that shows the slice.
    """
    open_segment_editor(volume, segmentation, segment_id)
    active = slicer.modules.SegmentEditorWidget.editor.activeEffect()
    controller = active.self().controller if active is not None and active.name == EFFECT_NAME else None
    if controller is None:  # the editor has said why
        return
    if view in slice_widgets():
        controller.view_entered(slice_widgets()[view])
    controller.proposer.search_all()


def register_sample_data() -> None:
    """Register data sets to try the module on."""
    try:
        import SampleData
    except ImportError:  # an application without it
        return
    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # from Slicer 5.12 on
        logic.registerCustomSampleDataCategory(SAMPLE_CATEGORY, title=_("SAMMed2D"))
    for name, node, file, checksum in _SAMPLES:
        logic.registerCustomSampleDataSource(
            category=SAMPLE_CATEGORY,
            sampleName=name,
            uris=f"{slicer.util.TESTING_DATA_URL}SHA256/{checksum}",
            fileNames=file,
            nodeNames=node,
            checksums=f"SHA256:{checksum}",
        )
