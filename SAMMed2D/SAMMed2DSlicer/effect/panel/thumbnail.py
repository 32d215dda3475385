"""A small picture of what the model sees, lying as the slice lies in the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import qt
import slicer

from SAMMed2DSlicer.scene import slice_views
from SAMMed2DSlicer.widgets.icons import pixmap_from_image

if TYPE_CHECKING:
    from SAMMed2DSlicer.effect.preview import ShownMask

_SIDE_PX = 120


class Thumbnail:
    """Draws into a QLabel; without a mask it has the label's own text."""

    def __init__(self, label: qt.QLabel) -> None:
        """Take a QLabel over."""
        self._label, self._no_image = label, label.text
        self._shown: Any = None

    def show(self, mask: ShownMask | None, view: Any) -> None:
        """Show the image of a mask's prediction.

        Args:
            mask: the mask; None for none.
            view: the slice view that shows its slice; None keeps what is shown, as long as the mask is the same.
        """
        prediction = mask.prediction if mask is not None else None
        if prediction is not None and view is None:
            return
        lies = None if view is None else slicer.util.arrayFromVTKMatrix(view.mrmlSliceNode().GetSliceToRAS())
        shown = (prediction, None if lies is None else np.round(lies[:3, :3], 6).tobytes())
        if shown == self._shown:
            return
        self._shown = shown
        if mask is None:
            self._label.setText(self._no_image)
            return
        x0, y0, x1, y1 = mask.prediction.result.view_xyxy
        seen = mask.prediction.request.image[y0:y1, x0:x1]
        image, size_mm = slice_views.oriented_as_in_view(
            seen, mask.group.plane, mask.world_from_ijk, view.mrmlSliceNode()
        )
        self._label.setPixmap(pixmap_from_image(image, _SIDE_PX, size_mm))
