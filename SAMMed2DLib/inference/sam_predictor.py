"""The habits of segment-anything's `SamPredictor`, for code that was written for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from SAMMed2DLib.inference.prompts import PromptError, Prompts

if TYPE_CHECKING:
    from SAMMed2DLib.inference.prediction import Embedding
    from SAMMed2DLib.inference.predictor import Predictor

IMAGE_FORMATS = ("RGB", "BGR")


class NoImageError(RuntimeError):
    """There is no image yet that a prompt could be about."""


class SamPredictor:
    """One image at a time, and prompts about it; a face of `Predictor`, to be used from one thread at a time.

    Frames, shapes and dtypes are those of segment-anything: px of the image, x = column and y = row, a box
    (x0, y0, x1, y1); masks (C, H, W), scores (C,), logits (C, h, w). Three things differ. What makes no sense is
    refused: no prompt at all, a point beside the image, labels other than 1 and 0. `mask_input` are logits, as
    `predict` returned them, also for weights of SAM-Med2D, whose own code wants their sigmoid. And
    `multimask_output=False` returns the best of the three masks instead of a fourth one, which the training of
    SAM-Med2D leaves untrained.

    Attributes:
        predictor: the network; it can be shared with a `Session`.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Begin without an image.

        Args:
            predictor: of `load_predictor`, with weights of any kind.
        """
        self.predictor = predictor
        self._embedding: Embedding | None = None

    @property
    def device(self) -> Any:
        """Where the network is: a device of PyTorch, or "cpu"."""
        return self.predictor.device

    @property
    def is_image_set(self) -> bool:
        """Whether `predict` may be called."""
        return self._embedding is not None

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Encode an image, in place of the last one; the costly step.

        Args:
            image: (H, W, 3) uint8, of any size.
            image_format: order of its channels, "RGB" or "BGR".

        Raises:
            ValueError: another type, shape or format; the last image stays.
        """
        if image_format not in IMAGE_FORMATS:
            raise ValueError(f"unknown image format {image_format!r}: choose one of {', '.join(IMAGE_FORMATS)}")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise ValueError(
                f"set_image takes (H, W, 3) uint8, not {kind}; imaging.intensity.rgb_from_slice makes it of any slice"
            )
        self._embedding = self.predictor.embed([image if image_format == "RGB" else image[..., ::-1]])

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: np.ndarray | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Segment one object of the image.

        Args:
            point_coords: (N, 2), px, x and y.
            point_labels: (N,), 1 inside the object, 0 outside.
            box: (4,), px, (x0, y0, x1, y1).
            mask_input: (1, h, w), logits of an earlier call for the same image.
            multimask_output: three masks; False returns only the one with the largest score.
            return_logits: return logits instead of masks.

        Returns:
            masks (C, H, W) bool, or logits float32, positive inside; the IoU predicted for each, (C,) float32; and
            low-resolution logits (C, h, w) float32. C is 3 or 1.

        Raises:
            NoImageError: `set_image` was not called.
            PromptError: the prompts do not fit the image or contradict each other, or there is none.
        """
        prompts = _prompts(point_coords, point_labels, box, mask_input)
        embedding = self._current()
        if multimask_output:
            predictions = self.predictor.predict_all(embedding, prompts)
        else:
            predictions = [self.predictor.predict(embedding, prompts)]
        logits = np.stack([prediction.logits() for prediction in predictions])
        scores = np.array([prediction.score for prediction in predictions], np.float32)
        low_res = np.stack([prediction.low_res_logits for prediction in predictions])
        return logits if return_logits else logits > 0, scores, low_res

    def get_image_embedding(self) -> Any:
        """Features of the image, (1, C, g, g) float32: a tensor on the device, or an array where NumPy computes.

        Raises:
            NoImageError: `set_image` was not called.
        """
        return self._current().features

    def reset_image(self) -> None:
        """Forget the image."""
        self._embedding = None

    def _current(self) -> Embedding:
        if self._embedding is None:
            raise NoImageError("no image is set: call set_image(image) first")
        return self._embedding


def _prompts(
    point_coords: ArrayLike | None, point_labels: ArrayLike | None, box: ArrayLike | None, mask_input: np.ndarray | None
) -> Prompts:
    if (point_coords is None) != (point_labels is None):
        given, missing = ("point_coords", "point_labels") if point_labels is None else ("point_labels", "point_coords")
        raise PromptError(f"{given} without {missing}: give one label (1 inside, 0 outside) for each point")
    if mask_input is not None:
        if np.ndim(mask_input) != 3 or len(mask_input) != 1:
            raise PromptError(
                f"mask_input has shape (1, h, w), not {np.shape(mask_input)}: give one of the low-resolution logits, "
                "logits[i][None]"
            )
        mask_input = mask_input[0]
    if isinstance(box, np.ndarray) and box.shape == (1, 4):  # segment-anything takes it too
        box = box[0]
    prompts = Prompts.of(box=box, low_res_logits=mask_input)
    if point_coords is None or point_labels is None:
        return prompts
    return Prompts(np.asarray(point_coords), np.asarray(point_labels), prompts.box_xyxy, prompts.low_res_logits)
