"""The frames of a volume and a segmentation that a sequence browser synchronizes, and making such a segmentation.

The scene shows a proxy node of each sequence; the data nodes, one for each frame, are in a scene of the sequence. If
the browser saves changes, proxy and data node share their segments. If not, the browser copies the data node to the
proxy, and what the user draws there is lost when another frame is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from SAMMed2DSlicer.scene import segmentations, volumes
from SAMMed2DSlicer.scene.volumes import SceneError


def proxy_of(node: Any) -> Any:
    """The proxy node of a sequence node; other nodes, and sequences without a proxy, are returned as they are."""
    if node is None or not node.IsA("vtkMRMLSequenceNode"):
        return node
    shown = (browser.GetProxyNode(node) for browser in _browsers() if browser.IsSynchronizedSequenceNode(node, True))
    return next((proxy for proxy in shown if proxy is not None), node)


def browser_of(
    volume: slicer.vtkMRMLScalarVolumeNode | None, segmentation: slicer.vtkMRMLSegmentationNode | None = None
) -> slicer.vtkMRMLSequenceBrowserNode | None:
    """The sequence browser of a proxy volume, preferably one that also has the segmentation; None if there is none."""
    playing = [browser for browser in _browsers() if volume is not None and browser.GetSequenceNode(volume) is not None]
    if segmentation is not None:
        playing.sort(key=lambda browser: browser.GetSequenceNode(segmentation) is None)  # stable: the first stays first
    return next(iter(playing), None)


def has_frames(volume: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    """Whether a volume is the proxy of a sequence with more than one frame."""
    browser = browser_of(volume)
    return browser is not None and browser.GetNumberOfItems() > 1


def is_synchronized(
    volume: slicer.vtkMRMLScalarVolumeNode | None, segmentation: slicer.vtkMRMLSegmentationNode | None
) -> bool:
    """Whether each frame of a volume has its own segmentation."""
    browser = browser_of(volume, segmentation)
    return browser is not None and segmentation is not None and browser.GetSequenceNode(segmentation) is not None


def needs_sequence(
    volume: slicer.vtkMRMLScalarVolumeNode | None, segmentation: slicer.vtkMRMLSegmentationNode | None
) -> bool:
    """Whether the frames of a volume have no segmentations of their own, or the browser does not save their changes."""
    if volume is None or segmentation is None or not has_frames(volume):
        return False
    return not is_synchronized(volume, segmentation) or not FrameSeries.of(volume, segmentation).saves_changes


def make_sequence(volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
    """Give each frame of a volume a segmentation of its own, and let the browser save changes.

    The present frame gets the segments as they are now; in other frames they are empty.

    Raises:
        SceneError: the volume has no frames, or the segmentation belongs to another sequence.
    """
    browser = _browser_with_frames(volume, segmentation)
    sequence = browser.GetSequenceNode(segmentation)
    if sequence is None:
        sequence = _new_sequence(browser, segmentation)
    elif not browser.GetSaveChanges(sequence):  # the proxy may be newer than the data node
        value = _index_value(browser, browser.GetSelectedItemNumber())
        sequence.SetDataNodeAtValue(segmentation, value)
    browser.SetSaveChanges(sequence, True)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def _new_sequence(browser: slicer.vtkMRMLSequenceBrowserNode, segmentation: slicer.vtkMRMLSegmentationNode) -> Any:
    if any(browser.GetSequenceNode(segmentation) is not None for browser in _browsers()):
        message = _("{name} belongs to the sequence of another browser: choose, or make, another segmentation.")
        raise SceneError(message.format(name=segmentation.GetName()))
    # Fill the sequence after adding it: the browser would make a new proxy node for one that has items.
    sequence = slicer.modules.sequences.logic().AddSynchronizedNode(None, segmentation, browser)
    sequence.SetName(segmentations.safe_name(sequence.GetName()))
    shown = browser.GetSelectedItemNumber()
    empty = segmentations.empty_copy(segmentation)
    sequence.SetDataNodeAtValue(segmentation, _index_value(browser, shown))
    for number in set(range(browser.GetNumberOfItems())) - {shown}:
        sequence.SetDataNodeAtValue(empty, _index_value(browser, number))
    return sequence


def _browsers() -> list[slicer.vtkMRMLSequenceBrowserNode]:
    return slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")


def _index_value(browser: slicer.vtkMRMLSequenceBrowserNode, number: int) -> str:
    """The index of a frame, such as its time, in a browser that has frames."""
    master = browser.GetMasterSequenceNode()
    return "" if master is None else master.GetNthIndexValue(number)


def _browser_with_frames(
    volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLSequenceBrowserNode:
    browser = browser_of(volume, segmentation)
    if browser is None:
        message = _("{name} has no frames: choose the volume that a sequence browser shows of a sequence.")
        raise SceneError(message.format(name=volume.GetName()))
    if browser.GetNumberOfItems() < 2:
        message = _("The sequence of {name} has one frame only: there is nothing to carry segments to.")
        raise SceneError(message.format(name=volume.GetName()))
    return browser


@dataclass(frozen=True, eq=False)
class FrameSeries:
    """The frames of a volume and of a segmentation, counted from 0 as the browser does.

    Attributes:
        volume: the proxy volume node.
        segmentation: the proxy segmentation node.
        browser: of both sequences.
        values: the index value of each frame, such as its time.
    """

    volume: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    browser: slicer.vtkMRMLSequenceBrowserNode
    values: tuple[str, ...]

    @classmethod
    def of(cls, volume: slicer.vtkMRMLScalarVolumeNode, segmentation: slicer.vtkMRMLSegmentationNode) -> FrameSeries:
        """Find the frames.

        Raises:
            SceneError: there are none; the message says what to do.
        """
        browser = _browser_with_frames(volume, segmentation)
        if browser.GetSequenceNode(segmentation) is None:
            message = _(
                "{segmentation} is the same in all frames: add it to the sequence browser {browser}, with its changes "
                "saved (the button Segment each frame does so, and from Python makeSequence=True), and draw in some "
                "frames."
            )
            raise SceneError(message.format(segmentation=segmentation.GetName(), browser=browser.GetName()))
        values = tuple(_index_value(browser, number) for number in range(browser.GetNumberOfItems()))
        return cls(volume, segmentation, browser, values)

    @property
    def position(self) -> int:
        """The frame that is shown."""
        return int(self.browser.GetSelectedItemNumber())

    @property
    def saves_changes(self) -> bool:
        """Whether the browser saves changes of the proxy segmentation."""
        return bool(self.browser.GetSaveChanges(self._segmentation_sequence))

    def volume_node(self, number: int) -> Any:
        """The data node of a frame's volume; None if there is none."""
        sequence = self.browser.GetSequenceNode(self.volume)
        return sequence.GetDataNodeAtValue(self.values[number]) if sequence is not None else None

    def segmentation_node(self, number: int) -> Any:
        """The data node of a frame's segmentation; None if there is none."""
        return (
            self._segmentation_sequence.GetDataNodeAtValue(self.values[number])
            if self._segmentation_sequence is not None
            else None
        )

    def add_segmentation_node(self, number: int) -> Any:
        """Add a segmentation with empty segments to a frame that has none."""
        return self._segmentation_sequence.SetDataNodeAtValue(
            segmentations.empty_copy(self.segmentation), self.values[number]
        )

    def show(self, number: int) -> None:
        """Let the browser show a frame."""
        self.browser.SetSelectedItemNumber(number)

    def update_proxy_nodes(self) -> None:
        """Update the proxy nodes after a data node was changed."""
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)

    @property
    def exist(self) -> bool:
        """Whether the nodes are still in the scene, with the same frames."""
        nodes = (self.volume, self.segmentation, self.browser)
        if any(node.GetScene() is None for node in nodes) or self._segmentation_sequence is None:
            return False
        master = self.browser.GetMasterSequenceNode()
        count = self.browser.GetNumberOfItems()
        return master is not None and self.values == tuple(master.GetNthIndexValue(n) for n in range(count))

    @property
    def _segmentation_sequence(self) -> Any:
        return self.browser.GetSequenceNode(self.segmentation)


class FrameImages:
    """The voxels of all frames, not copied; readable in any thread."""

    def __init__(self, frames: FrameSeries) -> None:
        """Hold references to the voxels, on the main thread.

        Raises:
            SceneError: a frame has no image, or one of another geometry than the others.
        """
        self._frames = frames
        self._images = [self._image_and_time(number) for number in range(len(frames.values))]
        self.voxels: list[np.ndarray] = [volumes.volume_kji(frames.volume_node(n)) for n in range(len(frames.values))]

    def are_unchanged(self) -> bool:
        """Whether the scene still has the same images; on the main thread."""
        try:
            return all(self._image_and_time(number) == held for number, held in enumerate(self._images))
        except SceneError:
            return False

    def _image_and_time(self, number: int) -> tuple[Any, int]:
        """The image of a frame, and its modification time."""
        node, shown = self._frames.volume_node(number), self._frames.volume
        if node is None or node.GetImageData() is None:
            message = _("Frame {number} of {name} has no image.")
            raise SceneError(message.format(number=number + 1, name=shown.GetName()))
        if not _is_on_grid_of(node, shown):
            message = _("Frame {number} of {name} has another geometry than the frame that is shown: resample it.")
            raise SceneError(message.format(number=number + 1, name=shown.GetName()))
        image = node.GetImageData()
        return image, image.GetMTime()


def _is_on_grid_of(volume: slicer.vtkMRMLScalarVolumeNode, other: Any) -> bool:
    if volumes.size_ijk(volume) != volumes.size_ijk(other):
        return False
    return bool(np.allclose(volumes.local_from_ijk(volume), volumes.local_from_ijk(other), atol=1e-4))
