"""The part of the Python API that finds whole objects; only Python's standard library is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from SAMMed2DSlicer.propagation.results import PropagationResult


class ObjectLogic:
    """See `SAMMed2DLogic`, of which it is a part."""

    def segmentObject(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentId: str,
        plane: Any,
        *,
        roi: Any = None,
        intensity: str = "window",
        zoom: bool | None = None,
        overwrite: str = "none",
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> PropagationResult:
        """Find a whole object from one slice of it, or from a box in space, and add it to its segment.

        Slices that show the segment are keyframes, as for `propagate`; the object is followed both ways until it ends.
        The model is asked only where there is none: on five slices of the ROI, whose best answer is the keyframe.

        Args:
            volumeNode: the volume.
            segmentationNode: the segmentation; it may have another geometry and transform than the volume.
            segmentId: the segment, or its name; it is on one slice at least, or there is an ROI.
            plane: a slice, see the class; the object is found on the slices parallel to it.
            roi: a markups ROI around the object: nothing is found outside, and the object goes as far as it does. Where
                the segment is on no slice yet, the model finds it in the ROI.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            progress: called with how many slices are found, and how many there may be.
            shouldCancel: called a few times a second; True ends the work, and what was found is written.

        Returns:
            as `propagate`.

        Raises:
            ValueError, RuntimeError: see the class.
        """
        from SAMMed2DSlicer.inference import slice_task
        from SAMMed2DSlicer.propagation import api
        from SAMMed2DSlicer.propagation.results import PropagationSettings

        settings = PropagationSettings(intensity=intensity, zoom=slice_task.zoom_of(zoom))
        return api.segment_object(
            volumeNode, segmentationNode, segmentId, plane, roi, settings, overwrite, progress, shouldCancel
        )
