"""What `sammed2d segment --png` draws: the slice with its masks and prompts, or a sheet of all slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from SAMMed2DLib.cli.common.console_report import Masks
from SAMMed2DLib.cli.common.prompt_options import SegmentRequest, legend_of
from SAMMed2DLib.cli.show import RULED_PX
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.rulers import with_rulers
from SAMMed2DLib.plots.slice_view import MOST_PX, SliceView

if TYPE_CHECKING:
    from SAMMed2DLib.cli.segment import SegmentJob

_SHEET_PX = 8192  # the most a side of a sheet has, about


def pictures_of(
    job: SegmentJob,
    volume: Volume,
    requests: Sequence[SegmentRequest],
    segments: Sequence[Segment],
    masks: Masks,
    intensity: Intensity,
) -> np.ndarray:
    """Draw what was found, (H, W, 3) uint8; large slices are drawn smaller than they are.

    Args:
        job: what was asked for.
        volume: the image.
        requests: the segments' prompts.
        segments: their names and colours.
        masks: the predictions.
        intensity: as the model saw it.
    """
    most_px = min(MOST_PX, int(_SHEET_PX / math.ceil(math.sqrt(len(masks)))))
    size_px = min(most_px, RULED_PX if job.rulers else 1024 if len(masks) == 1 else 640)
    pictures, captions = [], []
    for plane, predictions in masks.items():
        layers = [MaskLayer(prediction.mask, segments[n].color or (1.0, 0.0, 0.0)) for n, prediction in predictions]
        prompts = [requests[n].prompts[plane] for n, _ in predictions]
        view = SliceView.of(plane, volume.ijk_to_ras, size_px, most_px)
        image = rgb_from_slice(plane.extract(volume.array), intensity)
        picture = draw_slice(image, view, layers, prompts, letters=min(volume.size_ijk) > 1)
        caption = f"{legend_of(plane, volume)}: {', '.join(segments[n].name for n, _ in predictions)}"
        pictures.append(with_rulers(picture, view, caption) if job.rulers else picture)
        captions.append(caption)
    return pictures[0] if len(pictures) == 1 else contact_sheet(pictures, () if job.rulers else captions)
