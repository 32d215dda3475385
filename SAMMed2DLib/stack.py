"""A stack of slices: its planes, and the model looking at one region of them, so that objects share their encodings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .geometry import SlicePlane
from .memory import available_memory, in_gib
from .planes import grid_axis, is_on_grid, picture_of
from .propagation import Found, Picture, Propagated, PropagationError, Question, propagate
from .zoom import Crop

if TYPE_CHECKING:
    from .predictor import Prediction
    from .prompts import Prompts
    from .session import Session, ShouldStop

# Slices encoded in one batch; those beyond what is asked are encoded ahead.
_AT_ONCE = 8
# Pictures that are kept, since several objects and steps look at them.
_KEPT_PICTURES = 32
# What a run takes besides what is counted: the network's own activations, and Python.
_OVERHEAD_BYTES = 300 * 1024**2

Keyframes = Mapping[int, np.ndarray]


def planes_along(plane: SlicePlane, world_from_ijk: ArrayLike) -> tuple[list[SlicePlane], int]:
    """All slices of a volume that are parallel to one, and the position of that one among them.

    Along the voxel grid these are the volume's own slices. Others are as far apart as their layers of voxels are thick
    (see `planes.voxels_of_mask`), so that each voxel belongs to one of them, and have pixels over the whole volume.

    Args:
        plane: a slice of the volume.
        world_from_ijk: (4, 4), mm.
    """
    if is_on_grid(plane):
        axis = grid_axis(plane)
        count = plane.size_ijk[axis]
        origins = np.repeat([plane.origin_ijk], count, axis=0)
        origins[:, axis] = np.arange(count)
        return [_moved(plane, origin, plane.size_hw) for origin in origins], int(plane.origin_ijk[axis])
    world = np.asarray(world_from_ijk, np.float64)
    steps = world[:3, :3] @ np.array([plane.column_step_ijk, plane.row_step_ijk]).T  # mm, columns: for x + 1, y + 1
    normal = np.cross(steps[:, 0], steps[:, 1])
    normal /= np.linalg.norm(normal)
    thickness_mm = np.abs(normal @ world[:3, :3]).sum()
    corners_ijk = np.array(list(product(*[(-0.5, size - 0.5) for size in plane.size_ijk])))
    corners = (corners_ijk - plane.origin_ijk) @ world[:3, :3].T
    xy = corners @ np.linalg.pinv(steps).T
    heights = corners @ normal / thickness_mm
    first_xy, last_xy = np.floor(xy.min(axis=0) + 0.5), np.ceil(xy.max(axis=0) - 0.5)
    width, height = np.maximum(last_xy - first_xy + 1, 1).astype(int).tolist()
    low, high = int(np.ceil(heights.min() - 0.5 + 1e-6)), int(np.floor(heights.max() + 0.5 - 1e-6))
    up_ijk = np.linalg.solve(world[:3, :3], normal * thickness_mm)
    start = np.array(plane.origin_ijk) + np.array([plane.column_step_ijk, plane.row_step_ijk]).T @ first_xy
    return [_moved(plane, start + n * up_ijk, (height, width)) for n in range(low, high + 1)], -low


def _moved(plane: SlicePlane, origin_ijk: np.ndarray, size_hw: tuple[int, int]) -> SlicePlane:
    i, j, k = (float(value) for value in origin_ijk)
    return SlicePlane((i, j, k), plane.column_step_ijk, plane.row_step_ijk, size_hw, plane.size_ijk)


def mask_on(plane: SlicePlane, mask_kji: np.ndarray) -> np.ndarray:
    """The cut of a slice through voxels, (K, J, I) bool of its volume: (H, W) bool."""
    if is_on_grid(plane):
        return plane.extract(mask_kji)
    return picture_of(plane, mask_kji.astype(np.uint8) * 255) > 127


def propagate_stack(
    session: Session,
    picture: Picture,
    objects: Sequence[Keyframes],
    first: int,
    last: int,
    *,
    zoom: bool | None = None,
    every: int = 1,
    only: Collection[int] | None = None,
    should_stop: ShouldStop | None = None,
) -> Iterator[Propagated]:
    """Carry objects from their keyframes through a stack of slices with a model; see `propagation.propagate`.

    Args:
        session: the model.
        picture: returns a slice, (H, W, 3) uint8, by its number.
        objects: keyframes of each object.
        first: lowest slice to fill.
        last: highest slice to fill.
        zoom: look at a crop around all objects instead of whole slices; None does what the weights were trained for.
        every: the model is asked on every n-th slice.
        only: spans without any of these slices are left out.
        should_stop: asked all the time; ends the iteration with `session.Stopped`. What came before is final.

    Raises:
        PropagationError: see `propagation.propagate`; or the memory is not enough.
    """
    kept: Callable[[int], np.ndarray] = lru_cache(_KEPT_PICTURES)(picture)
    zoomed = session.predictor.prefers_zoom if zoom is None else zoom
    model = StackModel(session, kept, zoomed, objects, should_stop)
    return propagate(kept, model, objects, first, last, every=every, only=only)


def check_memory(size_hw: tuple[int, int], slices: int, objects: int, cache_bytes: int) -> int:
    """Forecast what a run takes, bytes, and refuse it before it begins where this is more than there is.

    Args:
        size_hw: of the slices, px.
        slices: how many there are to fill.
        objects: how many objects are filled.
        cache_bytes: the most that kept embeddings take.

    Raises:
        PropagationError: the message says what to do.
    """
    height, width = size_hw
    masks = height * width * slices * objects  # one byte a pixel, should every mask fill its slice
    pictures = height * width * 3 * _KEPT_PICTURES
    logits = height * width * 4 * 2 * _AT_ONCE * objects
    needed = masks + pictures + logits + cache_bytes + _OVERHEAD_BYTES
    available = available_memory()
    if available is not None and needed > available:
        raise PropagationError(
            f"{slices} slices of {width} x {height} px and {objects} segments may take {in_gib(needed)}, "
            f"{in_gib(available)} are free: choose a smaller range or fewer segments, or close other programs"
        )
    return needed


class StackModel:
    """Answers what `propagation.propagate` asks; to be used from one thread at a time."""

    def __init__(
        self,
        session: Session,
        picture: Picture,
        zoom: bool,
        objects: Sequence[Keyframes],
        should_stop: ShouldStop | None = None,
    ) -> None:
        """Choose what the model sees of all slices: the slice, or with `zoom` a crop around all objects.

        Args:
            session: the model, and its cache of embeddings.
            picture: returns a slice, (H, W, 3) uint8, by its number.
            zoom: whether to look at a crop.
            objects: keyframes of each object.
            should_stop: asked within every block of the network; ends the work with `session.Stopped`.
        """
        self._session, self._picture, self._should_stop = session, picture, should_stop
        self._keyframes, self._zoom = objects, zoom

    @cached_property
    def _view(self) -> Crop:
        """One view for all slices costs no quality against one for each (docs/decisions/propagation.md)."""
        masks = [mask != 0 for keyframes in self._keyframes for mask in keyframes.values()]
        union = np.logical_or.reduce(masks)
        height, width = union.shape
        whole = Crop(0, 0, width, height, (height, width))
        if not self._zoom:
            return whole
        rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
        view = Crop.around(np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]), (height, width))
        return whole if view.is_whole else view

    def __call__(self, questions: Sequence[Question]) -> list[Found]:
        """Answer questions; about objects outside the view with logits of 0."""
        seen = [one for one in questions if self._view.holds(one.prompts)]
        pairs = [(self._seen(one.index), self._prompts(one)) for one in seen]
        ahead = dict.fromkeys(index for one in questions for index in one.ahead)
        room = max(_AT_ONCE - len({one.index for one in seen}), 0)
        pictures = [self._seen(index) for index in list(ahead)[:room]]
        found = self._session.answer_pairs(pairs, ahead=pictures, should_stop=self._should_stop) if pairs else []
        answers = {id(one): self._whole(answer) for one, answer in zip(seen, found, strict=True)}
        nothing = Found(np.zeros(self._view.size_hw, np.float32), float("nan"))
        return [answers.get(id(one), nothing) for one in questions]

    def _seen(self, index: int) -> np.ndarray:
        return self._view.cut(self._picture(index))

    def _prompts(self, question: Question) -> Prompts:
        prompts = self._view.prompts(question.prompts)
        if question.expected is None:
            return prompts
        return prompts.with_low_res_logits(self._session.predictor.mask_prompt(self._view.cut(question.expected)))

    def _whole(self, found: Prediction) -> Found:
        whole = np.zeros(self._view.size_hw, np.float32)
        self._view.cut(whole)[...] = found.logits()
        return Found(whole, found.score)
