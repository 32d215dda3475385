"""The Python API: slices, points and boxes as scripts name them, and what comes of them in the scene."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, INSIDE, affine, put_under, turned
from module_kit import a_case, on_slice

from SAMMed2DLib.registry.built_in import BUILT_IN

AXES = {"i": 0, "j": 1, "k": 2}


def nodes_of_scene():
    return [slicer.mrmlScene.GetNthNode(n).GetID() for n in range(slicer.mrmlScene.GetNumberOfNodes())]


def show(case, name="Red", axis=2, index=INSIDE[2], spin_deg=0.0, tilt=None):
    """Show a slice of the volume in a view, across a volume axis or tilted against it."""
    node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
    steps = case.world_from_ijk[:3, :3] / np.linalg.norm(case.world_from_ijk[:3, :3], axis=0)
    a, b = [other for other in range(3) if other != axis]
    frame = np.eye(4)
    frame[:3, 0], frame[:3, 1] = steps[:, a], -steps[:, b]
    frame[:3, 2] = np.cross(frame[:3, 0], frame[:3, 1])
    middle = list(INSIDE)
    middle[axis] = index
    frame[:3, 3] = case.world(middle)[0]
    frame = frame @ turned(z_deg=spin_deg) @ (np.eye(4) if tilt is None else turned(x_deg=tilt))
    node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(frame))
    node.UpdateMatrices()
    return node


# Segmenting a slice


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("axis", "ijk")
def test_a_slice_along_each_axis_is_written_where_it_is(logic, geometry, axis):
    case, number = a_case(geometry), INSIDE[AXES[axis]]
    result = logic.segmentSlice(case.volume, case.segmentation, "A", (axis, number), positive=case.world(INSIDE))
    expected = on_slice(case.structure, AXES[axis], number)
    np.testing.assert_array_equal(case.segment("A"), expected)
    assert result.voxels == result.changed == expected.sum()
    assert result.score == 0.9
    assert not case.segment("B").any()


def test_anatomical_names_mean_what_the_scene_shows(logic):
    quarter_turn = turned(x_deg=90)
    plain = a_case()
    np.testing.assert_array_equal(
        logic.predict(plain.volume, ("axial", 10), plain.world(INSIDE)).mask, plain.structure[10]
    )
    stood_up = a_case(volume_under=quarter_turn)
    found = logic.predict(stood_up.volume, ("coronal", 10), stood_up.world(INSIDE))
    np.testing.assert_array_equal(found.mask, stood_up.structure[10])


def test_transforms_of_volume_and_segmentation_count(logic):
    case = a_case(GEOMETRIES["anisotropic and offset"], turned(10, 20, 30), turned(10, 20, 30))
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    np.testing.assert_array_equal(case.segment("A"), on_slice(case.structure, 2, 10))


def test_a_segmentation_elsewhere_gets_nothing_and_says_so(logic):
    case = a_case(segmentation_under=affine(origin=(500, 0, 0)))
    result = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), positive=case.world(INSIDE))
    assert result.mask.any()
    assert (result.voxels, result.changed) == (0, 0)


def test_a_view_gives_the_slice_that_it_shows(logic):
    case = a_case(GEOMETRIES["flipped"])
    node = show(case, "Yellow", axis=0, index=20)
    for plane in ("Yellow", node):
        found = logic.predict(case.volume, plane, positive=case.world((20, 22, 10)))
        np.testing.assert_array_equal(found.mask, case.structure[:, :, 20])


def test_an_oblique_view_is_segmented_across_slices(logic):
    case = a_case(GEOMETRIES["anisotropic and offset"])
    show(case, "Green", tilt=25)
    result = logic.segmentSlice(case.volume, case.segmentation, "A", "Green", positive=case.world(INSIDE))
    written = case.segment("A")
    assert written.any(axis=(1, 2)).sum() > 1
    assert result.voxels == written.sum()
    assert (written & case.structure).sum() > 0.8 * written.sum()


def test_a_plane_of_the_library_can_be_given(logic):
    from SAMMed2DLib.imaging.geometry import SlicePlane

    case = a_case()
    plane = SlicePlane.of_axis((60, 50, 24), "axial", 10, np.eye(4))
    found = logic.predict(case.volume, plane, positive=case.world(INSIDE))
    assert found.plane == plane
    np.testing.assert_array_equal(found.mask, case.structure[10])


# Points and boxes


def prompts_of(logic, case, plane=("k", 10), **question):
    logic.predict(case.volume, plane, **question)
    return logic.session.asked[-1][0]


def test_points_come_as_numbers_lists_and_nodes_together(logic):
    case = a_case(GEOMETRIES["turned"])
    node = case.fiducials((25, 22, 10), (26, 23, 10))
    prompts = prompts_of(logic, case, positive=[node, case.world((20, 20, 10))[0]], negative=case.world((40, 40, 10)))
    np.testing.assert_allclose(prompts.points_xy, [(25, 22), (26, 23), (20, 20), (40, 40)], atol=1e-6)
    assert prompts.labels.tolist() == [1, 1, 1, 0]


def test_a_single_point_needs_no_list(logic):
    case = a_case()
    prompts = prompts_of(logic, case, positive=tuple(case.world(INSIDE)[0]))
    np.testing.assert_allclose(prompts.points_xy, [INSIDE[:2]])


def test_points_of_a_node_on_other_slices_do_not_count(logic):
    case = a_case(GEOMETRIES["anisotropic and offset"])
    node = case.fiducials((25, 22, 10), (26, 23, 11), (20, 20, 10.4), (20, 20, 9.6), (200, 20, 10))
    prompts = prompts_of(logic, case, positive=node)
    np.testing.assert_allclose(prompts.points_xy, [(25, 22), (20, 20), (20, 20)], atol=1e-6)


def test_points_that_are_not_placed_do_not_count(logic):
    case = a_case()
    node = case.fiducials((25, 22, 10), (26, 23, 10))
    node.UnsetNthControlPointPosition(0)
    assert len(prompts_of(logic, case, positive=node).labels) == 1


def test_a_node_under_a_transform_is_where_it_is_seen(logic):
    case = a_case()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    node.AddControlPoint(20, 17, 10)
    put_under(node, affine(origin=(5, 5, 0)))
    np.testing.assert_allclose(prompts_of(logic, case, positive=node).points_xy, [(25, 22)])


def test_prompts_of_the_effect_are_told_apart_by_their_signs(logic):
    from SAMMed2DSlicer.prompts.prompt_groups import PromptGroup
    from SAMMed2DSlicer.prompts.slice_prompts import plane_of

    case = a_case()
    one = PromptGroup(case.segmentation, "A", case.volume, plane_of(case.volume, ("k", 10)))
    one.add_point(case.world((25, 22, 10))[0], True)
    one.add_point(case.world((40, 40, 10))[0], False)
    prompts = prompts_of(logic, case, positive=one.points, negative=one.points)
    np.testing.assert_allclose(prompts.points_xy, [(25, 22), (40, 40)], atol=1e-6)
    assert prompts.labels.tolist() == [1, 0]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_an_roi_counts_as_its_cut_by_the_slice(logic, geometry):
    case = a_case(geometry)
    prompts = prompts_of(logic, case, box=case.roi((10, 12, 4), (40, 33, 15)))
    np.testing.assert_allclose(prompts.box_xyxy, (10.5, 12.5, 40.5, 33.5), atol=1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_two_corners_on_the_slice_are_a_rectangle_in_it(logic, geometry):
    case = a_case(geometry)
    prompts = prompts_of(logic, case, box=case.world((40, 12, 10), (10, 33, 10)))
    np.testing.assert_allclose(prompts.box_xyxy, (10.5, 12.5, 40.5, 33.5), atol=1e-6)


def test_two_corners_off_the_slice_are_a_box_along_the_axes_of_the_scene(logic):
    case = a_case(GEOMETRIES["anisotropic and offset"])
    prompts = prompts_of(logic, case, box=case.world((40, 12, 5), (10, 33, 15)))
    np.testing.assert_allclose(prompts.box_xyxy, (10.5, 12.5, 40.5, 33.5), atol=1e-6)


def test_a_box_that_reaches_over_the_border_is_cut(logic):
    case = a_case()
    prompts = prompts_of(logic, case, box=case.world((-9, -9, 10), (40, 33, 10)))
    np.testing.assert_allclose(prompts.box_xyxy, (0, 0, 40.5, 33.5), atol=1e-6)


# What the model sees


def test_intensities_and_zoom_reach_the_model(logic):
    case = a_case()
    for intensity, zoom in (("window", None), ("percentiles", True), ("full", False)):
        logic.predict(case.volume, ("k", 10), case.world(INSIDE), intensity=intensity, zoom=zoom)
        image, given = logic.session.asked[-1][1:]
        assert given is zoom
        assert image.shape == (50, 60, 3)
        assert image.min() == (51 if intensity == "window" else 0)


def test_colour_and_two_dimensions_work(logic):
    colour = a_case(volume_kji=np.repeat(np.where(a_case().structure, 160, 40).astype(np.uint8)[..., None], 3, 3))
    found = logic.predict(colour.volume, ("k", 10), colour.world(INSIDE))
    np.testing.assert_array_equal(found.mask, colour.structure[10])
    flat = a_case(volume_kji=np.where(colour.structure[10:11], 160, 40).astype(np.int16))
    result = logic.segmentSlice(flat.volume, flat.segmentation, "A", ("k", 0), flat.world((25, 22, 0)))
    np.testing.assert_array_equal(result.mask, colour.structure[10])
    assert result.voxels == colour.structure[10].sum()


def test_a_proxy_of_a_sequence_is_taken_as_it_is_shown(logic):
    case = a_case()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    values = slicer.util.arrayFromVolume(case.volume).copy()
    for item in range(2):
        slicer.util.updateVolumeFromArray(case.volume, np.roll(values, 7 * item, axis=2))
        sequence.SetDataNodeAtValue(case.volume, str(item))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateAllProxyNodes()
    proxy = browser.GetProxyNode(sequence)
    for item in (1, 0):
        browser.SetSelectedItemNumber(item)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        found = logic.predict(proxy, ("k", 10), case.world((25 + 7 * item, 22, 10)), intensity="full")
        np.testing.assert_array_equal(found.mask, np.roll(case.structure[10], 7 * item, axis=1))


# Writing


@pytest.mark.parametrize(("overwrite", "stays"), [("none", True), ("all", False)])
def test_other_segments_give_way_only_when_they_should(logic, overwrite, stays):
    case = a_case()
    logic.segmentSlice(case.volume, case.segmentation, "B", ("k", 10), case.world(INSIDE))
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), case.world(INSIDE), overwrite=overwrite)
    np.testing.assert_array_equal(case.segment("A"), on_slice(case.structure, 2, 10))
    assert case.segment("B").any() == stays


def test_an_empty_mask_changes_nothing(logic):
    case = a_case()
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), case.world(INSIDE))
    before = case.segment("A")
    logic.session.finds_nothing = True
    result = logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 9), case.world((25, 22, 9)))
    assert (result.voxels, result.changed) == (0, 0)
    np.testing.assert_array_equal(case.segment("A"), before)


def test_nothing_but_the_segment_changes(logic):
    case = a_case()
    before = nodes_of_scene()
    logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), case.world(INSIDE))
    logic.predict(case.volume, ("k", 10), case.world(INSIDE))
    assert nodes_of_scene() == before


def test_points_of_both_sides_keep_their_order(logic):
    case = a_case()
    first, second, third = case.world((20, 22, 10), (40, 40, 10), (25, 22, 10))
    rows = [[*first, 1], [*second, 0], [*third, 1]]
    logic.predict(case.volume, ("k", 10), case.world(INSIDE), points=rows)
    prompts = logic.session.asked[-1][0]
    np.testing.assert_allclose(prompts.points_xy, [INSIDE[:2], (20, 22), (40, 40), (25, 22)], atol=1e-6)
    assert prompts.labels.tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("points", "message"),
    [([(1, 2, 3)], "(N, 4)"), ([(1, 2, 3, 2)], "(N, 4)"), ("a", "(N, 4)"), ([(5, 5, 10, 0)], "do not say where")],
)
def test_points_without_a_side_or_an_object_are_refused(logic, points, message):
    from SAMMed2DSlicer.scene.volumes import SceneError

    case = a_case()
    if len(points[0]) == 4 and points[0][3] == 0:
        points = [[*case.world(INSIDE)[0], 0]]
    with pytest.raises(SceneError, match=re.escape(message)):
        logic.predict(case.volume, ("k", 10), points=points)
    node = case.fiducials(INSIDE)
    with pytest.raises(SceneError, match="positive or negative"):
        logic.predict(case.volume, ("k", 10), points=node)


# Many


def test_a_candidate_is_asked_for_and_the_result_says_which_of_how_many_it_is(logic):
    case, answer = a_case(), logic.session.answer

    def with_parts(image, prompts, **options):
        found = answer(image, prompts, **options)
        parts = tuple(replace(found, mask=found.mask & (np.arange(60) < end)) for end in (20, 30, 60))
        return replace(parts[prompts.candidate - 1], candidates=parts, candidate=prompts.candidate)

    logic.session.answer = with_parts
    where = (case.volume, ("k", INSIDE[2]))
    found = logic.predict(*where, case.world(INSIDE), candidate=1)
    np.testing.assert_array_equal(found.mask, case.structure[INSIDE[2]] & (np.arange(60) < 20))
    assert (found.candidate, found.candidates) == (1, 3)
    result = logic.segmentSlice(case.volume, case.segmentation, "A", where[1], case.world(INSIDE), candidate=2)
    assert (result.candidate, result.candidates) == (2, 3)
    np.testing.assert_array_equal(case.segment()[INSIDE[2]], case.structure[INSIDE[2]] & (np.arange(60) < 30))
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        logic.predict(*where, case.world(INSIDE), candidate=0)


def test_many_objects_of_a_slice_are_predicted_in_one_call(logic):
    case = a_case()
    boxes = [case.world((10, 10, 10), (25, 30, 10)), case.world((25, 10, 10), (40, 30, 10))]
    objects = [{"box": box} for box in boxes] + [{"positive": case.world(INSIDE)}]
    found = logic.predictMany(case.volume, ("k", 10), objects)
    assert len(found) == 3
    np.testing.assert_array_equal(found[2].mask, case.structure[10])
    assert (found[0].mask & ~case.structure[10]).sum() == 0 < found[0].mask.sum() < case.structure[10].sum()


def test_a_request_that_fails_does_not_hold_up_the_others(logic):
    case = a_case()
    requests = [
        {"volumeNode": case.volume, "segmentationNode": case.segmentation, "segmentId": name, "plane": ("k", k)}
        | {"positive": case.world((25, 22, 10))}
        for name, k in (("A", 10), ("B", 12), ("B", 10), ("C", 10))
    ]
    told = []
    outcomes = logic.segmentMany(requests, progress=lambda done, total: told.append((done, total)))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, False]
    assert "off the slice" in str(outcomes[1].error) and "no segment 'C'" in str(outcomes[3].error)
    assert outcomes[2].result.voxels == case.segment("B").sum()
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [outcome.request for outcome in outcomes] == requests


def test_a_batch_can_be_cancelled_and_says_what_it_left(logic):
    case = a_case()
    request = {"volumeNode": case.volume, "segmentationNode": case.segmentation, "segmentId": "A"}
    requests = [request | {"plane": ("k", 10), "positive": case.world(INSIDE)}] * 3
    done = []
    outcomes = logic.segmentMany(requests, lambda *count: done.append(count), shouldCancel=lambda: len(done) == 2)
    assert [outcome.result is not None for outcome in outcomes] == [True, True, False]
    assert all(outcome.error is None for outcome in outcomes)


def test_slices_are_encoded_ahead_once(logic):
    case = a_case()
    told = []
    different = len(np.unique(case.structure, axis=0))
    assert logic.embed(case.volume, "axial", progress=lambda *count: told.append(count)) == different
    assert told[-1] == (24, 24)
    assert logic.embed(case.volume, "axial", [10, 11]) == 0
    assert logic.embed(case.volume, "i", range(3), intensity="full") == 1
    np.testing.assert_array_equal(logic.session.encoded_ahead[-1].shape, (24, 50, 3))


def test_encoding_ahead_can_be_cancelled_between_slices(logic):
    case = a_case()
    told = []
    encoded = logic.embed(
        case.volume, "k", range(5, 15), lambda *count: told.append(count), shouldCancel=lambda: len(told) == 3
    )
    assert encoded == len(logic.session.encoded_ahead) == 3


# Errors


@pytest.mark.parametrize(
    ("plane", "question", "words"),
    [
        (("k", 10), {}, "Nothing says where the object is"),
        (("k", 10), {"negative": [(1, 1, 10)]}, "add one on it, or a box"),
        (("k", 10), {"positive": [(25, 22, 11)]}, r"\(25, 22, 11\) mm is 1.0 voxels off the slice"),
        (("k", 10), {"positive": [(90, 22, 10)]}, r"\(90, 22, 10\) mm is outside the volume"),
        (("k", 10), {"positive": [(1, 2)]}, r"Points are \(N, 3\) numbers"),
        (("k", 10), {"positive": "here"}, r"Points are \(N, 3\) numbers"),
        (("k", 10), {"positive": [(np.nan, 2, 10)]}, "finite"),
        (("k", 10), {"positive": [(5, 5, 10)], "negative": [(5, 5, 10)]}, "both positive and negative"),
        (("k", 10), {"box": ((0, 0, 20), (9, 9, 30))}, "The box is not on this slice"),
        (("k", 10), {"box": ((90, 90, 10), (99, 99, 10))}, "The box is outside the volume"),
        (("k", 10), {"box": ((0, 0, 10), (9, 9, 10), (1, 1, 1))}, "two opposite corners"),
        (("k", 99), {"positive": [(5, 5, 10)]}, "there is no slice 99"),
        (("up", 10), {"positive": [(5, 5, 10)]}, "axis"),
        ("Purple", {"positive": [(5, 5, 10)]}, "no slice view 'Purple'; there are: Red"),
        (7, {"positive": [(5, 5, 10)]}, "not 7"),
        (("k", 10), {"positive": [(5, 5, 10)], "intensity": "loud"}, "Unknown intensities loud"),
        (("k", 10), {"positive": [(5, 5, 10)], "zoom": "maybe"}, "Unknown zoom 'maybe'"),
    ],
)
def test_what_cannot_be_asked_says_why(logic, plane, question, words):
    case = a_case()
    with pytest.raises(ValueError, match=words):
        logic.predict(case.volume, plane, **question)
    assert logic.session.asked == []


def test_nodes_that_cannot_be_used_say_why(logic):
    from SAMMed2DSlicer.scene.volumes import SceneError

    case = a_case()
    off, unplaced = case.fiducials((1, 1, 1)), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    line = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "L")
    for question, words in (
        ({"positive": off}, "F has no point on this slice"),
        ({"positive": case.volume}, "Volume is no markups node"),
        ({"box": unplaced}, "R is not placed yet"),
        ({"box": line}, "L is no ROI node"),
        ({"box": case.roi((1, 1, 15), (20, 20, 20), name="far")}, "far is not on this slice"),
    ):
        with pytest.raises(SceneError, match=words):
            logic.predict(case.volume, ("k", 10), **question)
    for volume, words in ((None, "volume node is needed"), (line, "volume node is needed")):
        with pytest.raises(SceneError, match=words):
            logic.predict(volume, ("k", 10), positive=[(5, 5, 10)])
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    with pytest.raises(SceneError, match="no image"):
        logic.predict(empty, ("k", 10), positive=[(5, 5, 10)])


def test_a_segment_that_is_not_there_is_noticed_before_the_model_is_asked(logic):
    case = a_case()
    for segmentation, segment, words in (
        (case.segmentation, "C", "no segment 'C'"),
        (case.volume, "A", "segmentation node is needed"),
        (None, "A", "segmentation node is needed"),
    ):
        with pytest.raises(ValueError, match=words):
            logic.segmentSlice(case.volume, segmentation, segment, ("k", 10), case.world(INSIDE))
    with pytest.raises(ValueError, match="overwrite"):
        logic.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), case.world(INSIDE), overwrite="some")
    assert len(logic.session.asked) <= 1


def test_a_bent_volume_is_refused(logic):
    case = a_case()
    grid = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLGridTransformNode", "Bent")
    case.volume.SetAndObserveTransformNodeID(grid.GetID())
    assert not grid.IsTransformToWorldLinear()
    with pytest.raises(ValueError, match="non-linear"):
        logic.predict(case.volume, ("k", 10), positive=[(5, 5, 10)])


def test_an_error_of_the_model_comes_out(logic):
    case = a_case()
    logic.session.error = RuntimeError("no memory")
    with pytest.raises(RuntimeError, match="no memory"):
        logic.predict(case.volume, ("k", 10), case.world(INSIDE))


def test_a_torch_that_cannot_be_imported_is_explained(logic):
    from SAMMed2DSlicer.setup.pytorch import InstallError

    case = a_case()
    logic.session.error = ModuleNotFoundError("No module named 'torch'", name="torch")
    with pytest.raises(InstallError, match="PyTorch is not installed yet"):
        logic.predict(case.volume, ("k", 10), case.world(INSIDE))


# Models


@pytest.fixture
def chosen(app):
    """The service; its choice is put back."""
    from SAMMed2DSlicer.inference import service

    before = service.shared().choice
    yield service.shared()
    service.shared().choose(before)


def test_a_model_is_chosen_for_all(logic, chosen, tmp_path):
    logic.setModel(BUILT_IN, "cpu")
    assert (chosen.choice.model, chosen.choice.device) == (BUILT_IN, "cpu")
    file = tmp_path / "mine.pt"
    file.write_bytes(b"x")
    logic.setModel(file)
    assert (chosen.choice.model, chosen.choice.device) == (str(file), "auto")


def test_a_former_name_of_the_built_in_model_chooses_it(logic, chosen):
    from SAMMed2DSlicer.inference.service import ModelChoice

    logic.setModel("sam-med2d-small", "cpu")
    assert chosen.choice.model == BUILT_IN
    slicer.app.settings().setValue("SAMMed2D/Model", "sam-med2d-small")  # as an earlier version left it
    assert ModelChoice.of_settings().model == BUILT_IN


def test_a_model_that_is_not_here_is_refused(logic, chosen, tmp_path, monkeypatch):
    from SAMMed2DLib.registry.known_models import MODELS_DIR_VARIABLE, RegistryError

    monkeypatch.setenv(MODELS_DIR_VARIABLE, str(tmp_path))
    before = chosen.choice
    for model, words in (
        ("nothing", "Known models"),
        ("sam-med2d_b", "not on this computer yet. Get it in the module SAMMed2D"),
        (str(tmp_path / "gone.pt"), "no weights file"),
    ):
        with pytest.raises(RegistryError, match=words):
            logic.setModel(model)
    assert chosen.choice == before


def test_models_are_listed_with_licences(logic):
    models = {model.name: model for model in logic.models()}
    assert models[BUILT_IN].is_installed
    assert models[BUILT_IN].weights_licence == "Apache-2.0"
    assert "sam-med2d_b" in models


def test_the_built_in_model_segments_a_bright_structure(sammed2d, chosen):
    api = sys.modules["SAMMed2D"].SAMMed2DLogic()
    case = a_case()
    api.setModel(BUILT_IN, "cpu")
    result = api.segmentSlice(case.volume, case.segmentation, "A", ("k", 10), box=case.world((8, 10, 10), (42, 34, 10)))
    common = (result.mask & case.structure[10]).sum()
    assert 2 * common / (result.mask.sum() + case.structure[10].sum()) > 0.7
    assert chosen.state.is_ready and chosen.state.device == "cpu"
    assert api.embed(case.volume, "k", [9, 10, 11]) >= 2
    many = api.predictMany(case.volume, ("k", 10), [{"box": case.world((8, 10, 10), (42, 34, 10))}] * 2)
    np.testing.assert_array_equal(many[0].mask, result.mask)


# Segmentations


def test_a_new_segmentation_has_the_geometry_of_the_volume(logic):
    case = a_case(GEOMETRIES["turned"], volume_under=turned(5, 6, 7))
    segmentation = logic.newSegmentation(case.volume, "Organs", ["liver", "spleen"])
    assert segmentation.GetName() == "Organs"
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == ["liver", "spleen"]
    result = logic.segmentSlice(case.volume, segmentation, "liver", ("k", 10), case.world(INSIDE))
    assert result.voxels == case.structure[10].sum()
    found = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, "liver")
    assert found.sum() == case.structure[10].sum()
