"""The one place that maps a slice (px, any size) to the model's square frame and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from SAMMed2DLib.imaging.bilinear import resized
from SAMMed2DLib.model.config.model_config import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["stretch", "pad"]
FITS: tuple[Fit, ...] = ("stretch", "pad")

# Statistics of ImageNet in R, G, B order; the published code applies them to whatever order it is given.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class ResizeTransform:
    """How one slice lies in the model's S x S frame.

    Attributes:
        size_hw: size of the slice, px.
        image_size: S, px.
        fit: "stretch" brings every slice to S x S, as the published predictor does. "pad" centres a slice
            smaller than S on both sides in zeros, as the published data loaders do, and stretches others.
        preprocessing: how pixels are brought there, see `ModelConfig`; "min-max" always stretches.
        prompt_size: side of the frame that points and boxes are counted in, px; None: S.
    """

    size_hw: tuple[int, int]
    image_size: int = 256
    fit: Fit = "stretch"
    preprocessing: Preprocessing = "published"
    prompt_size: int | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown fit or an empty slice."""
        if self.fit not in FITS:
            raise ValueError(f"unknown fit {self.fit!r}: choose one of {', '.join(FITS)}")
        if min(self.size_hw) < 1:
            raise ValueError(f"the slice is empty: {self.size_hw[0]} x {self.size_hw[1]} px")

    @property
    def is_padded(self) -> bool:
        """Whether the slice is centred unscaled in the frame."""
        fits = self.fit == "pad" and max(self.size_hw) < self.image_size
        return fits and self.preprocessing == "published"

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Column and row of the slice's first pixel in the frame; (0, 0) where it is stretched."""
        if not self.is_padded:
            return (0, 0)
        height, width = self.size_hw
        return ((self.image_size - width) // 2, (self.image_size - height) // 2)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model px per slice px along x and y."""
        if self.is_padded:
            return (1.0, 1.0)
        height, width = self.size_hw
        return (self.image_size / width, self.image_size / height)

    def model_from_xy(self, points_xy: np.ndarray) -> np.ndarray:
        """Map slice px to px of the frame that the network counts prompts in: the model frame, mostly.

        There is no half-pixel correction, as published: the weights were trained that way.

        Args:
            points_xy: (..., 2) float, slice px; integer = pixel centre.

        Returns:
            (..., 2) float32, model px.
        """
        points = np.asarray(points_xy, dtype=np.float64)
        in_frame = points * self.scale_xy + self.offset_xy
        if self.prompt_size is not None:
            in_frame *= self.prompt_size / self.image_size
        return in_frame.astype(np.float32)

    def resample_nearest(self, slice_hw: np.ndarray) -> np.ndarray:
        """Bring an image or label (H, W, ...) of any dtype to (S, S, ...); outside is 0."""
        height, width = self.size_hw
        if not self.is_padded:
            rows = nearest_index(height, self.image_size)
            columns = nearest_index(width, self.image_size)
            return slice_hw.take(rows, axis=0).take(columns, axis=1)  # three times as fast as both indices at once
        out = np.zeros((self.image_size, self.image_size, *slice_hw.shape[2:]), slice_hw.dtype)
        left, top = self.offset_xy
        out[top : top + height, left : left + width] = slice_hw
        return out

    def model_image(self, image_hwc: np.ndarray) -> np.ndarray:
        """Normalise a slice and bring it into the frame.

        Args:
            image_hwc: (H, W, 3) uint8.

        Returns:
            (3, S, S) float32, normalised as `preprocessing` says; the padding is 0 after normalisation.

        Raises:
            ValueError: not (H, W, 3) uint8 of this frame's size.
        """
        if image_hwc.dtype != np.uint8 or image_hwc.shape != (*self.size_hw, 3):
            raise ValueError(
                f"expected uint8 of shape {(*self.size_hw, 3)}, got {image_hwc.dtype} {image_hwc.shape}; "
                "image.rgb_from_slice makes such an image of any slice"
            )
        if self.preprocessing == "min-max":
            return stretched(image_hwc, self.image_size)
        placed = normalise(self.resample_nearest(image_hwc))
        if self.is_padded:
            placed *= self.resample_nearest(np.ones(self.size_hw, bool))
        return placed

    def slice_logits(self, low_res: np.ndarray) -> np.ndarray:
        """Bring logits (B, M, 4g, 4g) back to the slice, (B, M, H, W).

        Two steps, as published: up to S x S, then to the slice; a direct resize gives other values.
        """
        logits = resized(low_res, (self.image_size, self.image_size))
        if not self.is_padded:
            return resized(logits, self.size_hw)
        left, top = self.offset_xy
        return logits[..., top : top + self.size_hw[0], left : left + self.size_hw[1]]

    def low_res_logits(self, logits: np.ndarray, side: int) -> np.ndarray:
        """Bring logits of the slice (B, M, H, W) to (B, M, side, side), the size that the mask prompt has.

        What is padded becomes as surely outside as the least of them.
        """
        if not self.is_padded:
            return resized(logits, (side, side))
        framed = np.full((*logits.shape[:2], self.image_size, self.image_size), logits.min(), np.float32)
        left, top = self.offset_xy
        framed[..., top : top + self.size_hw[0], left : left + self.size_hw[1]] = logits
        return resized(framed, (side, side))


def normalise(image_hwc: np.ndarray) -> np.ndarray:
    """Subtract the mean and divide by the standard deviation: (H, W, 3) uint8 to (3, H, W) float32."""
    mean, std = np.array(PIXEL_MEAN, np.float32), np.array(PIXEL_STD, np.float32)
    return np.ascontiguousarray(((image_hwc.astype(np.float32) - mean) / std).transpose(2, 0, 1))


def denormalised(images: Tensor) -> Tensor:
    """Undo `normalise` of images (B, 3, H, W): pixels of 0..255."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return images * std + mean


def stretched(image_hwc: np.ndarray, side: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (3, side, side) float32 bilinearly with antialiasing, its values stretched to 0..1."""
    red, green, blue = (image_hwc[..., channel] for channel in range(3))
    is_grey = np.array_equal(red, green) and np.array_equal(red, blue)
    pixels = red.astype(np.float32)[None] if is_grey else image_hwc.transpose(2, 0, 1).astype(np.float32, order="C")
    small = resized(pixels, (side, side), antialias=True)
    low, high = small.min(), small.max()
    small = (small - low) / max(high - low, np.float32(1e-8))
    return np.repeat(small, 3, axis=0) if is_grey else small


def stretched_each(images: Tensor, side: int) -> Tensor:
    """The same of images (B, 3, H, W) of any range, each stretched by itself: (B, 3, side, side)."""
    from torch.nn import functional

    small = functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
    low, high = small.amin(dim=(1, 2, 3), keepdim=True), small.amax(dim=(1, 2, 3), keepdim=True)
    return (small - low) / (high - low).clamp(min=1e-8)


def nearest_index(size: int, target: int) -> np.ndarray:
    """Source index of each of `target` pixels under OpenCV's nearest-neighbour rule, (target,) int.

    The ratio is formed as 1 / (target / size), in double: size / target differs by a pixel at some sizes.
    """
    ratio = 1.0 / (target / size)
    return np.minimum(np.floor(np.arange(target) * ratio), size - 1).astype(np.intp)
