"""A stand-in for another model that is evaluated beside ours."""

from __future__ import annotations

import numpy as np


class LeftHalf:
    """Another model, that takes the left half of its box."""

    name = "other"

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []

    def embed(self, image):
        return image.shape[:2]

    def segment(self, embedding, box_xyxy):
        self.boxes.append(box_xyxy)
        mask = np.zeros(embedding, bool)
        x0, y0, x1, y1 = box_xyxy.astype(int)
        mask[y0:y1, x0 : (x0 + x1) // 2] = True
        return mask
