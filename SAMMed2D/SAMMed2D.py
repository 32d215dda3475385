"""The module SAMMed2D: registration, widget and self test; `SAMMed2DLogic` is its Python API.

Only Slicer and Python's standard library are imported at the top: the widget opens without PyTorch.
"""

from __future__ import annotations

import unittest
from collections.abc import Sequence
from functools import partial
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SAMMed2DSlicer.logic import SAMMed2DLogic
from SAMMed2DSlicer.resources import make_library_importable

_HOMEPAGE = "https://github.com/SAMMed2D/SlicerSAMMed2D"


class SAMMed2D(ScriptedLoadableModule):
    """Title, dependencies and texts of the module."""

    def __init__(self, parent: Any) -> None:
        """Describe the module; the effect is registered after Slicer's start."""
        ScriptedLoadableModule.__init__(self, parent)
        make_library_importable()
        parent.title = "SAMMed2D"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SegmentEditor", "Markups"]
        parent.contributors = ["SAMMed2D contributors"]
        parent.helpText = _help_text()
        parent.acknowledgementText = _acknowledgement_text()
        slicer.app.connect("startupCompleted()", _register)


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
    """The module's widget: makes the panels, and passes Slicer's events on to them."""

    def __init__(self, parent: Any = None) -> None:
        """Prepare; `setup` makes the panels."""
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic: SAMMed2DLogic | None = None
        self.panels: tuple[Any, ...] = ()

    def setup(self) -> None:
        """Make the panels; registers the effect, too, if the module was loaded after Slicer's start."""
        ScriptedLoadableModuleWidget.setup(self)
        _register()
        from SAMMed2DSlicer.inference import service
        from SAMMed2DSlicer.module.environment_panel import EnvironmentPanel
        from SAMMed2DSlicer.module.model_panel import ModelPanel
        from SAMMed2DSlicer.module.model_store_panel import ModelStorePanel
        from SAMMed2DSlicer.module.prompt_panel import PromptPanel
        from SAMMed2DSlicer.propagation.panel.module_propagation import ModulePropagation
        from SAMMed2DSlicer.propagation.segmentation_context import ModuleContext
        from SAMMed2DSlicer.widgets.status_line import StatusLine

        self.logic = SAMMed2DLogic()
        prompts = self._load("SAMMed2D")
        prompts.setMRMLScene(slicer.mrmlScene)
        status_line = StatusLine()
        model = ModelPanel(self._load("Model"), service.shared(), status_line)
        slices = PromptPanel(prompts, service.shared(), status_line, self.installTorch)
        context, button = ModuleContext(lambda: slices.parameters), slices.ui.wholeButton
        propagation = ModulePropagation(service.shared(), context, status_line, button)
        slices.on_refreshed = partial(self._refreshed, slices, propagation)
        self.panels = (
            slices,
            propagation,
            model,
            ModelStorePanel(self._load("ManageModels"), service.shared(), model.refresh),
            EnvironmentPanel(self._load("Environment"), self.installTorch),
        )
        status_line.widget.setContentsMargins(4, 0, 4, 0)  # text at the very edge is hard to read
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
        """Start observing the scene: the module is shown."""
        if self.logic is None:  # not set up
            return
        from SAMMed2DSlicer.recovery import restoring

        for panel in self.panels:
            panel.enter(self.logic.getParameterNode())
        qt.QTimer.singleShot(0, restoring.offer_left_work)

    def _refreshed(self, slices: Any, propagation: Any) -> None:
        """Show what has changed, and keep the work in case of a crash."""
        from SAMMed2DSlicer.recovery import autosave

        propagation.show()
        if slices.parameters is not None:
            chosen = slices.parameters
            autosave.shared().follow(chosen.segmentation, chosen.volume, propagation.unwritten)

    def exit(self) -> None:
        """Stop observing the scene: the module is left."""
        for panel in self.panels:
            panel.exit()

    def installTorch(self) -> None:
        """Install PyTorch, after asking, and show its new state."""
        from SAMMed2DSlicer.setup import pytorch

        pytorch.ensure_torch()
        for panel in self.panels:
            panel.refresh()

    def onSceneStartClose(self, caller: Any, event: Any) -> None:
        """Release the nodes before they are removed."""
        for panel in self.panels:
            panel.forget()
        self.exit()

    def onSceneEndClose(self, caller: Any, event: Any) -> None:
        """Observe the new scene."""
        if self.parent.isEntered:
            self.exit()
            self.enter()

    def cleanup(self) -> None:
        """Stop timers, threads and observers of all panels."""
        self.removeObservers()
        for panel in self.panels:
            panel.cleanup()
        self.panels = ()

    def _load(self, name: str) -> Any:
        return slicer.util.loadUI(self.resourcePath(f"UI/{name}.ui"))


class SAMMed2DTest(ScriptedLoadableModuleTest):
    """The self test; runs in Slicer and in the test host."""

    _INSIDE_IJK, _BESIDE_IJK = (30, 25, 6), (55, 45, 6)

    def setUp(self) -> None:
        """Begin with an empty scene, and with the built-in model."""
        make_library_importable()
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
        """A point that is not on the slice is refused before the model is loaded."""
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

    def _ball(self) -> Any:
        """A volume with a bright ball around `_INSIDE_IJK`; its voxels are twice as high as wide."""
        import numpy as np

        k, j, i = np.mgrid[0:13, 0:50, 0:60]
        i0, j0, k0 = self._INSIDE_IJK
        values = np.where((i - i0) ** 2 + (j - j0) ** 2 + (2 * (k - k0)) ** 2 < 100, 160, 40).astype(np.int16)
        volume = slicer.util.addVolumeFromArray(values, name="Ball")
        volume.SetSpacing(1, 1, 2)
        volume.CreateDefaultDisplayNodes()
        display = volume.GetScalarVolumeDisplayNode()
        assert display is not None
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(200, 100)
        return volume

    @staticmethod
    def _world(volume: Any, ijk: Sequence[float]) -> list[float]:
        from SAMMed2DSlicer.scene.volumes import world_from_ijk

        return [float(value) for value in (world_from_ijk(volume) @ [*ijk, 1])[:3]]
