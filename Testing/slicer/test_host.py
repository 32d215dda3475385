"""The host's Segment Editor: Slicer's own logic under our Qt layer behaves as the desktop, or raises."""

import numpy as np
import pytest
import slicer
import vtk
from host import volumes
from host.application.dialogs import UnansweredDialogError
from host.editor.parameters import ParameterError
from host.editor.scripted_effect import EffectError

MODE = slicer.vtkMRMLSegmentationNode


def middle_ijk(editing):
    return [n // 2 for n in reversed(editing.array().shape)]


def drag_a_box(editing, reach=17):
    """Drag a box around the ball's middle, in the view that shows slices of k."""
    (i, j, k), view = middle_ijk(editing), editing.view_across(2)
    first, last = (i - reach, j - reach, k), (i + reach, j + reach, k)
    editing.views[view].drag(editing.xy(first, view), editing.xy(last, view))


def ball_of_the_middle_slice(editing):
    expected, k = np.zeros_like(editing.array(), bool), middle_ijk(editing)[2]
    expected[k] = editing.array()[k] > 50
    return expected


@pytest.mark.parametrize("geometry", volumes.WITH_A_BALL)
def test_a_box_dragged_on_a_slice_segments_that_slice(demo, make_volume, an_editor, geometry):
    editing = an_editor(make_volume(geometry))
    editing.activate("Demo")
    drag_a_box(editing)
    assert (editing.mask() == ball_of_the_middle_slice(editing)).all()
    editing.editor.undo()
    assert not editing.mask().any()
    editing.editor.redo()
    assert (editing.mask() == ball_of_the_middle_slice(editing)).all()


def test_options_and_parameters_follow_each_other(editing):
    demo = editing.activate("Demo")
    assert demo.level.value == 50
    demo.level.value = 123.456789
    assert editing.node.GetAttribute("Demo.Level") == "123.46"
    demo.scriptedEffect.setParameter("Level", 10.0)
    assert demo.level.value == 10
    drag_a_box(editing)
    assert editing.mask().any()
    demo.button.click()
    assert not editing.mask().any()


def test_parameters_are_strict(editing):
    effect = editing.activate("Demo").scriptedEffect
    for value in (np.float32(1), None, [1]):
        with pytest.raises(TypeError):
            effect.setParameter("Level", value)
    with pytest.raises(ParameterError):
        effect.parameter("Nothing")
    effect.setParameter("Level", 1.23456789)
    assert effect.parameter("Level") == "1.23457"
    effect.setNodeReference("Volume", editing.volume)
    assert effect.nodeReference("Volume") is editing.volume


def test_editing_is_strict(editing):
    effect = editing.activate("Demo").scriptedEffect
    labelmap = effect.defaultModifierLabelmap()
    for arguments in ((labelmap, 7), (None, 0), (labelmap, 0, [0, 1, 0, 1]), (labelmap, 0, np.arange(6))):
        with pytest.raises(TypeError):
            effect.modifySelectedSegmentByLabelmap(*arguments)
    assert not hasattr(effect, "setName")  # C++ only
    assert effect.parameterSetNode() is editing.node and effect.scene() is slicer.mrmlScene


def test_an_extent_limits_what_is_edited(editing):
    effect, (i, j, k) = editing.activate("Demo").scriptedEffect, middle_ijk(editing)
    labelmap = effect.defaultModifierLabelmap()
    labelmap.GetPointData().GetScalars().Fill(1)
    effect.modifySelectedSegmentByLabelmap(labelmap, effect.ModificationModeAdd, [i, i + 1, j, j + 2, k, k])
    assert editing.mask().sum() == 6


def test_an_error_in_an_event_is_collected(editing, app):
    editing.activate("Demo").apply = lambda *_: 1 / 0
    drag_a_box(editing)
    assert isinstance(app.errors.pop(), ZeroDivisionError) and not app.errors


def test_an_event_handler_must_return_a_bool(editing, app):
    editing.activate("Demo").processInteractionEvents = lambda *_: None
    editing.views["Red"].hover(50, 50)
    assert {type(error) for error in app.errors} == {EffectError}
    app.errors.clear()


def test_an_event_that_the_effect_takes_goes_no_further(editing):
    demo, seen = editing.activate("Demo"), []
    interactor = editing.views["Red"].interactor()
    tag = interactor.AddObserver("LeftButtonPressEvent", lambda *_: seen.append(1), 0.9)
    editing.views["Red"].click(50, 50)
    assert ("qMRMLSliceWidget", "LeftButtonPressEvent") in demo.events and not seen
    editing.views["Red"].click(50, 50, shift=True)
    assert seen
    interactor.RemoveObserver(tag)


def test_the_3d_view_sends_its_events_too(editing):
    demo = editing.activate("Demo")
    editing.views["3D"].click(100, 100)
    assert ("qMRMLThreeDWidget", "LeftButtonPressEvent") in demo.events
    assert ("qMRMLThreeDWidget", "LeftButtonDoubleClickEvent") not in demo.events
    with pytest.raises(TypeError):
        demo.xyToRas((100, 100), slicer.app.layoutManager().threeDWidget(0))
    assert not editing.mask().any()


def test_no_event_comes_when_no_effect_is_active(editing):
    demo = editing.activate("Demo")
    editing.editor.setActiveEffect(None)
    demo.events.clear()
    editing.views["Red"].click(50, 50)
    assert not demo.events and demo.calls[-1] == "deactivate"


def test_the_old_effect_is_still_the_active_one_while_the_new_one_is_activated(editing):
    seen, demo = [], editing.editor.effectByName("Demo").self()
    demo.activate = lambda: seen.append(editing.editor.activeEffect())
    editing.activate("Demo")
    assert seen == [None]


def test_placing_markups_deactivates_the_effect_and_activation_ends_placing(editing):
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    editing.activate("Demo")
    interaction.SetCurrentInteractionMode(interaction.Place)
    assert editing.editor.activeEffect() is None
    editing.activate("Demo")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform


def test_a_segmentation_that_goes_takes_the_effect_with_it(editing):
    demo = editing.activate("Demo")
    slicer.mrmlScene.RemoveNode(editing.segmentation)
    assert editing.editor.activeEffect() is None and editing.editor.segmentationNode() is None
    assert demo.calls[-1] == "deactivate"


def test_another_segmentation_deactivates_the_effect(editing):
    editing.activate("Demo")
    editing.editor.setSegmentationNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    assert editing.editor.activeEffect() is None


def test_a_script_that_removes_the_selected_segment_deselects_and_ends_the_effect(editing):
    editing.activate("Demo")
    editing.segmentation.GetSegmentation().RemoveSegment("A")
    assert not editing.node.GetSelectedSegmentID() and editing.editor.activeEffect() is None


def test_the_remove_button_selects_a_neighbour_and_the_effect_stays(editing):
    editing.activate("Demo")
    slicer.util.findChild(editing.editor, "RemoveSegmentButton").click()
    assert editing.segmentation.GetSegmentation().GetSegmentIDs() == ("B",)
    assert editing.node.GetSelectedSegmentID() == "B" and editing.editor.activeEffect() is not None


def test_a_new_source_volume_is_told_to_effects_and_shown(editing, make_volume):
    demo, other = editing.activate("Demo"), make_volume("axis", name="other")
    editing.editor.setSourceVolumeNode(other)
    assert demo.calls[-1] == "sourceVolumeNodeChanged"
    assert editing.widgets["Red"].mrmlSliceCompositeNode().GetBackgroundVolumeID() == other.GetID()


def test_closing_the_scene_deactivates_the_effect_of_the_segment_editor_module(demo, make_volume):
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.SegmentEditorWidget.editor
    editor.segmentationNode().GetSegmentation().AddEmptySegment("A", "A")
    editor.setSourceVolumeNode(make_volume("axis"))
    editor.setActiveEffectByName("Demo")
    python = editor.activeEffect().self()
    slicer.mrmlScene.Clear(0)
    assert editor.activeEffect() is None and python.calls[-1] == "deactivate"
    assert editor.mrmlSegmentEditorNode().GetSingletonTag() == "SegmentEditor"


def test_masks_and_overwriting_hold(editing):
    editing.activate("Demo")
    drag_a_box(editing, reach=5)
    editing.editor.setCurrentSegmentID("B")
    editing.node.SetMaskSegmentID("A")
    editing.node.SetMaskMode(MODE.EditAllowedInsideSingleSegment)
    drag_a_box(editing)
    assert editing.mask("B").sum() == 121 and not editing.mask("A").any()
    editing.node.SetMaskMode(MODE.EditAllowedEverywhere)
    editing.node.SetOverwriteMode(editing.node.OverwriteNone)
    editing.editor.setCurrentSegmentID("A")
    drag_a_box(editing)
    assert editing.mask("B").sum() == 121 and (editing.mask("A") == ball_of_the_middle_slice(editing)).all()


def test_the_intensity_mask_holds(editing):
    demo = editing.activate("Demo")
    editing.node.SetSourceVolumeIntensityMask(True)
    editing.node.SetSourceVolumeIntensityMaskRange(0, 10)
    demo.level.value = 0
    drag_a_box(editing)
    assert not editing.mask().any()


def test_editing_a_hidden_segment_asks(editing, app):
    effect, display = editing.activate("Demo").scriptedEffect, editing.segmentation.GetDisplayNode()
    assert effect.confirmCurrentSegmentVisible() == effect.ConfirmedWithoutDialog
    display.SetSegmentVisibility("A", False)
    with pytest.raises(UnansweredDialogError):
        effect.confirmCurrentSegmentVisible()
    app.answers.give("segment is hidden", "Cancel")
    assert effect.confirmCurrentSegmentVisible() == effect.NotConfirmed
    app.answers.give("segment is hidden", "Yes")
    assert effect.confirmCurrentSegmentVisible() == effect.ConfirmedWithDialog
    assert display.GetSegmentVisibility("A")


def test_every_editor_has_its_own_copy_of_an_effect(editing, an_editor):
    other = an_editor(editing.volume)
    editing.activate("Demo").scriptedEffect.setParameter("Level", 7)
    assert other.activate("Demo").scriptedEffect.doubleParameter("Level") == 50
    assert other.editor.activeEffect() is not editing.editor.activeEffect()


def test_the_layout_is_told_to_effects_and_unknown_layouts_raise(editing, app):
    demo, manager = editing.activate("Demo"), app.layoutManager()
    layouts = slicer.vtkMRMLLayoutNode
    manager.setLayout(layouts.SlicerLayoutOneUpRedSliceView)
    assert demo.calls[-1] == "layoutChanged" and manager.layout == layouts.SlicerLayoutOneUpRedSliceView
    shown = [name for name, widget in editing.widgets.items() if not widget.isHidden()]
    assert shown == ["Red"]
    manager.setLayout(layouts.SlicerLayoutConventionalPlotView)
    assert isinstance(app.errors.pop(), NotImplementedError)


def test_a_read_only_editor_has_no_active_effect(editing):
    editing.activate("Demo")
    editing.editor.readOnly = True
    assert editing.editor.activeEffect() is None


def test_scenes_are_saved_and_loaded(editing, tmp_path):
    editing.activate("Demo")
    drag_a_box(editing)
    mask, path = editing.mask(), str(tmp_path / "scene.mrb")
    editing.segmentation.SetAttribute("SAMMed2D.prompts", '{"é": 1}')
    editing.segmentation.GetSegmentation().GetSegment("A").SetTag("SAMMed2D.model", "v1")
    editing.editor.setActiveEffect(None)
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(path)
    node, volume, tag = slicer.util.getNode("Segmentation"), slicer.util.getNode("CT"), vtk.reference("")
    assert (slicer.util.arrayFromSegmentBinaryLabelmap(node, "A", volume).astype(bool) == mask).all()
    assert node.GetAttribute("SAMMed2D.prompts") == '{"é": 1}'
    assert node.GetSegmentation().GetSegment("A").GetTag("SAMMed2D.model", tag) and str(tag) == "v1"


def test_registering_an_effect_again_is_ignored_and_the_rules_of_python_sources_hold(demo):
    factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
    registered = factory.registeredEffects()[0]
    assert factory.registerEffect(registered) is False
    with pytest.raises(ValueError):
        factory.registerEffect(slicer.qSlicerSegmentEditorAbstractEffect(None))
    with pytest.raises(EffectError):
        slicer.qSlicerSegmentEditorScriptedEffect(None).setPythonSource("C:\\effect\\SegmentEditorEffect.py")
