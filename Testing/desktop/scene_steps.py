"""The steps around the Segment Editor: loading, saving, the module, Python, many activations, a closed scene."""

import os
import re
import sys
import time
from contextlib import redirect_stdout
from io import StringIO

import made_ct
import numpy as np
import qt
import slicer
from event_loop import Until, check
from workplace import EFFECT, ROOT, dice

ACTIVATIONS = 50
LIVER, _RADIUS = made_ct.ORGANS["liver"]
SPLEEN, _RADIUS = made_ct.ORGANS["spleen"]
MODULE_FILE = ROOT / "SAMMed2D" / "SAMMed2D.py"


class SceneSteps:
    """What is done beside the effect; each method is a step."""

    def __init__(self, work):
        self.work = work

    def load_module(self):
        """Load the module where Slicer has not done so, and register the effect: what this adds to Slicer's start."""
        began, computed = time.perf_counter(), time.thread_time()
        was_there = hasattr(slicer.modules, "sammed2d")
        if not was_there:
            _load_module(str(MODULE_FILE))
        loaded = time.thread_time() - computed
        from SAMMed2DSlicer.module import registration

        registration.register_effect()
        registration.register_sample_data()
        computed = time.thread_time() - computed
        seconds = time.perf_counter() - began
        yield 0.2
        heavy = [name for name in ("torch", "torchvision") if name in sys.modules]
        if was_there:
            return f"the module was there; {1000 * computed:.0f} ms to register"
        check(not heavy, f"imported at start: {heavy}")
        return f"{1000 * seconds:.0f} ms, computing {1000 * computed:.0f} ms, of it the module {1000 * loaded:.0f} ms"

    def load_ct(self):
        """A CT from a file."""
        work = self.work
        path = work.output / "ct.nrrd"
        made = slicer.util.addVolumeFromArray(made_ct.voxels(), made_ct.ijk_to_ras())
        slicer.util.saveNode(made, str(path))
        slicer.mrmlScene.RemoveNode(made)
        yield 0.1
        work.volume = slicer.util.loadVolume(str(path))
        work.volume.SetName("CTChest")
        work.volume.CreateDefaultDisplayNodes()
        work.volume.GetDisplayNode().SetAutoWindowLevel(False)
        work.volume.GetDisplayNode().SetWindowLevel(350, 60)
        yield 0.2
        check(np.array_equal(slicer.util.arrayFromVolume(work.volume), made_ct.voxels()), "other voxels than written")

    def save(self):
        """Save the scene as one file."""
        work = self.work
        self._before = {name: work.segment(name) for name in ("liver", "spleen")}, work.markups()
        path = work.output / "scene.mrb"
        if path.exists():
            os.remove(path)
        yield 0.1
        check(slicer.util.saveScene(str(path)), "the scene was not saved")
        yield 0.1
        return f"{path.stat().st_size / 1024**2:.1f} MiB"

    def reopen(self):
        """Close the scene and open it again: segments and prompts are as they were."""
        work = self.work
        slicer.mrmlScene.Clear(0)
        yield 0.3
        slicer.util.loadScene(str(work.output / "scene.mrb"))
        yield 0.3
        work.volume, work.segmentation = slicer.util.getNode("CTChest"), slicer.util.getNode("Organs")
        segments, markups = self._before
        for name, mask in segments.items():
            check(np.array_equal(work.segment(name), mask), f"{name} is another one")
        check(work.markups() == markups, f"other prompts: {work.markups()}, before {markups}")
        work.open_editor("liver")
        work.show_slice(LIVER)
        yield Until(lambda: work.service.state.is_ready and not work.controller.is_waiting, "the effect is at rest")
        check(work.controller.groups, "the effect does not know the prompts")
        return f"{len(work.controller.groups)} objects with prompts"

    def module(self):
        """The module segments a slice from points and gives what its Python API gives."""
        work = self.work
        from SAMMed2D import SAMMed2DLogic

        logic = SAMMed2DLogic()
        work.editor.setActiveEffect(None)
        segmentation = logic.newSegmentation(work.volume, "Module", ["liver"])
        points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "inside")
        points.AddControlPoint(*LIVER)
        slicer.util.selectModule("SAMMed2D")
        yield 0.5
        panel = slicer.modules.sammed2d.widgetRepresentation().self().panels[0]
        panel.ui.volumeSelector.setCurrentNode(work.volume)
        panel.ui.segmentationSelector.setCurrentNode(segmentation)
        panel.ui.positiveSelector.setCurrentNode(points)
        yield 0.3
        check(panel.ui.segmentButton.enabled, f"the button is off: {panel.problem()}")
        work.hands.click_widget(panel.ui.segmentButton)
        yield Until(lambda: not panel.is_running, "the module's mask")
        yield 0.3
        work.picture("module")
        written = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", work.volume).astype(bool)
        result = logic.predict(work.volume, ("axial", made_ct.ijk_of(LIVER)[2]), positive=points)
        mask = np.zeros_like(written)
        result.plane.insert(mask, result.mask, True)
        check(np.array_equal(written, mask), "the module and the Python API give different masks")
        found = dice(written, work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        slicer.mrmlScene.RemoveNode(points)
        slicer.mrmlScene.RemoveNode(segmentation)
        check(found > 0.9, f"Dice {found:.3f}")
        return f"Dice {found:.3f}, the same from Python"

    def python_examples(self):
        """The examples of docs/python.md run one after the other."""
        sys.path.append(str(ROOT / "Testing" / "slicer"))
        from sequence_kit import a_cine

        before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}
        a_cine().volume.SetName("Cine")
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            if node.GetName() == "Organs":
                node.SetName("Before")
        page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        names, printed = {"slicer": slicer}, StringIO()
        for number, block in enumerate(blocks):
            with redirect_stdout(printed):
                exec(compile(block, f"docs/python.md, example {number + 1}", "exec"), names)
            yield 0.05
        names.clear()
        for node in slicer.util.getNodesByClass("vtkMRMLNode"):  # an ROI would lie where the next steps click
            if node.GetID() not in before and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        check("liver: " in printed.getvalue(), "the examples printed nothing")
        return f"{len(blocks)} examples"

    def activations(self):
        """The effect, chosen and left many times: nothing gathers, and it stays quick."""
        work = self.work
        work.open_editor("liver")
        yield 0.5
        nodes, shortcuts = slicer.mrmlScene.GetNumberOfNodes(), _count_shortcuts()
        seconds = []
        for _number in range(ACTIVATIONS):
            work.editor.setActiveEffect(None)
            yield 0.02
            began = time.perf_counter()
            work.editor.setActiveEffectByName(EFFECT)
            seconds.append(time.perf_counter() - began)
            yield 0.02
        yield Until(lambda: not work.controller.is_waiting, "the effect is at rest")
        check(slicer.mrmlScene.GetNumberOfNodes() == nodes, "nodes have gathered")
        check(_count_shortcuts() == shortcuts, "shortcuts have gathered")
        first, last = (np.median(part) for part in (seconds[:10], seconds[-10:]))
        check(last < 2 * first + 0.02, f"the last ones took {last:.3f} s each, the first {first:.3f} s")
        return f"{1000 * first:.0f} ms each at first, {1000 * last:.0f} ms at last"

    def close_while_predicting(self):
        """A scene that is closed while an answer is on its way, and work in the next one."""
        from SAMMed2DSlicer.inference.worker import TASK

        work = self.work
        work.editor.setCurrentSegmentID(work.segmentation.GetSegmentation().AddEmptySegment("another"))
        work.show_slice(SPLEEN)
        yield 0.2
        # The worker is busy for a while, so that the answer is on its way for long enough on any computer.
        work.service.submit(lambda session, should_stop: time.sleep(2), lambda nothing: None, kind=TASK)
        work.click(SPLEEN)
        yield Until(lambda: work.controller.is_waiting, "a request is on its way", 5)
        slicer.mrmlScene.Clear(0)
        yield 0.5
        check(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0, "prompts were left")
        yield from self.load_ct()
        from SAMMed2D import SAMMed2DLogic

        work.segmentation = SAMMed2DLogic().newSegmentation(work.volume, "Organs", ["liver"])
        work.open_editor("liver")
        work.show_slice(LIVER)
        yield 0.3
        work.click(LIVER)
        yield from work.wait_for_answer()
        found = dice(work.shown(), work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        check(found > 0.9, f"Dice in the next scene {found:.3f}")
        work.editor.setActiveEffect(None)
        slicer.mrmlScene.Clear(0)
        yield 0.3
        return f"Dice in the next scene {found:.3f}"


def _load_module(path):
    """Load a scripted module as Slicer does at its start."""
    manager = slicer.app.moduleManager().factoryManager()
    if not hasattr(manager, "registerModule"):  # the tests' host
        slicer.qSlicerScriptedLoadableModule(path).load()
        return
    manager.registerModule(qt.QFileInfo(path))
    manager.loadModules(["SAMMed2D"])


def _count_shortcuts():
    return len(slicer.util.findChildren(slicer.util.mainWindow(), className="QShortcut"))
