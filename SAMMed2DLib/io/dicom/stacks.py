"""Frames sorted into volumes by what the files say of their places, never by the order of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, pairwise, takewhile

import numpy as np

from SAMMed2DLib.io.dicom.frames import PROJECTIONS, DicomError, DicomFrame
from SAMMed2DLib.io.volume import times

Frames = list[DicomFrame]
SameContent = Callable[[DicomFrame, DicomFrame], bool]

UNEVEN_MM = 0.1  # slices of 1 mm and more may be off an even stack by so much; thinner ones by this share
_SAME_PLACE = 0.02  # of the distance of pixels
_MOST_MISSING = 0.2  # of all slices
_MOST_PIECES = 8
_MOST_TILT_COSINE = 0.5


@dataclass(eq=False)
class DicomStack:
    """Frames that are the slices of one volume.

    Attributes:
        frames: by slice, from the first; None where one is missing.
        ijk_to_lps: (4, 4) mm.
        told: what tells it from others of its series.
        notes: what a user should know.
    """

    frames: Sequence[DicomFrame | None]
    ijk_to_lps: np.ndarray
    told: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> DicomFrame:
        """Its first slice, which is never missing."""
        assert self.frames[0] is not None
        return self.frames[0]

    def __str__(self) -> str:
        """Words for people to choose by."""
        slices = f"{len(self.frames)} slice{'s' if len(self.frames) > 1 else ''} of {times(self.first.size)} px"
        apart = f"{np.linalg.norm(self.ijk_to_lps[:3, 2]):.4g} mm apart" if len(self.frames) > 1 else ""
        name = self.first.path.name
        return ", ".join(
            word for word in (slices, apart, self.told, "" if name in self.told else f"from {name}") if word
        )


def stacks_of(frames: Sequence[DicomFrame], same_content: SameContent) -> tuple[list[DicomStack], list[str]]:
    """Sort the frames of a series into volumes.

    Args:
        frames: of one series, in any order.
        same_content: whether two frames show the same.

    Returns:
        the volumes, and notes on what was left out.
    """
    ordered = sorted(frames, key=lambda frame: (frame.number, frame.path.name, frame.index))
    single, notes = _without_copies(ordered, same_content)
    stacks: list[DicomStack] = []
    for group in _by_plane(single):
        stacks += _of_plane(group, same_content)
    return _without_scouts(stacks, notes)


def _without_copies(frames: Frames, same_content: SameContent) -> tuple[Frames, list[str]]:
    """Each file that is there twice, once."""
    kept: dict[tuple[str, int], Frames] = {}
    left_out: list[str] = []
    for frame in frames:
        others = kept.setdefault((frame.uid, frame.index), [])
        if any(_same_place(frame, other) and same_content(frame, other) for other in others):
            left_out.append(frame.path.name)
        else:
            others.append(frame)
    names = sorted(set(left_out))
    words = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    notes = [f"file{'s' * (len(names) > 1)} left out as copies of others: {words}"] if names else []
    return [frame for frame in frames if frame in kept[frame.uid, frame.index]], notes


def _same_place(first: DicomFrame, second: DicomFrame) -> bool:
    if first.position_lps is None or second.position_lps is None:
        return first.position_lps is None and second.position_lps is None and first.number == second.number
    return bool(np.linalg.norm(first.position_lps - second.position_lps) <= _tolerance(first))


def _tolerance(frame: DicomFrame) -> float:
    assert frame.steps_lps is not None
    return _SAME_PLACE * float(np.linalg.norm(frame.steps_lps, axis=0).min())


def _by_plane(frames: Frames) -> list[Frames]:
    """Frames of one size, direction and spacing, in one system of coordinates."""
    groups: list[Frames] = []
    for frame in frames:
        for group in groups:
            if _is_parallel(frame, group[0]):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def _is_parallel(frame: DicomFrame, other: DicomFrame) -> bool:
    if (frame.size, frame.is_colour, frame.position_lps is None) != (
        other.size,
        other.is_colour,
        other.position_lps is None,
    ):
        return False
    if frame.frame_of_reference and other.frame_of_reference and frame.frame_of_reference != other.frame_of_reference:
        return False
    if frame.steps_lps is None or other.steps_lps is None:
        return not frame.is_multiframe or frame.path == other.path
    ends = np.array(frame.size)  # at the far corner of the image directions must still agree
    apart = np.linalg.norm((frame.steps_lps - other.steps_lps) * ends)
    return bool(apart < 0.5 * np.linalg.norm(frame.steps_lps, axis=0).min())


# --- one plane ----------------------------------------------------------------------------------------------


def _of_plane(frames: Frames, same_content: SameContent) -> list[DicomStack]:
    if frames[0].position_lps is None:
        return _without_places(frames)
    places = _places(frames)
    if places == 1:
        return [_stack([frame], _told([frame], frames)) for frame in frames]
    if stacks := _divided(frames, places):
        return stacks
    single = _each_content_once(frames, same_content)
    if len(single) < len(frames):
        for stack in (stacks := _of_plane(single, same_content)):
            stack.notes.append("files that show the same image of the same place count once")
        return stacks
    _check_no_double(frames, places)
    return [_stack([frame], "by itself, as the slices are no even stack") for frame in _along_normal(frames)]


def _divided(frames: Frames, places: int) -> list[DicomStack]:
    """Whole volumes, all in one or by what tells frames apart; nothing if there is no way."""
    whole = [[frames]] if len(frames) == places else []
    told = list(_divisions(frames, places))
    for split, divisions in (
        (_even, whole), (_with_gaps, whole), (_even, told), (_with_gaps, told), (_in_pieces, whole), (_in_pieces, told)
    ):  # fmt: skip
        for groups in divisions:
            found = [split(_along_normal(group)) for group in groups]
            if all(stacks is not None for stacks in found):
                for stacks, group in zip(found, groups, strict=True):
                    for stack in stacks or ():
                        stack.told = _told(group, frames)
                return [stack for stacks in found for stack in stacks or ()]
    return []


def _each_content_once(frames: Frames, same_content: SameContent) -> Frames:
    """Without frames that show the same as another one at their place, whatever their UID."""
    single: Frames = []
    for frame in _along_normal(frames):
        at_place = takewhile(partial(_same_place, frame), reversed(single))
        if not any(same_content(frame, other) for other in at_place):
            single.append(frame)
    return single


def _check_no_double(frames: Frames, places: int) -> None:
    if len(frames) > places:
        along = _along_normal(frames)
        frame, other = next((a, b) for a, b in pairwise(along) if _same_place(a, b))
        raise DicomError(
            f"{frame.path} and {other.path.name} show different images of one place, and nothing tells which belongs "
            f"to the others; move one of them out of the folder (or divide the series, and choose by --series)"
        )


def _divisions(frames: Frames, places: int) -> Iterator[list[Frames]]:
    """Ways to divide frames into volumes: by one thing that tells them apart, by two, by their order."""
    names = list(dict.fromkeys(name for frame in frames for name in frame.tells))
    for count in (1, 2):
        for chosen in combinations(names, count):
            by_value: dict[tuple[str, ...], Frames] = {}
            for frame in frames:
                by_value.setdefault(tuple(frame.tells.get(name, "") for name in chosen), []).append(frame)
            if len(by_value) > 1 and all(_is_whole(group, places) for group in by_value.values()):
                yield list(by_value.values())
    if len(frames) % places == 0 and len(frames) > places and (groups := _by_order(frames, places)):
        yield groups


def _is_whole(group: Frames, places: int) -> bool:
    """Whether frames may be a volume: all at different places, and enough of them."""
    return _places(group) == len(group) and (len(group) == places or len(group) >= 3)


def _by_order(frames: Frames, places: int) -> list[Frames]:
    """The first at each place, the second at each, and so on; nothing if there are not as many at each."""
    groups: list[Frames] = [[] for _ in range(len(frames) // places)]
    at_place: list[Frames] = []
    for frame in frames:
        there = next((group for group in at_place if _same_place(group[0], frame)), None)
        if there is None:
            at_place.append(there := [])
        if len(there) == len(groups):
            return []
        groups[len(there)].append(frame)
        there.append(frame)
    return groups


def _places(frames: Frames) -> int:
    """At how many different places frames are."""
    along = _along_normal(frames)
    return 1 + sum(not _same_place(a, b) for a, b in pairwise(along))


def _along_normal(frames: Frames) -> Frames:
    normal = frames[0].normal_lps
    return sorted(frames, key=lambda frame: float(np.round(normal @ frame.position_lps, 6)))


def _even(frames: Frames) -> list[DicomStack] | None:
    """One stack, if the slices are as far apart as each other."""
    positions = np.array([frame.position_lps for frame in frames])
    if len(frames) == 1:
        return [_stack(frames)]
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    even = positions[0] + np.outer(np.arange(len(frames)), step)
    return [_stack(frames, step=step)] if _is_step(frames[0], step, positions - even) else None


def _is_step(first: DicomFrame, step: np.ndarray, off: np.ndarray) -> bool:
    length = float(np.linalg.norm(step))
    if length == 0 or abs(step @ first.normal_lps) < _MOST_TILT_COSINE * length:
        return False
    return bool(np.linalg.norm(off, axis=1).max() <= UNEVEN_MM * min(1.0, length))


def _with_gaps(frames: Frames) -> list[DicomStack] | None:
    """One stack in which a few slices are missing."""
    if len(frames) < 3:
        return None
    positions = np.array([frame.position_lps for frame in frames])
    along = (positions - positions[0]) @ frames[0].normal_lps
    smallest = np.diff(along).min()
    if smallest <= 0:
        return None
    numbers = np.rint(along / smallest).astype(int)
    step = (positions[-1] - positions[0]) / numbers[-1]
    missing = int(numbers[-1]) + 1 - len(frames)
    if missing > max(1, _MOST_MISSING * len(frames)) or not _is_step(
        frames[0], step, positions - positions[0] - np.outer(numbers, step)
    ):
        return None
    slices: list[DicomFrame | None] = [None] * (int(numbers[-1]) + 1)
    for number, frame in zip(numbers, frames, strict=True):
        slices[number] = frame
    stack = _stack(slices, step=step)
    gaps = [str(number) for number, frame in enumerate(slices) if frame is None]
    if gaps:
        words = "slices are" if missing > 1 else "slice is"
        stack.notes.append(f"{missing} {words} missing in the series, and left empty: {', '.join(gaps)}")
    return [stack]


def _in_pieces(frames: Frames) -> list[DicomStack] | None:
    """Several stacks one above the other, each with its own distance of slices."""
    pieces: list[Frames] = []
    rest = list(frames)
    while rest:
        count = next((n for n in range(len(rest), 2, -1) if _even(rest[:n])), 0)
        if count == 0 or len(pieces) == _MOST_PIECES:
            return None
        pieces.append(rest[:count])
        rest = rest[count:]
    return [stack for piece in pieces for stack in _even(piece) or ()]


def _stack(frames: Sequence[DicomFrame | None], told: str = "", step: np.ndarray | None = None) -> DicomStack:
    first = frames[0]
    assert first is not None
    ijk_to_lps = np.eye(4)
    if first.steps_lps is None or first.position_lps is None:
        ijk_to_lps[:3, :3] = np.diag(first.spacing)
        return DicomStack(frames, ijk_to_lps, told)
    ijk_to_lps[:3, :2] = first.steps_lps
    ijk_to_lps[:3, 2] = step if step is not None else first.normal_lps * first.spacing[2]
    ijk_to_lps[:3, 3] = first.position_lps
    stack = DicomStack(frames, ijk_to_lps, told)
    if step is not None:
        cosine = min(1.0, float(abs(step @ first.normal_lps) / np.linalg.norm(step)))
        if (tilt := np.degrees(np.arccos(cosine))) > 0.5:
            stack.notes.append(f"the slices are tilted by {tilt:.3g} degrees against their stack, and placed so")
    return stack


def _without_places(frames: Frames) -> list[DicomStack]:
    """Frames of which the files do not say where they are."""
    are_slices = len(frames) > 2 and len({(f.number, f.index) for f in frames}) == len(frames)
    if len(frames) > 1 and not frames[0].is_multiframe and (frames[0].modality in PROJECTIONS or not are_slices):
        return [_stack([frame]) for frame in frames]
    stack = _stack(frames)
    if len(frames) > 1:
        order = "their order in the file" if frames[0].is_multiframe else "their instance numbers"
        stack.notes.append(f"the files do not say where the slices lie: taken in {order}, positions in mm mean nothing")
    return [stack]


def _told(group: Frames, all_frames: Frames) -> str:
    """What all frames of a group have in common, and others have not."""
    words = [
        f"{name} {value}"
        for name, value in group[0].tells.items()
        if all(frame.tells.get(name) == value for frame in group)
        and any(frame.tells.get(name) != value for frame in all_frames)
    ]
    return ", ".join(words[:3])


def _without_scouts(stacks: list[DicomStack], notes: list[str]) -> tuple[list[DicomStack], list[str]]:
    """Images for planning are no choice beside a volume."""
    volumes = [stack for stack in stacks if len(stack.frames) >= 3 and not stack.first.is_localizer]
    scouts = [stack for stack in stacks if stack not in volumes]
    images = [frame for stack in scouts for frame in stack.frames if frame is not None]
    if not volumes or not scouts or len(images) > max(3, _MOST_MISSING * sum(len(s.frames) for s in volumes)):
        return stacks, notes
    names = ", ".join(sorted({frame.path.name for frame in images})[:3])
    note = (
        f"left out as of another plane or place (scouts): {len(images)} image{'s' * (len(images) > 1)} ({names})"
    )
    return volumes, [*notes, note]
