"""Words for numbers and axes, in notes, errors and summaries."""

from __future__ import annotations

from collections.abc import Sequence

from ..geometry import array_axis_of
from ..volume_io import Volume


def along(axis: int, volume: Volume) -> str:
    """Words for an axis: "along k (axial)"."""
    names = [name for name in ("axial", "coronal", "sagittal") if array_axis_of(name, volume.ijk_to_ras) == axis]
    return f"along {'kji'[axis]}" + (f" ({names[0]})" if names else "")


def listed(indices: Sequence[int]) -> str:
    """Rising numbers as words: "18, 22 to 46"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def counted(count: int, noun: str) -> str:
    """A number and its noun: "1 slice", "2 slices"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
