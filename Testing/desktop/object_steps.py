"""The steps with strokes, whole objects, many objects at once and masks that are there already."""

import made_ct
import numpy as np
import slicer
from event_loop import Until, check
from workplace import dice

LIVER, RADIUS = made_ct.ORGANS["liver"]
SPLEEN, SPLEEN_RADIUS = made_ct.ORGANS["spleen"]
SPINE = (0, -85, LIVER[2])
ABOVE = (LIVER[0], LIVER[1], LIVER[2] + 15)  # on another slice of the liver
GOOD = 0.9  # Dice with the organ


class ObjectSteps:
    """What an annotator does for whole objects, and for many; each method is a step, with segments of its own."""

    def __init__(self, work):
        self.work = work

    def scribble_and_lasso(self):
        """A stroke inside gives the organ, and so does a curve around it; one outside cuts off what it covers."""
        work = self.work
        yield from self._begin("strokes", ABOVE)
        k = made_ct.ijk_of(ABOVE)[2]
        yield from work.press_key("C")
        self._draw(ABOVE, [(-20, -6), (0, 4), (20, -4)])
        yield from work.wait_for_answer()
        scribbled = dice(work.shown(), work.on_slice("liver", k))
        outside = [(-12, 24), (0, 26), (12, 24)]
        self._draw(ABOVE, outside, control=True)
        yield from work.wait_for_answer()
        yield 0.1
        work.picture("scribble")
        i, j, k = made_ct.ijk_of((ABOVE[0], ABOVE[1] + 26, ABOVE[2]))
        check(not work.shown()[k, j, i], "a stroke outside does not hold")
        yield from work.press_key("Return")
        check(work.segment("strokes")[k].any(), "Enter wrote nothing")
        yield from self._begin("lassoed", ABOVE)
        yield from work.press_key("O")
        turns = np.linspace(0, 2 * np.pi, 13)
        self._draw(ABOVE, [((RADIUS + 2) * np.cos(turn), (RADIUS + 2) * np.sin(turn)) for turn in turns])
        yield from work.wait_for_answer()
        yield 0.1
        work.picture("lasso")
        lassoed = dice(work.shown(), work.on_slice("liver", k))
        yield from work.press_key("Return")
        yield from work.press_key("P")
        check(min(scribbled, lassoed) > GOOD, f"Dice {scribbled:.3f} and {lassoed:.3f}")
        return f"Dice {scribbled:.3f} by a scribble, {lassoed:.3f} by a lasso"

    def whole_object(self):
        """A click and two keys give all slices of the organ, undo takes back all but the first."""
        work = self.work
        yield from self._begin("whole", SPLEEN)
        work.click(SPLEEN)
        yield from work.wait_for_answer()
        work.hands.key("E")
        whole = work.effect.whole
        seconds = yield Until(lambda: whole.whole.preview is not None, "the whole object")
        one = work.segment("whole")
        yield 0.3
        work.picture("whole object")
        work.hands.key("Return")
        yield Until(lambda: not whole.is_open, "the object is written")
        found = dice(work.segment("whole"), work.organs["spleen"])
        work.editor.undo()
        yield 0.3
        check(np.array_equal(work.segment("whole"), one), "undo left another mask than before")
        work.editor.redo()
        yield 0.3
        check(found > GOOD, f"Dice {found:.3f}")
        return f"shown after {seconds:.2f} s, Dice {found:.3f}"

    def many_objects(self):
        """Three clicks that wait for nothing, and Enter: three segments; undo empties them."""
        work = self.work
        yield from self._begin("many", LIVER)
        work.hands.click_check_box(work.effect.panel.ui.newSegmentsCheckBox, True)
        before = self._segments()
        for place in (LIVER, SPLEEN, SPINE):
            work.click(place)
            yield 0.05
        seconds = yield from work.wait_for_answer()
        yield 0.2
        work.picture("many objects")
        yield from work.press_key("Return")
        made = ["many", *[name for name in self._segments() if name not in before]]
        check(len(made) == 3, f"segments are {made}")
        k, (first, second, spine) = made_ct.ijk_of(LIVER)[2], map(work.segment, made)
        found = [dice(mask, work.on_slice(name, k)) for mask, name in ((first, "liver"), (second, "spleen"))]
        check(min(found) > GOOD and spine.any(), f"Dice {found}")
        work.editor.undo()
        yield 0.3
        check(not any(work.segment(name).any() for name in made), "undo left voxels")
        yield from work.press_key("Esc")
        work.hands.click_check_box(work.effect.panel.ui.newSegmentsCheckBox, False)
        return f"answers after {seconds:.2f} s, Dice {found[0]:.3f} and {found[1]:.3f}"

    def propose_objects(self):
        """One key proposes what is on the slice; a click takes the liver, Esc refuses the rest."""
        work = self.work
        yield from self._begin("proposed", LIVER)
        work.hands.key("J")
        proposer = work.controller.proposer
        seconds = yield Until(lambda: proposer.proposals and not proposer.is_searching, "proposals")
        count = len(proposer.proposals)
        yield 0.2
        work.picture("proposals")
        work.click(LIVER)
        yield from work.wait_for_answer()
        work.hands.key("Esc")
        yield 0.1
        check(not proposer.proposals, "Esc left proposals")
        yield from work.press_key("Return")
        found = dice(work.segment("proposed"), work.on_slice("liver", made_ct.ijk_of(LIVER)[2]))
        check(found > GOOD, f"Dice {found:.3f}")
        return f"{count} proposals after {seconds:.2f} s, Dice {found:.3f} of the one taken"

    def correct_what_is_there(self):
        """A Ctrl+click on a mask that another tool painted takes away where it goes too far, and no more than that."""
        work = self.work
        yield from self._begin("painted", SPLEEN)
        k = made_ct.ijk_of(SPLEEN)[2]
        painted = work.on_slice("spleen", k)
        i, j, _k = made_ct.ijk_of((SPLEEN[0] + SPLEEN_RADIUS + 6, SPLEEN[1], SPLEEN[2]))
        painted[k, j - 3 : j + 4, i - 8 : i + 4] = True  # a piece beside the organ, as a leak
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            painted.astype(np.uint8), work.segmentation, "painted", work.volume
        )
        yield 0.3
        work.click((SPLEEN[0] + SPLEEN_RADIUS + 8, SPLEEN[1], SPLEEN[2]), control=True)
        yield from work.wait_for_answer()
        yield 0.2
        work.picture("corrected mask")
        yield from work.press_key("Return")
        after = work.segment("painted")
        check(not after[k, j, i + 1], "what was clicked is still there")
        check(not (after & ~painted).any(), "a click outside has added voxels")
        found = [dice(mask, work.on_slice("spleen", k)) for mask in (painted, after)]
        check(found[1] > found[0], f"Dice {found}")
        return f"Dice {found[0]:.3f} as painted, {found[1]:.3f} corrected"

    def steps(self):
        """(name, generator function) in their order."""
        return [
            ("scribble and lasso", self.scribble_and_lasso),
            ("whole object", self.whole_object),
            ("many objects", self.many_objects),
            ("propose objects", self.propose_objects),
            ("correct what is there", self.correct_what_is_there),
        ]

    def _begin(self, name, ras):
        """A new, empty segment is selected, and the slice through a place is shown."""
        work = self.work
        work.segmentation.GetSegmentation().AddEmptySegment(name, name)
        work.open_editor(name)
        work.show_slice(ras)
        yield Until(lambda: work.service.state.is_ready and not work.controller.is_waiting, "the effect is at rest")
        yield 0.2

    def _draw(self, ras, path_mm, control=False):
        """Drag the mouse along a path, in mm to the right and to the front of a place."""
        work = self.work
        path = [work.xy((ras[0] + right, ras[1] + front, ras[2])) for right, front in path_mm]
        work.hands.drag(work.widget, path, control)

    def _segments(self):
        return list(self.work.segmentation.GetSegmentation().GetSegmentIDs())
