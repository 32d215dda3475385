"""The reference protocol ("published"), that of SAM-Med2D: prompts are drawn in px of the model's input, without zoom.

The box is that of the mask's largest part. The first click is any pixel of the object; each further one is any pixel
where the mask of the 256 px frame is wrong, and is given together with all earlier ones and the sigmoid of the last
logits. Where nothing is wrong, a padding point (label -1) is added, as in the original code. Scores are those of the
mask at the image's own size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.data.simulated_user import error_points, first_point
from SAMMed2DLib.evaluation.evaluation_options import (
    BOX,
    FILLED_BOX,
    EvaluationError,
    EvaluationOptions,
    clicks_name,
    jittered_name,
)
from SAMMed2DLib.evaluation.protocols.objects import Target, filled, moved_box
from SAMMed2DLib.evaluation.scores import ScoreSheet
from SAMMed2DLib.inference.prediction import Embedding
from SAMMed2DLib.inference.predictor import Predictor
from SAMMed2DLib.inference.prompts import box_of_mask

if TYPE_CHECKING:
    from torch import Tensor

FIT = "pad"
_POINT, _ERRORS = "first click", "corrections"

Step = tuple["ProtocolPrediction", np.ndarray, np.ndarray]


class VanishedError(EvaluationError):
    """A mask of which nothing is left in the model's frame."""


@dataclass(frozen=True, eq=False)
class ProtocolPrediction:
    """A mask in both frames: `frame_hw` (S, S) bool, `slice_hw` (H, W) bool, and its logits (1, 1, L, L)."""

    frame_hw: np.ndarray
    slice_hw: np.ndarray
    low_res: Tensor


class FramePredictor:
    """Segments on one embedded slice from prompts in px of the model's frame."""

    def __init__(self, predictor: Predictor, embedding: Embedding) -> None:
        """Begin with a slice.

        Raises:
            EvaluationError: slices are not padded to the model's input.
        """
        self.frame, self._predictor, self._features = embedding.frames[0], predictor, embedding.features
        if self.frame.fit != FIT:
            raise EvaluationError(f"the reference protocol takes the fit {FIT!r}, not {self.frame.fit!r}; load so")

    def predict(
        self,
        points_xy: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        box_xyxy: np.ndarray | None = None,
        previous: ProtocolPrediction | None = None,
    ) -> ProtocolPrediction:
        """Segment one object; the arguments as in `Prompts`, in px of the frame.

        Args:
            points_xy: (N, 2) px of the frame.
            labels: (N,), 1 inside, 0 outside, -1 for a point that pads.
            box_xyxy: (4,) px of the frame, half-open.
            previous: what was found before; its logits are a prompt too.

        Raises:
            EngineError: the model is computed by NumPy.
        """
        device, model = self._predictor.device, self._predictor.model
        import torch

        from SAMMed2DLib.model.mask_decoder import select_best

        points = boxes = masks = None
        if points_xy is not None and labels is not None:
            points = (torch.from_numpy(points_xy[None]).float().to(device), torch.from_numpy(labels[None]).to(device))
        if box_xyxy is not None:
            boxes = torch.from_numpy(box_xyxy.reshape(1, 2, 2)).float().to(device)
        with torch.inference_mode():
            if previous is not None:
                masks = previous.low_res.to(device).sigmoid()
            low_res = select_best(*model.decode(self._features, points, boxes, masks))[0].float().cpu()
            in_frame = model.upscale(low_res)[0, 0] > 0
        return ProtocolPrediction(in_frame.numpy(), self.frame.slice_logits(low_res.numpy())[0, 0] > 0, low_res)


def boxes_of(target: Target, embedding: Embedding, options: EvaluationOptions) -> dict[str, np.ndarray]:
    """The box of the object's largest part and the moved ones: (4,) float64, px of the frame, half-open.

    Args:
        target: the object.
        embedding: of its slice; says how the slice lies in the frame.
        options: which moved boxes there are, and the seed.

    Raises:
        VanishedError: nothing of the object is left in the frame.
    """
    label = _label_in_frame(target, embedding)
    box = box_of_mask(label)
    moved = {
        name: moved_box(box, label.shape, share, target.rng(options.seed, name))
        for share, name in ((share, jittered_name(BOX, share)) for share in options.box_jitters)
    }
    return {BOX: box, **moved}


def slice_boxes_of(target: Target, embedding: Embedding, options: EvaluationOptions) -> dict[str, np.ndarray]:
    """The same boxes in px of the slice, for other models.

    Args:
        target: the object.
        embedding: of its slice.
        options: as for `boxes_of`.

    Returns:
        (4,) float64 each, px of the slice, half-open, by the kind of prompt.

    Raises:
        VanishedError: nothing of the object is left in the frame.
    """
    frame = embedding.frames[0]
    offset, scale = np.tile(frame.offset_xy, 2), np.tile(frame.scale_xy, 2)
    return {kind: (box - offset) / scale for kind, box in boxes_of(target, embedding, options).items()}


def slice_click_of(target: Target, embedding: Embedding, options: EvaluationOptions) -> np.ndarray:
    """The first click, (2,) float64, in px of the slice.

    Args:
        target: the object.
        embedding: of its slice.
        options: with the seed.

    Raises:
        VanishedError: nothing of the object is left in the frame.
    """
    frame = embedding.frames[0]
    point, _ = first_point(_label_in_frame(target, embedding), target.rng(options.seed, _POINT))
    return (point - frame.offset_xy) / frame.scale_xy


def score(
    sheet: ScoreSheet, predictor: Predictor, embedding: Embedding, target: Target, options: EvaluationOptions
) -> None:
    """Prompt one object in all ways.

    Args:
        sheet: takes the scores.
        predictor: the model.
        embedding: of the slice.
        target: the object.
        options: what is asked and measured.

    Raises:
        VanishedError: nothing of the object is left in the frame.
        EvaluationError: slices are not padded to the model's input.
    """
    user = FramePredictor(predictor, embedding)
    boxes = boxes_of(target, embedding, options)
    sheet.add(FILLED_BOX, filled(box_of_mask(target.mask), target.mask.shape))
    for kind, box in boxes.items():
        sheet.add(kind, user.predict(box_xyxy=box).slice_hw)
    for count, (found, _, _) in enumerate(click_by_click(user, target, embedding, options), 1):
        if count in options.clicks:
            sheet.add(clicks_name(count), found.slice_hw)
        if count <= options.most_clicks:
            sheet.add_to_curve(found.slice_hw)


def click_by_click(
    user: FramePredictor, target: Target, embedding: Embedding, options: EvaluationOptions
) -> Iterator[Step]:
    """Add one click after another: what was found, all points so far (frame px) and their labels.

    Args:
        user: predicts in the frame.
        target: the object.
        embedding: of its slice.
        options: how many clicks there are, and the seed.

    Raises:
        VanishedError: nothing of the object is left in the frame.
    """
    label = _label_in_frame(target, embedding)
    point, positive = first_point(label, target.rng(options.seed, _POINT))
    points, labels = point[None], np.array([positive], np.int64)
    rng = target.rng(options.seed, _ERRORS)
    found: ProtocolPrediction | None = None
    for _ in range(options.last_click):
        found = user.predict(points, labels, previous=found)
        yield found, points, labels
        more, their_labels = error_points(found.frame_hw, label, 1, rng)
        points, labels = np.concatenate([points, more]), np.concatenate([labels, their_labels])


def _label_in_frame(target: Target, embedding: Embedding) -> np.ndarray:
    label = embedding.frames[0].resample_nearest(target.mask)
    if not label.any():
        raise VanishedError(f"{target.entry.mask}: nothing of it is left in the model's frame")
    return label
