"""A sequence for tests: a disc that moves through the frames of a volume, played by a sequence browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from editor_fixture import a_volume

FRAMES = 8


def disc_kji(frame: int, size_kji=(3, 40, 48)) -> np.ndarray:
    """Where the disc is in a frame, (K, J, I) bool; a little smaller on each slice above."""
    k, j, i = np.mgrid[tuple(slice(0, n) for n in size_kji)]
    return (i - 14 - 2 * frame) ** 2 + (j - 20 - frame % 3) ** 2 < (9 - k) ** 2


@dataclass
class Cine:
    """A volume with frames, and a segmentation with the segments A and B."""

    volume: Any
    segmentation: Any
    browser: Any
    discs: list[np.ndarray]

    @property
    def drawings(self) -> Any:
        """The sequence of the segmentation; None while it has none."""
        return self.browser.GetSequenceNode(self.segmentation)

    def show(self, frame: int) -> None:
        """Let the browser show a frame, as the user does."""
        self.browser.SetSelectedItemNumber(frame)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)

    def draw(self, frame: int, mask=None, segment_id="A") -> None:
        """Show a frame, and let a segment be the disc there, or a mask."""
        self.show(frame)
        voxels = (self.discs[frame] if mask is None else mask).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, segment_id, self.volume)

    def segment(self, frame: int, segment_id="A") -> np.ndarray:
        """A segment in the voxels of a frame, as its data node has it."""
        node = self.drawings.GetNthDataNode(frame)
        if node is None or node.GetSegmentation().GetSegment(segment_id) is None:
            return np.zeros(self.discs[0].shape, bool)
        return self._voxels(node, segment_id)

    def shown(self, segment_id="A") -> np.ndarray:
        """The same of what the scene shows."""
        return self._voxels(self.segmentation, segment_id)

    def all(self, segment_id="A") -> np.ndarray:
        """(T, K, J, I)."""
        return np.stack([self.segment(frame, segment_id) for frame in range(len(self.discs))])

    def _voxels(self, node, segment_id) -> np.ndarray:
        from SAMMed2DSlicer.scene import segment_reader, volumes

        k, j, i = self.discs[0].shape
        geometry = slicer.util.vtkMatrixFromArray(volumes.local_from_ijk(self.volume))
        return segment_reader.segment_array(node, segment_id, (0, i - 1, 0, j - 1, 0, k - 1), geometry)


def a_cine(ijk_to_ras=None, *, frames=FRAMES, size_kji=(3, 40, 48), is_played=True) -> Cine:
    """Make a sequence of volumes, and a segmentation that is not in its browser yet."""
    discs = [disc_kji(frame, size_kji) for frame in range(frames)]
    images = [np.where(disc, 160, 40).astype(np.int16) for disc in discs]
    volume = a_volume(images[0], np.eye(4) if ijk_to_ras is None else ijk_to_ras)
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Images")
    for frame, image in enumerate(images):
        slicer.util.updateVolumeFromArray(volume, image)
        sequence.SetDataNodeAtValue(volume, str(10 * frame))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    if is_played:
        browser.AddProxyNode(volume, sequence, False)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("A", "B"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    cine = Cine(volume, segmentation, browser, discs)
    cine.show(0)
    return cine


def a_drawn_cine(*drawn: int, **how) -> Cine:
    """The same, with a segmentation for each frame, and the segment A drawn in some of them."""
    from SAMMed2DSlicer.scene import sequences

    cine = a_cine(**how)
    sequences.make_sequence(cine.volume, cine.segmentation)
    for frame in drawn:
        cine.draw(frame)
    return cine
