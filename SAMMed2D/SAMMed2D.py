"""The module SAMMed2D: its panel, its Python API (`SAMMed2DLogic`), its test, and the Segment Editor effect's entry.

Nothing but Slicer and Python's standard library is imported before it is needed: the panel opens without PyTorch.
"""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel
    from SAMMed2DSlicer.inference.blocking import Outcome
    from SAMMed2DSlicer.inference.slice_task import SlicePrediction, SliceResult
    from SAMMed2DSlicer.propagation.task import PropagationResult
    from SAMMed2DSlicer.propagation.time_task import TimeResult


_HOMEPAGE = "https://github.com/SAMMed2D/SlicerSAMMed2D"


class SAMMed2D(ScriptedLoadableModule):
    """What Slicer shows and asks of the module."""

    def __init__(self, parent: Any) -> None:
        """Describe the module; the effect is registered when Slicer is up."""
        ScriptedLoadableModule.__init__(self, parent)
        _make_library_importable()
        parent.title = "SAMMed2D"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SegmentEditor", "Markups"]
        parent.contributors = ["SAMMed2D contributors"]
        parent.helpText = _help_text()
        parent.acknowledgementText = _acknowledgement_text()
        slicer.app.connect("startupCompleted()", _register)


def _make_library_importable() -> None:
    """Where the extension is used from its source tree, the library lies beside the module's folder."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.isdir(os.path.join(root, "SAMMed2DLib")) and root not in sys.path:
        sys.path.append(root)


def _register() -> None:
    from SAMMed2DSlicer.module import registration

    registration.register_effect()
    registration.register_sample_data()


def _help_text() -> str:
    return _(
        "<p>Segment structures of medical images, slice by slice, with clicks and boxes: SAM-Med2D answers each of "
        "them with a mask. For work by hand use the effect SAM-Med2D of the Segment Editor. This module segments a "
        "slice from points and boxes that are in the scene, carries segments from a few slices to all, and manages the "
        "models; its Python API does the same for scripts. See {documentation}.</p>"
        "<p><b>Not a medical device: for research, and never without a person who checks each mask.</b></p>"
    ).format(documentation=f'<a href="{_HOMEPAGE}">{_HOMEPAGE}</a>')


def _acknowledgement_text() -> str:
    return _(
        "<p>Please cite: Cheng J, Ye J, Deng Z, et al. {sam_med2d}. arXiv:2308.16184, 2023; and Kirillov A, Mintun E, "
        "Ravi N, et al. Segment Anything. ICCV 2023.</p>"
        "<p><b>Licence of the code</b> and of the weights of the built-in model: Apache License 2.0.</p>"
        "<p><b>Licence of other weights</b>: they are not part of this extension. The published SAM-Med2D weights come "
        "from a repository under Apache-2.0, while the data that they were trained on (SA-Med2D-20M) are under "
        "CC BY-NC-SA 4.0. What is known of each model is said under Manage models.</p>"
    ).format(sam_med2d='<a href="https://arxiv.org/abs/2308.16184">SAM-Med2D</a>')


class SAMMed2DWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module's panel: it makes the sections, and tells them when to begin and to end."""

    def __init__(self, parent: Any = None) -> None:
        """Prepare; `setup` makes the sections."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: SAMMed2DLogic | None = None
        self.panels: tuple[Any, ...] = ()

    def setup(self) -> None:
        """Make the sections; also register the effect, if the module was loaded after Slicer's start."""
        ScriptedLoadableModuleWidget.setup(self)
        _register()
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.module.environment_panel import EnvironmentPanel
        from SAMMed2DSlicer.module.model_panel import ModelPanel
        from SAMMed2DSlicer.module.model_store_panel import ManagePanel
        from SAMMed2DSlicer.module.prompt_panel import PromptPanel
        from SAMMed2DSlicer.propagation.propagation_panel import ModulePropagation
        from SAMMed2DSlicer.propagation.segmentation_context import ModulePlace
        from SAMMed2DSlicer.widgets.status_line import StatusLine

        self.logic = SAMMed2DLogic()
        prompts = self._load("SAMMed2D")
        prompts.setMRMLScene(slicer.mrmlScene)
        status_line = StatusLine()
        model = ModelPanel(self._load("Model"), service.shared(), status_line)
        slices = PromptPanel(prompts, service.shared(), status_line, self.installTorch)
        propagation = ModulePropagation(service.shared(), ModulePlace(lambda: slices.parameters), status_line)
        slices.on_refreshed = propagation.show
        self.panels = (
            slices,
            propagation,
            model,
            ManagePanel(self._load("ManageModels"), service.shared(), model.refresh),
            EnvironmentPanel(self._load("Environment"), self.installTorch),
        )
        self.layout.addWidget(status_line.widget)
        for panel in self.panels:
            self.layout.addWidget(panel.widget)
        self.layout.addStretch(1)
        for event, method in (
            (slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
            (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
            (slicer.mrmlScene.EndImportEvent, self.onSceneEndClose),
        ):
            self.addObserver(slicer.mrmlScene, event, method)

    def enter(self) -> None:
        """Begin to follow the scene."""
        for panel in self.panels:
            panel.enter(self.logic.getParameterNode())

    def exit(self) -> None:
        """Leave the scene alone."""
        for panel in self.panels:
            panel.exit()

    def installTorch(self) -> None:
        """Install PyTorch, after asking, and show what came of it."""
        from SAMMed2DSlicer.setup import pytorch

        pytorch.ensure_torch()
        for panel in self.panels:
            panel.refresh()

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """Let go of the nodes before they go."""
        for panel in self.panels:
            panel.forget()
        self.exit()

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """Follow the new scene."""
        if self.parent.isEntered:
            self.exit()
            self.enter()

    def cleanup(self) -> None:
        """End everything that the sections have begun."""
        self.removeObservers()
        for panel in self.panels:
            panel.cleanup()
        self.panels = ()

    def _load(self, name: str) -> Any:
        return slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))


class SAMMed2DLogic(ScriptedLoadableModuleLogic):
    """The Python API: everything that the panel does, for scripts; calls return when they are done.

    Slices, points and boxes may be given in several ways:

    - `plane`: ("axial", 12), likewise "coronal" and "sagittal", as the scene shows the volume; ("k", 12), likewise "i"
      and "j", along the array; the name of a slice view ("Red") or its vtkMRMLSliceNode, for the slice that it shows,
      oblique ones too; or a `SAMMed2DLib.imaging.geometry.SlicePlane`. Numbers count from 0.
    - `positive` and `negative`, points on the object and beside it: (N, 3) numbers in the scene's RAS, mm, each on the
      slice; markups point lists, of which the points on the slice count; or a list of both. The positive ones come
      first, and each point refines what was found before it.
    - `points`, where their order is mixed: (N, 4) numbers, the position and 1 on the object or 0 beside it; or a point
      list that the effect made. They come after those of `positive` and `negative`.
    - `box`: a markups ROI node, which counts as its cut by the slice; or two opposite corners,
      ((x, y, z), (x, y, z)) in the scene's RAS, mm.
    - `intensity`, what the model sees: "window" for the volume's window/level, "percentiles" or "full".
    - `zoom`: whether the model looks at crops around the prompts; None does what its weights were trained for.

    Errors say what to do: `SAMMed2DSlicer.scene.volumes.SceneError` (something in the scene does not allow it),
    `SAMMed2DLib.imaging.geometry.GeometryError` (no such slice), `SAMMed2DLib.inference.prompts.PromptError` (prompts
    contradict each other), `SAMMed2DSlicer.setup.pytorch.InstallError` (PyTorch is missing or broken), and
    `SAMMed2DLib.registry.known_models.CatalogueError` (no such model). All but InstallError, a RuntimeError, are
    ValueErrors.
    """

    def __init__(self, parent: Any = None) -> None:
        """Nothing is loaded before it is needed."""
        ScriptedLoadableModuleLogic.__init__(self, parent)
        _make_library_importable()

    def segmentSlice(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentId: str,
        plane: Any,
        positive: Any = (),
        negative: Any = (),
        box: Any = None,
        *,
        intensity: str = "window",
        zoom: bool | None = None,
        overwrite: str = "none",
        points: Any = (),
        correct: bool = False,
    ) -> SliceResult:
        """Segment one object on one slice, and add it to a segment. An empty mask changes nothing.

        With `correct`, the prompts correct the mask that the segment has on the slice, of whatever origin: points
        beside the object take away, points on it add, and what is found takes the place of the mask.

        Args:
            volumeNode: scalar or colour volume, 2D image, or proxy of a sequence.
            segmentationNode: the segmentation; it may have another geometry and transform than the volume.
            segmentId: of an existing segment, or its name; see `newSegmentation`.
            plane: the slice, see the class.
            positive: points on the object, see the class.
            negative: points beside the object, see the class.
            box: a box around the object, see the class.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            points: points on the object and beside it in their order, see the class.
            correct: whether the mask that the segment has on the slice is corrected; points beside the object are
                enough then.

        Returns:
            mask ((H, W) bool), score (the IoU that the model predicts), plane, how many `voxels` of the segmentation
            the mask means, how many of them `changed`, how many pixels of the mask lie outside the segmentation's
            geometry (`outside_px`), where nothing is written, and how many voxels each other segment
            has `lost`, by its ID.

        Raises:
            see the class.
        """
        from SAMMed2DSlicer.inference import blocking

        prompts = {"positive": positive, "negative": negative, "box": box, "points": points}
        question = {**prompts, "intensity": intensity, "zoom": zoom}
        return blocking.segment(volumeNode, segmentationNode, segmentId, plane, overwrite, correct, **question)

    def segmentMany(
        self,
        requests: Iterable[Mapping[str, Any]],
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> list[Outcome]:
        """Segment many objects, of any volumes; a request that fails is reported, and the others go on.

        Args:
            requests: the arguments of `segmentSlice` for each, by name.
            progress: called with how many are done, and how many there are.
            shouldCancel: asked before each request; True leaves the rest undone.

        Returns:
            For each request its `request`, and its `result` or its `error`; neither where it was left undone.
        """
        from SAMMed2DSlicer.inference import blocking

        return blocking.segment_many(requests, self.segmentSlice, progress, shouldCancel)

    def predict(
        self,
        volumeNode: Any,
        plane: Any,
        positive: Any = (),
        negative: Any = (),
        box: Any = None,
        *,
        intensity: str = "window",
        zoom: bool | None = None,
        points: Any = (),
    ) -> SlicePrediction:
        """Segment one object on one slice, and change nothing in the scene.

        Arguments and errors as in `segmentSlice`.

        Returns:
            mask ((H, W) bool), score and plane; `plane.insert` writes the mask to an array of the volume's shape.
        """
        question = {"positive": positive, "negative": negative, "box": box, "points": points}
        return self.predictMany(volumeNode, plane, [question], intensity=intensity, zoom=zoom)[0]

    def predictMany(
        self,
        volumeNode: Any,
        plane: Any,
        prompts: Sequence[Mapping[str, Any]],
        *,
        intensity: str = "window",
        zoom: bool | None = None,
    ) -> list[SlicePrediction]:
        """Segment several objects of one slice in one call, each by itself; nothing in the scene changes.

        Args:
            volumeNode: the volume.
            plane: the slice, see the class.
            prompts: for each object "positive", "negative", "points" and "box", as in `segmentSlice`.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.

        Returns:
            One prediction for each object, in their order.

        Raises:
            see the class.
        """
        from SAMMed2DSlicer.inference import blocking
        from SAMMed2DSlicer.inference.slice_task import SliceTask

        return blocking.ask(SliceTask.of_scene(volumeNode, plane, list(prompts), intensity, zoom).answer)

    def embed(
        self,
        volumeNode: Any,
        axis: str = "axial",
        indices: Sequence[int] | None = None,
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
        *,
        intensity: str = "window",
    ) -> int:
        """Encode slices ahead of their prompts, which then are answered at once.

        What is kept is bounded (512 MiB: about 2,000 slices of a published model at 256 px): of more, the last ones
        stay. It is of use for whole slices with the same intensities; a crop around a box is encoded when it is asked.

        Args:
            volumeNode: the volume.
            axis: "axial", "coronal", "sagittal", "i", "j" or "k".
            indices: numbers of the slices, from 0; all of them by default.
            progress: called with how many are done, and how many there are.
            shouldCancel: asked before each slice; True ends the work.
            intensity: what the model sees, see the class.

        Returns:
            How many slices were encoded now; those that were known do not count.

        Raises:
            see the class.
        """
        from SAMMed2DSlicer.inference import blocking

        return blocking.encode_slices(volumeNode, axis, indices, intensity, progress, shouldCancel)

    def propagate(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentIds: str | Sequence[str],
        plane: Any,
        *,
        keyframes: Sequence[int] | None = None,
        direction: str = "both",
        first: int | None = None,
        last: int | None = None,
        every: int = 1,
        intensity: str = "window",
        zoom: bool | None = None,
        overwrite: str = "none",
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> PropagationResult:
        """Carry segments from the slices that show them to the slices between and beyond.

        Slices that show a segment are its keyframes, which are never altered, but for those that an earlier call has
        left as they are. After a correction only the slices beside it are found anew.

        Args:
            volumeNode: the volume.
            segmentationNode: the segmentation; it may have another geometry and transform than the volume.
            segmentIds: one segment, or several; their IDs or names.
            plane: a slice, see the class; the slices parallel to it are filled.
            keyframes: numbers of slices, from 0, if not all that show the segment; what others show is replaced.
            direction: "up" (over the lowest keyframe), "down" (under the highest one) or "both".
            first: lowest slice to fill, from 0; the lowest there is by default.
            last: highest slice to fill; the highest there is by default.
            every: ask the model on every n-th slice, and fill those between by shape.
            intensity: what the model sees, see the class.
            zoom: whether it looks at a crop around the segments, see the class.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            progress: called with how many slices are found, and how many there may be.
            shouldCancel: asked a few times a second; True ends the work, and what was found is written.

        Returns:
            `planes`, all slices; `segments`, for each ID its `slices` (index, confidence, is_keyframe, voxels) and how
            many voxels `changed`; `is_complete`; and `outside_px` and `lost` as in `segmentSlice`.

        Raises:
            see the class; and `SAMMed2DLib.propagation.estimate.PropagationError`, a ValueError, where the memory is
                not enough.
        """
        from SAMMed2DSlicer.propagation import api, task

        options = {"direction": direction, "first": first, "last": last, "every": every}
        settings = task.settings_of({**options, "intensity": intensity, "zoom": zoom})
        return api.propagate(
            volumeNode, segmentationNode, segmentIds, plane, settings, keyframes, overwrite, progress, shouldCancel
        )

    def propagateInTime(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentIds: str | Sequence[str],
        plane: Any = None,
        *,
        direction: str = "both",
        first: int | None = None,
        last: int | None = None,
        loop: bool = False,
        every: int = 1,
        intensity: str = "window",
        zoom: bool | None = None,
        makeSequence: bool = False,
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> TimeResult:
        """Carry segments along time, from the frames of a sequence in which they are drawn to the others.

        Volume and segmentation must be in the same sequence browser. Frames that show a segment are its keyframes,
        which are never altered, but for those that an earlier call has left as they are. Each slice is carried by
        itself. Other segments are left as they are, and so is what Slicer's undo knows.

        Args:
            volumeNode: what the scene shows of a sequence of volumes, or that sequence.
            segmentationNode: what the scene shows of a sequence of segmentations, or that sequence.
            segmentIds: one segment, or several; their IDs or names.
            plane: the only slice to look at, see the class; all slices as they are stored by default.
            direction: "later" (after the first keyframe), "earlier" (before the last one) or "both".
            first: earliest frame to fill, from 0; the first there is by default.
            last: latest frame to fill; the last there is by default.
            loop: whether the last frame is followed by the first one, as in one heart beat.
            every: ask the model in every n-th frame, and fill those between by shape.
            intensity: what the model sees, see the class; the same in all frames.
            zoom: whether it looks at a crop around the segments, see the class.
            makeSequence: first give each frame a segmentation of its own, where it has none, and let the browser save
                what is drawn; what the segmentation has now becomes that of the present frame.
            progress: called with how many slices of frames are found, and how many there may be.
            shouldCancel: asked a few times a second; True ends the work, and the slices that were found are written.

        Returns:
            `segments`, for each ID its `frames` (frame, confidence, is_keyframe, voxels) and how many voxels `changed`;
            `is_complete`; and `undo`: call it to take the whole run back, but for frames that were changed since.

        Raises:
            see the class; and `SAMMed2DLib.propagation.estimate.PropagationError`, a ValueError, where the memory is
                not enough.
        """
        from SAMMed2DSlicer.inference import slice_task
        from SAMMed2DSlicer.propagation import api, time_task

        settings = time_task.TimeSettings(direction, first, last, every, intensity, slice_task.zoom_of(zoom), loop=loop)
        return api.propagate_in_time(
            volumeNode, segmentationNode, segmentIds, plane, settings, makeSequence, progress, shouldCancel
        )

    def newSegmentation(self, volumeNode: Any, name: str = "Segmentation", segmentNames: Sequence[str] = ()) -> Any:
        """Make a segmentation in the geometry of a volume.

        Args:
            volumeNode: the volume.
            name: of the segmentation; what a saved scene cannot bear in a node's name, such as "&", becomes "_".
            segmentNames: of its segments; each has its name as its ID, in which such characters become "_" too.

        Returns:
            The vtkMRMLSegmentationNode.
        """
        from SAMMed2DSlicer.scene import segmentations

        return segmentations.new_segmentation(volumeNode, name, segmentNames)

    def models(self) -> list[StoredModel]:
        """All known and added models: name, title, is_installed, path, size_bytes, weights_licence, data_licence."""
        from SAMMed2DLib.registry.store import stored_models

        return stored_models()

    def setModel(self, model: str | os.PathLike[str], device: str = "auto") -> None:
        """Use another model from the next call on, in the effect and the panel too; it is loaded with that call.

        Args:
            model: the name of a model that is installed, or the path of a weights file.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".

        Raises:
            CatalogueError: there is no such model, or it is not on this computer yet.
        """
        from SAMMed2DSlicer.setup import models

        models.choose(os.fspath(model), device)


class SAMMed2DTest(ScriptedLoadableModuleTest):
    """The self test: in the desktop, and wherever the host stands in for it. Each test stands alone."""

    _INSIDE_IJK, _BESIDE_IJK = (30, 25, 6), (55, 45, 6)

    def setUp(self) -> None:
        """Begin with an empty scene, and with the built-in model."""
        _make_library_importable()
        slicer.mrmlScene.Clear(0)

    def runTest(self) -> None:
        """Run all tests."""
        for test in (
            self.test_a_point_and_a_box_segment_a_slice,
            self.test_an_error_says_what_to_do,
            self.test_a_click_with_the_effect,
        ):
            self.setUp()
            self.delayDisplay(test.__name__)
            try:
                test()
            except unittest.SkipTest as reason:
                self.delayDisplay(f"skipped: {reason}")
        self.delayDisplay("Test passed")

    def test_a_point_and_a_box_segment_a_slice(self) -> None:
        """The Python API finds a bright ball from a point, and from a box."""
        self._skip_without_torch()
        logic = SAMMed2DLogic()
        volume = self._ball()
        segmentation = logic.newSegmentation(volume, "Test", ["point", "box"])
        inside = self._world(volume, self._INSIDE_IJK)
        by_point = logic.segmentSlice(volume, segmentation, "point", ("k", 6), positive=[inside])
        corners = [self._world(volume, ijk) for ijk in ((18, 13, 6), (42, 37, 6))]
        by_box = logic.segmentSlice(volume, segmentation, "box", ("k", 6), box=corners)
        for result in (by_point, by_box):
            self.assertTrue(result.mask[25, 30])
            self.assertFalse(result.mask[45, 55])
            self.assertEqual(result.voxels, int(result.mask.sum()))
        written = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "box", volume)
        self.assertEqual(int(written.sum()), by_box.voxels)
        self.assertEqual(int(written[6].sum()), by_box.voxels)

    def test_an_error_says_what_to_do(self) -> None:
        """A point that is not on the slice is refused before the model is asked."""
        logic = SAMMed2DLogic()
        volume = self._ball()
        with self.assertRaisesRegex(ValueError, "off the slice"):
            logic.predict(volume, ("k", 2), positive=[self._world(volume, self._INSIDE_IJK)])

    def test_a_click_with_the_effect(self) -> None:
        """The effect can be activated, and a click in a slice view makes a prompt."""
        from SAMMed2DSlicer.module.registration import EFFECT_NAME, register_effect

        manager = slicer.app.layoutManager()
        if manager is None or slicer.util.mainWindow() is None:
            self.skipTest("there is no slice view to click in")
        self._skip_without_torch()
        register_effect()
        volume = self._ball()
        segmentation = SAMMed2DLogic().newSegmentation(volume, "Test", ["ball"])
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setSegmentationNode(segmentation)
        editor.setSourceVolumeNode(volume)
        editor.setCurrentSegmentID("ball")
        widget = manager.sliceWidget("Red")
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        widget.mrmlSliceNode().SetOrientationToAxial()
        widget.mrmlSliceNode().JumpSliceByCentering(*self._world(volume, self._INSIDE_IJK))
        editor.setActiveEffectByName(EFFECT_NAME)
        self.assertEqual(editor.activeEffect().name, EFFECT_NAME)
        width, height = (int(size) for size in widget.mrmlSliceNode().GetDimensions()[:2])
        middle = (width // 2, height // 2)
        slicer.util.clickAndDrag(widget, start=middle, end=middle, steps=1)
        slicer.app.processEvents()
        points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        editor.setActiveEffect(None)
        self.assertEqual([node.GetNumberOfControlPoints() for node in points], [1])

    def _skip_without_torch(self) -> None:
        from SAMMed2DSlicer.setup.pytorch import torch_state

        if not torch_state().is_ready:
            self.skipTest(torch_state().text)

    def _ball(self) -> Any:
        """A volume with a bright ball around `_INSIDE_IJK`; its voxels are twice as high as wide."""
        import numpy as np

        k, j, i = np.mgrid[0:13, 0:50, 0:60]
        i0, j0, k0 = self._INSIDE_IJK
        values = np.where((i - i0) ** 2 + (j - j0) ** 2 + (2 * (k - k0)) ** 2 < 100, 160, 40).astype(np.int16)
        volume = slicer.util.addVolumeFromArray(values, name="Ball")
        volume.SetSpacing(1, 1, 2)
        volume.CreateDefaultDisplayNodes()
        volume.GetDisplayNode().SetAutoWindowLevel(False)
        volume.GetDisplayNode().SetWindowLevel(200, 100)
        return volume

    @staticmethod
    def _world(volume: Any, ijk: Sequence[float]) -> list[float]:
        from SAMMed2DSlicer.scene.volumes import world_from_ijk

        return [float(value) for value in (world_from_ijk(volume) @ [*ijk, 1])[:3]]
