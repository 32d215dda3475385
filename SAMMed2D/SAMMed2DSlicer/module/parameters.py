"""The parameters of the prompt panel, in a node that is saved with the scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from SAMMed2DSlicer.inference.slice_task import ZOOMS
from SAMMed2DSlicer.prompts import slice_prompts
from SAMMed2DSlicer.scene import volumes

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane


class NodeReference:
    """A descriptor for a node reference; None if it is not set, or the node has left the scene."""

    def __init__(self, role: str) -> None:
        """Describe the reference with this role."""
        self._role = role

    def __get__(self, parameters: Parameters, owner: type | None = None) -> Any:
        """Read the value from the node."""
        return parameters.node.GetNodeReference(self._role)

    def __set__(self, parameters: Parameters, node: Any) -> None:
        """Write the value to the node, if it differs: each write is a ModifiedEvent."""
        new = node.GetID() if node is not None else None
        if new != parameters.node.GetNodeReferenceID(self._role):
            parameters.node.SetNodeReferenceID(self._role, new)


class TextParameter:
    """A descriptor for a text parameter; a value in a loaded scene that is not allowed counts as not set."""

    def __init__(self, name: str, default: str = "", allowed: tuple[str, ...] = ()) -> None:
        """Describe a parameter.

        Args:
            name: of the parameter in the node.
            default: the value if it is not set.
            allowed: all values; empty for any text.
        """
        self._name, self._default, self._allowed = name, default, allowed

    def __get__(self, parameters: Parameters, owner: type | None = None) -> str:
        """Read the value from the node."""
        value = parameters.node.GetParameter(self._name)
        return value if value and (not self._allowed or value in self._allowed) else self._default

    def __set__(self, parameters: Parameters, value: str) -> None:
        """Write the value to the node, if it differs: each write is a ModifiedEvent."""
        if self._allowed and value not in self._allowed:
            raise ValueError(f"{self._name} is one of {', '.join(self._allowed)}, not {value!r}")
        if value != parameters.node.GetParameter(self._name):
            parameters.node.SetParameter(self._name, value)


class Parameters:
    """The parameters of the panel, in a vtkMRMLScriptedModuleNode.

    Attributes:
        node: the node; invokes ModifiedEvent for each change, and when a referenced node leaves the scene.
        volume: the volume node.
        segmentation: the segmentation node.
        positive: the point list of points on the object.
        negative: the point list of points beside it.
        box: the ROI node.
        inside_curve: the curve over the object, or the closed curve around it.
        outside_curve: the curve over what is outside, or the closed curve around it.
        segment_id: the segment; it may not exist any more.
        view: the name of the slice view.
        intensity: one of `volumes.INTENSITIES`.
        zoom: one of `ZOOMS`.
        overwrite: "none", "visible" or "all".
        correct: "yes" if the prompts correct the mask that the segment has on the slice, else "no".
        candidate: "best", or which of the masks that the prompts may mean, "1" to "5", small to large.
    """

    volume = NodeReference("Volume")
    segmentation = NodeReference("Segmentation")
    positive = NodeReference("PositivePoints")
    negative = NodeReference("NegativePoints")
    box = NodeReference("Box")
    inside_curve = NodeReference("InsideCurve")
    outside_curve = NodeReference("OutsideCurve")
    segment_id = TextParameter("SegmentID")
    view = TextParameter("View", "Red")
    intensity = TextParameter("Intensity", volumes.WINDOW, volumes.INTENSITIES)
    zoom = TextParameter("Zoom", "auto", tuple(ZOOMS))
    overwrite = TextParameter("Overwrite", "none", ("none", "visible", "all"))
    correct = TextParameter("Correct", "no", ("no", "yes"))
    candidate = TextParameter("Candidate", "best", ("best", *"12345"))

    def __init__(self, node: Any) -> None:
        """Use this node."""
        self.node = node

    @property
    def prompts(self) -> dict[str, Any]:
        """The prompts, as `slice_prompts.prompts_on` takes them."""
        candidate = None if self.candidate == "best" else int(self.candidate)
        sides = ((self.inside_curve, 1), (self.outside_curve, 0))
        curves = [(curve, side) for curve, side in sides if curve is not None]
        return {
            "positive": self.positive,
            "negative": self.negative,
            "box": self.box,
            "candidate": candidate,
            "scribbles": [pair for pair in curves if not pair[0].IsA("vtkMRMLMarkupsClosedCurveNode")],
            "lassos": [pair for pair in curves if pair[0].IsA("vtkMRMLMarkupsClosedCurveNode")],
        }

    @property
    def prompt_nodes(self) -> list[Any]:
        """The nodes of all prompts."""
        nodes = (self.positive, self.negative, self.box, self.inside_curve, self.outside_curve)
        return [node for node in nodes if node is not None]

    @property
    def is_correction(self) -> bool:
        """Whether the prompts correct the mask that the segment has on the slice."""
        return self.correct == "yes"

    def plane(self) -> SlicePlane:
        """The slice of the volume that the view shows.

        Raises:
            ValueError: the view shows none of it, or there is no such view.
        """
        return slice_prompts.plane_of(self.volume, self.view)

    def choose_defaults(self) -> None:
        """Choose a volume and a segmentation if none is chosen: the volume of the view, the first segmentation."""
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
