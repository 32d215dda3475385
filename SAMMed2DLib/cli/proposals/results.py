"""What commands that propose objects write: a segment for each proposal, a table of them, and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from SAMMed2DLib.cli.common.console_report import sizes
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.io.segmentation_io import Segment
from SAMMed2DLib.io.volume_io import Volume
from SAMMed2DLib.plots.contact_sheet import contact_sheet
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView

if TYPE_CHECKING:
    from SAMMed2DLib.proposals.ranking import Proposal

_PICTURES, _PICTURE_PX, _SINGLE_PX = 9, 640, 1024


def volume_masks(
    volume: Volume,
    known: Iterator[np.ndarray],
    planes: Sequence[SlicePlane],
    found: Sequence[Proposal],
    voxels: list[int],
) -> Iterator[np.ndarray]:
    """One (K, J, I) bool array after the other, first what is there already, then the proposals.

    Args:
        volume: the image.
        known: what is there already.
        planes: the slices that proposals name.
        found: the proposals.
        voxels: takes the number of voxels of each, as they pass.
    """
    for mask in known:
        voxels.append(int(mask.sum()))
        yield mask
    for proposal in found:
        whole = np.zeros(volume.array.shape[:3], bool)
        planes[proposal.slice_index].insert(whole, proposal.mask, True)
        voxels.append(int(proposal.mask.sum()))
        yield whole


def proposal_entries(
    volume: Volume, names: Sequence[str], found: Sequence[Proposal], voxels: Sequence[int]
) -> list[dict[str, Any]]:
    """The proposals of a report, of plain types.

    Args:
        volume: the image.
        names: of their segments.
        found: the proposals.
        voxels: of each.
    """
    return [
        {
            "name": name,
            "slice": proposal.slice_index,
            **_prompt_entry(proposal),
            "score": round(proposal.score, 4),
            "rank": round(proposal.rank, 4),
            **sizes(volume, count),
        }
        for name, proposal, count in zip(names, found, voxels, strict=True)
    ]


def _prompt_entry(proposal: Proposal) -> dict[str, Any]:
    """What `sammed2d segment` gives the same mask for."""
    prompts = proposal.prompts
    if prompts.box_xyxy is None:
        return {"point": prompts.points_xy[0].tolist()}
    return {"box": prompts.box_xyxy.tolist()}


def picture(
    volume: Volume,
    planes: Sequence[SlicePlane],
    slices: Sequence[int],
    there: Mapping[int, np.ndarray],
    found: Sequence[Proposal],
    segments: Sequence[Segment],
    intensity: Intensity,
) -> np.ndarray:
    """Draw the slices with most proposals, (H, W, 3) uint8: what is there in white, proposals in their colours.

    Args:
        volume: the image.
        planes: its slices.
        slices: those that were searched.
        there: (H, W) bool, what is there already, by slice.
        found: the proposals.
        segments: all segments, the last ones those of the proposals.
        intensity: as the model saw it.
    """
    colors = [segment.color or (1.0, 0.0, 0.0) for segment in segments[len(segments) - len(found) :]]
    counts = {n: sum(proposal.slice_index == n for proposal in found) for n in slices}
    shown = sorted(sorted(slices, key=lambda n: -counts[n])[:_PICTURES])
    images = []
    for n in shown:
        layers = [MaskLayer(there[n], (1.0, 1.0, 1.0))] if n in there else []
        layers += [MaskLayer(p.mask, color) for p, color in zip(found, colors, strict=True) if p.slice_index == n]
        view = SliceView.of(planes[n], volume.ijk_to_ras, _PICTURE_PX if len(shown) > 1 else _SINGLE_PX)
        pixels = rgb_from_slice(planes[n].extract(volume.array), intensity)
        images.append(draw_slice(pixels, view, layers, letters=min(volume.size_ijk) > 1))
    return images[0] if len(images) == 1 else contact_sheet(images, [f"slice {n}" for n in shown])
