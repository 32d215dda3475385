"""Propagation that a script waits for; on the main thread, without widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from SAMMed2DSlicer import batch, engine
from SAMMed2DSlicer.propagation_task import PropagationResult, PropagationTask, Settings
from SAMMed2DSlicer.scene import SceneError
from SAMMed2DSlicer.segments import LogicTarget
from SAMMed2DSlicer.slice_prompts import plane_of
from SAMMed2DSlicer.slice_task import check_segment


def propagate(
    volume: Any,
    segmentation: Any,
    segment_ids: str | Sequence[str],
    plane: Any,
    settings: Settings,
    keyframes: Sequence[int] | None = None,
    overwrite: str = "none",
    progress: Callable[[int, int], object] | None = None,
    should_cancel: Callable[[], bool] | None = None,
) -> PropagationResult:
    """Carry segments from their keyframes to the other slices, and write them; see `SAMMed2DLogic.propagate`."""
    ids = [segment_ids] if isinstance(segment_ids, str) else list(segment_ids)
    for one in ids or [""]:
        check_segment(segmentation, one)
    with LogicTarget(volume, segmentation, ids[0], overwrite) as target:
        task = task_of(volume, plane_of(volume, plane), segmentation, ids, target, settings, keyframes)
        while batch.ask(task.advance):
            if progress is not None:
                progress(*task.progress)
            if should_cancel is not None and should_cancel():
                task.stop()
        for _block in task.blocks(target):
            pass
    if progress is not None:
        progress(*task.progress)
    return task.result


def task_of(
    volume: Any,
    plane: Any,
    segmentation: Any,
    segment_ids: Sequence[str],
    target: Any,
    settings: Settings,
    keyframes: Sequence[int] | None = None,
) -> PropagationTask:
    """Prepare a run with the model in use; arguments and errors as in `PropagationTask.of_scene`."""
    if keyframes is not None and not all(isinstance(one, int) for one in keyframes):
        raise SceneError("keyframes are numbers of slices")
    choice = engine.shared().choice
    labelmap = target.default_labelmap()
    cache_bytes = choice.cache_mib * 1024**2
    return PropagationTask.of_scene(
        volume, plane, segmentation, segment_ids, labelmap, settings, choice.model, cache_bytes, keyframes
    )
