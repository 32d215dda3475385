"""Makes the README's pictures of the window, in Slicer's desktop: a chest CT, its lungs, the effect and the module.

    Slicer --python-script Testing/pictures/desktop_pictures.py -- --data DIR --output docs/images

DIR is the folder `slicerio/data` of the Python package slicerio, which has the CT and a segmentation of it, from which
boxes and corrections are taken. Slicer ends with exit code 0 if all pictures were made.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "desktop")]
import numpy as np  # noqa: E402
import qt  # noqa: E402
import scene_steps  # noqa: E402
import slicer  # noqa: E402
from event_loop import Runner, Until, check  # noqa: E402
from workplace import Workplace  # noqa: E402

SLICE = 14
KEYFRAMES, SHOWN = (11, 18, 31), 21
LUNGS = ("right lung", "left lung")
VERTEBRAE = "thoracic vertebral column"
WINDOW, LEVEL = 1500, -250
MARGIN = 2  # voxels around an organ, of its box


class Pictures:
    """One method for each picture."""

    def __init__(self, work, data):
        self.work, self.data = work, data
        self.reference = {}  # (K, J, I) bool by name

    def load(self):
        """The CT, and where its organs are."""
        work = self.work
        work.volume = slicer.util.loadVolume(str(self.data / "CTChest4.nrrd"))
        work.volume.SetName("CT chest")
        found = slicer.util.loadSegmentation(str(self.data / "Segmentation.seg.nrrd"))
        segments = found.GetSegmentation()
        for n in range(segments.GetNumberOfSegments()):
            segment_id = segments.GetNthSegmentID(n)
            mask = slicer.util.arrayFromSegmentBinaryLabelmap(found, segment_id, work.volume).astype(bool)
            self.reference[segments.GetSegment(segment_id).GetName()] = mask
        slicer.mrmlScene.RemoveNode(found)
        display = work.volume.GetDisplayNode()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(WINDOW, LEVEL)
        yield 0.3

    def open(self):
        """The Segment Editor with one large slice view, the effect active."""
        from SAMMed2D import SAMMed2DLogic

        work = self.work
        work.organs = {"liver": self.reference[LUNGS[0]]}  # the shape of masks
        work.segmentation = SAMMed2DLogic().newSegmentation(work.volume, "Organs", [*LUNGS, VERTEBRAE])
        self._layout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        probe = slicer.util.findChildren(slicer.util.mainWindow(), "DataProbeCollapsibleWidget")
        for widget in probe:
            widget.collapsed = True
        work.open_editor(LUNGS[0])
        yield Until(lambda: work.service.state.is_ready, "the model is ready")
        self._show(SLICE)
        yield 1

    def click(self):
        """A click on a vertebra, and the window as it is after the activation."""
        work = self.work
        work.editor.setCurrentSegmentID(VERTEBRAE)
        yield 0.3
        self.work.picture("activated")
        j, i = np.argwhere(self.reference[VERTEBRAE][SLICE]).mean(0)
        work.click(self._world((i, j, SLICE)))
        yield from work.wait_for_answer()
        yield 0.5
        work.picture("click")
        yield from work.press_key("Esc")

    def effect(self):
        """One lung accepted, the other one from a box and corrections."""
        work = self.work
        for lung in LUNGS:
            work.editor.setCurrentSegmentID(lung)
            yield 0.3
            self._drag_box(lung)
            yield from work.wait_for_answer()
            if lung == LUNGS[0]:
                yield from self._correct(lung)
                yield from work.press_key("Return")
        yield 0.5
        work.picture("box")
        yield from self._correct(LUNGS[1], count=2)
        work.hands.hover(work.widget, (5, 5))
        yield 2.5  # marks of the change are gone
        work.picture("effect")
        yield from work.press_key("Return")

    def scribble(self):
        """A scribble along the vertebra, while it is drawn and after."""
        work = self.work
        work.editor.setCurrentSegmentID(VERTEBRAE)
        yield from work.press_key("C")
        j, i = np.argwhere(self.reference[VERTEBRAE][SLICE]).mean(0)
        path = [work.xy(self._world((i + di, j + dj, SLICE))) for di, dj in ((-5, 2), (-2, 0), (2, -1), (5, 2))]
        work.hands.press(work.widget, path[0])
        work.hands.move(work.widget, path)
        yield 0.3
        work.picture("scribbling")
        work.hands.release(work.widget, path[-1])
        yield from work.wait_for_answer()
        yield 0.3
        work.picture("scribble")
        yield from work.press_key("Esc")
        yield from work.press_key("P")

    def propagation(self):
        """Both lungs from three slices each, the strip open."""
        from SAMMed2D import SAMMed2DLogic

        work = self.work
        slicer.mrmlScene.RemoveNode(work.segmentation)
        work.segmentation = SAMMed2DLogic().newSegmentation(work.volume, "Lungs", LUNGS)
        work.open_editor(LUNGS[0])
        section = work.effect.propagation
        for lung in LUNGS:
            work.editor.setCurrentSegmentID(lung)
            for k in KEYFRAMES:
                self._show(k)
                yield 0.3
                self._drag_box(lung, k)
                yield from work.wait_for_answer()
                yield from self._correct(lung, k, count=3)
                yield from work.press_key("Return")
        self._layout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._show(SHOWN)
        work.hands.hover(work.widget, work.xy(self._world((64, 64, SHOWN))))  # along its slices
        section.ui.propagateButton.collapsed = False
        section.ui.allCheckBox.setChecked(True)
        yield 0.5
        work.hands.click_widget(section.ui.bothButton)
        yield Until(lambda: section.is_running, "it runs")
        yield Until(lambda: not section.is_running, "the end of the propagation", 180)
        slicer.util.resetSliceViews()
        self._show(SHOWN)
        work.segmentation.CreateClosedSurfaceRepresentation()
        view = slicer.app.layoutManager().threeDWidget(0).threeDView()
        view.resetFocalPoint()
        view.resetCamera()
        yield 1.5
        work.picture("propagation")

    def module(self):
        """The module with points and a box."""
        from SAMMed2D import SAMMed2DLogic

        work, k = self.work, SLICE
        work.editor.setActiveEffect(None)
        segmentation = SAMMed2DLogic().newSegmentation(work.volume, "Organs", [LUNGS[0]])
        work.segmentation.GetDisplayNode().SetVisibility(False)
        roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "lung box")
        low, high = (np.array(self._world((*corner, k))) for corner in self._box(LUNGS[0], k))
        roi.SetCenter(*(low + high) / 2)
        roi.SetSize(*np.abs(high - low)[:2], 20)
        roi.GetDisplayNode().SetFillVisibility(False)
        roi.GetDisplayNode().SetPropertiesLabelVisibility(False)
        self._layout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        slicer.util.selectModule("SAMMed2D")
        self._show(k)
        yield 0.7
        panel = slicer.modules.sammed2d.widgetRepresentation().self().panels[0]
        panel.ui.volumeSelector.setCurrentNode(work.volume)
        panel.ui.segmentationSelector.setCurrentNode(segmentation)
        panel.ui.boxSelector.setCurrentNode(roi)
        yield 0.4
        check(panel.ui.segmentButton.enabled, panel.problem())
        work.hands.click_widget(panel.ui.segmentButton)
        yield Until(lambda: not panel.is_running, "the module's mask")
        yield 1
        work.picture("module")

    # What a hand is led by

    def _layout(self, number):
        slicer.app.layoutManager().setLayout(number)
        slicer.app.processEvents()

    def _world(self, ijk):
        from SAMMed2DSlicer.scene.volumes import world_from_ijk

        return (world_from_ijk(self.work.volume) @ [*ijk, 1])[:3]

    def _show(self, k):
        _k_size, j_size, i_size = self.work.organs["liver"].shape
        self.work.show_slice(self._world((i_size / 2, j_size / 2, k)))

    def _box(self, organ, k):
        j, i = np.nonzero(self.reference[organ][k])
        return (i.min() - MARGIN, j.min() - MARGIN), (i.max() + MARGIN, j.max() + MARGIN)

    def _drag_box(self, organ, k=SLICE):
        corners = [self.work.xy(self._world((*corner, k))) for corner in self._box(organ, k)]
        self.work.hands.drag(self.work.widget, corners)

    def _correct(self, organ, k=SLICE, count=1):
        from SAMMed2DLib.data.simulated_user import centre_error_point

        for _number in range(count):
            found = centre_error_point(self.work.shown()[k], self.reference[organ][k])
            if found is None:
                return
            (x, y), label = found
            self.work.click(self._world((x, y, k)), control=not label)
            yield from self.work.wait_for_answer()
            yield 0.2


def main():
    """Make all pictures, and end Slicer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder slicerio/data")
    parser.add_argument("--output", type=Path, required=True, help="where the pictures go")
    arguments = parser.parse_args(sys.argv[1:])
    arguments.output.mkdir(parents=True, exist_ok=True)
    slicer.app.settings().setValue("SAMMed2D/TourSeen", 1)
    slicer.util.mainWindow().resize(1366, 768)
    work = Workplace(arguments.output)
    pictures = Pictures(work, arguments.data)
    names = ("load", "open", "click", "effect", "scribble", "propagation", "module")
    steps = [("module start", scene_steps.SceneSteps(work).load_module), *((n, getattr(pictures, n)) for n in names)]
    runner = Runner(steps, lambda line: print(line, flush=True), longest_gap_ms=60_000)

    def watch():
        if runner.is_done:
            slicer.util.exit(1 if runner.failed else 0)
        else:
            qt.QTimer.singleShot(100, watch)

    runner.start()
    watch()


main()
