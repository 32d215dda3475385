"""One object on one slice: taken from the scene, predicted by the model, written to a segment.

The three steps are apart because only the middle one runs in the worker thread, where MRML must not be touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.prompts.slice_prompts import is_node, plane_of, prompts_on
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.segment_reader import mask_on_slice
from SAMMed2DSlicer.scene.segment_targets import LogicTarget
from SAMMed2DSlicer.scene.segment_writer import write_mask
from SAMMed2DSlicer.scene.segmentations import create_labelmaps, segment_of
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DLib.inference.session import MaskPrediction, Session

# The words of a script for `zoom`.
ZOOMS = {"auto": None, "on": True, "off": False}


@dataclass(frozen=True, eq=False)
class SlicePrediction:
    """What the model says about one object on one slice.

    Attributes:
        mask: (H, W) bool, on the slice.
        score: the IoU that it probably has.
        plane: the slice; it leads from the mask's pixels to voxels.
        predicted_iou: what the network predicts; the score itself, unless scores are calibrated.
        grade: what a calibrated score means: "good", "fair" or "check"; None where scores are not calibrated.
        candidate: which of the masks that the prompts may mean, from 1, small to large; 0 where none was chosen.
        candidates: how many of them there are; 0 where none was chosen.
    """

    mask: np.ndarray
    score: float
    plane: SlicePlane
    predicted_iou: float
    grade: str | None
    candidate: int
    candidates: int

    @classmethod
    def of_mask(cls, found: MaskPrediction, plane: SlicePlane) -> SlicePrediction:
        """Take what a session has predicted on a slice."""
        choice = (found.candidate, len(found.candidates))
        return cls(found.mask, found.score, plane, found.predicted_iou, found.grade, *choice)


@dataclass(frozen=True, eq=False)
class SliceResult(SlicePrediction):
    """A prediction that was written to a segment.

    Attributes:
        voxels: how many voxels of the segmentation the mask means.
        changed: how many voxels of the segment changed by it.
        outside_px: how many pixels of the mask lie outside the segmentation's geometry, where nothing is written.
        lost: how many voxels each other segment that gave way has lost, by its ID.
    """

    voxels: int
    changed: int
    outside_px: int
    lost: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class SliceTask:
    """What the model is to predict, with everything that it needs.

    Attributes:
        image: (H, W, 3) uint8, the slice.
        plane: the slice.
        prompts: one for each object, in slice px.
        zoom: predict on crops around the prompts; None does what the weights were trained for.
        initial_mask_hw: (H, W) bool, the mask that is there and that the prompts of a single object correct.
    """

    image: np.ndarray
    plane: SlicePlane
    prompts: tuple[Prompts, ...]
    zoom: bool | None = None
    initial_mask_hw: np.ndarray | None = None

    @classmethod
    def of_scene(
        cls,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: Any,
        objects: Sequence[Mapping[str, Any]],
        intensity: str = volumes.WINDOW,
        zoom: bool | str | None = None,
    ) -> SliceTask:
        """Take a slice and prompts from the scene; on the main thread.

        Args:
            volume: the volume node.
            plane: see `slice_prompts.plane_of`.
            objects: positive, negative and box of each object, see `slice_prompts.prompts_on`.
            intensity: what the model sees, one of `scene.INTENSITIES`.
            zoom: one of `ZOOMS`, by its name or its value.

        Raises:
            SceneError: something in the scene does not allow it.
            GeometryError, PromptError: no such slice, or prompts that contradict each other.
        """
        found = plane_of(volume, plane)
        prompts = tuple(prompts_on(found, volume, **given) for given in objects)
        return cls(volumes.model_image(volume, found, intensity), found, prompts, zoom_of(zoom))

    @classmethod
    def of_correction(
        cls,
        volume: slicer.vtkMRMLScalarVolumeNode,
        plane: Any,
        segmentation: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        prompts: Mapping[str, Any],
        intensity: str = volumes.WINDOW,
        zoom: bool | str | None = None,
    ) -> SliceTask:
        """Take a slice and prompts that correct the mask that a segment has there; points outside the mask are enough.

        Args:
            volume: the volume node.
            plane: see `slice_prompts.plane_of`.
            segmentation: the segmentation node.
            segment_id: of an existing segment.
            prompts: positive, negative and box, see `slice_prompts.prompts_on`.
            intensity: see `of_scene`.
            zoom: see `of_scene`.

        Raises:
            SceneError: see `of_scene`; or there is nothing to correct.
            GeometryError, PromptError: see `of_scene`.
        """
        found = plane_of(volume, plane)
        create_labelmaps(segmentation)
        initial_mask_hw = mask_to_correct(volume, found, segmentation, segment_id)
        checked = (prompts_on(found, volume, **prompts, is_correction=True),)
        return cls(volumes.model_image(volume, found, intensity), found, checked, zoom_of(zoom), initial_mask_hw)

    def predict(self, session: Session, should_stop: Callable[[], bool] | None = None) -> list[SlicePrediction]:
        """Predict with a session; in the worker thread."""
        if self.initial_mask_hw is not None:
            (prompts,) = self.prompts
            mask = self.initial_mask_hw
            found = session.answer(self.image, prompts, mask=mask, zoom=self.zoom, should_stop=should_stop)
            return [SlicePrediction.of_mask(found, self.plane)]
        masks = session.answer_many(self.image, self.prompts, zoom=self.zoom, should_stop=should_stop)
        return [SlicePrediction.of_mask(found, self.plane) for found in masks]


def mask_to_correct(
    volume: slicer.vtkMRMLScalarVolumeNode,
    plane: SlicePlane,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
) -> np.ndarray:
    """The mask that a segment has on a slice: (H, W) bool; of a segment that is a surface its labelmap must be there.

    Args:
        volume: the volume node.
        plane: a slice of it.
        segmentation: the segmentation node.
        segment_id: of an existing segment.

    Raises:
        SceneError: it has none there.
    """
    mask_hw = mask_on_slice(volume, plane, segmentation, segment_id)
    if not mask_hw.any():
        name = segment_of(segmentation, segment_id).GetName()
        raise SceneError(_("{name} has nothing on this slice that could be corrected.").format(name=name))
    return mask_hw


def zoom_of(zoom: bool | str | None) -> bool | None:
    """Turn "auto", "on" or "off" into what a session takes; other values pass.

    Raises:
        SceneError: another word.
    """
    if not isinstance(zoom, str):
        return zoom
    if zoom not in ZOOMS:
        raise SceneError(_("Unknown zoom {zoom}: choose auto, on or off.").format(zoom=repr(zoom)))
    return ZOOMS[zoom]


def check_segment(segmentation: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """See that there is a segment to write to.

    Raises:
        SceneError: there is none.
    """
    if not is_node(segmentation, "vtkMRMLSegmentationNode"):
        raise SceneError(_("A segmentation node is needed, not {node}.").format(node=repr(segmentation)))
    if segmentation.GetScene() is None:
        raise SceneError(_("The segmentation {name} is not in the scene any more.").format(name=segmentation.GetName()))
    if not isinstance(segment_id or "", str) or not segmentation.GetSegmentation().GetSegment(segment_id or ""):
        if not segment_id:
            raise SceneError(_("Choose or add a segment of {name} first.").format(name=segmentation.GetName()))
        message = _("{name} has no segment {id}: add it first.")
        raise SceneError(message.format(name=segmentation.GetName(), id=repr(segment_id)))


def find_segment(segmentation: slicer.vtkMRMLSegmentationNode, name: str) -> str:
    """The ID of the segment that a script means: by its ID, or by its name where that is no segment's ID.

    Raises:
        SceneError: there is none.
    """
    is_word = isinstance(name or "", str) and is_node(segmentation, "vtkMRMLSegmentationNode")
    if is_word and not segmentation.GetSegmentation().GetSegment(name or ""):
        name = segmentation.GetSegmentation().GetSegmentIdBySegmentName(name or "") or name
    check_segment(segmentation, name)
    return name


def write(
    prediction: SlicePrediction,
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    overwrite: str = "none",
    initial_mask_hw: np.ndarray | None = None,
) -> SliceResult:
    """Add a prediction to a segment; on the main thread. An empty mask changes nothing.

    Args:
        prediction: of a slice of the volume.
        volume: the volume node.
        segmentation: the segmentation node.
        segment_id: of an existing segment.
        overwrite: see `LogicTarget`.
        initial_mask_hw: (H, W) bool, the mask of the segment on the slice that the prediction corrects and replaces.

    Raises:
        SceneError: there is no such segment, no place to write it, or the mask that is corrected is another one now.
    """
    check_segment(segmentation, segment_id)
    if initial_mask_hw is not None:
        present_hw = mask_on_slice(volume, prediction.plane, segmentation, segment_id)
        if not np.array_equal(present_hw, initial_mask_hw):
            name = segment_of(segmentation, segment_id).GetName()
            raise SceneError(_("{name} was changed meanwhile, so nothing was written: ask again.").format(name=name))
    with LogicTarget(volume, segmentation, segment_id, overwrite) as target:
        written = write_mask(target, prediction.mask, prediction.plane, volume, initial_mask_hw=initial_mask_hw)
    counts = (written.voxels, written.changed, written.outside_px, written.lost)
    found = (prediction.mask, prediction.score, prediction.plane, prediction.predicted_iou, prediction.grade)
    return SliceResult(*found, prediction.candidate, prediction.candidates, *counts)
