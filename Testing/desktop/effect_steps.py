"""The steps in the Segment Editor: prompts, accepting, undo, an oblique view, propagation."""

import re
import time

import made_ct
import numpy as np
import slicer
from event_loop import Until, check
from workplace import EFFECT, dice

LIVER, RADIUS = made_ct.ORGANS["liver"]
SPLEEN, _ = made_ct.ORGANS["spleen"]
KEYFRAMES = (50, 70)  # besides the slice through the middle
GOOD = 0.9  # Dice with the organ


class EffectSteps:
    """What an annotator does with the effect; each method is a step."""

    def __init__(self, work):
        self.work = work
        self.accepted = None  # the liver's mask, (K, J, I) bool

    def effect_becomes_ready(self):
        """The Segment Editor with two segments; the effect's button loads the model."""
        work = self.work
        from SAMMed2D import SAMMed2DLogic

        work.segmentation = SAMMed2DLogic().newSegmentation(work.volume, "Organs", ["liver", "spleen"])
        slicer.util.selectModule("SegmentEditor")
        yield 0.3
        work.editor.setSegmentationNode(work.segmentation)
        work.editor.setSourceVolumeNode(work.volume)
        work.editor.setCurrentSegmentID("liver")
        work.show_slice(LIVER)
        yield 0.3
        began, computed = time.perf_counter(), time.thread_time()
        self._press_effect()
        chosen_s, computed_s = time.perf_counter() - began, time.thread_time() - computed
        seconds = yield Until(lambda: work.service.state.is_ready, "the model is ready")
        check(work.editor.activeEffect().name == EFFECT, "the effect is not active")
        chosen = f"chosen in {1000 * chosen_s:.0f} ms, computing {1000 * computed_s:.0f} ms"
        return f"{chosen}; model ready after {seconds:.2f} s"

    def _press_effect(self):
        buttons = [button for button in work_buttons(self.work.editor) if button.objectName == EFFECT]
        if buttons:
            self.work.hands.click_widget(buttons[0])
        else:
            self.work.editor.setActiveEffectByName(EFFECT)

    def click(self):
        """A click gives the organ's mask on the slice; Esc takes it away."""
        work, before = self.work, self.work.markups()
        work.click(LIVER)
        seconds = yield from work.wait_for_answer()
        found = dice(work.shown(), work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        yield 0.1
        work.picture("click")
        yield from work.press_key("Esc")
        check(not work.controller.pending, "Esc left a mask")
        check(work.markups() == before, f"Esc left markups: {work.markups()}")
        check(found > GOOD, f"Dice {found:.3f}")
        return f"answer after {seconds:.2f} s, Dice {found:.3f}"

    def drag_a_box(self):
        """A dragged box gives the organ's mask, and stays."""
        work, reach = self.work, RADIUS + 4
        corners = [(LIVER[0] + sign * reach, LIVER[1] + sign * reach, LIVER[2]) for sign in (-1, 1)]
        work.hands.drag(work.widget, [work.xy(corner) for corner in corners])
        seconds = yield from work.wait_for_answer()
        yield 0.1
        work.picture("box")
        found = dice(work.shown(), work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        check(found > GOOD, f"Dice {found:.3f}")
        return f"answer after {seconds:.2f} s, Dice {found:.3f}"

    def correct(self):
        """A Ctrl+click near the border is outside the mask afterwards, a click within it inside."""
        work = self.work
        slant = np.array((0.707, 0.707, 0.0))  # far from the handles of the box, which take clicks near them
        outside, inside = LIVER + slant * (RADIUS + 4), LIVER - slant * (RADIUS - 6)
        seconds = []
        for place, is_out in ((outside, True), (inside, False)):
            work.click(place, control=is_out)
            seconds.append((yield from work.wait_for_answer()))
            i, j, k = made_ct.ijk_of(place)
            check(bool(work.shown()[k, j, i]) != is_out, f"a point does not hold: {place}")
        yield 0.1
        work.picture("correction")
        counts = work.controller.pending[0].counts()
        check(counts == (1, 1, 1), f"points inside, points outside and boxes are {counts}")
        found = dice(work.shown(), work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        check(found > GOOD, f"Dice {found:.3f}")
        return f"answers after {seconds[0]:.2f} and {seconds[1]:.2f} s, Dice {found:.3f}"

    def accept(self):
        """Enter writes the mask that was shown, voxel for voxel."""
        work, shown = self.work, self.work.shown()
        yield from work.press_key("Return")
        self.accepted = work.segment("liver")
        check(shown.any() and np.array_equal(self.accepted, shown), "another mask was written than was shown")
        work.picture("accepted")
        return f"{int(shown.sum())} voxels"

    def undo_and_redo(self):
        """Slicer's undo takes the acceptance back, its redo brings it again."""
        work = self.work
        for button, undo, expected in (
            ("UndoButton", work.editor.undo, np.zeros_like(self.accepted)),
            ("RedoButton", work.editor.redo, self.accepted),
        ):
            found = [one for one in work_buttons(work.editor) if one.objectName == button]
            if found:
                work.hands.click_widget(found[0])
            else:
                undo()
            yield 0.2
            check(np.array_equal(work.segment("liver"), expected), f"another mask after {button}")

    def oblique_view(self):
        """A click in a view that was turned freely gives the organ's cut."""
        work = self.work
        normal = np.array((0.35, 0.3, 0.89)) / np.linalg.norm((0.35, 0.3, 0.89))
        work.editor.setCurrentSegmentID("spleen")
        work.show_slice(SPLEEN, normal)
        yield 0.3
        work.click(SPLEEN)
        seconds = yield from work.wait_for_answer()
        yield 0.1
        work.picture("oblique")
        yield from work.press_key("Return")
        found = work.segment("spleen")
        ijk = np.argwhere(np.ones_like(found))[:, ::-1]
        off_mm = ((ijk * made_ct.SPACING + made_ct.ORIGIN - SPLEEN) @ normal).reshape(found.shape)
        thin = np.abs(off_mm) < 0.5
        agreement = dice(found & thin, work.organs["spleen"] & thin)
        check(not found[np.abs(off_mm) > max(made_ct.SPACING)].any(), "voxels off the slice were changed")
        check(agreement > 0.85, f"Dice {agreement:.3f}")
        return f"answer after {seconds:.2f} s, Dice {agreement:.3f}"

    def propagate(self):
        """From three keyframes to the whole organ."""
        work = self.work
        work.editor.setCurrentSegmentID("liver")
        for k in KEYFRAMES:
            place = (LIVER[0], LIVER[1], made_ct.ORIGIN[2] + made_ct.SPACING[2] * k)
            work.show_slice(place)
            yield 0.2
            work.click(place)
            yield from work.wait_for_answer()
            yield from work.press_key("Return")
        work.show_slice(LIVER)
        keyframes = work.segment("liver")
        section = work.effect.propagation
        if section.ui.propagateButton.collapsed:
            work.hands.click_widget(section.ui.propagateButton, at=(12, 8))
        yield 0.5
        work.hands.click_widget(section.ui.bothButton)
        seconds = yield Until(lambda: not section.is_running, "the end of the propagation", 180)
        yield 0.5
        work.picture("propagation")
        segment = work.segment("liver")
        found = dice(segment, work.organs["liver"])
        check(all(np.array_equal(segment[k], keyframes[k]) for k in KEYFRAMES), "a keyframe was altered")
        check(found > GOOD, f"Dice {found:.3f}: {section.status_line.text}")
        return f"done after {seconds:.1f} s, Dice {found:.3f}"

    def cancel(self):
        """A propagation that asks the model is cancelled; undo takes back what it had found."""
        work, section = self.work, self.work.effect.propagation
        work.editor.undo()
        yield 0.5
        before = work.segment("liver")
        work.hands.click_check_box(section.ui.modelCheckBox, True)
        work.hands.click_widget(section.ui.bothButton)
        yield Until(lambda: not section.is_running or _slices_done(section) > 1, "the first slices")
        check(section.is_running, f"it was over before it could be cancelled: {section.status_line.text}")
        work.hands.click_widget(section.status_line.ui.cancelButton)
        seconds = yield Until(lambda: not section.is_running, "the end of the cancelled propagation")
        text = section.status_line.text
        check("ancelled" in text, f"the status line does not tell of it: {text}")
        found = int(work.segment("liver").sum()) - int(before.sum())
        if found:
            work.editor.undo()
            yield 0.3
        check(np.array_equal(work.segment("liver"), before), "undo did not take back what was found")
        section.ui.modelCheckBox.setChecked(False)
        return f"ended after {seconds:.2f} s, {found} voxels were taken back"

    def steps(self):
        """(name, generator function) in their order."""
        return [
            ("effect", self.effect_becomes_ready),
            ("click", self.click),
            ("box", self.drag_a_box),
            ("correct", self.correct),
            ("accept", self.accept),
            ("undo and redo", self.undo_and_redo),
            ("oblique view", self.oblique_view),
            ("propagate", self.propagate),
            ("cancel", self.cancel),
        ]


def _slices_done(section):
    """How many slices a propagation has found so far, as its status line says."""
    found = re.search(r"(\d+) of \d+", section.status_line.text)
    return int(found[1]) if found else 0


def work_buttons(widget):
    """The tool buttons below a widget."""
    return slicer.util.findChildren(widget, className="QToolButton")
