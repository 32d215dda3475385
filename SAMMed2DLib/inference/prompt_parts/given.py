"""What a model is given of prompts: points in place of strokes, and a box around what a lasso goes around."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from SAMMed2DLib.imaging.masks import extent_of
from SAMMed2DLib.inference.point_constraints import painted_sides, pixels_of
from SAMMed2DLib.inference.prompt_parts.stroke import Stroke
from SAMMed2DLib.inference.prompts import Prompts

# As many points tell a model what a stroke says (docs/decisions/scribbles-and-lassos.md).
POINTS_OF_STROKE = 3


def given_to_model(prompts: Prompts, size_hw: tuple[int, int], before_hw: np.ndarray | None = None) -> Prompts:
    """Put points along each stroke beside it, and a box around what each lasso goes around.

    Args:
        prompts: as the user gave them, slice px.
        size_hw: of the slice, px.
        before_hw: (H, W) bool, the mask before the newest of them; None for the first ones.

    Returns:
        the same prompts with more points, and a box that holds the middle of each lasso around the object.
    """
    if not prompts.strokes:
        return prompts
    sides = painted_sides(prompts, size_hw)
    points: list[np.ndarray] = []
    labels: list[int] = []
    strokes: list[Stroke] = []
    for each in prompts.in_order:
        if isinstance(each, Stroke):
            strokes.append(replace(each, after=len(points)))
            label, found = each.label, each.interior_points(0 if each.is_lasso_around else POINTS_OF_STROKE, size_hw)
        else:
            label, found = int(prompts.labels[each]), prompts.points_xy[each : each + 1]
        x, y = pixels_of(found, size_hw).T
        found = found[~sides[label][y, x]]  # not what was painted over since
        points += list(found)
        labels += [label] * len(found)
    given = replace(
        prompts, points_xy=np.array(points).reshape(-1, 2), labels=np.array(labels, int), strokes=tuple(strokes)
    )
    return given.with_box(_box_of(prompts, size_hw, before_hw))


def _box_of(prompts: Prompts, size_hw: tuple[int, int], before_hw: np.ndarray | None) -> np.ndarray | None:
    """The box of prompts, or one around all lassos and what was there before them."""
    lassos = [stroke for stroke in prompts.strokes if stroke.is_lasso_around]
    if not lassos:
        return prompts.box_xyxy
    boxes = [extent_of(lasso.object_mask(size_hw)) for lasso in lassos]
    if prompts.box_xyxy is not None:
        boxes.append(prompts.box_xyxy)
    elif prompts.in_order[0] is not lassos[0] and before_hw is not None and before_hw.any():
        boxes.append(extent_of(before_hw))
    stacked = np.stack(boxes)
    return np.concatenate([stacked[:, :2].min(axis=0), stacked[:, 2:].max(axis=0)])
