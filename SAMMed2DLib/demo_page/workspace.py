"""One visitor's image and segments: what the controls of the page do, without the page."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from SAMMed2DLib.cli.common.image_job import LOWEST_OF_CT, LOWEST_WITHOUT_ADVICE, ImageJob, intensity_of
from SAMMed2DLib.cli.common.prompt_options import axis_and_index
from SAMMed2DLib.cli.common.provenance import image_and_view
from SAMMed2DLib.cli.segment import FIRST_SEGMENT
from SAMMed2DLib.cli.whole_objects import followed_slices, planes_of
from SAMMed2DLib.demo_page.drafts import AcceptedMask, CarriedMask, Draft, DraftSegment
from SAMMed2DLib.demo_page.model_shelf import ModelShelf
from SAMMed2DLib.imaging.affines import array_axis_of, name_of_axis
from SAMMed2DLib.imaging.geometry import SlicePlane
from SAMMed2DLib.imaging.intensity import Intensity, Window
from SAMMed2DLib.inference.interaction import says_where
from SAMMed2DLib.inference.prompts import Prompts
from SAMMed2DLib.inference.session import MaskPrediction
from SAMMed2DLib.io.segmentation_io import SEGMENT_COLORS
from SAMMed2DLib.io.volume import Volume

_MOST_STEPS = 200
SOFT_TISSUE = Window(width=400, level=40)


class DemoError(ValueError):
    """The page cannot do what was asked; the message says what to do."""


@dataclass(frozen=True, eq=False)
class OpenImage:
    """The image of a visitor, and what `sammed2d segment` must be told to read the same one.

    Attributes:
        volume: the image.
        file: name of the file, for reports.
        frame: which volume of a 4D image.
        series: which series of a DICOM archive.
        rule: the intensities to begin with; None for those that the command line takes.
        note: where it comes from.
    """

    volume: Volume
    file: str
    frame: int | None = None
    series: str | None = None
    rule: Intensity | None = None
    note: str = ""

    @property
    def first_rule(self) -> Intensity:
        """The intensities to begin with: soft tissue for what looks like a CT."""
        if self.rule is not None:
            return self.rule
        rule = intensity_of(ImageJob(image=self.file, output=""), self.volume)
        return SOFT_TISSUE if _is_ct(self.volume) else rule


def _is_ct(volume: Volume) -> bool:
    middle = volume.array[len(volume.array) // 2]
    return bool(((middle >= LOWEST_OF_CT) & (middle <= LOWEST_WITHOUT_ADVICE)).any())


@dataclass(eq=False)
class Workspace:
    """What one visitor works on; to be used under its lock.

    Attributes:
        shelf: the models.
        model: name of the one that is asked.
        image: that is open; None before.
        rule: the intensities that are shown.
        axis: array axis of the slices that are shown.
        index: number of the slice that is shown.
        draft: the segments.
        lock: held by whoever changes something.
        is_cancelled: set to stop a propagation.
    """

    shelf: ModelShelf
    model: str
    image: OpenImage | None = None
    rule: Intensity = field(default_factory=lambda: Window.of_range(0, 255))
    axis: int = 0
    index: int = 0
    draft: Draft = field(default_factory=lambda: Draft((DraftSegment(FIRST_SEGMENT, SEGMENT_COLORS[0]),)))
    lock: threading.RLock = field(default_factory=threading.RLock)
    is_cancelled: threading.Event = field(default_factory=threading.Event)
    _steps: list[tuple[Draft, int, int]] = field(default_factory=list)

    # --- what is shown

    @property
    def volume(self) -> Volume:
        """The image that is open.

        Raises:
            DemoError: there is none.
        """
        if self.image is None:
            raise DemoError("Open an image first: choose an example, or a file of yours.")
        return self.image.volume

    @property
    def plane(self) -> SlicePlane:
        """The slice that is shown."""
        return SlicePlane.of_axis(self.volume.size_ijk, self.axis, self.index)

    @property
    def slices(self) -> int:
        """How many there are along the axis."""
        return int(self.volume.array.shape[self.axis])

    @property
    def axis_name(self) -> str:
        """Of the slices that are shown."""
        return name_of_axis(self.axis, self.volume.ijk_to_ras)

    @property
    def seen_rule(self) -> Intensity:
        """The intensities that the model sees: those of the accepted masks, if there are any."""
        return self.draft.rule or self.rule

    def model_image(self, plane: SlicePlane | None = None) -> np.ndarray:
        """What the model sees of a slice, (H, W, 3) uint8."""
        return image_and_view((plane or self.plane).extract(self.volume.array), self.seen_rule)[0]

    def answer(self, *, candidates: bool = False) -> MaskPrediction | None:
        """The mask of the selected segment's draft on the slice that is shown; None without one.

        Args:
            candidates: also draw the other masks that the prompts may mean.

        Raises:
            PromptError: the prompts contradict each other.
        """
        prompts = self.draft.segment.drafts.get(self.plane)
        if prompts is None or prompts.is_empty:
            return None
        return self.shelf.answer(self, self.model, self.model_image(), prompts, candidates=candidates)

    # --- the image

    def open(self, image: OpenImage) -> None:
        """Take another image; what was done on the one before is gone."""
        self.close()
        self.image = image
        shape = image.volume.array.shape[:3]
        single = [axis for axis, count in enumerate(shape) if count == 1]
        self.axis = single[0] if len(single) == 1 else array_axis_of("axial", image.volume.ijk_to_ras)
        self.index = shape[self.axis] // 2
        self.rule = image.first_rule

    def close(self) -> None:
        """Free the image, the segments and what the model keeps of it."""
        self.is_cancelled.set()
        self.shelf.forget(self)
        self.image = None
        self.draft = Draft((DraftSegment(FIRST_SEGMENT, SEGMENT_COLORS[0]),))
        self._steps.clear()

    def show(self, index: int, axis: str | None = None) -> None:
        """Go to a slice; beyond the ends to the last one.

        Args:
            index: number of the slice.
            axis: its kind, "axial" and so on; None for the one that is shown.
        """
        if axis is not None:
            self.axis = array_axis_of(axis, self.volume.ijk_to_ras)
        self.index = int(np.clip(index, 0, self.slices - 1))

    def choose_model(self, name: str) -> None:
        """Ask another model from now on.

        Raises:
            DemoError: masks of the one before are accepted.
        """
        if self.draft.model not in (None, name):
            raise DemoError(
                f"The accepted masks are of {self.draft.model}, and one file holds masks of one model: save them, then "
                "remove the segments."
            )
        self.shelf.predictor(name)
        self.model = name

    # --- prompts and masks

    def point(self, xy: np.ndarray, label: int) -> None:
        """Add a point to the selected segment.

        Args:
            xy: (2,), slice px.
            label: 1 inside the object, 0 outside.

        Raises:
            DemoError: nothing says where the object is.
            PromptError: the point contradicts another one.
        """
        self._try(self.draft.segment.prompts_on(self.plane).with_point(xy, label))

    def box(self, corners_xy: np.ndarray) -> None:
        """Set the box of the selected segment.

        Args:
            corners_xy: (2, 2), two opposite corners, slice px; the pixels that they are in are inside.

        Raises:
            DemoError: it has no area.
            PromptError: it contradicts other prompts.
        """
        box = box_between(corners_xy, self.plane.size_hw)
        self._try(self.draft.segment.prompts_on(self.plane).with_box(box))

    def other_candidate(self, step: int) -> None:
        """Take another mask that the prompts may mean, the next larger (1) or smaller (-1) one, around the ends."""
        segment, plane = self.draft.segment, self.plane
        prompts = segment.prompts_on(plane)
        if prompts.is_empty:
            raise DemoError("Click on an object first: then its other candidates can be taken.")
        found = self.shelf.answer(self, self.model, self.model_image(), prompts, candidates=True)
        number = (found.candidate - 1 + step) % len(found.candidates) + 1
        self._do(self.draft.with_segment(segment.with_draft(plane, prompts.with_candidate(number))))

    def accept(self) -> None:
        """Accept the mask on the slice that is shown.

        Raises:
            DemoError: there is nothing to accept.
        """
        found, segment, plane = self.answer(), self.draft.segment, self.plane
        if found is None:
            raise DemoError("There is nothing to accept on this slice: click on an object first.")
        if not found.mask.any():
            raise DemoError("The mask is empty: add a point on the object, or clear the prompts.")
        kept = AcceptedMask(segment.drafts[plane].checked(plane.size_hw), found.mask)
        draft = self.draft.with_segment(segment.with_accepted(plane, kept))
        self._do(replace(draft, rule=self.seen_rule, model=self.model))

    def clear(self) -> None:
        """Take the prompts of the selected segment on this slice away: a draft, or else the accepted mask."""
        segment, plane = self.draft.segment, self.plane
        if plane in segment.drafts:
            self._do(self.draft.with_segment(segment.with_draft(plane, None)))
        elif plane in segment.accepted:
            self._do(self.draft.with_segment(segment.with_accepted(plane, None)))
        else:
            raise DemoError("There are no prompts of this segment on this slice.")

    def undo(self) -> None:
        """Take the last step back, and go to the slice where it was done.

        Raises:
            DemoError: there is none.
        """
        if not self._steps:
            raise DemoError("There is nothing to take back.")
        self.draft, self.axis, self.index = self._steps.pop()

    def _try(self, prompts: Prompts) -> None:
        """Ask the model with these prompts, and keep them as a draft unless it refuses them."""
        plane = self.plane
        if not says_where(prompts):
            raise DemoError("Click on the object first: a point outside alone does not say where it is.")
        self.shelf.answer(self, self.model, self.model_image(), prompts)
        self._do(self.draft.with_segment(self.draft.segment.with_draft(plane, prompts)))

    def _do(self, draft: Draft) -> None:
        self._steps.append((self.draft, self.axis, self.index))
        del self._steps[:-_MOST_STEPS]
        self.draft = draft

    # --- segments

    def add_segment(self, name: str, *, rename: bool = False) -> None:
        """Add a segment, and select it.

        Args:
            name: empty for the next free one.
            rename: give the selected segment this name instead.

        Raises:
            DemoError: the name is taken.
        """
        taken = [segment.name for segment in self.draft.segments]
        name = " ".join(name.split())[:64] or next(n for k in range(1, 999) if (n := f"Segment_{k}") not in taken)
        if name in taken:
            raise DemoError(f"There is a segment {name} already: give another name.")
        named = self.draft.with_segment(replace(self.draft.segment, name=name))
        self._do(named if rename else self.draft.with_new(name))

    def select(self, number: int) -> None:
        """Select a segment by its number."""
        if 0 <= number < len(self.draft.segments):
            self.draft = replace(self.draft, selected=number)

    def remove_segment(self) -> None:
        """Remove the selected segment."""
        self._do(self.draft.without_selected())

    # --- all slices

    def propagated(self) -> Iterator[tuple[int, int]]:
        """Follow all segments from their accepted masks through the slices; what was found is kept at the end.

        Without the lock, which is taken for a moment at the begin and at the end.

        Returns:
            how many slices are done, and how many there are at most.

        Raises:
            DemoError: there is nothing to follow, or it was changed meanwhile.
            Stopped: `is_cancelled` was set; nothing is kept.
        """
        self.is_cancelled.clear()  # now, so that whoever cancels before the first slice is heard

        def run() -> Iterator[tuple[int, int]]:
            with self.lock:
                before, volume, rule = self.draft, self.volume, self.seen_rule
            segments = [segment for segment in before.segments if segment.accepted and not segment.whole]
            if not any(segment.accepted for segment in before.segments):
                raise DemoError("Accept a mask first: it is carried from its slice to the others.")
            axes = {segment.name: _one_axis(segment, volume) for segment in segments}
            total, done, found = sum(volume.array.shape[axis] for axis in axes.values()), 0, {}
            for segment in segments:
                axis = axes[segment.name]
                planes = planes_of(volume, axis)
                keyframes = {axis_and_index(plane)[1]: kept.mask for plane, kept in segment.accepted.items()}
                carried: dict[SlicePlane, CarriedMask] = {}
                done += len(keyframes)
                for result in followed_slices(volume, axis, keyframes, rule, should_stop=self.is_cancelled.is_set):
                    if result.mask.any():
                        carried[planes[result.index]] = CarriedMask(result.mask, result.confidence)
                    done += 1
                    yield done, total
                found[segment.name] = carried
            with self.lock:
                self._keep_carried(before, found)

        return run()

    def _keep_carried(self, before: Draft, found: Mapping[str, Mapping[SlicePlane, CarriedMask]]) -> None:
        accepted = {segment.name: segment.accepted for segment in before.segments}
        now = {segment.name: segment.accepted for segment in self.draft.segments}
        if any(now.get(name) is not accepted[name] for name in found):
            raise DemoError("The accepted masks were changed meanwhile: propagate again.")
        segments = tuple(
            replace(segment, carried=found[segment.name], whole=True) if segment.name in found else segment
            for segment in self.draft.segments
        )
        self._do(replace(self.draft, segments=segments))

    def show_least_sure(self) -> float:
        """Go to the carried slice of the selected segment with the least confidence, and return that.

        Raises:
            DemoError: nothing was carried.
        """
        carried = self.draft.segment.carried
        if not carried:
            raise DemoError(f"{self.draft.segment.name} has no carried slices: accept a mask, then propagate.")
        plane = min(carried, key=lambda plane: carried[plane].confidence)
        self.axis, self.index = axis_and_index(plane)
        return carried[plane].confidence


def box_between(corners_xy: np.ndarray, size_hw: tuple[int, int]) -> list[float]:
    """The box (x0, y0, x1, y1; half-open) with the pixels that two opposite corners are in, slice px.

    Args:
        corners_xy: (2, 2), in any order.
        size_hw: of the slice.

    Raises:
        DemoError: it has no area.
    """
    height, width = size_hw
    low, high = np.clip(np.floor(np.sort(corners_xy, axis=0) + 0.5), 0, (width - 1, height - 1))
    if (high - low < 1).any():
        raise DemoError("This box has no area: give two opposite corners around the object.")
    return [*low, *(high + 1)]


def _one_axis(segment: DraftSegment, volume: Volume) -> int:
    """The array axis along which a segment can be followed."""
    axes = segment.axes()
    if len(axes) > 1:
        raise DemoError(
            f"{segment.name} has masks along two axes, and is followed along one: clear those of the other, or add "
            "another segment."
        )
    (axis,) = axes
    if volume.array.shape[axis] == 1:
        raise DemoError("This image has one slice: there is nothing to propagate to.")
    return axis
