"""What the slice view of the page shows: the picture with masks and prompts, and the words around it."""

from __future__ import annotations

import base64
import html
import io
from itertools import count
from typing import Any

import numpy as np

from SAMMed2DLib.cli.common.prompt_options import legend_of
from SAMMed2DLib.demo_page.workspace import Workspace
from SAMMed2DLib.imaging.intensity import Intensity, rgb_from_slice
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import MaskPrediction
from SAMMed2DLib.plots.overlay import MaskLayer, draw_slice
from SAMMed2DLib.plots.slice_view import SliceView

_SIDE_PX, _MOST_PX, _QUALITY = 640, 1024, 90
_GRADES = {"good": "good", "fair": "fair", "check": "please check"}
_serials = count(1)


def slice_view(workspace: Workspace) -> SliceView:
    """How the slice that is shown lies in its picture."""
    return SliceView.of(workspace.plane, workspace.volume.ijk_to_ras, _SIDE_PX, _MOST_PX)


def place_in_slice(workspace: Workspace, shares: Any) -> np.ndarray:
    """Bring places in the picture to the slice.

    Args:
        workspace: whose slice is shown.
        shares: (N, 2), x and y as shares of the picture's width and height, from its left top corner.

    Returns:
        (N, 2) float64, slice px.
    """
    view = slice_view(workspace)
    size_xy = np.array(view.size_hw[::-1])
    places = np.clip(np.asarray(shares, np.float64).reshape(-1, 2), 0, 1 - 1e-9)
    height, width = workspace.plane.size_hw
    return np.clip(view.slice_points(places * size_xy - 0.5), 0, (width - 1, height - 1))


def shown(workspace: Workspace, message: str = "", *, trouble: bool = False) -> dict[str, Any]:
    """All that the slice view needs, of plain types.

    Args:
        workspace: of the visitor.
        message: what to say; empty says how sure the mask is.
        trouble: the message is of something that went wrong.
    """
    told = {"serial": next(_serials), "trouble": trouble, "is_last": True}
    if workspace.image is None:
        return {**told, "picture": "", "slices": 1, "index": 0, "legend": "", "candidate": "", "message": message}
    found, view, segment = workspace.answer(), slice_view(workspace), workspace.draft.segment
    given = segment.prompts_on(workspace.plane)
    letters = view.letters if min(workspace.volume.size_ijk) > 1 else ("", "")
    return {
        **told,
        "picture": picture_of(workspace, given, None if found is None else found.mask),
        "slices": workspace.slices,
        "index": workspace.index,
        "left": letters[0],
        "top": letters[1],
        "legend": legend_of(workspace.plane, workspace.volume),
        "candidate": candidate_text(found),
        "message": message or _words(workspace, found, given),
    }


def candidate_text(found: MaskPrediction | None) -> str:
    """Which of the candidates a mask is; empty where they were not asked for."""
    return f"{found.candidate} of {len(found.candidates)}" if found and found.candidates else ""


def limits_shown(workspace: Workspace) -> tuple[float, float]:
    """Level and width of what is shown as black and as white on this slice."""
    values = workspace.plane.extract(workspace.volume.array)
    low, high = _limits(workspace.rule, values)
    return (low + high) / 2, high - low


def _limits(rule: Intensity, values: np.ndarray) -> tuple[float, float]:
    low, high = rule.limits(values)
    return float(low), float(high)


def _image(workspace: Workspace) -> np.ndarray:
    """What the visitor sees, (H, W, 3) uint8: as the model does, unless another window is shown meanwhile."""
    return rgb_from_slice(workspace.plane.extract(workspace.volume.array), workspace.rule)


def picture_of(workspace: Workspace, prompts: Prompts, mask: np.ndarray | None) -> str:
    """The slice that is shown with masks and prompts, as a JPEG that never becomes a file.

    Args:
        workspace: of the visitor.
        prompts: of the selected segment, slice px.
        mask: (H, W) bool, of its draft; None takes the mask that it has.
    """
    given = [] if prompts.is_empty else [prompts]
    drawn = draw_slice(_image(workspace), slice_view(workspace), _layers(workspace, mask), given, letters=False)
    return _data_url(drawn)


def _layers(workspace: Workspace, draft_mask: np.ndarray | None) -> list[MaskLayer]:
    """The other segments, then the selected one."""
    plane, draft = workspace.plane, workspace.draft
    others = [segment for segment in draft.segments if segment is not draft.segment]
    layers = [
        MaskLayer(mask, segment.color, 0.2) for segment in others if (mask := segment.mask_on(plane)) is not None
    ]
    mask = draft.segment.mask_on(plane) if draft_mask is None else draft_mask
    return layers if mask is None else [*layers, MaskLayer(mask, draft.segment.color, 0.38)]


def _words(workspace: Workspace, found: MaskPrediction | None, given: Prompts) -> str:
    segment, plane = workspace.draft.segment, workspace.plane
    if found is not None:
        grade = f" ({_GRADES[found.grade]})" if found.grade else ""
        words = f"{segment.name}: expected overlap {found.score:.2f}{grade}. Correct it by clicks, or accept it."
        return words if found.mask.any() else f"{segment.name}: the mask is empty. Add a point on the object."
    if plane in segment.carried and plane not in segment.accepted:
        sure = segment.carried[plane].confidence
        return f"{segment.name}: carried here, confidence {sure:.2f}. Clicks begin a mask of this slice's own."
    if not given.is_empty:
        return f"{segment.name}: accepted on this slice. Clicks go on from here."
    return f"Click on an object, or draw a box around it: {segment.name}."


def _data_url(picture: np.ndarray) -> str:
    """A picture as the address of a JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def segments_html(workspace: Workspace) -> str:
    """The list of segments."""
    rows = []
    for number, segment in enumerate(workspace.draft.segments):
        color = "#" + "".join(f"{round(255 * value):02x}" for value in segment.color)
        counts = [f"{len(segment.accepted)} accepted"] if segment.accepted else []
        counts += [f"{len(segment.carried)} carried"] if segment.carried else []
        counts += [f"{len(segment.drafts)} open"] if segment.drafts else []
        chosen = " chosen" if number == workspace.draft.selected else ""
        rows.append(
            f'<li class="row{chosen}"><button type="button" data-number="{number}">'
            f'<i style="background:{color}"></i><span><b>{html.escape(segment.name)}</b>'
            f"<small>{', '.join(counts) or 'empty'}</small></span></button>"
            f'<button type="button" data-number="{number}" data-do="remove" title="Remove this segment" '
            f'aria-label="Remove {html.escape(segment.name)}">&times;</button></li>'
        )
    return f"<ul>{''.join(rows)}</ul>"


def progress_bar(share: float | None, words: str) -> str:
    """A bar of progress."""
    bar = "" if share is None else f'<div class="bar"><div style="width:{100 * share:.0f}%"></div></div>'
    return f'<div role="status">{bar}{html.escape(words)}</div>'
