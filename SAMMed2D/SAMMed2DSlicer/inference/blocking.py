"""Predictions that a script waits for, one or many; on the main thread, without widgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.inference import service
from SAMMed2DSlicer.inference.slice_task import SliceTask, find_segment, write
from SAMMed2DSlicer.prompts.slice_prompts import plane_of
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.setup import pytorch

if TYPE_CHECKING:
    from SAMMed2DSlicer.inference.slice_task import SliceResult

Progress = Callable[[int, int], object]
ShouldCancel = Callable[[], bool]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one of many requests.

    Attributes:
        request: as it was given.
        result: None where there is none.
        error: why; None where there is a result, and where the request was not reached before the cancellation.
    """

    request: Mapping[str, Any]
    result: SliceResult | None = None
    error: Exception | None = None


def call(work: service.Work) -> Any:
    """Compute with the model in its thread, and wait.

    Raises:
        InstallError: PyTorch is missing or broken, and the model needs it.
        RegistryError: the chosen model is not here.
        whatever else `work` raises.
    """
    from SAMMed2DLib.inference.engines.engine import EngineError
    from SAMMed2DLib.registry.known_models import RegistryError

    try:
        return service.shared().call(work)
    except (ImportError, OSError, EngineError) as error:
        raise pytorch.InstallError(pytorch.explain_error(error)) from error
    except RegistryError as error:
        raise RegistryError(pytorch.explain_error(error)) from error


def segment(
    volume: slicer.vtkMRMLScalarVolumeNode,
    segmentation: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    plane: Any,
    overwrite: str = "none",
    correct: bool = False,
    **options: Any,
) -> SliceResult:
    """Segment one object on one slice and write it.

    Args:
        volume: the volume node.
        segmentation: the segmentation node.
        segment_id: ID or name of a segment.
        plane: see `slice_prompts.plane_of`.
        overwrite: see `LogicTarget`.
        correct: the prompts correct the mask that the segment has on the slice.
        options: prompts, intensity and zoom, see `SliceTask.of_scene`.

    Raises:
        SceneError: something in the scene does not allow it.
        GeometryError, PromptError: no such slice, or prompts that contradict each other.
        InstallError, RegistryError: see `call`.
    """
    zoom, intensity = options.pop("zoom", None), options.pop("intensity", volumes.WINDOW)
    segment_id = find_segment(segmentation, segment_id)  # before the model is loaded
    if correct:
        task = SliceTask.of_correction(volume, plane, segmentation, segment_id, options, intensity, zoom)
    else:
        task = SliceTask.of_scene(volume, plane, [options], intensity, zoom)
    (prediction,) = call(task.predict)
    return write(prediction, volume, segmentation, segment_id, overwrite, task.initial_mask_hw)


def segment_many(
    requests: Iterable[Mapping[str, Any]],
    segment_one: Callable[..., SliceResult],
    progress: Progress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> list[Outcome]:
    """Segment by each of several requests; one that fails is reported, and the others go on.

    Args:
        requests: keyword arguments of `segment_one`.
        segment_one: segments by one request.
        progress: called with how many are done, and how many there are.
        should_cancel: called before each request; True leaves the rest undone.
    """
    requests = list(requests)
    outcomes: list[Outcome] = []
    for request in requests:
        if should_cancel is not None and should_cancel():
            break
        try:
            outcomes.append(Outcome(request, segment_one(**request)))
        except Exception as error:  # it is the caller's to judge
            outcomes.append(Outcome(request, None, error))
        if progress is not None:
            progress(len(outcomes), len(requests))
    return outcomes + [Outcome(request) for request in requests[len(outcomes) :]]


def encode_slices(
    volume: slicer.vtkMRMLScalarVolumeNode,
    axis: str,
    indices: Sequence[int] | None,
    intensity: str,
    progress: Progress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> int:
    """Encode slices before their prompts are there.

    Args:
        volume: the volume node.
        axis: name of an axis, see `slice_prompts.plane_of`.
        indices: numbers of the slices; None for all.
        intensity: what the model sees, one of `scene.INTENSITIES`.
        progress: called with how many are done, and how many there are.
        should_cancel: called before each slice; True ends the work.

    Returns:
        how many were encoded; the others were encoded before.
    """
    numbers = list(range(count_of_slices(volume, axis)) if indices is None else indices)
    encoded = 0
    for done, number in enumerate(numbers, start=1):
        if should_cancel is not None and should_cancel():
            break
        image = volumes.model_image(volume, plane_of(volume, (axis, number)), intensity)
        encoded += call(partial(_encode, image))
        if progress is not None:
            progress(done, len(numbers))
    return encoded


def count_of_slices(volume: slicer.vtkMRMLScalarVolumeNode, axis: str) -> int:
    """How many slices a volume has along an axis.

    Raises:
        SceneError: the volume is empty.
        GeometryError: there is no such axis.
    """
    first = plane_of(volume, (axis, 0))
    normal = int(np.abs(np.cross(first.column_step_ijk, first.row_step_ijk)).argmax())
    return first.size_ijk[normal]


def _encode(image: Any, session: Any, should_stop: Callable[[], bool]) -> int:
    """Encode an image; 0 where that was done before."""
    if session.is_encoded(image):
        return 0
    session.encode(image)
    return 1


def choose_model(model: str, device: str) -> None:
    """Use another model from the next call on.

    Args:
        model: its name, or the path of a weights file.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        RegistryError: there is no such model, or it is not on this computer yet.
    """
    from SAMMed2DLib.registry.built_in import current_name
    from SAMMed2DLib.registry.known_models import RegistryError, weights_path

    try:
        path = weights_path(model)
    except RegistryError as error:
        raise RegistryError(pytorch.explain_error(error)) from error
    if not path.is_file():
        raise RegistryError(_("There is no weights file {path}.").format(path=path))
    shared = service.shared()
    chosen = os.path.abspath(model) if model.endswith((".pt", ".pth")) else current_name(model)
    shared.choose(replace(shared.choice, model=chosen, device=device))
