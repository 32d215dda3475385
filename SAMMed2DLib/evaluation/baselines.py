"""What a network must beat: masks drawn from the prompt alone, and such masks fitted to the grey values.

Of a box: all of it, the ellipse inscribed in it, and this ellipse given to the product's own fit. Of a first click: a
disc of a usual size, fitted likewise. None of them uses a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from SAMMed2DLib.evaluation.evaluation_options import (
    DISC_FIT,
    ELLIPSE,
    ELLIPSE_FIT,
    FILLED,
    FILLED_BOX,
    clicks_name,
)
from SAMMed2DLib.evaluation.protocols.objects import filled
from SAMMed2DLib.inference.outlines.refinement import refine_logits
from SAMMed2DLib.inference.zoom import Crop

# A logit of 8 in the middle of the ellipse; the fit weighs it against grey values.
ELLIPSE_LOGIT = 8.0
DISC_SHARE = 0.06  # of the image


def baseline_masks(
    image: np.ndarray, boxes: Mapping[str, np.ndarray], click_xy: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """The masks of all baselines.

    Args:
        image: (H, W, 3) uint8.
        boxes: (4,) float each, (x0, y0, x1, y1), px, half-open, by the kind of prompt.
        click_xy: (2,) float, px: the first click.

    Yields:
        the name of the baseline with the kind of prompt, as in `EvaluationOptions.kinds`, and the mask (H, W) bool.
    """
    from_box: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
        FILLED: filled_box,
        ELLIPSE: ellipse,
        ELLIPSE_FIT: fitted_ellipse,
    }
    for name, mask_of in from_box.items():
        for kind, box in boxes.items():
            if (scored := f"{name} {kind}") != FILLED_BOX:  # every evaluation has it
                yield scored, mask_of(image, box)
    yield f"{DISC_FIT} {clicks_name(1)}", fitted_disc(image, click_xy)


def filled_box(image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """All of a box, (H, W) bool; arguments as of `baseline_masks`."""
    return filled(np.clip(np.round(box_xyxy), 0, np.tile(image.shape[1::-1], 2)), image.shape[:2])


def ellipse(image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """The ellipse inscribed in a box, (H, W) bool; arguments as of `baseline_masks`."""
    return ellipse_logits(box_xyxy, image.shape[:2]) > 0


def fitted_ellipse(image: np.ndarray, box_xyxy: np.ndarray) -> np.ndarray:
    """The ellipse inscribed in a box, fitted to the grey values of the crop that the product would take: (H, W) bool.

    Arguments as of `baseline_masks`.
    """
    size_hw = (image.shape[0], image.shape[1])
    view = Crop.around(box_xyxy, size_hw)
    logits = view.cut(ellipse_logits(box_xyxy, size_hw))
    return view.whole_mask(refine_logits(logits, view.cut(image)) > 0)


def fitted_disc(image: np.ndarray, click_xy: np.ndarray) -> np.ndarray:
    """A disc of `DISC_SHARE` of the image around a click, fitted to the image's grey values: (H, W) bool.

    Arguments as of `baseline_masks`.
    """
    radius = np.sqrt(DISC_SHARE * image.shape[0] * image.shape[1] / np.pi)
    box = np.concatenate([click_xy + 0.5 - radius, click_xy + 0.5 + radius])
    return refine_logits(ellipse_logits(box, image.shape[:2]), image) > 0


def ellipse_logits(box_xyxy: np.ndarray, size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) float64: 0 on the ellipse inscribed in a box, positive inside, falling evenly along each radius."""
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]] + 0.5
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, np.maximum((box_xyxy[2:] - box_xyxy[:2]) / 2, 0.5)
    return ELLIPSE_LOGIT * (1 - np.hypot((columns - centre[0]) / half[0], (rows - centre[1]) / half[1]))
