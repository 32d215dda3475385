"""A cylinder in a small volume, for tests of commands on whole volumes."""

from __future__ import annotations

import numpy as np

SHAPE_KJI = (12, 40, 48)


def the_cylinder() -> np.ndarray:
    """On the slices 2 .. 9: (K, J, I) bool."""
    k, j, i = np.indices(SHAPE_KJI)
    return ((j - 18) ** 2 + (i - 20) ** 2 < 81) & (k >= 2) & (k <= 9)
