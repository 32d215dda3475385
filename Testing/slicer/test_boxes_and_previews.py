"""What is seen of prompts and masks in the views: handles of boxes, corrections, masking, and what the model sees."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, INSIDE, EditorFixture, a_volume, affine

WHOLE, HALF = ((5, 5, 10), (45, 35, 10)), ((5, 5, 10), (28, 24, 10))


@pytest.fixture
def fixture(model) -> EditorFixture:
    return EditorFixture(model, GEOMETRIES["anisotropic and offset"])


def boxes():
    return slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")


def drag(fixture, start, end):
    fixture.view.mouse("MouseMoveEvent", *fixture.xy(start))
    fixture.drag(start, end)


# Boxes


def test_an_accepted_box_has_no_handles_and_the_next_drag_from_its_corner_begins_another(fixture, model):
    fixture.drag(*HALF)
    assert boxes()[0].GetDisplayNode().GetHandlesInteractive()
    fixture.accept()
    fixture.pump(0.05)
    size = boxes()[0].GetSize()
    assert not boxes()[0].GetDisplayNode().GetHandlesInteractive()
    drag(fixture, (28, 24, 10), (45, 35, 10))
    assert len(fixture.controller.groups) == 2 and boxes()[0].GetSize() == size
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (28.5, 24.5, 45.5, 35.5), atol=0.6)


def test_an_accepted_box_that_is_chosen_in_the_table_can_be_dragged_until_another_object_is_begun(fixture, model):
    fixture.drag(*HALF)
    fixture.accept()
    ui = fixture.panel.ui
    ui.promptsButton.collapsed = False
    ui.promptsTable.selectRow(0)
    ui.jumpButton.click()
    fixture.pump(0.05)
    assert boxes()[0].GetDisplayNode().GetHandlesInteractive()
    drag(fixture, (28, 24, 10), (45, 35, 10))
    assert len(fixture.controller.groups) == 1 and fixture.controller.groups[0].state == "open"
    np.testing.assert_allclose(model.asked[-1][0].box_xyxy, (5.5, 5.5, 45.5, 35.5), atol=1)
    fixture.accept()
    ui.promptsTable.selectRow(0)
    ui.jumpButton.click()
    fixture.show(2, 12)
    fixture.show(2, 10)
    assert not boxes()[0].GetDisplayNode().GetHandlesInteractive()


def test_undo_gives_a_box_its_handles_back(fixture):
    fixture.drag(*HALF)
    fixture.accept()
    fixture.editor.undo()
    fixture.wait(lambda: fixture.shown)
    assert boxes()[0].GetDisplayNode().GetHandlesInteractive()


@pytest.mark.parametrize("to", [(5, 5, 10), (5, 24, 10), (28, 5, 10)])
def test_a_box_that_is_dragged_to_nothing_goes_back_to_what_it_was(fixture, model, to):
    fixture.drag(*HALF)
    before, mask = model.asked[-1][0].box_xyxy, fixture.shown[0]
    drag(fixture, (28, 24, 10), to)
    fixture.pump(0.05)
    fixture.wait()
    np.testing.assert_allclose(fixture.controller.groups[0].prompts().box_xyxy, before, atol=1e-3)
    np.testing.assert_array_equal(fixture.shown[0], mask)
    assert fixture.status.level == "info" and "Enter accepts" in fixture.status.text


def test_messages_about_prompts_speak_of_clicks_and_begin_with_a_capital(fixture):
    from SAMMed2DLib.inference.prompts import Prompts
    from SAMMed2DSlicer.widgets import messages

    for prompts in (
        Prompts.of([(90, 61)]),
        Prompts.of(box=(5, 5, 5, 9)),
        Prompts.of(box=(90, 90, 95, 95)),
        Prompts.of([(5, 5)], [(5, 5)]),
    ):
        with pytest.raises(ValueError) as raised:
            prompts.checked((50, 60))
        text = messages.error_text(raised.value)
        assert text[0].isupper() and "(x" not in text and not any(digit in text for digit in "0123456789")


# What an acceptance would write


def neighbour(fixture, place) -> str:
    """A second segment, somewhere; (K, J, I) slices."""
    voxels = np.zeros(fixture.structure.shape, np.uint8)
    voxels[place] = 1
    name = fixture.add_segment("B")
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, fixture.segmentation, name, fixture.volume)
    fixture.editor.setCurrentSegmentID(fixture.segment_id)
    fixture.pump(0.02)
    return name


def mask_with(fixture, mode: str, other: str = ""):
    node = fixture.editor_node
    node.SetMaskSegmentID(other)
    node.SetMaskMode(getattr(slicer.vtkMRMLSegmentationNode, "EditAllowed" + mode))
    fixture.pump(0.05)


LEFT = np.s_[:, :, :25]


@pytest.mark.parametrize(
    ("mode", "is_inside"),
    [
        ("InsideSingleSegment", True),
        ("OutsideAllSegments", False),
        ("OutsideVisibleSegments", False),
        ("InsideAllSegments", True),
        ("InsideVisibleSegments", True),
    ],
)
def test_the_count_is_of_what_the_editable_area_lets_through(fixture, mode, is_inside):
    other = neighbour(fixture, LEFT)
    mask_with(fixture, mode, other)
    fixture.click()
    in_left = int(fixture.structure[10][:, :25].sum())
    expected = in_left if is_inside else int(fixture.structure[10].sum()) - in_left
    assert fixture.panel.status_line.text.startswith(f"370 px found, {expected} inside the editable area;")
    fixture.accept()
    assert fixture.segment().sum() == expected
    assert fixture.status.text == f"Accepted: {expected} voxels changed."


def test_the_count_follows_masking_while_the_mask_is_shown(fixture):
    other = neighbour(fixture, LEFT)
    fixture.click()
    assert "found" not in fixture.status.text and "370 px" in fixture.status.text
    mask_with(fixture, "OutsideVisibleSegments")
    assert "found" in fixture.status.text
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility(other, False)
    fixture.pump(0.05)
    assert "found" not in fixture.status.text
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility(other, True)
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones(fixture.structure.shape, np.uint8), fixture.segmentation, other, fixture.volume
    )
    fixture.pump(0.05)
    assert fixture.status.text.startswith("370 px found, 0 inside the editable area: nothing would be written")
    assert fixture.status.level == "warning"


def test_the_count_is_of_what_the_intensity_range_lets_through(fixture):
    slicer.util.arrayFromVolume(fixture.volume)[10, :20] += 20  # 180 where bright: out of the range
    slicer.util.arrayFromVolumeModified(fixture.volume)
    fixture.editor_node.SetSourceVolumeIntensityMask(True)
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(150, 170)
    fixture.click()
    expected = int(fixture.structure[10, 20:].sum())
    assert f"370 px found, {expected} inside the intensity range;" in fixture.status.text
    fixture.accept()
    assert fixture.segment().sum() == expected


def test_what_a_small_geometry_cuts_is_not_counted(fixture):
    from SAMMed2DSlicer.scene.segment_reader import image_matrix

    fixture.editor.setActiveEffect(None)
    small = slicer.vtkOrientedImageData()
    small.SetExtent(0, 24, 0, 49, 0, 23)
    matrix = slicer.util.vtkMatrixFromArray(fixture.ijk_to_ras)
    small.SetGeometryFromImageToWorldMatrix(matrix)
    assert slicer.util.arrayFromVTKMatrix(image_matrix(small)).tolist() == fixture.ijk_to_ras.tolist()
    text = slicer.vtkSegmentationConverter.SerializeImageGeometry(small)
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    fixture.segmentation.GetSegmentation().SetConversionParameter(name, text)
    fixture.activate()
    fixture.click()
    expected = int(fixture.structure[10][:, :25].sum())
    assert f"370 px found, {expected} inside the segmentation's geometry;" in fixture.status.text
    fixture.accept()
    assert fixture.segment().sum() == expected


def test_what_lies_beside_the_geometry_says_how_to_extend_it(fixture):
    small = a_volume(np.zeros((10, 10, 10), np.uint8), fixture.ijk_to_ras @ affine(origin=(200, 0, 0)))
    fixture.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(small)
    fixture.click()
    words = "370 px found, 0 inside the segmentation's geometry: nothing would be written. Extend it with"
    assert fixture.status.text.startswith(words)


@pytest.mark.parametrize("seed", range(8))
def test_the_dry_run_is_what_slicer_writes(fixture, seed):
    """Random segments, masking and masks, on grids of any kind: the counts are those of the written voxels."""
    from SAMMed2DSlicer.effect.dry_run import dry_run
    from SAMMed2DSlicer.scene import segment_targets, segment_writer, volumes

    rng = np.random.default_rng(seed)
    shape = fixture.structure.shape
    for name in (fixture.segment_id, fixture.add_segment("B"), fixture.add_segment("C")):
        voxels = np.zeros(shape, np.uint8)
        i, j = rng.integers(0, 30, 2)
        voxels[:, j : j + 25, i : i + 30] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, fixture.segmentation, name, fixture.volume)
    fixture.segmentation.GetDisplayNode().SetSegmentVisibility("C", bool(seed % 2))
    node = fixture.editor_node
    node.SetMaskSegmentID("B")
    node.SetMaskMode(seed % slicer.vtkMRMLSegmentationNode.EditAllowed_Last)
    node.SetSourceVolumeIntensityMask(seed % 3 == 0)
    node.SetSourceVolumeIntensityMaskRange(100, 200)
    plane = volumes.plane_shown(fixture.slice_node, fixture.volume)
    mask = np.zeros(plane.size_hw, bool)
    y, x = rng.integers(0, 15, 2)
    mask[y : y + 30, x : x + 35] = True
    effect = fixture.editor.effectByName("SAM-Med2D")
    effect.setParameter("ProtectOthers", int(seed % 4 == 0))
    node.SetOverwriteMode(seed % 3)
    corrects = {"initial_mask_hw": fixture.segment()[10]} if seed % 5 == 1 else {}
    found = dry_run(effect, mask, plane, fixture.volume, **corrects)
    before, others = fixture.segment(), {name: fixture.segment(name) for name in "BC"}
    segment_writer.write_mask(segment_targets.EffectTarget(effect), mask, plane, fixture.volume, **corrects)
    written, gone = fixture.segment() & ~before, before & ~fixture.segment()
    assert (found.added, found.removed) == (written.sum(), gone.sum()) and found.meant == mask.sum()
    lost = {name: int((others[name] & ~fixture.segment(name)).sum()) for name in "BC"}
    assert found.lost == {name: count for name, count in lost.items() if count}
    blocked = 0 if found.blocked_hw is None else found.blocked_hw.sum()
    assert blocked == found.meant - found.in_range


@pytest.mark.parametrize("scale", [1, 0.5, 2])
def test_the_geometry_that_is_looked_at_is_that_in_which_slicer_writes(fixture, scale):
    """Also of a segmentation with another grid, and of a segment that reaches beyond it."""
    from SAMMed2DSlicer.scene.segment_reader import image_matrix

    grid = a_volume(np.zeros((20, 30, 40), np.uint8), fixture.ijk_to_ras @ affine((scale,) * 3))
    fixture.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(grid)
    beyond = a_volume(np.ones((5, 5, 5), np.uint8), fixture.ijk_to_ras @ affine((scale,) * 3, (-3 * scale, 0, 0)))
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.ones((5, 5, 5), np.uint8), fixture.segmentation, fixture.segment_id, beyond
    )
    effect = fixture.editor.effectByName("SAM-Med2D")
    seen = effect.referenceGeometryImage()
    extent, matrix = seen.GetExtent(), slicer.util.arrayFromVTKMatrix(image_matrix(seen))
    written = effect.defaultModifierLabelmap()
    assert extent == written.GetExtent()
    np.testing.assert_allclose(matrix, slicer.util.arrayFromVTKMatrix(image_matrix(written)))


def test_a_dry_run_of_a_large_volume_takes_no_longer_than_a_click_may(model):
    import time

    from SAMMed2DSlicer.effect.dry_run import dry_run
    from SAMMed2DSlicer.scene import volumes

    size = (256, 256, 120)
    fixture = EditorFixture(model, size_ijk=size)
    neighbour(fixture, np.s_[:, :200, :200])
    mask_with(fixture, "OutsideAllSegments")
    fixture.editor_node.SetSourceVolumeIntensityMask(True)
    fixture.editor_node.SetSourceVolumeIntensityMaskRange(0, 50)
    plane = volumes.plane_shown(fixture.slice_node, fixture.volume)
    mask = np.ones(plane.size_hw, bool)
    effect, times = fixture.editor.effectByName("SAM-Med2D"), []
    for _ in range(5):
        began = time.process_time()
        found = dry_run(effect, mask, plane, fixture.volume)
        times.append(time.process_time() - began)
    assert found.in_range == 256 * 256 - 200 * 200 and min(times) < 0.05


# What a correction takes away


@pytest.mark.parametrize("shade", [0, 240])
def test_a_correction_shows_what_it_removes_in_black_and_white_stripes(model, shade):
    fixture = EditorFixture(model, GEOMETRIES["plain"])
    fixture.drag(*WHOLE)
    fixture.accept()
    fixture.volume.GetDisplayNode().SetWindowLevel(1, 300 if shade == 0 else -300)  # all black, or all white
    fixture.editor.effectByName("SAM-Med2D").setParameter("Intensity", "full")
    fixture.controller.jump_to(fixture.controller.groups[0])
    drag(fixture, (45, 35, 10), (28, 24, 10))
    removed = fixture.structure[10].copy()
    removed[:24, :28] = False
    assert "0 added, " in fixture.status.text and fixture.status.text.split(" removed")[0][-1].isdigit()
    image, (row, column) = fixture.image(), np.argwhere(removed)[len(np.argwhere(removed)) // 2]
    x, y = fixture.xy((column, row, 10))
    around = image[image.shape[0] - 1 - y - 6 : image.shape[0] - 1 - y + 7, x - 6 : x + 7].reshape(-1, 3)
    assert (around.min(axis=1) > 250).sum() > 20 and (around.max(axis=1) < 5).sum() > 20
    fixture.accept()
    assert not (fixture.segment()[10] & removed)[25:].any()


def test_a_click_beside_a_painted_mask_shows_what_it_takes_away(fixture):
    painted = np.zeros(fixture.structure.shape, np.uint8)
    painted[10, 10:40, 10:40] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(painted, fixture.segmentation, fixture.segment_id, fixture.volume)
    fixture.pump(0.05)
    fixture.click((37, 37, 10), control=True)
    found = fixture.controller.acceptance.dry_run_of(fixture.controller.pending[0])
    gone = (painted[10] > 0) & ~fixture.shown[0]
    np.testing.assert_array_equal(found.removed_hw, gone)
    assert gone.any() and f"{fixture.shown[0].sum()} px: 0 added, {gone.sum()} removed;" in fixture.status.text
    fixture.accept()
    assert fixture.status.text == f"Accepted: {gone.sum()} voxels changed."


def test_what_masking_forbids_is_not_filled(fixture):
    neighbour(fixture, LEFT)
    fixture.segmentation.GetDisplayNode().SetVisibility2DFill(False)
    fixture.segmentation.GetDisplayNode().SetVisibility2DOutline(False)
    before = fixture.image()
    mask_with(fixture, "OutsideAllSegments")
    fixture.click()
    fixture.pump(0.05)
    change = np.abs(fixture.image() - before).sum(axis=2)

    def at(ijk):
        x, y = fixture.xy(ijk)
        return change[change.shape[0] - 1 - y, x]

    assert at((18, 24, 10)) == 0 and at((32, 24, 10)) > 0


# What the model sees


def pixels(pixmap) -> np.ndarray:
    """A pixmap's brightness, rows from the top."""
    image = pixmap.toImage()
    return np.array([[image.pixelColor(x, y).red() for x in range(image.width())] for y in range(image.height())])


@pytest.mark.parametrize("geometry", ["plain", "flipped", "turned"])
@pytest.mark.parametrize(("axis", "spin_deg"), [(2, 0), (2, 180), (1, 90), (0, -80), (2, 20)])
def test_the_thumbnail_lies_as_the_view_does(model, geometry, axis, spin_deg):
    fixture = EditorFixture(model, GEOMETRIES[geometry])
    fixture.show(axis, INSIDE[axis], spin_deg)
    seen = fixture.image()[..., 0] > 120  # before anything is drawn over it
    fixture.panel.ui.modelButton.collapsed = False
    fixture.click()
    thumbnail = pixels(fixture.panel.ui.thumbnailLabel.pixmap) > 120
    picture = fixture.controller.acceptance.predictions[fixture.controller.pending[0]].request.image[..., 0] > 120
    rows, columns = np.nonzero(seen)
    middle, spread = np.array([rows.mean(), columns.mean()]), np.array([rows.std(), columns.std()])

    def likeness(image):
        """How much of a turned image falls on the structure in the view; both brought to one middle and spread."""
        y, x = np.nonzero(image)
        at = np.column_stack([(y - y.mean()) / y.std(), (x - x.mean()) / x.std()]) * spread + middle
        at = np.clip(np.round(at).astype(int), 0, np.array(seen.shape) - 1)
        return seen[at[:, 0], at[:, 1]].mean()

    ways = [np.rot90(image, n) for image in (picture, picture[:, ::-1]) for n in range(4)]
    assert likeness(thumbnail) >= max(likeness(way) for way in ways) - 0.03


def test_the_thumbnail_turns_with_the_view_and_has_its_proportions(model):
    fixture = EditorFixture(model, GEOMETRIES["anisotropic and offset"])
    fixture.panel.ui.modelButton.collapsed = False
    fixture.show(1, INSIDE[1])  # 60 x 0.7 mm wide, 24 x 3 mm high
    fixture.click()
    wide = pixels(fixture.panel.ui.thumbnailLabel.pixmap)
    assert wide.shape == (120, round(120 * 42 / 72))
    fixture.show(1, INSIDE[1], 90)
    turned = pixels(fixture.panel.ui.thumbnailLabel.pixmap)
    assert turned.shape == wide.shape[::-1] and max(fits(turned, wide, n) for n in (1, 3)) > 0.95


def fits(image, other, quarter_turns) -> float:
    """How alike one image and another one, turned, are."""
    return float(np.corrcoef(image.ravel(), np.rot90(other, quarter_turns).ravel())[0, 1])
