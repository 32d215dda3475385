"""Work that a crash has left in a file: what is offered to the user, and how it comes back into the scene."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
from SAMMed2DLib.io.saved_work import SavedSegment, SavedWork, SavedWorkError, read_work
from SAMMed2DSlicer.prompts import prompt_nodes
from SAMMed2DSlicer.prompts.prompt_style import style_box, style_points
from SAMMed2DSlicer.recovery import recovery_files
from SAMMed2DSlicer.scene import segment_writer, segmentations, volumes
from SAMMed2DSlicer.scene.volumes import SceneError

_FIDUCIALS, _ROI = "vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsROINode"
_RESTORE, _DISCARD = "restore", "discard"
_MOST_NAMES = 4
_TOLD_MS = 15_000
_left_for_later: set[Path] = set()


def offer_left_work() -> None:
    """Ask about each file that a crash has left, and do what the user says; after "Later" not before the next start."""
    for path in recovery_files.left_files():
        if path in _left_for_later:
            continue
        try:
            work = read_work(path)
            answer = _ask(question_of(work))
        except (SavedWorkError, LookupError, TypeError, ValueError) as error:
            recovery_files.discard(path)
            slicer.util.warningDisplay(
                _("Work that was left by a crash cannot be restored: {error}.").format(error=error),
                windowTitle=_title(),
            )
            continue
        if answer == _DISCARD:
            recovery_files.discard(path)
        elif answer == _RESTORE:
            _restore_and_tell(path, work)
        else:
            _left_for_later.add(path)


def _restore_and_tell(path: Path, work: SavedWork) -> None:
    try:
        node = restore(work)
    except ValueError as error:
        slicer.util.warningDisplay(str(error), windowTitle=_title())
        return
    except (LookupError, TypeError) as error:
        text = _("Work that was left by a crash cannot be restored: {error}.")
        slicer.util.warningDisplay(text.format(error=error), windowTitle=_title())
        return
    recovery_files.discard(path)
    text = _("Restored as {name}: choose it as the segmentation to go on with it.")
    slicer.util.showStatusMessage(text.format(name=node.GetName()), _TOLD_MS)


def question_of(work: SavedWork) -> str:
    """What was left, and of when, for the user.

    Raises:
        LookupError, TypeError, ValueError: the file is none that this program wrote.
    """
    details = work.details
    names = [segment.name for segment in work.segments]
    listed = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    volume = details["volume"]
    return _(
        "Slicer ended without saving on {when}, while you worked on {image}. What was kept: the segmentation "
        "{segmentation} with {count} segments ({names}) and {prompts} prompts. Restore it? It comes beside what is in "
        "the scene; nothing is replaced."
    ).format(
        when=time.strftime("%Y-%m-%d %H:%M", time.localtime(float(details["saved_at"]))),
        image=_("no image") if volume is None else volume["name"],
        segmentation=details["segmentation"],
        count=len(names),
        names=listed or _("none"),
        prompts=sum(len(entry["points"]) if entry["class"] != _ROI else 1 for entry in details["prompts"]),
    )


def _title() -> str:
    return _("SAM-Med2D: unsaved work")


def _ask(text: str) -> str:
    box = qt.QMessageBox(slicer.util.mainWindow())
    box.setWindowTitle(_title())
    box.setText(text)
    restore_button = box.addButton(_("Restore"), qt.QMessageBox.AcceptRole)
    discard_button = box.addButton(_("Discard"), qt.QMessageBox.DestructiveRole)
    box.addButton(_("Later"), qt.QMessageBox.RejectRole)
    box.exec_()
    chosen = box.clickedButton()
    box.deleteLater()
    return _RESTORE if chosen == restore_button else _DISCARD if chosen == discard_button else ""


def restore(work: SavedWork) -> slicer.vtkMRMLSegmentationNode:
    """Bring work back into the scene, beside what is there.

    Returns:
        the new segmentation node.

    Raises:
        SceneError: its image is not there, and cannot be loaded; the message says what to do.
        LookupError, TypeError, ValueError: the file is none that this program wrote.
    """
    details = work.details
    volume = None if details["volume"] is None else _volume(details["volume"])
    patches = {segment.id: segment.voxels.patch() for segment in work.segments if segment.voxels is not None}
    name = _("{name} (restored)").format(name=details["segmentation"])
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", segmentations.safe_name(name))
    try:
        segmentations.set_up(node, volume)
        if details["reference"]:
            parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
            node.GetSegmentation().SetConversionParameter(parameter, str(details["reference"]))
        for segment in work.segments:
            _add_segment(node, segment, patches.get(segment.id), details["ras_from_ijk"])
        if volume is not None:
            for entry in details["prompts"]:
                _add_prompts(entry, node, volume)
    except Exception:
        slicer.mrmlScene.RemoveNode(node)
        raise
    return node


def _volume(entry: Mapping[str, Any]) -> slicer.vtkMRMLScalarVolumeNode:
    """The image in the scene, or loaded from its file."""
    there = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if _is_same(node, entry)]
    named = [node for node in there if node.GetName() == entry["name"]]
    if named or there:
        return (named or there)[0]
    path = str(entry["file"])
    if path and Path(path).exists():
        loaded = slicer.util.loadVolume(path)
        if loaded is not None and _is_same(loaded, entry):
            return loaded
        if loaded is not None:
            slicer.mrmlScene.RemoveNode(loaded)
    message = _(
        "The image {name} is not in the scene, and not at {path}: load it, then activate the effect again. What was "
        "kept stays."
    )
    raise SceneError(message.format(name=entry["name"], path=path or _("any known place")))


def _is_same(volume: slicer.vtkMRMLScalarVolumeNode, entry: Mapping[str, Any]) -> bool:
    """Whether a volume has the size and the place of the one that was segmented."""
    if volume.GetImageData() is None or list(volumes.size_ijk(volume)) != list(entry["size_ijk"]):
        return False
    return bool(np.allclose(volumes.local_from_ijk(volume), np.array(entry["ras_from_ijk"], float), atol=1e-4))


def _add_segment(node: Any, segment: SavedSegment, patch: VoxelPatch | None, ras_from_ijk: Any) -> None:
    added = node.GetSegmentation().AddEmptySegment(segment.id, segment.name, segment.color)
    for name, text in segment.tags.items():
        segmentations.segment_of(node, added).SetTag(name, text)
    if patch is not None:
        matrix = np.array(ras_from_ijk, float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError("a matrix is none")
        segment_writer.replace_segment(node, added, patch, slicer.util.vtkMatrixFromArray(matrix))


def _add_prompts(entry: Mapping[str, Any], segmentation: Any, volume: Any) -> None:
    """Make a node of prompts, hidden until the effect shows it."""
    kind = str(entry["class"])
    if kind not in (_FIDUCIALS, _ROI) and not kind.startswith("vtkMRMLMarkups"):
        raise ValueError(f"{kind} are no prompts")
    display = prompt_nodes.new_node(kind.removesuffix("Node") + "DisplayNode")
    (style_box if kind == _ROI else style_points)(display)
    display.SetVisibility(False)
    slicer.mrmlScene.AddNode(display)
    node = prompt_nodes.new_node(kind)
    node.SetName(slicer.mrmlScene.GenerateUniqueName(segmentations.safe_name(str(entry["name"]))))
    for name, text in entry["attributes"].items():
        node.SetAttribute(str(name), str(text))
    node.SetAndObserveDisplayNodeID(display.GetID())
    node.SetNodeReferenceID(prompt_nodes.SEGMENTATION, segmentation.GetID())
    node.SetNodeReferenceID(prompt_nodes.VOLUME, volume.GetID())
    slicer.mrmlScene.AddNode(node)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    if kind == _ROI:
        node.SetSize(*(float(value) for value in entry["size"]))
        node.SetAndObserveObjectToNodeMatrix(slicer.util.vtkMatrixFromArray(np.array(entry["node_from_object"], float)))
        return
    for x, y, z, status, selected in entry["points"]:
        if int(status) == node.PositionDefined and math.isfinite(x + y + z):
            number = node.AddControlPoint(float(x), float(y), float(z))
            node.SetNthControlPointSelected(number, bool(selected))
