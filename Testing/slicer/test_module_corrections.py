"""The module's panel corrects a mask that is there, of whatever origin."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from editor_fixture import CORRECTED_PX, INSIDE
from module_kit import a_case
from test_logic import show
from test_module_panel import fill, finish

K = INSIDE[2]


@pytest.fixture
def panel(logic):
    """The panel of the module, shown."""
    slicer.util.selectModule("SAMMed2D")
    yield slicer.util.getModuleWidget("SAMMed2D").panels[0]
    slicer.util.getModuleWidget("SAMMed2D").panels[0].forget()


@pytest.fixture
def case(panel):
    made = a_case()
    show(made)
    fill(panel, made)
    return made


@pytest.fixture
def there(case, panel) -> np.ndarray:
    """What a threshold has left, say: a square on the slice of the points, another one above."""
    mask = np.zeros(case.structure.shape, np.uint8)
    mask[K, 10:40, 10:40] = mask[K + 1, 10:20, 10:20] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, case.segmentation, "A", case.volume)
    panel.ui.correctCheckBox.click()
    panel.refresh()
    return mask.astype(bool)


def around(x, y) -> np.ndarray:
    rows, columns = np.mgrid[:50, :60]
    return (columns - x) ** 2 + (rows - y) ** 2 < CORRECTED_PX**2


def beside(panel, case, *points_ijk):
    panel.parameters.positive, panel.parameters.negative = None, case.fiducials(*points_ijk)
    panel.refresh()


def test_points_beside_the_object_alone_take_away_from_the_mask(panel, case, there):
    beside(panel, case, (38, 38, K))
    assert panel.ui.segmentButton.text == "Correct this slice" and panel.ui.segmentButton.enabled
    panel.ui.segmentButton.click()
    finish(panel)
    there[K] &= ~around(38, 38)
    np.testing.assert_array_equal(case.segment(), there)
    gone = 900 - there[K].sum()
    assert panel.status_line.text.startswith(f"{there[K].sum():,} voxels, {gone} changed;")


def test_points_on_the_object_add_and_take_nothing_away(panel, case, there):
    panel.parameters.positive = case.fiducials((41, 25, K))
    panel.segment()
    finish(panel)
    there[K] |= around(41, 25)
    np.testing.assert_array_equal(case.segment(), there)


def test_a_slice_without_a_mask_and_prompts_that_say_nothing_are_explained(panel, case, there):
    assert "Nothing says where" in panel.problem()
    panel.parameters.negative = case.fiducials((38, 38, K))
    assert panel.problem() == ""
    panel.parameters.segment_id = "B"
    assert panel.problem() == "B has nothing on this slice that could be corrected."
    panel.ui.correctCheckBox.click()
    assert "do not say where" in panel.problem()


def test_a_mask_that_changes_meanwhile_is_left_as_it_is(panel, case, there, logic):
    logic.session.delay_s = 0.2
    beside(panel, case, (38, 38, K))
    panel.segment()
    there[K, 10:15] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(there.astype(np.uint8), case.segmentation, "A", case.volume)
    finish(panel)
    np.testing.assert_array_equal(case.segment(), there)
    assert panel.status_line.text == "A was changed meanwhile, so nothing was written: ask again."


def test_a_correction_that_changes_nothing_says_what_to_do(panel, case, there):
    panel.parameters.positive = case.fiducials((25, 25, K))
    panel.segment()
    finish(panel)
    np.testing.assert_array_equal(case.segment(), there)
    assert "stays as it is" in panel.status_line.text


def test_the_whole_mask_can_be_taken_away(panel, case, there):
    there[K] = False
    there[K, 24:27, 24:27] = True
    slicer.util.updateSegmentBinaryLabelmapFromArray(there.astype(np.uint8), case.segmentation, "A", case.volume)
    beside(panel, case, (25, 25, K))
    panel.segment()
    finish(panel)
    assert not case.segment()[K].any() and panel.status_line.text.startswith("0 voxels, 9 changed")


def test_the_choice_is_kept_with_the_scene(panel, case, there):
    assert panel.parameters.node.GetParameter("Correct") == "yes"
    panel.parameters.node.SetParameter("Correct", "no")
    panel.refresh()
    assert not panel.ui.correctCheckBox.checked and panel.ui.segmentButton.text == "Segment this slice"
