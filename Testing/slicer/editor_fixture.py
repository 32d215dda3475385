"""An editor at work for tests: a volume, a Segment Editor with the effect, slice views, and a model of our own."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import slicer
import vtk

SIZE = (60, 50, 24)  # i, j, k
INSIDE = (25, 22, 10)  # a voxel of the structure
CORRECTED_PX = 5  # as far does a point change a mask that is corrected


def structure_kji(size_ijk=SIZE) -> np.ndarray:
    """A skewed blob that looks different along every axis and direction."""
    k, j, i = np.mgrid[0 : size_ijk[2], 0 : size_ijk[1], 0 : size_ijk[0]]
    x, y, z = i - INSIDE[0] - 0.3 * (k - INSIDE[2]), j - INSIDE[1], 2.0 * (k - INSIDE[2])
    return (x**2 / 15**2 + y**2 / 9**2 + z**2 / 16**2 < 1) & ~((i > 28) & (j < 20))


def turned(x_deg: float = 0, y_deg: float = 0, z_deg: float = 0) -> np.ndarray:
    transform = vtk.vtkTransform()
    transform.RotateZ(z_deg)
    transform.RotateY(y_deg)
    transform.RotateX(x_deg)
    return slicer.util.arrayFromVTKMatrix(transform.GetMatrix())


def affine(spacing=(1, 1, 1), origin=(0, 0, 0), rotation=None) -> np.ndarray:
    matrix = np.eye(4) if rotation is None else rotation.copy()
    matrix[:3, :3] = matrix[:3, :3] @ np.diag(spacing)
    matrix[:3, 3] = origin
    return matrix


GEOMETRIES = {
    "plain": affine(),
    "anisotropic and offset": affine((0.7, 0.9, 3.0), (110, -70, 33)),
    "flipped": affine((-0.7, -0.9, 3.0), (40, 60, -20)),
    "turned": affine((0.7, 0.9, 3.0), (11, -7, 33), turned(12, -25, 40)),
}


class BrightSession:
    """A model whose mask is what is bright, within the box if there is one; it answers as a `Session` does."""

    def __init__(self) -> None:
        self.asked, self.encoded_ahead, self.delay_s, self.error = [], [], 0.0, None
        self.finds_nothing = False
        self.grade = "good"
        self.pictures = []  # of propagations
        self.corrected = []  # the masks that were to be corrected
        self.answered = []
        self.cache_bytes = 0
        self.predictor = SimpleNamespace(
            device="cpu",
            prefers_zoom=False,
            mask_prompt=lambda logits: np.zeros((4, 4), np.float32),
            embedding_bytes=0,
            working_bytes=lambda slices: 0,
        )

    def answer(self, image, prompts, *, mask=None, zoom=None, candidates=False, should_stop=None, on_coarse=None):
        """What is bright, in the box; a known mask is changed around the points only."""
        from SAMMed2DLib.inference.session import MaskPrediction

        if candidates:  # asked about an answer that is there already
            return self.with_candidates(self.answered[-1], prompts)
        self._think(should_stop)
        self.asked.append((prompts, image, zoom))
        known, mask = mask, image[..., 0] > 127
        self.corrected.append(known)
        if prompts.box_xyxy is not None:
            x0, y0, x1, y1 = np.round(prompts.box_xyxy).astype(int)
            within = np.zeros_like(mask)
            within[y0:y1, x0:x1] = True
            mask &= within
        if known is not None:
            mask = known.copy()
            rows, columns = np.mgrid[tuple(slice(0, n) for n in mask.shape)]
            for (x, y), label in zip(np.round(prompts.points_xy), prompts.labels, strict=True):
                mask[(columns - x) ** 2 + (rows - y) ** 2 < CORRECTED_PX**2] = bool(label)
        if self.finds_nothing:
            mask[:] = False
        height, width = mask.shape
        found = MaskPrediction(mask, 0.9, (0, 0, width, height), 1, predicted_iou=0.8, grade=self.grade, stability=0.95)
        self.answered.append(found)
        return self.answered[-1]

    def with_candidates(self, answer, prompts):
        """An answer that is there, with the masks that its prompts may mean: here no other one."""
        return replace(answer, candidates=(answer,), candidate=1)

    def answer_pairs(self, pairs, *, ahead=(), should_stop=None):
        """As a propagation asks."""
        found = []
        for image, _prompts in pairs:
            self.pictures.append(image)
            self._think(should_stop)
            logits = np.where(image[..., 0] > 127, 8, -8).astype(np.float32)
            found.append(SimpleNamespace(logits=lambda logits=logits: logits, score=0.9))
        return found

    def _think(self, should_stop):
        """Take the time, or fail, as the test wants it."""
        from SAMMed2DLib.inference.session import Stopped

        ends = time.perf_counter() + self.delay_s
        while time.perf_counter() < ends:
            if should_stop():
                raise Stopped
            time.sleep(0.002)
        if self.error is not None:
            raise self.error

    def encode(self, image, should_stop=None, *, coarse=True):
        self.encoded_ahead.append(image)


def let_answer(monkeypatch, session):
    """Let a session answer in place of the model that is chosen."""
    from SAMMed2DSlicer.inference import service

    monkeypatch.setattr(service.InferenceService, "_session", lambda self, choice: session)
    return session


class EditorFixture:
    """What an annotator has before them, and what their hands do."""

    opened: ClassVar[list] = []

    def __init__(
        self,
        model,
        geometry=None,
        *,
        volume_kji=None,
        volume_matrix=None,
        segmentation_matrix=None,
        size_ijk=SIZE,
    ):
        EditorFixture.opened.append(self)
        self.model = model
        self.structure = structure_kji(size_ijk)
        self.ijk_to_ras = GEOMETRIES["plain"] if geometry is None else geometry
        values = np.where(self.structure, 160, 40).astype(np.int16) if volume_kji is None else volume_kji
        self.volume = a_volume(values, self.ijk_to_ras)
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.world_from_ras = np.eye(4)
        if volume_matrix is not None:
            self.world_from_ras = volume_matrix
            put_under(self.volume, volume_matrix)
        if segmentation_matrix is not None:
            put_under(self.segmentation, segmentation_matrix)
        self.segment_id = self.add_segment("A")
        self.open_editor()
        self.name = "Red"
        self.show(2, INSIDE[2])
        self.activate()

    @classmethod
    def close_all(cls):
        """Put every fixture away, as when Slicer ends."""
        for fixture in cls.opened:
            fixture.editor.take_down()
        cls.opened.clear()

    # The editor

    def open_editor(self):
        self.editor_node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMRMLScene(slicer.mrmlScene)
        self.editor.setMRMLSegmentEditorNode(self.editor_node)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.editor.setCurrentSegmentID(self.segment_id)

    def activate(self):
        self.editor.setActiveEffectByName("SAM-Med2D")

    def add_segment(self, name: str) -> str:
        return self.segmentation.GetSegmentation().AddEmptySegment(name, name)

    @property
    def effect(self):
        return self.editor.effectByName("SAM-Med2D").self()

    @property
    def controller(self):
        return self.effect.controller

    @property
    def panel(self):
        return self.effect.panel

    def set(self, **parameters):
        for name, value in parameters.items():
            self.editor.effectByName("SAM-Med2D").setParameter(name, value)

    # Views

    @property
    def widget(self):
        return slicer.app.layoutManager().sliceWidget(self.name)

    @property
    def view(self):
        return self.widget.sliceView()

    @property
    def slice_node(self):
        return self.widget.mrmlSliceNode()

    @property
    def ijk_to_world(self) -> np.ndarray:
        return self.world_from_ras @ self.ijk_to_ras

    def world(self, ijk) -> np.ndarray:
        return (self.ijk_to_world @ [*ijk, 1])[:3]

    def show(self, axis: int, index: float, spin_deg: float = 0, name: str = "Red"):
        """Show the slice `index` along volume axis `axis` (0 = i) in a view, turned in its plane."""
        self.name = name
        steps = self.ijk_to_world[:3, :3] / np.linalg.norm(self.ijk_to_world[:3, :3], axis=0)
        a, b = [other for other in range(3) if other != axis]
        frame = np.eye(4)
        frame[:3, 0], frame[:3, 1] = steps[:, a], -steps[:, b]
        frame[:3, 2] = np.cross(frame[:3, 0], frame[:3, 1])
        middle = [(n - 1) / 2 for n in self.volume.GetImageData().GetDimensions()]
        middle[axis] = index
        frame[:3, 3] = self.world(middle)
        self.show_plane(frame @ turned(z_deg=spin_deg), name)

    def show_plane(self, view_to_world: np.ndarray, name: str = "Red"):
        self.name = name
        self.widget.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(self.volume.GetID())
        self.slice_node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(view_to_world))
        self.slice_node.UpdateMatrices()
        self.widget.sliceLogic().FitSliceToAll()
        self.slice_node.GetSliceToRAS().DeepCopy(slicer.util.vtkMatrixFromArray(view_to_world))
        self.slice_node.UpdateMatrices()
        self.pump(0.02)

    def xy(self, ijk):
        """Where a voxel is in the view, px."""
        return self.xy_of_world(self.world(ijk))

    def xy_of_world(self, world):
        to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(self.slice_node.GetXYToRAS()))
        return tuple(round(float(v)) for v in (to_xy @ [*world, 1])[:2])

    # Hands

    def click(self, ijk=INSIDE, **modifiers):
        self.view.click(*self.xy(ijk), **modifiers)
        self.wait()

    def drag(self, ijk, other_ijk, **modifiers):
        self.view.drag(self.xy(ijk), self.xy(other_ijk), **modifiers)
        self.wait()

    def accept(self):
        self.effect.accept()
        self.wait()

    def rest(self):
        """Let nothing be prepared ahead, and wait until the model is ready and all views have their slices."""
        self.set(LookAhead=0)
        self.wait(lambda: self.effect._service.state.is_ready)
        self.pump(0.2)

    def wait(self, until=None, seconds: float = 90):  # a busy computer lets a thread wait
        """Let the application run until nothing is on its way, or until something is so."""
        done = until or (lambda: self.controller is None or not self.controller.is_waiting)
        ends = time.perf_counter() + seconds
        self.pump(0.01)
        while not done():
            assert time.perf_counter() < ends, f"nothing came: {self.controller and self.controller.status}"
            self.pump(0.005)

    @staticmethod
    def pump(seconds: float = 0.02):
        ends = time.perf_counter() + seconds
        while True:
            slicer.app.processEvents()
            if time.perf_counter() > ends:
                return
            time.sleep(0.0005)

    # What came of it

    @property
    def status(self):
        return self.controller.status

    @property
    def shown(self):
        """The masks that are shown and not accepted."""
        return [self.controller.acceptance.predictions[one].result.mask for one in self.controller.pending]

    def segment(self, segment_id=None) -> np.ndarray:
        """A segment in the volume's voxels."""
        found = slicer.util.arrayFromSegmentBinaryLabelmap(
            self.segmentation, segment_id or self.segment_id, self.volume
        )
        return np.zeros(self.structure.shape, bool) if found is None else found.astype(bool)

    def image(self) -> np.ndarray:
        """The view's pixels, row 0 on top."""
        return self.view.image().astype(int)


def a_volume(values_kji: np.ndarray, ijk_to_ras: np.ndarray, class_name=None):
    class_name = class_name or ("vtkMRMLScalarVolumeNode" if values_kji.ndim == 3 else "vtkMRMLVectorVolumeNode")
    volume = slicer.util.addVolumeFromArray(values_kji, ijk_to_ras, "Volume", class_name)
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    if display.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(200, 100)
    return volume


def done(section) -> int:
    """How many slices a propagation has found so far, as its status line says."""
    words = section.status_line.text.split(" of ")[0].split()
    return int(words[-1]) if words and words[-1].isdigit() else 0


def put_under(node, matrix: np.ndarray):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Transform")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform
