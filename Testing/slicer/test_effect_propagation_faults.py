"""Propagation through the effect when the scene is awkward, or changes while it runs."""

from __future__ import annotations

import host
import numpy as np
import pytest
import slicer
from desk import INSIDE, Desk, affine, done, put_under, turned
from test_effect_propagation import BOTH, run, text
from test_propagation import dice, draw


def opened(desk):
    desk.section = desk.effect.propagation
    desk.section.ui.propagateButton.collapsed = False
    return desk


@pytest.fixture
def desk(model):
    desk = opened(Desk(model))
    draw(desk, 6, 14)
    return desk


@pytest.fixture
def running(desk):
    """A run that has found something, and is far from its end."""
    desk.model.delay_s = 0.1
    desk.section.propagate(BOTH)
    desk.wait(lambda: done(desk.section) > 0)
    return desk


def finish(desk):
    desk.model.delay_s = 0.0
    desk.wait(lambda: not desk.section.is_running)


def test_a_segment_outside_the_editable_area_does_not_change_and_that_is_said(desk):
    other = desk.add_segment("B")
    draw(desk, segment_id=other, structure=np.zeros_like(desk.structure))
    node = desk.editor.mrmlSegmentEditorNode()
    node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    node.SetMaskSegmentID(other)
    before = desk.segment()
    run(desk)
    np.testing.assert_array_equal(desk.segment(), before)
    assert "No voxel was changed: masking" in text(desk)


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


def test_another_window_makes_the_next_run_anew(desk):
    run(desk)
    desk.volume.GetDisplayNode().SetWindowLevel(220, 110)
    desk.model.pictures.clear()
    run(desk)
    assert desk.model.pictures


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
def test_under_a_non_linear_transform_it_is_refused_by_name(desk, what):
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "Bent")
    getattr(desk, what).SetAndObserveTransformNodeID(grid.GetID())
    desk.pump(0.3)
    before = desk.segment()
    run(desk)
    assert f"{getattr(desk, what).GetName()} is under a non-linear transform" in text(desk)
    np.testing.assert_array_equal(desk.segment(), before)


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
    desk = opened(Desk(model, segmentation_matrix=move))
    for k in (6, 14):
        desk.show(2, k)
        desk.click((*INSIDE[:2], k))
        desk.accept()
    before = desk.segment()
    run(desk)
    after = desk.segment()
    assert dice(after, desk.structure) > 0.85
    np.testing.assert_array_equal(after[[6, 14]], before[[6, 14]])


def test_a_coarser_segmentation_is_filled(model):
    desk = opened(Desk(model))
    coarse = slicer.util.addVolumeFromArray(np.zeros((12, 25, 30), np.uint8), affine((2,) * 3, (0.5,) * 3))
    desk.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(coarse)
    whole = desk.structure.reshape(12, 2, 25, 2, 30, 2).mean(axis=(1, 3, 5)) >= 0.5
    keys = np.zeros_like(whole)
    keys[[3, 7]] = whole[[3, 7]]
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        keys.astype(np.uint8), desk.segmentation, desk.segment_id, coarse
    )
    run(desk)
    after = slicer.util.arrayFromSegmentBinaryLabelmap(desk.segmentation, desk.segment_id, coarse) != 0
    assert dice(after, whole) > 0.85, text(desk)
    np.testing.assert_array_equal(after[[3, 7]], keys[[3, 7]])


def test_a_volume_that_goes_leaves_a_section_that_says_what_to_do(desk):
    slicer.mrmlScene.RemoveNode(desk.volume)
    desk.pump(0.3)
    desk.section.propagate(BOTH)
    assert "select a source volume" in text(desk)


def test_a_segmentation_that_goes_while_it_is_read_is_no_error(desk):
    desk.section._look()
    slicer.mrmlScene.RemoveNode(desk.segmentation)
    host.pump(0.3)
    assert desk.section._reader.now is None
