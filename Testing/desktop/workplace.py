"""What all steps of the scenario share: a CT, an editor, hands, and masks to compare."""

import sys
from pathlib import Path

import made_ct
import numpy as np
import slicer
from event_loop import Gaps, Until, check
from hands import Hands, HostHands

ROOT = Path(__file__).resolve().parents[2]
EFFECT = "SAM-Med2D"
VIEW = "Red"


def is_host():
    """Whether this is the tests' host, not Slicer's desktop."""
    return "host" in sys.modules


def dice(one, other):
    """How far two masks agree, 0 to 1."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


class Workplace:
    """The scene that is worked on, and the ways into it.

    Attributes:
        hands: mouse and keys.
        output: the folder for pictures, the log and the scene.
        organs: where the organs of the CT are, (K, J, I) bool by name.
        volume, segmentation: the nodes.
    """

    def __init__(self, output):
        self.output = output
        self.hands = HostHands() if is_host() else Hands()
        self.organs = made_ct.organs()
        made_ct.voxels()  # half a second of computing, which no step shall be blamed for
        self.volume = self.segmentation = None

    # The editor

    @property
    def editor(self):
        """The widget of the module Segment Editor."""
        return slicer.modules.SegmentEditorWidget.editor

    @property
    def effect(self):
        """The effect's Python object."""
        return self.editor.effectByName(EFFECT).self()

    @property
    def controller(self):
        """What the effect works with while it is active."""
        return self.effect.controller

    @property
    def service(self):
        """What predicts."""
        from SAMMed2DSlicer.inference import service

        return service.shared()

    def open_editor(self, segment_id):
        """Show the Segment Editor with a segment selected, and the effect active."""
        from SAMMed2DSlicer.module.registration import open_segment_editor

        open_segment_editor(self.volume, self.segmentation, segment_id)

    def wait_for_answer(self):
        """Wait until nothing is on its way; the seconds are given back."""
        seconds = yield Until(lambda: self.service.state.is_ready and not self.controller.is_waiting, "an answer")
        check(self.controller.pending, f"no mask is shown: {self.controller.status.text}")
        return seconds

    def press_key(self, keys):
        """Press keys; a view that has just changed gets its time before and after."""
        yield 0.05
        self.hands.key(keys)
        yield Until(lambda: not self.controller.is_waiting, f"the end of {keys}")
        yield 0.05

    # Views

    @property
    def widget(self):
        """The slice view that is worked in."""
        return slicer.app.layoutManager().sliceWidget(VIEW)

    def show_slice(self, ras, normal=None):
        """Show the axial slice through a place, or the one across a direction, with all of the volume in it."""
        node = self.widget.mrmlSliceNode()
        self.widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(self.volume.GetID())
        node.SetOrientationToAxial()
        self.widget.sliceLogic().FitSliceToAll()
        if normal is not None:
            across = np.cross(normal, (0.0, 1.0, 0.0))
            node.SetSliceToRASByNTP(*normal, *across, *ras, 0)
        node.JumpSliceByCentering(*ras)

    def xy(self, ras):
        """Where a place in the scene is in the view: two ints, px from its lower left."""
        from_xy = slicer.util.arrayFromVTKMatrix(self.widget.mrmlSliceNode().GetXYToRAS())
        return tuple(round(float(value)) for value in (np.linalg.inv(from_xy) @ [*ras, 1])[:2])

    def click(self, ras, control=False):
        """Click on a place in the scene."""
        self.hands.click(self.widget, self.xy(ras), control)

    def picture(self, name):
        """Save what the window shows now."""
        with Gaps.uncounted():
            self.hands.picture(self.output / f"{name}.png")

    # Masks

    @Gaps.uncounted()
    def shown(self):
        """The mask that waits to be accepted, in the volume's voxels: (K, J, I) bool."""
        mask = np.zeros(self.organs["liver"].shape, bool)
        for group in self.controller.pending:
            group.plane.insert(mask, self.controller.acceptance.predictions[group].result.mask, True)
        return mask

    @Gaps.uncounted()
    def segment(self, segment_id):
        """A segment in the volume's voxels: (K, J, I) bool."""
        found = slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment_id, self.volume)
        return np.zeros(self.organs["liver"].shape, bool) if found is None else found.astype(bool)

    def on_slice(self, organ, k):
        """An organ on one slice, nothing elsewhere: (K, J, I) bool."""
        mask = np.zeros_like(self.organs[organ])
        mask[k] = self.organs[organ][k]
        return mask

    def markups(self):
        """How many markups of each kind the scene has."""
        kinds = ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsROINode")
        return {kind: slicer.mrmlScene.GetNumberOfNodesByClass(kind) for kind in kinds}
