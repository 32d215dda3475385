"""Propagation through the effect when the scene is awkward, or changes while it runs."""

from __future__ import annotations

import host
import numpy as np
import pytest
import slicer
from editor_fixture import INSIDE, EditorFixture, affine, done, put_under, turned
from test_effect_propagation import BOTH, run, text
from test_propagation import dice, draw


def opened(fixture):
    fixture.section = fixture.effect.propagation
    fixture.section.ui.propagateButton.collapsed = False
    return fixture


@pytest.fixture
def fixture(model):
    fixture = opened(EditorFixture(model))
    fixture.section.ui.modelCheckBox.checked = True  # or a run is over before anything happens to it
    draw(fixture, 6, 14)
    return fixture


@pytest.fixture
def running(fixture):
    """A run that has found something, and is far from its end."""
    fixture.model.delay_s = 0.3
    fixture.section.propagate(BOTH)
    fixture.wait(lambda: done(fixture.section) > 0)
    return fixture


def finish(fixture):
    fixture.model.delay_s = 0.0
    fixture.wait(lambda: not fixture.section.is_running)


def test_a_segment_outside_the_editable_area_does_not_change_and_that_is_said(fixture):
    other = fixture.add_segment("B")
    draw(fixture, segment_id=other, structure=np.zeros_like(fixture.structure))
    node = fixture.editor.mrmlSegmentEditorNode()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    before = fixture.segment()
    run(fixture)
    np.testing.assert_array_equal(fixture.segment(), before)
    assert "No voxel was changed: masking" in text(fixture)


def test_an_image_that_is_replaced_while_it_runs_ends_it_and_nothing_is_written(running):
    before = running.segment()
    slicer.util.updateVolumeFromArray(running.volume, np.zeros((24, 50, 60), np.int16))
    finish(running)
    assert "The image was changed" in text(running)
    np.testing.assert_array_equal(running.segment(), before)


def test_voxels_that_are_changed_in_place_while_it_runs_end_it(running):
    before = running.segment()
    slicer.util.arrayFromVolume(running.volume)[:] = 0
    slicer.util.arrayFromVolumeModified(running.volume)
    finish(running)
    assert "The image was changed" in text(running)
    np.testing.assert_array_equal(running.segment(), before)


def test_the_window_of_the_beginning_holds_to_the_end(running):
    running.volume.GetDisplayNode().SetWindowLevel(10, 1000)  # all black
    finish(running)
    assert dice(running.segment(), running.structure) > 0.9
    assert {int(picture.max()) for picture in running.model.pictures} <= {51, 204}  # by the window of the beginning


def test_another_window_makes_the_next_run_anew(fixture):
    run(fixture)
    fixture.volume.GetDisplayNode().SetWindowLevel(220, 110)
    fixture.model.pictures.clear()
    run(fixture)
    assert fixture.model.pictures


def test_a_slice_that_is_corrected_while_it_runs_stays_as_it_was_corrected(running):
    mine = np.roll(running.structure, 3, axis=1)
    draw(running, 10, structure=mine)
    finish(running)
    np.testing.assert_array_equal(running.segment()[10], mine[10])
    assert running.segment()[9].any()


def test_another_model_while_it_runs_ends_it_with_what_was_found(running):
    from SAMMed2DSlicer.inference import service

    shared = service.shared()
    chosen = shared.choice
    shared.choose(service.ModelChoice("other", chosen.device, chosen.cache_mib))
    finish(running)
    shared.choose(chosen)
    assert "Cancelled" in text(running)


@pytest.mark.parametrize("what", ["volume", "segmentation"])
def test_under_a_non_linear_transform_it_is_refused_by_name(fixture, what):
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    getattr(fixture, what).SetAndObserveTransformNodeID(grid.GetID())
    fixture.pump(0.3)
    before = fixture.segment()
    run(fixture)
    assert f"{getattr(fixture, what).GetName()} is under a non-linear transform" in text(fixture)
    np.testing.assert_array_equal(fixture.segment(), before)


def test_a_non_linear_transform_that_comes_while_it_runs_ends_it(running):
    before = running.segment()
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    running.volume.SetAndObserveTransformNodeID(grid.GetID())
    finish(running)
    assert "moved" in text(running)
    running.volume.SetAndObserveTransformNodeID(None)
    np.testing.assert_array_equal(running.segment(), before)


def test_a_segmentation_that_is_moved_while_it_runs_ends_it(running):
    before = running.segment()
    transform = put_under(running.segmentation, affine(origin=(9, 0, 0)))
    finish(running)
    assert "moved" in text(running)
    slicer.mrmlScene.RemoveNode(transform)
    np.testing.assert_array_equal(running.segment(), before)


@pytest.mark.parametrize("move", [affine(origin=(5, -3, 2)), turned(0, 0, 12)], ids=["shifted", "turned"])
def test_a_segmentation_under_a_transform_of_its_own_is_filled_where_it_is(model, move):
    fixture = opened(EditorFixture(model, segmentation_matrix=move))
    for k in (6, 14):
        fixture.show(2, k)
        fixture.click((*INSIDE[:2], k))
        fixture.accept()
    before = fixture.segment()
    run(fixture)
    after = fixture.segment()
    assert dice(after, fixture.structure) > 0.85
    np.testing.assert_array_equal(after[[6, 14]], before[[6, 14]])


def test_a_coarser_segmentation_is_filled(model):
    fixture = opened(EditorFixture(model))
    coarse = slicer.util.addVolumeFromArray(np.zeros((12, 25, 30), np.uint8), affine((2,) * 3, (0.5,) * 3))
    fixture.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(coarse)
    whole = fixture.structure.reshape(12, 2, 25, 2, 30, 2).mean(axis=(1, 3, 5)) >= 0.5
    keys = np.zeros_like(whole)
    keys[[3, 7]] = whole[[3, 7]]
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        keys.astype(np.uint8), fixture.segmentation, fixture.segment_id, coarse
    )
    run(fixture)
    after = slicer.util.arrayFromSegmentBinaryLabelmap(fixture.segmentation, fixture.segment_id, coarse) != 0
    assert dice(after, whole) > 0.85, text(fixture)
    np.testing.assert_array_equal(after[[3, 7]], keys[[3, 7]])


def test_a_volume_that_goes_leaves_a_section_that_says_what_to_do(fixture):
    slicer.mrmlScene.RemoveNode(fixture.volume)
    fixture.pump(0.3)
    fixture.section.propagate(BOTH)
    assert "select a source volume" in text(fixture)


def test_a_segmentation_that_goes_while_it_is_read_is_no_error(fixture):
    fixture.section._read_keyframes()
    slicer.mrmlScene.RemoveNode(fixture.segmentation)
    host.pump(0.3)
    assert fixture.section._reader.keyframes is None
