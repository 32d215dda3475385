"""The panel's first sections: what to segment, from which prompts, on which slice; and doing it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SAMMed2DSlicer import resources
from SAMMed2DSlicer.inference import slice_task
from SAMMed2DSlicer.inference.service import InferenceService
from SAMMed2DSlicer.module.parameters import Parameters
from SAMMed2DSlicer.module.registration import open_segment_editor
from SAMMed2DSlicer.module.segment_controller import Segmenting
from SAMMed2DSlicer.prompts import placement, slice_prompts
from SAMMed2DSlicer.scene import segmentations, volumes
from SAMMed2DSlicer.setup import pytorch
from SAMMed2DSlicer.widgets import combo_boxes, messages
from SAMMed2DSlicer.widgets.icons import square
from SAMMed2DSlicer.widgets.status_line import StatusLine
from SAMMed2DSlicer.widgets.timers import single_shot

if TYPE_CHECKING:
    from SAMMed2DLib.imaging.geometry import SlicePlane

# The panel follows the scene this much later, so that scrolling through slices costs nothing.
_REFRESH_MS = 50


class PromptPanel(VTKObservationMixin):
    """Widgets to parameters and back, and requests to the service."""

    def __init__(
        self, widget: Any, service: InferenceService, status_line: StatusLine, on_install: Callable[[], None]
    ) -> None:
        """Connect the widgets; nothing is observed before `enter`.

        Args:
            widget: of SAMMed2D.ui.
            service: answers.
            status_line: of the whole panel.
            on_install: installs PyTorch.
        """
        VTKObservationMixin.__init__(self)
        self.widget, self._service, self.status_line = widget, service, status_line
        self.ui = slicer.util.childWidgetVariables(widget)
        self.parameters: Parameters | None = None
        self.on_refreshed: Callable[[], None] = lambda: None  # another section may follow what is selected here
        self._is_showing = False
        self.segmenting = Segmenting(service, status_line, self._request_changed)
        self._refreshing = single_shot(_REFRESH_MS, self.refresh)
        self._selectors = {
            "volume": self.ui.volumeSelector,
            "segmentation": self.ui.segmentationSelector,
            "positive": self.ui.positiveSelector,
            "negative": self.ui.negativeSelector,
            "box": self.ui.boxSelector,
        }
        self._lists = {
            "intensity": (self.ui.intensitySelector, combo_boxes.intensity_names()),
            "zoom": (self.ui.zoomSelector, combo_boxes.zoom_names()),
            "overwrite": (self.ui.overwriteSelector, combo_boxes.overwrite_names()),
        }
        self._decorate()
        self._connect(on_install)

    @property
    def is_running(self) -> bool:
        """Whether an answer is on its way."""
        return self.segmenting.is_running

    # Life

    def enter(self, node: Any) -> None:
        """Show and follow the parameters in a node."""
        self.parameters = Parameters(node)
        self._choose_defaults(self.parameters)
        self._follow_layout(True)
        self.refresh()

    def exit(self) -> None:
        """Stop following the scene; an answer on its way is still written."""
        self._refreshing.stop()
        self.removeObservers()
        if self.parameters is not None:
            self._follow_layout(False)
        self.parameters = None

    def forget(self) -> None:
        """Drop the answer on its way: its nodes go."""
        if self.is_running:
            self.segmenting.cancel()

    def cleanup(self) -> None:
        """End everything."""
        self.forget()
        self.exit()

    # Showing

    def refresh(self) -> None:
        """Show the parameters, and what stands in the way of segmenting."""
        parameters = self.parameters
        if parameters is None:
            return
        self._follow_nodes(parameters)
        self._is_showing = True
        try:
            self._show_parameters(parameters)
        finally:
            self._is_showing = False
        self._show_torch()
        self.status_line.be_at(self._place_shown(parameters))
        self._show_action()
        self.on_refreshed()

    def problem(self) -> str:
        """Why the slice cannot be segmented now, and what to do; empty if it can."""
        parameters = self.parameters
        if not pytorch.torch_state().is_ready:
            return pytorch.torch_state().text
        if parameters is None or parameters.volume is None:
            return _("Select the volume to segment.")
        if parameters.segmentation is None:
            return _("Select or create a segmentation for the result.")
        try:
            plane = _plane(parameters)
            slice_task.check_segment(parameters.segmentation, parameters.segment_id)
            slice_prompts.prompts_on(plane, parameters.volume, **parameters.question)
        except ValueError as error:
            return messages.text_of(error)
        return ""

    def _place_shown(self, parameters: Parameters) -> Any:
        """What is worked on: what is said holds for it."""
        plane = None
        if parameters.volume is not None:
            with suppress(ValueError):  # the view shows none of it
                plane = _plane(parameters)
        return parameters.volume, parameters.segmentation, parameters.segment_id, plane

    def _show_parameters(self, parameters: Parameters) -> None:
        for name, selector in self._selectors.items():
            if selector.currentNode() is not getattr(parameters, name):
                selector.setCurrentNode(getattr(parameters, name))
        for name, (box, names) in self._lists.items():
            combo_boxes.fill(box, names, getattr(parameters, name))
        self._show_segments(parameters)
        self._show_views(parameters)

    def _show_segments(self, parameters: Parameters) -> None:
        box = self.ui.segmentSelector
        names = segmentations.segment_names(parameters.segmentation)
        if parameters.segmentation is not None and parameters.segment_id not in names:
            parameters.segment_id = next(iter(names), "")
        combo_boxes.fill(box, names, parameters.segment_id)
        for number, name in enumerate(names):
            box.setItemIcon(number, square(segmentations.segment_color(parameters.segmentation, name)))
        self.ui.addSegmentButton.enabled = parameters.segmentation is not None

    def _show_views(self, parameters: Parameters) -> None:
        nodes = slice_prompts.views_shown()
        names = {node.GetLayoutName(): node.GetLayoutName() for node in nodes}
        if nodes and parameters.view not in names:
            parameters.view = next(iter(names))
        box = self.ui.viewSelector
        combo_boxes.fill(box, names, parameters.view)
        for number, node in enumerate(nodes):
            box.setItemIcon(number, square(node.GetLayoutColor()))
        try:
            volume = parameters.volume
            text = "" if volume is None else volumes.name_of_slice(_plane(parameters), volume)
        except ValueError:
            text = _("outside")
        self.ui.sliceLabel.text = text

    def _show_torch(self) -> None:
        state = pytorch.torch_state()
        self.ui.installRow.visible = not state.is_ready
        self.ui.installLabel.text = state.text

    def _show_action(self) -> None:
        if self.parameters is None:
            return
        problem = "" if self.is_running else self.problem()
        button = self.ui.segmentButton
        button.text = _("Cancel") if self.is_running else _("Segment this slice")
        button.enabled = not problem
        button.toolTip = problem or _("Add the structure that the prompts show, on this slice, to the segment.")
        self.status_line.suggest(problem if pytorch.torch_state().is_ready else "")

    def _request_changed(self) -> None:
        self._show_action()
        self._changed()  # soon, also where no voxel was changed: what is said then is of this slice and segment

    # Following

    def _follow_nodes(self, parameters: Parameters) -> None:
        """Observe the parameters, the nodes that they refer to, and the slice view."""
        self.removeObservers()
        self.addObserver(parameters.node, "ModifiedEvent", self._changed)
        for node in {parameters.positive, parameters.negative, parameters.box} - {None}:
            for event in (node.PointModifiedEvent, "ModifiedEvent", node.TransformModifiedEvent):
                self.addObserver(node, event, self._changed)
        if parameters.segmentation is not None:
            segments = parameters.segmentation.GetSegmentation()
            kinds = (segments.SegmentAdded, segments.SegmentRemoved, segments.SegmentModified)
            for event in (*kinds, segments.SourceRepresentationModified):
                self.addObserver(segments, event, self._changed)
        if parameters.volume is not None:
            for event in (parameters.volume.ImageDataModifiedEvent, parameters.volume.TransformModifiedEvent):
                self.addObserver(parameters.volume, event, self._changed)
        for node in slice_prompts.views_shown():
            if node.GetLayoutName() == parameters.view:
                self.addObserver(node, "ModifiedEvent", self._changed)

    def _follow_layout(self, on: bool) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:  # there is none without a main window
            (manager.connect if on else manager.disconnect)("layoutChanged(int)", self._layout_changed)

    def _changed(self, caller: Any = None, event: Any = None) -> None:
        if not self._refreshing.active:
            self._refreshing.start()

    def _layout_changed(self, layout: int) -> None:
        self._changed()

    # What the user does

    def _choose_defaults(self, parameters: Parameters) -> None:
        """What is probably meant, where nothing is chosen yet."""
        if parameters.volume is None:
            parameters.volume = _volume_shown(parameters.view)
        if parameters.segmentation is None:
            parameters.segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")

    def _node_chosen(self, name: str, node: Any) -> None:
        if self.parameters is not None and not self._is_showing:
            setattr(self.parameters, name, node)

    def _item_chosen(self, name: str, box: Any, index: int) -> None:
        if self.parameters is not None and not self._is_showing:
            setattr(self.parameters, name, combo_boxes.chosen(box))

    def _segmentation_made(self, segmentation: slicer.vtkMRMLSegmentationNode) -> None:
        segmentations.prepare(segmentation, self.parameters.volume if self.parameters is not None else None)
        segmentations.add_segment(segmentation)

    def _add_segment(self) -> None:
        if self.parameters is not None and self.parameters.segmentation is not None:
            self.parameters.segment_id = segmentations.add_segment(self.parameters.segmentation)
            self.refresh()

    def _place(self, role: str) -> None:
        if self.parameters is None:
            return
        if getattr(self.parameters, role) is None:
            selector = self._selectors[role]
            setattr(self.parameters, role, selector.addNode(selector.nodeTypes[0]))
        placement.start(getattr(self.parameters, role), role)

    def _open_editor(self) -> None:
        parameters = self.parameters
        if parameters is None:
            return
        with slicer.util.tryWithErrorDisplay(_("The Segment Editor could not be opened.")):
            open_segment_editor(parameters.volume, parameters.segmentation, parameters.segment_id)

    # Segmenting

    def segment(self) -> None:
        """Ask for the slice that is shown; the answer is written when it comes."""
        if self.parameters is not None:
            self.segmenting.start(self.parameters)

    def _segment_clicked(self) -> None:
        if self.is_running:
            self.segmenting.cancel()
        else:
            self.segment()

    # Widgets

    def _decorate(self) -> None:
        ui = self.ui
        for button, icon in (
            (ui.placePositiveButton, "PositivePoint"),
            (ui.placeNegativeButton, "NegativePoint"),
            (ui.placeBoxButton, "Box"),
            (ui.editorButton, "SAMMed2D"),
        ):
            button.icon = qt.QIcon(resources.icon_path(icon))

    def _connect(self, on_install: Callable[[], None]) -> None:
        ui = self.ui
        for name, selector in self._selectors.items():
            selector.connect("currentNodeChanged(vtkMRMLNode*)", partial(self._node_chosen, name))
        boxes = {name: box for name, (box, _names) in self._lists.items()}
        for name, box in {**boxes, "view": ui.viewSelector, "segment_id": ui.segmentSelector}.items():
            box.connect("activated(int)", partial(self._item_chosen, name, box))
        for role, button in (
            (placement.POSITIVE, ui.placePositiveButton),
            (placement.NEGATIVE, ui.placeNegativeButton),
            (placement.BOX, ui.placeBoxButton),
        ):
            button.connect("clicked()", partial(self._place, role))
            made = partial(placement.style, role=role)
            self._selectors[role].connect("nodeAddedByUser(vtkMRMLNode*)", made)
        ui.segmentationSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._segmentation_made)
        ui.addSegmentButton.connect("clicked()", self._add_segment)
        ui.segmentButton.connect("clicked()", self._segment_clicked)
        ui.editorButton.connect("clicked()", self._open_editor)
        ui.installButton.connect("clicked()", on_install)


def _plane(parameters: Parameters) -> SlicePlane:
    return slice_prompts.plane_of(parameters.volume, parameters.view)


def _volume_shown(view: str) -> Any:
    """The volume in the background of a slice view, else the first one of the scene, else None."""
    scene_ = slicer.mrmlScene
    for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        volume_id = node.GetBackgroundVolumeID()
        if node.GetLayoutName() == view and volume_id:
            return scene_.GetNodeByID(volume_id)
    return scene_.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
