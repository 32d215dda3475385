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
from desk import INSIDE, Desk


@pytest.fixture
def desk(model) -> Desk:
    return Desk(model)


def prompt_nodes():
    from SAMMed2DSlicer.prompts.prompt_groups import prompt_nodes

    return list(prompt_nodes())


def begin(desk: Desk, model, delay_s: float = 0.15):
    """Click, and leave the answer on its way."""
    model.delay_s = delay_s
    desk.view.click(*desk.xy(INSIDE))
    assert desk.controller.is_waiting


def finish(desk: Desk):
    desk.pump(0.3)


# The newest request wins, and nothing waits for it


def test_the_newest_prompts_win(desk, model):
    begin(desk, model)
    desk.view.click(*desk.xy((28, 24, 10)))
    desk.view.click(*desk.xy((22, 20, 10)))
    desk.wait()
    assert [len(prompts.labels) for prompts, _, _ in model.asked] == [3]


def test_the_application_runs_on_while_the_model_computes(desk, model):
    begin(desk, model, 0.4)
    late = []
    ends = time.perf_counter() + 0.3
    while time.perf_counter() < ends:
        before = time.perf_counter()
        slicer.app.processEvents()
        late.append(time.perf_counter() - before)
    assert desk.controller.is_waiting and len(late) > 10


def test_the_main_thread_gives_way_only_while_something_is_pending(desk, model):
    from SAMMed2DSlicer.inference import service

    worker = service.shared().worker
    desk.wait(lambda: not worker.is_pending)
    desk.pump(0.05)
    assert not worker.is_yielding
    begin(desk, model)
    assert worker.is_yielding
    desk.wait()
    desk.pump(0.6)  # neighbours are prepared meanwhile
    desk.wait(lambda: not worker.is_pending)
    desk.pump(0.05)
    assert not worker.is_yielding


def test_two_slices_asked_for_at_once_are_both_answered(desk, model):
    begin(desk, model)
    desk.show(1, INSIDE[1], name="Yellow")
    desk.view.click(*desk.xy(INSIDE))
    desk.wait(lambda: len(desk.controller.pending) == 2)
    assert len(model.asked) == 2


def test_an_answer_that_comes_just_when_another_slice_is_asked_for_is_not_asked_for_again(desk, model, monkeypatch):
    from SAMMed2DSlicer.inference import service

    worker, may_answer = service.shared().worker, threading.Event()
    monkeypatch.setattr(model, "_think", lambda should_stop: may_answer.wait(10))
    begin(desk, model)
    worker._timer.stop()  # nothing is taken over meanwhile
    may_answer.set()
    with worker._condition:
        assert worker._condition.wait_for(lambda: worker._finished, 10)
    desk.show(1, INSIDE[1], name="Yellow")
    desk.view.click(*desk.xy(INSIDE))
    desk.wait(lambda: len(desk.controller.pending) == 2)
    assert len(model.asked) == 2


# Things vanish while a prediction runs


def test_the_scene_is_closed_meanwhile(desk, model):
    begin(desk, model)
    slicer.mrmlScene.Clear(0)
    finish(desk)
    assert prompt_nodes() == []


def test_the_volume_is_removed_meanwhile(desk, model):
    begin(desk, model)
    slicer.mrmlScene.RemoveNode(desk.volume)
    finish(desk)
    assert desk.shown == []


def test_the_image_is_replaced_by_one_of_another_size_meanwhile(desk, model):
    begin(desk, model)
    slicer.util.updateVolumeFromArray(desk.volume, np.zeros((24, 30, 40), np.int16))
    finish(desk)
    assert desk.shown == [] and not desk.segment().any()
    assert "another size" in desk.status.text and "clear them" in desk.status.text
    desk.effect.clear()
    assert prompt_nodes() == []


def test_the_segmentation_is_removed_meanwhile(desk, model):
    begin(desk, model)
    slicer.mrmlScene.RemoveNode(desk.segmentation)
    finish(desk)
    assert desk.controller is None or desk.shown == []


def test_the_segment_is_removed_meanwhile(desk, model):
    other = desk.add_segment("B")
    desk.set(AcceptAtOnce=1)
    begin(desk, model)
    desk.segmentation.GetSegmentation().RemoveSegment(desk.segment_id)
    finish(desk)
    assert not desk.segment(other).any()


def test_a_renamed_segment_keeps_its_prompts(desk, model):
    desk.panel.ui.promptsButton.collapsed = False
    begin(desk, model)
    desk.segmentation.GetSegmentation().GetSegment("A").SetName("Liver")
    desk.wait()
    desk.accept()
    assert desk.segment().any()
    assert desk.panel.ui.promptsTable.item(0, 0).text() == "Liver"


def test_another_segment_is_selected_meanwhile(desk, model):
    other = desk.add_segment("B")
    desk.set(AcceptAtOnce=1)
    begin(desk, model)
    desk.editor.setCurrentSegmentID(other)
    finish(desk)
    assert not desk.segment(other).any() and not desk.segment().any()
    desk.editor.setCurrentSegmentID(desk.segment_id)
    finish(desk)
    assert desk.segment().any()


def test_another_effect_is_chosen_meanwhile(desk, model):
    begin(desk, model)
    desk.editor.setActiveEffect(None)
    finish(desk)
    assert len(prompt_nodes()) == 1 and not desk.segment().any()
    assert not prompt_nodes()[0].GetDisplayNode().GetVisibility()
    desk.activate()
    desk.wait(lambda: desk.controller.pending)


def test_the_layout_changes_meanwhile(desk, model):
    begin(desk, model)
    slicer.app.layoutManager().setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    desk.wait()
    assert len(desk.shown) == 1


def test_another_volume_is_chosen_meanwhile(desk, model):
    from desk import a_volume

    begin(desk, model)
    desk.editor.setSourceVolumeNode(a_volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    finish(desk)
    assert not desk.segment().any()


# Clicks where there is nothing to segment


def test_a_click_in_the_3d_view_does_nothing(desk, model):
    widget = slicer.app.layoutManager().threeDWidget(0)
    widget.threeDView().click(100, 100)
    finish(desk)
    assert prompt_nodes() == [] and model.asked == []


def test_a_click_outside_the_image_is_explained(desk, model):
    desk.click((-20, 10, 10))
    assert prompt_nodes() == [] and "outside the image" in desk.status.text


def test_a_view_beside_the_image_is_explained(desk):
    desk.show(2, 60)
    desk.click((25, 22, 60))
    assert prompt_nodes() == [] and "does not meet the volume" in desk.status.text


def test_without_a_volume_it_is_said(desk):
    desk.editor.setSourceVolumeNode(None)
    desk.pump()
    if desk.controller is not None:
        desk.view.click(150, 150)
        desk.pump()
        assert "select a source volume" in desk.status.text
    assert prompt_nodes() == []


def test_without_a_segment_it_is_said(desk):
    desk.segmentation.GetSegmentation().RemoveSegment(desk.segment_id)
    desk.pump()
    if desk.controller is not None:
        desk.view.click(*desk.xy(INSIDE))
        assert "add one first" in desk.status.text
    assert prompt_nodes() == []


# What was said of what is gone


def test_what_was_said_goes_with_the_segment_and_comes_back_with_it(desk):
    other = desk.add_segment("B")
    desk.click()
    said = desk.status.text
    desk.editor.setCurrentSegmentID(other)
    desk.pump(0.05)
    assert desk.status.text == ""
    desk.editor.setCurrentSegmentID(desk.segment_id)
    desk.pump(0.05)
    assert desk.status.text == said


def test_what_was_said_goes_with_the_volume(desk):
    from desk import a_volume

    desk.click()
    desk.editor.setSourceVolumeNode(a_volume(np.zeros((5, 5, 5), np.int16), np.eye(4)))
    desk.pump(0.05)
    assert desk.status.text == ""


def test_what_was_said_goes_with_prompts_that_are_deleted_elsewhere(desk):
    desk.click()
    slicer.mrmlScene.RemoveNode(prompt_nodes()[0])
    desk.pump(0.05)
    assert desk.controller.groups == [] and desk.status.text == ""


def test_what_one_segment_editor_accepted_another_one_does_not_accept_again(desk, model):
    other = Desk.__new__(Desk)
    other.__dict__.update(desk.__dict__)
    Desk.opened.append(other)
    other.open_editor()
    other.activate()
    desk.click()
    other.wait(lambda: desk.shown and other.shown)
    desk.accept()
    other.pump(0.05)
    assert other.shown == [] and [one.state for one in other.controller.groups] == ["accepted"]
    other.accept()
    assert "nothing to accept" in other.status.text
    whole = desk.segment()
    (points,) = prompt_nodes()
    points.SetNthControlPointPositionWorld(0, *desk.world((26, 23, 10)))
    other.wait(lambda: other.shown)
    other.accept()
    assert "taken back" not in other.status.text  # what the other one has added is known
    np.testing.assert_array_equal(desk.segment(), whole)


def test_a_hidden_segment_is_not_written_to_unseen(desk):
    desk.segmentation.GetDisplayNode().SetSegmentVisibility(desk.segment_id, False)
    slicer.app.answers.give("invisible segment", "Cancel")
    desk.click()
    assert prompt_nodes() == [] and "hidden" in desk.status.text


def test_a_hidden_segmentation_is_not_written_to_unseen(desk):
    desk.segmentation.GetDisplayNode().SetVisibility(False)
    desk.click()
    assert prompt_nodes() == [] and "hidden" in desk.status.text


def test_shift_and_other_buttons_belong_to_slicer(desk, model):
    desk.click(shift=True)
    desk.view.click(*desk.xy(INSIDE), button="Right")
    desk.view.click(*desk.xy(INSIDE), button="Middle")
    finish(desk)
    assert prompt_nodes() == []


def test_markups_can_be_placed_by_slicers_own_tools(desk):
    node = slicer.app.applicationLogic().GetInteractionNode()
    node.SetCurrentInteractionMode(node.Place)
    assert desk.controller is not None
    desk.view.click(*desk.xy(INSIDE))
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
def test_a_failing_model_is_explained_and_the_next_click_works(desk, model, error, words):
    model.error = error
    desk.click()
    assert words in desk.status.text and desk.status.level == "error" and desk.shown == []
    model.error = None
    desk.click((28, 24, 10))
    assert len(desk.shown) == 1


def test_a_model_that_cannot_be_loaded_is_explained(desk, model, monkeypatch):
    from SAMMed2DLib.checkpoints.checkpoint import CheckpointError
    from SAMMed2DSlicer.inference import service

    def broken(self, choice):
        raise CheckpointError("the file is damaged. Download it again.")

    monkeypatch.setattr(service.InferenceService, "_session", broken)
    service.shared().state = service.ServiceState("unloaded", "")
    desk.click()
    assert "Download it again" in desk.status.text
    assert service.shared().state.name == "failed"


def test_without_torch_the_effect_opens_and_offers_to_install_it(desk, monkeypatch):
    from SAMMed2DSlicer.setup import pytorch

    missing = pytorch.TorchState("missing", "PyTorch is not installed yet.")
    monkeypatch.setattr(pytorch, "torch_state", lambda: missing)
    desk.editor.setActiveEffect(None)
    desk.activate()
    assert desk.panel.ui.installRow.isVisibleTo(desk.panel.widget)
    assert "not installed" in desk.panel.ui.installLabel.text
    monkeypatch.undo()
    monkeypatch.setattr(pytorch, "ensure_torch", lambda: True)
    desk.panel.ui.installButton.click()
    assert not desk.panel.ui.installRow.isVisibleTo(desk.panel.widget)


# Nothing is left behind


def observers_of(obj) -> int:
    """How many observers a VTK object has, as its own description lists them."""
    return str(obj).count("vtkObserver (")


def test_fifty_activations_leave_nothing_behind(desk, model):
    desk.click()
    desk.accept()

    def counted():
        desk.editor.setActiveEffect(None)
        desk.pump(0.02)
        watched = [slicer.mrmlScene, desk.volume, desk.volume.GetDisplayNode(), desk.segmentation, desk.editor_node]
        watched += [desk.slice_node, *prompt_nodes()]
        actors = [desk.view.renderWindow().GetRenderers().GetFirstRenderer().GetViewProps().GetNumberOfItems()]
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
        desk.activate()
        desk.editor.setActiveEffect(None)
    assert counted() == before


def test_closing_the_scene_fifty_times_leaves_nothing_behind(model):
    counts = []
    for _ in range(50):
        desk = Desk(model)
        desk.view.click(*desk.xy(INSIDE))
        slicer.mrmlScene.Clear(0)
        desk.pump(0.01)
        Desk.close_all()
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
        desk = Desk(model)
        desk.click()
        desk.accept()
        desk.editor.setActiveEffect(None)
        desk.activate()
        desk.click((26, 22, 10), control=True)
        desk.wait(lambda: len(model.encoded_ahead) > 3)
        desk.set(LookAhead=0)
        desk.effect.propagation.propagate("both")
        desk.wait(lambda desk=desk: not desk.effect.propagation.is_running)
        slicer.mrmlScene.Clear(0)
        Desk.close_all()
        del desk
        model.__init__()
        Desk.pump(0.05)
        counts.append(living_objects())
    grown = {name: [count[name] for count in counts] for name in counts[-1] if counts[-1][name] > counts[0][name]}
    assert grown == {}
    assert all(counts[-1][name] == before[name] for name in counts[-1] if name.endswith((".EffectController", "Panel")))
