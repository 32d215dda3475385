"""The host's application: modules and their panels, threads that starve, errors that are collected, what is missing."""

import os
import subprocess
import sys
import threading
import time

import host
import numpy as np
import pytest
import qt
import slicer
import vtk
from host import requirements, sources
from host.application.dialogs import UnansweredDialogError
from host.cleaning import CollectedErrors

STAND_INS = sources.upstream() is None


def test_a_module_is_loaded_entered_left_and_cleaned_up(demo, app):
    assert slicer.modules.segmenteditordemo is demo and slicer.moduleNames.SegmentEditorDemo == "SegmentEditorDemo"
    assert demo.title == "Demo" and demo.categories == ("Segmentation",)
    slicer.util.selectModule("SegmentEditorDemo")
    widget = slicer.modules.SegmentEditorDemoWidget
    assert slicer.util.selectedModule() == "SegmentEditorDemo" and widget.parent.isEntered
    slicer.util.selectModule("SegmentEditor")
    assert widget.calls == ["setup", "enter", "exit"]
    demo.unload()
    assert widget.calls[-1] == "cleanup"
    with pytest.raises(RuntimeError):
        slicer.util.selectModule("Nowhere")
    with pytest.raises(AttributeError):
        _ = slicer.modules.nowhere


def test_a_panel_works_on_the_scene(demo, make_volume, app):
    slicer.util.selectModule("SegmentEditorDemo")
    widget, volume = slicer.modules.SegmentEditorDemoWidget, make_volume("axis")
    widget.ui.volumeSelector.setCurrentNode(volume)
    assert widget.ui.levelSlider.value == 50
    widget.ui.applyButton.click()
    widget.ui.volumeSelector.setCurrentNode(None)
    app.answers.give("no volume is selected", "Ok")
    widget.ui.applyButton.click()
    assert isinstance(app.errors.pop(), ValueError)


def test_a_self_test_runs(demo):
    slicer.selfTests["SegmentEditorDemo"]()


def test_a_parameter_node_is_a_singleton_in_the_scene(demo):
    logic = slicer.util.getModuleLogic("SegmentEditorDemo")
    node = logic.getParameterNode()
    assert logic.getParameterNode() is node and node.GetAttribute("ModuleName") == "SegmentEditorDemo"
    assert logic.getAllParameterNodes() == [node]


def test_settings_are_kept_and_converted(app):
    qt.QSettings().setValue("SAMMed2D/Key", "3")
    assert slicer.util.settingsValue("SAMMed2D/Key", 0, int) == 3
    assert slicer.util.settingsValue("SAMMed2D/Nothing", 7, int) == 7


def test_slicer_util_works_on_the_scene(make_volume):
    volume = make_volume("transformed")
    array = slicer.util.arrayFromVolume(volume)
    slicer.util.updateVolumeFromArray(volume, array * 2)
    assert slicer.util.arrayFromVolume(slicer.util.getNode("CT")).max() == 200
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    slicer.util.resetSliceViews()
    assert slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID()
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4) * 2)
    assert (slicer.util.arrayFromVTKMatrix(matrix) == np.eye(4) * 2).all()


def test_sample_data_are_registered_and_loaded(make_volume, tmp_path):
    import SampleData

    path = str(tmp_path / "small.nrrd")
    assert slicer.util.saveNode(make_volume("axis"), path)
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Host", sampleName="Small", uris="file://" + path, fileNames="small.nrrd", nodeNames="Small"
    )
    assert SampleData.SampleDataLogic().sourceForSampleName("Small").fileNames == ["small.nrrd"]
    if STAND_INS:  # Slicer's own asks more of the application
        assert SampleData.downloadSample("Small").GetName() == "Small"


def test_nothing_is_installed_unless_a_test_says_so(monkeypatch):
    import slicer.packaging

    assert slicer.packaging.pip_check("numpy>=1.20") and not slicer.packaging.pip_check("no-such-thing>=1")
    with pytest.raises(slicer.packaging.NoInstallationError):
        slicer.packaging.pip_install("torch")
    monkeypatch.setitem(slicer.packaging.answers, "pip_install", lambda what: f"installed {what}")
    assert slicer.packaging.pip_install("torch") == "installed torch"


@pytest.fixture
def worker():
    """A Python thread that counts; its counter."""
    counter, stop = [0], threading.Event()

    def work():
        while not stop.is_set():
            counter[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=work)
    thread.start()
    yield counter
    stop.set()
    thread.join()


def progress(counter, seconds=0.2):
    before = counter[0]
    host.pump(seconds)
    return counter[0] - before


def test_a_thread_starves_as_in_the_desktop_until_a_timer_yields(worker):
    with host.starving():
        starved = progress(worker)
        timer = qt.QTimer()
        timer.setInterval(0)
        timer.connect("timeout()", lambda: time.sleep(0.001))
        timer.start()
        helped = progress(worker)
        timer.stop()
    assert progress(worker) > 0
    assert starved < 0.2 * helped


def test_pump_ends_when_the_condition_holds(app):
    done = []
    qt.QTimer.singleShot(20, lambda: done.append(1))
    for context in (host.starving, __import__("contextlib").nullcontext):
        with context():
            started = time.perf_counter()
            assert host.pump(60, lambda: done) is True
            assert time.perf_counter() - started < 30


@pytest.mark.parametrize("raise_it", ["observer", "thread", "vtk", "qt"])
def test_errors_that_the_desktop_would_only_print_fail_the_test(app, raise_it):
    if raise_it == "observer":
        slicer.mrmlScene.AddObserver("UserEvent", lambda *_: 1 / 0)
        slicer.mrmlScene.InvokeEvent("UserEvent")
        slicer.mrmlScene.RemoveObservers("UserEvent")
    elif raise_it == "thread":
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    elif raise_it == "vtk":
        vtk.vtkImageReslice().Update()
    else:
        from PySide6 import QtCore

        QtCore.qCritical("broken")
    with pytest.raises(CollectedErrors):
        host.clean_up()


def test_an_answer_that_was_not_needed_fails_the_test(app):
    app.answers.give("never", "Ok")
    with pytest.raises(CollectedErrors):
        host.clean_up()


def test_keys_that_are_left_installed_fail_the_test(app):
    kept = qt.QShortcut(qt.QKeySequence("P"), slicer.util.mainWindow())
    with pytest.raises(CollectedErrors):
        host.clean_up()
    assert kept is not None


def test_what_is_missing_is_named_in_one_sentence():
    def load(library):
        if library in ("libEGL.so.1", "libxkbcommon.so.0"):
            raise OSError(library)

    with pytest.raises(requirements.MissingRequirementError, match="libegl1 libxkbcommon0 libgl1-mesa-dri"):
        requirements.check(load)


def test_an_interrupted_answer_does_not_reach_the_next_test(app):
    assert app.answers.shown == [] and app.errors == []
    with pytest.raises(UnansweredDialogError):
        slicer.util.messageBox("hello")


def test_the_stand_ins_are_used_unless_slicers_sources_are_named():
    from slicer.ScriptedLoadableModule import __file__ as path

    assert ("host" in path) is STAND_INS
    code = "import host; host.start()"
    environment = {**os.environ, "SLICER_SOURCE": "/nowhere", "PYTHONPATH": str(host.SLICER_TESTS.parent)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode != 0 and "SLICER_SOURCE=/nowhere" in run.stderr
