"""Whatever is done in whatever order: neighbours stay, an acceptance and its undo are inverse, nothing is left.

The seeds are fixed. `SAMMED2D_SEEDS=100` runs more of them, each longer, for a search.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import slicer
from editor_fixture import GEOMETRIES, INSIDE, EditorFixture, a_volume
from test_effect_faults import observers_of, prompt_nodes
from vtk.util.numpy_support import vtk_to_numpy

# More seeds of longer runs for a search; in the suite it is to take a minute.
SEEDS = range(int(os.environ.get("SAMMED2D_SEEDS", 3)))
STEPS = int(os.environ.get("SAMMED2D_STEPS", 25))
NAMES = ("A", "B", "C")


class RandomUser:
    """A fixture with two volumes and three segments, on which one thing after the other is done."""

    def __init__(self, model, geometry: str, seed: int) -> None:
        self.random, self.log = random.Random(f"{geometry} {seed}"), []
        self.fixture = fixture = EditorFixture(model, GEOMETRIES[geometry])
        fixture.set(LookAhead=0)
        for name in NAMES[1:]:
            fixture.add_segment(name)
        shifted = np.where(np.roll(fixture.structure, 6, axis=2), 160, 40).astype(np.int16)
        self.volumes = [fixture.volume, a_volume(shifted, fixture.ijk_to_ras)]
        self.draw("B", np.s_[6:14, 5:30, 5:20])
        fixture.editor.setCurrentSegmentID("A")
        fixture.wait()

    def draw(self, name: str, place) -> None:
        mask = np.zeros(self.fixture.structure.shape, np.uint8)
        mask[place] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            mask, self.fixture.segmentation, name, self.volumes[0]
        )

    def segments(self) -> dict[str, np.ndarray]:
        return {name: self.voxels(name) for name in NAMES}

    def voxels(self, name: str) -> np.ndarray:
        """A segment as its labelmap has it: quicker than Slicer's export, since the geometry is that of the volume."""
        found = np.zeros(self.fixture.structure.shape, bool)
        segment = self.fixture.segmentation.GetSegmentation().GetSegment(name)
        image = segment.GetRepresentation("Binary labelmap")
        if image is not None and not image.IsEmpty():
            i0, i1, j0, j1, k0, k1 = image.GetExtent()
            values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
            found[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = values == segment.GetLabelValue()
        return found

    def somewhere(self) -> tuple[int, int, int]:
        """A voxel on the slice that is shown, mostly on the structure."""
        i, j = self.random.choice([(25, 22), (20, 24), (30, 26), (38, 24), (12, 10), (50, 40)])
        return i + self.random.randint(-3, 3), j + self.random.randint(-3, 3), self.k

    k = INSIDE[2]

    # What can be done

    def click(self) -> None:
        self.fixture.click(self.somewhere(), control=self.random.random() < 0.35)

    def drag(self) -> None:
        self.fixture.drag(self.somewhere(), self.somewhere())

    def accept(self) -> None:
        before = self.segments()
        self.fixture.accept()
        after = self.segments()
        if any((before[name] != after[name]).any() for name in NAMES) and self.random.random() < 0.7:
            self.fixture.editor.undo()
            self.same(before, "an acceptance and its undo")
            self.fixture.pump(0.01)
            self.fixture.editor.redo()
            self.same(after, "its redo")

    def undo(self) -> None:
        self.fixture.editor.undo()

    def redo(self) -> None:
        self.fixture.editor.redo()

    def clear(self) -> None:
        self.fixture.effect.clear()

    def delete_a_prompt(self) -> None:
        nodes = prompt_nodes()
        if nodes:
            node = self.random.choice(nodes)
            if node.GetNumberOfControlPoints() > 1 and node.IsA("vtkMRMLMarkupsFiducialNode"):
                node.RemoveNthControlPoint(self.random.randrange(node.GetNumberOfControlPoints()))
            else:
                slicer.mrmlScene.RemoveNode(node)

    def move_a_point(self) -> None:
        nodes = [node for node in prompt_nodes() if node.IsA("vtkMRMLMarkupsFiducialNode")]
        if nodes:
            self.random.choice(nodes).SetNthControlPointPositionWorld(0, *self.fixture.world(self.somewhere()))

    def choose_a_segment(self) -> None:
        self.fixture.segment_id = self.random.choice(NAMES)
        self.fixture.editor.setCurrentSegmentID(self.fixture.segment_id)

    def choose_a_volume(self) -> None:
        self.fixture.volume = self.random.choice(self.volumes)
        self.fixture.editor.setSourceVolumeNode(self.fixture.volume)

    def choose_a_slice(self) -> None:
        self.k = self.random.randint(8, 12)
        self.fixture.show(2, self.k)

    def close_and_come_back(self) -> None:
        self.fixture.editor.setActiveEffect(None)
        self.fixture.pump(0.01)
        self.fixture.activate()

    def propagate(self) -> None:
        section = self.fixture.effect.propagation
        section.propagate(self.random.choice(["both", "up", "down"]))
        self.fixture.wait(lambda: not section.is_running)

    def accept_at_once(self) -> None:
        self.fixture.set(AcceptAtOnce=self.random.randint(0, 1))

    CHOICES = (
        *(click,) * 6, *(drag,) * 3, *(accept,) * 5, *(undo,) * 2, redo, clear, *(delete_a_prompt,) * 2, move_a_point,
        *(choose_a_segment,) * 2, choose_a_volume, *(choose_a_slice,) * 2, close_and_come_back, propagate,
        accept_at_once,
    )  # fmt: skip

    def step(self) -> None:
        what = self.random.choice(self.CHOICES)
        self.log.append(what.__name__)
        selected, before = self.fixture.segment_id, self.segments()
        what(self)
        self.fixture.wait()
        self.fixture.pump(0.005)
        if what not in (RandomUser.undo, RandomUser.redo):
            now = self.segments()
            others = [name for name in NAMES if name not in (selected, self.fixture.segment_id)]
            self.same({name: before[name] for name in others}, "segments that are not selected", now)

    def same(self, expected, words, found=None) -> None:
        found = found or self.segments()
        differ = {name: int((found[name] != mask).sum()) for name, mask in expected.items()}
        assert not any(differ.values()), f"{words}: voxels differ: {differ}; done: {', '.join(self.log)}"


@pytest.mark.parametrize("geometry", ["plain", "turned"])
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_done_neighbours_stay_and_undo_takes_back(model, geometry, seed):
    user = RandomUser(model, geometry, seed)
    for _ in range(STEPS):
        user.step()
    user.fixture.editor.setActiveEffect(None)
    user.fixture.pump(0.02)
    assert all(node.GetDisplayNode().GetVisibility() == 0 for node in prompt_nodes())
    slicer.mrmlScene.Clear(0)
    user.fixture.pump(0.02)
    assert prompt_nodes() == []


def test_of_a_closed_scene_nothing_is_left(model):
    counts = []
    for seed in (7, 8, 9):
        user = RandomUser(model, "plain", seed)
        for _ in range(8):
            user.step()
        EditorFixture.close_all()
        slicer.mrmlScene.Clear(0)
        EditorFixture.pump(0.02)
        counts.append((slicer.mrmlScene.GetNumberOfNodes(), observers_of(slicer.mrmlScene)))
        assert prompt_nodes() == []
    assert counts[1:] == counts[:1] * 2
