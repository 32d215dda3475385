"""A CT that needs no download: a body with organs, of which it is known where they are."""

from functools import cache

import numpy as np

SIZE_KJI = (100, 150, 150)
SPACING = (2.0, 2.0, 2.5)  # mm, along i, j, k
ORIGIN = (-150.0, -150.0, -245.0)  # RAS of voxel 0, mm
ORGANS = {"liver": ((60, 10, -95), 40), "spleen": ((-95, -20, -95), 25)}  # centre in RAS, and radius, mm
_HU = {"liver": 150, "spleen": 130}


def ijk_to_ras():
    """(4, 4) float64, mm."""
    matrix = np.diag([*SPACING, 1.0])
    matrix[:3, 3] = ORIGIN
    return matrix


def ijk_of(ras):
    """The voxel at a place: (3,) int."""
    return tuple(round((r - o) / s) for r, o, s in zip(ras, ORIGIN, SPACING, strict=True))


def _ras():
    k, j, i = np.mgrid[tuple(slice(0, n) for n in SIZE_KJI)]
    return [origin + spacing * index for origin, spacing, index in zip(ORIGIN, SPACING, (i, j, k), strict=True)]


@cache
def organs():
    """Where each organ is: (K, J, I) bool by name; not to be changed."""
    r, a, s = _ras()
    return {
        name: (r - r0) ** 2 + (a - a0) ** 2 + (s - s0) ** 2 < radius**2
        for name, ((r0, a0, s0), radius) in ORGANS.items()
    }


@cache
def voxels():
    """The image: (K, J, I) int16, HU; not to be changed."""
    r, a, _s = _ras()
    values = np.full(SIZE_KJI, -1000.0)
    values[(r / 140) ** 2 + (a / 115) ** 2 < 1] = 40
    values[r**2 + (a + 85) ** 2 < 18**2] = 400  # the spine
    for name, mask in organs().items():
        values[mask] = _HU[name]
    return (values + np.random.default_rng(0).normal(0, 10, SIZE_KJI)).astype(np.int16)
