"""What the panel remembers, in a node that is saved with the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from SAMMed2DSlicer.inference.slice_task import ZOOMS
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane


class NodeReference:
    """A node by its role; None where there is none, or where it has left the scene."""

    def __init__(self, role: str) -> None:
        """Name the role."""
        self._role = role

    def __get__(self, parameters: Parameters, owner: type | None = None) -> Any:
        """Read it."""
        return parameters.node.GetNodeReference(self._role)

    def __set__(self, parameters: Parameters, node: Any) -> None:
        """Write it; only what differs counts as a change."""
        new = node.GetID() if node is not None else None
        if new != parameters.node.GetNodeReferenceID(self._role):
            parameters.node.SetNodeReferenceID(self._role, new)


class Text:
    """A text, or a word out of a few; a word that a scene brings and that is unknown counts as not set."""

    def __init__(self, name: str, default: str = "", allowed: tuple[str, ...] = ()) -> None:
        """Prepare for a parameter.

        Args:
            name: of the parameter in the node.
            default: where it is not set.
            allowed: all words that it may be; none for any text.
        """
        self._name, self._default, self._allowed = name, default, allowed

    def __get__(self, parameters: Parameters, owner: type | None = None) -> str:
        """Read it."""
        value = parameters.node.GetParameter(self._name)
        return value if value and (not self._allowed or value in self._allowed) else self._default

    def __set__(self, parameters: Parameters, value: str) -> None:
        """Write it; only what differs counts as a change."""
        if self._allowed and value not in self._allowed:
            raise ValueError(f"{self._name} is one of {', '.join(self._allowed)}, not {value!r}")
        if value != parameters.node.GetParameter(self._name):
            parameters.node.SetParameter(self._name, value)


class Parameters:
    """The options of the panel, in a vtkMRMLScriptedModuleNode.

    Attributes:
        node: the node; its ModifiedEvent tells of every change, and of referenced nodes that leave the scene.
        volume: the volume node.
        segmentation: the segmentation node.
        positive: the point list of points on the object.
        negative: the point list of points beside it.
        box: the ROI node.
        segment_id: the segment; it may be gone.
        view: the name of the slice view.
        intensity: one of `volumes.INTENSITIES`.
        zoom: one of `ZOOMS`.
        overwrite: "none", "visible" or "all".
    """

    volume = NodeReference("Volume")
    segmentation = NodeReference("Segmentation")
    positive = NodeReference("PositivePoints")
    negative = NodeReference("NegativePoints")
    box = NodeReference("Box")
    segment_id = Text("SegmentID")
    view = Text("View", "Red")
    intensity = Text("Intensity", volumes.WINDOW, volumes.INTENSITIES)
    zoom = Text("Zoom", "auto", tuple(ZOOMS))
    overwrite = Text("Overwrite", "none", ("none", "visible", "all"))

    def __init__(self, node: Any) -> None:
        """Read and write this node."""
        self.node = node

    @property
    def prompts(self) -> dict[str, Any]:
        """The prompts, as `slice_prompts.prompts_on` takes them."""
        return {"positive": self.positive, "negative": self.negative, "box": self.box}

    def plane(self) -> SlicePlane:
        """The slice of the volume that the view shows.

        Raises:
            ValueError: the view shows none of it, or there is no such view.
        """
        return slice_prompts.plane_of(self.volume, self.view)

    def choose_defaults(self) -> None:
        """Choose what is probably meant, where nothing is chosen yet."""
        if self.volume is None:
            self.volume = _volume_shown(self.view)
        if self.segmentation is None:
            self.segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")


def _volume_shown(view: str) -> Any:
    """The volume in the background of a slice view, else the first one of the scene, else None."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        volume_id = node.GetBackgroundVolumeID()
        if node.GetLayoutName() == view and volume_id:
            return slicer.mrmlScene.GetNodeByID(volume_id)
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
