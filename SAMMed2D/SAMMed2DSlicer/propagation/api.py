"""Blocking propagation for scripts; on the main thread, without widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import blocking, service
from SAMMed2DSlicer.inference.slice_task import find_segment
from SAMMed2DSlicer.prompts.slice_prompts import is_node, plane_of
from SAMMed2DSlicer.propagation.object_task import ObjectTask, boxes_of_roi
from SAMMed2DSlicer.propagation.results import PropagationResult, PropagationSettings
from SAMMed2DSlicer.propagation.slice_axis import SliceAxis
from SAMMed2DSlicer.propagation.task import PropagationTask
from SAMMed2DSlicer.propagation.time_axis import TimeAxis
from SAMMed2DSlicer.scene import segmentations, sequences
from SAMMed2DSlicer.scene.segment_targets import LogicTarget
from SAMMed2DSlicer.scene.volumes import SceneError


def propagate(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: str | Sequence[str],
    plane: Any,
    settings: PropagationSettings,
    keyframes: Sequence[int] | None = None,
    overwrite: str = "none",
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> PropagationResult:
    """Propagate segments from their keyframes to the other slices, and write them.

    Args:
        volume: the volume node.
        segmentation: the segmentation node.
        segment_ids: IDs or names.
        plane: one of the slices, as in `slice_prompts.plane_of`.
        settings: of the run.
        keyframes: numbers of slices, from 0; None to find them.
        overwrite: whether other segments may be overwritten: "none", "visible" or "all" of them.
        progress: called with how many slices are computed, and of at most how many.
        should_cancel: called a few times a second; True ends the run, and its results so far are written.

    Raises:
        ValueError, RuntimeError: see `SAMMed2DLogic`.
    """
    ids = _segment_ids(segmentation, segment_ids)
    with LogicTarget(volume, segmentation, ids[0], overwrite) as target:
        task = slice_task(volume, plane_of(volume, plane), segmentation, ids, target, settings, keyframes)
        _run(task, target, progress, should_cancel)
    return task.result


def segment_object(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    plane: Any,
    roi: Any,
    settings: PropagationSettings,
    overwrite: str = "none",
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> PropagationResult:
    """Find a whole object from its slices, or in an ROI, and write it.

    Args:
        volume: the volume node.
        segmentation: the segmentation node.
        segment_id: ID or name.
        plane: one of the slices, as in `slice_prompts.plane_of`.
        roi: a markups ROI node around the object; None for none.
        settings: of the run.
        overwrite: whether other segments may be overwritten: "none", "visible" or "all" of them.
        progress: called with how many slices are computed, and of at most how many.
        should_cancel: called a few times a second; True ends the run, and its results so far are written.

    Raises:
        ValueError, RuntimeError: see `SAMMed2DLogic`.
    """
    (found_id,) = _segment_ids(segmentation, segment_id)
    if roi is not None and not is_node(roi, "vtkMRMLMarkupsROINode"):
        raise SceneError(_("The box around an object is an ROI node, not {roi}.").format(roi=repr(roi)))
    with LogicTarget(volume, segmentation, found_id, overwrite) as target:
        segmentations.create_labelmaps(segmentation)
        axis = SliceAxis.of(volume, plane_of(volume, plane), segmentation, target.default_labelmap())
        boxes = None if roi is None else boxes_of_roi(axis, roi)
        task = ObjectTask(axis, found_id, settings, service.shared().choice.model, boxes)
        _run(task, target, progress, should_cancel)
    return task.result


def propagate_in_time(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: str | Sequence[str],
    plane: Any,
    settings: PropagationSettings,
    makes_sequence: bool = False,
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> PropagationResult:
    """Propagate segments from their keyframes to the other frames of a sequence, and write them.

    Args:
        volume: the proxy volume node, or its sequence node.
        segmentation: the proxy segmentation node, or its sequence node.
        segment_ids: IDs or names.
        plane: the only slice to propagate; None for all.
        settings: of the run.
        makes_sequence: first give each frame a segmentation of its own, see `sequences.make_sequence`.
        progress: called with how many slices of frames are computed, and of at most how many.
        should_cancel: called a few times a second; True ends the run, and its results so far are written.

    Raises:
        ValueError, RuntimeError: see `SAMMed2DLogic`.
    """
    volume, segmentation = sequences.proxy_of(volume), sequences.proxy_of(segmentation)
    ids = _segment_ids(segmentation, segment_ids)
    if not is_node(volume, "vtkMRMLVolumeNode"):
        raise SceneError(_("A volume node is needed, not {volume}.").format(volume=repr(volume)))
    if makes_sequence:
        sequences.make_sequence(volume, segmentation)
    with LogicTarget(volume, segmentation, ids[0]) as target:
        task = frame_task(volume, segmentation, ids, target, settings, plane)
        _run(task, target, progress, should_cancel)
    return task.result


def _segment_ids(segmentation: slicer.vtkMRMLSegmentationNode, segment_ids: str | Sequence[str]) -> list[str]:
    names = [segment_ids] if isinstance(segment_ids, str) else list(segment_ids)
    return [find_segment(segmentation, name) for name in names or [""]]


def _run(
    task: PropagationTask,
    target: Any,
    progress: Callable[[int, int], object] | None,
    should_cancel: Callable[[], bool] | None,
) -> None:
    """Read, compute and write, and wait for it."""
    worker = service.shared().worker
    worker.call(_unstoppable(task.read))
    while blocking.call(task.advance) if task.asks_model else worker.call(partial(task.advance, None)):
        if progress is not None:
            progress(*task.progress)
        if should_cancel is not None and should_cancel():
            task.stop()
    for work in task.steps(target):
        if work is not None:
            worker.call(_unstoppable(work))
    if progress is not None:
        progress(*task.progress)


def _unstoppable(work: Callable[[], None]) -> Callable[[Callable[[], bool]], None]:
    """A job for the worker that is short, and ignores `should_stop`."""
    return lambda should_stop: work()


def frame_task(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    target: Any,
    settings: PropagationSettings,
    plane: Any = None,
) -> PropagationTask:
    """Prepare a run along time; errors as in `TimeAxis.of` and `PropagationTask`.

    Args:
        volume: the proxy volume node.
        segmentation: the proxy segmentation node.
        segment_ids: of existing segments.
        target: has `default_labelmap`.
        settings: of the run.
        plane: the only slice to propagate; None for all.
    """
    frames = sequences.FrameSeries.of(volume, segmentation)
    return PropagationTask(TimeAxis.of(frames, target.default_labelmap(), plane), segment_ids, settings)


def slice_task(
    volume: slicer.vtkMRMLScalarVolumeNode,
    plane: Any,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    target: Any,
    settings: PropagationSettings,
    keyframes: Sequence[int] | None = None,
) -> PropagationTask:
    """Prepare a run along slices with the model in use; errors as in `SliceAxis.of` and `PropagationTask`.

    Args:
        volume: the volume node.
        plane: one of the slices.
        segmentation: the segmentation node.
        segment_ids: of existing segments.
        target: has `default_labelmap`.
        settings: of the run.
        keyframes: numbers of slices, from 0; None to find them.
    """
    if keyframes is not None and not all(isinstance(number, int) for number in keyframes):
        raise SceneError("keyframes are numbers of slices")
    choice = service.shared().choice
    labelmap = target.default_labelmap()
    segmentations.create_labelmaps(segmentation)
    axis = SliceAxis.of(volume, plane, segmentation, labelmap)
    return PropagationTask(axis, segment_ids, settings, choice.model, keyframes)
