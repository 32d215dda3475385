"""The effect with the built-in network, as users get it: threads that starve, other models, sequences."""

from __future__ import annotations

import host
import numpy as np
import pytest
import slicer
from editor_fixture import INSIDE, EditorFixture, structure_kji

from SAMMed2DLib.registry.built_in import BUILT_IN

SIZE = (120, 100, 24)


@pytest.fixture
def network(sammed2d):
    """The shared service with the built-in model, on the CPU."""
    from SAMMed2DSlicer.inference import service

    shared = service.shared()
    shared.choice = service.ModelChoice(device="cpu")
    shared.state = service.ServiceState("unloaded", "")
    yield shared
    EditorFixture.close_all()
    shared.worker.cancel_all()


def disc_kji() -> np.ndarray:
    k, j, i = np.mgrid[0 : SIZE[2], 0 : SIZE[1], 0 : SIZE[0]]
    return ((i - 50) ** 2 + (j - 45) ** 2 < 22**2) & (k > 4) & (k < 18)


@pytest.fixture
def fixture(network) -> EditorFixture:
    noise = np.random.default_rng(0).normal(0, 6, SIZE[::-1])
    values = (np.where(disc_kji(), 150, 50) + noise).astype(np.int16)
    return EditorFixture(network, volume_kji=values, size_ijk=SIZE)


def dice_with_disc(mask) -> float:
    from SAMMed2DLib.imaging.metrics import dice

    return dice(mask, disc_kji()[10])


def test_a_box_around_a_disc_gives_the_disc(fixture):
    fixture.drag((26, 21, 10), (74, 69, 10))
    fixture.wait(lambda: fixture.controller.pending, 60)
    fixture.accept()
    assert dice_with_disc(fixture.segment()[10]) > 0.85
    assert "loaded in" in fixture.effect._service.state.text


def test_it_works_where_threads_get_nothing_from_the_event_loop(fixture):
    with host.starving():
        fixture.drag((26, 21, 10), (74, 69, 10))
        fixture.wait(lambda: fixture.controller.pending, 60)
    assert dice_with_disc(fixture.shown[0]) > 0.85


def test_the_same_prompts_give_the_same_mask_again(fixture):
    fixture.click((50, 45, 10))
    fixture.wait(lambda: fixture.controller.pending, 60)
    fixture.click((80, 45, 10), control=True)
    first = fixture.shown[0]
    fixture.editor.setActiveEffect(None)
    fixture.effect._service.call(lambda session, should_stop: session.forget())
    fixture.activate()
    fixture.wait(lambda: fixture.controller.pending)
    np.testing.assert_array_equal(fixture.shown[0], first)


def test_effect_python_api_and_command_line_give_the_same_mask_bit_for_bit(fixture, tmp_path):
    """Clicks of both sides in mixed order, on the volume's own slice, as the volume's window shows it."""
    import SimpleITK

    from SAMMed2D import SAMMed2DLogic
    from SAMMed2DLib.__main__ import main
    from SAMMed2DLib.inference.predictor import load_predictor
    from SAMMed2DLib.inference.session import Session
    from SAMMed2DLib.io.segmentation_io import read_segmentation

    fixture.set(Tool="positive")
    for ijk, is_outside in [((56, 48, 10), False), ((80, 45, 10), True), ((38, 55, 10), False), ((45, 70, 10), True)]:
        fixture.click(ijk, control=is_outside)
    fixture.wait(lambda: fixture.controller.pending and not fixture.controller.is_waiting, 60)
    shown, (group,) = fixture.shown[0], fixture.controller.groups
    prompts = group.prompts()
    assert prompts.labels.tolist() == [1, 0, 1, 0] and 500 < shown.sum() < 4000

    plane = ("k", 10)
    logic = SAMMed2DLogic()
    by_node = logic.predict(fixture.volume, plane, points=group.points)
    rows = [[*group.points.GetNthControlPointPositionWorld(n), label] for n, label in enumerate(prompts.labels)]
    by_rows = logic.predict(fixture.volume, plane, points=rows)
    np.testing.assert_array_equal(by_node.mask, shown)
    np.testing.assert_array_equal(by_rows.mask, shown)

    from SAMMed2DSlicer.scene import volumes

    image = volumes.model_image(fixture.volume, by_node.plane)
    alone = Session(load_predictor(device="cpu")).answer(image, prompts)
    np.testing.assert_array_equal(alone.mask, shown)
    assert alone.score == by_node.score

    array_kji = slicer.util.arrayFromVolume(fixture.volume)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array_kji), str(tmp_path / "v.nrrd"))
    display = fixture.volume.GetDisplayNode()
    words = ["segment", str(tmp_path / "v.nrrd"), "-o", str(tmp_path / "o.seg.nrrd"), "--device", "cpu", "--axis", "k"]
    words += ["--slice", "10", "--window", f"{display.GetLevel()!r},{display.GetWindow()!r}"]
    for (x, y), label in zip(prompts.points_xy.tolist(), prompts.labels, strict=True):
        words += ["--point", f"{x!r},{y!r},{'+' if label else '-'}"]
    assert main(words) == 0
    np.testing.assert_array_equal(read_segmentation(tmp_path / "o.seg.nrrd").layers_lkji[0, 10] != 0, shown)


def test_choosing_another_model_answers_anew(fixture, network, monkeypatch):
    from SAMMed2DLib.registry.known_models import KNOWN_MODELS, path_of

    fixture.click((50, 45, 10))
    fixture.wait(lambda: fixture.controller.pending, 60)
    asked = []
    original = type(network).submit
    monkeypatch.setattr(type(network), "submit", lambda self, *a, **k: asked.append(1) or original(self, *a, **k))
    from SAMMed2DSlicer.inference.service import ModelChoice

    network.choose(ModelChoice(model=str(path_of(KNOWN_MODELS[BUILT_IN])), device="cpu"))
    fixture.wait(lambda: asked and fixture.controller.pending and not fixture.controller.is_waiting, 60)
    assert fixture.effect._service.state.is_ready


# Sequences


def test_each_frame_of_a_sequence_has_its_own_prompts(model):
    frames = [np.where(np.roll(structure_kji(), shift, axis=2), 160, 40).astype(np.int16) for shift in (0, 8)]
    fixture = EditorFixture(model, volume_kji=frames[0])
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Frames")
    for time_s, values in enumerate(frames):
        frame = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"frame {time_s}")
        slicer.util.updateVolumeFromArray(frame, values)
        sequence.SetDataNodeAtValue(frame, str(time_s))
        slicer.mrmlScene.RemoveNode(frame)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(fixture.volume, sequence, False)
    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    fixture.pump(0.05)
    fixture.click()
    np.testing.assert_array_equal(model.asked[-1][1][..., 0] > 127, frames[0][INSIDE[2]] > 100)
    assert fixture.controller.groups[0].slice_text() == "axial 11, frame 1"
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    fixture.pump(0.1)
    asked = len(model.asked)
    assert fixture.shown == []  # the first frame's prompts are not answered with the second one's picture
    fixture.click((33, 22, 10))
    np.testing.assert_array_equal(model.asked[-1][1][..., 0] > 127, frames[1][INSIDE[2]] > 100)
    assert len(model.asked) == asked + 1 and len(model.asked[-1][0].labels) == 1
    assert sorted(one.item for one in fixture.controller.groups) == [0, 1]
    fixture.accept()
    assert fixture.segment()[INSIDE[2]].sum() == (frames[1][INSIDE[2]] > 100).sum()
    assert [one.state for one in sorted(fixture.controller.groups, key=lambda one: one.item)] == ["open", "accepted"]
    browser.SetSelectedItemNumber(0)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    fixture.wait(lambda: fixture.shown)
    np.testing.assert_array_equal(fixture.shown[0], frames[0][INSIDE[2]] > 100)
    assert "Enter accepts" in fixture.status.text  # it speaks of this frame again
    fixture.controller.jump_to(next(one for one in fixture.controller.groups if one.item == 1))
    assert browser.GetSelectedItemNumber() == 1
