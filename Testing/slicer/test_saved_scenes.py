"""Scenes with what the extension makes can be saved and opened again, whatever the user calls things."""

from __future__ import annotations

import pytest
import slicer
from editor_fixture import INSIDE, EditorFixture
from module_kit import a_case
from sequence_kit import a_cine

NAMES = ["Head & neck", 'L4 <left> "a" / b\\c', "it's 50 %\x01", "Größe 肝 \N{MINUS SIGN}1"]


def saved_and_opened_again(tmp_path):
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    EditorFixture.close_all()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)


@pytest.mark.parametrize("name", NAMES[:2])
def test_prompts_of_a_segment_with_any_name(model, tmp_path, name):
    from SAMMed2DSlicer.prompts import prompt_groups

    fixture = EditorFixture(model)
    fixture.segment_id = fixture.segmentation.GetSegmentation().AddEmptySegment("S", name)
    fixture.editor.setCurrentSegmentID("S")
    fixture.panel.ui.promptsButton.collapsed = False
    fixture.click()
    fixture.drag((10, 12, 10), (41, 33, 10))
    assert fixture.panel.ui.promptsTable.item(0, 0).text() == name
    fixture.accept()
    saved_and_opened_again(tmp_path)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetSegmentation().GetSegment("S").GetName() == name
    (one,) = prompt_groups.find_groups(segmentation)
    assert one.counts() == (1, 0, 1)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_that_is_safe_keeps_what_can_be_kept(sammed2d, text):
    from SAMMed2DSlicer.scene.segmentations import safe_name

    found = safe_name(text)
    assert not set(found) & set("&<>\"'/\\:*?|%\x01")
    kept = [letter for letter in text if letter.isalnum() or letter in " -"]
    assert [letter for letter in found if letter.isalnum() or letter in " -"] == kept


def test_a_segmentation_and_its_segments_with_such_names_from_python(logic, tmp_path):
    case = a_case()
    names = ["Head & neck", 'a "b" <c>']
    made = logic.newSegmentation(case.volume, "Head & neck", names)
    for name in names:
        assert logic.segmentSlice(case.volume, made, name, ("k", 10), positive=case.world(INSIDE)).changed
    assert made.GetName() == "Head _ neck"
    voxels = [slicer.util.arrayFromSegmentBinaryLabelmap(made, one, case.volume).sum() for one in ids_of(made)]
    saved_and_opened_again(tmp_path)
    made, volume = slicer.util.getNode("Head _ neck"), slicer.util.getNode("Volume")
    assert [made.GetSegmentation().GetSegment(one).GetName() for one in ids_of(made)] == names
    again = [slicer.util.arrayFromSegmentBinaryLabelmap(made, one, volume).sum() for one in ids_of(made)]
    assert again == voxels and all(voxels)


def ids_of(segmentation):
    return segmentation.GetSegmentation().GetSegmentIDs()


def test_the_frames_of_a_segmentation_with_such_a_name(sammed2d):
    from SAMMed2DSlicer.scene import sequences

    cine = a_cine()
    cine.segmentation.SetName("Heart & lungs")
    sequences.make_sequence(cine.volume, cine.segmentation)
    assert "&" not in cine.drawings.GetName() and cine.segmentation.GetName() == "Heart & lungs"
