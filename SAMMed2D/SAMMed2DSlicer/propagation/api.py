"""Propagation that a script waits for; on the main thread, without widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import blocking, service
from SAMMed2DSlicer.inference.slice_task import find_segment
from SAMMed2DSlicer.prompts.slice_prompts import is_node, plane_of
from SAMMed2DSlicer.propagation.task import PropagationResult, PropagationTask, Settings
from SAMMed2DSlicer.propagation.time_task import TimeResult, TimeSettings, TimeTask
from SAMMed2DSlicer.scene import segmentations, sequences
from SAMMed2DSlicer.scene.segment_targets import LogicTarget
from SAMMed2DSlicer.scene.volumes import SceneError


def propagate(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: str | Sequence[str],
    plane: Any,
    settings: Settings,
    keyframes: Sequence[int] | None = None,
    overwrite: str = "none",
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> PropagationResult:
    """Carry segments from their keyframes to the other slices, and write them; see `SAMMed2DLogic.propagate`."""
    ids = _checked(segmentation, segment_ids)
    with LogicTarget(volume, segmentation, ids[0], overwrite) as target:
        task = task_of(volume, plane_of(volume, plane), segmentation, ids, target, settings, keyframes)
        _run(task, target, progress, should_cancel)
    return task.result


def propagate_in_time(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: str | Sequence[str],
    plane: Any,
    settings: TimeSettings,
    makes_sequence: bool = False,
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> TimeResult:
    """Carry segments from the frames that show them to the others, and write them; `SAMMed2DLogic.propagateInTime`."""
    volume, segmentation = sequences.proxy_of(volume), sequences.proxy_of(segmentation)
    ids = _checked(segmentation, segment_ids)
    if not is_node(volume, "vtkMRMLVolumeNode"):
        raise SceneError(_("A volume node is needed, not {volume}.").format(volume=repr(volume)))
    if makes_sequence:
        sequences.make_sequence(volume, segmentation)
    with LogicTarget(volume, segmentation, ids[0]) as target:
        task = task_in_time(volume, segmentation, ids, target, settings, plane)
        _run(task, target, progress, should_cancel)
    return task.result


def _checked(segmentation: slicer.vtkMRMLSegmentationNode, segment_ids: str | Sequence[str]) -> list[str]:
    names = [segment_ids] if isinstance(segment_ids, str) else list(segment_ids)
    return [find_segment(segmentation, name) for name in names or [""]]


def _run(
    task: PropagationTask | TimeTask,
    target: Any,
    progress: Callable[[int, int], object] | None,
    should_cancel: Callable[[], bool] | None,
) -> None:
    """Read, compute and write, and wait for it."""
    worker = service.shared().worker
    worker.call(_unstoppable(task.read))
    while blocking.ask(task.advance):
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
    """Work for the worker that is done in a moment, and does not look whether to stop."""
    return lambda should_stop: work()


def task_in_time(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    target: Any,
    settings: TimeSettings,
    plane: Any = None,
) -> TimeTask:
    """Prepare a run along time; arguments and errors as in `TimeTask.of_scene`."""
    frames = sequences.FrameSeries.of(volume, segmentation)
    return TimeTask.of_scene(frames, plane, segment_ids, target.default_labelmap(), settings)


def task_of(
    volume: slicer.vtkMRMLScalarVolumeNode,
    plane: Any,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_ids: Sequence[str],
    target: Any,
    settings: Settings,
    keyframes: Sequence[int] | None = None,
) -> PropagationTask:
    """Prepare a run with the model in use; arguments and errors as in `PropagationTask.of_scene`."""
    if keyframes is not None and not all(isinstance(one, int) for one in keyframes):
        raise SceneError("keyframes are numbers of slices")
    choice = service.shared().choice
    labelmap = target.default_labelmap()
    segmentations.make_readable(segmentation)
    return PropagationTask.of_scene(
        volume, plane, segmentation, segment_ids, labelmap, settings, choice.model, keyframes
    )
