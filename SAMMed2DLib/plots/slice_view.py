"""How a slice is shown to people: the anatomical way up, square pixels, a readable size.

Views are those of 3D Slicer: axial with anterior up and the patient's right on the left, coronal with
superior up and the patient's right on the left, sagittal with superior up and anterior on the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SAMMed2DLib.imaging.geometry import SlicePlane

# By the RAS component that slices are stacked along: the picture's right and down, as RAS directions.
_VIEWS = {
    0: ((0, -1, 0), (0, 0, -1)),  # sagittal: posterior to the right, inferior down
    1: ((-1, 0, 0), (0, 0, -1)),  # coronal: the patient's left to the right, inferior down
    2: ((-1, 0, 0), (0, -1, 0)),  # axial: the patient's left to the right, posterior down
}
_LETTERS = ("LR", "PA", "IS")
# More is not seen on a screen, and takes memory and time.
MOST_PX = 2048


@dataclass(frozen=True)
class SliceView:
    """How the pixels of a slice become those of a picture.

    Attributes:
        swapped: the slice's rows are the picture's columns.
        flipped_xy: the picture runs against the slice's (swapped) columns or rows.
        scale_xy: picture px per (swapped) slice px.
        size_hw: of the picture, px.
        letters: patient directions at the picture's left and top edge, "R" for right and so on.
    """

    swapped: bool
    flipped_xy: tuple[bool, bool]
    scale_xy: tuple[float, float]
    size_hw: tuple[int, int]
    letters: tuple[str, str]

    @classmethod
    def of(
        cls, plane: SlicePlane, ijk_to_ras: np.ndarray, size_px: int = 512, most_px: int = MOST_PX
    ) -> SliceView:
        """The view whose longer side has `size_px`, or the slice's own number of pixels if that is more.

        Args:
            plane: the slice.
            ijk_to_ras: (4, 4), mm.
            size_px: least length of the picture's longer side.
            most_px: its greatest length; larger slices are drawn smaller.
        """
        steps_ras = np.array([plane.column_step_ijk, plane.row_step_ijk]) @ np.asarray(ijk_to_ras)[:3, :3].T
        spacing = np.linalg.norm(steps_ras, axis=1)
        directions = steps_ras / spacing[:, None]
        right, down = _VIEWS[int(np.abs(np.cross(*directions)).argmax())]
        swapped = bool(abs(directions[0] @ right) < abs(directions[1] @ right))
        if swapped:
            directions, spacing = directions[::-1], spacing[::-1]
        flipped = (bool(directions[0] @ right < 0), bool(directions[1] @ down < 0))
        height, width = plane.size_hw[::-1] if swapped else plane.size_hw
        millimetres = np.array([width, height]) * spacing
        longest = min(max(size_px, *plane.size_hw), max(size_px, most_px))
        shown = np.maximum(1, np.round(millimetres * (longest / millimetres.max()))).astype(int)
        scale = (float(shown[0] / width), float(shown[1] / height))
        return cls(swapped, flipped, scale, (int(shown[1]), int(shown[0])), (_letter(right), _letter(down)))

    def picture(self, image_hwc: np.ndarray) -> np.ndarray:
        """Bring a slice (H, W, 3) uint8 into the view, interpolated; (h, w, 3) float32, 0..255."""
        image, scales = self._oriented(image_hwc), list(reversed(self.scale_xy))
        for axis, scale in enumerate(scales):
            shrink = int(1 / scale)
            if shrink > 1:  # averaged first, so that nothing glitters, and that a large slice stays 8-bit
                image, scales[axis] = _averaged(image, axis, shrink), scale * shrink
        for axis, scale in enumerate(scales):
            image = _resized(image, axis, self.size_hw[axis], scale)
        return image.astype(np.float32, copy=False)

    def mask(self, mask_hw: np.ndarray) -> np.ndarray:
        """Bring a mask (H, W) bool into the view, its pixels as they are; (h, w) bool."""
        mask = self._oriented(mask_hw)
        rows, columns = (
            np.minimum((np.arange(count) + 0.5) * (length / count), length - 1).astype(int)
            for count, length in zip(self.size_hw, mask.shape, strict=True)
        )
        return mask[np.ix_(rows, columns)]

    def points(self, points_xy: np.ndarray) -> np.ndarray:
        """Bring points (N, 2), slice px, to picture px; an integer is a pixel centre in both."""
        points = np.array(points_xy, dtype=np.float64).reshape(-1, 2)
        if self.swapped:
            points = points[:, ::-1]
        size_xy = np.array(self.size_hw[::-1]) / self.scale_xy
        points = np.where(self.flipped_xy, size_xy - 1 - points, points)
        return (points + 0.5) * self.scale_xy - 0.5

    def slice_points(self, points_px: np.ndarray) -> np.ndarray:
        """Bring points (N, 2), picture px, to slice px: the inverse of `points`."""
        points = (np.array(points_px, dtype=np.float64).reshape(-1, 2) + 0.5) / self.scale_xy - 0.5
        size_xy = np.array(self.size_hw[::-1]) / self.scale_xy
        points = np.where(self.flipped_xy, size_xy - 1 - points, points)
        return points[:, ::-1] if self.swapped else points

    def _oriented(self, slice_hw: np.ndarray) -> np.ndarray:
        image = slice_hw.swapaxes(0, 1) if self.swapped else slice_hw
        flip_x, flip_y = self.flipped_xy
        return image[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def _letter(direction: tuple[int, int, int]) -> str:
    """The letter of the edge opposite to a direction: what lies at the left or at the top."""
    axis = int(np.abs(direction).argmax())
    return _LETTERS[axis][1] if direction[axis] < 0 else _LETTERS[axis][0]


def _resized(image: np.ndarray, axis: int, count: int, scale: float) -> np.ndarray:
    """Interpolate along one axis."""
    position = np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, image.shape[axis] - 1)
    low = np.floor(position).astype(int)
    share = (position - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    high = np.minimum(low + 1, image.shape[axis] - 1)
    return image.take(low, axis) * (1 - share) + image.take(high, axis) * share


def _averaged(image: np.ndarray, axis: int, group: int) -> np.ndarray:
    """The means of so many rows or columns each; (h, W, 3) or (H, w, 3) float32."""
    lines = image if axis == 0 else image.swapaxes(0, 1)
    sums = np.zeros((-(-len(lines) // group), *lines.shape[1:]), np.float32)
    for first in range(group):
        part = lines[first::group]
        sums[: len(part)] += part
    sums[:-1] /= group
    sums[-1] /= len(lines) - (len(sums) - 1) * group
    return sums if axis == 0 else sums.swapaxes(0, 1)
