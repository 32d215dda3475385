"""The panel: it follows the scene, says what is missing, and segments in the background."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

import host
import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, INSIDE
from module_kit import a_case, on_slice
from test_logic import show


@pytest.fixture
def widget(logic):
    """The module's panel, shown."""
    slicer.util.selectModule("SAMMed2D")
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    yield slicer.util.getModuleWidget("SAMMed2D")
    slicer.util.getModuleWidget("SAMMed2D").panels[0].forget()


@pytest.fixture
def panel(widget):
    return widget.panels[0]


@pytest.fixture
def case(panel):
    """All that is needed for segmenting slice 10 along k, which the Red view shows."""
    made = a_case(GEOMETRIES["anisotropic and offset"])
    show(made)
    fill(panel, made, made.fiducials(INSIDE, name="inside"))
    return made


def fill(panel, case, positive=None):
    parameters = panel.parameters
    parameters.volume, parameters.segmentation, parameters.segment_id = case.volume, case.segmentation, "A"
    parameters.positive = positive
    panel.refresh()


def finish(panel, seconds=60):
    assert host.pump(seconds, lambda: not panel.is_running)


def choose(box, value):
    """What a user does: opens a list and takes an item."""
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex)


def hint(widget):
    """A property in the desktop, a method here."""
    size = widget.minimumSizeHint
    return size() if callable(size) else size


# What it shows


def test_it_begins_with_what_is_there(logic):
    made = a_case()
    slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().SetBackgroundVolumeID(made.volume.GetID())
    slicer.util.selectModule("SAMMed2D")
    panel = slicer.util.getModuleWidget("SAMMed2D").panels[0]
    assert panel.ui.volumeSelector.currentNode() is made.volume
    assert panel.ui.segmentationSelector.currentNode() is made.segmentation
    assert panel.ui.segmentSelector.currentData == panel.parameters.segment_id == "A"


def test_the_views_are_those_of_the_layout(panel):
    box = panel.ui.viewSelector
    assert {box.itemData(n) for n in range(box.count)} == {"Red", "Green", "Yellow"}
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpYellowSliceView)
    assert host.pump(10, lambda: [box.itemData(n) for n in range(box.count)] == ["Yellow"])
    assert panel.parameters.view == "Yellow"


def test_the_slice_shown_is_named(panel, case):
    assert panel.ui.sliceLabel.text == "axial 11"
    show(case, index=3)
    host.pump(0.15)
    assert panel.ui.sliceLabel.text == "axial 4"
    show(case, tilt=20)
    host.pump(0.15)
    assert panel.ui.sliceLabel.text == "oblique"
    show(case, index=400)
    host.pump(0.15)
    assert panel.ui.sliceLabel.text == "outside"


def test_what_is_chosen_is_remembered(panel, case):
    ui, parameters = panel.ui, panel.parameters
    choose(ui.intensitySelector, "percentiles")
    choose(ui.zoomSelector, "off")
    choose(ui.overwriteSelector, "all")
    choose(ui.viewSelector, "Green")
    choose(ui.segmentSelector, "B")
    ui.positiveSelector.setCurrentNode(None)
    ui.boxSelector.setCurrentNode(case.roi((1, 1, 1), (9, 9, 20)))
    assert (parameters.intensity, parameters.zoom, parameters.overwrite) == ("percentiles", "off", "all")
    assert (parameters.view, parameters.segment_id, parameters.positive) == ("Green", "B", None)
    assert parameters.box.GetName() == "R"


def test_a_node_that_goes_is_forgotten(panel, case):
    slicer.mrmlScene.RemoveNode(panel.parameters.positive)
    case.segmentation.GetSegmentation().RemoveSegment("A")
    host.pump(0.15)
    assert panel.parameters.positive is None and panel.ui.positiveSelector.currentNode() is None
    assert panel.parameters.segment_id == panel.ui.segmentSelector.currentData == "B"
    slicer.mrmlScene.RemoveNode(case.volume)
    host.pump(0.15)
    assert "Select the volume to segment." in panel.ui.segmentButton.toolTip


def test_new_segmentations_and_segments_fit_the_volume(panel, case):
    made = panel.ui.segmentationSelector.addNode("vtkMRMLSegmentationNode")
    assert panel.parameters.segmentation is made and made.GetDisplayNode() is not None
    host.pump(0.15)
    assert panel.parameters.segment_id == made.GetSegmentation().GetNthSegmentID(0)
    panel.ui.addSegmentButton.click()
    segments = made.GetSegmentation()
    assert [segments.GetNthSegment(n).GetName() for n in range(2)] == ["Segment 1", "Segment 2"]
    assert panel.parameters.segment_id == segments.GetNthSegmentID(1)
    panel.ui.segmentButton.click()
    finish(panel)
    found = slicer.util.arrayFromSegmentBinaryLabelmap(made, panel.parameters.segment_id, case.volume)
    np.testing.assert_array_equal(found.astype(bool), on_slice(case.structure, 2, 10))


def test_no_text_is_cut_at_the_usual_width(widget, case):
    for one in widget.panels:
        for name in ("optionsSection", "manageSection", "environmentSection"):
            if hasattr(one.ui, name):
                getattr(one.ui, name).collapsed = False
    host.pump(0.1)
    assert hint(widget.parent).width() <= 420
    widget.parent.resize(420, 1500)
    host.pump(0.1)
    for one in widget.panels:
        for child in vars(one.ui).values():
            if type(child).__name__ in ("QPushButton", "QLabel") and child.isVisible() and child.text:
                assert child.width >= hint(child).width(), child.objectName
    for one in widget.panels:
        for name in ("optionsSection", "manageSection", "environmentSection"):
            if hasattr(one.ui, name):
                getattr(one.ui, name).collapsed = True


# What is missing


def test_the_button_says_what_is_missing(panel):
    def reason():
        panel.refresh()
        assert panel.ui.segmentButton.enabled is False
        assert panel.status_line.text in panel.ui.segmentButton.toolTip  # the desktop puts tool tips in <p>
        return panel.ui.segmentButton.toolTip

    assert "Select the volume" in reason()
    made = a_case()
    show(made)
    panel.parameters.volume = made.volume
    assert "Select or create a segmentation" in reason()
    panel.parameters.segmentation = made.segmentation
    assert "Nothing says where the object is" in reason()
    panel.parameters.negative = made.fiducials((1, 1, 10))
    assert "add one on it" in reason()
    panel.parameters.positive = made.fiducials((25, 22, 3), name="far")
    assert "far has no point on this slice" in reason()
    show(made, index=99)
    assert "does not meet the volume" in reason()
    show(made, index=3)
    panel.parameters.negative = None
    panel.refresh()
    assert panel.ui.segmentButton.enabled is True
    assert panel.status_line.text == ""


def test_moving_a_point_or_the_slice_is_noticed(panel, case):
    assert panel.ui.segmentButton.enabled
    show(case, index=5)
    host.pump(0.15)
    assert not panel.ui.segmentButton.enabled
    panel.parameters.positive.SetNthControlPointPositionWorld(0, *case.world((25, 22, 5))[0])
    host.pump(0.15)
    assert panel.ui.segmentButton.enabled


def test_a_missing_torch_is_said_where_it_is_needed_and_can_be_installed(widget, panel, case, monkeypatch):
    from SAMMed2DSlicer.inference import service
    from SAMMed2DSlicer.setup import pytorch

    asked = []
    state = pytorch.TorchState("missing", "PyTorch is not installed yet.")
    monkeypatch.setattr(pytorch, "torch_state", lambda: state)
    panel.refresh()
    assert not panel.ui.installRow.isVisible() and panel.ui.segmentButton.enabled  # the built-in model does without
    monkeypatch.setattr(service.shared(), "choice", service.ModelChoice(device="cuda"))
    monkeypatch.setattr(pytorch, "ensure_torch", lambda: asked.append("install"))
    panel.refresh()
    assert panel.ui.installRow.isVisible() and panel.ui.installLabel.text == state.text
    assert not panel.ui.segmentButton.enabled
    state = pytorch.TorchState("ready", "", "2.5.0")
    panel.ui.installButton.click()
    assert asked == ["install"]
    assert not panel.ui.installRow.isVisible() and panel.ui.segmentButton.enabled


# Segmenting


def test_a_click_on_the_button_segments_the_slice(panel, case, logic):
    panel.ui.segmentButton.click()
    assert panel.is_running and panel.ui.segmentButton.text == "Cancel"
    assert panel.status_line.ui.progressBar.isVisible() and panel.status_line.ui.progressBar.maximum > 0  # see BusyBar
    finish(panel)
    assert not panel.status_line.ui.progressBar.isVisible()
    expected = on_slice(case.structure, 2, 10)
    np.testing.assert_array_equal(case.segment("A"), expected)
    assert panel.status_line.text.startswith(f"{expected.sum():,} voxels, {expected.sum():,} new; good; ")
    assert panel.status_line.ui.scoreBar.isVisible() and panel.status_line.ui.scoreBar.value == 90
    assert panel.ui.segmentButton.text == "Segment this slice" and panel.ui.segmentButton.enabled


def test_it_works_where_threads_starve(panel, case):
    panel.ui.segmentButton.click()
    with host.starving():
        finish(panel)
    assert case.segment("A").any()


def test_options_reach_the_model(panel, case, logic):
    choose(panel.ui.intensitySelector, "full")
    choose(panel.ui.zoomSelector, "on")
    panel.segment()
    finish(panel)
    _, image, zoom = logic.session.asked[-1]
    assert zoom is True and image.min() == 0 and image.max() == 255


def test_another_mask_that_the_prompts_may_mean_is_written_and_named(panel, case, logic):
    from SAMMed2DLib.inference.candidates import CandidateError

    answer = logic.session.answer

    def with_part(image, prompts, **options):
        if prompts.candidate == 5:
            raise CandidateError("there is no candidate 5: there are 2 candidates")
        whole = answer(image, prompts, **options)
        part = replace(whole, mask=whole.mask & (np.arange(whole.mask.shape[1]) < 20))
        return replace((part, whole)[prompts.candidate - 1], candidates=(part, whole), candidate=prompts.candidate)

    logic.session.answer = with_part
    choose(panel.ui.candidateSelector, "5")
    panel.segment()
    finish(panel)
    assert "there are 2 candidates" in panel.status_line.text and not case.segment("A").any()
    choose(panel.ui.candidateSelector, "1")
    panel.segment()
    finish(panel)
    assert "mask 1 of 2" in panel.status_line.text
    written = case.segment("A")
    assert written.any() and (written == (case.structure & written)).all() and not written[..., 20:].any()
    choose(panel.ui.candidateSelector, "best")
    assert panel.parameters.prompts["candidate"] is None


def test_all_kinds_of_prompts_are_taken_together(panel, case, logic):
    panel.parameters.negative = case.fiducials((40, 40, 10), name="outside")
    panel.parameters.box = case.roi((5, 5, 5), (45, 45, 15))
    panel.segment()
    finish(panel)
    prompts = logic.session.asked[-1][0]
    assert prompts.labels.tolist() == [1, 0]
    np.testing.assert_allclose(prompts.box_xyxy, (5.5, 5.5, 45.5, 45.5), atol=1e-6)


def test_a_request_can_be_cancelled(panel, case, logic):
    logic.session.delay_s = 30
    panel.ui.segmentButton.click()
    host.pump(0.1)
    panel.ui.segmentButton.click()
    assert not panel.is_running and "Cancelled" in panel.status_line.text
    host.pump(0.3)
    assert not case.segment("A").any()
    logic.session.delay_s = 0
    panel.ui.segmentButton.click()
    finish(panel)
    assert case.segment("A").any()


def test_an_answer_is_written_after_the_module_was_left(panel, case, logic):
    logic.session.delay_s = 0.2
    panel.segment()
    slicer.util.selectModule("")
    finish(panel)
    assert case.segment("A").any()


def test_a_model_that_finds_nothing_says_so(panel, case, logic):
    logic.session.finds_nothing = True
    panel.segment()
    finish(panel)
    assert "found nothing there" in panel.status_line.text
    assert not case.segment("A").any()


def test_an_error_of_the_model_is_shown_with_advice(panel, case, logic):
    for error, words in (
        (ValueError("the weights are damaged"), "The weights are damaged"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "PyTorch is not installed yet"),
        (RuntimeError("CUDA out of memory"), "choose the device CPU"),
    ):
        logic.session.error = error
        panel.segment()
        finish(panel)
        assert words in panel.status_line.text
        assert panel.ui.segmentButton.enabled


def test_a_segment_that_goes_meanwhile_is_said(panel, case, logic):
    logic.session.delay_s = 0.2
    panel.segment()
    case.segmentation.GetSegmentation().RemoveSegment("A")
    finish(panel)
    assert "no segment 'A'" in panel.status_line.text
    assert not case.segment("B").any()


def test_a_segmentation_that_goes_meanwhile_is_said(panel, case, logic):
    logic.session.delay_s = 0.2
    panel.segment()
    slicer.mrmlScene.RemoveNode(case.segmentation)
    finish(panel)
    assert "not in the scene any more" in panel.status_line.text


def test_a_scene_that_closes_drops_the_request(panel, case, logic):
    logic.session.delay_s = 0.5
    panel.segment()
    slicer.mrmlScene.Clear(0)
    host.pump(0.8)
    assert not panel.is_running
    assert panel.parameters.volume is None and panel.ui.volumeSelector.currentNode() is None


def test_a_change_of_the_model_drops_the_request_visibly(panel, case, logic):
    from dataclasses import replace

    from SAMMed2DSlicer.inference import service

    logic.session.delay_s = 30
    panel.segment()
    host.pump(0.1)
    before = service.shared().choice
    service.shared().choose(replace(before, cache_mib=before.cache_mib + 1))
    finish(panel, 20)
    assert "dropped" in panel.status_line.text
    service.shared().choose(before)


def test_the_bar_moves_a_few_times_a_second_only(panel, case, logic):
    logic.session.delay_s = 0.9
    bar, values = panel.status_line.ui.progressBar, []
    bar.connect("valueChanged(int)", values.append)
    panel.segment()
    finish(panel)
    assert 2 <= len(values) <= 6


def test_what_was_done_is_not_said_of_another_slice_or_segment(panel, case):
    for leave in (lambda: show(case, index=5), lambda: choose(panel.ui.segmentSelector, "B")):
        show(case)
        choose(panel.ui.segmentSelector, "A")
        host.pump(0.15)
        panel.segment()
        finish(panel)
        host.pump(0.15)
        assert "voxels, " in panel.status_line.text
        leave()
        host.pump(0.15)
        assert "voxels, " not in panel.status_line.text


def test_the_line_is_on_top_shows_loading_and_cancels_it(widget, panel, case, logic, monkeypatch):
    from SAMMed2DSlicer.inference import service

    assert widget.layout.itemAt(0).widget() is panel.status_line.widget
    loading = threading.Event()
    monkeypatch.setattr(service.InferenceService, "_session", lambda self, choice: loading.wait(60) and logic.session)
    panel.segment()
    assert panel.status_line.text == "Loading the model..."
    panel.status_line.ui.cancelButton.click()
    finish(panel, 20)
    assert "dropped" in panel.status_line.text and not panel.status_line.is_busy
    loading.set()
    host.pump(0.3)
    assert not case.segment("A").any()
    panel.segment()
    finish(panel)
    assert case.segment("A").any()


# Placing


@pytest.mark.parametrize(
    ("role", "class_name"), [("positive", "Fiducial"), ("negative", "Fiducial"), ("box", "ROI")]
)
def test_prompts_can_be_placed(panel, case, role, class_name):
    setattr(panel.parameters, role, None)
    button = {"positive": "placePositiveButton", "negative": "placeNegativeButton", "box": "placeBoxButton"}[role]
    getattr(panel.ui, button).click()
    node = getattr(panel.parameters, role)
    assert node.IsA(f"vtkMRMLMarkups{class_name}Node") and node.GetName().startswith(f"SAMMed2D {role}")
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert bool(interaction.GetPlaceModePersistence()) == (role != "box")
    red = slicer.app.layoutManager().sliceWidget("Red")
    for place in ((100, 100), (140, 130)):
        slicer.util.clickAndDrag(red, start=place, end=place, steps=1)
    assert node.GetNumberOfControlPoints() >= 1
    getattr(panel.ui, button).click()
    assert getattr(panel.parameters, role) is node


# The Segment Editor


def test_the_segment_editor_opens_with_the_effect(panel, case):
    panel.parameters.segment_id = "B"
    panel.ui.editorButton.click()
    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.modules.SegmentEditorWidget.editor
    assert editor.activeEffect().name == "SAM-Med2D"
    assert editor.segmentationNode() is case.segmentation and editor.sourceVolumeNode() is case.volume
    assert editor.currentSegmentID() == "B"
    editor.setActiveEffect(None)


# Scenes


def test_the_choices_are_saved_with_the_scene(widget, panel, case, tmp_path):
    choose(panel.ui.intensitySelector, "percentiles")
    choose(panel.ui.viewSelector, "Green")
    panel.parameters.segment_id = "B"
    slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().SetOrientationToAxial()
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    host.pump(0.1)
    assert panel.parameters.volume is None and panel.parameters.intensity == "window"
    slicer.util.loadScene(path)
    host.pump(0.15)
    parameters = panel.parameters
    assert parameters.volume.GetName() == "Volume" and parameters.segmentation.GetName() == "Segmentation"
    assert parameters.positive.GetName() == "inside"
    assert (parameters.segment_id, parameters.intensity, parameters.view) == ("B", "percentiles", "Green")
    assert panel.ui.volumeSelector.currentNode() is parameters.volume
    assert panel.ui.segmentSelector.currentData == "B"


def test_words_that_a_scene_brings_and_nobody_knows_are_ignored(sammed2d):
    from SAMMed2DSlicer.module.parameters import Parameters

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetParameter("Intensity", "loud")
    parameters = Parameters(node)
    assert parameters.intensity == "window"
    with pytest.raises(ValueError, match="window, percentiles, full"):
        parameters.intensity = "loud"


def test_only_real_changes_count_as_changes(sammed2d):
    from SAMMed2DSlicer.module.parameters import Parameters

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters, changes = Parameters(node), []
    node.AddObserver("ModifiedEvent", lambda *_: changes.append(1))
    for _ in range(3):
        parameters.volume, parameters.zoom = volume, "on"
    assert len(changes) == 2


# Life


def test_coming_and_going_leaves_nothing_behind(widget, panel, case):
    from SAMMed2DSlicer.inference import service

    def left():
        gc.collect()
        return (
            threading.active_count(),
            len(panel.observer.Observations),
            len(widget.Observations),
            len(service.shared()._listeners),
            slicer.mrmlScene.GetNumberOfNodes(),
        )

    slicer.util.selectModule("")
    before = left()
    assert before[1] == 0
    for _ in range(50):
        slicer.util.selectModule("SAMMed2D")
        host.pump(0.002)
        slicer.util.selectModule("")
    assert left() == before


def test_nothing_is_followed_while_the_module_is_left(panel, case):
    slicer.util.selectModule("")
    show(case, index=3)
    case.volume.Modified()
    host.pump(0.15)
    assert panel.parameters is None and panel.ui.sliceLabel.text == "axial 11"


def test_cleaning_up_ends_threads_timers_and_observers(sammed2d, logic):
    before = threading.active_count()
    widget = sammed2d.createNewWidgetRepresentation()
    widget.enter()
    prompts, _, _, models, environment = widget.self().panels
    models.background.start(lambda report, stop: None, lambda result: None, lambda error: None)
    environment.background.start(lambda report, stop: None, lambda result: None, lambda error: None)
    assert threading.active_count() == before + 2
    widget.self().cleanup()
    assert threading.active_count() == before
    assert prompts.observer.Observations == [] and widget.self().Observations == []
    assert widget.self().panels == ()
