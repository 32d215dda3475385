"""The Python API: everything that the panel does, for scripts.

Slicer finds it as `SAMMed2D.SAMMed2DLogic`. It reads this file at every start, so that nothing but Slicer and Python's
standard library is imported before it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from SAMMed2DSlicer.propagation.object_logic import ObjectLogic
from SAMMed2DSlicer.resources import make_library_importable

if TYPE_CHECKING:
    from SAMMed2DLib.registry.store import StoredModel
    from SAMMed2DSlicer.inference.blocking import Outcome
    from SAMMed2DSlicer.inference.slice_task import SlicePrediction, SliceResult
    from SAMMed2DSlicer.propagation.results import PropagationResult


class SAMMed2DLogic(ObjectLogic, ScriptedLoadableModuleLogic):
    """The Python API: everything that the panel does, for scripts; calls return when they are done.

    Slices, points and boxes may be given in several ways:

    - `plane`: ("axial", 12), likewise "coronal" and "sagittal", as the scene shows the volume; ("k", 12), likewise "i"
      and "j", along the array; the name of a slice view ("Red") or its vtkMRMLSliceNode, for the slice that it shows,
      oblique ones too; or a `SAMMed2DLib.imaging.geometry.SlicePlane`. Numbers count from 0.
    - `positive` and `negative`, points on the object and beside it: (N, 3) numbers in the scene's RAS, mm, each on the
      slice; markups point lists, of which the points on the slice count; or a list of both. The positive ones come
      first, and each point refines what was found before it.
    - `points`, where their order is mixed: (N, 4) numbers, the position and 1 on the object or 0 beside it; or a point
      list that the effect made. They come after those of `positive` and `negative`.
    - `box`: a markups ROI node, which counts as its cut by the slice; or two opposite corners,
      ((x, y, z), (x, y, z)) in the scene's RAS, mm.
    - `scribbles` and `lassos`: markups curves, or (N, 3) numbers in the scene's RAS, mm, along a line; a list of them;
      or pairs (line, 0) for what is outside. What a scribble runs over is inside, or outside, whatever the model says;
      a lasso goes around the object, or with 0 around what is outside. Lassos come before points, scribbles after them.
    - `candidate`: prompts may mean a part, the whole or a larger whole; 1 takes the smallest of up to five masks, 2 the
      next larger one. None takes the best one.
    - `intensity`, what the model sees: "window" for the volume's window/level, "percentiles" or "full".
    - `zoom`: whether the model looks at crops around the prompts; None does what its weights were trained for.

    Errors say what to do: `SAMMed2DSlicer.scene.volumes.SceneError` (something in the scene does not allow it),
    `SAMMed2DLib.imaging.geometry.GeometryError` (no such slice), `SAMMed2DLib.inference.prompts.PromptError` (prompts
    contradict each other), `SAMMed2DSlicer.setup.pytorch.InstallError` (PyTorch is missing or broken), and
    `SAMMed2DLib.registry.known_models.RegistryError` (no such model). All but InstallError, a RuntimeError, are
    ValueErrors.
    """

    def __init__(self, parent: Any = None) -> None:
        """Nothing is loaded before it is needed."""
        ScriptedLoadableModuleLogic.__init__(self, parent)
        make_library_importable()

    def segmentSlice(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentId: str,
        plane: Any,
        positive: Any = (),
        negative: Any = (),
        box: Any = None,
        *,
        intensity: str = "window",
        zoom: bool | None = None,
        overwrite: str = "none",
        points: Any = (),
        correct: bool = False,
        candidate: int | None = None,
        scribbles: Any = (),
        lassos: Any = (),
    ) -> SliceResult:
        """Segment one object on one slice, and add it to a segment. An empty mask changes nothing.

        With `correct`, the prompts correct the mask that the segment has on the slice, of whatever origin: points
        beside the object take away, points on it add, and what is found takes the place of the mask.

        Args:
            volumeNode: scalar or colour volume, 2D image, or proxy of a sequence.
            segmentationNode: the segmentation; it may have another geometry and transform than the volume.
            segmentId: of an existing segment, or its name; see `newSegmentation`.
            plane: the slice, see the class.
            positive: points on the object, see the class.
            negative: points beside the object, see the class.
            box: a box around the object, see the class.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            points: points on the object and beside it in their order, see the class.
            correct: whether the mask that the segment has on the slice is corrected; points beside the object are
                enough then.
            candidate: which of the masks that the prompts may mean, see the class.
            scribbles: lines over what is inside or outside, see the class.
            lassos: lines around the object, or around what is outside, see the class.

        Returns:
            mask ((H, W) bool), score (the IoU that it probably has), plane, how many `voxels` of the segmentation
            the mask means, how many of them `changed`, how many pixels of the mask lie outside the segmentation's
            geometry (`outside_px`), where nothing is written, and how many voxels each other segment
            has `lost`, by its ID.

        Raises:
            ValueError, RuntimeError: see the class.
        """
        from SAMMed2DSlicer.inference import blocking

        prompts = {"positive": positive, "negative": negative, "box": box, "points": points, "candidate": candidate}
        prompts |= {"scribbles": scribbles, "lassos": lassos}
        options = {**prompts, "intensity": intensity, "zoom": zoom}
        return blocking.segment(volumeNode, segmentationNode, segmentId, plane, overwrite, correct, **options)

    def segmentMany(
        self,
        requests: Iterable[Mapping[str, Any]],
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> list[Outcome]:
        """Segment many objects, of any volumes; a request that fails is reported, and the others go on.

        Args:
            requests: the arguments of `segmentSlice` for each, by name.
            progress: called with how many are done, and how many there are.
            shouldCancel: called before each request; True leaves the rest undone.

        Returns:
            For each request its `request`, and its `result` or its `error`; neither where it was left undone.
        """
        from SAMMed2DSlicer.inference import blocking

        return blocking.segment_many(requests, self.segmentSlice, progress, shouldCancel)

    def predict(
        self,
        volumeNode: Any,
        plane: Any,
        positive: Any = (),
        negative: Any = (),
        box: Any = None,
        *,
        intensity: str = "window",
        zoom: bool | None = None,
        points: Any = (),
        candidate: int | None = None,
        scribbles: Any = (),
        lassos: Any = (),
    ) -> SlicePrediction:
        """Segment one object on one slice, and change nothing in the scene.

        Args:
            volumeNode: the volume.
            plane: the slice, see the class.
            positive: points on the object, see the class.
            negative: points beside the object, see the class.
            box: a box around the object, see the class.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.
            points: points on the object and beside it in their order, see the class.
            candidate: which of the masks that the prompts may mean, see the class.
            scribbles: lines over what is inside or outside, see the class.
            lassos: lines around the object, or around what is outside, see the class.

        Returns:
            mask ((H, W) bool), score, plane, and `candidate` of how many `candidates`; `plane.insert` writes the mask
            to an array of the volume's shape.

        Raises:
            ValueError, RuntimeError: see the class.
        """
        prompts = {"positive": positive, "negative": negative, "box": box, "points": points, "candidate": candidate}
        prompts |= {"scribbles": scribbles, "lassos": lassos}
        return self.predictMany(volumeNode, plane, [prompts], intensity=intensity, zoom=zoom)[0]

    def predictMany(
        self,
        volumeNode: Any,
        plane: Any,
        prompts: Sequence[Mapping[str, Any]],
        *,
        intensity: str = "window",
        zoom: bool | None = None,
    ) -> list[SlicePrediction]:
        """Segment several objects of one slice in one call, each by itself; nothing in the scene changes.

        Args:
            volumeNode: the volume.
            plane: the slice, see the class.
            prompts: for each object its prompts by their names, from "positive" to "lassos", as in `segmentSlice`.
            intensity: what the model sees, see the class.
            zoom: whether it looks at crops, see the class.

        Returns:
            One prediction for each object, in their order.

        Raises:
            ValueError, RuntimeError: see the class.
        """
        from SAMMed2DSlicer.inference import blocking
        from SAMMed2DSlicer.inference.slice_task import SliceTask

        task = SliceTask.of_scene(volumeNode, plane, [dict(prompt) for prompt in prompts], intensity, zoom)
        return blocking.call(task.predict)

    def embed(
        self,
        volumeNode: Any,
        axis: str = "axial",
        indices: Sequence[int] | None = None,
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
        *,
        intensity: str = "window",
    ) -> int:
        """Encode slices before their prompts, so that predictions on them need no encoding.

        What is kept is bounded (512 MiB: about 2,000 slices of a published model at 256 px): of more, the last ones
        stay. It is of use for whole slices with the same intensities; a crop around a box is encoded with its prompts.

        Args:
            volumeNode: the volume.
            axis: "axial", "coronal", "sagittal", "i", "j" or "k".
            indices: numbers of the slices, from 0; all of them by default.
            progress: called with how many are done, and how many there are.
            shouldCancel: called before each slice; True ends the work.
            intensity: what the model sees, see the class.

        Returns:
            How many slices were encoded now; those that were known do not count.

        Raises:
            ValueError, RuntimeError: see the class.
        """
        from SAMMed2DSlicer.inference import blocking

        return blocking.encode_slices(volumeNode, axis, indices, intensity, progress, shouldCancel)

    def propagate(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentIds: str | Sequence[str],
        plane: Any,
        *,
        keyframes: Sequence[int] | None = None,
        direction: str = "both",
        first: int | None = None,
        last: int | None = None,
        every: int = 1,
        intensity: str = "window",
        zoom: bool | None = None,
        askModel: bool = False,
        overwrite: str = "none",
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> PropagationResult:
        """Carry segments from the slices that show them to the slices between and beyond.

        Slices that show a segment are its keyframes, which are never altered, but for those that an earlier call has
        left as they are. After a correction only the slices beside it are found anew.

        Args:
            volumeNode: the volume.
            segmentationNode: the segmentation; it may have another geometry and transform than the volume.
            segmentIds: one segment, or several; their IDs or names.
            plane: a slice, see the class; the slices parallel to it are filled.
            keyframes: numbers of slices, from 0, if not all that show the segment; what others show is replaced.
            direction: "up" (over the lowest keyframe), "down" (under the highest one) or "both".
            first: lowest slice to fill, from 0; the lowest there is by default.
            last: highest slice to fill; the highest there is by default.
            every: find every n-th slice, and fill those between by shape.
            intensity: what the model sees, see the class.
            zoom: whether it looks at a crop around the segments, see the class.
            askModel: hear the model too, not only shape and grey values: far slower.
            overwrite: whether other segments give way: "none", "visible" or "all" of them.
            progress: called with how many slices are found, and how many there may be.
            shouldCancel: called a few times a second; True ends the work, and what was found is written.

        Returns:
            `planes`, all slices; `segments`, for each ID its `slices` (index, confidence, is_keyframe, voxels) and how
            many voxels `changed`; `is_complete`; and `outside_px` and `lost` as in `segmentSlice`.

        Raises:
            ValueError, RuntimeError: see the class; and `SAMMed2DLib.propagation.schedule.PropagationError`, a
                ValueError, where the memory is not enough.
        """
        from SAMMed2DSlicer.inference import slice_task
        from SAMMed2DSlicer.propagation import api
        from SAMMed2DSlicer.propagation.results import PropagationSettings

        zoom = slice_task.zoom_of(zoom)
        settings = PropagationSettings(direction, first, last, every, intensity, zoom, asks_model=askModel)
        return api.propagate(
            volumeNode, segmentationNode, segmentIds, plane, settings, keyframes, overwrite, progress, shouldCancel
        )

    def propagateInTime(
        self,
        volumeNode: Any,
        segmentationNode: Any,
        segmentIds: str | Sequence[str],
        plane: Any = None,
        *,
        direction: str = "both",
        first: int | None = None,
        last: int | None = None,
        loop: bool = False,
        every: int = 1,
        intensity: str = "window",
        zoom: bool | None = None,
        askModel: bool = False,
        makeSequence: bool = False,
        progress: Callable[[int, int], object] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> PropagationResult:
        """Carry segments along time, from the frames of a sequence in which they are drawn to the others.

        Volume and segmentation must be in the same sequence browser. Frames that show a segment are its keyframes,
        which are never altered, but for those that an earlier call has left as they are. Each slice is carried by
        itself. Other segments are left as they are, and so is what Slicer's undo knows.

        Args:
            volumeNode: what the scene shows of a sequence of volumes, or that sequence.
            segmentationNode: what the scene shows of a sequence of segmentations, or that sequence.
            segmentIds: one segment, or several; their IDs or names.
            plane: the only slice to look at, see the class; all slices as they are stored by default.
            direction: "later" (after the first keyframe), "earlier" (before the last one) or "both".
            first: earliest frame to fill, from 0; the first there is by default.
            last: latest frame to fill; the last there is by default.
            loop: whether the last frame is followed by the first one, as in one heart beat.
            every: find every n-th frame, and fill those between by shape.
            intensity: what the model sees, see the class; the same in all frames.
            zoom: whether it looks at a crop around the segments, see the class.
            askModel: hear the model too, not only shape and grey values: far slower.
            makeSequence: first give each frame a segmentation of its own, where it has none, and let the browser save
                what is drawn; what the segmentation has now becomes that of the present frame.
            progress: called with how many slices of frames are found, and how many there may be.
            shouldCancel: called a few times a second; True ends the work, and the slices that were found are written.

        Returns:
            `segments`, for each ID its `frames` (frame, confidence, is_keyframe, voxels) and how many voxels `changed`;
            `is_complete`; and `undo`: call it to take the whole run back, but for frames that were changed since.

        Raises:
            ValueError, RuntimeError: see the class; and `SAMMed2DLib.propagation.schedule.PropagationError`, a
                ValueError, where the memory is not enough.
        """
        from SAMMed2DSlicer.inference import slice_task
        from SAMMed2DSlicer.propagation import api
        from SAMMed2DSlicer.propagation.results import PropagationSettings

        zoom = slice_task.zoom_of(zoom)
        settings = PropagationSettings(direction, first, last, every, intensity, zoom, loop, askModel)
        return api.propagate_in_time(
            volumeNode, segmentationNode, segmentIds, plane, settings, makeSequence, progress, shouldCancel
        )

    def newSegmentation(self, volumeNode: Any, name: str = "Segmentation", segmentNames: Sequence[str] = ()) -> Any:
        """Make a segmentation in the geometry of a volume.

        Args:
            volumeNode: the volume.
            name: of the segmentation; what a saved scene cannot bear in a node's name, such as "&", becomes "_".
            segmentNames: of its segments; each has its name as its ID, in which such characters become "_" too.

        Returns:
            The vtkMRMLSegmentationNode.
        """
        from SAMMed2DSlicer.scene import segmentations

        return segmentations.new_segmentation(volumeNode, name, segmentNames)

    def models(self) -> list[StoredModel]:
        """All known and added models: name, title, is_installed, path, size_bytes, weights_licence, data_licence."""
        from SAMMed2DLib.registry.store import stored_models

        return stored_models()

    def setModel(self, model: str | os.PathLike[str], device: str = "auto") -> None:
        """Use another model from the next call on, in the effect and the panel too; it is loaded with that call.

        Args:
            model: the name of a model that is installed, or the path of a weights file.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps"; "numpy" is the processor without PyTorch, for the
                built-in model.

        Raises:
            RegistryError: there is no such model, or it is not on this computer yet.
        """
        from SAMMed2DSlicer.inference import blocking

        blocking.choose_model(os.fspath(model), device)
