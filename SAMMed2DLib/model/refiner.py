"""The refiner: corrects a mask at twice the size at which it was decoded, from pixels and prompts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# A click is seen as a spot of this standard deviation, px of the frame that prompts are counted in.
_SPOT_PX = 6.0
_LARGEST_LOGIT = 12.0


class Refiner(nn.Module):
    """A few dilated convolutions over the image, the decoder's logits and the prompts; nothing is changed at first."""

    def __init__(self, dim: int) -> None:
        """Create the convolutions of `dim` channels; the last one begins at zero."""
        super().__init__()
        self.first = nn.Conv2d(12 + 2 + 3, dim, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=step, dilation=step) for step in (1, 2, 4, 2, 1))
        self.last = nn.Conv2d(dim, 4, 3, padding=1)
        for weights in self.last.parameters():
            nn.init.zeros_(weights)

    def forward(self, images: Tensor, logits: Tensor, prompts: Tensor) -> Tensor:
        """Correct logits.

        Args:
            images: (N, 3, 2L, 2L) in 0..1.
            logits: (N, 1, L, L), of the decoder.
            prompts: (N, 3, L, L), `prompt_maps`.

        Returns:
            (N, 1, 2L, 2L) logits.
        """
        clamped = logits.clamp(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        seen = [functional.pixel_unshuffle(images, 2) - 0.5, clamped / 6, clamped.sigmoid() - 0.5, prompts]
        x = functional.gelu(self.first(torch.cat(seen, dim=1)))
        for layer in self.middle:
            x = x + functional.gelu(layer(x))
        fine = functional.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        return fine + functional.pixel_shuffle(self.last(x), 2)


def prompt_maps(
    points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, size: int, prompt_size: int, count: int
) -> Tensor:
    """Draw prompts as maps: positive points, negative points, the inside of the box.

    Args:
        points: (N, n, 2) coordinates, px of the prompts' frame, and (N, n) labels; None for no points.
        boxes: (N, 4) or (N, 2, 2), px of the prompts' frame; None for no boxes.
        size: side of the maps, L.
        prompt_size: side of the frame that prompts are counted in, px.
        count: N.

    Returns:
        (N, 3, L, L) in 0..1.
    """
    centres = (torch.arange(size) + 0.5) * (prompt_size / size) - 0.5
    maps = torch.zeros(count, 3, size, size)
    if points is not None:
        xy, labels = points
        near_x = torch.exp(-((centres - xy[..., :1]) ** 2) / (2 * _SPOT_PX**2))  # (N, n, L)
        near_y = torch.exp(-((centres - xy[..., 1:]) ** 2) / (2 * _SPOT_PX**2))
        spots = near_y[..., :, None] * near_x[..., None, :]
        for channel, label in ((0, 1), (1, 0)):
            maps[:, channel] = (spots * (labels == label)[..., None, None]).amax(dim=1)
    if boxes is not None:
        x0, y0, x1, y1 = (side[:, None] for side in boxes.reshape(-1, 4).unbind(1))
        in_x, in_y = ((centres >= x0) & (centres < x1)).float(), ((centres >= y0) & (centres < y1)).float()
        maps[:, 2] = in_y[:, :, None] * in_x[:, None]
    return maps
