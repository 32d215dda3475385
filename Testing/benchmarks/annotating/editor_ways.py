"""Simulated users of Slicer's own tools, by the filters that its Segment Editor runs."""

from __future__ import annotations

import os

# Times are of one thread; and a process that has started ITK's pool of threads may crash when it ends.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from annotating.tasks import Task, core, largest_error, regions, ring, worst_slice
from annotating.work import Work
from SAMMed2DLib.imaging.metrics import dice

INSIDE, OUTSIDE = 1, 2
# By how much Grow from seeds looks beyond the seeds, of their extent, and by how many voxels at least.
_MARGIN, _LEAST_MARGIN = 0.2, 3
# What thresholds are tried: the percentiles of the objects' own grey values.
_LOWS, _HIGHS = (0, 1, 2, 5, 10, 15, 20, 30), (70, 80, 85, 90, 95, 98, 99, 100)

Extent = tuple[slice, slice, slice]


def grown_from_seeds(task: Task, work: Work) -> np.ndarray:
    """Seeds inside and outside on some slices, then a stroke on the worst error after the other: (N, H, W) bool.

    The user begins with a stroke in the object and a line around it on some slices; a single object gets two more
    beyond its ends.
    """
    seeds = np.zeros(task.grey.shape, np.uint8)
    for number, label in enumerate(task.objects):
        for index in task.starting_slices(number):
            seeds[index][ring(label[index]) & (seeds[index] == 0) & ~task.label[index]] = OUTSIDE
            seeds[index][core(label[index])] = INSIDE
            work.add("paint", 2)
        if task.is_single:
            _close_ends(label, seeds, work)
    grower = _Grower(task.grey)
    work.add("key")  # Initialize
    found = grower.found(seeds, work)
    while task.dice(found) < task.target and not work.is_over:
        index = worst_slice(found, task.label)
        wrong, is_missed = largest_error(found[index], task.label[index])
        seeds[index][core(wrong)] = INSIDE if is_missed else OUTSIDE
        work.add("paint")
        found = grower.found(seeds, work)
    work.add("key")  # Apply
    return found


def _close_ends(label: np.ndarray, seeds: np.ndarray, work: Work) -> None:
    """Paint over the object's place on the slice beyond each of its ends, where there is one."""
    used = np.flatnonzero(label.any(axis=(1, 2)))
    for end, beyond in ((used[0], used[0] - 1), (used[-1], used[-1] + 1)):
        if 0 <= beyond < len(label):
            seeds[beyond][label[end]] = OUTSIDE
            work.add("paint")


class _Grower:
    """Grow from seeds; what was found before is taken up where the region is the same."""

    def __init__(self, grey: np.ndarray) -> None:
        self._grey, self._extent, self._filter = grey, None, None

    def found(self, seeds: np.ndarray, work: Work) -> np.ndarray:
        extent = extent_of(seeds != 0, _MARGIN, _LEAST_MARGIN)
        with work.computing():
            if extent != self._extent:
                self._extent, self._filter = extent, slicer.vtkImageGrowCutSegment()
                self._filter.SetIntensityVolume(image_data(self._grey[extent].astype(np.float32)))
                self._filter.SetDistancePenalty(0.0)
            self._filter.SetSeedLabelVolume(image_data(seeds[extent].astype(np.int16)))
            self._filter.Update()
            grown = array_of(self._filter.GetOutput()) == INSIDE
        found = np.zeros(seeds.shape, bool)
        found[extent] = grown
        return found


def filled_between_slices(task: Task, work: Work) -> list[np.ndarray]:
    """Outlines on the first, middle and last slice of each object, then on the worst one: (N, H, W) bool each."""
    drawn: list[dict[int, np.ndarray]] = []
    for label in task.objects:
        used = np.flatnonzero(label.any(axis=(1, 2)))
        drawn.append({int(index): label[index] for index in (used[0], used[len(used) // 2], used[-1])})
        work.add("outline", sum(regions(mask) for mask in drawn[-1].values()))
    work.add("key")  # Initialize
    found = [_interpolated(outlines, label, work) for outlines, label in zip(drawn, task.objects, strict=True)]
    while task.dice(found) < task.target and not work.is_over:
        wrong = [np.count_nonzero(mask != label) for mask, label in zip(found, task.objects, strict=True)]
        number = int(np.argmax(wrong))
        label = task.objects[number]
        index = worst_slice(found[number], label, drawn[number])
        drawn[number][index] = label[index]
        work.add("outline", regions(label[index]))
        found[number] = _interpolated(drawn[number], label, work)
    work.add("key")  # Apply
    return found


def _interpolated(outlines: dict[int, np.ndarray], label: np.ndarray, work: Work) -> np.ndarray:
    shown = np.zeros(label.shape, np.int16)
    for index, mask in outlines.items():
        shown[index] = mask
    extent = extent_of(shown != 0, 0, _LEAST_MARGIN)
    found = np.zeros(label.shape, bool)
    with work.computing():
        interpolator = slicer.vtkITKMorphologicalContourInterpolator()
        interpolator.SetInputData(image_data(shown[extent]))
        interpolator.Update()
        found[extent] = array_of(interpolator.GetOutput()) != 0
    return found


def thresholded(task: Task, work: Work, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Two thresholds, the best there are, and a click on each object to keep its island: (N, H, W) bool.

    Args:
        task: what is to be done.
        work: counts.
        limits: thresholds that are set already.
    """
    image = image_data(task.grey.astype(np.float32))
    if limits is None:
        work.add("number", 2)
        limits = best_limits(task)
    work.add("click", len(task.objects))
    with work.computing():
        return _islands(task, image, limits)


def best_limits(task: Task) -> tuple[float, float]:
    """The thresholds with the best result, of percentiles of the objects' grey values."""
    image = image_data(task.grey.astype(np.float32))
    lows, highs = (np.percentile(task.grey[task.label], shares) for shares in (_LOWS, _HIGHS))
    pairs = [(float(low), float(high)) for low in lows for high in highs]
    return max(pairs, key=lambda limits: dice(_islands(task, image, limits), task.label))


def _islands(task: Task, image: vtk.vtkImageData, limits: tuple[float, float]) -> np.ndarray:
    """What is within limits and connected, by faces of voxels, with a place in the middle of each object."""
    low, high = limits
    seeds = vtk.vtkPoints()
    for label in task.objects:
        index = int(label.sum(axis=(1, 2)).argmax())
        middle = core(label[index]) & (task.grey[index] >= low) & (task.grey[index] <= high)
        if middle.any():
            y, x = np.argwhere(middle)[middle.sum() // 2]
            seeds.InsertNextPoint(x, y, index)
    if not seeds.GetNumberOfPoints():
        return np.zeros(task.grey.shape, bool)
    connected = vtk.vtkImageThresholdConnectivity()
    connected.SetInputData(image)
    connected.SetSeedPoints(seeds)
    connected.ThresholdBetween(low, high)
    connected.SetInValue(1)
    connected.SetOutValue(0)
    connected.ReplaceInOn()
    connected.ReplaceOutOn()
    connected.Update()
    return array_of(connected.GetOutput()) == 1


def outlined(task: Task, work: Work) -> list[np.ndarray]:
    """The outline of every object on every slice by hand: (N, H, W) bool each."""
    for label in task.objects:
        work.add("outline", sum(regions(mask) for mask in label))
    return list(task.objects)


def extent_of(mask: np.ndarray, share: float, least: int) -> Extent:
    """The region of a mask, (N, H, W) bool, with a margin of a share of it and of so many voxels at least."""
    slices = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        used = np.flatnonzero(mask.any(axis=axes))
        margin = max(least, int(share * (used[-1] - used[0])))
        slices.append(slice(max(0, int(used[0]) - margin), int(used[-1]) + margin + 1))
    return slices[0], slices[1], slices[2]


def image_data(array: np.ndarray) -> vtk.vtkImageData:
    """An array, (N, H, W), as VTK's image with voxels of 1."""
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image


def array_of(image: vtk.vtkImageData) -> np.ndarray:
    """VTK's image as an array, (N, H, W)."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
