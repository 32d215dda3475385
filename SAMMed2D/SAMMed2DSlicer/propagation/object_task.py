"""A whole object: from the slices of it that are there, or from a box in space around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DLib.io.markups import CORNER_SIGNS
from SAMMed2DSlicer.propagation.axis import SliceMask
from SAMMed2DSlicer.propagation.results import PropagationSettings, SegmentRun
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.propagation.task import PropagationTask
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.voxel_patches import VoxelPatch
    from SAMMed2DLib.inference.session import Session


class ObjectTask(PropagationTask):
    """One object, both ways until it ends, or as far as a box goes; see `PropagationTask`.

    Attributes:
        slice_axis: the slices.
        boxes: (4,) slice px, half-open, by slice: nothing is found outside of them; None for no box.
        corrections: masks (H, W) bool of slices that the user has corrected before they are written.
    """

    def __init__(
        self,
        axis: SliceAxis,
        segment_id: str,
        settings: PropagationSettings,
        model: str = "",
        boxes: Mapping[int, np.ndarray] | None = None,
        corrections: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Prepare a run, on the main thread.

        Args:
            axis: the slices.
            segment_id: an existing segment.
            settings: of the run.
            model: name of the model.
            boxes: see the class.
            corrections: see the class.

        Raises:
            SceneError: something in the scene does not allow it.
        """
        super().__init__(axis, [segment_id], settings, model)
        self.slice_axis, self.boxes, self.corrections = axis, boxes, dict(corrections or {})
        self._frame = volumes.sequence_item(axis.volume)

    @property
    def asks_model(self) -> bool:
        """Whether `advance` needs a session: in a box that has no keyframe yet. It is read before."""
        return not (self.corrections or self._runs[0].keyframes.nonempty)

    @property
    def segment_id(self) -> str:
        """The segment."""
        return self._runs[0].segment_id

    @property
    def keyframe_numbers(self) -> list[int]:
        """The slices that stay as they are, and those that were corrected, once it has been read."""
        return sorted({*self._runs[0].keyframes.numbers, *self.corrections})

    @property
    def patches(self) -> list[VoxelPatch]:
        """What was found so far."""
        return self._runs[0].found_patches

    @property
    def confidence(self) -> dict[int, float]:
        """How sure the slices are that were found, 0 .. 1."""
        found = ((n, slices.get(n)) for n, slices in list(self._runs[0].results.items()))
        return {n: result[1] for n, result in found if result is not None and result[0] is not None}

    def check(self) -> None:
        """As `PropagationTask.check`; of a sequence, an object belongs to the frame that it was looked for in."""
        if volumes.sequence_item(self.axis.volume) != self._frame:
            text = _("Another frame: the object was not written. Whole object finds it again in frame {number}.")
            raise SceneError(text.format(number=self._frame + 1))
        super().check()

    def _find_targets(self, run: SegmentRun) -> None:
        keyframes = run.keyframes
        if not keyframes.nonempty and not self.corrections and self.boxes is None:
            if keyframes.voxels.crossed:
                raise SceneError(self.axis.texts.only_lines.format(name=keyframes.name))
            raise SceneError(
                _(
                    "{name} is on no slice yet: accept it on one slice, or draw an ROI around the object with the "
                    "Markups toolbar."
                ).format(name=keyframes.name)
            )
        run.first, run.last = self.axis.range_to_fill(self._settings)
        if self.boxes is not None:
            run.first, run.last = max(run.first, min(self.boxes)), min(run.last, max(self.boxes))
        run.targets = set(range(run.first, run.last + 1)) - set(keyframes.numbers)

    def _propagate(self, session: Session | None) -> Iterator[tuple[SegmentRun, SliceMask]]:
        from SAMMed2DLib.propagation.whole_object import segment_object

        self.axis.check_memory(session, self._runs)
        (run,) = self._runs
        corrected = {n: mask for n, mask in self.corrections.items() if n in run.targets}
        for number, mask in corrected.items():
            yield run, SliceMask(0, number, number, mask, 1.0)
        for found in segment_object(
            session if self.asks_model else None,
            lambda number: self._image(number, number),
            run.first,
            run.last,
            keyframes={**run.keyframe_masks, **corrected},
            boxes=self.boxes,
            zoom=self._settings.zoom,
            slice_px=self.axis.stack.slice_px,
            should_stop=lambda: self.is_stopped,
        ):
            if found.index in run.targets:
                yield run, SliceMask(0, found.index, found.index, found.mask, found.confidence)


def boxes_of_roi(axis: SliceAxis, roi: slicer.vtkMRMLMarkupsROINode) -> dict[int, np.ndarray]:
    """The cuts of an ROI by the slices of an axis: (4,) slice px, half-open, by slice.

    Raises:
        SceneError: it is not placed yet, or lies beside the image.
    """
    from SAMMed2DLib.io.markups import box_on_slice

    size = np.array(roi.GetSize())
    name = roi.GetName()
    if np.count_nonzero(size) < 3:
        raise SceneError(_("{name} is no box in space yet: give it a depth, too.").format(name=name))
    matrix = slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix())
    corners_world = (CORNER_SIGNS * size) @ matrix[:3, :3].T + matrix[:3, 3]
    boxes = {}
    for number, plane in enumerate(axis.stack.planes):
        box = box_on_slice(*plane.project_ras(corners_world, axis.stack.world_from_ijk))
        height, width = plane.size_hw
        if box is not None and (box[2:] > 0).all() and (box[:2] < (width, height)).all():
            boxes[number] = np.clip(box, 0, [width, height, width, height])
    if not boxes:
        raise SceneError(_("{name} is outside the image: draw it around the object.").format(name=name))
    return boxes


def user_rois() -> Sequence[slicer.vtkMRMLMarkupsROINode]:
    """The visible ROIs of the scene that are no prompts on a slice, the one that was changed last first."""
    from SAMMed2DSlicer.prompts.prompt_nodes import is_prompt_node

    rois = [node for node in slicer.util.getNodesByClass("vtkMRMLMarkupsROINode") if not is_prompt_node(node)]
    displays = [(node, node.GetDisplayNode()) for node in rois]
    shown = [node for node, display in displays if display is None or display.GetVisibility()]
    return sorted(shown, key=lambda node: -node.GetMTime())
