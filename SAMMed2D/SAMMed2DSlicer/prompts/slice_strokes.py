"""What scripts and the panel say of scribbles and lassos, turned into strokes of a slice: curve nodes, or numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.prompts.prompt_nodes import is_prompt_node
from SAMMed2DSlicer.prompts.strokes import CURVE, SLACK_VOXELS, stroke_of_curve
from SAMMed2DSlicer.scene import volumes
from SAMMed2DSlicer.scene.volumes import SceneError

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane
    from SAMMed2DLib.inference.prompt_parts.stroke import Stroke


def strokes_on(
    given: Any,
    is_closed: bool,
    plane: SlicePlane,
    volume: slicer.vtkMRMLScalarVolumeNode,
    after: int,
) -> list[Stroke]:
    """Bring scribbles or lassos of the scene to a slice.

    Args:
        given: a markups curve, (N, 3) world RAS mm along a line, a pair of one of these and 1 inside or 0 outside, or a
            list of such. Without a side, curves of the effect have their own, and all others are inside.
        is_closed: whether they are lassos.
        plane: a slice of the volume.
        volume: the volume node.
        after: how many points are given before those that the effect did not make.

    Raises:
        SceneError: one is no line, or is not on the slice.
    """
    return [_stroke(line, side, is_closed, plane, volume, after) for line, side in _lines(given)]


def _lines(given: Any) -> Iterator[tuple[Any, int | None]]:
    """Lines, one by one, each with its side; None where none is given."""
    if given is None:
        return
    if hasattr(given, "IsA") or _is_line(given):
        yield given, None
    elif _is_pair(given):
        yield given[0], int(given[1])
    elif isinstance(given, list | tuple):
        for each in given:
            yield (each[0], int(each[1])) if _is_pair(each) else (each, None)
    else:
        yield given, None  # which is refused


def _is_pair(value: Any) -> bool:
    is_two = isinstance(value, list | tuple) and len(value) == 2
    return is_two and isinstance(value[1], bool | int | np.integer) and value[1] in (0, 1)


def _is_line(value: Any) -> bool:
    try:
        array = np.asarray(value, float)
    except (TypeError, ValueError):
        return False
    return array.ndim == 2 and array.shape[1] == 3 and len(array) > 0


def _stroke(
    line: Any,
    side: int | None,
    is_closed: bool,
    plane: SlicePlane,
    volume: slicer.vtkMRMLScalarVolumeNode,
    after: int,
) -> Stroke:
    from dataclasses import replace

    from SAMMed2DLib.inference.prompt_parts.stroke import Stroke

    if hasattr(line, "IsA"):
        if not line.IsA(CURVE):
            message = _("{name} is no markups curve: draw a scribble as a curve, and a lasso as a closed curve.")
            raise SceneError(message.format(name=line.GetName()))
        is_ours = is_prompt_node(line)
        label = side if side is not None or is_ours else 1
        found = stroke_of_curve(line, plane, volumes.world_from_ijk(volume), is_closed, label)[0]
        if found is None:
            raise SceneError(_("{name} has no point on this slice.").format(name=line.GetName()))
        return found if is_ours else replace(found, after=after)
    if not _is_line(line):
        message = _("A scribble or lasso is a markups curve, or (N, 3) numbers in RAS, mm, not {line}.")
        raise SceneError(message.format(line=repr(line)))
    xy, off = volumes.project_points(np.asarray(line, float), plane, volume)
    if (np.abs(off) > plane.half_thickness + SLACK_VOXELS).any():
        far = f"{np.abs(off).max():.1f}"
        message = _("A scribble or lasso reaches {off} voxels off the slice: draw it on one slice.")
        raise SceneError(message.format(off=far))
    return Stroke(xy, 1 if side is None else side, is_closed, after)
