"""Connected regions and distances in masks: `imaging.components` beside SimpleITK, on one thread.

    python Testing/benchmarks/bench_masks.py --cpu-time

Both take arrays and give arrays. The results are compared first: they are the same.
"""

from __future__ import annotations

import numpy as np
import SimpleITK
from side_by_side import Comparison, arguments, compare, parsed, show

from SAMMed2DLib.imaging.components import label_components, squared_depth, squared_distance

SIZES = (128, 512)


def masks(size: int) -> dict[str, np.ndarray]:
    """(size, size) bool each, from one smooth region to a jagged one."""
    rows, columns = np.mgrid[:size, :size] / size
    rng = np.random.default_rng(0)
    disc = (rows - 0.5) ** 2 + (columns - 0.45) ** 2 < 0.09
    return {
        "disc": disc,
        "disc with specks around": disc | (rng.random((size, size)) > 0.998),
        "squares": np.kron(rng.random((size // 8, size // 8)) > 0.7, np.ones((8, 8), bool)),
        "disc with holes": disc & (rng.random((size, size)) > 0.3),
    }


def itk_components(mask_hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 8-connected regions, (H, W) from 1 on, and their areas (n,), px."""
    image = SimpleITK.GetImageFromArray(mask_hw.view(np.uint8))
    index_hw = SimpleITK.GetArrayFromImage(SimpleITK.ConnectedComponent(image, True))
    return index_hw, np.bincount(index_hw.ravel())[1:]


def itk_squared_distance(mask_hw: np.ndarray) -> np.ndarray:
    """The squared distance to the nearest pixel of a mask, (H, W), by Maurer's method."""
    image = SimpleITK.GetImageFromArray(mask_hw.view(np.uint8))
    return np.maximum(SimpleITK.GetArrayFromImage(SimpleITK.SignedMaurerDistanceMap(image, False, True)), 0)


def itk_squared_depth(mask_hw: np.ndarray) -> np.ndarray:
    """The squared distance to the nearest pixel outside a mask, (H, W)."""
    return itk_squared_distance(np.pad(~mask_hw, 1, constant_values=True))[1:-1, 1:-1]


def main() -> None:
    """Time every pair on every mask."""
    options = parsed(arguments(__doc__.splitlines()[0], rounds=25))
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    comparisons: list[Comparison] = []
    for size in SIZES:
        for name, mask in masks(size).items():
            regions = label_components(mask)
            np.testing.assert_array_equal(regions.index_hw, itk_components(mask)[0])
            np.testing.assert_array_equal(regions.area_px, itk_components(mask)[1])
            np.testing.assert_array_equal(squared_distance(mask), itk_squared_distance(mask))
            np.testing.assert_array_equal(squared_depth(mask), itk_squared_depth(mask))
            for what, own, other in (
                ("regions", label_components, itk_components),
                ("distances outside", squared_distance, itk_squared_distance),
                ("depths inside", squared_depth, itk_squared_depth),
            ):
                pair = {"SimpleITK": lambda f=other, m=mask: f(m), "own": lambda f=own, m=mask: f(m)}
                comparisons.append(compare(f"{what}, {name}, {size} x {size} px", pair, options))
    show(comparisons, {}, options)


if __name__ == "__main__":
    main()
