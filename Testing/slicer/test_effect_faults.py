"""Whatever goes wrong ends in a message, an unharmed scene, and nothing left behind."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter

import numpy as np
import pytest
import qt
import slicer
from editor_fixture import INSIDE, EditorFixture


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model)


def prompt_nodes():
    from SAMMed2DSlicer.prompts.prompt_nodes import prompt_nodes

    return list(prompt_nodes())


def begin(fixture: EditorFixture, model, delay_s: float = 0.15):
    """Click, and leave the answer on its way."""
    model.delay_s = delay_s
    fixture.view.click(*fixture.xy(INSIDE))
    assert fixture.controller.is_waiting


def finish(fixture: EditorFixture):
    fixture.pump(0.3)


# The newest request wins, and nothing waits for it


def test_the_newest_prompts_win(fixture, model):
    begin(fixture, model)
    fixture.view.click(*fixture.xy((28, 24, 10)))
    fixture.view.click(*fixture.xy((22, 20, 10)))
    fixture.wait()
    assert [len(prompts.labels) for prompts, _, _ in model.asked] == [3]


def test_the_application_runs_on_while_the_model_computes(fixture, model):
    begin(fixture, model, 60)
    late = []
    ends = time.perf_counter() + 0.3
    while time.perf_counter() < ends:
        before = time.perf_counter()
        slicer.app.processEvents()
        late.append(time.perf_counter() - before)
    assert fixture.controller.is_waiting and len(late) > 10


def test_the_main_thread_gives_way_only_while_something_is_pending(fixture, model):
    from SAMMed2DSlicer.inference import service

    worker = service.shared().worker
    fixture.wait(lambda: not worker.is_pending)
    fixture.pump(0.05)
    assert not worker.is_yielding
    begin(fixture, model)
    assert worker.is_yielding
    fixture.wait()
    fixture.pump(0.6)  # neighbours are prepared meanwhile
    fixture.wait(lambda: not worker.is_pending)
    fixture.pump(0.05)
    assert not worker.is_yielding


def test_two_slices_asked_for_at_once_are_both_answered(fixture, model):
    begin(fixture, model)
    fixture.show(1, INSIDE[1], name="Yellow")
    fixture.view.click(*fixture.xy(INSIDE))
    fixture.wait(lambda: len(fixture.controller.pending) == 2)
    assert len(model.asked) == 2


def test_an_answer_that_comes_just_when_another_slice_is_asked_for_is_not_asked_for_again(fixture, model, monkeypatch):
    from SAMMed2DSlicer.inference import service

    worker, may_answer = service.shared().worker, threading.Event()
    monkeypatch.setattr(model, "_think", lambda should_stop: may_answer.wait(10))
    begin(fixture, model)
    worker._timer.stop()  # nothing is taken over meanwhile
    may_answer.set()
    with worker._condition:
        assert worker._condition.wait_for(lambda: worker._finished, 10)
    fixture.show(1, INSIDE[1], name="Yellow")
    fixture.view.click(*fixture.xy(INSIDE))
    fixture.wait(lambda: len(fixture.controller.pending) == 2)
    assert len(model.asked) == 2


# Things vanish while a prediction runs


def test_the_scene_is_closed_meanwhile(fixture, model):
    begin(fixture, model)
    slicer.mrmlScene.Clear(0)
    finish(fixture)
    assert prompt_nodes() == []


def test_the_volume_is_removed_meanwhile(fixture, model):
    begin(fixture, model)
    slicer.mrmlScene.RemoveNode(fixture.volume)
    finish(fixture)
    assert fixture.shown == []


def test_the_image_is_replaced_by_one_of_another_size_meanwhile(fixture, model):
    begin(fixture, model)
    slicer.util.updateVolumeFromArray(fixture.volume, np.zeros((24, 30, 40), np.int16))
    finish(fixture)
    assert fixture.shown == [] and not fixture.segment().any()
    assert "another size" in fixture.status.text and "clear them" in fixture.status.text
    fixture.effect.clear()
    assert prompt_nodes() == []


def test_the_segmentation_is_removed_meanwhile(fixture, model):
    begin(fixture, model)
    slicer.mrmlScene.RemoveNode(fixture.segmentation)
    finish(fixture)
    assert fixture.controller is None or fixture.shown == []


def test_the_segment_is_removed_meanwhile(fixture, model):
    other = fixture.add_segment("B")
    fixture.set(AcceptAtOnce=1)
    begin(fixture, model)
    fixture.segmentation.GetSegmentation().RemoveSegment(fixture.segment_id)
    finish(fixture)
    assert not fixture.segment(other).any()


def test_a_renamed_segment_keeps_its_prompts(fixture, model):
    fixture.panel.ui.promptsButton.collapsed = False
    begin(fixture, model)
    fixture.segmentation.GetSegmentation().GetSegment("A").SetName("Liver")
    fixture.wait()
    fixture.accept()
    assert fixture.segment().any()
    assert fixture.panel.ui.promptsTable.item(0, 0).text() == "Liver"


def test_another_segment_is_selected_meanwhile(fixture, model):
    other = fixture.add_segment("B")
    fixture.set(AcceptAtOnce=1)
    begin(fixture, model)
    fixture.editor.setCurrentSegmentID(other)
    finish(fixture)
    assert not fixture.segment(other).any() and not fixture.segment().any()
    fixture.editor.setCurrentSegmentID(fixture.segment_id)
    finish(fixture)
    assert fixture.segment().any()


def test_another_effect_is_chosen_meanwhile(fixture, model):
    begin(fixture, model)
    fixture.editor.setActiveEffect(None)
    finish(fixture)
    assert len(prompt_nodes()) == 1 and not fixture.segment().any()
    assert not prompt_nodes()[0].GetDisplayNode().GetVisibility()
    fixture.activate()
    fixture.wait(lambda: fixture.controller.pending)


def test_the_layout_changes_meanwhile(fixture, model):
    begin(fixture, model)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    fixture.wait()
    assert len(fixture.shown) == 1


def test_another_volume_is_chosen_meanwhile(fixture, model):
    from editor_fixture import a_volume

    begin(fixture, model)
    fixture.editor.setSourceVolumeNode(a_volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    finish(fixture)
    assert not fixture.segment().any()


# Clicks where there is nothing to segment


def test_a_click_in_the_3d_view_does_nothing(fixture, model):
    widget = slicer.app.layoutManager().threeDWidget(0)
    widget.threeDView().click(100, 100)
    finish(fixture)
    assert prompt_nodes() == [] and model.asked == []


def test_a_click_outside_the_image_is_explained(fixture, model):
    fixture.click((-20, 10, 10))
    assert prompt_nodes() == [] and "outside the image" in fixture.status.text


def test_a_view_beside_the_image_is_explained(fixture):
    fixture.show(2, 60)
    fixture.click((25, 22, 60))
    assert prompt_nodes() == [] and "does not meet the volume" in fixture.status.text


def test_without_a_volume_it_is_said(fixture):
    fixture.editor.setSourceVolumeNode(None)
    fixture.pump()
    if fixture.controller is not None:
        fixture.view.click(150, 150)
        fixture.pump()
        assert "select a source volume" in fixture.status.text
    assert prompt_nodes() == []


def test_without_a_segment_it_is_said(fixture):
    fixture.segmentation.GetSegmentation().RemoveSegment(fixture.segment_id)
    fixture.pump()
    if fixture.controller is not None:
        fixture.view.click(*fixture.xy(INSIDE))
        assert "add one first" in fixture.status.text
    assert prompt_nodes() == []


# What was said of what is gone


def test_what_was_said_goes_with_the_segment_and_comes_back_with_it(fixture):
    other = fixture.add_segment("B")
    fixture.click()
    said = fixture.status.text
    fixture.editor.setCurrentSegmentID(other)
    fixture.pump(0.05)
    assert fixture.status.text == ""
    fixture.editor.setCurrentSegmentID(fixture.segment_id)
    fixture.pump(0.05)
    assert fixture.status.text == said


def test_what_was_said_goes_with_the_volume(fixture):
    from editor_fixture import a_volume

    fixture.click()
    fixture.editor.setSourceVolumeNode(a_volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    fixture.pump(0.05)
    assert fixture.status.text == ""


def test_what_was_said_goes_with_prompts_that_are_deleted_elsewhere(fixture):
    fixture.click()
    slicer.mrmlScene.RemoveNode(prompt_nodes()[0])
    fixture.pump(0.05)
    assert fixture.controller.groups == [] and fixture.status.text == ""


def test_what_one_segment_editor_accepted_another_one_does_not_accept_again(fixture, model):
    other = EditorFixture.__new__(EditorFixture)
    other.__dict__.update(fixture.__dict__)
    EditorFixture.opened.append(other)
    other.open_editor()
    other.activate()
    fixture.click()
    other.wait(lambda: fixture.shown and other.shown)
    fixture.accept()
    other.pump(0.05)
    assert other.shown == [] and [one.state for one in other.controller.groups] == ["accepted"]
    other.accept()
    assert "nothing to accept" in other.status.text
    whole = fixture.segment()
    (points,) = prompt_nodes()
    points.SetNthControlPointPositionWorld(0, *fixture.world((26, 23, 10)))
    other.wait(lambda: other.shown)
    other.accept()
    assert "taken back" not in other.status.text  # what the other one has added is known
    np.testing.assert_array_equal(fixture.segment(), whole)


def test_a_hidden_segment_is_not_written_to_unseen(fixture):
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility(fixture.segment_id, False)
    slicer.app.answers.give("invisible segment", "Cancel")
    fixture.click()
    assert prompt_nodes() == [] and "hidden" in fixture.status.text


def test_a_hidden_segmentation_is_not_written_to_unseen(fixture):
    fixture.segmentation.GetDisplayNode().SetVisibility(False)
    fixture.click()
    assert prompt_nodes() == [] and "hidden" in fixture.status.text


def test_shift_and_other_buttons_belong_to_slicer(fixture, model):
    fixture.click(shift=True)
    fixture.view.click(*fixture.xy(INSIDE), button="Right")
    fixture.view.click(*fixture.xy(INSIDE), button="Middle")
    finish(fixture)
    assert prompt_nodes() == []


def test_markups_can_be_placed_by_slicers_own_tools(fixture):
    node = slicer.app.applicationLogic().GetInteractionNode()
    node.SetCurrentInteractionMode(node.Place)
    assert fixture.controller is not None
    fixture.view.click(*fixture.xy(INSIDE))
    node.SetCurrentInteractionMode(node.ViewTransform)
    assert prompt_nodes() == []


# The model fails


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("the network broke"), "The network broke"),
        (MemoryError(), "memory is full"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory of the graphics card is full"),
    ],
)
def test_a_failing_model_is_explained_and_the_next_click_works(fixture, model, error, words):
    model.error = error
    fixture.click()
    assert words in fixture.status.text and fixture.status.level == "error" and fixture.shown == []
    model.error = None
    fixture.click((28, 24, 10))
    assert len(fixture.shown) == 1


def test_a_model_that_cannot_be_loaded_is_explained(fixture, model, monkeypatch):
    from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
    from SAMMed2DSlicer.inference import service

    def broken(self, choice):
        raise CheckpointError("the file is damaged. Download it again.")

    monkeypatch.setattr(service.InferenceService, "_session", broken)
    service.shared().state = service.ServiceState("unloaded", "")
    fixture.click()
    assert "Download it again" in fixture.status.text
    assert service.shared().state.name == "failed"


def test_without_torch_the_built_in_model_needs_nothing_installed(fixture, monkeypatch):
    from SAMMed2DSlicer.setup import pytorch

    missing = pytorch.TorchState("missing", "PyTorch is not installed yet.")
    monkeypatch.setattr(pytorch, "torch_state", lambda: missing)
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    assert not fixture.panel.ui.installRow.isVisibleTo(fixture.panel.widget)
    fixture.click()
    assert fixture.shown is not None


def test_without_torch_a_device_that_needs_it_offers_to_install_it(fixture, monkeypatch):
    from SAMMed2DSlicer.inference import service
    from SAMMed2DSlicer.setup import pytorch

    missing = pytorch.TorchState("missing", "PyTorch is not installed yet.")
    monkeypatch.setattr(pytorch, "torch_state", lambda: missing)
    monkeypatch.setattr(service.shared(), "choice", service.ModelChoice(device="cuda"))
    fixture.editor.setActiveEffect(None)
    fixture.activate()
    assert fixture.panel.ui.installRow.isVisibleTo(fixture.panel.widget)
    assert "not installed" in fixture.panel.ui.installLabel.text
    monkeypatch.setattr(pytorch, "torch_state", lambda: pytorch.TorchState("ready"))
    monkeypatch.setattr(pytorch, "ensure_torch", lambda: True)
    fixture.panel.ui.installButton.click()
    assert not fixture.panel.ui.installRow.isVisibleTo(fixture.panel.widget)


# Nothing is left behind


def observers_of(obj) -> int:
    """How many observers a VTK object has, as its own description lists them."""
    return str(obj).count("vtkObserver (")


def test_fifty_activations_leave_nothing_behind(fixture, model):
    fixture.click()
    fixture.accept()

    def counted():
        fixture.editor.setActiveEffect(None)
        fixture.pump(0.02)
        watched = [
            slicer.mrmlScene,
            fixture.volume,
            fixture.volume.GetDisplayNode(),
            fixture.segmentation,
            fixture.editor_node,
        ]
        watched += [fixture.slice_node, *prompt_nodes()]
        actors = [fixture.view.renderWindow().GetRenderers().GetFirstRenderer().GetViewProps().GetNumberOfItems()]
        shortcuts = [len(slicer.util.mainWindow().findChildren(qt.QShortcut))] if slicer.util.mainWindow() else []
        return (
            slicer.mrmlScene.GetNumberOfNodes(),
            [observers_of(one) for one in watched],
            actors,
            shortcuts,
            threading.active_count(),
        )

    before = counted()
    for _ in range(50):
        fixture.activate()
        fixture.editor.setActiveEffect(None)
    assert counted() == before


def test_closing_the_scene_again_and_again_leaves_nothing_behind(model):
    counts = []
    for _ in range(15):
        fixture = EditorFixture(model)
        fixture.view.click(*fixture.xy(INSIDE))
        slicer.mrmlScene.Clear(0)
        fixture.pump(0.01)
        EditorFixture.close_all()
        slicer.mrmlScene.Clear(0)
        counts.append((slicer.mrmlScene.GetNumberOfNodes(), observers_of(slicer.mrmlScene), threading.active_count()))
    assert len(set(counts[1:])) == 1


def living_objects() -> Counter:
    """How many objects of the extension's own classes are alive, by their class."""
    gc.collect()
    of_ours = ("SAMMed2DSlicer.", "SegmentEditorSAMMed2DLib", "SAMMed2DLib.")
    kinds = (type(one) for one in gc.get_objects())
    # Some classes of C++ have a descriptor as their module: their names are no strings.
    return Counter(f"{kind.__module__}.{kind.__name__}" for kind in kinds if str(kind.__module__).startswith(of_ours))


def test_of_effects_that_have_ended_no_object_stays_alive(model):
    before, counts = living_objects(), []
    for _ in range(3):
        fixture = EditorFixture(model)
        fixture.click()
        fixture.accept()
        fixture.editor.setActiveEffect(None)
        fixture.activate()
        fixture.click((26, 22, 10), control=True)
        fixture.wait(lambda: len(model.encoded_ahead) > 3)
        fixture.set(LookAhead=0)
        fixture.effect.propagation.propagate("both")
        fixture.wait(lambda fixture=fixture: not fixture.effect.propagation.is_running)
        slicer.mrmlScene.Clear(0)
        EditorFixture.close_all()
        del fixture
        model.__init__()
        EditorFixture.pump(0.05)
        counts.append(living_objects())
    grown = {name: [count[name] for count in counts] for name in counts[-1] if counts[-1][name] > counts[0][name]}
    assert grown == {}
    assert all(counts[-1][name] == before[name] for name in counts[-1] if name.endswith((".EffectController", "Panel")))
